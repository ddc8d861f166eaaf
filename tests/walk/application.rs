//! What the application gets: the one set of headers that a forwarded request may have, by the contract.
//!
//! Owns: what is always true of a request that goes on, whoever it is forwarded as.

use std::collections::BTreeSet;

use proxy_wasm_testkit::HeaderMap;

use super::authentik::{Authentik, TokenId};
use super::requests::Draft;
use super::site::{OWNED_HEADER, Provider, SEAL, SEAL_VALUE, Site};
use super::truth_table::Header;

type Lines = Vec<(String, Vec<u8>)>;

/// A request as the application has it.
pub(super) struct Sighting<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    /// `None`: none were sent.
    pub(super) trailers: Option<&'a HeaderMap>,
}

/// Whether the application got what it must, and nothing else.
pub(super) fn check(
    sighting: &Sighting<'_>,
    draft: &Draft,
    (site, provider): (&Site, &Provider),
    authentik: &Authentik,
    identity: Option<TokenId>,
    authorization: Header,
) -> Result<(), String> {
    let set = identity.map(|token| authentik.identity_headers(token, provider)).unwrap_or_default();
    let is_set = |name: &str| set.iter().any(|(set, _)| normal(set) == normal(name));
    let mut expected: Lines = Vec::new();
    for (name, value) in &draft.headers {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            _ if is_owned(&name) || is_set(&name) => {}
            ":authority" => expected.push((name, draft.host.judged.into())),
            "authorization" if is_removed(draft, authorization) => {}
            "cookie" => {}
            "connection" => expected.push((name, connection(value))),
            _ => expected.push((name, value.clone())),
        }
    }
    expected.extend(set.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())));
    if provider.mode == "proxy" {
        expected.push(("x-forwarded-host".to_owned(), draft.host.spelling.into()));
    }
    if site.has_seal {
        expected.push((SEAL.to_owned(), SEAL_VALUE.into()));
    }
    let is_cookie = |name: &str| name == "cookie";
    let mut got: Lines = lines(sighting.headers)
        .into_iter()
        .filter(|(name, _)| !is_cookie(name))
        .map(as_spelt(draft))
        .collect();
    expected.sort();
    got.sort();
    if got != expected {
        return Err(difference(&got, &expected));
    }
    check_cookies(sighting.headers, draft)?;
    if sighting.body != draft.body.unwrap_or_default().as_bytes() {
        return Err("the body is not what the client sent".to_owned());
    }
    let names: BTreeSet<_> = set.iter().map(|(name, _)| normal(name)).collect();
    check_trailers(sighting.trailers, draft, provider, &names)
}

/// The client's host may go on in the form that was judged too.
fn as_spelt(draft: &Draft) -> impl Fn((String, Vec<u8>)) -> (String, Vec<u8>) {
    |(name, value)| {
        let is_judged = name == "x-forwarded-host" && value == draft.host.judged.as_bytes();
        (name, if is_judged { draft.host.spelling.into() } else { value })
    }
}

fn is_removed(draft: &Draft, authorization: Header) -> bool {
    authorization == Header::Removed || draft.authorization.names_authentik
}

/// A connection option tells the next hop to take a header away.
fn connection(value: &[u8]) -> Vec<u8> {
    if value.contains(&b',') { b"upgrade".to_vec() } else { value.to_vec() }
}

/// The cookies that are nobody's but the application's, in their order.
fn check_cookies(headers: &HeaderMap, draft: &Draft) -> Result<(), String> {
    let sent = draft.headers.iter().filter(|(name, _)| name == "cookie");
    let expected: Vec<_> = sent.flat_map(|(_, line)| pairs(line)).filter(|pair| !is_filters(pair)).collect();
    let got: Vec<_> = headers.get_all("cookie").into_iter().flat_map(pairs).collect();
    if got == expected { Ok(()) } else { Err(format!("the cookies {got:?} instead of {expected:?}")) }
}

/// Nothing that the filter owns or has set, no credential and no cookie of the filter's; everything else.
fn check_trailers(
    trailers: Option<&HeaderMap>,
    draft: &Draft,
    provider: &Provider,
    set: &BTreeSet<String>,
) -> Result<(), String> {
    let is_forbidden = |name: &str, value: &[u8]| {
        is_owned(name)
            || set.contains(&normal(name))
            || normal(name) == "authorization"
            || (name == "cookie" && pairs(value).iter().any(|pair| is_filters(pair)))
            || (provider.mode == "proxy" && normal(name) == "x-forwarded-host")
    };
    let got = trailers.map(lines).unwrap_or_default();
    for (name, value) in &got {
        if is_forbidden(name, value) {
            return Err(format!("the trailer {name}: {}", value.escape_ascii()));
        }
    }
    for (name, value) in &draft.trailers {
        let name = name.to_ascii_lowercase();
        // What of a cookie line goes on beside what must not is nobody's concern.
        let must_be_there = !is_forbidden(&name, value) && name != "cookie";
        if must_be_there && !got.contains(&(name.clone(), value.clone())) {
            return Err(format!("the trailer {name} is lost"));
        }
    }
    Ok(())
}

fn lines(headers: &HeaderMap) -> Lines {
    headers.iter().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec())).collect()
}

fn normal(name: &str) -> String {
    name.to_ascii_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
}

fn is_owned(name: &str) -> bool {
    let name = normal(name);
    name.starts_with("x-authentik-") || name == OWNED_HEADER
}

fn pairs(line: &[u8]) -> Vec<String> {
    let line = String::from_utf8_lossy(line).into_owned();
    line.split(';').map(|pair| pair.trim().to_owned()).filter(|pair| !pair.is_empty()).collect()
}

/// `authentik_proxy_` and 8 hex digits, with or without `__Host-` before and a suffix of the filter's behind.
fn is_filters(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default().trim();
    let name = name.strip_prefix("__Host-").unwrap_or(name);
    let Some(rest) = name.strip_prefix("authentik_proxy_").filter(|rest| rest.len() >= 8) else {
        return false;
    };
    let (digits, suffix) = rest.split_at(8);
    let suffix = suffix.strip_prefix("_login").unwrap_or(suffix);
    let is_part = suffix.is_empty() || matches!(suffix.as_bytes(), [b'_', b'0'..=b'8']);
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && is_part
}

fn difference(got: &Lines, expected: &Lines) -> String {
    let show = |lines: &Lines, others: &Lines| {
        let only = lines.iter().filter(|line| !others.contains(line));
        let shown: Vec<_> = only.map(|(name, value)| format!("{name}: {}", value.escape_ascii())).collect();
        if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
    };
    format!("the application got {} instead of {}", show(got, expected), show(expected, got))
}
