//! The session cookies that clients hold: where each came from, and until when it stands.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::authentik::TokenId;
use super::credentials::Subject;
use super::site::ProviderId;

/// A session cookie as some response set it.
#[derive(Clone, Debug)]
pub(super) struct Cookie {
    pub(super) provider: ProviderId,
    pub(super) value: String,
    /// What it came from; `None`: a login.
    pub(super) origin: Option<Subject>,
    pub(super) token: TokenId,
    /// When authentik vouched for it last, as far as the cookie says so: no sooner and no later than these.
    pub(super) vouched: (u64, u64),
    pub(super) expires: u64,
}

/// All of them.
#[derive(Default)]
pub(super) struct Jar {
    cookies: Vec<Cookie>,
}

/// As many are kept; who came long ago has left.
const KEPT: usize = 60;

impl Jar {
    pub(super) fn keep(&mut self, cookie: Cookie) {
        // A verdict brings the same cookie as long as it lasts.
        if self.find(cookie.provider, &cookie.value).is_none() {
            self.cookies.push(cookie);
        }
        if self.cookies.len() > KEPT {
            self.cookies.remove(0);
        }
    }

    pub(super) fn find(&self, provider: ProviderId, value: &str) -> Option<&Cookie> {
        self.cookies.iter().find(|cookie| cookie.provider == provider && cookie.value == value)
    }

    /// One of this provider's, or of any other: most have not ended.
    pub(super) fn draw(
        &self,
        provider: ProviderId,
        is_own: bool,
        now: u64,
        random: &mut StdRng,
    ) -> Option<&Cookie> {
        let (is_login, may_have_ended) = (random.gen_bool(0.4), random.gen_bool(0.15));
        let fits = |cookie: &&Cookie| {
            (cookie.provider == provider) == is_own && (may_have_ended || cookie.expires > now)
        };
        let of_kind = |cookie: &&Cookie| cookie.origin.is_none() == is_login;
        let fitting: Vec<_> = self.cookies.iter().filter(fits).collect();
        let of_kind: Vec<_> = fitting.iter().copied().filter(of_kind).collect();
        if of_kind.is_empty() { &fitting } else { &of_kind }.choose(random).copied()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.cookies.iter().map(|cookie| cookie.value.as_str())
    }
}
