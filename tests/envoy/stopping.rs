//! `allow_on_headers_stop_iteration`: with it Envoy stops at the headers only and hands the body to the next filter,
//! unless the filter holds it back too. An operator should not set it, and nothing passes if he does.

use std::thread;

use fake_authentik::{Fault, Gate, TOKEN};
use serde_json::json;

use super::http2::Exchange;
use super::place::{Place, eventually, username};
use super::wire::basic;

const BYTES: usize = 100 << 10;

/// Envoy keeps the body of a request that waits, up to `per_connection_buffer_limit_bytes` (1 MiB by default). Without the
/// option it stops to read instead.
#[test]
fn upload_that_waits_is_refused_where_it_is_longer_than_envoys_buffer() {
    let place = Place::new(|options| options.plugin("allow_on_headers_stop_iteration", true));
    place.await_keys("demo");
    let seen = place.app.count();
    let gate = Gate::closed();
    place.authentik.fault(TOKEN, Fault::Held(gate.clone()));
    let credential = place.newcomer("patient");
    let upload = || place.request("POST", "/").authorization(&credential).body(vec![b'a'; 3 << 20]);
    assert_eq!(upload().send().status, 413);
    assert_eq!(place.app.count(), seen);
    gate.open();
    eventually("the credential is known", || upload().send().status == 200);
}

#[test]
fn nothing_passes_where_envoy_stops_at_the_headers_only() {
    let place = Place::new(|options| {
        let mut options = options
            .configure("/authentik/timeout_seconds", 60)
            .plugin("allow_on_headers_stop_iteration", true);
        options.speak_http2_to("app");
        options
    });
    place.await_keys("demo");
    let upload = |name: &str| place.request("POST", "/").authorization(place.newcomer(name));
    let chunk = vec![b'a'; BYTES / 10];
    let port = place.envoy.port();
    let with_trailers = |name: &str| {
        let request = Exchange::post(port, "/").header("authorization", &place.newcomer(name));
        request.body(vec![b'a'; BYTES]).trailer("x-checksum", "17").trailer("x-authentik-username", "mallory")
    };
    let (length, chunks) =
        (upload("length").body(vec![b'a'; BYTES]), upload("chunks").chunks(&[&chunk[..]; 10]));
    let trailers = with_trailers("trailers");
    let requests: [(_, Box<dyn FnOnce() -> _ + Send>); 3] = [
        ("length", Box::new(|| length.send().json())),
        ("chunks", Box::new(|| chunks.send().json())),
        ("trailers", Box::new(|| trailers.send().json())),
    ];
    for (user, request) in requests {
        let gate = Gate::closed();
        let seen = place.app.count();
        place.authentik.forget_calls();
        place.authentik.fault(TOKEN, Fault::Held(gate.clone()));
        let shown = thread::scope(|scope| {
            let answer = scope.spawn(request);
            eventually("authentik is asked", || place.calls_to(TOKEN) == 1);
            assert_eq!(place.stat("cluster.app.upstream_rq_active"), 0, "{user}: sent on without a verdict");
            assert_eq!((place.app.count(), place.pending()), (seen, 1), "{user}");
            gate.open();
            answer.join().unwrap()
        });
        assert_eq!((username(&shown).as_str(), &shown["body_bytes"]), (user, &json!(BYTES)));
        let expected = if user == "trailers" { json!([["x-checksum", "17"]]) } else { json!([]) };
        assert_eq!(shown["trailers"], expected, "{user}");
    }
    place.authentik.clear_faults();
    place.turns_away(upload("nobody").authorization("second").body(vec![b'a'; BYTES]), 401);
    place.turns_away(
        place.request("POST", "/").authorization(basic("alice", "no")).body(vec![b'a'; BYTES]),
        401,
    );
}
