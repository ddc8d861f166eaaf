//! A JWS in compact form (RFC 7515 §3.1), taken apart: the header by jwt-compact, the rest beside it.
//!
//! Owns: the form: three parts, base64url without padding, and the members of the header that matter. `jku`, `x5u`,
//! `jwk` and `x5c` do not: keys come from the configured provider only.
//! Must not: believe any of it. [`super::verifier`] checks.
//!
//! jwt-compact decodes in constant time, forty instructions a character, and reads claims by way of a tree. Neither is of
//! any use for a token, and together they make its first sight 9 to 13 % dearer (docs/tuning.md). So claims and signature
//! are decoded here, and jwt-compact gets the header and, in [`Jws::is_signed_by`], the signature.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jwt_compact::{Algorithm, AlgorithmSignature as _, UntrustedToken};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A token in the form of a JWS.
pub(super) struct Jws<'a> {
    /// Its header.
    header: UntrustedToken<'static, Extensions>,
    /// The claims, as they were signed: UTF-8 throughout.
    pub(super) claims: Vec<u8>,
    signature: Vec<u8>,
    /// Header and claims, encoded: what is signed (RFC 7515 §2).
    signing_input: &'a [u8],
}

/// What jwt-compact does not look at in a header. A member that stands there twice makes it none.
#[derive(Deserialize)]
struct Extensions {
    /// `crit`: something must be understood that is not, whatever it is.
    #[serde(rename = "crit", default, deserialize_with = "is_there")]
    has_critical_extension: bool,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'a> Jws<'a> {
    /// `None`: not in this form.
    #[inline(never)]
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (signing_input, signature) = token.rsplit_once('.')?;
        let (header, claims) = signing_input.split_once('.')?;
        let header = UntrustedToken::try_from([header, ".."].concat().as_str()).ok()?.into_owned();
        let claims = decode(claims)?;
        // jwt-compact reads all of a header; serde looks only at what it is asked for.
        core::str::from_utf8(&claims).ok()?;
        Some(Self { header, claims, signature: decode(signature)?, signing_input: signing_input.as_bytes() })
    }

    /// `alg`.
    pub(super) fn algorithm(&self) -> &str {
        self.header.algorithm()
    }

    /// `kid`.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.header().key_id.as_deref()
    }

    /// Whether `typ` is this media type: without case, and with or without `application/` (RFC 7515 §4.1.9).
    pub(super) fn is_of_type(&self, subtype: &str) -> bool {
        self.header.header().token_type.as_deref().is_some_and(|typ| is_type(typ, subtype))
    }

    /// Whether there is a `crit`.
    pub(super) fn has_critical_extension(&self) -> bool {
        self.header.header().other_fields.has_critical_extension
    }

    /// Checks the signature (RFC 7515 §5.2), if the token is of this algorithm.
    pub(super) fn is_signed_by<A: Algorithm>(&self, key: &A::VerifyingKey, algorithm: &A) -> bool {
        // An algorithm may rely on the length that its signatures have: HS256 does.
        let has_length = A::Signature::LENGTH.is_none_or(|length| length.get() == self.signature.len());
        has_length
            && algorithm.name() == self.algorithm()
            && A::Signature::try_from_slice(&self.signature)
                .is_ok_and(|signature| algorithm.verify_signature(&signature, key, self.signing_input))
    }
}

/// Whether the header of a token says that the token is of this type, whatever the rest of it is.
pub(crate) fn says_type(token: &str, subtype: &str) -> bool {
    let header = token.split('.').next().and_then(decode);
    let header = header.and_then(|header| serde_json::from_slice::<Map<String, Value>>(&header).ok());
    let typ = header.as_ref().and_then(|header| header.get("typ")?.as_str());
    typ.is_some_and(|typ| is_type(typ, subtype))
}

fn is_type(typ: &str, subtype: &str) -> bool {
    let is_application = |(prefix, _): &(&str, &str)| prefix.eq_ignore_ascii_case("application");
    let typ = typ.split_once('/').filter(is_application).map_or(typ, |(_, subtype)| subtype);
    typ.eq_ignore_ascii_case(subtype)
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
    use jwt_compact::alg::{Hs256, Hs256Key};

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
        assert_eq!((jws.algorithm(), jws.key_id()), ("ES256", Some("ab")));
        assert!(!jws.has_critical_extension());
        assert_eq!((&*jws.claims, &*jws.signature), (&b"{}"[..], &b"signature"[..]));
        let signing_input = token.strip_suffix(&format!(".{}", encode("signature"))).unwrap();
        assert_eq!(jws.signing_input, signing_input.as_bytes());
        assert_eq!(payload(&token).as_deref(), Some(&b"{}"[..]));
    }

    #[test]
    fn type_is_compared_as_a_media_type() {
        for (header, is_logout) in [
            (r#"{"alg":"HS256","typ":"logout+jwt"}"#, true),
            (r#"{"alg":"HS256","typ":"application/Logout+JWT"}"#, true),
            (r#"{"alg":"HS256","typ":"logout"}"#, false),
            (r#"{"alg":"HS256","typ":"text/logout+jwt"}"#, false),
            (r#"{"alg":"HS256","typ":"JWT"}"#, false),
            (r#"{"alg":"HS256"}"#, false),
        ] {
            let token = with_header(header);
            assert_eq!(Jws::parse(&token).unwrap().is_of_type("logout+jwt"), is_logout, "{header}");
            assert_eq!(says_type(&token, "logout+jwt"), is_logout, "{header}");
        }
        for token in ["", ".", "opaque", "e30.e30.", "!.e30."] {
            assert!(!says_type(token, "logout+jwt"), "{token}");
        }
    }

    #[test]
    fn crit_header_is_rejected() {
        for crit in [r#"["b64"]"#, "[]", "null", "false", "{}"] {
            let token = with_header(&format!(r#"{{"alg":"RS256","crit":{crit}}}"#));
            assert!(Jws::parse(&token).unwrap().has_critical_extension(), "{crit}");
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
        for hidden in
            [&b"{\"alg\":\"RS256\",\"\xff\":1}"[..], b"{\"alg\":\"RS256\",\"a\":[{\"b\":\"\xff\"}]}"]
        {
            assert!(Jws::parse(&token(hidden, payload)).is_none(), "{hidden:x?}");
        }
    }

    #[test]
    fn a_signature_is_of_the_token_s_own_algorithm_and_of_its_length() {
        let key = Hs256Key::new("secret");
        let signed = |header: &str, length: usize| {
            let message = format!("{}.{}", encode(header), encode("{}"));
            let code = Hs256.sign(&key, message.as_bytes()).as_bytes().into_owned();
            let signature: Vec<_> = code.into_iter().chain([0]).take(length).collect();
            format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
        };
        let is_signed = |token: &str| Jws::parse(token).unwrap().is_signed_by(&key, &Hs256);
        assert!(is_signed(&signed(r#"{"alg":"HS256"}"#, 32)));
        for length in [0, 31, 33] {
            assert!(!is_signed(&signed(r#"{"alg":"HS256"}"#, length)), "{length} bytes");
        }
        for alg in ["HS384", "hs256", "none", ""] {
            assert!(!is_signed(&signed(&format!(r#"{{"alg":"{alg}"}}"#), 32)), "{alg}");
        }
    }

    #[test]
    fn malformed_jws_is_rejected() {
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
            format!("{}.e30.{}", encode(r#"{"alg":"RS256" }"#).replace("fQ", "fR"), encode("signature")),
            format!("{header}.e30.AB"),
            format!("{}\n.{rest}", header),
            format!("{header}.{rest}").replace('e', "+"),
            with_header(""),
            with_header("7"),
            with_header(r#"{"kid":"a"}"#),
            with_header(r#"{"alg":null}"#),
            with_header(r#"{"alg":"RS256","alg":"HS256"}"#),
            with_header(r#"{"alg":"RS256","kid":"a","kid":"b"}"#),
            with_header(r#"{"alg":"RS256"}{}"#),
            with_header(r#"{"alg":"RS256","kid":7}"#),
            with_header(r#"{"alg":"RS256","crit":[],"crit":[]}"#),
            // What jwt-compact knows must be of its type, and claims are JSON and no further token.
            with_header(r#"{"alg":"RS256","typ":7}"#),
            with_header(r#"{"alg":"RS256","jku":7}"#),
            with_header(r#"{"alg":"RS256","x5t":"AA"}"#),
            with_header(r#"{"alg":"RS256","cty":"JWT"}"#),
        ] {
            assert!(Jws::parse(&other).is_none(), "{other}");
        }
    }
}
