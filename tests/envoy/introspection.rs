//! Tokens that only authentik can judge: it is asked, and its word is remembered.

use fake_authentik::{ALICE, Fault, INTROSPECT, Key, TOKEN, TokenSpec};
use serde_json::json;

use super::place::{Place, eventually, one, provider, username};
use super::wire::{Request, basic, bearer};

const ASKS: &str = "asks.test";
const ASKS_IF_NEED_BE: &str = "either.test";
const ASKS_AGAIN: &str = "again.test";
const ENCRYPTS: &str = "jwe.test";

#[test]
fn authentik_is_asked_for_what_only_authentik_knows() {
    let place = Place::of(&[
        provider("demo", ASKS, json!({"bearer_verification": "introspection"})),
        provider("demo", ASKS_IF_NEED_BE, json!({"bearer_verification": "local_then_introspection"})),
        provider("demo", ASKS_AGAIN, json!({"revalidate_seconds": 1})),
        provider("rs-jwe", ENCRYPTS, json!({})),
    ]);
    place.await_keys("demo");
    place.await_keys("rs-jwe");
    place.authentik.forget_calls();
    a_token_is_introspected_once(&place);
    an_opaque_token_is_as_good_as_another(&place);
    what_is_not_active_is_turned_away_and_remembered(&place);
    a_failing_introspection_is_no_verdict(&place);
    what_can_be_decided_here_is_decided_here(&place);
    a_token_that_is_revoked_ends(&place);
    an_encrypted_token_for_a_basic_credential_is_introspected(&place);
}

fn with_token(place: &Place, host: &str, token: &str) -> Request {
    place.get_as(bearer(token)).host(host)
}

fn asked(place: &Place) -> usize {
    place.calls_to(INTROSPECT)
}

fn a_token_is_introspected_once(place: &Place) {
    let token = place.authentik.issue("demo", "alice");
    for _ in 0..3 {
        let shown = place.admits(with_token(place, ASKS, &token));
        assert_eq!((username(&shown).as_str(), one(&shown, "x-authentik-jwt")), ("alice", token.clone()));
        assert_eq!(one(&shown, "x-tenant"), "blue");
    }
    place.admits(place.get_as(basic("goauthentik.io/token", &token)).host(ASKS));
    assert_eq!(asked(place), 1);
    let call = place.authentik.calls().pop().unwrap();
    let expected = [
        ("client_id", "demo-client-id".to_owned()),
        ("client_secret", place.authentik.client_secret("demo")),
        ("token", token),
    ];
    assert_eq!(call.form, expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(call.header("authorization"), None);
}

fn an_opaque_token_is_as_good_as_another(place: &Place) {
    for host in [ASKS, ASKS_IF_NEED_BE] {
        let token = format!("opaque-token-of-eve-for-{host}");
        place.authentik.remember("demo", "eve", &token);
        assert_eq!(username(&place.admits(with_token(place, host, &token))), "eve");
    }
}

fn what_is_not_active_is_turned_away_and_remembered(place: &Place) {
    let revoked = place.authentik.issue("demo", "alice");
    place.authentik.revoke(&revoked);
    let unknown = place.authentik.mint("demo", TokenSpec::new());
    let another = place.authentik.issue("hs", "alice");
    let own = "opaque-token-of-nobody".to_owned();
    for token in [revoked, unknown, another, own] {
        let before = asked(place);
        for _ in 0..3 {
            let answer = place.turns_away(with_token(place, ASKS, &token), 401);
            assert_eq!(
                answer.headers("www-authenticate")[1],
                "Bearer realm=\"demo\", error=\"invalid_token\""
            );
        }
        assert_eq!(asked(place), before + 1);
    }
}

fn a_failing_introspection_is_no_verdict(place: &Place) {
    let token = place.authentik.issue("demo", "alice");
    let failures = [
        Fault::ServerError405,
        Fault::Html(502),
        Fault::Reset,
        Fault::Garbage,
        Fault::EmptyBody,
        Fault::Html(200),
    ];
    for fault in failures {
        place.authentik.fault(INTROSPECT, fault);
        let answer = place.turns_away(with_token(place, ASKS, &token), 503);
        assert_eq!(answer.header("retry-after"), Some("5"));
        place.authentik.clear_faults();
    }
    place.admits(with_token(place, ASKS, &token));
}

fn what_can_be_decided_here_is_decided_here(place: &Place) {
    let before = asked(place);
    let good = place.authentik.mint("demo", TokenSpec::new());
    place.admits(with_token(place, ASKS_IF_NEED_BE, &good));
    let final_here = [
        TokenSpec::new().claim_in("exp", -1),
        TokenSpec::new().signed_by(Key::Secret(b"guessed".to_vec())),
        TokenSpec::new().signed_by(Key::None),
    ];
    for spec in final_here {
        let token = place.authentik.mint("demo", spec);
        // Even if authentik would say otherwise.
        place.authentik.remember("demo", "alice", &token);
        place.turns_away(with_token(place, ASKS_IF_NEED_BE, &token), 401);
    }
    assert_eq!(asked(place), before);
    // authentik calls a federated provider's token active; it is let in only where the setting says so.
    let federated = place.authentik.issue("fed", "alice");
    place.turns_away(with_token(place, ASKS_IF_NEED_BE, &federated), 401);
    let foreign = place.authentik.issue("hs", "alice");
    place.turns_away(with_token(place, ASKS_IF_NEED_BE, &foreign), 401);
    assert_eq!(asked(place), before + 2);
}

fn a_token_that_is_revoked_ends(place: &Place) {
    let token = place.authentik.issue("demo", "alice");
    let before = asked(place);
    place.admits(with_token(place, ASKS_AGAIN, &token));
    assert_eq!(asked(place), before + 1);
    place.authentik.revoke(&token);
    eventually("the token has ended", || match with_token(place, ASKS_AGAIN, &token).send().status {
        401 => true,
        200 => false,
        other => panic!("{other}"),
    });
}

fn an_encrypted_token_for_a_basic_credential_is_introspected(place: &Place) {
    place.authentik.forget_calls();
    for _ in 0..2 {
        let shown = place.admits(place.get_as(basic("alice", ALICE)).host(ENCRYPTS));
        assert_eq!(username(&shown), "alice");
        assert_eq!(one(&shown, "x-authentik-jwt").split('.').count(), 5);
    }
    assert_eq!((place.calls_to(TOKEN), asked(place)), (1, 1));
    // The filter cannot read one that the client brings, and is not told to ask.
    let brought = place.authentik.issue("rs-jwe", "alice");
    place.turns_away(with_token(place, ENCRYPTS, &brought), 401);
    assert_eq!(asked(place), 1);
}
