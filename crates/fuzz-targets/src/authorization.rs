//! Any bytes in `Authorization`.
//!
//! Input: a byte of choices, then the header's value; or several values, a line each.
//!
//! Promised: an identity comes of alice's app password and of her token, in one header, and of nothing else; authentik
//! is told what the client wrote and no byte more; what is unusable it never hears of; what is known is not asked again.

use authentik_proxy_wasm::authn::authentik::call::{Answer, Call};
use authentik_proxy_wasm::authn::reply::Decision;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde_json::json;
use std::cell::RefCell;

use super::Seen;
use super::authentik::{self, PASSWORD, USERNAME};
use super::worker::{Request, Worker, configuration, provider, username};

/// What the corpus must come to see.
pub const MUST_SEE: &[&str] = &[
    "good",
    "turned away",
    "exchanged",
    "introspected",
    "asserted",
    "nothing asked",
    "sent to login",
    "open path",
    "open path with identity",
    "several",
];

const TOKEN_USER: &str = "goauthentik.io/token";

/// Runs the target on one input.
pub fn run(data: &[u8]) -> Seen {
    let mut seen = Seen::new();
    let Some((choices, rest)) = data.split_first() else { return seen };
    let has = |bit: u8| choices >> bit & 1 == 1;
    let values: Vec<&[u8]> = if has(4) { rest.split(|byte| *byte == b'\n').collect() } else { vec![rest] };
    let verification =
        ["local", "introspection", "local_then_introspection", "local"][usize::from(choices & 3)];
    let is_open = has(5);
    let settings = json!({
        "bearer_verification": verification,
        "revalidate_seconds": if choices & 3 == 3 { 30 } else { 0 },
        "intercept_header_auth": has(2),
        "federated_bearer": has(3),
        "skip_path_regex": "^/open$",
    });
    let mut worker = Worker::new(&configuration(&[provider("demo", &settings)], &json!({})));
    worker.fetch_keys(&authentik::answer);
    let mut request = Request::get(b"demo.example.test", if is_open { b"/open" } else { b"/" });
    if has(6) {
        request.0[0].1 = b"POST".to_vec();
    }
    for value in &values {
        request = request.with(b"authorization", value);
    }
    let calls = RefCell::new(Vec::new());
    let answering = |call: &Call| -> Answer {
        calls.borrow_mut().push(call.clone());
        authentik::answer(call)
    };

    let decision = worker.ask(&request, &answering);
    let told = std::mem::take(&mut *calls.borrow_mut());
    let (may_pass, is_good) = judged(&values);
    match (username(&decision), &decision) {
        (Some(name), _) => {
            assert!(may_pass && name == USERNAME, "an identity from nowhere: {name}");
            seen.insert(if is_open { "open path with identity" } else { "good" });
        }
        (None, Decision::Forward(_)) => {
            assert!(is_open, "forwarded without identity");
            seen.insert("open path");
        }
        (None, Decision::Reply(reply)) => {
            assert!(!is_good, "alice is turned away: {}", reply.log.message);
            assert!(!is_open && [302, 401].contains(&reply.status), "{}", reply.log.message);
            seen.insert(if reply.status == 302 { "sent to login" } else { "turned away" });
        }
    }
    assert!(!is_open || told.is_empty(), "on an open path nobody is asked");
    if told.is_empty() {
        seen.insert("nothing asked");
    }
    if values.len() > 1 {
        assert!(told.is_empty());
        seen.insert("several");
    }
    for call in &told {
        seen.insert(said_what_the_client_wrote(call, &values));
    }

    let again = worker.ask(&request, &answering);
    assert_eq!(username(&again), username(&decision), "the same the second time");
    assert!(!is_good || calls.borrow().is_empty(), "what is known is not asked again");
    seen
}

/// Whether these headers may be read as alice's app password or her token, and whether they must be: padding may be
/// missing.
fn judged(values: &[&[u8]]) -> (bool, bool) {
    const NEITHER: (bool, bool) = (false, false);
    let [value] = values else { return NEITHER };
    let Ok(value) = core::str::from_utf8(value.trim_ascii()) else { return NEITHER };
    let Some((scheme, rest)) = value.split_once(' ') else { return NEITHER };
    let rest = rest.trim_start_matches(' ');
    let tokens = authentik::tokens("demo");
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => {
            let mut texts = vec![format!("{USERNAME}:{PASSWORD}")];
            texts.extend(tokens.iter().map(|token| format!("{TOKEN_USER}:{token}")));
            let unpadded = |text: &String| BASE64_STANDARD_NO_PAD.encode(text);
            let may_pass = texts.iter().any(|text| unpadded(text) == rest.trim_end_matches('='));
            let must_pass =
                texts.iter().any(|text| unpadded(text) == rest || BASE64_STANDARD.encode(text) == rest);
            (may_pass, must_pass)
        }
        "bearer" => {
            let is_hers = tokens.iter().any(|token| token == rest);
            (is_hers, is_hers)
        }
        _ => NEITHER,
    }
}

/// Compares the call with the header; the kind of the call.
fn said_what_the_client_wrote(call: &Call, values: &[&[u8]]) -> &'static str {
    let value = core::str::from_utf8(values[0]).expect("what is not ASCII is unusable").trim();
    let rest = value.split_once(' ').expect("a scheme and more").1.trim_start_matches(' ');
    let decoded = BASE64_STANDARD_NO_PAD.decode(rest.trim_end_matches('=')).unwrap_or_default();
    let decoded = String::from_utf8(decoded).unwrap_or_default();
    let (name, password) = decoded.split_once(':').unwrap_or_default();
    let token = if value[..5].eq_ignore_ascii_case("basic") { password } else { rest };
    let field = |name: &str| authentik::field(call, name);
    if let Some(presented) = field("username") {
        assert!(!name.is_empty() && name != TOKEN_USER);
        assert_eq!((presented.as_str(), field("password").as_deref()), (name, Some(password)));
        return "exchanged";
    }
    let (asked, kind) = match field("client_assertion") {
        Some(assertion) => (assertion, "asserted"),
        None => (field("token").expect("an introspection"), "introspected"),
    };
    assert_eq!(asked, token);
    kind
}
