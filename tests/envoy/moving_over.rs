//! `docs/moving-over.md`: the application gets the same headers through `ext_authz` with a stand-in of the outpost, and through
//! the filter, but for the differences that the page names.

use std::collections::BTreeMap;

use fake_authentik::gate::Gate;
use fake_authentik::{ALICE, Authentik};
use local_envoy::Envoy;
use loopback::App;
use serde_json::Value;

use super::place::{Place, options};
use super::wire::{Request, basic, bearer};

/// Each gate says its own, and the filter removes what it has accepted.
const INTENDED: [&str; 4] =
    ["x-authentik-jwt", "x-authentik-meta-outpost", "x-authentik-meta-version", "authorization"];
/// Of each request or each Envoy.
const OF_THE_REQUEST: [&str; 4] =
    ["x-request-id", "host", "x-envoy-expected-rq-timeout-ms", "content-length"];

/// What the application got, by name.
fn headers(shown: &Value) -> BTreeMap<String, Vec<String>> {
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    for pair in shown["headers"].as_array().expect("headers") {
        let [name, value] = [&pair[0], &pair[1]].map(|it| it.as_str().expect("text").to_owned());
        headers.entry(name).or_default().push(value);
    }
    headers.retain(|name, _| !OF_THE_REQUEST.contains(&name.as_str()));
    headers
}

#[test]
fn application_gets_the_same_headers_from_outpost_and_filter() {
    let (authentik, app) = (Authentik::start(), App::start());
    let gate = Gate::start(&authentik);
    let further = ["x-tenant", "x-number", "x-flag"];
    let outpost = options(&authentik, &app).behind(gate.cluster(), Gate::filter(&further)).unsealed();
    let outpost = Envoy::start(outpost.without_filter());
    let place = Place::around(authentik, |options| options);
    place.await_keys("demo");

    let eve = basic("eve", "eve-app-password-0123456789abcdef");
    let token = bearer(&place.authentik.issue("demo", "alice"));
    let mut compared = 0;
    for (authorization, user) in [(basic("alice", ALICE), "alice"), (token, "alice"), (eve, "eve")] {
        gate.lets_in(&authorization, &gate.identity(&place.authentik, user));
        let ask = |port: u16| {
            let answer = Request::new(port, "GET", "/orders?a=b").authorization(&authorization).send();
            assert_eq!(answer.status, 200, "{answer:?}");
            headers(&answer.json())
        };
        let (mut before, mut after) = (ask(outpost.port()), ask(place.envoy.port()));
        for name in INTENDED {
            let (before, after) = (before.remove(name), after.remove(name));
            assert_ne!(before, after, "{name} does not differ");
        }
        assert_eq!(before, after, "{user}");
        compared += before.keys().filter(|name| name.starts_with("x-authentik-")).count();
    }
    assert_eq!(compared, 3 * 9, "twelve identity headers but for three");
}
