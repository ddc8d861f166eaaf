//! What Envoy says of itself, its log at debug level and its admin interface, has no secret. Every test's log is read
//! for secrets when it ends; here is one that has something to say about everything.

use fake_authentik::{ALICE, Fault, INTROSPECT, TOKEN, TokenSpec};
use local_envoy::SEAL;

use super::place::{Place, assert_secretless};
use super::wire::{basic, bearer, encoded};

#[test]
fn no_secret_is_in_log_or_configuration_dump() {
    let place = Place::new(|options| {
        options
            .concurrency(2)
            .configure("/providers/0/bearer_verification", "local_then_introspection")
            .configure("/providers/0/skip_path_regex", "^/public")
    });
    let authentik = &place.authentik;
    let good = authentik.issue("demo", "alice");
    let expired = authentik.mint("demo", TokenSpec::new().claim_in("exp", -1));
    place.admits(place.get_as(basic("alice", ALICE)));
    place.admits(place.get_as(bearer(&good)));
    place.admits(place.get(format!("/public?token={good}")).authorization(encoded("eve:eve-app-password")));
    let refused = [
        (basic("alice", "wrong-app-password"), "message=\"authentik refused"),
        (
            basic("goauthentik.io/token", "opaque-token"),
            "message=\"authentik says that the token is not active",
        ),
        (bearer(&expired), "message=\"the token has expired"),
        (encoded("alice-app-password"), "message=\"Basic credential without a colon"),
        (format!("{},{}", basic("alice", ALICE), bearer(&good)), "status=401 "),
    ];
    for (value, line) in refused {
        place.turns_away(place.get_as(value), 401);
        place.await_log(&[line]);
    }
    place.turns_away(place.get(format!("/?token={good}")), 302);
    place.await_log(&["message=\"no credential"]);
    for fault in [Fault::Garbage, Fault::ServerError405, Fault::ResetMidBody] {
        for path in [TOKEN, INTROSPECT] {
            place.authentik.fault(path, fault.clone());
        }
        place.turns_away(place.get_as(place.newcomer("unlucky")), 503);
        place.turns_away(place.get_as(bearer("opaque-token-of-the-unlucky")), 503);
    }
    place.await_log(&["status=503 "]);
    place.await_log(&["200", "user=alice"]);

    assert_secretless(&place.envoy.log());
    for page in ["/stats", "/server_info", "/clusters"] {
        assert_secretless(&place.envoy.admin(page).expect("an answer"));
    }
    // The seal stands in the policy behind the filter, which is Envoy's own; see `seal`.
    let dump = place.envoy.admin("/config_dump").unwrap();
    assert_secretless(&dump.replace(SEAL, ""));
    assert!(dump.contains("AUTHENTIK_CLIENT_SECRET"), "the plugin's configuration is in the dump");
}
