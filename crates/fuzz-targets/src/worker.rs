//! The core as the targets drive it: a worker under some configuration, in host without a clock, whose randomness
//! comes in the same order every time. Everything that goes in or comes out passes the promises.
//!
//! Owns: the host, the configuration of the targets, the drive. Must not: know what a good input is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use authentik_proxy_wasm::authn::authentik::call::{Answer, Call, Endpoint};
use authentik_proxy_wasm::authn::edits;
use authentik_proxy_wasm::authn::env::{Env, Host, Shared};
use authentik_proxy_wasm::authn::reply::Decision;
use authentik_proxy_wasm::authn::request::view::HeaderBlock;
use authentik_proxy_wasm::authn::{Authenticator, RequestId, Step, Ticket};
use authentik_proxy_wasm::base::time::Timestamp;
use authentik_proxy_wasm::config::Config;
use serde_json::{Value, json};

use super::{authentik, promises};

/// Everything happens at this second: soon after the transcripts were recorded, so that their tokens stand.
pub(crate) const NOW: u64 = 1_795_443_900;
/// The authentik of the transcripts.
pub(crate) const BASE: &str = "http://127.0.0.1:9010";
/// More rounds of calls than any inquiry takes: exchange, keys, introspection, and keys again.
const MAX_ROUNDS: usize = 8;

/// A provider of the transcripts: their slugs, client identifiers and secrets.
pub(crate) fn provider(slug: &str, changes: &Value) -> Value {
    let mut entry = json!({
        "assigned_application_slug": slug,
        "client_id": format!("{slug}-client-id"),
        "client_secret": authentik::client_secret(slug),
        "cookie_secret": format!("{slug}-cookie-secret-0123456789abcdef0123456789"),
        "external_host": format!("https://{slug}.example.test"),
    });
    merge(&mut entry, changes);
    entry
}

/// A configuration with these providers. Small caches, so that their limits are met.
pub(crate) fn configuration(providers: &[Value], changes: &Value) -> Value {
    let mut configuration = json!({
        "authentik": {"cluster": "authentik", "host": BASE, "max_concurrent_calls": 4, "max_pending_calls": 2},
        "providers": providers,
        "owned_headers": ["X-Tenant"],
        "allow_cors_origins": ["https://demo.example.test"],
        "seal": {"values": ["the-seal-of-the-targets"]},
        "cache": {"local_entries": 4},
    });
    merge(&mut configuration, changes);
    configuration
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

/// Envoy, as it may be: with the shared data and the signature checks that a target wants.
pub(crate) struct World {
    shared: RefCell<BTreeMap<String, Shared>>,
    random: Cell<u64>,
    /// What the host says of every signature; `None`: it checks them.
    pub(crate) signatures: Option<bool>,
    /// What shared data holds instead of what was written, by name.
    pub(crate) planted: Option<Planted>,
}

/// Shared data as others wrote it.
pub(crate) type Planted = Box<dyn Fn(&str) -> Option<Vec<u8>>>;

impl Host for World {
    fn verify_signature(&self, hash: &str, spki: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
        let check = || verify_signature::verify(hash, spki, signature, message).is_ok();
        Some(self.signatures.unwrap_or_else(check))
    }

    fn shared(&self, name: &str) -> Option<Shared> {
        match &self.planted {
            Some(planted) => planted(name).map(|value| Shared { value, version: 1 }),
            None => self.shared.borrow().get(name).cloned(),
        }
    }

    fn share(&self, name: &str, value: &[u8]) {
        promises::of_shared_value(name, value);
        let version = self.shared.borrow().get(name).map_or(1, |old| old.version.wrapping_add(1).max(1));
        self.shared.borrow_mut().insert(name.to_owned(), Shared { value: value.to_vec(), version });
    }

    fn share_if(&self, name: &str, value: &[u8], version: u32) -> bool {
        let is_current = self.shared(name).is_some_and(|shared| shared.version == version);
        if is_current {
            self.share(name, value);
        }
        is_current
    }

    /// Not random at all, but never the same twice.
    fn random(&self, bytes: &mut [u8]) -> bool {
        for byte in bytes {
            let next = self.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.random.set(next);
            *byte = next.to_be_bytes()[0];
        }
        true
    }

    fn source_address(&self) -> Option<String> {
        Some("192.0.2.7:40000".to_owned())
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            shared: RefCell::default(),
            random: Cell::new(0x5eed_0123_4567_89ab),
            signatures: None,
            planted: None,
        }
    }
}

/// A request's headers.
#[derive(Clone, Default)]
pub(crate) struct Request(pub(crate) Vec<(Vec<u8>, Vec<u8>)>);

impl Request {
    /// A `GET` of this path on this host.
    pub(crate) fn get(authority: &[u8], path: &[u8]) -> Self {
        Self(Vec::new()).with(b":method", b"GET").with(b":path", path).with(b":authority", authority)
    }

    pub(crate) fn with(mut self, name: &[u8], value: &[u8]) -> Self {
        self.0.push((name.to_vec(), value.to_vec()));
        self
    }

    /// All values under this name.
    pub(crate) fn values(&self, name: &[u8]) -> Vec<&[u8]> {
        self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_slice()).collect()
    }

    fn block(&self) -> HeaderBlock {
        HeaderBlock::from_pairs(self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
    }
}

/// One worker.
pub(crate) struct Worker {
    core: Authenticator,
    pub(crate) world: World,
    pub(crate) now: u64,
    last_id: RequestId,
    waiting: BTreeMap<RequestId, Request>,
    /// Calls that are out, and since when.
    out: Vec<(Ticket, u64)>,
}

/// After so many seconds without an answer a call is given up: its timeout and two.
const LOST_AFTER: u64 = 7;

impl Worker {
    /// With a configuration that is good.
    pub(crate) fn new(configuration: &Value) -> Self {
        let config = Config::parse(configuration.to_string().as_bytes(), &|_| None);
        Self::with(config.expect("the targets' own configuration is good"))
    }

    pub(crate) fn with(config: Config) -> Self {
        let core = Authenticator::new(config).expect("HMAC takes any key");
        Self { core, world: World::new(), now: NOW, last_id: 0, waiting: BTreeMap::new(), out: Vec::new() }
    }

    pub(crate) fn config(&self) -> &Config {
        self.core.config()
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> Vec<RequestId> {
        self.waiting.keys().copied().collect()
    }

    /// Sends a request; `None`: it waits. Its id is the last one's plus one, beginning with 1.
    pub(crate) fn send(&mut self, request: &Request) -> Option<Decision> {
        self.last_id += 1;
        let env = Env { now: Timestamp::from_seconds(self.now), host: &self.world };
        let decision = self.core.authenticate(&env, self.last_id, &request.block()).decided();
        match &decision {
            Some(decision) => self.judge(decision, request),
            None => {
                self.waiting.insert(self.last_id, request.clone());
            }
        }
        decision
    }

    /// Sends a request whose body is read, and the body; `None`: it is longer than the shell reads. `None`: it waits.
    pub(crate) fn post(&mut self, request: &Request, body: Option<&[u8]>) -> Option<Decision> {
        self.last_id += 1;
        let env = Env { now: Timestamp::from_seconds(self.now), host: &self.world };
        let step = match self.core.authenticate(&env, self.last_id, &request.block()) {
            Step::AwaitBody => self.core.body_ended(&env, self.last_id, &request.block(), body),
            step @ (Step::Decided(_) | Step::Waiting) => step,
        };
        let decision = step.decided();
        if let Some(decision) = &decision {
            self.judge(decision, request);
        }
        decision
    }

    /// A request that goes on has its own headers as trailers too.
    fn judge(&self, decision: &Decision, request: &Request) {
        promises::of_decision(decision, request, self.core.config(), self.now);
        let Decision::Forward(forward) = decision else { return };
        let set = promises::names_set(forward);
        let forbidden = edits::forbidden_trailers(&request.block(), &set, self.core.config());
        let forbidden = forbidden.expect("the block is in its format");
        promises::of_trailers(request, &forbidden, &set, self.core.config());
    }

    /// The calls that the core wants to make.
    pub(crate) fn calls(&mut self) -> Vec<(Ticket, Call)> {
        let calls = self.core.take_calls(Timestamp::from_seconds(self.now));
        for (ticket, call) in &calls {
            promises::of_call(call, self.core.config());
            assert!(self.out.iter().all(|(out, _)| out != ticket), "two calls are out for one ticket");
            // The doctor's call takes no place: it is one more.
            if call.endpoint != Endpoint::Discovery {
                self.out.push((*ticket, self.now));
            }
        }
        let config = self.core.config();
        let most = config.authentik.max_concurrent_calls;
        assert!(self.out.len() <= most, "{} calls are out", self.out.len());
        calls
    }

    /// An answer comes, to a call that is out or to one that never was.
    pub(crate) fn answer(&mut self, ticket: Ticket, answer: &Answer) -> Vec<(RequestId, Decision)> {
        self.out.retain(|(out, _)| *out != ticket);
        let env = Env { now: Timestamp::from_seconds(self.now), host: &self.world };
        self.core.answered(&env, ticket, answer);
        self.decided()
    }

    /// Time passes.
    pub(crate) fn tick(&mut self, seconds: u64) -> Vec<(RequestId, Decision)> {
        self.now = self.now.saturating_add(seconds);
        let env = Env { now: Timestamp::from_seconds(self.now), host: &self.world };
        self.core.tick(&env, 0);
        let now = self.now;
        self.out.retain(|(_, since)| now - since <= LOST_AFTER);
        self.decided()
    }

    /// A client leaves.
    pub(crate) fn forget(&mut self, id: RequestId) {
        self.core.forget(id);
        self.waiting.remove(&id);
    }

    fn decided(&mut self) -> Vec<(RequestId, Decision)> {
        let env = Env { now: Timestamp::from_seconds(self.now), host: &self.world };
        let mut decisions = Vec::new();
        while let Some(id) = self.core.next_ready() {
            let request = self.waiting.get(&id).expect("only a request that waits is decided, and once");
            if let Some(decision) = self.core.resume(&env, id, &request.block()).decided() {
                self.judge(&decision, request);
                self.waiting.remove(&id);
                decisions.push((id, decision));
            }
        }
        decisions
    }

    /// Fetches the keys of all providers from this authentik.
    pub(crate) fn fetch_keys(&mut self, authentik: &dyn Fn(&Call) -> Answer) {
        self.tick(0);
        for (ticket, call) in self.calls() {
            self.answer(ticket, &authentik(&call));
        }
    }

    /// Sends a request and lets this authentik answer whatever is asked.
    pub(crate) fn ask(&mut self, request: &Request, authentik: &dyn Fn(&Call) -> Answer) -> Decision {
        if let Some(decision) = self.send(request) {
            return decision;
        }
        for _ in 0..MAX_ROUNDS {
            for (ticket, call) in self.calls() {
                for (id, decision) in self.answer(ticket, &authentik(&call)) {
                    if id == self.last_id {
                        return decision;
                    }
                }
            }
        }
        panic!("a request still waits after {MAX_ROUNDS} rounds of calls");
    }
}

/// Whether the request goes on, and as whom.
pub(crate) fn username(decision: &Decision) -> Option<&str> {
    match decision {
        Decision::Forward(forward) => forward.identity.as_ref().map(|identity| identity.username()),
        Decision::Reply(_) => None,
    }
}
