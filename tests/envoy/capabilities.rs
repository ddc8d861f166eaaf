//! ABI capabilities: Envoy lets the module call and be called by the names on `docs/capabilities.md`, and by no others. With
//! them the filter does all that it does; without any one of them nobody passes.

use std::collections::{BTreeMap, BTreeSet};

use fake_authentik::ALICE;
use local_envoy::{Envoy, EnvoyOptions};
use serde_json::{Value, json};

use super::place::{Place, one};
use super::wire::{basic, bearer};
use crate::module::fixture::artefact;

/// The map under `allowed_capabilities` of the page.
fn allowed() -> BTreeMap<String, Value> {
    let page = include_str!("../../docs/capabilities.md");
    let (_, block) = page.split_once("```yaml\n").expect("a block");
    let block: Value = serde_yaml_ng::from_str(block.split("```").next().unwrap()).expect("YAML");
    serde_json::from_value(block["capability_restriction_config"]["allowed_capabilities"].clone())
        .expect("names")
}

fn restricted(options: EnvoyOptions, names: &BTreeMap<String, Value>) -> EnvoyOptions {
    options.plugin("capability_restriction_config", json!({"allowed_capabilities": names}))
}

#[test]
fn filter_works_with_the_capabilities_of_the_page_and_no_others() {
    let place = Place::new(|options| restricted(options, &allowed()));
    place.await_keys("demo");
    // Basic: a call to authentik. Bearer: the host's check of a signature. Then the session of the answer.
    let answer = place.get_as(basic("alice", ALICE)).send();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(one(&answer.json(), "x-authentik-username"), "alice");
    let cookie = answer.header("set-cookie").expect("a session").split(';').next().unwrap().to_owned();
    let shown = place.admits(place.get_as(bearer(&place.authentik.issue("demo", "bob"))));
    assert_eq!(one(&shown, "x-authentik-username"), "bob");
    let calls = place.authentik.calls().len();
    let shown = place.admits(place.get("/").header("cookie", &cookie));
    assert_eq!(one(&shown, "x-authentik-username"), "alice");
    assert_eq!(place.authentik.calls().len(), calls, "a session needs no call");
    place.turns_away(place.get("/"), 302);
    place.turns_away(place.get_as(basic("alice", "wrong")), 401);
}
