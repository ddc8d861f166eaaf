//! What very many distinct credentials cost: memory of the worker and shared data reach a level and stay there.

use proxy_wasm_testkit::CallAnswer;
use serde_json::{Value, json};

use super::fixture::{
    Dice, Observed, basic, bearer, configuration, get, granted, observed, only_call, passed_as, refused,
    send, token, token_with, verdict_slots, worker, world,
};

#[test]
fn shared_data_has_no_more_keys_than_slots_after_ten_thousand_credentials() {
    const SLOTS: usize = 64;
    let mut configuration = configuration("hs");
    configuration["cache"] = json!({"shared_slots": SLOTS, "local_entries": 128});
    let world = world();
    let mut vm = worker(&world, &configuration);
    let mut size = 0;
    for number in 0..10_000 {
        let stream = vm.send(get(basic("alice", &format!("guess-{number}"))));
        let call = only_call(&vm);
        vm.answer(call.id, refused());
        assert_eq!(observed(&vm, stream), Observed::Status(401));
        vm.forget_finished();
        if number == 2_000 {
            size = vm.memory_size();
        }
    }
    let keys = verdict_slots(&world).len();
    assert!((SLOTS / 2..=SLOTS).contains(&keys), "{keys} keys in {SLOTS} slots");
    assert_eq!(vm.memory_size(), size, "the worker's memory grew after 2,000 credentials");
}

#[test]
fn a_workers_memory_is_flat_under_many_distinct_tokens() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let good = token("hs");
    let (message, _) = good.rsplit_once('.').unwrap();
    let mut flood = |from: u32, to: u32| {
        for number in from..to {
            // A forged signature costs the most work and memory, a word next to none.
            let shown =
                if number % 200 == 0 { format!("{message}.{number:043}") } else { format!("word-{number}") };
            assert_eq!(send(&mut vm, get(bearer(shown))), Observed::Status(401));
            vm.forget_finished();
        }
        vm.memory_size()
    };
    let warm = flood(0, 2_000);
    assert_eq!(flood(2_000, 22_000), warm);
}

#[test]
fn a_workers_memory_is_flat_under_many_users() {
    let mut configuration = configuration("hs");
    configuration["cache"] = json!({"local_entries": 64, "shared_slots": 64});
    let world = world();
    let mut vm = worker(&world, &configuration);
    let mut flood = |from: u32, to: u32| {
        for number in from..to {
            let name = format!("user-{number:06}");
            let token = token_with("hs", json!({"preferred_username": name}));
            let stream = vm.send(get(basic(&name, "password")));
            let call = only_call(&vm);
            vm.answer(call.id, granted(token));
            assert_eq!(observed(&vm, stream), passed_as(&name));
            vm.respond(stream, &[(":status", "200")], "");
            vm.forget_finished();
        }
        vm.memory_size()
    };
    let warm = flood(0, 400);
    assert_eq!(flood(400, 1_200), warm);
}

/// A text that a session's cookie is not made shorter by.
fn incompressible(length: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut dice = Dice::new(7);
    (0..length).map(|_| char::from(ALPHABET[dice.below(ALPHABET.len())])).collect()
}

/// What `authn/cache.rs` weighs is what is taken, whatever the tokens are made of.
#[test]
fn what_a_worker_remembers_takes_no_more_memory_than_it_may() {
    const ENTRIES: usize = 512;
    const MAX_BYTES: usize = ENTRIES * 10 * 1024;
    let short: Vec<_> = (0..200).map(|number| format!("{number:03}")).collect();
    let nested: Value = (0..60).map(|number| (format!("{number}"), json!({"a": [{"b": 1}]}))).collect();
    for (issue, share, count, claims) in [
        ("never", MAX_BYTES, 600, json!({"nickname": incompressible(8_000)})),
        ("always", MAX_BYTES / 2, 600, json!({"nickname": incompressible(2_000)})),
        ("always", MAX_BYTES / 2, 400, json!({"groups": short})),
        ("always", MAX_BYTES / 2, 400, json!({"ak_proxy": {"user_attributes": nested}})),
    ] {
        let mut configuration = configuration("hs");
        configuration["cache"] = json!({"local_entries": ENTRIES});
        configuration["session"] = json!({"issue": issue});
        let world = world();
        let mut vm = worker(&world, &configuration);
        let mut flood = |from: u32, to: u32| {
            for number in from..to {
                let mut claims = claims.clone();
                claims["jti"] = json!(format!("{number:040}"));
                let stream = vm.send(get(bearer(token_with("hs", claims))));
                assert_eq!(observed(&vm, stream), passed_as("alice"));
                vm.respond(stream, &[(":status", "200")], "");
                vm.forget_finished();
            }
            vm.memory_size()
        };
        let before = flood(0, 1);
        flood(1, count);
        let taken = flood(count, count + count / 4) - before;
        // What the allocator cannot fill is not weighed.
        assert!((share / 4 * 3..=share / 8 * 9).contains(&taken), "{issue}, {claims}: {taken} bytes");
    }
}

#[test]
fn abandoned_requests_leave_no_memory() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let mut flood = |from: u32, to: u32| {
        for number in from..to {
            let stream = vm.send(get(basic("alice", &format!("guess-{number}"))));
            vm.disconnect(stream);
            let call = only_call(&vm);
            vm.answer(call.id, CallAnswer::Timeout);
            vm.forget_finished();
        }
        assert_eq!(vm.open_streams(), 0);
        vm.memory_size()
    };
    let warm = flood(0, 300);
    assert_eq!(flood(300, 2_000), warm);
}
