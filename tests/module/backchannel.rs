//! Back-channel logout in the built module: bodies in pieces, bodies that do not come, floods, several workers. What a logout
//! token must have is the scenarios' business.

use fake_authentik::TokenSpec;
use proxy_wasm_testkit::{CallAnswer, LogLevel, Outcome, Plugin, Request, Vm, World};
use serde_json::{Value, json};

use super::fixture::{
    AUTHENTIK, Observed, answer_key_calls, artefact, bearer, calls_sent, configuration, get, give_keys,
    observed, only_call, passed_as, path_of, seconds, send, token_with, world,
};

const PATH: &str = "/outpost.goauthentik.io/backchannel_logout";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn worker_with(world: &World, configuration: &Value, allow_on_headers_stop_iteration: bool) -> Vm {
    let plugin = Plugin { allow_on_headers_stop_iteration, ..Plugin::default() };
    Vm::start_as(world, &artefact(), &plugin, configuration.to_string()).unwrap()
}

/// A worker with keys, in an Envoy that hands bodies to the filter.
fn worker(world: &World) -> Vm {
    let mut vm = worker_with(world, &configuration("hs"), true);
    give_keys(&mut vm);
    vm
}

fn logout_token(sid: &str) -> String {
    let spec = TokenSpec::new().header("typ", "logout+jwt").claim("sid", sid);
    let spec = spec.claim("jti", format!("jti-of-{sid}")).claim("events", json!({EVENT: {}}));
    AUTHENTIK.mint("hs", spec)
}

fn form(sid: &str) -> String {
    format!("logout_token={}", logout_token(sid))
}

fn post() -> Request {
    Request::get(PATH).replace(":method", "POST").header("content-type", "application/x-www-form-urlencoded")
}

fn in_pieces(body: &str, length: usize) -> Request {
    body.as_bytes().chunks(length).fold(post(), Request::with_body)
}

/// The session of a token with this `sid`.
fn session(vm: &mut Vm, sid: &str) -> String {
    let stream = vm.send(get(bearer(token_with("hs", json!({"sid": sid})))));
    let response = vm.respond(stream, &[(":status", "200")], "");
    let cookie = response.get("set-cookie").expect("a session");
    String::from_utf8(cookie.split(|byte| *byte == b';').next().unwrap().to_vec()).unwrap()
}

fn with_cookie(vm: &mut Vm, cookie: &str) -> Observed {
    send(vm, Request::get("/").header("cookie", cookie).header("accept", "application/json"))
}

#[test]
fn body_is_read_whole_however_it_comes() {
    let world = world();
    let mut vm = worker(&world);
    for length in [1, 7, 100, 5_000] {
        let sid = format!("in-{length}");
        let cookie = session(&mut vm, &sid);
        assert_eq!(with_cookie(&mut vm, &cookie), passed_as("alice"));
        assert_eq!(send(&mut vm, in_pieces(&form(&sid), length)), Observed::Status(200));
        assert_eq!(with_cookie(&mut vm, &cookie), Observed::Status(401));
    }
    assert_eq!(vm.death(), None);
}

#[test]
fn body_that_is_too_long_is_refused_before_its_end() {
    let world = world();
    let mut vm = worker(&world);
    let rest = "&rest=".to_owned() + &"a".repeat(1 << 20);
    world.reset_host_calls();
    assert_eq!(send(&mut vm, in_pieces(&(form("a") + &rest), 4_096)), Observed::Status(400));
    let read = world.host_calls().get("proxy_get_buffer_bytes").copied();
    assert_eq!(read.unwrap_or(0), 0, "no such body is copied");
    let fits = form("a") + &rest[..(16 << 10) - form("a").len()];
    assert_eq!(send(&mut vm, in_pieces(&fits, 4_096)), Observed::Status(200));
}

#[test]
fn body_with_trailers_is_refused() {
    let world = world();
    let mut vm = worker(&world);
    let cookie = session(&mut vm, "a");
    let with_trailers = post().with_body(form("a")).with_trailers(&[("x-checksum", "1")]);
    assert_eq!(send(&mut vm, with_trailers), Observed::Status(400));
    assert_eq!(with_cookie(&mut vm, &cookie), passed_as("alice"));
    assert_eq!(vm.death(), None);
}

/// This Envoy holds the body back with the headers, as it does by default.
#[test]
fn requests_whose_body_does_not_come_are_bounded_in_number_and_time() {
    let world = world();
    let mut vm = worker_with(&world, &configuration("hs"), false);
    give_keys(&mut vm);
    let first = vm.send(post().with_body(form("a")));
    vm.disconnect(first);
    let waiting: Vec<_> = (0..1_024).map(|_| vm.send(post().with_body(form("a")))).collect();
    assert!(waiting.iter().all(|stream| vm.outcome(*stream) == Outcome::Pending));
    assert_eq!(send(&mut vm, post().with_body(form("a"))), Observed::Status(503), "one more");
    let cookie = session(&mut vm, "a");
    world.advance(seconds(4));
    vm.tick();
    assert!(waiting.iter().all(|stream| vm.outcome(*stream) == Outcome::Pending));
    world.advance(seconds(1));
    // One callback applies some of the decisions.
    for _ in 0..=1_024 / 20 {
        vm.tick();
    }
    assert!(waiting.iter().all(|stream| observed(&vm, *stream) == Observed::Status(503)));
    assert!(world.logged(LogLevel::Warn, "check allow_on_headers_stop_iteration"));
    assert_eq!(with_cookie(&mut vm, &cookie), passed_as("alice"));
    assert_eq!(vm.death(), None);
    let next = vm.send(post().with_body(form("a")));
    assert_eq!(vm.outcome(next), Outcome::Pending, "there is room again");
    assert_eq!(send(&mut vm, post()), Observed::Status(400), "without a body nothing is waited for");
}

#[test]
fn flood_of_forged_tokens_costs_no_call_and_no_memory() {
    let world = world();
    let mut vm = worker(&world);
    let cookie = session(&mut vm, "a");
    let forged = |number: u32| {
        let good = logout_token(&format!("flood-{number}"));
        format!("logout_token={}A", good.rsplit_once('.').unwrap().0.to_owned() + ".AAAA")
    };
    let mut flood = |numbers: core::ops::Range<u32>| {
        for number in numbers {
            assert_eq!(send(&mut vm, post().with_body(forged(number))), Observed::Status(400));
            vm.forget_finished();
            if number % 1_000 == 0 {
                assert_eq!(with_cookie(&mut vm, &cookie), passed_as("alice"));
                world.clear_log();
            }
        }
        (vm.memory_size(), calls_sent(&vm))
    };
    let before = flood(0..1_000);
    assert_eq!(flood(1_000..10_000), before);
    let seen =
        world.shared_keys("").into_iter().filter(|key| String::from_utf8_lossy(key).contains("/logout/"));
    assert_eq!(seen.count(), 0, "no forged token is remembered");
}

#[test]
fn logout_token_counts_once_for_all_workers_and_ends_the_session_in_all() {
    let world = world();
    let (mut one, mut two) = (worker(&world), worker(&world));
    let cookie = session(&mut one, "a");
    assert_eq!(with_cookie(&mut two, &cookie), passed_as("alice"));
    let request = || post().with_body(form("a"));
    assert_eq!(send(&mut one, request()), Observed::Status(200));
    assert_eq!(send(&mut two, request()), Observed::Status(400), "the token was used");
    world.advance(seconds(1));
    two.tick();
    for vm in [&mut one, &mut two] {
        assert_eq!(with_cookie(vm, &cookie), Observed::Status(401));
    }
}

/// A listener of its own can have the option for all.
#[test]
fn filter_without_the_option_knows_what_one_with_it_has_ended() {
    let world = world();
    let mut without = worker_with(&world, &configuration("hs"), false);
    give_keys(&mut without);
    let mut with = worker(&world);
    let cookie = session(&mut without, "a");
    assert_eq!(with_cookie(&mut without, &cookie), passed_as("alice"));
    assert_eq!(send(&mut with, post().with_body(form("a"))), Observed::Status(200));
    world.advance(seconds(1));
    without.tick();
    assert_eq!(with_cookie(&mut without, &cookie), Observed::Status(401));
}

#[test]
fn token_waits_for_keys_that_another_worker_fetches() {
    let world = world();
    let (mut one, mut two) =
        (worker_with(&world, &configuration("hs"), true), worker_with(&world, &configuration("hs"), true));
    let in_one = one.send(post().with_body(form("one")));
    let in_two = two.send(post().with_body(form("two")));
    assert_eq!((one.outcome(in_one), two.outcome(in_two)), (Outcome::Pending, Outcome::Pending));
    assert_eq!(path_of(&only_call(&one)), "/application/o/hs/jwks/");
    assert!(two.pending_calls().is_empty(), "the other worker fetches");
    two.tick();
    assert_eq!(two.outcome(in_two), Outcome::Pending);
    answer_key_calls(&mut one);
    assert_eq!(observed(&one, in_one), Observed::Status(200));
    two.tick();
    assert_eq!(observed(&two, in_two), Observed::Status(200));
}

#[test]
fn client_that_leaves_while_its_token_waits_disturbs_nothing() {
    let world = world();
    let mut vm = worker_with(&world, &configuration("hs"), true);
    let stream = vm.send(post().with_body(form("a")));
    assert_eq!(vm.outcome(stream), Outcome::Pending);
    vm.disconnect(stream);
    let call = only_call(&vm);
    vm.answer(call.id, CallAnswer::json(200, AUTHENTIK.jwks("hs").to_string()));
    assert_eq!(send(&mut vm, post().with_body(form("a"))), Observed::Status(200), "it has ended nothing");
    assert_eq!(vm.death(), None);
}

#[test]
fn log_names_the_provider_and_neither_token_nor_session_nor_user() {
    let world = world();
    let mut vm = worker(&world);
    world.clear_log();
    for expected in [200, 400] {
        assert_eq!(send(&mut vm, post().with_body(form("a-secret-session"))), Observed::Status(expected));
    }
    assert!(world.logged(
        LogLevel::Info,
        "provider=hs status=200 reason=backchannel_logout source=none id=- message=\"session ended by \
         authentik's back-channel logout\""
    ));
    assert!(world.logged(LogLevel::Warn, "reason=backchannel_logout_refused"));
    for line in world.log() {
        for secret in ["a-secret-session", "c93aa54877a68003", &logout_token("a-secret-session")[..40]] {
            assert!(!line.text.contains(secret), "{}", line.text);
        }
    }
}

/// The gate's own outpost answers there.
#[test]
fn in_shadow_mode_the_request_goes_on_and_ends_nothing() {
    let world = world();
    let mut shadow = configuration("hs");
    shadow["shadow"] = json!({});
    let mut vm = worker_with(&world, &shadow, true);
    give_keys(&mut vm);
    let body = form("a");
    let stream = vm.send(post().with_body(&body));
    match vm.outcome(stream) {
        Outcome::Forwarded { body: passed, .. } => assert_eq!(passed, body.as_bytes()),
        other => panic!("{other:?}"),
    }
    assert!(!world.logged(LogLevel::Info, "session ended"));
    shadow["shadow"] = json!({"switched": ["hs"]});
    let mut switched = worker_with(&world, &shadow, true);
    give_keys(&mut switched);
    assert_eq!(send(&mut switched, post().with_body(&body)), Observed::Status(200));
}
