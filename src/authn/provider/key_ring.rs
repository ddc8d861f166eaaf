//! One provider's keys over time: when they may be used, when they may be fetched.
//!
//! Owns: the schedule, the pause after a failed fetch, and the bound on fetches that clients can cause.
//! Must not: fetch. It says whether it is time; [`crate::authn::verification::key_fetch`] fetches.

use crate::authn::fault::Fault;
use crate::authn::jwt::jwk::KeySet;
use crate::base::backoff::Backoff;
use crate::base::time::Timestamp;
use crate::config::Jwks;

/// How long keys stay in use after they were due to be refreshed and authentik did not answer.
const GRACE_SECONDS: u64 = 3600;

/// The shortest time between two fetches while there are no keys.
const FIRST_PAUSE_SECONDS: u64 = 1;
/// A failing fetch is logged once in this time.
const LOG_SECONDS: u64 = 60;

/// A provider's keys.
#[derive(Debug, Default)]
pub(crate) struct KeyRing {
    held: Option<Held>,
    /// In use until the first fetch: the configuration says that the provider has no signing key.
    assumed: Option<KeySet>,
    last_attempt: Option<Timestamp>,
    /// Why the last fetch failed; `None` after a success.
    last_fault: Option<Fault>,
    backoff: Backoff,
    /// After a failed fetch nothing is fetched before.
    paused_until: Option<Timestamp>,
    last_logged: Option<Timestamp>,
    activity: Activity,
}

#[derive(Debug)]
struct Held {
    keys: KeySet,
    fetched: Timestamp,
}

/// What is being done to get keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Activity {
    #[default]
    Idle,
    /// This worker's call is out.
    Fetching,
    /// Another worker's is; what it finds will be shared.
    Following,
}

impl KeyRing {
    /// Without keys; `assumed` ones are used until the first fetch.
    pub(crate) fn new(assumed: Option<KeySet>) -> Self {
        Self { assumed, ..Self::default() }
    }

    /// The keys, while they may be used.
    pub(crate) fn current(&self, now: Timestamp, config: &Jwks) -> Option<&KeySet> {
        let longest = config.refresh_seconds.saturating_add(GRACE_SECONDS);
        match &self.held {
            Some(held) => Some(&held.keys).filter(|_| now.since(held.fetched) <= longest),
            None => self.assumed.as_ref(),
        }
    }

    /// When authentik gave the keys that are held.
    pub(crate) fn fetched_at(&self) -> Option<Timestamp> {
        self.held.as_ref().map(|held| held.fetched)
    }

    /// Whether a request may cause a fetch now: because there are no keys, or because it names one that is not here.
    pub(crate) fn may_fetch(&self, now: Timestamp, config: &Jwks) -> bool {
        if self.is_paused(now) {
            return false;
        }
        let has_fetched_keys = self.held.is_some() && self.current(now, config).is_some();
        let pause = if has_fetched_keys { config.min_refresh_interval_seconds } else { FIRST_PAUSE_SECONDS };
        // What another worker fetched counts as well.
        self.last_attempt.max(self.fetched_at()).is_none_or(|last| now.since(last) >= pause)
    }

    /// Whether a fetch has failed, here or at another worker, and the next one is not tried yet.
    pub(crate) fn is_paused(&self, now: Timestamp) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Whether the schedule wants a fetch now. `jitter_percent` (0 to 10) spreads workers and replicas.
    pub(crate) fn is_due(&self, now: Timestamp, config: &Jwks, jitter_percent: u64) -> bool {
        let early = config.refresh_seconds.saturating_mul(jitter_percent.min(10)) / 100;
        let after = config.refresh_seconds.saturating_sub(early);
        let is_old = self.fetched_at().is_none_or(|fetched| now.since(fetched) >= after);
        is_old && self.activity == Activity::Idle && self.may_fetch(now, config)
    }

    /// Why the last fetch failed, if it did.
    pub(crate) fn last_fault(&self) -> Option<Fault> {
        self.last_fault.clone()
    }

    pub(crate) const fn activity(&self) -> Activity {
        self.activity
    }

    /// This worker, or another, begins to fetch.
    pub(crate) const fn attempt(&mut self, activity: Activity, now: Timestamp) {
        self.last_attempt = Some(now);
        self.activity = activity;
    }

    /// Seconds until the next try after a failed one.
    pub(crate) fn next_pause(&mut self, random: u8) -> u64 {
        self.backoff.next_pause(random)
    }

    /// A fetch has failed, here or at another worker; what is held stays.
    pub(crate) fn pause(&mut self, fault: Fault, until: Timestamp) {
        self.last_fault = Some(fault);
        self.paused_until = Some(until);
        self.activity = Activity::Idle;
    }

    /// Whether a failed fetch is to be logged now.
    pub(crate) fn is_to_be_logged(&mut self, now: Timestamp) -> bool {
        let is_to_be_logged = self.last_logged.is_none_or(|last| now.since(last) >= LOG_SECONDS);
        if is_to_be_logged {
            self.last_logged = Some(now);
        }
        is_to_be_logged
    }

    /// Another worker's fetch is no longer waited for; `fault`: somebody did, in vain. Without keys the next request looks
    /// again, and the lease bounds the fetches.
    pub(crate) fn stop_following(&mut self, fault: Option<Fault>) {
        self.last_fault = fault;
        self.activity = Activity::Idle;
        if self.held.is_none() {
            self.last_attempt = None;
        }
    }

    /// A fetch brought these keys.
    pub(crate) fn replace(&mut self, keys: KeySet, fetched: Timestamp) {
        *self =
            Self { held: Some(Held { keys, fetched }), last_attempt: self.last_attempt, ..Self::default() };
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
    fn without_keys_a_fetch_is_tried_when_its_pause_is_over() {
        let mut ring = KeyRing::default();
        assert!(ring.may_fetch(at(0), &CONFIG) && ring.is_due(at(0), &CONFIG, 0));
        ring.attempt(Activity::Fetching, at(0));
        assert!(!ring.may_fetch(at(0), &CONFIG));
        ring.pause(Fault::Reset, at(4));
        assert!(!ring.may_fetch(at(3), &CONFIG) && !ring.is_due(at(3), &CONFIG, 0));
        assert!(ring.may_fetch(at(4), &CONFIG) && ring.is_due(at(4), &CONFIG, 0));
        assert_eq!(ring.last_fault(), Some(Fault::Reset));
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_a_success_ends_them() {
        let mut ring = KeyRing::default();
        let pauses: Vec<_> = (0..9).map(|_| ring.next_pause(0)).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        ring.replace(KeySet::ClientSecret, at(0));
        let spread: Vec<_> = (0..8).map(|_| ring.next_pause(255)).collect();
        assert_eq!(spread, [1, 2, 5, 11, 23, 47, 60, 60], "up to half as much again");
        for _ in 0..100 {
            assert_eq!(ring.next_pause(0), 60);
        }
    }

    #[test]
    fn failing_fetch_is_logged_once_a_minute() {
        let mut ring = KeyRing::default();
        let told: Vec<_> = (0..121).filter(|second| ring.is_to_be_logged(at(*second))).collect();
        assert_eq!(told, [0, 60, 120]);
    }

    #[test]
    fn assumed_keys_are_used_until_some_are_fetched_and_are_fetched_all_the_same() {
        let mut ring = KeyRing::new(Some(KeySet::ClientSecret));
        assert!(matches!(ring.current(at(0), &CONFIG), Some(KeySet::ClientSecret)));
        assert!(ring.is_due(at(0), &CONFIG, 0) && ring.may_fetch(at(0), &CONFIG));
        ring.pause(Fault::Reset, at(1));
        assert!(ring.current(at(0), &CONFIG).is_some());
        ring.replace(KeySet::Public(Vec::new()), at(1));
        assert!(matches!(ring.current(at(1), &CONFIG), Some(KeySet::Public(_))));
        assert!(
            ring.current(at(1 + 300 + 3601), &CONFIG).is_none(),
            "what was fetched counts, also when it is too old"
        );
    }

    #[test]
    fn with_keys_requests_cause_at_most_one_fetch_an_interval() {
        let mut ring = KeyRing::default();
        ring.attempt(Activity::Fetching, at(0));
        ring.replace(KeySet::ClientSecret, at(0));
        assert!(!ring.may_fetch(at(9), &CONFIG));
        assert!(ring.may_fetch(at(10), &CONFIG));
        ring.attempt(Activity::Fetching, at(10));
        ring.pause(Fault::Reset, at(11));
        assert!(!ring.may_fetch(at(19), &CONFIG));
        assert!(ring.may_fetch(at(20), &CONFIG));
        ring.replace(KeySet::ClientSecret, at(20));
        assert!(!ring.may_fetch(at(29), &CONFIG), "another worker's fetch counts as well");
    }

    #[test]
    fn follower_without_keys_may_retry_at_once() {
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
        ring.pause(Fault::Reset, at(301));
        assert!(ring.current(at(300 + 3600), &CONFIG).is_some());
        assert!(ring.current(at(300 + 3601), &CONFIG).is_none());
    }
}
