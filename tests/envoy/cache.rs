//! What is remembered of a credential, by all workers together, and for how long.

use std::thread;

use fake_authentik::{ALICE, Fault, Gate, TOKEN};

use super::place::{Place, eventually, username};
use super::wire::{Answer, basic};

/// Enough fresh connections for every worker to get some.
const MANY: usize = 40;

#[test]
fn one_worker_asks_once_for_what_it_can_remember() {
    memory_of_verdicts(1);
}

#[test]
fn two_workers_ask_once_for_what_both_can_remember() {
    memory_of_verdicts(2);
}

fn memory_of_verdicts(workers: u32) {
    let place = Place::new(|options| {
        options
            .concurrency(workers)
            .configure("/authentik/timeout_seconds", 60)
            .configure("/cache/negative_ttl_seconds", 300)
    });
    place.await_keys("demo");
    a_good_credential_is_exchanged_once(&place);
    assert_all_took_part(&place, workers);
    a_refusal_is_remembered(&place);
    requests_at_the_same_time_share_one_exchange(&place, workers as usize);
}

fn a_good_credential_is_exchanged_once(place: &Place) {
    for _ in 0..=MANY {
        assert_eq!(username(&place.admits(place.get_as(basic("alice", ALICE)))), "alice");
    }
    assert_eq!(place.calls_to(TOKEN), 1);
}

fn assert_all_took_part(place: &Place, workers: u32) {
    for worker in 0..workers {
        let name = format!("listener.127.0.0.1_{}.worker_{worker}.downstream_cx_total", place.envoy.port());
        assert!(place.stat(&name) > 0, "{name}");
    }
}

/// Also after the password has become good: that is what remembering means.
fn a_refusal_is_remembered(place: &Place) {
    place.authentik.forget_calls();
    let to_be = || place.get_as(basic("alice", "to-be-good-app-password"));
    place.turns_away(to_be(), 401);
    place.authentik.edit_user("alice", |user| user.app_passwords.push("to-be-good-app-password".to_owned()));
    for _ in 0..MANY {
        place.turns_away(to_be(), 401);
    }
    assert_eq!(place.calls_to(TOKEN), 1);
    // It is this credential that is refused, not this user.
    place.admits(place.get_as(basic("alice", ALICE)));
}

fn requests_at_the_same_time_share_one_exchange(place: &Place, workers: usize) {
    let crowd = place.newcomer("crowd");
    place.authentik.forget_calls();
    let gate = Gate::closed();
    place.authentik.fault(TOKEN, Fault::Held(gate.clone()));
    let before = place.app.count();
    thread::scope(|scope| {
        let all: Vec<_> = (0..50).map(|_| scope.spawn(|| place.get_as(&crowd).send())).collect();
        eventually("all wait", || place.pending() == 50);
        assert_eq!(place.app.count(), before);
        gate.open();
        for one in all {
            let answer: Answer = one.join().unwrap();
            assert_eq!((answer.status, username(&answer.json()).as_str()), (200, "crowd"));
        }
    });
    let calls = place.calls_to(TOKEN);
    assert!((1..=workers).contains(&calls), "{calls} exchanges by {workers} workers");
    place.authentik.clear_faults();
}

#[test]
fn what_was_remembered_is_asked_again_once_its_time_is_over() {
    let place = Place::new(|options| {
        options.configure("/cache/ttl_seconds", 1).configure("/cache/negative_ttl_seconds", 1)
    });
    eventually("a second exchange", || {
        place.admits(place.get_as(basic("alice", ALICE)));
        place.calls_to(TOKEN) == 2
    });

    let late = || place.get_as(basic("eve", "late-app-password"));
    place.turns_away(late(), 401);
    place.authentik.edit_user("eve", |user| user.app_passwords.push("late-app-password".to_owned()));
    eventually("the refusal is over", || late().send().status == 200);

    place.authentik.disable_user("alice");
    eventually("the user is out", || place.get_as(basic("alice", ALICE)).send().status == 401);
}
