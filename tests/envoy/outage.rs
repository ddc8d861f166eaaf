//! While authentik is out: who is known goes on as long as he was promised, who is not is told to come back, and who is
//! refused is out as soon as authentik says so.

use fake_authentik::{ALICE, Fault, Gate, TOKEN};
use serde_json::json;

use super::place::{Place, eventually, username};
use super::wire::{Answer, basic};

const MEBIBYTE: u64 = 1 << 20;

fn is_known(place: &Place) {
    assert_eq!(username(&place.admits(place.get_as(basic("alice", ALICE)))), "alice");
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{answer:?}");
}

#[test]
fn known_credential_passes_during_an_outage_until_stale_seconds() {
    let mut place = Place::new(|options| {
        options
            .configure("/authentik/timeout_seconds", 1)
            .configure("/cache/ttl_seconds", 1)
            .configure("/cache/stale_seconds", 3600)
    });
    place.await_keys("demo");
    is_known(&place);
    let newcomer = place.newcomer("newcomer");
    for fault in [Fault::ServerError405, Fault::Reset, Fault::Hang] {
        place.authentik.forget_calls();
        place.authentik.fault(TOKEN, fault);
        eventually("alice is asked for again, in vain", || {
            is_known(&place);
            place.calls_to(TOKEN) >= 2
        });
        assert_unavailable(&place.turns_away(place.get_as(&newcomer), 503));
        place.turns_away(place.get_as(basic("alice", "never seen")), 503);
        place.authentik.clear_faults();
    }
    place.authentik.down();
    for _ in 0..3 {
        is_known(&place);
        assert_unavailable(&place.turns_away(place.get_as(&newcomer), 503));
    }
    place.authentik.disable_user("alice");
    is_known(&place);
    place.authentik.up();
    eventually("alice is out", || match place.get_as(basic("alice", ALICE)).send().status {
        401 => true,
        200 => false,
        other => panic!("{other} for one who was good"),
    });
    // That was the last word, whatever comes.
    place.authentik.fault(TOKEN, Fault::ServerError405);
    eventually("the refusal is no longer remembered", || {
        match place.get_as(basic("alice", ALICE)).send().status {
            503 => true,
            401 => false,
            other => panic!("{other} for one who was refused"),
        }
    });
}

#[test]
fn expired_verdict_is_503_without_stale_seconds() {
    let place = Place::new(|options| options.configure("/cache/ttl_seconds", 1));
    place.await_keys("demo");
    is_known(&place);
    place.authentik.fault(TOKEN, Fault::ServerError405);
    let alice = || place.get_as(basic("alice", ALICE));
    eventually("it is over", || match alice().send().status {
        503 => true,
        200 => false,
        other => panic!("{other} for one whom nobody refused"),
    });
    place.authentik.clear_faults();
    is_known(&place);
}

#[test]
fn answers_of_forty_megabytes_are_not_kept() {
    const HUGE: usize = 40 << 20;
    let place = Place::new(|options| options);
    place.await_keys("demo");
    is_known(&place);
    place.authentik.fault(TOKEN, Fault::Huge(HUGE));
    let ask = |number: usize| {
        let newcomer = place.newcomer(&format!("newcomer-{number}"));
        assert_unavailable(&place.turns_away(place.get_as(newcomer), 503));
    };
    ask(0);
    let before = place.envoy.memory();
    (1..=5).for_each(ask);
    is_known(&place);
    // The allocator keeps some pages for itself, but not one more answer.
    eventually("the memory is given back", || place.envoy.memory().saturating_sub(before) < 16 * MEBIBYTE);
    place.authentik.clear_faults();
    place.admits(place.get_as(basic("newcomer-1", "newcomer-1-app-password")));
}

#[test]
fn an_open_circuit_breaker_is_an_outage_for_newcomers_only() {
    let place = Place::new(|mut options| {
        let cluster = &mut options.bootstrap["static_resources"]["clusters"][0];
        assert_eq!(cluster["name"], "authentik");
        cluster["circuit_breakers"] = json!({"thresholds": [{"max_requests": 1, "max_pending_requests": 1}]});
        options.configure("/authentik/timeout_seconds", 60)
    });
    place.await_keys("demo");
    // The key sets of the other providers take the only place, one after the other.
    eventually("alice is known", || place.get_as(basic("alice", ALICE)).send().status == 200);
    let (first, second) = (place.newcomer("first"), place.newcomer("second"));
    let gate = Gate::closed();
    place.authentik.forget_calls();
    place.authentik.fault(TOKEN, Fault::Held(gate.clone()));
    let mut waiting = place.get_as(&first).open();
    eventually("the first is asked for", || place.calls_to(TOKEN) == 1);
    assert_unavailable(&place.turns_away(place.get_as(&second), 503));
    is_known(&place);
    assert_eq!(place.calls_to(TOKEN), 1);
    gate.open();
    let first = Answer::read(&mut waiting);
    assert_eq!((first.status, username(&first.json()).as_str()), (200, "first"));
    eventually("the circuit is closed", || place.get_as(&second).send().status == 200);
}
