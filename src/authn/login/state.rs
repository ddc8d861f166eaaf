//! The browser's login flow as values: which request belongs to it, what the browser carries through it, and the one
//! judge of "is this return URL ours?".
//!
//! Owns: the steps of the login flow, the content of login cookie and `state`, PKCE and nonce.
//! Must not: take a host or scheme from `X-Forwarded-*`, compare URLs by prefix, or send anything.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Uri;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::authn::env::Host;
use crate::authn::request::outpost::{self, has_parameter, is_outpost_path};
use crate::authn::request::view::RequestView;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::base::url::{HostAndPort, Scheme};
use crate::config::{Mode, Provider};

/// How long a login may take, in seconds.
pub(crate) const LOGIN_SECONDS: u64 = 600;
/// So many rounds from start to callback within [`ROUND_SECONDS`] are enough: the next would end like them.
const MAX_ROUNDS: u8 = 3;
const ROUND_SECONDS: u64 = 60;
/// Longest return URL that is carried along; behind a longer one the application's start page is.
const MAX_RETURN_URL_BYTES: usize = 2048;

/// A request of the login flow.
#[derive(Debug)]
pub(crate) enum Endpoint {
    /// `/outpost.goauthentik.io/ping`
    Ping,
    /// `/outpost.goauthentik.io/start?rd=…`
    Start { return_to: Option<String> },
    /// `/outpost.goauthentik.io/callback`, or any path with `X-authentik-auth-callback=true`
    Callback(Callback),
    /// `/outpost.goauthentik.io/sign_out`, or any path with `X-authentik-logout=true`
    SignOut,
    /// `POST /outpost.goauthentik.io/backchannel_logout`
    BackchannelLogout,
    /// Another path of the outpost; never the application's.
    Unknown,
}

/// What authentik's redirect brings (RFC 6749 §4.1.2).
#[derive(Debug, Default)]
pub(crate) struct Callback {
    pub(crate) code: Option<Secret<String>>,
    pub(crate) state: Option<String>,
    pub(crate) is_error: bool,
}

/// Whether a request belongs to the login flow, and which part of it is.
pub(crate) fn endpoint(view: &RequestView<'_>) -> Option<Endpoint> {
    let (path, query) = match view.target.iter().position(|byte| *byte == b'?') {
        Some(end) => view.target.split_at_checked(end)?,
        None => (view.target, &b""[..]),
    };
    let is_outpost = is_outpost_path(view);
    // Most requests end here: nothing is parsed for them.
    if !is_outpost && !has_parameter(query) {
        return None;
    }
    // authentik's error redirects have a second `?` where an `&` belongs.
    let query: Vec<u8> = query.iter().map(|byte| if *byte == b'?' { b'&' } else { *byte }).collect();
    let parameter = |name: &str| {
        form_urlencoded::parse(&query).find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
    };
    let is_set = |name: &str| parameter(name).as_deref() == Some("true");
    let callback = || {
        Endpoint::Callback(Callback {
            code: parameter("code").filter(|code| is_code(code)).map(Secret::new),
            state: parameter("state"),
            is_error: parameter("error").is_some(),
        })
    };
    match path.strip_prefix(outpost::PATH.as_bytes()) {
        Some(b"/ping") => Some(Endpoint::Ping),
        Some(b"/start") => Some(Endpoint::Start { return_to: parameter("rd") }),
        Some(b"/callback") => Some(callback()),
        Some(b"/sign_out") => Some(Endpoint::SignOut),
        Some(b"/backchannel_logout") if view.method == b"POST" => Some(Endpoint::BackchannelLogout),
        Some(_) if is_outpost => Some(Endpoint::Unknown),
        Some(_) | None if is_set("X-authentik-auth-callback") => Some(callback()),
        Some(_) | None if is_set("X-authentik-logout") => Some(Endpoint::SignOut),
        Some(_) | None => None,
    }
}

/// RFC 6749 §A.11. authentik answers a NUL in one with a failure, and it would be ours.
fn is_code(code: &str) -> bool {
    !code.is_empty() && code.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The outpost's start of the login flow, for when there is an outpost behind this filter and no session in it.
pub(crate) fn outpost_start_url(provider: &Provider, view: &RequestView<'_>) -> String {
    format!("{}{}", provider.external_host, outpost::start_path(&requested_url(provider, view)))
}

/// The URL that was asked for, on the provider's own host (or, in domain mode, on the host below the cookie domain).
pub(crate) fn requested_url(provider: &Provider, view: &RequestView<'_>) -> String {
    let external = &provider.external_host;
    let is_plain =
        |target: &&str| target.starts_with('/') && target.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    let target = core::str::from_utf8(view.target).ok().filter(is_plain);
    let Some(target) = target else { return external.to_string() };
    let host = HostAndPort::parse(view.authority).map(|host| host.under(external.scheme));
    let origin = match provider.mode {
        Mode::ForwardDomain => host
            .filter(|host| is_own_host(provider, host))
            .map(|host| format!("{}://{host}", external.scheme.as_str())),
        Mode::Proxy | Mode::ForwardSingle => None,
    };
    format!("{}{target}", origin.unwrap_or_else(|| external.origin()))
}

/// The one judge of return URLs: an absolute URL on the provider's own host, put together again from its parsed parts.
/// Anything else means the application's start page. In domain mode its port is `external_host`'s or that of the request's
/// own `authority`: what listens on another port of such a host is not behind this filter. `None`: it comes out of a sealed
/// `state`, so it was judged when it went in.
pub(crate) fn return_url(provider: &Provider, wanted: Option<&str>, authority: Option<&[u8]>) -> String {
    wanted
        .and_then(|wanted| own_url(provider, wanted, authority))
        .unwrap_or_else(|| format!("{}/", provider.external_host))
}

fn own_url(provider: &Provider, wanted: &str, authority: Option<&[u8]>) -> Option<String> {
    // What browsers and parsers read differently: controls, spaces, backslashes, quotes, brackets, anything not ASCII.
    let is_plain = |byte: u8| matches!(byte, b'!'..=b'~') && !b"\\\"'<>`{}|^#".contains(&byte);
    if wanted.len() > MAX_RETURN_URL_BYTES || !wanted.bytes().all(is_plain) {
        return None;
    }
    let uri: Uri = wanted.parse().ok()?;
    let scheme = provider.external_host.scheme;
    let is_same_scheme = match uri.scheme_str()? {
        "http" => scheme == Scheme::Http,
        "https" => scheme == Scheme::Https,
        _ => false,
    };
    let host = HostAndPort::parse(uri.authority()?.as_str().as_bytes())?.under(scheme);
    let rest = uri.path_and_query()?.as_str();
    // What would be a turn of the login flow itself: a sign-out behind the login, a callback that nobody began.
    let is_flow =
        uri.path().starts_with(outpost::PATH) || has_parameter(uri.query().unwrap_or_default().as_bytes());
    let own_port = |authority| HostAndPort::parse(authority).and_then(|host| host.under(scheme).port());
    let is_own_port = host.port() == provider.external_host.host.port()
        || authority.is_none_or(|authority| host.port() == own_port(authority));
    let is_own =
        is_same_scheme && is_own_host(provider, &host) && is_own_port && rest.starts_with('/') && !is_flow;
    is_own.then(|| format!("{}://{host}{rest}", scheme.as_str()))
}

fn is_own_host(provider: &Provider, host: &HostAndPort) -> bool {
    match (provider.mode, &provider.cookie_domain) {
        (Mode::ForwardDomain, Some(domain)) => host.is_within(domain),
        (Mode::ForwardDomain, None) => false,
        (Mode::Proxy | Mode::ForwardSingle, _) => *host == provider.external_host.host,
    }
}

/// What a browser carries through a login, sealed in a cookie. All its tabs share it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Login {
    /// What `state` must name: this browser.
    id: String,
    /// PKCE `code_verifier`.
    verifier: String,
    pub(crate) nonce: String,
    begun: u64,
    /// Rounds since `counted_from`.
    rounds: u8,
    counted_from: u64,
}

impl Login {
    /// A new one. `None`: there is no randomness to be had.
    pub(crate) fn begin(now: Timestamp, host: &dyn Host) -> Option<Self> {
        let random = |bytes: &mut [u8]| host.random(bytes).then(|| BASE64_URL_SAFE_NO_PAD.encode(&*bytes));
        Some(Self {
            id: random(&mut [0; 16])?,
            verifier: random(&mut [0; 32])?,
            nonce: random(&mut [0; 16])?,
            begun: now.seconds(),
            rounds: 0,
            counted_from: now.seconds(),
        })
    }

    pub(crate) fn is_current(&self, now: Timestamp) -> bool {
        now.since(Timestamp::from_seconds(self.begun)) < LOGIN_SECONDS
    }

    /// A new one for the next round: nothing of the last can be used again, but it is counted.
    pub(crate) fn next(&self, now: Timestamp, host: &dyn Host) -> Option<Self> {
        let next = Self::begin(now, host)?;
        let is_over = now.since(Timestamp::from_seconds(self.counted_from)) >= ROUND_SECONDS;
        Some(if is_over {
            Self { rounds: 1, ..next }
        } else {
            Self { rounds: self.rounds.saturating_add(1), counted_from: self.counted_from, ..next }
        })
    }

    /// What stays when a login has ended well: the count of rounds, for as long as it counts, and nothing that a login could
    /// be continued with. A browser that loses its session comes back with it.
    pub(crate) fn ended(&self, now: Timestamp) -> Self {
        let is_over = now.since(Timestamp::from_seconds(self.counted_from)) >= ROUND_SECONDS;
        let counted_from = if is_over { now.seconds() } else { self.counted_from };
        let rounds = if is_over { 1 } else { self.rounds.saturating_add(1) };
        Self {
            id: String::new(),
            verifier: String::new(),
            nonce: String::new(),
            rounds,
            counted_from,
            ..*self
        }
    }

    /// Whether it has [`Self::ended`].
    pub(crate) const fn has_ended(&self) -> bool {
        self.id.is_empty()
    }

    /// The next login of a browser whose last one has ended. `None`: there is no randomness to be had.
    pub(crate) fn begin_again(&self, now: Timestamp, host: &dyn Host) -> Option<Self> {
        let next = Self::begin(now, host)?;
        Some(Self { rounds: self.rounds, counted_from: self.counted_from, ..next })
    }

    /// For how long its count of rounds matters, in seconds.
    pub(crate) fn counts_for(&self, now: Timestamp) -> u64 {
        ROUND_SECONDS.saturating_sub(now.since(Timestamp::from_seconds(self.counted_from))).max(1)
    }

    /// Whether the browser keeps coming back without an identity.
    pub(crate) fn has_too_many_rounds(&self, now: Timestamp) -> bool {
        self.rounds >= MAX_ROUNDS && now.since(Timestamp::from_seconds(self.counted_from)) < ROUND_SECONDS
    }

    /// PKCE `code_challenge`, method S256 (RFC 7636 §4.2).
    pub(crate) fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()))
    }

    pub(crate) fn verifier(&self) -> Secret<String> {
        Secret::new(self.verifier.clone())
    }

    pub(crate) fn state(&self, return_url: String, now: Timestamp) -> State {
        State { login: self.id.clone(), return_url, issued: now.seconds() }
    }
}

/// The `state` parameter, sealed: which login of which browser, and where the user was.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    login: String,
    pub(crate) return_url: String,
    issued: u64,
}

impl State {
    pub(crate) fn is_of(&self, login: &Login, now: Timestamp) -> bool {
        !login.has_ended()
            && self.login == login.id
            && now.since(Timestamp::from_seconds(self.issued)) < LOGIN_SECONDS
    }
}

#[cfg(test)]
mod tests;
