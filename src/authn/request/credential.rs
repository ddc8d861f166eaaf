//! What the client put into `Authorization` (RFC 9110 §11.6.2, RFC 7617, RFC 6750).
//!
//! Owns: the decision which values are a credential at all. What is unusable never reaches authentik.
//! Must not: judge whether a credential is good.

use core::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::authn::request::view::Authorization;
use crate::base::secret::Secret;
use crate::base::token::Token;

/// Longest value of `Authorization` that is looked at, in bytes.
pub const MAX_AUTHORIZATION_BYTES: usize = 16 * 1024;

/// With this user name the password is a token (authentik's outpost).
const TOKEN_USER: &str = "goauthentik.io/token";

/// Padded or not, as clients do both; everything else strict.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What somebody presents to be judged: a usable `Authorization` header, or what a browser brings instead.
#[derive(Debug, Clone)]
pub enum Credential<'a> {
    /// A user name and an app password.
    Basic {
        /// authentik user name; not empty, no control characters.
        username: String,
        /// App password; may be empty, no control characters.
        password: Secret<String>,
    },
    /// A token, from `Bearer` or as the password of the token user: `b64token` characters only.
    Bearer(BearerToken<'a>),
    /// The token of a session that authentik is to confirm again.
    Session(Token),
    /// What authentik's redirect at the end of a login brought.
    Code(AuthorizationCode),
}

/// A bearer token. Where it stands in the request it is not copied: most tokens are known, and looked up as they are.
#[derive(Clone)]
pub enum BearerToken<'a> {
    /// After the scheme `Bearer`.
    InHeader(&'a str),
    /// Taken out of a Basic credential, or kept.
    Kept(Token),
}

impl BearerToken<'_> {
    /// The token itself. Every call of this is a place to look at in a review.
    pub fn expose(&self) -> &str {
        match self {
            Self::InHeader(token) => token,
            Self::Kept(token) => token.expose(),
        }
    }

    /// To be kept: a copy, unless it is one.
    pub fn keep(&self) -> Token {
        match self {
            Self::InHeader(token) => Token::new((*token).to_owned()),
            Self::Kept(token) => token.clone(),
        }
    }
}

impl fmt::Debug for BearerToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

/// An authorization code and what only the one who began the login has (RFC 6749 §4.1.3, RFC 7636).
#[derive(Debug, Clone)]
pub struct AuthorizationCode {
    /// `code`
    pub code: Secret<String>,
    /// PKCE `code_verifier`
    pub verifier: Secret<String>,
    /// `nonce` that the token must have.
    pub nonce: String,
}

/// Which scheme the client used; decides what the challenge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthScheme {
    /// RFC 7617.
    Basic,
    /// RFC 6750.
    Bearer,
}

impl Credential<'_> {
    /// How the client sent it, as far as a challenge cares.
    pub const fn scheme(&self) -> Option<AuthScheme> {
        match self {
            Self::Basic { .. } => Some(AuthScheme::Basic),
            Self::Bearer(_) => Some(AuthScheme::Bearer),
            Self::Session(_) | Self::Code(_) => None,
        }
    }
}

/// Why a value is no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// More than one header, or several credentials in one.
    Several,
    /// Longer than [`MAX_AUTHORIZATION_BYTES`].
    TooLong,
    /// A byte outside printable ASCII.
    NotAscii,
    /// Neither Basic nor Bearer.
    Scheme,
    /// Bearer without a token, or with characters that no token has.
    TokenSyntax,
    /// Basic whose rest is not base64.
    Base64,
    /// Basic whose text is not UTF-8.
    NotUtf8,
    /// Basic without a colon.
    NoColon,
    /// Basic with an empty user name.
    EmptyUsername,
    /// A control character in user name or password; authentik fails on those.
    ControlCharacter,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Several => "several credentials in one request",
            Self::TooLong => "credential longer than 16 KiB",
            Self::NotAscii => "credential with bytes outside printable ASCII",
            Self::Scheme => "neither Basic nor Bearer",
            Self::TokenSyntax => "Bearer without a well-formed token",
            Self::Base64 => "Basic credential that is not base64",
            Self::NotUtf8 => "Basic credential that is not UTF-8",
            Self::NoColon => "Basic credential without a colon",
            Self::EmptyUsername => "Basic credential with an empty user name",
            Self::ControlCharacter => "Basic credential with control characters",
        })
    }
}

/// Reads the header: `Ok(None)` when there is no credential.
///
/// # Errors
/// Why what is there cannot be used.
pub fn read(authorization: Authorization<'_>) -> Result<Option<Credential<'_>>, Malformed> {
    let value = match authorization {
        Authorization::None => return Ok(None),
        Authorization::Several => return Err(Malformed::Several),
        Authorization::One(value) => value.trim_ascii(),
    };
    if value.is_empty() {
        return Ok(None);
    }
    if value.len() > MAX_AUTHORIZATION_BYTES {
        return Err(Malformed::TooLong);
    }
    let value = core::str::from_utf8(value).map_err(|_| Malformed::NotAscii)?;
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let rest = rest.trim_start_matches(' ');
    // Before all else: it is what comes in number, and what has a token's characters needs no second look.
    if scheme.eq_ignore_ascii_case("bearer") && is_token(rest) {
        return Ok(Some(Credential::Bearer(BearerToken::InHeader(rest))));
    }
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Malformed::NotAscii);
    }
    let credential = if scheme.eq_ignore_ascii_case("basic") {
        read_basic(rest)?
    } else if scheme.eq_ignore_ascii_case("bearer") {
        return Err(not_a_token(rest));
    } else {
        return Err(Malformed::Scheme);
    };
    Ok(Some(credential))
}

/// What follows `Bearer ` where nothing else is there, unread: good for a look-up among tokens that were read before, and
/// for nothing else.
pub fn bearer_token(authorization: Authorization<'_>) -> Option<&[u8]> {
    let Authorization::One(value) = authorization else { return None };
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn read_basic(encoded: &str) -> Result<Credential<'static>, Malformed> {
    if encoded.contains(',') {
        return Err(Malformed::Several);
    }
    let bytes = Secret::new(BASE64.decode(encoded).map_err(|_| Malformed::Base64)?);
    let text = core::str::from_utf8(bytes.expose()).map_err(|_| Malformed::NotUtf8)?;
    let (username, password) = text.split_once(':').ok_or(Malformed::NoColon)?;
    if username.is_empty() {
        return Err(Malformed::EmptyUsername);
    }
    if text.chars().any(char::is_control) {
        return Err(Malformed::ControlCharacter);
    }
    if username == TOKEN_USER {
        if !is_token(password) {
            return Err(not_a_token(password));
        }
        return Ok(Credential::Bearer(BearerToken::Kept(Token::new(password.to_owned()))));
    }
    Ok(Credential::Basic { username: username.to_owned(), password: Secret::new(password.to_owned()) })
}

/// Whether any part of the header is a token for which `is_wanted` is true, in any spelling of the header: every word of
/// the value, and the password of every Basic credential. The token need not be valid.
pub fn mentions_token(authorization: Authorization<'_>, is_wanted: impl Fn(&str) -> bool) -> bool {
    let value = match authorization {
        Authorization::None => return false,
        // Applications differ in which of them they read.
        Authorization::Several => return true,
        Authorization::One(value) => value,
    };
    let words = value.split(|byte| !is_token_byte(*byte)).filter_map(|word| core::str::from_utf8(word).ok());
    words.filter(|word| !word.is_empty()).any(|word| {
        let decoded = Secret::new(BASE64.decode(word).unwrap_or_default());
        let text = core::str::from_utf8(decoded.expose()).unwrap_or_default();
        is_wanted(word) || text.split_once(':').is_some_and(|(_, password)| is_wanted(password))
    })
}

fn not_a_token(text: &str) -> Malformed {
    if text.contains(',') { Malformed::Several } else { Malformed::TokenSyntax }
}

/// RFC 6750 §2.1 `b64token`.
fn is_token(token: &str) -> bool {
    let (chunks, rest) = token.as_bytes().as_chunks::<8>();
    // Without a branch for each byte.
    let are_all = |chunk: &[u8; 8]| chunk.iter().fold(true, |all, byte| all & is_token_byte(*byte));
    !token.is_empty() && chunks.iter().all(are_all) && rest.iter().all(|byte| is_token_byte(*byte))
}

fn is_token_byte(byte: u8) -> bool {
    /// A look-up: every byte of every token passes here.
    static IS_TOKEN_BYTE: [bool; 256] = {
        let mut table = [false; 256];
        let (mut rest, mut byte): (&mut [bool], u8) = (&mut table, 0);
        while let Some((entry, others)) = rest.split_first_mut() {
            *entry = matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
            (rest, byte) = (others, byte.wrapping_add(1));
        }
        table
    };
    IS_TOKEN_BYTE.get(usize::from(byte)).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests;
