//! Calls to authentik that are under way, and who waits for them.
//!
//! Owns: single flight (one inquiry for any number of requests with the same credential, one fetch per key set), the
//! limit on calls, and who is braked. An inquiry belongs to nobody: it goes on when its first client leaves.
//! Must not: judge (that is [`super::inquiry`]'s), remember verdicts ([`super::memory`]'s), or say what a request is
//! told ([`super::decision`]'s).

use std::collections::HashMap;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::credential::{AuthScheme, Credential};
use super::decision::{self, Decision};
use super::directory::ProviderId;
use super::fault::{Fault, Rejection};
use super::fingerprint::Fingerprint;
use super::inquiry::{self, Facts, Outcome, Progress, Stage};
use super::jwks::KeySet;
use super::keyring::{Activity, RETRY_SECONDS};
use super::memory::Case;
use super::provider::{self, Answer, Call};
use super::request::{HeaderBlock, MalformedBlock, RequestView};
use super::session::Session;
use super::shared_keys::SharedKeys;
use super::throttle::Guesser;
use super::time::Timestamp;
use super::verdict::Verdict;
use super::{Authenticator, Env, Request};

/// Most requests that wait in one worker: each keeps its headers, up to Envoy's 60 KiB, of a memory of 1 GiB.
const MAX_WAITERS: usize = 8192;

/// The host's name for a request; never used twice at one time.
pub type RequestId = u32;

/// What a call is about: its answer comes back with it. At most one call per ticket is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(Subject);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Keys(ProviderId),
    Credential(ProviderId, Fingerprint),
}

/// Inquiries and fetches that are under way in this worker.
#[derive(Default)]
pub(super) struct Flights {
    inquiries: HashMap<(ProviderId, Fingerprint), Flight>,
    outbox: Vec<(Ticket, Call)>,
}

impl Flights {
    fn waiters(&self) -> usize {
        self.inquiries.values().map(|flight| flight.waiters.len()).fold(0, usize::saturating_add)
    }
}

/// One inquiry, where it stands, and who waits for it.
struct Flight {
    stage: Stage,
    since: Timestamp,
    case: Case,
    guesser: Option<Guesser>,
    waiters: Vec<Waiter>,
}

impl Flight {
    fn awaits_keys_of(&self, own: ProviderId, provider: ProviderId) -> bool {
        own == provider && matches!(self.stage, Stage::Keys(_))
    }
}

struct Waiter {
    id: RequestId,
    provider: ProviderId,
    purpose: Purpose,
    block: HeaderBlock,
}

/// What a request waits for a verdict on.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// Its credential, sent in this way, beside this session: the cookie alone does not say whether that still stands.
    Credential(Option<AuthScheme>, Option<Rc<Session>>),
    /// The token of its session.
    Confirmation,
    /// The code at the end of a login.
    Login {
        /// Where the browser goes then.
        return_url: String,
    },
}

/// What is known of a credential right now.
pub(super) enum Known {
    /// Enough.
    Verdict(Result<Verdict, Fault>),
    /// Not yet; the request is on the list.
    Waiting,
}

impl Authenticator {
    /// The verdict on a credential: remembered, found out on the spot, or asked for.
    pub(super) fn verdict_on(
        &mut self,
        request: Request<'_>,
        purpose: Purpose,
        credential: &Credential<'_>,
    ) -> Known {
        let Request { env, id, provider, block, view: _ } = request;
        let case = match self.look_up(env, provider, credential) {
            Some(Ok(verdict)) => return Known::Verdict(Ok(verdict)),
            Some(Err(case)) => case,
            None => return Known::Verdict(Err(Fault::Host)),
        };
        let kept = case.credential();
        let kept = kept.as_ref().unwrap_or(credential);
        let progress = match self.with_facts(env, provider, |facts| inquiry::begin(kept, facts)) {
            Some(Progress::Done(outcome)) => return Known::Verdict(self.settle(env, &case, outcome)),
            Some(progress) => progress,
            None => return Known::Verdict(Err(Fault::Host)),
        };
        let Some(fingerprint) = self.fingerprint(&case) else {
            return Known::Verdict(Err(Fault::Host));
        };
        if self.flights.waiters() >= MAX_WAITERS {
            return Known::Verdict(Err(Fault::TooManyWaiting));
        }
        let waiter = Waiter { id, provider, purpose, block: block.clone() };
        let name = (provider, fingerprint);
        if let Some(flight) = self.flights.inquiries.get_mut(&name) {
            flight.waiters.push(waiter);
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
        if self.flights.inquiries.len() >= self.config.authentik.max_pending_calls {
            return Known::Verdict(self.settle(env, &case, Err(Fault::TooManyCalls)));
        }
        let mut guesser = None;
        if let Some(call) = call {
            if !self.was_good(&case) {
                let suspect = self.guesser(env, provider, credential);
                if let Err(retry_after) = self.throttle.begin(&suspect, env.now) {
                    return Known::Verdict(Ok(Verdict::Refused(Rejection::Throttled {
                        retry_after: Some(retry_after),
                    })));
                }
                guesser = Some(suspect);
            }
            self.flights.outbox.push((Ticket(Subject::Credential(provider, fingerprint)), call));
        }
        let flight = Flight { stage, since: env.now, case, guesser, waiters: vec![waiter] };
        self.flights.inquiries.insert(name, flight);
        Known::Waiting
    }

    fn fingerprint(&self, case: &Case) -> Option<Fingerprint> {
        Some(case.fingerprint(&self.providers.get(case.provider())?.keys))
    }

    /// The verdict on a credential as far as nobody need be asked.
    pub(super) fn known_without_call(
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
        let judged = self.with_facts(env, provider, |facts| inquiry::judge_without_call(kept, facts))??;
        self.settle(env, &case, Ok(judged)).ok()
    }

    /// The calls that the shell is to send now.
    pub fn take_calls(&mut self) -> Vec<(Ticket, Call)> {
        core::mem::take(&mut self.flights.outbox)
    }

    /// An answer has come, or a call could not be sent: the decisions of all requests that this settles.
    pub fn answered(
        &mut self,
        env: &Env<'_>,
        Ticket(subject): Ticket,
        answer: &Answer,
    ) -> Vec<(RequestId, Decision)> {
        match subject {
            Subject::Keys(provider) => {
                self.keys_answered(env, provider, answer);
                self.resume_awaiting_keys(env, provider)
            }
            Subject::Credential(provider, fingerprint) => {
                let Some(flight) = self.flights.inquiries.remove(&(provider, fingerprint)) else {
                    return Vec::new();
                };
                self.go_on(env, provider, flight, |stage, facts| stage.answered(answer, facts))
            }
        }
    }

    /// A request is gone: its client left, or it was answered otherwise. The inquiry goes on.
    pub fn forget(&mut self, id: RequestId) {
        for flight in self.flights.inquiries.values_mut() {
            flight.waiters.retain(|waiter| waiter.id != id);
        }
    }

    /// The clock has moved: keys are fetched before anyone misses them, and taken from the worker that fetched them.
    /// `jitter_percent` (0 to 10) spreads the fetches of workers and replicas.
    pub fn tick(&mut self, env: &Env<'_>, jitter_percent: u64) -> Vec<(RequestId, Decision)> {
        let mut decisions = Vec::new();
        for provider in 0..self.providers.len() {
            let Some(state) = self.providers.get(provider) else { continue };
            match state.keyring.activity() {
                Activity::Fetching => continue,
                Activity::Following => {
                    let is_adopted = self.adopt_keys(env, provider);
                    if !is_adopted && !self.is_following_in_vain(env, provider) {
                        continue;
                    }
                    self.end_following(provider, is_adopted);
                }
                Activity::Idle => {
                    let is_due = state.keyring.is_due(env.now, &self.config.jwks, jitter_percent);
                    if is_due && !self.adopt_keys(env, provider) {
                        self.fetch_keys(env, provider);
                    }
                }
            }
            // Also those whose keys came with another request, which could speak for itself only.
            decisions.extend(self.resume_awaiting_keys(env, provider));
        }
        decisions
    }

    /// Whether a request waits for what only a tick can bring: keys that this worker does not fetch itself.
    pub fn wants_ticks(&self) -> bool {
        let is_fetching = |id: ProviderId| {
            self.providers.get(id).is_some_and(|state| state.keyring.activity() == Activity::Fetching)
        };
        let mut inquiries = self.flights.inquiries.iter();
        inquiries.any(|((id, _), flight)| flight.awaits_keys_of(*id, *id) && !is_fetching(*id))
    }

    /// Keys are wanted: another worker's, if it has newer ones; else they are fetched, here or there.
    fn seek_keys(&mut self, env: &Env<'_>, provider: ProviderId, stage: Stage) -> Option<Progress> {
        if self.adopt_keys(env, provider) {
            let progress = self.with_facts(env, provider, |facts| stage.keys_fetched(facts))?;
            let Progress::AwaitKeys(stage) = progress else { return Some(progress) };
            self.fetch_keys(env, provider);
            return Some(Progress::AwaitKeys(stage));
        }
        self.fetch_keys(env, provider);
        Some(Progress::AwaitKeys(stage))
    }

    /// Takes over what another worker fetched, if it is newer. Whether it was. Keys that are overdue are not taken:
    /// a configuration that comes back finds those of its last time, and authentik may have withdrawn them since.
    fn adopt_keys(&mut self, env: &Env<'_>, provider: ProviderId) -> bool {
        let Some((keys, fetched)) = self.newer_keys(env, provider) else { return false };
        if env.now.since(fetched) > self.config.jwks.refresh_seconds {
            return false;
        }
        self.hold_keys(provider, keys, fetched);
        true
    }

    /// What some worker fetched, and when, if that is newer than what this one holds.
    fn newer_keys(&self, env: &Env<'_>, provider: ProviderId) -> Option<(KeySet, Timestamp)> {
        let held = self.providers.get(provider)?.keyring.fetched_at();
        let is_newer = |fetched: Timestamp| held.is_none_or(|held| held < fetched) && fetched <= env.now;
        self.shared_keys(env, provider)?.read().filter(|(_, fetched)| is_newer(*fetched))
    }

    fn hold_keys(&mut self, provider: ProviderId, keys: KeySet, fetched: Timestamp) {
        if let Some(state) = self.providers.get_mut(provider) {
            state.keyring.replace(keys, fetched);
        }
    }

    /// Fetches keys, unless somebody does already.
    fn fetch_keys(&mut self, env: &Env<'_>, provider: ProviderId) {
        let (Some(settings), Some(state)) =
            (self.config.providers.get(provider), self.providers.get(provider))
        else {
            return;
        };
        if state.keyring.activity() == Activity::Fetching {
            return;
        }
        // As long as the call may take; when it ends, the lease is set anew.
        let lease = self.config.authentik.timeout.as_secs().saturating_add(RETRY_SECONDS);
        let is_ours = self.shared_keys(env, provider).is_none_or(|shared| shared.take_lease(env.now, lease));
        let activity = if is_ours { Activity::Fetching } else { Activity::Following };
        if is_ours {
            let call = provider::keys_call(&self.config, settings);
            self.flights.outbox.push((Ticket(Subject::Keys(provider)), call));
        }
        if let Some(state) = self.providers.get_mut(provider) {
            state.keyring.attempt(activity, env.now);
        }
    }

    fn keys_answered(&mut self, env: &Env<'_>, provider: ProviderId, answer: &Answer) {
        let pause = match provider::read_keys(answer) {
            Ok((keys, body)) => {
                if let Some(shared) = self.shared_keys(env, provider) {
                    shared.publish(body, env.now);
                }
                if let Some(state) = self.providers.get_mut(provider) {
                    state.keyring.replace(keys, env.now);
                }
                self.config.jwks.min_refresh_interval_seconds
            }
            Err(fault) => {
                // Overdue ones are better than none, as long as they would have stayed in use.
                if let Some((keys, fetched)) = self.newer_keys(env, provider) {
                    self.hold_keys(provider, keys, fetched);
                }
                if let Some(state) = self.providers.get_mut(provider) {
                    state.keyring.failed(Some(fault));
                }
                RETRY_SECONDS
            }
        };
        if let Some(shared) = self.shared_keys(env, provider) {
            shared.set_lease(env.now, pause);
        }
    }

    /// Whether another worker's keys are no longer to be waited for: nobody does, or somebody has for as long as a call
    /// may take.
    fn is_following_in_vain(&self, env: &Env<'_>, provider: ProviderId) -> bool {
        let limit = self.config.authentik.timeout.as_secs();
        let mut waiting =
            self.flights.inquiries.iter().filter(|((of, _), flight)| flight.awaits_keys_of(*of, provider));
        let longest = waiting.by_ref().map(|(_, flight)| env.now.since(flight.since)).max();
        longest.is_none_or(|seconds| seconds >= limit)
    }

    fn end_following(&mut self, provider: ProviderId, is_adopted: bool) {
        let mut inquiries = self.flights.inquiries.iter();
        let is_awaited = inquiries.any(|((of, _), flight)| flight.awaits_keys_of(*of, provider));
        // The key may be a new one: who waited for it in vain is told so, and not that the token is bad.
        let fault = (is_awaited && !is_adopted).then_some(Fault::NoKeys);
        if let Some(state) = self.providers.get_mut(provider) {
            state.keyring.stop_following(fault);
        }
    }

    fn resume_awaiting_keys(&mut self, env: &Env<'_>, provider: ProviderId) -> Vec<(RequestId, Decision)> {
        let awaits =
            |of: ProviderId, flight: &Flight| of == provider && matches!(flight.stage, Stage::Keys { .. });
        let ready: Vec<_> =
            self.flights.inquiries.extract_if(|(of, _), flight| awaits(*of, flight)).collect();
        let mut decisions = Vec::new();
        for (_, flight) in ready {
            decisions.extend(self.go_on(env, provider, flight, Stage::keys_fetched));
        }
        decisions
    }

    /// The next step of an inquiry that others wait for.
    fn go_on(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        flight: Flight,
        step: impl FnOnce(Stage, &Facts<'_>) -> Progress,
    ) -> Vec<(RequestId, Decision)> {
        let Flight { stage, since, case, guesser, waiters } = flight;
        let Some(fingerprint) = self.fingerprint(&case) else {
            return self.decide_all(env, waiters, &Err(Fault::Host));
        };
        let mut progress = self.with_facts(env, provider, |facts| step(stage, facts));
        let is_late = env.now.since(since) >= self.config.authentik.timeout.as_secs();
        if let Some(Progress::AwaitKeys(stage)) = progress {
            progress = if is_late {
                Some(Progress::Done(Err(Fault::NoKeys)))
            } else {
                self.seek_keys(env, provider, stage)
            };
        }
        let stage = match progress {
            Some(Progress::Done(outcome)) => {
                self.release(guesser, &outcome);
                let outcome = self.settle(env, &case, outcome);
                return self.decide_all(env, waiters, &outcome);
            }
            Some(Progress::Ask(call, stage)) => {
                self.flights.outbox.push((Ticket(Subject::Credential(provider, fingerprint)), call));
                stage
            }
            Some(Progress::AwaitKeys(stage)) => stage,
            None => return self.decide_all(env, waiters, &Err(Fault::Host)),
        };
        let name = (provider, fingerprint);
        self.flights.inquiries.insert(name, Flight { stage, since, case, guesser, waiters });
        Vec::new()
    }

    fn decide_all(
        &mut self,
        env: &Env<'_>,
        waiters: Vec<Waiter>,
        outcome: &Result<Verdict, Fault>,
    ) -> Vec<(RequestId, Decision)> {
        let mut decisions = Vec::new();
        for Waiter { id, provider, purpose, block } in waiters {
            let owned_headers = self.config.owned_headers.clone();
            let decision = match RequestView::read(&block, &owned_headers) {
                Ok(view) => {
                    let request = Request { env, id, provider, block: &block, view: &view };
                    self.conclude(request, purpose, outcome.clone())
                }
                // It could be read when the request came.
                Err(MalformedBlock) => Some(Decision::Reply(decision::broken_reply())),
            };
            decisions.extend(decision.map(|decision| (id, decision)));
        }
        decisions
    }

    fn guesser(&self, env: &Env<'_>, provider: ProviderId, credential: &Credential<'_>) -> Guesser {
        let username = match credential {
            Credential::Basic { username, .. } => Some(Sha256::digest(username).into()),
            Credential::Bearer(_) | Credential::Session(_) | Credential::Code(_) => None,
        };
        let address =
            self.config.throttle.trust_source_address.then(|| env.surroundings.source_address()).flatten();
        let without_port =
            |address: String| address.rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or(address);
        Guesser { provider, username, address: address.map(without_port) }
    }

    /// Only a definite no leaves a mark.
    fn release(&mut self, guesser: Option<Guesser>, outcome: &Outcome) {
        let is_guess = matches!(outcome, Ok(Err(Rejection::Refused | Rejection::Inactive)));
        if let Some(guesser) = guesser.filter(|_| !is_guess) {
            self.throttle.take_back(&guesser);
        }
    }

    fn shared_keys<'a>(&'a self, env: &'a Env<'_>, provider: ProviderId) -> Option<SharedKeys<'a>> {
        let keys = &self.providers.get(provider)?.keys;
        Some(SharedKeys { prefix: self.slots.prefix(), provider, keys, surroundings: env.surroundings })
    }

    fn with_facts<T>(
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
    use crate::authn::slots::tests::{Memory, at};
    use crate::config::Config;

    const BASIC: &str = "Basic YWxpY2U6eA==";

    /// A worker for two providers, `one` and `two`.
    fn worker() -> Authenticator {
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
        Authenticator::new(Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()).unwrap()
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
    fn send(worker: &mut Authenticator, env: &Env<'_>, id: RequestId, slug: &str, credential: &str) {
        let host = format!("{slug}.example.test");
        let headers = [(":method", "POST"), (":authority", host.as_str()), ("authorization", credential)];
        let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert!(worker.authenticate(env, id, &HeaderBlock::from_pairs(pairs)).is_none(), "request {id}");
    }

    /// The calls that are to be sent now, by path.
    fn calls(worker: &mut Authenticator) -> Vec<(String, Ticket)> {
        let path = |call: Call| {
            let (_, path) = call.headers.into_iter().find(|(name, _)| *name == ":path").unwrap();
            String::from_utf8(path.as_bytes().to_vec()).unwrap()
        };
        worker.take_calls().into_iter().map(|(ticket, call)| (path(call), ticket)).collect()
    }

    fn paths(worker: &mut Authenticator) -> Vec<String> {
        calls(worker).into_iter().map(|(path, _)| path).collect()
    }

    fn no_keys() -> Answer {
        Answer::Response { status: 200, retry_after: None, body: b"{}".to_vec() }
    }

    fn told(decisions: Vec<(RequestId, Decision)>) -> Vec<(RequestId, u16)> {
        let status = |decision| match decision {
            Decision::Reply(reply) => reply.status,
            Decision::Forward(_) => 200,
        };
        decisions.into_iter().map(|(id, decision)| (id, status(decision))).collect()
    }

    /// A moment of all workers that share this memory.
    fn env(memory: &Memory, seconds: u64) -> Env<'_> {
        Env { now: at(seconds), surroundings: memory }
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
            told(worker.answered(&now, calls.remove(position).1, answer))
        };
        assert_eq!(answer_to("/application/o/one/jwks/", &no_keys()), [(2, 401)]);
        assert_eq!(answer_to("/application/o/token/", &Answer::Reset), [(1, 503)]);
        assert_eq!(answer_to("/application/o/two/jwks/", &no_keys()), [(3, 401)]);
    }

    /// Two workers that have keys, and a request with a new one at each, 20 seconds later: the first fetches.
    fn one_that_fetches_and_one_that_follows(memory: &Memory) -> (Authenticator, Ticket, Authenticator) {
        let (mut first, mut second) = (worker(), worker());
        let ticks = |worker: &mut Authenticator| assert!(worker.tick(&env(memory, 0), 0).is_empty());
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
            assert!(second.tick(&env(&memory, seconds), 0).is_empty(), "not while it is on its way");
        }
        assert_eq!(told(first.answered(&env(&memory, 24), fetch, &no_keys())), [(1, 401)]);
        assert_eq!(told(second.tick(&env(&memory, 24), 0)), [(2, 401)], "they are looked for at every tick");
        assert_eq!((paths(&mut first), paths(&mut second)), (vec![], vec![]));
        assert!(!second.wants_ticks());
    }

    #[test]
    fn who_followed_in_vain_says_so_and_goes_on_by_itself() {
        let memory = Memory::default();
        let (_lost, _, mut second) = one_that_fetches_and_one_that_follows(&memory);
        for seconds in 21..25 {
            assert!(second.tick(&env(&memory, seconds), 0).is_empty());
        }
        assert_eq!(told(second.tick(&env(&memory, 25), 0)), [(2, 503)], "as long as a call may take");
        for seconds in 26..300 {
            assert!(second.tick(&env(&memory, seconds), 0).is_empty());
        }
        assert_eq!(paths(&mut second), [""; 0]);
        second.tick(&env(&memory, 300), 0);
        assert_eq!(
            paths(&mut second),
            ["/application/o/one/jwks/", "/application/o/two/jwks/"],
            "on schedule"
        );
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
        for (id, token_of, status) in [(1, "one", 503), (2, "two", 401)] {
            let credential = bearer(token_of);
            let headers = [(":authority", "one.example.test"), ("authorization", &credential)];
            let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let decided = worker.authenticate(&env(&memory, 301), id, &HeaderBlock::from_pairs(pairs));
            let decided = decided.map(|decision| (id, decision)).into_iter().collect();
            assert_eq!(told(decided), [(id, status)], "a token of {token_of} at one");
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
        for seconds in 281..400 {
            assert_eq!(fetched_at(seconds, 10, None), 0, "one at a time");
        }
    }
}
