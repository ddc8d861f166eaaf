//! One configuration after the other, and several at one time, in one VM and its shared data.

use proxy_wasm_testkit::Request;
use serde_json::json;

use super::fixture::{
    Observed, answer_key_calls, basic, configuration, get, granted, only_call, passed_as, refused, send,
    send_and_answer, token, worker, world,
};

/// Envoy's shared data forgets nothing: what a configuration takes there, the next one must take again.
#[test]
fn a_new_configuration_takes_no_further_room_in_shared_data() {
    const SLOTS: usize = 16;
    let world = world();
    let mut configuration = configuration("hs");
    configuration["cache"] = json!({"shared_slots": SLOTS});
    for generation in 0..10 {
        configuration["outpost_name"] = json!(format!("generation-{generation}"));
        let mut vm = worker(&world, &configuration);
        for number in 0..40 {
            let request = get(basic("alice", &format!("guess-{number}")));
            assert_eq!(send_and_answer(&mut vm, request, refused()), Observed::Status(401));
        }
        let names = world.shared_keys("").len();
        assert!(names <= SLOTS + 2, "{names} names after {generation} more configurations");
    }
}

/// Of the same provider, in one VM: they share its key set, and nothing else.
#[test]
fn two_configurations_at_one_time_do_not_disturb_each_other() {
    let world = world();
    let (one, mut two) = (configuration("es"), configuration("es"));
    two["outpost_name"] = json!("two");
    let mut first = worker(&world, &one);
    let mut second = worker(&world, &two);
    assert_eq!(second.calls_sent(), 0, "the key set is authentik's, whoever fetched it");
    for vm in [&mut first, &mut second] {
        assert_eq!(send(vm, get(super::fixture::bearer(token("es")))), passed_as("alice"));
    }
    let alice = || get(basic("alice", "password"));
    assert_eq!(send_and_answer(&mut first, alice(), granted(token("es"))), passed_as("alice"));
    assert_eq!(
        send_and_answer(&mut second, alice(), refused()),
        Observed::Status(401),
        "a verdict is not shared"
    );
    assert_eq!(send(&mut first, alice()), passed_as("alice"));
}

/// A root that goes away while it fetches takes nobody with it.
#[test]
fn a_configuration_that_is_replaced_while_it_fetches_delays_the_next_one_by_its_lease_only() {
    let world = world();
    let mut old = super::fixture::worker_without_keys(&world, &configuration("es"));
    old.tick();
    only_call(&old);
    let mut changed = configuration("es");
    changed["outpost_name"] = json!("changed");
    let mut new = super::fixture::worker_without_keys(&world, &changed);
    let stream = new.send(get(super::fixture::bearer(token("es"))));
    assert_eq!(super::fixture::observed(&new, stream), Observed::Waits);
    drop(old);
    for _ in 0..3 {
        world.advance(super::fixture::seconds(1));
        new.tick();
    }
    answer_key_calls(&mut new);
    assert_eq!(super::fixture::observed(&new, stream), passed_as("alice"));
}

/// A client could say there again what the filter has said in the headers.
#[test]
fn trailers_say_nothing_that_the_filter_has_set() {
    let world = world();
    let mut configuration = configuration("hs");
    configuration["providers"][0]["mode"] = json!("proxy");
    let mut vm = worker(&world, &configuration);
    let attributes = json!({"user_attributes": {"additionalHeaders": {"X-Tenant": "blue"}}});
    let issued = granted(super::fixture::token_with("hs", json!({"ak_proxy": attributes})));
    let trailers = [
        ("x-tenant", "red"),
        ("x_tenant", "red"),
        ("x-forwarded-host", "elsewhere.test"),
        ("x-authentik-username", "admin"),
        ("x-checksum", "1"),
    ];
    let request = || {
        Request::get("/").header("authorization", basic("alice", "p")).with_body("x").with_trailers(&trailers)
    };
    let waited = vm.send(request());
    let call = only_call(&vm);
    vm.answer(call.id, issued);
    let known = vm.send(request());
    for stream in [waited, known] {
        assert_eq!(super::fixture::observed(&vm, stream), passed_as("alice"));
        let left = vm.trailers(stream).unwrap();
        let names: Vec<_> = left.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(names, ["x-checksum"]);
    }
}
