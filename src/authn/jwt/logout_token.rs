//! Logout tokens: OpenID Connect Back-Channel Logout 1.0 §2.4 and §2.6.
//!
//! Owns: what a logout token must have beside what every token of a provider must, and what it says. Signature, algorithm,
//! issuer, audience and times are [`super::verifier`]'s, as for every token.
//! Must not: end a session, or remember a token.

use core::fmt;

use serde_json::{Map, Value};

use crate::authn::env::Env;
use crate::authn::jwt::claims::{Claims, NumericDate};
use crate::authn::jwt::jwk::KeySet;
use crate::authn::jwt::jws::Jws;
use crate::authn::jwt::rejection::{NotVerified, TokenRejection};
use crate::authn::jwt::verifier::{self, LOGOUT_TYPE};
use crate::base::time::Timestamp;
use crate::config::{Config, Provider};

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How old a logout token may be, in seconds. authentik sets `exp` to an hour after `iat`.
const MAX_AGE_SECONDS: u64 = 3600;

/// What a verified logout token says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogoutToken {
    /// The session at authentik that has ended. `None`: all sessions of `sub`.
    pub(crate) sid: Option<String>,
    pub(crate) sub: Option<String>,
    pub(crate) issued: Timestamp,
    pub(crate) jti: String,
    /// From then on the token is refused for its age, so that nobody need remember its `jti`.
    pub(crate) until: Timestamp,
}

/// Why a logout token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutRejection {
    /// What is wrong with it is wrong with any token.
    Token(TokenRejection),
    /// `typ` is absent or another one.
    Type,
    /// No `iat`.
    NoIssueTime,
    /// `iat` lies too far back.
    TooOld,
    /// No `jti`, or an empty one.
    NoTokenId,
    /// `events` has no member for back-channel logout, or that is no object.
    Events,
    /// A `nonce`: an ID token could pass for a logout token.
    Nonce,
    /// Neither `sid` nor `sub`.
    NobodyNamed,
    /// The token was accepted before.
    Replayed,
    /// The request's body is not a form with exactly one `logout_token`, or is too long.
    Body,
}

impl fmt::Display for LogoutRejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("back-channel logout refused: ")?;
        formatter.write_str(match self {
            Self::Token(rejection) => return rejection.fmt(formatter),
            Self::Type => "the token's typ is not logout+jwt",
            Self::NoIssueTime => "the token has no iat",
            Self::TooOld => "the token's iat is more than an hour ago",
            Self::NoTokenId => "the token has no jti",
            Self::Events => "the token's events have no backchannel-logout",
            Self::Nonce => "the token has a nonce",
            Self::NobodyNamed => "the token has neither sid nor sub",
            Self::Replayed => "the token was used before",
            Self::Body => "the body is not a form with one logout_token",
        })
    }
}

/// Why no logout token was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoLogout {
    Rejected(LogoutRejection),
    /// The host has no check for signatures by the provider's keys.
    Uncheckable,
}

impl From<LogoutRejection> for NoLogout {
    fn from(rejection: LogoutRejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<NotVerified> for NoLogout {
    fn from(not_verified: NotVerified) -> Self {
        match not_verified {
            NotVerified::Rejected(rejection) => LogoutRejection::Token(rejection).into(),
            NotVerified::Uncheckable => Self::Uncheckable,
        }
    }
}

/// Checks a logout token. A token without `typ` is refused: the standard allows it, but authentik sets the `typ`, and
/// without it any token with the same claims could end sessions.
pub(crate) fn verify(
    token: &str,
    keys: &KeySet,
    provider: &Provider,
    config: &Config,
    env: &Env<'_>,
) -> Result<LogoutToken, NoLogout> {
    let jws = Jws::parse(token).ok_or(LogoutRejection::Token(TokenRejection::NotJws))?;
    if !jws.is_of_type(LOGOUT_TYPE) {
        return Err(LogoutRejection::Type.into());
    }
    let (Claims { iat, .. }, _) = verifier::checked(&jws, keys, provider, config, env)?;
    read(&jws.claims, iat, config.clock_skew_seconds, env.now).map_err(NoLogout::Rejected)
}

/// Reads claims whose signature and times were checked.
fn read(
    claims: &[u8],
    issued: Option<NumericDate>,
    skew: u64,
    now: Timestamp,
) -> Result<LogoutToken, LogoutRejection> {
    let claims: Map<String, Value> = serde_json::from_slice(claims).map_err(|_| MALFORMED)?;
    let NumericDate(issued) = issued.ok_or(LogoutRejection::NoIssueTime)?;
    let until = issued.plus(MAX_AGE_SECONDS).plus(skew);
    if until <= now {
        return Err(LogoutRejection::TooOld);
    }
    let event = claims.get("events").and_then(|events| events.as_object()?.get(EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(LogoutRejection::Events);
    }
    if claims.contains_key("nonce") {
        return Err(LogoutRejection::Nonce);
    }
    let jti = text(&claims, "jti")?.ok_or(LogoutRejection::NoTokenId)?;
    let (sid, sub) = (text(&claims, "sid")?, text(&claims, "sub")?);
    if sid.is_none() && sub.is_none() {
        return Err(LogoutRejection::NobodyNamed);
    }
    Ok(LogoutToken { sid, sub, issued, jti, until })
}

const MALFORMED: LogoutRejection = LogoutRejection::Token(TokenRejection::Claims);

/// A text. An empty one is none, and what is no text is a fault of the token.
fn text(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, LogoutRejection> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(MALFORMED),
    }
}

#[cfg(test)]
mod tests;
