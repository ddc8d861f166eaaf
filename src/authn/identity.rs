//! From authentik's claims to the headers for the application.
//!
//! Owns: [`Identity`] (ready-made headers), and the rules for the twelve headers.
//! What a user's attributes set is [`attributes`]' business.
//! Must not: believe claims that come without a [`VerifiedIdentity`].

pub(crate) mod attributes;

use core::fmt;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::authn::ended::Checked;
use crate::authn::jwt::claims::{Audience, Claims, ProxyClaims};
use crate::authn::jwt::verifier::{self, Shape, VerifiedIdentity};
use crate::base::header::{Header, HeaderValue, IdentityHeader};
use crate::base::time::Timestamp;
use crate::base::weight::BLOCK_BYTES;
use crate::config::{Config, Provider, SessionIssue};

/// Longest name of an account on a page, in characters.
const MAX_ACCOUNT_CHARS: usize = 64;

/// Verified claims are not enough to forward a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// Why not.
    pub reason: IncompleteReason,
    /// What the user's own page calls the account: `preferred_username` or `email`, at most 64 characters, no control
    /// characters. `None`: both are absent.
    pub account: Option<Rc<str>>,
}

/// Why verified claims are not enough to forward a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncompleteReason {
    /// No `sub`, or an empty one.
    NoSubject,
    /// No `preferred_username`, or an empty one.
    NoUsername,
    /// A control character in one of the two: what the application would read is not what authentik said.
    ControlCharacter,
    /// White space at an end of one of the two: HTTP takes it away (RFC 9110 §5.5), application servers take more.
    WhiteSpace,
}

impl fmt::Display for IncompleteReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoSubject => "the token has no sub: add the scope \"openid\" to scopes_to_request and to the provider",
            Self::NoUsername => {
                "the token has no preferred_username: add the scope \"profile\" to scopes_to_request and its scope \
                 mapping to the provider; if both are there, switch on \"Include claims in ID token\" there"
            }
            Self::ControlCharacter => "sub or preferred_username has control characters",
            Self::WhiteSpace => "sub or preferred_username begins or ends with white space",
        })
    }
}

/// A user as the application will see it: every header ready to be written.
pub struct Identity {
    verified: VerifiedIdentity,
    username: String,
    identity_headers: Vec<Header>,
    overriding_headers: Vec<Header>,
    was_forwarded: Cell<bool>,
    backend_override: Option<String>,
    /// Whether it may have a cookie.
    has_cookie: bool,
    cookie: RefCell<Option<Rc<NewCookie>>>,
    /// Whether the verdict still counts.
    checked: Checked,
}

/// The session cookie for the credential that an identity came from.
pub(crate) struct NewCookie {
    /// As [`crate::authn::session::cookies::Cookie::begin`] makes them.
    pub(crate) lines: Vec<HeaderValue>,
    pub(crate) begun: Timestamp,
    pub(crate) expires: Timestamp,
    /// Whether its session still counts.
    pub(crate) checked: Checked,
}

impl Identity {
    /// Builds the headers.
    ///
    /// # Errors
    /// The claims do not name a user.
    pub fn new(verified: VerifiedIdentity, provider: &Provider, config: &Config) -> Result<Self, Incomplete> {
        let claims = verified.claims();
        let incomplete = |reason| Incomplete { reason, account: account(claims) };
        let uid = required(claims.sub.as_ref(), IncompleteReason::NoSubject).map_err(incomplete)?;
        let username = required(claims.preferred_username.as_ref(), IncompleteReason::NoUsername);
        let username = username.map_err(incomplete)?;
        let value_of = |header: IdentityHeader| {
            let text = match header {
                IdentityHeader::Username => username.to_owned(),
                IdentityHeader::Uid => uid.to_owned(),
                IdentityHeader::Groups => joined(claims.groups.as_ref()),
                IdentityHeader::Entitlements => joined(claims.entitlements.as_ref()),
                IdentityHeader::Email => claims.email.clone().unwrap_or_default(),
                IdentityHeader::Name => claims.name.clone().unwrap_or_default(),
                IdentityHeader::Jwt => return HeaderValue::token(verified.token()),
                IdentityHeader::MetaJwks => return provider.meta_headers.jwks.clone(),
                IdentityHeader::MetaOutpost => return provider.meta_headers.outpost.clone(),
                IdentityHeader::MetaProvider => return provider.meta_headers.provider.clone(),
                IdentityHeader::MetaApp => return provider.meta_headers.app.clone(),
                IdentityHeader::MetaVersion => return provider.meta_headers.version.clone(),
            };
            HeaderValue::cleaned(text)
        };
        let identity_headers = config
            .identity_headers
            .iter()
            .map(|header| (Cow::Borrowed(header.name()), value_of(*header)))
            .collect();
        Ok(Self {
            username: username.to_owned(),
            identity_headers,
            overriding_headers: attributes::overriding_headers(claims, provider, config),
            was_forwarded: Cell::new(false),
            backend_override: backend_override(claims),
            has_cookie: config.session.issue == Some(SessionIssue::Always),
            cookie: RefCell::default(),
            checked: Checked::default(),
            verified,
        })
    }

    /// What the list of ended sessions last said of the verdict.
    pub(crate) const fn checked(&self) -> &Checked {
        &self.checked
    }

    /// Its session cookie: sealed once, sent often, and sealed anew when its session has ended before the verdict. `None`:
    /// there cannot be one.
    pub(crate) fn cookie_at(
        &self,
        has_ended: impl FnOnce(&NewCookie) -> bool,
        make: impl FnOnce() -> Option<NewCookie>,
    ) -> Option<Rc<NewCookie>> {
        let mut cookie = self.cookie.try_borrow_mut().ok()?;
        if cookie.as_ref().is_none_or(|cookie| has_ended(cookie)) {
            *cookie = make().map(Rc::new);
        }
        cookie.clone()
    }

    /// The proof that this identity stands on.
    pub const fn verified(&self) -> &VerifiedIdentity {
        &self.verified
    }

    /// When the token ends.
    pub const fn expires(&self) -> Timestamp {
        self.verified.expires()
    }

    /// authentik's user name.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The `x-authentik-*` headers. What the client sent under these names is removed before, so they are added.
    pub fn identity_headers(&self) -> &[Header] {
        &self.identity_headers
    }

    /// Headers that replace the client's: `:authority`, `authorization`, the user's `additionalHeaders`.
    pub fn overriding_headers(&self) -> &[Header] {
        &self.overriding_headers
    }

    /// Notes that a request goes on as this user. Whether it is the first.
    pub(crate) fn is_first_forward(&self) -> bool {
        !self.was_forwarded.replace(true)
    }

    /// `ak_proxy.backend_override`, for Envoy's filter state.
    pub fn backend_override(&self) -> Option<&str> {
        self.backend_override.as_deref()
    }

    /// What this takes in a cache, in bytes, roughly, without [`Self::cookie_weight`].
    pub fn weight(&self) -> usize {
        let header = |(name, value): &Header| {
            let name = match name {
                Cow::Borrowed(_) => 0,
                Cow::Owned(name) => block(name.len()),
            };
            size_of::<Header>().saturating_add(name).saturating_add(block(value.weight()))
        };
        let headers = self.identity_headers.iter().chain(&self.overriding_headers).map(header);
        let others =
            self.username.len().saturating_add(self.backend_override.as_ref().map_or(0, String::len));
        let tokens = [self.verified.token().expose(), self.verified.id_token().unwrap_or_default()];
        let tokens = tokens.map(|token| block(token.len()));
        let fixed = [block(size_of::<Self>()), others, claims_weight(self.verified.claims())];
        fixed.into_iter().chain(tokens).chain(headers).fold(0, usize::saturating_add)
    }

    /// What its cookie takes, or will: it is made when the identity is in a cache already.
    pub(crate) fn cookie_weight(&self) -> usize {
        const BESIDE: usize = 512;
        if !self.has_cookie {
            return 0;
        }
        // A JWS is packed. Base64 makes four bytes of three of the rest; each 3,800 of them are a line, with name and
        // attributes.
        let size = self.verified.size();
        let token = self.verified.token().expose();
        let packed = match verifier::shape(token) {
            Shape::Jws => token.len(),
            Shape::Jwe | Shape::Opaque => 0,
        };
        let rest = size.saturating_sub(packed).div_ceil(3).saturating_mul(4);
        let sealed = packed.saturating_add(rest);
        sealed.saturating_add(sealed / 16).saturating_add(BESIDE)
    }
}

fn block(length: usize) -> usize {
    length.saturating_add(BLOCK_BYTES)
}

fn claims_weight(claims: &Claims) -> usize {
    /// The times, beside the claims.
    const BESIDE: usize = 64;
    let text = |text: &Option<String>| text.as_ref().map_or(0, |text| block(text.len()));
    let list = |list: &Option<Vec<String>>| {
        let texts = list.iter().flatten().map(|text| size_of::<String>().saturating_add(block(text.len())));
        texts.fold(0, usize::saturating_add)
    };
    let Claims {
        iss,
        aud,
        exp: _,
        nbf: _,
        iat: _,
        sub,
        preferred_username,
        name,
        email,
        groups,
        entitlements,
        nonce,
        sid,
        ak_user_pk: _,
        ak_proxy,
    } = claims;
    let audience = match aud {
        None => 0,
        Some(Audience::One(audience)) => block(audience.len()),
        Some(Audience::Many(audiences)) => {
            let one = |audience: &String| size_of::<String>().saturating_add(block(audience.len()));
            audiences.iter().map(one).fold(0, usize::saturating_add)
        }
    };
    let proxy =
        ak_proxy.as_ref().map_or(0, |ProxyClaims { user_attributes, backend_override, host_header }| {
            let attributes = user_attributes.as_ref().map_or(0, object_weight);
            attributes.saturating_add(text(backend_override)).saturating_add(text(host_header))
        });
    let texts = [iss, sub, preferred_username, name, email, nonce, sid].map(text);
    let others = [block(size_of::<Claims>()), BESIDE, audience, list(groups), list(entitlements), proxy];
    texts.into_iter().chain(others).fold(0, usize::saturating_add)
}

/// serde_json's limit of depth is this one's.
fn object_weight(object: &Map<String, Value>) -> usize {
    /// Pairs that a node of the tree has room for, and that it has at least.
    const ROOM: usize = 11;
    const LEAST: usize = 5;
    let pair = size_of::<String>().saturating_add(size_of::<Value>());
    let nodes = object.len().div_ceil(LEAST).saturating_mul(block(pair.saturating_mul(ROOM)));
    let inside = |(name, value): (&String, &Value)| block(name.len()).saturating_add(value_weight(value));
    object.iter().map(inside).fold(nodes, usize::saturating_add)
}

fn value_weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => block(text.len()),
        Value::Array(values) => {
            let one = |value: &Value| size_of::<Value>().saturating_add(value_weight(value));
            values.iter().map(one).fold(BLOCK_BYTES, usize::saturating_add)
        }
        Value::Object(object) => object_weight(object),
    }
}

/// Shows who, never the token.
impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("username", &self.username).finish_non_exhaustive()
    }
}

fn required(claim: Option<&String>, missing: IncompleteReason) -> Result<&str, IncompleteReason> {
    let value = claim.filter(|value| !value.is_empty()).ok_or(missing)?;
    // U+FEFF: no white space to Unicode, and to JavaScript's `trim` it is.
    let is_trimmed_by_somebody = |letter: char| letter.is_whitespace() || letter == '\u{feff}';
    if value.chars().any(char::is_control) {
        Err(IncompleteReason::ControlCharacter)
    } else if value.starts_with(is_trimmed_by_somebody) || value.ends_with(is_trimmed_by_somebody) {
        Err(IncompleteReason::WhiteSpace)
    } else {
        Ok(value)
    }
}

fn account(claims: &Claims) -> Option<Rc<str>> {
    let names = [&claims.preferred_username, &claims.email].into_iter().flatten();
    let name = names.map(|name| name.trim()).find(|name| !name.is_empty())?;
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    Some(name.chars().take(MAX_ACCOUNT_CHARS).map(plain).collect::<String>().into())
}

fn joined(names: Option<&Vec<String>>) -> String {
    names.map(|names| names.join("|")).unwrap_or_default()
}

/// It ends up in access logs as it is: with a control character it is no URL, and could pass for a second line.
fn backend_override(claims: &Claims) -> Option<String> {
    let backend = claims.ak_proxy.as_ref()?.backend_override.as_ref()?;
    (!backend.chars().any(char::is_control)).then(|| backend.clone())
}

#[cfg(test)]
pub(crate) mod tests;
