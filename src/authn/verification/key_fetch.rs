//! Key sets: when one is fetched, by which worker, and what a failed fetch means for those who wait.
//!
//! Owns: the steps between [`crate::authn::provider::key_ring`] (one worker's keys over time) and
//! [`crate::authn::provider::shared_keys`] (what all workers share). One worker fetches, the others follow: they look for
//! the keys, and for the end of the lease, at every tick.
//! Must not: send a call, read a key set, or judge a token.

use crate::authn::authentik;
use crate::authn::authentik::call::Answer;
use crate::authn::env::Env;
use crate::authn::env::lease::{LEASE_SECONDS, Taken};
use crate::authn::fault::Fault;
use crate::authn::jwt::jwk::KeySet;
use crate::authn::provider::Provider;
use crate::authn::provider::key_ring::Activity;
use crate::authn::provider::shared_keys::SharedKeys;
use crate::base::time::Timestamp;
use crate::config::Config;

/// What a tick of a provider's keys brings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tick {
    /// This worker is to fetch.
    pub(crate) is_to_fetch: bool,
    /// Those who wait for keys are to be looked at again.
    pub(crate) is_to_resume: bool,
}

/// One tick. `longest_wait`: seconds for which somebody has waited for these keys; `None`: nobody does. `jitter_percent`
/// (0 to 10) spreads workers and replicas.
pub(crate) fn tick(
    provider: &Provider,
    config: &Config,
    env: &Env<'_>,
    longest_wait: Option<u64>,
    jitter_percent: u64,
) -> Tick {
    let activity = activity(provider);
    match activity {
        Activity::Fetching => {
            // The others wait for as long as this worker lives, and no longer.
            shared(provider, env).lease().extend(env.now, LEASE_SECONDS);
            Tick::default()
        }
        Activity::Following => follow(provider, config, env, longest_wait),
        Activity::Idle => {
            let (is_due, is_paused) = {
                let key_ring = provider.key_ring.borrow();
                (key_ring.is_due(env.now, &config.jwks, jitter_percent), key_ring.is_paused(env.now))
            };
            // Another worker may be done with its pause before this one is.
            let has_adopted = (is_due || is_paused) && adopt(provider, config, env);
            let is_to_fetch = is_due && !has_adopted && begin(provider, env);
            // Also those whose keys came with another request, which could speak for itself only.
            Tick { is_to_fetch, is_to_resume: true }
        }
    }
}

/// Another worker fetches.
fn follow(provider: &Provider, config: &Config, env: &Env<'_>, longest_wait: Option<u64>) -> Tick {
    let resume = Tick { is_to_fetch: false, is_to_resume: true };
    if adopt(provider, config, env) {
        return resume;
    }
    let Some(longest_wait) = longest_wait else {
        provider.key_ring.borrow_mut().stop_following(None);
        return resume;
    };
    if longest_wait >= config.authentik.timeout.as_secs().saturating_add(LEASE_SECONDS) {
        // The key may be new, so the reply is 503 and not 401.
        provider.key_ring.borrow_mut().stop_following(Some(Fault::NoKeys));
        return resume;
    }
    let is_to_fetch = begin(provider, env);
    Tick { is_to_fetch, is_to_resume: activity(provider) == Activity::Idle }
}

/// Takes over what another worker fetched, if it is newer. Whether it was. Keys that are overdue are not taken:
/// a configuration that comes back finds those of its last time, and authentik may have withdrawn them since.
pub(crate) fn adopt(provider: &Provider, config: &Config, env: &Env<'_>) -> bool {
    let Some((keys, fetched)) = newer_keys(provider, env) else { return false };
    if env.now.since(fetched) > config.jwks.refresh_seconds {
        return false;
    }
    provider.key_ring.borrow_mut().replace(keys, fetched);
    true
}

/// Keys are wanted. Whether this worker is to fetch them: not if it does already, another one does, or one has just
/// failed.
pub(crate) fn begin(provider: &Provider, env: &Env<'_>) -> bool {
    if activity(provider) == Activity::Fetching {
        return false;
    }
    match shared(provider, env).lease().take(env.now, LEASE_SECONDS) {
        Taken::Ours => {
            provider.key_ring.borrow_mut().attempt(Activity::Fetching, env.now);
            return true;
        }
        Taken::Held => provider.key_ring.borrow_mut().attempt(Activity::Following, env.now),
        Taken::Failed { until } => {
            take_overdue(provider, env);
            provider.key_ring.borrow_mut().pause(Fault::NoKeys, until);
        }
    }
    false
}

/// This worker's fetch has come to its end.
pub(crate) fn answered(provider: &Provider, config: &Config, env: &Env<'_>, answer: &Answer) {
    match authentik::read_keys(answer) {
        Ok((keys, body)) => {
            let shared = shared(provider, env);
            shared.publish(body, env.now);
            shared.lease().rest(env.now, config.jwks.min_refresh_interval_seconds);
            provider.key_ring.borrow_mut().replace(keys, env.now);
        }
        Err(fault) => failed(provider, config, env, fault),
    }
}

fn failed(provider: &Provider, config: &Config, env: &Env<'_>, fault: Fault) {
    take_overdue(provider, env);
    let mut random = [0];
    env.host.random(&mut random);
    let [random] = random;
    let mut key_ring = provider.key_ring.borrow_mut();
    let until = env.now.plus(key_ring.next_pause(random));
    key_ring.pause(fault.clone(), until);
    shared(provider, env).lease().fail(until);
    if key_ring.is_to_be_logged(env.now) {
        let url = authentik::keys_url(config, &provider.settings);
        let (name, slug) = (&provider.settings.name, &provider.settings.slug);
        log::warn!(
            "{name}: the key set of the application \"{slug}\" could not be fetched from {url}: {fault}"
        );
    }
}

/// After a failed fetch, here or at another worker: overdue keys are better than none, as long as they would have stayed
/// in use.
fn take_overdue(provider: &Provider, env: &Env<'_>) {
    if let Some((keys, fetched)) = newer_keys(provider, env) {
        provider.key_ring.borrow_mut().replace(keys, fetched);
    }
}

/// What some worker fetched, and when, if that is newer than what this one holds.
fn newer_keys(provider: &Provider, env: &Env<'_>) -> Option<(KeySet, Timestamp)> {
    let held = provider.key_ring.borrow().fetched_at();
    let is_newer = |fetched: Timestamp| held.is_none_or(|held| held < fetched) && fetched <= env.now;
    shared(provider, env).read(is_newer)
}

pub(crate) fn activity(provider: &Provider) -> Activity {
    provider.key_ring.borrow().activity()
}

const fn shared<'a>(provider: &'a Provider, env: &'a Env<'_>) -> SharedKeys<'a> {
    SharedKeys { keys: &provider.keys, host: env.host }
}
