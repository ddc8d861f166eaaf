//! Any bytes as a provider's key set.
//!
//! Input: the body of authentik's answer.
//!
//! Promised: HS256 holds only where the document has no signing key; a token of a key passes only if that key is in the
//! document; what is no key set is a fault and nobody's key; a set has at most so many keys as are looked at.

use std::sync::LazyLock;

use authentik_proxy_wasm::authn::jwt::jwk::KeySet;
use authentik_proxy_wasm::authn::reply::Decision;
use serde_json::{Value, json};

use super::Seen;
use super::authentik::{self, client_secret};
use super::worker::{Request, Worker, configuration, provider};
use fake_authentik::{Generation, Key};

/// What the corpus must come to see.
pub const MUST_SEE: &[&str] = &[
    "no key set",
    "client secret",
    "RS256 passes",
    "ES256 passes",
    "ES384 passes",
    "ES512 passes",
    "keys, none of them usable",
    "more keys than are looked at",
];

/// What the README says of keys that are looked at.
const MAX_KEYS: usize = 64;

/// A token for each key, and the key's part that must be in the document.
static TOKENS: LazyLock<Vec<(&'static str, String, String)>> = LazyLock::new(|| {
    let keys = [
        ("RS256 passes", Key::Rs256(Generation::A), "n"),
        ("ES256 passes", Key::Es256(Generation::A), "x"),
        ("ES384 passes", Key::Es384(Generation::A), "x"),
        ("ES512 passes", Key::Es512(Generation::A), "x"),
    ];
    let token = |(name, key, part): (&'static str, Key, &str)| {
        let header = json!({"alg": key.alg(), "kid": key.kid(), "typ": "JWT"}).to_string();
        let claims = authentik::claims("own", &json!({})).to_string();
        let part = key.jwk().unwrap()[part].as_str().unwrap().to_owned();
        (name, authentik::sign(header.as_bytes(), claims.as_bytes(), &key), part)
    };
    keys.into_iter().map(token).collect()
});

/// Runs the target on one input.
pub fn run(data: &[u8]) -> Seen {
    let mut seen = Seen::new();
    let parsed = KeySet::parse(data);
    let document: Option<Value> = serde_json::from_slice(data).ok().filter(Value::is_object);
    let count = match &parsed {
        None => {
            seen.insert("no key set");
            0
        }
        Some(KeySet::ClientSecret) => {
            assert!(has_no_signing_key(document.as_ref()), "a document with signing keys means HS256");
            seen.insert("client secret");
            0
        }
        Some(KeySet::Public(keys)) => {
            let entries =
                document.as_ref().and_then(|document| document["keys"].as_array()).map_or(0, Vec::len);
            assert!(keys.len() <= entries.min(MAX_KEYS), "{} keys of {entries}", keys.len());
            if entries > MAX_KEYS {
                seen.insert("more keys than are looked at");
            }
            if keys.is_empty() {
                seen.insert("keys, none of them usable");
            }
            keys.len()
        }
    };
    let mut worker = Worker::new(&configuration(&[provider("own", &json!({}))], &json!({})));
    let body = String::from_utf8_lossy(data);
    let answer = authentik_proxy_wasm::authn::authentik::call::Answer::Response {
        status: 200,
        retry_after: None,
        date: None,
        body: authentik_proxy_wasm::base::secret::Secret::new(data.to_vec()),
    };
    let mut try_token = |token: &str| {
        let request = Request::get(b"own.example.test", b"/")
            .with(b"authorization", format!("Bearer {token}").as_bytes());
        let decision = worker.ask(&request, &|_| answer.clone());
        if parsed.is_none() {
            let Decision::Reply(reply) = &decision else { panic!("passes without keys") };
            assert_eq!(reply.status, 503, "{}", reply.log.message);
        }
        matches!(decision, Decision::Forward(_))
    };
    let secret = Key::Secret(client_secret("own").into_bytes());
    let claims = authentik::claims("own", &json!({})).to_string();
    let of_secret = authentik::sign(br#"{"alg":"HS256"}"#, claims.as_bytes(), &secret);
    let passes = try_token(&of_secret);
    assert_eq!(passes, matches!(parsed, Some(KeySet::ClientSecret)), "HS256");
    // Signatures cost most of all: only where there is a key.
    for (name, token, part) in TOKENS.iter().filter(|_| count > 0) {
        let is_named = body.contains(part) || body.contains('\\');
        if try_token(token) {
            assert!(is_named, "a key that is not in the document");
            seen.insert(name);
        }
    }
    seen
}

/// No `keys`, or none but for encryption.
fn has_no_signing_key(document: Option<&Value>) -> bool {
    document.is_some_and(|document| match document.get("keys") {
        None => true,
        Some(keys) => keys.as_array().is_some_and(|keys| keys.iter().all(|key| key["use"] == "enc")),
    })
}
