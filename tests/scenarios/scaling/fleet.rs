//! A fleet in virtual time: replicas of Envoy, their workers (the core, one each), the shared data of a replica, users, and an
//! authentik with a capacity. A step is 100 ms. Arrivals come from a seed, so that a run gives the same counts each time.
//!
//! Owns: time, and who is asked what when. Must not: know a formula, or judge a count.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use authentik_proxy_wasm::authn::authentik::call::{Answer, Call, Endpoint};
use authentik_proxy_wasm::authn::authentik::unreachable;
use authentik_proxy_wasm::authn::env::{Env, Host, Shared};
use authentik_proxy_wasm::authn::reply::Decision;
use authentik_proxy_wasm::authn::request::view::HeaderBlock;
use authentik_proxy_wasm::authn::{Authenticator, RequestId, Step, Ticket};
use authentik_proxy_wasm::base::secret::Secret;
use authentik_proxy_wasm::base::time::Timestamp;
use authentik_proxy_wasm::config::Config;
use base64::Engine as _;
use serde_json::{Value, json};

use super::super::{NOW, jar, token};

/// Milliseconds in a step. A call to an idle authentik takes one step.
pub(super) const STEP: u64 = 100;
/// `authentik.timeout_seconds`.
const TIMEOUT_SECONDS: u64 = 5;

/// Numbers that spread well and are the same in each run (SplitMix64).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Milliseconds to the next arrival of a Poisson process with this mean.
    pub(crate) fn pause(&mut self, mean_seconds: f64) -> u64 {
        let unit = ((self.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        (-unit.ln() * mean_seconds * 1000.0) as u64
    }
}

/// The shared data of one Envoy.
struct Replica {
    shared: RefCell<HashMap<String, Shared>>,
    random: Cell<u64>,
}

impl Host for Replica {
    fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
    fn shared(&self, name: &str) -> Option<Shared> {
        self.shared.borrow().get(name).cloned()
    }
    fn share(&self, name: &str, value: &[u8]) {
        let mut entries = self.shared.borrow_mut();
        let version = entries.get(name).map_or(1, |entry| entry.version + 1);
        entries.insert(name.to_owned(), Shared { value: value.to_vec(), version });
    }
    fn share_if(&self, name: &str, value: &[u8], version: u32) -> bool {
        let is_current = self.shared(name).map_or(0, |entry| entry.version) == version;
        if is_current {
            self.share(name, value);
        }
        is_current
    }
    fn random(&self, bytes: &mut [u8]) -> bool {
        let mut numbers = Numbers::new(self.random.get());
        bytes.fill_with(|| numbers.next() as u8);
        self.random.set(numbers.0);
        true
    }
    fn source_address(&self) -> Option<String> {
        None
    }
}

struct Worker {
    core: Authenticator,
    host: Rc<Replica>,
    jitter_percent: u64,
    /// The users whose requests wait, and the requests: a host keeps them.
    waiting: HashMap<RequestId, (usize, HeaderBlock)>,
}

/// What a user sends.
#[derive(Default, Clone)]
pub(super) struct User {
    pub(super) authorization: Option<String>,
    pub(super) cookie: Option<String>,
    /// Whether the next request has the cookie that a response brought.
    pub(super) takes_cookies: bool,
}

/// What became of a user's request.
pub(super) enum Outcome {
    Forwarded,
    /// To come back after so many seconds.
    Unavailable(u64),
}

/// Serves so many calls in a step, in the order in which they came, and fails all when it has more than it bears.
pub(super) struct Authentik {
    serves: usize,
    bears: usize,
    has: Vec<(usize, Ticket, Call, u64)>,
    /// Steps in a row in which it had more than it bears.
    overloaded: u64,
    pub(super) most_overloaded: u64,
    /// All steps in which it had more.
    pub(super) all_overloaded: u64,
    /// Most calls that it had at one time.
    pub(super) peak: usize,
    /// Calls by the last segment of the path.
    pub(super) calls: BTreeMap<String, usize>,
}

impl Authentik {
    pub(super) const fn new(serves: usize, bears: usize) -> Self {
        Self {
            serves,
            bears,
            has: Vec::new(),
            overloaded: 0,
            most_overloaded: 0,
            all_overloaded: 0,
            peak: 0,
            calls: BTreeMap::new(),
        }
    }

    /// One that serves whatever comes within a step.
    pub(super) const fn idle() -> Self {
        Self::new(usize::MAX, usize::MAX)
    }

    fn take(&mut self, worker: usize, ticket: Ticket, call: Call, at: u64) {
        let name = path_of(&call).trim_end_matches('/').rsplit('/').next().unwrap().to_owned();
        *self.calls.entry(name).or_default() += 1;
        self.has.push((worker, ticket, call, at));
        self.peak = self.peak.max(self.has.len());
    }

    /// The answers of a step.
    fn answers(&mut self, at: u64) -> Vec<(usize, Ticket, Answer)> {
        if self.has.len() > self.bears {
            self.overloaded += 1;
            self.all_overloaded += 1;
            self.most_overloaded = self.most_overloaded.max(self.overloaded);
            // What authentik answers a POST when it has no connection to its database left.
            let failure =
                || Answer::Response { status: 405, retry_after: None, date: None, body: Secret::default() };
            return self.has.drain(..).map(|(worker, ticket, _, _)| (worker, ticket, failure())).collect();
        }
        self.overloaded = 0;
        let served = self.has.len().min(self.serves);
        let mut answers: Vec<_> = self
            .has
            .drain(..served)
            .map(|(worker, ticket, call, _)| (worker, ticket, answer(&call, at / 1000)))
            .collect();
        // Envoy waits no longer for the rest than this.
        let late = self.has.extract_if(.., |(_, _, _, since)| at - *since >= TIMEOUT_SECONDS * 1000);
        let timeout = || unreachable(504, b"upstream request timeout");
        answers.extend(late.map(|(worker, ticket, _, _)| (worker, ticket, timeout())));
        answers
    }
}

pub(super) struct Fleet {
    workers: Vec<Worker>,
    workers_per_replica: usize,
    pub(super) authentik: Authentik,
    pub(super) users: Vec<User>,
    /// Milliseconds since 1970.
    at: u64,
    next_id: RequestId,
}

impl Fleet {
    /// Empty caches, no keys, nobody known.
    pub(super) fn new(
        configuration: &str,
        (replicas, workers_per_replica): (usize, usize),
        authentik: Authentik,
        users: Vec<User>,
    ) -> Self {
        let mut workers = Vec::new();
        for replica in 0..replicas {
            let host = Replica { shared: RefCell::default(), random: Cell::new(replica as u64) };
            let host = Rc::new(host);
            for _ in 0..workers_per_replica {
                let config = Config::parse(configuration.as_bytes(), &|_| None).unwrap();
                workers.push(Worker {
                    core: Authenticator::new(config).unwrap(),
                    host: Rc::clone(&host),
                    // The shell draws it once for each worker, from 0 to 10.
                    jitter_percent: (workers.len() * 7 % 11) as u64,
                    waiting: HashMap::new(),
                });
            }
        }
        Self { workers, workers_per_replica, authentik, users, at: NOW * 1000, next_id: 0 }
    }

    /// Milliseconds since the start.
    pub(super) const fn elapsed(&self) -> u64 {
        self.at - NOW * 1000
    }

    /// Requests that have no decision yet.
    pub(super) fn waiting(&self) -> usize {
        self.workers.iter().map(|worker| worker.waiting.len()).sum()
    }

    /// One step: authentik's answers, then these users' requests, each at this replica and some worker of it, then the calls.
    pub(super) fn step(
        &mut self,
        requests: &[(usize, usize)],
        numbers: &mut Numbers,
        mut observe: impl FnMut(usize, Outcome),
    ) {
        let now = Timestamp::from_seconds(self.at / 1000);
        for (worker, ticket, answer) in self.authentik.answers(self.at) {
            let Worker { core, host, .. } = &mut self.workers[worker];
            core.answered(&Env { now, host: &**host }, ticket, &answer);
        }
        for (user, replica) in requests {
            let number = replica * self.workers_per_replica + numbers.below(self.workers_per_replica);
            let worker = &mut self.workers[number];
            self.next_id += 1;
            let block = block(&self.users[*user]);
            let env = Env { now, host: &*worker.host };
            match worker.core.authenticate(&env, self.next_id, &block) {
                Step::Decided(decision) => observe(*user, outcome(&mut self.users[*user], decision)),
                Step::AwaitBody => panic!("no user posts to the outpost"),
                Step::Waiting => {
                    worker.waiting.insert(self.next_id, (*user, block));
                }
            }
        }
        for number in 0..self.workers.len() {
            let worker = &mut self.workers[number];
            if self.at.is_multiple_of(1000) {
                worker.core.tick(&Env { now, host: &*worker.host }, worker.jitter_percent);
            }
            while let Some(id) = worker.core.next_ready() {
                let (user, block) = &worker.waiting[&id];
                let user = *user;
                let env = Env { now, host: &*worker.host };
                if let Step::Decided(decision) = worker.core.resume(&env, id, block) {
                    worker.waiting.remove(&id);
                    observe(user, outcome(&mut self.users[user], decision));
                }
            }
            // One discovery for each Envoy and configuration is no part of the model.
            let calls = worker.core.take_calls(now).into_iter();
            for (ticket, call) in calls.filter(|(_, call)| call.endpoint != Endpoint::Discovery) {
                self.authentik.take(number, ticket, call, self.at);
            }
        }
        self.at += STEP;
    }
}

fn outcome(user: &mut User, decision: Decision) -> Outcome {
    match decision {
        Decision::Forward(forward) => {
            let lines = forward.set_cookies.iter().map(|line| text(line.as_bytes()));
            let cookie = jar(&lines.collect::<Vec<_>>());
            if user.takes_cookies && !cookie.is_empty() {
                user.cookie = Some(cookie);
            }
            Outcome::Forwarded
        }
        Decision::Reply(reply) => {
            assert_eq!(reply.status, 503, "{}", reply.log.message);
            let (_, seconds) = reply.headers.iter().find(|(name, _)| *name == "retry-after").unwrap();
            Outcome::Unavailable(text(seconds.as_bytes()).parse().unwrap())
        }
    }
}

fn block(user: &User) -> HeaderBlock {
    let mut headers = vec![(":method", "GET"), (":path", "/"), (":authority", "app.example.test")];
    headers.extend(user.authorization.as_deref().map(|value| ("authorization", value)));
    headers.extend(user.cookie.as_deref().map(|value| ("cookie", value)));
    HeaderBlock::from_pairs(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

/// What an authentik that accepts everybody says to a call.
fn answer(call: &Call, now: u64) -> Answer {
    let form: BTreeMap<_, _> = form_urlencoded::parse(call.body.expose()).into_owned().collect();
    let body = match path_of(call).as_str() {
        "/application/o/token/" => {
            let changes = json!({"preferred_username": form["username"], "iat": now, "exp": now + 86_400});
            json!({"access_token": token(&changes), "token_type": "Bearer", "expires_in": 86_400})
        }
        "/application/o/introspect/" => {
            let mut claims = claims_of(&form["token"]);
            claims["active"] = json!(true);
            claims
        }
        path => {
            assert!(path.ends_with("/jwks/"), "{path}");
            json!({})
        }
    };
    Answer::Response {
        status: 200,
        retry_after: None,
        date: None,
        body: Secret::new(body.to_string().into_bytes()),
    }
}

fn claims_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn path_of(call: &Call) -> String {
    text(call.headers.iter().find(|(name, _)| *name == ":path").unwrap().1.as_bytes())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
