//! Why authentik's event log was not read.
//!
//! Owns: the reasons and their texts. Must not: show what authentik answered, or become the fault of a request: nobody waits for
//! the log.

use core::fmt;

use super::Fault;
use super::list::TokenRefusal;

/// What is wrong with the log, or with the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EventsFault {
    /// The call has failed.
    Call(Fault),
    /// authentik does not accept `authentik.events.token`.
    TokenRefused(TokenRefusal),
    /// An answer without any event. authentik gives it to a user without the permission, too.
    Nothing,
    /// An answer without an event that must be in it.
    Incomplete,
    /// What answers is not authentik's API.
    NoApi {
        /// What came.
        status: u16,
    },
    /// Events were removed while the pages were read.
    Changed,
}

impl From<Fault> for EventsFault {
    fn from(fault: Fault) -> Self {
        Self::Call(fault)
    }
}

impl fmt::Display for EventsFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(fault) => fault.fmt(formatter),
            Self::TokenRefused(TokenRefusal::NoPermission) => formatter.write_str(
                "authentik.events.token is refused (403): its user may not read events; give the user a role with the \
                 permission authentik_events.view_event",
            ),
            Self::TokenRefused(refusal) => {
                write!(formatter, "authentik.events.token is refused (403): {refusal}")
            }
            Self::Nothing => formatter.write_str(
                "authentik shows no event at all: the user of authentik.events.token may not read events (give the user \
                 a role with the permission authentik_events.view_event), or authentik does not understand the search, \
                 or its log is empty",
            ),
            Self::Incomplete => formatter.write_str(
                "authentik's answer lacks an event that must be in it: the user of authentik.events.token may not read \
                 events any more (authentik_events.view_event), or authentik does not understand the search",
            ),
            Self::NoApi { status } => write!(
                formatter,
                "what answers is not authentik's API (status {status}): check authentik.host"
            ),
            Self::Changed => formatter.write_str("events were removed while the log was read"),
        }
    }
}
