//! The session: a sealed cookie that stands for an identity. Nothing is stored; any replica opens it.
//!
//! Owns: what a session says, how long it lasts, and what in it makes an identity again.
//! Must not: decide when a session is used or set ([`super::Authenticator`] does), or treat a cookie that does not open as
//! an error.

use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Surroundings;
use super::cache::Weigh;
use super::identity::Identity;
use super::sealing::{Purpose, SealingKeys};
use super::secret::Secret;
use super::time::Timestamp;
use super::verifier::{self, Shape};
use crate::config::{Config, Provider};

/// A cookie that was opened, and still stands.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) origin: Origin,
    pub(super) identity: Rc<Identity>,
    pub(super) expires: Timestamp,
    /// Whether authentik has confirmed it since the cookie was sealed.
    pub(super) is_renewed: bool,
    /// For the end of the session (RP-initiated logout).
    pub(super) id_token: Option<Secret<String>>,
}

impl Session {
    /// authentik has answered for the token (again): the same session, with what it says of the user now.
    pub(super) fn renewed(&self, identity: Rc<Identity>) -> Self {
        Self {
            origin: self.origin.clone(),
            is_renewed: identity.verified().vouched() > self.identity.verified().vouched(),
            identity,
            expires: self.expires,
            id_token: self.id_token.clone(),
        }
    }
}

/// What a session came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A browser went through the login flow.
    Login,
    /// A client kept the cookie that it got for the session's own token.
    Token,
    /// A client kept the cookie that it got for a credential with this fingerprint.
    Credential([u8; 32]),
}

/// What is inside the box. Short names: every byte goes to and fro with every request.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    /// `expires`
    e: u64,
    /// When authentik last vouched for the token.
    c: u64,
    /// Fingerprint of the credential, base64; empty: it is the token; none: of a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f: Option<String>,
    /// The token.
    t: &'a str,
    /// The claims, where the token does not show them itself.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    j: Option<&'a RawValue>,
    /// The ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    i: Option<&'a str>,
}

/// A session as it is sent to a client.
#[derive(Debug, Clone)]
pub(super) struct SealedSession {
    pub(super) value: String,
    pub(super) expires: Timestamp,
}

/// When a session that begins now ends: with the token, the provider's validity, or the longest age allowed.
fn end(identity: &Identity, config: &Config, provider: &Provider, now: Timestamp) -> Timestamp {
    identity
        .expires()
        .min(now.plus(provider.access_token_validity_seconds))
        .min(now.plus(config.session.max_age_seconds))
}

/// Seals a new session.
pub(super) fn seal(
    identity: &Identity,
    origin: &Origin,
    id_token: Option<&str>,
    (config, provider, keys): (&Config, &Provider, &SealingKeys),
    now: Timestamp,
    surroundings: &dyn Surroundings,
) -> Option<SealedSession> {
    let expires = end(identity, config, provider, now);
    seal_until(identity, origin, id_token, expires, keys, surroundings)
}

/// Seals a session again: authentik has confirmed it, and it ends when it would have.
pub(super) fn seal_until(
    identity: &Identity,
    origin: &Origin,
    id_token: Option<&str>,
    expires: Timestamp,
    keys: &SealingKeys,
    surroundings: &dyn Surroundings,
) -> Option<SealedSession> {
    let verified = identity.verified();
    let claims = match verifier::shape(verified.token()) {
        Shape::Jws => None,
        Shape::Jwe | Shape::Opaque => {
            Some(RawValue::from_string(String::from_utf8(verified.claims_json()?).ok()?).ok()?)
        }
    };
    let content = Content {
        e: expires.seconds(),
        c: verified.vouched().seconds(),
        f: match origin {
            Origin::Login => None,
            Origin::Token => Some(String::new()),
            Origin::Credential(fingerprint) => Some(BASE64_URL_SAFE_NO_PAD.encode(fingerprint)),
        },
        t: verified.token(),
        j: claims.as_deref(),
        i: id_token,
    };
    let content = Secret::new(serde_json::to_vec(&content).ok()?);
    let value = keys.seal(Purpose::Session, content.expose(), surroundings)?;
    Some(SealedSession { value, expires })
}

/// Opens a cookie. `None`: it is no session, or no longer one.
pub(super) fn open(
    cookie: &[u8],
    (config, provider, keys): (&Config, &Provider, &SealingKeys),
    now: Timestamp,
) -> Option<Session> {
    let content = Secret::new(keys.open(Purpose::Session, cookie)?);
    let content: Content<'_> = serde_json::from_slice(content.expose()).ok()?;
    let expires = Timestamp::from_seconds(content.e);
    if expires <= now {
        return None;
    }
    let vouched = Timestamp::from_seconds(content.c);
    let verified = match content.j {
        Some(claims) => verifier::restored(content.t, claims.get().as_bytes(), vouched, now),
        None => verifier::restored(content.t, &verifier::payload(content.t)?, vouched, now),
    };
    let identity = Identity::new(verified.ok()?, provider, config).ok()?;
    let origin = match content.f {
        None => Origin::Login,
        Some(fingerprint) if fingerprint.is_empty() => Origin::Token,
        Some(fingerprint) => {
            Origin::Credential(BASE64_URL_SAFE_NO_PAD.decode(fingerprint).ok()?.try_into().ok()?)
        }
    };
    Some(Session {
        origin,
        identity: Rc::new(identity),
        expires,
        is_renewed: false,
        id_token: content.i.map(|token| Secret::new(token.to_owned())),
    })
}

impl Weigh for Rc<Session> {
    fn weight(&self) -> usize {
        self.identity.weight()
    }
}
