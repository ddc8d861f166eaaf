//! Verdicts that all workers know: entries in Envoy's shared data.
//!
//! Owns: the fixed number of slots (shared data can never be deleted), the entry's format, and the distrust with
//! which one is read: shared data is open to every filter with the same `vm_id`, so an entry that is not ours to the
//! last bit is a miss. Must not: hold a credential; the token in an entry is authentik's answer to it.
//!
//! The names of the slots are not of one configuration, so that a new one takes no further room; the keys that
//! authenticate an entry are, so that it is nothing to another.
//!
//! Entry: version, kind, end of its freshness (8 bytes), when authentik vouched (8), its end (8), fingerprint (32), token
//! length (4), token, claims, HMAC (32).

use crate::authn::env::Host;
use crate::authn::fault::{Grant, Rejection};
use crate::authn::jwt::verifier::{self, VerifiedIdentity};
use crate::authn::provider::fingerprint::{Fingerprint, ProviderKeys};
use crate::base::mac;
use crate::base::time::Timestamp;
use crate::base::token::Token;
use crate::config::Config;

const VERSION: u8 = 3;
const VOUCHED: u8 = 1;
const REFUSED: u8 = 2;
const INACTIVE: u8 = 3;
const ASSERTION_REFUSED: u8 = 4;
const MAC_BYTES: usize = 32;

/// Longest entry that is written, in bytes: shared memory is bounded by this times the number of slots.
const MAX_ENTRY_BYTES: usize = 16 * 1024;

/// What an entry says.
pub(crate) enum SharedVerdict {
    Vouched(VerifiedIdentity),
    Refused(Rejection),
}

/// The slots.
pub(crate) struct Slots {
    count: u32,
}

/// How long an entry counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) fresh_until: Timestamp,
    pub(crate) vouched: Timestamp,
    /// Of a good verdict: the end of what it stands for. Of a refusal: until then no older good verdict goes on.
    pub(crate) end: Timestamp,
}

impl Slots {
    pub(crate) const fn new(config: &Config) -> Self {
        Self { count: config.cache.shared_slots }
    }

    /// The entry for this fingerprint, with the end of its freshness.
    pub(crate) fn read(
        &self,
        fingerprint: &Fingerprint,
        keys: &ProviderKeys,
        host: &dyn Host,
        now: Timestamp,
    ) -> Option<(SharedVerdict, Timestamp)> {
        let entry = host.shared(&self.name(fingerprint)?)?.value;
        let entry = Entry::decode(&entry, fingerprint, keys)?;
        if entry.times.fresh_until <= now {
            return None;
        }
        Some((entry.verdict(now)?, entry.times.fresh_until))
    }

    /// Whether some worker was told no so lately that no older good verdict may go on without authentik.
    pub(crate) fn remembers_refusal(
        &self,
        fingerprint: &Fingerprint,
        keys: &ProviderKeys,
        host: &dyn Host,
        now: Timestamp,
    ) -> bool {
        let shared = self.name(fingerprint).and_then(|name| host.shared(&name));
        shared.is_some_and(|shared| {
            let entry = Entry::decode(&shared.value, fingerprint, keys);
            entry.is_some_and(|entry| entry.kind != VOUCHED && entry.times.end > now)
        })
    }

    pub(crate) fn write_vouched(
        &self,
        fingerprint: &Fingerprint,
        keys: &ProviderKeys,
        host: &dyn Host,
        verified: &VerifiedIdentity,
        fresh_until: Timestamp,
    ) {
        let Some(claims) = verified.claims_json() else { return };
        let times = Times { fresh_until, vouched: verified.vouched(), end: verified.expires() };
        let content = encode(VOUCHED, fingerprint, times, verified.token().expose().as_bytes(), &claims);
        self.write(fingerprint, keys, host, content);
    }

    /// Only a definite no is shared: `invalid_grant` and `active: false`.
    pub(crate) fn write_refused(
        &self,
        fingerprint: &Fingerprint,
        keys: &ProviderKeys,
        host: &dyn Host,
        rejection: Rejection,
        times: Times,
    ) {
        let kind = match rejection {
            Rejection::Refused(Grant::Password) => REFUSED,
            Rejection::Refused(Grant::Assertion) => ASSERTION_REFUSED,
            Rejection::Inactive => INACTIVE,
            Rejection::Refused(Grant::Code)
            | Rejection::SessionEnded
            | Rejection::NoCredential
            | Rejection::Unusable(_)
            | Rejection::Token(_)
            | Rejection::Incomplete(_)
            | Rejection::LoginFailed(_)
            | Rejection::NotFound
            | Rejection::Throttled { .. }
            | Rejection::UnknownHost => return,
        };
        // Guesses, of which there is no end, take no good verdict's place.
        let is_taken = self
            .name(fingerprint)
            .and_then(|name| host.shared(&name))
            .is_some_and(|shared| is_fresh_and_of_another(&shared.value, fingerprint, times.vouched));
        if !is_taken {
            self.write(fingerprint, keys, host, encode(kind, fingerprint, times, b"", b""));
        }
    }

    fn write(&self, fingerprint: &Fingerprint, keys: &ProviderKeys, host: &dyn Host, mut content: Vec<u8>) {
        let Some(name) = self.name(fingerprint) else { return };
        if content.len() > MAX_ENTRY_BYTES {
            return;
        }
        let mac = mac::finish(keys.slot_mac(&content));
        content.extend_from_slice(&mac);
        host.share(&name, &content);
    }

    fn name(&self, fingerprint: &Fingerprint) -> Option<String> {
        let start = u32::from_be_bytes(*fingerprint.0.first_chunk()?);
        let slot = start.checked_rem(self.count)?;
        Some(format!("authentik-proxy-wasm/2/verdict/{slot}"))
    }
}

fn encode(kind: u8, fingerprint: &Fingerprint, times: Times, token: &[u8], claims: &[u8]) -> Vec<u8> {
    let token_length = u32::try_from(token.len()).unwrap_or(u32::MAX);
    let mut entry = vec![VERSION, kind];
    for time in [times.fresh_until, times.vouched, times.end] {
        entry.extend_from_slice(&time.seconds().to_be_bytes());
    }
    entry.extend_from_slice(&fingerprint.0);
    entry.extend_from_slice(&token_length.to_be_bytes());
    entry.extend_from_slice(token);
    entry.extend_from_slice(claims);
    entry
}

/// Whether this looks like a good verdict on another credential that is still fresh, whichever entry of `providers` it is
/// of: it is not authenticated, for a forged one only keeps a refusal from being shared.
fn is_fresh_and_of_another(entry: &[u8], fingerprint: &Fingerprint, now: Timestamp) -> bool {
    let parts = || {
        let ([version, kind], rest) = entry.split_first_chunk()?;
        let (fresh_until, rest) = rest.split_first_chunk()?;
        let (_times, rest) = rest.split_first_chunk::<16>()?;
        let (other, _) = rest.split_first_chunk()?;
        let fresh_until = Timestamp::from_seconds(u64::from_be_bytes(*fresh_until));
        Some(*version == VERSION && *kind == VOUCHED && fresh_until > now && *other != fingerprint.0)
    };
    parts().unwrap_or(false)
}

/// An entry that is ours, for this fingerprint.
struct Entry<'a> {
    kind: u8,
    times: Times,
    token_length: usize,
    /// Token and claims.
    rest: &'a [u8],
}

impl<'a> Entry<'a> {
    fn decode(entry: &'a [u8], expected: &Fingerprint, keys: &ProviderKeys) -> Option<Self> {
        let (content, mac) = entry.split_at_checked(entry.len().checked_sub(MAC_BYTES)?)?;
        if !mac::is_code(keys.slot_mac(content), mac) {
            return None;
        }
        let ([version, kind], mut rest) = content.split_first_chunk()?;
        let mut time = || {
            let (time, behind) = rest.split_first_chunk()?;
            rest = behind;
            Some(Timestamp::from_seconds(u64::from_be_bytes(*time)))
        };
        let times = Times { fresh_until: time()?, vouched: time()?, end: time()? };
        let (fingerprint, rest) = rest.split_first_chunk()?;
        let (token_length, rest) = rest.split_first_chunk()?;
        let token_length = usize::try_from(u32::from_be_bytes(*token_length)).ok()?;
        let is_ours = *version == VERSION && *fingerprint == expected.0;
        is_ours.then_some(Self { kind: *kind, times, token_length, rest })
    }

    fn verdict(&self, now: Timestamp) -> Option<SharedVerdict> {
        Some(match self.kind {
            VOUCHED => {
                let (token, claims) = self.rest.split_at_checked(self.token_length)?;
                let token = Token::new(core::str::from_utf8(token).ok()?.to_owned());
                let verified = verifier::restored(token, claims, self.times.vouched, now).ok()?;
                SharedVerdict::Vouched(verified.until(self.times.end))
            }
            REFUSED => SharedVerdict::Refused(Rejection::Refused(Grant::Password)),
            ASSERTION_REFUSED => SharedVerdict::Refused(Rejection::Refused(Grant::Assertion)),
            INACTIVE => SharedVerdict::Refused(Rejection::Inactive),
            _ => return None,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::authn::env::Shared;
    use crate::authn::request::credential::{BearerToken, Credential, Unusable};

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
        (Slots::new(&config), ProviderKeys::derive(&config, 0, &config.providers[0]).unwrap())
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
            slots.write_refused(&known, &keys, &memory, rejection, refused(10, 50));
            assert_eq!(read(at(9)), Some((format!("{rejection:?}"), at(10))));
            assert_eq!(read(at(10)), None);
            assert!(remembers(at(49)) && !remembers(at(50)), "longer than it is used");
        }
        let before = read(at(0));
        for rejection in [Rejection::Unusable(Unusable::Scheme), Rejection::Refused(Grant::Code)] {
            slots.write_refused(&known, &keys, &memory, rejection, refused(20, 20));
            assert_eq!(read(at(0)), before, "only a definite no of authentik's is shared");
        }
        assert_eq!(memory.names().len(), 1);
    }

    #[test]
    fn a_refusal_takes_no_fresh_good_verdict_s_place_but_its_own() {
        let (memory, (slots, keys)) = (Memory::default(), slots(1, "demo"));
        let (good, guess) = (fingerprint(&keys, "good"), fingerprint(&keys, "guess"));
        let refuse = |fingerprint: &Fingerprint, now: u64| {
            let times = Times { fresh_until: at(now + 10), vouched: at(now), end: at(now + 10) };
            slots.write_refused(fingerprint, &keys, &memory, Rejection::Refused(Grant::Password), times);
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
    fn an_entry_that_is_not_ours_to_the_last_bit_is_a_miss() {
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
        let overhead =
            encode(VOUCHED, &known, refused(0, 0), b"", &verified("").claims_json().unwrap()).len();
        for (length, is_written) in [(16_384, true), (16_385, false), (40_000, false)] {
            let token = "t".repeat(length - overhead);
            slots.write_refused(&known, &keys, &memory, Rejection::Refused(Grant::Password), refused(60, 60));
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
}
