//! Key sets that all workers share: one fetches, the others take what it found from Envoy's shared data.
//!
//! Owns: two entries per provider. The *key set* is authentik's answer with the time it came, authenticated like every
//! shared entry. The *lease* says until when nobody else fetches, and why; whoever moves it forward by compare-and-set is
//! the one that fetches. Its holder extends it at every tick, so the lease of a worker that is gone ends soon.
//! A lease that is forged can delay a fetch by at most [`MAX_LEASE_SECONDS`].
//! Must not: fetch, or decide whether keys are wanted.

use crate::authn::env::Host;
use crate::authn::jwt::jwk::KeySet;
use crate::authn::provider::fingerprint::ProviderKeys;
use crate::base::mac;
use crate::base::time::Timestamp;

/// How long a lease lasts that is not extended: three ticks of a worker at rest.
pub(crate) const LEASE_SECONDS: u64 = 3;

/// No lease is longer; one that says so is not ours.
const MAX_LEASE_SECONDS: u64 = 3700;
const MAC_BYTES: usize = 32;

/// What a lease is for.
const FETCHING: u8 = 1;
const FAILED: u8 = 2;
const RESTING: u8 = 3;

/// Who fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lease {
    /// This worker.
    Ours,
    /// Another worker; or nobody, because one has fetched a moment ago.
    Held,
    /// Nobody until then: a fetch has failed.
    Failed { until: Timestamp },
}

/// One provider's shared entries. All configurations with this provider share them: their names are of the provider, not
/// of the configuration, so that a new configuration takes no further room.
pub(crate) struct SharedKeys<'a> {
    pub(crate) keys: &'a ProviderKeys,
    pub(crate) host: &'a dyn Host,
}

impl SharedKeys<'_> {
    /// The key set that some worker fetched, and when, if that time is `wanted`: only then it is read. `None`: there is
    /// none, or it is not ours to the last bit.
    pub(crate) fn read(&self, is_wanted: impl FnOnce(Timestamp) -> bool) -> Option<(KeySet, Timestamp)> {
        let entry = self.host.shared(&self.name("keys"))?.value;
        let (content, mac) = entry.split_at_checked(entry.len().checked_sub(MAC_BYTES)?)?;
        let (fetched, body) = content.split_first_chunk()?;
        let fetched = Timestamp::from_seconds(u64::from_be_bytes(*fetched));
        if !is_wanted(fetched) {
            return None;
        }
        if !mac::is_code(self.keys.key_set_mac(content), mac) {
            return None;
        }
        Some((KeySet::parse(body)?, fetched))
    }

    /// Makes authentik's answer known to all workers.
    pub(crate) fn publish(&self, body: &[u8], fetched: Timestamp) {
        let mut entry = fetched.seconds().to_be_bytes().to_vec();
        entry.extend_from_slice(body);
        let mac = mac::finish(self.keys.key_set_mac(&entry));
        entry.extend_from_slice(&mac);
        self.host.share(&self.name("keys"), &entry);
    }

    /// Tries to become the worker that fetches; then nobody else does for `seconds`.
    pub(crate) fn take_lease(&self, now: Timestamp, seconds: u64) -> Lease {
        let name = self.name("lease");
        let lease = match self.host.shared(&name) {
            Some(lease) => lease,
            // Compare-and-set creates a missing entry for everyone who tries: so it is created first, then moved.
            None => {
                self.host.share(&name, &entry(RESTING, Timestamp::from_seconds(0)));
                match self.host.shared(&name) {
                    Some(lease) => lease,
                    // Shared data is not to be had: every worker is on its own.
                    None => return Lease::Ours,
                }
            }
        };
        if let Some((kind, until)) =
            lease.value.split_last().and_then(|(kind, until)| Some((*kind, until.first_chunk()?)))
        {
            let until = Timestamp::from_seconds(u64::from_be_bytes(*until));
            if (1..=MAX_LEASE_SECONDS).contains(&until.since(now)) {
                return if kind == FAILED { Lease::Failed { until } } else { Lease::Held };
            }
        }
        if self.host.share_if(&name, &entry(FETCHING, now.plus(seconds)), lease.version) {
            Lease::Ours
        } else {
            Lease::Held
        }
    }

    /// This worker is still fetching.
    pub(crate) fn extend_lease(&self, now: Timestamp, seconds: u64) {
        self.host.share(&self.name("lease"), &entry(FETCHING, now.plus(seconds)));
    }

    /// This worker has fetched: for `seconds` nobody need do it again.
    pub(crate) fn rest(&self, now: Timestamp, seconds: u64) {
        self.host.share(&self.name("lease"), &entry(RESTING, now.plus(seconds)));
    }

    /// This worker's fetch has failed: nobody tries again before.
    pub(crate) fn fail(&self, until: Timestamp) {
        self.host.share(&self.name("lease"), &entry(FAILED, until));
    }

    fn name(&self, what: &str) -> String {
        format!("authentik-proxy-wasm/2/{what}/{}", self.keys.shared_name())
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
    use crate::authn::cache::shared::tests::{Memory, at, slots};

    fn of<'a>(keys: &'a ProviderKeys, memory: &'a Memory) -> SharedKeys<'a> {
        SharedKeys { keys, host: memory }
    }

    fn read(shared: &SharedKeys<'_>) -> Option<Timestamp> {
        let (keys, fetched) = shared.read(|_| true)?;
        assert!(matches!(keys, KeySet::ClientSecret));
        Some(fetched)
    }

    #[test]
    fn key_set_is_shared_by_workers_not_by_providers() {
        let (memory, (_, keys), (_, foreign_keys)) = (Memory::default(), slots(1, "demo"), slots(1, "other"));
        let shared = of(&keys, &memory);
        assert_eq!(read(&shared), None);
        shared.publish(b"{}", at(7));
        assert_eq!(read(&shared), Some(at(7)));
        assert!(shared.read(|fetched| fetched > at(7)).is_none(), "not newer");
        assert_eq!(read(&of(&foreign_keys, &memory)), None, "of another provider");
        let name = shared.name("keys");
        let mut entry = memory.shared(&name).unwrap().value;
        entry[7] ^= 1;
        memory.share(&name, &entry);
        assert_eq!(read(&shared), None, "not ours to the last bit");
        shared.publish(b"<html>", at(8));
        assert_eq!(read(&shared), None, "no key set");
    }

    #[test]
    fn one_worker_at_a_time_has_the_lease() {
        let (memory, (_, keys)) = (Memory::default(), slots(1, "demo"));
        let (_, other_keys) = slots(1, "other");
        let shared = of(&keys, &memory);
        let take = |seconds| shared.take_lease(at(seconds), 6);
        assert_eq!([take(0), take(0), take(5)], [Lease::Ours, Lease::Held, Lease::Held]);
        assert_eq!(
            of(&other_keys, &memory).take_lease(at(0), 6),
            Lease::Ours,
            "another provider has its own"
        );
        assert_eq!(take(6), Lease::Ours, "it ends by itself");
        shared.extend_lease(at(7), 6);
        assert_eq!([take(12), take(13)], [Lease::Held, Lease::Ours]);
        shared.rest(at(14), 10);
        assert_eq!([take(23), take(24)], [Lease::Held, Lease::Ours]);
        shared.fail(at(40));
        assert_eq!([take(39), take(40)], [Lease::Failed { until: at(40) }, Lease::Ours]);
        assert_eq!(memory.names().len(), 2, "one lease each");
    }

    #[test]
    fn overlong_lease_is_ignored() {
        let (memory, (_, keys)) = (Memory::default(), slots(1, "demo"));
        let shared = of(&keys, &memory);
        shared.rest(at(0), MAX_LEASE_SECONDS);
        assert_eq!(shared.take_lease(at(0), 6), Lease::Held);
        shared.rest(at(0), MAX_LEASE_SECONDS + 1);
        assert_eq!(shared.take_lease(at(0), 6), Lease::Ours);
        for entry in [&b""[..], b"x", &[0xff; 8], &[0xff; 64]] {
            memory.share(&shared.name("lease"), entry);
            assert_eq!(shared.take_lease(at(0), 6), Lease::Ours, "{entry:?}");
        }
    }

    #[test]
    fn without_shared_data_every_worker_fetches_for_itself() {
        struct Nothing;

        impl Host for Nothing {
            fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
                None
            }
            fn shared(&self, _: &str) -> Option<crate::authn::env::Shared> {
                None
            }
            fn share(&self, _: &str, _: &[u8]) {}
            fn share_if(&self, _: &str, _: &[u8], _: u32) -> bool {
                false
            }
            fn random(&self, _: &mut [u8]) -> bool {
                false
            }
            fn source_address(&self) -> Option<String> {
                None
            }
        }

        let (_, keys) = slots(1, "demo");
        let shared = SharedKeys { keys: &keys, host: &Nothing };
        assert_eq!([shared.take_lease(at(0), 6), shared.take_lease(at(0), 6)], [Lease::Ours, Lease::Ours]);
    }
}
