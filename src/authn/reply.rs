//! From a verdict to what is done with the request: the only table of status codes, challenges and bodies.
//!
//! Owns: [`Decision`], the replies, and what the log says about each.
//! Must not: ask anything, or tell the client more than the status does.

pub(crate) mod bare;
pub mod log_line;
mod page;
pub mod shared_caches;

use crate::authn::edits::Forward;
use crate::authn::fault::{Fault, Rejection};
use crate::authn::provider::Request;
use crate::authn::reply::log_line::LogLine;
use crate::authn::report::{Reason, Report};
use crate::authn::request::credential::AuthScheme;
use crate::authn::request::view::{BodyKind, RequestView};
use crate::base::header::HeaderValue;
use crate::config::{Config, ProviderId};

/// `Retry-After` when authentik gives none, in seconds.
const RETRY_SECONDS: u64 = 5;
/// Longest `Retry-After` that is passed on, in seconds.
const MAX_RETRY_SECONDS: u64 = 300;

/// What is done with a request. Made once, applied once.
#[derive(Debug)]
pub enum Decision {
    /// It goes on to the application.
    Forward(Forward),
    /// It is answered here.
    Reply(Reply),
}

/// A response made here.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status code.
    pub status: u16,
    /// gRPC status code, for a gRPC request.
    pub grpc_status: Option<u32>,
    /// Header pairs; several may share a name.
    pub headers: Vec<(&'static str, HeaderValue)>,
    /// Body; empty for a redirect.
    pub body: String,
    /// What is counted and logged of it. [`Reason::details`] is Envoy's `%RESPONSE_CODE_DETAILS%`.
    pub report: Report,
    /// What the log says of it.
    pub log: LogLine,
}

impl Decision {
    /// What is counted and logged of it.
    pub const fn report(&self) -> &Report {
        match self {
            Self::Forward(forward) => &forward.report,
            Self::Reply(reply) => &reply.report,
        }
    }

    pub(crate) const fn report_mut(&mut self) -> &mut Report {
        match self {
            Self::Forward(forward) => &mut forward.report,
            Self::Reply(reply) => &mut reply.report,
        }
    }
}

impl Reply {
    /// One line for the log, without secrets.
    pub fn log_line(&self) -> String {
        self.log.render(self.status, &self.report)
    }
}

/// What a reply needs to know of the request and its provider.
pub(crate) struct ReplyContext<'a> {
    pub(crate) id: Option<ProviderId>,
    /// Name of the provider for the log; `None` when there is none for the host.
    pub(crate) provider: Option<&'a str>,
    /// What the challenge calls the protection space (RFC 9110 §11.5): the application's slug, `[-a-zA-Z0-9_]`.
    pub(crate) realm: &'a str,
    /// What the client sent; `None` when nothing usable.
    pub(crate) scheme: Option<AuthScheme>,
    pub(crate) is_grpc: bool,
    pub(crate) body_kind: BodyKind,
    /// `x-request-id`, for a page that somebody may complain about.
    pub(crate) request_id: &'a str,
    /// A script sent it: a browser must not ask the user for a password.
    pub(crate) is_script: bool,
    /// Where a page leads.
    pub(crate) links: page::Links<'a>,
    /// The request's origin, if its scripts may read replies (`allow_cors_origins`).
    pub(crate) allowed_origin: Option<&'a str>,
}

impl<'a> ReplyContext<'a> {
    /// Of a request for whose host there is no provider.
    pub(crate) fn without_provider(view: &RequestView<'a>, config: &'a Config) -> Self {
        Self {
            id: None,
            provider: None,
            realm: "authentik",
            scheme: None,
            is_grpc: view.is_grpc(),
            body_kind: view.body_kind(),
            request_id: view.request_id(),
            is_script: view.is_script(),
            links: page::Links::of(view),
            allowed_origin: config.allowed_origin(view.origin()),
        }
    }

    /// Of a request; `scheme` is what the client sent.
    pub(crate) fn of(request: Request<'a>, scheme: Option<AuthScheme>) -> Self {
        let settings = &request.provider.settings;
        let context = Self::without_provider(request.view, request.config);
        Self {
            id: Some(request.provider.id),
            provider: Some(&settings.name),
            realm: &settings.slug,
            scheme,
            links: page::Links { has_sign_out: request.provider.sessions.is_some(), ..context.links },
            ..context
        }
    }
}

/// The client is not let in: the status for each reason.
pub(crate) fn reject(context: &ReplyContext<'_>, rejection: Rejection) -> Decision {
    let (status, reason) = match rejection {
        Rejection::NoCredential => (401, Reason::NoCredential),
        Rejection::Malformed(_) => (401, Reason::UnusableCredential),
        Rejection::Refused(_) => (401, Reason::Refused),
        Rejection::SessionEnded(_) => (401, Reason::SessionEnded),
        Rejection::Token(_) => (401, Reason::InvalidToken),
        Rejection::Inactive => (401, Reason::InactiveToken),
        Rejection::Throttled { retry_after: Some(_) } => (429, Reason::Throttled),
        Rejection::Throttled { retry_after: None } => (401, Reason::Throttled),
        Rejection::LoginFailed(_) => (400, Reason::LoginFailed),
        Rejection::Logout(_) => (400, Reason::BackchannelLogoutRefused),
        Rejection::NotFound => (404, Reason::NotFound),
        Rejection::Incomplete(_) => (403, Reason::IncompleteIdentity),
        Rejection::UnknownHost => (400, Reason::UnknownHost),
    };
    let mut headers = Vec::new();
    if status == 401 {
        let realm = context.realm;
        let error = if context.scheme == Some(AuthScheme::Bearer) { ", error=\"invalid_token\"" } else { "" };
        if !context.is_script {
            let basic = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
            headers.push(header("www-authenticate", basic));
        }
        headers.push(header("www-authenticate", format!("Bearer realm=\"{realm}\"{error}")));
    }
    let level = match rejection {
        Rejection::NoCredential => log::Level::Debug,
        Rejection::Incomplete(_) | Rejection::Logout(_) => log::Level::Warn,
        Rejection::Malformed(_)
        | Rejection::Refused(_)
        | Rejection::SessionEnded(_)
        | Rejection::Token(_)
        | Rejection::Inactive
        | Rejection::LoginFailed(_)
        | Rejection::NotFound
        | Rejection::Throttled { .. }
        | Rejection::UnknownHost => log::Level::Info,
    };
    let notice = page::Notice::of(&rejection);
    Decision::Reply(reply(context, status, headers, notice, reason, level, &rejection.to_string()))
}

/// No provider answers for the request's host.
pub(crate) fn unknown_host(view: &RequestView<'_>, config: &Config) -> Decision {
    reject(&ReplyContext::without_provider(view, config), Rejection::UnknownHost)
}

/// Nobody can judge the client now.
pub(crate) fn fail(context: &ReplyContext<'_>, fault: Fault) -> Decision {
    Decision::Reply(fail_reply(context, fault))
}

pub(crate) fn fail_reply(context: &ReplyContext<'_>, fault: Fault) -> Reply {
    let retry = match fault {
        Fault::Unavailable { retry_after: Some(seconds), .. } => seconds.clamp(1, MAX_RETRY_SECONDS),
        Fault::TooManyCalls | Fault::TooManyWaiting => 1,
        Fault::WaitedTooLong => RETRY_SECONDS,
        Fault::Unavailable { retry_after: None, .. }
        | Fault::Unreachable { .. }
        | Fault::Lost
        | Fault::UnknownApplication
        | Fault::UnencodableCall
        | Fault::UnencodableSession
        | Fault::BadAnswer { .. }
        | Fault::AnswerTooLarge
        | Fault::Reset
        | Fault::UnknownCluster
        | Fault::NoCapacity
        | Fault::InvalidClient(_)
        | Fault::RequestRefused
        | Fault::IssuedToken(_)
        | Fault::IssuedTokenInactive
        | Fault::NoKeys
        | Fault::NoSignatureCheck
        | Fault::NoRandomness
        | Fault::NoGate
        | Fault::NoBody
        | Fault::Host
        | Fault::List(_) => RETRY_SECONDS,
    };
    let reason = if fault == Fault::NoGate { Reason::ShadowWithoutGate } else { Reason::Unavailable };
    let notice = page::Notice::RetryAfter(retry);
    reply(context, 503, Vec::new(), notice, reason, log::Level::Warn, &fault.to_string())
}

/// The filter itself cannot work: nothing is known of the request.
pub fn broken() -> Decision {
    Decision::Reply(broken_reply())
}

/// The same as a value.
pub fn broken_reply() -> Reply {
    let nobody = ReplyContext {
        id: None,
        provider: None,
        realm: "",
        scheme: None,
        is_grpc: false,
        body_kind: BodyKind::Text,
        request_id: "",
        is_script: false,
        links: page::Links::default(),
        allowed_origin: None,
    };
    fail_reply(&nobody, Fault::Host)
}

/// A browser is sent to the login.
pub(crate) fn redirect(
    context: &ReplyContext<'_>,
    location: &str,
    set_cookies: Vec<HeaderValue>,
    reason: Reason,
    rejection: &Rejection,
) -> Decision {
    let mut headers =
        vec![header("location", location.to_owned()), header("cache-control", "no-store".to_owned())];
    headers.extend(set_cookies.into_iter().map(|value| ("set-cookie", value)));
    headers.extend(cors_headers(context));
    Decision::Reply(Reply {
        status: 302,
        grpc_status: None,
        headers,
        body: String::new(),
        report: Report::new(context.id, reason),
        log: line(context, redirect_level(rejection), &rejection.to_string()),
    })
}

/// That authentik has ended a session an operator wants to see; that a browser has none is nothing to tell.
const fn redirect_level(rejection: &Rejection) -> log::Level {
    match rejection {
        Rejection::SessionEnded(_) => log::Level::Info,
        Rejection::NoCredential
        | Rejection::Malformed(_)
        | Rejection::Refused(_)
        | Rejection::Token(_)
        | Rejection::Inactive
        | Rejection::LoginFailed(_)
        | Rejection::Logout(_)
        | Rejection::NotFound
        | Rejection::Incomplete(_)
        | Rejection::Throttled { .. }
        | Rejection::UnknownHost => log::Level::Debug,
    }
}

fn reply(
    context: &ReplyContext<'_>,
    status: u16,
    mut headers: Vec<(&'static str, HeaderValue)>,
    notice: page::Notice<'_>,
    reason: Reason,
    level: log::Level,
    text: &str,
) -> Reply {
    let (title, grpc_status) = match status {
        400 => ("Bad Request", 3),
        401 => ("Unauthorized", 16),
        403 => ("Forbidden", 7),
        404 => ("Not Found", 5),
        429 => ("Too Many Requests", 14),
        _ => ("Service Unavailable", 14),
    };
    if let page::Notice::RetryAfter(seconds) = notice {
        headers.push(header("retry-after", seconds.to_string()));
    }
    let (content_type, body) = match context.body_kind {
        _ if context.is_grpc => ("text/plain; charset=utf-8", title.to_owned()),
        BodyKind::Json => ("application/json", format!("{{\"status\":{status},\"error\":\"{title}\"}}\n")),
        BodyKind::Text => ("text/plain; charset=utf-8", format!("{status} {title}\n")),
        BodyKind::Html => {
            headers.extend(page::HEADERS.map(|(name, value)| header(name, value.to_owned())));
            let page = page::render(status, title, context.request_id, &context.links, notice);
            ("text/html; charset=utf-8", page)
        }
    };
    headers.push(header("content-type", content_type.to_owned()));
    headers.push(header("cache-control", "no-store".to_owned()));
    headers.extend(cors_headers(context));
    Reply {
        status,
        grpc_status: context.is_grpc.then_some(grpc_status),
        headers,
        body,
        report: Report::new(context.id, reason),
        log: line(context, level, text),
    }
}

/// Lets a script of an allowed origin read the reply (Fetch standard §3.2.3).
fn cors_headers(context: &ReplyContext<'_>) -> impl Iterator<Item = (&'static str, HeaderValue)> {
    context.allowed_origin.into_iter().flat_map(|origin| {
        [
            header("access-control-allow-origin", origin.to_owned()),
            header("access-control-allow-credentials", "true".to_owned()),
            header("vary", "Origin".to_owned()),
        ]
    })
}

fn header(name: &'static str, value: String) -> (&'static str, HeaderValue) {
    (name, HeaderValue::cleaned(value))
}

fn line(context: &ReplyContext<'_>, level: log::Level, message: &str) -> LogLine {
    let provider = context.provider.unwrap_or_default().to_owned();
    LogLine { level, provider, id: context.request_id.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests;
