//! What is known of a credential once somebody has judged it.

use std::rc::Rc;

use super::cache::Weigh;
use super::fault::Rejection;
use super::identity::Identity;
use super::token::Token;

/// The end of an inquiry. Whether a request goes on is [`super::decision`]'s to say.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// authentik vouches for this user.
    Vouched(Rc<Identity>),
    /// It does not, for this reason.
    Refused(Rejection),
}

impl Verdict {
    /// Whether authentik vouched for the credential, so that the application must not get it: also where the identity is
    /// not enough to forward a request.
    pub const fn is_vouched_for(&self) -> bool {
        matches!(self, Self::Vouched(_) | Self::Refused(Rejection::Incomplete(_)))
    }
}

impl Weigh for Verdict {
    fn weight(&self) -> usize {
        match self {
            Self::Vouched(identity) => identity.weight().saturating_add(identity.cookie_weight()),
            // What is in it by itself is in the entry.
            Self::Refused(_) => 0,
        }
    }

    fn holds(&self, token: &Token) -> bool {
        match self {
            Self::Vouched(identity) => identity.verified().token().is_one_with(token),
            Self::Refused(_) => false,
        }
    }
}
