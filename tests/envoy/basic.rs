//! User name and app password: what authentik is asked, what the application is told, and what is turned away.

use std::collections::BTreeMap;

use fake_authentik::{ALICE, TOKEN};
use serde_json::Value;

use super::place::{Place, assert_without, one};
use super::wire::{Answer, basic, encoded};

const PUBLIC: &str = "https://auth.example.test";

#[test]
fn a_user_name_and_app_password_are_exchanged_by_one_worker() {
    exchange_of_basic_credentials(1);
}

#[test]
fn a_user_name_and_app_password_are_exchanged_by_two_workers() {
    exchange_of_basic_credentials(2);
}

fn exchange_of_basic_credentials(workers: u32) {
    let place = Place::new(|options| options.concurrency(workers).configure("/authentik/host", PUBLIC));
    a_good_credential_becomes_the_outpost_s_headers(&place);
    authentik_is_asked_as_its_own_outpost_asks(&place);
    a_refused_credential_is_challenged(&place);
    what_is_no_credential_never_reaches_authentik(&place);
}

fn a_good_credential_becomes_the_outpost_s_headers(place: &Place) {
    let shown = place.admits(place.get_as(basic("alice", ALICE)));
    let mut told = identity_headers(&shown);
    let token = told.remove("x-authentik-jwt").expect("a token");
    let expected = [
        ("x-authentik-email", "alice@example.test"),
        ("x-authentik-entitlements", ""),
        ("x-authentik-groups", "staff|admins-of|pipe|Gruppe Ü"),
        ("x-authentik-meta-app", "demo"),
        ("x-authentik-meta-jwks", "https://auth.example.test/application/o/demo/jwks/"),
        ("x-authentik-meta-outpost", "envoy"),
        ("x-authentik-meta-provider", "demo"),
        ("x-authentik-meta-version", concat!("goauthentik.io/outpost/", env!("CARGO_PKG_VERSION"))),
        ("x-authentik-name", "Alice Ünicode"),
        ("x-authentik-uid", "c93aa54877a680039dcdd4a7bf6367371742df6d2dd7da41bab94fcaeb173d2f"),
        ("x-authentik-username", "alice"),
    ];
    assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    // It panics unless this is an access token that was issued.
    place.authentik.revoke(&token);

    assert_without(&shown, "authorization");
    let additional = [("x-tenant", "blue"), ("x-number", "7"), ("x-flag", "true")];
    for (name, value) in additional {
        assert_eq!(one(&shown, name), value);
    }
    assert_without(&shown, "x-list");
}

/// Each exactly once.
fn identity_headers(shown: &Value) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    for pair in shown["headers"].as_array().expect("headers") {
        let (name, value) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        if name.starts_with("x-authentik-") {
            assert_eq!(told.insert(name.to_owned(), value.to_owned()), None, "{name} twice");
        }
    }
    told
}

fn authentik_is_asked_as_its_own_outpost_asks(place: &Place) {
    let calls: Vec<_> = place.authentik.calls().into_iter().filter(|call| call.path == TOKEN).collect();
    let [call] = calls.as_slice() else { panic!("not one call but {calls:?}") };
    assert_eq!((call.method.as_str(), call.query.as_str()), ("POST", ""));
    let expected = [
        ("grant_type", "client_credentials"),
        ("client_id", "demo-client-id"),
        ("username", "alice"),
        ("password", ALICE),
        ("scope", "openid profile email entitlements ak_proxy"),
    ];
    assert_eq!(call.form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let told = [
        ("host", Some("auth.example.test")),
        ("x-forwarded-proto", Some("https")),
        ("content-type", Some("application/x-www-form-urlencoded")),
        ("accept", Some("application/json")),
        ("authorization", None),
        ("cookie", None),
    ];
    for (name, value) in told {
        assert_eq!(call.header(name), value, "{name}");
    }
}

fn a_refused_credential_is_challenged(place: &Place) {
    let refused = [
        ("alice", "wrong"),
        ("alice", ""),
        ("Alice", ALICE),
        ("bob", "bob-app-password-0123456789abcdef"),
        ("dave", "dave-app-password-0123456789abcdef"),
        ("nobody", "nothing"),
    ];
    for (username, password) in refused {
        let before = place.calls_to(TOKEN);
        assert_challenged(&place.turns_away(place.get_as(basic(username, password)), 401));
        assert_eq!(place.calls_to(TOKEN), before + 1, "{username}");
    }
}

fn what_is_no_credential_never_reaches_authentik(place: &Place) {
    place.authentik.forget_calls();
    let good = basic("alice", ALICE);
    let unusable = [
        basic("", "password"),
        encoded("alice"),
        encoded(b"alice:\xff\xfe"),
        encoded("alice:pass\0word"),
        encoded("al\nice:password"),
        "Basic".to_owned(),
        "Basic !!!!".to_owned(),
        "Basic YWxpY2U6 cA==".to_owned(),
        "Bearer".to_owned(),
        "Bearer a b".to_owned(),
        "Digest username=\"alice\"".to_owned(),
        format!("{good},{good}"),
        format!("{good}, Basic {}", "A".repeat(20 << 10)),
    ];
    for value in unusable {
        assert_challenged(&place.turns_away(place.get_as(&value), 401));
    }
    let twice = place.get_as(&good).authorization(&good);
    assert_challenged(&place.turns_away(twice, 401));
    assert_eq!(place.calls_to(TOKEN), 0);
}

#[track_caller]
fn assert_challenged(answer: &Answer) {
    let expected = ["Basic realm=\"demo\", charset=\"UTF-8\"", "Bearer realm=\"demo\""];
    assert_eq!(answer.headers("www-authenticate"), expected);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}
