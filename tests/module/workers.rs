//! Two workers of one Envoy: what one has found out serves the other, and an entry that is not theirs to the last
//! bit, or no longer, is a miss.

use std::collections::BTreeMap;

use proxy_wasm_testkit::{CallAnswer, Plugin, Request, Vm, World};
use serde_json::{Value, json};

use super::fixture::{
    AUTHENTIK, Observed, answer_key_calls, artefact, basic, bearer, configuration, forwarded, get, granted,
    observed, only_call, passed_as, provider, refused, seconds, send, send_and_answer, token, token_with,
    verdict_slots, with_provider, worker, world,
};

fn two_workers(world: &World, configuration: &Value) -> (Vm, Vm) {
    (worker(world, configuration), worker(world, configuration))
}

fn alice() -> Request {
    get(basic("alice", "password"))
}

fn grant(vm: &mut Vm, request: Request) {
    assert_eq!(send_and_answer(vm, request, granted(token("hs"))), passed_as("alice"));
}

/// The shared data that is not empty.
fn entries(world: &World) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let value = |key: Vec<u8>| world.shared_data("", &key).map(|value| (key, value));
    verdict_slots(world).into_iter().filter_map(value).filter(|(_, value)| !value.is_empty()).collect()
}

/// The request is not known here: it asks authentik, gets no answer, and nothing is remembered of that.
fn assert_misses(vm: &mut Vm, request: Request, why: &str) {
    let stream = vm.send(request);
    assert_eq!(observed(vm, stream), Observed::Waits, "{why}");
    let call = only_call(vm);
    vm.answer(call.id, CallAnswer::Reset);
    assert_eq!(observed(vm, stream), Observed::Status(503), "{why}");
}

#[test]
fn an_exchange_by_one_worker_serves_the_other_without_a_call() {
    let world = world();
    let (mut one, mut two) = two_workers(&world, &configuration("hs"));
    let stream = one.send(alice());
    let call = only_call(&one);
    one.answer(call.id, granted(token("hs")));
    let calls = two.calls_sent();
    let other = two.send(alice());
    let (here, there) = (forwarded(&one, stream), forwarded(&two, other));
    assert_eq!(here.get("x-authentik-username"), Some(&b"alice"[..]));
    assert!(!here.contains("authorization"));
    assert_eq!(here, there, "the other worker writes the same headers");
    assert_eq!(two.calls_sent(), calls);
}

#[test]
fn a_refusal_by_authentik_is_shared_for_ten_seconds() {
    let world = world();
    let (mut one, mut two) = two_workers(&world, &configuration("hs"));
    assert_eq!(send_and_answer(&mut one, alice(), refused()), Observed::Status(401));
    assert_eq!(send(&mut two, alice()), Observed::Status(401));
    world.advance(seconds(10));
    assert_misses(&mut two, alice(), "ten seconds later");
    assert_misses(&mut one, alice(), "ten seconds later");
}

#[test]
fn introspected_tokens_are_shared() {
    let world = world();
    let (mut one, mut two) =
        two_workers(&world, &with_provider("hs", "bearer_verification", "introspection"));
    let active = json!({
        "active": true, "client_id": "hs-client-id", "sub": "1", "preferred_username": "alice",
        "exp": world.now().as_secs() + 600,
    });
    let opaque = || get(bearer("opaque"));
    let answer = CallAnswer::json(200, active.to_string());
    assert_eq!(send_and_answer(&mut one, opaque(), answer), passed_as("alice"));
    assert_eq!(send(&mut two, opaque()), passed_as("alice"));
    let answer = CallAnswer::json(200, r#"{"active": false}"#);
    assert_eq!(send_and_answer(&mut one, get(bearer("stale")), answer), Observed::Status(401));
    assert_eq!(send(&mut two, get(bearer("stale"))), Observed::Status(401));
}

/// One sign-out, and both workers know it: this one at once, the other at its next tick.
#[test]
fn sign_out_at_one_worker_ends_the_session_at_the_other_within_a_second() {
    let world = world();
    let (mut one, mut two) = two_workers(&world, &configuration("hs"));
    let stream = one.send(alice());
    let call = only_call(&one);
    one.answer(call.id, granted(token("hs")));
    assert_eq!(observed(&one, stream), passed_as("alice"));
    let set = one.respond(stream, &[(":status", "200")], "");
    let cookie = set.get("set-cookie").map(|line| line.split(|byte| *byte == b';').next().unwrap().to_vec());
    let with_cookie = |path: &str| Request::get(path).header("cookie", cookie.as_deref().unwrap());
    for vm in [&mut one, &mut two] {
        assert_eq!(send(vm, with_cookie("/")), passed_as("alice"));
    }
    assert_eq!(send(&mut one, with_cookie("/outpost.goauthentik.io/sign_out")), Observed::Status(302));
    assert_eq!(send(&mut one, with_cookie("/")), Observed::Status(302), "at once");
    assert_eq!(send(&mut two, with_cookie("/")), passed_as("alice"), "a request looks for no news");
    world.advance(seconds(1));
    two.tick();
    assert_eq!(send(&mut two, with_cookie("/")), Observed::Status(302));
    // A worker that begins later knows it at its first request.
    let mut three = worker(&world, &configuration("hs"));
    assert_eq!(send(&mut three, with_cookie("/")), Observed::Status(302));
    let mut other = configuration("hs");
    other["clock_skew_seconds"] = json!(59);
    let mut four = worker(&world, &other);
    assert_eq!(send(&mut four, with_cookie("/")), Observed::Status(302), "and under another configuration");
}

#[test]
fn locally_verified_tokens_are_not_shared() {
    let world = world();
    let mut local = worker(&world, &configuration("hs"));
    assert_eq!(send(&mut local, get(bearer(token("hs")))), passed_as("alice"));
    assert_eq!(entries(&world).len(), 0, "checking it again costs less than sharing it");
}

#[test]
fn an_entry_ends_after_its_time() {
    let world = world();
    let (mut one, mut two) = two_workers(&world, &configuration("hs"));
    grant(&mut one, alice());
    world.advance(seconds(59));
    assert_eq!(send(&mut two, alice()), passed_as("alice"));
    world.advance(seconds(1));
    assert_misses(&mut two, alice(), "after ttl_seconds");
    assert_misses(&mut one, alice(), "after ttl_seconds");
}

#[test]
fn an_entry_ends_with_its_token() {
    let world = world();
    let (mut one, mut two) = two_workers(&world, &configuration("hs"));
    let short = token_with("hs", json!({"exp": world.now().as_secs() + 20}));
    assert_eq!(send_and_answer(&mut one, alice(), granted(short)), passed_as("alice"));
    world.advance(seconds(19));
    assert_eq!(send(&mut two, alice()), passed_as("alice"));
    world.advance(seconds(1));
    assert_misses(&mut two, alice(), "at exp");
    assert_misses(&mut one, alice(), "at exp");
}

#[test]
fn two_configurations_with_one_vm_id_never_see_each_others_entries() {
    let base = configuration("hs");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut configuration = base.clone();
        change(&mut configuration);
        configuration
    };
    let others = [
        ("another client secret", changed(&|c| c["providers"][0]["client_secret"] = json!("another secret"))),
        ("another client", changed(&|c| c["providers"][0]["client_id"] = json!("other-client-id"))),
        ("another application", changed(&|c| c["providers"][0]["assigned_application_slug"] = json!("es"))),
        ("another authentik", changed(&|c| c["authentik"]["host"] = json!("https://other.example.test"))),
        ("other scopes", changed(&|c| c["providers"][0]["scopes_to_request"] = json!(["openid"]))),
        ("another cookie secret", changed(&|c| c["providers"][0]["cookie_secret"] = json!("0".repeat(32)))),
        ("another name", changed(&|c| c["outpost_name"] = json!("other"))),
    ];
    for (name, other) in others {
        let world = world();
        let mut here = worker(&world, &base);
        grant(&mut here, alice());
        assert_eq!(send_and_answer(&mut here, get(basic("bob", "x")), refused()), Observed::Status(401));
        let mut there = worker(&world, &other);
        for call in there.pending_calls() {
            there.answer(call.id, CallAnswer::json(200, "{}"));
        }
        assert_misses(&mut there, alice(), name);
        assert_misses(&mut there, get(basic("bob", "x")), name);
        assert_eq!(send(&mut here, alice()), passed_as("alice"), "{name}: disturbed");
    }
}

#[test]
fn two_providers_of_one_configuration_never_see_each_others_entries() {
    let world = world();
    let mut both = configuration("hs");
    both["providers"].as_array_mut().unwrap().push(provider("demo"));
    let (mut one, mut two) = two_workers(&world, &both);
    let at = |slug: &str| alice().replace(":authority", format!("{slug}.example.com"));
    grant(&mut one, at("hs"));
    for vm in [&mut one, &mut two] {
        assert_misses(vm, at("demo"), "another application's user");
        assert_eq!(send(vm, at("hs")), passed_as("alice"));
    }
}

#[test]
fn a_user_name_and_password_are_not_confused_with_another_split_of_the_same_text() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    grant(&mut vm, get(basic("alice", "pass:word")));
    for (username, password) in
        [("alic", "epass:word"), ("alicepass", "word"), ("Alice", "pass:word"), ("alice", "pass:word ")]
    {
        assert_misses(&mut vm, get(basic(username, password)), username);
    }
}

#[test]
fn a_new_configuration_asks_again_and_the_same_one_does_not() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    grant(&mut vm, alice());
    vm.reconfigure(configuration("hs").to_string()).unwrap();
    assert_eq!(send(&mut vm, alice()), passed_as("alice"), "through the shared entry");
    vm.reconfigure(with_provider("hs", "name", "renamed").to_string()).unwrap();
    assert_misses(&mut vm, alice(), "another configuration");
}

#[test]
fn a_new_value_in_the_environment_is_another_configuration() {
    let mut configuration = configuration("hs");
    configuration["providers"][0]["client_secret"] = json!({"env": "CLIENT_SECRET"});
    let world = world();
    world.set_env("CLIENT_SECRET", &AUTHENTIK.client_secret("hs"));
    let mut one = worker(&world, &configuration);
    grant(&mut one, alice());
    let mut two = worker(&world, &configuration);
    assert_eq!(send(&mut two, alice()), passed_as("alice"));
    world.set_env("CLIENT_SECRET", "another secret");
    let mut three = worker(&world, &configuration);
    assert_misses(&mut three, alice(), "the secret was changed");
}

#[test]
fn an_entry_with_any_bit_flipped_is_a_miss() {
    for answer in [granted(token("hs")), refused()] {
        let world = world();
        let (mut one, mut two) = two_workers(&world, &configuration("hs"));
        send_and_answer(&mut one, alice(), answer);
        let (key, entry) = entries(&world).pop_first().unwrap();
        for at in 0..entry.len() {
            let mut altered = entry.clone();
            altered[at] ^= 1 << (at % 8);
            world.set_shared_data("", &key, &altered);
            assert_misses(&mut two, alice(), &format!("byte {at} of {}", entry.len()));
            two.forget_finished();
        }
        world.set_shared_data("", &key, &entry);
        assert_ne!(send(&mut two, alice()), Observed::Waits, "the entry itself is good");
    }
}

#[test]
fn an_entry_that_is_cut_prolonged_or_rubbish_is_a_miss() {
    let world = world();
    let (mut one, mut two) = two_workers(&world, &configuration("hs"));
    grant(&mut one, alice());
    let (key, entry) = entries(&world).pop_first().unwrap();
    let mut cases: Vec<Vec<u8>> = [0, 1, 31, 32, 33, 41, 42, 77, 78, entry.len() / 2, entry.len() - 1]
        .map(|length| entry[..length].to_vec())
        .to_vec();
    cases.push([&entry[..], b"\0"].concat());
    cases.push([&entry[..], &entry[..]].concat());
    cases.push(entry.iter().rev().copied().collect());
    cases.push(vec![0; 1 << 20]);
    cases.push(vec![0xff; 78]);
    for case in cases {
        world.set_shared_data("", &key, &case);
        assert_misses(&mut two, alice(), &format!("{} bytes", case.len()));
    }
    assert_eq!(two.death(), None);
}

#[test]
fn an_entry_copied_to_another_credentials_slot_is_a_miss() {
    let world = world();
    let (mut one, mut two) = two_workers(&world, &configuration("hs"));
    grant(&mut one, alice());
    let (_, alices) = entries(&world).pop_first().unwrap();
    let mallory = || get(basic("mallory", "x"));
    assert_eq!(send_and_answer(&mut one, mallory(), refused()), Observed::Status(401));
    for key in verdict_slots(&world) {
        world.set_shared_data("", key, &alices);
    }
    assert_misses(&mut two, mallory(), "alice's entry in mallory's slot");
}

/// One key authenticates both kinds of entries; what they say is what tells them apart.
#[test]
fn a_key_set_in_a_verdicts_slot_is_a_miss() {
    let world = world();
    // One that has keys: the entry of one that has none is too short for a verdict anyway.
    let (mut one, mut two) = two_workers(&world, &configuration("es"));
    assert_eq!(send_and_answer(&mut one, alice(), refused()), Observed::Status(401));
    let is_key_set = |key: &Vec<u8>| String::from_utf8_lossy(key).contains("/keys/");
    let name = world.shared_keys("").into_iter().find(is_key_set).expect("the keys are shared");
    let key_set = world.shared_data("", &name).unwrap();
    for key in verdict_slots(&world) {
        world.set_shared_data("", key, &key_set);
    }
    assert_misses(&mut two, alice(), "a key set for a verdict");
}

#[test]
fn credentials_that_share_a_slot_push_each_other_out_and_are_never_mixed_up() {
    let mut configuration = configuration("hs");
    configuration["cache"] = json!({"shared_slots": 1});
    let world = world();
    let (mut one, mut two) = two_workers(&world, &configuration);
    grant(&mut one, alice());
    assert_misses(&mut two, get(basic("bob", "password")), "alice's entry in the only slot");
    let eve = token_with("hs", json!({"preferred_username": "eve"}));
    let request = || get(basic("eve", "password"));
    assert_eq!(send_and_answer(&mut two, request(), granted(eve)), passed_as("eve"));
    assert_eq!(send(&mut one, request()), passed_as("eve"));
    assert_eq!(send(&mut one, alice()), passed_as("alice"), "known in the worker itself");
    assert_misses(&mut two, alice(), "pushed out of the slot");
}

#[test]
fn without_slots_every_worker_asks_for_itself() {
    let mut configuration = configuration("hs");
    configuration["cache"] = json!({"shared_slots": 0});
    let world = world();
    let (mut one, mut two) = two_workers(&world, &configuration);
    grant(&mut one, alice());
    assert_misses(&mut two, alice(), "nothing is shared");
    assert!(verdict_slots(&world).is_empty());
}

#[test]
fn vm_ids_share_no_data() {
    let world = world();
    let start = |vm_id: &str| {
        let plugin = Plugin { vm_id: vm_id.to_owned(), ..Plugin::default() };
        let module = artefact();
        let mut vm = Vm::start_as(&world, &module, &plugin, configuration("hs").to_string()).unwrap();
        vm.tick();
        answer_key_calls(&mut vm);
        vm
    };
    let (mut one, mut two) = (start("one"), start("two"));
    grant(&mut one, alice());
    assert_misses(&mut two, alice(), "another vm_id");
}
