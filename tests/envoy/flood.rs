//! Credentials without end: whoever sends ever new ones makes Envoy's memory grow by nothing, and authentik hears
//! nothing of it.

use std::thread;
use std::time::Instant;

use fake_authentik::TokenSpec;

use super::place::Place;
use super::wire::{Connection, bearer};

const CONNECTIONS: usize = 16;
const MEBIBYTE: u64 = 1 << 20;

/// What the allocator may keep after twice as many.
const MARGIN: u64 = 8 * MEBIBYTE;

#[test]
fn fifty_thousand_distinct_credentials_leave_memory_flat() {
    flood(25_000, 50_000);
}

#[test]
#[ignore = "minutes: make flood"]
fn a_million_distinct_credentials_leave_memory_flat() {
    flood(100_000, 1_000_000);
}

/// Memory after the first part, which fills what may be filled, against memory after all.
#[expect(clippy::print_stdout, reason = "the figures are what `make flood` is for")]
fn flood(first: usize, all: usize) {
    let place = Place::new(|options| options.concurrency(2).manager("/access_log", serde_json::json!([])));
    place.await_keys("demo");
    place.envoy.quiet();
    place.authentik.forget_calls();
    let token = place.authentik.mint("demo", TokenSpec::new());
    let start = Instant::now();
    let before = place.envoy.memory();
    refuse_all(&place, &token, 0, first);
    let filled = place.envoy.memory();
    refuse_all(&place, &token, first, all);
    let after = place.envoy.memory();
    println!(
        "resident: {} KiB before, {} KiB after {first}, {} KiB after {all}; {} s",
        before / 1024,
        filled / 1024,
        after / 1024,
        start.elapsed().as_secs()
    );
    assert_eq!(place.authentik.calls().len(), 0, "nothing of that is authentik's business");
    assert_eq!(place.app.count(), 0);
    assert!(after < filled + MARGIN, "{filled} bytes after {first}, {after} after {all}");
    place.admits(place.get_as(bearer(&place.authentik.issue("demo", "alice"))));
}

fn refuse_all(place: &Place, token: &str, from: usize, to: usize) {
    let port = place.envoy.port();
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            scope.spawn(move || {
                let mut kept = Connection::open(port);
                for number in (from + connection..to).step_by(CONNECTIONS) {
                    let answer = kept.get_as(&bearer(&forged(token, number)));
                    assert_eq!(answer.status, 401, "number {number}");
                }
            });
        }
    });
}

/// Opaque, of the form of a token, and a good token but for its signature.
fn forged(token: &str, number: usize) -> String {
    match number % 3 {
        0 => format!("opaque-token-{number}"),
        1 => format!("eyJhbGciOiJIUzI1NiJ9.payload-{number}.c2lnbmF0dXJl"),
        _ => {
            let (message, _) = token.rsplit_once('.').expect("a signature");
            format!("{message}.{number:043}")
        }
    }
}
