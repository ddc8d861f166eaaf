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
pub(super) const RETRY_SECONDS: u64 = 1;

/// A provider's keys.
#[derive(Debug, Default)]
pub(super) struct KeyRing {
    held: Option<Held>,
    last_attempt: Option<Timestamp>,
    /// Why the last fetch failed; `None` after a success.
    last_fault: Option<Fault>,
    activity: Activity,
}

#[derive(Debug)]
struct Held {
    keys: KeySet,
    fetched: Timestamp,
}

/// What is being done to get keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Activity {
    #[default]
    Idle,
    /// This worker's call is out.
    Fetching,
    /// Another worker's is; what it finds will be shared.
    Following,
}

impl KeyRing {
    /// The keys, while they may be used.
    pub(super) fn current(&self, now: Timestamp, config: &Jwks) -> Option<&KeySet> {
        let longest = config.refresh_seconds.saturating_add(GRACE_SECONDS);
        self.held.as_ref().filter(|held| now.since(held.fetched) <= longest).map(|held| &held.keys)
    }

    /// When authentik gave the keys that are held.
    pub(super) fn fetched_at(&self) -> Option<Timestamp> {
        self.held.as_ref().map(|held| held.fetched)
    }

    /// Whether a request may cause a fetch now: because there are no keys, or because it names one that is not here.
    pub(super) fn may_fetch(&self, now: Timestamp, config: &Jwks) -> bool {
        let pause = if self.current(now, config).is_some() {
            config.min_refresh_interval_seconds
        } else {
            RETRY_SECONDS
        };
        // What another worker fetched counts as well.
        self.last_attempt.max(self.fetched_at()).is_none_or(|last| now.since(last) >= pause)
    }

    /// Whether the schedule wants a fetch now. `jitter_percent` (0 to 10) spreads workers and replicas.
    pub(super) fn is_due(&self, now: Timestamp, config: &Jwks, jitter_percent: u64) -> bool {
        let early = config.refresh_seconds.saturating_mul(jitter_percent.min(10)) / 100;
        let after = config.refresh_seconds.saturating_sub(early);
        let is_old = self.fetched_at().is_none_or(|fetched| now.since(fetched) >= after);
        is_old && self.activity == Activity::Idle && self.may_fetch(now, config)
    }

    /// Why the last fetch failed, if it did.
    pub(super) const fn last_fault(&self) -> Option<Fault> {
        self.last_fault
    }

    pub(super) const fn activity(&self) -> Activity {
        self.activity
    }

    /// This worker, or another, begins to fetch.
    pub(super) const fn attempt(&mut self, activity: Activity, now: Timestamp) {
        self.last_attempt = Some(now);
        self.activity = activity;
    }

    /// A fetch was given up; what is held stays.
    pub(super) const fn failed(&mut self, fault: Option<Fault>) {
        self.last_fault = fault;
        self.activity = Activity::Idle;
    }

    /// Another worker's fetch is no longer waited for; `fault`: somebody did, in vain. Without keys the next request looks
    /// again, and the lease bounds the fetches.
    pub(super) const fn stop_following(&mut self, fault: Option<Fault>) {
        self.failed(fault);
        if self.held.is_none() {
            self.last_attempt = None;
        }
    }

    /// A fetch brought these keys.
    pub(super) fn replace(&mut self, keys: KeySet, fetched: Timestamp) {
        *self = Self {
            held: Some(Held { keys, fetched }),
            last_attempt: self.last_attempt,
            last_fault: None,
            activity: Activity::Idle,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Jwks = Jwks { refresh_seconds: 300, min_refresh_interval_seconds: 10 };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(10_000 + seconds)
    }

    #[test]
    fn without_keys_a_fetch_is_tried_every_second() {
        let mut ring = KeyRing::default();
        assert!(ring.may_fetch(at(0), &CONFIG) && ring.is_due(at(0), &CONFIG, 0));
        ring.attempt(Activity::Fetching, at(0));
        assert!(!ring.may_fetch(at(0), &CONFIG));
        ring.failed(Some(Fault::Reset));
        assert!(!ring.may_fetch(at(0), &CONFIG));
        assert!(ring.may_fetch(at(1), &CONFIG) && ring.is_due(at(1), &CONFIG, 0));
        assert_eq!(ring.last_fault(), Some(Fault::Reset));
    }

    #[test]
    fn with_keys_requests_cause_at_most_one_fetch_an_interval() {
        let mut ring = KeyRing::default();
        ring.attempt(Activity::Fetching, at(0));
        ring.replace(KeySet::ClientSecret, at(0));
        assert!(!ring.may_fetch(at(9), &CONFIG));
        assert!(ring.may_fetch(at(10), &CONFIG));
        ring.attempt(Activity::Fetching, at(10));
        ring.failed(Some(Fault::Reset));
        assert!(!ring.may_fetch(at(19), &CONFIG));
        assert!(ring.may_fetch(at(20), &CONFIG));
        ring.replace(KeySet::ClientSecret, at(20));
        assert!(!ring.may_fetch(at(29), &CONFIG), "another worker's fetch counts as well");
    }

    #[test]
    fn who_followed_in_vain_may_look_again_at_once() {
        let mut ring = KeyRing::default();
        ring.attempt(Activity::Following, at(0));
        ring.stop_following(Some(Fault::NoKeys));
        assert!(ring.activity() == Activity::Idle && ring.may_fetch(at(0), &CONFIG));
        ring.replace(KeySet::ClientSecret, at(0));
        ring.attempt(Activity::Following, at(20));
        ring.stop_following(Some(Fault::NoKeys));
        assert!(
            !ring.may_fetch(at(29), &CONFIG),
            "a key that nobody knows is not looked for again and again"
        );
    }

    #[test]
    fn the_schedule_is_spread_and_not_overtaken() {
        let mut ring = KeyRing::default();
        ring.replace(KeySet::ClientSecret, at(0));
        assert!(!ring.is_due(at(269), &CONFIG, 10));
        assert!(ring.is_due(at(270), &CONFIG, 10));
        assert!(!ring.is_due(at(270), &CONFIG, 0));
        assert!(ring.is_due(at(300), &CONFIG, 0));
        ring.attempt(Activity::Fetching, at(300));
        assert!(!ring.is_due(at(400), &CONFIG, 0), "one at a time");
    }

    #[test]
    fn old_keys_stay_for_an_hour_while_authentik_fails() {
        let mut ring = KeyRing::default();
        ring.replace(KeySet::ClientSecret, at(0));
        ring.attempt(Activity::Fetching, at(300));
        ring.failed(Some(Fault::Reset));
        assert!(ring.current(at(300 + 3600), &CONFIG).is_some());
        assert!(ring.current(at(300 + 3601), &CONFIG).is_none());
    }
}
