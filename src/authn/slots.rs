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
        let content = encode(VOUCHED, fingerprint, times, verified.token().as_bytes(), &claims);
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
            SharedVerdict::Vouched(verifier::restored(token, claims, vouched, now).ok()?)
        }
        REFUSED => SharedVerdict::Refused(Rejection::Refused),
        INACTIVE => SharedVerdict::Refused(Rejection::Inactive),
        _ => return None,
    };
    Some((verdict, fresh_until))
}
