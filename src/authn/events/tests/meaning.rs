//! What events mean: those that a real authentik 2026.5 has written, and those that it would not write.

use super::*;
use crate::authn::ended::Whose;
use crate::authn::events::learned::News;

fn recorded(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/transcripts/8-{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let transcript = std::fs::read_to_string(path).unwrap();
    let (_, response) = transcript.split_once("<<< RESPONSE").unwrap();
    response[response.find("\n{").unwrap()..].trim().as_bytes().to_vec()
}

fn meaning(events: &[Value]) -> (Vec<Learned>, Vec<u64>) {
    let mut news = News::default();
    events.iter().for_each(|event| news.add(event, at(100)));
    (news.learned, news.changed)
}

/// The events of a case, the oldest first, without those that the search leaves out.
fn of_case(case: &str) -> (Vec<Learned>, Vec<u64>) {
    let page: Value = serde_json::from_slice(&recorded(&format!("{case}-events"))).unwrap();
    let matters = |event: &&Value| {
        let models = ["user", "token", "group", "policybinding", "application", "proxyprovider", "outpost"];
        let model = event.pointer("/context/model/model_name").and_then(Value::as_str);
        ["logout", "password_set"].contains(&event["action"].as_str().unwrap())
            || model.is_some_and(|model| models.contains(&model))
    };
    let mut events: Vec<_> = page["results"].as_array().unwrap().iter().filter(matters).cloned().collect();
    events.reverse();
    assert!(!events.is_empty());
    meaning(&events)
}

#[test]
fn recorded_events_mean_what_authentik_did() {
    for (case, learned, changed) in [
        ("a1", vec![user(10, "ta1")], vec![]),
        ("c1", vec![user_changed(16, None)], vec![16]),
        ("c2", vec![Learned::Credentials, user_changed(17, None)], vec![]),
        ("c3b", vec![Learned::Credentials], vec![]),
        ("d1", vec![user(25, "td1"), user_changed(25, None)], vec![25]),
        ("d2", vec![user(26, "td2"), user_changed(26, None)], vec![26]),
        ("e1", vec![Learned::Credentials], vec![]),
        ("g1", vec![Learned::Credentials], vec![]),
        ("g5", vec![Learned::Providers], vec![]),
        ("g6", vec![Learned::Providers], vec![]),
    ] {
        assert_eq!(of_case(case), (learned, changed), "{case}");
    }
}

#[test]
fn recorded_answers_are_read() {
    let memory = Memory::default();
    let mut reader = worker(&memory);
    assert_eq!(reader.tick(0), newest_query());
    let refused = status(403, &recorded("perm-4-events-without-permission"));
    assert_eq!(reader.answered(0, &refused), None);
    assert_eq!(reader.tick(3), newest_query());
    assert_eq!(reader.answered(3, &status(200, &recorded("perm-outpost-1-events"))), None, "an empty list");
    assert_eq!(reader.tick(9), newest_query());
    // The newest event of this answer was at 00:46:18.
    let newest = status(200, &recorded("perm-8-events-with-permission"));
    let asked = reader.answered(9, &newest).unwrap();
    assert!(asked.starts_with("events 1/100 created since 2026-11-25 22:59:"), "{asked}");
    // It is not in this one, so the reading is no reading.
    let first = status(200, &recorded("events-poll-recommended"));
    assert!(reader.answered(9, &first).is_some_and(|next| next.starts_with("events 2/100 ")));
    let nothing = status(200, &recorded("events-poll-nothing-new-800-events"));
    assert_eq!((reader.answered(9, &nothing), reader.news()), (None, vec![]));
}

#[test]
fn recorded_event_of_another_envoy_is_read_though_it_has_no_time_of_its_own() {
    let page = String::from_utf8(recorded("relay-2-poll")).unwrap();
    let page: Value = serde_json::from_str(&page).unwrap();
    let sid = "b778e2e803086e14490b81cb284baa36e192f66f61cf3ce4a6e8d6fb35ff85ac".to_owned();
    let ended =
        Learned::Ended { client_id: "demo-client-id".to_owned(), who: Whose::Session(sid), at: at(100) };
    assert_eq!(meaning(page["results"].as_array().unwrap()), (vec![ended], vec![]));
    let memory = Memory::default();
    let mut writer = worker(&memory);
    writer.log.relay("demo-client-id", Who::Session("s"), at(0), at(0));
    assert!(writer.log.tick_relay(at(0)).is_some());
    let written = status(201, &recorded("relay-1-post"));
    assert!(writer.run(0, |log, env| log.relay_answered(env, &written)).is_none());
    assert!(writer.log.tick_relay(at(500)).is_none(), "authentik has it");
}

#[test]
fn new_users_and_new_tokens_end_nothing() {
    for model in ["user", "token"] {
        assert_eq!(meaning(&[changed(1, 1, "model_created", model, json!(7))]), (vec![], vec![]));
        assert_ne!(meaning(&[changed(1, 1, "model_updated", model, json!(7))]).0, []);
    }
}

#[test]
fn events_of_one_kind_fold_into_one() {
    let events = [
        logout(1, 1, "alice"),
        logout(1, 2, "alice"),
        changed(3, 3, "model_updated", "user", json!(7)),
        changed(4, 4, "model_updated", "user", json!(7)),
        changed(5, 5, "model_updated", "group", json!("g")),
        changed(6, 6, "model_deleted", "token", json!("t")),
        changed(7, 7, "model_updated", "application", json!("a")),
        changed(8, 8, "model_created", "policybinding", json!("b")),
    ];
    let folded = vec![user(1, "alice"), user_changed(7, None), Learned::Credentials];
    assert_eq!(meaning(&events), (folded, vec![7]));
    let deleted =
        [changed(1, 1, "model_updated", "user", json!(7)), changed(2, 2, "model_deleted", "user", json!(7))];
    assert_eq!(meaning(&deleted), (vec![user_changed(7, None)], vec![]), "nobody asks for a deleted user");
}

#[test]
fn impersonated_user_is_learned_beside_the_administrator() {
    let mut event = logout(1, 1, "akadmin");
    event["user"]["on_behalf_of"] = json!({"pk": 9, "username": "alice"});
    assert_eq!(meaning(&[event]).0, [user(1, "akadmin"), user(9, "alice")]);
}

#[test]
fn event_that_cannot_be_read_means_the_wider_thing_and_stops_no_other() {
    let long = "x".repeat(1025);
    let with = |place: &str, value: Value, mut event: Value| {
        let (parent, name) = place.rsplit_once('/').unwrap();
        event.pointer_mut(parent).unwrap()[name] = value;
        event
    };
    let (everybody, changed_user) = (Learned::Everybody, user_changed(1, None));
    let of_user = || changed(1, 1, "model_updated", "user", json!(1));
    let of_relay = || relayed::event(1, 1, json!({"client_id": "c", "sid": "s", "at": 1}));
    let cases = [
        (with("/user/username", json!(7), logout(1, 1, "a")), &changed_user),
        (with("/user/username", json!(""), logout(1, 1, "a")), &changed_user),
        (with("/user/username", json!(long), logout(1, 1, "a")), &changed_user),
        (with("/user", json!({}), logout(1, 1, "a")), &everybody),
        (with("/user", json!(null), logout(1, 1, "a")), &everybody),
        (with("/user", json!([1]), logout(1, 1, "a")), &everybody),
        (with("/context/model/pk", json!("1"), of_user()), &everybody),
        (with("/context/model/pk", json!(-1), of_user()), &everybody),
        (with("/context/model/pk", json!(1.5), of_user()), &everybody),
        (with("/context/model/model_name", json!(7), of_user()), &everybody),
        (with("/context/model/model_name", json!("unheard-of"), of_user()), &everybody),
        (with("/context/model", json!(null), of_user()), &everybody),
        (with("/action", json!(null), of_user()), &changed_user),
        (with("/context/client_id", json!(7), of_relay()), &everybody),
        (with("/context/sid", json!(long), of_relay()), &everybody),
        (with("/context/sid", json!(null), of_relay()), &everybody),
        (with("/context/sub", json!("both"), of_relay()), &everybody),
        (with("/context", json!(null), of_relay()), &everybody),
        (json!({}), &everybody),
    ];
    for (event, learned) in cases {
        let all = [event.clone(), logout(9, 1, "zoe")];
        assert_eq!(meaning(&all).0, [learned.clone(), user(9, "zoe")], "{event}");
    }
    let mut without_user = logout(1, 1, "a");
    without_user.as_object_mut().unwrap().remove("user");
    assert_eq!(meaning(&[without_user]).0, [everybody]);
}

fn after_changes(worker: &mut Worker<'_>, users: u64) -> Option<String> {
    let started = logout(1, 0, "alice");
    worker.begins(1, &started);
    worker.news();
    worker.tick(16);
    let change = |number| changed(number, 10, "model_updated", "user", json!(number));
    let events: Vec<_> = core::iter::once(started).chain((100..100 + users).map(change)).collect();
    worker.answered(16, &page(&events))
}

#[test]
fn changed_users_are_looked_up() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    assert_eq!(after_changes(&mut worker, 3).as_deref(), Some("/api/v3/core/users/102/"));
    let found = json!({"pk": 102, "username": "carol", "uid": "a-uid", "name": "Carol"});
    let next = worker.answered(16, &status(200, found.to_string().as_bytes()));
    assert_eq!(next.as_deref(), Some("/api/v3/core/users/101/"));
    let next = worker.answered(16, &status(404, b"{}"));
    assert_eq!(next.as_deref(), Some("/api/v3/core/users/100/"));
    assert_eq!(worker.news(), [], "not before all are known");
    assert_eq!(worker.answered(16, &status(500, b"")), None);
    let learned =
        [user_changed(100, None), user_changed(101, None), user_changed(102, Some(("carol", "a-uid")))];
    assert_eq!(worker.news(), learned);
}

#[test]
fn without_the_permission_for_users_one_call_is_made_in_vain() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    assert!(after_changes(&mut worker, 10).is_some());
    assert_eq!(worker.answered(16, &status(403, b"{}")), None);
    assert_eq!(worker.news(), (100..110).map(|pk| user_changed(pk, None)).collect::<Vec<_>>());
}

#[test]
fn too_many_changed_users_mean_everybody() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    assert_eq!(after_changes(&mut worker, 11), None, "nobody is looked up");
    assert!(worker.news().contains(&Learned::Everybody));
}
