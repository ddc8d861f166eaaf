//! Key swaps under load: no wrong `401`, no wrong `200`, and authentik is asked for its keys no more than it has to be.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use fake_authentik::{Fault, Generation, Key, TokenSpec};

use super::place::{Place, eventually, username};
use super::wire::{Connection, bearer};

const JWKS: &str = "/application/o/es/jwks/";

/// The key before a swap.
pub(super) const OLD: Generation = Generation::A;

const CROWD: usize = 60;
const WORKERS: usize = 2;
/// Requests of each client that loads; they take longer than the swap.
const LOAD: usize = 200;
/// Twice the interval between fetches, so that one may be caused.
const LONGER_THAN_INTERVAL: Duration = Duration::from_secs(3);

/// A provider with a key pair, on two workers.
fn place(refresh: u64, interval: u64) -> Place {
    let place = Place::new(|options| {
        options
            .provider("es", "es-client-secret-0123456789abcdef0123456789abcdef")
            .concurrency(2)
            .configure("/jwks/refresh_seconds", refresh)
            .configure("/jwks/min_refresh_interval_seconds", interval)
            .configure("/cache/ttl_seconds", 3600)
    });
    place.await_keys("es");
    place.admits(place.get_as(bearer(&place.authentik.issue("es", "alice"))));
    place
}

fn tokens(place: &Place, count: usize) -> Vec<String> {
    (0..count).map(|_| bearer(&place.authentik.issue("es", "alice"))).collect()
}

#[test]
fn key_rotation_under_load_rejects_no_valid_token() {
    let place = place(3600, 1);
    let port = place.envoy.port();
    let (seen, unseen) = (tokens(&place, 10), tokens(&place, 10));
    thread::scope(|scope| {
        // Each on a connection of its own, so on one worker, which has seen its token before the swap.
        let mut load: Vec<_> = seen.into_iter().map(|token| (Connection::open(port), token)).collect();
        for (connection, token) in &mut load {
            assert_eq!(connection.get_as(token).status, 200);
        }
        for (mut connection, token) in load {
            scope.spawn(move || {
                for _ in 0..LOAD {
                    assert_eq!(connection.get_as(&token).status, 200, "of the old key, known to be good");
                    sleep(Duration::from_millis(20));
                }
            });
        }
        sleep(LONGER_THAN_INTERVAL);
        place.authentik.forget_calls();
        place.authentik.rotate("es");
        let newcomers: Vec<_> = tokens(&place, CROWD)
            .into_iter()
            .map(|token| scope.spawn(move || Connection::open(port).get_as(&token)))
            .collect();
        for newcomer in newcomers {
            let answer = newcomer.join().unwrap();
            assert_eq!(answer.status, 200, "of the new key: {answer:?}");
            assert_eq!(username(&answer.json()), "alice");
        }
        assert_eq!(place.calls_to(JWKS), 1, "one worker fetched for all");
    });
    for token in unseen {
        place.turns_away(place.get_as(token), 401);
    }
}

#[test]
fn unknown_keys_cause_one_fetch_an_interval() {
    const INTERVAL: u64 = 2;
    let place = place(3600, INTERVAL);
    let port = place.envoy.port();
    let forged: Vec<Vec<String>> = (0..8)
        .map(|connection| {
            let of_nobody = |number| {
                let kid = format!("kid-{connection}-{number}");
                bearer(&place.authentik.mint("es", TokenSpec::new().header("kid", kid)))
            };
            (0..125).map(of_nobody).collect()
        })
        .collect();
    place.authentik.forget_calls();
    let start = Instant::now();
    thread::scope(|scope| {
        for tokens in &forged {
            scope.spawn(move || {
                let mut connection = Connection::open(port);
                for batch in tokens.chunks(25) {
                    for token in batch {
                        assert_eq!(connection.get_as(token).status, 401);
                    }
                    sleep(Duration::from_millis(700));
                }
            });
        }
    });
    let fetches = place.calls_to(JWKS) as u64;
    // The clock of the filter's bound has whole seconds.
    let most = start.elapsed().as_secs() / INTERVAL + 2;
    assert!((1..=most).contains(&fetches), "{fetches} fetches, at most {most}");
    assert_eq!(place.app.count(), 1);
}

#[test]
fn keys_stay_in_use_while_authentik_cannot_give_newer_ones() {
    let place = place(3600, 1);
    place.authentik.fault(JWKS, Fault::Html(502));
    let forged = || place.authentik.mint("es", TokenSpec::new().header("kid", "of-nobody"));
    place.authentik.forget_calls();
    eventually("a refresh has failed", || {
        let status = place.get_as(bearer(&forged())).send().status;
        assert!(matches!(status, 401 | 503), "{status} for a key that nobody knows");
        for token in tokens(&place, WORKERS) {
            place.admits(place.get_as(token));
        }
        place.calls_to(JWKS) >= 3
    });
    place.authentik.rotate("es");
    let newer = tokens(&place, 1).remove(0);
    let status = place.get_as(&newer).send().status;
    assert_eq!(status, 503, "the key may be a new one, which is not the client's fault");
    place.authentik.clear_faults();
    eventually("the new key is known", || match place.get_as(&newer).send().status {
        200 => true,
        503 => false,
        other => panic!("{other} while authentik failed"),
    });
}

#[test]
fn a_key_that_is_withdrawn_ends_by_itself() {
    let place = place(5, 1);
    let withdrawn = || {
        let spec = TokenSpec::new().signed_by(Key::Es256(OLD));
        place.get_as(bearer(&place.authentik.mint("es", spec))).send().status
    };
    assert_eq!(withdrawn(), 200);
    place.authentik.rotate("es");
    // The kid is known until the keys are fetched again: nothing but the schedule asks for that.
    eventually("both workers have new keys", || (0..10).all(|_| withdrawn() == 401));
    place.admits(place.get_as(tokens(&place, 1).remove(0)));
}
