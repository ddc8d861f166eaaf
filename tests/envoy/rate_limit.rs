//! Who guesses is braked before authentik hears of it; who is known, and everybody else, is not.

use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::thread;

use fake_authentik::{ALICE, TOKEN};
use local_envoy::EnvoyOptions;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::place::{Place, provider, username};
use super::wire::{Answer, Connection, basic};

const WORKERS: usize = 2;
const FAILURES: usize = 10;
/// Longer than any test takes, so that no window ends in one.
const WINDOW: u64 = 3600;

const CONNECTIONS: usize = 25;
const BATCHES: usize = 16;
const BATCH: usize = 25;

const INTERCEPTS: &str = "on.test";
const INTERCEPTS_NOT: &str = "off.test";

#[test]
fn ten_thousand_guesses_cause_at_most_twenty_calls() {
    let place = braking(|options| {
        let off = json!({"intercept_header_auth": false});
        let providers: Vec<Value> =
            vec![provider("demo", INTERCEPTS, json!({})), provider("demo", INTERCEPTS_NOT, off)];
        options.configure("/providers", providers)
    });
    place.await_keys("demo");
    place.admits(place.get_as(basic("alice", ALICE)).host(INTERCEPTS));
    place.authentik.forget_calls();
    a_known_credential_passes_while_its_user_name_is_guessed(&place);
    other_user_is_not_rate_limited(&place);
    unknown_correct_password_is_rate_limited_too(&place);
    without_interception_a_guess_is_as_good_as_nothing(&place);
}

fn braking(change: impl FnOnce(EnvoyOptions) -> EnvoyOptions) -> Place {
    Place::new(|options| {
        let options = options
            .concurrency(2)
            .configure("/throttle/failures", FAILURES)
            .configure("/throttle/window_seconds", WINDOW)
            .configure("/cache/ttl_seconds", WINDOW)
            .configure("/cache/negative_ttl_seconds", 300);
        change(options)
    })
}

fn guess(number: usize) -> String {
    basic("alice", &format!("guess-{number}"))
}

fn a_known_credential_passes_while_its_user_name_is_guessed(place: &Place) {
    let port = place.envoy.port();
    let refused: usize = thread::scope(|scope| {
        let guessing: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let own = number * BATCHES * BATCH..(number + 1) * BATCHES * BATCH;
                scope.spawn(move || guess_all(port, own))
            })
            .collect();
        guessing.into_iter().map(|one| one.join().unwrap()).sum()
    });
    let calls = place.calls_to(TOKEN);
    assert!((FAILURES..=WORKERS * FAILURES).contains(&calls), "{calls} calls");
    assert_eq!(refused, calls, "authentik refused whom it was asked for, the brake all others");
}

/// How many of the guesses were refused, not braked.
fn guess_all(port: u16, mut numbers: Range<usize>) -> usize {
    let mut connection = Connection::open(port);
    let mut refused = 0;
    while !numbers.is_empty() {
        for number in numbers.by_ref().take(BATCH) {
            refused += usize::from(is_refused_not_braked(&connection.get_at(INTERCEPTS, &guess(number))));
        }
        let known = connection.get_at(INTERCEPTS, &basic("alice", ALICE));
        assert_eq!((known.status, username(&known.json()).as_str()), (200, "alice"));
    }
    refused
}

#[track_caller]
fn is_refused_not_braked(answer: &Answer) -> bool {
    match answer.status {
        401 => true,
        429 => {
            let seconds =
                answer.header("retry-after").and_then(|value| value.parse().ok()).expect("a number");
            assert!((1..=WINDOW).contains(&seconds), "{seconds}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.headers("www-authenticate").len(), 0);
            false
        }
        other => panic!("{other} for a guess"),
    }
}

fn other_user_is_not_rate_limited(place: &Place) {
    let eve = place.newcomer("newcomer");
    place.turns_away(place.get_as(basic("newcomer", "mistyped")).host(INTERCEPTS), 401);
    place.admits(place.get_as(eve).host(INTERCEPTS));
}

/// Otherwise the brake would tell a guesser which guess was right.
fn unknown_correct_password_is_rate_limited_too(place: &Place) {
    place.authentik.edit_user("alice", |user| user.app_passwords.push("second-app-password".to_owned()));
    place.turns_away(place.get_as(basic("alice", "second-app-password")).host(INTERCEPTS), 429);
}

fn without_interception_a_guess_is_as_good_as_nothing(place: &Place) {
    place.authentik.forget_calls();
    for number in 0..3 * WORKERS * FAILURES {
        let request = || place.get_as(guess(number)).host(INTERCEPTS_NOT);
        place.turns_away(request(), 302);
        place.turns_away(request().header("accept", "application/json"), 401);
    }
    let calls = place.calls_to(TOKEN);
    assert!((FAILURES..=WORKERS * FAILURES).contains(&calls), "{calls} calls");
}

#[test]
fn many_users_from_one_address_share_a_limit() {
    let place = braking(|options| {
        options
            .configure("/throttle/trust_source_address", true)
            .configure("/throttle/failures_per_user", FAILURES)
    });
    place.await_keys("demo");
    place.admits(place.get_as(basic("alice", ALICE)));
    place.authentik.forget_calls();
    let names = 3 * WORKERS * FAILURES;
    let mut refused = 0;
    for number in 0..names {
        // What a client says of its address is not believed.
        let request = place
            .get_as(basic(&format!("name-{number}"), "guess"))
            .header("x-forwarded-for", format!("203.0.113.{number}"));
        refused += usize::from(is_refused_not_braked(&request.send()));
    }
    assert!((FAILURES..=WORKERS * FAILURES).contains(&refused), "{refused} of {names} were refused");
    assert_eq!(place.calls_to(TOKEN), refused);
    place.admits(place.get_as(basic("alice", ALICE)));

    let newcomer = place.newcomer("newcomer");
    let elsewhere = Connection::of(connect_from([127, 0, 0, 2], place.envoy.port())).get_as(&newcomer);
    assert_eq!((elsewhere.status, username(&elsewhere.json()).as_str()), (200, "newcomer"));
}

fn connect_from(address: [u8; 4], port: u16) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((address, 0))).unwrap();
        socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

#[test]
fn without_a_limit_every_guess_is_asked_for() {
    let place = braking(|options| options.configure("/throttle/failures", 0));
    place.await_keys("demo");
    let guesses = 3 * WORKERS * FAILURES;
    for number in 0..guesses {
        place.turns_away(place.get_as(guess(number)), 401);
    }
    assert_eq!(place.calls_to(TOKEN), guesses);
}

/// Somebody else's guesses at her name are no reason to turn alice away.
#[test]
fn rate_limit_is_per_user_and_address() {
    let place = braking(|options| options.configure("/throttle/trust_source_address", true));
    place.await_keys("demo");
    for number in 0..3 * WORKERS * FAILURES {
        place.get_as(basic("alice", &format!("guess-{number}"))).send();
    }
    let mut elsewhere = Connection::of(connect_from([127, 0, 0, 2], place.envoy.port()));
    let answer = elsewhere.get_as(&basic("alice", ALICE));
    assert_eq!(
        (answer.status, username(&answer.json()).as_str()),
        (200, "alice"),
        "her own right, unseen password"
    );
}
