//! authentik's API as an outpost reads it: the outposts that a token sees, and their proxy providers, in pages.
//!
//! Owns: the calls, and what their answers mean. Must not: know how pages become a list
//! ([`crate::authn::provider_list`] does), or read a provider.

use super::api::{PAGE_SIZE, Page, api_call, parse_page, refusal};
use super::{failure, response};
use crate::authn::authentik::call::{Answer, Call, Endpoint};
use crate::authn::fault::Fault;
use crate::authn::fault::list::ListFault;
use crate::base::secret::Secret;
use crate::config::Config;

/// One of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// `GET /api/v3/outposts/instances/`
    Outposts,
    /// `GET /api/v3/outposts/proxy/`
    Providers,
}

/// Asks for a page.
pub(crate) fn page_call(config: &Config, token: &Secret<String>, list: List, page: u64) -> Call {
    let name = match list {
        List::Outposts => "instances",
        List::Providers => "proxy",
    };
    let path = format!("/api/v3/outposts/{name}/?page={page}&page_size={PAGE_SIZE}");
    api_call(config, token, Endpoint::Outposts, ("GET", &path))
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
