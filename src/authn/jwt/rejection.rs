//! Why a token is not verified.
//!
//! Owns: the reasons, and their words for the log. Must not: say who is to blame ([`crate::authn::fault`] does).

use core::fmt;

/// Why a token is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotVerified {
    /// The token is not good.
    Rejected(TokenRejection),
    /// The host has no check for signatures by the provider's keys, and the module none of its own.
    Uncheckable,
}

impl From<TokenRejection> for NotVerified {
    fn from(rejection: TokenRejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// Why a token is not accepted. For the log; the client learns none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRejection {
    /// Not a JWS in compact form: opaque, or broken.
    NotJws,
    /// A JWE; only authentik can read it.
    Encrypted,
    /// A `crit` header: an extension that must be understood and is not.
    CriticalExtension,
    /// A logout token: it says that a session has ended, and lets nobody in.
    LogoutToken,
    /// An algorithm that the provider's keys do not have.
    Algorithm,
    /// Another issuer.
    Issuer,
    /// Another audience.
    Audience,
    /// A key that the provider does not have.
    UnknownKey,
    /// The signature does not fit.
    Signature,
    /// Claims that are not JSON, or of the wrong types.
    Claims,
    /// No `exp`.
    NoExpiry,
    /// `exp` has come.
    Expired,
    /// `nbf` is still to come.
    NotYetValid,
    /// `iat` is still to come.
    IssuedInFuture,
}

impl TokenRejection {
    /// Whether authentik could know better than the filter. A bad signature or an expired token is final.
    pub const fn is_undecidable(self) -> bool {
        match self {
            Self::NotJws | Self::Encrypted | Self::Issuer | Self::Audience | Self::UnknownKey => true,
            Self::CriticalExtension
            | Self::LogoutToken
            | Self::Algorithm
            | Self::Signature
            | Self::Claims
            | Self::NoExpiry
            | Self::Expired
            | Self::NotYetValid
            | Self::IssuedInFuture => false,
        }
    }
}

impl fmt::Display for TokenRejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotJws => "the token is not a JWS",
            Self::Encrypted => "the token is encrypted",
            Self::CriticalExtension => "the token has a crit header",
            Self::LogoutToken => "the token is a logout token",
            Self::Algorithm => "the token's algorithm is not the provider's",
            Self::Issuer => "the token's iss is not the provider's",
            Self::Audience => "the token's aud is not the provider's client_id",
            Self::UnknownKey => "the token's key is not one of the provider's",
            Self::Signature => "the token's signature is wrong",
            Self::Claims => "the token's claims are malformed",
            Self::NoExpiry => "the token has no exp",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token's nbf is in the future",
            Self::IssuedInFuture => "the token's iat is in the future",
        })
    }
}
