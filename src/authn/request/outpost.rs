//! The outpost's own requests, by path and by parameter.
//!
//! Owns: the names, which authentik's outpost has given. Must not: say what becomes of such a request.

use form_urlencoded::byte_serialize;

use crate::authn::request::view::RequestView;

/// Paths below this are the outpost's own, on every host that it protects.
pub(crate) const PATH: &str = "/outpost.goauthentik.io";

/// How the names of the outpost's query parameters begin.
const PARAMETER_PREFIX: &[u8] = b"X-authentik-";

/// The path at which a login begins that leads to this URL.
pub(crate) fn start_path(return_url: &str) -> String {
    let return_url: String = byte_serialize(return_url.as_bytes()).collect();
    format!("{PATH}/start?rd={return_url}")
}

/// Whether a query has a parameter of the outpost's.
pub(crate) fn has_parameter(query: &[u8]) -> bool {
    query.windows(PARAMETER_PREFIX.len()).any(|window| window == PARAMETER_PREFIX)
}

/// Whether the request is for one of the outpost's own paths: a redirect from there would go round in circles.
pub(crate) fn is_outpost_path(view: &RequestView<'_>) -> bool {
    let below = view.path().strip_prefix(PATH.as_bytes());
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
