//! The two roads. Envoy's begins at a socket, with the module that users get; the core's begins with a block of headers,
//! in host that check no signature. Configuration, keys and time are the same.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use authentik_proxy_wasm::authn::authentik::{Answer, Call};
use authentik_proxy_wasm::authn::env::{Env, Host, Shared};
use authentik_proxy_wasm::authn::request::view::HeaderBlock;
use authentik_proxy_wasm::authn::{Authenticator, RequestId, reply};
use authentik_proxy_wasm::base::secret::Secret;
use authentik_proxy_wasm::base::time::Timestamp;
use authentik_proxy_wasm::config::Config;
use fake_authentik::Authentik;
use serde_json::Value;

use super::Case;
use super::tokens::Algorithm;
use crate::envoy::place::{Place, jwks, username};
use crate::envoy::wire::bearer;

/// What becomes of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The request goes on, as this user's.
    PassesAs(String),
    /// `401`.
    Refused,
    /// What nobody should be told here.
    Another(u16),
}

/// A decision, and how far it went.
pub(super) struct Judged {
    pub(super) decision: Decision,
    /// Whether the signature was to be checked by a public key; Envoy does not tell.
    pub(super) checked: Option<bool>,
}

/// What Envoy was started with, for the plugin.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) configuration: Value,
    pub(super) environment: BTreeMap<String, String>,
}

/// Over a connection that is kept.
pub(super) fn of_envoy(place: &Place, case: &Case) -> Decision {
    let request = place.envoy.get("/").header("host", case.algorithm.host());
    let answer = request.header("authorization", bearer(&case.token)).send().expect("Envoy answers");
    match answer.status().as_u16() {
        200 => Decision::PassesAs(username(&answer.json::<Value>().expect("the application shows it"))),
        status => {
            // Read to its end, the connection is free for the next.
            answer.bytes().expect("a whole answer");
            if status == 401 { Decision::Refused } else { Decision::Another(status) }
        }
    }
}

/// A worker without a host, and the keys of the stand-in.
pub(super) struct Core {
    authenticator: Authenticator,
    host: WithoutHost,
    /// By path.
    key_sets: BTreeMap<String, String>,
    last_id: RequestId,
}

impl Core {
    pub(super) fn new(settings: &Settings, authentik: &Authentik) -> Self {
        let environment = |name: &str| settings.environment.get(name).cloned();
        let configuration = settings.configuration.to_string();
        let config = Config::parse(configuration.as_bytes(), &environment).expect("Envoy has taken it");
        let key_sets = Algorithm::ALL.map(|one| (jwks(one.slug()), authentik.jwks(one.slug()).to_string()));
        let mut core = Self {
            authenticator: Authenticator::new(config).expect("HMAC takes any key"),
            host: WithoutHost::default(),
            key_sets: key_sets.into(),
            last_id: 0,
        };
        core.authenticator.tick(&core.host.env(), 0);
        core.answer_calls();
        assert_eq!(core.authenticator.next_ready(), None);
        core
    }

    pub(super) fn judge(&mut self, case: &Case) -> Judged {
        self.last_id += 1;
        self.host.is_asked.set(false);
        let (host, credential) = (case.algorithm.host(), bearer(&case.token));
        let headers =
            [(":method", "GET"), (":path", "/"), (":authority", &host), ("authorization", &credential)];
        let block = HeaderBlock::from_pairs(headers.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let decision = self
            .authenticator
            .authenticate(&self.host.env(), self.last_id, &block)
            .expect("the keys are there, and nobody else is asked");
        let decision = match decision {
            reply::Decision::Forward(forward) => {
                let identity = forward.identity.expect("every path needs one");
                Decision::PassesAs(identity.username().to_owned())
            }
            reply::Decision::Reply(reply) if reply.status == 401 => Decision::Refused,
            reply::Decision::Reply(reply) => Decision::Another(reply.status),
        };
        Judged { decision, checked: Some(self.host.is_asked.get()) }
    }

    /// As the stand-in does. Only keys are ever asked for.
    fn answer_calls(&mut self) {
        let calls = self.authenticator.take_calls(self.host.env().now);
        assert_eq!(calls.len(), self.key_sets.len());
        for (ticket, call) in calls {
            let body = Secret::new(self.key_sets[&path_of(&call)].clone().into_bytes());
            let answer = Answer::Response { status: 200, retry_after: None, body };
            self.authenticator.answered(&self.host.env(), ticket, &answer);
        }
    }
}

fn path_of(call: &Call) -> String {
    let (_, path) = call.headers.iter().find(|(name, _)| *name == ":path").expect("a path");
    String::from_utf8(path.as_bytes().to_vec()).expect("a path of ASCII")
}

/// Nothing is to be had of this host, signature checks least of all.
#[derive(Default)]
struct WithoutHost {
    is_asked: Cell<bool>,
}

impl WithoutHost {
    fn env(&self) -> Env<'_> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        Env { now: Timestamp::from_seconds(now), host: self }
    }
}

impl Host for WithoutHost {
    fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        self.is_asked.set(true);
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
        getrandom::fill(bytes).is_ok()
    }
    fn source_address(&self) -> Option<String> {
        None
    }
}
