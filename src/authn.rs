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
//! The core knows no host: `now` and [`Host`] are arguments, calls to authentik are values that the shell
//! fetches with [`Authenticator::take_calls`] and answers later.

pub mod authentik;
pub mod cache;
pub mod directory;
pub mod edits;
pub mod env;
pub mod fault;
pub mod identity;
pub mod jwt;
pub mod login;
pub mod policy;
pub mod reply;
pub mod request;
pub mod session;
pub mod verdict;
pub mod verification;

use std::rc::Rc;

use crate::authn::cache::fingerprint::ProviderKeys;
use crate::authn::cache::jwks::KeyRing;
use crate::authn::cache::local;
use crate::authn::cache::local::Cache;
use crate::authn::cache::shared::Slots;
use crate::authn::directory::{Directory, Found, ProviderId};
use crate::authn::edits::Forward;
use crate::authn::env::Env;
use crate::authn::fault::{Fault, Rejection};
use crate::authn::identity::Identity;
use crate::authn::identity::attributes::UnownedNames;
use crate::authn::jwt::jwk::KeySet;
use crate::authn::login::state;
use crate::authn::policy::{Action, Authorization, Path, Presented};
use crate::authn::reply::{Asker, Decision};
use crate::authn::request::credential::{AuthScheme, Credential};
use crate::authn::request::view::{HeaderBlock, RequestView};
use crate::authn::request::{credential, open_paths};
use crate::authn::session::cipher::SealingKeys;
use crate::authn::session::content::{Origin, Session};
use crate::authn::session::cookies::Cookie;
use crate::authn::verdict::{Refusal, Verdict};
use crate::authn::verification::rate_limit::Throttle;
use crate::authn::verification::single_flight::{Flights, Known, Purpose};
use crate::base::header::HeaderValue;
use crate::base::url::HostAndPort;
use crate::config::{Config, Provider};

pub use crate::authn::verification::single_flight::{RequestId, Ticket};

/// One request on its way through the flow.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    env: &'a Env<'a>,
    id: RequestId,
    provider: ProviderId,
    /// The form of its host that was judged, where that is not what it says.
    authority: Option<&'a HostAndPort>,
    view: &'a RequestView<'a>,
    path: Path,
    /// Whether authentik has ended its session: the cookie is taken back with the answer.
    has_ended_session: bool,
}

impl<'a> Request<'a> {
    const fn new(env: &'a Env<'a>, id: RequestId, found: &'a Found, view: &'a RequestView<'a>) -> Self {
        let authority = found.authority.as_ref();
        Self { env, id, provider: found.id, authority, view, path: Path::Protected, has_ended_session: false }
    }
}

/// Everything that one worker knows under one configuration.
pub struct Authenticator {
    config: Config,
    directory: Directory,
    providers: Vec<ProviderState>,
    /// Good verdicts. Refusals have a cache of their own: any number of guesses takes no good verdict's place.
    cache: Cache<Verdict>,
    refusals: Cache<Refusal>,
    sessions: Cache<Rc<Session>>,
    slots: Slots,
    flights: Flights,
    throttle: Throttle,
    unowned_names: UnownedNames,
}

pub(crate) struct ProviderState {
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
        let bytes = config.cache.local_entries.saturating_mul(local::BYTES_PER_ENTRY);
        let bytes = if has_sessions { bytes / 2 } else { bytes };
        Some(Self {
            directory: Directory::new(&config.providers),
            providers,
            cache: Cache::new(config.cache.local_entries, bytes),
            refusals: Cache::new(config.cache.local_entries, bytes / 8),
            sessions: Cache::new(config.cache.local_entries, bytes),
            slots: Slots::new(&config),
            flights: Flights::new(&config.authentik),
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
        edits::forbidden_trailers(trailers, set, &self.config)
    }

    /// Judges a request by its headers. `None`: it waits for authentik; its decision comes out of [`Self::answered`].
    pub fn authenticate(&mut self, env: &Env<'_>, id: RequestId, block: &HeaderBlock) -> Option<Decision> {
        let Ok(view) = RequestView::read(block, &self.config.owned_headers) else {
            return Some(Decision::Reply(reply::broken_reply()));
        };
        let Some(found) = self.directory.find(view.authority, &self.config.providers) else {
            return Some(reply::reject(&stranger(&view, &self.config), Rejection::UnknownHost));
        };
        let request = Request::new(env, id, &found, &view);
        if self.config.allow_cors_preflight && view.is_cors_preflight() {
            return Some(self.pass_preflight(Request { path: Path::Open, ..request }));
        }
        if self.has_sessions()
            && let Some(visit) = state::visit(&view)
        {
            return self.visit(request, visit);
        }
        let session = self.session(request);
        if self.is_unauthenticated(request) {
            return self.judge(Request { path: Path::Open, ..request }, session);
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

    /// What is known of the request goes into the truth table. `None`: authentik is asked.
    fn judge(&mut self, request: Request<'_>, session: Option<Rc<Session>>) -> Option<Decision> {
        // Fast path: a cached Bearer token, no session.
        if session.is_none()
            && request.path == Path::Protected
            && let Some(verdict) = self.known_token(request)
        {
            let purpose = Purpose::Credential(Some(AuthScheme::Bearer), None);
            return self.conclude(request, purpose, Ok(verdict));
        }
        let (credential, presented, rejection) = match credential::read(request.view.authorization) {
            Ok(Some(credential)) => (Some(credential), Presented::Credential, Rejection::NoCredential),
            Ok(None) if request.has_ended_session => (None, Presented::Absent, Rejection::SessionEnded),
            Ok(None) => (None, Presented::Absent, Rejection::NoCredential),
            Err(unusable) => (None, Presented::Malformed, Rejection::Unusable(unusable)),
        };
        let standing = self.standing(request, session.as_deref(), credential.as_ref());
        // Where nobody is asked, the credential counts if it is known.
        let asks_nobody = request.path == Path::Open || standing == policy::Session::OfLogin;
        let known = match &credential {
            Some(credential) if asks_nobody => self.known_without_call(request, credential).map(Ok),
            Some(_) | None => None,
        };
        match (self.action(request, presented, standing, known.as_ref()), credential) {
            (Action::Ask, Some(credential)) => {
                let purpose = Purpose::Credential(credential.scheme(), session);
                match self.verdict_on(request, purpose.clone(), &credential) {
                    Known::Verdict(outcome) => self.conclude(request, purpose, outcome),
                    Known::Waiting => None,
                }
            }
            (action, _) => {
                let outcome = known.unwrap_or(Ok(Verdict::Refused(rejection)));
                Some(self.carry_out(request, action, None, session, outcome))
            }
        }
    }

    /// What the session is to the request: whose it is, and what it came from.
    fn standing(
        &self,
        request: Request<'_>,
        session: Option<&Session>,
        credential: Option<&Credential<'_>>,
    ) -> policy::Session {
        let Some(session) = session else { return policy::Session::None };
        let is_own = credential.is_some_and(|credential| self.is_credential_of(request, session, credential));
        let is_unconfirmed = request.path == Path::Open && self.is_to_be_confirmed(request, session);
        match (is_own, is_unconfirmed) {
            (true, true) => policy::Session::OfThisCredentialUnconfirmed,
            (false, true) => policy::Session::None,
            (true, false) => policy::Session::OfThisCredential,
            (false, false) if session.origin == Origin::Login => policy::Session::OfLogin,
            (false, false) => policy::Session::OfAnotherCredential,
        }
    }

    /// The row of the truth table.
    fn action(
        &self,
        request: Request<'_>,
        presented: Presented,
        session: policy::Session,
        known: Option<&Result<Verdict, Fault>>,
    ) -> Action {
        let intercepts =
            self.config.providers.get(request.provider).is_none_or(|provider| provider.intercept_header_auth);
        let verdict = match known {
            None => policy::Verdict::Unknown,
            Some(Ok(Verdict::Vouched(_))) => policy::Verdict::Vouched,
            Some(Ok(Verdict::Refused(Rejection::Incomplete(_)))) => policy::Verdict::Incomplete,
            Some(Ok(Verdict::Refused(Rejection::Throttled { .. }))) => policy::Verdict::RateLimited,
            Some(Ok(Verdict::Refused(_))) => policy::Verdict::Refused,
            Some(Err(_)) => policy::Verdict::Unavailable,
        };
        policy::action(request.path, presented, session, verdict, intercepts)
    }

    /// Does what the truth table says. What it cannot say is answered as a fault of the filter's own.
    fn carry_out(
        &self,
        request: Request<'_>,
        action: Action,
        scheme: Option<AuthScheme>,
        session: Option<Rc<Session>>,
        outcome: Result<Verdict, Fault>,
    ) -> Decision {
        match (action, session, outcome) {
            (Action::AsCredential { session }, _, Ok(Verdict::Vouched(identity))) => {
                self.forward(request, identity, session)
            }
            (Action::AsSession { authorization }, Some(session), _) => {
                self.forward_session(request, &session, authorization)
            }
            (Action::Anonymous { authorization }, _, _) => {
                Decision::Forward(Forward::anonymous(&self.config, request, authorization))
            }
            (Action::Login, _, Ok(Verdict::Refused(rejection))) => {
                self.send_to_login(request, scheme, rejection)
            }
            (Action::Reject, _, Ok(Verdict::Refused(rejection))) => {
                reply::reject(&self.asker(request, scheme), rejection)
            }
            (Action::Unavailable, _, Err(fault)) => reply::fail(&self.asker(request, None), fault),
            _ => Decision::Reply(reply::broken_reply()),
        }
    }

    fn is_unauthenticated(&self, request: Request<'_>) -> bool {
        self.config
            .providers
            .get(request.provider)
            .is_some_and(|settings| open_paths::is_unauthenticated(settings, request.view))
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
            (Purpose::Confirmation(_), Err(fault)) => Some(reply::fail(&self.asker(request, None), fault)),
            (Purpose::Credential(scheme, session), outcome) => {
                let session = session.filter(|session| session.expires > request.env.now);
                let standing = match session {
                    Some(_) => policy::Session::OfAnotherCredential,
                    None => policy::Session::None,
                };
                let action = self.action(request, Presented::Credential, standing, Some(&outcome));
                Some(self.carry_out(request, action, scheme, session, outcome))
            }
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
        // Nobody need wait before a login.
        let rejection = if matches!(rejection, Rejection::Throttled { .. }) {
            Rejection::Throttled { retry_after: None }
        } else {
            rejection
        };
        match self.config.providers.get(request.provider) {
            Some(settings) if request.view.is_navigation() && self.has_sessions() => {
                let requested = state::requested_url(settings, request.view);
                let return_url = state::return_url(settings, Some(&requested), Some(request.view.authority));
                self.start_login(request, return_url, rejection)
            }
            Some(settings) if request.view.is_navigation() && !state::is_outpost_path(request.view) => {
                reply::redirect(
                    &asker,
                    &state::outpost_start_url(settings, request.view),
                    Vec::new(),
                    rejection,
                )
            }
            Some(_) | None => reply::reject(&asker, rejection),
        }
    }

    /// Without identity, whoever it says it is. A preflight has no credential; one that has brings it no further.
    fn pass_preflight(&mut self, request: Request<'_>) -> Decision {
        let session = self.session(request);
        let credential = credential::read(request.view.authorization).ok().flatten();
        let standing = self.standing(request, session.as_deref(), credential.as_ref());
        let (presented, known) = match &credential {
            Some(credential) => (Presented::Credential, self.known_without_call(request, credential).map(Ok)),
            None => (Presented::Absent, None),
        };
        let authorization = match self.action(request, presented, standing, known.as_ref()) {
            Action::Anonymous { authorization } | Action::AsSession { authorization } => authorization,
            Action::AsCredential { .. }
            | Action::Ask
            | Action::Login
            | Action::Reject
            | Action::Unavailable => Authorization::Removed,
        };
        Decision::Forward(Forward::anonymous(&self.config, request, authorization))
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

    /// As the credential, which goes no further. `has_session`: the response brings one.
    fn forward(&self, request: Request<'_>, identity: Rc<Identity>, has_session: bool) -> Decision {
        let cookies = if has_session { self.new_session(request, &identity) } else { None };
        self.forward_as(request, Authorization::Removed, identity, cookies)
    }

    fn forward_session(
        &self,
        request: Request<'_>,
        session: &Session,
        authorization: Authorization,
    ) -> Decision {
        let cookies = self.confirmed_session(request, session);
        self.forward_as(request, authorization, Rc::clone(&session.identity), cookies)
    }

    fn forward_as(
        &self,
        request: Request<'_>,
        authorization: Authorization,
        identity: Rc<Identity>,
        cookies: Option<Vec<HeaderValue>>,
    ) -> Decision {
        if identity.is_first_forward() {
            self.unowned_names.warn_of(&identity, &self.config);
        }
        let mut forward = Forward::identified(&self.config, request, authorization, identity);
        forward.set_cookies = cookies.unwrap_or_default();
        Decision::Forward(forward)
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

#[cfg(test)]
mod tests;
