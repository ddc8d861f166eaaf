//! What went wrong, by whose fault: [`Rejection`] is the client's, [`Fault`] is authentik's or ours.
//!
//! Owns: the reasons for the log. Must not: reach the client.

pub(crate) mod events;
pub mod list;

use core::fmt;
use std::rc::Rc;

use crate::authn::fault::list::ListFault;
use crate::authn::identity::Incomplete;
use crate::authn::jwt::logout_token::LogoutRejection;
use crate::authn::jwt::rejection::TokenRejection;
use crate::authn::request::credential::Malformed;

/// The client gets no access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// There is no credential.
    NoCredential,
    /// The credential is malformed.
    Malformed(Malformed),
    /// authentik's token endpoint refused the grant (`invalid_grant`).
    Refused(Grant),
    /// The session that the cookie stands for has ended before its time.
    SessionEnded(SessionEnd),
    /// The token is not valid.
    Token(TokenRejection),
    /// authentik says that the token is not active.
    Inactive,
    /// A browser's login failed.
    LoginFailed(LoginFailure),
    /// A request for back-channel logout is not authentik's, or not in order.
    Logout(LogoutRejection),
    /// A path of the outpost that does not exist.
    NotFound,
    /// The token stands, and does not name a user.
    Incomplete(Incomplete),
    /// Too many refused credentials before this one.
    Throttled {
        /// When the next one may come, in seconds; `None` where the credential simply counts as invalid.
        retry_after: Option<u64>,
    },
    /// No provider answers for the request's host.
    UnknownHost,
}

/// What was presented to authentik's token endpoint (RFC 6749 §1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// User name and app password, with the client credentials.
    Password,
    /// A token of another issuer, as a client assertion (RFC 7523 §2.2).
    Assertion,
    /// The authorization code at the end of a login.
    Code,
}

/// How a session has ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// authentik says that its token is not active.
    Inactive,
    /// The list of ended sessions has it.
    SignedOut,
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCredential => formatter.write_str("no credential"),
            Self::Malformed(unusable) => unusable.fmt(formatter),
            Self::Refused(Grant::Password) => formatter.write_str(
                "authentik refused the user name and app password (invalid_grant); it must be an app password, and \
                 the user name, not the e-mail address",
            ),
            Self::Refused(Grant::Assertion) => formatter.write_str(
                "authentik refused the token of another issuer (invalid_grant); its source or provider must be \
                 federated with this provider",
            ),
            Self::Refused(Grant::Code) => formatter
                .write_str("authentik refused the authorization code (invalid_grant); restarting login"),
            Self::SessionEnded(SessionEnd::SignedOut) => {
                formatter.write_str("the session was signed out: in this Envoy, in another one, or at authentik")
            }
            Self::SessionEnded(SessionEnd::Inactive) => formatter.write_str(
                "authentik has ended the session: it says that the session's token is not active (also said for a \
                 wrong client_secret)",
            ),
            Self::Token(rejection) => rejection.fmt(formatter),
            Self::LoginFailed(failure) => failure.fmt(formatter),
            Self::Logout(rejection) => rejection.fmt(formatter),
            Self::NotFound => formatter.write_str("no such path of the outpost"),
            Self::Throttled { .. } => {
                formatter.write_str("too many refused credentials for this user name or from this address")
            }
            Self::Inactive => formatter
                .write_str("authentik says that the token is not active (also said for a wrong client_secret)"),
            Self::Incomplete(incomplete) => incomplete.reason.fmt(formatter),
            Self::UnknownHost => formatter.write_str("no provider has this host as its external_host or below its cookie_domain"),
        }
    }
}

/// Why a browser's login did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginFailure {
    /// authentik's redirect says `error`.
    Refused,
    /// The browser came back without the login's cookie.
    NoCookie,
    /// The browser came back without a code.
    NoCode,
    /// `state` is not of this browser, this provider, this time.
    State,
    /// The token is not the answer to this login.
    Nonce,
    /// The session would be too long for cookies.
    SessionTooLong,
    /// Three rounds within a minute brought no session.
    TooManyRounds,
}

impl fmt::Display for LoginFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refused => "login failed: authentik answered with an error",
            Self::NoCookie => "login failed: the browser came back without its login cookie",
            Self::NoCode => "login failed: the browser came back without a code",
            Self::State => "login state does not match this browser or has expired; restarting login",
            Self::Nonce => "login failed: the token's nonce is not that of the login",
            Self::SessionTooLong => "login failed: the session would be longer than 32 KiB",
            Self::TooManyRounds => "login failed: three rounds within a minute brought no session",
        })
    }
}

/// Nobody can say whether the client may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Envoy answered in authentik's place: it did not reach authentik.
    Unreachable {
        /// Envoy's status: 503, or 504 after the timeout.
        status: u16,
        /// What Envoy says of it, cleaned, at most 200 bytes.
        reason: Rc<str>,
    },
    /// No answer came, not even Envoy's after the timeout.
    Lost,
    /// authentik has no key set for the application's slug.
    UnknownApplication,
    /// authentik answered with a status that is no answer.
    Unavailable {
        /// What came.
        status: u16,
        /// authentik's own `Retry-After`, in seconds.
        retry_after: Option<u64>,
    },
    /// The status is right and the body is not.
    BadAnswer {
        /// What came.
        status: u16,
    },
    /// Longer than `authentik.max_response_bytes`.
    AnswerTooLarge,
    /// The connection broke.
    Reset,
    /// `authentik.cluster` is not a cluster of this Envoy.
    UnknownCluster,
    /// No endpoint, or the circuit breaker is open.
    NoCapacity,
    /// `authentik.max_pending_calls` wait already.
    TooManyCalls,
    /// There was no place among the calls for `authentik.max_wait_seconds`.
    WaitedTooLong,
    /// As many requests as a worker has room for wait already.
    TooManyWaiting,
    /// authentik does not accept the client (`invalid_client`).
    InvalidClient(Grant),
    /// authentik refused the request for a reason that is not the client's.
    RequestRefused,
    /// The token that authentik just issued does not verify.
    IssuedToken(TokenRejection),
    /// authentik just issued a token that it says is not active: the `client_secret` is wrong.
    IssuedTokenInactive,
    /// The provider's keys are not there yet, and were asked for a moment ago.
    NoKeys,
    /// The host has no check for signatures by the provider's keys, and the module none of its own.
    NoSignatureCheck,
    /// The host has no randomness.
    NoRandomness,
    /// A value of the configuration cannot be sent in a header.
    UnencodableCall,
    /// What a cookie must hold cannot be written.
    UnencodableSession,
    /// In shadow mode: no gate let the request through.
    NoGate,
    /// The body of a request for back-channel logout did not come in time.
    NoBody,
    /// The host handed over something that is not in its format.
    Host,
    /// The outpost's list of providers cannot be had.
    List(ListFault),
}

impl Fault {
    /// Whether authentik itself fails: only that is bridged by `cache.stale_seconds`. What clients can cause (too many at
    /// one time) and what the operator must mend is not.
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Lost
            | Self::Unavailable { .. }
            | Self::BadAnswer { .. }
            | Self::AnswerTooLarge
            | Self::Reset
            | Self::NoCapacity
            | Self::NoKeys => true,
            Self::UnknownApplication
            | Self::UnknownCluster
            | Self::TooManyCalls
            | Self::WaitedTooLong
            | Self::TooManyWaiting
            | Self::InvalidClient(_)
            | Self::RequestRefused
            | Self::IssuedToken(_)
            | Self::IssuedTokenInactive
            | Self::NoSignatureCheck
            | Self::NoRandomness
            | Self::UnencodableCall
            | Self::UnencodableSession
            | Self::NoGate
            | Self::NoBody
            | Self::Host
            | Self::List(_) => false,
        }
    }
}

/// What to look at when a token that authentik has just issued does not verify for this reason.
const fn hint(rejection: TokenRejection) -> &'static str {
    match rejection {
        TokenRejection::Issuer => {
            "check authentik.host and issuer_mode, or set oidc_configuration.issuer; authentik makes iss from the \
             host, and from X-Forwarded-Proto if the proxy is in AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS"
        }
        TokenRejection::UnknownKey => {
            "authentik may have a new key: the key set is fetched again after jwks.min_refresh_interval_seconds"
        }
        TokenRejection::Audience => "check client_id",
        TokenRejection::Signature => "check client_secret, and the provider's signing key",
        TokenRejection::Expired | TokenRejection::NotYetValid | TokenRejection::IssuedInFuture => {
            "check the clocks of authentik and of this host"
        }
        TokenRejection::NotJws
        | TokenRejection::Encrypted
        | TokenRejection::CriticalExtension
        | TokenRejection::LogoutToken
        | TokenRejection::Algorithm
        | TokenRejection::Claims
        | TokenRejection::NoExpiry => "check the provider's signing key and scope mappings",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { status, reason } => {
                write!(formatter, "the way to authentik failed: Envoy says {status}: {reason}")
            }
            Self::Lost => formatter.write_str("no answer came from authentik, and none from Envoy"),
            Self::UnknownApplication => formatter.write_str(
                "authentik has no key set for this application (404): check assigned_application_slug",
            ),
            Self::Unavailable { status, .. } => {
                write!(
                    formatter,
                    "authentik is unavailable: status {status} (405 to a POST: a server error there)"
                )
            }
            Self::BadAnswer { status } => {
                write!(formatter, "authentik's answer with status {status} is not what it should be")
            }
            Self::AnswerTooLarge => {
                formatter.write_str("authentik's answer is longer than authentik.max_response_bytes")
            }
            Self::Reset => formatter.write_str("the connection to authentik broke"),
            Self::UnknownCluster => formatter.write_str("authentik.cluster is not a cluster of this Envoy"),
            Self::NoCapacity => {
                formatter.write_str("authentik's cluster has no endpoint or its circuit breaker is open")
            }
            Self::TooManyCalls => {
                formatter.write_str("authentik.max_pending_calls are waiting for authentik already")
            }
            Self::WaitedTooLong => formatter.write_str(
                "waited for a place among the calls to authentik for authentik.max_wait_seconds in vain",
            ),
            Self::TooManyWaiting => {
                formatter.write_str("too many requests are waiting for authentik already")
            }
            Self::InvalidClient(Grant::Code) => formatter.write_str(
                "authentik does not accept client_id and client_secret (invalid_client): check both",
            ),
            Self::InvalidClient(Grant::Password | Grant::Assertion) => formatter
                .write_str("authentik does not know the client_id: check the provider's configuration"),
            Self::RequestRefused => {
                formatter.write_str("authentik refused the request itself: check scopes_to_request")
            }
            Self::IssuedToken(rejection) => {
                let hint = hint(*rejection);
                write!(formatter, "the token that authentik issued does not verify: {rejection}; {hint}")
            }
            Self::IssuedTokenInactive => {
                formatter.write_str("authentik calls the token that it issued inactive: check client_secret")
            }
            Self::NoKeys => formatter.write_str("the provider's keys could not be fetched yet"),
            Self::NoSignatureCheck => formatter.write_str(
                "signatures by the provider's keys cannot be checked: the host has no verify_signature for them",
            ),
            Self::NoRandomness => formatter.write_str("Envoy has no randomness to give"),
            Self::UnencodableCall => formatter
                .write_str("a call to authentik has a header that is not UTF-8: check authentik.host"),
            Self::UnencodableSession => formatter.write_str("the session cannot be written into a cookie"),
            Self::NoGate => formatter.write_str(
                "shadow mode without a gate: no shadow.gate_header, and skip_path_regex does not open the path",
            ),
            Self::NoBody => formatter.write_str(
                "the body of a back-channel logout did not come within 5 seconds: check \
                 allow_on_headers_stop_iteration",
            ),
            Self::Host => formatter.write_str("Envoy handed over headers that are not in the ABI's format"),
            Self::List(fault) => fault.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests;
