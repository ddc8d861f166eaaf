//! A token against keys, issuer, audience and time: the only place where a [`VerifiedIdentity`] is made.
//!
//! Owns: the order and the strictness of the checks (RFC 7519 §7.2, RFC 8725), and the reading of a token *before*
//! it is trusted ([`is_issued_here`], [`shape`]), which never leads to a `VerifiedIdentity`.
//! Must not: fetch keys, know the time by itself, or say to the client what was wrong.

use jwt_compact::alg::{Hs256, Hs256Key};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::authn::env::Env;
use crate::authn::jwt::algorithm::HostCheck;
use crate::authn::jwt::claims::{Audience, Claims, NumericDate};
use crate::authn::jwt::jwk::{Choice, KeySet, NoChoice};
use crate::authn::jwt::jws::{self, Jws};
use crate::authn::jwt::rejection::{NotVerified, TokenRejection};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::base::token::Token;
use crate::config::{Config, Provider};

/// Proof that authentik vouches for these claims now. Only this file makes one.
pub struct VerifiedIdentity {
    claims: Box<Claims>,
    /// Length of the claims where the token does not have them in it, in bytes.
    claims_beside: usize,
    token: Token,
    id_token: Option<Secret<String>>,
    vouched: Timestamp,
    expires: Timestamp,
}

impl VerifiedIdentity {
    /// With the ID token that came along; it only ever goes back to authentik, as a hint.
    pub(crate) fn with_id_token(self, id_token: Option<Secret<String>>) -> Self {
        Self { id_token, ..self }
    }

    /// Ends no later than this: what it was granted for ends then.
    pub(crate) fn until(self, end: Timestamp) -> Self {
        Self { expires: self.expires.min(end), ..self }
    }

    /// The ID token that came along.
    pub(crate) fn id_token(&self) -> Option<&str> {
        self.id_token.as_ref().map(|token| token.expose().as_str())
    }

    /// What authentik says of the user.
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The token that says so.
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// When authentik, or the filter in its name, vouched for it.
    pub const fn vouched(&self) -> Timestamp {
        self.vouched
    }

    /// From this second on the token is worth nothing.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// How much authentik said: the token, and the claims that came beside it, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.token.expose().len().saturating_add(self.claims_beside)
    }

    /// The claims as JSON, for a cache entry. `None`: they cannot be written, which no claims that were read are.
    pub(crate) fn claims_json(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&self.claims).ok()
    }
}

/// The `typ` of a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4).
pub(super) const LOGOUT_TYPE: &str = "logout+jwt";

/// What a token looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Jws,
    Jwe,
    Opaque,
}

pub(crate) fn shape(token: &str) -> Shape {
    match token.split('.').count() {
        3 => Shape::Jws,
        5 => Shape::Jwe,
        _ => Shape::Opaque,
    }
}

/// Checks a token locally. What it claims is looked at first: a token of others, or an old one, costs no cryptography.
pub(crate) fn verify(
    token: &Token,
    keys: &KeySet,
    provider: &Provider,
    config: &Config,
    env: &Env<'_>,
) -> Result<VerifiedIdentity, NotVerified> {
    let jws = Jws::parse(token.expose()).ok_or_else(|| match shape(token.expose()) {
        Shape::Jwe => TokenRejection::Encrypted,
        Shape::Jws | Shape::Opaque => TokenRejection::NotJws,
    })?;
    if jws.is_of_type(LOGOUT_TYPE) {
        return Err(TokenRejection::LogoutToken.into());
    }
    let (claims, expires) = checked(&jws, keys, provider, config, env)?;
    Ok(VerifiedIdentity {
        claims: Box::new(claims),
        claims_beside: 0,
        token: token.clone(),
        id_token: None,
        vouched: env.now,
        expires,
    })
}

/// The checks that every token of a provider must pass, with its claims and its end. Once in the module.
#[inline(never)]
pub(super) fn checked(
    jws: &Jws<'_>,
    keys: &KeySet,
    provider: &Provider,
    config: &Config,
    env: &Env<'_>,
) -> Result<(Claims, Timestamp), NotVerified> {
    if jws.has_critical_extension() {
        return Err(TokenRejection::CriticalExtension.into());
    }
    let claims = claims_for(provider, &jws.claims)?;
    let expires = check_times(&claims, config.clock_skew_seconds, env.now)?;
    let choice = keys.choose(jws.key_id(), jws.algorithm()).map_err(|no| match no {
        NoChoice::Algorithm => TokenRejection::Algorithm,
        NoChoice::Key => TokenRejection::UnknownKey,
    })?;
    let is_genuine = match choice {
        Choice::ClientSecret => jws.is_signed_by(&Hs256Key::new(provider.client_secret.expose()), &Hs256),
        Choice::Key(key) => {
            let check = HostCheck::new(key, env.host);
            let is_genuine = jws.is_signed_by(key, &check);
            if check.is_impossible() {
                return Err(NotVerified::Uncheckable);
            }
            is_genuine
        }
    };
    if !is_genuine {
        return Err(TokenRejection::Signature.into());
    }
    Ok((claims, expires))
}

/// The claims of a token that says that it comes from this provider's issuer, for this provider.
fn claims_for(provider: &Provider, json: &[u8]) -> Result<Claims, TokenRejection> {
    let issuer = Some(provider.issuer.as_str());
    let Ok(claims) = serde_json::from_slice::<Claims>(json) else {
        // Others may mean something else by the same names.
        let is_ours = serde_json::from_slice::<Issuer>(json).is_ok_and(|it| Some(it.iss.as_str()) == issuer);
        return Err(if is_ours { TokenRejection::Claims } else { TokenRejection::Issuer });
    };
    if claims.iss.as_deref() != issuer {
        return Err(TokenRejection::Issuer);
    }
    if !claims.aud.as_ref().is_some_and(|audience| audience.includes(&provider.client_id)) {
        return Err(TokenRejection::Audience);
    }
    Ok(claims)
}

/// Reads an introspection answer (RFC 7662 §2.2) whose `active` is true. authentik has checked the token, but it also calls
/// one of another provider active that lists this one as federated: that is for `federated_bearer` to allow. The times are
/// checked all the same.
pub(crate) fn introspected(
    token: &Token,
    body: &[u8],
    provider: &Provider,
    config: &Config,
    env: &Env<'_>,
) -> Result<VerifiedIdentity, TokenRejection> {
    if !provider.federated_bearer && !is_issued_to(&provider.client_id, body)? {
        return Err(TokenRejection::Audience);
    }
    from_claims_json(token.clone(), body, env.now, config.clock_skew_seconds, env.now)
}

/// Whether an introspection answer names this client, as `client_id` or in `aud`.
fn is_issued_to(client_id: &str, body: &[u8]) -> Result<bool, TokenRejection> {
    #[derive(Deserialize)]
    struct Recipient {
        #[serde(default)]
        client_id: Option<String>,
        #[serde(default)]
        aud: Option<Audience>,
    }
    let recipient: Recipient = serde_json::from_slice(body).map_err(|_| TokenRejection::Claims)?;
    let is_in_audience = recipient.aud.is_some_and(|audience| audience.includes(client_id));
    Ok(is_in_audience || recipient.client_id.as_deref() == Some(client_id))
}

/// Takes a verified identity out of a cache entry or session whose authenticity was checked by the caller; authentik
/// `vouched` for it then.
pub(crate) fn restored(
    token: Token,
    claims_json: &[u8],
    vouched: Timestamp,
    now: Timestamp,
) -> Result<VerifiedIdentity, TokenRejection> {
    // It was valid when it was stored, so only `exp` can have come in the meantime.
    from_claims_json(token, claims_json, vouched, u64::MAX, now)
}

fn from_claims_json(
    token: Token,
    json: &[u8],
    vouched: Timestamp,
    skew: u64,
    now: Timestamp,
) -> Result<VerifiedIdentity, TokenRejection> {
    let claims: Claims = serde_json::from_slice(json).map_err(|_| TokenRejection::Claims)?;
    let expires = check_times(&claims, skew, now)?;
    Ok(VerifiedIdentity {
        claims: Box::new(claims),
        claims_beside: if shape(token.expose()) == Shape::Jws { 0 } else { json.len() },
        token,
        id_token: None,
        vouched,
        expires,
    })
}

/// `exp` is required and has no grace; `nbf` and `iat` have `skew` seconds of it.
fn check_times(claims: &Claims, skew: u64, now: Timestamp) -> Result<Timestamp, TokenRejection> {
    let NumericDate(expires) = claims.exp.ok_or(TokenRejection::NoExpiry)?;
    if expires <= now {
        return Err(TokenRejection::Expired);
    }
    let is_to_come = |date: Option<NumericDate>| date.is_some_and(|NumericDate(time)| time > now.plus(skew));
    if is_to_come(claims.nbf) {
        return Err(TokenRejection::NotYetValid);
    }
    if is_to_come(claims.iat) {
        return Err(TokenRejection::IssuedInFuture);
    }
    Ok(expires)
}

/// Whether a token says that it is a logout token. It travels through proxies in the clear, and is no credential.
pub(crate) fn is_logout_token(token: &str) -> bool {
    jws::says_type(token, LOGOUT_TYPE)
}

/// Whether a token is a JWT that says that it comes from another issuer.
pub(crate) fn is_issued_elsewhere(token: &str, issuer: &str) -> bool {
    shape(token) == Shape::Jws && unverified_issuer(token).is_some_and(|other| other != issuer)
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

/// The `iss` that a token claims to have. To be compared, never to be believed.
fn unverified_issuer(token: &str) -> Option<String> {
    unverified_claims::<Issuer>(token).map(|claims| claims.iss)
}

/// The `exp` that a token claims to have. It can only shorten what is granted.
pub(crate) fn unverified_expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Expiry {
        exp: NumericDate,
    }
    unverified_claims::<Expiry>(token).map(|claims| claims.exp.0)
}

fn unverified_claims<T: DeserializeOwned>(token: &str) -> Option<T> {
    serde_json::from_slice(&jws::payload(token)?).ok()
}

/// Whether a token says that it comes from this authentik: any configured issuer, or anything below `base` (no trailing
/// slash), whatever the scheme. Such a token is not the application's own, good or not.
pub(crate) fn is_issued_here<'a>(
    base: &str,
    mut issuers: impl Iterator<Item = &'a str>,
    token: &str,
) -> bool {
    let Some(issuer) = unverified_issuer(token) else { return false };
    let without_scheme =
        |url: &'_ str| url.split_once(':').map_or(url, |(_, rest)| rest).to_ascii_lowercase();
    let is_below = without_scheme(&issuer)
        .strip_prefix(&without_scheme(base))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_below || issuers.any(|configured| configured == issuer)
}

#[cfg(test)]
mod tests;
