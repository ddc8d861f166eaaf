//! One call for everybody who waits: requests with the same new credential cost authentik one exchange per worker,
//! and share its answer, whatever it is.

use std::net::TcpStream;
use std::thread;

use fake_authentik::{Fault, Gate, TOKEN};

use super::place::{Place, eventually, username};
use super::wire::{Answer, basic};

const CROWD: u64 = 200;
const WORKERS: usize = 2;

/// The brake counts as it does by default: a crowd with one credential is one guess.
fn place() -> Place {
    let place = Place::new(|options| {
        options.concurrency(2).configure("/authentik/timeout_seconds", 60).configure("/throttle/failures", 10)
    });
    place.await_keys("demo");
    place
}

#[test]
fn two_hundred_with_one_new_credential_share_two_exchanges() {
    let place = place();
    let newcomer = place.newcomer("newcomer");
    let gate = Gate::closed();
    place.authentik.fault(TOKEN, Fault::Held(gate.clone()));
    let crowd = gather(&place, &newcomer);
    assert_eq!(place.app.count(), 0, "nobody passes before the verdict");
    gate.open();
    for answer in answers(crowd) {
        assert_eq!((answer.status, username(&answer.json()).as_str()), (200, "newcomer"));
    }
    assert_few_calls(&place);
    assert_eq!(place.app.count() as u64, CROWD);
}

#[test]
fn two_hundred_with_one_new_credential_share_a_failure() {
    let mut place = place();
    let newcomer = place.newcomer("newcomer");
    place.authentik.fault(TOKEN, Fault::Hang);
    let crowd = gather(&place, &newcomer);
    place.authentik.down();
    for answer in answers(crowd) {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    }
    assert_few_calls(&place);
    assert_eq!(place.app.count(), 0);
    // It was a failure of authentik's, no guess and no verdict.
    place.authentik.clear_faults();
    place.authentik.up();
    eventually("the newcomer is let in", || place.get_as(&newcomer).send().status == 200);
}

#[test]
fn a_call_goes_on_without_those_who_asked_for_it() {
    let place = place();
    let newcomer = place.newcomer("newcomer");
    let gate = Gate::closed();
    place.authentik.fault(TOKEN, Fault::Held(gate.clone()));
    drop(gather(&place, &newcomer));
    eventually("all have left", || place.pending() == 0);
    let calls = place.calls_to(TOKEN);
    gate.open();
    eventually("the answer has come", || place.stat("cluster.authentik.upstream_rq_active") == 0);
    place.admits(place.get_as(basic("newcomer", "newcomer-app-password")));
    assert_eq!((place.calls_to(TOKEN), place.app.count()), (calls, 1));
}

/// All of them wait for authentik.
fn gather(place: &Place, credential: &str) -> Vec<TcpStream> {
    let crowd = (0..CROWD).map(|_| place.get_as(credential).open()).collect();
    eventually("all wait", || place.pending() == CROWD);
    crowd
}

fn answers(crowd: Vec<TcpStream>) -> Vec<Answer> {
    let reading: Vec<_> =
        crowd.into_iter().map(|mut stream| thread::spawn(move || Answer::read(&mut stream))).collect();
    reading.into_iter().map(|one| one.join().unwrap()).collect()
}

#[track_caller]
fn assert_few_calls(place: &Place) {
    let calls = place.calls_to(TOKEN);
    assert!((1..=WORKERS).contains(&calls), "{calls} exchanges by {WORKERS} workers");
}
