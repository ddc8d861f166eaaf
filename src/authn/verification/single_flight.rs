//! Calls to authentik that are under way, and who waits for them.
//!
//! Owns: single flight (one inquiry for any number of requests with the same credential, one fetch per key set), the
//! deadlines of calls, and who is rate limited. How many calls are out is [`super::call_queue`]'s. An inquiry belongs to nobody: it goes on when its first client
//! leaves. A request that waits keeps no headers: they are read again from the host when its verdict is there.
//! Must not: judge (that is [`super::inquiry`]'s), remember verdicts ([`super::memory`]'s), or say what a request is
//! told ([`super::decision`]'s).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use crate::authn::authentik::{self, Answer, Call, NotSent};
use crate::authn::cache::fingerprint::Fingerprint;
use crate::authn::cache::jwks::Activity;
use crate::authn::cache::verdicts::Case;
use crate::authn::directory::ProviderId;
use crate::authn::env::Env;
use crate::authn::fault::{Fault, Rejection};
use crate::authn::reply::{self, Decision};
use crate::authn::request::credential::{AuthScheme, Credential};
use crate::authn::request::view::{HeaderBlock, RequestView};
use crate::authn::session::content::Session;
use crate::authn::verdict::Verdict;
use crate::authn::verification::limit::{CallQueue, Full, Priority};
use crate::authn::verification::pending::{self, Facts, Outcome, Progress, Stage};
use crate::authn::verification::rate_limit::Guesser;
use crate::authn::{Authenticator, Request};
use crate::base::time::Timestamp;
use crate::config;

/// Most requests that wait in one worker. The filter keeps their numbers only; Envoy keeps their headers.
const MAX_WAITERS: usize = 8192;

/// How long after its timeout an answer is given up, in seconds. Envoy answers in authentik's place at the timeout, so
/// this passes only when an answer is lost.
const LOST_AFTER_SECONDS: u64 = 2;

/// The host's name for a request; never used twice at one time.
pub type RequestId = u32;

/// What a call is about: its answer comes back with it. Each call has a number, so that the answer to one that was given
/// up is not taken for the answer to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    subject: Subject,
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Keys(ProviderId),
    Credential(FlightName),
}

type FlightName = (ProviderId, Fingerprint);

/// Inquiries and fetches that are under way in this worker, and the requests that wait for them.
pub(crate) struct Flights {
    inquiries: HashMap<FlightName, Flight>,
    waiting: HashMap<RequestId, Waiter>,
    /// Requests whose verdict is there, in the order in which it came; some may have left.
    ready: VecDeque<RequestId>,
    calls: CallQueue<Subject>,
}

impl Flights {
    pub(crate) fn new(config: &config::Authentik) -> Self {
        Self {
            inquiries: HashMap::new(),
            waiting: HashMap::new(),
            ready: VecDeque::new(),
            calls: CallQueue::new(config.max_concurrent_calls, config.max_pending_calls),
        }
    }

    /// The verdict for all who wait for an inquiry.
    fn settle(&mut self, waiters: BTreeSet<RequestId>, outcome: &Result<Verdict, Fault>) {
        for id in waiters {
            if let Some(waiter) = self.waiting.get_mut(&id) {
                waiter.outcome = Some(outcome.clone());
                self.ready.push_back(id);
            }
        }
    }
}

/// One inquiry, where it stands, and who waits for it.
struct Flight {
    stage: Stage,
    /// Since when it waits for keys, if it does.
    since: Timestamp,
    /// The number of its call; `None`: it waits for keys.
    call: Option<u64>,
    priority: Priority,
    case: Case,
    guesser: Option<Guesser>,
    waiters: BTreeSet<RequestId>,
}

impl Flight {
    fn awaits_keys_of(&self, own: ProviderId, provider: ProviderId) -> bool {
        own == provider && matches!(self.stage, Stage::Keys(_))
    }
}

struct Waiter {
    flight: FlightName,
    purpose: Purpose,
    /// Whether authentik has ended the session that the request came with: its cookie is taken back with the answer.
    has_ended_session: bool,
    outcome: Option<Result<Verdict, Fault>>,
}

/// What a request waits for a verdict on.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// Its credential, sent in this way, beside this session: the cookie alone does not say whether that still stands.
    Credential(Option<AuthScheme>, Option<Rc<Session>>),
    /// The token of this session.
    Confirmation(Rc<Session>),
    /// The code at the end of a login.
    Login {
        /// Where the browser goes then.
        return_url: String,
    },
}

/// What is known of a credential right now.
pub(crate) enum Known {
    /// Enough.
    Verdict(Result<Verdict, Fault>),
    /// Not yet; the request is on the list.
    Waiting,
}

impl Authenticator {
    /// The verdict on a credential: remembered, found out on the spot, or asked for.
    pub(crate) fn verdict_on(
        &mut self,
        request: Request<'_>,
        purpose: Purpose,
        credential: &Credential<'_>,
    ) -> Known {
        let Request { env, id, provider, has_ended_session, .. } = request;
        let case = match self.look_up(env, provider, credential) {
            Some(Ok(verdict)) => return Known::Verdict(Ok(verdict)),
            Some(Err(case)) => case,
            None => return Known::Verdict(Err(Fault::Host)),
        };
        let kept = case.credential();
        let kept = kept.as_ref().unwrap_or(credential);
        let progress = match self.with_facts(env, provider, |facts| pending::begin(kept, facts)) {
            Some(Progress::Done(outcome)) => return Known::Verdict(self.settle(env, &case, outcome)),
            Some(progress) => progress,
            None => return Known::Verdict(Err(Fault::Host)),
        };
        let Some(fingerprint) = self.fingerprint(&case) else {
            return Known::Verdict(Err(Fault::Host));
        };
        if self.flights.waiting.len() >= MAX_WAITERS {
            return Known::Verdict(Err(Fault::TooManyWaiting));
        }
        let name = (provider, fingerprint);
        let waiter = Waiter { flight: name, purpose, has_ended_session, outcome: None };
        if let Some(flight) = self.flights.inquiries.get_mut(&name) {
            flight.waiters.insert(id);
            self.flights.waiting.insert(id, waiter);
            return Known::Waiting;
        }
        let progress = match progress {
            Progress::AwaitKeys(stage) => self.seek_keys(env, provider, stage),
            progress @ (Progress::Done(_) | Progress::Ask(..)) => Some(progress),
        };
        let (stage, call) = match progress {
            Some(Progress::Done(outcome)) => return Known::Verdict(self.settle(env, &case, outcome)),
            Some(Progress::Ask(call, stage)) => (stage, Some(call)),
            Some(Progress::AwaitKeys(stage)) => (stage, None),
            None => return Known::Verdict(Err(Fault::Host)),
        };
        let priority = if self.was_good(&case) { Priority::Known } else { Priority::Unknown };
        let mut guesser = None;
        if call.is_some() && priority == Priority::Unknown {
            let suspect = self.guesser(env, provider, credential);
            if let Err(retry_after) = self.throttle.begin(&suspect, env.now) {
                let retry_after = Some(retry_after);
                return Known::Verdict(Ok(Verdict::Refused(Rejection::Throttled { retry_after })));
            }
            guesser = Some(suspect);
        }
        let placed = match call {
            Some(call) => {
                self.flights.calls.push(priority, Subject::Credential(name), call, env.now).map(Some)
            }
            // To wait for keys is no call; it has a bound of its own.
            None if self.awaiting_keys_of(provider) >= self.config.authentik.max_pending_calls => Err(Full),
            None => Ok(None),
        };
        let Ok(call) = placed else {
            if let Some(guesser) = guesser {
                self.throttle.take_back(&guesser);
            }
            return Known::Verdict(self.settle(env, &case, Err(Fault::TooManyCalls)));
        };
        let waiters = BTreeSet::from([id]);
        self.flights.waiting.insert(id, waiter);
        let flight = Flight { stage, since: env.now, call, priority, case, guesser, waiters };
        self.flights.inquiries.insert(name, flight);
        Known::Waiting
    }

    fn awaiting_keys_of(&self, provider: ProviderId) -> usize {
        let flights = self.flights.inquiries.iter();
        flights.filter(|((of, _), flight)| flight.awaits_keys_of(*of, provider)).count()
    }

    fn fingerprint(&self, case: &Case) -> Option<Fingerprint> {
        Some(case.fingerprint(&self.providers.get(case.provider())?.keys))
    }

    /// The verdict on a credential as far as nobody need be asked.
    pub(crate) fn known_without_call(
        &mut self,
        Request { env, provider, .. }: Request<'_>,
        credential: &Credential<'_>,
    ) -> Option<Verdict> {
        let case = match self.look_up(env, provider, credential)? {
            Ok(verdict) => return Some(verdict),
            Err(case) => case,
        };
        let kept = case.credential();
        let kept = kept.as_ref().unwrap_or(credential);
        let judged = self.with_facts(env, provider, |facts| pending::judge_without_call(kept, facts))??;
        self.settle(env, &case, Ok(judged)).ok()
    }

    /// The calls that the shell is to send now: as many as there are places for. Those that wait follow with the answers.
    pub fn take_calls(&mut self, now: Timestamp) -> Vec<(Ticket, Call)> {
        let mut calls = Vec::new();
        while let Some((number, subject, call)) = self.flights.calls.pop(now) {
            match subject {
                // Nobody waits for it any more.
                Subject::Credential(name) if self.is_abandoned(&name) => {
                    self.flights.calls.cancel(number);
                    if let Some(flight) = self.flights.inquiries.remove(&name) {
                        self.release(flight.guesser, &Err(Fault::TooManyWaiting));
                    }
                }
                Subject::Credential(_) | Subject::Keys(_) => calls.push((Ticket { subject, number }, call)),
            }
        }
        calls
    }

    fn is_abandoned(&self, name: &FlightName) -> bool {
        self.flights.inquiries.get(name).is_some_and(|flight| flight.waiters.is_empty())
    }

    /// An answer has come, or a call could not be sent. The requests that this settles are the next that
    /// [`Self::next_ready`] names. An answer that nobody waits for any more changes nothing.
    pub fn answered(&mut self, env: &Env<'_>, Ticket { subject, number }: Ticket, answer: &Answer) {
        if self.flights.calls.ended(number, answer) {
            self.go_on_with(env, Ticket { subject, number }, answer);
        }
    }

    /// A call has come to its end, with an answer or without.
    fn go_on_with(&mut self, env: &Env<'_>, Ticket { subject, number }: Ticket, answer: &Answer) {
        match subject {
            Subject::Keys(provider) => {
                self.keys_answered(env, provider, answer);
                self.resume_awaiting_keys(env, provider);
            }
            Subject::Credential(name) => {
                if self.flights.inquiries.get(&name).is_some_and(|flight| flight.call == Some(number))
                    && let Some(flight) = self.flights.inquiries.remove(&name)
                {
                    self.go_on(env, name, flight, |stage, facts| stage.answered(answer, facts));
                }
            }
        }
    }

    /// The next request whose verdict is there: the shell reads its headers again and calls [`Self::resume`].
    pub fn next_ready(&mut self) -> Option<RequestId> {
        while let Some(id) = self.flights.ready.pop_front() {
            if self.is_ready(id) {
                return Some(id);
            }
        }
        None
    }

    /// Whether the verdict for this request is there.
    pub fn is_ready(&self, id: RequestId) -> bool {
        self.flights.waiting.get(&id).is_some_and(|waiter| waiter.outcome.is_some())
    }

    /// Decides a request whose verdict is there. `None`: it waits (again). A request that does not wait is answered: what
    /// is not known is never forwarded.
    pub fn resume(&mut self, env: &Env<'_>, id: RequestId, block: &HeaderBlock) -> Option<Decision> {
        let Some(waiter) = self.flights.waiting.remove(&id) else {
            return Some(Decision::Reply(reply::broken_reply()));
        };
        let Some(outcome) = waiter.outcome else {
            self.flights.waiting.insert(id, waiter);
            return None;
        };
        let owned_headers = self.config.owned_headers.clone();
        let Ok(view) = RequestView::read(block, &owned_headers) else {
            return Some(Decision::Reply(reply::broken_reply()));
        };
        let found = self.directory.find(view.authority, &self.config.providers);
        let (provider, _) = waiter.flight;
        let Some(found) = found.filter(|found| found.id == provider) else {
            return Some(Decision::Reply(reply::broken_reply()));
        };
        let has_ended_session = waiter.has_ended_session;
        let request = Request { has_ended_session, ..Request::new(env, id, &found, &view) };
        let decision = self.conclude(request, waiter.purpose, outcome)?;
        Some(if has_ended_session { self.take_session_back(request, decision) } else { decision })
    }

    /// A request is gone: its client left, or it was answered otherwise. The inquiry goes on.
    pub fn forget(&mut self, id: RequestId) {
        let Some(waiter) = self.flights.waiting.remove(&id) else { return };
        if let Some(flight) = self.flights.inquiries.get_mut(&waiter.flight) {
            flight.waiters.remove(&id);
        }
    }

    /// The clock has moved: keys are fetched before anyone misses them, and taken from the worker that fetched them; what
    /// waits for an answer that is lost waits no longer.
    /// `jitter_percent` (0 to 10) spreads the fetches of workers and replicas.
    pub fn tick(&mut self, env: &Env<'_>, jitter_percent: u64) {
        self.give_up_lost_calls(env);
        for provider in 0..self.providers.len() {
            if self.tend_keys(env, provider, jitter_percent) {
                // Also those whose keys came with another request, which could speak for itself only.
                self.resume_awaiting_keys(env, provider);
            }
        }
    }

    /// Whether a request waits for what only a tick can bring: keys that this worker does not fetch itself.
    pub fn wants_ticks(&self) -> bool {
        let is_fetching = |id: ProviderId| {
            self.providers.get(id).is_some_and(|state| state.keyring.activity() == Activity::Fetching)
        };
        let mut inquiries = self.flights.inquiries.iter();
        inquiries.any(|((id, _), flight)| flight.awaits_keys_of(*id, *id) && !is_fetching(*id))
    }

    /// Whether verdicts are there that one callback had no room for.
    pub fn has_ready(&self) -> bool {
        !self.flights.ready.is_empty()
    }

    fn give_up_lost_calls(&mut self, env: &Env<'_>) {
        let patience = self.config.authentik.timeout.as_secs().saturating_add(LOST_AFTER_SECONDS);
        for (number, subject) in self.flights.calls.lost(env.now, patience) {
            self.answered(env, Ticket { subject, number }, &Answer::Lost);
        }
        // What has waited for a place for too long is not asked at all.
        for (number, subject) in self.flights.calls.give_up(env.now, self.config.authentik.max_wait_seconds) {
            self.go_on_with(env, Ticket { subject, number }, &Answer::NotSent(NotSent::WaitedTooLong));
        }
    }

    /// Sends the fetch of a key set, before all other calls that wait.
    pub(crate) fn send_keys_call(&mut self, env: &Env<'_>, provider: ProviderId) {
        let Some(settings) = self.config.providers.get(provider) else { return };
        let call = authentik::keys_call(&self.config, settings);
        // There is always room for it.
        let _ = self.flights.calls.push(Priority::Keys, Subject::Keys(provider), call, env.now);
    }

    /// For how many seconds the longest has waited for keys of this provider; `None`: nobody does.
    pub(crate) fn longest_wait_for_keys(&self, now: Timestamp, provider: ProviderId) -> Option<u64> {
        let flights = self.flights.inquiries.iter();
        let waiting = flights.filter(|((of, _), flight)| flight.awaits_keys_of(*of, provider));
        waiting.map(|(_, flight)| now.since(flight.since)).max()
    }

    fn resume_awaiting_keys(&mut self, env: &Env<'_>, provider: ProviderId) {
        let flights = &mut self.flights.inquiries;
        let ready: Vec<_> =
            flights.extract_if(|(of, _), flight| flight.awaits_keys_of(*of, provider)).collect();
        for (name, flight) in ready {
            self.go_on(env, name, flight, Stage::keys_fetched);
        }
    }

    /// The next step of an inquiry that others wait for.
    fn go_on(
        &mut self,
        env: &Env<'_>,
        name: FlightName,
        flight: Flight,
        step: impl FnOnce(Stage, &Facts<'_>) -> Progress,
    ) {
        let (provider, _) = name;
        let Flight { stage, since, call, priority, case, guesser, waiters } = flight;
        // One that had a call begins to wait for keys only now.
        let since = if call.is_some() { env.now } else { since };
        let mut progress = self.with_facts(env, provider, |facts| step(stage, facts));
        let is_late = env.now.since(since) >= self.config.authentik.timeout.as_secs();
        if let Some(Progress::AwaitKeys(stage)) = progress {
            progress = if is_late {
                Some(Progress::Done(Err(Fault::NoKeys)))
            } else {
                self.seek_keys(env, provider, stage)
            };
        }
        let (stage, call) = match progress {
            Some(Progress::Done(outcome)) => {
                self.release(guesser, &outcome);
                let outcome = self.settle(env, &case, outcome);
                return self.flights.settle(waiters, &outcome);
            }
            Some(Progress::Ask(call, stage)) => {
                let pushed = self.flights.calls.push(priority, Subject::Credential(name), call, env.now);
                let Ok(number) = pushed else {
                    let full = Err(Fault::TooManyCalls);
                    self.release(guesser, &full);
                    let outcome = self.settle(env, &case, full);
                    return self.flights.settle(waiters, &outcome);
                };
                (stage, Some(number))
            }
            Some(Progress::AwaitKeys(stage)) => (stage, None),
            None => return self.flights.settle(waiters, &Err(Fault::Host)),
        };
        let flight = Flight { stage, since, call, priority, case, guesser, waiters };
        self.flights.inquiries.insert(name, flight);
    }

    fn guesser(&self, env: &Env<'_>, provider: ProviderId, credential: &Credential<'_>) -> Guesser {
        let username = match credential {
            Credential::Basic { username, .. } => Some(Sha256::digest(username).into()),
            Credential::Bearer(_) | Credential::Session(_) | Credential::Code(_) => None,
        };
        let address = self.config.throttle.trust_source_address.then(|| env.host.source_address()).flatten();
        let without_port =
            |address: String| address.rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or(address);
        Guesser { provider, username, address: address.map(without_port) }
    }

    /// Only a definite no leaves a mark.
    fn release(&mut self, guesser: Option<Guesser>, outcome: &Outcome) {
        let is_guess = matches!(outcome, Ok(Err(Rejection::Refused(_) | Rejection::Inactive)));
        if let Some(guesser) = guesser.filter(|_| !is_guess) {
            self.throttle.take_back(&guesser);
        }
    }

    pub(crate) fn with_facts<T>(
        &self,
        env: &Env<'_>,
        provider: ProviderId,
        ask: impl FnOnce(&Facts<'_>) -> T,
    ) -> Option<T> {
        let facts = Facts {
            config: &self.config,
            provider: self.config.providers.get(provider)?,
            keyring: &self.providers.get(provider)?.keyring,
            env,
        };
        Some(ask(&facts))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;
    use crate::authn::cache::shared::tests::{Memory, at};
    use crate::base::secret::Secret;
    use crate::config::Config;

    const BASIC: &str = "Basic YWxpY2U6eA==";

    /// A core, and the headers of the requests that were sent to it, as the host keeps them.
    struct Worker {
        core: Authenticator,
        sent: HashMap<RequestId, HeaderBlock>,
        now: Timestamp,
    }

    impl Worker {
        /// What requests are told whose verdict is there.
        fn told(&mut self, env: &Env<'_>) -> Vec<(RequestId, u16)> {
            let mut told = Vec::new();
            while let Some(id) = self.core.next_ready() {
                let block = &self.sent[&id];
                told.extend(self.core.resume(env, id, block).map(|decision| (id, status(&decision))));
            }
            told
        }

        fn tick(&mut self, env: &Env<'_>, jitter_percent: u64) -> Vec<(RequestId, u16)> {
            self.now = env.now;
            self.core.tick(env, jitter_percent);
            self.told(env)
        }

        fn answered(&mut self, env: &Env<'_>, ticket: Ticket, answer: &Answer) -> Vec<(RequestId, u16)> {
            self.now = env.now;
            self.core.answered(env, ticket, answer);
            self.told(env)
        }

        fn wants_ticks(&self) -> bool {
            self.core.wants_ticks()
        }
    }

    fn status(decision: &Decision) -> u16 {
        match decision {
            Decision::Reply(reply) => reply.status,
            Decision::Forward(_) => 200,
        }
    }

    /// A worker for two providers, `one` and `two`.
    fn worker() -> Worker {
        let provider = |slug: &str| {
            json!({
                "assigned_application_slug": slug, "client_id": slug, "client_secret": "s",
                "external_host": format!("https://{slug}.example.test"),
            })
        };
        let configuration = json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.test", "timeout_seconds": 5},
            "session": {"enabled": false},
            "providers": [provider("one"), provider("two")],
        });
        let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
        Worker { core: Authenticator::new(config).unwrap(), sent: HashMap::new(), now: at(0) }
    }

    /// A token of the provider with a key that nobody has yet.
    fn bearer(slug: &str) -> String {
        let issuer = format!("https://auth.example.test/application/o/{slug}/");
        let claims = json!({"iss": issuer, "aud": slug, "exp": 4_000_000_000_u64});
        let parts = [json!({"alg": "ES256", "kid": "new"}), claims];
        let [header, claims] = parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        format!("Bearer {header}.{claims}.{}", "A".repeat(86))
    }

    /// Sends a request, which has to wait.
    fn send(worker: &mut Worker, env: &Env<'_>, id: RequestId, slug: &str, credential: &str) {
        let host = format!("{slug}.example.test");
        let headers = [(":method", "POST"), (":authority", host.as_str()), ("authorization", credential)];
        let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let block = HeaderBlock::from_pairs(pairs);
        assert!(worker.core.authenticate(env, id, &block).is_none(), "request {id}");
        worker.now = env.now;
        worker.sent.insert(id, block);
    }

    /// The calls that are to be sent now, by path.
    fn calls(worker: &mut Worker) -> Vec<(String, Ticket)> {
        let path = |call: Call| {
            let (_, path) = call.headers.into_iter().find(|(name, _)| *name == ":path").unwrap();
            String::from_utf8(path.as_bytes().to_vec()).unwrap()
        };
        worker.core.take_calls(worker.now).into_iter().map(|(ticket, call)| (path(call), ticket)).collect()
    }

    fn paths(worker: &mut Worker) -> Vec<String> {
        calls(worker).into_iter().map(|(path, _)| path).collect()
    }

    fn no_keys() -> Answer {
        Answer::Response { status: 200, retry_after: None, body: Secret::new(b"{}".to_vec()) }
    }

    /// A moment of all workers that share this memory.
    fn env(memory: &Memory, seconds: u64) -> Env<'_> {
        Env { now: at(seconds), host: memory }
    }

    #[test]
    fn keys_settle_only_what_waits_for_them() {
        let (memory, mut worker) = (Memory::default(), worker());
        let now = env(&memory, 0);
        send(&mut worker, &now, 1, "one", BASIC);
        assert!(!worker.wants_ticks(), "its answer comes by itself");
        send(&mut worker, &now, 2, "one", &bearer("one"));
        send(&mut worker, &now, 3, "two", &bearer("two"));
        assert!(!worker.wants_ticks(), "and so do keys that this worker fetches");
        let mut calls = calls(&mut worker);
        assert_eq!(calls.len(), 3);
        let mut answer_to = |path: &str, answer: &Answer| {
            let position = calls.iter().position(|(called, _)| called == path).unwrap();
            worker.answered(&now, calls.remove(position).1, answer)
        };
        assert_eq!(answer_to("/application/o/one/jwks/", &no_keys()), [(2, 401)]);
        assert_eq!(answer_to("/application/o/token/", &Answer::Reset), [(1, 503)]);
        assert_eq!(answer_to("/application/o/two/jwks/", &no_keys()), [(3, 401)]);
    }

    /// Two workers that have keys, and a request with a new one at each, 20 seconds later: the first fetches.
    fn one_that_fetches_and_one_that_follows(memory: &Memory) -> (Worker, Ticket, Worker) {
        let (mut first, mut second) = (worker(), worker());
        let ticks = |worker: &mut Worker| assert!(worker.tick(&env(memory, 0), 0).is_empty());
        ticks(&mut first);
        for (_, ticket) in calls(&mut first) {
            assert!(first.answered(&env(memory, 0), ticket, &no_keys()).is_empty());
        }
        ticks(&mut second);
        assert_eq!(paths(&mut second), [""; 0], "they are shared");
        let later = env(memory, 20);
        assert!(!first.wants_ticks() && !second.wants_ticks(), "nobody waits");
        send(&mut first, &later, 1, "one", &bearer("one"));
        send(&mut second, &later, 2, "one", &bearer("one"));
        let mut fetches = calls(&mut first);
        assert_eq!(fetches.len(), 1);
        assert_eq!(paths(&mut second), [""; 0], "the first one fetches for it");
        assert!(!first.wants_ticks(), "its call will be answered");
        assert!(second.wants_ticks(), "nobody tells it of the other's answer");
        (first, fetches.remove(0).1, second)
    }

    #[test]
    fn who_follows_waits_until_the_other_one_has_its_answer() {
        let memory = Memory::default();
        let (mut first, fetch, mut second) = one_that_fetches_and_one_that_follows(&memory);
        for seconds in 21..24 {
            let now = env(&memory, seconds);
            assert!(first.tick(&now, 0).is_empty(), "it lives, and keeps its lease");
            assert!(second.tick(&now, 0).is_empty(), "not while it is on its way");
        }
        assert_eq!(first.answered(&env(&memory, 24), fetch, &no_keys()), [(1, 401)]);
        assert_eq!(second.tick(&env(&memory, 24), 0), [(2, 401)], "they are looked for at every tick");
        assert_eq!((paths(&mut first), paths(&mut second)), (vec![], vec![]));
        assert!(!second.wants_ticks());
    }

    #[test]
    fn a_worker_that_is_gone_is_replaced_by_one_that_followed() {
        let memory = Memory::default();
        let (_gone, _, mut second) = one_that_fetches_and_one_that_follows(&memory);
        for seconds in 21..23 {
            assert!(second.tick(&env(&memory, seconds), 0).is_empty());
            assert_eq!(paths(&mut second), [""; 0], "the lease holds");
        }
        assert!(second.tick(&env(&memory, 23), 0).is_empty());
        let mut calls = calls(&mut second);
        assert_eq!(calls.len(), 1, "nobody has extended it");
        assert_eq!(second.answered(&env(&memory, 23), calls.remove(0).1, &no_keys()), [(2, 401)]);
    }

    #[test]
    fn who_follows_is_told_of_a_failure_at_once() {
        let memory = Memory::default();
        let (mut first, fetch, mut second) = one_that_fetches_and_one_that_follows(&memory);
        assert_eq!(first.answered(&env(&memory, 21), fetch, &Answer::Reset), [(1, 503)]);
        assert_eq!(second.tick(&env(&memory, 21), 0), [(2, 503)]);
        assert_eq!(paths(&mut second), [""; 0]);
        let credential = bearer("one");
        let headers = [(":authority", "one.example.test"), ("authorization", credential.as_str())];
        let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let block = HeaderBlock::from_pairs(pairs);
        let decided = second.core.authenticate(&env(&memory, 21), 3, &block);
        assert_eq!(decided.as_ref().map(status), Some(503), "it does not wait for what has just failed");
    }

    #[test]
    fn a_fetch_whose_answer_is_lost_is_given_up() {
        let memory = Memory::default();
        let (mut first, fetch, mut second) = one_that_fetches_and_one_that_follows(&memory);
        for seconds in 21..28 {
            let now = env(&memory, seconds);
            assert!(first.tick(&now, 0).is_empty() && second.tick(&now, 0).is_empty(), "{seconds}");
        }
        let now = env(&memory, 28);
        assert_eq!((first.tick(&now, 0), second.tick(&now, 0)), (vec![(1, 503)], vec![(2, 503)]));
        assert!(first.answered(&now, fetch, &no_keys()).is_empty());
        let held = first.core.providers[0].keyring.fetched_at();
        assert_eq!(held, Some(at(0)), "a late answer is nobody's");
    }

    #[test]
    fn a_fetch_that_fails_is_tried_less_and_less_often() {
        let (memory, mut worker) = (Memory::default(), worker());
        let mut fetched_at = Vec::new();
        for seconds in 0..300 {
            let now = env(&memory, seconds);
            worker.tick(&now, 0);
            for (path, ticket) in calls(&mut worker) {
                if path == "/application/o/one/jwks/" {
                    fetched_at.push(seconds);
                }
                worker.answered(&now, ticket, &Answer::Reset);
            }
        }
        assert_eq!(fetched_at, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
    }

    #[test]
    fn after_a_failed_fetch_only_an_unknown_key_is_a_fault() {
        let (memory, mut worker) = (Memory::default(), worker());
        for (seconds, answer) in [(0, no_keys()), (300, Answer::Reset)] {
            worker.tick(&env(&memory, seconds), 0);
            for (_, ticket) in calls(&mut worker) {
                worker.answered(&env(&memory, seconds), ticket, &answer);
            }
        }
        for (id, token_of, expected) in [(1, "one", 503), (2, "two", 401)] {
            let credential = bearer(token_of);
            let headers = [(":authority", "one.example.test"), ("authorization", &credential)];
            let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let decided = worker.core.authenticate(&env(&memory, 301), id, &HeaderBlock::from_pairs(pairs));
            assert_eq!(
                decided.map(|decision| status(&decision)),
                Some(expected),
                "a token of {token_of} at one"
            );
        }
        assert_eq!(paths(&mut worker), [""; 0], "not so soon");
    }

    #[test]
    fn keys_are_fetched_on_schedule_and_once() {
        let (memory, mut worker) = (Memory::default(), worker());
        let mut fetched_at = |seconds: u64, jitter_percent, answer: Option<&Answer>| {
            let now = env(&memory, seconds);
            assert!(worker.tick(&now, jitter_percent).is_empty());
            let calls = calls(&mut worker);
            let count = calls.len();
            for ((_, ticket), answer) in calls.into_iter().zip(answer.into_iter().cycle()) {
                worker.answered(&now, ticket, answer);
            }
            count
        };
        assert_eq!(fetched_at(0, 0, Some(&no_keys())), 2);
        for seconds in 1..270 {
            assert_eq!(fetched_at(seconds, 10, None), 0, "after {seconds} seconds");
        }
        assert_eq!(fetched_at(270, 0, None), 0);
        assert_eq!(fetched_at(270, 10, Some(&Answer::Reset)), 2);
        assert_eq!(fetched_at(280, 10, None), 2, "a failed one is tried again");
        for seconds in 281..288 {
            assert_eq!(fetched_at(seconds, 10, None), 0, "one at a time");
        }
    }
}
