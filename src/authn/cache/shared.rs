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

    /// Whether a worker has seen a refusal so recently that no stale verdict may be used.
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
        rejection: &Rejection,
        times: Times,
    ) {
        let kind = match rejection {
            Rejection::Refused(Grant::Password) => REFUSED,
            Rejection::Refused(Grant::Assertion) => ASSERTION_REFUSED,
            Rejection::Inactive => INACTIVE,
            Rejection::Refused(Grant::Code)
            | Rejection::SessionEnded(_)
            | Rejection::NoCredential
            | Rejection::Malformed(_)
            | Rejection::Token(_)
            | Rejection::Incomplete(_)
            | Rejection::LoginFailed(_)
            | Rejection::NotFound
            | Rejection::Throttled { .. }
            | Rejection::Logout(_)
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
pub(crate) mod tests;
