//! Cookies (RFC 6265), by exact names.
//!
//! Owns: the names of a provider's cookies, finding, splitting, setting and clearing them, and taking our own out of what
//! the application gets. Must not: find a cookie by substring, or know what is in one.

use std::borrow::Cow;
use std::collections::BTreeSet;

use memchr::memchr;
use sha2::{Digest as _, Sha256};

use crate::authn::request::cookies::trim;
use crate::base::header::HeaderValue;
use crate::base::url::Scheme;
use crate::config::Provider;

/// Longest value of one cookie, in bytes: browsers keep 4,096 for name, value and attributes.
const MAX_VALUE_BYTES: usize = 3_800;
/// Most parts of a cookie: `<name>_0` to `<name>_8`, 32 KiB together.
const MAX_PARTS: usize = 9;
/// Most cookies of the same name that are tried.
const MAX_CANDIDATES: usize = 4;

/// A cookie's name begins with this where a browser would hold it to this very host (RFC 6265bis §4.1.3.2).
const HOST_PREFIX: &str = "__Host-";
const NAME_PREFIX: &str = "authentik_proxy_";
/// Hex digits of SHA-256(client_id) behind it.
const DIGITS: usize = 8;
const LOGIN_SUFFIX: &str = "_login";

/// One of our cookies: its name and where it holds.
#[derive(Debug)]
pub(crate) struct Cookie {
    name: String,
    /// The last is `Max-Age`, without its number.
    attributes: String,
}

/// The session cookie is `authentik_proxy_` and the first 8 hex digits of SHA-256(client_id), as the outpost has it; the
/// login's has `_login` behind it.
impl Cookie {
    pub(crate) fn session(provider: &Provider) -> Self {
        Self::new(provider, "")
    }

    pub(crate) fn login(provider: &Provider) -> Self {
        Self::new(provider, LOGIN_SUFFIX)
    }

    fn new(provider: &Provider, suffix: &str) -> Self {
        let digest = Sha256::digest(provider.client_id.as_bytes());
        let digits: String = digest.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
        let is_secure = provider.external_host.scheme == Scheme::Https;
        let prefix = if is_secure && provider.cookie_domain.is_none() { HOST_PREFIX } else { "" };
        let mut attributes = "; Path=/; HttpOnly; SameSite=Lax".to_owned();
        if is_secure {
            attributes.push_str("; Secure");
        }
        if let Some(domain) = &provider.cookie_domain {
            attributes.push_str("; Domain=");
            attributes.push_str(domain);
        }
        attributes.push_str("; Max-Age=");
        Self { name: format!("{prefix}{NAME_PREFIX}{digits}{suffix}"), attributes }
    }

    /// The values that the client sent: under the name itself, and put together from its parts.
    pub(crate) fn values<'a>(&self, sent: &[&'a [u8]]) -> Vec<Cow<'a, [u8]>> {
        let mut values = Vec::new();
        let mut parts: [Option<&[u8]>; MAX_PARTS] = [None; MAX_PARTS];
        for (name, value) in sent.iter().map(|pair| split(pair)) {
            match self.part(name) {
                Some(Part::Whole) if values.len() < MAX_CANDIDATES => values.push(Cow::Borrowed(value)),
                Some(Part::Number(number)) => {
                    if let Some(part @ None) = parts.get_mut(number) {
                        *part = Some(value);
                    }
                }
                Some(Part::Whole) | None => {}
            }
        }
        let joined: Vec<u8> = parts.iter().map_while(|part| *part).collect::<Vec<_>>().concat();
        if !joined.is_empty() {
            values.push(Cow::Owned(joined));
        }
        values
    }

    /// `Set-Cookie` lines for a value, in parts if it must be; those of ours that the client sent and that are no longer
    /// used are cleared. `None`: the value is too long for any number of parts.
    pub(crate) fn set(&self, value: &str, max_age: u64, sent: &[&[u8]]) -> Option<Vec<HeaderValue>> {
        Some(self.complete(&self.begin(value)?, max_age, sent))
    }

    /// The lines for a value, each complete but for the number at its end.
    pub(crate) fn begin(&self, value: &str) -> Option<Vec<HeaderValue>> {
        let line = |number: &str, value: &[u8]| {
            let (name, number, attributes) =
                (self.name.as_bytes(), number.as_bytes(), self.attributes.as_bytes());
            HeaderValue::cleaned([name, number, b"=", value, attributes].concat())
        };
        if value.len() <= MAX_VALUE_BYTES {
            return Some(vec![line("", value.as_bytes())]);
        }
        let parts = value.as_bytes().chunks(MAX_VALUE_BYTES);
        let is_too_long = parts.len() > MAX_PARTS;
        let numbered = parts.enumerate().map(|(number, part)| line(&format!("_{number}"), part));
        (!is_too_long).then(|| numbered.collect())
    }

    /// Lines that were begun, with their number; the rest is as [`Self::set`] has it.
    pub(crate) fn complete(&self, begun: &[HeaderValue], max_age: u64, sent: &[&[u8]]) -> Vec<HeaderValue> {
        let mut set: Vec<_> = begun.iter().map(|line| line.followed_by(max_age)).collect();
        set.extend(self.clear_but(sent, begun.len()));
        set
    }

    /// `Set-Cookie` lines that take away all of ours that the client sent.
    pub(crate) fn clear(&self, sent: &[&[u8]]) -> Vec<HeaderValue> {
        self.clear_but(sent, 0).collect()
    }

    /// But for those of a value in so many lines.
    fn clear_but(&self, sent: &[&[u8]], kept: usize) -> impl Iterator<Item = HeaderValue> {
        let is_kept = |part: Part| match part {
            Part::Whole => kept == 1,
            Part::Number(number) => kept > 1 && number < kept,
        };
        let mut names = BTreeSet::new();
        for name in sent.iter().map(|pair| split(pair).0) {
            if self.part(name).is_some_and(|part| !is_kept(part)) {
                names.insert(name);
            }
        }
        let clear = |name: &[u8]| [name, b"=", self.attributes.as_bytes(), b"0"].concat();
        names.into_iter().map(move |name| HeaderValue::cleaned(clear(name)))
    }

    fn part(&self, name: &[u8]) -> Option<Part> {
        part(name.strip_prefix(self.name.as_bytes())?)
    }
}

enum Part {
    Whole,
    Number(usize),
}

/// What is left of the client's cookies without ours.
pub(crate) enum Remaining {
    /// Nothing of ours was there.
    Untouched,
    /// Only ours was there: the header goes.
    Nothing,
    /// The header's new value.
    Value(HeaderValue),
}

/// Takes every cookie of the filter's own shape out of what was sent, whichever provider's it is: an application that got
/// another's could use it there.
pub(crate) fn without_own(sent: &[&[u8]]) -> Remaining {
    let kept: Vec<_> = sent.iter().copied().filter(|pair| !has_own_shape(split(pair).0)).collect();
    match (kept.len() == sent.len(), kept.is_empty()) {
        (true, _) => Remaining::Untouched,
        (false, true) => Remaining::Nothing,
        (false, false) => Remaining::Value(HeaderValue::cleaned(kept.join(&b"; "[..]))),
    }
}

/// Whether one of these cookies has the filter's own shape, and so the outpost's too.
pub(crate) fn has_own(sent: &[&[u8]]) -> bool {
    sent.iter().any(|pair| has_own_shape(split(pair).0))
}

/// `authentik_proxy_` and 8 hex digits, with or without `__Host-` before it, and one of the filter's suffixes, or none,
/// behind it.
pub(crate) fn has_own_shape(name: &[u8]) -> bool {
    let name = name.strip_prefix(HOST_PREFIX.as_bytes()).unwrap_or(name);
    let Some(rest) = name.strip_prefix(NAME_PREFIX.as_bytes()) else { return false };
    let Some((digits, suffix)) = rest.split_first_chunk::<DIGITS>() else { return false };
    let suffix = suffix.strip_prefix(LOGIN_SUFFIX.as_bytes()).unwrap_or(suffix);
    digits.iter().all(u8::is_ascii_hexdigit) && part(suffix).is_some()
}

/// Which part of a value a cookie with this suffix holds.
fn part(suffix: &[u8]) -> Option<Part> {
    match suffix.split_first() {
        None => Some(Part::Whole),
        Some((b'_', [digit])) => {
            let number = usize::from(digit.checked_sub(b'0')?);
            (number < MAX_PARTS).then_some(Part::Number(number))
        }
        Some(_) => None,
    }
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    let length = memchr(b'=', pair).unwrap_or(pair.len());
    let (name, value) = pair.split_at_checked(length).unwrap_or((pair, b""));
    (trim(name), trim(value.strip_prefix(b"=").unwrap_or(value)))
}

#[cfg(test)]
mod tests;
