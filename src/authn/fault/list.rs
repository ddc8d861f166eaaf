//! Why there is no list of the outpost's providers.
//!
//! Owns: the reasons and their texts. Must not: show what authentik answered.

use core::fmt;

/// What is wrong with the list, or with the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFault {
    /// It was not read yet.
    Unread,
    /// The settings of a provider have changed while a request waited.
    ProviderChanged,
    /// authentik does not accept `authentik.token`.
    TokenRefused(TokenRefusal),
    /// `authentik.outpost` is not the name of a proxy outpost that the token sees.
    UnknownOutpost,
    /// What answers is not authentik's API.
    NoApi {
        /// What came.
        status: u16,
    },
    /// The list changed while its pages were read.
    Changed,
    /// The list is longer than the filter reads.
    TooLong,
}

/// Why authentik does not accept an API token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// It does not know it, or it has expired.
    Unknown,
    /// Its user may not read outposts.
    NoPermission,
    /// It did not come.
    NotReceived,
    /// authentik gives another reason, or none.
    Other,
}

impl fmt::Display for ListFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => formatter.write_str("authentik's list of providers was not read yet"),
            Self::ProviderChanged => formatter.write_str("the settings of the provider have just changed"),
            Self::TokenRefused(refusal) => write!(formatter, "authentik.token is refused (403): {refusal}"),
            Self::UnknownOutpost => {
                formatter.write_str("the token sees no proxy outpost of this name: check authentik.outpost")
            }
            Self::NoApi { status } => {
                write!(
                    formatter,
                    "what answers is not authentik's API (status {status}): check authentik.host"
                )
            }
            Self::Changed => formatter.write_str("the list changed while it was read"),
            Self::TooLong => formatter.write_str("the list is longer than 8 MiB or 200 pages"),
        }
    }
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unknown => "authentik does not know it, or it has expired; an app password is no API token",
            Self::NoPermission => "it may not read outposts; take the token of the outpost",
            Self::NotReceived => "it does not reach authentik; a proxy removes the header Authorization",
            Self::Other => "authentik gives no reason",
        })
    }
}
