//! Any bytes in `Cookie`, and any content in a sealed cookie that only we can seal, where several providers are protected.
//!
//! Input: a byte that says what the rest is, a byte of choices, the rest. Its highest bit says that a content is packed already. In cookie lines `$S`, `$L` and `$V` stand for the
//! names of the two cookies and the value of alice's session; `$1` to `$4` for the names of the other providers' sessions, `$W`
//! for the value of hers at another entry of the same client.
//!
//! Promised: an identity comes of a session that we sealed for this provider and this purpose, unchanged, and that still
//! stands; no provider's cookies go further, everybody else's go on byte for byte.

use authentik_proxy_wasm::authn::reply::Decision;
use authentik_proxy_wasm::authn::session::cipher::{Purpose, SealingKeys};
use authentik_proxy_wasm::authn::session::packing;
use authentik_proxy_wasm::config::Config;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::Seen;
use super::authentik::{self, PASSWORD, USERNAME};
use super::promises;
use super::worker::{NOW, Request, Worker, World, configuration, provider, username};

/// What the corpus must come to see.
pub const MUST_SEE: &[&str] = &[
    "session",
    "no session",
    "domain",
    "sealed content",
    "sealed content that is none",
    "packed content",
    "another purpose",
    "another provider",
    "another entry of the client",
    "changed",
    "parts",
    "own cookies removed",
    "other providers' cookies removed",
    "others' cookies kept",
];

/// Longest chunk of a cookie that the filter makes.
const CHUNK_BYTES: usize = 3_800;

/// The providers, by their place: the one of most requests, another one, an entry of the first one's client for a domain, one
/// without TLS, and one more entry of that client.
const DEMO: usize = 0;
const OTHER: usize = 1;
const DOMAIN: usize = 2;
const AGAIN: usize = 4;

/// Runs the target on one input.
pub fn run(data: &[u8]) -> Seen {
    let mut seen = Seen::new();
    let [kind, choices, rest @ ..] = data else { return seen };
    let has = |bit: u8| choices >> bit & 1 == 1;
    let mut worker = Worker::new(&configuration(&providers(&has), &json!({})));
    let (own_id, host) =
        if has(6) { (DOMAIN, &b"wiki.corp.test"[..]) } else { (DEMO, &b"demo.example.test"[..]) };
    let names: Vec<_> =
        worker.config().providers.iter().map(|provider| promises::session_cookie(provider)).collect();
    let own = &names[own_id];
    let session = session_of_alice(&mut worker, host);
    let elsewhere = session_of_alice(&mut worker, b"again.example.test");
    // Either the content of a session, or what it would be packed.
    let (packed, content) = if has(7) {
        (rest.to_vec(), packing::unpack(rest).map(|content| content.expose().clone()))
    } else {
        let content = content_of(rest);
        let packed = packing::pack(&content).map(|packed| packed.expose().clone());
        (packed.unwrap_or_default(), Some(content))
    };
    let sealed = |id: usize, purpose: Purpose| seal(worker.config(), id, purpose, &packed);
    let (lines, may_open) = match kind % 6 {
        0 => {
            let values = [&*session, &*elsewhere];
            let lines = rest.split(|byte| *byte == b'\n').map(|line| substituted(line, own, &names, values));
            (lines.collect(), true)
        }
        1 => (in_parts(own, &sealed(own_id, Purpose::Session)), true),
        2 => {
            seen.insert("another purpose");
            let purpose = if has(7) { Purpose::Login } else { Purpose::State };
            (in_parts(own, &sealed(own_id, purpose)), false)
        }
        3 => {
            let (id, name) =
                if has(7) { (AGAIN, "another entry of the client") } else { (OTHER, "another provider") };
            seen.insert(name);
            (in_parts(own, &sealed(id, Purpose::Session)), false)
        }
        4 => {
            let changed = changed(session.as_bytes(), rest);
            let is_same = changed == session.as_bytes();
            if !is_same {
                seen.insert("changed");
            }
            (vec![[own.as_bytes(), b"=", &changed].concat()], is_same)
        }
        _ => {
            let (before, after) = rest.split_at(rest.len() / 2);
            (vec![[before, b"; ", own.as_bytes(), b"=", session.as_bytes(), b"; ", after].concat()], true)
        }
    };
    if lines.len() > 1 || lines.iter().any(|line: &Vec<u8>| line.windows(2).any(|pair| pair == b"_0")) {
        seen.insert("parts");
    }

    let mut request = Request::get(host, b"/");
    for line in &lines {
        request = request.with(b"cookie", line);
    }
    if has(4) {
        request = request.with(b"authorization", &basic(if has(5) { PASSWORD } else { "wrong" }));
    }
    let decision = worker.ask(&request, &authentik::answer);
    let has_good_credential = has(4) && has(5);
    match username(&decision) {
        Some(name) if kind % 6 == 1 => {
            let expected = content.as_deref().and_then(user_of);
            // authentik knows better than the cookie, if it is asked.
            let is_asked = has_good_credential || has(1);
            assert!(
                expected.as_deref() == Some(name) || is_asked && name == USERNAME,
                "{name} instead of {expected:?}"
            );
            if !is_asked {
                seen.insert(if has(7) { "packed content" } else { "sealed content" });
            }
        }
        Some(name) => {
            assert_eq!(name, USERNAME);
            assert!(may_open && holds(&lines, &session) || has_good_credential, "a session from nowhere");
            if !has_good_credential {
                seen.insert(if own_id == DOMAIN { "domain" } else { "session" });
            }
        }
        None => {
            assert!(matches!(decision, Decision::Reply(_)), "forwarded without identity");
            assert!(!has_good_credential, "alice is turned away because of a cookie");
            seen.insert(if kind % 6 == 1 { "sealed content that is none" } else { "no session" });
        }
    }
    if let Decision::Forward(forward) = &decision {
        let left: Vec<u8> = if forward.remove.iter().any(|name| **name == *b"cookie") {
            Vec::new()
        } else if let Some((_, value)) = forward.replace.iter().find(|(name, _)| name == "cookie") {
            value.as_bytes().to_vec()
        } else {
            lines.join(&b"; "[..])
        };
        seen.extend(others_are_kept(&lines, &left, own));
    }
    seen
}

fn providers(has: &impl Fn(u8) -> bool) -> [Value; 5] {
    let settings = json!({
        "intercept_header_auth": has(0),
        "revalidate_seconds": if has(1) { 3600 } else { 0 },
        "mode": if has(2) { "proxy" } else { "forward_single" },
        "basic_auth_enabled": has(3),
        "basic_auth_user_attribute": "app_username",
        "basic_auth_password_attribute": "app_password",
    });
    let mut domain = settings.clone();
    for (name, value) in [
        ("mode", "forward_domain"),
        ("cookie_domain", "corp.test"),
        ("external_host", "https://login.corp.test"),
    ] {
        domain[name] = json!(value);
    }
    [
        provider("demo", &settings),
        provider("other", &json!({})),
        provider("demo", &domain),
        provider("plain", &json!({"external_host": "http://plain.example.test:8080"})),
        provider("demo", &json!({"external_host": "https://again.example.test"})),
    ]
}

fn basic(password: &str) -> Vec<u8> {
    let text = format!("{USERNAME}:{password}");
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(text)).into_bytes()
}

/// The cookie that alice gets for her app password.
fn session_of_alice(worker: &mut Worker, host: &[u8]) -> String {
    let request = Request::get(host, b"/").with(b"authorization", &basic(PASSWORD));
    let Decision::Forward(forward) = worker.ask(&request, &authentik::answer) else {
        panic!("alice is known")
    };
    let line = forward.set_cookies.first().expect("a session");
    let line = core::str::from_utf8(line.as_bytes()).unwrap();
    line.split(';').next().unwrap().split_once('=').unwrap().1.to_owned()
}

fn seal(config: &Config, id: usize, purpose: Purpose, content: &[u8]) -> String {
    let keys = SealingKeys::derive(&config.providers[id]).expect("it has a cookie secret");
    keys.seal(purpose, content, &World::new()).expect("there is randomness")
}

/// The content of a session as it is sealed: the token's bytes, a line feed, the rest as JSON with the token's lengths. What
/// is no JSON object with a token (`t`) as text is sealed as it is.
fn content_of(content: &[u8]) -> Vec<u8> {
    let description: Option<Map<String, Value>> = serde_json::from_slice(content).ok();
    let Some(mut legend) = description else { return content.to_vec() };
    let Some(token) = legend.get("t").and_then(Value::as_str).map(str::to_owned) else {
        return content.to_vec();
    };
    let parts: Result<Vec<_>, _> = token.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part)).collect();
    let (is_decoded, parts) = match parts {
        Ok(parts) => (true, parts),
        Err(_) => (false, vec![token.into_bytes()]),
    };
    let lengths: Vec<_> = parts.iter().map(Vec::len).collect();
    legend.insert("t".to_owned(), json!([is_decoded, lengths]));
    let legend = Value::Object(legend).to_string();
    [&parts.concat()[..], b"\n", legend.as_bytes()].concat()
}

/// As a client sends a long cookie back.
fn in_parts(name: &str, value: &str) -> Vec<Vec<u8>> {
    if value.len() <= CHUNK_BYTES {
        return vec![format!("{name}={value}").into_bytes()];
    }
    let parts = value.as_bytes().chunks(CHUNK_BYTES).enumerate();
    parts.map(|(number, part)| [format!("{name}_{number}=").as_bytes(), part].concat()).collect()
}

fn substituted(line: &[u8], own: &str, names: &[String], [session, elsewhere]: [&str; 2]) -> Vec<u8> {
    let mut result = Vec::new();
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let word = match (byte, after.first()) {
            (b'$', Some(b'S')) => own.to_owned(),
            (b'$', Some(b'L')) => format!("{own}_login"),
            (b'$', Some(b'V')) => session.to_owned(),
            (b'$', Some(b'W')) => elsewhere.to_owned(),
            (b'$', Some(digit @ b'1'..=b'4')) => names[usize::from(digit - b'0')].clone(),
            _ => {
                result.push(*byte);
                continue;
            }
        };
        result.extend_from_slice(word.as_bytes());
        rest = after.get(1..).unwrap_or_default();
    }
    result
}

/// Bytes of the value changed: two bytes for the place, one for the change.
fn changed(value: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % value.len();
        value[place] ^= change[2];
    }
    value
}

/// Whether the whole session is in these lines, its ends at least: nobody else can make them.
fn holds(lines: &[Vec<u8>], session: &str) -> bool {
    let all = lines.concat();
    let has = |part: &str| all.windows(part.len()).any(|window| window == part.as_bytes());
    has(&session[..32]) && has(&session[session.len() - 22..])
}

/// Who a session with this content stands for, if it stands.
fn user_of(content: &[u8]) -> Option<String> {
    let content = described(content)?;
    let token = content["t"].as_str()?;
    let claims: Value = match content.get("j").filter(|claims| !claims.is_null()) {
        Some(claims) => claims.clone(),
        None => {
            let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
            serde_json::from_slice(&payload).ok()?
        }
    };
    let ends = (content["b"].as_u64()? / 1_000).saturating_add(content["e"].as_u64()?);
    let stands = ends > NOW && claims["exp"].as_f64()? >= (NOW + 1) as f64;
    let name = claims["preferred_username"].as_str()?;
    let is_named = claims["sub"].as_str().is_some_and(|subject| !subject.is_empty()) && !name.is_empty();
    (stands && is_named).then(|| name.to_owned())
}

/// The description in a session's content, with its token as text.
fn described(content: &[u8]) -> Option<Value> {
    let end = content.iter().rposition(|byte| *byte == b'\n')?;
    let mut legend: Value = serde_json::from_slice(&content[end + 1..]).ok()?;
    let is_decoded = legend["t"][0].as_bool()?;
    let mut rest = &content[..end];
    let mut parts = Vec::new();
    for length in legend["t"][1].as_array()? {
        let (part, after) = rest.split_at_checked(usize::try_from(length.as_u64()?).ok()?)?;
        rest = after;
        let part = if is_decoded {
            BASE64_URL_SAFE_NO_PAD.encode(part)
        } else {
            String::from_utf8(part.to_vec()).ok()?
        };
        parts.push(part);
    }
    legend["t"] = json!(parts.join("."));
    Some(legend)
}

/// Every cookie that is no provider's is there once more, in its order, and nothing else. A control byte may have become a
/// space.
fn others_are_kept(lines: &[Vec<u8>], left: &[u8], own: &str) -> Vec<&'static str> {
    let split = |line: &[u8]| -> Vec<Vec<u8>> {
        let clean = |byte: &u8| if byte.is_ascii_control() { b' ' } else { *byte };
        let line: Vec<u8> = line.iter().map(clean).collect();
        let pairs = line.split(|byte| *byte == b';').map(|pair| pair.trim_ascii().to_vec());
        pairs.filter(|pair| !pair.is_empty()).collect()
    };
    let name =
        |pair: &[u8]| pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii().to_vec();
    let sent: Vec<_> = lines.iter().flat_map(|line| split(line)).collect();
    let (taken, kept): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|pair| promises::is_filters_cookie(&name(pair)));
    assert!(
        split(left) == kept,
        "{:?} of {:?}",
        left.escape_ascii().to_string(),
        lines.join(&b'\n').escape_ascii().to_string()
    );
    let mut seen = Vec::new();
    for pair in &taken {
        let is_own = pair.starts_with(own.as_bytes());
        seen.push(if is_own { "own cookies removed" } else { "other providers' cookies removed" });
    }
    if !kept.is_empty() {
        seen.push("others' cookies kept");
    }
    seen
}
