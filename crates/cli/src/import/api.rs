//! authentik's API: whole lists, page by page.
//!
//! Owns: how much is read, and whose fault a failure is: the URL's or the token's. Must not: follow a redirect, which
//! would carry the token elsewhere; repeat what an answer says, which could be anything.

use std::io::{self, Read as _};

use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::{Error, Url};
use serde_json::Value;

use super::{Problem, option};
use crate::http::{self, TIMEOUT, cause};

/// Of all answers to a list. An entry has 2.5 KB.
const MAX_BYTES: u64 = 16 << 20;
/// authentik has no larger pages.
const PAGE_SIZE: u64 = 100;
const MAX_PAGES: u64 = 200;

/// The API below a URL, asked with a token.
pub(super) struct Api {
    client: Client,
    /// Ends in a slash.
    base: Url,
    token: HeaderValue,
}

fn url(what: impl AsRef<str>) -> Problem {
    option("--url", what)
}

fn token(what: &str) -> Problem {
    option("--token-file", what)
}

impl Api {
    pub(super) fn new(address: &str, api_token: &str) -> Result<Self, Problem> {
        let base = Url::parse(address).map_err(|error| url(format!("is not a URL: {error}")))?;
        let is_plain = base.username().is_empty() && base.password().is_none();
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(url("must begin with https:// or http://"));
        }
        if !is_plain || base.query().is_some() || base.fragment().is_some() {
            return Err(url("must be a host and perhaps a path, without user, query and fragment"));
        }
        let base = Url::parse(&format!("{}/api/v3/", base.as_str().trim_end_matches('/')))
            .map_err(|error| url(format!("is not a URL: {error}")))?;
        let mut header = HeaderValue::from_str(&format!("Bearer {api_token}"))
            .map_err(|_| token("must have the token and nothing else"))?;
        header.set_sensitive(true);
        let client = http::client()
            .build()
            .map_err(|error| url(format!("there can be no connection: {}", cause(&error))))?;
        Ok(Self { client, base, token: header })
    }

    /// All entries of a list, of all of its pages.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Value>, Problem> {
        let changed = || url("the list changed while it was read; try again");
        let mut entries = Vec::new();
        let mut left = MAX_BYTES;
        let mut number = 1;
        while number <= MAX_PAGES {
            let answer = self.get(&format!("{path}?page={number}&page_size={PAGE_SIZE}"))?;
            if answer.status() == StatusCode::NOT_FOUND && number > 1 {
                return Err(changed());
            }
            let body = read(self.judged(answer)?, &mut left)?;
            let page = Page::read(&body)
                .ok_or_else(|| url("what answers there is not authentik's API: no list of this form"))?;
            if page.current != number || (page.next != 0 && Some(page.next) != number.checked_add(1)) {
                let what = "the pages of the list are out of order: asked for page";
                return Err(url(format!("{what} {number}, got {} with next {}", page.current, page.next)));
            }
            entries.extend(page.results);
            if page.next == 0 {
                let is_whole = u64::try_from(entries.len()).is_ok_and(|found| found == page.count);
                return if is_whole { Ok(entries) } else { Err(changed()) };
            }
            number = page.next;
        }
        Err(url(format!("the list has more than {MAX_PAGES} pages")))
    }

    fn get(&self, target: &str) -> Result<Response, Problem> {
        let address = self.base.join(target).map_err(|error| url(format!("is not a URL: {error}")))?;
        let request = self.client.get(address).header(ACCEPT, "application/json");
        request.header(AUTHORIZATION, self.token.clone()).send().map_err(|error| unreachable(&error))
    }

    /// An answer with a list, perhaps.
    fn judged(&self, answer: Response) -> Result<Response, Problem> {
        let status = answer.status();
        match status.as_u16() {
            200 => Ok(answer),
            // authentik has 403 for a token that is missing or wrong, too.
            401 | 403 => Err(refused(answer)),
            404 => Err(url(format!("there is no authentik API below {} (404)", self.base))),
            300..=399 => {
                let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                let to =
                    to.and_then(|to| self.base.join(to).ok()).map(|to| to.origin().ascii_serialization());
                let to = to.unwrap_or_else(|| "nowhere".to_owned());
                Err(url(format!(
                    "is redirected to {to} ({status}): a redirect is not followed, give its target"
                )))
            }
            500..=599 => Err(url(format!("authentik, or the proxy before it, fails ({status}); try again"))),
            _ => Err(url(format!("what answers there is not authentik's API ({status})"))),
        }
    }
}

fn refused(answer: Response) -> Problem {
    let status = answer.status().as_u16();
    let mut left = 4096;
    let body = read(answer, &mut left).ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok());
    token(&match body.as_ref().and_then(|body| body["detail"].as_str()) {
        Some("Token invalid/expired") => {
            format!(
                "authentik does not know the token, or it has expired ({status}); an app password is no API token"
            )
        }
        Some("You do not have permission to perform this action.") => {
            format!("the token may not read outposts ({status}); use that of the outpost")
        }
        Some("Authentication credentials were not provided.") => {
            format!(
                "the token does not reach authentik ({status}); does a proxy remove the header Authorization?"
            )
        }
        _ => format!("the token is refused ({status})"),
    })
}

fn unreachable(error: &Error) -> Problem {
    if error.is_timeout() {
        return url(format!("there is no answer within {} seconds", TIMEOUT.as_secs()));
    }
    url(format!("cannot be reached: {}", cause(error)))
}

fn read(answer: Response, left: &mut u64) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    let limit = left.saturating_add(1);
    let got = answer
        .take(limit)
        .read_to_end(&mut body)
        .map_err(|error: io::Error| url(format!("the answer ends too early: {}", error.kind())))?;
    let got = u64::try_from(got).unwrap_or(u64::MAX);
    *left = left.checked_sub(got).ok_or_else(|| {
        url(format!("the answer is longer than {} MiB: this is no list of outposts", MAX_BYTES >> 20))
    })?;
    Ok(body)
}

/// A page of a list.
struct Page {
    current: u64,
    /// 0: there is none.
    next: u64,
    /// Of all pages.
    count: u64,
    results: Vec<Value>,
}

impl Page {
    fn read(body: &[u8]) -> Option<Self> {
        let mut page: Value = serde_json::from_slice(body).ok()?;
        let number = |field: &str| page["pagination"][field].as_u64();
        let (current, next, count) = (number("current")?, number("next")?, number("count")?);
        let Value::Array(results) = page.get_mut("results")?.take() else { return None };
        results.iter().all(Value::is_object).then_some(Self { current, next, count, results })
    }
}
