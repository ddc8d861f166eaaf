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
        let name = (provider, case.fingerprint());
        if self.flights.waiters() >= MAX_WAITERS {
            return Known::Verdict(Err(Fault::TooManyWaiting));
        }
        let waiter = Waiter { id, provider, purpose, block: block.clone() };
        if let Some(flight) = self.flights.inquiries.get_mut(&name) {
            flight.waiters.push(waiter);
            return Known::Waiting;
        }
        let mut progress = self.with_facts(env, provider, |facts| inquiry::begin(credential, facts));
        if let Some(Progress::AwaitKeys(stage)) = progress {
            progress = self.seek_keys(env, provider, stage);
        }
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
            self.flights.outbox.push((Ticket(Subject::Credential(provider, case.fingerprint())), call));
        }
        let flight = Flight { stage, since: env.now, case, guesser, waiters: vec![waiter] };
        self.flights.inquiries.insert(name, flight);
        Known::Waiting
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
        let judged =
            self.with_facts(env, provider, |facts| inquiry::judge_without_call(credential, facts))??;
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
                    if !self.adopt_keys(env, provider) && !self.is_following_in_vain(env, provider) {
                        continue;
                    }
                    self.end_following(provider);
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

    fn end_following(&mut self, provider: ProviderId) {
        if let Some(state) = self.providers.get_mut(provider) {
            state.keyring.stop_following();
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
                self.flights.outbox.push((Ticket(Subject::Credential(provider, case.fingerprint())), call));
                stage
            }
            Some(Progress::AwaitKeys(stage)) => stage,
            None => return self.decide_all(env, waiters, &Err(Fault::Host)),
        };
        let name = (provider, case.fingerprint());
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
