//! The core at work: one request, and the answers that were given for authentik's.
//!
//! Owns: the native host, and which question gets which answer. Must not: send anything.

use std::collections::VecDeque;

use authentik_proxy_wasm::authn::authentik::call::{Answer, Call, Endpoint};
use authentik_proxy_wasm::authn::env::{Env, Host, Shared};
use authentik_proxy_wasm::authn::policy::{Row, Verdict};
use authentik_proxy_wasm::authn::reply::Decision;
use authentik_proxy_wasm::authn::request::view::HeaderBlock;
use authentik_proxy_wasm::authn::{Authenticator, RequestId, Step};
use authentik_proxy_wasm::base::time::Timestamp;

use super::input::Request;

const ID: RequestId = 1;
/// A request has fewer questions.
const MAX_CALLS: usize = 16;

/// A host with cryptography and randomness, and nothing that other workers left.
struct Native;

impl Host for Native {
    fn verify_signature(&self, hash: &str, spki: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
        Some(verify_signature::verify(hash, spki, signature, message).is_ok())
    }

    fn shared(&self, _: &str) -> Option<Shared> {
        None
    }

    fn share(&self, _: &str, _: &[u8]) {}

    fn share_if(&self, _: &str, _: &[u8], _: u32) -> bool {
        false
    }

    fn random(&self, bytes: &mut [u8]) -> bool {
        getrandom::fill(bytes).is_ok()
    }

    fn source_address(&self) -> Option<String> {
        None
    }
}

/// The answers that the operator gave.
pub(super) struct Given {
    keys: Option<Answer>,
    others: VecDeque<Answer>,
}

pub(super) fn given(keys: Option<Answer>, others: Vec<Answer>) -> Given {
    Given { keys, others: others.into() }
}

impl Given {
    fn answer(&mut self, call: &Asked) -> Option<Answer> {
        if call.is_for_keys { self.keys.clone() } else { self.others.pop_front() }
    }
}

/// A question to authentik.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) is_for_keys: bool,
    /// The form: names, and the value of the one that is no secret.
    pub(super) form: Vec<String>,
    pub(super) is_answered: bool,
}

impl Asked {
    fn of(call: &Call) -> Self {
        let header = |name: &str| {
            let found = call.headers.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
        };
        let path = header(":path");
        let form = form_urlencoded::parse(call.body.expose()).map(|(name, value)| match &*name {
            "grant_type" => format!("{name}={value}"),
            _ => name.into_owned(),
        });
        Self {
            method: header(":method"),
            url: format!("{}://{}{path}", header("x-forwarded-proto"), header(":authority")),
            is_for_keys: call.endpoint == Endpoint::Jwks,
            form: form.collect(),
            is_answered: false,
        }
    }
}

/// What became of the request.
pub(super) struct Came {
    pub(super) calls: Vec<Asked>,
    pub(super) end: End,
}

/// How far the request came.
pub(super) enum End {
    Decided(Decision),
    /// It waits for an answer that was not given. The row, with the verdict unknown, if a credential is judged by it.
    Waits(Option<Row>),
}

/// One worker that has just started.
pub(super) struct Worker {
    authenticator: Authenticator,
    now: Timestamp,
    block: HeaderBlock,
}

impl Worker {
    pub(super) fn new(authenticator: Authenticator, now: u64, request: &Request) -> Self {
        let pairs = request.headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let block = HeaderBlock::from_pairs(pairs);
        Self { authenticator, now: Timestamp::from_seconds(now), block }
    }

    pub(super) fn run(&mut self, mut given: Given) -> Came {
        let env = Env { now: self.now, host: &Native };
        let mut calls: Vec<Asked> = Vec::new();
        let mut decision = self.authenticator.authenticate(&env, ID, &self.block).decided();
        let mut is_waiting = false;
        while decision.is_none() && calls.len() < MAX_CALLS {
            let asked = self.authenticator.take_calls(self.now);
            if asked.is_empty() {
                break;
            }
            for (ticket, call) in asked {
                let mut call = Asked::of(&call);
                let answer = given.answer(&call);
                call.is_answered = answer.is_some();
                is_waiting |= answer.is_none();
                calls.push(call);
                // Without an answer the request is run to its end all the same: the decision names its row.
                self.authenticator.answered(&env, ticket, &answer.unwrap_or(Answer::Lost));
            }
            decision = self.resumed(&env).or(decision);
        }
        let end = match decision {
            Some(decision) if !is_waiting => End::Decided(decision),
            decision => {
                let row = decision.and_then(|decision| decision.report().row);
                End::Waits(row.map(|row| Row { verdict: Verdict::Unknown, ..row }))
            }
        };
        Came { calls, end }
    }

    fn resumed(&mut self, env: &Env<'_>) -> Option<Decision> {
        let mut decision = None;
        while let Some(id) = self.authenticator.next_ready() {
            match self.authenticator.resume(env, id, &self.block) {
                Step::Decided(decided) => decision = Some(decided),
                Step::Waiting | Step::AwaitBody => {}
            }
        }
        decision
    }
}
