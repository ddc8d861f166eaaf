//! What this worker knows, verdicts and opened sessions: bounded LRUs.
//!
//! Owns: the two bounds (entries, bytes), freshness, and the wiping of keys on eviction. A Bearer token is its own
//! key, compared whole; a Basic credential is kept as a fingerprint only.
//! Must not: decide for how long a verdict is good.

use core::borrow::Borrow;
use core::hash::{Hash, Hasher};

use lru::LruCache;

use crate::authn::provider::fingerprint::Fingerprint;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::base::token::Token;
use crate::base::weight::{BLOCK_BYTES, Weigh};
use crate::config::{Config, ProviderId};

/// Most that the entries of a worker may take, in bytes, roughly, for each entry that it may have: verdicts and sessions
/// together, half of it for each; all of it for verdicts where there are no sessions.
///
/// A worker may take 20 MiB more than one with a filter that does nothing. The module takes 8 without entries, 1,024
/// entries (the default) may take 10, and the rest is for what is not weighed: requests that wait, the counts of the
/// rate limit, the allocator's gaps.
///
/// The verdict on a token of 1 KiB, with twelve headers, takes about 3 KiB: the token, its claims, the other headers. Its
/// session's cookie takes 1 KiB more.
const BYTES_PER_ENTRY: usize = 10 << 10;

/// How many entries, and how many bytes of them, a cache of verdicts or of sessions may have.
pub(crate) fn bounds(config: &Config) -> (usize, usize) {
    let entries = config.cache.local_entries;
    let bytes = entries.saturating_mul(BYTES_PER_ENTRY);
    (entries, if config.session.issue.is_some() { bytes / 2 } else { bytes })
}

/// What an entry takes in list and table, beside itself and its key: two links, up to three places of the table, two
/// blocks.
const PLACE_BYTES: usize = 2 * size_of::<usize>() + 3 * (2 * size_of::<usize>() + 1) + 2 * BLOCK_BYTES;

/// What a value is found by: the provider, and the token or cookie itself or the fingerprint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'a> {
    kind: Kind,
    provider: ProviderId,
    content: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Token,
    Cookie,
    Fingerprint,
}

impl<'a> Name<'a> {
    pub(crate) const fn token(provider: ProviderId, token: &'a [u8]) -> Self {
        Self { kind: Kind::Token, provider, content: token }
    }

    pub(crate) const fn cookie(provider: ProviderId, value: &'a [u8]) -> Self {
        Self { kind: Kind::Cookie, provider, content: value }
    }

    pub(crate) const fn fingerprint(provider: ProviderId, fingerprint: &'a Fingerprint) -> Self {
        Self { kind: Kind::Fingerprint, provider, content: &fingerprint.0 }
    }

    /// The token, cookie or fingerprint.
    pub(crate) const fn content(self) -> &'a [u8] {
        self.content
    }
}

/// A [`Name`] that is kept; wiped when dropped.
#[derive(Clone)]
pub(crate) struct CacheKey {
    provider: ProviderId,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Token(Token),
    Cookie(Secret<Vec<u8>>),
    Fingerprint(Fingerprint),
}

impl CacheKey {
    pub(crate) const fn token(provider: ProviderId, token: Token) -> Self {
        Self { provider, content: Content::Token(token) }
    }

    pub(crate) fn cookie(provider: ProviderId, value: &[u8]) -> Self {
        Self { provider, content: Content::Cookie(Secret::new(value.to_vec())) }
    }

    pub(crate) const fn fingerprint(provider: ProviderId, fingerprint: Fingerprint) -> Self {
        Self { provider, content: Content::Fingerprint(fingerprint) }
    }

    /// The token that it is, if it is one.
    pub(crate) const fn as_token(&self) -> Option<&Token> {
        match &self.content {
            Content::Token(token) => Some(token),
            Content::Cookie(_) | Content::Fingerprint(_) => None,
        }
    }

    pub(crate) fn name(&self) -> Name<'_> {
        match &self.content {
            Content::Token(token) => Name::token(self.provider, token.expose().as_bytes()),
            Content::Cookie(value) => Name::cookie(self.provider, value.expose()),
            Content::Fingerprint(fingerprint) => Name::fingerprint(self.provider, fingerprint),
        }
    }
}

/// What has a name: a key in the cache, or a name that is looked up without being copied first.
trait Named {
    fn name(&self) -> Name<'_>;
}

impl Named for CacheKey {
    fn name(&self) -> Name<'_> {
        self.name()
    }
}

impl Named for Name<'_> {
    fn name(&self) -> Name<'_> {
        *self
    }
}

impl Hash for dyn Named + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Name { kind, provider, content } = self.name();
        (kind, provider, content).hash(state);
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (self.name(), other.name());
        (one.kind, one.provider) == (other.kind, other.provider) && is_same(one.content, other.content)
    }
}

impl Eq for dyn Named + '_ {}

/// `==` goes byte by byte in Wasm; this is many times as fast for a token. What its time could tell is where eight bytes at
/// a time first differ: too many at once to be guessed.
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    // Without a branch for each word.
    let are_equal = |words: &[[u8; 8]], others: &[[u8; 8]]| {
        let differences = words
            .iter()
            .zip(others)
            .map(|(one, other)| u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other));
        differences.fold(0, |all, difference| all | difference) == 0
    };
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let ((blocks, last), (other_blocks, other_last)) = (words.as_chunks::<4>(), other_words.as_chunks::<4>());
    one.len() == other.len()
        && rest == other_rest
        && are_equal(last, other_last)
        && blocks.iter().zip(other_blocks).all(|(block, other)| are_equal(block, other))
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let this: &dyn Named = self;
        this.hash(state);
    }
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        let (this, other): (&dyn Named, &dyn Named) = (self, other);
        this == other
    }
}

impl Eq for CacheKey {}

impl<'a> Borrow<dyn Named + 'a> for CacheKey {
    fn borrow(&self) -> &(dyn Named + 'a) {
        self
    }
}

/// How long a verdict may be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetime {
    /// Until then without asking.
    pub(crate) fresh_until: Timestamp,
    /// Until then while authentik cannot answer.
    pub(crate) stale_until: Timestamp,
}

struct Entry<V> {
    value: V,
    lifetime: Lifetime,
    weight: usize,
}

/// Values of one worker under one configuration.
pub(crate) struct Cache<V> {
    entries: LruCache<CacheKey, Entry<V>>,
    max_entries: usize,
    bytes: usize,
    max_bytes: usize,
}

impl<V: Clone + Weigh> Cache<V> {
    /// With room for so many entries, and for so many bytes of them. The room is taken as it is needed.
    pub(crate) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self { entries: LruCache::unbounded(), max_entries, bytes: 0, max_bytes }
    }

    /// A verdict that is still fresh.
    pub(crate) fn fresh(&mut self, name: Name<'_>, now: Timestamp) -> Option<V> {
        let name: &dyn Named = &name;
        let entry = self.entries.get(name)?;
        (entry.lifetime.fresh_until > now).then(|| entry.value.clone())
    }

    /// A verdict that may be used while authentik cannot answer.
    pub(crate) fn stale(&self, key: &CacheKey, now: Timestamp) -> Option<V> {
        let entry = self.entries.peek(key)?;
        (entry.lifetime.stale_until > now).then(|| entry.value.clone())
    }

    /// A verdict that must be confirmed: it is not fresh any more, and no longer of use than another that is not.
    pub(crate) fn expire(&mut self, name: Name<'_>, now: Timestamp, stale_seconds: u64) {
        let name: &dyn Named = &name;
        if let Some(Entry { lifetime, .. }) = self.entries.peek_mut(name) {
            lifetime.fresh_until = lifetime.fresh_until.min(now);
            lifetime.stale_until = lifetime.stale_until.min(now.plus(stale_seconds));
        }
    }

    /// The last word, fresh or not.
    pub(crate) fn last(&self, key: &CacheKey) -> Option<&V> {
        self.entries.peek(key).map(|entry| &entry.value)
    }

    pub(crate) fn insert(&mut self, key: CacheKey, value: V, lifetime: Lifetime) {
        let itself = size_of::<CacheKey>().saturating_add(size_of::<Entry<V>>()).saturating_add(PLACE_BYTES);
        let name = match key.as_token() {
            Some(token) if value.holds(token) => 0,
            Some(_) | None => key.name().content.len(),
        };
        let weight = name.saturating_add(value.weight()).saturating_add(itself);
        self.bytes = self.bytes.saturating_add(weight);
        if let Some((_, replaced)) = self.entries.push(key, Entry { value, lifetime, weight }) {
            self.bytes = self.bytes.saturating_sub(replaced.weight);
        }
        while self.bytes > self.max_bytes || self.entries.len() > self.max_entries {
            let Some((_, evicted)) = self.entries.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(evicted.weight);
        }
    }

    /// How many verdicts are here, fresh or not.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes a verdict out: something newer has ended it.
    pub(crate) fn remove(&mut self, key: &CacheKey) {
        if let Some(entry) = self.entries.pop(key) {
            self.bytes = self.bytes.saturating_sub(entry.weight);
        }
    }
}

#[cfg(test)]
mod tests;
