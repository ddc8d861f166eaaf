//! How far the log was read.
//!
//! Owns: the newest event, by authentik's clock, and which of the last seconds are known. Must not: know what an event means.

use crate::base::time::Timestamp;

/// An event becomes readable up to this long after its time, in seconds; so much is read again each time.
const OVERLAP_SECONDS: u64 = 5;

const VERSION: u8 = 1;

/// The primary key of an event.
pub(super) type Key = u128;

/// How far the log was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// When the newest event was.
    pub(crate) newest: Timestamp,
    /// Which it is.
    pub(super) key: Key,
    /// The events that the next reading finds again.
    pub(super) seen: Vec<Key>,
}

/// From when on is read after this event. A clock of authentik's that was ahead must not hide what comes before its time.
pub(super) fn overlap(newest: Timestamp, now: Timestamp) -> Timestamp {
    let since = newest.min(now).minus(OVERLAP_SECONDS);
    // The search has whole seconds.
    Timestamp::from_seconds(since.seconds())
}

impl Cursor {
    /// `found`: the events of this reading, each with its time.
    pub(super) fn new((newest, key): (Timestamp, Key), found: &[(Timestamp, Key)], now: Timestamp) -> Self {
        let since = overlap(newest, now);
        let seen = found.iter().filter(|(created, _)| *created >= since).map(|(_, key)| *key);
        Self { newest, key, seen: seen.collect() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.newest.millis().to_be_bytes());
        for key in core::iter::once(&self.key).chain(&self.seen) {
            bytes.extend_from_slice(&key.to_be_bytes());
        }
        bytes
    }

    /// `None`: it is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (newest, keys) = rest.split_first_chunk()?;
        let (keys, rest) = keys.as_chunks();
        let (key, seen) = keys.split_first()?;
        let is_whole = *version == VERSION && rest.is_empty();
        is_whole.then(|| Self {
            newest: Timestamp::from_millis(u64::from_be_bytes(*newest)),
            key: Key::from_be_bytes(*key),
            seen: seen.iter().map(|key| Key::from_be_bytes(*key)).collect(),
        })
    }
}
