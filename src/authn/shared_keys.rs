//! Key sets that all workers share: one fetches, the others take what it found from Envoy's shared data.
//!
//! Owns: two entries per provider. The *key set* is authentik's answer with the time it came, authenticated like every
//! shared entry. The *lease* is the moment before which nobody else fetches; whoever moves it forward by
//! compare-and-set is the one that fetches. A lease that is forged can delay a fetch by at most [`MAX_LEASE_SECONDS`].
//! Must not: fetch, or decide whether keys are wanted.

use hmac::Mac as _;

use super::Surroundings;
use super::directory::ProviderId;
use super::fingerprint::ProviderKeys;
use super::jwks::KeySet;
use super::time::Timestamp;

/// No lease is longer; one that says so is not ours.
const MAX_LEASE_SECONDS: u64 = 3700;
const MAC_BYTES: usize = 32;

/// Where one provider's shared entries are.
pub(super) struct SharedKeys<'a> {
    pub(super) prefix: &'a str,
    pub(super) provider: ProviderId,
    pub(super) keys: &'a ProviderKeys,
    pub(super) surroundings: &'a dyn Surroundings,
}

impl SharedKeys<'_> {
    /// The key set that some worker fetched, and when. `None`: there is none, or it is not ours to the last bit.
    pub(super) fn read(&self) -> Option<(KeySet, Timestamp)> {
        let entry = self.surroundings.shared(&self.name("keys"))?.value;
        let (content, mac) = entry.split_at_checked(entry.len().checked_sub(MAC_BYTES)?)?;
        self.keys.slot_mac(content).verify_slice(mac).ok()?;
        let (fetched, body) = content.split_first_chunk()?;
        Some((KeySet::parse(body)?, Timestamp::from_seconds(u64::from_be_bytes(*fetched))))
    }

    /// Makes authentik's answer known to all workers.
    pub(super) fn publish(&self, body: &[u8], fetched: Timestamp) {
        let mut entry = fetched.seconds().to_be_bytes().to_vec();
        entry.extend_from_slice(body);
        let mac = self.keys.slot_mac(&entry).finalize().into_bytes();
        entry.extend_from_slice(&mac);
        self.surroundings.share(&self.name("keys"), &entry);
    }

    /// Whether this worker is the one to fetch; if so, nobody else is for `seconds`.
    pub(super) fn take_lease(&self, now: Timestamp, seconds: u64) -> bool {
        let name = self.name("lease");
        let lease = match self.surroundings.shared(&name) {
            Some(lease) => lease,
            // Compare-and-set creates a missing entry for everyone who tries: so it is created first, then moved.
            None => {
                self.surroundings.share(&name, &0_u64.to_be_bytes());
                match self.surroundings.shared(&name) {
                    Some(lease) => lease,
                    // Shared data is not to be had: every worker is on its own.
                    None => return true,
                }
            }
        };
        let until = lease.value.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let remaining = Timestamp::from_seconds(until).since(now);
        if (1..=MAX_LEASE_SECONDS).contains(&remaining) {
            return false;
        }
        self.surroundings.share_if(&name, &now.plus(seconds).seconds().to_be_bytes(), lease.version)
    }

    /// Moves the end of the lease: after `seconds` somebody may fetch again.
    pub(super) fn set_lease(&self, now: Timestamp, seconds: u64) {
        self.surroundings.share(&self.name("lease"), &now.plus(seconds).seconds().to_be_bytes());
    }

    fn name(&self, what: &str) -> String {
        format!("{}/{what}/{}", self.prefix, self.provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::slots::tests::{Memory, at, slots};

    fn of<'a>(keys: &'a ProviderKeys, memory: &'a Memory, provider: ProviderId) -> SharedKeys<'a> {
        SharedKeys { prefix: "prefix", provider, keys, surroundings: memory }
    }

    #[test]
    fn what_one_worker_fetched_all_have_and_no_other_provider() {
        let (memory, (_, keys), (_, foreign_keys)) = (Memory::default(), slots(1, "demo"), slots(1, "other"));
        let shared = of(&keys, &memory, 0);
        assert!(shared.read().is_none());
        shared.publish(b"{}", at(7));
        assert!(matches!(shared.read(), Some((KeySet::ClientSecret, fetched)) if fetched == at(7)));
        assert!(of(&keys, &memory, 1).read().is_none(), "of another provider");
        assert!(of(&foreign_keys, &memory, 0).read().is_none(), "not ours");
        shared.publish(b"<html>", at(8));
        assert!(shared.read().is_none(), "no key set");
    }

    #[test]
    fn one_worker_at_a_time_has_the_lease() {
        let (memory, (_, keys)) = (Memory::default(), slots(1, "demo"));
        let shared = of(&keys, &memory, 0);
        assert!(shared.take_lease(at(0), 6));
        assert!(!shared.take_lease(at(0), 6) && !shared.take_lease(at(5), 6));
        assert!(of(&keys, &memory, 1).take_lease(at(0), 6), "another provider has its own");
        assert!(shared.take_lease(at(6), 6), "it ends by itself");
        shared.set_lease(at(7), 10);
        assert!(!shared.take_lease(at(16), 6) && shared.take_lease(at(17), 6));
        assert_eq!(memory.names().len(), 2, "one lease each");
    }

    #[test]
    fn a_lease_that_is_longer_than_any_of_ours_is_none() {
        let (memory, (_, keys)) = (Memory::default(), slots(1, "demo"));
        let shared = of(&keys, &memory, 0);
        shared.set_lease(at(0), MAX_LEASE_SECONDS);
        assert!(!shared.take_lease(at(0), 6));
        shared.set_lease(at(0), MAX_LEASE_SECONDS + 1);
        assert!(shared.take_lease(at(0), 6));
    }

    #[test]
    fn without_shared_data_every_worker_fetches_for_itself() {
        struct Nothing;

        impl Surroundings for Nothing {
            fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
                None
            }
            fn shared(&self, _: &str) -> Option<crate::authn::Shared> {
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
        let shared = SharedKeys { prefix: "prefix", provider: 0, keys: &keys, surroundings: &Nothing };
        assert!(shared.take_lease(at(0), 6) && shared.take_lease(at(0), 6));
    }
}
