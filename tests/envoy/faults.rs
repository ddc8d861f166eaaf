//! When authentik cannot answer: `503`, never `401` and never a pass; nothing of it is remembered, and what was known
//! before goes on.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use fake_authentik::{ALICE, Authentik, Fault, Gate, INTROSPECT, TOKEN};
use serde_json::{Value, json};

use super::place::{Place, eventually, provider, username};
use super::wire::{Answer, Request, basic, bearer};

const JWKS: &str = "/application/o/demo/jwks/";

/// Far below Envoy's own 60 s, far above `timeout_seconds` on a busy machine.
const WITHIN: Duration = Duration::from_secs(20);

#[test]
fn failing_token_endpoint_is_503_and_known_users_pass() {
    let mut place = Place::new(|options| {
        options.configure("/authentik/timeout_seconds", 2).configure("/authentik/max_response_bytes", 65_536)
    });
    place.await_keys("demo");
    place.admits(place.get_as(basic("alice", ALICE)));
    for (index, (fault, retry_after)) in failures().into_iter().enumerate() {
        let credential = place.newcomer(&format!("user-{index}"));
        place.authentik.fault(TOKEN, fault.clone());
        is_told_to_come_back(&place, || place.get_as(&credential), retry_after);
        assert_eq!(username(&place.admits(place.get_as(basic("alice", ALICE)))), "alice", "{fault:?}");
        place.authentik.clear_faults();
        let shown = place.admits(place.get_as(&credential));
        assert_eq!(username(&shown), format!("user-{index}"), "{fault:?}");
    }
    an_authentik_that_is_down_is_missed_by_newcomers_only(&mut place);
    place.await_log(&["message=\"authentik is unavailable: status 405"]);
    place.await_log(&["message=\"authentik's answer is longer than authentik.max_response_bytes"]);
}

/// With the `Retry-After` that the client gets.
fn failures() -> Vec<(Fault, &'static str)> {
    let status = |status, headers: &[(&str, &str)], body: &str| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Fault::Status(status, headers.collect(), body.to_owned())
    };
    let error = r#"{"error": "temporarily_unavailable"}"#;
    vec![
        (Fault::Hang, "5"),
        (Fault::Reset, "5"),
        (Fault::ResetMidBody, "5"),
        (Fault::ServerError405, "5"),
        (Fault::Html(500), "5"),
        (Fault::Html(502), "5"),
        (Fault::Html(503), "5"),
        (Fault::Html(200), "5"),
        (Fault::Html(400), "5"),
        (Fault::Html(401), "5"),
        (Fault::Html(403), "5"),
        (Fault::Html(404), "5"),
        (Fault::Garbage, "5"),
        (Fault::EmptyBody, "5"),
        (Fault::Huge(128 << 10), "5"),
        (status(503, &[("retry-after", "17")], ""), "17"),
        (status(503, &[("retry-after", "86400")], ""), "300"),
        (status(503, &[("retry-after", "0")], ""), "1"),
        (status(503, &[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], ""), "5"),
        (status(429, &[("retry-after", "7")], error), "7"),
        (status(400, &[], error), "5"),
        (status(400, &[], "{}"), "5"),
        (status(401, &[], r#"{"error": "invalid_grant"}"#), "5"),
        (status(200, &[], "{}"), "5"),
        (status(200, &[], r#"{"access_token": ""}"#), "5"),
        (status(200, &[], r#"{"access_token": "of-nobody"}"#), "5"),
        (status(200, &[], r#"{"access_token": 1}"#), "5"),
        (status(204, &[], ""), "5"),
        (status(302, &[("location", "https://other.test/")], ""), "5"),
    ]
}

/// Nothing listens where the cluster leads to.
#[test]
fn failed_call_is_logged_with_envoys_reason() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let place = Place::new(|mut options| {
        options.set_cluster("authentik", &closed.to_string());
        options
    });
    place.turns_away(place.get_as(basic("alice", ALICE)), 503);
    let reason = "the way to authentik failed: Envoy says 503: upstream connect error";
    place.await_log(&["provider=demo status=503", reason, "reset reason: remote connection failure"]);
    place.await_log(&[
        "demo: the key set of the application \"demo\" could not be fetched from http://",
        reason,
    ]);
}

fn is_told_to_come_back<'a>(place: &'a Place, request: impl Fn() -> Request + 'a, retry_after: &str) {
    let start = Instant::now();
    let answer = place.turns_away(request(), 503);
    assert!(start.elapsed() < WITHIN, "{:?}", start.elapsed());
    assert_unavailable(&answer, retry_after);
}

#[track_caller]
fn assert_unavailable(answer: &Answer, retry_after: &str) {
    assert_eq!(answer.header("retry-after"), Some(retry_after));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!((answer.headers("www-authenticate").len(), answer.header("location")), (0, None));
    assert_eq!(answer.body, "503 Service Unavailable\n");
}

fn an_authentik_that_is_down_is_missed_by_newcomers_only(place: &mut Place) {
    let newcomer = place.newcomer("down");
    let token = place.authentik.issue("demo", "eve");
    place.authentik.down();
    for _ in 0..3 {
        is_told_to_come_back(place, || place.get_as(&newcomer), "5");
        place.admits(place.get_as(basic("alice", ALICE)));
        place.admits(place.get_as(bearer(&token)));
        place.turns_away(place.get("/"), 302);
    }
    place.authentik.up();
    // Envoy may still hold a connection to the one that went down.
    eventually("the newcomer is let in", || place.get_as(&newcomer).send().status == 200);
}

#[test]
fn without_keys_no_token_is_judged() {
    let authentik = Authentik::start();
    authentik.fault(JWKS, Fault::Html(500));
    let place = Place::around(authentik, |options| options);
    let token = bearer(&place.authentik.issue("demo", "alice"));
    for fault in [Fault::Html(500), Fault::Reset, Fault::Garbage, Fault::EmptyBody, Fault::Html(200)] {
        place.authentik.clear_faults();
        place.authentik.fault(JWKS, fault);
        assert_unavailable(&place.turns_away(place.get_as(&token), 503), "5");
        assert_unavailable(&place.turns_away(place.get_as(basic("alice", ALICE)), 503), "5");
    }
    place.authentik.clear_faults();
    for credential in [token, basic("alice", ALICE)] {
        eventually("the keys are fetched", || match place.get_as(&credential).send().status {
            200 => true,
            503 => false,
            other => panic!("{other} while there were no keys"),
        });
    }
    assert_eq!(place.app.count(), 2);
}

#[test]
fn a_wrong_configuration_is_no_fault_of_the_client() {
    let wrong = [
        ("client.test", json!({"client_id": "of-nobody"}), "message=\"authentik does not know the client_id"),
        ("secret.test", json!({"client_secret": "another"}), "the token's signature is wrong; check"),
        ("issuer.test", json!({"issuer_mode": "global"}), "the token's iss is not the provider's; check"),
    ];
    let providers: Vec<Value> =
        wrong.iter().map(|(host, settings, _)| provider("demo", host, settings.clone())).collect();
    let place = Place::of(&providers);
    place.await_keys("demo");
    for (host, _, line) in wrong {
        let asked = place.calls_to(TOKEN);
        for _ in 0..2 {
            let request = place.get_as(basic("alice", ALICE)).host(host);
            assert_unavailable(&place.turns_away(request, 503), "5");
        }
        assert_eq!(place.calls_to(TOKEN), asked + 2, "a fault is not remembered");
        place.await_log(&[line]);
    }
    assert_eq!(place.calls_to(INTROSPECT), 0);
}

#[test]
fn a_cluster_that_envoy_does_not_know_lets_nobody_in() {
    let place = Place::new(|options| options.configure("/authentik/cluster", "of-nobody"));
    let token = place.authentik.issue("demo", "alice");
    for value in [basic("alice", ALICE), bearer(&token)] {
        assert_unavailable(&place.turns_away(place.get_as(value), 503), "5");
    }
    place.turns_away(place.get("/"), 302);
    place.await_log(&["authentik.cluster is not a cluster of this Envoy"]);
    assert_eq!(place.authentik.calls().len(), 0);
}

#[test]
fn concurrent_calls_stay_within_the_limit() {
    let place = Place::new(|options| {
        options
            .configure("/authentik/max_concurrent_calls", 1)
            .configure("/authentik/max_pending_calls", 1)
            .configure("/authentik/timeout_seconds", 60)
    });
    place.await_keys("demo");
    let [first, waiting, second] = ["first", "waiting", "second"].map(|name| place.newcomer(name));
    let gate = Gate::closed();
    place.authentik.fault(TOKEN, Fault::Held(gate.clone()));
    thread::scope(|scope| {
        let first = scope.spawn(|| place.get_as(&first).send());
        eventually("the first is asked for", || place.calls_to(TOKEN) == 1);
        let waiting = scope.spawn(|| place.get_as(&waiting).send());
        eventually("another one waits", || place.pending() == 2);
        assert_unavailable(&place.turns_away(place.get_as(&second), 503), "1");
        assert_eq!(place.calls_to(TOKEN), 1);
        gate.open();
        assert_eq!((first.join().unwrap().status, waiting.join().unwrap().status), (200, 200));
    });
    place.admits(place.get_as(&second));
}
