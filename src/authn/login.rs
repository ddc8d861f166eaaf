//! Where a browser without identity is sent.
//!
//! Owns: the login URL and the URL to come back to. Must not: take a host or scheme from `X-Forwarded-*`.

use form_urlencoded::byte_serialize;

use super::origin::Host;
use super::request::RequestView;
use crate::config::{Mode, Provider};

/// Paths below this are the outpost's own, on every host that it protects.
const OUTPOST_PATH: &[u8] = b"/outpost.goauthentik.io";

/// The outpost's start of the login flow; `None` on the outpost's own paths, where a redirect would go round in circles.
pub(super) fn start_url(provider: &Provider, view: &RequestView<'_>) -> Option<String> {
    let below = view.path().strip_prefix(OUTPOST_PATH);
    if below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")) {
        return None;
    }
    let return_url: String = byte_serialize(return_url(provider, view).as_bytes()).collect();
    Some(format!("{}/outpost.goauthentik.io/start?rd={return_url}", provider.external_host))
}

/// The URL that was asked for, on the provider's own host (or, in domain mode, on the host below the cookie domain).
fn return_url(provider: &Provider, view: &RequestView<'_>) -> String {
    let target = core::str::from_utf8(view.target).ok().filter(|target| target.starts_with('/'));
    let Some(target) = target else { return provider.external_host.to_string() };
    let external = &provider.external_host;
    let origin = match (provider.mode, &provider.cookie_domain) {
        (Mode::ForwardDomain, Some(domain)) => Host::parse(view.authority)
            .filter(|host| host.is_within(domain))
            .map(|host| format!("{}://{}", external.scheme.as_str(), host.under(external.scheme))),
        (Mode::ForwardDomain, None) | (Mode::Proxy | Mode::ForwardSingle, _) => None,
    };
    format!("{}{target}", origin.unwrap_or_else(|| external.origin()))
}
