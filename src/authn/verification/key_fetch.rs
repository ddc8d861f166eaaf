//! Key sets: when one is fetched, by which worker, and what a failed fetch means for those who wait.
//!
//! Owns: the steps between [`super::keyring`] (one worker's keys over time) and [`super::shared_keys`] (what all workers
//! share). One worker fetches, the others follow: they look for the keys, and for the end of the lease, at every tick.
//! Must not: read a key set, or judge a token.

use crate::authn::Authenticator;
use crate::authn::authentik::{self, Answer};
use crate::authn::cache::jwks::Activity;
use crate::authn::cache::shared_jwks::{LEASE_SECONDS, Lease, SharedKeys};
use crate::authn::directory::ProviderId;
use crate::authn::env::Env;
use crate::authn::fault::Fault;
use crate::authn::jwt::jwk::KeySet;
use crate::authn::verification::pending::{Progress, Stage};
use crate::base::time::Timestamp;

impl Authenticator {
    /// Keys are wanted: another worker's, if it has newer ones; else they are fetched, here or there.
    pub(crate) fn seek_keys(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        stage: Stage,
    ) -> Option<Progress> {
        let mut stage = stage;
        if self.adopt_keys(env, provider) {
            match self.with_facts(env, provider, |facts| stage.keys_fetched(facts))? {
                Progress::AwaitKeys(waiting) => stage = waiting,
                progress @ (Progress::Done(_) | Progress::Ask(..)) => return Some(progress),
            }
        }
        self.fetch_keys(env, provider);
        let keyring = &self.providers.get(provider)?.keyring;
        Some(match keyring.activity() {
            Activity::Fetching | Activity::Following => Progress::AwaitKeys(stage),
            // Another worker's fetch has just failed: nothing is on its way, but overdue keys may be here now.
            Activity::Idle => {
                let fault = keyring.last_fault().unwrap_or(Fault::NoKeys);
                match self.with_facts(env, provider, |facts| stage.keys_fetched(facts))? {
                    Progress::AwaitKeys(_) => Progress::Done(Err(fault)),
                    progress @ (Progress::Done(_) | Progress::Ask(..)) => progress,
                }
            }
        })
    }

    /// One tick of a provider's keys. Whether those who wait for them are to be looked at again.
    pub(crate) fn tend_keys(&mut self, env: &Env<'_>, provider: ProviderId, jitter_percent: u64) -> bool {
        let Some(state) = self.providers.get(provider) else { return false };
        match state.keyring.activity() {
            Activity::Fetching => {
                // The others wait for as long as this worker lives, and no longer.
                if let Some(shared) = self.shared_keys(env, provider) {
                    shared.extend_lease(env.now, LEASE_SECONDS);
                }
                false
            }
            Activity::Following => self.follow(env, provider),
            Activity::Idle => {
                let is_due = state.keyring.is_due(env.now, &self.config.jwks, jitter_percent);
                // Another worker may be done with its pause before this one is.
                let looks = is_due || state.keyring.is_paused(env.now);
                if looks && !self.adopt_keys(env, provider) && is_due {
                    self.fetch_keys(env, provider);
                }
                true
            }
        }
    }

    /// Another worker fetches. Whether that has come to an end.
    fn follow(&mut self, env: &Env<'_>, provider: ProviderId) -> bool {
        if self.adopt_keys(env, provider) {
            return true;
        }
        let Some(longest_wait) = self.longest_wait_for_keys(env.now, provider) else {
            self.stop_following(provider, None);
            return true;
        };
        if longest_wait >= self.config.authentik.timeout.as_secs().saturating_add(LEASE_SECONDS) {
            // The key may be a new one: who waited for it in vain is told so, and not that the token is bad.
            self.stop_following(provider, Some(Fault::NoKeys));
            return true;
        }
        self.fetch_keys(env, provider);
        self.providers.get(provider).is_some_and(|state| state.keyring.activity() == Activity::Idle)
    }

    fn stop_following(&mut self, provider: ProviderId, fault: Option<Fault>) {
        if let Some(state) = self.providers.get_mut(provider) {
            state.keyring.stop_following(fault);
        }
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
        self.shared_keys(env, provider)?.read(is_newer)
    }

    fn hold_keys(&mut self, provider: ProviderId, keys: KeySet, fetched: Timestamp) {
        if let Some(state) = self.providers.get_mut(provider) {
            state.keyring.replace(keys, fetched);
        }
    }

    /// After a failed fetch, here or at another worker: overdue keys are better than none, as long as they would have
    /// stayed in use.
    fn hold_overdue_keys(&mut self, env: &Env<'_>, provider: ProviderId) {
        if let Some((keys, fetched)) = self.newer_keys(env, provider) {
            self.hold_keys(provider, keys, fetched);
        }
    }

    /// Fetches keys, unless this worker does already, another one does, or one has just failed.
    fn fetch_keys(&mut self, env: &Env<'_>, provider: ProviderId) {
        let is_fetching =
            |state: &crate::authn::ProviderState| state.keyring.activity() == Activity::Fetching;
        if self.providers.get(provider).is_none_or(is_fetching) {
            return;
        }
        let lease = self.shared_keys(env, provider).map(|shared| shared.take_lease(env.now, LEASE_SECONDS));
        if matches!(lease, None | Some(Lease::Ours)) {
            self.send_keys_call(env, provider);
        }
        if matches!(lease, Some(Lease::Failed { .. })) {
            self.hold_overdue_keys(env, provider);
        }
        let Some(state) = self.providers.get_mut(provider) else { return };
        match lease {
            None | Some(Lease::Ours) => state.keyring.attempt(Activity::Fetching, env.now),
            Some(Lease::Held) => state.keyring.attempt(Activity::Following, env.now),
            Some(Lease::Failed { until }) => state.keyring.pause(Fault::NoKeys, until),
        }
    }

    pub(crate) fn keys_answered(&mut self, env: &Env<'_>, provider: ProviderId, answer: &Answer) {
        match authentik::read_keys(answer) {
            Ok((keys, body)) => {
                if let Some(shared) = self.shared_keys(env, provider) {
                    shared.publish(body, env.now);
                    shared.rest(env.now, self.config.jwks.min_refresh_interval_seconds);
                }
                self.hold_keys(provider, keys, env.now);
            }
            Err(fault) => self.keys_failed(env, provider, fault),
        }
    }

    fn keys_failed(&mut self, env: &Env<'_>, provider: ProviderId, fault: Fault) {
        self.hold_overdue_keys(env, provider);
        let mut random = [0];
        env.host.random(&mut random);
        let [random] = random;
        let Some(state) = self.providers.get_mut(provider) else { return };
        let until = env.now.plus(state.keyring.next_pause(random));
        state.keyring.pause(fault.clone(), until);
        let is_to_be_told = state.keyring.is_to_be_told(env.now);
        if let Some(shared) = self.shared_keys(env, provider) {
            shared.fail(until);
        }
        if let Some(settings) = self.config.providers.get(provider).filter(|_| is_to_be_told) {
            let url = authentik::keys_url(&self.config, settings);
            let (name, slug) = (&settings.name, &settings.slug);
            log::warn!(
                "{name}: the key set of the application \"{slug}\" could not be fetched from {url}: {fault}"
            );
        }
    }

    fn shared_keys<'a>(&'a self, env: &'a Env<'_>, provider: ProviderId) -> Option<SharedKeys<'a>> {
        Some(SharedKeys { keys: &self.providers.get(provider)?.keys, host: env.host })
    }
}
