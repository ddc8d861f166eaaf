//! The doctor in the real Envoy: one line for all workers, and one call.

use std::thread::sleep;
use std::time::Duration;

use fake_authentik::{Authentik, Fault};
use serde_json::json;

use super::place::Place;

const DISCOVERY: &str = "/application/o/demo/.well-known/openid-configuration";

/// Each worker has looked at the shared entry again by then: they tick once a second.
fn let_all_workers_tick() {
    sleep(Duration::from_secs(4));
}

#[test]
fn proxy_that_authentik_does_not_trust_is_named_once_for_all_workers() {
    let authentik = Authentik::start();
    authentik.set_trusts_proxies(false);
    let place = Place::around(authentik, |options| {
        options.concurrency(3).configure("/authentik/host", "https://auth.example.test")
    });
    let says = "AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS";
    place.await_log(&[
        "[warning]",
        "demo: authentik issues as \"http://auth.example.test/application/o/demo/\"",
        says,
    ]);
    let_all_workers_tick();
    let log = place.envoy.log();
    assert_eq!(log.matches(says).count(), 1, "{log}");
    assert_eq!(place.calls_to(DISCOVERY), 1);
    place.turns_away(place.get("/"), 302);
}

/// The stand-in's answer with another time; in all else it is authentik's.
#[test]
fn clock_of_authentik_that_is_ahead_is_named_once_for_all_workers() {
    let authentik = Authentik::start();
    let document = json!({
        "issuer": format!("{}/application/o/demo/", authentik.public_base()),
        "id_token_signing_alg_values_supported": ["HS256"],
    });
    let headers = [("content-type", "application/json"), ("date", "Fri, 31 Dec 9999 23:59:59 GMT")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    authentik.fault(DISCOVERY, Fault::Status(200, headers, document.to_string()));
    let place = Place::around(authentik, |options| options.concurrency(3));
    place.await_log(&[
        "[warning]",
        "authentik has a clock ",
        " seconds ahead of this machine's, so new tokens",
    ]);
    let_all_workers_tick();
    let log = place.envoy.log();
    assert_eq!(
        (log.matches("has a clock").count(), log.matches("authentik agrees").count()),
        (1, 0),
        "{log}"
    );
}

#[test]
fn authentik_that_agrees_is_called_so_at_info() {
    let place = Place::new(|options| options.concurrency(2));
    place.await_log(&["[info]", "authentik agrees with the configuration of every provider"]);
    let_all_workers_tick();
    assert_eq!(place.calls_to(DISCOVERY), 1);
}
