//! authentik's API, as far as its lists are alike: calls with a token, pages, refusals.
//!
//! Owns: what a page is, and why a token is refused. Must not: know what is listed.

use serde_json::Value;

use super::request;
use crate::authn::authentik::call::{Call, Endpoint};
use crate::authn::fault::list::TokenRefusal;
use crate::base::header::HeaderValue;
use crate::base::secret::Secret;
use crate::base::token::Token;
use crate::config::Config;

/// authentik has no larger pages.
pub(super) const PAGE_SIZE: u32 = 100;

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// Its number, from 1.
    pub(crate) current: u64,
    /// The number of the next one; 0: there is none.
    pub(crate) next: u64,
    /// How many entries all pages have.
    pub(crate) count: u64,
    /// Its entries, each an object.
    pub(crate) results: Vec<Value>,
}

/// A call that carries an API token.
pub(super) fn api_call(
    config: &Config,
    token: &Secret<String>,
    endpoint: Endpoint,
    (method, path): (&str, &str),
) -> Call {
    let mut call = request(config, endpoint, method, path);
    let credential = Token::new(format!("Bearer {}", token.expose()));
    call.headers.push(("authorization", HeaderValue::token(&credential)));
    call
}

/// `None`: this is no page.
pub(crate) fn parse_page(body: &[u8]) -> Option<Page> {
    let mut page: Value = serde_json::from_slice(body).ok()?;
    let pagination = page.get("pagination")?;
    let number = |field: &str| pagination.get(field)?.as_u64();
    let (current, next, count) = (number("current")?, number("next")?, number("count")?);
    let Value::Array(results) = page.get_mut("results")?.take() else { return None };
    results.iter().all(Value::is_object).then_some(Page { current, next, count, results })
}

/// Why a token is refused, by the body of the answer.
pub(super) fn refusal(body: &[u8]) -> TokenRefusal {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    match body.as_ref().and_then(|body| body.get("detail")?.as_str()) {
        Some("Token invalid/expired") => TokenRefusal::Unknown,
        Some("You do not have permission to perform this action.") => TokenRefusal::NoPermission,
        Some("Authentication credentials were not provided.") => TokenRefusal::NotReceived,
        Some(_) | None => TokenRefusal::Other,
    }
}
