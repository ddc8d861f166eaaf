//! Measured points for `docs/scaling.md`: calls to authentik per second in the real Envoy, beside the formula that the
//! simulation is held to, and the memory of a worker. `make scaling` prints them. No figure is a verdict: they depend on the
//! machine. What must hold on every machine is asserted: everybody gets in, and nobody is asked for without end.

use std::thread;
use std::time::{Duration, Instant};

use fake_authentik::{INTROSPECT, TOKEN};
use local_envoy::{Envoy, measured};
use serde_json::json;

use super::place::{Place, options};
use super::wire::{Connection, Request, bearer};
use crate::scenarios::scaling::fleet::Numbers;
use crate::scenarios::scaling::remembered_by_replicas;

const USERS: usize = 50;
/// `cache.ttl_seconds`.
const LIFETIME: u64 = 5;
/// Seconds between two requests of a user, on average.
const PAUSE: f64 = 1.0;
/// Seconds that are not counted, and seconds that are.
const WARM_UP: u64 = 12;
const WINDOW: u64 = 30;

fn setting() -> String {
    let (day, commit, envoy) = (measured::today(), measured::commit(), measured::envoy_version());
    format!("{day}, commit {commit}, {envoy}, {}", measured::machine())
}

#[test]
#[ignore = "minutes: make scaling"]
fn calls_to_authentik_are_measured_beside_the_formula() {
    println!("{}", setting());
    for verification in ["local", "introspection"] {
        for replicas in [1, 3] {
            measure(verification, replicas);
        }
    }
}

/// Basic where Bearer tokens are verified without a call, else introspected tokens.
#[expect(clippy::print_stdout, reason = "the figures are what `make scaling` is for")]
fn measure(verification: &str, replicas: usize) {
    let change = |options: local_envoy::EnvoyOptions| {
        options
            .concurrency(2)
            .configure("/cache/ttl_seconds", LIFETIME)
            .configure("/session/issue", "never")
            .configure("/providers/0/bearer_verification", verification)
            .manager("/access_log", json!([]))
    };
    let place = Place::new(change);
    let others: Vec<_> =
        (1..replicas).map(|_| Envoy::start(change(options(&place.authentik, &place.app)))).collect();
    let ports: Vec<_> = others.iter().chain([&place.envoy]).map(Envoy::port).collect();
    place.await_keys("demo");
    let (endpoint, users): (_, Vec<_>) = match verification {
        "local" => (TOKEN, (0..USERS).map(|user| place.newcomer(&format!("user-{user}"))).collect()),
        _ => {
            let token = |user: usize| {
                place.newcomer(&format!("user-{user}"));
                bearer(&place.authentik.issue("demo", &format!("user-{user}")))
            };
            (INTROSPECT, (0..USERS).map(token).collect())
        }
    };
    let start = Instant::now();
    let end = start + Duration::from_secs(WARM_UP + WINDOW);
    let (requests, calls, seconds) = thread::scope(|scope| {
        let sending: Vec<_> = users
            .iter()
            .enumerate()
            .map(|(user, credential)| {
                let ports = &ports;
                scope.spawn(move || {
                    let mut numbers = Numbers::new(user as u64);
                    let (mut count, mut at) = (0, start);
                    loop {
                        at += Duration::from_millis(numbers.pause(PAUSE));
                        if at >= end {
                            return count;
                        }
                        thread::sleep(at.saturating_duration_since(Instant::now()));
                        let port = ports[numbers.below(ports.len())];
                        let answer = Request::new(port, "GET", "/").authorization(credential).send();
                        assert_eq!(answer.status, 200, "{answer:?}");
                        count += 1;
                    }
                })
            })
            .collect();
        thread::sleep((start + Duration::from_secs(WARM_UP)).saturating_duration_since(Instant::now()));
        let (before, since) = (place.calls_to(endpoint), Instant::now());
        assert!(before >= USERS, "everybody is unknown at first");
        thread::sleep(end.saturating_duration_since(Instant::now()));
        let (calls, seconds) = (place.calls_to(endpoint) - before, since.elapsed().as_secs_f64());
        (sending.into_iter().map(|user| user.join().unwrap()).sum::<usize>(), calls, seconds)
    });
    assert!(calls > 0 && calls < requests, "{calls} calls, {requests} requests");
    println!(
        "{verification}: {replicas} × 2 workers, {USERS} users, {requests} requests in {} s; {calls} calls in {seconds:.1} s, \
         {:.2} a second; {:.2} by the formula",
        WARM_UP + WINDOW,
        calls as f64 / seconds,
        remembered_by_replicas(USERS, replicas, LIFETIME, PAUSE)
    );
}

/// Distinct tokens that the worker remembers.
const ENTRIES: usize = 10_000;

#[test]
#[ignore = "minutes: make scaling"]
fn memory_of_a_worker_is_measured_for_each_entry() {
    println!("{}", setting());
    for (issue, asks) in [("never", "local"), ("always", "local"), ("never", "introspection")] {
        let place = Place::new(|options| {
            options
                .concurrency(1)
                .provider("hs", "hs-client-secret-0123456789abcdef0123456789abcdef")
                .configure(
                    "/cache",
                    json!({"local_entries": 16_384, "shared_slots": 16_384, "ttl_seconds": 3_600}),
                )
                .configure("/session/issue", issue)
                .configure("/providers/0/bearer_verification", asks)
                .manager("/access_log", json!([]))
        });
        place.await_keys("hs");
        let mut connection = Connection::open(place.envoy.port());
        let mut length = 0;
        let mut send = |count: usize| {
            for _ in 0..count {
                let token = place.authentik.issue("hs", "alice");
                length = token.len();
                assert_eq!(connection.get_as(&bearer(&token)).status, 200);
            }
            place.envoy.memory()
        };
        let before = send(10);
        let after = send(ENTRIES);
        println!(
            "sessions: {issue}, {asks}: {ENTRIES} tokens of {length} bytes, one worker: {} KiB before, {} KiB after, {} bytes each",
            before / 1024,
            after / 1024,
            (after - before) / ENTRIES as u64
        );
        assert!(after - before < ENTRIES as u64 * (10 << 10) * 2, "an entry and its shared slot are bounded");
        assert_eq!(place.calls_to(INTROSPECT), if asks == "local" { 0 } else { ENTRIES + 10 });
    }
}
