//! Verdicts that all workers know: entries in Envoy's shared data.
//!
//! Owns: the fixed number of slots (shared data can never be deleted), the entry's format, and the distrust with
//! which one is read: shared data is open to every filter with the same `vm_id`, so an entry that is not ours to the
//! last bit is a miss. Must not: hold a credential; the token in an entry is authentik's answer to it.
//!
//! Entry: version, kind, end of its freshness (8 bytes), when authentik vouched (8), fingerprint (32), token length (4),
//! token, claims, HMAC (32).

use core::fmt::Write as _;

use hmac::Mac as _;

use super::Surroundings;
use super::fault::Rejection;
use super::fingerprint::{Fingerprint, ProviderKeys};
use super::time::Timestamp;
use super::token::Token;
use super::verifier::{self, VerifiedIdentity};
use crate::config::Config;

const VERSION: u8 = 2;
const VOUCHED: u8 = 1;
const REFUSED: u8 = 2;
const INACTIVE: u8 = 3;
const MAC_BYTES: usize = 32;

/// Longest entry that is written, in bytes: shared memory is bounded by this times the number of slots.
const MAX_ENTRY_BYTES: usize = 16 * 1024;

/// What an entry says.
pub(super) enum SharedVerdict {
    Vouched(VerifiedIdentity),
    Refused(Rejection),
}

/// The slots of one configuration.
pub(super) struct Slots {
    prefix: String,
    count: u32,
}

impl Slots {
    pub(super) fn new(config: &Config) -> Self {
        let mut prefix = "authentik-proxy-wasm/1/".to_owned();
        for byte in config.digest.iter().take(16) {
            // Writing to a String cannot fail.
            let _ = write!(prefix, "{byte:02x}");
        }
        Self { prefix, count: config.cache.shared_slots }
    }

    /// What the names of this configuration's shared entries begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The entry for this fingerprint, with the end of its freshness.
    pub(super) fn read(
        &self,
        fingerprint: &Fingerprint,
        keys: &ProviderKeys,
        surroundings: &dyn Surroundings,
        now: Timestamp,
    ) -> Option<(SharedVerdict, Timestamp)> {
        let entry = surroundings.shared(&self.name(fingerprint)?)?.value;
        decode(&entry, fingerprint, keys, now)
    }

    pub(super) fn write_vouched(
        &self,
        fingerprint: &Fingerprint,
        keys: &ProviderKeys,
        surroundings: &dyn Surroundings,
        verified: &VerifiedIdentity,
        fresh_until: Timestamp,
    ) {
        let Some(claims) = verified.claims_json() else { return };
        let times = (fresh_until, verified.vouched());
        let content = encode(VOUCHED, fingerprint, times, verified.token().expose().as_bytes(), &claims);
        self.write(fingerprint, keys, surroundings, content);
    }

    /// Only a definite no is shared: `invalid_grant` and `active: false`.
    pub(super) fn write_refused(
        &self,
        fingerprint: &Fingerprint,
        keys: &ProviderKeys,
        surroundings: &dyn Surroundings,
        rejection: Rejection,
        fresh_until: Timestamp,
    ) {
        let kind = match rejection {
            Rejection::Refused => REFUSED,
            Rejection::Inactive => INACTIVE,
            Rejection::NoCredential
            | Rejection::Unusable(_)
            | Rejection::Token(_)
            | Rejection::Incomplete(_)
            | Rejection::LoginFailed(_)
            | Rejection::NotFound
            | Rejection::Throttled { .. }
            | Rejection::UnknownHost => return,
        };
        self.write(
            fingerprint,
            keys,
            surroundings,
            encode(kind, fingerprint, (fresh_until, fresh_until), b"", b""),
        );
    }

    fn write(
        &self,
        fingerprint: &Fingerprint,
        keys: &ProviderKeys,
        surroundings: &dyn Surroundings,
        mut content: Vec<u8>,
    ) {
        let Some(name) = self.name(fingerprint) else { return };
        if content.len() > MAX_ENTRY_BYTES {
            return;
        }
        let mac = keys.slot_mac(&content).finalize().into_bytes();
        content.extend_from_slice(&mac);
        surroundings.share(&name, &content);
    }

    fn name(&self, fingerprint: &Fingerprint) -> Option<String> {
        let start = u32::from_be_bytes(*fingerprint.0.first_chunk()?);
        let slot = start.checked_rem(self.count)?;
        Some(format!("{}/verdict/{slot}", self.prefix))
    }
}

fn encode(
    kind: u8,
    fingerprint: &Fingerprint,
    (fresh_until, vouched): (Timestamp, Timestamp),
    token: &[u8],
    claims: &[u8],
) -> Vec<u8> {
    let token_length = u32::try_from(token.len()).unwrap_or(u32::MAX);
    let mut entry = vec![VERSION, kind];
    entry.extend_from_slice(&fresh_until.seconds().to_be_bytes());
    entry.extend_from_slice(&vouched.seconds().to_be_bytes());
    entry.extend_from_slice(&fingerprint.0);
    entry.extend_from_slice(&token_length.to_be_bytes());
    entry.extend_from_slice(token);
    entry.extend_from_slice(claims);
    entry
}

fn decode(
    entry: &[u8],
    expected: &Fingerprint,
    keys: &ProviderKeys,
    now: Timestamp,
) -> Option<(SharedVerdict, Timestamp)> {
    let (content, mac) = entry.split_at_checked(entry.len().checked_sub(MAC_BYTES)?)?;
    keys.slot_mac(content).verify_slice(mac).ok()?;
    let ([version, kind], rest) = content.split_first_chunk()?;
    let (fresh_until, rest) = rest.split_first_chunk()?;
    let (vouched, rest) = rest.split_first_chunk()?;
    let (fingerprint, rest) = rest.split_first_chunk()?;
    let (token_length, rest) = rest.split_first_chunk()?;
    let fresh_until = Timestamp::from_seconds(u64::from_be_bytes(*fresh_until));
    let vouched = Timestamp::from_seconds(u64::from_be_bytes(*vouched));
    if *version != VERSION || *fingerprint != expected.0 || fresh_until <= now {
        return None;
    }
    let verdict = match *kind {
        VOUCHED => {
            let length = usize::try_from(u32::from_be_bytes(*token_length)).ok()?;
            let (token, claims) = rest.split_at_checked(length)?;
            let token = core::str::from_utf8(token).ok()?;
            SharedVerdict::Vouched(
                verifier::restored(Token::new(token.to_owned()), claims, vouched, now).ok()?,
            )
        }
        REFUSED => SharedVerdict::Refused(Rejection::Refused),
        INACTIVE => SharedVerdict::Refused(Rejection::Inactive),
        _ => return None,
    };
    Some((verdict, fresh_until))
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::authn::Shared;
    use crate::authn::credential::{BearerToken, Credential, Unusable};

    /// Shared data, and nothing else.
    #[derive(Default)]
    pub(in crate::authn) struct Memory(RefCell<HashMap<String, Shared>>);

    impl Memory {
        pub(in crate::authn) fn names(&self) -> Vec<String> {
            self.0.borrow().keys().cloned().collect()
        }
    }

    impl Surroundings for Memory {
        fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            None
        }
        fn shared(&self, name: &str) -> Option<Shared> {
            self.0.borrow().get(name).cloned()
        }
        fn share(&self, name: &str, value: &[u8]) {
            let mut entries = self.0.borrow_mut();
            let version = entries.get(name).map_or(1, |entry| entry.version + 1);
            entries.insert(name.to_owned(), Shared { value: value.to_vec(), version });
        }
        fn share_if(&self, name: &str, value: &[u8], version: u32) -> bool {
            let is_current = self.shared(name).is_some_and(|entry| entry.version == version);
            if is_current {
                self.share(name, value);
            }
            is_current
        }
        fn random(&self, _: &mut [u8]) -> bool {
            false
        }
        fn source_address(&self) -> Option<String> {
            None
        }
    }

    pub(in crate::authn) fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    /// A configuration with this many slots, and its first provider's keys.
    pub(in crate::authn) fn slots(count: u32, client_id: &str) -> (Slots, ProviderKeys) {
        let configuration = json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
            "cache": {"shared_slots": count},
            "session": {"enabled": false},
            "providers": [{
                "assigned_application_slug": "demo", "client_id": client_id, "client_secret": "s",
                "external_host": "https://app.example.test",
            }],
        });
        let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
        (Slots::new(&config), ProviderKeys::derive(&config, &config.providers[0]).unwrap())
    }

    fn fingerprint(keys: &ProviderKeys, token: &str) -> Fingerprint {
        keys.fingerprint(&Credential::Bearer(BearerToken::InHeader(token)))
    }

    fn claims() -> Value {
        json!({"sub": "7", "preferred_username": "alice", "exp": at(100).seconds()})
    }

    fn verified(token: &str) -> VerifiedIdentity {
        verifier::restored(Token::new(token.to_owned()), claims().to_string().as_bytes(), at(0), at(0))
            .unwrap()
    }

    /// What an entry says: the token, or the refusal, and until when.
    fn told(entry: Option<(SharedVerdict, Timestamp)>) -> Option<(String, Timestamp)> {
        entry.map(|(verdict, until)| match verdict {
            SharedVerdict::Vouched(verified) => {
                assert_eq!(verified.vouched(), at(0));
                assert_eq!(verified.claims().preferred_username.as_deref(), Some("alice"));
                (verified.token().expose().to_owned(), until)
            }
            SharedVerdict::Refused(rejection) => (format!("{rejection:?}"), until),
        })
    }

    #[test]
    fn what_one_worker_writes_the_others_read_until_it_ends() {
        let (memory, (slots, keys)) = (Memory::default(), slots(4_096, "demo"));
        let known = fingerprint(&keys, "a");
        let read = |now| told(slots.read(&known, &keys, &memory, now));
        assert_eq!(read(at(0)), None);
        slots.write_vouched(&known, &keys, &memory, &verified("a.b.c"), at(60));
        assert_eq!(read(at(0)), Some(("a.b.c".to_owned(), at(60))));
        assert_eq!(read(at(59)), Some(("a.b.c".to_owned(), at(60))));
        assert_eq!(read(at(60)), None);
        slots.write_vouched(&known, &keys, &memory, &verified("a.b.c"), at(200));
        assert!(read(at(99)).is_some() && read(at(100)).is_none(), "never past the token's own end");
        for rejection in [Rejection::Refused, Rejection::Inactive] {
            slots.write_refused(&known, &keys, &memory, rejection, at(10));
            assert_eq!(read(at(9)), Some((format!("{rejection:?}"), at(10))));
            assert_eq!(read(at(10)), None);
        }
        let before = read(at(0));
        slots.write_refused(&known, &keys, &memory, Rejection::Unusable(Unusable::Scheme), at(20));
        assert_eq!(read(at(0)), before, "only a definite no of authentik's is shared");
        assert_eq!(memory.names().len(), 1);
    }

    #[test]
    fn an_entry_that_is_not_ours_to_the_last_bit_is_a_miss() {
        let (_, keys) = slots(1, "demo");
        let (_, foreign_keys) = slots(1, "other");
        let (known, other) = (fingerprint(&keys, "a"), fingerprint(&keys, "b"));
        let claims = claims().to_string();
        let content = encode(VOUCHED, &known, (at(60), at(0)), b"a.b.c", claims.as_bytes());
        let sealed = |keys: &ProviderKeys, content: &[u8]| {
            let mac = keys.slot_mac(content).finalize().into_bytes();
            [content, &mac].concat()
        };
        let decoded = |entry: &[u8], keys, fingerprint| told(decode(entry, fingerprint, keys, at(0)));
        let good = sealed(&keys, &content);
        assert!(decoded(&good, &keys, &known).is_some());
        assert!(decoded(&good, &keys, &other).is_none(), "of another credential");
        assert!(decoded(&good, &foreign_keys, &known).is_none(), "of another provider");
        assert!(decoded(&sealed(&foreign_keys, &content), &keys, &known).is_none());
        for length in 0..good.len() {
            assert!(decoded(&good[..length], &keys, &known).is_none(), "cut at {length}");
        }
        // Ours, and of another version or kind.
        for (position, value) in [(0, VERSION - 1), (0, VERSION + 1), (1, 0), (1, INACTIVE + 1)] {
            let mut content = content.clone();
            content[position] = value;
            assert!(decoded(&sealed(&keys, &content), &keys, &known).is_none(), "{value} at {position}");
        }
    }

    #[test]
    fn an_entry_has_at_most_16_kib() {
        let (memory, (slots, keys)) = (Memory::default(), slots(4_096, "demo"));
        let known = fingerprint(&keys, "a");
        let overhead =
            encode(VOUCHED, &known, (at(0), at(0)), b"", &verified("").claims_json().unwrap()).len();
        for (length, is_written) in [(16_384, true), (16_385, false), (40_000, false)] {
            let token = "t".repeat(length - overhead);
            slots.write_refused(&known, &keys, &memory, Rejection::Refused, at(60));
            slots.write_vouched(&known, &keys, &memory, &verified(&token), at(60));
            let (said, _) = told(slots.read(&known, &keys, &memory, at(0))).unwrap();
            assert_eq!(said == token, is_written, "{length} bytes");
        }
    }

    #[test]
    fn names_are_of_one_configuration_and_no_more_than_there_are_slots() {
        let (few, keys) = slots(3, "demo");
        let (other, _) = slots(3, "other");
        assert_ne!(few.prefix(), other.prefix());
        let names: std::collections::BTreeSet<_> =
            (0..100).map(|number| few.name(&fingerprint(&keys, &number.to_string())).unwrap()).collect();
        let expected = [0, 1, 2].map(|slot| format!("{}/verdict/{slot}", few.prefix()));
        assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
        let (none, keys) = slots(0, "demo");
        assert_eq!(none.name(&fingerprint(&keys, "a")), None);
    }
}
