//! The three judges. Envoy is asked at a socket, with the module that users get. The core gets a block of headers; its host
//! checks no signature by SHA-256, so that the core does, and the others with RustCrypto. `jsonwebtoken` gets the token.
//! Configuration, keys and time are the same.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use authentik_proxy_wasm::authn::authentik::call::{Answer, Call};
use authentik_proxy_wasm::authn::env::{Env, Host, Shared};
use authentik_proxy_wasm::authn::request::view::HeaderBlock;
use authentik_proxy_wasm::authn::{Authenticator, RequestId, reply};
use authentik_proxy_wasm::base::secret::Secret;
use authentik_proxy_wasm::base::time::Timestamp;
use authentik_proxy_wasm::config::Config;
use fake_authentik::Authentik;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;

use super::Case;
use super::kinds::Kind;
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

/// The core's decision, and how far it went.
pub(super) struct Judged {
    pub(super) decision: Decision,
    /// Whether the signature was to be checked by a public key.
    pub(super) is_checked: bool,
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

/// A worker, and the keys of the stand-in.
pub(super) struct Core {
    authenticator: Authenticator,
    host: HalfAHost,
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
            host: HalfAHost::default(),
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
            .decided()
            .expect("the keys are there, and nobody else is asked");
        let decision = match decision {
            reply::Decision::Forward(forward) => {
                let identity = forward.identity.expect("every path needs one");
                Decision::PassesAs(identity.username().to_owned())
            }
            reply::Decision::Reply(reply) if reply.status == 401 => Decision::Refused,
            reply::Decision::Reply(reply) => Decision::Another(reply.status),
        };
        Judged { decision, is_checked: self.host.is_asked.get() }
    }

    /// As the stand-in does, a few at a time. Only keys are ever asked for.
    fn answer_calls(&mut self) {
        let mut count = 0;
        loop {
            let calls = self.authenticator.take_calls(self.host.env().now);
            if calls.is_empty() {
                break;
            }
            for (ticket, call) in calls {
                let body = Secret::new(self.key_sets[&path_of(&call)].clone().into_bytes());
                let answer = Answer::Response { status: 200, retry_after: None, date: None, body };
                self.authenticator.answered(&self.host.env(), ticket, &answer);
                count += 1;
            }
        }
        assert_eq!(count, self.key_sets.len());
    }
}

fn path_of(call: &Call) -> String {
    let (_, path) = call.headers.iter().find(|(name, _)| *name == ":path").expect("a path");
    String::from_utf8(path.as_bytes().to_vec()).expect("a path of ASCII")
}

/// A crate that has nothing in common with the filter but what a token is, and its primitives with the core's own road.
pub(super) struct Jsonwebtoken {
    /// By algorithm.
    providers: BTreeMap<Algorithm, (DecodingKey, Validation, Option<String>)>,
}

impl Jsonwebtoken {
    pub(super) fn new(authentik: &Authentik) -> Self {
        let provider = |one: Algorithm| {
            let (slug, jwk) = (one.slug(), authentik.jwks(one.slug())["keys"][0].clone());
            let member = |name: &str| jwk[name].as_str().expect("a member of the key");
            let (name, key) = match one {
                Algorithm::Rs256 => ("RS256", DecodingKey::from_rsa_components(member("n"), member("e"))),
                Algorithm::Es256 => ("ES256", DecodingKey::from_ec_components(member("x"), member("y"))),
                Algorithm::Es384 => ("ES384", DecodingKey::from_ec_components(member("x"), member("y"))),
                Algorithm::Hs256 => {
                    ("HS256", Ok(DecodingKey::from_secret(authentik.client_secret(slug).as_bytes())))
                }
                // It has none.
                Algorithm::Es512 => return None,
            };
            let mut validation = Validation::new(name.parse().expect("an algorithm of its own"));
            validation.leeway = 0;
            validation.set_required_spec_claims(&["exp", "iss", "aud"]);
            validation.set_issuer(&[format!("{}/application/o/{slug}/", authentik.public_base())]);
            validation.set_audience(&[format!("{slug}-client-id")]);
            let kid = jwk["kid"].as_str().map(str::to_owned);
            Some((one, (key.expect("a key"), validation, kid)))
        };
        Self { providers: Algorithm::ALL.into_iter().filter_map(provider).collect() }
    }

    /// `None`: it has not this algorithm, or does not look at what is wrong.
    pub(super) fn judge(&self, case: &Case) -> Option<Decision> {
        let (key, validation, own_kid) = self.providers.get(&case.algorithm)?;
        if case.kind == Kind::CriticalExtension {
            return None;
        }
        let Ok(token) = jsonwebtoken::decode::<Value>(&case.token, key, validation) else {
            return Some(Decision::Refused);
        };
        // Which key a token is checked with is not its business.
        if token.header.kid.is_some() && token.header.kid != *own_kid {
            return Some(Decision::Refused);
        }
        let username = token.claims["preferred_username"].as_str().expect("every token has one");
        Some(Decision::PassesAs(username.to_owned()))
    }
}

/// A host that checks no signature by SHA-256, and offers nothing else. Of SHA-384 and SHA-512 the core has no check.
#[derive(Default)]
struct HalfAHost {
    is_asked: Cell<bool>,
}

impl HalfAHost {
    fn env(&self) -> Env<'_> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        Env { now: Timestamp::from_seconds(now), host: self }
    }
}

impl Host for HalfAHost {
    fn verify_signature(&self, hash: &str, spki: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
        self.is_asked.set(true);
        (hash != "sha256").then(|| verify_signature::verify(hash, spki, signature, message).is_ok())
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
