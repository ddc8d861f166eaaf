//! What a decision is called: by the metric of requests, the access log, the log and `%RESPONSE_CODE_DETAILS%`.
//!
//! Owns: [`Report`] and its words. They are an interface: dashboards, alerts and searches are made of them.
//! Must not: decide anything, or hold what a client sent.

use crate::authn::ended::tally::{Cause, Confirmation};
use crate::authn::policy::Row;
use crate::authn::verdict::Source;
use crate::config::ProviderId;

/// What there is to say of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The provider of the request's host; `None`: there is none.
    pub provider: Option<ProviderId>,
    /// Why the request was decided so.
    pub reason: Reason,
    /// Where the verdict came from.
    pub source: Source,
    /// The row of the truth table, if the request came that far.
    pub row: Option<Row>,
}

impl Report {
    pub(crate) const fn new(provider: Option<ProviderId>, reason: Reason) -> Self {
        Self { provider, reason, source: Source::None, row: None }
    }
}

/// How much goes on in one worker, for gauges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Requests that wait for authentik.
    pub waiting_requests: usize,
    /// Calls that wait for a place.
    pub pending_calls: usize,
    /// Calls that may be out at one time.
    pub call_limit: usize,
    /// Verdicts in the worker's cache.
    pub cache_entries: usize,
    /// How old each key set is that was fetched, in seconds.
    pub keys_age: Vec<(ProviderId, u64)>,
    /// How old the outpost's list of providers is, in seconds.
    pub config_age: Option<u64>,
    /// How long ago authentik's event log was last read whole, in seconds; before the first time, since when it is tried.
    pub events_age: Option<u64>,
    /// How often sessions were ended, for each of [`Cause::ALL`].
    pub ended_sessions: [u64; Cause::ALL.len()],
    /// How often authentik was asked about a session, for each of [`Confirmation::ALL`].
    pub confirmations: [u64; Confirmation::ALL.len()],
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It went on with an identity.
    Allowed,
    /// It was answered with 400, 401, 403, 404 or 429.
    Denied,
    /// It belongs to a login, or was sent to one.
    Login,
    /// It was answered with 503.
    Unavailable,
    /// It went on, or was answered, without authentication.
    Open,
}

impl Outcome {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Login => "login",
            Self::Unavailable => "unavailable",
            Self::Open => "open",
        }
    }
}

/// Why a request was decided as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// authentik vouches for its user.
    Ok,
    /// `skip_path_regex`
    OpenPath,
    /// `allow_cors_preflight`
    Preflight,
    /// The outpost's health check.
    Ping,
    /// Sent to authentik.
    Login,
    /// Back from authentik with a session.
    LoggedIn,
    /// Sent to authentik's end of the session.
    SignedOut,
    /// authentik has ended a session by back-channel logout.
    BackchannelLogout,
    /// A request for back-channel logout that is not authentik's, or not in order.
    BackchannelLogoutRefused,
    /// Nothing in `Authorization`, and no session.
    NoCredential,
    /// Not a credential that could be presented to authentik.
    UnusableCredential,
    /// `invalid_grant`
    Refused,
    /// authentik has ended the session.
    SessionEnded,
    /// The token does not verify.
    InvalidToken,
    /// `active: false`
    InactiveToken,
    /// The rate limit of refused credentials.
    Throttled,
    /// The login flow did not end well.
    LoginFailed,
    /// No such path of the outpost.
    NotFound,
    /// authentik vouches for somebody without a name.
    IncompleteIdentity,
    /// No provider answers for the host.
    UnknownHost,
    /// authentik cannot answer, or the filter cannot work.
    Unavailable,
    /// In shadow mode: no gate let the request through.
    ShadowWithoutGate,
}

impl Reason {
    /// What becomes of a request for this reason.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Ok => Outcome::Allowed,
            Self::OpenPath | Self::Preflight | Self::Ping => Outcome::Open,
            Self::Login | Self::LoggedIn | Self::SignedOut | Self::BackchannelLogout => Outcome::Login,
            Self::NoCredential
            | Self::UnusableCredential
            | Self::Refused
            | Self::SessionEnded
            | Self::InvalidToken
            | Self::InactiveToken
            | Self::Throttled
            | Self::LoginFailed
            | Self::BackchannelLogoutRefused
            | Self::NotFound
            | Self::IncompleteIdentity
            | Self::UnknownHost => Outcome::Denied,
            Self::Unavailable | Self::ShadowWithoutGate => Outcome::Unavailable,
        }
    }

    /// Envoy's `%RESPONSE_CODE_DETAILS%` of a reply for this reason: its word behind `authentik_`.
    pub const fn details(self) -> &'static str {
        match self {
            Self::Ok => "authentik_ok",
            Self::OpenPath => "authentik_open_path",
            Self::Preflight => "authentik_preflight",
            Self::Ping => "authentik_ping",
            Self::Login => "authentik_login",
            Self::LoggedIn => "authentik_logged_in",
            Self::SignedOut => "authentik_signed_out",
            Self::BackchannelLogout => "authentik_backchannel_logout",
            Self::BackchannelLogoutRefused => "authentik_backchannel_logout_refused",
            Self::NoCredential => "authentik_no_credential",
            Self::UnusableCredential => "authentik_unusable_credential",
            Self::Refused => "authentik_refused",
            Self::SessionEnded => "authentik_session_ended",
            Self::InvalidToken => "authentik_invalid_token",
            Self::InactiveToken => "authentik_inactive_token",
            Self::Throttled => "authentik_throttled",
            Self::LoginFailed => "authentik_login_failed",
            Self::NotFound => "authentik_not_found",
            Self::IncompleteIdentity => "authentik_incomplete_identity",
            Self::UnknownHost => "authentik_unknown_host",
            Self::Unavailable => "authentik_unavailable",
            Self::ShadowWithoutGate => "authentik_shadow_without_gate",
        }
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        self.details().strip_prefix("authentik_").unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_the_reason_behind_the_name_of_the_filter() {
        for (reason, word, outcome) in [
            (Reason::Ok, "ok", "allowed"),
            (Reason::OpenPath, "open_path", "open"),
            (Reason::Login, "login", "login"),
            (Reason::Refused, "refused", "denied"),
            (Reason::Unavailable, "unavailable", "unavailable"),
        ] {
            assert_eq!((reason.as_str(), reason.outcome().as_str()), (word, outcome));
            assert_eq!(reason.details(), format!("authentik_{word}"));
        }
    }
}
