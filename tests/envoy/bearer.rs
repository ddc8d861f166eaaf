//! Tokens that the client brings, with every algorithm that authentik signs with: judged in Envoy, without a call.

use std::thread;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use fake_authentik::{Authentik, Fault, Gate, Generation, Key, TOKEN, TokenSpec};
use rsa::pkcs8::EncodePublicKey as _;
use rsa::{BigUint, RsaPublicKey};
use serde_json::json;

use super::place::{Place, assert_without, eventually, jwks, one, provider, username};
use super::wire::{basic, bearer};

/// Every algorithm, HS256 twice: of a proxy provider and of an OAuth provider.
const SLUGS: [&str; 6] = ["demo", "hs", "rs", "es", "es384", "es512"];

#[test]
fn tokens_of_every_algorithm_are_verified_by_one_worker() {
    verification_of_tokens(1);
}

#[test]
fn tokens_of_every_algorithm_are_verified_by_two_workers() {
    verification_of_tokens(2);
}

fn verification_of_tokens(workers: u32) {
    let providers = SLUGS.map(|slug| provider(slug, &host(slug), json!({})));
    let place =
        Place::new(|options| options.concurrency(workers).configure("/providers", providers.to_vec()));
    for slug in SLUGS {
        place.await_keys(slug);
    }
    for slug in SLUGS {
        a_good_token_is_let_in(&place, slug);
        a_token_that_does_not_stand_is_turned_away(&place, slug);
    }
    a_public_key_is_no_client_secret(&place);
    a_token_can_be_the_password_of_the_token_user(&place);
    all_workers_share_one_fetch_of_keys_and_ask_nothing_else(&place);
}

fn host(slug: &str) -> String {
    format!("{slug}.test")
}

fn a_good_token_is_let_in(place: &Place, slug: &str) {
    let token = place.authentik.issue(slug, "alice");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {token}");
        let shown = place.admits(place.get_as(value).host(&host(slug)));
        assert_eq!(username(&shown), "alice", "{slug}");
        assert_eq!(one(&shown, "x-authentik-jwt"), token, "{slug}");
        assert_eq!(one(&shown, "x-authentik-meta-app"), slug);
        assert_without(&shown, "authorization");
    }
}

fn a_token_that_does_not_stand_is_turned_away(place: &Place, slug: &str) {
    let authentik = &place.authentik;
    let good = authentik.issue(slug, "alice");
    let another = if slug == "rs" { "es" } else { "rs" };
    let bad = [
        ("another user", swapped_payload(&good, &authentik.issue(slug, "eve"))),
        ("tampered", tampered(&good)),
        ("unsigned", good[..=good.rfind('.').unwrap()].to_owned()),
        ("expired", authentik.mint(slug, TokenSpec::new().claim_in("exp", 0))),
        ("without end", authentik.mint(slug, TokenSpec::new().without_claim("exp"))),
        ("of tomorrow", authentik.mint(slug, TokenSpec::new().claim_in("nbf", 3600))),
        ("another's", authentik.issue(another, "alice")),
        ("another's audience", authentik.mint(slug, TokenSpec::new().claim("aud", "another-client-id"))),
        ("another's issuer", authentik.mint(slug, TokenSpec::new().claim("iss", "https://evil.test/"))),
        ("none", authentik.mint(slug, TokenSpec::new().signed_by(Key::None))),
        ("None", authentik.mint(slug, TokenSpec::new().signed_by(Key::None).header("alg", "None"))),
        ("external", authentik.mint(slug, TokenSpec::new().signed_by(Key::External))),
        ("guessed", authentik.mint(slug, TokenSpec::new().signed_by(Key::Secret(b"guessed".to_vec())))),
    ];
    for (what, token) in bad {
        let request = place.get_as(bearer(&token)).host(&host(slug));
        let answer = place.turns_away(request, 401);
        let challenge = format!("Bearer realm=\"{slug}\", error=\"invalid_token\"");
        assert_eq!(answer.headers("www-authenticate")[1], challenge, "{slug}: {what}");
    }
}

/// The signature of one token under the claims of another.
fn swapped_payload(signed: &str, other: &str) -> String {
    let (_, signature) = signed.rsplit_once('.').unwrap();
    let (message, _) = other.rsplit_once('.').unwrap();
    format!("{message}.{signature}")
}

/// One bit in the middle of the signature is another.
fn tampered(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// RFC 8725 §2.1: HS256 under what everybody knows.
fn a_public_key_is_no_client_secret(place: &Place) {
    let jwks = place.authentik.jwks("rs");
    let part = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(jwks["keys"][0][name].as_str().unwrap()).unwrap();
    let key = RsaPublicKey::new(BigUint::from_bytes_be(&part("n")), BigUint::from_bytes_be(&part("e")));
    let der = key.unwrap().to_public_key_der().unwrap().into_vec();
    let base64 = BASE64_STANDARD.encode(&der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    let kid = Key::Rs256(Generation::A).kid().unwrap();
    for secret in [der, pem.into_bytes(), part("n")] {
        let forged = TokenSpec::new().signed_by(Key::Secret(secret));
        for spec in [forged.clone(), forged.header("kid", kid.as_str())] {
            let token = place.authentik.mint("rs", spec);
            place.turns_away(place.get_as(bearer(&token)).host(&host("rs")), 401);
        }
    }
}

fn all_workers_share_one_fetch_of_keys_and_ask_nothing_else(place: &Place) {
    let mut calls: Vec<_> = place.authentik.calls().into_iter().map(|call| call.path).collect();
    calls.sort();
    let mut expected = SLUGS.map(jwks);
    expected.sort();
    assert_eq!(calls, expected);
}

fn a_token_can_be_the_password_of_the_token_user(place: &Place) {
    let as_password = |token: &str| place.get_as(basic("goauthentik.io/token", token)).host(&host("demo"));
    let token = place.authentik.issue("demo", "eve");
    for _ in 0..2 {
        let shown = place.admits(as_password(&token));
        assert_eq!(username(&shown), "eve");
        assert_without(&shown, "authorization");
    }
    for bad in [tampered(&token), "eve-app-password-0123456789abcdef".to_owned(), String::new()] {
        place.turns_away(as_password(&bad), 401);
    }
    assert_eq!(place.calls_to(TOKEN), 0);
}

#[test]
fn requests_that_come_before_the_keys_wait_for_them() {
    let (authentik, gate) = (Authentik::start(), Gate::closed());
    authentik.fault(&jwks("demo"), Fault::Held(gate.clone()));
    let place = Place::around(authentik, |options| {
        options.concurrency(2).configure("/authentik/timeout_seconds", 60)
    });
    place.await_keys("demo");
    // The workers that leave the fetch to another have looked in vain by now; it must make no difference.
    thread::sleep(Duration::from_millis(150));
    let token = bearer(&place.authentik.issue("demo", "alice"));
    thread::scope(|scope| {
        let all: Vec<_> = (0..20).map(|_| scope.spawn(|| place.get_as(&token).send())).collect();
        eventually("all wait", || place.pending() == 20);
        gate.open();
        for one in all {
            assert_eq!(one.join().unwrap().status, 200);
        }
    });
    assert_eq!(place.calls_to(&jwks("demo")), 1, "one of the workers asks for all");
}
