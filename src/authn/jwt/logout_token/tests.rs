//! Every check of OpenID Connect Back-Channel Logout 1.0 §2.6, and what a real authentik sent.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jwt_compact::Algorithm as _;
use jwt_compact::AlgorithmSignature as _;
use jwt_compact::alg::{Hs256, Hs256Key};
use p256::ecdsa::signature::Signer as _;
use serde_json::json;

use super::*;
use crate::authn::jwt::algorithm::tests::CheckingHost;
use crate::base::token::Token;

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "demo-client-secret-0123456789abcdef0123456789abcdef";
/// A real authentik's request, and when it came.
const RECORDED: &str = include_str!("../../../../tests/data/transcripts/8-bc-4-logout-request.txt");
const RECORDED_AT: u64 = 1_795_654_215;

fn config(host: &str) -> Config {
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": host},
        "session": {"enabled": false},
        "providers": [{
            "assigned_application_slug": "demo", "client_id": "demo-client-id", "client_secret": SECRET,
            "external_host": "http://app.localtest",
        }],
    });
    Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
}

/// What authentik writes, with these members changed; `null` takes one away.
fn changed(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://auth.example.test/application/o/demo/", "aud": "demo-client-id",
        "iat": NOW - 4, "exp": NOW + 3596, "jti": "a-token", "events": {EVENT: {}},
        "sub": "a-user", "sid": "a-session",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

fn signing_input(header: &Value, claims: &str) -> String {
    let encode = |part: &str| BASE64_URL_SAFE_NO_PAD.encode(part);
    format!("{}.{}", encode(&header.to_string()), encode(claims))
}

fn signed_as(header: &Value, claims: &str, secret: &str) -> String {
    let message = signing_input(header, claims);
    let signature = Hs256.sign(&Hs256Key::new(secret), message.as_bytes()).as_bytes().into_owned();
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn header() -> Value {
    json!({"alg": "HS256", "typ": "logout+jwt"})
}

fn verify_at(now: u64, token: &str, keys: &KeySet) -> Result<LogoutToken, NoLogout> {
    let config = config("https://auth.example.test");
    let env = Env { now: Timestamp::from_seconds(now), host: &CheckingHost };
    verify(token, keys, &config.providers[0], &config, &env)
}

fn with_claims(changes: &Value) -> Result<LogoutToken, NoLogout> {
    let token = signed_as(&header(), &changed(changes).to_string(), SECRET);
    verify_at(NOW, &token, &KeySet::ClientSecret)
}

fn of_token(rejection: TokenRejection) -> Result<LogoutToken, NoLogout> {
    Err(LogoutRejection::Token(rejection).into())
}

#[test]
fn token_of_a_real_authentik_is_verified() {
    let body = RECORDED.lines().find_map(|line| line.strip_prefix("logout_token=")).unwrap();
    let config = config("http://127.0.0.1:9310");
    let at = |now| Env { now: Timestamp::from_seconds(now), host: &CheckingHost };
    let verify_at = |now| verify(body, &KeySet::ClientSecret, &config.providers[0], &config, &at(now));
    let token = verify_at(RECORDED_AT + 4).unwrap();
    assert_eq!(token.sid.as_deref().map(|sid| &sid[..8]), Some("b778e2e8"));
    assert_eq!(token.sub.as_deref().map(|sub| &sub[..8]), Some("b12d92a7"));
    assert_eq!(token.issued, Timestamp::from_seconds(RECORDED_AT));
    assert_eq!(verify_at(RECORDED_AT + 3600), of_token(TokenRejection::Expired));
}

#[test]
fn signature_is_checked_with_the_keys_of_the_provider() {
    let claims = changed(&json!({})).to_string();
    let by = |secret| verify_at(NOW, &signed_as(&header(), &claims, secret), &KeySet::ClientSecret);
    assert!(by(SECRET).is_ok());
    assert_eq!(by("another-secret"), of_token(TokenRejection::Signature));
    let signing = p256::ecdsa::SigningKey::from_slice(&[1; 32]).unwrap();
    let point = signing.verifying_key().to_encoded_point(false);
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({
        "kty": "EC", "alg": "ES256", "use": "sig", "kid": "one", "crv": "P-256",
        "x": encode(point.x().unwrap()), "y": encode(point.y().unwrap()),
    });
    let keys = KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    let by_key = |kid: &str| {
        let message = signing_input(&json!({"alg": "ES256", "typ": "logout+jwt", "kid": kid}), &claims);
        let signature: p256::ecdsa::Signature = signing.sign(message.as_bytes());
        format!("{message}.{}", encode(&signature.to_bytes()))
    };
    assert!(verify_at(NOW, &by_key("one"), &keys).is_ok());
    assert_eq!(verify_at(NOW, &by_key("two"), &keys), of_token(TokenRejection::UnknownKey));
    assert_eq!(
        verify_at(NOW, &by_key("one"), &KeySet::ClientSecret),
        of_token(TokenRejection::UnknownKey),
        "the header does not choose, and authentik may have a new key"
    );
    let by_secret = signed_as(&header(), &claims, SECRET);
    assert_eq!(verify_at(NOW, &by_secret, &keys), of_token(TokenRejection::UnknownKey));
}

#[test]
fn algorithm_none_is_refused() {
    for alg in ["none", "None", "HS384", ""] {
        let token =
            signed_as(&json!({"alg": alg, "typ": "logout+jwt"}), &changed(&json!({})).to_string(), SECRET);
        let without = format!("{}.", token.rsplit_once('.').unwrap().0);
        for token in [token, without] {
            assert_eq!(
                verify_at(NOW, &token, &KeySet::ClientSecret),
                of_token(TokenRejection::Algorithm),
                "{alg}"
            );
        }
    }
}

/// Else an ID token or an access token of the provider could be one.
#[test]
fn type_must_be_that_of_a_logout_token() {
    for typ in [json!("JWT"), json!("at+jwt"), json!(""), Value::Null] {
        let mut header = json!({"alg": "HS256", "typ": typ});
        if typ.is_null() {
            header.as_object_mut().unwrap().remove("typ");
        }
        let token = signed_as(&header, &changed(&json!({})).to_string(), SECRET);
        assert_eq!(verify_at(NOW, &token, &KeySet::ClientSecret), Err(LogoutRejection::Type.into()), "{typ}");
    }
    let token = signed_as(
        &json!({"alg": "HS256", "typ": "application/logout+jwt"}),
        &changed(&json!({})).to_string(),
        SECRET,
    );
    assert!(verify_at(NOW, &token, &KeySet::ClientSecret).is_ok());
}

#[test]
fn critical_extension_is_refused() {
    let header = json!({"alg": "HS256", "typ": "logout+jwt", "crit": ["x"]});
    let token = signed_as(&header, &changed(&json!({})).to_string(), SECRET);
    assert_eq!(verify_at(NOW, &token, &KeySet::ClientSecret), of_token(TokenRejection::CriticalExtension));
}

#[test]
fn issuer_must_be_that_of_the_provider() {
    for issuer in [json!("https://auth.example.test/application/o/other/"), json!(""), Value::Null] {
        assert_eq!(with_claims(&json!({"iss": issuer})), of_token(TokenRejection::Issuer));
    }
}

#[test]
fn audience_must_be_the_provider() {
    for audience in [json!("other"), json!(["other"]), json!([]), Value::Null] {
        assert_eq!(with_claims(&json!({"aud": audience})), of_token(TokenRejection::Audience));
    }
    assert!(with_claims(&json!({"aud": ["other", "demo-client-id"]})).is_ok());
}

#[test]
fn issue_time_is_required_and_neither_in_the_future_nor_an_hour_ago() {
    assert_eq!(with_claims(&json!({"iat": null})), Err(LogoutRejection::NoIssueTime.into()));
    assert_eq!(with_claims(&json!({"iat": NOW + 61})), of_token(TokenRejection::IssuedInFuture));
    assert!(with_claims(&json!({"iat": NOW + 60})).is_ok(), "clock_skew_seconds");
    assert!(with_claims(&json!({"iat": NOW - 3659})).is_ok());
    assert_eq!(with_claims(&json!({"iat": NOW - 3660})), Err(LogoutRejection::TooOld.into()));
}

#[test]
fn expiry_is_required_and_must_lie_ahead() {
    assert_eq!(with_claims(&json!({"exp": null})), of_token(TokenRejection::NoExpiry));
    assert_eq!(with_claims(&json!({"exp": NOW})), of_token(TokenRejection::Expired));
    assert!(with_claims(&json!({"exp": NOW + 1})).is_ok());
}

#[test]
fn token_id_is_required() {
    for jti in [Value::Null, json!("")] {
        assert_eq!(with_claims(&json!({"jti": jti})), Err(LogoutRejection::NoTokenId.into()));
    }
    assert_eq!(with_claims(&json!({"jti": 7})), of_token(TokenRejection::Claims));
}

#[test]
fn events_must_have_the_logout_event_as_an_object() {
    let others = [
        Value::Null,
        json!({}),
        json!({"http://schemas.openid.net/event/another": {}}),
        json!({EVENT: null}),
        json!({EVENT: true}),
        json!({EVENT: []}),
        json!({EVENT: "{}"}),
        json!([EVENT]),
        json!(EVENT),
    ];
    for events in others {
        assert_eq!(with_claims(&json!({"events": events})), Err(LogoutRejection::Events.into()), "{events}");
    }
    assert!(with_claims(&json!({"events": {EVENT: {}, "http://example.test/another": {}}})).is_ok());
}

#[test]
fn nonce_is_refused() {
    assert_eq!(with_claims(&json!({"nonce": "a"})), Err(LogoutRejection::Nonce.into()));
    let with_null = changed(&json!({})).to_string().replacen('{', r#"{"nonce":null,"#, 1);
    let token = signed_as(&header(), &with_null, SECRET);
    assert_eq!(verify_at(NOW, &token, &KeySet::ClientSecret), Err(LogoutRejection::Nonce.into()));
}

#[test]
fn session_or_user_must_be_named() {
    let named = |changes| with_claims(&changes).map(|token| (token.sid, token.sub));
    let (sid, sub) = (Some("a-session".to_owned()), Some("a-user".to_owned()));
    assert_eq!(named(json!({})), Ok((sid.clone(), sub.clone())));
    assert_eq!(named(json!({"sub": null})), Ok((sid, None)));
    assert_eq!(named(json!({"sid": null})), Ok((None, sub)));
    for nobody in [json!({"sid": null, "sub": null}), json!({"sid": "", "sub": ""})] {
        assert_eq!(named(nobody), Err(LogoutRejection::NobodyNamed.into()));
    }
    assert_eq!(with_claims(&json!({"sid": 7})), of_token(TokenRejection::Claims));
}

#[test]
fn other_forms_than_a_jws_are_refused() {
    let good = signed_as(&header(), &changed(&json!({})).to_string(), SECRET);
    for token in [String::new(), "a.b.c.d.e".to_owned(), format!("{good}.x.y"), format!("{good}=")] {
        assert_eq!(
            verify_at(NOW, &token, &KeySet::ClientSecret),
            of_token(TokenRejection::NotJws),
            "{token}"
        );
    }
}

/// A logout token has issuer, audience, times and user of the provider, and travels in the clear.
#[test]
fn logout_token_is_no_credential() {
    let named = changed(&json!({"preferred_username": "alice"})).to_string();
    let config = config("https://auth.example.test");
    let env = Env { now: Timestamp::from_seconds(NOW), host: &CheckingHost };
    let as_credential = |header: &Value| {
        let token = Token::new(signed_as(header, &named, SECRET));
        let verified = verifier::verify(&token, &KeySet::ClientSecret, &config.providers[0], &config, &env);
        verified.map(|_| ())
    };
    assert_eq!(as_credential(&json!({"alg": "HS256", "typ": "JWT"})), Ok(()));
    for typ in ["logout+jwt", "application/logout+jwt", "LOGOUT+JWT"] {
        assert_eq!(
            as_credential(&json!({"alg": "HS256", "typ": typ})),
            Err(TokenRejection::LogoutToken.into()),
            "{typ}"
        );
    }
}
