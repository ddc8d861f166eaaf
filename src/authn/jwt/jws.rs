//! A JWS in compact form (RFC 7515 §3.1), taken apart.
//!
//! Owns: the form: three parts, base64url without padding, and the members of the header that matter. `jku`, `x5u`,
//! `jwk` and `x5c` do not: keys come from the configured provider only.
//! Must not: believe any of it. [`super::verifier`] checks.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// A token in the form of a JWS.
pub(crate) struct Jws<'a> {
    pub(crate) header: Header,
    /// The claims, as they were signed.
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    /// What was signed.
    pub(crate) message: &'a [u8],
}

/// The JOSE header. A member that stands there twice makes it none.
#[derive(Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    #[serde(default)]
    pub(crate) kid: Option<String>,
    /// `crit`: something must be understood that is not, whatever it is.
    #[serde(rename = "crit", default, deserialize_with = "is_there")]
    pub(crate) has_critical_extension: bool,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'a> Jws<'a> {
    /// `None`: not in this form.
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let (header, payload) = (decode(header)?, decode(payload)?);
        // Both are UTF-8 throughout; serde looks only at what it reads.
        core::str::from_utf8(&payload).ok()?;
        Some(Self {
            header: serde_json::from_str(core::str::from_utf8(&header).ok()?).ok()?,
            payload,
            signature: decode(signature)?,
            message: message.as_bytes(),
        })
    }
}

/// The claims of a token in this form, whatever the rest of it is.
pub(crate) fn payload(token: &str) -> Option<Vec<u8>> {
    let mut parts = token.split('.');
    let (_header, payload) = (parts.next()?, parts.next()?);
    decode(payload)
}

fn decode(part: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(part).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(part: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(part)
    }

    fn with_header(header: &str) -> String {
        format!("{}.{}.{}", encode(header), encode("{}"), encode("signature"))
    }

    #[test]
    fn a_token_is_taken_apart() {
        let token =
            with_header(r#"{"kid":"\u0061b","typ":"JWT","alg":"ES256","jku":"https://elsewhere.test/"}"#);
        let jws = Jws::parse(&token).unwrap();
        assert_eq!((jws.header.alg.as_str(), jws.header.kid.as_deref()), ("ES256", Some("ab")));
        assert!(!jws.header.has_critical_extension);
        assert_eq!((jws.payload.as_slice(), jws.signature.as_slice()), (&b"{}"[..], &b"signature"[..]));
        assert_eq!(jws.message, token.strip_suffix(&format!(".{}", encode("signature"))).unwrap().as_bytes());
        assert_eq!(payload(&token).as_deref(), Some(&b"{}"[..]));
    }

    #[test]
    fn whatever_is_critical_is_not_understood() {
        for crit in [r#"["b64"]"#, "[]", "null", "false", "{}"] {
            let token = with_header(&format!(r#"{{"alg":"RS256","crit":{crit}}}"#));
            assert!(Jws::parse(&token).unwrap().header.has_critical_extension, "{crit}");
        }
    }

    /// Also where it stands in a member that nobody reads.
    #[test]
    fn header_and_claims_are_utf_8_throughout() {
        let token = |header: &[u8], payload: &[u8]| {
            let parts = [header, payload, &b"signature"[..]];
            parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".")
        };
        let (header, payload) = (br#"{"alg":"RS256","typ":"JWT"}"#, br#"{"sub":"7","jti":"x"}"#);
        let spoilt = |part: &[u8]| {
            let mut part = part.to_vec();
            let place = part.len() - 3;
            part[place] = 0xff;
            part
        };
        assert!(Jws::parse(&token(header, payload)).is_some());
        assert!(Jws::parse(&token(&spoilt(header), payload)).is_none());
        assert!(Jws::parse(&token(header, &spoilt(payload))).is_none());
    }

    #[test]
    fn what_is_not_in_this_form_is_nothing() {
        let good = with_header(r#"{"alg":"RS256"}"#);
        assert!(Jws::parse(&good).is_some());
        let (header, rest) = good.split_once('.').unwrap();
        for other in [
            String::new(),
            header.to_owned(),
            format!("{header}."),
            format!("{good}."),
            format!(".{good}"),
            format!("{good}.x"),
            format!("{good}="),
            format!("{good} "),
            format!("{header}=.{rest}"),
            // The last character has bits that stand for nothing.
            format!("{header}.e31.{}", encode("signature")),
            format!("{header}.{rest}").replace('e', "+"),
            with_header(""),
            with_header("7"),
            with_header(r#"{"kid":"a"}"#),
            with_header(r#"{"alg":null}"#),
            with_header(r#"{"alg":"RS256","alg":"HS256"}"#),
            with_header(r#"{"alg":"RS256","kid":"a","kid":"b"}"#),
            with_header(r#"{"alg":"RS256"}{}"#),
            with_header(r#"{"alg":"RS256","kid":7}"#),
        ] {
            assert!(Jws::parse(&other).is_none(), "{other}");
        }
    }
}
