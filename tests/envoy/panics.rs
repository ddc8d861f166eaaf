//! A filter that panics all the same, in a build that can be made to: whoever waits is answered at once, nobody passes,
//! and the next request finds a filter that works.

use std::thread;

use fake_authentik::{ALICE, Fault, Gate, TOKEN};
use local_envoy::module::panicking_module;

use super::place::{Place, eventually, username};
use super::wire::basic;

const WAITING: u64 = 50;

/// Far beyond the test's own patience: an answer that comes before is no timeout's.
const NEVER: &str = "600s";

#[test]
fn a_panic_answers_everybody_who_waits_and_the_filter_starts_again() {
    let mut place = Place::new(|options| {
        let mut options = options
            .configure("/authentik/timeout_seconds", 60)
            .manager("/request_timeout", NEVER)
            .manager("/stream_idle_timeout", NEVER);
        options.module = panicking_module().to_owned();
        options
    });
    place.may_panic = true;
    in_the_callback_of_a_request(&place);
    in_the_callback_of_an_answer(&place);
    let log = place.envoy.log();
    assert_eq!(log.matches("panicked at src/filter/paused.rs").count(), 2, "{log}");
    assert!(!log.contains("secret-like"), "a panic's message must not be logged:\n{log}");
    // What the alert on restarts asks for: one for each panic. Envoy never adds to `vm_reload` itself.
    let name = "wasm.authentik.vm_reload_success";
    assert_eq!(place.envoy.stats(name).get(name), Some(&2));
}

fn in_the_callback_of_a_request(place: &Place) {
    with_waiting_requests(place, "early", || {
        place.turns_away(place.get("/").header("x-test-panic", "1"), 503);
    });
}

fn in_the_callback_of_an_answer(place: &Place) {
    with_waiting_requests(place, "late", || {
        let teapot = Fault::Status(418, Vec::new(), String::new());
        place.authentik.fault(TOKEN, teapot);
        place.turns_away(place.get_as(place.newcomer("trigger")), 503);
    });
}

/// They all wait for authentik, which never answers them, when the filter panics.
fn with_waiting_requests(place: &Place, name: &str, panic: impl FnOnce()) {
    works_again(place);
    let gate = Gate::closed();
    place.authentik.forget_calls();
    place.authentik.fault(TOKEN, Fault::Held(gate.clone()));
    let seen = place.app.count();
    thread::scope(|scope| {
        // Of three users: a place among the calls is left for another.
        let get = |index| place.get_as(place.newcomer(&format!("{name}-{}", index % 3)));
        let waiting: Vec<_> = (0..WAITING).map(|index| scope.spawn(move || get(index).send())).collect();
        eventually("all wait", || place.pending() == WAITING && place.calls_to(TOKEN) == 3);
        panic();
        for request in waiting {
            // Without a body or `Retry-After`: Envoy takes the response through the filter, whose VM is gone.
            assert_eq!(request.join().unwrap().status, 503);
        }
    });
    assert_eq!(place.app.count(), seen, "a request that nobody vouched for reached the application");
    assert_eq!(place.pending(), 0);
    gate.open();
    works_again(place);
}

fn works_again(place: &Place) {
    place.authentik.clear_faults();
    eventually("there is a filter that works", || {
        let answer = place.get_as(basic("alice", ALICE)).send();
        answer.status == 200 && username(&answer.json()) == "alice"
    });
}
