//! authentik's API as the reader of its event log uses it: the log, the users whom it names, and a line of its own.
//!
//! Owns: the calls, and what their answers mean. Must not: know what follows from an event ([`crate::authn::events`] does), or
//! when to ask.

use core::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::api::{PAGE_SIZE, Page, api_call, parse_page, refusal};
use super::{failure, response};
use crate::authn::authentik::call::{Answer, Call, Endpoint};
use crate::authn::ended::Who;
use crate::authn::fault::Fault;
use crate::authn::fault::events::EventsFault;
use crate::base::header::HeaderValue;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::config::{Config, Events};

/// The `app` of the events that the filter writes.
pub(crate) const OWN_APP: &str = "authentik-proxy-wasm";

/// What is asked of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    /// The newest event of those that matter, whenever it was.
    Newest,
    /// A page of those since this second, the oldest first.
    Since(Timestamp, u64),
    /// A page of those since this second that an Envoy has written, the newest first.
    Relayed(Timestamp, u64),
}

/// What makes an event matter, in authentik's search language (AKQL). Any error in an expression makes it a search for its text,
/// which finds nothing; so this is a constant, and the moment before it is whole seconds in UTC.
const MATTERS: &str = r#"(action in ("logout","password_set") or context.model.model_name in ("user","token","group","policybinding","application","proxyprovider","outpost"))"#;

/// Asks for events. `None`: the moment cannot be written.
pub(crate) fn events_call(config: &Config, events: &Events, query: Query) -> Option<Call> {
    let (since, page, size, order) = match query {
        Query::Newest => (Timestamp::from_seconds(0), 1, 1, "-created"),
        Query::Since(since, page) => (since, page, PAGE_SIZE, "created"),
        Query::Relayed(since, page) => (since, page, PAGE_SIZE, "-created"),
    };
    let mut search = format!("created >= \"{}\" and ", since.utc_seconds()?);
    match query {
        Query::Newest | Query::Since(..) => search.push_str(MATTERS),
        // Writing to a String cannot fail.
        Query::Relayed(..) => drop(write!(search, "app = \"{OWN_APP}\"")),
    }
    let mut path = format!("/api/v3/events/events/?page={page}&page_size={size}&ordering={order}&search=");
    for byte in search.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => path.push(char::from(byte)),
            // As authentik's own transcripts have it: `+` for a space is another form.
            _ => drop(write!(path, "%{byte:02X}")),
        }
    }
    Some(api_call(config, &events.token, Endpoint::Events, ("GET", &path)))
}

/// Reads a page of the log.
pub(crate) fn read_events(answer: &Answer) -> Result<Page, EventsFault> {
    match response(answer)? {
        (200, body) => parse_page(body).ok_or(Fault::BadAnswer { status: 200 }.into()),
        (401 | 403, body) => Err(EventsFault::TokenRefused(refusal(body))),
        // A redirect is not followed: it would carry the token elsewhere.
        (status @ (300..=399 | 404), _) => Err(EventsFault::NoApi { status }),
        (status, _) => Err(failure(status, answer).into()),
    }
}

/// Asks for a user by the primary key.
pub(crate) fn user_call(config: &Config, events: &Events, pk: u64) -> Call {
    let path = format!("/api/v3/core/users/{pk}/");
    api_call(config, &events.token, Endpoint::Events, ("GET", &path))
}

/// What is known of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Looked {
    /// `username` and `uid`: the names that tokens may have.
    Found(String, String),
    /// There is no such user, or the answer is none.
    Unknown,
    /// The token may not ask for any.
    Forbidden,
}

/// Reads the answer about a user.
pub(crate) fn read_user(answer: &Answer) -> Looked {
    match response(answer) {
        Ok((200, body)) => {
            let user: Option<Value> = serde_json::from_slice(body).ok();
            let text = |field: &str| Some(user.as_ref()?.get(field)?.as_str()?.to_owned());
            match text("username").zip(text("uid")) {
                Some((username, uid)) => Looked::Found(username, uid),
                None => Looked::Unknown,
            }
        }
        Ok((401 | 403, _)) => Looked::Forbidden,
        Ok(_) | Err(_) => Looked::Unknown,
    }
}

#[derive(Serialize)]
struct Event<'a> {
    action: &'a str,
    app: &'a str,
    context: Context<'a>,
}

#[derive(Serialize)]
struct Context<'a> {
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    at: u64,
}

/// Writes an event: what this Envoy has learned to be over, for the others.
pub(crate) fn relay_call(
    config: &Config,
    events: &Events,
    (client_id, who, at): (&str, Who<'_>, Timestamp),
) -> Call {
    let (sid, sub) = match who {
        Who::Session(sid) => (Some(sid), None),
        Who::User(sub) => (None, Some(sub)),
    };
    let context = Context { client_id, sid, sub, at: at.millis() };
    // `action` must be one of authentik's own words.
    let event = Event { action: "logout", app: OWN_APP, context };
    let mut call = api_call(config, &events.token, Endpoint::Events, ("POST", "/api/v3/events/events/"));
    call.headers.push(("content-type", HeaderValue::cleaned("application/json")));
    // Texts and numbers can always be written.
    call.body = Secret::new(serde_json::to_vec(&event).unwrap_or_default());
    call
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// authentik has it.
    Kept,
    /// authentik will never take it.
    Rejected,
    /// It may take it later.
    Failed(EventsFault),
}

/// Reads the answer to an event.
pub(crate) fn read_written(answer: &Answer) -> Written {
    match response(answer) {
        Ok((200..=299, _)) => Written::Kept,
        Ok((400, _)) => Written::Rejected,
        Ok((401 | 403, body)) => Written::Failed(EventsFault::TokenRefused(refusal(body))),
        Ok((status @ (300..=399 | 404), _)) => Written::Failed(EventsFault::NoApi { status }),
        Ok((status, _)) => Written::Failed(failure(status, answer).into()),
        Err(fault) => Written::Failed(fault.into()),
    }
}
