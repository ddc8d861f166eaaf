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
        assert!(cache.entries.len() <= most && cache.bytes <= MAX_BYTES, "{} entries", cache.entries.len());
        assert_eq!(cache.fresh(key(999_999).name(), at(0)), Some(Heavy(999_999, weight)), "the newest stays");
        assert_eq!(cache.fresh(key(0).name(), at(0)), None, "the oldest goes");
        let held: usize = cache.entries.iter().map(|(_, entry)| entry.weight).sum();
        assert_eq!(cache.bytes, held, "the count is the sum");
    }
}

#[test]
fn lru_keeps_used_entries_and_counts_replaced_ones_once() {
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
    assert!(cache.bytes <= MAX_BYTES && cache.fresh(key(0).name(), at(0)).is_none(), "{} bytes", cache.bytes);
    assert!((1..=4).all(|number| cache.fresh(key(number).name(), at(0)).is_some()));
    cache.insert(key(5), Heavy(5, MAX_BYTES), until(100));
    assert_eq!((cache.entries.len(), cache.bytes), (0, 0), "what is too heavy by itself does not stay");
}

#[test]
fn removed_entry_is_not_stale() {
    let mut cache = Cache::new(2, MAX_BYTES);
    cache.insert(key(1), Heavy(1, 10), until(100));
    cache.insert(key(2), Heavy(2, 10), until(100));
    cache.remove(&key(1));
    assert!(cache.fresh(key(1).name(), at(0)).is_none() && cache.stale(&key(1), at(0)).is_none());
    assert!(cache.last(&key(1)).is_none() && cache.fresh(key(2).name(), at(0)).is_some());
}

#[test]
fn fresh_and_stale_lifetimes_end_on_time() {
    let mut cache = Cache::new(2, MAX_BYTES);
    cache.insert(key(1), Heavy(1, 10), until(100));
    assert!(cache.fresh(key(1).name(), at(99)).is_some() && cache.fresh(key(1).name(), at(100)).is_none());
    assert!(cache.stale(&key(1), at(109)).is_some() && cache.stale(&key(1), at(110)).is_none());
    assert!(cache.last(&key(1)).is_some(), "still the last word");
}

#[test]
fn cache_keys_differ_by_provider_and_kind() {
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
fn tokens_that_differ_in_one_byte_are_different_keys() {
    let token = "0123456789abcdef.".repeat(3);
    let mut cache = Cache::new(4, MAX_BYTES);
    cache.insert(CacheKey::token(0, Token::new(token.clone())), Heavy(1, 10), until(100));
    assert!(cache.fresh(Name::token(0, token.as_bytes()), at(0)).is_some());
    let mut others = vec![format!("{token}0"), token[1..].to_owned(), token[..50].to_owned(), String::new()];
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
