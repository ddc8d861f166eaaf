//! Names and values of the headers that the filter takes away and writes.
//!
//! Owns: which names belong to the filter in every spelling, which names a user attribute may never set, which the seal may
//! not have, and [`HeaderValue`], the one place through which every written value passes.
//! Must not: decide whether a request goes on.

use core::fmt;
use std::io::Write as _;
use std::rc::Rc;

use crate::base::token::Token;

/// Where authentik's identity headers begin; see [`is_owned`].
const OWNED_PREFIX: &str = "x-authentik-";

/// Hop-by-hop and framing names, and what only the proxy may say. Compared in the [`normalise`]d form.
const PROTOCOL_NAMES: [&str; 16] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "trailers",
    "upgrade",
    "http2-settings",
    "cookie",
    "forwarded",
    "expect",
];

/// Where names begin that belong to proxies in general and to Envoy.
const PROXY_PREFIXES: [&str; 2] = ["x-forwarded-", "x-envoy-"];

/// What an operator cannot hand to the filter with `owned_headers`: the request would no longer be one.
pub(crate) const NEVER_OWNED: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "connection", "authorization", "cookie"];

/// authentik's twelve headers, in the order of its outpost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityHeader {
    /// Claim `preferred_username`.
    Username,
    /// Claim `groups`, joined by `|`.
    Groups,
    /// Claim `entitlements`, joined by `|`.
    Entitlements,
    /// Claim `email`.
    Email,
    /// Claim `name`.
    Name,
    /// Claim `sub`.
    Uid,
    /// The verified token.
    Jwt,
    /// URL of the provider's key set.
    MetaJwks,
    /// Name of the outpost.
    MetaOutpost,
    /// Name of the provider.
    MetaProvider,
    /// Slug of the application.
    MetaApp,
    /// `goauthentik.io/outpost/` and our version.
    MetaVersion,
}

impl IdentityHeader {
    /// All twelve.
    pub const ALL: [Self; 12] = [
        Self::Username,
        Self::Groups,
        Self::Entitlements,
        Self::Email,
        Self::Name,
        Self::Uid,
        Self::Jwt,
        Self::MetaJwks,
        Self::MetaOutpost,
        Self::MetaProvider,
        Self::MetaApp,
        Self::MetaVersion,
    ];

    /// The whole header name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Username => "x-authentik-username",
            Self::Groups => "x-authentik-groups",
            Self::Entitlements => "x-authentik-entitlements",
            Self::Email => "x-authentik-email",
            Self::Name => "x-authentik-name",
            Self::Uid => "x-authentik-uid",
            Self::Jwt => "x-authentik-jwt",
            Self::MetaJwks => "x-authentik-meta-jwks",
            Self::MetaOutpost => "x-authentik-meta-outpost",
            Self::MetaProvider => "x-authentik-meta-provider",
            Self::MetaApp => "x-authentik-meta-app",
            Self::MetaVersion => "x-authentik-meta-version",
        }
    }

    /// What the configuration calls it: `username`, `meta-jwks`, ….
    pub fn short_name(self) -> &'static str {
        self.name().strip_prefix(OWNED_PREFIX).unwrap_or_default()
    }

    /// The header with this short name.
    pub fn from_short_name(short: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|header| header.short_name() == short)
    }
}

/// Lower case, every other character than letters and digits read as `-`: application servers hold `_`, `-` and `.` for
/// one (CGI, WSGI, Rack, PHP), some any of them.
pub fn normalise(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect()
}

/// Whether only the filter may set this header: authentik's own names and the operator's, in any spelling.
pub fn is_owned(name: &[u8], further: &[String]) -> bool {
    let has_prefix = name.get(..OWNED_PREFIX.len()).is_some_and(|start| spells(start, OWNED_PREFIX));
    has_prefix || further.iter().any(|owned| spells(name, owned))
}

/// Whether `name`, normalised, is `normal`. Called for every header of every request: no allocation.
pub fn spells(name: &[u8], normal: &str) -> bool {
    let normalised = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    name.len() == normal.len() && name.iter().map(normalised).eq(normal.bytes())
}

/// Whether an operator may name this header in `owned_headers`.
pub fn may_be_owned(name: &str) -> bool {
    is_token(name) && !NEVER_OWNED.contains(&normalise(name).as_str())
}

/// Whether the seal may have this name, in any case.
///
/// # Errors
/// Why not, in words for the operator.
pub fn check_seal_name(name: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_plain) {
        // A policy behind the filter looks for one spelling.
        return Err("must consist of letters, digits and -");
    }
    let normal = normalise(name);
    if is_identity_header(&normal) {
        Err("is an identity header, which the filter sends itself")
    } else if is_protocol_name(&normal) || NEVER_OWNED.contains(&normal.as_str()) {
        Err("is not a name that can be taken from clients")
    } else {
        Ok(())
    }
}

/// What [`check_seal_name`] refuses by name, for documentation and schema. `*`: all names that begin so.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn never_a_seal() -> Vec<String> {
    let others = NEVER_OWNED.into_iter().filter(|name| !PROTOCOL_NAMES.contains(name));
    let names = PROTOCOL_NAMES.into_iter().chain(others);
    let prefixes = PROXY_PREFIXES.iter().map(|prefix| format!("{prefix}*"));
    let identity = IdentityHeader::ALL.map(|header| header.name().to_owned());
    names.map(str::to_owned).chain(prefixes).chain(identity).collect()
}

/// The name under which a user attribute (`additionalHeaders`) may be sent; `None` when it may not. A name of the filter's
/// own kind is written in its normal form: clients cannot send it in any.
pub fn name_for_attribute(name: &str, seal: Option<&str>) -> Option<String> {
    let normal = normalise(name);
    let is_refused = !is_token(name)
        || is_protocol_name(&normal)
        || is_identity_header(&normal)
        || seal.is_some_and(|seal| seal == normal);
    if is_refused {
        None
    } else if normal.starts_with(OWNED_PREFIX) {
        Some(normal)
    } else {
        Some(name.to_ascii_lowercase())
    }
}

fn is_protocol_name(normal: &str) -> bool {
    PROTOCOL_NAMES.contains(&normal) || PROXY_PREFIXES.iter().any(|prefix| normal.starts_with(prefix))
}

fn is_identity_header(normal: &str) -> bool {
    IdentityHeader::ALL.iter().any(|header| header.name() == normal)
}

/// RFC 9110 §5.6.2 `token`. A pseudo header's colon is none of its characters.
fn is_token(name: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_tchar)
}

/// Digits of the longest number.
const LONGEST_NUMBER: usize = 20;

/// A header value without control bytes: what is written cannot be split into two headers.
#[derive(Clone)]
pub struct HeaderValue(Content);

#[derive(Clone)]
enum Content {
    Own(Vec<u8>),
    /// Not copied: it is kept anyway.
    Token(Token),
    /// The same for many.
    Shared(Rc<[u8]>),
}

impl HeaderValue {
    /// Replaces every control byte (CR, LF, NUL, TAB, DEL, …) by a space.
    pub fn cleaned(value: impl Into<Vec<u8>>) -> Self {
        Self::clean(value.into())
    }

    /// Called from everywhere: twelve kilobytes of the module if each call were a copy.
    #[inline(never)]
    fn clean(mut bytes: Vec<u8>) -> Self {
        if !is_clean(&bytes) {
            for byte in bytes.iter_mut().filter(|byte| byte.is_ascii_control()) {
                *byte = b' ';
            }
        }
        Self(Content::Own(bytes))
    }

    /// A token.
    pub fn token(token: &Token) -> Self {
        if is_clean(token.expose().as_bytes()) {
            Self(Content::Token(token.clone()))
        } else {
            Self::cleaned(token.expose())
        }
    }

    /// The same value, for as many as will have it: a clone of it copies nothing.
    #[must_use]
    pub fn shared(self) -> Self {
        match self.0 {
            Content::Own(bytes) => Self(Content::Shared(bytes.into())),
            content @ (Content::Token(_) | Content::Shared(_)) => Self(content),
        }
    }

    /// The same with a number behind it: there is nothing to clean in one.
    #[must_use]
    pub fn followed_by(&self, number: u64) -> Self {
        let mut bytes = Vec::with_capacity(self.as_bytes().len().saturating_add(LONGEST_NUMBER));
        bytes.extend_from_slice(self.as_bytes());
        // Writing to a Vec cannot fail.
        let _ = write!(bytes, "{number}");
        Self(Content::Own(bytes))
    }

    /// The bytes to write.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Content::Own(bytes) => bytes,
            Content::Token(token) => token.expose().as_bytes(),
            Content::Shared(bytes) => bytes,
        }
    }

    /// What it takes by itself, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match &self.0 {
            Content::Own(bytes) => bytes.len(),
            Content::Token(_) | Content::Shared(_) => 0,
        }
    }
}

/// Whether there is no control byte among them: nearly always, so eight are looked at together.
fn is_clean(bytes: &[u8]) -> bool {
    const fn all(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    // Of seven bits, the first sum has its eighth bit set from 0x20 on, the second only for 0x7f; neither carries over.
    let is_plain = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let low = word & all(0x7f);
        let plain = low.wrapping_add(all(0x60)) & !low.wrapping_add(all(0x01));
        (word | plain) & all(0x80) == all(0x80)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().all(is_plain) && !rest.iter().any(u8::is_ascii_control)
}

/// Lossy and without the content of a token or credential: shows the length only.
impl fmt::Debug for HeaderValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[{} bytes]", self.as_bytes().len())
    }
}

/// A header to write: its name in lower case.
pub type Header = (std::borrow::Cow<'static, str>, HeaderValue);

#[cfg(test)]
mod tests;
