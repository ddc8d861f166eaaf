//! THE FLOW. Read this first.
//!
//! [`Authenticator::authenticate`] takes a request's headers to a [`Decision`], or lets it wait for authentik;
//! [`Authenticator::answered`] takes authentik's answer to a verdict, and [`Authenticator::resume`] that to the decision of
//! each request that waited for it, one at a time.
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

mod attributes;
mod browser;
mod cache;
mod cookies;
pub mod credential;
pub mod decision;
mod der;
pub mod directory;
pub mod fault;
pub mod fingerprint;
mod flights;
pub mod headers;
pub mod identity;
mod inquiry;
pub mod jwks;
mod jws;
mod key_fetches;
mod keyring;
mod login;
mod memory;
pub mod origin;
mod packed;
mod page;
#[cfg(feature = "portable")]
mod portable;
pub mod provider;
pub mod request;
pub mod sealing;
pub mod secret;
mod session;
mod sessions;
mod shared_keys;
pub mod signature;
mod skip;
mod slots;
mod throttle;
pub mod time;
pub mod token;
pub mod verdict;
pub mod verifier;

use core::cell::LazyCell;
use std::borrow::Cow;
use std::rc::Rc;

use self::attributes::UnownedNames;
use self::cache::Cache;
use self::cookies::Cookie;
use self::credential::{AuthScheme, Credential};
use self::decision::{Asker, Decision, Forward};
use self::directory::{Directory, Found, ProviderId};
use self::fault::{Fault, Rejection};
use self::fingerprint::ProviderKeys;
use self::flights::{Flights, Known, Purpose};
use self::headers::{Header, HeaderValue};
use self::identity::Identity;
use self::jwks::KeySet;
use self::keyring::KeyRing;
use self::origin::Host;
use self::request::{HeaderBlock, RequestView};
use self::sealing::SealingKeys;
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

/// One request on its way through the flow.
#[derive(Clone, Copy)]
struct Request<'a> {
    env: &'a Env<'a>,
    id: RequestId,
    provider: ProviderId,
    /// The form of its host that was judged, where that is not what it says.
    authority: Option<&'a Host>,
    view: &'a RequestView<'a>,
    /// Whether authentik has ended its session: the cookie is taken back with the answer.
    has_ended_session: bool,
}

impl<'a> Request<'a> {
    const fn new(env: &'a Env<'a>, id: RequestId, found: &'a Found, view: &'a RequestView<'a>) -> Self {
        let authority = found.authority.as_ref();
        Self { env, id, provider: found.id, authority, view, has_ended_session: false }
    }
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
    unowned_names: UnownedNames,
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
        let state = |(id, provider): (ProviderId, &Provider)| {
            let assumed = provider.has_no_signing_key.then_some(KeySet::ClientSecret);
            Some(ProviderState {
                keyring: KeyRing::new(assumed),
                keys: ProviderKeys::derive(&config, id, provider)?,
                sealing: if has_sessions { Some(SealingKeys::derive(provider)?) } else { None },
                session_cookie: Cookie::session(provider),
                login_cookie: Cookie::login(provider),
            })
        };
        let providers = config.providers.iter().enumerate().map(state).collect::<Option<_>>()?;
        let bytes = config.cache.local_entries.saturating_mul(cache::BYTES_PER_ENTRY);
        let bytes = if has_sessions { bytes / 2 } else { bytes };
        Some(Self {
            directory: Directory::new(&config.providers),
            providers,
            cache: Cache::new(config.cache.local_entries, bytes),
            sessions: Cache::new(config.cache.local_entries, bytes),
            slots: Slots::new(&config),
            flights: Flights::default(),
            throttle: Throttle::new(&config.throttle),
            unowned_names: UnownedNames::default(),
            config,
        })
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The names of trailers that must not go on: a client could say there what it may not in the headers, or say again
    /// what the filter has `set` in them. `None` where the host's map is not in its format.
    pub fn forbidden_trailers(&self, trailers: &HeaderBlock, set: &[&str]) -> Option<Vec<Vec<u8>>> {
        let set: Vec<_> = set.iter().map(|name| headers::normalise(name)).collect();
        let is_forbidden = |name: &[u8]| {
            headers::is_owned(name, &self.config.owned_headers)
                || headers::spells(name, "authorization")
                || set.iter().any(|set| headers::spells(name, set))
        };
        let pairs: Result<Vec<_>, _> = trailers.pairs()?.collect();
        Some(
            pairs
                .ok()?
                .into_iter()
                .filter(|(name, _)| is_forbidden(name))
                .map(|(name, _)| name.to_vec())
                .collect(),
        )
    }

    /// Judges a request by its headers. `None`: it waits for authentik; its decision comes out of [`Self::answered`].
    pub fn authenticate(&mut self, env: &Env<'_>, id: RequestId, block: &HeaderBlock) -> Option<Decision> {
        let Ok(view) = RequestView::read(block, &self.config.owned_headers) else {
            return Some(Decision::Reply(decision::broken_reply()));
        };
        let Some(found) = self.directory.find(view.authority, &self.config.providers) else {
            return Some(decision::reject(&stranger(&view, &self.config), Rejection::UnknownHost));
        };
        let request = Request::new(env, id, &found, &view);
        if self.config.allow_cors_preflight && view.is_cors_preflight() {
            return Some(self.pass_preflight(request));
        }
        if self.has_sessions()
            && let Some(visit) = login::visit(&view)
        {
            return self.visit(request, visit);
        }
        let session = self.session(request);
        if self.is_unauthenticated(request) {
            return Some(self.pass_unauthenticated(request, session));
        }
        match session {
            Some(session) if self.is_to_be_confirmed(request, &session) => {
                let token = session.identity.verified().token().clone();
                let purpose = Purpose::Confirmation(session);
                match self.verdict_on(request, purpose.clone(), &Credential::Session(token)) {
                    Known::Verdict(outcome) => self.conclude(request, purpose, outcome),
                    Known::Waiting => None,
                }
            }
            session => self.judge(request, session),
        }
    }

    /// The truth table: what is sent × the session × interception.
    fn judge(&mut self, request: Request<'_>, session: Option<Rc<Session>>) -> Option<Decision> {
        // Fast path: a cached Bearer token, no session.
        if session.is_none()
            && let Some(verdict) = self.known_token(request)
        {
            let purpose = Purpose::Credential(Some(AuthScheme::Bearer), None);
            return self.conclude(request, purpose, Ok(verdict));
        }
        let credential = credential::read(request.view.authorization);
        let credential = match (credential, session.clone()) {
            (Ok(None), None) => {
                let rejection =
                    if request.has_ended_session { Rejection::SessionEnded } else { Rejection::NoCredential };
                return Some(self.send_to_login(request, None, rejection));
            }
            (Ok(None), Some(session)) => {
                return Some(self.forward_session(request, &session, false));
            }
            (Err(_), Some(session)) if session.origin == Origin::Login => {
                return Some(self.forward_session(request, &session, false));
            }
            (Err(unusable), session) => {
                let rejection = Rejection::Unusable(unusable);
                return Some(self.turn_away(request, None, session.as_deref(), rejection));
            }
            (Ok(Some(credential)), Some(session)) if session.origin == Origin::Login => {
                let known = self.known_without_call(request, &credential);
                return Some(match known {
                    Some(Verdict::Vouched(identity)) => self.forward(request, identity),
                    Some(Verdict::Refused(_)) | None => self.forward_session(request, &session, false),
                });
            }
            (Ok(Some(credential)), Some(session))
                if self.is_credential_of(request, &session, &credential) =>
            {
                return Some(self.forward_session(request, &session, true));
            }
            (Ok(Some(credential)), _) => credential,
        };
        let purpose = Purpose::Credential(credential.scheme(), session);
        match self.verdict_on(request, purpose.clone(), &credential) {
            Known::Verdict(outcome) => self.conclude(request, purpose, outcome),
            Known::Waiting => None,
        }
    }

    fn is_unauthenticated(&self, request: Request<'_>) -> bool {
        self.config
            .providers
            .get(request.provider)
            .is_some_and(|settings| skip::is_unauthenticated(settings, request.view))
    }

    /// A verdict becomes a decision: the last step of every request that was judged. `None`: it waits again.
    fn conclude(
        &mut self,
        request: Request<'_>,
        purpose: Purpose,
        outcome: Result<Verdict, Fault>,
    ) -> Option<Decision> {
        match (purpose, outcome) {
            (Purpose::Login { return_url }, outcome) => Some(self.finish_login(request, return_url, outcome)),
            (Purpose::Confirmation(session), Ok(Verdict::Vouched(identity))) => {
                // It may have come to its end while it was being confirmed.
                let is_current = session.expires > request.env.now;
                self.judge(request, is_current.then(|| Rc::new(session.renewed(identity))))
            }
            // The session is over, whatever the cookie says.
            (Purpose::Confirmation(_), Ok(Verdict::Refused(_))) => {
                self.forget_sessions(request);
                let request = Request { has_ended_session: true, ..request };
                let decision = self.judge(request, None)?;
                Some(self.take_session_back(request, decision))
            }
            (Purpose::Confirmation(session), Err(fault))
                if self.is_session_bridged(request, &session, &fault) =>
            {
                self.judge(request, Some(session))
            }
            (Purpose::Credential(..), Ok(Verdict::Vouched(identity))) => {
                Some(self.forward_with_new_session(request, identity))
            }
            (Purpose::Credential(scheme, session), Ok(Verdict::Refused(rejection))) => {
                let session = session.filter(|session| session.expires > request.env.now);
                Some(self.turn_away(request, scheme, session.as_deref(), rejection))
            }
            (Purpose::Credential(..) | Purpose::Confirmation(_), Err(fault)) => {
                Some(decision::fail(&self.asker(request, None), fault))
            }
        }
    }

    /// An invalid or unusable credential: with interception `401`; without it the header is the application's own,
    /// and the client is who its session says, or one without identity.
    fn turn_away(
        &self,
        request: Request<'_>,
        scheme: Option<AuthScheme>,
        session: Option<&Session>,
        rejection: Rejection,
    ) -> Decision {
        let intercepts =
            self.config.providers.get(request.provider).is_none_or(|provider| provider.intercept_header_auth);
        // A user whom authentik vouched for and who has no name is no stranger: a login would end here again.
        let is_incomplete = matches!(rejection, Rejection::Incomplete(_));
        match session {
            _ if intercepts || is_incomplete => decision::reject(&self.asker(request, scheme), rejection),
            Some(session) => self.forward_session(request, session, false),
            None if matches!(rejection, Rejection::Throttled { .. }) => {
                self.send_to_login(request, scheme, Rejection::Throttled { retry_after: None })
            }
            None => self.send_to_login(request, scheme, rejection),
        }
    }

    /// `302` for what can show a login page, `401` for everything else.
    fn send_to_login(
        &self,
        request: Request<'_>,
        scheme: Option<AuthScheme>,
        rejection: Rejection,
    ) -> Decision {
        let asker = self.asker(request, scheme);
        match self.config.providers.get(request.provider) {
            Some(settings) if request.view.is_navigation() && self.has_sessions() => {
                let requested = login::requested_url(settings, request.view);
                let return_url = login::return_url(settings, Some(&requested), Some(request.view.authority));
                self.start_login(request, return_url, rejection)
            }
            Some(settings) if request.view.is_navigation() && !login::is_outpost_path(request.view) => {
                decision::redirect(
                    &asker,
                    &login::outpost_start_url(settings, request.view),
                    Vec::new(),
                    rejection,
                )
            }
            Some(_) | None => decision::reject(&asker, rejection),
        }
    }

    /// A path that needs no authentication: with the identity of a credential that is known without a call, or of the
    /// session, else as it came.
    fn pass_unauthenticated(&mut self, request: Request<'_>, session: Option<Rc<Session>>) -> Decision {
        let (known, is_own_credential) = self.known_of_both(request, session.as_deref());
        // Nothing is asked of authentik here, so a session that it would have to confirm gives no identity.
        let session = session.filter(|session| !self.is_to_be_confirmed(request, session));
        match (known, session) {
            (Some(Verdict::Vouched(identity)), _) => self.forward(request, identity),
            (Some(Verdict::Refused(_)) | None, Some(session)) => {
                self.forward_session(request, &session, is_own_credential)
            }
            (Some(Verdict::Refused(_)) | None, None) if is_own_credential => {
                Decision::Forward(self.without_authorization(request))
            }
            (Some(Verdict::Refused(_)) | None, None) => self.forward_anonymous(request),
        }
    }

    /// Without identity, whoever it says it is. A preflight has no credential; one that has brings it no further.
    fn pass_preflight(&mut self, request: Request<'_>) -> Decision {
        let session = self.session(request);
        match self.known_of_both(request, session.as_deref()) {
            (Some(Verdict::Vouched(_)), _) | (_, true) => {
                Decision::Forward(self.without_authorization(request))
            }
            (Some(Verdict::Refused(_)) | None, false) => self.forward_anonymous(request),
        }
    }

    /// What is known of the credential without a call, and whether the session came from it.
    fn known_of_both(&mut self, request: Request<'_>, session: Option<&Session>) -> (Option<Verdict>, bool) {
        let Ok(Some(credential)) = credential::read(request.view.authorization) else { return (None, false) };
        let is_own = session.is_some_and(|session| self.is_credential_of(request, session, &credential));
        (self.known_without_call(request, &credential), is_own)
    }

    /// The answer takes the cookie of a session back that authentik has ended, unless it brings a new one.
    fn take_session_back(&self, request: Request<'_>, decision: Decision) -> Decision {
        let Some(state) = self.providers.get(request.provider) else { return decision };
        let cleared = state.session_cookie.clear(&request.view.cookies);
        match decision {
            Decision::Forward(mut forward) => {
                if forward.set_cookies.is_empty() {
                    forward.set_cookies = cleared;
                }
                Decision::Forward(forward)
            }
            Decision::Reply(mut reply) => {
                reply.headers.extend(cleared.into_iter().map(|value| ("set-cookie", value)));
                Decision::Reply(reply)
            }
        }
    }

    /// As the credential, which goes no further.
    fn forward(&self, request: Request<'_>, identity: Rc<Identity>) -> Decision {
        Decision::Forward(self.with_identity(self.without_authorization(request), request, identity))
    }

    /// The same, and the response brings a session.
    fn forward_with_new_session(&self, request: Request<'_>, identity: Rc<Identity>) -> Decision {
        let mut forward = self.without_authorization(request);
        forward.set_cookies = self.new_session(request, &identity).unwrap_or_default();
        Decision::Forward(self.with_identity(forward, request, identity))
    }

    /// As the session. The header goes when it is the session's own credential; else it is the application's.
    fn forward_session(&self, request: Request<'_>, session: &Session, is_own_credential: bool) -> Decision {
        let mut forward = if is_own_credential {
            self.without_authorization(request)
        } else {
            self.with_foreign_authorization(request)
        };
        forward.set_cookies = self.confirmed_session(request, session).unwrap_or_default();
        Decision::Forward(self.with_identity(forward, request, Rc::clone(&session.identity)))
    }

    fn forward_anonymous(&self, request: Request<'_>) -> Decision {
        Decision::Forward(self.with_foreign_authorization(request))
    }

    fn with_identity(&self, mut forward: Forward, request: Request<'_>, identity: Rc<Identity>) -> Forward {
        forward.remove.extend(other_spellings(request.view, identity.overriding_headers()));
        if identity.is_first_forward() {
            self.unowned_names.warn_of(&identity, &self.config);
        }
        forward.identity = Some(identity);
        forward
    }

    fn without_authorization(&self, request: Request<'_>) -> Forward {
        let mut forward = self.base_forward(request);
        forward.remove.push(Cow::Borrowed(b"authorization"));
        forward
    }

    /// The client's `Authorization` is the application's own, unless it is a token of this authentik.
    fn with_foreign_authorization(&self, request: Request<'_>) -> Forward {
        let mut forward = self.base_forward(request);
        let base = LazyCell::new(|| self.config.authentik.base.to_string());
        let issuers = || self.config.providers.iter().map(|provider| provider.issuer.as_str());
        if credential::mentions_token(request.view.authorization, |token| {
            verifier::is_issued_here(&base, issuers(), token)
        }) {
            forward.remove.push(Cow::Borrowed(b"authorization"));
        }
        forward
    }

    /// What every request that goes on loses and gets, with identity or without.
    fn base_forward(&self, request: Request<'_>) -> Forward {
        let mut forward = Forward::new(&self.config, request.view.has_authorization());
        forward.remove.extend(request.view.owned.iter().map(|name| Cow::Owned(name.to_vec())));
        match cookies::without_own(&request.view.cookies) {
            cookies::Remaining::Untouched => {}
            cookies::Remaining::Nothing => forward.remove.push(Cow::Borrowed(b"cookie")),
            cookies::Remaining::Value(value) => forward.replace.push((Cow::Borrowed("cookie"), value)),
        }
        if let Some(judged) = request.authority {
            forward.replace.push((Cow::Borrowed(":authority"), HeaderValue::cleaned(judged.to_string())));
        }
        if self.config.providers.get(request.provider).is_some_and(|provider| provider.mode == Mode::Proxy) {
            let host: Header =
                (Cow::Borrowed("x-forwarded-host"), HeaderValue::cleaned(request.view.authority));
            forward.remove.extend(other_spellings(request.view, core::slice::from_ref(&host)));
            forward.replace.push(host);
        }
        if request.view.names_connection_options() {
            forward.replace.push((Cow::Borrowed("connection"), HeaderValue::cleaned("upgrade")));
        }
        forward
    }

    fn asker<'a>(&'a self, request: Request<'a>, scheme: Option<AuthScheme>) -> Asker<'a> {
        let provider = self.config.providers.get(request.provider);
        Asker {
            provider: provider.map(|provider| provider.name.as_str()),
            realm: provider.map_or("authentik", |provider| provider.slug.as_str()),
            scheme,
            is_grpc: request.view.is_grpc(),
            body_kind: request.view.body_kind(),
            request_id: request.view.request_id(),
            is_script: request.view.is_script(),
            allowed_origin: self.config.allowed_origin(request.view.origin()),
        }
    }
}

/// A request without a provider.
fn stranger<'a>(view: &RequestView<'a>, config: &'a Config) -> Asker<'a> {
    Asker {
        provider: None,
        realm: "authentik",
        scheme: None,
        is_grpc: view.is_grpc(),
        body_kind: view.body_kind(),
        request_id: view.request_id(),
        is_script: view.is_script(),
        allowed_origin: config.allowed_origin(view.origin()),
    }
}

/// What the client sent under another spelling of a name that the identity sets: `X_Tenant` beside `x-tenant`.
fn other_spellings(view: &RequestView<'_>, overriding: &[Header]) -> Vec<Cow<'static, [u8]>> {
    let normal: Vec<_> =
        overriding.iter().map(|(name, _)| (name.as_bytes(), headers::normalise(name))).collect();
    if normal.is_empty() {
        return Vec::new();
    }
    let is_other =
        |sent: &&[u8]| normal.iter().any(|(name, normal)| sent != name && headers::spells(sent, normal));
    view.names().filter(is_other).map(|name| Cow::Owned(name.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::authn::provider::Answer;
    use crate::authn::secret::Secret;
    use crate::authn::slots::tests::{Memory, at};

    fn authenticator() -> Authenticator {
        let configuration = json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
            "owned_headers": ["X-Tenant"],
            "session": {"enabled": false},
            "throttle": {"failures": 1},
            "providers": [{
                "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
                "external_host": "https://app.example.test", "intercept_header_auth": false,
            }],
        });
        let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
        Authenticator::new(config).unwrap()
    }

    fn block(pairs: &[(&str, &str)]) -> HeaderBlock {
        HeaderBlock::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    #[test]
    fn a_trailer_says_nothing_that_a_header_may_not() {
        let trailers = block(&[
            ("x-checksum", "1"),
            ("x-authentik-username", "admin"),
            ("X_Authentik_Groups", "admins"),
            ("x.tenant", "red"),
            ("Authorization", "Basic x"),
            ("x-authentik", "not below the prefix"),
            ("x_tenant-tier", "gold"),
            ("x-forwarded-host", "elsewhere"),
        ]);
        let forbidden =
            authenticator().forbidden_trailers(&trailers, &["x-tenant-tier", "X_Forwarded_Host"]).unwrap();
        assert_eq!(
            forbidden,
            [
                &b"x-authentik-username"[..],
                b"X_Authentik_Groups",
                b"x.tenant",
                b"Authorization",
                b"x_tenant-tier",
                b"x-forwarded-host",
            ]
        );
        assert_eq!(authenticator().forbidden_trailers(&block(&[]), &["x"]), Some(Vec::new()));
        let malformed = HeaderBlock::new(vec![0xff; 64]);
        assert_eq!(authenticator().forbidden_trailers(&malformed, &[]), None);
    }

    #[test]
    fn so_many_requests_may_wait_and_no_more() {
        let (mut authenticator, memory) = (authenticator(), Memory::default());
        let env = Env { now: at(0), surroundings: &memory };
        let request = block(&[(":authority", "app.example.test"), ("authorization", "Basic YWxpY2U6eA==")]);
        for id in 0..8_192 {
            assert!(authenticator.authenticate(&env, id, &request).is_none(), "request {id}");
        }
        let mut status = |id| match authenticator.authenticate(&env, id, &request) {
            Some(Decision::Reply(reply)) => Some(reply.status),
            Some(Decision::Forward(_)) => Some(200),
            None => None,
        };
        assert_eq!((status(8_192), status(8_193)), (Some(503), Some(503)));
        authenticator.forget(7);
        assert!(authenticator.authenticate(&env, 8_194, &request).is_none(), "one has left");
        let calls = authenticator.take_calls();
        assert_eq!(calls.len(), 1);
        for (ticket, _) in calls {
            authenticator.answered(&env, ticket, &Answer::Reset);
            let ids: Vec<_> = core::iter::from_fn(|| {
                let id = authenticator.next_ready()?;
                assert!(matches!(authenticator.resume(&env, id, &request), Some(Decision::Reply(_))));
                Some(id)
            })
            .collect();
            let expected: Vec<_> = (0..8_192).filter(|id| *id != 7).chain([8_194]).collect();
            assert_eq!(ids, expected, "in the order in which they came");
        }
    }

    #[test]
    fn a_request_that_does_not_wait_is_never_forwarded() {
        let (mut authenticator, memory) = (authenticator(), Memory::default());
        let env = Env { now: at(0), surroundings: &memory };
        let request = block(&[(":authority", "app.example.test"), ("authorization", "Basic YWxpY2U6eA==")]);
        let unknown = authenticator.resume(&env, 1, &request);
        assert!(matches!(unknown, Some(Decision::Reply(reply)) if reply.status == 503), "nobody knows it");
        assert!(authenticator.authenticate(&env, 2, &request).is_none());
        assert!(authenticator.resume(&env, 2, &request).is_none(), "its verdict is not there");
        for (ticket, _) in authenticator.take_calls() {
            authenticator.answered(&env, ticket, &Answer::Reset);
        }
        assert_eq!(authenticator.next_ready(), Some(2));
        let malformed = HeaderBlock::new(vec![0xff; 64]);
        let broken = authenticator.resume(&env, 2, &malformed);
        assert!(matches!(broken, Some(Decision::Reply(reply)) if reply.status == 503));
        assert_eq!(authenticator.next_ready(), None);
    }

    /// An answer that is lost ends nobody's patience for ever, and one that comes late is nobody's.
    #[test]
    fn a_lost_answer_is_given_up_and_a_late_one_changes_nothing() {
        let (mut authenticator, memory) = (authenticator(), Memory::default());
        let request = block(&[(":authority", "app.example.test"), ("authorization", "Basic YWxpY2U6eA==")]);
        let env = |seconds| Env { now: at(seconds), surroundings: &memory };
        let status = |decision| match decision {
            Some(Decision::Reply(reply)) => reply.status,
            other => panic!("a reply, not {other:?}"),
        };
        assert!(authenticator.authenticate(&env(0), 1, &request).is_none());
        let (lost, _) = authenticator.take_calls().remove(0);
        authenticator.tick(&env(7), 0);
        assert_eq!(authenticator.next_ready(), None, "5 seconds for the call, 2 for Envoy's own answer");
        authenticator.tick(&env(8), 0);
        assert_eq!(authenticator.next_ready(), Some(1));
        assert_eq!(status(authenticator.resume(&env(8), 1, &request)), 503);
        // The next request with this credential asks again, and the late answer is not taken for its own.
        assert!(authenticator.authenticate(&env(9), 2, &request).is_none());
        let calls = authenticator.take_calls();
        let refused = Answer::Response {
            status: 400,
            retry_after: None,
            body: Secret::new(br#"{"error":"invalid_grant"}"#.to_vec()),
        };
        authenticator.answered(&env(9), lost, &refused);
        assert_eq!(authenticator.next_ready(), None);
        for (ticket, _) in calls {
            authenticator.answered(&env(9), ticket, &refused);
        }
        assert_eq!(authenticator.next_ready(), Some(2));
        assert_eq!(status(authenticator.resume(&env(9), 2, &request)), 401);
    }

    /// With interception off the client is told the same; who reads the log must not be.
    #[test]
    fn the_log_says_why_a_credential_was_turned_away() {
        let (mut authenticator, memory) = (authenticator(), Memory::default());
        let env = Env { now: at(0), surroundings: &memory };
        let mut turned_away = |id, credential: &str| {
            let headers =
                [(":method", "POST"), (":authority", "app.example.test"), ("authorization", credential)];
            let block = block(&headers);
            let decided = authenticator.authenticate(&env, id, &block);
            let refused = Answer::Response {
                status: 400,
                retry_after: None,
                body: Secret::new(br#"{"error":"invalid_grant"}"#.to_vec()),
            };
            let mut calls = authenticator.take_calls().into_iter();
            let answered = calls.next().and_then(|(ticket, _)| {
                authenticator.answered(&env, ticket, &refused);
                let ready = authenticator.next_ready()?;
                authenticator.resume(&env, ready, &block)
            });
            match decided.or(answered) {
                Some(Decision::Reply(reply)) => (reply.status, reply.details),
                other => panic!("a reply, not {other:?}"),
            }
        };
        assert_eq!(turned_away(1, "Basic !"), (401, "authentik_unusable_credential"));
        assert_eq!(turned_away(2, "Basic YWxpY2U6eA=="), (401, "authentik_refused"));
        assert_eq!(turned_away(3, "Basic YWxpY2U6eQ=="), (401, "authentik_throttled"));
    }
}
