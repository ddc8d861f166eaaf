//! The event log of the stand-in: each act against the events that a real authentik was recorded to write for it, and against
//! the recorded table of what introspection and the token endpoint say afterwards; and the API of the log.

use std::fs;
use std::path::Path;
use std::time::Duration;

use fake_authentik::{
    ADMIN_TOKEN, ALICE_API_TOKEN, Actor, Authentik, EVENTS, Fault, Gate, INTROSPECT, Key, LOGOUT_EVENT,
    OUTPOST_TOKEN, Permission, SERVICE_TOKEN, TokenSpec, USERS,
};
use loopback::client;
use reqwest::blocking::Response;
use serde_json::{Value, json};

use super::flow::access_token_of;
use super::{decode, introspected, token_request};

const USER: &str = "tester";
const PASSWORD: &str = "tester-app-password";
/// What the filter asks for, with the time in its place.
const MATTERS: &str = r#"(action in ("logout","password_set") or context.model.model_name in ("user","token","group","policybinding","application","proxyprovider","outpost"))"#;

fn get(authentik: &Authentik, target: &str, token: &str) -> Response {
    let url = format!("http://{}{target}", authentik.authority());
    client().get(url).header("authorization", format!("Bearer {token}")).send().unwrap()
}

/// The list that this query finds, as the administrator sees it.
fn list(authentik: &Authentik, query: &[(&str, &str)]) -> Value {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let answer = get(authentik, &format!("{EVENTS}?{query}"), ADMIN_TOKEN);
    assert_eq!(answer.status(), 200);
    answer.json().unwrap()
}

fn count(authentik: &Authentik, search: &str) -> u64 {
    list(authentik, &[("search", search)])["pagination"]["count"].as_u64().unwrap()
}

fn actions(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["action"].as_str().unwrap()).collect()
}

/// A login and an app password's token of the user, before and after what happens to him.
struct Subject {
    authentik: Authentik,
    sid: String,
    of_login: String,
    of_password: String,
}

impl Subject {
    fn new() -> Self {
        let authentik = Authentik::start();
        authentik.edit_user(USER, |user| {
            user.email = "tester@example.test".to_owned();
            user.name = "Tester".to_owned();
            user.groups = vec!["staff".to_owned()];
        });
        let of_login = access_token_of(&authentik, USER);
        let exchanged: Value =
            token_request(&authentik, "demo", USER, PASSWORD).send().unwrap().json().unwrap();
        let of_password = exchanged["access_token"].as_str().unwrap().to_owned();
        let sid = authentik.sessions_of(USER).remove(0);
        assert_eq!(decode(&of_login)["payload"]["sid"], 64, "its length");
        assert_eq!(decode(&of_password)["payload"]["sid"], Value::Null);
        authentik.forget_events();
        let subject = Self { authentik, sid, of_login, of_password };
        assert_eq!(subject.stands(), (true, true, 200));
        subject
    }

    /// Whether the login's token and the app password's are active, and what a new exchange is answered.
    fn stands(&self) -> Standing {
        let is_active = |token| introspected(&self.authentik, "demo", token)["active"] == true;
        let exchange = token_request(&self.authentik, "demo", USER, PASSWORD).send().unwrap();
        (is_active(&self.of_login), is_active(&self.of_password), exchange.status().as_u16())
    }
}

/// The events of a transcript, the oldest first, without the logins of the recording itself.
fn recorded(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/transcripts");
    let text = fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap();
    let (_, answer) = text.split_once("<<< RESPONSE\n").unwrap();
    let (_, body) = answer.split_once("\n\n").unwrap();
    let body = serde_json::Deserializer::from_str(body).into_iter::<Value>().next().unwrap().unwrap();
    let mut events = body["results"].as_array().unwrap().clone();
    events.retain(|event| event["action"] != "login");
    events.reverse();
    events
}

/// An event without what is of this one only. The user of a recording has a name, number and address of his own, and so have
/// his app password and the primary keys.
fn comparable(event: &Value) -> Value {
    let mut event = event.clone();
    for pointer in ["/pk", "/created", "/expires", "/context/http_request/request_id"] {
        let value = event.pointer_mut(pointer).unwrap();
        *value = value.as_str().unwrap().len().into();
    }
    if event["user"]["pk"] != 3 {
        event["user"] = "the user".into();
    }
    let path = event["context"]["http_request"]["path"].as_str().unwrap();
    let is_own = |part: &&str| part.contains(|it: char| it.is_ascii_digit()) && *part != "v3";
    let path: Vec<_> = path.split('/').map(|part| if is_own(&part) { "…" } else { part }).collect();
    event["context"]["http_request"]["path"] = path.join("/").into();
    if let Some(model) = event["context"].get_mut("model") {
        model["pk"] =
            if model["pk"].is_u64() { json!("a number") } else { json!(model["pk"].as_str().unwrap().len()) };
        let name = model["name"].as_str().unwrap();
        let (_, rest) = name.split_once(" (").unwrap_or_default();
        model["name"] = match model["model_name"].as_str().unwrap() {
            "user" => "the user".into(),
            "token" => format!("an app password ({rest}").into(),
            "policybinding" => name.split(" User ").next().unwrap().into(),
            _ => name.into(),
        };
    }
    event
}

type Act = fn(&Subject);
/// Whether the tokens of the login and of the app password are active, and what a new exchange is answered.
type Standing = (bool, bool, u16);

#[test]
fn each_act_writes_the_recorded_events_and_ends_what_it_ended() {
    let acts: [(&str, Act, Standing); 14] = [
        ("8-a1-events", |it| it.authentik.sign_out(&it.sid), (false, true, 200)),
        ("8-c1-events", |it| it.authentik.disable_user(USER), (false, false, 400)),
        ("8-c2-events", |it| it.authentik.delete_user(USER), (false, false, 400)),
        ("8-c3b-events", |it| it.authentik.remove_from_group(USER, "staff"), (true, true, 200)),
        ("8-c4-events", |it| it.authentik.rename_user(USER, "renamed"), (true, true, 400)),
        ("8-d1-events", |it| it.authentik.change_password(USER, "new"), (false, true, 200)),
        ("8-d2-events", |it| it.authentik.set_password(USER, "new"), (true, true, 200)),
        (
            "8-e1-events",
            |it| it.authentik.delete_app_password(USER, PASSWORD, Actor::Administrator),
            (true, true, 400),
        ),
        (
            "8-e1b-events",
            |it| it.authentik.delete_app_password(USER, PASSWORD, Actor::Owner),
            (true, true, 400),
        ),
        ("8-e2-events", |it| it.authentik.expire_app_password(USER, PASSWORD), (true, true, 400)),
        ("8-e3-events", |it| it.authentik.set_app_password_key(USER, PASSWORD, "new"), (true, true, 400)),
        ("8-g1-events", |it| it.authentik.deny("demo", USER), (true, true, 400)),
        ("8-g5-events", |it| it.authentik.save_provider("demo"), (true, true, 200)),
        ("8-g6-events", |it| it.authentik.save_outpost("demo-outpost"), (true, true, 200)),
    ];
    for (name, act, after) in acts {
        let subject = Subject::new();
        act(&subject);
        let written: Vec<_> = subject.authentik.events().iter().map(comparable).collect();
        let recorded: Vec<_> = recorded(name).iter().map(comparable).collect();
        assert!(!recorded.is_empty());
        assert_eq!(written, recorded, "{name}");
        assert_eq!(subject.stands(), after, "{name}");
    }
}

/// Acts of the recorded table for which no list of events was kept.
#[test]
fn other_acts_write_the_events_of_the_table() {
    let acts: [(&str, Act, &[&str], Standing); 8] = [
        ("b", |it| it.authentik.delete_session(&it.sid), &[], (false, true, 200)),
        ("f1", |it| it.authentik.revoke(&it.of_login), &[], (false, true, 200)),
        (
            "c1d",
            |it| {
                it.authentik.disable_user(USER);
                it.authentik.enable_user(USER);
            },
            &["model_updated user", "model_updated user"],
            (false, false, 200),
        ),
        (
            "c3c",
            |it| it.authentik.set_groups(USER, &["other"]),
            &["model_updated user", "model_updated user", "model_updated user"],
            (true, true, 200),
        ),
        ("c3e", |it| it.authentik.change_group("staff"), &["model_updated group"], (true, true, 200)),
        (
            "g3",
            |it| {
                it.authentik.deny("demo", USER);
                it.authentik.admit("demo", USER);
            },
            &["model_created policybinding", "model_deleted policybinding"],
            (true, true, 200),
        ),
        ("g7", |it| it.authentik.save_application("demo"), &["model_updated application"], (true, true, 200)),
        ("nothing", |_| (), &[], (true, true, 200)),
    ];
    for (name, act, expected, after) in acts {
        let subject = Subject::new();
        act(&subject);
        let written = subject.authentik.events();
        let written = written.iter().map(|event| {
            let model = event["context"]["model"]["model_name"].as_str().unwrap();
            format!("{} {model}", event["action"].as_str().unwrap())
        });
        assert_eq!(written.collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(subject.stands(), after, "{name}");
    }
}

#[test]
fn sign_out_is_in_the_log_before_the_tokens_are_dead() {
    let subject = Subject::new();
    subject.authentik.set_sign_out_lag(Duration::from_secs(3_600));
    let second = access_token_of(&subject.authentik, USER);
    subject.authentik.sign_out(&subject.sid);
    assert_eq!(actions(&subject.authentik.events()), ["logout"]);
    assert_eq!(subject.stands(), (true, true, 200));
    subject.authentik.sign_out(&subject.sid);
    assert_eq!(subject.authentik.events().len(), 1, "it was signed out already");
    subject.authentik.finish_sign_outs();
    assert_eq!(subject.stands(), (false, true, 200));
    assert_eq!(introspected(&subject.authentik, "demo", &second)["active"], true, "another session");
    assert_eq!(subject.authentik.sessions_of(USER).len(), 1);
}

#[test]
fn app_passwords_are_named_by_neither_owner_nor_text() {
    let subject = Subject::new();
    subject.authentik.delete_app_password(USER, PASSWORD, Actor::Administrator);
    let events = subject.authentik.events();
    assert_eq!(events[0]["context"]["model"]["name"], Authentik::app_password_identifier(PASSWORD));
    let text = events[0].to_string();
    assert!(!text.contains(USER) && !text.contains(PASSWORD), "{text}");
}

#[test]
fn log_is_searched_as_recorded_and_never_says_that_it_did_not_understand() {
    let authentik = Authentik::start();
    authentik.edit_user(USER, |_| ());
    authentik.forget_events();
    authentik.stop_event_clock(1_795_625_803);
    authentik.set_password(USER, "new");
    authentik.save_provider("demo");
    authentik.stop_event_clock(1_795_625_804);
    authentik.log_in_directly(USER);
    authentik.sign_out(&authentik.sessions_of(USER)[0]);

    let since = |time: &str| format!(r#"created >= "{time}" and {MATTERS}"#);
    assert_eq!(list(&authentik, &[])["pagination"]["count"], 9);
    for (search, found) in [
        (since("2026-11-25 16:56:43"), 5),
        (since("2026-11-25 16:56:44"), 1),
        (since("2026-11-25 16:56:45"), 0),
        (since("1970-01-01 00:00:00"), 5),
        (r#"action = "logout""#.to_owned(), 1),
        (r#"user.username in ("tester","nobody") and action = "password_set""#.to_owned(), 1),
        (r#"created >= "1970-01-01 00:00:00" and app = "authentik.events.middleware""#.to_owned(), 7),
    ] {
        assert_eq!(count(&authentik, &search), found, "{search}");
    }
    for wrong in [
        since("2026-11-25T16:56:43"),
        since("2026-11-25 16:56:43Z"),
        since("2026-11-25 16:56:43.000"),
        since("2026-11-25"),
        since("2026-13-25 16:56:43"),
        r#"created > "1970-01-01 00:00:00""#.to_owned(),
        r#"unknown = "logout""#.to_owned(),
        r#"context.model.pk = 3"#.to_owned(),
        r#"action in ("logout""#.to_owned(),
        r#"(action in ("logout")"#.to_owned(),
        r#"action = "logout" and"#.to_owned(),
        r#"action = "logout" "logout""#.to_owned(),
        r#"action = "logout")"#.to_owned(),
        r#"action = "logout" or unknown = "x""#.to_owned(),
        r#"action = "logout"#.to_owned(),
        "logout".to_owned(),
        "é".to_owned(),
    ] {
        assert_eq!(count(&authentik, &wrong), 0, "{wrong}");
    }
    assert_eq!(list(&authentik, &[("created__gt", "2030-01-01")])["pagination"]["count"], 9, "ignored");
}

#[test]
fn log_has_pages_in_the_order_asked_for() {
    let authentik = Authentik::start();
    authentik.stop_event_clock(1_900_000_000);
    for _ in 0..250 {
        authentik.change_group("staff");
    }
    let page = |number: &str, size: &str, order: &str| {
        list(&authentik, &[("page", number), ("page_size", size), ("ordering", order)])
    };
    let mut created = Vec::new();
    let mut next = 1;
    while next > 0 {
        let page = page(&next.to_string(), "1000", "created");
        next = page["pagination"]["next"].as_u64().unwrap();
        let results = page["results"].as_array().unwrap().clone();
        assert!(results.len() <= 100);
        created.extend(results.iter().map(|event| event["created"].as_str().unwrap().to_owned()));
    }
    assert_eq!(created.len(), 251, "and the one that every authentik has");
    assert!(
        created.is_sorted() && created.iter().all(|it| it.len() == 27 && it.ends_with('Z')),
        "{created:?}"
    );
    assert_eq!(created[1], "2030-03-17T17:46:40.000000Z");
    assert_eq!(page("1", "1", "-created")["results"][0]["created"], *created.last().unwrap());
    assert_eq!(get(&authentik, &format!("{EVENTS}?page=9&page_size=100"), ADMIN_TOKEN).status(), 404);
    assert_eq!(page("1", "1", "created")["autocomplete"]["current_model"], "authentik_events.event");
}

#[test]
fn log_is_readable_with_the_permission_only() {
    let authentik = Authentik::start();
    let detail = |token: &str| {
        let answer = get(&authentik, EVENTS, token);
        let status = answer.status().as_u16();
        let body: Value = answer.json().unwrap();
        (status, body["detail"].as_str().map(str::to_owned), body["pagination"]["count"].as_u64())
    };
    let refused = |text: &str| (403, Some(text.to_owned()), None);
    let no_permission = "You do not have permission to perform this action.";
    assert_eq!(detail(SERVICE_TOKEN), refused(no_permission));
    assert_eq!(detail(ALICE_API_TOKEN), refused(no_permission));
    assert_eq!(detail("unknown"), refused("Token invalid/expired"));
    assert_eq!(detail(OUTPOST_TOKEN), (200, None, Some(0)), "as if nothing had happened");
    for token in [SERVICE_TOKEN, OUTPOST_TOKEN] {
        authentik.permit(token, &[Permission::ViewEvent]);
        assert_eq!(detail(token), (200, None, Some(1)));
        authentik.permit(token, &[]);
    }
    assert_eq!(detail(SERVICE_TOKEN), refused(no_permission));
}

#[test]
fn events_are_added_with_the_permission_and_authentiks_own_words() {
    let authentik = Authentik::start();
    let post = |token: &str, body: &Value| {
        let url = format!("http://{}{EVENTS}", authentik.authority());
        let request = client().post(url).header("authorization", format!("Bearer {token}"));
        let answer =
            request.header("content-type", "application/json").body(body.to_string()).send().unwrap();
        (answer.status().as_u16(), answer.json::<Value>().unwrap())
    };
    let event = json!({"action": "logout", "app": "authentik-proxy-wasm", "context": {"client_id": "demo-client-id", "sid": "abc"}});
    assert_eq!(post(SERVICE_TOKEN, &event).0, 403);
    assert_eq!(post("unknown", &event).0, 403);
    authentik.permit(SERVICE_TOKEN, &[Permission::AddEvent]);
    for action in ["custom_thing", "", "Logout"] {
        let mut other = event.clone();
        other["action"] = action.into();
        assert_eq!(post(SERVICE_TOKEN, &other).0, 400, "{action}");
    }
    assert_eq!(post(SERVICE_TOKEN, &json!([1])).0, 400);
    for token in [SERVICE_TOKEN, OUTPOST_TOKEN] {
        let (status, written) = post(token, &event);
        assert_eq!(status, 201);
        assert_eq!(
            (&written["user"], &written["client_ip"], &written["context"]),
            (&json!({}), &Value::Null, &event["context"])
        );
    }
    let found = list(&authentik, &[("search", r#"app = "authentik-proxy-wasm""#)]);
    assert_eq!(found["pagination"]["count"], 2);
    assert_eq!(count(&authentik, MATTERS), 3, "with the one that every authentik has");
}

#[test]
fn users_are_named_by_number_with_the_permission_only() {
    let authentik = Authentik::start();
    let alice = || get(&authentik, &format!("{USERS}4/"), SERVICE_TOKEN);
    assert_eq!(alice().status(), 403);
    authentik.permit(SERVICE_TOKEN, &[Permission::ViewUser]);
    let found: Value = alice().json().unwrap();
    let mut sub = None;
    authentik.edit_user("alice", |user| sub = Some(user.sub.clone()));
    assert_eq!((&found["pk"], &found["username"], &found["uid"]), (&json!(4), &json!("alice"), &json!(sub)));
    assert_eq!(get(&authentik, &format!("{USERS}99/"), SERVICE_TOKEN).status(), 404);
}

#[test]
fn tokens_name_the_number_of_their_user_where_a_mapping_says_so() {
    let authentik = Authentik::start();
    let claim = || {
        let body: Value = token_request(&authentik, "demo", "eve", "eve-app-password-0123456789abcdef")
            .send()
            .unwrap()
            .json()
            .unwrap();
        decode(body["access_token"].as_str().unwrap())["payload"]["ak_user_pk"].clone()
    };
    assert_eq!(claim(), Value::Null);
    authentik.edit_provider("demo", |provider| provider.names_user_pk = true);
    assert_eq!(claim(), 7);
}

#[test]
fn logout_tokens_are_as_recorded_and_can_differ_in_anything() {
    let authentik = Authentik::start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/transcripts");
    let text = fs::read_to_string(folder.join("8-bc-4-logout-request.txt")).unwrap();
    let (_, decoded) = text.split_once("=== DECODED logout_token\n").unwrap();
    let recorded = serde_json::Deserializer::from_str(decoded).into_iter::<Value>().next().unwrap().unwrap();

    let sid = "b778e2e803086e14490b81cb284baa36e192f66f61cf3ce4a6e8d6fb35ff85ac";
    let token = decode(&authentik.logout_token("demo", Some(sid), TokenSpec::new()));
    assert_eq!(token["header"], recorded["header"]);
    let names = |claims: &Value| claims.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&token["payload"]), names(&recorded["payload"]));
    for name in ["aud", "events"] {
        assert_eq!(token["payload"][name], recorded["payload"][name], "{name}");
    }
    assert_eq!(token["payload"]["exp"], 3_600, "its lifetime");
    assert_eq!(token["payload"]["events"], json!({LOGOUT_EVENT: {}}));

    let spec = TokenSpec::new().user("eve").header("typ", "JWT").claim("nonce", "n").without_claim("events");
    let hostile =
        decode(&authentik.logout_token("demo", None, spec.signed_by(Key::Secret(b"other".to_vec()))));
    assert_eq!(hostile["header"]["typ"], "JWT");
    let claims = &hostile["payload"];
    assert_eq!(
        (&claims["nonce"], &claims["events"], &claims["sid"]),
        (&json!("n"), &Value::Null, &Value::Null)
    );
    assert_eq!(decode(&authentik.logout_token("rs", None, TokenSpec::new()))["header"]["alg"], "RS256");
}

/// The stand-in takes the call itself: it has no such page.
#[test]
fn logout_tokens_are_posted_as_recorded() {
    let authentik = Authentik::start();
    let token = authentik.logout_token("demo", Some("a-sid"), TokenSpec::new());
    let url = format!("http://{}/bc", authentik.authority());
    let (status, text) = Authentik::post_logout_token(&url, &token).unwrap();
    assert_eq!(status, 405, "{text}");
    let (status, _) =
        Authentik::post_logout_token_to(authentik.port(), "app.example.test", "/bc", &token).unwrap();
    assert_eq!(status, 405);
    let calls = authentik.calls();
    assert_eq!(calls[1].header("host"), Some("app.example.test"));
    for call in calls {
        assert_eq!(
            (call.method.as_str(), call.path.as_str(), call.field("logout_token")),
            ("POST", "/bc", Some(&*token))
        );
        assert_eq!(call.header("user-agent"), Some("authentik@2026.5.0-rc1"));
    }
}

#[test]
fn calls_under_way_at_one_time_are_counted() {
    let authentik = Authentik::start();
    assert_eq!(authentik.most_at_once(INTROSPECT), 0);
    let gate = Gate::closed();
    authentik.fault(INTROSPECT, Fault::Held(gate.clone()));
    let token = authentik.issue("demo", "alice");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| introspected(&authentik, "demo", &token));
        }
        while authentik.count(INTROSPECT) < 3 {
            std::thread::yield_now();
        }
        gate.open();
    });
    assert_eq!(authentik.most_at_once(INTROSPECT), 3);
    authentik.forget_calls();
    for _ in 0..2 {
        introspected(&authentik, "demo", &token);
    }
    assert_eq!(authentik.most_at_once(INTROSPECT), 1, "one after the other");
}
