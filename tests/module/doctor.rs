//! The doctor in the artefact: which line the log has for which fault, once for all workers, and that no decision depends
//! on it.

use proxy_wasm_testkit::{CallAnswer, HttpCall, LogLevel, Vm, World};
use serde_json::{Value, json};

use super::fixture::{
    BASE, Observed, basic, bearer, configuration, discoveries, get, granted, observed, passed_as, path_of,
    provider, refused, seconds, send, token, with_provider, worker, world,
};

const AGREES: &str = "authentik agrees with the configuration of every provider";
/// A worker begins so many seconds after its first tick.
const DELAY: u64 = 5;

/// Lets time pass until the worker asks.
#[track_caller]
fn discovery(world: &World, vm: &mut Vm) -> HttpCall {
    world.advance(seconds(DELAY));
    vm.tick();
    let calls = discoveries(vm);
    assert_eq!(calls.len(), 1);
    calls.into_iter().next().unwrap()
}

fn document(issuer: &str, algorithm: &str) -> CallAnswer {
    let document = json!({"issuer": issuer, "id_token_signing_alg_values_supported": [algorithm]});
    CallAnswer::json(200, document.to_string())
}

/// The right document, with this `date`.
fn dated(slug: &str, date: &str) -> CallAnswer {
    let mut answer = right(slug, "HS256");
    if let CallAnswer::Response { headers, .. } = &mut answer {
        headers.push((b"date".to_vec(), date.as_bytes().to_vec()));
    }
    answer
}

fn right(slug: &str, algorithm: &str) -> CallAnswer {
    document(&format!("{BASE}/application/o/{slug}/"), algorithm)
}

/// What the doctor has said: level and text.
fn said(world: &World) -> Vec<(LogLevel, String)> {
    let words = ["authentik agrees", "authentik issues", "authentik signs", "authentik has a clock"];
    let is_its = |text: &str| words.iter().any(|word| text.contains(word));
    world.log().into_iter().filter(|line| is_its(&line.text)).map(|line| (line.level, line.text)).collect()
}

/// Several workers, one of which asks; what is said after a long time.
fn said_of(configuration: &Value, answer: CallAnswer) -> Vec<(LogLevel, String)> {
    let world = world();
    let mut workers = [(); 3].map(|()| worker(&world, configuration));
    // Their first tick, which the one that fetched the keys has behind it.
    let call = discovery(&world, &mut workers[1]);
    workers[1].answer(call.id, answer);
    for _ in 0..100 {
        for vm in &mut workers {
            vm.tick();
            assert!(discoveries(vm).is_empty(), "once for all");
        }
        world.advance(seconds(1));
    }
    // The same configuration once more.
    let mut late = worker(&world, configuration);
    world.advance(seconds(DELAY));
    late.tick();
    assert!(discoveries(&late).is_empty());
    said(&world)
}

#[test]
fn each_difference_is_one_warning_for_all_workers() {
    let hs256 = json!({"id_token_signing_alg_values_supported": ["HS256"]});
    for (configuration, answer, words) in [
        (
            configuration("hs"),
            document("http://auth.example.test/application/o/hs/", "HS256"),
            &["\"http://auth.example.test/application/o/hs/\"", "AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS"][..],
        ),
        (
            configuration("hs"),
            document("https://auth.example.test/", "HS256"),
            &["set issuer_mode to \"global\""],
        ),
        (
            with_provider("hs", "issuer_mode", "global"),
            right("hs", "HS256"),
            &["set issuer_mode to \"per_provider\""],
        ),
        (
            configuration("hs"),
            document("https://other.test/", "HS256"),
            &["\"https://other.test/\"", "set authentik.host", "keep Host"],
        ),
        (
            with_provider("rs", "oidc_configuration", hs256),
            right("rs", "RS256"),
            &["signs with \"RS256\"", "oidc_configuration says HS256"],
        ),
        (configuration("rs"), right("rs", "EdDSA"), &["signs with \"EdDSA\"", "no key for that"]),
        (
            configuration("rs"),
            document("https://other.test/", "EdDSA"),
            &["set authentik.host", "; authentik signs with \"EdDSA\""],
        ),
    ] {
        let said = said_of(&configuration, answer);
        let [(level, text)] = &said[..] else { panic!("one line, not {said:?}") };
        assert_eq!(*level, LogLevel::Warn, "{text}");
        let name = configuration["providers"][0]["assigned_application_slug"].as_str().unwrap();
        assert!(text.contains(&format!("{name}: authentik ")), "{text}");
        for word in words {
            assert!(text.contains(word), "{word} is not in {text}");
        }
    }
}

#[test]
fn agreement_is_one_info_line_for_all_workers_and_providers() {
    let said_of_one = said_of(&configuration("rs"), right("rs", "RS256"));
    assert!(matches!(&said_of_one[..], [(LogLevel::Info, text)] if text.contains(AGREES)), "{said_of_one:?}");
    let world = world();
    let mut two = configuration("hs");
    two["providers"].as_array_mut().unwrap().push(provider("rs"));
    let mut vm = worker(&world, &two);
    let first = discovery(&world, &mut vm);
    vm.answer(first.id, right("hs", "HS256"));
    assert_eq!(said(&world), [], "not before all have answered");
    let second = discoveries(&vm).remove(0);
    vm.answer(second.id, right("rs", "RS256"));
    assert_eq!(said(&world).len(), 1);
}

/// 6 November 1994 on this proxy's clock, and what the log says of an authentik that has this `date`.
fn said_in_1994(date: &str) -> Vec<(LogLevel, String)> {
    let world = world();
    world.set_now(seconds(784_111_777 - DELAY));
    let mut vm = worker(&world, &configuration("hs"));
    let call = discovery(&world, &mut vm);
    vm.answer(call.id, dated("hs", date));
    said(&world)
}

#[test]
fn clock_of_authentik_that_differs_is_a_warning() {
    for (date, words) in [
        (
            "Sun, 06 Nov 1994 08:51:37 GMT",
            "authentik has a clock 120 seconds ahead of this machine's, so new tokens count as issued in the future",
        ),
        (
            "Sun, 06 Nov 1994 08:47:35 GMT",
            "authentik has a clock 120 seconds behind this machine's, so tokens expire early",
        ),
    ] {
        let said = said_in_1994(date);
        assert!(matches!(&said[..], [(LogLevel::Warn, text)] if text.contains(words)), "{date}: {said:?}");
    }
    for date in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:50:37 GMT",
        "Sun, 06 Nov 1994 08:48:37 GMT",
        // None that can be read.
        "",
        "Sunday, 06-Nov-94 08:40:37 GMT",
        "Sun Nov  6 08:40:37 1994",
        "Sun, 06 Nov 1994 08:40:37 CET",
        "\u{e9}",
    ] {
        let said = said_in_1994(date);
        assert!(matches!(&said[..], [(LogLevel::Info, text)] if text.contains(AGREES)), "{date}: {said:?}");
    }
}

/// All providers have one authentik, and one clock.
#[test]
fn clock_is_told_once_for_all_providers() {
    let world = world();
    let mut two = configuration("hs");
    two["providers"].as_array_mut().unwrap().push(provider("rs"));
    let mut vm = worker(&world, &two);
    let call = discovery(&world, &mut vm);
    vm.answer(call.id, dated("hs", "Sun, 06 Nov 1994 08:49:37 GMT"));
    let call = discoveries(&vm).remove(0);
    assert_eq!(path_of(&call), "/application/o/rs/.well-known/openid-configuration");
    vm.answer(call.id, dated("rs", "Sun, 06 Nov 1994 08:49:38 GMT"));
    let said = said(&world);
    let [(LogLevel::Warn, clock), (LogLevel::Warn, other)] = &said[..] else { panic!("{said:?}") };
    assert!(clock.contains("authentik has a clock "), "{clock}");
    assert!(other.contains("rs: authentik signs with \"HS256\"") && !other.contains("clock"), "{other}");
}

#[test]
fn failed_fetch_says_nothing() {
    for answer in [
        CallAnswer::json(404, "<html>"),
        CallAnswer::json(500, "<html>"),
        CallAnswer::json(200, "<html>"),
        CallAnswer::json(200, "{}"),
        CallAnswer::Reset,
        CallAnswer::ConnectFailure,
        CallAnswer::Timeout,
    ] {
        let shown = format!("{answer:?}");
        assert_eq!(said_of(&configuration("hs"), answer), [], "{shown}");
    }
    // An answer that is lost.
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let lost = discovery(&world, &mut vm);
    for _ in 0..20 {
        world.advance(seconds(1));
        vm.tick();
    }
    vm.answer(lost.id, document("https://other.test/", "HS256"));
    assert_eq!(said(&world), [], "too late");
}

#[test]
fn discovery_is_asked_for_as_the_filter_asks_for_keys() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let call = discovery(&world, &mut vm);
    assert_eq!(path_of(&call), "/application/o/hs/.well-known/openid-configuration");
    for (name, value) in
        [(":authority", "auth.example.test"), (":method", "GET"), ("x-forwarded-proto", "https")]
    {
        assert_eq!(call.headers.get(name), Some(value.as_bytes()), "{name}");
    }
    assert!(call.body.is_empty() && call.headers.get("authorization").is_none());
}

/// One call at a time is permitted, and the doctor's is out: a request's call is sent all the same.
#[test]
fn no_request_waits_for_the_doctor_and_no_decision_depends_on_it() {
    let answers: [fn() -> Option<CallAnswer>; 4] = [
        || None,
        || Some(right("hs", "HS256")),
        || Some(document("https://evil.test/", "none")),
        || Some(CallAnswer::json(503, "")),
    ];
    for answer in answers {
        let world = world();
        let mut configuration = configuration("hs");
        configuration["authentik"]["max_concurrent_calls"] = json!(1);
        let mut vm = worker(&world, &configuration);
        let call = discovery(&world, &mut vm);
        if let Some(answer) = answer() {
            vm.answer(call.id, answer);
        }
        let out = discoveries(&vm).len();
        for (credential, answer, expected) in [
            (basic("alice", "right"), granted(token("hs")), passed_as("alice")),
            (basic("alice", "wrong"), refused(), Observed::Status(401)),
            (basic("alice", "new"), CallAnswer::json(405, ""), Observed::Status(503)),
            (basic("alice", "newer"), granted(token("hs")), passed_as("alice")),
        ] {
            let stream = vm.send(get(credential));
            let pending = vm.pending_calls();
            let calls: Vec<_> = pending.iter().filter(|call| path_of(call).ends_with("/token/")).collect();
            assert_eq!((calls.len(), pending.len()), (1, 1 + out), "it is sent at once");
            vm.answer(calls[0].id, answer);
            assert_eq!(observed(&vm, stream), expected);
        }
        assert_eq!(send(&mut vm, get(bearer(token("hs")))), passed_as("alice"));
        assert_eq!(send(&mut vm, get(bearer("x.y.z"))), Observed::Status(401));
    }
}
