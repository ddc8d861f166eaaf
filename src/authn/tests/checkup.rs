//! The doctor's round: when discovery is fetched, and by which worker.

use serde_json::json;

use crate::authn::authentik::call::{Answer, Endpoint};
use crate::authn::cache::shared::tests::{Memory, MemoryAndByte, at};
use crate::authn::env::{Env, Host};
use crate::authn::{Authenticator, Ticket};
use crate::base::secret::Secret;
use crate::config::Config;

/// One worker's host: the shared data of all, and randomness of its own.
struct Worker<'a> {
    core: Authenticator,
    memory: &'a Memory,
    number: u8,
}

/// A worker for the providers `one` and `two`, whose secret is no part of what is compared.
fn worker<'a>(memory: &'a Memory, number: u8, secret: &str) -> Worker<'a> {
    let provider = |slug: &str| {
        json!({
            "assigned_application_slug": slug, "client_id": slug, "client_secret": secret,
            "external_host": format!("https://{slug}.example.test"),
        })
    };
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test", "timeout_seconds": 5},
        "session": {"enabled": false},
        "providers": [provider("one"), provider("two")],
    });
    let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
    Worker { core: Authenticator::new(config).unwrap(), memory, number }
}

impl Worker<'_> {
    fn run<T>(&mut self, seconds: u64, run: impl FnOnce(&mut Authenticator, &Env<'_>) -> T) -> T {
        run(&mut self.core, &Env { now: at(seconds), host: &MemoryAndByte(self.memory, self.number) })
    }

    /// One tick: the calls that it brings.
    fn tick(&mut self, seconds: u64) -> Vec<(Endpoint, Ticket)> {
        self.run(seconds, |core, env| core.tick(env, 0));
        self.calls(seconds)
    }

    fn calls(&mut self, seconds: u64) -> Vec<(Endpoint, Ticket)> {
        let calls = self.run(seconds, |core, env| core.take_calls(env.now));
        calls.into_iter().map(|(ticket, call)| (call.endpoint, ticket)).collect()
    }

    /// An answer: the calls that it brings.
    fn answered(&mut self, seconds: u64, ticket: Ticket, answer: &Answer) -> Vec<(Endpoint, Ticket)> {
        self.run(seconds, |core, env| core.answered(env, ticket, answer));
        self.calls(seconds)
    }

    fn fetch_keys(&mut self, answers: [&Answer; 2]) {
        for ((endpoint, ticket), answer) in self.tick(0).into_iter().zip(answers) {
            assert_eq!(endpoint, Endpoint::Jwks);
            assert_eq!(self.answered(0, ticket, answer), []);
        }
    }

    /// The one call of a tick, which is for discovery.
    #[track_caller]
    fn discovery(calls: &[(Endpoint, Ticket)]) -> Ticket {
        let [(Endpoint::Discovery, ticket)] = calls else { panic!("one discovery, not {calls:?}") };
        *ticket
    }
}

fn json(body: &str) -> Answer {
    Answer::Response {
        status: 200,
        retry_after: None,
        date: None,
        body: Secret::new(body.as_bytes().to_vec()),
    }
}

fn agreeing(slug: &str) -> Answer {
    let issuer = format!("https://auth.example.test/application/o/{slug}/");
    json(&json!({"issuer": issuer, "id_token_signing_alg_values_supported": ["HS256"]}).to_string())
}

#[test]
fn discovery_is_fetched_once_by_one_worker_and_one_provider_at_a_time() {
    let memory = Memory::default();
    let (mut first, mut second) = (worker(&memory, 1, "s"), worker(&memory, 2, "s"));
    first.fetch_keys([&json("{}"), &json("{}")]);
    assert_eq!((second.tick(0), second.tick(0)), (vec![], vec![]), "the keys are shared");
    for seconds in 1..5 {
        assert_eq!((first.tick(seconds), second.tick(seconds)), (vec![], vec![]), "requests come first");
    }
    let one = Worker::discovery(&first.tick(5));
    for seconds in 5..9 {
        assert_eq!((first.tick(seconds), second.tick(seconds)), (vec![], vec![]), "one at a time");
    }
    let two = Worker::discovery(&first.answered(9, one, &agreeing("one")));
    assert_eq!(first.answered(9, one, &agreeing("one")), [], "once");
    assert_eq!(first.answered(9, two, &agreeing("two")), []);
    for seconds in 9..200 {
        assert_eq!((first.tick(seconds), second.tick(seconds)), (vec![], vec![]), "all is done");
    }
    // One with other secrets finds it done.
    let mut rotated = worker(&memory, 3, "t");
    rotated.fetch_keys([&json("{}"), &json("{}")]);
    for seconds in 0..20 {
        assert_eq!(rotated.tick(seconds), []);
    }
    assert_eq!(memory.names().iter().filter(|name| name.contains("/doctor/")).count(), 1);
}

#[test]
fn discovery_never_comes_before_the_providers_key_set() {
    let memory = Memory::default();
    let mut worker = worker(&memory, 1, "s");
    worker.fetch_keys([&Answer::Reset, &json("{}")]);
    let (_, keys_of_one) = worker.tick(1).remove(0);
    let calls = worker.tick(5);
    let two = Worker::discovery(&calls);
    assert_eq!(worker.answered(5, two, &agreeing("two")), [], "one has no keys yet");
    assert_eq!(worker.tick(6), []);
    assert_eq!(worker.answered(6, keys_of_one, &json("{}")), []);
    Worker::discovery(&worker.tick(7));
}

#[test]
fn round_goes_on_after_a_lost_answer_and_a_failure() {
    let memory = Memory::default();
    let mut worker = worker(&memory, 1, "s");
    worker.fetch_keys([&json("{}"), &json("{}")]);
    let lost = Worker::discovery(&worker.tick(5));
    for seconds in 6..13 {
        assert_eq!(worker.tick(seconds), [], "5 seconds for the call, 2 for Envoy's own answer");
    }
    let two = Worker::discovery(&worker.tick(13));
    assert_eq!(worker.answered(13, lost, &agreeing("one")), [], "too late");
    assert_eq!(worker.answered(14, two, &Answer::Reset), []);
    for seconds in 14..200 {
        assert_eq!(worker.tick(seconds), [], "a fetch that failed is not repeated");
    }
}

#[test]
fn another_worker_takes_over_from_one_that_is_gone() {
    let memory = Memory::default();
    let (mut gone, mut second) = (worker(&memory, 1, "s"), worker(&memory, 2, "s"));
    gone.fetch_keys([&json("{}"), &json("{}")]);
    second.tick(0);
    let late = Worker::discovery(&gone.tick(5));
    assert_eq!((second.tick(5), second.tick(7)), (vec![], vec![]), "its entry is three seconds long");
    let one = Worker::discovery(&second.tick(8));
    // It was not gone, only slow. What it has asked is no longer its business.
    assert_eq!(gone.answered(8, late, &agreeing("one")), []);
    assert_eq!(gone.tick(9), []);
    let two = Worker::discovery(&second.answered(9, one, &agreeing("one")));
    assert_eq!(second.answered(9, two, &agreeing("two")), []);
    assert_eq!((gone.tick(13), second.tick(13)), (vec![], vec![]));
}

#[test]
fn forged_entry_delays_a_round_by_seconds_or_ends_it() {
    let name = |memory: &Memory| memory.names().into_iter().find(|name| name.contains("/doctor/")).unwrap();
    let memory = Memory::default();
    let mut worker = worker(&memory, 1, "s");
    worker.fetch_keys([&json("{}"), &json("{}")]);
    let one = Worker::discovery(&worker.tick(5));
    for entry in [&b""[..], b"x", &[0xff; 8], &[0xff; 64]] {
        memory.share(&name(&memory), entry);
        assert_eq!(worker.tick(6), [], "{entry:?}: it goes on");
    }
    let done = [&[0; 8], worker.core.config().public_digest.as_bytes(), b"all done"].concat();
    memory.share(&name(&memory), &done);
    assert_eq!(worker.answered(6, one, &agreeing("one")), []);
    assert_eq!(worker.tick(7), []);
}

#[test]
fn two_configurations_with_one_entry_have_a_round_each_one_after_the_other() {
    let memory = Memory::default();
    let mut first = worker(&memory, 1, "s");
    first.fetch_keys([&json("{}"), &json("{}")]);
    let one = Worker::discovery(&first.tick(5));
    // What is left there of another configuration: a round, and its end.
    let name = memory.names().into_iter().find(|name| name.contains("/doctor/")).unwrap();
    let of_another = |until: u64, holder: &[u8; 8]| {
        memory.share(&name, &[&at(until).seconds().to_be_bytes(), &b"01234567"[..], holder].concat());
    };
    of_another(8, &[7; 8]);
    assert_eq!(first.answered(6, one, &agreeing("one")), [], "the other one is at work");
    assert_eq!(first.tick(7), []);
    of_another(0, b"all done");
    Worker::discovery(&first.tick(7));
}
