//! A table that all workers of an Envoy share.
//!
//! Owns: one value in shared data, its name, and the key that authenticates it: shared data is open to every filter with the
//! same `vm_id`. It is changed by compare-and-set alone, so no worker overwrites what another has said.
//! Must not: know what the entries mean.

use super::table::{Digest, Table};
use crate::authn::env::Env;
use crate::base::hex;
use crate::base::mac::{self, Mac};
use crate::base::time::Timestamp;

const MAC_BYTES: usize = 32;
/// How often in a row the value is written again because another worker was faster. What is left is written with the next
/// look.
const TRIES: usize = 8;
/// No value has this version: what is there is not overwritten with it, and a value that is not there is created.
const NOT_THERE: u32 = u32::MAX;

/// A worker's copy, and the way to the others.
pub(super) struct SharedTable {
    name: String,
    key: Mac,
    table: Table,
    /// The version of the shared value that this worker has read.
    seen: Option<u32>,
    /// Whether this worker knows something that the shared value has not.
    is_ahead: bool,
    /// The kinds of its entries.
    kinds: &'static [u8],
}

impl SharedTable {
    /// The table that belongs to a secret. `None` only if HMAC refused a key, which it never does.
    #[inline(never)]
    pub(super) fn derive(secret: &str, purpose: &str, owner: &str, kinds: &'static [u8]) -> Option<Self> {
        let mut root = mac::keyed(secret.as_bytes())?;
        for part in ["authentik-proxy-wasm 2", purpose, owner] {
            mac::update(&mut root, &part.len().to_be_bytes());
            mac::update(&mut root, part.as_bytes());
        }
        let key = mac::keyed(&mac::finish(root))?;
        let mut name = key.clone();
        mac::update(&mut name, b"name");
        let name = mac::finish(name);
        let name = hex::of(name.first_chunk::<8>()?);
        let name = format!("authentik-proxy-wasm/2/{purpose}/{name}");
        Some(Self { name, key, table: Table::default(), seen: None, is_ahead: false, kinds })
    }

    /// The moment of an entry.
    pub(super) fn at(&self, kind: u8, name: &str) -> Option<Timestamp> {
        if self.table.is_empty() {
            return None;
        }
        self.table.at(&self.digest(kind, name)?)
    }

    /// The latest moment of an entry of this kind that had no room.
    pub(super) fn evicted(&self, kind: u8) -> Option<Timestamp> {
        self.table.evicted(kind)
    }

    /// Takes an entry; the next [`Self::sync`] tells the others. Whether it is news.
    pub(super) fn note(&mut self, kind: u8, name: &str, at: Timestamp, until: Timestamp) -> bool {
        let Some(digest) = self.digest(kind, name) else { return false };
        if self.table.at(&digest).is_some_and(|known| known >= at) {
            return false;
        }
        self.table.note(digest, at, until);
        self.is_ahead = true;
        // What this worker has said itself is news too.
        self.seen = None;
        true
    }

    /// Takes what other workers have said, and tells them what this one has. Whether there may be news.
    pub(super) fn sync(&mut self, env: &Env<'_>) -> bool {
        let mut is_new = false;
        for _ in 0..TRIES {
            let shared = env.host.shared(&self.name);
            let version = shared.as_ref().map(|shared| shared.version);
            if !self.is_ahead && version == self.seen {
                return is_new;
            }
            is_new = true;
            if let Some(shared) = &shared {
                match self.open(&shared.value) {
                    Some(theirs) => self.table.merge(&theirs),
                    // This worker's copy has all that was there when it looked last.
                    None if self.seen.is_some() => self.is_ahead = true,
                    None => self.distrust(env.now),
                }
            }
            self.seen = version;
            if !self.is_ahead {
                return is_new;
            }
            self.table.purge(env.now);
            if env.host.share_if(&self.name, &self.seal(), version.unwrap_or(NOT_THERE)) {
                self.is_ahead = false;
            }
        }
        is_new
    }

    /// The shared value is not ours to the last bit: what it said is not known, so it may be said of all that was before.
    fn distrust(&mut self, now: Timestamp) {
        log::warn!("the shared list {} is not this filter's: nothing that began before it counts", self.name);
        for kind in self.kinds {
            self.table.note_evicted(*kind, now);
        }
        self.is_ahead = true;
    }

    fn digest(&self, kind: u8, name: &str) -> Option<Digest> {
        let mut mac = self.key.clone();
        mac::update(&mut mac, &[kind]);
        mac::update(&mut mac, name.as_bytes());
        let mut digest: Digest = *mac::finish(mac).first_chunk()?;
        *digest.first_mut()? = kind;
        Some(digest)
    }

    fn seal(&self) -> Vec<u8> {
        let mut value = self.table.encode();
        let mac = mac::finish(self.value_mac(&value));
        value.extend_from_slice(&mac);
        value
    }

    fn open(&self, value: &[u8]) -> Option<Table> {
        let (content, mac) = value.split_at_checked(value.len().checked_sub(MAC_BYTES)?)?;
        mac::is_code(self.value_mac(content), mac).then(|| Table::decode(content)).flatten()
    }

    fn value_mac(&self, content: &[u8]) -> Mac {
        let mut mac = self.key.clone();
        mac::update(&mut mac, b"value");
        mac::update(&mut mac, content);
        mac
    }
}

#[cfg(test)]
mod tests;
