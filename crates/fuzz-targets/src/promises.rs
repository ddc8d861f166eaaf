//! What holds for whatever comes out of the core, whatever went in.
//!
//! Owns: the promises that need no knowledge of the input but the request itself, in words of their own: nothing here
//! asks the code that is under test how it is meant, but for which provider a request belongs to.
//! Must not: know of a target.

use authentik_proxy_wasm::authn::authentik::call::{Call, Endpoint};
use authentik_proxy_wasm::authn::edits::Forward;
use authentik_proxy_wasm::authn::identity::Identity;
use authentik_proxy_wasm::authn::provider::directory::Directory;
use authentik_proxy_wasm::authn::reply::{Decision, Reply};
use authentik_proxy_wasm::config::{Config, Mode, Provider};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::worker::Request;

/// What browsers keep of one cookie: name, value and attributes.
const MAX_COOKIE_BYTES: usize = 4096;
/// The README: a session is not set above 32 KiB; a cookie has at most nine parts, which a browser may have to lose too.
const MAX_COOKIE_LINES: usize = 2 * (9 + 1);
/// Shared memory is bounded by this for each slot. A key set is bounded by the longest answer.
const MAX_SLOT_BYTES: usize = 16 * 1024 + 32;
/// A page with the longest path that it links, which has 2,048 bytes, each escaped in two places.
const MAX_PAGE_BYTES: usize = 4096 + 2 * 2048 * 6;
/// A run of bytes of a credential that is no accident in a log line.
const TELLING_BYTES: usize = 24;

/// Most headers that a token may set: `additionalHeaders`, the host, `Authorization`.
const MAX_SET: usize = 100 + 2;

/// The identity headers, whether they are sent or not.
const TWELVE: [&str; 12] = [
    "x-authentik-username",
    "x-authentik-groups",
    "x-authentik-entitlements",
    "x-authentik-email",
    "x-authentik-name",
    "x-authentik-uid",
    "x-authentik-jwt",
    "x-authentik-meta-jwks",
    "x-authentik-meta-outpost",
    "x-authentik-meta-provider",
    "x-authentik-meta-app",
    "x-authentik-meta-version",
];

/// Names that nothing in a token may set: framing, routing, hop-by-hop, the proxy's own.
const NEVER_SET: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "cookie",
    "forwarded",
];

pub(crate) fn of_decision(decision: &Decision, request: &Request, config: &Config, now: u64) {
    let authority = request.values(b":authority").last().copied().unwrap_or_default();
    let directory = match &config.providers[..] {
        [only] => Directory::of_one(only),
        all => Directory::new(all.iter().map(|provider| (&**provider, provider))),
    };
    let found = directory.find(authority);
    let provider = found.as_ref().map(|found| &**found.provider);
    match decision {
        Decision::Forward(forward) => {
            let provider = provider.expect("no request of a host without a provider goes on");
            of_forward(forward, request, config, provider, now);
        }
        Decision::Reply(reply) => of_reply(reply, request, config, provider),
    }
}

fn of_forward(forward: &Forward, request: &Request, config: &Config, provider: &Provider, now: u64) {
    for (name, value) in &forward.replace {
        let may_be = [":authority", "cookie", "x-forwarded-host", "connection"];
        assert!(may_be.contains(&name.as_ref()), "{name} is replaced");
        assert!(
            name != "connection" || value.as_bytes() == b"upgrade",
            "the next hop is told to drop headers"
        );
        assert_clean(value.as_bytes());
    }
    if config.providers.len() > 1 {
        assert_judged_authority(forward, request);
    }
    of_set_cookies(forward.set_cookies.iter().map(|value| value.as_bytes()), provider);
    if let Some(identity) = &forward.identity {
        of_identity(identity, config, now);
    }
    let seen = applied(forward, request);
    let owned = |name: &[u8]| is_owned(name, config);
    let set_by_token = |name: &[u8]| {
        let identity = forward.identity.as_ref();
        identity.is_some_and(|identity| {
            identity.overriding_headers().iter().any(|(set, _)| set.as_bytes() == name)
        })
    };
    let seal = config.seal.as_ref().map(|seal| (seal.header.as_bytes(), seal.value.as_bytes()));
    if let Some((header, value)) = seal {
        let sealed: Vec<_> = seen.iter().filter(|(name, _)| normal(name) == header).collect();
        assert_eq!(sealed, [&(header.to_vec(), value.to_vec())], "goes on without the seal, or with another");
    }
    let is_seal = |name: &[u8]| seal.is_some_and(|(header, _)| header == name);
    let is_told = |name: &[u8]| owned(name) && !set_by_token(name) && !is_seal(name);
    let told: Vec<_> = seen.iter().filter(|(name, _)| is_told(name)).collect();
    let expected: Vec<_> = forward.identity.iter().flat_map(|identity| identity.identity_headers()).collect();
    assert_eq!(told.len(), expected.len(), "the application is told who it is by the filter alone");
    for (name, value) in expected {
        let is_told = |(other, said): &&(Vec<u8>, Vec<u8>)| {
            other.as_slice() == name.as_bytes() && said.as_slice() == value.as_bytes()
        };
        assert_eq!(seen.iter().filter(is_told).count(), 1, "{name}");
    }
    for (name, value) in &seen {
        if name == b"cookie" {
            assert!(!cookie_names(value).any(is_filters_cookie), "a cookie of some provider's goes on");
        }
        if name == b"authorization" && !set_by_token(name) {
            assert!(!mentions_own_token(value, config), "a token of this authentik goes on");
        }
    }
}

/// Every name that the filter set in this request: what trailers must not say again.
pub(crate) fn names_set(forward: &Forward) -> Vec<&str> {
    let identity = forward.identity.iter();
    let of_identity =
        identity.flat_map(|identity| identity.identity_headers().iter().chain(identity.overriding_headers()));
    let replaced = forward.replace.iter().chain(of_identity).map(|(name, _)| name.as_ref());
    replaced.chain(forward.seal().map(|(name, _)| name)).collect()
}

/// What goes on in the trailers says nothing that a header may not, and nothing again that the filter has `set`.
pub(crate) fn of_trailers(trailers: &Request, forbidden: &[Vec<u8>], set: &[&str], config: &Config) {
    for (name, _) in trailers.0.iter().filter(|(name, _)| !forbidden.contains(name)) {
        let name = normal(name);
        assert!(!is_owned(&name, config), "an identity header goes on in a trailer");
        assert!(name != b"authorization" && name != b"cookie", "a credential goes on in a trailer");
        assert!(!set.iter().any(|set| normal(set.as_bytes()) == name), "a trailer says again what was set");
    }
}

/// With several providers the host goes on in the form that was judged: lower case, without a dot at its end.
fn assert_judged_authority(forward: &Forward, request: &Request) {
    let is_authority = |(name, _): &&(Vec<u8>, Vec<u8>)| name == b":authority";
    let by_token = forward.identity.iter().flat_map(|identity| identity.overriding_headers());
    if by_token.into_iter().any(|(name, _)| name == ":authority") {
        return;
    }
    let seen = applied(forward, request);
    for (_, value) in seen.iter().filter(is_authority) {
        let host = core::str::from_utf8(value).expect("it was parsed");
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        assert!(!host.contains(char::is_uppercase) && !name.ends_with('.'), "{host}");
    }
}

/// The request as the application gets it.
fn applied(forward: &Forward, request: &Request) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut headers = request.0.clone();
    headers.retain(|(name, _)| !forward.remove.iter().any(|removed| **removed == **name));
    let overriding = forward.identity.iter().flat_map(|identity| identity.overriding_headers());
    for (name, value) in forward.replace.iter().chain(overriding) {
        headers.retain(|(other, _)| other.as_slice() != name.as_bytes());
        headers.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    }
    for (name, value) in forward.identity.iter().flat_map(|identity| identity.identity_headers()) {
        headers.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    }
    if let Some((name, value)) = forward.seal() {
        headers.retain(|(other, _)| other.as_slice() != name.as_bytes());
        headers.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    }
    headers
}

fn of_identity(identity: &Identity, config: &Config, now: u64) {
    let names: Vec<_> = identity.identity_headers().iter().map(|(name, _)| name.as_ref()).collect();
    let expected: Vec<_> = config.identity_headers.iter().map(|header| header.name()).collect();
    assert_eq!(names, expected);
    assert!(!identity.username().is_empty() && !identity.username().contains(char::is_control));
    let uid = identity.identity_headers().iter().find(|(name, _)| name == "x-authentik-uid");
    let uid = uid.map_or("", |(_, value)| core::str::from_utf8(value.as_bytes()).unwrap());
    for name in [identity.username(), uid] {
        assert!(is_whole(name), "HTTP would make another name of {name:?}");
    }
    assert!(identity.overriding_headers().len() <= MAX_SET, "{}", identity.overriding_headers().len());
    assert!(!identity.backend_override().is_some_and(|backend| backend.contains(char::is_control)));
    assert!(identity.expires().seconds() > now, "nobody is forwarded past the end of his token");
    let mut names = Vec::new();
    for (name, value) in identity.overriding_headers() {
        assert_clean(value.as_bytes());
        assert!(!names.contains(name), "{name} is set twice");
        names.push(name.clone());
        if name == ":authority" {
            let authority = core::str::from_utf8(value.as_bytes()).unwrap();
            assert!(
                authority.parse::<http::uri::Authority>().is_ok() && !authority.contains('@'),
                "{authority}"
            );
            continue;
        }
        let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert!(
            !name.is_empty() && name.bytes().all(is_tchar) && !name.contains(char::is_uppercase),
            "{name}"
        );
        let normal = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let is_proxy_s = ["x-forwarded-", "x-envoy-"].iter().any(|prefix| normal.starts_with(prefix));
        assert!(!is_proxy_s && !NEVER_SET.contains(&normal.as_str()), "{name}");
        let is_seal = config.seal.as_ref().is_some_and(|seal| seal.header == normal);
        assert!(!is_seal && !TWELVE.contains(&normal.as_str()), "{name}");
        assert!(!normal.starts_with("x-authentik-") || *name == normal, "{name}");
    }
    for (_, value) in identity.identity_headers() {
        assert_clean(value.as_bytes());
    }
}

/// Whether nobody who trims it makes another text of it: U+FEFF is white space to JavaScript only.
pub(crate) fn is_whole(name: &str) -> bool {
    name.trim() == name && !name.starts_with('\u{feff}') && !name.ends_with('\u{feff}')
}

fn of_reply(reply: &Reply, request: &Request, config: &Config, provider: Option<&Provider>) {
    assert!([200, 204, 302, 400, 401, 403, 404, 429, 503].contains(&reply.status), "{}", reply.status);
    let is_logout = request.values(b":path") == [b"/outpost.goauthentik.io/backchannel_logout"];
    assert!(reply.status != 200 || is_logout, "only a back-channel logout has a good end in the filter");
    let values = |name: &str| -> Vec<&str> {
        let found = reply.headers.iter().filter(|(other, _)| *other == name);
        found.map(|(_, value)| core::str::from_utf8(value.as_bytes()).unwrap()).collect()
    };
    for (name, value) in &reply.headers {
        assert_clean(value.as_bytes());
        let known = [
            "location",
            "cache-control",
            "set-cookie",
            "www-authenticate",
            "retry-after",
            "content-type",
            "access-control-allow-origin",
            "access-control-allow-credentials",
            "vary",
            "content-security-policy",
            "referrer-policy",
        ];
        assert!(known.contains(name), "{name}");
    }
    let seal = config.seal.as_ref().map(|seal| str::from_utf8(seal.value.as_bytes()).unwrap());
    let is_told = |text: &str| seal.is_some_and(|seal| text.contains(seal));
    assert!(!is_told(&reply.log_line()) && !is_told(&reply.body), "the seal is in the log or the body");
    let origins = request.values(b"origin");
    let allowed: Vec<_> = match origins[..] {
        [origin] => config.allow_cors_origins.iter().filter(|allowed| allowed.as_bytes() == origin).collect(),
        _ => Vec::new(),
    };
    assert_eq!(values("access-control-allow-origin"), allowed);
    assert_eq!(values("access-control-allow-credentials"), vec!["true"; allowed.len()]);
    match reply.status {
        302 => {
            let [location] = values("location")[..] else { panic!("one location") };
            assert!(is_harmless(location, config, provider), "{location}");
        }
        401 => {
            let schemes: Vec<_> =
                values("www-authenticate").iter().map(|value| value.split(' ').next()).collect();
            let both = [Some("Basic"), Some("Bearer")];
            assert_eq!(schemes, both[usize::from(is_script(request))..]);
        }
        429 | 503 => {
            let [seconds] = values("retry-after")[..] else { panic!("one retry-after") };
            assert!((1..=3600).contains(&seconds.parse::<u32>().unwrap()), "{seconds}");
        }
        _ => {}
    }
    if let Some(provider) = provider {
        let cookies = reply.headers.iter().filter(|(name, _)| *name == "set-cookie");
        of_set_cookies(cookies.map(|(_, value)| value.as_bytes()), provider);
    } else {
        assert!(values("set-cookie").is_empty());
    }
    assert!(
        reply.body.len() < MAX_PAGE_BYTES
            && !reply.report.reason.details().contains(|letter: char| !letter.is_ascii_graphic())
    );
    assert!(!reply.log.message.contains(char::is_control), "{}", reply.log.message);
    for name in [&b"authorization"[..], b"cookie"] {
        for value in request.values(name) {
            for word in
                value.split(|byte| b" ;=,\"".contains(byte)).filter(|word| word.len() >= TELLING_BYTES)
            {
                let word = String::from_utf8_lossy(word);
                let is_told = reply.log.message.contains(&*word) || reply.body.contains(&*word);
                assert!(!is_told, "a credential is in the log or the body");
            }
        }
    }
}

/// A browser would ask its user for a password that the script has no use for.
fn is_script(request: &Request) -> bool {
    let last = |name: &[u8]| request.values(name).last().copied().unwrap_or_default();
    let mode = last(b"sec-fetch-mode");
    !mode.is_empty() && mode != b"navigate"
        || last(b"x-requested-with").eq_ignore_ascii_case(b"xmlhttprequest")
}

/// authentik's, or the provider's own; as a browser reads it.
fn is_harmless(location: &str, config: &Config, provider: Option<&Provider>) -> bool {
    let base = config.authentik.base.to_string();
    let (Ok(url), Ok(authentik)) = (Url::parse(location), Url::parse(&base)) else {
        // An authentik where no browser finds it: the operator wrote so.
        return location.starts_with(&format!("{base}/"));
    };
    let is_authentik = url.origin() == authentik.origin() && url.path().starts_with(authentik.path());
    is_authentik || provider.is_some_and(|provider| is_own_url(&url, provider))
}

/// Whether a browser that is sent there comes to this provider's application.
pub(crate) fn is_own_url(url: &Url, provider: &Provider) -> bool {
    let Ok(external) = Url::parse(&provider.external_host.to_string()) else { return false };
    let is_plain = url.scheme() == external.scheme() && url.username().is_empty() && url.password().is_none();
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    let is_own = match (provider.mode, &provider.cookie_domain) {
        (Mode::ForwardDomain, Some(domain)) => host == domain || host.ends_with(&format!(".{domain}")),
        (Mode::ForwardDomain, None) => false,
        (Mode::Proxy | Mode::ForwardSingle, _) => url.origin() == external.origin(),
    };
    is_plain && is_own
}

fn of_set_cookies<'a>(lines: impl Iterator<Item = &'a [u8]>, provider: &Provider) {
    let lines: Vec<_> = lines.collect();
    assert!(lines.len() <= MAX_COOKIE_LINES, "{} cookies", lines.len());
    let is_secure = provider.external_host.to_string().starts_with("https:");
    let mut names = Vec::new();
    for line in lines {
        assert!(line.len() <= MAX_COOKIE_BYTES, "a cookie of {} bytes", line.len());
        assert_clean(line);
        let line = core::str::from_utf8(line).unwrap();
        let (pair, attributes) = line.split_once(';').unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        assert!(is_own_cookie(name.as_bytes(), provider), "{name}");
        assert!(!names.contains(&name), "{name} is set twice");
        names.push(name);
        assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{value}");
        let has = |wanted: &str| attributes.split(';').any(|attribute| attribute.trim() == wanted);
        assert!(
            has("HttpOnly") && has("SameSite=Lax") && has("Path=/") && has("Secure") == is_secure,
            "{line}"
        );
        let domain = attributes.split(';').find_map(|attribute| attribute.trim().strip_prefix("Domain="));
        assert_eq!(domain, provider.cookie_domain.as_deref());
        assert!(!name.starts_with("__Host-") || domain.is_none());
        let age =
            attributes.split(';').find_map(|attribute| attribute.trim().strip_prefix("Max-Age=")).unwrap();
        let age: u64 = age.parse().unwrap();
        assert_eq!(age == 0, value.is_empty(), "what is set lives, what is empty is taken away: {line}");
    }
}

/// `authentik_proxy_` and 8 digits, `__Host-` before and `_login` behind it, and a part's number.
fn is_own_cookie(name: &[u8], provider: &Provider) -> bool {
    let whole = session_cookie(provider);
    let login = format!("{whole}_login");
    [whole, login].iter().any(|own| {
        let Some(rest) = name.strip_prefix(own.as_bytes()) else { return false };
        rest.is_empty() || matches!(rest, [b'_', b'0'..=b'8'])
    })
}

/// Whether a cookie is of the filter's shape, whatever provider's it is.
pub(crate) fn is_filters_cookie(name: &[u8]) -> bool {
    let Ok(name) = core::str::from_utf8(name) else { return false };
    let name = name.strip_prefix("__Host-").unwrap_or(name);
    let Some((digits, suffix)) =
        name.strip_prefix("authentik_proxy_").and_then(|rest| rest.split_at_checked(8))
    else {
        return false;
    };
    let number = suffix.strip_prefix("_login").unwrap_or(suffix);
    let is_number = number.is_empty() || matches!(number.as_bytes(), [b'_', b'0'..=b'8']);
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()) && is_number
}

/// The name of a provider's session cookie.
pub(crate) fn session_cookie(provider: &Provider) -> String {
    let digest = Sha256::digest(&provider.client_id);
    let digits: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let is_secure = provider.external_host.to_string().starts_with("https:");
    let prefix = if is_secure && provider.cookie_domain.is_none() { "__Host-" } else { "" };
    format!("{prefix}authentik_proxy_{digits}")
}

/// The names in a `cookie` line.
fn cookie_names(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(|pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        let is_blank = |byte: &u8| *byte == b' ' || byte.is_ascii_control();
        let start = name.iter().position(|byte| !is_blank(byte)).unwrap_or(name.len());
        let end = name.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
        &name[start..end]
    })
}

fn is_owned(name: &[u8], config: &Config) -> bool {
    let normal = normal(name);
    normal.starts_with(b"x-authentik-") || config.owned_headers.iter().any(|owned| owned.as_bytes() == normal)
}

/// Lower case, whatever joins the parts read as `-`.
fn normal(name: &[u8]) -> Vec<u8> {
    let normal = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    name.iter().map(normal).collect()
}

/// A JWT that says that this authentik issued it, in plain sight.
fn mentions_own_token(authorization: &[u8], config: &Config) -> bool {
    let issuer = format!("{}/", config.authentik.base);
    let mut words = authorization.split(|byte| b" ,\t".contains(byte));
    words.any(|word| {
        let payload = word.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
        let claims =
            BASE64_URL_SAFE_NO_PAD.decode(payload).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let claims: Value = claims.unwrap_or_default();
        let claimed = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        claimed.starts_with(&issuer)
    })
}

pub(crate) fn of_call(call: &Call, config: &Config) {
    assert_eq!(call.cluster, config.authentik.cluster);
    let (mut names, mut is_get) = (Vec::new(), false);
    for (name, value) in &call.headers {
        assert_clean(value.as_bytes());
        assert!(!names.contains(name), "{name} twice");
        names.push(name);
        let value = str::from_utf8(value.as_bytes()).unwrap();
        is_get |= *name == ":method" && value == "GET";
        let is_right = match *name {
            ":method" => ["GET", "POST"].contains(&value),
            ":authority" => value == config.authentik.base.host.to_string(),
            ":path" => {
                let path = value.strip_prefix(config.authentik.base.prefix()).unwrap();
                let page = |end| path.strip_prefix("/application/o/").and_then(|rest| rest.strip_suffix(end));
                let slug = page("/jwks/").or_else(|| page("/.well-known/openid-configuration"));
                ["/application/o/token/", "/application/o/introspect/"].contains(&path)
                    || (config.outpost.is_some() && path.starts_with("/api/v3/outposts/"))
                    || (config.events.is_some() && path.starts_with("/api/v3/events/events/"))
                    || (config.events.is_some() && path.starts_with("/api/v3/core/users/"))
                    || slug.is_some_and(|slug| config.providers.iter().any(|provider| provider.slug == slug))
            }
            // A token goes to the API, and nowhere else.
            "authorization" => [Endpoint::Outposts, Endpoint::Events].contains(&call.endpoint),
            _ => true,
        };
        assert!(is_right, "{name}: {value}");
    }
    let form = call.body.expose();
    assert_eq!(is_get, form.is_empty());
    if call.endpoint == Endpoint::Events {
        assert!(is_get || serde_json::from_slice::<Value>(form).is_ok(), "an event is JSON");
        return;
    }
    let is_form_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"*-._+%&=".contains(byte);
    assert!(form.iter().all(is_form_byte), "a form is form-encoded");
    // authentik fails on those. A token that it is asked about may be one that it made itself.
    let has_control = |text: &str| text.contains(char::is_control);
    assert!(form_urlencoded::parse(form).all(|(name, value)| name == "token" || !has_control(&value)));
}

pub(crate) fn of_shared_value(name: &str, value: &[u8]) {
    let most = if name.contains("/verdict/") { MAX_SLOT_BYTES } else { (16 << 20) + 64 };
    assert!(value.len() <= most, "{name}: {} bytes", value.len());
}

fn assert_clean(value: &[u8]) {
    let control = value.iter().find(|byte| byte.is_ascii_control());
    assert_eq!(control, None, "a control byte in a value that is written");
}
