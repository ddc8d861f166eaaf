//! Tokens that a real authentik issued, and what is wrong with others.

use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jwt_compact::AlgorithmExt as _;
use serde_json::{Value, json};

use super::*;
use crate::authn::cache::shared::tests::Memory;
use crate::authn::env::Host;
use crate::authn::identity::Identity;
use crate::authn::jwt::algorithm::tests::CheckingHost;

/// What a real authentik issued, and the key set that it published.
const RECORDED: [(&str, &str, &str); 6] = [
    (
        "demo",
        include_str!("../../../../tests/data/transcripts/2-token-cc-demo-good.txt"),
        include_str!("../../../../tests/data/transcripts/1-jwks-demo.txt"),
    ),
    (
        "hs",
        include_str!("../../../../tests/data/transcripts/2-token-cc-hs-good.txt"),
        include_str!("../../../../tests/data/transcripts/1-jwks-hs.txt"),
    ),
    (
        "rs",
        include_str!("../../../../tests/data/transcripts/2-token-cc-rs-good.txt"),
        include_str!("../../../../tests/data/transcripts/1-jwks-rs.txt"),
    ),
    (
        "es",
        include_str!("../../../../tests/data/transcripts/2-token-cc-es-good.txt"),
        include_str!("../../../../tests/data/transcripts/1-jwks-es.txt"),
    ),
    (
        "es384",
        include_str!("../../../../tests/data/transcripts/2-token-cc-es384-good.txt"),
        include_str!("../../../../tests/data/transcripts/1-jwks-es384.txt"),
    ),
    (
        "es512",
        include_str!("../../../../tests/data/transcripts/2-token-cc-es512-good.txt"),
        include_str!("../../../../tests/data/transcripts/1-jwks-es512.txt"),
    ),
];

fn body(transcript: &str) -> Value {
    let response = transcript.split("<<< RESPONSE").nth(1).unwrap();
    let body = response.split("\n\n").nth(1).unwrap();
    serde_json::from_str(body.split("\n=== ").next().unwrap()).unwrap()
}

fn config(slug: &str) -> Config {
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": "http://127.0.0.1:9010"},
        "session": {"enabled": false},
        "providers": [{
            "assigned_application_slug": slug, "client_id": format!("{slug}-client-id"),
            "client_secret": format!("{slug}-client-secret-0123456789abcdef0123456789abcdef"),
            "external_host": "http://app.localtest",
        }],
    });
    Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
}

#[expect(clippy::panic_in_result_fn, reason = "another host than was asked for is a fault of the test")]
fn try_verify(slug: &str, token: &str, keys: &KeySet, now: u64) -> Result<String, TokenRejection> {
    verify_on(&CheckingHost, slug, token, keys, now).map_err(|error| match error {
        NotVerified::Rejected(rejection) => rejection,
        NotVerified::Uncheckable => panic!("this host checks signatures by every key"),
    })
}

/// Whose token it is.
fn verify_on(
    host: &dyn Host,
    slug: &str,
    token: &str,
    keys: &KeySet,
    now: u64,
) -> Result<String, NotVerified> {
    let config = config(slug);
    let env = Env { now: Timestamp::from_seconds(now), host };
    let verified = verify(&Token::new(token.to_owned()), keys, &config.providers[0], &config, &env)?;
    Ok(verified.claims().preferred_username.clone().unwrap())
}

/// Token, keys and a moment at which the token is good.
fn recorded(index: usize) -> (&'static str, String, KeySet, u64) {
    let (slug, token, keys) = RECORDED[index];
    let token = body(token)["access_token"].as_str().unwrap().to_owned();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let issued = serde_json::from_slice::<Value>(&payload).unwrap()["iat"].as_u64().unwrap();
    (slug, token, KeySet::parse(body(keys).to_string().as_bytes()).unwrap(), issued + 1)
}

#[test]
fn tokens_of_a_real_authentik_verify_with_its_keys() {
    for index in 0..RECORDED.len() {
        let (slug, token, keys, now) = recorded(index);
        assert_eq!(try_verify(slug, &token, &keys, now).as_deref(), Ok("alice"), "{slug}");
        assert_eq!(try_verify(slug, &token, &keys, now + 3600), Err(TokenRejection::Expired), "{slug}");
        assert_eq!(try_verify(slug, &token, &keys, now - 120), Err(TokenRejection::IssuedInFuture), "{slug}");
    }
}

/// In tests RS256 and ES256 are checked without a host; HS256 always is.
#[test]
fn a_signature_that_nobody_can_check_is_neither_good_nor_bad() {
    let host = Memory::default();
    for index in 0..RECORDED.len() {
        let (slug, token, keys, now) = recorded(index);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(vec![1; signature.len() / 4 * 3]));
        let became = |token: &str, now| verify_on(&host, slug, token, &keys, now);
        if matches!(slug, "es384" | "es512") {
            assert_eq!(became(&token, now), Err(NotVerified::Uncheckable), "{slug}");
            assert_eq!(became(&forged, now), Err(NotVerified::Uncheckable), "{slug}");
        } else {
            assert_eq!(became(&token, now).as_deref(), Ok("alice"), "{slug}");
            assert_eq!(became(&forged, now), Err(TokenRejection::Signature.into()), "{slug}");
        }
        let expired = Err(TokenRejection::Expired.into());
        assert_eq!(became(&token, now + 3600), expired, "{slug}: what it claims is looked at first");
    }
}

/// A host that is asked shows it.
#[test]
fn what_is_wrong_by_its_claims_costs_no_cryptography() {
    struct NeverAsked;
    impl Host for NeverAsked {
        fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            panic!("nothing is to be checked");
        }
        fn shared(&self, _: &str) -> Option<crate::authn::env::Shared> {
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
    for index in 2..RECORDED.len() {
        let (slug, token, keys, now) = recorded(index);
        let became = |slug, now| verify_on(&NeverAsked, slug, &token, &keys, now);
        assert_eq!(became("demo", now), Err(TokenRejection::Issuer.into()), "{slug}");
        assert_eq!(became(slug, now + 3600), Err(TokenRejection::Expired.into()), "{slug}");
        assert_eq!(became(slug, now - 120), Err(TokenRejection::IssuedInFuture.into()), "{slug}");
        let none = KeySet::Public(Vec::new());
        let keyless = verify_on(&NeverAsked, slug, &token, &none, now);
        assert_eq!(keyless, Err(TokenRejection::UnknownKey.into()), "{slug}");
    }
}

#[test]
fn no_token_verifies_with_the_keys_or_for_the_provider_of_another() {
    for one in 0..RECORDED.len() {
        for other in (0..RECORDED.len()).filter(|other| *other != one) {
            let (slug, token, keys, now) = recorded(one);
            let (other_slug, _, other_keys, _) = recorded(other);
            assert_eq!(try_verify(other_slug, &token, &other_keys, now), Err(TokenRejection::Issuer));
            assert_eq!(try_verify(other_slug, &token, &keys, now), Err(TokenRejection::Issuer));
            // Two providers without a signing key have the same (empty) key set.
            if !matches!((&keys, &other_keys), (KeySet::ClientSecret, KeySet::ClientSecret)) {
                assert!(
                    try_verify(slug, &token, &other_keys, now).is_err(),
                    "{slug} with keys of {other_slug}"
                );
            }
        }
    }
}

#[test]
fn a_token_with_any_character_changed_does_not_verify() {
    for index in 0..RECORDED.len() {
        let (slug, token, keys, now) = recorded(index);
        // Every 23rd: elliptic curves in a debug build are slow.
        for position in (0..token.len()).step_by(23) {
            let mut altered = token.clone().into_bytes();
            altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(try_verify(slug, &altered, &keys, now).is_err(), "{slug} at {position}");
        }
    }
}

#[test]
fn a_token_that_is_cut_anywhere_does_not_verify() {
    let (slug, token, keys, now) = recorded(0);
    for length in 0..token.len() {
        assert!(try_verify(slug, &token[..length], &keys, now).is_err(), "cut at {length}");
    }
}

/// What becomes of a token with these claims beside the good ones; `null` takes one away. Now it is 1,000,000.
#[expect(clippy::unwrap_in_result, reason = "what cannot be signed is a fault of the test")]
fn claiming(changes: &Value) -> Result<String, TokenRejection> {
    let mut claims = json!({
        "iss": "http://127.0.0.1:9010/application/o/hs/", "aud": "hs-client-id", "exp": 2_000_000,
        "preferred_username": "alice",
    });
    let fields = claims.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    fields.retain(|_, value| !value.is_null());
    let key = Hs256Key::new(config("hs").providers[0].client_secret.expose());
    let token = Hs256.token(&jwt_compact::Header::empty(), &jwt_compact::Claims::new(claims), &key).unwrap();
    try_verify("hs", &token, &KeySet::ClientSecret, 1_000_000)
}

#[test]
fn exp_has_no_grace_and_nbf_and_iat_have_one_minute() {
    for (changes, expected) in [
        (json!({"exp": 1_000_001}), None),
        (json!({"exp": 1_000_000}), Some(TokenRejection::Expired)),
        (json!({"exp": -1}), Some(TokenRejection::Expired)),
        (json!({"exp": null}), Some(TokenRejection::NoExpiry)),
        (json!({"nbf": 999_999}), None),
        (json!({"nbf": 1_000_060}), None),
        (json!({"nbf": 1_000_061}), Some(TokenRejection::NotYetValid)),
        (json!({"iat": 999_999}), None),
        (json!({"iat": 1_000_060}), None),
        (json!({"iat": 1_000_061}), Some(TokenRejection::IssuedInFuture)),
    ] {
        assert_eq!(claiming(&changes).err(), expected, "{changes}");
    }
}

#[test]
fn claims_of_wrong_types_are_not_a_signature_failure() {
    for changes in [json!({"groups": "staff"}), json!({"preferred_username": 7}), json!({"aud": {}})] {
        assert_eq!(claiming(&changes), Err(TokenRejection::Claims), "{changes}");
    }
}

#[test]
fn only_a_jws_that_names_another_issuer_is_issued_elsewhere() {
    let (_, token, _, _) = recorded(0);
    let own = "http://127.0.0.1:9010/application/o/demo/";
    assert!(is_issued_elsewhere(&token, "https://elsewhere.test/"));
    assert!(!is_issued_elsewhere(&token, own));
    let encrypted = format!("{token}.x.y");
    for other in [encrypted.as_str(), "opaque", "e30.e30.e30", "a.b.c", ""] {
        assert!(!is_issued_elsewhere(other, "https://elsewhere.test/"), "{other}");
    }
}

#[test]
fn token_of_this_authentik_is_recognised_by_issuer() {
    let (_, token, _, _) = recorded(0);
    let none = || core::iter::empty::<&str>();
    assert!(is_issued_here("http://127.0.0.1:9010", none(), &token));
    assert!(
        is_issued_here("https://127.0.0.1:9010", none(), &token),
        "behind a proxy it may mistake its scheme"
    );
    assert!(is_issued_here("http://127.0.0.1:9010/application", none(), &token));
    for base in ["http://127.0.0.1:901", "http://127.0.0.1:9010/app", "http://127.0.0.1"] {
        assert!(!is_issued_here(base, none(), &token), "{base}: an issuer is not matched by prefix");
    }
    let issuer = "http://127.0.0.1:9010/application/o/demo/";
    let issuers = ["https://elsewhere.test/", issuer];
    assert!(is_issued_here("https://auth.test", issuers.into_iter(), &token), "a configured issuer");
    assert!(!is_issued_here("https://auth.test", issuers[..1].iter().copied(), &token));
    for other in ["", "a.b.c", "opaque", "..", "e30.e30.e30"] {
        assert!(!is_issued_here("http://127.0.0.1:9010", issuers.into_iter(), other), "{other}");
    }
}

#[test]
fn an_introspected_token_is_of_this_client_unless_the_provider_federates() {
    let mut config = config("demo");
    let env = Env { now: Timestamp::from_seconds(100), host: &CheckingHost };
    for (recipient, is_ours) in [
        (json!({"client_id": "demo-client-id", "aud": "demo-client-id"}), true),
        (json!({"aud": "demo-client-id"}), true),
        (json!({"aud": ["other", "demo-client-id"]}), true),
        (json!({"client_id": "demo-client-id"}), true),
        (json!({"client_id": "other", "aud": "other"}), false),
        (json!({"client_id": "", "aud": []}), false),
        (json!({}), false),
    ] {
        let mut body = json!({"active": true, "sub": "1", "preferred_username": "alice", "exp": 200});
        body.as_object_mut().unwrap().extend(recipient.as_object().unwrap().clone());
        for federates in [false, true] {
            Rc::get_mut(&mut config.providers[0]).unwrap().federated_bearer = federates;
            let (token, body) = (Token::new("opaque".to_owned()), body.to_string());
            let verified = introspected(&token, body.as_bytes(), &config.providers[0], &config, &env);
            assert_eq!(verified.is_ok(), is_ours || federates, "{body}, federates: {federates}");
            let refused = matches!(verified, Err(TokenRejection::Audience));
            assert_eq!(refused, !is_ours && !federates, "{body}");
        }
    }
}

#[test]
fn introspected_claims_count_towards_the_cache_bound() {
    let config = config("demo");
    let body = json!({
        "active": true, "client_id": "demo-client-id", "sub": "1", "preferred_username": "alice", "exp": 200,
        "ak_proxy": {"user_attributes": {"picture": "x".repeat(100_000)}},
    });
    let env = Env { now: Timestamp::from_seconds(100), host: &CheckingHost };
    let (token, body) = (Token::new("opaque".to_owned()), body.to_string());
    let verified = introspected(&token, body.as_bytes(), &config.providers[0], &config, &env).unwrap();
    let identity = Identity::new(verified, &config.providers[0], &config).unwrap();
    assert!(identity.weight() > 100_000, "{}", identity.weight());
}
