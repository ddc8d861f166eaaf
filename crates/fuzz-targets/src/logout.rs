//! Any body of a request for back-channel logout: raw, or a form with a token of any header and any claims, signed by somebody.
//!
//! Input: a byte that says what the body is made of, a byte for the content type, then the body, or header and claims, a line
//! each.
//!
//! Promised: the request never goes on, nothing is asked of authentik, no cookie is set. A body that is accepted has a token
//! that authentik signed and that is a logout token of this provider, of this time; the rules are written down here a second
//! time. It is not accepted twice.

use authentik_proxy_wasm::authn::MAX_BODY_BYTES;
use authentik_proxy_wasm::authn::reply::Decision;
use serde_json::{Value, json};

use super::Seen;
use super::authentik::{self, client_secret};
use super::jwt;
use super::worker::{NOW, Request, Worker, configuration, provider};
use fake_authentik::{Generation, Key};

/// What the corpus must come to see.
pub const MUST_SEE: &[&str] = &[
    "raw: refused",
    "client secret: accepted",
    "client secret: refused",
    "ES256: accepted",
    "another key: refused",
    "no form",
];

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// An hour, and the clock skew.
const MAX_AGE: f64 = 3660.0;

/// Runs the target on one input.
pub fn run(data: &[u8]) -> Seen {
    let mut seen = Seen::new();
    let [kind, content_type, rest @ ..] = data else { return seen };
    let (header, claims) = match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (rest, &b""[..]),
    };
    let form = |key: &Key| [b"logout_token=", authentik::sign(header, claims, key).as_bytes()].concat();
    let secret = || Key::Secret(client_secret("demo").into_bytes());
    let (name, slug, body, stands) = match kind % 4 {
        0 => ("raw", "demo", rest.to_vec(), None),
        1 => ("client secret", "demo", form(&secret()), jwt::standing("demo", "HS256", header, claims)),
        2 => {
            ("ES256", "own", form(&Key::Es256(Generation::A)), jwt::standing("own", "ES256", header, claims))
        }
        _ => ("another key", "own", form(&Key::Es256(Generation::B)), None),
    };
    let content_type: &[u8] = match content_type % 4 {
        0 => b"application/json",
        1 => b"application/x-www-form-urlencoded;charset=utf-8",
        _ => b"application/x-www-form-urlencoded",
    };
    let mut worker = Worker::new(&configuration(&[provider(slug, &json!({}))], &json!({})));
    worker.fetch_keys(&authentik::answer);
    let request = Request(Vec::new())
        .with(b":method", b"POST")
        .with(b":path", b"/outpost.goauthentik.io/backchannel_logout")
        .with(b":authority", format!("{slug}.example.test").as_bytes())
        .with(b"content-type", content_type);
    let body = Some(&body[..]).filter(|body| body.len() <= MAX_BODY_BYTES);
    let mut post = || {
        let decision = worker.post(&request, body).expect("the keys are there, and were just fetched");
        assert!(worker.calls().is_empty(), "{name}: authentik is asked");
        let Decision::Reply(reply) = decision else { panic!("{name}: it goes on") };
        assert!(
            reply
                .headers
                .iter()
                .any(|(name, value)| *name == "cache-control" && value.as_bytes() == b"no-store")
        );
        assert!(reply.headers.iter().all(|(name, _)| *name != "set-cookie"));
        reply.status
    };
    let is_form = content_type.starts_with(b"application/x-www");
    match post() {
        200 => {
            assert!(
                is_form && stands.is_some_and(|(header, claims)| is_good(&header, &claims)),
                "{name}: accepted"
            );
            assert_eq!(post(), 400, "{name}: accepted twice");
            seen.extend(match name {
                "client secret" => Some("client secret: accepted"),
                _ => Some("ES256: accepted"),
            });
        }
        400 if !is_form => {
            seen.insert("no form");
        }
        400 => {
            seen.extend(match name {
                "raw" => Some("raw: refused"),
                "client secret" => Some("client secret: refused"),
                "another key" => Some("another key: refused"),
                _ => None,
            });
        }
        status => panic!("{name}: {status}"),
    }
    seen
}

/// OpenID Connect Back-Channel Logout 1.0 §2.4 and §2.6, for a token of the provider.
fn is_good(header: &Value, claims: &Value) -> bool {
    let text = |name: &str| claims[name].as_str().unwrap_or_default();
    let issued = claims["iat"].as_f64().map(f64::trunc);
    jwt::is_logout(header)
        && claims["events"][EVENT].is_object()
        && claims.get("nonce").is_none()
        && !text("jti").is_empty()
        && !(text("sid").is_empty() && text("sub").is_empty())
        && issued.is_some_and(|issued| issued > NOW as f64 - MAX_AGE)
}
