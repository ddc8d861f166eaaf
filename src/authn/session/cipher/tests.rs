use core::cell::Cell;

use serde_json::{Value, json};

use super::*;
use crate::authn::env::Shared;
use crate::authn::request::credential::{AuthorizationCode, BearerToken};
use crate::base::secret::Secret;
use crate::base::token::Token;
use crate::config::Config;

const PURPOSES: [Purpose; 3] = [Purpose::Session, Purpose::Login, Purpose::State];

/// Randomness that counts, as long as there is some.
pub(crate) struct Counter(Cell<Option<u8>>);

impl Counter {
    pub(crate) fn new() -> Self {
        Self(Cell::new(Some(0)))
    }
}

impl Host for Counter {
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
    fn random(&self, bytes: &mut [u8]) -> bool {
        let Some(count) = self.0.get() else { return false };
        bytes.fill(count);
        self.0.set(Some(count + 1));
        true
    }
    fn source_address(&self) -> Option<String> {
        None
    }
}

/// The keys of a provider that differs from others in these two only.
fn keys_of(client_id: &str, issuer: &str) -> SealingKeys {
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
        "providers": [{
            "assigned_application_slug": "demo",
            "client_id": client_id,
            "client_secret": "s",
            "cookie_secret": "0123456789abcdef0123456789abcdef",
            "external_host": "https://app.example.test",
            "oidc_configuration": {"issuer": issuer},
        }],
    });
    let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
    SealingKeys::derive(&config.providers[0]).unwrap()
}

/// With the same text in each, put together in another way.
fn providers() -> [SealingKeys; 4] {
    [("a", "bc"), ("ab", "c"), ("bc", "a"), ("a", "bd")].map(|(client_id, issuer)| keys_of(client_id, issuer))
}

fn basic(username: &str, password: &str) -> Credential<'static> {
    Credential::Basic { username: username.to_owned(), password: Secret::new(password.to_owned()) }
}

fn token(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

#[test]
fn sealed_value_opens_only_for_its_purpose() {
    let keys = keys_of("a", "bc");
    for sealed_for in PURPOSES {
        let sealed = keys.seal(sealed_for, b"content", &Counter::new()).unwrap();
        for opened_for in PURPOSES {
            let content = keys.open(opened_for, sealed.as_bytes());
            let expected = (opened_for == sealed_for).then(|| b"content".to_vec());
            assert_eq!(content, expected, "{sealed_for:?} as {opened_for:?}");
        }
    }
}

#[test]
fn sealed_value_opens_only_at_its_provider() {
    let providers = providers();
    for (sealer, keys) in providers.iter().enumerate() {
        let sealed = keys.seal(Purpose::Session, b"content", &Counter::new()).unwrap();
        for (opener, keys) in providers.iter().enumerate() {
            let is_open = keys.open(Purpose::Session, sealed.as_bytes()).is_some();
            assert_eq!(is_open, opener == sealer, "provider {sealer}'s at {opener}");
        }
    }
}

/// A provider whose settings change in authentik keeps its sessions, or loses them: `docs/outpost.md`.
#[test]
fn session_outlives_a_change_of_all_but_what_the_provider_answers_for_and_is_sealed_with() {
    let keys = |name: &str, value: Value| {
        let mut provider = json!({
            "assigned_application_slug": "demo", "client_id": "a", "client_secret": "s",
            "cookie_secret": "0123456789abcdef0123456789abcdef", "external_host": "https://app.example.test",
        });
        provider[name] = value;
        let configuration = json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.test"}, "providers": [provider],
        });
        let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
        SealingKeys::derive(&config.providers[0]).unwrap()
    };
    let sealed = keys("pk", json!(1)).seal(Purpose::Session, b"content", &Counter::new()).unwrap();
    for (name, value, outlives) in [
        ("client_secret", json!("another"), true),
        ("name", json!("Demo"), true),
        ("skip_path_regex", json!("^/a"), true),
        ("intercept_header_auth", json!(false), true),
        ("basic_auth_enabled", json!(true), true),
        ("scopes_to_request", json!(["openid"]), true),
        ("access_token_validity", json!(60), true),
        ("client_id", json!("b"), false),
        ("external_host", json!("https://other.example.test"), false),
        ("mode", json!("proxy"), false),
        ("cookie_domain", json!("example.test"), false),
        ("cookie_secret", json!("another-cookie-secret-0123456789abcdef"), false),
    ] {
        let opened = keys(name, value).open(Purpose::Session, sealed.as_bytes());
        assert_eq!(opened.is_some(), outlives, "{name}");
    }
}

#[test]
fn every_sealed_value_has_its_own_nonce() {
    let (keys, counter) = (keys_of("a", "bc"), Counter::new());
    for count in 0..3 {
        let sealed = keys.seal(Purpose::Session, b"content", &counter).unwrap();
        let nonce = BASE64_URL_SAFE_NO_PAD.encode([count; NONCE_BYTES]);
        assert!(sealed.starts_with(&nonce), "{sealed}");
    }
    assert_eq!(keys.seal(Purpose::Session, b"content", &Counter(Cell::new(None))), None);
}

#[test]
fn no_two_credentials_have_one_fingerprint() {
    let code = |code: &str| {
        Credential::Code(AuthorizationCode { code: token(code), verifier: token(""), nonce: String::new() })
    };
    let credentials = [
        basic("alice", "pass"),
        basic("alicep", "ass"),
        basic("alicepass", ""),
        basic("Alice", "pass"),
        Credential::Bearer(BearerToken::InHeader("alicepass")),
        Credential::Bearer(BearerToken::Kept(Token::new("alice".to_owned()))),
        code("alicepass"),
    ];
    let mut seen = Vec::new();
    for keys in providers() {
        for credential in &credentials {
            let fingerprint = keys.fingerprint(credential);
            assert_eq!(fingerprint, keys.fingerprint(&credential.clone()), "it stands for the credential");
            assert!(!seen.contains(&fingerprint), "{credential:?}");
            seen.push(fingerprint);
        }
    }
    let of_session = Credential::Session(Token::new("alice".to_owned()));
    assert_eq!(
        keys_of("a", "bc").fingerprint(&of_session),
        keys_of("a", "bc").fingerprint(&credentials[5]),
        "the token of a session is the token"
    );
}
