//! Everybody is unknown at once, as after a restart of Envoy, and authentik serves a few calls at a time and breaks under
//! many. A simulation of the core against such an authentik; a round is a second.

use std::collections::{BTreeMap, BTreeSet};

use authentik_proxy_wasm::authn::authentik::call::{Answer, Call};
use authentik_proxy_wasm::authn::authentik::unreachable;
use authentik_proxy_wasm::authn::env::Env;
use authentik_proxy_wasm::authn::reply::Decision;
use authentik_proxy_wasm::authn::request::view::HeaderBlock;
use authentik_proxy_wasm::authn::{Authenticator, RequestId, Ticket};
use authentik_proxy_wasm::base::secret::Secret;
use authentik_proxy_wasm::base::time::Timestamp;
use authentik_proxy_wasm::config::Config;
use serde_json::{Value, json};

use super::core::Bare;
use super::{NOW, basic, configuration, token};

const USERS: usize = 500;
/// `authentik.timeout_seconds`.
const TIMEOUT: u64 = 5;

/// Serves so many calls in a round, and fails all that it has when it has more than it can bear.
struct Authentik {
    serves: usize,
    bears: usize,
    has: Vec<(Ticket, Call, u64)>,
    /// Rounds in a row in which it had more.
    overloaded: usize,
    most_overloaded: usize,
    calls: usize,
}

impl Authentik {
    fn take(&mut self, calls: Vec<(Ticket, Call)>, now: u64) {
        self.calls += calls.len();
        self.has.extend(calls.into_iter().map(|(ticket, call)| (ticket, call, now)));
        self.overloaded = if self.has.len() > self.bears { self.overloaded + 1 } else { 0 };
        self.most_overloaded = self.most_overloaded.max(self.overloaded);
    }

    /// The answers of this round.
    fn round(&mut self, now: u64) -> Vec<(Ticket, Answer)> {
        let failure =
            || Answer::Response { status: 405, retry_after: None, date: None, body: Secret::default() };
        if self.has.len() > self.bears {
            return self.has.drain(..).map(|(ticket, _, _)| (ticket, failure())).collect();
        }
        let served = self.has.len().min(self.serves);
        let mut answers: Vec<_> =
            self.has.drain(..served).map(|(ticket, call, _)| (ticket, granted(&call))).collect();
        // Envoy waits no longer for the rest than this.
        let late = self.has.extract_if(.., |(_, _, since)| now - *since >= TIMEOUT);
        answers.extend(late.map(|(ticket, _, _)| (ticket, unreachable(504, b"upstream request timeout"))));
        answers
    }
}

fn granted(call: &Call) -> Answer {
    let path = call.headers.iter().find(|(name, _)| *name == ":path").unwrap().1.as_bytes();
    let body = if path.ends_with(b"/jwks/") || path.ends_with(b"/.well-known/openid-configuration") {
        json!({})
    } else {
        let form: BTreeMap<_, _> = form_urlencoded::parse(call.body.expose()).into_owned().collect();
        json!({"access_token": token(&json!({"preferred_username": form["username"]})), "token_type": "Bearer"})
    };
    Answer::Response {
        status: 200,
        retry_after: None,
        date: None,
        body: Secret::new(body.to_string().into_bytes()),
    }
}

fn block(user: usize) -> HeaderBlock {
    let credential = basic(&format!("user-{user}"), "an app password");
    let headers = [
        (":method", "POST"),
        (":path", "/"),
        (":authority", "app.example.test"),
        ("authorization", credential.as_str()),
    ];
    HeaderBlock::from_pairs(headers.map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

struct Worker {
    core: Authenticator,
    host: Bare,
    waiting: BTreeMap<RequestId, usize>,
    inside: BTreeSet<usize>,
    /// When a user comes back who was told to.
    back_at: BTreeMap<usize, u64>,
    unavailable: usize,
}

impl Worker {
    fn new(rest: &Value) -> Self {
        let config = Config::parse(configuration(&json!({}), rest).as_bytes(), &|_| None).unwrap();
        Self {
            core: Authenticator::new(config).unwrap(),
            host: Bare::default(),
            waiting: BTreeMap::new(),
            inside: BTreeSet::new(),
            back_at: (0..USERS).map(|user| (user, NOW)).collect(),
            unavailable: 0,
        }
    }

    fn observed(&mut self, user: usize, decision: &Decision, now: u64) {
        match decision {
            Decision::Forward(_) => assert!(self.inside.insert(user), "once"),
            Decision::Reply(reply) => {
                assert_eq!(reply.status, 503, "{}", reply.log.message);
                let seconds =
                    reply.headers.iter().find(|(name, _)| *name == "retry-after").unwrap().1.as_bytes();
                let seconds: u64 = core::str::from_utf8(seconds).unwrap().parse().unwrap();
                self.unavailable += 1;
                self.back_at.insert(user, now + seconds);
            }
        }
    }

    fn requests(&mut self, round: u64) {
        let now = NOW + round;
        let due: Vec<_> = self.back_at.extract_if(.., |_, at| *at <= now).map(|(user, _)| user).collect();
        for user in due {
            let id = RequestId::try_from(round).unwrap() * 1_000 + RequestId::try_from(user).unwrap();
            let env = Env { now: Timestamp::from_seconds(now), host: &self.host };
            match self.core.authenticate(&env, id, &block(user)).decided() {
                Some(decision) => self.observed(user, &decision, now),
                None => {
                    self.waiting.insert(id, user);
                }
            }
        }
    }

    fn ready(&mut self, now: u64) {
        while let Some(id) = self.core.next_ready() {
            let user = self.waiting[&id];
            let env = Env { now: Timestamp::from_seconds(now), host: &self.host };
            if let Some(decision) = self.core.resume(&env, id, &block(user)).decided() {
                self.waiting.remove(&id);
                self.observed(user, &decision, now);
            }
        }
    }
}

/// Rounds until everybody is in, and how often somebody was told to come back.
fn stampede(serves: usize, bears: usize, rest: &Value) -> (u64, Worker, Authentik) {
    let mut authentik =
        Authentik { serves, bears, has: Vec::new(), overloaded: 0, most_overloaded: 0, calls: 0 };
    let mut worker = Worker::new(rest);
    for round in 0..2_000 {
        let now = NOW + round;
        worker.requests(round);
        authentik.take(worker.core.take_calls(Timestamp::from_seconds(now)), now);
        for (ticket, answer) in authentik.round(now) {
            let env = Env { now: Timestamp::from_seconds(now), host: &worker.host };
            worker.core.answered(&env, ticket, &answer);
        }
        worker.core.tick(&Env { now: Timestamp::from_seconds(now), host: &worker.host }, 0);
        worker.ready(now);
        if worker.inside.len() == USERS {
            assert!(worker.waiting.is_empty() && worker.back_at.is_empty(), "nobody is left behind");
            return (round, worker, authentik);
        }
    }
    panic!("{} of {USERS} are in, {} wait", worker.inside.len(), worker.waiting.len());
}

#[test]
fn authentik_is_never_driven_above_its_limit_for_longer_than_a_round_and_everybody_gets_in() {
    for (serves, bears) in [(1, 2), (2, 4), (4, 4), (4, 6), (5, 8), (8, 40)] {
        let (rounds, worker, authentik) = stampede(serves, bears, &json!({}));
        let name = format!("serves {serves}, bears {bears}");
        assert!(
            authentik.most_overloaded <= 1,
            "{name}: {} rounds above its limit",
            authentik.most_overloaded
        );
        // Nobody is asked for much more often than need be: what fails is asked again.
        assert!(authentik.calls <= USERS * 5 / 2, "{name}: {} calls", authentik.calls);
        let best = USERS.div_ceil(serves.min(8)) as u64;
        assert!(rounds <= 3 * best + 30, "{name}: {rounds} rounds, {best} at best");
        assert!(worker.unavailable > 0, "{name}: 256 may wait, and no longer than 15 seconds");
    }
}

/// What it would be without: as many calls at one time as may wait.
#[test]
fn as_many_calls_as_may_wait_would_bring_authentik_down() {
    let rest = json!({"authentik": {
        "cluster": "authentik", "host": "https://auth.example.test", "max_concurrent_calls": 1_024,
    }});
    let (_, _, patient) = stampede(8, 1_024, &rest);
    assert!(patient.most_overloaded == 0, "one that bears everything");
    let (_, _, authentik) = stampede(4, 6, &rest);
    assert!(authentik.most_overloaded <= 1, "the limit adapts, whatever the setting allows");
}
