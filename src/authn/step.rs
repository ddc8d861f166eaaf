//! What a request waits for, and what comes of it.
//!
//! Owns: [`Step`] and [`Waiter`], values that [`super::Authenticator`] makes and takes. Must not: decide anything.

use std::rc::Rc;

use crate::authn::fault::SessionEnd;
use crate::authn::provider::Provider;
use crate::authn::reply::Decision;
use crate::authn::request::credential::AuthScheme;
use crate::authn::session::content::Session;

/// What comes of a request for now.
#[derive(Debug)]
pub enum Step {
    /// The end.
    Decided(Decision),
    /// It waits for authentik; [`super::Authenticator::next_ready`] names it when its verdict is there.
    Waiting,
    /// It waits for its body, of at most [`MAX_BODY_BYTES`]; [`super::Authenticator::body_ended`] goes on with it.
    AwaitBody,
}

/// Longest body that the filter reads, in bytes. A logout token of authentik has six hundred.
pub const MAX_BODY_BYTES: usize = 16 << 10;

impl Step {
    pub(crate) fn map(self, change: impl FnOnce(Decision) -> Decision) -> Self {
        match self {
            Self::Decided(decision) => Self::Decided(change(decision)),
            Self::Waiting => Self::Waiting,
            Self::AwaitBody => Self::AwaitBody,
        }
    }

    /// The decision, if there is one.
    pub fn decided(self) -> Option<Decision> {
        match self {
            Self::Decided(decision) => Some(decision),
            Self::Waiting | Self::AwaitBody => None,
        }
    }
}

/// How soon the core wants the clock's next tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickInterval {
    /// Verdicts are there that one callback had no room for.
    Backlog,
    /// A request waits for keys that another worker fetches.
    Follower,
    /// Nothing waits for a tick.
    Idle,
}

/// A request that waits for a verdict.
pub(crate) struct Waiter {
    pub(crate) provider: Rc<Provider>,
    pub(crate) purpose: Purpose,
    /// How the session that it came with has ended before its time: its cookie is taken back with the answer.
    pub(crate) session_end: Option<SessionEnd>,
}

/// What a request wants a verdict on.
pub(crate) enum Purpose {
    /// Its credential, sent in this way, beside this session: the cookie alone does not say whether that still stands.
    Credential(Option<AuthScheme>, Option<Rc<Session>>),
    /// The token of this session.
    Confirmation(Rc<Session>),
    /// The code at the end of a login.
    Login {
        /// Where the browser goes then.
        return_url: String,
    },
}
