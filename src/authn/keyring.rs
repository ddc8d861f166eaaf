//! One provider's keys over time: when they may be used, when they may be fetched.
//!
//! Owns: the schedule, and the bound on fetches that clients can cause.
//! Must not: fetch. It says whether it is time; [`super::flights`] does.

use super::fault::Fault;
use super::jwks::KeySet;
use super::time::Timestamp;
use crate::config::Jwks;

/// How long keys stay in use after they were due to be refreshed and authentik did not answer.
const GRACE_SECONDS: u64 = 3600;

/// How soon a failed fetch is tried again while there are no keys at all.
const RETRY_SECONDS: u64 = 1;

/// A provider's keys.
#[derive(Debug, Default)]
pub(super) struct KeyRing {
    held: Option<Held>,
    last_attempt: Option<Timestamp>,
    /// Why the last attempt failed; `None` after a success.
    last_fault: Option<Fault>,
    is_fetching: bool,
}

#[derive(Debug)]
struct Held {
    keys: KeySet,
    fetched: Timestamp,
}

impl KeyRing {
    /// The keys, while they may be used.
    pub(super) fn current(&self, now: Timestamp, config: &Jwks) -> Option<&KeySet> {
        let longest = config.refresh_seconds.saturating_add(GRACE_SECONDS);
        self.held.as_ref().filter(|held| now.since(held.fetched) <= longest).map(|held| &held.keys)
    }

    /// Whether a request may cause a fetch now: because there are no keys, or because it names one that is not here.
    pub(super) fn may_fetch(&self, now: Timestamp, config: &Jwks) -> bool {
        let pause = if self.current(now, config).is_some() {
            config.min_refresh_interval_seconds
        } else {
            RETRY_SECONDS
        };
        self.last_attempt.is_none_or(|attempt| now.since(attempt) >= pause)
    }

    /// Whether the schedule wants a fetch now. `jitter_percent` (0 to 10) spreads workers and replicas.
    pub(super) fn is_due(&self, now: Timestamp, config: &Jwks, jitter_percent: u64) -> bool {
        if !self.may_fetch(now, config) {
            return false;
        }
        let early = config.refresh_seconds.saturating_mul(jitter_percent.min(10)) / 100;
        let after = config.refresh_seconds.saturating_sub(early);
        self.held.as_ref().is_none_or(|held| now.since(held.fetched) >= after)
    }

    /// Why the last fetch failed, if it did.
    pub(super) const fn last_fault(&self) -> Option<Fault> {
        self.last_fault
    }

    /// Whether a fetch is under way.
    pub(super) const fn is_fetching(&self) -> bool {
        self.is_fetching
    }

    /// A fetch begins.
    pub(super) const fn attempted(&mut self, now: Timestamp) {
        self.last_attempt = Some(now);
        self.is_fetching = true;
    }

    /// A fetch ended. After a failure the old keys stay.
    pub(super) fn fetched(&mut self, result: Result<KeySet, Fault>, now: Timestamp) {
        self.is_fetching = false;
        match result {
            Ok(keys) => {
                self.held = Some(Held { keys, fetched: now });
                self.last_fault = None;
            }
            Err(fault) => self.last_fault = Some(fault),
        }
    }
}
