//! Key sets that all workers share: one fetches, the others take what it found from Envoy's shared data.
//!
//! Owns: two entries per provider. The *key set* is authentik's answer with the time it came, authenticated like every
//! shared entry. The *lease* ([`crate::authn::env::lease`]) says which worker fetches.
//! Must not: fetch, or decide whether keys are wanted.

use crate::authn::env::Host;
use crate::authn::env::lease::Lease;
use crate::authn::jwt::jwk::KeySet;
use crate::authn::provider::fingerprint::ProviderKeys;
use crate::base::mac;
use crate::base::time::Timestamp;

const MAC_BYTES: usize = 32;

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

    /// Which worker fetches.
    pub(crate) fn lease(&self) -> Lease<'_> {
        Lease { name: self.name("lease"), host: self.host }
    }

    fn name(&self, what: &str) -> String {
        format!("authentik-proxy-wasm/2/{what}/{}", self.keys.shared_name())
    }
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
}
