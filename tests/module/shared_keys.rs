//! Key sets between workers: one fetches under a lease, the others take what it found; nobody waits for ever, and
//! nobody believes what another filter wrote.

use fake_authentik::{Generation, Key, TokenSpec};
use proxy_wasm_testkit::{CallAnswer, Vm, World};

use super::fixture::{
    AUTHENTIK, Observed, answer_key_calls, basic, bearer, calls_sent, configuration, get, granted, observed,
    only_call, passed_as, path_of, refused, seconds, send, token, worker, worker_without_keys, world,
};

fn key_calls(vm: &Vm) -> usize {
    vm.pending_calls().iter().filter(|call| path_of(call).ends_with("/jwks/")).count()
}

fn shared_name(world: &World, what: &str) -> Vec<u8> {
    let is_it = |key: &Vec<u8>| String::from_utf8_lossy(key).contains(what);
    world.shared_keys("").into_iter().find(is_it).unwrap()
}

#[test]
fn one_worker_fetches_and_the_others_take_what_it_found() {
    let world = world();
    let workers = [(); 4].map(|()| worker_without_keys(&world, &configuration("rs")));
    let [mut first, mut second, mut third, mut fourth] = workers;
    for vm in [&mut first, &mut second, &mut third] {
        vm.tick();
    }
    assert_eq!([&first, &second, &third].map(key_calls), [1, 0, 0]);
    let waiting = second.send(get(bearer(token("rs"))));
    assert_eq!(observed(&second, waiting), Observed::Waits);
    answer_key_calls(&mut first);
    second.tick();
    assert_eq!(observed(&second, waiting), passed_as("alice"));
    third.tick();
    assert_eq!(send(&mut third, get(bearer(token("rs")))), passed_as("alice"));
    assert_eq!(send(&mut fourth, get(bearer(token("rs")))), passed_as("alice"), "without a tick as well");
    assert_eq!(second.calls_sent() + third.calls_sent() + fourth.calls_sent(), 0);
}

#[test]
fn tick_interval_is_short_only_while_requests_wait_for_keys() {
    let world = world();
    let (mut first, mut second) = (
        worker_without_keys(&world, &configuration("rs")),
        worker_without_keys(&world, &configuration("rs")),
    );
    first.tick();
    second.send(get(bearer(token("rs"))));
    assert!(second.tick_period().unwrap() <= seconds(1) / 10);
    answer_key_calls(&mut first);
    second.tick();
    assert_eq!(second.tick_period(), Some(seconds(1)));
}

#[test]
fn when_the_worker_that_fetches_is_gone_another_one_does() {
    let world = world();
    let mut gone = worker_without_keys(&world, &configuration("rs"));
    gone.tick();
    assert_eq!(key_calls(&gone), 1);
    drop(gone);
    let mut vm = worker_without_keys(&world, &configuration("rs"));
    let stream = vm.send(get(bearer(token("rs"))));
    assert_eq!((observed(&vm, stream), key_calls(&vm)), (Observed::Waits, 0));
    world.advance(seconds(2));
    vm.tick();
    assert_eq!((observed(&vm, stream), key_calls(&vm)), (Observed::Waits, 0), "the lease holds");
    world.advance(seconds(1));
    vm.tick();
    assert_eq!((observed(&vm, stream), key_calls(&vm)), (Observed::Waits, 1), "the lease has run out");
    answer_key_calls(&mut vm);
    assert_eq!(observed(&vm, stream), passed_as("alice"));
}

#[test]
fn a_failed_fetch_frees_the_lease_and_is_told_to_all_that_wait() {
    let world = world();
    let (mut first, mut second) = (
        worker_without_keys(&world, &configuration("rs")),
        worker_without_keys(&world, &configuration("rs")),
    );
    let one = first.send(get(bearer(token("rs"))));
    let call = only_call(&first);
    first.answer(call.id, CallAnswer::ConnectFailure);
    assert_eq!(observed(&first, one), Observed::Status(503));
    world.advance(seconds(1));
    let two = second.send(get(bearer(token("rs"))));
    assert_eq!((observed(&second, two), key_calls(&second)), (Observed::Waits, 1));
    answer_key_calls(&mut second);
    assert_eq!(observed(&second, two), passed_as("alice"));
    assert_eq!(send(&mut first, get(bearer(token("rs")))), passed_as("alice"));
}

#[test]
fn a_worker_that_pauses_takes_what_another_one_fetched() {
    let world = world();
    let (mut first, mut second) = (
        worker_without_keys(&world, &configuration("rs")),
        worker_without_keys(&world, &configuration("rs")),
    );
    for pause in [2, 3, 6] {
        first.tick();
        first.answer(only_call(&first).id, CallAnswer::ConnectFailure);
        world.advance(seconds(pause));
    }
    // Its lease runs out while its last call hangs, so the second worker fetches as well.
    first.tick();
    let hung = only_call(&first);
    world.advance(seconds(4));
    second.tick();
    first.answer(hung.id, CallAnswer::ConnectFailure);
    answer_key_calls(&mut second);
    assert_eq!(send(&mut second, get(bearer(token("rs")))), passed_as("alice"));
    assert_eq!(
        send(&mut first, get(bearer(token("rs")))),
        Observed::Status(503),
        "a pause of 8 seconds at least"
    );
    first.tick();
    assert_eq!((send(&mut first, get(bearer(token("rs")))), key_calls(&first)), (passed_as("alice"), 0));
}

/// A new configuration, or a VM that starts again, while authentik fails.
#[test]
fn a_worker_that_starts_in_an_outage_takes_keys_that_are_overdue() {
    let world = world();
    let mut first = worker(&world, &configuration("rs"));
    world.advance(seconds(301));
    first.tick();
    first.answer(only_call(&first).id, CallAnswer::ConnectFailure);
    let mut second = worker_without_keys(&world, &configuration("rs"));
    assert_eq!(send(&mut second, get(bearer(token("rs")))), passed_as("alice"));
    assert_eq!(second.calls_sent(), 0);
    let unknown = TokenSpec::new().signed_by(Key::Rs256(Generation::B)).header("kid", "new");
    let unknown = AUTHENTIK.mint("rs", unknown);
    assert_eq!(send(&mut second, get(bearer(unknown))), Observed::Status(503), "the key may be a new one");
}

#[test]
fn a_swapped_key_is_fetched_once_for_all_workers() {
    let world = world();
    let workers = [(); 3].map(|()| worker(&world, &configuration("es")));
    let [mut first, mut second, mut third] = workers;
    world.advance(seconds(11));
    let swapped = Key::Es256(Generation::B);
    let new_token = || AUTHENTIK.mint("es", TokenSpec::new().signed_by(swapped.clone()));
    let new_keys = || serde_json::json!({"keys": [swapped.jwk().unwrap()]}).to_string();
    let streams = [
        first.send(get(bearer(new_token()))),
        second.send(get(bearer(new_token()))),
        third.send(get(bearer(new_token()))),
    ];
    assert_eq!([&first, &second, &third].map(key_calls), [1, 0, 0]);
    let call = only_call(&first);
    first.answer(call.id, CallAnswer::json(200, new_keys()));
    second.tick();
    third.tick();
    for (vm, stream) in [&first, &second, &third].into_iter().zip(streams) {
        assert_eq!(observed(vm, stream), passed_as("alice"));
    }
    let old =
        AUTHENTIK.mint("es", TokenSpec::new().signed_by(Key::Es256(Generation::A)).claim("jti", "unseen"));
    assert_eq!(
        send(&mut second, get(bearer(&old))),
        Observed::Status(401),
        "authentik has dropped the old key"
    );
    assert_eq!(calls_sent(&second) + calls_sent(&third), 0);
}

/// Shared data outlives a configuration: one that comes back finds what it left behind.
#[test]
fn keys_that_are_overdue_are_taken_from_nobody_unless_authentik_gives_none() {
    let world = world();
    drop(worker(&world, &configuration("es")));
    world.advance(seconds(301));
    let start = || worker_without_keys(&world, &configuration("es"));
    let withdrawn = token("es");

    let mut vm = start();
    let stream = vm.send(get(bearer(&withdrawn)));
    assert_eq!((observed(&vm, stream), key_calls(&vm)), (Observed::Waits, 1), "authentik is asked first");
    let call = only_call(&vm);
    vm.answer(call.id, CallAnswer::ConnectFailure);
    assert_eq!(observed(&vm, stream), passed_as("alice"), "as where they had been in use all the time");
    let unknown = AUTHENTIK.mint("es", TokenSpec::new().header("kid", "of-nobody"));
    assert_eq!(send(&mut vm, get(bearer(&unknown))), Observed::Status(503), "and nobody can say");

    world.advance(seconds(2));
    let mut vm = start();
    vm.tick();
    let stream = vm.send(get(bearer(&withdrawn)));
    assert_eq!(observed(&vm, stream), Observed::Waits);
    let swapped = serde_json::json!({"keys": [Key::Es256(Generation::B).jwk().unwrap()]});
    let call = only_call(&vm);
    vm.answer(call.id, CallAnswer::json(200, swapped.to_string()));
    assert_eq!(observed(&vm, stream), Observed::Status(401), "authentik has dropped the key");

    world.advance(seconds(3600 + 301));
    let lasting = TokenSpec::new().signed_by(Key::Es256(Generation::B)).claim_in("exp", 10_000);
    let mut vm = start();
    let stream = vm.send(get(bearer(AUTHENTIK.mint("es", lasting))));
    let call = only_call(&vm);
    vm.answer(call.id, CallAnswer::ConnectFailure);
    assert_eq!(observed(&vm, stream), Observed::Status(503), "beyond their grace they are none");
}

#[test]
fn unknown_kids_on_all_workers_cause_one_fetch_an_interval() {
    let world = world();
    let mut workers = [(); 3].map(|()| worker(&world, &configuration("es")));
    let unknown =
        |number: u32| AUTHENTIK.mint("es", TokenSpec::new().header("kid", format!("unknown-{number}")));
    let before: u32 = workers.iter().map(calls_sent).sum();
    for round in 0..3_u32 {
        world.advance(seconds(11));
        for number in 0..20 {
            for vm in &mut workers {
                let stream = vm.send(get(bearer(unknown(round * 100 + number))));
                answer_key_calls(vm);
                assert!(
                    matches!(observed(vm, stream), Observed::Waits | Observed::Status(401)),
                    "never passed"
                );
            }
        }
        workers.iter_mut().for_each(Vm::tick);
    }
    let after: u32 = workers.iter().map(calls_sent).sum();
    assert_eq!(after - before, 3);
}

#[test]
fn a_key_set_that_another_filter_wrote_or_changed_is_not_believed() {
    let world = world();
    let mut first = worker(&world, &configuration("es"));
    assert_eq!(send(&mut first, get(bearer(token("es")))), passed_as("alice"));
    let name = shared_name(&world, "/keys/");
    let good = world.shared_data("", &name).unwrap();
    let forged = AUTHENTIK.mint("es", TokenSpec::new().signed_by(Key::Es256(Generation::B)));
    let own_keys = serde_json::json!({"keys": [Key::Es256(Generation::B).jwk().unwrap()]}).to_string();
    let mut entries = vec![
        Vec::new(),
        own_keys.clone().into_bytes(),
        [&good[..8], own_keys.as_bytes(), &good[good.len() - 32..]].concat(),
    ];
    for position in (0..good.len()).step_by(41) {
        let mut altered = good.clone();
        altered[position] ^= 1;
        entries.push(altered);
    }
    for entry in entries {
        world.set_shared_data("", &name, &entry);
        world.advance(seconds(11));
        let mut vm = worker_without_keys(&world, &configuration("es"));
        let stream = vm.send(get(bearer(&forged)));
        assert_eq!((observed(&vm, stream), key_calls(&vm)), (Observed::Waits, 1), "authentik is asked");
        answer_key_calls(&mut vm);
        assert_eq!(observed(&vm, stream), Observed::Status(401));
    }
}

/// One key authenticates both kinds of entries; what they say is what tells them apart.
#[test]
fn a_verdict_in_the_place_of_a_key_set_is_asked_for_again() {
    for answer in [granted(token("es")), refused()] {
        let world = world();
        let mut first = worker(&world, &configuration("es"));
        let stream = first.send(get(basic("alice", "password")));
        let call = only_call(&first);
        first.answer(call.id, answer);
        assert_ne!(observed(&first, stream), Observed::Waits);
        let verdict = world.shared_data("", shared_name(&world, "/verdict/")).unwrap();
        world.set_shared_data("", shared_name(&world, "/keys/"), &verdict);
        world.advance(seconds(11));
        let mut vm = worker_without_keys(&world, &configuration("es"));
        let stream = vm.send(get(bearer(token("es"))));
        assert_eq!((observed(&vm, stream), key_calls(&vm)), (Observed::Waits, 1));
        answer_key_calls(&mut vm);
        assert_eq!(observed(&vm, stream), passed_as("alice"));
    }
}

#[test]
fn a_forged_lease_delays_a_fetch_but_cannot_stop_it() {
    for lease in [u64::MAX.to_be_bytes().to_vec(), vec![0xff; 3], Vec::new()] {
        let world = world();
        let mut first = worker(&world, &configuration("es"));
        let name = shared_name(&world, "/lease/");
        world.set_shared_data("", &name, &lease);
        world.advance(seconds(301));
        first.tick();
        assert_eq!(key_calls(&first), 1, "{lease:?}");
    }
}
