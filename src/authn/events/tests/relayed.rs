//! What one Envoy writes and the others read.

use super::*;
use crate::authn::ended::Whose;

pub(super) fn event(number: u64, seconds: u64, context: Value) -> Value {
    json!({
        "pk": key(number), "action": "logout", "app": "authentik-proxy-wasm", "created": utc(seconds), "user": {},
        "context": context,
    })
}

fn written(call: &Call) -> Value {
    assert_eq!(header(call, "authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(header(call, "content-type"), "application/json");
    assert_eq!([":method", ":path"].map(|name| header(call, name)), ["POST", "/api/v3/events/events/"]);
    serde_json::from_slice(call.body.expose()).unwrap()
}

impl Worker<'_> {
    fn tick_relay(&mut self, seconds: u64) -> Option<Value> {
        self.log.tick_relay(at(seconds)).map(|call| written(&call))
    }

    fn relay_answered(&mut self, seconds: u64, answer: &Answer) -> Option<Value> {
        self.run(seconds, |log, env| log.relay_answered(env, answer)).map(|call| written(&call))
    }

    fn relays(&mut self, sid: &str) {
        self.log.relay("demo-client-id", Who::Session(sid), at(0), at(0));
    }
}

fn sid(written: Option<&Value>) -> Option<&str> {
    written?.pointer("/context/sid")?.as_str()
}

#[test]
fn written_event_is_read_by_another_envoy() {
    let (here, there) = (Memory::default(), Memory::default());
    let (mut writer, mut reader) = (worker(&here), worker(&there));
    let started = logout(1, 0, "alice");
    reader.begins(1, &started);
    reader.news();
    writer.log.relay("demo-client-id", Who::Session("a-sid"), at(2), at(2));
    writer.log.relay("demo-client-id", Who::User("a-sub"), at(1000), at(2));
    let first = writer.tick_relay(2).unwrap();
    assert_eq!(
        first,
        json!({
            "action": "logout", "app": "authentik-proxy-wasm",
            "context": {"client_id": "demo-client-id", "sid": "a-sid", "at": (START + 2) * 1000},
        })
    );
    assert_eq!(writer.tick_relay(3), None, "one at a time");
    let second = writer.relay_answered(3, &status(201, b"{}")).unwrap();
    assert_eq!(writer.relay_answered(3, &status(201, b"{}")), None);
    assert_eq!(writer.tick_relay(4), None, "each once");
    assert_eq!(reader.tick(16), Some(since_before(0)));
    let events = [&first, &second].map(|written| event(2, 3, written["context"].clone()));
    assert_eq!(reader.answered(16, &page(&[vec![started], events.to_vec()].concat())), None);
    let ended = |who, at| Learned::Ended { client_id: "demo-client-id".to_owned(), who, at };
    assert_eq!(
        reader.news(),
        [ended(Whose::Session("a-sid".to_owned()), at(2)), ended(Whose::User("a-sub".to_owned()), at(16))],
        "what is said to be later than now is now"
    );
}

#[test]
fn event_that_cannot_be_written_is_tried_again_less_and_less_often() {
    for answer in [Answer::Reset, status(500, b""), status(403, b"{}"), status(404, b""), status(200, b"")] {
        let memory = Memory::default();
        let mut worker = worker(&memory);
        worker.relays("a-sid");
        let mut tries = Vec::new();
        for second in 0..400 {
            if worker.tick_relay(second).is_some() {
                tries.push(second);
                assert_eq!(worker.relay_answered(second, &answer), None);
            }
        }
        let is_kept = matches!(answer, Answer::Response { status: 200, .. });
        let expected = if is_kept { 1..=1 } else { 8..=13 };
        assert!(expected.contains(&tries.len()), "{answer:?}: {tries:?}");
    }
}

#[test]
fn rejected_event_does_not_stop_those_behind_it() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    worker.relays("first");
    worker.relays("second");
    assert_eq!(sid(worker.tick_relay(0).as_ref()), Some("first"));
    assert_eq!(sid(worker.relay_answered(0, &status(400, b"{}")).as_ref()), Some("second"));
    assert_eq!(worker.relay_answered(0, &status(201, b"{}")), None);
    assert_eq!(worker.tick_relay(100), None);
}

#[test]
fn waiting_events_are_bounded_and_the_oldest_leaves() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    for number in 0..300 {
        worker.relays(&number.to_string());
        worker.relays(&number.to_string());
    }
    let mut next = worker.tick_relay(0);
    let mut sent = Vec::new();
    while let Some(event) = next {
        sent.push(sid(Some(&event)).unwrap().parse::<u64>().unwrap());
        next = worker.relay_answered(0, &status(201, b"{}"));
    }
    assert_eq!(sent, (300 - 256..300).collect::<Vec<_>>());
}
