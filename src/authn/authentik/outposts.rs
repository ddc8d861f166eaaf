//! authentik's API as an outpost reads it: the outposts that a token sees, and their proxy providers, in pages.
//!
//! Owns: the calls, and what a page must be. Must not: know how pages become a list
//! ([`crate::authn::provider_list`] does), or read a provider.

use serde_json::Value;

use super::{failure, get, response};
use crate::authn::authentik::call::{Answer, Call, Endpoint};
use crate::authn::fault::Fault;
use crate::authn::fault::list::{ListFault, TokenRefusal};
use crate::base::header::HeaderValue;
use crate::base::secret::Secret;
use crate::base::token::Token;
use crate::config::Config;

/// authentik has no larger pages.
const PAGE_SIZE: u32 = 100;

/// One of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// `GET /api/v3/outposts/instances/`
    Outposts,
    /// `GET /api/v3/outposts/proxy/`
    Providers,
}

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

/// Asks for a page.
pub(crate) fn page_call(config: &Config, token: &Secret<String>, list: List, page: u64) -> Call {
    let name = match list {
        List::Outposts => "instances",
        List::Providers => "proxy",
    };
    let path = format!("/api/v3/outposts/{name}/?page={page}&page_size={PAGE_SIZE}");
    let mut call = get(config, Endpoint::Outposts, &path);
    let credential = Token::new(format!("Bearer {}", token.expose()));
    call.headers.push(("authorization", HeaderValue::token(&credential)));
    call
}

/// Reads a page; its JSON as well.
pub(crate) fn read_page(answer: &Answer) -> Result<(Page, &[u8]), Fault> {
    match response(answer)? {
        (200, body) => Ok((parse_page(body).ok_or(Fault::BadAnswer { status: 200 })?, body)),
        // authentik has 403 for a token that is missing or wrong, too.
        (401 | 403, body) => Err(Fault::List(ListFault::TokenRefused(refusal(body)))),
        // A redirect is not followed: it would carry the token elsewhere.
        (status @ (300..=399 | 404), _) => Err(Fault::List(ListFault::NoApi { status })),
        (status, _) => Err(failure(status, answer)),
    }
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

fn refusal(body: &[u8]) -> TokenRefusal {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    match body.as_ref().and_then(|body| body.get("detail")?.as_str()) {
        Some("Token invalid/expired") => TokenRefusal::Unknown,
        Some("You do not have permission to perform this action.") => TokenRefusal::NoPermission,
        Some("Authentication credentials were not provided.") => TokenRefusal::NotReceived,
        Some(_) | None => TokenRefusal::Other,
    }
}
