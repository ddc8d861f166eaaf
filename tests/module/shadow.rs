//! Shadow mode in the built module: nothing waits, nothing is changed, and what is kept is bounded.

use std::collections::BTreeMap;

use proxy_wasm_testkit::{CallAnswer, LogLevel, Outcome, Request, Vm, World};
use serde_json::{Value, json};

use super::fixture::{
    AUTHENTIK, Observed, basic, configuration, forwarded, get, granted, observed, only_call, passed_as,
    refused, replied, send, token, worker, world,
};

const DETAILS: [&str; 2] = ["response", "code_details"];

fn shadow() -> Value {
    let mut configuration = configuration("hs");
    configuration["shadow"] = json!({});
    configuration["providers"][0]["skip_path_regex"] = json!("^/public");
    configuration
}

/// As a gate hands it on that let alice in.
fn from_gate(request: Request) -> Request {
    let base = super::fixture::BASE;
    let headers = [
        ("username", "alice"),
        ("groups", "staff|admins-of|pipe|Gruppe Ü"),
        ("email", "alice@example.test"),
        ("name", "Alice Ünicode"),
        ("uid", "c93aa54877a680039dcdd4a7bf6367371742df6d2dd7da41bab94fcaeb173d2f"),
        ("meta-jwks", &format!("{base}/application/o/hs/jwks/")),
        ("meta-provider", "hs"),
        ("meta-app", "hs"),
    ];
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(format!("x-authentik-{name}"), value))
}

/// The results that were counted.
fn counted(world: &World) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    for (name, count) in world.metrics() {
        if name.ends_with("authentik_proxy_shadow_total") && count > 0 {
            let result = name.split("authentik_result=.=").nth(1).unwrap().split(';').next().unwrap();
            *counted.entry(result.to_owned()).or_insert(0) += count;
        }
    }
    counted
}

fn counts<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.map(|(name, count)| (name.to_owned(), count)).into()
}

#[test]
fn request_goes_on_at_once_as_it_is_and_gets_no_cookie() {
    let world = world();
    let mut vm = worker(&world, &shadow());
    let request = from_gate(get(basic("alice", "password")))
        .header("X_Authentik_Odd", "kept")
        .header("cookie", "a=b; authentik_proxy_0a1b2c3d=kept")
        .header("connection", "x-authentik-username");
    let request = request
        .with_body("body")
        .with_trailers(&[("x-authentik-username", "kept"), ("authorization", "kept")]);
    let sent = request.clone();
    let stream = vm.send(request);
    let Outcome::Forwarded { headers, body } = vm.outcome(stream) else { panic!("it waits") };
    assert_eq!(headers.iter().map(pair).collect::<Vec<_>>(), as_an_open_path_gets_them(&sent));
    assert_eq!(body, b"body");
    for (name, value) in [
        ("X_Authentik_Odd", "kept"),
        ("cookie", "a=b; authentik_proxy_0a1b2c3d=kept"),
        ("x-authentik-username", "alice"),
    ] {
        assert_eq!(headers.get_all(name.to_lowercase()), [value.as_bytes()]);
    }
    assert_eq!(headers.get("authorization"), Some(basic("alice", "password").as_bytes()));
    let trailers = vm.trailers(stream).unwrap();
    assert_eq!(trailers.get("x-authentik-username"), Some(&b"kept"[..]));
    assert_eq!(trailers.get("authorization"), Some(&b"kept"[..]));
    // The judgement comes after the response.
    let response = vm.respond(stream, &[(":status", "200")], "");
    assert_eq!(response.get("set-cookie"), None);
    assert_eq!(counted(&world), counts([]));
    let call = only_call(&vm);
    vm.answer(call.id, granted(token("hs")));
    assert_eq!(counted(&world), counts([("agree", 1)]));
    // Now it is known, and named in the access log.
    let stream = vm.send(from_gate(get(basic("alice", "password"))));
    assert_eq!(vm.filter_state(stream, "authentik_shadow").as_deref(), Some(&b"agree"[..]));
    assert_eq!(vm.filter_state(stream, "authentik_reason").as_deref(), Some(&b"ok"[..]));
    assert_eq!(vm.filter_state(stream, "authentik_username"), None);
    assert_eq!(vm.respond(stream, &[(":status", "200")], "").get("set-cookie"), None);
    assert_eq!(counted(&world), counts([("agree", 2)]));
    let total = world.metrics().into_iter().filter(|(name, _)| name.ends_with("requests_total"));
    assert_eq!(total.map(|(_, count)| count).sum::<u64>(), 0, "nothing was decided");
}

fn pair((name, value): (&[u8], &[u8])) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(name), text(value))
}

/// The headers of a request where the path is open in shadow mode: nothing is judged that could change one.
fn as_an_open_path_gets_them(request: &Request) -> Vec<(String, String)> {
    let mut open = shadow();
    open["providers"][0]["skip_path_regex"] = json!(".");
    let mut vm = worker(&world(), &open);
    let stream = vm.send(request.clone());
    forwarded(&vm, stream).iter().map(pair).collect()
}

#[test]
fn request_that_no_gate_let_through_is_answered_and_warned_of_once() {
    let world = world();
    let mut vm = worker(&world, &shadow());
    for request in
        [Request::get("/"), get(basic("alice", "password")), get(format!("Bearer {}", token("hs")))]
    {
        let stream = vm.send(request);
        let (headers, body) = replied(&vm, stream);
        assert_eq!(headers.get(":status"), Some(&b"503"[..]));
        assert_eq!(body, b"503 Service Unavailable\n");
        let Outcome::Replied { details, .. } = vm.outcome(stream) else { panic!() };
        assert_eq!(details, b"authentik_shadow_without_gate");
        assert_eq!(vm.filter_state(stream, "authentik_shadow").as_deref(), Some(&b"no_gate"[..]));
    }
    assert_eq!(counted(&world), counts([("no_gate", 3)]));
    let warnings = world.log().into_iter().filter(|line| line.level == LogLevel::Warn).count();
    assert_eq!(warnings, 1);
    assert!(vm.pending_calls().is_empty() || only_doctor(&vm), "nobody was asked");
    assert_eq!(send(&mut vm, Request::get("/public")), passed_as(""));
}

fn only_doctor(vm: &Vm) -> bool {
    super::fixture::discoveries(vm).len() == vm.pending_calls().len()
}

#[test]
fn what_the_gate_refused_is_judged_from_its_log_line() {
    let world = world();
    let mut vm = worker(&world, &shadow());
    for (details, authorization, answer, expected) in [
        ("ext_authz_denied", basic("alice", "wrong"), Some(refused()), "agree"),
        ("ext_authz_denied", basic("alice", "password"), Some(granted(token("hs"))), "would_allow"),
        ("ext_authz_denied", format!("Bearer {}", token("hs")), None, "would_allow"),
        ("ext_authz_denied", basic("bob", "password"), Some(CallAnswer::Reset), "unavailable"),
        ("ext_authz_error", basic("alice", "password"), None, "unavailable"),
    ] {
        world.set_property(&DETAILS, details);
        let before = counted(&world);
        let stream = vm.answered_before(get(authorization));
        if let Some(answer) = answer {
            let call = only_call(&vm);
            vm.answer(call.id, answer);
        }
        assert_eq!(vm.outcome(stream), Outcome::Pending, "the filter has no part in the answer");
        let mut after = before.clone();
        *after.entry(expected.to_owned()).or_insert(0) += 1;
        assert_eq!(counted(&world), after, "{details}");
    }
    let before = counted(&world);
    for details in ["rbac_access_denied_matched_policy[none]", "route_not_found", "via_upstream", ""] {
        world.set_property(&DETAILS, details);
        vm.answered_before(get(basic("alice", "password")));
    }
    world.remove_property(&DETAILS);
    vm.answered_before(get(basic("alice", "password")));
    assert_eq!(counted(&world), before, "nobody's gate");
}

/// Without shadow mode the callback does nothing.
#[test]
fn refused_requests_mean_nothing_without_shadow_mode() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    world.set_property(&DETAILS, "ext_authz_denied");
    vm.answered_before(get(basic("alice", "password")));
    assert!(only_doctor(&vm));
    assert_eq!(counted(&world), counts([]));
    assert!(world.metrics().keys().all(|name| !name.contains("shadow")));
}

#[test]
fn judgements_that_wait_are_bounded_in_number_and_bytes() {
    for (size, kept) in [(0, 1_024), (60_000, 34)] {
        let world = world();
        let mut configuration = shadow();
        // So that the queue of calls is no bound.
        configuration["authentik"]["max_pending_calls"] = json!(2_000);
        let mut vm = worker(&world, &configuration);
        for number in 0..1_100 {
            let request = from_gate(get(basic("alice", &format!("password-{number}"))));
            let stream = vm.send(request.header("x-large", "x".repeat(size)));
            let passed = matches!(vm.outcome(stream), Outcome::Forwarded { .. });
            assert!(passed, "no request waits");
            vm.disconnect(stream);
            vm.forget_finished();
        }
        assert_eq!(counted(&world), counts([("unavailable", 1_100 - kept)]), "{size}");
    }
}

#[test]
fn a_new_judgement_has_room_when_an_old_one_has_ended() {
    let world = world();
    let mut vm = worker(&world, &shadow());
    for round in 0..3 {
        for number in 0..30 {
            let request = from_gate(get(basic("alice", &format!("password-{round}-{number}"))));
            let stream = vm.send(request.header("x-large", "x".repeat(60_000)));
            vm.disconnect(stream);
        }
        while let Some(call) = vm
            .pending_calls()
            .into_iter()
            .find(|call| super::fixture::path_of(call) == super::fixture::TOKEN_PATH)
        {
            vm.answer(call.id, refused());
        }
        // What one callback has no room for follows with the next tick.
        for _ in 0..3 {
            vm.tick();
        }
    }
    assert_eq!(counted(&world), counts([("would_deny", 90)]));
}

#[test]
fn no_value_of_a_header_is_in_a_log_line_or_a_metric() {
    let world = world();
    let mut vm = worker(&world, &shadow());
    let marks = ["hidden-password", "hidden-group", "hidden-mail", "hidden-cookie"];
    let request = from_gate(get(basic("alice", "hidden-password")))
        .replace("x-authentik-groups", "hidden-group")
        .replace("x-authentik-email", "hidden-mail");
    vm.send(request);
    let call = only_call(&vm);
    vm.answer(call.id, granted(token("hs")));
    vm.send(from_gate(get(basic("alice", "wrong hidden-password"))));
    let call = only_call(&vm);
    vm.answer(call.id, refused());
    assert_eq!(counted(&world), counts([("other_identity", 1), ("would_deny", 1)]));
    let names = "shadow=other_identity headers=x-authentik-groups,x-authentik-email provider=hs status=200 reason=ok source=exchange id=- ";
    assert!(
        world.log().iter().any(|line| line.level == LogLevel::Info && line.text.contains(names)),
        "{:?}",
        world.log()
    );
    let metrics = world.metrics();
    for mark in marks {
        assert!(world.log().iter().all(|line| !line.text.contains(mark)));
        assert!(metrics.keys().all(|name| !name.contains(mark)));
    }
    assert!(AUTHENTIK.calls().is_empty(), "answers are the test's");
    assert_eq!(send(&mut vm, from_gate(get("Bearer x"))), Observed::Passed("alice".to_owned()));
}

/// One application after the other: for a switched provider the filter decides, with no gate and with one.
#[test]
fn filter_decides_for_a_switched_provider() {
    let world = world();
    let mut configuration = shadow();
    configuration["shadow"]["switched"] = json!(["hs"]);
    let mut vm = worker(&world, &configuration);
    let forged = from_gate(Request::get("/")).header("accept", "application/json");
    assert_eq!(send(&mut vm, forged), Observed::Status(401));
    let good = format!("Bearer {}", token("hs"));
    let trailers = [("x-authentik-username", "forged"), ("x-checksum", "1")];
    let request =
        get(&good).replace("x-authentik-username", "forged").with_body("x").with_trailers(&trailers);
    let stream = vm.send(request);
    assert_eq!(observed(&vm, stream), passed_as("alice"));
    assert_eq!(vm.trailers(stream).unwrap().iter().count(), 1);
    assert_ne!(
        vm.respond(stream, &[(":status", "200"), ("cache-control", "private")], "").get("set-cookie"),
        None
    );
    assert_eq!(counted(&world), counts([]));
}

/// Of two requests that wait for one verdict, one is gone: its result is not written to the access log of the other.
#[test]
fn result_of_a_request_that_is_gone_is_in_nobody_s_access_log() {
    let world = world();
    let mut vm = worker(&world, &shadow());
    let credential = basic("alice", "password");
    let alive = vm.send(from_gate(get(&credential)));
    let gone = vm.send(from_gate(get(&credential)).replace("x-authentik-groups", "others"));
    vm.disconnect(gone);
    let call = only_call(&vm);
    vm.answer(call.id, granted(token("hs")));
    assert_eq!(counted(&world), counts([("agree", 1), ("other_identity", 1)]));
    assert_eq!(vm.filter_state(alive, "authentik_shadow").as_deref(), Some(&b"agree"[..]));
    assert_eq!(vm.filter_state(gone, "authentik_shadow"), None);
}
