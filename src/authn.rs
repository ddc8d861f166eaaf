//! THE FLOW. Read this first.
//!
//! [`Authenticator::authenticate`] takes a request's headers to a [`Decision`], or lets it wait for authentik;
//! [`Authenticator::answered`] takes authentik's answer to the decisions of all requests that waited for it.
//! The rest of this file is the truth table: what is a request with this credential told?
//!
//! ```text
//! authenticate ── strip ── provider ── credential ─┬─ absent, unusable ──────────────────────┐
//!                                                  ├─ known: cache, shared slot ──┐          v
//!                                                  └─ inquiry ── (calls) ── verdict ──> Decision
//! ```
//!
//! The core knows no host: `now` and [`Surroundings`] are arguments, calls to authentik are values that the shell
//! fetches with [`Authenticator::take_calls`] and answers later.

mod cache;
mod cookies;
pub mod credential;
pub mod decision;
pub mod directory;
pub mod fault;
mod fingerprint;
mod flights;
pub mod headers;
pub mod identity;
mod inquiry;
pub mod jwks;
mod keyring;
mod login;
mod memory;
pub mod origin;
pub mod provider;
pub mod request;
pub mod secret;
mod shared_keys;
pub mod signature;
mod skip;
mod slots;
mod throttle;
pub mod time;
pub mod verdict;
pub mod verifier;

use std::borrow::Cow;
use std::rc::Rc;

use self::cache::Cache;
use self::credential::{AuthScheme, Credential};
use self::decision::{Asker, Decision, Forward};
use self::directory::{Directory, ProviderId};
use self::fault::{Fault, Rejection};
use self::fingerprint::ProviderKeys;
use self::flights::{Flights, Known};
use self::headers::{Header, HeaderValue};
use self::identity::Identity;
use self::keyring::KeyRing;
use self::request::{HeaderBlock, RequestView};
use self::slots::Slots;
use self::throttle::Throttle;
use self::time::Timestamp;
use self::verdict::Verdict;
use crate::config::{Config, Mode, Provider};

pub use self::flights::{RequestId, Ticket};

/// What the core may ask of its surroundings without waiting. All of it may lie or fail; none of it can panic the core.
pub trait Surroundings {
    /// Checks a signature with the host's cryptography. `hash` is `sha256`, `sha384` or `sha512`, `spki` the public key
    /// in DER, ECDSA signatures are in DER. `None`: the host offers no such check.
    fn verify_signature(&self, hash: &str, spki: &[u8], signature: &[u8], message: &[u8]) -> Option<bool>;

    /// Reads shared data. `None`: nothing there, or not to be had.
    fn shared(&self, name: &str) -> Option<Shared>;

    /// Writes shared data, as well as it goes.
    fn share(&self, name: &str, value: &[u8]);

    /// Writes shared data if nobody has since that version. Whether it did.
    fn share_if(&self, name: &str, value: &[u8], version: u32) -> bool;

    /// The address of the request's client, with its port, as far as the host can be trusted with it.
    fn source_address(&self) -> Option<String>;
}

/// A shared value and its version.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The value.
    pub value: Vec<u8>,
    /// For [`Surroundings::share_if`].
    pub version: u32,
}

/// The moment and the surroundings of one step.
pub struct Env<'a> {
    /// Now.
    pub now: Timestamp,
    /// Host, or a test's stand-in for it.
    pub surroundings: &'a dyn Surroundings,
}

/// Everything that one worker knows under one configuration.
pub struct Authenticator {
    config: Config,
    directory: Directory,
    providers: Vec<ProviderState>,
    cache: Cache,
    slots: Slots,
    flights: Flights,
    throttle: Throttle,
}

struct ProviderState {
    keyring: KeyRing,
    keys: ProviderKeys,
    cookie_name: String,
}

/// Who a request is judged for: its provider and what the client sent.
#[derive(Debug, Clone, Copy)]
struct Applicant {
    provider: ProviderId,
    scheme: AuthScheme,
}

impl Authenticator {
    /// Starts with empty caches and without keys. `None` only if HMAC refused a key, which it never does.
    pub fn new(config: Config) -> Option<Self> {
        let state = |provider: &Provider| {
            Some(ProviderState {
                keyring: KeyRing::default(),
                keys: ProviderKeys::derive(&config, provider)?,
                cookie_name: cookies::session_cookie_name(&provider.client_id),
            })
        };
        let providers = config.providers.iter().map(state).collect::<Option<_>>()?;
        Some(Self {
            directory: Directory::new(&config.providers),
            providers,
            cache: Cache::new(config.cache.local_entries),
            slots: Slots::new(&config),
            flights: Flights::default(),
            throttle: Throttle::new(&config.throttle),
            config,
        })
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Judges a request by its headers. `None`: it waits for authentik; its decision comes out of [`Self::answered`].
    pub fn authenticate(&mut self, env: &Env<'_>, id: RequestId, block: &HeaderBlock) -> Option<Decision> {
        let Ok(view) = RequestView::read(block, &self.config.owned_headers) else {
            return Some(Decision::Reply(decision::broken_reply()));
        };
        let Some(provider_id) = self.directory.find(view.authority, &self.config.providers) else {
            return Some(decision::reject(&stranger(&view), Rejection::UnknownHost));
        };
        let Some(provider) = self.config.providers.get(provider_id) else {
            return Some(decision::fail(&stranger(&view), Fault::Host));
        };
        if self.config.allow_cors_preflight && view.is_cors_preflight() {
            return Some(self.forward_anonymous(provider_id, &view));
        }
        let credential = credential::read(view.authorization);
        if skip::is_unauthenticated(provider, &view) {
            return Some(self.pass_unauthenticated(env, provider_id, &view, credential.ok().flatten()));
        }
        let view = &view;
        match credential {
            Ok(None) => Some(self.send_to_login(provider_id, view, None, Rejection::NoCredential)),
            Err(unusable) => Some(self.turn_away(provider_id, view, None, Rejection::Unusable(unusable))),
            Ok(Some(credential)) => {
                let applicant = Applicant { provider: provider_id, scheme: credential.scheme() };
                match self.verdict_on(env, applicant, &credential, id, block) {
                    Known::Verdict(outcome) => Some(self.conclude(applicant, view, outcome)),
                    Known::Waiting => None,
                }
            }
        }
    }

    /// A verdict becomes a decision: the last step of every request with a credential.
    fn conclude(
        &self,
        applicant: Applicant,
        view: &RequestView<'_>,
        outcome: Result<Verdict, Fault>,
    ) -> Decision {
        let Applicant { provider, scheme } = applicant;
        match outcome {
            Ok(Verdict::Vouched(identity)) => self.forward(provider, view, identity),
            Ok(Verdict::Refused(rejection)) => self.turn_away(provider, view, Some(scheme), rejection),
            Err(fault) => decision::fail(&self.asker(provider, view, Some(scheme)), fault),
        }
    }

    /// An invalid or unusable credential: with interception `401`, without it the header is the application's own,
    /// and the client is one without identity.
    fn turn_away(
        &self,
        provider: ProviderId,
        view: &RequestView<'_>,
        scheme: Option<AuthScheme>,
        rejection: Rejection,
    ) -> Decision {
        let intercepts =
            self.config.providers.get(provider).is_none_or(|provider| provider.intercept_header_auth);
        // A user whom authentik vouched for and who has no name is no stranger: a login would end here again.
        let is_incomplete = matches!(rejection, Rejection::Incomplete(_));
        if intercepts || is_incomplete {
            decision::reject(&self.asker(provider, view, scheme), rejection)
        } else {
            self.send_to_login(provider, view, scheme, rejection)
        }
    }

    /// `302` for what can show a login page, `401` for everything else.
    fn send_to_login(
        &self,
        provider: ProviderId,
        view: &RequestView<'_>,
        scheme: Option<AuthScheme>,
        rejection: Rejection,
    ) -> Decision {
        let asker = self.asker(provider, view, scheme);
        let url = self.config.providers.get(provider).and_then(|provider| login::start_url(provider, view));
        match url {
            Some(url) if view.is_navigation() => decision::redirect(&asker, &url, rejection),
            Some(_) | None => decision::reject(&asker, rejection),
        }
    }

    /// A path that needs no authentication: with the identity of a credential that is known without a call, else as
    /// it came.
    fn pass_unauthenticated(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        view: &RequestView<'_>,
        credential: Option<Credential>,
    ) -> Decision {
        let known = credential.and_then(|credential| self.known_without_call(env, provider, &credential));
        match known {
            Some(Verdict::Vouched(identity)) => self.forward(provider, view, identity),
            Some(Verdict::Refused(_)) | None => self.forward_anonymous(provider, view),
        }
    }

    fn forward(&self, provider_id: ProviderId, view: &RequestView<'_>, identity: Rc<Identity>) -> Decision {
        let mut forward = self.base_forward(provider_id, view);
        let overriding = identity.overriding_headers();
        if !overriding.iter().any(|(name, _)| name == "authorization") {
            forward.remove.push(b"authorization".to_vec());
        }
        forward.remove.extend(other_spellings(view, overriding));
        forward.identity = Some(identity);
        Decision::Forward(forward)
    }

    /// Without identity. The client's `Authorization` is the application's own, unless it is a token of this authentik.
    fn forward_anonymous(&self, provider: ProviderId, view: &RequestView<'_>) -> Decision {
        let mut forward = self.base_forward(provider, view);
        let base = self.config.authentik.base.to_string();
        if credential::mentions_token(view.authorization, |token| verifier::is_issued_below(&base, token)) {
            forward.remove.push(b"authorization".to_vec());
        }
        Decision::Forward(forward)
    }

    /// What every request that goes on loses and gets, with identity or without.
    fn base_forward(&self, provider: ProviderId, view: &RequestView<'_>) -> Forward {
        let mut forward = Forward::default();
        forward.remove.extend(view.owned.iter().map(|name| name.to_vec()));
        if let Some(state) = self.providers.get(provider) {
            match cookies::without_own(&view.cookies, &state.cookie_name) {
                cookies::Remaining::Untouched => {}
                cookies::Remaining::Nothing => forward.remove.push(b"cookie".to_vec()),
                cookies::Remaining::Value(value) => forward.replace.push((Cow::Borrowed("cookie"), value)),
            }
        }
        if self.config.providers.get(provider).is_some_and(|provider| provider.mode == Mode::Proxy) {
            let host = HeaderValue::cleaned(view.authority);
            forward.replace.push((Cow::Borrowed("x-forwarded-host"), host));
        }
        forward
    }

    fn asker(&self, provider: ProviderId, view: &RequestView<'_>, scheme: Option<AuthScheme>) -> Asker<'_> {
        let provider = self.config.providers.get(provider);
        Asker {
            provider: provider.map(|provider| provider.name.as_str()),
            realm: provider.map_or("authentik", |provider| provider.slug.as_str()),
            scheme,
            is_grpc: view.is_grpc(),
            body_kind: view.body_kind(),
        }
    }
}

/// A request without a provider.
fn stranger<'a>(view: &RequestView<'_>) -> Asker<'a> {
    Asker {
        provider: None,
        realm: "authentik",
        scheme: None,
        is_grpc: view.is_grpc(),
        body_kind: view.body_kind(),
    }
}

/// What the client sent under another spelling of a name that the identity sets: `X_Tenant` beside `x-tenant`.
fn other_spellings(view: &RequestView<'_>, overriding: &[Header]) -> Vec<Vec<u8>> {
    let normal: Vec<_> =
        overriding.iter().map(|(name, _)| (name.as_bytes(), headers::normalise(name))).collect();
    if normal.is_empty() {
        return Vec::new();
    }
    let is_other =
        |sent: &&[u8]| normal.iter().any(|(name, normal)| sent != name && headers::spells(sent, normal));
    view.names().filter(is_other).map(<[u8]>::to_vec).collect()
}
