//! What the tests of the artefact share: a world with authentik's cluster and the real time, workers in it, tokens
//! and key sets of the stand-in authentik (which is never called: every answer is given by the test), and a
//! short form of what became of a request.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use fake_authentik::{Authentik, TokenSpec};
use local_envoy::module;
use proxy_wasm_testkit::{
    CallAnswer, HeaderMap, HttpCall, LogLevel, Module, Outcome, Request, StreamId, Vm, World,
};
use serde_json::{Value, json};

use crate::support::host;

/// authentik as browsers see it: in every `iss`.
pub(super) const BASE: &str = "https://auth.example.test";
pub(super) const COOKIE_SECRET: &str = "cookie-secret-of-the-module-tests-0123456789";
pub(super) const TOKEN_PATH: &str = "/application/o/token/";

/// Makes tokens and key sets. Shared by all tests, so nothing in it is ever changed.
pub(super) static AUTHENTIK: LazyLock<Authentik> = LazyLock::new(|| {
    let authentik = Authentik::start();
    authentik.set_public_base(BASE);
    authentik
});

/// The artefact.
pub(super) fn artefact() -> Module {
    Module::load(module::module()).unwrap()
}

/// The artefact as it is built for hosts that check no signatures.
pub(super) fn portable() -> Module {
    Module::load(module::portable_module()).unwrap()
}

/// An Envoy that knows authentik's cluster, at the real time, with every log line recorded.
pub(super) fn world() -> World {
    let world = host::world();
    world.add_cluster("authentik");
    world.set_log_level(LogLevel::Trace);
    world.set_now(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    world
}

/// The names of the slots in which verdicts are shared; keys and leases are not among them.
pub(super) fn verdict_slots(world: &World) -> Vec<Vec<u8>> {
    let is_verdict = |key: &Vec<u8>| String::from_utf8_lossy(key).contains("/verdict/");
    world.shared_keys("").into_iter().filter(is_verdict).collect()
}

/// A configuration with one provider of the stand-in's; further providers go into its list. Guessing is not braked:
/// these tests do little else.
pub(super) fn configuration(slug: &str) -> Value {
    json!({
        "authentik": {"cluster": "authentik", "host": BASE},
        "providers": [provider(slug)],
        "throttle": {"failures": 0},
    })
}

/// The same with the outpost's redirect in place of the login flow.
pub(super) fn without_sessions(slug: &str) -> Value {
    let mut configuration = configuration(slug);
    configuration["session"] = json!({"enabled": false});
    configuration
}

pub(super) fn provider(slug: &str) -> Value {
    json!({
        "assigned_application_slug": slug,
        "client_id": format!("{slug}-client-id"),
        "client_secret": AUTHENTIK.client_secret(slug),
        "cookie_secret": COOKIE_SECRET,
        "external_host": format!("https://{slug}.example.com"),
    })
}

/// The configuration with one more member of its only provider.
pub(super) fn with_provider(slug: &str, name: &str, value: impl Into<Value>) -> Value {
    let mut configuration = configuration(slug);
    configuration["providers"][0][name] = value.into();
    configuration
}

/// A worker that has not asked for its keys yet.
pub(super) fn worker_without_keys(world: &World, configuration: &Value) -> Vm {
    Vm::start(world, &artefact(), configuration.to_string()).unwrap()
}

/// A worker that has the keys of all its providers.
pub(super) fn worker(world: &World, configuration: &Value) -> Vm {
    worker_of(&artefact(), world, configuration)
}

/// A worker of another build of the module, with the keys of all its providers.
pub(super) fn worker_of(module: &Module, world: &World, configuration: &Value) -> Vm {
    let mut vm = Vm::start(world, module, configuration.to_string()).unwrap();
    give_keys(&mut vm);
    vm
}

/// Ticks, and answers every call for keys as authentik would.
pub(super) fn give_keys(vm: &mut Vm) {
    vm.tick();
    answer_key_calls(vm);
}

/// Answers every call for keys that is out.
pub(super) fn answer_key_calls(vm: &mut Vm) {
    for call in vm.pending_calls() {
        let path = path_of(&call);
        if let Some(slug) = path.strip_prefix("/application/o/").and_then(|rest| rest.strip_suffix("/jwks/"))
        {
            vm.answer(call.id, CallAnswer::json(200, AUTHENTIK.jwks(slug).to_string()));
        }
    }
}

pub(super) fn path_of(call: &HttpCall) -> String {
    String::from_utf8(call.headers.get(":path").unwrap().to_vec()).unwrap()
}

/// The doctor's calls that are out.
pub(super) fn discoveries(vm: &Vm) -> Vec<HttpCall> {
    vm.pending_calls().into_iter().filter(is_discovery).collect()
}

fn is_discovery(call: &HttpCall) -> bool {
    path_of(call).ends_with("/.well-known/openid-configuration")
}

/// How many calls a worker has sent whose doctor is not answered: its calls do not count.
pub(super) fn calls_sent(vm: &Vm) -> u32 {
    vm.calls_sent() - u32::try_from(discoveries(vm).len()).unwrap()
}

/// The one call that is out, but for the doctor's.
pub(super) fn only_call(vm: &Vm) -> HttpCall {
    let calls: Vec<_> = vm.pending_calls().into_iter().filter(|call| !is_discovery(call)).collect();
    assert_eq!(calls.len(), 1, "{:?}", calls.iter().map(path_of).collect::<Vec<_>>());
    calls.into_iter().next().unwrap()
}

pub(super) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
}

pub(super) fn bearer(token: impl AsRef<str>) -> String {
    format!("Bearer {}", token.as_ref())
}

/// `GET /` with this credential.
pub(super) fn get(authorization: impl AsRef<[u8]>) -> Request {
    Request::get("/").header("authorization", authorization)
}

/// The token endpoint's answer with this token.
pub(super) fn granted(token: impl AsRef<str>) -> CallAnswer {
    let token = token.as_ref();
    let answer =
        json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600, "id_token": token});
    CallAnswer::json(200, answer.to_string())
}

/// The token endpoint's answer to a wrong password.
pub(super) fn refused() -> CallAnswer {
    CallAnswer::json(400, json!({"error": "invalid_grant", "error_description": "no"}).to_string())
}

/// alice's token of this provider with all its scopes.
pub(super) fn token(slug: &str) -> String {
    AUTHENTIK.mint(slug, TokenSpec::new())
}

/// alice's token with these claims changed; `null` takes one away.
pub(super) fn token_with(slug: &str, claims: Value) -> String {
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    let spec = claims.into_iter().fold(TokenSpec::new(), |spec, (name, value)| match value {
        Value::Null => spec.without_claim(&name),
        value => spec.claim(&name, value),
    });
    AUTHENTIK.mint(slug, spec)
}

pub(super) fn url_encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// What became of a request, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    /// The application has it, as a request of this user (empty: of nobody).
    Passed(String),
    /// It was answered with this status.
    Status(u16),
    /// It waits for a decision.
    Waits,
    /// The worker is dead.
    Dead,
}

pub(super) fn passed_as(username: &str) -> Observed {
    Observed::Passed(username.to_owned())
}

pub(super) fn observed(vm: &Vm, stream: StreamId) -> Observed {
    match vm.outcome(stream) {
        Outcome::Forwarded { headers, .. } => {
            let username = headers.get("x-authentik-username").unwrap_or_default();
            Observed::Passed(String::from_utf8_lossy(username).into_owned())
        }
        Outcome::Replied { status, .. } => Observed::Status(status),
        Outcome::Pending => Observed::Waits,
        Outcome::Failed => Observed::Dead,
    }
}

/// Sends a request and says what became of it at once.
pub(super) fn send(vm: &mut Vm, request: Request) -> Observed {
    let stream = vm.send(request);
    observed(vm, stream)
}

/// Sends a request, answers the one call that it causes, and says what became of it then.
pub(super) fn send_and_answer(vm: &mut Vm, request: Request, answer: CallAnswer) -> Observed {
    let stream = vm.send(request);
    assert_eq!(observed(vm, stream), Observed::Waits);
    let call = only_call(vm);
    vm.answer(call.id, answer);
    observed(vm, stream)
}

/// The headers that the application has.
pub(super) fn forwarded(vm: &Vm, stream: StreamId) -> HeaderMap {
    match vm.outcome(stream) {
        Outcome::Forwarded { headers, .. } => headers,
        other => panic!("not forwarded but {other:?}"),
    }
}

/// Headers and body of a reply.
pub(super) fn replied(vm: &Vm, stream: StreamId) -> (HeaderMap, Vec<u8>) {
    match vm.outcome(stream) {
        Outcome::Replied { headers, body, .. } => (headers, body),
        other => panic!("not answered but {other:?}"),
    }
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A small deterministic generator (SplitMix64): the same cases in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// Up to `longest` bytes out of `alphabet`.
    pub(crate) fn bytes(&mut self, longest: usize, alphabet: &[u8]) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}
