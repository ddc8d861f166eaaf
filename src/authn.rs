//! THE FLOW. Read this first.
//!
//! [`Authenticator::authenticate`] takes a request's headers to a [`Decision`], or lets it wait for authentik;
//! [`Authenticator::answered`] takes authentik's answer to a verdict, and [`Authenticator::resume`] takes that to the
//! decision of each request that waited for it, one at a time.
//!
//! ```text
//! authenticate ── provider ── login flow? ── session? ─┬─ confirmation due ── ask ──┐
//!                                                      └─ judge ── policy ── Ask ───┤
//!                                                                    │              └─ conclude ── policy ─┐
//!                                                                    └──────────── respond ── Decision ────┘
//! ```
//!
//! The rooms, each with its own state, from the bottom up: [`provider`], [`cache`], [`verification`] (who is asked),
//! [`sessions`], [`policy`] (the truth table), [`respond`] (what follows from it), [`login`]. Only this file knows all.
//!
//! The core knows no host: `now` and [`env::Host`] are arguments, calls to authentik are values that the shell fetches with
//! [`Authenticator::take_calls`] and answers later.

pub mod authentik;
pub mod cache;
pub mod edits;
pub mod env;
pub mod fault;
pub mod identity;
pub mod jwt;
pub mod login;
pub mod policy;
pub mod provider;
pub mod reply;
pub mod request;
pub(crate) mod respond;
pub mod session;
pub(crate) mod sessions;
pub(crate) mod step;
pub mod verdict;
pub mod verification;

use std::rc::Rc;

use crate::authn::authentik::{Answer, Call};
use crate::authn::edits::Forward;
use crate::authn::env::Env;
use crate::authn::fault::{Fault, Rejection};
use crate::authn::login::flow::{LoginContext, Returned};
use crate::authn::login::state::{self, Endpoint};
use crate::authn::policy::{Action, Path, Presented};
use crate::authn::provider::directory::Directory;
use crate::authn::provider::{Provider, Request};
use crate::authn::reply::{Decision, ReplyContext};
use crate::authn::request::credential::{AuthScheme, Credential};
use crate::authn::request::view::{HeaderBlock, RequestView};
use crate::authn::request::{credential, open_paths};
use crate::authn::session::content::Session;
use crate::authn::sessions::Sessions;
use crate::authn::step::{Purpose, Waiter};
use crate::authn::verdict::Verdict;
use crate::authn::verification::single_flight::Resumed;
use crate::authn::verification::{Known, Verification};
use crate::base::time::Timestamp;
use crate::config::Config;

pub use crate::authn::env::RequestId;
pub use crate::authn::step::Step;
pub use crate::authn::verification::Ticket;

/// Everything that one worker knows under one configuration.
pub struct Authenticator {
    config: Rc<Config>,
    directory: Directory<Rc<Provider>>,
    verification: Verification<Waiter>,
    sessions: Sessions,
}

impl Authenticator {
    /// Starts with empty caches and without keys. `None` only if HMAC refused a key, which it never does.
    pub fn new(config: Config) -> Option<Self> {
        let config = Rc::new(config);
        let entries = config.providers.iter().enumerate();
        let providers: Vec<_> =
            entries.map(|(id, settings)| Provider::new(&config, id, settings)).collect::<Option<_>>()?;
        Some(Self {
            directory: Directory::new(&config.providers, &providers),
            verification: Verification::new(&config, &providers),
            sessions: Sessions::new(&config),
            config,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Judges a request by its headers.
    pub fn authenticate(&mut self, env: &Env<'_>, id: RequestId, block: &HeaderBlock) -> Step {
        let config = Rc::clone(&self.config);
        let Ok(view) = RequestView::read(block, &config.owned_headers) else {
            return Step::Decided(reply::broken());
        };
        let Some(found) = self.directory.find(view.authority) else {
            let context = ReplyContext::without_provider(&view, &config);
            return Step::Decided(reply::reject(&context, Rejection::UnknownHost));
        };
        let request = Request::new(env, id, &config, &found, &view);
        self.begin(request)
    }

    fn begin(&mut self, request: Request<'_>) -> Step {
        let Request { config, provider, view, .. } = request;
        if config.allow_cors_preflight && view.is_cors_preflight() {
            return Step::Decided(self.pass_preflight(request));
        }
        if let Some(login) = LoginContext::of(request)
            && let Some(endpoint) = state::endpoint(view)
        {
            return self.log_in(request, login, endpoint);
        }
        let session = self.sessions.open(request);
        if open_paths::is_unauthenticated(&provider.settings, view) {
            return self.judge(request, Path::Open, session);
        }
        match session {
            Some(session) if sessions::is_to_be_confirmed(request, &session) => {
                let token = Credential::Session(session.identity.verified().token().clone());
                self.ask(request, &token, Purpose::Confirmation(session))
            }
            session => self.judge(request, Path::Protected, session),
        }
    }

    /// What is known of the request goes into the truth table.
    fn judge(&mut self, request: Request<'_>, path: Path, session: Option<Rc<Session>>) -> Step {
        // Fast path: a cached Bearer token, no session.
        if session.is_none()
            && path == Path::Protected
            && let Some(verdict) = self.verification.known_token(request)
        {
            let purpose = Purpose::Credential(Some(AuthScheme::Bearer), None);
            return self.conclude(request, purpose, Ok(verdict));
        }
        let (credential, presented, rejection) = match credential::read(request.view.authorization) {
            Ok(Some(credential)) => (Some(credential), Presented::Credential, Rejection::NoCredential),
            Ok(None) if request.has_ended_session => (None, Presented::Absent, Rejection::SessionEnded),
            Ok(None) => (None, Presented::Absent, Rejection::NoCredential),
            Err(malformed) => (None, Presented::Malformed, Rejection::Malformed(malformed)),
        };
        let standing = sessions::standing(request, path, session.as_deref(), credential.as_ref());
        // Where nobody is asked, the credential counts if it is known.
        let asks_nobody = path == Path::Open || standing == policy::Session::OfLogin;
        let known = match &credential {
            Some(credential) if asks_nobody => {
                self.verification.known_without_call(request, credential).map(Ok)
            }
            Some(_) | None => None,
        };
        match (row(request, path, presented, standing, known.as_ref()), credential) {
            (Action::Ask, Some(credential)) => {
                let purpose = Purpose::Credential(credential.scheme(), session);
                self.ask(request, &credential, purpose)
            }
            (action, _) => {
                let outcome = known.unwrap_or(Ok(Verdict::Refused(rejection)));
                Step::Decided(respond::decision(request, action, None, session.as_deref(), outcome))
            }
        }
    }

    fn ask(&mut self, request: Request<'_>, credential: &Credential<'_>, purpose: Purpose) -> Step {
        let Request { provider, has_ended_session, .. } = request;
        let waiter = Waiter { provider: Rc::clone(provider), purpose, has_ended_session };
        match self.verification.verdict_on(request, credential, waiter) {
            Known::Verdict(waiter, outcome) => self.conclude(request, waiter.purpose, outcome),
            Known::Waiting => Step::Waiting,
        }
    }

    /// A verdict becomes a decision: the last step of every request that was judged.
    fn conclude(&mut self, request: Request<'_>, purpose: Purpose, outcome: Result<Verdict, Fault>) -> Step {
        let now = request.env.now;
        match (purpose, outcome) {
            (Purpose::Login { return_url }, outcome) => Step::Decided(match LoginContext::of(request) {
                Some(login) => login.finish(return_url, outcome),
                None => reply::broken(),
            }),
            (Purpose::Confirmation(session), Ok(Verdict::Vouched(identity))) => {
                // It may have come to its end while it was being confirmed.
                let is_current = session.expires > now;
                let session = is_current.then(|| Rc::new(session.renewed(identity)));
                self.judge(request, Path::Protected, session)
            }
            // The session is over, whatever the cookie says.
            (Purpose::Confirmation(_), Ok(Verdict::Refused(_))) => {
                self.sessions.forget(request);
                let request = Request { has_ended_session: true, ..request };
                match self.judge(request, Path::Protected, None) {
                    Step::Decided(decision) => Step::Decided(respond::take_session_back(request, decision)),
                    Step::Waiting => Step::Waiting,
                }
            }
            (Purpose::Confirmation(session), Err(fault))
                if self.verification.is_session_bridged(request, &session, &fault) =>
            {
                self.judge(request, Path::Protected, Some(session))
            }
            (Purpose::Confirmation(_), Err(fault)) => {
                Step::Decided(reply::fail(&ReplyContext::of(request, None), fault))
            }
            (Purpose::Credential(scheme, session), outcome) => {
                let session = session.filter(|session| session.expires > now);
                let standing = match session {
                    Some(_) => policy::Session::OfAnotherCredential,
                    None => policy::Session::None,
                };
                let action = row(request, Path::Protected, Presented::Credential, standing, Some(&outcome));
                Step::Decided(respond::decision(request, action, scheme, session.as_deref(), outcome))
            }
        }
    }

    /// A request of the login flow.
    fn log_in(&mut self, request: Request<'_>, login: LoginContext<'_>, endpoint: Endpoint) -> Step {
        let context = ReplyContext::of(request, None);
        Step::Decided(match endpoint {
            Endpoint::Ping => reply::ping(&context),
            Endpoint::Unknown => reply::reject(&context, Rejection::NotFound),
            Endpoint::SignOut => login.sign_out(self.sessions.open(request).as_deref()),
            Endpoint::Start { return_to } => login.start_at(return_to.as_deref()),
            Endpoint::Callback(callback) => {
                // A session that authentik would have to confirm is none: it may have been ended there, and then this
                // login is to end that.
                let session = self.sessions.open(request);
                let has_session =
                    session.is_some_and(|session| !sessions::is_to_be_confirmed(request, &session));
                match login.call_back(callback, has_session) {
                    Returned::Decided(decision) => decision,
                    Returned::Exchange { code, return_url } => {
                        return self.ask(request, &Credential::Code(code), Purpose::Login { return_url });
                    }
                }
            }
        })
    }

    /// Without identity, whoever it says it is. A preflight has no credential; one that has brings it no further.
    fn pass_preflight(&mut self, request: Request<'_>) -> Decision {
        let session = self.sessions.open(request);
        let credential = credential::read(request.view.authorization).ok().flatten();
        let standing = sessions::standing(request, Path::Open, session.as_deref(), credential.as_ref());
        let (presented, known) = match &credential {
            Some(credential) => {
                let known = self.verification.known_without_call(request, credential);
                (Presented::Credential, known.map(Ok))
            }
            None => (Presented::Absent, None),
        };
        let action = row(request, Path::Open, presented, standing, known.as_ref());
        Decision::Forward(Forward::anonymous(request, action.authorization()))
    }

    /// The names of trailers that must not go on: a client could say there what it may not in the headers, or say again
    /// what the filter has `set` in them. `None` where the host's map is not in its format.
    pub fn forbidden_trailers(&self, trailers: &HeaderBlock, set: &[&str]) -> Option<Vec<Vec<u8>>> {
        edits::forbidden_trailers(trailers, set, &self.config)
    }

    /// The calls that the shell is to send now: as many as there are places for. Those that wait follow with the answers.
    pub fn take_calls(&mut self, now: Timestamp) -> Vec<(Ticket, Call)> {
        self.verification.take_calls(now)
    }

    /// An answer has come, or a call could not be sent. The requests that this settles are the next that
    /// [`Self::next_ready`] names. An answer that nobody waits for any more changes nothing.
    pub fn answered(&mut self, env: &Env<'_>, ticket: Ticket, answer: &Answer) {
        self.verification.answered(env, ticket, answer);
    }

    /// The clock has moved. `jitter_percent` (0 to 10) spreads the fetches of workers and replicas.
    pub fn tick(&mut self, env: &Env<'_>, jitter_percent: u64) {
        self.verification.tick(env, jitter_percent);
    }

    /// Whether a request waits for what only a tick can bring.
    pub fn wants_ticks(&self) -> bool {
        self.verification.wants_ticks()
    }

    /// The next request whose verdict is there: the shell reads its headers again and calls [`Self::resume`].
    pub fn next_ready(&mut self) -> Option<RequestId> {
        self.verification.waiting.next_ready()
    }

    /// Whether verdicts are there that one callback had no room for.
    pub fn has_ready(&self) -> bool {
        self.verification.waiting.has_ready()
    }

    /// Whether the verdict for this request is there.
    pub fn is_ready(&self, id: RequestId) -> bool {
        self.verification.waiting.is_ready(id)
    }

    /// Decides a request whose verdict is there. A request that does not wait is answered: what is not known is never
    /// forwarded.
    pub fn resume(&mut self, env: &Env<'_>, id: RequestId, block: &HeaderBlock) -> Step {
        let (waiter, outcome) = match self.verification.waiting.resume(id) {
            Resumed::Ready(waiter, outcome) => (waiter, outcome),
            Resumed::Waiting => return Step::Waiting,
            Resumed::Unknown => return Step::Decided(reply::broken()),
        };
        let Waiter { provider, purpose, has_ended_session } = waiter;
        let config = Rc::clone(&self.config);
        let Ok(view) = RequestView::read(block, &config.owned_headers) else {
            return Step::Decided(reply::broken());
        };
        let found = self.directory.find(view.authority);
        let Some(found) = found.filter(|found| Rc::ptr_eq(&found.provider, &provider)) else {
            return Step::Decided(reply::broken());
        };
        let request = Request { has_ended_session, ..Request::new(env, id, &config, &found, &view) };
        match self.conclude(request, purpose, outcome) {
            Step::Decided(decision) if has_ended_session => {
                Step::Decided(respond::take_session_back(request, decision))
            }
            step @ (Step::Decided(_) | Step::Waiting) => step,
        }
    }

    /// A request is gone: its client left, or it was answered otherwise. The verification goes on.
    pub fn forget(&mut self, id: RequestId) {
        self.verification.waiting.forget(id);
    }
}

/// The row of the truth table.
fn row(
    request: Request<'_>,
    path: Path,
    presented: Presented,
    session: policy::Session,
    known: Option<&Result<Verdict, Fault>>,
) -> Action {
    let intercepts = request.provider.settings.intercept_header_auth;
    policy::action(path, presented, session, verdict::in_policy(known), intercepts)
}

#[cfg(test)]
mod tests;
