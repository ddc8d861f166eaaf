use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::authn::env::Shared;
use crate::authn::request::credential::{BearerToken, Credential, Malformed};

/// Shared data, and nothing else.
#[derive(Default)]
pub(crate) struct Memory(RefCell<HashMap<String, Shared>>);

impl Memory {
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
    }
}

impl Host for Memory {
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
        // As Envoy: a value that is not there is created.
        let is_current = self.shared(name).is_none_or(|entry| entry.version == version);
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

/// A host that offers nothing.
pub(crate) struct Nothing;

impl Host for Nothing {
    fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
    fn shared(&self, _: &str) -> Option<Shared> {
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

/// The shared data of all workers, and a random byte that is this worker's.
pub(crate) struct MemoryAndByte<'a>(pub(crate) &'a Memory, pub(crate) u8);

impl Host for MemoryAndByte<'_> {
    fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
    fn shared(&self, name: &str) -> Option<Shared> {
        self.0.shared(name)
    }
    fn share(&self, name: &str, value: &[u8]) {
        self.0.share(name, value);
    }
    fn share_if(&self, name: &str, value: &[u8], version: u32) -> bool {
        self.0.share_if(name, value, version)
    }
    fn random(&self, bytes: &mut [u8]) -> bool {
        bytes.fill(self.1);
        true
    }
    fn source_address(&self) -> Option<String> {
        None
    }
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_000_000 + seconds)
}

/// A configuration with this many slots, and its first provider's keys.
pub(crate) fn slots(count: u32, client_id: &str) -> (Slots, ProviderKeys) {
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
    (Slots::new(&config), ProviderKeys::derive(&config, &config.providers[0], b"0").unwrap())
}

fn fingerprint(keys: &ProviderKeys, token: &str) -> Fingerprint {
    keys.fingerprint(&Credential::Bearer(BearerToken::InHeader(token)))
}

fn claims() -> Value {
    json!({"sub": "7", "preferred_username": "alice", "exp": at(100).seconds()})
}

fn verified(token: &str) -> VerifiedIdentity {
    verifier::restored(Token::new(token.to_owned()), claims().to_string().as_bytes(), at(0), at(0)).unwrap()
}

fn refused(fresh_until: u64, end: u64) -> Times {
    Times { fresh_until: at(fresh_until), vouched: at(0), end: at(end) }
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
fn shared_entry_is_read_by_all_workers_until_it_ends() {
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
    slots.write_vouched(&known, &keys, &memory, &verified("a.b.c").until(at(30)), at(20));
    let Some((SharedVerdict::Vouched(restored), _)) = slots.read(&known, &keys, &memory, at(0)) else {
        panic!("a good verdict")
    };
    assert_eq!(restored.expires(), at(30), "it ends where it ended for the worker that learned it");
    let remembers = |now| slots.remembers_refusal(&known, &keys, &memory, now);
    assert!(!remembers(at(0)), "a good verdict is no refusal");
    for rejection in
        [Rejection::Refused(Grant::Password), Rejection::Refused(Grant::Assertion), Rejection::Inactive]
    {
        slots.write_refused(&known, &keys, &memory, &rejection, refused(10, 50));
        assert_eq!(read(at(9)), Some((format!("{rejection:?}"), at(10))));
        assert_eq!(read(at(10)), None);
        assert!(remembers(at(49)) && !remembers(at(50)), "longer than it is used");
    }
    let before = read(at(0));
    for rejection in [Rejection::Malformed(Malformed::Scheme), Rejection::Refused(Grant::Code)] {
        slots.write_refused(&known, &keys, &memory, &rejection, refused(20, 20));
        assert_eq!(read(at(0)), before, "only a definite no of authentik's is shared");
    }
    assert_eq!(memory.names().len(), 1);
}

#[test]
fn refusal_replaces_only_its_own_fresh_verdict() {
    let (memory, (slots, keys)) = (Memory::default(), slots(1, "demo"));
    let (good, guess) = (fingerprint(&keys, "good"), fingerprint(&keys, "guess"));
    let refuse = |fingerprint: &Fingerprint, now: u64| {
        let times = Times { fresh_until: at(now + 10), vouched: at(now), end: at(now + 10) };
        slots.write_refused(fingerprint, &keys, &memory, &Rejection::Refused(Grant::Password), times);
    };
    slots.write_vouched(&good, &keys, &memory, &verified("a.b.c"), at(60));
    refuse(&guess, 59);
    assert!(slots.read(&guess, &keys, &memory, at(59)).is_none());
    assert!(matches!(slots.read(&good, &keys, &memory, at(59)), Some((SharedVerdict::Vouched(_), _))));
    refuse(&guess, 60);
    assert!(matches!(slots.read(&guess, &keys, &memory, at(60)), Some((SharedVerdict::Refused(_), _))));
    slots.write_vouched(&good, &keys, &memory, &verified("a.b.c"), at(60));
    refuse(&good, 0);
    assert!(matches!(slots.read(&good, &keys, &memory, at(0)), Some((SharedVerdict::Refused(_), _))));
    // A good verdict takes any place.
    slots.write_vouched(&guess, &keys, &memory, &verified("a.b.c"), at(60));
    assert!(matches!(slots.read(&guess, &keys, &memory, at(0)), Some((SharedVerdict::Vouched(_), _))));
}

#[test]
fn shared_entry_with_any_changed_bit_is_a_miss() {
    let (_, keys) = slots(1, "demo");
    let (_, foreign_keys) = slots(1, "other");
    let (known, other) = (fingerprint(&keys, "a"), fingerprint(&keys, "b"));
    let claims = claims().to_string();
    let content = encode(VOUCHED, &known, refused(60, 100), b"a.b.c", claims.as_bytes());
    let sealed = |keys: &ProviderKeys, content: &[u8]| {
        let mac = mac::finish(keys.slot_mac(content));
        [content, &mac].concat()
    };
    let decoded = |entry: &[u8], keys: &ProviderKeys, fingerprint: &Fingerprint| {
        Entry::decode(entry, fingerprint, keys)?.verdict(at(0))
    };
    let good = sealed(&keys, &content);
    assert!(decoded(&good, &keys, &known).is_some());
    assert!(decoded(&good, &keys, &other).is_none(), "of another credential");
    assert!(decoded(&good, &foreign_keys, &known).is_none(), "of another provider");
    assert!(decoded(&sealed(&foreign_keys, &content), &keys, &known).is_none());
    for length in 0..good.len() {
        assert!(decoded(&good[..length], &keys, &known).is_none(), "cut at {length}");
    }
    // Ours, and of another version or kind.
    for (position, value) in [(0, VERSION - 1), (0, VERSION + 1), (1, 0), (1, ASSERTION_REFUSED + 1)] {
        let mut content = content.clone();
        content[position] = value;
        assert!(decoded(&sealed(&keys, &content), &keys, &known).is_none(), "{value} at {position}");
    }
}

#[test]
fn an_entry_has_at_most_16_kib() {
    let (memory, (slots, keys)) = (Memory::default(), slots(4_096, "demo"));
    let known = fingerprint(&keys, "a");
    let overhead = encode(VOUCHED, &known, refused(0, 0), b"", &verified("").claims_json().unwrap()).len();
    for (length, is_written) in [(16_384, true), (16_385, false), (40_000, false)] {
        let token = "t".repeat(length - overhead);
        slots.write_refused(&known, &keys, &memory, &Rejection::Refused(Grant::Password), refused(60, 60));
        slots.write_vouched(&known, &keys, &memory, &verified(&token), at(60));
        let (said, _) = told(slots.read(&known, &keys, &memory, at(0))).unwrap();
        assert_eq!(said == token, is_written, "{length} bytes");
    }
}

#[test]
fn all_configurations_share_the_names_of_as_many_slots_as_there_are() {
    let expected = [0, 1, 2].map(|slot| format!("authentik-proxy-wasm/2/verdict/{slot}"));
    for client_id in ["demo", "other"] {
        let (few, keys) = slots(3, client_id);
        let names: std::collections::BTreeSet<_> =
            (0..100).map(|number| few.name(&fingerprint(&keys, &number.to_string())).unwrap()).collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    }
    let (none, keys) = slots(0, "demo");
    assert_eq!(none.name(&fingerprint(&keys, "a")), None);
}
