//! The HTTP client of everything that asks authentik.
//!
//! Owns: its bounds, and what is said of a failed connection. Must not: follow a redirect; know what is asked.

use std::error::Error as _;
use std::time::Duration;

use reqwest::Error;
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::redirect::Policy;

/// Of each call, with its answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Redirects would carry a token, or the question, elsewhere.
pub(crate) fn client() -> ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("authentik-proxy-wasm/", env!("CARGO_PKG_VERSION")))
}

/// The innermost cause, without the URL.
pub(crate) fn cause(error: &Error) -> String {
    let mut innermost = error.source();
    while let Some(source) = innermost.and_then(|error| error.source()) {
        innermost = Some(source);
    }
    innermost.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}
