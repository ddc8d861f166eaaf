//! What this worker knows, verdicts and opened sessions: bounded LRUs.
//!
//! Owns: the two bounds (entries, bytes), freshness, and the wiping of keys on eviction. A Bearer token is its own
//! key, compared whole; a Basic credential is kept as a fingerprint only.
//! Must not: decide for how long a verdict is good.

use core::num::NonZeroUsize;

use lru::LruCache;
use zeroize::Zeroize;

use super::directory::ProviderId;
use super::fingerprint::Fingerprint;
use super::secret::Secret;
use super::time::Timestamp;

/// Most that all entries of one cache may take, in bytes, roughly.
const MAX_BYTES: usize = 8 << 20;

/// What a value is found by: the provider, and the token or cookie itself or the fingerprint.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct CacheKey(Vec<u8>);

impl CacheKey {
    pub(super) fn token(provider: ProviderId, token: &Secret<String>) -> Self {
        Self::new(b't', provider, token.expose().as_bytes())
    }

    pub(super) fn cookie(provider: ProviderId, value: &[u8]) -> Self {
        Self::new(b'c', provider, value)
    }

    pub(super) fn fingerprint(provider: ProviderId, fingerprint: &Fingerprint) -> Self {
        Self::new(b'f', provider, &fingerprint.0)
    }

    fn new(kind: u8, provider: ProviderId, content: &[u8]) -> Self {
        let mut key = Vec::with_capacity(content.len().saturating_add(9));
        key.push(kind);
        key.extend_from_slice(&provider.to_be_bytes());
        key.extend_from_slice(content);
        Self(key)
    }
}

impl Drop for CacheKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What a value takes in a cache, in bytes, roughly.
pub(super) trait Weigh {
    fn weight(&self) -> usize;
}

/// How long a verdict may be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    /// Until then without asking.
    pub(super) fresh_until: Timestamp,
    /// Until then while authentik cannot answer.
    pub(super) stale_until: Timestamp,
}

struct Entry<V> {
    value: V,
    lifetime: Lifetime,
    weight: usize,
}

/// Values of one worker under one configuration.
pub(super) struct Cache<V> {
    entries: LruCache<CacheKey, Entry<V>>,
    bytes: usize,
}

impl<V: Clone + Weigh> Cache<V> {
    pub(super) fn new(entries: usize) -> Self {
        Self { entries: LruCache::new(NonZeroUsize::new(entries).unwrap_or(NonZeroUsize::MIN)), bytes: 0 }
    }

    /// A verdict that is still fresh.
    pub(super) fn fresh(&mut self, key: &CacheKey, now: Timestamp) -> Option<V> {
        let entry = self.entries.get(key)?;
        (entry.lifetime.fresh_until > now).then(|| entry.value.clone())
    }

    /// A verdict that may be used while authentik cannot answer.
    pub(super) fn stale(&self, key: &CacheKey, now: Timestamp) -> Option<V> {
        let entry = self.entries.peek(key)?;
        (entry.lifetime.stale_until > now).then(|| entry.value.clone())
    }

    /// The last word, fresh or not.
    pub(super) fn last(&self, key: &CacheKey) -> Option<&V> {
        self.entries.peek(key).map(|entry| &entry.value)
    }

    pub(super) fn insert(&mut self, key: CacheKey, value: V, lifetime: Lifetime) {
        let weight = key.0.len().saturating_add(value.weight());
        self.bytes = self.bytes.saturating_add(weight);
        if let Some((_, evicted)) = self.entries.push(key, Entry { value, lifetime, weight }) {
            self.bytes = self.bytes.saturating_sub(evicted.weight);
        }
        while self.bytes > MAX_BYTES {
            let Some((_, evicted)) = self.entries.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(evicted.weight);
        }
    }

    /// Takes a verdict out: something newer has ended it.
    pub(super) fn remove(&mut self, key: &CacheKey) {
        if let Some(entry) = self.entries.pop(key) {
            self.bytes = self.bytes.saturating_sub(entry.weight);
        }
    }
}
