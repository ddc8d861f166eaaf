//! Any answers of authentik, in any order, while requests wait, come and leave.
//!
//! Input: lines, each a step: `R` a request of a kind, `A` an answer to a call that is out (or was), `F` a client leaves, `T`
//! time passes. In an answer's body `$T` stands for alice's token, `$N` for one with the nonce of the login that is under way,
//! `$E` for one of another key.
//!
//! Promised: a request waits for an answer and is told something once; an identity needs a token that verifies or an active
//! one; what is no answer of authentik's is a 503 and never a verdict; calls and waiting requests are bounded; when
//! everything is answered nobody waits.

use authentik_proxy_wasm::authn::authentik::call::{Answer, Call, NotSent};
use authentik_proxy_wasm::authn::reply::Decision;
use authentik_proxy_wasm::authn::{RequestId, Ticket};
use authentik_proxy_wasm::base::secret::Secret;
use serde_json::json;

use super::Seen;
use super::authentik::{self, client_secret};
use super::worker::{Request, Worker, configuration, provider};
use fake_authentik::Key;

/// What the corpus must come to see.
pub const MUST_SEE: &[&str] = &[
    "identity by exchange",
    "identity by introspection",
    "identity by login",
    "refused",
    "fault",
    "too many calls",
    "throttled",
    "shared call",
    "client left",
    "answer to nothing",
    "keys fetched",
    "late keys",
    "incomplete",
];

/// Most steps that are looked at.
const MAX_STEPS: usize = 64;

struct Story {
    worker: Worker,
    /// Calls that are out, and those that were: for answers to nothing.
    out: Vec<(Ticket, Call)>,
    past: Vec<(Ticket, Call)>,
    /// `state`, cookie and nonce of the login that was begun last.
    login: Option<(String, String, String)>,
    seen: Seen,
    /// Whether authentik has called any token active yet.
    was_active: bool,
    /// Whether it has issued a token that stands.
    has_issued: bool,
}

/// Runs the target on one input.
pub fn run(data: &[u8]) -> Seen {
    let (choices, rest) = data.split_first().unwrap_or((&0, &[]));
    let verification =
        ["local", "introspection", "local_then_introspection", "local"][usize::from(choices & 3)];
    let settings = json!({
        "bearer_verification": verification,
        "revalidate_seconds": if choices & 3 == 3 { 30 } else { 0 },
        "federated_bearer": choices & 4 == 4,
        "intercept_header_auth": choices & 8 == 8,
    });
    let rest_of_configuration = json!({"throttle": {"failures": 3}, "cache": {"stale_seconds": 0}});
    let mut story = Story {
        worker: Worker::new(&configuration(&[provider("demo", &settings)], &rest_of_configuration)),
        out: Vec::new(),
        past: Vec::new(),
        login: None,
        seen: Seen::new(),
        was_active: false,
        has_issued: false,
    };
    for line in rest.split(|byte| *byte == b'\n').take(MAX_STEPS) {
        story.step(line);
    }
    story.end();
    story.seen
}

impl Story {
    fn step(&mut self, line: &[u8]) {
        match line {
            [b'R', kind, argument @ ..] => self.request(*kind, argument),
            [b'A', which, kind, body @ ..] => self.answer(*which, *kind, body),
            [b'F', which, ..] => {
                let waiting = self.worker.waiting();
                if let Some(id) = waiting.get(usize::from(*which) % waiting.len().max(1)) {
                    self.worker.forget(*id);
                    self.seen.insert("client left");
                }
            }
            [b'T', seconds, ..] => {
                let decisions = self.worker.tick(u64::from(seconds.wrapping_sub(b'0')));
                self.told(&decisions, None);
            }
            _ => {}
        }
        let calls = self.worker.calls();
        self.out.extend(calls);
    }

    fn request(&mut self, kind: u8, argument: &[u8]) {
        let mut request = Request::get(b"demo.example.test", b"/");
        let basic = |name: &str, password: &[u8]| {
            use base64::Engine as _;
            let text = [name.as_bytes(), b":", password].concat();
            format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(text)).into_bytes()
        };
        match kind {
            b'b' => request = request.with(b"authorization", &basic("alice", argument)),
            b'o' => request = request.with(b"authorization", &basic("bob", argument)),
            b't' => request = request.with(b"authorization", &[b"Bearer ", argument].concat()),
            b'g' => {
                request =
                    request.with(b"authorization", format!("Bearer {}", authentik::good_token()).as_bytes())
            }
            b'u' => {
                let token = unknown_key();
                request = request.with(b"authorization", format!("Bearer {token}").as_bytes());
            }
            b'l' => return self.begin_login(),
            b'c' => {
                let Some((state, cookie, _)) = &self.login else { return };
                let path = format!("/outpost.goauthentik.io/callback?code=a-code&state={state}");
                request =
                    Request::get(b"demo.example.test", path.as_bytes()).with(b"cookie", cookie.as_bytes());
            }
            _ => return,
        }
        let (out, waiting) = (self.out.len(), self.worker.waiting().len());
        match self.worker.send(&request) {
            Some(decision) => self.told(&[(0, decision)], None),
            None => {
                let calls = self.worker.calls();
                self.out.extend(calls);
                if self.out.len() == out && waiting > 0 {
                    self.seen.insert("shared call");
                }
            }
        }
    }

    fn begin_login(&mut self) {
        let request = Request::get(b"demo.example.test", b"/deep");
        let Some(Decision::Reply(reply)) = self.worker.send(&request) else {
            panic!("a login begins at once")
        };
        let value = |name: &str| {
            let found = reply.headers.iter().find(|(other, _)| *other == name);
            core::str::from_utf8(found.expect("a redirect").1.as_bytes()).unwrap().to_owned()
        };
        let location = url::Url::parse(&value("location")).unwrap();
        let parameter =
            |name: &str| location.query_pairs().find(|(other, _)| other == name).unwrap().1.into_owned();
        let cookie = value("set-cookie").split(';').next().unwrap().to_owned();
        self.login = Some((parameter("state"), cookie, parameter("nonce")));
    }

    fn answer(&mut self, which: u8, kind: u8, body: &[u8]) {
        let which = usize::from(which.wrapping_sub(b'0'));
        let (ticket, call) = if which < 10 && !self.out.is_empty() {
            self.out.remove(which % self.out.len())
        } else if let Some((ticket, call)) = self.past.last() {
            self.seen.insert("answer to nothing");
            (*ticket, call.clone())
        } else {
            return;
        };
        self.past.push((ticket, call.clone()));
        let body = self.substituted(body);
        let body = Secret::new(body);
        let response =
            |status| Answer::Response { status, retry_after: None, date: None, body: body.clone() };
        let answer = match kind {
            b'g' => response(200),
            b'b' => response(400),
            b'm' => response(405),
            b's' => response(503),
            b'r' => Answer::Reset,
            b'l' => Answer::TooLarge,
            b'u' => Answer::NotSent(NotSent::UnknownCluster),
            b'n' => Answer::NotSent(NotSent::NoCapacity),
            other => Answer::Response {
                status: 100 + u16::from(other) * 2,
                retry_after: Some(u64::from(other) << 56),
                date: None,
                body: body.clone(),
            },
        };
        self.note(&answer);
        let decisions = self.worker.answer(ticket, &answer);
        let calls = self.worker.calls();
        if authentik::header(&call, ":path").ends_with("/jwks/") && kind == b'g' {
            self.seen.insert(if decisions.is_empty() { "keys fetched" } else { "late keys" });
        }
        self.out.extend(calls);
        self.told(&decisions, Some((&answer, &call)));
    }

    /// Whether this answer lets anybody in.
    fn note(&mut self, answer: &Answer) {
        let Answer::Response { status: 200, body, .. } = answer else { return };
        // Not as JSON: what else is in the answer does not matter.
        let body = String::from_utf8_lossy(body.expose());
        let mut members =
            body.split("\"active\"").skip(1).map(|rest| rest.trim_start_matches(|c| " \t\r\n:".contains(c)));
        self.was_active |= members.any(|value| value.starts_with("true"));
        self.has_issued |= body.split('"').any(is_minted);
    }

    /// What requests were told, and whether this answer may have said so.
    fn told(&mut self, decisions: &[(RequestId, Decision)], answer: Option<(&Answer, &Call)>) {
        for (_, decision) in decisions {
            let is_answer = answer.is_none_or(|(answer, _)| is_verdict(answer));
            let path = answer.map_or("", |(_, call)| authentik::header(call, ":path"));
            match decision {
                Decision::Forward(forward) => {
                    let identity = forward.identity.as_ref().expect("forwarded without identity");
                    let token = identity.verified().token().expose();
                    let is_issued = self.has_issued && is_minted(token);
                    assert!(
                        self.was_active || is_issued || token == authentik::good_token(),
                        "an identity, and authentik never vouched for it"
                    );
                    assert!(is_answer, "an identity of a failure");
                    self.seen.extend(match path {
                        "/application/o/token/" => Some("identity by exchange"),
                        "/application/o/introspect/" => Some("identity by introspection"),
                        _ => None,
                    });
                }
                Decision::Reply(reply) => {
                    assert!(is_answer || reply.status == 503, "a failure becomes {}", reply.log.message);
                    // What authentik says of a token is not the client's to write well.
                    let is_introspection = path.ends_with("/introspect/");
                    let is_malformed = reply.status != 503 && reply.log.message.contains("malformed");
                    assert!(!is_introspection || !is_malformed, "{}", reply.log.message);
                    let is_session = reply.headers.iter().any(|(name, value)| {
                        *name == "set-cookie"
                            && value.as_bytes().windows(7).any(|window| window == b"_login=")
                            && reply.status == 302
                    }) && reply.headers.iter().any(|(name, value)| {
                        *name == "location" && value.as_bytes().starts_with(b"https://demo.")
                    });
                    if is_session {
                        assert!(
                            self.has_issued || self.was_active,
                            "a login ends, and authentik issued nothing"
                        );
                        self.seen.insert("identity by login");
                    }
                    self.seen.extend(match (reply.status, reply.log.message.contains("max_pending_calls")) {
                        (503, true) => Some("too many calls"),
                        (503, false) => Some("fault"),
                        (401, _) => Some("refused"),
                        (403, _) => Some("incomplete"),
                        (429, _) => Some("throttled"),
                        _ => None,
                    });
                }
            }
        }
    }

    fn substituted(&self, body: &[u8]) -> Vec<u8> {
        let mut result = Vec::new();
        let mut rest = body;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            let token = match (byte, after.first()) {
                (b'$', Some(b'T')) => authentik::good_token().to_owned(),
                (b'$', Some(b'E')) => unknown_key(),
                (b'$', Some(b'N')) => {
                    let nonce = self.login.as_ref().map(|(_, _, nonce)| nonce.clone());
                    authentik::mint("demo", &json!({"nonce": nonce}))
                }
                _ => {
                    result.push(*byte);
                    continue;
                }
            };
            result.extend_from_slice(token.as_bytes());
            rest = after.get(1..).unwrap_or_default();
        }
        result
    }

    /// Everything that is out is answered, and time passes: nobody waits for ever.
    fn end(&mut self) {
        for _ in 0..8 {
            for (ticket, call) in std::mem::take(&mut self.out) {
                let decisions = self.worker.answer(ticket, &Answer::Reset);
                self.told(&decisions, Some((&Answer::Reset, &call)));
            }
            let decisions = self.worker.tick(60);
            self.told(&decisions, None);
            self.out = self.worker.calls();
        }
        assert!(self.worker.waiting().is_empty(), "somebody waits for ever");
    }
}

/// A token that is good but for its key, which nobody has.
fn unknown_key() -> String {
    let claims = authentik::claims("demo", &json!({})).to_string();
    let header = br#"{"alg":"ES256","kid":"new","typ":"JWT"}"#;
    authentik::sign(header, claims.as_bytes(), &Key::Secret(client_secret("other").into_bytes()))
}

/// What may be an answer of authentik's own making: 200 with a JSON object, or 400 with an OAuth error.
fn is_verdict(answer: &Answer) -> bool {
    let Answer::Response { status, body, .. } = answer else { return false };
    [200, 400].contains(status) && body.expose().trim_ascii_start().starts_with(b"{")
}

/// A token as the provider signs them, for the login that is under way or for one before it.
fn is_minted(token: &str) -> bool {
    let (message, signature) = token.rsplit_once('.').unwrap_or_default();
    let key = Key::Secret(client_secret("demo").into_bytes());
    fake_authentik::url(key.sign(message.as_bytes())) == signature
}
