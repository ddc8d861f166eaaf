//! THE FLOW. Read this first.
//!
//! [`Authenticator::authenticate`] takes a request's headers to a [`Decision`], or lets it wait for authentik;
//! [`Authenticator::answered`] takes authentik's answer to the decisions of all requests that waited for it.
//! The rest of this file is the truth table: what is a request with this credential told?
//!
//! ```text
//! authenticate ── provider ── login flow? ── session? ── credential ─┬─ absent, unusable ─────────────┐
//!                                                                    ├─ known: cache, shared slot ─┐  v
//!                                                                    └─ inquiry ── (calls) ── verdict ──> Decision
//! ```
//!
//! The core knows no host: `now` and [`Surroundings`] are arguments, calls to authentik are values that the shell
//! fetches with [`Authenticator::take_calls`] and answers later.

mod browser;
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
mod page;
pub mod provider;
pub mod request;
mod sealing;
pub mod secret;
mod session;
mod sessions;
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
use self::cookies::Cookie;
use self::credential::{AuthScheme, Credential};
use self::decision::{Asker, Decision, Forward};
use self::directory::{Directory, ProviderId};
use self::fault::{Fault, Rejection};
use self::fingerprint::ProviderKeys;
use self::flights::{Flights, Known, Purpose};
use self::headers::{Header, HeaderValue};
use self::identity::Identity;
use self::keyring::KeyRing;
use self::request::{HeaderBlock, RequestView};
use self::sealing::SealingKeys;
use self::secret::Secret;
use self::session::{Origin, Session};
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

    /// Fills the bytes with randomness that nobody can foresee. Whether it could.
    fn random(&self, bytes: &mut [u8]) -> bool;

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
    cache: Cache<Verdict>,
    sessions: Cache<Rc<Session>>,
    slots: Slots,
    flights: Flights,
    throttle: Throttle,
}

struct ProviderState {
    keyring: KeyRing,
    keys: ProviderKeys,
    /// `None`: sessions are off.
    sealing: Option<SealingKeys>,
    session_cookie: Cookie,
    login_cookie: Cookie,
}

impl Authenticator {
    /// Starts with empty caches and without keys. `None` only if HMAC refused a key, which it never does.
    pub fn new(config: Config) -> Option<Self> {
        let has_sessions = config.session.issue.is_some();
        let state = |provider: &Provider| {
            Some(ProviderState {
                keyring: KeyRing::default(),
                keys: ProviderKeys::derive(&config, provider)?,
                sealing: if has_sessions { Some(SealingKeys::derive(provider)?) } else { None },
                session_cookie: Cookie::session(provider),
                login_cookie: Cookie::login(provider),
            })
        };
        let providers = config.providers.iter().map(state).collect::<Option<_>>()?;
        Some(Self {
            directory: Directory::new(&config.providers),
            providers,
            cache: Cache::new(config.cache.local_entries),
            sessions: Cache::new(config.cache.local_entries),
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
        let view = &view;
        let Some(provider) = self.directory.find(view.authority, &self.config.providers) else {
            return Some(decision::reject(&stranger(view), Rejection::UnknownHost));
        };
        if self.config.allow_cors_preflight && view.is_cors_preflight() {
            return Some(self.forward_anonymous(provider, view));
        }
        if self.has_sessions()
            && let Some(visit) = login::visit(view)
        {
            return self.visit(env, provider, (id, block), view, visit);
        }
        let session = self.session(env, provider, view);
        let is_due = session.as_ref().is_some_and(|session| self.is_to_be_confirmed(env, provider, session));
        match session {
            // Nothing is asked of authentik there, so a session that it would have to confirm is none.
            _ if is_due && self.is_unauthenticated(provider, view) => {
                self.judge(env, provider, (id, block), view, None)
            }
            Some(session) if is_due => {
                let token = Secret::new(session.identity.verified().token().to_owned());
                match self.verdict_on(
                    env,
                    provider,
                    Purpose::Confirmation,
                    &Credential::Session(token),
                    (id, block),
                ) {
                    Known::Verdict(outcome) => {
                        self.conclude(env, provider, (id, block), view, Purpose::Confirmation, outcome)
                    }
                    Known::Waiting => None,
                }
            }
            session => self.judge(env, provider, (id, block), view, session),
        }
    }

    /// The truth table: what is sent × the session × interception.
    fn judge(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        (id, block): (RequestId, &HeaderBlock),
        view: &RequestView<'_>,
        session: Option<Rc<Session>>,
    ) -> Option<Decision> {
        let credential = credential::read(view.authorization);
        if self.is_unauthenticated(provider, view) {
            return Some(self.pass_unauthenticated(env, provider, view, credential.ok().flatten(), session));
        }
        let credential = match (credential, session.clone()) {
            (Ok(None), None) => {
                return Some(self.send_to_login(env, provider, view, None, Rejection::NoCredential));
            }
            (Ok(None), Some(session)) => {
                return Some(self.forward_session(env, provider, view, &session, false));
            }
            (Err(_), Some(session)) if session.origin == Origin::Login => {
                return Some(self.forward_session(env, provider, view, &session, false));
            }
            (Err(unusable), session) => {
                let rejection = Rejection::Unusable(unusable);
                return Some(self.turn_away(env, provider, view, None, session.as_deref(), rejection));
            }
            (Ok(Some(credential)), Some(session)) if session.origin == Origin::Login => {
                let known = self.known_without_call(env, provider, &credential);
                return Some(match known {
                    Some(Verdict::Vouched(identity)) => self.forward(provider, view, identity),
                    Some(Verdict::Refused(_)) | None => {
                        self.forward_session(env, provider, view, &session, false)
                    }
                });
            }
            (Ok(Some(credential)), Some(session))
                if self.is_credential_of(provider, &session, &credential) =>
            {
                return Some(self.forward_session(env, provider, view, &session, true));
            }
            (Ok(Some(credential)), _) => credential,
        };
        let purpose = Purpose::Credential(credential.scheme(), session);
        match self.verdict_on(env, provider, purpose.clone(), &credential, (id, block)) {
            Known::Verdict(outcome) => self.conclude(env, provider, (id, block), view, purpose, outcome),
            Known::Waiting => None,
        }
    }

    fn is_unauthenticated(&self, provider: ProviderId, view: &RequestView<'_>) -> bool {
        self.config.providers.get(provider).is_some_and(|settings| skip::is_unauthenticated(settings, view))
    }

    /// A verdict becomes a decision: the last step of every request that was judged. `None`: it waits again.
    fn conclude(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        (id, block): (RequestId, &HeaderBlock),
        view: &RequestView<'_>,
        purpose: Purpose,
        outcome: Result<Verdict, Fault>,
    ) -> Option<Decision> {
        match (purpose, outcome) {
            (Purpose::Login { return_url }, outcome) => {
                Some(self.finish_login(env, provider, view, return_url, outcome))
            }
            (Purpose::Confirmation, Ok(verdict)) => {
                let session = match verdict {
                    Verdict::Vouched(identity) => {
                        self.session(env, provider, view).map(|session| Rc::new(session.renewed(identity)))
                    }
                    // The session is over, whatever the cookie says.
                    Verdict::Refused(_) => None,
                };
                self.judge(env, provider, (id, block), view, session)
            }
            (Purpose::Credential(..), Ok(Verdict::Vouched(identity))) => {
                Some(self.forward_with_new_session(env, provider, view, identity))
            }
            (Purpose::Credential(scheme, session), Ok(Verdict::Refused(rejection))) => {
                let session = session.filter(|session| session.expires > env.now);
                Some(self.turn_away(env, provider, view, scheme, session.as_deref(), rejection))
            }
            (Purpose::Credential(..) | Purpose::Confirmation, Err(fault)) => {
                Some(decision::fail(&self.asker(provider, view, None), fault))
            }
        }
    }

    /// An invalid or unusable credential: with interception `401`; without it the header is the application's own,
    /// and the client is who its session says, or one without identity.
    fn turn_away(
        &self,
        env: &Env<'_>,
        provider: ProviderId,
        view: &RequestView<'_>,
        scheme: Option<AuthScheme>,
        session: Option<&Session>,
        rejection: Rejection,
    ) -> Decision {
        let intercepts =
            self.config.providers.get(provider).is_none_or(|provider| provider.intercept_header_auth);
        // A user whom authentik vouched for and who has no name is no stranger: a login would end here again.
        let is_incomplete = matches!(rejection, Rejection::Incomplete(_));
        match session {
            _ if intercepts || is_incomplete => {
                decision::reject(&self.asker(provider, view, scheme), rejection)
            }
            Some(session) => self.forward_session(env, provider, view, session, false),
            None => self.send_to_login(env, provider, view, scheme, rejection),
        }
    }

    /// `302` for what can show a login page, `401` for everything else.
    fn send_to_login(
        &self,
        env: &Env<'_>,
        provider: ProviderId,
        view: &RequestView<'_>,
        scheme: Option<AuthScheme>,
        rejection: Rejection,
    ) -> Decision {
        let asker = self.asker(provider, view, scheme);
        match self.config.providers.get(provider) {
            Some(settings) if view.is_navigation() && self.has_sessions() => {
                let return_url = login::return_url(settings, Some(&login::requested_url(settings, view)));
                self.start_login(env, provider, view, return_url, rejection)
            }
            Some(settings) if view.is_navigation() && !login::is_outpost_path(view) => {
                decision::redirect(&asker, &login::outpost_start_url(settings, view), Vec::new(), rejection)
            }
            Some(_) | None => decision::reject(&asker, rejection),
        }
    }

    /// A path that needs no authentication: with the identity of a credential that is known without a call, or of the
    /// session, else as it came.
    fn pass_unauthenticated(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        view: &RequestView<'_>,
        credential: Option<Credential>,
        session: Option<Rc<Session>>,
    ) -> Decision {
        let known = credential.and_then(|credential| self.known_without_call(env, provider, &credential));
        match (known, session) {
            (Some(Verdict::Vouched(identity)), _) => self.forward(provider, view, identity),
            (Some(Verdict::Refused(_)) | None, Some(session)) => {
                self.forward_session(env, provider, view, &session, false)
            }
            (Some(Verdict::Refused(_)) | None, None) => self.forward_anonymous(provider, view),
        }
    }

    /// As the credential, which goes no further.
    fn forward(&self, provider: ProviderId, view: &RequestView<'_>, identity: Rc<Identity>) -> Decision {
        Decision::Forward(self.with_identity(self.without_authorization(provider, view), view, identity))
    }

    /// The same, and the response brings a session.
    fn forward_with_new_session(
        &self,
        env: &Env<'_>,
        provider: ProviderId,
        view: &RequestView<'_>,
        identity: Rc<Identity>,
    ) -> Decision {
        let mut forward = self.without_authorization(provider, view);
        forward.set_cookies = self.new_session(env, provider, view, &identity).unwrap_or_default();
        Decision::Forward(self.with_identity(forward, view, identity))
    }

    /// As the session. The header goes when it is the session's own credential; else it is the application's.
    fn forward_session(
        &self,
        env: &Env<'_>,
        provider: ProviderId,
        view: &RequestView<'_>,
        session: &Session,
        is_own_credential: bool,
    ) -> Decision {
        let mut forward = if is_own_credential {
            self.without_authorization(provider, view)
        } else {
            self.with_foreign_authorization(provider, view)
        };
        forward.set_cookies = self.confirmed_session(env, provider, view, session).unwrap_or_default();
        Decision::Forward(self.with_identity(forward, view, Rc::clone(&session.identity)))
    }

    fn forward_anonymous(&self, provider: ProviderId, view: &RequestView<'_>) -> Decision {
        Decision::Forward(self.with_foreign_authorization(provider, view))
    }

    fn with_identity(&self, mut forward: Forward, view: &RequestView<'_>, identity: Rc<Identity>) -> Forward {
        forward.remove.extend(other_spellings(view, identity.overriding_headers()));
        forward.identity = Some(identity);
        forward
    }

    fn without_authorization(&self, provider: ProviderId, view: &RequestView<'_>) -> Forward {
        let mut forward = self.base_forward(provider, view);
        forward.remove.push(b"authorization".to_vec());
        forward
    }

    /// The client's `Authorization` is the application's own, unless it is a token of this authentik.
    fn with_foreign_authorization(&self, provider: ProviderId, view: &RequestView<'_>) -> Forward {
        let mut forward = self.base_forward(provider, view);
        let base = self.config.authentik.base.to_string();
        if credential::mentions_token(view.authorization, |token| verifier::is_issued_below(&base, token)) {
            forward.remove.push(b"authorization".to_vec());
        }
        forward
    }

    /// What every request that goes on loses and gets, with identity or without.
    fn base_forward(&self, provider: ProviderId, view: &RequestView<'_>) -> Forward {
        let mut forward = Forward::default();
        forward.remove.extend(view.owned.iter().map(|name| name.to_vec()));
        if let Some(state) = self.providers.get(provider) {
            match cookies::without(&[&state.session_cookie, &state.login_cookie], &view.cookies) {
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

    fn asker<'a>(
        &'a self,
        provider: ProviderId,
        view: &RequestView<'a>,
        scheme: Option<AuthScheme>,
    ) -> Asker<'a> {
        let provider = self.config.providers.get(provider);
        Asker {
            provider: provider.map(|provider| provider.name.as_str()),
            realm: provider.map_or("authentik", |provider| provider.slug.as_str()),
            scheme,
            is_grpc: view.is_grpc(),
            body_kind: view.body_kind(),
            request_id: view.request_id(),
        }
    }
}

/// A request without a provider.
fn stranger<'a>(view: &RequestView<'a>) -> Asker<'a> {
    Asker {
        provider: None,
        realm: "authentik",
        scheme: None,
        is_grpc: view.is_grpc(),
        body_kind: view.body_kind(),
        request_id: view.request_id(),
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
