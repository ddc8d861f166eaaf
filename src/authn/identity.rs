//! From authentik's claims to what the application is told.
//!
//! Owns: [`Claims`] (authentik's words) and [`Identity`] (ours: ready-made headers), and the rules for the twelve headers.
//! What a user's attributes set is [`super::attributes`]' business.
//! Must not: believe claims that come without a [`VerifiedIdentity`].

pub(crate) mod attributes;

use core::fmt;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::authn::jwt::verifier::{self, Shape, VerifiedIdentity};
use crate::base::header::{Header, HeaderValue, IdentityHeader};
use crate::base::time::Timestamp;
use crate::base::weight::BLOCK_BYTES;
use crate::config::{Config, Provider, SessionIssue};

/// The claims that matter here, as authentik writes them. Everything else in a token is ignored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    #[serde(default)]
    pub iss: Option<String>,
    /// Audience: one or several.
    #[serde(default)]
    pub aud: Option<Audience>,
    /// From then on the token is worth nothing.
    #[serde(default, deserialize_with = "date", skip_serializing_if = "Option::is_none")]
    pub exp: Option<NumericDate>,
    /// Before that it is worth nothing.
    #[serde(default, deserialize_with = "date", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    /// When it was issued.
    #[serde(default, deserialize_with = "date", skip_serializing_if = "Option::is_none")]
    pub iat: Option<NumericDate>,
    /// Subject: authentik's user identifier in the provider's subject mode.
    #[serde(default)]
    pub sub: Option<String>,
    /// User name; in scope `profile`.
    #[serde(default)]
    pub preferred_username: Option<String>,
    /// Display name; in scope `profile`.
    #[serde(default)]
    pub name: Option<String>,
    /// E-mail address; in scope `email`.
    #[serde(default)]
    pub email: Option<String>,
    /// Group names; in scope `profile`.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
    /// Entitlements of the application; in scope `entitlements`.
    #[serde(default)]
    pub entitlements: Option<Vec<String>>,
    /// What a login was begun with; in the tokens of the browser flow only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// What only proxies get; in scope `ak_proxy`.
    #[serde(default)]
    pub ak_proxy: Option<ProxyClaims>,
}

/// Seconds since 1970 (RFC 7519 §2), below 2^53. A fraction is cut off, and all that lies before is 1970.
#[derive(Debug, Clone, Copy)]
pub struct NumericDate(pub Timestamp);

impl Serialize for NumericDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.seconds())
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and JSON has no NaN"
    )]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match f64::deserialize(deserializer)? {
            seconds if seconds < END_OF_TIME => Ok(Self(Timestamp::from_seconds(seconds as u64))),
            _ => Err(D::Error::custom("no date")),
        }
    }
}

/// `null` is no date; what is not there is none.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NumericDate>, D::Error> {
    NumericDate::deserialize(deserializer).map(Some)
}

/// 2^53 seconds; beyond that JSON's numbers skip some.
const END_OF_TIME: f64 = 9_007_199_254_740_992.0;

/// `aud` of RFC 7519 §4.1.3.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// As authentik writes it.
    One(String),
    /// As others may.
    Many(Vec<String>),
}

impl Audience {
    /// Whether the token is meant for this client.
    pub fn includes(&self, client_id: &str) -> bool {
        match self {
            Self::One(audience) => audience == client_id,
            Self::Many(audiences) => audiences.iter().any(|audience| audience == client_id),
        }
    }
}

/// The `ak_proxy` claim.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProxyClaims {
    /// Attributes of the user and of the groups, merged by authentik.
    #[serde(default)]
    pub user_attributes: Option<Map<String, Value>>,
    /// Where the outpost would forward to; Envoy decides that by route.
    #[serde(default)]
    pub backend_override: Option<String>,
    /// Replaces the request's authority.
    #[serde(default)]
    pub host_header: Option<String>,
}

/// Why verified claims are not enough to forward a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incomplete {
    /// No `sub`, or an empty one.
    NoSubject,
    /// No `preferred_username`, or an empty one.
    NoUsername,
    /// A control character in one of the two: what the application would read is not what authentik said.
    ControlCharacter,
    /// White space at an end of one of the two: HTTP takes it away (RFC 9110 §5.5), application servers take more.
    WhiteSpace,
}

impl fmt::Display for Incomplete {
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
}

/// The session cookie for the credential that an identity came from.
pub(crate) struct NewCookie {
    /// As [`crate::authn::session::cookies::Cookie::begin`] makes them.
    pub(crate) lines: Vec<HeaderValue>,
    pub(crate) expires: Timestamp,
}

impl Identity {
    /// Builds the headers.
    ///
    /// # Errors
    /// The claims do not name a user.
    pub fn new(verified: VerifiedIdentity, provider: &Provider, config: &Config) -> Result<Self, Incomplete> {
        let claims = verified.claims();
        let uid = required(claims.sub.as_ref(), Incomplete::NoSubject)?;
        let username = required(claims.preferred_username.as_ref(), Incomplete::NoUsername)?;
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
            verified,
        })
    }

    /// Its session cookie: sealed once, sent often, and sealed anew when its session has ended before the verdict. `None`:
    /// there cannot be one.
    pub(crate) fn cookie_at(
        &self,
        now: Timestamp,
        make: impl FnOnce() -> Option<NewCookie>,
    ) -> Option<Rc<NewCookie>> {
        let mut cookie = self.cookie.try_borrow_mut().ok()?;
        if cookie.as_ref().is_none_or(|cookie| cookie.expires <= now) {
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
    let texts = [iss, sub, preferred_username, name, email, nonce].map(text);
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

fn required(claim: Option<&String>, missing: Incomplete) -> Result<&str, Incomplete> {
    let value = claim.filter(|value| !value.is_empty()).ok_or(missing)?;
    // U+FEFF: no white space to Unicode, and to JavaScript's `trim` it is.
    let is_trimmed_by_somebody = |letter: char| letter.is_whitespace() || letter == '\u{feff}';
    if value.chars().any(char::is_control) {
        Err(Incomplete::ControlCharacter)
    } else if value.starts_with(is_trimmed_by_somebody) || value.ends_with(is_trimmed_by_somebody) {
        Err(Incomplete::WhiteSpace)
    } else {
        Ok(value)
    }
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
pub(crate) mod tests {
    use std::rc::Rc;

    use serde_json::json;

    use super::*;
    use crate::authn::jwt::verifier;
    use crate::authn::session::content::{Origin, Session};
    use crate::authn::verdict::Verdict;
    use crate::base::token::Token;
    use crate::base::weight::Weigh as _;

    /// A user with these `ak_proxy` claims.
    pub(crate) fn identity(proxy: &Value) -> Identity {
        let configuration = json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
            "session": {"enabled": false},
            "providers": [{
                "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
                "external_host": "https://app.example.test",
            }],
        });
        let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
        let claims = json!({
            "sub": "7", "preferred_username": "alice", "exp": 200, "email": "e".repeat(1_000), "ak_proxy": proxy,
        });
        let now = Timestamp::from_seconds(100);
        let token = "t".repeat(1_000);
        let verified =
            verifier::restored(Token::new(token), claims.to_string().as_bytes(), now, now).unwrap();
        Identity::new(verified, &config.providers[0], &config).unwrap()
    }

    #[test]
    fn an_audience_is_one_or_a_list_with_us_in_it() {
        let includes = |aud: Value| serde_json::from_value::<Audience>(aud).unwrap().includes("us");
        assert!(includes(json!("us")) && includes(json!(["us"])) && includes(json!(["them", "us"])));
        for aud in
            [json!(""), json!("them"), json!("us "), json!([]), json!(["them"]), json!(["them", "u", "s"])]
        {
            assert!(!includes(aud.clone()), "{aud}");
        }
    }

    #[test]
    fn a_time_is_a_number_or_not_there() {
        let claims = |json: &str| serde_json::from_str::<Claims>(json);
        for name in ["exp", "nbf", "iat"] {
            for value in ["null", "true", "\"7\"", "[7]", "{}", "9007199254740992", "1e300", "1e999"] {
                assert!(claims(&format!("{{\"{name}\": {value}}}")).is_err(), "{name}: {value}");
            }
        }
        let read = claims(r#"{"exp": 7.9, "nbf": -1, "iat": 9007199254740991}"#).unwrap();
        let seconds = [read.exp, read.nbf, read.iat].map(|date| date.unwrap().0.seconds());
        assert_eq!(seconds, [7, 0, 9_007_199_254_740_991]);
        let none = claims("{}").unwrap();
        assert!(none.exp.is_none() && none.nbf.is_none() && none.iat.is_none());
    }

    #[test]
    fn half_a_surrogate_pair_is_refused_only_where_it_is_read() {
        let claims = |json: &str| serde_json::from_str::<Claims>(json);
        assert!(claims(r#"{"sub": "7", "jti": "\ud800"}"#).is_ok());
        assert!(claims(r#"{"sub": "\ud800"}"#).is_err());
        assert!(claims(r#"{"sub": "7", "\ud800": "x"}"#).is_err());
    }

    #[test]
    fn what_ends_up_in_filter_state_is_what_authentik_said_or_nothing() {
        let backend = |url: &str| identity(&json!({"backend_override": url}));
        assert_eq!(backend("http://other:8080").backend_override(), Some("http://other:8080"));
        assert_eq!(backend("http://other\n200 OK").backend_override(), None);
        assert_eq!(identity(&json!({})).backend_override(), None);
        assert_eq!(identity(&json!(null)).username(), "alice");
    }

    #[test]
    fn an_identity_weighs_no_less_than_what_it_holds() {
        let attributes = json!({"user_attributes": {"additionalHeaders": {"x-large": "h".repeat(1_000)}}});
        // Token and e-mail address are there twice: as claims and as headers.
        assert!(identity(&attributes).weight() >= 5_000);
        let plain = Rc::new(identity(&json!({})));
        assert!(plain.weight() >= 4_000);
        assert_eq!(Verdict::Vouched(Rc::clone(&plain)).weight(), plain.weight());
        let expires = plain.expires();
        let session =
            Session { origin: Origin::Login, identity: plain, expires, is_renewed: false, id_token: None };
        assert!(Rc::new(session).weight() >= 4_000);
    }

    #[test]
    fn claims_weigh_what_their_lists_and_trees_take() {
        let heavier = |claims: Claims| claims_weight(&claims) - claims_weight(&Claims::default());
        let names = || Some(vec!["ab".to_owned(); 100]);
        let least = 100 * (size_of::<String>() + 2);
        assert!(heavier(Claims { groups: names(), ..Claims::default() }) >= least);
        assert!(heavier(Claims { entitlements: names(), ..Claims::default() }) >= least);
        let audience = names().map(Audience::Many);
        assert!(heavier(Claims { aud: audience, ..Claims::default() }) >= least);
        let attributes = |attributes: Value| {
            let user_attributes = Some(attributes.as_object().unwrap().clone());
            let proxy = ProxyClaims { user_attributes, ..ProxyClaims::default() };
            heavier(Claims { ak_proxy: Some(proxy), ..Claims::default() })
        };
        let node = 11 * (size_of::<String>() + size_of::<Value>());
        assert!(attributes(json!({"a": "x".repeat(1_000)})) >= node + 1_000);
        assert!(attributes(json!({"a": vec![1; 100]})) >= node + 100 * size_of::<Value>());
        assert!(attributes(json!({"a": [{"b": {"c": 1}}]})) >= 3 * node);
    }
}
