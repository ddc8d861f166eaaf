//! Many requests and few calls: one credential is one call, whoever leaves; what cannot be sent is answered at once;
//! an answer decides nobody but those who asked for it.

use super::fixture::{
    AUTHENTIK, Observed, TOKEN_PATH, answer_key_calls, basic, bearer, configuration, forwarded, get, granted,
    observed, only_call, passed_as, path_of, refused, replied, seconds, send, send_and_answer, token,
    token_with, with_provider, worker, worker_without_keys, world,
};
use fake_authentik::TokenSpec;
use proxy_wasm_testkit::{CallAnswer, Outcome, Request, StreamId, Vm};
use serde_json::json;

fn alice() -> Request {
    get(basic("alice", "password"))
}

fn users_token(name: &str) -> String {
    token_with("hs", json!({"preferred_username": name}))
}

fn send_many(vm: &mut Vm, count: usize) -> Vec<StreamId> {
    let streams: Vec<_> = (0..count).map(|_| vm.send(alice())).collect();
    assert!(streams.iter().all(|stream| observed(vm, *stream) == Observed::Waits));
    streams
}

#[test]
fn twenty_requests_with_one_credential_share_one_call_and_pass() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let streams = send_many(&mut vm, 20);
    let call = only_call(&vm);
    assert_eq!(path_of(&call), TOKEN_PATH);
    vm.answer(call.id, granted(token("hs")));
    for stream in streams {
        let headers = forwarded(&vm, stream);
        assert_eq!(headers.get_all("x-authentik-username"), [b"alice"]);
        assert!(!headers.contains("authorization"));
    }
    assert_eq!((vm.pending_calls().len(), vm.calls_sent()), (0, 2), "the keys and one exchange");
}

#[test]
fn twenty_requests_with_one_wrong_password_are_one_call_and_all_are_refused() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let streams = send_many(&mut vm, 20);
    let call = only_call(&vm);
    vm.answer(call.id, refused());
    assert!(streams.iter().all(|stream| observed(&vm, *stream) == Observed::Status(401)));
}

#[test]
fn fault_answers_all_waiting_requests_and_is_not_cached() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let streams = send_many(&mut vm, 20);
    let call = only_call(&vm);
    vm.answer(call.id, CallAnswer::Timeout);
    assert!(streams.iter().all(|stream| observed(&vm, *stream) == Observed::Status(503)));
    assert_eq!(send_and_answer(&mut vm, alice(), granted(token("hs"))), passed_as("alice"));
}

#[test]
fn clients_that_leave_do_not_affect_the_others() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let streams = send_many(&mut vm, 9);
    for stream in [streams[0], streams[4], streams[8]] {
        vm.disconnect(stream);
    }
    let call = only_call(&vm);
    vm.answer(call.id, granted(token("hs")));
    for (number, stream) in streams.into_iter().enumerate() {
        let left = number % 4 == 0;
        assert_eq!(
            observed(&vm, stream),
            if left { Observed::Waits } else { passed_as("alice") },
            "{number}"
        );
    }
}

#[test]
fn call_completes_and_is_cached_after_all_clients_left() {
    let world = world();
    let configuration = configuration("hs");
    let mut vm = worker(&world, &configuration);
    for stream in send_many(&mut vm, 3) {
        vm.disconnect(stream);
    }
    assert_eq!(vm.open_streams(), 0);
    let call = only_call(&vm);
    vm.answer(call.id, granted(token("hs")));
    assert_eq!(send(&mut vm, alice()), passed_as("alice"));
    let mut other = worker(&world, &configuration);
    assert_eq!(send(&mut other, alice()), passed_as("alice"), "and shared");
}

#[test]
fn request_joins_a_call_whose_first_client_has_left() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let first = vm.send(alice());
    vm.disconnect(first);
    let second = vm.send(alice());
    let call = only_call(&vm);
    vm.answer(call.id, granted(token("hs")));
    assert_eq!(observed(&vm, second), passed_as("alice"));
    assert_eq!(observed(&vm, first), Observed::Waits, "the one who left was not brought back");
}

#[test]
fn answers_in_reverse_order_decide_their_own_requests() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    // As many as are out at one time to begin with.
    let names: Vec<_> = (0..4).map(|number| format!("user-{number}")).collect();
    let waiting: Vec<_> = names
        .iter()
        .map(|name| {
            let stream = vm.send(get(basic(name, "password")));
            (name, stream, vm.pending_calls().pop().unwrap())
        })
        .collect();
    for (number, (name, stream, call)) in waiting.iter().enumerate().rev() {
        let body = String::from_utf8(call.body.clone()).unwrap();
        assert!(body.contains(&format!("username={name}&")), "{body:.80}");
        assert_eq!(observed(&vm, *stream), Observed::Waits, "{name}");
        let (answer, expected) = match number % 3 {
            0 => (granted(users_token(name)), passed_as(name)),
            1 => (refused(), Observed::Status(401)),
            _ => (CallAnswer::Reset, Observed::Status(503)),
        };
        vm.answer(call.id, answer);
        assert_eq!(observed(&vm, *stream), expected, "{name}");
    }
}

#[test]
fn a_call_that_cannot_be_sent_is_answered_at_once() {
    for (endpoints, cluster) in [(false, "authentik"), (true, "nowhere")] {
        let world = world();
        world.set_endpoints("authentik", endpoints);
        let mut configuration = configuration("hs");
        configuration["authentik"]["cluster"] = json!(cluster);
        let mut vm = worker_without_keys(&world, &configuration);
        vm.tick();
        for _ in 0..3 {
            assert_eq!(send(&mut vm, alice()), Observed::Status(503), "Basic, {cluster}");
            assert_eq!(send(&mut vm, get(bearer(token("hs")))), Observed::Status(503), "Bearer, {cluster}");
            world.advance(seconds(1));
        }
        assert_eq!((vm.open_streams(), vm.death()), (0, None));
        assert_eq!(
            send(&mut vm, Request::get("/")),
            Observed::Status(302),
            "who brings nothing asks nothing"
        );
    }
}

#[test]
fn recovered_endpoints_are_used() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    world.set_endpoints("authentik", false);
    let stream = vm.send(alice());
    assert_eq!(replied(&vm, stream).0.get_all("retry-after"), [b"5"]);
    world.set_endpoints("authentik", true);
    assert_eq!(send_and_answer(&mut vm, alice(), granted(token("hs"))), passed_as("alice"));
}

#[test]
fn failed_key_call_answers_all_waiting_requests() {
    let world = world();
    let mut vm = worker_without_keys(&world, &configuration("rs"));
    let waiting: Vec<_> = (0..5)
        .map(|number| vm.send(get(bearer(AUTHENTIK.mint("rs", TokenSpec::new().claim("n", number))))))
        .collect();
    assert_eq!(path_of(&only_call(&vm)), "/application/o/rs/jwks/");
    let call = only_call(&vm);
    vm.answer(call.id, CallAnswer::ConnectFailure);
    assert!(waiting.iter().all(|stream| observed(&vm, *stream) == Observed::Status(503)));
}

/// Envoy takes what is said to another request in a request's callback for an answer to that request itself.
#[test]
fn requests_waiting_for_a_failed_key_call_are_answered_at_the_next_tick() {
    let world = world();
    let mut lost = worker_without_keys(&world, &configuration("rs"));
    lost.tick();
    assert_eq!(path_of(&only_call(&lost)), "/application/o/rs/jwks/");
    drop(lost);
    let mut vm = worker_without_keys(&world, &configuration("rs"));
    let other = |number: u32| get(bearer(AUTHENTIK.mint("rs", TokenSpec::new().claim("n", number))));
    let (first, left, third) = (vm.send(other(1)), vm.send(other(2)), vm.send(other(3)));
    assert_eq!(vm.pending_calls().len(), 0, "another worker has the lease");
    // It has run out by now, and no tick has come in between.
    world.advance(seconds(6));
    world.set_endpoints("authentik", false);
    assert_eq!(send(&mut vm, other(4)), Observed::Status(503), "the one that could not ask");
    for stream in [first, left, third] {
        assert_eq!(vm.outcome(stream), Outcome::Pending, "not in the callback of another");
    }
    vm.disconnect(left);
    vm.tick();
    for stream in [first, third] {
        assert_eq!(observed(&vm, stream), Observed::Status(503));
    }
    assert_eq!((vm.open_streams(), vm.death()), (0, None));
    world.set_endpoints("authentik", true);
    world.advance(seconds(1));
    let stream = vm.send(other(5));
    answer_key_calls(&mut vm);
    assert_eq!(observed(&vm, stream), passed_as("alice"), "nothing is left of it");
}

#[test]
fn calls_that_wait_for_a_place_are_bounded_and_follow_in_their_order() {
    let mut configuration = configuration("hs");
    configuration["authentik"]["max_concurrent_calls"] = json!(2);
    configuration["authentik"]["max_pending_calls"] = json!(3);
    let world = world();
    let mut vm = worker(&world, &configuration);
    let user = |number: usize| get(basic(&format!("user-{number}"), "password"));
    let waiting: Vec<_> = (0..5).map(|number| vm.send(user(number))).collect();
    assert_eq!(vm.pending_calls().len(), 2, "two are out, three wait");
    for number in 5..8 {
        let stream = vm.send(user(number));
        let (headers, _) = replied(&vm, stream);
        assert_eq!(
            (observed(&vm, stream), headers.get_all("retry-after")),
            (Observed::Status(503), vec![&b"1"[..]])
        );
    }
    let joining = vm.send(user(0));
    assert_eq!(observed(&vm, joining), Observed::Waits, "whose call is out already needs no room");
    assert_eq!(send(&mut vm, get(bearer(token("hs")))), passed_as("alice"), "nor who needs no call");
    vm.disconnect(waiting[2]);
    for number in [0, 1, 3, 4] {
        let call = vm.pending_calls().remove(0);
        let body = String::from_utf8(call.body.clone()).unwrap();
        assert!(body.contains(&format!("username=user-{number}&")), "{body:.80}");
        vm.answer(call.id, granted(users_token(&format!("user-{number}"))));
        assert_eq!(observed(&vm, waiting[number]), passed_as(&format!("user-{number}")));
    }
    assert_eq!(observed(&vm, joining), passed_as("user-0"));
    assert_eq!(vm.pending_calls().len(), 0, "nobody is asked about one who has left");
}

#[test]
fn a_call_waits_for_its_place_no_longer_than_it_may() {
    let mut configuration = configuration("hs");
    configuration["authentik"]["max_concurrent_calls"] = json!(1);
    configuration["authentik"]["max_wait_seconds"] = json!(3);
    let world = world();
    let mut vm = worker(&world, &configuration);
    let user = |name: &str| get(basic(name, "password"));
    let first = vm.send(user("first"));
    let second = vm.send(user("second"));
    for _ in 0..2 {
        world.advance(seconds(1));
        vm.tick();
        assert_eq!(observed(&vm, second), Observed::Waits);
    }
    world.advance(seconds(1));
    vm.tick();
    assert_eq!((observed(&vm, first), observed(&vm, second)), (Observed::Waits, Observed::Status(503)));
    let call = only_call(&vm);
    vm.answer(call.id, granted(users_token("first")));
    assert_eq!(observed(&vm, first), passed_as("first"));
    assert_eq!(vm.pending_calls().len(), 0);
}

/// Guesses have no end; those who were known before do not stand behind them.
#[test]
fn a_known_credential_goes_before_unknown_ones() {
    let mut configuration = configuration("hs");
    configuration["authentik"]["max_concurrent_calls"] = json!(1);
    configuration["authentik"]["max_pending_calls"] = json!(4);
    configuration["cache"] = json!({"ttl_seconds": 60, "local_entries": 8});
    let world = world();
    let mut vm = worker(&world, &configuration);
    let alice = || get(basic("alice", "password"));
    assert_eq!(send_and_answer(&mut vm, alice(), granted(token("hs"))), passed_as("alice"));
    // More refusals than the cache has room for take no good verdict's place.
    for number in 0..20 {
        let guess = get(basic("eve", &format!("guess-{number}")));
        assert_eq!(send_and_answer(&mut vm, guess, refused()), Observed::Status(401));
    }
    assert_eq!(send(&mut vm, alice()), passed_as("alice"));
    world.advance(seconds(61));
    let guesses: Vec<_> =
        (0..5).map(|number| vm.send(get(basic("bob", &format!("guess-{number}"))))).collect();
    assert_eq!(send(&mut vm, get(basic("bob", "one too many"))), Observed::Status(503));
    let known = vm.send(alice());
    assert_eq!(observed(&vm, known), Observed::Waits);
    let guess = only_call(&vm);
    vm.answer(guess.id, refused());
    assert_eq!(observed(&vm, guesses[0]), Observed::Status(401));
    let call = only_call(&vm);
    assert!(String::from_utf8(call.body.clone()).unwrap().contains("username=alice&"));
    vm.answer(call.id, granted(token("hs")));
    assert_eq!(observed(&vm, known), passed_as("alice"));
}

#[test]
fn an_exchange_that_needs_keys_waits_for_them_with_all_its_requests() {
    let world = world();
    let mut vm = worker_without_keys(&world, &configuration("rs"));
    let streams = send_many(&mut vm, 4);
    let call = only_call(&vm);
    vm.answer(call.id, granted(token("rs")));
    assert!(streams.iter().all(|stream| observed(&vm, *stream) == Observed::Waits));
    let late = vm.send(alice());
    assert_eq!(path_of(&only_call(&vm)), "/application/o/rs/jwks/");
    answer_key_calls(&mut vm);
    for stream in streams.into_iter().chain([late]) {
        assert_eq!(observed(&vm, stream), passed_as("alice"));
    }
}

#[test]
fn a_new_configuration_leaves_the_requests_of_the_old_one_to_their_call() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let before = vm.send(alice());
    let call = only_call(&vm);
    vm.reconfigure(with_provider("hs", "name", "renamed").to_string()).unwrap();
    let after = vm.send(alice());
    assert_eq!(vm.pending_calls().len(), 2, "two configurations, two calls");
    vm.answer(call.id, granted(token("hs")));
    assert_eq!((observed(&vm, before), observed(&vm, after)), (passed_as("alice"), Observed::Waits));
    let call = only_call(&vm);
    vm.answer(call.id, refused());
    assert_eq!(observed(&vm, after), Observed::Status(401));
}

#[test]
fn every_call_has_the_configured_timeout_and_is_for_authentik_alone() {
    let world = world();
    let mut configuration = with_provider("hs", "bearer_verification", "introspection");
    configuration["authentik"]["timeout_seconds"] = json!(7);
    let mut vm = worker_without_keys(&world, &configuration);
    vm.tick();
    vm.send(alice().header("x-request-id", "1").header("cookie", "a=b"));
    vm.send(get(bearer("opaque")));
    let calls = vm.pending_calls();
    assert_eq!(calls.len(), 3);
    for call in calls {
        assert_eq!(call.timeout, Some(seconds(7)), "{}", path_of(&call));
        assert_eq!(call.cluster, "authentik");
        assert_eq!(call.headers.get(":authority"), Some(&b"auth.example.test"[..]));
        assert_eq!(call.headers.get("x-forwarded-proto"), Some(&b"https"[..]));
        assert!(!call.headers.contains("cookie") && !call.headers.contains("authorization"));
        assert_eq!(call.headers.first_invalid(), None);
    }
}
