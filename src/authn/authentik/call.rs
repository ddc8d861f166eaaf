//! A call to authentik and what came of it, as values.
//!
//! Owns: [`Call`], [`Answer`] and the words that metrics have for both. Must not: know what an answer means;
//! [`super`] does.

use core::time::Duration;
use std::rc::Rc;

use crate::authn::request::trace::TraceContext;
use crate::base::header::HeaderValue;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;

/// One of authentik's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// RFC 6749 §3.2
    Token,
    /// RFC 7662
    Introspection,
    /// The key set of a provider (RFC 7517 §5).
    Jwks,
    /// What authentik publishes about a provider (OpenID Connect Discovery 1.0 §4).
    Discovery,
    /// authentik's API: the outposts that a token sees, and their proxy providers.
    Outposts,
    /// authentik's API: the event log, and the users whom it names.
    Events,
}

impl Endpoint {
    /// Its word in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Introspection => "introspection",
            Self::Jwks => "jwks",
            Self::Discovery => "discovery",
            Self::Outposts => "outposts",
            Self::Events => "events",
        }
    }
}

/// A request to authentik, ready to be sent.
#[derive(Debug, Clone)]
pub struct Call {
    /// What is called.
    pub endpoint: Endpoint,
    /// Envoy cluster.
    pub cluster: String,
    /// Header pairs, pseudo headers included.
    pub headers: Vec<(&'static str, HeaderValue)>,
    /// The form; empty for a GET.
    pub body: Secret<Vec<u8>>,
    /// After this Envoy answers instead of authentik.
    pub timeout: Duration,
    /// Longest answer to read, in bytes; a longer one is [`Answer::TooLarge`].
    pub max_response_bytes: usize,
}

impl Call {
    /// With the trace context of the request that causes it.
    pub(crate) fn traced(mut self, context: &TraceContext) -> Self {
        self.headers.extend_from_slice(context.headers());
        self
    }
}

/// What came of a call.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A response of authentik's.
    Response {
        /// `:status`
        status: u16,
        /// `retry-after` in seconds.
        retry_after: Option<u64>,
        /// `date`: the moment on authentik's clock. Of a discovery document only.
        date: Option<Timestamp>,
        /// The whole body. It may be a token, so it is wiped.
        body: Secret<Vec<u8>>,
    },
    /// A response that Envoy made in authentik's place: it did not reach authentik, or not in time.
    Unreachable {
        /// `:status`
        status: u16,
        /// What Envoy says of it.
        reason: Rc<str>,
    },
    /// A body longer than allowed; it was not read.
    TooLarge,
    /// The connection broke before the answer was whole.
    Reset,
    /// Nothing came, long after the timeout.
    Lost,
    /// Envoy did not take the call.
    NotSent(NotSent),
}

/// Why Envoy did not take a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// The cluster is not known to Envoy (`BadArgument`).
    UnknownCluster,
    /// No healthy endpoint, or the circuit breaker is open (`InternalFailure`).
    NoCapacity,
    /// A header is not UTF-8.
    Unencodable,
    /// It waited for a place for `authentik.max_wait_seconds`.
    WaitedTooLong,
}

/// What came of a call, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallResult {
    /// `200`, or `201` for what was written.
    Ok,
    /// `400`, `401` or `403`.
    Refused,
    /// Another status, or an answer that is too long.
    Failed,
    /// Envoy did not reach authentik, or the connection broke.
    Unreachable,
    /// No answer came in time.
    Timeout,
    /// Envoy did not take the call.
    NotSent,
}

impl CallResult {
    /// What this answer is.
    pub const fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Response { status: 200 | 201, .. } => Self::Ok,
            Answer::Response { status: 400 | 401 | 403, .. } => Self::Refused,
            Answer::Response { .. } | Answer::TooLarge => Self::Failed,
            Answer::Unreachable { status: 504, .. } | Answer::Lost => Self::Timeout,
            Answer::Unreachable { .. } | Answer::Reset => Self::Unreachable,
            Answer::NotSent(_) => Self::NotSent,
        }
    }

    /// Its word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::NotSent => "not_sent",
        }
    }
}
