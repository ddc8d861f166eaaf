//! The session: a sealed cookie that stands for an identity. Nothing is stored; any replica opens it.
//!
//! Owns: what a session says, how long it lasts, and what in it makes an identity again.
//! Must not: decide when a session is used or set ([`crate::authn::sessions`] does), or treat a cookie that does not open as
//! an error.

use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use memchr::memrchr;
use serde::{Deserialize, Serialize};

use crate::authn::ended::Checked;
use crate::authn::env::Host;
use crate::authn::fault::Fault;
use crate::authn::identity::Identity;
use crate::authn::jwt::jws;
use crate::authn::jwt::verifier::{self, Shape};
use crate::authn::session::cipher::{Purpose, SealingKeys};
use crate::authn::session::codec::Packed;
use crate::authn::session::packing;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::base::token::Token;
use crate::base::weight::Weigh;
use crate::config::{Config, Provider};

/// A cookie that was opened, and still stands.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) origin: Origin,
    pub(crate) identity: Rc<Identity>,
    /// What was signed out later has ended it.
    pub(crate) begun: Timestamp,
    pub(crate) expires: Timestamp,
    /// What the list of ended sessions last said of it.
    pub(crate) checked: Checked,
    /// Whether authentik has confirmed it since the cookie was sealed.
    pub(crate) is_renewed: bool,
    /// For the end of the session (RP-initiated logout).
    pub(crate) id_token: Option<Secret<String>>,
}

impl Session {
    /// authentik has answered for the token (again): the same session, with what it says of the user now.
    pub(crate) fn renewed(&self, identity: Rc<Identity>) -> Self {
        Self {
            origin: self.origin.clone(),
            is_renewed: identity.verified().vouched() > self.identity.verified().vouched(),
            identity,
            begun: self.begun,
            expires: self.expires,
            checked: Checked::default(),
            id_token: self.id_token.clone(),
        }
    }
}

/// What a session came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A browser went through the login flow.
    Login,
    /// A client kept the cookie that it got for the session's own token.
    Token,
    /// A client kept the cookie that it got for a credential with this fingerprint.
    Credential([u8; 32]),
}

/// The sealed content: the packed tokens, a line feed, and this as JSON, which has no line feed of its own. The names are
/// short, since the cookie travels with every request.
#[derive(Serialize, Deserialize)]
struct Fields {
    /// `begun`, in milliseconds.
    b: u64,
    /// Seconds from then to `expires`.
    e: u64,
    /// Seconds from when authentik last confirmed the token to `expires`.
    c: u64,
    /// Fingerprint of the credential, base64; empty: it is the token; none: of a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f: Option<String>,
    /// The claims as JSON, where the token does not show them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    j: Option<String>,
    /// The token.
    t: Packed,
    /// The ID token, behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    i: Option<Packed>,
}

/// Size of these fields if the token itself shows the claims.
const USUAL_FIELDS_BYTES: usize = 128;

/// Up to this length, the content of a token's own session is not packed: it fits into one cookie, its client sends the token
/// with each request too, and it is sealed at every first sight, where packing would cost a twentieth of all instructions.
const UNPACKED_BYTES: usize = 2_800;

/// A session as it is sent to a client.
#[derive(Debug, Clone)]
pub(crate) struct SealedSession {
    pub(crate) value: String,
    pub(crate) expires: Timestamp,
}

/// From when until when a session counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) begun: Timestamp,
    pub(crate) expires: Timestamp,
}

/// When a session that begins now ends: with the token, the provider's validity, or the longest age allowed.
fn end(identity: &Identity, config: &Config, provider: &Provider, now: Timestamp) -> Timestamp {
    identity
        .expires()
        .min(now.plus(provider.access_token_validity_seconds))
        .min(now.plus(config.session.max_age_seconds))
}

/// Seals a new session.
pub(crate) fn seal(
    identity: &Identity,
    origin: &Origin,
    id_token: Option<&str>,
    (config, provider, keys): (&Config, &Provider, &SealingKeys),
    begun: Timestamp,
    host: &dyn Host,
) -> Result<SealedSession, Fault> {
    let span = Span { begun, expires: end(identity, config, provider, begun) };
    seal_again(identity, origin, id_token, span, keys, host)
}

/// Seals a session again: authentik has confirmed it, and it ends when it would have.
pub(crate) fn seal_again(
    identity: &Identity,
    origin: &Origin,
    id_token: Option<&str>,
    span: Span,
    keys: &SealingKeys,
    host: &dyn Host,
) -> Result<SealedSession, Fault> {
    let content = content(identity, origin, id_token, span).ok_or(Fault::UnencodableSession)?;
    let packed = match origin {
        Origin::Token if content.expose().len() <= UNPACKED_BYTES => packing::as_it_is(content.expose()),
        Origin::Token | Origin::Login | Origin::Credential(_) => {
            packing::pack(content.expose()).ok_or(Fault::UnencodableSession)?
        }
    };
    let value = keys.seal(Purpose::Session, packed.expose(), host).ok_or(Fault::NoRandomness)?;
    Ok(SealedSession { value, expires: span.expires })
}

/// What is sealed. `None`: it cannot be written, as no claims that were read are.
fn content(
    identity: &Identity,
    origin: &Origin,
    id_token: Option<&str>,
    span: Span,
) -> Option<Secret<Vec<u8>>> {
    let verified = identity.verified();
    let claims = match verifier::shape(verified.token().expose()) {
        Shape::Jws => None,
        Shape::Jwe | Shape::Opaque => Some(String::from_utf8(verified.claims_json()?).ok()?),
    };
    let room =
        verified.size().saturating_add(id_token.map_or(0, str::len)).saturating_add(USUAL_FIELDS_BYTES);
    let mut content = Vec::with_capacity(room);
    let fields = Fields {
        b: span.begun.millis(),
        e: span.expires.since(span.begun),
        c: span.expires.since(verified.vouched()),
        f: match origin {
            Origin::Login => None,
            Origin::Token => Some(String::new()),
            Origin::Credential(fingerprint) => Some(BASE64_URL_SAFE_NO_PAD.encode(fingerprint)),
        },
        j: claims,
        t: Packed::append(verified.token().expose(), &mut content),
        i: id_token.map(|token| Packed::append(token, &mut content)),
    };
    content.push(b'\n');
    serde_json::to_writer(&mut content, &fields).ok()?;
    Some(Secret::new(content))
}

/// Opens a cookie. `None`: it is no session, or no longer one.
pub(crate) fn open(
    cookie: &[u8],
    (config, provider, keys): (&Config, &Provider, &SealingKeys),
    now: Timestamp,
) -> Option<Session> {
    let packed = Secret::new(keys.open(Purpose::Session, cookie)?);
    let content = packing::unpack(packed.expose())?;
    let (mut tokens, fields) = content.expose().split_at_checked(memrchr(b'\n', content.expose())?)?;
    let fields: Fields = serde_json::from_slice(fields).ok()?;
    let begun = Timestamp::from_millis(fields.b);
    // Also where sessions could be older when it was sealed: what is said of it is not kept for so long.
    let sealed_until = begun.seconds().saturating_add(fields.e);
    let expires = Timestamp::from_seconds(sealed_until).min(begun.plus(config.session.max_age_seconds));
    if expires <= now {
        return None;
    }
    let token = Token::new(fields.t.unpack(&mut tokens)?);
    let id_token = match fields.i {
        Some(packed) => Some(Secret::new(packed.unpack(&mut tokens)?)),
        None => None,
    };
    let vouched = Timestamp::from_seconds(sealed_until.saturating_sub(fields.c));
    let verified = match fields.j {
        Some(claims) => verifier::restored(token, claims.as_bytes(), vouched, now),
        None => {
            let claims = jws::payload(token.expose())?;
            verifier::restored(token, &claims, vouched, now)
        }
    };
    let identity = Identity::new(verified.ok()?, provider, config).ok()?;
    let origin = match fields.f {
        None => Origin::Login,
        Some(fingerprint) if fingerprint.is_empty() => Origin::Token,
        Some(fingerprint) => {
            Origin::Credential(BASE64_URL_SAFE_NO_PAD.decode(fingerprint).ok()?.try_into().ok()?)
        }
    };
    let (identity, checked) = (Rc::new(identity), Checked::default());
    Some(Session { origin, identity, begun, expires, checked, is_renewed: false, id_token })
}

impl Weigh for Rc<Session> {
    fn weight(&self) -> usize {
        let id_token = self.id_token.as_ref().map_or(0, |token| token.expose().len());
        self.identity.weight().saturating_add(id_token).saturating_add(size_of::<Session>())
    }
}

#[cfg(test)]
mod tests;
