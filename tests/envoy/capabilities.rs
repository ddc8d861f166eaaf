//! ABI capabilities: Envoy restricts the module to the names on `docs/capabilities.md`. With them the filter works; without one
//! of them it does not start, or nobody passes.

use std::collections::BTreeMap;

use fake_authentik::ALICE;
use local_envoy::{Envoy, EnvoyOptions};
use serde_json::{Value, json};

use super::place::{Place, one, options, provider};
use super::wire::{Answer, Request, basic, bearer};
use crate::support::capabilities_of_the_page;

/// A provider that signs with RS256: Envoy's foreign function checks its tokens.
const SLUG: &str = "rs";

fn restricted(options: EnvoyOptions, without: &[&str]) -> EnvoyOptions {
    let mut names: BTreeMap<_, _> =
        capabilities_of_the_page().into_iter().map(|name| (name, json!({}))).collect();
    for name in without {
        assert!(names.remove(*name).is_some(), "{name} is not on the page");
    }
    let host = format!("127.0.0.1:{}", options.port());
    options
        .plugin("capability_restriction_config", json!({"allowed_capabilities": names}))
        .configure("/providers/0", provider(SLUG, &host, json!({})))
}

fn username(shown: &Value) -> String {
    one(shown, "x-authentik-username")
}

#[test]
fn filter_works_with_the_capabilities_of_the_page_and_no_others() {
    let place = Place::new(|options| restricted(options, &[]));
    place.await_keys(SLUG);
    // Basic: a call to authentik. Bearer: a signature. The session of the first answer: neither.
    let answer = place.get_as(basic("alice", ALICE)).send();
    assert_eq!((answer.status, username(&answer.json())), (200, "alice".to_owned()), "{answer:?}");
    let cookie = answer.header("set-cookie").expect("a session").split(';').next().unwrap();
    let shown = place.admits(place.get_as(bearer(&place.authentik.issue(SLUG, "eve"))));
    assert_eq!(username(&shown), "eve");
    let calls = place.authentik.calls().len();
    assert_eq!(username(&place.admits(place.get("/").header("cookie", cookie))), "alice");
    assert_eq!(place.authentik.calls().len(), calls);

    place.turns_away(place.get("/"), 302);
    place.turns_away(place.get_as(basic("alice", "wrong-app-password")), 401);
    let metrics = place.envoy.admin("/stats/prometheus").expect("a scrape");
    assert!(metrics.contains("authentik_proxy_requests_total"), "{metrics}");
}

#[test]
fn without_a_capability_of_its_start_the_filter_does_not_start() {
    let (authentik, app) = (fake_authentik::Authentik::start(), loopback::App::start());
    let log = Envoy::rejects(restricted(options(&authentik, &app), &["random_get"]));
    assert!(log.contains("Unable to create Wasm plugin authentik"), "{log}");
}

/// What alice's app password, eve's token and a request without a credential get.
fn answers(place: &Place) -> [u16; 3] {
    let send = |request: Request| -> Answer { request.send() };
    let token = bearer(&place.authentik.issue(SLUG, "eve"));
    let answers = [place.get_as(basic("alice", ALICE)), place.get_as(token), place.get("/")].map(send);
    assert_eq!(place.app.count(), 0, "{answers:?}");
    answers.map(|answer| answer.status)
}

#[test]
fn without_calls_or_signatures_of_the_host_nobody_passes() {
    let place = Place::new(|options| restricted(options, &["proxy_http_call"]));
    assert_eq!(answers(&place), [503, 503, 302]);
    let place = Place::new(|options| restricted(options, &["proxy_call_foreign_function"]));
    place.await_keys(SLUG);
    assert_eq!(answers(&place), [503, 401, 302]);
}

/// Envoy then asks the filter nothing, and lets everybody go on: the policy behind refuses them.
#[test]
fn without_the_callback_for_requests_only_the_seal_stops_them() {
    let place = Place::new(|options| restricted(options, &["proxy_on_request_headers"]));
    assert_eq!(answers(&place), [403; 3]);
}
