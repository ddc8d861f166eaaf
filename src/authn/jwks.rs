//! A provider's key set (RFC 7517): from authentik's JSON to keys, and the choice of the one key for a token.
//!
//! Owns: what makes a key usable, and that the *key* says which algorithm it checks, never the token.
//! `jku`, `x5u`, `jwk` and `x5c` of a token are never looked at: keys come from the configured provider only.
//! Must not: fetch anything, or fall back to HS256 because a key is broken.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::signature::{Algorithm, PublicKey};

/// Most entries of a key set that are looked at.
const MAX_KEYS: usize = 64;

/// What a provider's tokens are signed with.
#[derive(Debug, Clone)]
pub enum KeySet {
    /// No signing key: HS256 with the client secret, and nothing else (authentik answers `{}`).
    ClientSecret,
    /// These keys, and nothing else. May be empty: then there were signing keys and none was usable.
    Public(Vec<Key>),
}

/// One usable signing key.
#[derive(Debug, Clone)]
pub struct Key {
    id: Option<String>,
    public: PublicKey,
}

/// How a token is to be checked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Choice<'a> {
    /// HMAC with SHA-256, key: the client secret.
    ClientSecret,
    /// The algorithm of this key.
    Key(&'a PublicKey),
}

/// Why there is no way to check a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoChoice {
    /// The token's algorithm is not the one that the keys have.
    Algorithm,
    /// No key has this `kid`, or without a `kid` there is not exactly one. A refetch may help.
    Key,
}

#[derive(Deserialize)]
struct RawKey<'a> {
    #[serde(borrow)]
    kty: Option<&'a str>,
    #[serde(borrow, rename = "use")]
    usage: Option<&'a str>,
    #[serde(borrow)]
    alg: Option<&'a str>,
    kid: Option<String>,
    #[serde(borrow)]
    crv: Option<&'a str>,
    #[serde(borrow)]
    n: Option<&'a str>,
    #[serde(borrow)]
    e: Option<&'a str>,
    #[serde(borrow)]
    x: Option<&'a str>,
    #[serde(borrow)]
    y: Option<&'a str>,
}

impl KeySet {
    /// Reads authentik's answer. `None`: it is no key set.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let document: serde_json::Map<String, Value> = serde_json::from_slice(body).ok()?;
        let entries = match document.get("keys") {
            None => return Some(Self::ClientSecret),
            Some(keys) => keys.as_array()?,
        };
        let mut keys = Vec::new();
        let mut has_signing_key = entries.len() > MAX_KEYS;
        for entry in entries.iter().take(MAX_KEYS) {
            if entry.get("use").and_then(Value::as_str) == Some("enc") {
                continue;
            }
            has_signing_key = true;
            keys.extend(RawKey::deserialize(entry).ok().as_ref().and_then(Key::read));
        }
        Some(if has_signing_key { Self::Public(keys) } else { Self::ClientSecret })
    }

    /// The check for a token with this header (RFC 7515 §4.1.1, §4.1.4).
    pub(super) fn choose(&self, kid: Option<&str>, alg: &str) -> Result<Choice<'_>, NoChoice> {
        let keys = match self {
            Self::ClientSecret if alg == "HS256" => return Ok(Choice::ClientSecret),
            Self::ClientSecret => return Err(NoChoice::Algorithm),
            Self::Public(keys) => keys,
        };
        let algorithm = Algorithm::from_name(alg).ok_or(NoChoice::Algorithm)?;
        let mut candidates = keys.iter().filter(|key| kid.is_none() || key.id.as_deref() == kid).peekable();
        if kid.is_some() && candidates.peek().is_none() {
            return Err(NoChoice::Key);
        }
        let mut fitting = candidates.filter(|key| key.public.algorithm() == algorithm);
        match (fitting.next(), fitting.next(), kid) {
            (Some(key), None, _) => Ok(Choice::Key(&key.public)),
            (None, _, Some(_)) => Err(NoChoice::Algorithm),
            (None, _, None) | (Some(_), Some(_), _) => Err(NoChoice::Key),
        }
    }
}

impl Key {
    fn read(raw: &RawKey<'_>) -> Option<Self> {
        if raw.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let public = match (raw.kty?, raw.crv) {
            ("RSA", _) => PublicKey::rsa(&decode(raw.n?)?, &decode(raw.e?)?)?,
            ("EC", Some("P-256")) => elliptic(Algorithm::Es256, 32, raw)?,
            ("EC", Some("P-384")) => elliptic(Algorithm::Es384, 48, raw)?,
            ("EC", Some("P-521")) => elliptic(Algorithm::Es512, 66, raw)?,
            _ => return None,
        };
        // An `alg` that is not the key's own (PS256, RS512, …) makes the key one that we do not support.
        let is_own = raw.alg.is_none_or(|alg| alg == public.algorithm().name());
        is_own.then(|| Self { id: raw.kid.clone(), public })
    }
}

/// RFC 7518 §6.2.1.2: both coordinates have the full length of the field.
fn elliptic(algorithm: Algorithm, field_bytes: usize, raw: &RawKey<'_>) -> Option<PublicKey> {
    let (x, y) = (decode(raw.x?)?, decode(raw.y?)?);
    if x.len() != field_bytes || y.len() != field_bytes {
        return None;
    }
    let uncompressed_point = [&[4][..], &x, &y].concat();
    PublicKey::elliptic(algorithm, &uncompressed_point)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}
