//! The claims of a token, as authentik writes them.
//!
//! Owns: what is read of them, and how a time is read. Must not: believe them.

use core::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::base::time::Timestamp;

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
    /// authentik's session (OpenID Connect Front-Channel Logout 1.0 §3); in the tokens of the browser flow only.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The user's primary key, from a scope mapping of the operator's: authentik's event log names users by it.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub ak_user_pk: Option<u64>,
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

/// What is no text is none: the name may be another issuer's.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

/// A number, or its digits; all else is none.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

/// 2^53 seconds; beyond that JSON's numbers skip some.
const END_OF_TIME: f64 = 9_007_199_254_740_992.0;

/// `aud` of RFC 7519 §4.1.3.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Audience {
    /// As authentik writes it.
    One(String),
    /// As others may.
    Many(Vec<String>),
}

/// By hand: what serde derives for it keeps a copy of the value until a variant fits.
impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Audience;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an audience or a list of them")
            }

            fn visit_str<E: Error>(self, audience: &str) -> Result<Audience, E> {
                Ok(Audience::One(audience.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Audience, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Audience::Many)
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
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
