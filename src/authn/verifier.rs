//! A token against keys, issuer, audience and time: the only place where a [`VerifiedIdentity`] is made.
//!
//! Owns: the order and the strictness of the checks (RFC 7519 §7.2, RFC 8725), and the reading of a token *before*
//! it is trusted ([`is_issued_below`], [`shape`]), which never leads to a `VerifiedIdentity`.
//! Must not: fetch keys, know the time by itself, or say to the client what was wrong.

use core::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt as _, UntrustedToken, ValidationError};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Env;
use super::identity::Claims;
use super::jwks::{Choice, KeySet, NoChoice};
use super::secret::Secret;
use super::signature::Asymmetric;
use super::time::Timestamp;
use crate::config::{Config, Provider};

/// jwt-compact's claims: ours, with the times of RFC 7519.
type TimedClaims = jwt_compact::Claims<Claims>;

/// Proof that authentik vouches for these claims now. Only this file makes one.
pub struct VerifiedIdentity {
    claims: Box<TimedClaims>,
    token: Secret<String>,
    expires: Timestamp,
}

impl VerifiedIdentity {
    /// What authentik says of the user.
    pub const fn claims(&self) -> &Claims {
        &self.claims.custom
    }

    /// The token that says so.
    pub fn token(&self) -> &str {
        self.token.expose()
    }

    /// From this second on the token is worth nothing.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The claims as JSON, for a cache entry. `None`: they cannot be written, which no claims that were read are.
    pub(super) fn claims_json(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&self.claims).ok()
    }
}

/// Why a token is not accepted. For the log; the client learns none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRejection {
    /// Not a JWS in compact form: opaque, or broken.
    NotJws,
    /// A JWE; only authentik can read it.
    Encrypted,
    /// A `crit` header: an extension that must be understood and is not.
    CriticalExtension,
    /// An algorithm that the provider's keys do not have.
    Algorithm,
    /// Another issuer.
    Issuer,
    /// Another audience.
    Audience,
    /// A key that the provider does not have.
    UnknownKey,
    /// The signature does not fit.
    Signature,
    /// Claims that are not JSON, or of the wrong types.
    Claims,
    /// No `exp`.
    NoExpiry,
    /// `exp` has come.
    Expired,
    /// `nbf` is still to come.
    NotYetValid,
    /// `iat` is still to come.
    IssuedInFuture,
}

impl TokenRejection {
    /// Whether authentik could know better than the filter. A bad signature or an expired token is final.
    pub const fn is_undecidable(self) -> bool {
        match self {
            Self::NotJws | Self::Encrypted | Self::Issuer | Self::Audience | Self::UnknownKey => true,
            Self::CriticalExtension
            | Self::Algorithm
            | Self::Signature
            | Self::Claims
            | Self::NoExpiry
            | Self::Expired
            | Self::NotYetValid
            | Self::IssuedInFuture => false,
        }
    }
}

impl fmt::Display for TokenRejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotJws => "the token is not a JWS",
            Self::Encrypted => "the token is encrypted",
            Self::CriticalExtension => "the token has a crit header",
            Self::Algorithm => "the token's algorithm is not the provider's",
            Self::Issuer => "the token's iss is not the provider's",
            Self::Audience => "the token's aud is not the provider's client_id",
            Self::UnknownKey => "the token's key is not one of the provider's",
            Self::Signature => "the token's signature is wrong",
            Self::Claims => "the token's claims are malformed",
            Self::NoExpiry => "the token has no exp",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token's nbf is in the future",
            Self::IssuedInFuture => "the token's iat is in the future",
        })
    }
}

/// What a token looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Jws,
    Jwe,
    Opaque,
}

pub(super) fn shape(token: &str) -> Shape {
    match token.split('.').count() {
        3 => Shape::Jws,
        5 => Shape::Jwe,
        _ => Shape::Opaque,
    }
}

#[derive(Deserialize)]
struct HeaderExtensions {
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

// jwt-compact hands the header back with the token; what is ignored can be copied.
impl Clone for HeaderExtensions {
    fn clone(&self) -> Self {
        Self { crit: self.crit.as_ref().map(|_| IgnoredAny) }
    }
}

/// Checks a token locally.
pub(super) fn verify(
    token: &str,
    keys: &KeySet,
    provider: &Provider,
    config: &Config,
    env: &Env<'_>,
) -> Result<VerifiedIdentity, TokenRejection> {
    match shape(token) {
        Shape::Jws => {}
        Shape::Jwe => return Err(TokenRejection::Encrypted),
        Shape::Opaque => return Err(TokenRejection::NotJws),
    }
    let untrusted =
        UntrustedToken::<HeaderExtensions>::try_from(token).map_err(|_| TokenRejection::NotJws)?;
    if untrusted.header().other_fields.crit.is_some() {
        return Err(TokenRejection::CriticalExtension);
    }
    // Before any cryptography: tokens of others are common, and cost next to nothing this way.
    if unverified_issuer(token).as_deref() != Some(provider.issuer.as_str()) {
        return Err(TokenRejection::Issuer);
    }
    let choice =
        keys.choose(untrusted.header().key_id.as_deref(), untrusted.algorithm()).map_err(|no| match no {
            NoChoice::Algorithm => TokenRejection::Algorithm,
            NoChoice::Key => TokenRejection::UnknownKey,
        })?;
    let validated = match choice {
        Choice::ClientSecret => {
            let key = Hs256Key::new(provider.client_secret.expose());
            Hs256.validator::<Claims>(&key).validate(&untrusted)
        }
        Choice::Key(key) => {
            let algorithm = Asymmetric { algorithm: key.algorithm(), surroundings: env.surroundings };
            algorithm.validator::<Claims>(key).validate(&untrusted)
        }
    };
    let (_, claims) = validated.map_err(rejection_of)?.into_parts();
    let is_ours = claims.custom.iss.as_deref() == Some(provider.issuer.as_str());
    if !is_ours {
        return Err(TokenRejection::Issuer);
    }
    if !claims.custom.aud.as_ref().is_some_and(|audience| audience.includes(&provider.client_id)) {
        return Err(TokenRejection::Audience);
    }
    let expires = check_times(&claims, config.clock_skew_seconds, env.now)?;
    Ok(VerifiedIdentity { claims: Box::new(claims), token: Secret::new(token.to_owned()), expires })
}

/// Reads an introspection answer (RFC 7662 §2.2) whose `active` is true: authentik has checked everything, and
/// knows which issuers and audiences it federates. The times are checked all the same.
pub(super) fn introspected(
    token: &str,
    body: &[u8],
    config: &Config,
    env: &Env<'_>,
) -> Result<VerifiedIdentity, TokenRejection> {
    from_claims_json(token, body, config.clock_skew_seconds, env.now)
}

/// Takes a verified identity out of a cache entry whose MAC was checked by the caller.
pub(super) fn restored(
    token: &str,
    claims_json: &[u8],
    now: Timestamp,
) -> Result<VerifiedIdentity, TokenRejection> {
    // It was valid when it was stored, so only `exp` can have come in the meantime.
    from_claims_json(token, claims_json, u64::MAX, now)
}

fn from_claims_json(
    token: &str,
    json: &[u8],
    skew: u64,
    now: Timestamp,
) -> Result<VerifiedIdentity, TokenRejection> {
    let claims: TimedClaims = serde_json::from_slice(json).map_err(|_| TokenRejection::Claims)?;
    let expires = check_times(&claims, skew, now)?;
    Ok(VerifiedIdentity { claims: Box::new(claims), token: Secret::new(token.to_owned()), expires })
}

/// `exp` is required and has no grace; `nbf` and `iat` have `skew` seconds of it.
fn check_times(claims: &TimedClaims, skew: u64, now: Timestamp) -> Result<Timestamp, TokenRejection> {
    let seconds = |time: i64| Timestamp::from_seconds(u64::try_from(time).unwrap_or(0));
    let expires = seconds(claims.expiration.ok_or(TokenRejection::NoExpiry)?.timestamp());
    if expires <= now {
        return Err(TokenRejection::Expired);
    }
    let latest = now.plus(skew);
    if claims.not_before.is_some_and(|time| seconds(time.timestamp()) > latest) {
        return Err(TokenRejection::NotYetValid);
    }
    if claims.issued_at.is_some_and(|time| seconds(time.timestamp()) > latest) {
        return Err(TokenRejection::IssuedInFuture);
    }
    Ok(expires)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "jwt-compact's enum is non-exhaustive; all else is a bad signature"
)]
fn rejection_of(error: ValidationError) -> TokenRejection {
    match error {
        ValidationError::MalformedClaims(_) => TokenRejection::Claims,
        ValidationError::AlgorithmMismatch { .. } => TokenRejection::Algorithm,
        _ => TokenRejection::Signature,
    }
}

/// The `iss` that a token claims to have. To be compared, never to be believed.
fn unverified_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    let mut parts = token.split('.');
    let (_header, payload) = (parts.next()?, parts.next()?);
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice::<Issuer>(&payload).ok().map(|claims| claims.iss)
}

/// Whether a token says that it comes from any application of the authentik at `base` (no trailing slash). Such a
/// token is not the application's own, good or not.
pub(super) fn is_issued_below(base: &str, token: &str) -> bool {
    unverified_issuer(token)
        .is_some_and(|issuer| issuer.strip_prefix(base).is_some_and(|rest| rest.starts_with('/')))
}
