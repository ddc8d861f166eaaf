//! What requests that wait for authentik take of Envoy's memory, beyond what Envoy needs for them by itself.
//!
//! The peer is a Wasm module that pauses every request and keeps nothing: Envoy holds the same streams, headers and
//! contexts of a Wasm VM for it. An application that never answers would not do, since Envoy holds a second request
//! to it for each one that it forwards.

use std::fs;
use std::path::PathBuf;

use fake_authentik::{Authentik, Fault, Gate, TOKEN};
use local_envoy::{Envoy, Folder};
use loopback::App;

use super::crowd::{Crowd, Get, Protocol};
use super::place::{Place, eventually, options};
use super::wire::basic;

const CROWD: usize = 3_000;
/// Headers of one request, in bytes: forty of 1 KiB. Envoy takes 60 KiB.
const HEADERS: (usize, usize) = (40, 1 << 10);
const MEBIBYTE: u64 = 1 << 20;
/// What the filter may add.
const LIMIT: u64 = 32 * MEBIBYTE;

/// Pauses every request, and nothing else.
const PAUSES: &str = r#"(module
    (memory (export "memory") 2)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1)))"#;

#[test]
fn three_thousand_requests_of_40_kib_that_wait_take_little_memory() {
    let own = paused_by_envoy();
    let (ours, unanswered) = waiting_in_the_filter();
    let added = ours.saturating_sub(own);
    println!(
        "{CROWD} requests of {} KiB: {} MiB in Envoy by itself, {} MiB with the filter: {} MiB more",
        HEADERS.0 * HEADERS.1 / 1024,
        own / MEBIBYTE,
        ours / MEBIBYTE,
        added / MEBIBYTE
    );
    assert!(
        own > CROWD as u64 * HEADERS.0 as u64 * HEADERS.1 as u64,
        "Envoy holds less than was sent: {own}"
    );
    assert!(added <= LIMIT, "the filter adds {added} bytes to Envoy's own {own}");
    assert_eq!(unanswered, [""; 0], "all of them are refused in the end");
}

/// What Envoy's memory grows by for requests that a filter pauses and does not keep.
fn paused_by_envoy() -> u64 {
    let folder = Folder::new();
    let module: PathBuf = folder.0.join("pauses.wasm");
    fs::write(&module, wat::parse_str(PAUSES).expect("Wasm text")).expect("a file");
    let (authentik, app) = (Authentik::start(), App::start());
    let mut options = options(&authentik, &app);
    options.module = module;
    let envoy = Envoy::start(options);
    let before = envoy.memory();
    let _crowd = send(&envoy, &basic("alice", "wrong"));
    let active = "http.ingress.downstream_rq_active";
    eventually("all are paused", || envoy.stats(active).get(active) == Some(&(CROWD as u64)));
    envoy.memory() - before
}

/// What it grows by for requests that wait in the filter, and what was wrong when they were answered.
fn waiting_in_the_filter() -> (u64, Vec<String>) {
    let place = Place::new(|options| options.configure("/authentik/timeout_seconds", 60));
    place.await_keys("demo");
    place.turns_away(place.get_as(basic("alice", "wrong before")), 401);
    let gate = Gate::closed();
    place.authentik.fault(TOKEN, Fault::Held(gate.clone()));
    let before = place.envoy.memory();
    let crowd = send(&place.envoy, &basic("alice", "wrong"));
    eventually("all wait", || place.pending() == CROWD as u64);
    let after = place.envoy.memory();
    gate.open();
    let answers = crowd.answers().into_iter().map(|answer| answer.map(|it| it.status));
    let wrong = answers.filter(|status| *status != Ok(401)).map(|status| format!("{status:?}"));
    (after - before, wrong.chain(place.envoy.filter_failures(1)).collect())
}

/// Over HTTP/2: a connection for each would take as much memory again.
fn send(envoy: &Envoy, authorization: &str) -> Crowd {
    let (count, size) = HEADERS;
    let request = Get {
        host: format!("127.0.0.1:{}", envoy.port()),
        target: "/".to_owned(),
        headers: std::iter::once(("authorization".to_owned(), authorization.to_owned()))
            .chain((0..count).map(|number| (format!("x-{number:02}"), "a".repeat(size - 4))))
            .collect(),
    };
    Crowd::send(envoy.port(), Protocol::Http2, vec![request; CROWD])
}
