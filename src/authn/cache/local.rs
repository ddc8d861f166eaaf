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

    /// Takes a verdict out: something newer has ended it.
    pub(crate) fn remove(&mut self, key: &CacheKey) {
        if let Some(entry) = self.entries.pop(key) {
            self.bytes = self.bytes.saturating_sub(entry.weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: usize = 6 << 20;

    #[derive(Clone, Debug, PartialEq)]
    struct Heavy(u32, usize);

    impl Weigh for Heavy {
        fn weight(&self) -> usize {
            self.1
        }
    }

    fn key(number: u32) -> CacheKey {
        CacheKey::token(0, Token::new(format!("token-{number}")))
    }

    fn until(seconds: u64) -> Lifetime {
        Lifetime {
            fresh_until: Timestamp::from_seconds(seconds),
            stale_until: Timestamp::from_seconds(seconds + 10),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_million_credentials_stay_within_both_bounds() {
        for (weight, most) in [(1_000, 1024), (100_000, MAX_BYTES / 100_000)] {
            let mut cache = Cache::new(1024, MAX_BYTES);
            for number in 0..1_000_000 {
                cache.insert(key(number), Heavy(number, weight), until(100));
            }
            assert!(
                cache.entries.len() <= most && cache.bytes <= MAX_BYTES,
                "{} entries",
                cache.entries.len()
            );
            assert_eq!(
                cache.fresh(key(999_999).name(), at(0)),
                Some(Heavy(999_999, weight)),
                "the newest stays"
            );
            assert_eq!(cache.fresh(key(0).name(), at(0)), None, "the oldest goes");
            let held: usize = cache.entries.iter().map(|(_, entry)| entry.weight).sum();
            assert_eq!(cache.bytes, held, "the count is the sum");
        }
    }

    #[test]
    fn what_is_used_stays_and_what_is_replaced_is_counted_once() {
        let mut cache = Cache::new(2, MAX_BYTES);
        cache.insert(key(1), Heavy(1, 10), until(100));
        cache.insert(key(2), Heavy(2, 10), until(100));
        assert!(cache.fresh(key(1).name(), at(0)).is_some());
        cache.insert(key(3), Heavy(3, 10), until(100));
        assert!(cache.fresh(key(1).name(), at(0)).is_some() && cache.fresh(key(2).name(), at(0)).is_none());
        let bytes = cache.bytes;
        cache.insert(key(3), Heavy(4, 10), until(100));
        assert_eq!((cache.bytes, cache.fresh(key(3).name(), at(0))), (bytes, Some(Heavy(4, 10))));
        cache.remove(&key(1));
        cache.remove(&key(3));
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn bytes_are_bounded_as_well_and_the_bound_may_be_reached() {
        let mut cache = Cache::new(1024, MAX_BYTES);
        cache.insert(key(0), Heavy(0, 0), until(100));
        assert!(cache.bytes > key(0).name().content().len(), "key and place, whatever the value weighs");
        let weight = MAX_BYTES / 4 - cache.bytes;
        for number in 0..4 {
            cache.insert(key(number), Heavy(number, weight), until(100));
        }
        assert_eq!((cache.entries.len(), cache.bytes), (4, MAX_BYTES));
        cache.insert(key(4), Heavy(4, 1), until(100));
        assert!(
            cache.bytes <= MAX_BYTES && cache.fresh(key(0).name(), at(0)).is_none(),
            "{} bytes",
            cache.bytes
        );
        assert!((1..=4).all(|number| cache.fresh(key(number).name(), at(0)).is_some()));
        cache.insert(key(5), Heavy(5, MAX_BYTES), until(100));
        assert_eq!((cache.entries.len(), cache.bytes), (0, 0), "what is too heavy by itself does not stay");
    }

    #[test]
    fn what_was_taken_out_is_not_even_stale() {
        let mut cache = Cache::new(2, MAX_BYTES);
        cache.insert(key(1), Heavy(1, 10), until(100));
        cache.insert(key(2), Heavy(2, 10), until(100));
        cache.remove(&key(1));
        assert!(cache.fresh(key(1).name(), at(0)).is_none() && cache.stale(&key(1), at(0)).is_none());
        assert!(cache.last(&key(1)).is_none() && cache.fresh(key(2).name(), at(0)).is_some());
    }

    #[test]
    fn fresh_and_stale_end_when_they_must() {
        let mut cache = Cache::new(2, MAX_BYTES);
        cache.insert(key(1), Heavy(1, 10), until(100));
        assert!(
            cache.fresh(key(1).name(), at(99)).is_some() && cache.fresh(key(1).name(), at(100)).is_none()
        );
        assert!(cache.stale(&key(1), at(109)).is_some() && cache.stale(&key(1), at(110)).is_none());
        assert!(cache.last(&key(1)).is_some(), "still the last word");
    }

    #[test]
    fn providers_and_kinds_of_keys_are_apart() {
        let token = Token::new("x".repeat(32));
        let keys = [
            CacheKey::token(0, token.clone()),
            CacheKey::token(1, token.clone()),
            CacheKey::cookie(0, token.expose().as_bytes()),
            CacheKey::fingerprint(0, Fingerprint([b'x'; 32])),
        ];
        for (index, key) in keys.iter().enumerate() {
            let mut cache = Cache::new(4, MAX_BYTES);
            cache.insert(key.clone(), Heavy(1, 10), until(100));
            let found = keys.each_ref().map(|key| cache.fresh(key.name(), at(0)).is_some());
            assert_eq!(found, core::array::from_fn(|other| other == index));
        }
    }

    #[test]
    fn one_byte_more_less_or_other_is_another_token() {
        let token = "0123456789abcdef.".repeat(3);
        let mut cache = Cache::new(4, MAX_BYTES);
        cache.insert(CacheKey::token(0, Token::new(token.clone())), Heavy(1, 10), until(100));
        assert!(cache.fresh(Name::token(0, token.as_bytes()), at(0)).is_some());
        let mut others =
            vec![format!("{token}0"), token[1..].to_owned(), token[..50].to_owned(), String::new()];
        others.extend((0..token.len()).map(|place| {
            let mut other = token.clone();
            other.replace_range(place..=place, "~");
            other
        }));
        // Asked of the comparison as well: the hash alone would mostly tell them apart.
        for other in others {
            assert!(!is_same(token.as_bytes(), other.as_bytes()), "{other}");
            assert!(cache.fresh(Name::token(0, other.as_bytes()), at(0)).is_none(), "{other}");
        }
    }
}
