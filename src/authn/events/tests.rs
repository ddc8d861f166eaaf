//! When the log is read, what is believed of it, and what is shared.

use serde_json::{Value, json};

use super::*;
use crate::authn::cache::shared::tests::{Memory, MemoryAndByte};
use crate::authn::env::Host as _;
use crate::base::secret::Secret;

mod failures;
mod meaning;
mod relayed;
mod replicas;

/// A random byte that delays no reading of the log.
const NO_DELAY: u8 = 11;
const TOKEN: &str = "the-token-of-the-event-log";
/// 2026-11-26 00:00:00 UTC.
const START: u64 = 1_795_651_200;
const OLDEST: &str = "1970-01-01 00:00:00";

struct Worker<'a> {
    log: EventLog,
    memory: &'a Memory,
}

fn config(token: &str) -> Rc<Config> {
    let configuration = json!({
        "authentik": {
            "cluster": "authentik", "host": "https://auth.example.test",
            "events": {"token": token, "interval_seconds": 15},
        },
        "providers": [{
            "assigned_application_slug": "demo", "client_id": "demo-client-id", "client_secret": "s",
            "cookie_secret": "0123456789abcdef0123456789abcdef", "external_host": "https://app.example.test",
        }],
        "session": {"max_age_seconds": 3600},
    });
    Rc::new(Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap())
}

fn worker(memory: &Memory) -> Worker<'_> {
    Worker { log: EventLog::new(&config(TOKEN)).unwrap(), memory }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(START + seconds)
}

/// How authentik's API writes that moment.
fn utc(seconds: u64) -> String {
    at(seconds).utc_seconds().unwrap().replace(' ', "T") + ".500000Z"
}

impl Worker<'_> {
    fn run<T>(&mut self, seconds: u64, run: impl FnOnce(&mut EventLog, &Env<'_>) -> T) -> T {
        run(&mut self.log, &Env { now: at(seconds), host: &MemoryAndByte(self.memory, NO_DELAY) })
    }

    /// One tick; what is asked.
    fn tick(&mut self, seconds: u64) -> Option<String> {
        self.run(seconds, |log, env| log.tick(env)).map(|call| asked(&call))
    }

    /// An answer; what is asked next.
    fn answered(&mut self, seconds: u64, answer: &Answer) -> Option<String> {
        self.run(seconds, |log, env| log.answered(env, answer)).map(|call| asked(&call))
    }

    /// The first reading of an Envoy: `newest` is the only event.
    fn begins(&mut self, seconds: u64, newest: &Value) {
        assert_eq!(self.tick(seconds), newest_query());
        let since = self.answered(seconds, &page(core::slice::from_ref(newest)));
        assert!(since.is_some_and(|since| since.starts_with("events 1/100 created since ")));
        assert_eq!(self.answered(seconds, &page(core::slice::from_ref(newest))), None);
    }

    fn news(&mut self) -> Vec<Learned> {
        self.log.take_news()
    }
}

fn newest_query() -> Option<String> {
    Some(format!("events 1/1 -created since {OLDEST}"))
}

fn since(seconds: u64) -> Option<String> {
    at(seconds).utc_seconds().map(|since| format!("events 1/100 created since {since}"))
}

fn header(call: &Call, name: &str) -> String {
    let (_, value) = call.headers.iter().find(|(other, _)| *other == name).unwrap();
    String::from_utf8(value.as_bytes().to_vec()).unwrap()
}

/// What a call asks, in short; the rest is checked.
fn asked(call: &Call) -> String {
    assert_eq!(header(call, "authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(header(call, ":method"), "GET");
    let path = header(call, ":path");
    let Some(query) = path.strip_prefix("/api/v3/events/events/?") else { return path };
    let fields: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let names: Vec<_> = fields.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["page", "page_size", "ordering", "search"]);
    let [page, size, order, search] = [0, 1, 2, 3].map(|field| fields[field].1.clone());
    let (since, matters) = search.strip_prefix("created >= \"").unwrap().split_once("\" and ").unwrap();
    let what = match matters {
        r#"(action in ("logout","password_set") or context.model.model_name in ("user","token","group","policybinding","application","proxyprovider","outpost"))"# => {
            "events"
        }
        r#"app = "authentik-proxy-wasm""# => "relayed",
        other => panic!("{other}"),
    };
    format!("{what} {page}/{size} {order} since {since}")
}

fn status(status: u16, body: &[u8]) -> Answer {
    Answer::Response { status, retry_after: None, date: None, body: Secret::new(body.to_vec()) }
}

fn page_of((current, next, count): (u64, u64, usize), events: &[Value]) -> Answer {
    let page = json!({"pagination": {"current": current, "next": next, "count": count}, "results": events});
    status(200, page.to_string().as_bytes())
}

fn page(events: &[Value]) -> Answer {
    page_of((1, 0, events.len()), events)
}

fn key(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn logout(number: u64, seconds: u64, name: &str) -> Value {
    json!({
        "pk": key(number), "action": "logout", "app": "authentik.events.signals", "created": utc(seconds),
        "user": {"pk": number, "username": name, "email": "x@example.test"}, "context": {"http_request": {}},
    })
}

fn changed(number: u64, seconds: u64, action: &str, model: &str, pk: Value) -> Value {
    json!({
        "pk": key(number), "action": action, "app": "authentik.events.middleware", "created": utc(seconds),
        "user": {"pk": 3, "username": "akadmin"},
        "context": {"model": {"pk": pk, "app": "authentik_core", "name": "x", "model_name": model}},
    })
}

fn user(pk: u64, username: &str) -> Learned {
    Learned::User { pk: Some(pk), username: username.to_owned() }
}

fn user_changed(pk: u64, found: Option<(&str, &str)>) -> Learned {
    Learned::UserChanged { pk, found: found.map(|(name, uid)| (name.to_owned(), uid.to_owned())) }
}

#[test]
fn first_reading_proves_the_permission_and_goes_back_as_far_as_a_session_can_live() {
    let memory = Memory::default();
    let mut first = worker(&memory);
    assert_eq!(first.tick(10_000), newest_query());
    // An hour of a session, and the minute by which clocks may differ.
    assert_eq!(first.answered(10_000, &page_of((1, 2, 2), &[logout(2, 9_990, "bob")])), since(10_000 - 3660));
    assert_eq!(first.answered(10_000, &page(&[logout(1, 8_000, "alice"), logout(2, 9_990, "bob")])), None);
    assert_eq!((first.news(), first.news()), (vec![user(1, "alice"), user(2, "bob")], vec![]));
    // The log was quiet for long: the newest event is in the answer all the same.
    let memory = Memory::default();
    let mut quiet = worker(&memory);
    assert_eq!(quiet.tick(10_000), newest_query());
    assert_eq!(quiet.answered(10_000, &page(&[logout(1, 100, "alice")])), since(95));
}

#[test]
fn events_of_the_overlap_are_learned_once() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    let [one, two, late] = [logout(1, 0, "alice"), logout(2, 12, "bob"), logout(3, 11, "carol")];
    worker.begins(1, &one);
    assert_eq!(worker.news(), [user(1, "alice")]);
    assert_eq!(worker.tick(15), None, "not before the interval is over");
    assert_eq!(worker.tick(16), since(0).map(|_| since_before(0)));
    assert_eq!(worker.answered(16, &page(&[one, two.clone()])), None);
    assert_eq!(worker.news(), [user(2, "bob")]);
    assert_eq!(worker.tick(31), Some(since_before(12)));
    // It was written before the newest one, and became readable after it.
    assert_eq!(worker.answered(31, &page(&[late, two.clone()])), None);
    assert_eq!(worker.news(), [user(3, "carol")]);
    assert_eq!(worker.tick(46), Some(since_before(12)));
    assert_eq!(worker.answered(46, &page(&[two])), None);
    assert_eq!(worker.news(), [], "nothing has happened");
    assert_eq!(worker.log.age(at(50)), Some(4));
}

/// The question after an event of that second.
fn since_before(seconds: u64) -> String {
    let since = Timestamp::from_seconds(START + seconds).minus(5).utc_seconds().unwrap();
    format!("events 1/100 created since {since}")
}

#[test]
fn clock_of_authentik_that_was_ahead_hides_nothing() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    let ahead = logout(1, 5_000, "alice");
    worker.begins(0, &ahead);
    assert_eq!(worker.news(), [user(1, "alice")]);
    assert_eq!(worker.tick(15), Some(since_before(15)));
    assert_eq!(worker.answered(15, &page(&[logout(2, 14, "bob"), ahead])), None);
    assert_eq!(worker.news(), [user(2, "bob")]);
}

#[test]
fn one_worker_reads_and_another_goes_on_where_it_stopped() {
    let memory = Memory::default();
    let (mut first, mut second) = (worker(&memory), worker(&memory));
    let one = logout(1, 0, "alice");
    assert_eq!(first.tick(1), newest_query());
    assert_eq!((second.tick(1), second.tick(2), first.tick(2)), (None, None, None), "one reads");
    first.answered(2, &page(core::slice::from_ref(&one)));
    first.answered(2, &page(core::slice::from_ref(&one)));
    assert_eq!((second.tick(2), second.tick(16), second.news()), (None, None, vec![]));
    assert_eq!([first.log.age(at(10)), second.log.age(at(10))], [Some(8); 2]);
    // The first is gone in the midst of the next reading.
    assert_eq!(first.tick(17), Some(since_before(0)));
    assert_eq!((second.tick(18), second.tick(19)), (None, None));
    assert_eq!(second.tick(17 + LEASE_SECONDS), Some(since_before(0)), "nothing is lost");
    let two = logout(2, 10, "bob");
    assert_eq!(second.answered(21, &page(&[one.clone(), two.clone()])), None);
    assert_eq!(second.news(), [user(2, "bob")], "and nothing comes twice");
    let mut third = worker(&memory);
    assert_eq!((third.tick(22), third.tick(36)), (None, Some(since_before(10))), "a new VM");
    assert_eq!(third.answered(36, &page(&[two])), None);
    assert_eq!(third.news(), []);
}

#[test]
fn pages_are_one_reading() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    let one = logout(1, 0, "alice");
    worker.begins(1, &one);
    worker.news();
    assert_eq!(worker.tick(16), Some(since_before(0)));
    let second = worker.answered(16, &page_of((1, 2, 3), &[one, logout(2, 10, "bob")]));
    assert_eq!(second, Some(since_before(0).replace("events 1/", "events 2/")));
    assert_eq!(worker.news(), [], "not before the last page");
    assert_eq!(
        worker.answered(17, &page_of((2, 0, 4), &[logout(3, 11, "carol"), logout(4, 16, "dan")])),
        None
    );
    assert_eq!(worker.news(), [user(2, "bob"), user(3, "carol"), user(4, "dan")]);
    assert_eq!(worker.tick(32), Some(since_before(16)));
}

/// authentik gives an empty answer to a token without permission, and for a search that it does not understand.
#[test]
fn answer_without_the_newest_known_event_is_never_taken_for_quiet() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    assert_eq!(worker.tick(0), newest_query());
    assert_eq!(worker.answered(0, &page(&[])), None);
    assert_eq!((worker.news(), worker.log.age(at(7))), (vec![], Some(7)), "no permission at the start");
    assert_eq!(worker.tick(0), None, "nobody tries again at once");
    let one = logout(1, 0, "alice");
    worker.begins(2, &one);
    worker.news();
    // The permission is taken away.
    assert_eq!(worker.tick(17), Some(since_before(0)));
    assert_eq!(worker.answered(17, &page(&[])), newest_query());
    assert_eq!(worker.answered(17, &page(&[])), None);
    assert_eq!((worker.news(), worker.log.age(at(18))), (vec![], Some(16)));
    // The search for the newest event works, and the one from a time on does not.
    assert_eq!(worker.tick(20), Some(since_before(0)));
    assert_eq!(worker.answered(20, &page(&[])), newest_query());
    assert_eq!(worker.answered(20, &page(core::slice::from_ref(&one))), Some(since_before(0)));
    assert_eq!(worker.answered(20, &page(&[])), None);
    assert_eq!(worker.log.age(at(20)), Some(18));
    // The permission is there again: what happened meanwhile was not lost.
    assert_eq!(worker.tick(80), Some(since_before(0)));
    assert_eq!(worker.answered(80, &page(&[one, logout(2, 18, "bob")])), None);
    assert_eq!((worker.news(), worker.log.age(at(80))), (vec![user(2, "bob")], Some(0)));
}

/// authentik deletes the events of a user who is deleted (`gdpr_compliance`).
#[test]
fn removed_event_is_no_fault() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    worker.begins(1, &logout(1, 0, "alice"));
    worker.news();
    let deleted = changed(2, 10, "model_deleted", "user", json!(1));
    assert_eq!(worker.tick(16), Some(since_before(0)));
    assert_eq!(worker.answered(16, &page(core::slice::from_ref(&deleted))), newest_query());
    assert_eq!(worker.answered(16, &page(core::slice::from_ref(&deleted))), Some(since_before(0)));
    assert_eq!(worker.answered(16, &page(core::slice::from_ref(&deleted))), None);
    assert_eq!((worker.news(), worker.log.age(at(16))), (vec![user_changed(1, None)], Some(0)));
}
