//! Which worker does what only one need do.
//!
//! Owns: an entry in shared data that says until when nobody else does it, and why; whoever moves it forward by
//! compare-and-set is the one. Its holder extends it at every tick, so the lease of a worker that is gone ends soon. A lease
//! that is forged can delay the work by at most [`MAX_LEASE_SECONDS`].
//! Must not: know what the work is.

use crate::authn::env::Host;
use crate::base::time::Timestamp;

/// How long a lease lasts that is not extended: three ticks of a worker at rest.
pub(crate) const LEASE_SECONDS: u64 = 3;

/// No lease is longer; one that says so is not ours.
const MAX_LEASE_SECONDS: u64 = 3700;

/// What a lease is for.
const FETCHING: u8 = 1;
const FAILED: u8 = 2;
const RESTING: u8 = 3;

/// Who has the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// This worker.
    Ours,
    /// Another worker; or nobody, because one has fetched a moment ago.
    Held,
    /// Nobody until then: a fetch has failed.
    Failed { until: Timestamp },
}

/// A lease in shared data.
pub(crate) struct Lease<'a> {
    pub(crate) name: String,
    pub(crate) host: &'a dyn Host,
}

impl Lease<'_> {
    /// Tries to become the worker that fetches; then nobody else does for `seconds`.
    pub(crate) fn take(&self, now: Timestamp, seconds: u64) -> Taken {
        let lease = match self.host.shared(&self.name) {
            Some(lease) => lease,
            // Compare-and-set creates a missing entry for everyone who tries: so it is created first, then moved.
            None => {
                self.host.share(&self.name, &entry(RESTING, Timestamp::from_seconds(0)));
                match self.host.shared(&self.name) {
                    Some(lease) => lease,
                    // Shared data is not to be had: every worker is on its own.
                    None => return Taken::Ours,
                }
            }
        };
        if let Some((kind, until)) =
            lease.value.split_last().and_then(|(kind, until)| Some((*kind, until.first_chunk()?)))
        {
            let until = Timestamp::from_seconds(u64::from_be_bytes(*until));
            if (1..=MAX_LEASE_SECONDS).contains(&until.since(now)) {
                return if kind == FAILED { Taken::Failed { until } } else { Taken::Held };
            }
        }
        if self.host.share_if(&self.name, &entry(FETCHING, now.plus(seconds)), lease.version) {
            Taken::Ours
        } else {
            Taken::Held
        }
    }

    /// This worker is still fetching.
    pub(crate) fn extend(&self, now: Timestamp, seconds: u64) {
        self.host.share(&self.name, &entry(FETCHING, now.plus(seconds)));
    }

    /// This worker has fetched: for `seconds` nobody need do it again.
    pub(crate) fn rest(&self, now: Timestamp, seconds: u64) {
        self.host.share(&self.name, &entry(RESTING, now.plus(seconds)));
    }

    /// This worker's fetch has failed: nobody tries again before.
    pub(crate) fn fail(&self, until: Timestamp) {
        self.host.share(&self.name, &entry(FAILED, until));
    }
}

fn entry(kind: u8, until: Timestamp) -> Vec<u8> {
    let mut entry = until.seconds().to_be_bytes().to_vec();
    entry.push(kind);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::cache::shared::tests::{Memory, Nothing, at};

    fn of<'a>(name: &str, host: &'a dyn Host) -> Lease<'a> {
        Lease { name: name.to_owned(), host }
    }

    #[test]
    fn one_worker_at_a_time_has_the_lease() {
        let memory = Memory::default();
        let shared = of("demo", &memory);
        let take = |seconds| shared.take(at(seconds), 6);
        assert_eq!([take(0), take(0), take(5)], [Taken::Ours, Taken::Held, Taken::Held]);
        assert_eq!(of("other", &memory).take(at(0), 6), Taken::Ours, "other work has its own");
        assert_eq!(take(6), Taken::Ours, "it ends by itself");
        shared.extend(at(7), 6);
        assert_eq!([take(12), take(13)], [Taken::Held, Taken::Ours]);
        shared.rest(at(14), 10);
        assert_eq!([take(23), take(24)], [Taken::Held, Taken::Ours]);
        shared.fail(at(40));
        assert_eq!([take(39), take(40)], [Taken::Failed { until: at(40) }, Taken::Ours]);
        assert_eq!(memory.names().len(), 2, "one lease each");
    }

    #[test]
    fn overlong_lease_is_ignored() {
        let memory = Memory::default();
        let shared = of("demo", &memory);
        shared.rest(at(0), MAX_LEASE_SECONDS);
        assert_eq!(shared.take(at(0), 6), Taken::Held);
        shared.rest(at(0), MAX_LEASE_SECONDS + 1);
        assert_eq!(shared.take(at(0), 6), Taken::Ours);
        for entry in [&b""[..], b"x", &[0xff; 8], &[0xff; 64]] {
            memory.share(&shared.name, entry);
            assert_eq!(shared.take(at(0), 6), Taken::Ours, "{entry:?}");
        }
    }

    #[test]
    fn without_shared_data_every_worker_fetches_for_itself() {
        let shared = of("demo", &Nothing);
        assert_eq!([shared.take(at(0), 6), shared.take(at(0), 6)], [Taken::Ours, Taken::Ours]);
    }
}
