//! The core as a subject: a request's headers in, its edited headers or a reply out. No host at all.

use std::cell::Cell;
use std::rc::Rc;

use authentik_proxy_wasm::authn::authentik::call::{Answer, Call};
use authentik_proxy_wasm::authn::edits::Forward;
use authentik_proxy_wasm::authn::env::{Env, Host, Shared};
use authentik_proxy_wasm::authn::reply::Decision;
use authentik_proxy_wasm::authn::reply::shared_caches::may_be_shared;
use authentik_proxy_wasm::authn::request::view::HeaderBlock;
use authentik_proxy_wasm::authn::{Authenticator, MAX_BODY_BYTES, Step, Ticket};
use authentik_proxy_wasm::base::secret::Secret;
use authentik_proxy_wasm::base::time::Timestamp;
use authentik_proxy_wasm::config::Config;

use super::{NOW, Observed, Reply, Subject};

/// No host cryptography, no shared data.
pub(crate) struct Bare {
    /// Whether the request for randomness of this number is not met.
    denies: fn(u32) -> bool,
    asked: Cell<u32>,
}

impl Default for Bare {
    fn default() -> Self {
        Self { denies: |_| false, asked: Cell::default() }
    }
}

impl Host for Bare {
    fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
    fn shared(&self, _: &str) -> Option<Shared> {
        None
    }
    fn share(&self, _: &str, _: &[u8]) {}
    fn share_if(&self, _: &str, _: &[u8], _: u32) -> bool {
        false
    }
    fn random(&self, bytes: &mut [u8]) -> bool {
        let number = self.asked.replace(self.asked.get() + 1);
        !(self.denies)(number) && getrandom::fill(bytes).is_ok()
    }
    fn source_address(&self) -> Option<String> {
        Some("192.0.2.7:40000".to_owned())
    }
}

pub(crate) struct Core {
    authenticator: Authenticator,
    host: Rc<Bare>,
    now: u64,
    next_id: u32,
    request: Vec<(String, String)>,
    pending: Vec<(Ticket, Call)>,
    set_cookies: Vec<String>,
}

impl Core {
    pub(crate) fn new(configuration: &str) -> Self {
        Self::denied_randomness(configuration, |_| false)
    }

    /// Where the host does not give randomness whenever it is asked, by the number of the request for it.
    pub(crate) fn denied_randomness(configuration: &str, denies: fn(u32) -> bool) -> Self {
        let config = Config::parse(configuration.as_bytes(), &|_| None).expect("a good configuration");
        let authenticator = Authenticator::new(config).unwrap();
        Self {
            authenticator,
            host: Rc::new(Bare { denies, asked: Cell::default() }),
            now: NOW,
            next_id: 1,
            request: Vec::new(),
            pending: Vec::new(),
            set_cookies: Vec::new(),
        }
    }

    /// The host hands over this, whatever it is.
    pub(crate) fn send_block(&mut self, block: &HeaderBlock) -> Option<Observed> {
        self.next_id += 1;
        let env = Env { now: Timestamp::from_seconds(self.now), host: &*self.host };
        let decision = self.authenticator.authenticate(&env, self.next_id, block).decided()?;
        Some(self.observed(decision))
    }

    /// The client of the last request leaves.
    pub(crate) fn leave(&mut self) {
        self.authenticator.forget(self.next_id);
    }

    fn observed(&mut self, decision: Decision) -> Observed {
        self.set_cookies.clear();
        match decision {
            Decision::Forward(forward) => {
                self.set_cookies = forward.set_cookies.iter().map(|value| text(value.as_bytes())).collect();
                Observed::Forwarded(edited(&self.request, &forward))
            }
            Decision::Reply(reply) => Observed::Replied {
                status: reply.status,
                headers: reply
                    .headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), text(value.as_bytes())))
                    .collect(),
                body: reply.body,
                grpc_status: reply.grpc_status,
            },
        }
    }
}

impl Subject for Core {
    fn send(&mut self, headers: &[(String, String)]) -> Option<Observed> {
        self.request = headers.to_vec();
        self.send_block(&block(headers))
    }

    fn post(&mut self, headers: &[(String, String)], body: &[u8]) -> Option<Observed> {
        self.request = headers.to_vec();
        self.next_id += 1;
        let host = Rc::clone(&self.host);
        let env = Env { now: Timestamp::from_seconds(self.now), host: &*host };
        let block = block(headers);
        let step = match self.authenticator.authenticate(&env, self.next_id, &block) {
            Step::AwaitBody => {
                let body = Some(body).filter(|body| body.len() <= MAX_BODY_BYTES);
                self.authenticator.body_ended(&env, self.next_id, &block, body)
            }
            step @ (Step::Decided(_) | Step::Waiting) => step,
        };
        step.decided().map(|decision| self.observed(decision))
    }

    fn calls(&mut self) -> Vec<String> {
        self.pending.extend(self.authenticator.take_calls(Timestamp::from_seconds(self.now)));
        self.pending.iter().map(|(_, call)| path_of(call)).collect()
    }

    fn answer(&mut self, authentik: &dyn Fn(&str) -> Reply) -> Option<Observed> {
        let mut observed = None;
        while !self.calls().is_empty() {
            let (ticket, call) = self.pending.remove(0);
            let answer = match authentik(&path_of(&call)) {
                Reply::Json(status, body) => response(status, &body.to_string()),
                Reply::Body(status, body) => response(status, body),
                Reply::Reset => Answer::Reset,
            };
            let host = Rc::clone(&self.host);
            let env = Env { now: Timestamp::from_seconds(self.now), host: &*host };
            self.authenticator.answered(&env, ticket, &answer);
            while let Some(id) = self.authenticator.next_ready() {
                // The host has the headers of the last request only; what became of the others nobody asks.
                let decision = self.authenticator.resume(&env, id, &block(&self.request)).decided();
                if id == self.next_id {
                    observed = decision.map(|decision| self.observed(decision)).or(observed);
                }
            }
        }
        observed
    }

    fn respond(&mut self, headers: &[(&str, &str)]) -> Vec<String> {
        let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let has_authorization = self.request.iter().any(|(name, _)| name == "authorization");
        let is_shared = may_be_shared(&HeaderBlock::from_pairs(pairs), has_authorization);
        if is_shared { Vec::new() } else { self.set_cookies.clone() }
    }

    fn advance(&mut self, seconds: u64) {
        self.now += seconds;
    }
}

fn block(headers: &[(String, String)]) -> HeaderBlock {
    HeaderBlock::from_pairs(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

fn path_of(call: &Call) -> String {
    let (_, path) = call.headers.iter().find(|(name, _)| *name == ":path").unwrap();
    String::from_utf8(path.as_bytes().to_vec()).unwrap()
}

fn response(status: u16, body: &str) -> Answer {
    Answer::Response { status, retry_after: None, date: None, body: Secret::new(body.as_bytes().to_vec()) }
}

/// What the shell does with a [`Forward`], on a list.
fn edited(request: &[(String, String)], forward: &Forward) -> Vec<(String, String)> {
    let mut headers = request.to_vec();
    for name in &forward.remove {
        headers.retain(|(other, _)| other.as_bytes() != &**name);
    }
    let overriding = forward.identity.iter().flat_map(|identity| identity.overriding_headers());
    for (name, value) in forward.replace.iter().chain(overriding) {
        headers.retain(|(other, _)| other.as_str() != name);
        headers.push((name.to_string(), text(value.as_bytes())));
    }
    for (name, value) in forward.identity.iter().flat_map(|identity| identity.identity_headers()) {
        headers.push((name.to_string(), text(value.as_bytes())));
    }
    if let Some((name, value)) = forward.seal() {
        headers.retain(|(other, _)| other != name);
        headers.push((name.to_owned(), text(value.as_bytes())));
    }
    headers
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
