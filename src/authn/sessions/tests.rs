use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::authn::cache::shared::tests::at;
use crate::authn::jwt::jws;
use crate::authn::jwt::verifier;
use crate::authn::request::credential::BearerToken;
use crate::authn::session::cipher::tests::Counter;
use crate::authn::session::cookies::Cookie;
use crate::base::secret::Secret;
use crate::base::token::Token;
use crate::config::Config;

fn config() -> Config {
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
        "providers": [{
            "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
            "cookie_secret": "0123456789abcdef0123456789abcdef",
            "external_host": "https://app.example.test",
        }],
    });
    Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
}

fn token(username: &str) -> String {
    let claims = json!({"sub": "7", "preferred_username": username, "exp": at(100).seconds()});
    format!("eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJl", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn bearer(token: &str) -> Credential<'_> {
    Credential::Bearer(BearerToken::InHeader(token))
}

fn decoded(token: &str) -> Credential<'static> {
    Credential::Bearer(BearerToken::Kept(Token::new(token.to_owned())))
}

fn basic(password: &str) -> Credential<'static> {
    Credential::Basic { username: "alice".to_owned(), password: Secret::new(password.to_owned()) }
}

/// What a replica opens that another one has sealed for this credential, when authentik vouched for this token.
fn session(credential: &Credential<'_>, token: &str) -> (Session, SealingKeys) {
    let config = config();
    let provider = &*config.providers[0];
    let keys = SealingKeys::derive(provider).unwrap();
    let context = (&config, provider, &keys);
    let verified =
        verifier::restored(Token::new(token.to_owned()), &jws::payload(token).unwrap(), at(0), at(0))
            .unwrap();
    let identity = Identity::new(verified, provider, &config).unwrap();
    let origin = origin(&identity, credential, &keys);
    let sealed = content::seal(&identity, &origin, None, context, at(0), &Counter::new()).unwrap();
    let session = content::open(sealed.value.as_bytes(), context, at(0)).unwrap();
    assert_eq!(session.origin, origin);
    (session, SealingKeys::derive(provider).unwrap())
}

#[test]
fn a_session_of_a_token_is_that_token_s_and_no_other_s() {
    let own = token("alice");
    for credential in [bearer(&own), decoded(&own)] {
        let (session, keys) = session(&credential, &own);
        assert_eq!(session.origin, Origin::Token);
        assert!(
            is_sealed_for(&session, &bearer(&own), &keys) && is_sealed_for(&session, &decoded(&own), &keys)
        );
        for place in 0..own.len() {
            let mut other = own.clone();
            other.replace_range(place..=place, "~");
            assert!(!is_sealed_for(&session, &bearer(&other), &keys), "at {place}");
            assert!(!is_sealed_for(&session, &bearer(&own[..place]), &keys), "cut at {place}");
        }
        for other in [bearer(&token("sam")), bearer(&format!("{own}.")), basic(&own), basic("")] {
            assert!(!is_sealed_for(&session, &other, &keys), "{other:?}");
        }
    }
}

#[test]
fn a_session_of_what_was_exchanged_for_a_token_is_not_that_token_s() {
    let (issued, foreign) = (token("alice"), token("repo:x"));
    let credentials = [basic("password"), bearer(&foreign), decoded(&foreign)];
    for (own, others) in [(0, &credentials[1..]), (1, &credentials[..1]), (2, &credentials[..1])] {
        let (session, keys) = session(&credentials[own], &issued);
        assert_eq!(session.origin, Origin::Credential(keys.fingerprint(&credentials[own])));
        assert!(is_sealed_for(&session, &credentials[own], &keys));
        for other in others.iter().chain([&bearer(&issued), &basic("Password"), &basic(&issued)]) {
            assert!(!is_sealed_for(&session, other, &keys), "{other:?}");
        }
    }
}

/// Text that packing makes no smaller.
fn noise(length: usize) -> String {
    let digits = (0_u32..).flat_map(|number| Sha256::digest(number.to_be_bytes()));
    digits.map(|byte| char::from(b'0' + byte % 64)).filter(|char| *char != '\\').take(length).collect()
}

#[test]
fn the_cookie_of_an_identity_takes_no_more_than_it_weighs_before_it_is_made() {
    let config = config();
    let provider = &*config.providers[0];
    let keys = SealingKeys::derive(provider).unwrap();
    for (token, name) in [
        (token("alice"), 0),
        (token(&noise(4_000)), 0),
        (token(&noise(16_000)), 0),
        ("opaque".to_owned(), 0),
        ("opaque".to_owned(), 8_000),
    ] {
        let claims = json!({
            "sub": "7", "preferred_username": "alice", "name": noise(name), "exp": at(100).seconds(),
        });
        let claims = jws::payload(&token).unwrap_or_else(|| claims.to_string().into_bytes());
        let verified = verifier::restored(Token::new(token), &claims, at(0), at(0)).unwrap();
        let identity = Identity::new(verified, provider, &config).unwrap();
        let origin = Origin::Credential([7; 32]);
        let context = (&config, provider, &keys);
        let sealed = content::seal(&identity, &origin, None, context, at(0), &Counter::new()).unwrap();
        let lines = Cookie::session(provider).begin(&sealed.value).unwrap();
        let taken: usize = lines.iter().map(|line| line.as_bytes().len() + size_of::<HeaderValue>()).sum();
        let weight = identity.cookie_weight();
        assert!((taken..taken + 2_048).contains(&weight), "{taken} bytes weigh {weight}");
    }
}

#[test]
fn session_of_a_login_belongs_to_no_credential() {
    let own = token("alice");
    let (session, keys) = session(&bearer(&own), &own);
    let session = Session { origin: Origin::Login, ..session };
    assert!(
        !is_sealed_for(&session, &bearer(&own), &keys) && !is_sealed_for(&session, &basic("password"), &keys)
    );
}
