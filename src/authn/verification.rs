//! From a credential to a verdict: remembered, found out on the spot, or asked of authentik.
//!
//! Owns: [`Verification`], which takes each pending verification from step to step: its call, its keys, its place in the
//! rate limit. The steps themselves are [`pending`]'s, who waits is [`single_flight`]'s, how many calls are out is
//! [`limit`]'s, what the clock brings is [`background`]'s.
//! Must not: decide what becomes of a request, or know why it asks.

mod background;
pub(crate) mod checkup;
pub(crate) mod key_fetch;
mod keys;
mod learned;
pub(crate) mod limit;
mod logout_queue;
pub(crate) mod logouts;
pub(crate) mod pending;
pub(crate) mod rate_limit;
pub(crate) mod single_flight;

use std::rc::Rc;

use crate::authn::authentik::call::{Answer, Call, NotSent};
use crate::authn::cache::miss::Miss;
use crate::authn::cache::verdicts::{Outcome, Verdicts};
use crate::authn::ended::Common;
use crate::authn::env::Env;
use crate::authn::events::EventLog;
use crate::authn::fault::{Fault, Rejection};
use crate::authn::provider::key_ring::Activity;
use crate::authn::provider::roster::Roster;
use crate::authn::provider::{Provider, Request};
use crate::authn::provider_list::ProviderList;
use crate::authn::request::credential::Credential;
use crate::authn::request::trace::TraceContext;
use crate::authn::session::content::Session;
use crate::authn::verdict::{Judgement, Source};
use crate::authn::verification::checkup::Checkup;
use crate::authn::verification::limit::{CallQueue, Full, Priority};
use crate::authn::verification::logout_queue::Logouts;

pub use crate::authn::verification::limit::Ticket;
use crate::authn::verification::pending::{Facts, PendingVerification, Progress, Stage};
use crate::authn::verification::rate_limit::RateLimit;
use crate::authn::verification::single_flight::{Name, SingleFlight, Waiters};
use crate::base::time::Timestamp;
use crate::config::Config;

/// How long after its timeout an answer is given up, in seconds. Envoy answers in authentik's place at the timeout, so
/// this passes only when an answer is lost.
const LOST_AFTER_SECONDS: u64 = 2;

/// What a call is about.
#[derive(Clone)]
enum Subject {
    Keys(Rc<Provider>),
    Discovery(Rc<Provider>),
    /// The outpost's list of providers.
    List,
    /// authentik's event log.
    Events,
    /// What is written into it.
    Relay,
    Credential(Name),
}

/// Everything of one worker that leads to verdicts. `W`: why a request waits for one.
pub(crate) struct Verification<W> {
    config: Rc<Config>,
    providers: Vec<Rc<Provider>>,
    verdicts: Verdicts,
    /// The requests that wait, and the verdicts that are there.
    pub(crate) waiting: SingleFlight<PendingVerification, W>,
    logouts: Logouts,
    calls: CallQueue<Subject>,
    rate_limit: RateLimit,
    checkup: Checkup,
    /// `None`: the configuration names no outpost.
    list: Option<ProviderList>,
    /// `None`: authentik's event log is not read.
    events: Option<EventLog>,
    looked_for_ended: Timestamp,
    common: Rc<Common>,
}

/// What is known of a credential right now.
pub(crate) enum Known<W> {
    /// Enough.
    Verdict(W, Judgement),
    /// Not yet; the request is on the list.
    Waiting,
}

impl<W> Verification<W> {
    /// Starts with empty caches.
    pub(crate) fn new(config: &Rc<Config>, roster: &Roster) -> Self {
        let authentik = &config.authentik;
        let providers: Vec<_> = roster.all().cloned().collect();
        Self {
            checkup: Checkup::new(config, &providers),
            list: ProviderList::new(config),
            events: EventLog::new(config),
            looked_for_ended: Timestamp::from_seconds(0),
            common: Rc::clone(roster.common()),
            providers,
            verdicts: Verdicts::new(config),
            waiting: SingleFlight::new(),
            logouts: Logouts::default(),
            calls: CallQueue::new(authentik.max_concurrent_calls, authentik.max_pending_calls),
            rate_limit: RateLimit::new(&config.throttle),
            config: Rc::clone(config),
        }
    }

    /// The verdict on a credential: remembered, found out on the spot, or asked for.
    pub(crate) fn verdict_on(
        &mut self,
        request: Request<'_>,
        credential: &Credential<'_>,
        reason: W,
    ) -> Known<W> {
        let Request { env, provider, id, view, .. } = request;
        let miss = match self.verdicts.look_up(env, provider, credential) {
            Ok(judgement) => return Known::Verdict(reason, judgement),
            Err(miss) => miss,
        };
        let kept = miss.credential();
        let kept = kept.as_ref().unwrap_or(credential);
        let progress = match self.with_facts(env, provider, |facts| pending::begin(kept, facts)) {
            Progress::Done(outcome) => {
                return Known::Verdict(reason, self.settle(env, &miss, outcome, Source::Local));
            }
            progress @ (Progress::Ask(..) | Progress::AwaitKeys(_)) => progress,
        };
        if self.waiting.is_full() {
            return Known::Verdict(reason, Judgement::new(Err(Fault::TooManyWaiting), Source::None));
        }
        let name = (provider.id, miss.fingerprint());
        let Some(reason) = self.waiting.join(name, id, reason) else { return Known::Waiting };
        let progress = match progress {
            Progress::AwaitKeys(stage) => self.seek_keys(env, provider, stage),
            progress @ (Progress::Done(_) | Progress::Ask(..)) => progress,
        };
        let (stage, call) = match progress {
            Progress::Done(outcome) => {
                return Known::Verdict(reason, self.settle(env, &miss, outcome, Source::Local));
            }
            Progress::Ask(call, stage) => (stage, Some(call)),
            Progress::AwaitKeys(stage) => (stage, None),
        };
        let (was_good, asks) = (self.verdicts.was_good(&miss), call.is_some());
        let attempt = (asks && !was_good).then(|| self.rate_limit.attempt(env, provider.id, credential));
        if let Some(attempt) = &attempt
            && let Err(retry_after) = self.rate_limit.begin(attempt, env.now)
        {
            let throttled = Rejection::Throttled { retry_after: Some(retry_after) };
            return Known::Verdict(reason, Judgement::refused(throttled, Source::None));
        }
        let priority = if was_good { Priority::Known } else { Priority::Unknown };
        let trace = TraceContext::of(view);
        let placed = match call {
            Some(call) => {
                self.calls.push(priority, Subject::Credential(name), call.traced(&trace), env.now).map(Some)
            }
            // To wait for keys is no call; it has a bound of its own.
            None if self.awaiting_keys_of(provider).count() >= self.config.authentik.max_pending_calls => {
                Err(Full)
            }
            None => Ok(None),
        };
        let Ok(call) = placed else {
            let full = Err(Fault::TooManyCalls);
            self.rate_limit.release(attempt.as_ref(), &full);
            return Known::Verdict(reason, self.settle(env, &miss, full, Source::None));
        };
        let verification =
            PendingVerification { stage, since: env.now, call, priority, miss, attempt, trace };
        self.waiting.begin(name, verification, id, reason);
        Known::Waiting
    }

    /// Fast path: the verdict on a cached Bearer token that stands alone in the header. It is looked up as it is.
    pub(crate) fn known_token(&mut self, request: Request<'_>) -> Option<Judgement> {
        let Request { env, provider, view, .. } = request;
        self.verdicts.known_token(env, provider, view.authorization)
    }

    /// The verdict on a credential if no call to authentik is needed.
    pub(crate) fn known_without_call(
        &mut self,
        request: Request<'_>,
        credential: &Credential<'_>,
    ) -> Option<Judgement> {
        let Request { env, provider, .. } = request;
        let miss = match self.verdicts.look_up(env, provider, credential) {
            Ok(judgement) => return Some(judgement),
            Err(miss) => miss,
        };
        let kept = miss.credential();
        let kept = kept.as_ref().unwrap_or(credential);
        let judged = self.with_facts(env, provider, |facts| pending::judge_without_call(kept, facts))?;
        Some(self.settle(env, &miss, Ok(judged), Source::Local))
    }

    /// Remembers what came of a miss. A fault may be bridged by what is cached.
    fn settle(&mut self, env: &Env<'_>, miss: &Miss, outcome: Outcome, source: Source) -> Judgement {
        let source = if outcome.is_ok() { source } else { Source::Cache };
        Judgement::new(self.verdicts.settle(env, miss, outcome), source)
    }

    /// Whether a session whose token authentik cannot confirm now goes on (`cache.stale_seconds`).
    pub(crate) fn is_session_bridged(&self, request: Request<'_>, session: &Session, fault: &Fault) -> bool {
        self.verdicts.is_session_bridged(request.env, request.provider, session, fault)
    }

    /// The calls that are to be sent now: as many as there are places for. Those that wait follow with the answers.
    pub(crate) fn take_calls(&mut self, now: Timestamp) -> Vec<(Ticket, Call)> {
        let mut calls = Vec::new();
        while let Some((number, subject, call)) = self.calls.pop(now) {
            match subject {
                // Nobody waits for it any more.
                Subject::Credential(name) if self.waiting.is_abandoned(&name) => {
                    self.calls.cancel(number);
                    if let Some((verification, _)) = self.waiting.take(&name) {
                        self.rate_limit.release(verification.attempt.as_ref(), &Err(Fault::TooManyWaiting));
                    }
                }
                Subject::Credential(_)
                | Subject::Keys(_)
                | Subject::Discovery(_)
                | Subject::List
                | Subject::Events
                | Subject::Relay => calls.push((Ticket(number), call)),
            }
        }
        calls
    }

    /// An answer has come, or a call could not be sent. An answer that nobody waits for any more changes nothing.
    pub(crate) fn answered(&mut self, env: &Env<'_>, Ticket(number): Ticket, answer: &Answer) {
        if let Some(subject) = self.calls.ended(number, answer) {
            self.call_ended(env, number, subject, answer);
        }
        self.look_at_logouts(env);
    }

    /// A call has come to its end, with an answer or without.
    fn call_ended(&mut self, env: &Env<'_>, number: u64, subject: Subject, answer: &Answer) {
        match subject {
            Subject::Keys(provider) => {
                key_fetch::answered(&provider, &self.config, env, answer);
                self.resume_awaiting_keys(env, &provider);
            }
            Subject::Discovery(provider) => {
                let next = self.checkup.answered(&self.config, env, &provider, answer);
                self.fetch_discovery(next);
            }
            Subject::List => {
                let next = self.list.as_mut().and_then(|list| list.answered(env, answer));
                self.push_urgent(env, Subject::List, next);
            }
            Subject::Events => {
                let next = self.events.as_mut().and_then(|log| log.answered(env, answer));
                self.apply_learned(env);
                self.push_urgent(env, Subject::Events, next);
            }
            Subject::Relay => {
                let next = self.events.as_mut().and_then(|log| log.relay_answered(env, answer));
                self.push_urgent(env, Subject::Relay, next);
            }
            Subject::Credential(name) => {
                if self.waiting.get(&name).is_some_and(|verification| verification.call == Some(number))
                    && let Some((verification, waiters)) = self.waiting.take(&name)
                {
                    self.go_on(env, name, verification, waiters, |stage, facts| {
                        stage.answered(answer, facts)
                    });
                }
            }
        }
    }

    /// Whether a request waits for what only a tick can bring: keys that this worker does not fetch itself.
    pub(crate) fn wants_ticks(&self) -> bool {
        self.list.as_ref().is_some_and(ProviderList::is_expected)
            || self.logouts.wants_ticks()
            || self.waiting.all().any(|verification| {
                let provider = verification.miss.provider();
                verification.awaits_keys_of(provider) && key_fetch::activity(provider) != Activity::Fetching
            })
    }

    fn give_up_lost_calls(&mut self, env: &Env<'_>) {
        let patience = self.config.authentik.timeout.as_secs().saturating_add(LOST_AFTER_SECONDS);
        for number in self.calls.lost(env.now, patience) {
            self.answered(env, Ticket(number), &Answer::Lost);
        }
        // What has waited for a place for too long is not asked at all.
        for (number, subject) in self.calls.give_up(env.now, self.config.authentik.max_wait_seconds) {
            self.call_ended(env, number, subject, &Answer::NotSent(NotSent::WaitedTooLong));
        }
    }

    /// The next step of a verification.
    fn go_on(
        &mut self,
        env: &Env<'_>,
        name: Name,
        verification: PendingVerification,
        waiters: Waiters,
        step: impl FnOnce(Stage, &Facts<'_>) -> Progress,
    ) {
        let PendingVerification { stage, since, call, priority, miss, attempt, trace } = verification;
        let (provider, source) = (Rc::clone(miss.provider()), stage.source());
        // One that had a call begins to wait for keys only now.
        let since = if call.is_some() { env.now } else { since };
        let is_late = env.now.since(since) >= self.config.authentik.timeout.as_secs();
        let progress = match self.with_facts(env, &provider, |facts| step(stage, facts)) {
            Progress::AwaitKeys(_) if is_late => Progress::Done(Err(Fault::NoKeys)),
            Progress::AwaitKeys(stage) => self.seek_keys(env, &provider, stage),
            progress @ (Progress::Done(_) | Progress::Ask(..)) => progress,
        };
        let next = match progress {
            Progress::Done(outcome) => Err(outcome),
            Progress::AwaitKeys(stage) => Ok((stage, None)),
            Progress::Ask(call, stage) => {
                match self.calls.push(priority, Subject::Credential(name), call.traced(&trace), env.now) {
                    Ok(number) => Ok((stage, Some(number))),
                    Err(Full) => Err(Err(Fault::TooManyCalls)),
                }
            }
        };
        match next {
            Ok((stage, call)) => {
                let verification = PendingVerification { stage, since, call, priority, miss, attempt, trace };
                self.waiting.put_back(name, verification, waiters);
            }
            Err(outcome) => {
                self.rate_limit.release(attempt.as_ref(), &outcome);
                let judgement = self.settle(env, &miss, outcome, source);
                self.waiting.settle(waiters, &judgement);
            }
        }
    }

    fn with_facts<T>(&self, env: &Env<'_>, provider: &Provider, step: impl FnOnce(&Facts<'_>) -> T) -> T {
        let (key_ring, ended) = (provider.key_ring.borrow(), provider.ended(env));
        let config = &self.config;
        step(&Facts { config, provider: &provider.settings, key_ring: &key_ring, ended: &ended, env })
    }
}
