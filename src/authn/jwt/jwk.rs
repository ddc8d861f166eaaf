//! A provider's key set (RFC 7517): from authentik's JSON to keys, and the choice of the one key for a token.
//!
//! Owns: what makes a key usable, and that the *key* says which algorithm it checks, never the token.
//! `jku`, `x5u`, `jwk` and `x5c` of a token are never looked at: keys come from the configured provider only.
//! Must not: fetch anything, or fall back to HS256 because a key is broken.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::authn::jwt::algorithm::{Algorithm, PublicKey};

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
pub(crate) enum Choice<'a> {
    /// HMAC with SHA-256, key: the client secret.
    ClientSecret,
    /// The algorithm of this key.
    Key(&'a PublicKey),
}

/// Why there is no way to check a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoChoice {
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
            // authentik's answer for a provider without a key; any other object is no key set (RFC 7517 §5).
            None => return document.is_empty().then_some(Self::ClientSecret),
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

    /// Whether tokens of this algorithm (RFC 7518 §3.1) can be checked with it.
    pub(crate) fn signs(&self, alg: &str) -> bool {
        match self {
            Self::ClientSecret => alg == "HS256",
            Self::Public(keys) => keys.iter().any(|key| key.public.algorithm().name() == alg),
        }
    }

    /// The check for a token with this header (RFC 7515 §4.1.1, §4.1.4).
    pub(crate) fn choose(&self, kid: Option<&str>, alg: &str) -> Result<Choice<'_>, NoChoice> {
        let (keys, algorithm) = match (self, Algorithm::from_name(alg)) {
            (Self::ClientSecret, _) if alg == "HS256" => return Ok(Choice::ClientSecret),
            // The provider may have been given a key, or have lost it, since the keys were fetched.
            (Self::ClientSecret, Some(_)) => return Err(NoChoice::Key),
            (Self::Public(_), None) if alg == "HS256" && kid.is_none() => return Err(NoChoice::Key),
            (_, None) => return Err(NoChoice::Algorithm),
            (Self::Public(keys), Some(algorithm)) => (keys, algorithm),
        };
        let mut candidates = keys.iter().filter(|key| kid.is_none() || key.id.as_deref() == kid).peekable();
        if kid.is_some() && candidates.peek().is_none() {
            return Err(NoChoice::Key);
        }
        let mut fitting = candidates.filter(|key| key.public.algorithm() == algorithm);
        match (fitting.next(), fitting.next(), kid) {
            (Some(key), None, _) => Ok(Choice::Key(&key.public)),
            (None, _, Some(_)) => Err(NoChoice::Algorithm),
            // No key, or several that nothing distinguishes.
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
            ("EC", Some("P-256")) => elliptic(Algorithm::Es256, raw)?,
            ("EC", Some("P-384")) => elliptic(Algorithm::Es384, raw)?,
            ("EC", Some("P-521")) => elliptic(Algorithm::Es512, raw)?,
            _ => return None,
        };
        // An `alg` that is not the key's own (PS256, RS512, …) makes the key one that we do not support.
        let is_own = raw.alg.is_none_or(|alg| alg == public.algorithm().name());
        is_own.then(|| Self { id: raw.kid.clone(), public })
    }
}

fn elliptic(algorithm: Algorithm, raw: &RawKey<'_>) -> Option<PublicKey> {
    PublicKey::elliptic(algorithm, &decode(raw.x?)?, &decode(raw.y?)?)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RECORDED_ES: &str = include_str!("../../../tests/data/transcripts/1-jwks-es.txt");
    const RECORDED_JWE: &str = include_str!("../../../tests/data/transcripts/1-jwks-rs-jwe.txt");

    fn recorded(transcript: &str) -> Value {
        let response = transcript.split("<<< RESPONSE").nth(1).unwrap();
        serde_json::from_str(response.split("\n\n").nth(1).unwrap()).unwrap()
    }

    fn keys(document: &Value) -> Option<String> {
        KeySet::parse(document.to_string().as_bytes()).map(|keys| match keys {
            KeySet::ClientSecret => "secret".to_owned(),
            KeySet::Public(keys) => {
                keys.iter().map(|key| key.public.algorithm().name()).collect::<Vec<_>>().join(",")
            }
        })
    }

    #[test]
    fn no_signing_key_means_the_client_secret_and_an_unusable_one_never_does() {
        let es = recorded(RECORDED_ES)["keys"][0].clone();
        let with = |changes: Value| {
            let mut key = es.clone();
            for (name, value) in changes.as_object().unwrap() {
                key[name] = value.clone();
            }
            json!({"keys": [key]})
        };
        for (document, expected) in [
            (json!({}), Some("secret")),
            (json!({"keys": []}), Some("secret")),
            (with(json!({"use": "enc"})), Some("secret")),
            (with(json!({})), Some("ES256")),
            (with(json!({"use": null, "alg": null})), Some("ES256")),
            (recorded(RECORDED_JWE), Some("RS256")),
            (with(json!({"alg": "ES384"})), Some("")),
            (with(json!({"crv": "P-384"})), Some("")),
            (with(json!({"crv": "secp256k1"})), Some("")),
            (with(json!({"kty": "OKP"})), Some("")),
            (with(json!({"kty": "oct"})), Some("")),
            (with(json!({"use": "other"})), Some("")),
            (with(json!({"x": "AA"})), Some("")),
            (with(json!({"x": "!"})), Some("")),
            // Whether it is on its curve is the host's to say, signature by signature.
            (with(json!({"y": es["x"]})), Some("ES256")),
            (json!({"keys": [7, null, {}, [], "x"]}), Some("")),
            (json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}), Some("")),
            (json!({"keys": {}}), None),
            (json!({"error": "login required"}), None),
            (json!({"status": "ok", "redirect": "https://portal.example.test/"}), None),
            (json!({"keys": "x"}), None),
            (json!([]), None),
            (json!("x"), None),
        ] {
            assert_eq!(keys(&document).as_deref(), expected, "{document}");
        }
        assert!(KeySet::parse(b"").is_none());
        assert!(KeySet::parse(b"<html>").is_none());
    }

    #[test]
    fn key_set_with_too_many_entries_never_means_hs256() {
        let set_of = |count: usize| json!({"keys": vec![json!({"use": "enc"}); count]});
        assert_eq!(keys(&set_of(MAX_KEYS)).as_deref(), Some("secret"));
        for count in [MAX_KEYS + 1, MAX_KEYS + 2] {
            assert_eq!(keys(&set_of(count)).as_deref(), Some(""), "{count}");
        }
    }

    #[test]
    fn foreign_and_broken_keys_do_not_hide_a_good_one() {
        let mut document = recorded(RECORDED_ES);
        let list = document["keys"].as_array_mut().unwrap();
        list.insert(0, json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "ed"}));
        list.insert(0, json!("nonsense"));
        assert_eq!(keys(&document).as_deref(), Some("ES256"));
    }

    #[test]
    fn the_key_decides_the_algorithm() {
        let keys = KeySet::parse(recorded(RECORDED_ES).to_string().as_bytes()).unwrap();
        let KeySet::Public(list) = &keys else { panic!("public keys") };
        let kid = list[0].id.clone().unwrap();
        let chosen = |keys: &KeySet, kid: Option<&str>, alg: &str| {
            keys.choose(kid, alg).map(|choice| matches!(choice, Choice::Key(_)))
        };
        assert_eq!(chosen(&keys, Some(&kid), "ES256"), Ok(true));
        assert_eq!(chosen(&keys, None, "ES256"), Ok(true), "no kid: the one key of that algorithm");
        assert_eq!(chosen(&keys, Some("other"), "ES256"), Err(NoChoice::Key));
        for alg in ["ES384", "RS256", "PS256", "none", "None", ""] {
            assert_eq!(chosen(&keys, Some(&kid), alg), Err(NoChoice::Algorithm), "{alg}");
        }
        assert_eq!(
            chosen(&keys, Some(&kid), "HS256"),
            Err(NoChoice::Algorithm),
            "it names a key that is here"
        );
        assert_eq!(chosen(&keys, None, "none"), Err(NoChoice::Algorithm), "no refetch for that");
        let twice = KeySet::Public(vec![list[0].clone(), list[0].clone()]);
        assert_eq!(chosen(&twice, None, "ES256"), Err(NoChoice::Key), "no kid and two keys");
        assert_eq!(chosen(&KeySet::ClientSecret, None, "HS256"), Ok(false));
        for alg in ["HS384", "none", "hs256"] {
            assert!(chosen(&KeySet::ClientSecret, None, alg).is_err(), "{alg}");
        }
        // The provider may have got a key, or lost it, since the keys were fetched: worth a refetch.
        assert_eq!(chosen(&KeySet::ClientSecret, Some(&kid), "ES256"), Err(NoChoice::Key));
        assert_eq!(chosen(&keys, None, "HS256"), Err(NoChoice::Key));
    }
}
