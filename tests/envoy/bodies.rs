//! Requests with bodies, and connections with many requests: everything waits for the verdict and then goes on whole.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use fake_authentik::{ALICE, Fault, Gate, TOKEN};
use reqwest::blocking::Client;

use super::place::{Place, eventually, username};
use super::wire::{Answer, Request, basic};

const BYTES: usize = 5 << 20;

#[test]
fn body_waits_for_the_verdict_and_is_forwarded_whole() {
    let place = Place::new(|options| options.configure("/authentik/timeout_seconds", 60));
    place.await_keys("demo");
    let upload = |name| place.request("POST", "/upload").authorization(place.newcomer(name));
    nothing_of_a_body_passes_before_the_verdict(&place, upload("length").body(vec![b'a'; BYTES]));
    let chunk = vec![b'a'; 64 << 10];
    nothing_of_a_body_passes_before_the_verdict(&place, upload("chunks").chunks(&vec![&chunk[..]; 80]));
    a_body_that_was_asked_for_is_sent(&place);
    a_refused_upload_reaches_nobody(&place);
    a_client_that_leaves_takes_nobody_with_it(&place);
    streams_of_one_connection_do_not_mix(&place);
}

/// Held until the test opens it.
fn hold(place: &Place) -> Gate {
    let gate = Gate::closed();
    place.authentik.forget_calls();
    place.authentik.clear_faults();
    place.authentik.fault(TOKEN, Fault::Held(gate.clone()));
    gate
}

fn nothing_of_a_body_passes_before_the_verdict(place: &Place, upload: Request) {
    let gate = hold(place);
    let forwarded = || place.stat("cluster.app.upstream_rq_total");
    let received = || place.stat("http.ingress.downstream_cx_rx_bytes_total");
    let (forwarded_before, received_before) = (forwarded(), received());
    thread::scope(|scope| {
        let answer = scope.spawn(|| upload.send());
        eventually("authentik is asked", || place.calls_to(TOKEN) == 1);
        eventually("the body begins to come", || received() > received_before + 50_000);
        assert_eq!(forwarded(), forwarded_before, "the application must not see a request without a verdict");
        gate.open();
        let answer = answer.join().unwrap();
        assert_eq!((answer.status, &answer.json()["body_bytes"]), (200, &BYTES.into()));
    });
    assert_eq!(forwarded(), forwarded_before + 1);
}

fn a_body_that_was_asked_for_is_sent(place: &Place) {
    place.authentik.clear_faults();
    let head = place.request("PUT", "/").authorization(place.newcomer("expecting"));
    let mut stream = head.header("expect", "100-continue").header("content-length", "4").open();
    assert_eq!(Answer::read(&mut stream).status, 100);
    stream.write_all(b"body").unwrap();
    let answer = Answer::read(&mut stream);
    assert_eq!((answer.status, &answer.json()["body_bytes"]), (200, &4.into()));
}

fn a_refused_upload_reaches_nobody(place: &Place) {
    let forwarded = place.stat("cluster.app.upstream_rq_total");
    let upload = || place.request("POST", "/").body(vec![b'a'; BYTES]);
    place.turns_away(upload().authorization(basic("alice", "wrong")), 401);
    place.turns_away(upload(), 401);
    assert_eq!(place.stat("cluster.app.upstream_rq_total"), forwarded);
}

fn a_client_that_leaves_takes_nobody_with_it(place: &Place) {
    let gate = hold(place);
    let credential = place.newcomer("hasty");
    let hasty = place.get_as(&credential).open();
    eventually("authentik is asked", || place.calls_to(TOKEN) == 1);
    drop(hasty);
    eventually("Envoy has noticed", || place.pending() == 0);
    thread::scope(|scope| {
        let patient = scope.spawn(|| place.get_as(&credential).send());
        eventually("another waits", || place.pending() == 1);
        gate.open();
        let answer = patient.join().unwrap();
        assert_eq!((answer.status, username(&answer.json()).as_str()), (200, "hasty"));
    });
    assert_eq!(place.calls_to(TOKEN), 1);
}

/// HTTP/2: each stream has its own verdict, and one that is reset leaves the others alone.
fn streams_of_one_connection_do_not_mix(place: &Place) {
    let client = Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let get = |credential: &str| client.get(place.envoy.url("/")).header("authorization", credential);
    // With a connection at hand, the client opens no further ones.
    assert_eq!(get(&basic("alice", "wrong")).send().unwrap().status(), 401);
    let users: Vec<_> = (0..20).map(|index| format!("stream-{index}")).collect();
    let credentials: Vec<_> = users.iter().map(|user| place.newcomer(user)).collect();
    let gate = hold(place);
    thread::scope(|scope| {
        let streams: Vec<_> = credentials.iter().map(|it| scope.spawn(|| get(it).send().unwrap())).collect();
        eventually("all wait", || place.pending() == 20);
        let reset = get(&basic("alice", ALICE)).timeout(Duration::from_millis(200)).send();
        assert!(reset.is_err_and(|error| error.is_timeout()));
        // A few calls are out, the others wait for a place.
        eventually("one has gone", || place.pending() == 20 && place.calls_to(TOKEN) >= 4);
        gate.open();
        for (stream, user) in streams.into_iter().zip(&users) {
            assert_eq!(&username(&stream.join().unwrap().json().unwrap()), user);
        }
    });
    assert_eq!(place.stat("http.ingress.downstream_cx_http2_total"), 1);
    assert_eq!(place.stat("http.ingress.downstream_cx_http2_active"), 1);
}
