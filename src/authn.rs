//! THE FLOW. Read this first.
//!
//! [`Authenticator::authenticate`] takes a request's headers to a [`reply::Decision`], or lets it wait for authentik;
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
pub mod doctor;
pub mod edits;
pub mod ended;
pub mod env;
pub(crate) mod events;
pub mod fault;
pub mod identity;
pub mod jwt;
mod listed;
pub mod login;
mod logout;
pub mod policy;
pub mod provider;
pub(crate) mod provider_list;
pub mod reply;
pub mod report;
pub mod request;
pub(crate) mod respond;
pub mod session;
pub(crate) mod sessions;
pub mod shadow;
pub(crate) mod step;
pub mod verdict;
pub mod verification;

use std::rc::Rc;

use crate::authn::authentik::call::{Answer, Call};
use crate::authn::env::Env;
use crate::authn::fault::SessionEnd;
use crate::authn::login::flow::Answered;
use crate::authn::logout::Logouts;
use crate::authn::policy::{Action, Path, Presented};
use crate::authn::provider::Request;
use crate::authn::provider::roster::Roster;
use crate::authn::reply::ReplyContext;
use crate::authn::report::Load;
use crate::authn::request::credential::{AuthScheme, Credential};
use crate::authn::request::view::{HeaderBlock, RequestView};
use crate::authn::session::content::Session;
use crate::authn::sessions::{Opened, Sessions};
use crate::authn::shadow::Observed;
use crate::authn::step::{Purpose, Waiter};
use crate::authn::verdict::{Judgement, Source, Verdict};
use crate::authn::verification::single_flight::Resumed;
use crate::authn::verification::{Known, Verification};
use crate::base::time::Timestamp;
use crate::config::{Config, ProviderId};

pub use crate::authn::env::RequestId;
pub use crate::authn::step::{MAX_BODY_BYTES, Step, TickInterval};
pub use crate::authn::verification::Ticket;

#[doc = include_str!("authn/example.md")]
pub struct Authenticator {
    config: Rc<Config>,
    roster: Roster,
    verification: Verification<Waiter>,
    sessions: Sessions,
}

impl Authenticator {
    /// Starts with empty caches and without keys. `None` only if HMAC refused a key, which it never does.
    pub fn new(config: Config) -> Option<Self> {
        let config = Rc::new(config);
        let roster = Roster::new(&config)?;
        Some(Self {
            verification: Verification::new(&config, &roster),
            sessions: Sessions::new(&config),
            roster,
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
        listed::look_for_first(&mut self.verification, &mut self.roster, &config, env);
        match self.roster.find(view.authority) {
            Some(found) => self.begin(Request::new(env, id, &config, &found, &view)),
            None => Step::Decided(listed::without_provider(&self.verification, &view, &config)),
        }
    }

    fn begin(&mut self, request: Request<'_>) -> Step {
        let path = request.path();
        if path != Path::Preflight
            && let Some(answer) = login::flow::answer(request, &mut self.sessions)
        {
            return match answer {
                Answered::Decided(decision) => Step::Decided(decision),
                Answered::AwaitBody => self.logouts().await_body(request),
                Answered::Exchange { code, return_url } => {
                    self.ask(request, &Credential::Code(code), Purpose::Login { return_url })
                }
            };
        }
        let Opened { session, has_ended } = self.sessions.open(request);
        match session {
            Some(session) if path == Path::Protected && sessions::is_to_be_confirmed(request, &session) => {
                let token = Credential::Session(session.identity.verified().token().clone());
                self.ask(request, &token, Purpose::Confirmation(session))
            }
            None if has_ended => self.without_session(request, path, SessionEnd::SignedOut),
            session => self.judge(request, path, session),
        }
    }

    /// The request's session has ended before its time: the answer takes its cookie back.
    fn without_session(&mut self, request: Request<'_>, path: Path, end: SessionEnd) -> Step {
        let request = Request { session_end: Some(end), ..request };
        self.judge(request, path, None).map(|decision| respond::take_session_back(request, decision))
    }

    /// What is known of the request goes into the truth table.
    fn judge(&mut self, request: Request<'_>, path: Path, session: Option<Rc<Session>>) -> Step {
        // Fast path: a cached Bearer token, no session.
        if session.is_none()
            && path == Path::Protected
            && let Some(judgement) = self.verification.known_token(request)
        {
            let purpose = Purpose::Credential(Some(AuthScheme::Bearer), None);
            return self.conclude(request, purpose, judgement);
        }
        let (credential, presented, rejection) = request.credential();
        let standing = sessions::standing(request, path, session.as_deref(), credential.as_ref());
        // Where nobody is asked, the credential counts if it is known.
        let asks_nobody = path != Path::Protected || standing == policy::Session::OfLogin;
        let known = match &credential {
            Some(credential) if asks_nobody => self.verification.known_without_call(request, credential),
            Some(_) | None => None,
        };
        let row = respond::row(request, path, presented, standing, known.as_ref());
        match (row.action(), credential) {
            (Action::Ask, Some(credential)) => {
                let purpose = Purpose::Credential(credential.scheme(), session);
                self.ask(request, &credential, purpose)
            }
            _ => {
                let judgement = known.unwrap_or(Judgement::refused(rejection, Source::None));
                Step::Decided(respond::decision(request, row, None, session.as_deref(), judgement))
            }
        }
    }

    fn ask(&mut self, request: Request<'_>, credential: &Credential<'_>, purpose: Purpose) -> Step {
        let Request { provider, session_end, .. } = request;
        let waiter = Waiter { provider: Rc::clone(provider), purpose, session_end };
        match self.verification.verdict_on(request, credential, waiter) {
            Known::Verdict(waiter, judgement) => self.conclude(request, waiter.purpose, judgement),
            Known::Waiting => Step::Waiting,
        }
    }

    /// A verdict becomes a decision: the last step of every request that was judged.
    fn conclude(&mut self, request: Request<'_>, purpose: Purpose, judgement: Judgement) -> Step {
        match purpose {
            Purpose::Login { return_url } => {
                Step::Decided(login::flow::finish(request, return_url, judgement))
            }
            Purpose::Confirmation(session) => self.confirmed(request, session, judgement),
            Purpose::Credential(scheme, session) => {
                let session = session.filter(|session| !sessions::is_over(request, session));
                let standing = match session {
                    Some(_) => policy::Session::OfAnotherCredential,
                    None => policy::Session::None,
                };
                let row =
                    respond::row(request, Path::Protected, Presented::Credential, standing, Some(&judgement));
                Step::Decided(respond::decision(request, row, scheme, session.as_deref(), judgement))
            }
        }
    }

    /// authentik has said whether a session still stands, or cannot say.
    fn confirmed(&mut self, request: Request<'_>, session: Rc<Session>, judgement: Judgement) -> Step {
        self.roster.common().tally.confirmed(judgement.confirmation());
        match judgement.outcome {
            Ok(Verdict::Vouched(identity)) => {
                // It may have come to its end while it was being confirmed.
                let is_current = session.expires > request.env.now;
                let session = is_current.then(|| Rc::new(session.renewed(identity)));
                if session.as_ref().is_some_and(|session| sessions::is_over(request, session)) {
                    return self.without_session(request, Path::Protected, SessionEnd::SignedOut);
                }
                self.judge(request, Path::Protected, session)
            }
            // The session is over, whatever the cookie says.
            Ok(Verdict::Refused(_)) => {
                self.sessions.forget(request);
                self.without_session(request, Path::Protected, SessionEnd::Inactive)
            }
            Err(fault) if self.verification.is_session_bridged(request, &session, &fault) => {
                self.judge(request, Path::Protected, Some(session))
            }
            Err(fault) => Step::Decided(reply::fail(&ReplyContext::of(request, None), fault)),
        }
    }

    /// The calls that the shell is to send now: as many as there are places for. Those that wait follow with the answers.
    pub fn take_calls(&mut self, now: Timestamp) -> Vec<(Ticket, Call)> {
        self.verification.take_calls(now)
    }

    /// An answer has come, or a call could not be sent. The requests that this settles are the next that
    /// [`Self::next_ready`] names. An answer that nobody waits for any more changes nothing.
    pub fn answered(&mut self, env: &Env<'_>, ticket: Ticket, answer: &Answer) {
        self.verification.answered(env, ticket, answer);
        listed::take(&mut self.verification, &mut self.roster, &self.config);
    }

    /// The clock has moved. `jitter_percent` (0 to 10) spreads the fetches of workers and replicas.
    pub fn tick(&mut self, env: &Env<'_>, jitter_percent: u64) {
        self.verification.tick(env, jitter_percent);
        listed::take(&mut self.verification, &mut self.roster, &self.config);
    }

    /// The names of all providers, once after each change.
    pub fn take_names(&mut self) -> Option<Vec<(ProviderId, String)>> {
        self.roster.take_names()
    }

    /// How much is going on.
    pub fn load(&self, now: Timestamp) -> Load {
        self.verification.load(now)
    }

    /// How soon [`Self::tick`] is wanted.
    pub fn tick_interval(&self) -> TickInterval {
        match (self.verification.has_ready(), self.verification.wants_ticks()) {
            (true, _) => TickInterval::Backlog,
            (false, true) => TickInterval::Follower,
            (false, false) => TickInterval::Idle,
        }
    }

    /// The next request whose verdict is there: the shell reads its headers again and calls [`Self::resume`].
    pub fn next_ready(&mut self) -> Option<RequestId> {
        self.verification.next_ready()
    }

    /// Whether the verdict for this request is there.
    pub fn is_ready(&self, id: RequestId) -> bool {
        self.verification.is_ready(id)
    }

    /// Decides a request whose verdict is there. A request that does not wait is answered: what is not known is never
    /// forwarded.
    pub fn resume(&mut self, env: &Env<'_>, id: RequestId, block: &HeaderBlock) -> Step {
        let (waiter, judgement) = match self.verification.waiting.resume(id) {
            Resumed::Ready(waiter, judgement) => (waiter, judgement),
            Resumed::Waiting => return Step::Waiting,
            Resumed::Unknown => return self.logouts().resume(env, id, block),
        };
        let Waiter { provider, purpose, session_end } = waiter;
        let config = Rc::clone(&self.config);
        let Ok(view) = RequestView::read(block, &config.owned_headers) else {
            return Step::Decided(reply::broken());
        };
        let found = self.roster.find(view.authority);
        // Its provider has other settings now, or is no more.
        let Some(found) = found.filter(|found| Rc::ptr_eq(&found.provider, &provider)) else {
            return self.authenticate(env, id, block);
        };
        let request = Request { session_end, ..Request::new(env, id, &config, &found, &view) };
        let step = self.conclude(request, purpose, judgement);
        step.map(|decision| respond::take_session_back(request, decision))
    }

    /// Goes on with a request that waits for its body ([`Step::AwaitBody`]). `None`: the body is longer than
    /// [`MAX_BODY_BYTES`], or cannot be read. A request that does not wait for one is answered with `503`.
    pub fn body_ended(
        &mut self,
        env: &Env<'_>,
        id: RequestId,
        block: &HeaderBlock,
        body: Option<&[u8]>,
    ) -> Step {
        self.logouts().body_ended(env, id, block, body)
    }

    const fn logouts(&mut self) -> Logouts<'_> {
        Logouts { verification: &mut self.verification, roster: &self.roster, config: &self.config }
    }

    /// Shadow mode: [`Self::authenticate`], or [`Self::resume`] for a request that waits, compared with what the gate did. A
    /// request that passed no gate is answered, and not judged.
    pub fn observe(
        &mut self,
        (env, id): (&Env<'_>, RequestId),
        (gate, is_waiting): (shadow::Gate, bool),
        block: &HeaderBlock,
    ) -> Observed {
        let config = Rc::clone(&self.config);
        let Ok(view) = RequestView::read(block, &config.owned_headers) else {
            return Observed::Refused(reply::broken_reply());
        };
        listed::look_for_first(&mut self.verification, &mut self.roster, &config, env);
        let found = self.roster.find(view.authority);
        let request = found.as_ref().map(|found| Request::new(env, id, &config, found, &view));
        let step = if is_waiting {
            self.resume(env, id, block)
        } else if let Some(known) = shadow::entry(gate, request, &view, &config) {
            return known;
        } else if let Some(request) = request {
            self.begin(request)
        } else {
            Step::Decided(listed::without_provider(&self.verification, &view, &config))
        };
        shadow::observed(gate, &view, step, shadow::name_of(found.as_ref()))
    }

    /// A request is gone: its client left, or it was answered otherwise. The verification goes on.
    pub fn forget(&mut self, id: RequestId) {
        self.verification.forget(id);
    }
}

#[cfg(test)]
mod tests;
