//! JWTs of other issuers: authentik says whether it trusts them, by a token of its own that is remembered.

use fake_authentik::{Authentik, Fault, Key, TOKEN};
use serde_json::{Value, json};

use super::place::{Place, assert_without, eventually, one, provider, username};
use super::wire::{Request, basic, bearer};

const DEMO: &str = "demo.test";
const FED: &str = "fed.test";
const OFF: &str = "off.test";

/// Long past and far away: no clock matters.
const PAST: i64 = 1_000_000_000;
const FUTURE: i64 = 9_000_000_000;

#[test]
fn foreign_token_is_exchanged_with_federated_bearer() {
    let on = json!({"federated_bearer": true});
    let place = Place::new(|options| {
        options
            .configure(
                "/providers",
                vec![
                    provider("demo", DEMO, on.clone()),
                    provider("fed", FED, on),
                    provider("demo", OFF, json!({})),
                ],
            )
            .concurrency(2)
            .configure("/cache/negative_ttl_seconds", 300)
    });
    place.await_keys("demo");
    place.await_keys("fed");
    a_token_of_an_external_issuer_becomes_one_of_the_provider(&place);
    the_token_user_may_bring_it_too(&place);
    what_authentik_does_not_trust_is_turned_away_and_remembered(&place);
    an_expired_one_is_not_asked_for(&place);
    a_failure_is_no_verdict(&place);
    an_own_token_is_not_exchanged(&place);
    a_token_of_a_federated_provider_is_as_good(&place);
    where_it_is_off_nobody_is_asked(&place);
}

fn with_token(place: &Place, host: &str, token: &str) -> Request {
    place.get_as(bearer(token)).host(host)
}

fn claims(subject: &str, expires: i64) -> Value {
    json!({"iss": "https://ci.example.test", "sub": subject, "aud": "authentik", "exp": expires})
}

fn of_ci(subject: &str) -> String {
    Authentik::assertion(claims(subject, FUTURE), &Key::External)
}

fn a_token_of_an_external_issuer_becomes_one_of_the_provider(place: &Place) {
    place.authentik.forget_calls();
    let token = of_ci("repo:foo/bar");
    let shown = place.admits(with_token(place, DEMO, &token));
    assert_eq!(username(&shown), "demo-repo:foo/bar");
    assert_without(&shown, "authorization");
    let own = one(&shown, "x-authentik-jwt");
    assert_ne!(own, token);
    for _ in 0..20 {
        assert_eq!(one(&place.admits(with_token(place, DEMO, &token)), "x-authentik-jwt"), own);
    }
    // It panics unless this is an access token that was issued.
    place.authentik.revoke(&own);

    let calls = place.authentik.calls();
    let [call] = calls.as_slice() else { panic!("not one call but {}", calls.len()) };
    let expected = [
        ("grant_type", "client_credentials"),
        ("client_id", "demo-client-id"),
        ("scope", "openid profile email entitlements ak_proxy"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &token),
    ];
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", TOKEN));
    assert_eq!(call.form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(call.header("authorization"), None);
}

fn the_token_user_may_bring_it_too(place: &Place) {
    let request = place.get_as(basic("goauthentik.io/token", &of_ci("token-user"))).host(DEMO);
    let shown = place.admits(request);
    assert_eq!(username(&shown), "demo-token-user");
    assert_without(&shown, "authorization");
}

fn what_authentik_does_not_trust_is_turned_away_and_remembered(place: &Place) {
    let forged = Authentik::assertion(claims("forged", FUTURE), &Key::Es256(super::rotation::OLD));
    // authentik knows this issuer, but `demo` does not federate it; `fed` does not trust the CI.
    let unrelated = place.authentik.issue("hs", "alice");
    for (host, token) in [(DEMO, forged), (DEMO, unrelated), (FED, of_ci("stranger"))] {
        place.authentik.forget_calls();
        for _ in 0..20 {
            let answer = place.turns_away(with_token(place, host, &token), 401);
            let challenge = answer.headers("www-authenticate").pop().unwrap().to_owned();
            assert!(challenge.ends_with("error=\"invalid_token\""), "{challenge}");
        }
        assert_eq!(place.calls_to(TOKEN), 1);
    }
}

fn an_expired_one_is_not_asked_for(place: &Place) {
    place.authentik.forget_calls();
    let expired = Authentik::assertion(claims("late", PAST), &Key::External);
    place.turns_away(with_token(place, DEMO, &expired), 401);
    assert_eq!(place.authentik.calls().len(), 0);
}

fn a_failure_is_no_verdict(place: &Place) {
    let token = of_ci("patient");
    for fault in [Fault::ServerError405, Fault::Html(502), Fault::Garbage, Fault::Reset] {
        place.authentik.fault(TOKEN, fault);
        place.turns_away(with_token(place, DEMO, &token), 503);
        place.authentik.clear_faults();
    }
    eventually("it is let in", || with_token(place, DEMO, &token).send().status == 200);
}

fn an_own_token_is_not_exchanged(place: &Place) {
    place.authentik.forget_calls();
    let own = place.authentik.issue("demo", "alice");
    assert_eq!(one(&place.admits(with_token(place, DEMO, &own)), "x-authentik-jwt"), own);
    assert_eq!(place.authentik.calls().len(), 0);
}

fn a_token_of_a_federated_provider_is_as_good(place: &Place) {
    for (host, from) in [(DEMO, "rs"), (FED, "rs"), (FED, "demo")] {
        place.authentik.forget_calls();
        let token = place.authentik.issue(from, "eve");
        for _ in 0..20 {
            let shown = place.admits(with_token(place, host, &token));
            assert_eq!(username(&shown), "eve");
            assert_ne!(one(&shown, "x-authentik-jwt"), token);
            assert_without(&shown, "authorization");
        }
        assert_eq!(place.calls_to(TOKEN), 1, "{from} at {host}");
    }
}

fn where_it_is_off_nobody_is_asked(place: &Place) {
    place.authentik.forget_calls();
    for token in [of_ci("repo:foo/bar"), place.authentik.issue("rs", "alice")] {
        place.turns_away(with_token(place, OFF, &token), 401);
    }
    assert_eq!(place.authentik.calls().len(), 0);
}
