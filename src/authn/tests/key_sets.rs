//! Key sets over time, at one worker and at several: who fetches, who follows, and what a failed fetch means.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

use crate::authn::authentik::call::{Answer, Call, Endpoint};
use crate::authn::cache::shared::tests::{Memory, at};
use crate::authn::env::Env;
use crate::authn::reply::Decision;
use crate::authn::request::view::HeaderBlock;
use crate::authn::{Authenticator, RequestId, TickInterval, Ticket};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::config::Config;

const BASIC: &str = "Basic YWxpY2U6eA==";

/// A core, and the headers of the requests that were sent to it, as the host keeps them.
struct Worker {
    core: Authenticator,
    sent: HashMap<RequestId, HeaderBlock>,
    now: Timestamp,
}

impl Worker {
    /// Decides the requests whose verdict is there: their status codes.
    fn told(&mut self, env: &Env<'_>) -> Vec<(RequestId, u16)> {
        let mut told = Vec::new();
        while let Some(id) = self.core.next_ready() {
            let block = &self.sent[&id];
            told.extend(self.core.resume(env, id, block).decided().map(|decision| (id, status(&decision))));
        }
        told
    }

    fn tick(&mut self, env: &Env<'_>, jitter_percent: u64) -> Vec<(RequestId, u16)> {
        self.now = env.now;
        self.core.tick(env, jitter_percent);
        self.told(env)
    }

    fn answered(&mut self, env: &Env<'_>, ticket: Ticket, answer: &Answer) -> Vec<(RequestId, u16)> {
        self.now = env.now;
        self.core.answered(env, ticket, answer);
        self.told(env)
    }

    fn wants_ticks(&self) -> bool {
        self.core.tick_interval() == TickInterval::Follower
    }
}

fn status(decision: &Decision) -> u16 {
    match decision {
        Decision::Reply(reply) => reply.status,
        Decision::Forward(_) => 200,
    }
}

/// A worker for two providers, `one` and `two`.
fn worker() -> Worker {
    let provider = |slug: &str| {
        json!({
            "assigned_application_slug": slug, "client_id": slug, "client_secret": "s",
            "external_host": format!("https://{slug}.example.test"),
        })
    };
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test", "timeout_seconds": 5},
        "session": {"enabled": false},
        "providers": [provider("one"), provider("two")],
    });
    let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
    Worker { core: Authenticator::new(config).unwrap(), sent: HashMap::new(), now: at(0) }
}

/// A token of the provider with a key that nobody has yet.
fn bearer(slug: &str) -> String {
    let issuer = format!("https://auth.example.test/application/o/{slug}/");
    let claims = json!({"iss": issuer, "aud": slug, "exp": 4_000_000_000_u64});
    let parts = [json!({"alg": "ES256", "kid": "new"}), claims];
    let [header, claims] = parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("Bearer {header}.{claims}.{}", "A".repeat(86))
}

/// Sends a request, which has to wait.
fn send(worker: &mut Worker, env: &Env<'_>, id: RequestId, slug: &str, credential: &str) {
    let host = format!("{slug}.example.test");
    let headers = [(":method", "POST"), (":authority", host.as_str()), ("authorization", credential)];
    let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let block = HeaderBlock::from_pairs(pairs);
    assert!(worker.core.authenticate(env, id, &block).decided().is_none(), "request {id}");
    worker.now = env.now;
    worker.sent.insert(id, block);
}

/// The calls that are to be sent now, by path; those of the doctor are not for keys.
fn calls(worker: &mut Worker) -> Vec<(String, Ticket)> {
    let path = |call: Call| {
        let (_, path) = call.headers.into_iter().find(|(name, _)| *name == ":path").unwrap();
        String::from_utf8(path.as_bytes().to_vec()).unwrap()
    };
    let calls = worker.core.take_calls(worker.now).into_iter();
    let calls = calls.filter(|(_, call)| call.endpoint != Endpoint::Discovery);
    calls.map(|(ticket, call)| (path(call), ticket)).collect()
}

fn paths(worker: &mut Worker) -> Vec<String> {
    calls(worker).into_iter().map(|(path, _)| path).collect()
}

fn no_keys() -> Answer {
    Answer::Response { status: 200, retry_after: None, date: None, body: Secret::new(b"{}".to_vec()) }
}

/// A moment of all workers that share this memory.
fn env(memory: &Memory, seconds: u64) -> Env<'_> {
    Env { now: at(seconds), host: memory }
}

#[test]
fn keys_resume_only_verifications_that_wait_for_them() {
    let (memory, mut worker) = (Memory::default(), worker());
    let now = env(&memory, 0);
    send(&mut worker, &now, 1, "one", BASIC);
    assert!(!worker.wants_ticks(), "its answer comes by itself");
    send(&mut worker, &now, 2, "one", &bearer("one"));
    send(&mut worker, &now, 3, "two", &bearer("two"));
    assert!(!worker.wants_ticks(), "and so do keys that this worker fetches");
    let mut calls = calls(&mut worker);
    assert_eq!(calls.len(), 3);
    let mut answer_to = |path: &str, answer: &Answer| {
        let position = calls.iter().position(|(called, _)| called == path).unwrap();
        worker.answered(&now, calls.remove(position).1, answer)
    };
    assert_eq!(answer_to("/application/o/one/jwks/", &no_keys()), [(2, 401)]);
    assert_eq!(answer_to("/application/o/token/", &Answer::Reset), [(1, 503)]);
    assert_eq!(answer_to("/application/o/two/jwks/", &no_keys()), [(3, 401)]);
}

/// Two workers that have keys, and a request with a new one at each, 20 seconds later: the first fetches.
fn one_that_fetches_and_one_that_follows(memory: &Memory) -> (Worker, Ticket, Worker) {
    let (mut first, mut second) = (worker(), worker());
    let ticks = |worker: &mut Worker| assert!(worker.tick(&env(memory, 0), 0).is_empty());
    ticks(&mut first);
    for (_, ticket) in calls(&mut first) {
        assert!(first.answered(&env(memory, 0), ticket, &no_keys()).is_empty());
    }
    ticks(&mut second);
    assert_eq!(paths(&mut second), [""; 0], "they are shared");
    let later = env(memory, 20);
    assert!(!first.wants_ticks() && !second.wants_ticks(), "nobody waits");
    send(&mut first, &later, 1, "one", &bearer("one"));
    send(&mut second, &later, 2, "one", &bearer("one"));
    let mut fetches = calls(&mut first);
    assert_eq!(fetches.len(), 1);
    assert_eq!(paths(&mut second), [""; 0], "the first one fetches for it");
    assert!(!first.wants_ticks(), "its call will be answered");
    assert!(second.wants_ticks(), "nobody tells it of the other's answer");
    (first, fetches.remove(0).1, second)
}

#[test]
fn follower_waits_for_the_lease_holders_answer() {
    let memory = Memory::default();
    let (mut first, fetch, mut second) = one_that_fetches_and_one_that_follows(&memory);
    for seconds in 21..24 {
        let now = env(&memory, seconds);
        assert!(first.tick(&now, 0).is_empty(), "it lives, and keeps its lease");
        assert!(second.tick(&now, 0).is_empty(), "not while it is on its way");
    }
    assert_eq!(first.answered(&env(&memory, 24), fetch, &no_keys()), [(1, 401)]);
    assert_eq!(second.tick(&env(&memory, 24), 0), [(2, 401)], "they are looked for at every tick");
    assert_eq!((paths(&mut first), paths(&mut second)), (vec![], vec![]));
    assert!(!second.wants_ticks());
}

#[test]
fn follower_takes_over_from_a_dead_lease_holder() {
    let memory = Memory::default();
    let (_gone, _, mut second) = one_that_fetches_and_one_that_follows(&memory);
    for seconds in 21..23 {
        assert!(second.tick(&env(&memory, seconds), 0).is_empty());
        assert_eq!(paths(&mut second), [""; 0], "the lease holds");
    }
    assert!(second.tick(&env(&memory, 23), 0).is_empty());
    let mut calls = calls(&mut second);
    assert_eq!(calls.len(), 1, "nobody has extended it");
    assert_eq!(second.answered(&env(&memory, 23), calls.remove(0).1, &no_keys()), [(2, 401)]);
}

#[test]
fn follower_learns_of_a_failed_fetch_at_once() {
    let memory = Memory::default();
    let (mut first, fetch, mut second) = one_that_fetches_and_one_that_follows(&memory);
    assert_eq!(first.answered(&env(&memory, 21), fetch, &Answer::Reset), [(1, 503)]);
    assert_eq!(second.tick(&env(&memory, 21), 0), [(2, 503)]);
    assert_eq!(paths(&mut second), [""; 0]);
    let credential = bearer("one");
    let headers = [(":authority", "one.example.test"), ("authorization", credential.as_str())];
    let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let block = HeaderBlock::from_pairs(pairs);
    let decided = second.core.authenticate(&env(&memory, 21), 3, &block).decided();
    assert_eq!(decided.as_ref().map(status), Some(503), "it does not wait for what has just failed");
}

#[test]
fn a_fetch_whose_answer_is_lost_is_given_up() {
    let memory = Memory::default();
    let (mut first, fetch, mut second) = one_that_fetches_and_one_that_follows(&memory);
    for seconds in 21..28 {
        let now = env(&memory, seconds);
        assert!(first.tick(&now, 0).is_empty() && second.tick(&now, 0).is_empty(), "{seconds}");
    }
    let now = env(&memory, 28);
    assert_eq!((first.tick(&now, 0), second.tick(&now, 0)), (vec![(1, 503)], vec![(2, 503)]));
    assert!(first.answered(&now, fetch, &no_keys()).is_empty());
    let found = first.core.roster.find(b"one.example.test").unwrap();
    let held = found.provider.key_ring.borrow().fetched_at();
    assert_eq!(held, Some(at(0)), "a late answer is nobody's");
}

#[test]
fn failed_fetches_back_off() {
    let (memory, mut worker) = (Memory::default(), worker());
    let mut fetched_at = Vec::new();
    for seconds in 0..300 {
        let now = env(&memory, seconds);
        worker.tick(&now, 0);
        for (path, ticket) in calls(&mut worker) {
            if path == "/application/o/one/jwks/" {
                fetched_at.push(seconds);
            }
            worker.answered(&now, ticket, &Answer::Reset);
        }
    }
    assert_eq!(fetched_at, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
}

#[test]
fn after_a_failed_fetch_only_an_unknown_key_is_a_fault() {
    let (memory, mut worker) = (Memory::default(), worker());
    for (seconds, answer) in [(0, no_keys()), (300, Answer::Reset)] {
        worker.tick(&env(&memory, seconds), 0);
        for (_, ticket) in calls(&mut worker) {
            worker.answered(&env(&memory, seconds), ticket, &answer);
        }
    }
    for (id, token_of, expected) in [(1, "one", 503), (2, "two", 401)] {
        let credential = bearer(token_of);
        let headers = [(":authority", "one.example.test"), ("authorization", &credential)];
        let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let decided =
            worker.core.authenticate(&env(&memory, 301), id, &HeaderBlock::from_pairs(pairs)).decided();
        assert_eq!(decided.map(|decision| status(&decision)), Some(expected), "a token of {token_of} at one");
    }
    assert_eq!(paths(&mut worker), [""; 0], "not so soon");
}

#[test]
fn keys_are_fetched_on_schedule_and_once() {
    let (memory, mut worker) = (Memory::default(), worker());
    let mut fetched_at = |seconds: u64, jitter_percent, answer: Option<&Answer>| {
        let now = env(&memory, seconds);
        assert!(worker.tick(&now, jitter_percent).is_empty());
        let calls = calls(&mut worker);
        let count = calls.len();
        for ((_, ticket), answer) in calls.into_iter().zip(answer.into_iter().cycle()) {
            worker.answered(&now, ticket, answer);
        }
        count
    };
    assert_eq!(fetched_at(0, 0, Some(&no_keys())), 2);
    for seconds in 1..270 {
        assert_eq!(fetched_at(seconds, 10, None), 0, "after {seconds} seconds");
    }
    assert_eq!(fetched_at(270, 0, None), 0);
    assert_eq!(fetched_at(270, 10, Some(&Answer::Reset)), 2);
    assert_eq!(fetched_at(280, 10, None), 2, "a failed one is tried again");
    for seconds in 281..288 {
        assert_eq!(fetched_at(seconds, 10, None), 0, "one at a time");
    }
}
