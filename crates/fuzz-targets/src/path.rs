//! Any bytes in `:path`, `:authority` and the return URL of a login.
//!
//! Input: a byte of choices, then three lines: path, authority, return URL; then lines `name: value`, further headers.
//!
//! Promised: only a path that is open whatever the application makes of it, of its escapes too, goes on without identity; a
//! login ends on the provider's own host, as a browser reads the URL; the outpost's own paths are never the application's.

use authentik_proxy_wasm::authn::authentik::call::{Answer, Call};
use authentik_proxy_wasm::authn::reply::Decision;
use serde_json::{Value, json};
use url::Url;

use super::Seen;
use super::authentik;
use super::promises;
use super::worker::{Request, Worker, configuration, provider, username};

/// What the corpus must come to see.
pub const MUST_SEE: &[&str] = &[
    "open",
    "shared",
    "odd escapes",
    "closed",
    "preflight",
    "redirected",
    "outpost's own",
    "unknown host",
    "returned to the URL",
    "returned to the start page",
    "signed out",
    "session",
    "outpost's start",
];

/// Runs the target on one input.
pub fn run(data: &[u8]) -> Seen {
    let mut seen = Seen::new();
    let Some((choices, rest)) = data.split_first() else { return seen };
    let has = |bit: u8| choices >> bit & 1 == 1;
    let mut lines = rest.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (path, authority, return_to) = (line(), line(), line());
    let further = lines.filter_map(|line| {
        let end = line.windows(2).position(|pair| pair == b": ")?;
        Some((line[..end].to_ascii_lowercase(), line[end + 2..].to_vec()))
    });
    let mode = ["forward_single", "forward_domain", "proxy", "forward_single"][usize::from(choices & 3)];
    let settings = json!({
        "mode": mode,
        "cookie_domain": if mode == "forward_domain" { json!("example.test") } else { Value::Null },
        "skip_path_regex": if mode == "forward_domain" {
            "^https://demo\\.example\\.test/open/\n^https://demo\\.example\\.test/[^a/][^/]*/shared$"
        } else {
            "^/open/\n^/[^a/][^/]*/shared$"
        },
    });
    let other = json!({"external_host": "http://other.test:8080"});
    let providers = if has(2) {
        vec![provider("demo", &settings)]
    } else {
        vec![provider("demo", &settings), provider("other", &other)]
    };
    let allows_preflight = has(3);
    let rest = json!({"allow_cors_preflight": allows_preflight, "session": {"enabled": !has(4)}});
    let mut worker = Worker::new(&configuration(&providers, &rest));
    worker.fetch_keys(&authentik::answer);
    let mut request = Request::get(authority, path);
    request
        .0
        .extend(further.filter(|(name, _)| !name.starts_with(b":path") && !name.starts_with(b":authority")));

    let is_open = is_open(path, mode == "forward_domain", request.values(b":authority")[0]);
    let is_preflight = allows_preflight && request.values(b":method").last() == Some(&&b"OPTIONS"[..]);
    let decision = worker.ask(&request, &authentik::answer);
    match &decision {
        Decision::Forward(forward) => {
            let token = format!("Bearer {}", authentik::good_token()).into_bytes();
            let is_alice = request.values(b"authorization") == [&token];
            assert!(forward.identity.is_none() || is_alice, "there is no credential");
            assert!(is_alice || is_open || is_preflight, "a path that needs an identity goes on without");
            seen.insert(match path.ends_with(b"/shared") {
                _ if is_preflight => "preflight",
                true => "shared",
                false => "open",
            });
        }
        Decision::Reply(reply) => {
            let is_meant_open = path.contains(&b'%') && (is_below_open(path) || is_shared(path));
            if is_meant_open && [302, 401].contains(&reply.status) {
                seen.insert("odd escapes");
            }
            seen.insert(match (reply.status, reply.report.reason.details()) {
                (_, "authentik_unknown_host") => "unknown host",
                (404, _) => "outpost's own",
                (302, _) if has(4) => "outpost's start",
                (302, _) => "redirected",
                _ => "closed",
            });
            if path.windows(20).any(|window| window == b"X-authentik-logout=t") && reply.status == 302 {
                seen.insert("signed out");
            }
        }
    }
    if has(5) && !has(4) {
        let cookie = log_in(&mut worker, return_to, &mut seen);
        let decision = worker.ask(&request.with(b"cookie", cookie.as_bytes()), &authentik::answer);
        let is_outpost = path
            .strip_prefix(b"/outpost.goauthentik.io")
            .is_some_and(|rest| matches!(rest, [] | [b'/' | b'?', ..]));
        assert!(
            !is_outpost || is_preflight || matches!(decision, Decision::Reply(_)),
            "the outpost's own path goes on"
        );
        if username(&decision).is_some() {
            seen.insert("session");
        }
    }
    seen
}

/// Whether a path is open however often the application unescapes it and whatever it makes of dots, slashes, backslashes
/// and parameters; as the operator wrote: below `/open/`, and `/…/shared` where the first name does not begin with `a`, in
/// domain mode on one host only. Bytes that are not UTF-8 some servers read as other letters: no path with such escapes.
fn is_open(target: &[u8], is_domain: bool, authority: &[u8]) -> bool {
    let is_host = !is_domain || {
        let host = authority.to_ascii_lowercase();
        let host = host.strip_suffix(b":443").unwrap_or(&host);
        host.strip_suffix(b".").unwrap_or(host) == b"demo.example.test"
    };
    let mut path = target.split(|byte| *byte == b'?').next().unwrap_or_default().to_vec();
    let is_text = core::str::from_utf8(&unescaped(&path)).is_ok();
    for _ in 0..4 {
        if !is_below_open(&path) && !is_shared(&path) {
            return false;
        }
        path = unescaped(&path);
    }
    is_host && is_text
}

fn is_shared(path: &[u8]) -> bool {
    let segments = segments(path);
    let is_named = |[first, second]: &[Vec<u8>; 2]| second == b"shared" && !first.starts_with(b"a");
    path.starts_with(b"/") && segments.as_array().is_some_and(is_named)
}

fn is_below_open(path: &[u8]) -> bool {
    let segments = segments(path);
    path.starts_with(b"/open/")
        && segments.first().is_none_or(|first| first == b"open")
        && (!segments.is_empty() || path == b"/open/")
}

/// The names in a path as a server may read it.
fn segments(path: &[u8]) -> Vec<Vec<u8>> {
    // A server may read `\` as `/`, and end a path at `?`, `#` or NUL, and a segment at `;`.
    let path: Vec<u8> = path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
    let path = path.split(|byte| b"?#\0".contains(byte)).next().unwrap_or_default();
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        let segment = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    segments.into_iter().map(<[u8]>::to_vec).collect()
}

fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut result = Vec::new();
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let digits = after.get(..2).and_then(|digits| core::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) if *byte == b'%' => {
                result.push(code);
                rest = &after[2..];
            }
            _ => result.push(*byte),
        }
    }
    result
}

/// The whole login, begun with this return URL; alice's cookie.
fn log_in(worker: &mut Worker, return_to: &[u8], seen: &mut Seen) -> String {
    let escaped: String = form_urlencoded::byte_serialize(return_to).collect();
    let path = format!("/outpost.goauthentik.io/start?rd={escaped}");
    let Decision::Reply(begun) =
        worker.ask(&Request::get(b"demo.example.test", path.as_bytes()), &authentik::answer)
    else {
        panic!("a login begins with a redirect")
    };
    let (location, login) = location_and_cookies(&begun);
    let parameter = |name: &str| {
        let (_, value) = location.query_pairs().find(|(other, _)| other == name).expect("a parameter");
        value.into_owned()
    };
    let token = authentik::mint("demo", &json!({"nonce": parameter("nonce")}));
    let authentik = |call: &Call| -> Answer {
        if authentik::field(call, "code").as_deref() == Some("a-code") {
            return authentik::respond(200, &json!({"access_token": token, "id_token": token}).to_string());
        }
        authentik::answer(call)
    };
    let path = format!("/outpost.goauthentik.io/callback?code=a-code&state={}", parameter("state"));
    let request = Request::get(b"demo.example.test", path.as_bytes()).with(b"cookie", login.as_bytes());
    let Decision::Reply(ended) = worker.ask(&request, &authentik) else {
        panic!("a login ends with a redirect")
    };
    assert_eq!(ended.status, 302, "{}", ended.log.message);
    let (location, session) = location_and_cookies(&ended);
    let demo = &worker.config().providers[0];
    assert!(promises::is_own_url(&location, demo), "a login ends at {location}");
    let is_start_page = location.as_str() == "https://demo.example.test/";
    seen.insert(if is_start_page { "returned to the start page" } else { "returned to the URL" });
    session
}

fn location_and_cookies(reply: &authentik_proxy_wasm::authn::reply::Reply) -> (Url, String) {
    let values = |name: &str| -> Vec<&str> {
        let found = reply.headers.iter().filter(|(other, _)| *other == name);
        found.map(|(_, value)| core::str::from_utf8(value.as_bytes()).unwrap()).collect()
    };
    let location = Url::parse(values("location")[0]).unwrap();
    let pairs: Vec<_> = values("set-cookie").iter().map(|line| line.split(';').next().unwrap()).collect();
    (location, pairs.join("; "))
}
