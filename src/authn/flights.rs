//! Calls to authentik that are under way, and who waits for them.
//!
//! Owns: single flight (one inquiry for any number of requests with the same credential, one fetch per key set), the
//! limit on calls, and what is remembered of an answer. An inquiry belongs to nobody: it goes on when its first client
//! leaves. Must not: judge (that is [`super::inquiry`]'s), or say what a request is told ([`super::decision`]'s).

use std::collections::HashMap;
use std::rc::Rc;

use super::cache::{CacheKey, Lifetime};
use super::credential::Credential;
use super::decision::{self, Decision};
use super::directory::ProviderId;
use super::fault::{Fault, Rejection};
use super::fingerprint::Fingerprint;
use super::identity::Identity;
use super::inquiry::{self, Facts, Outcome, Progress, Stage};
use super::provider::{self, Answer, Call};
use super::request::{HeaderBlock, MalformedBlock, RequestView};
use super::slots::SharedVerdict;
use super::time::Timestamp;
use super::verdict::Verdict;
use super::verifier::VerifiedIdentity;
use super::{Applicant, Authenticator, Env};
use crate::config::BearerVerification;

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

struct Flight {
    stage: Stage,
    key: CacheKey,
    credential: CredentialKind,
    waiters: Vec<Waiter>,
}

/// Decides how long the verdict lives and who else may profit from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CredentialKind {
    Basic,
    Bearer,
}

struct Waiter {
    id: RequestId,
    applicant: Applicant,
    block: HeaderBlock,
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
        env: &Env<'_>,
        applicant: Applicant,
        credential: Credential,
        id: RequestId,
        block: &HeaderBlock,
    ) -> Known {
        let provider = applicant.provider;
        let Some((key, remembered)) = self.remembered(env, provider, &credential) else {
            return Known::Verdict(Err(Fault::Host));
        };
        if let Some(verdict) = remembered {
            return Known::Verdict(Ok(verdict));
        }
        let Some(state) = self.providers.get(provider) else { return Known::Verdict(Err(Fault::Host)) };
        let fingerprint = state.keys.fingerprint(&credential);
        let waiter = Waiter { id, applicant, block: block.clone() };
        if let Some(flight) = self.flights.inquiries.get_mut(&(provider, fingerprint)) {
            flight.waiters.push(waiter);
            return Known::Waiting;
        }
        let kind = kind_of(&credential);
        let Some(progress) = self.with_facts(env, provider, |facts| inquiry::begin(&credential, facts))
        else {
            return Known::Verdict(Err(Fault::Host));
        };
        match progress {
            Progress::Done(outcome) => {
                Known::Verdict(self.settle(env, provider, fingerprint, key, kind, outcome))
            }
            Progress::Ask(..) | Progress::AwaitKeys(_) if self.is_full() => {
                Known::Verdict(self.stale_or(&key, Fault::TooManyCalls, env.now))
            }
            Progress::Ask(call, stage) => {
                self.flights.outbox.push((Ticket(Subject::Credential(provider, fingerprint)), call));
                let flight = Flight { stage, key, credential: kind, waiters: vec![waiter] };
                self.flights.inquiries.insert((provider, fingerprint), flight);
                Known::Waiting
            }
            Progress::AwaitKeys(stage) => {
                self.fetch_keys(env, provider);
                let flight = Flight { stage, key, credential: kind, waiters: vec![waiter] };
                self.flights.inquiries.insert((provider, fingerprint), flight);
                Known::Waiting
            }
        }
    }

    /// The verdict on a credential as far as nobody need be asked.
    pub(super) fn known_without_call(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        credential: &Credential,
    ) -> Option<Verdict> {
        let (key, remembered) = self.remembered(env, provider, credential)?;
        if remembered.is_some() {
            return remembered;
        }
        let judged =
            self.with_facts(env, provider, |facts| inquiry::judge_without_call(credential, facts))??;
        let fingerprint = self.providers.get(provider)?.keys.fingerprint(credential);
        self.settle(env, provider, fingerprint, key, kind_of(credential), Ok(judged)).ok()
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
            Subject::Keys(provider) => self.keys_answered(env, provider, answer),
            Subject::Credential(provider, fingerprint) => {
                let Some(flight) = self.flights.inquiries.remove(&(provider, fingerprint)) else {
                    return Vec::new();
                };
                let Flight { stage, key, credential, waiters } = flight;
                let progress = self.with_facts(env, provider, |facts| stage.answered(answer, facts));
                self.go_on(env, provider, fingerprint, progress, (key, credential, waiters))
            }
        }
    }

    /// A request is gone: its client left, or it was answered otherwise. The inquiry goes on.
    pub fn forget(&mut self, id: RequestId) {
        for flight in self.flights.inquiries.values_mut() {
            flight.waiters.retain(|waiter| waiter.id != id);
        }
    }

    /// The clock has moved: keys are fetched before anyone misses them. `jitter_percent` (0 to 10) spreads the fetches
    /// of workers and replicas.
    pub fn tick(&mut self, env: &Env<'_>, jitter_percent: u64) {
        for provider in 0..self.providers.len() {
            let is_due =
                |facts: &Facts<'_>| facts.keyring.is_due(env.now, &facts.config.jwks, jitter_percent);
            if self.with_facts(env, provider, is_due) == Some(true) {
                self.fetch_keys(env, provider);
            }
        }
    }

    fn fetch_keys(&mut self, env: &Env<'_>, provider: ProviderId) {
        let (Some(state), Some(settings)) =
            (self.providers.get_mut(provider), self.config.providers.get(provider))
        else {
            return;
        };
        if state.keyring.is_fetching() {
            return;
        }
        state.keyring.attempted(env.now);
        let call = provider::keys_call(&self.config, settings);
        self.flights.outbox.push((Ticket(Subject::Keys(provider)), call));
    }

    fn keys_answered(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        answer: &Answer,
    ) -> Vec<(RequestId, Decision)> {
        let result = provider::read_keys(answer);
        if let Some(state) = self.providers.get_mut(provider) {
            state.keyring.fetched(result, env.now);
        }
        let awaits =
            |of: &ProviderId, flight: &Flight| *of == provider && matches!(flight.stage, Stage::Keys { .. });
        let ready: Vec<_> = self.flights.inquiries.extract_if(|(of, _), flight| awaits(of, flight)).collect();
        let mut decisions = Vec::new();
        for ((_, fingerprint), Flight { stage, key, credential, waiters }) in ready {
            let progress = self.with_facts(env, provider, |facts| stage.keys_fetched(facts));
            decisions.extend(self.go_on(env, provider, fingerprint, progress, (key, credential, waiters)));
        }
        decisions
    }

    /// The next step of an inquiry that others wait for.
    fn go_on(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        fingerprint: Fingerprint,
        progress: Option<Progress>,
        (key, credential, waiters): (CacheKey, CredentialKind, Vec<Waiter>),
    ) -> Vec<(RequestId, Decision)> {
        let stage = match progress {
            Some(Progress::Ask(call, stage)) => {
                self.flights.outbox.push((Ticket(Subject::Credential(provider, fingerprint)), call));
                stage
            }
            Some(Progress::AwaitKeys(stage)) => {
                self.fetch_keys(env, provider);
                stage
            }
            Some(Progress::Done(outcome)) => {
                let outcome = self.settle(env, provider, fingerprint, key, credential, outcome);
                return self.decide_all(waiters, &outcome);
            }
            None => return self.decide_all(waiters, &Err(Fault::Host)),
        };
        let flight = Flight { stage, key, credential, waiters };
        self.flights.inquiries.insert((provider, fingerprint), flight);
        Vec::new()
    }

    fn decide_all(
        &self,
        waiters: Vec<Waiter>,
        outcome: &Result<Verdict, Fault>,
    ) -> Vec<(RequestId, Decision)> {
        let decide = |Waiter { id, applicant, block }: Waiter| {
            // It could be read when the request came.
            let decision = match RequestView::read(&block, &self.config.owned_headers) {
                Ok(view) => self.conclude(applicant, &view, outcome.clone()),
                Err(MalformedBlock) => Decision::Reply(decision::broken_reply()),
            };
            (id, decision)
        };
        waiters.into_iter().map(decide).collect()
    }

    /// Looks a credential up: in this worker, then in what all workers share. `None`: no such provider.
    fn remembered(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        credential: &Credential,
    ) -> Option<(CacheKey, Option<Verdict>)> {
        let state = self.providers.get(provider)?;
        let settings = self.config.providers.get(provider)?;
        let key = CacheKey::new(provider, credential, &state.keys);
        if let Some(verdict) = self.cache.fresh(&key, env.now) {
            return Some((key, Some(verdict)));
        }
        if !self.is_shared(provider, kind_of(credential)) {
            return Some((key, None));
        }
        let fingerprint = state.keys.fingerprint(credential);
        let Some((shared, fresh_until)) =
            self.slots.read(&fingerprint, &state.keys, env.surroundings, env.now)
        else {
            return Some((key, None));
        };
        let verdict = match shared {
            SharedVerdict::Vouched(verified) => match Identity::new(verified, settings, &self.config) {
                Ok(identity) => Verdict::Vouched(Rc::new(identity)),
                Err(incomplete) => Verdict::Refused(Rejection::Incomplete(incomplete)),
            },
            SharedVerdict::Refused(rejection) => Verdict::Refused(rejection),
        };
        let again = CacheKey::new(provider, credential, &state.keys);
        let lifetime = self.lifetime_until(&verdict, fresh_until);
        self.cache.insert(again, verdict.clone(), lifetime);
        Some((key, Some(verdict)))
    }

    /// Remembers what an inquiry found out. Faults are not remembered; they may be bridged by a stale verdict.
    fn settle(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        fingerprint: Fingerprint,
        key: CacheKey,
        kind: CredentialKind,
        outcome: Outcome,
    ) -> Result<Verdict, Fault> {
        let (Some(settings), Some(state)) =
            (self.config.providers.get(provider), self.providers.get(provider))
        else {
            return Err(Fault::Host);
        };
        let cache = &self.config.cache;
        let is_shared = self.is_shared(provider, kind);
        match outcome {
            Err(fault) => self.stale_or(&key, fault, env.now),
            Ok(Ok(verified)) => {
                let fresh_until = self.fresh_until(env.now, provider, kind, &verified);
                if is_shared {
                    self.slots.write_vouched(
                        &fingerprint,
                        &state.keys,
                        env.surroundings,
                        &verified,
                        fresh_until,
                    );
                }
                let verdict = match Identity::new(verified, settings, &self.config) {
                    Ok(identity) => Verdict::Vouched(Rc::new(identity)),
                    Err(incomplete) => Verdict::Refused(Rejection::Incomplete(incomplete)),
                };
                let lifetime = self.lifetime_until(&verdict, fresh_until);
                self.cache.insert(key, verdict.clone(), lifetime);
                Ok(verdict)
            }
            Ok(Err(rejection)) => {
                if matches!(rejection, Rejection::Refused | Rejection::Inactive) {
                    let fresh_until = env.now.plus(cache.negative_ttl_seconds);
                    if is_shared {
                        self.slots.write_refused(
                            &fingerprint,
                            &state.keys,
                            env.surroundings,
                            rejection,
                            fresh_until,
                        );
                    }
                    let lifetime = Lifetime { fresh_until, stale_until: fresh_until };
                    self.cache.insert(key, Verdict::Refused(rejection), lifetime);
                } else {
                    self.cache.remove(&key);
                }
                Ok(Verdict::Refused(rejection))
            }
        }
    }

    fn stale_or(&self, key: &CacheKey, fault: Fault, now: Timestamp) -> Result<Verdict, Fault> {
        self.cache.stale(key, now).ok_or(fault)
    }

    /// Never past the token's own end, and no longer than a revoked token may pass.
    fn fresh_until(
        &self,
        now: Timestamp,
        provider: ProviderId,
        kind: CredentialKind,
        verified: &VerifiedIdentity,
    ) -> Timestamp {
        let ttl = self.config.cache.ttl_seconds;
        let settings = self.config.providers.get(provider);
        let revalidate = settings.map_or(0, |provider| provider.revalidate_seconds);
        let is_local =
            settings.is_some_and(|provider| provider.bearer_verification == BearerVerification::Local);
        let seconds = match (revalidate, kind) {
            (0, _) => ttl,
            // What was verified here and confirmed by authentik stands until it is to be confirmed again.
            (_, CredentialKind::Bearer) if is_local => revalidate,
            (_, CredentialKind::Bearer | CredentialKind::Basic) => ttl.min(revalidate),
        };
        now.plus(seconds).min(verified.expires())
    }

    fn lifetime_until(&self, verdict: &Verdict, fresh_until: Timestamp) -> Lifetime {
        let stale_until = match verdict {
            Verdict::Vouched(identity) => {
                fresh_until.plus(self.config.cache.stale_seconds).min(identity.expires())
            }
            Verdict::Refused(_) => fresh_until,
        };
        Lifetime { fresh_until, stale_until }
    }

    /// Whether other workers profit: an exchange or an introspection costs authentik something, a local check nothing.
    fn is_shared(&self, provider: ProviderId, kind: CredentialKind) -> bool {
        match kind {
            CredentialKind::Basic => true,
            CredentialKind::Bearer => self.config.providers.get(provider).is_some_and(|provider| {
                provider.revalidate_seconds > 0 || provider.bearer_verification != BearerVerification::Local
            }),
        }
    }

    fn is_full(&self) -> bool {
        self.flights.inquiries.len() >= self.config.authentik.max_pending_calls
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

const fn kind_of(credential: &Credential) -> CredentialKind {
    match credential {
        Credential::Basic { .. } => CredentialKind::Basic,
        Credential::Bearer(_) => CredentialKind::Bearer,
    }
}
