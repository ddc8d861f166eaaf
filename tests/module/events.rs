//! authentik's event log in the artefact: who reads it, what the log says of it, and where its names are not.

use std::time::Duration;

use proxy_wasm_testkit::{CallAnswer, HttpCall, LogLevel, Request, Vm, World};
use serde_json::{Value, json};

use super::fixture::{BASE, artefact, path_of, provider, seconds, world};
use super::secrets::assert_kept;

const TOKEN: &str = "the-token-of-the-event-log";
/// 2026-11-26 00:10:00 UTC.
const NOW: Duration = Duration::from_secs(1_795_651_800);

fn start(world: &World) -> Vm {
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": BASE, "events": {"token": TOKEN}},
        "providers": [provider("hs")],
    });
    Vm::start(world, &artefact(), configuration.to_string()).unwrap()
}

fn calls(vm: &Vm) -> Vec<HttpCall> {
    let calls = vm.pending_calls().into_iter();
    calls.filter(|call| path_of(call).starts_with("/api/v3/")).collect()
}

/// Gives each call for events the next of these answers.
#[track_caller]
fn read(vm: &mut Vm, answers: Vec<CallAnswer>) {
    vm.tick();
    for answer in answers {
        let [call] = &calls(vm)[..] else { panic!("one call for events") };
        vm.answer(call.id, answer);
    }
    assert_eq!(calls(vm).len(), 0, "the reading is over");
}

fn event(number: u32, name: &str) -> Value {
    json!({
        "pk": format!("00000000-0000-4000-8000-{number:012}"), "action": "logout", "app": "authentik.events.signals",
        "created": "2026-11-26T00:09:59.915415Z", "context": {},
        "user": {"pk": number, "username": name, "email": format!("{name}@example.test")},
    })
}

fn page(events: &[Value]) -> CallAnswer {
    let pagination = json!({"current": 1, "next": 0, "count": events.len()});
    CallAnswer::json(200, json!({"pagination": pagination, "results": events}).to_string())
}

#[test]
fn one_worker_reads_for_all_and_the_age_is_that_of_all() {
    let world = world();
    world.set_now(NOW);
    let (mut first, mut second) = (start(&world), start(&world));
    first.tick();
    second.tick();
    assert_eq!((calls(&first).len(), calls(&second).len()), (1, 0));
    let events = [event(1, "alice")];
    read(&mut first, vec![page(&events), page(&events)]);
    world.advance(seconds(7));
    second.tick();
    assert_eq!(world.metric("authentik_proxy_events_age_seconds"), Some(7));
    drop(first);
    world.advance(seconds(10));
    read(&mut second, vec![page(&events)]);
    second.tick();
    assert_eq!(world.metric("authentik_proxy_events_age_seconds"), Some(0));
}

#[test]
fn log_without_permission_has_one_clear_line_a_minute_and_an_age() {
    let world = world();
    world.set_now(NOW);
    let mut vm = start(&world);
    for answer in [
        CallAnswer::json(
            403,
            json!({"detail": "You do not have permission to perform this action."}).to_string(),
        ),
        page(&[]),
    ] {
        world.clear_log();
        for _ in 0..5 {
            vm.tick();
            if let [call] = &calls(&vm)[..] {
                vm.answer(call.id, answer.clone());
            }
            world.advance(seconds(12));
        }
        let lines: Vec<_> = world
            .log()
            .into_iter()
            .filter(|line| line.text.contains("event log could not be read"))
            .collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].level == LogLevel::Warn && lines[0].text.contains("authentik_events.view_event"));
    }
    vm.tick();
    assert!(world.metric("authentik_proxy_events_age_seconds").is_some_and(|age| age >= 120));
}

#[test]
fn names_and_token_of_the_log_are_kept() {
    let world = world();
    world.set_now(NOW);
    let mut vm = start(&world);
    let names = ["amalia-of-the-log", "bertram-of-the-log"];
    let events: Vec<_> = (1..).zip(names).map(|(number, name)| event(number, name)).collect();
    let broken = json!({"pk": "x", "created": "y", "user": {"username": [names[0]]}, "action": names[1]});
    let echo = |status| CallAnswer::json(status, json!({"detail": [TOKEN, names[0]]}).to_string());
    for answers in [
        vec![echo(403)],
        vec![page(&events[..1]), page(&events[..1])],
        vec![page(&events)],
        vec![page(&[events.clone(), vec![broken]].concat())],
        vec![echo(500)],
        vec![CallAnswer::json(200, names[0])],
    ] {
        world.advance(seconds(70));
        read(&mut vm, answers);
    }
    assert!(world.logged(LogLevel::Info, "too many events, or some that cannot be read"));
    let stream = vm.send(Request::get("/").replace(":authority", "hs.example.com"));
    let mut kept = names.map(str::to_owned).to_vec();
    kept.push(TOKEN.to_owned());
    assert_kept(&kept, &world, &[vm.outcome(stream)]);
    for key in world.shared_keys("") {
        let value = world.shared_data("", &key).unwrap();
        for name in &kept {
            let is_there = value.windows(name.len()).any(|part| part == name.as_bytes());
            assert!(!is_there, "{name} in shared data");
        }
    }
}
