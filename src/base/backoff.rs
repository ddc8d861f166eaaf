//! Pauses between tries of what fails.
//!
//! Owns: how long they are. Must not: know what is tried.

use crate::base::time::Timestamp;

/// The pause after the first failure, in seconds; each further one doubles it.
const FIRST_PAUSE_SECONDS: u64 = 1;
/// The longest pause, the random part included.
const LONGEST_PAUSE_SECONDS: u64 = 60;

/// Failures one after another.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Seconds until the next try after a failed one: 1, 2, 4, … 60, and up to half as much again at random, so that
    /// workers and replicas do not come back together.
    pub(crate) fn next_pause(&mut self, random: u8) -> u64 {
        let doubled = FIRST_PAUSE_SECONDS.checked_shl(self.failures.min(16)).unwrap_or(LONGEST_PAUSE_SECONDS);
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(LONGEST_PAUSE_SECONDS);
        let spread = pause.saturating_mul(u64::from(random)) / 512;
        pause.saturating_add(spread).min(LONGEST_PAUSE_SECONDS)
    }
}

/// A failure that lasts is logged once in this time, in seconds.
const LOG_SECONDS: u64 = 60;

/// Whether there was no line like it within the last minute; `last` is when there was one.
pub(crate) fn is_to_be_logged(last: &mut Option<Timestamp>, now: Timestamp) -> bool {
    let is_due = last.is_none_or(|last| now.since(last) >= LOG_SECONDS);
    if is_due {
        *last = Some(now);
    }
    is_due
}
