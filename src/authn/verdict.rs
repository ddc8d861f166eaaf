//! The verdict on a credential.

use std::rc::Rc;

use crate::authn::fault::{Fault, Rejection};
use crate::authn::identity::Identity;
use crate::authn::policy;
use crate::base::token::Token;
use crate::base::weight::Weigh;

/// The result of a verification. [`super::policy`] decides whether the request is forwarded.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// authentik vouches for this user.
    Vouched(Rc<Identity>),
    /// It does not, for this reason.
    Refused(Rejection),
}

/// Where a verdict came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// There is none.
    None,
    /// The session cookie.
    Session,
    /// This worker's cache.
    Cache,
    /// What the workers share.
    Shared,
    /// Verification in the filter.
    Local,
    /// authentik's token endpoint.
    Exchange,
    /// authentik's introspection endpoint.
    Introspection,
}

impl Source {
    /// Its word in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Session => "session",
            Self::Cache => "cache",
            Self::Shared => "shared",
            Self::Local => "local",
            Self::Exchange => "exchange",
            Self::Introspection => "introspection",
        }
    }
}

/// A verdict, or a fault in its place, and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Judgement {
    pub(crate) outcome: Result<Verdict, Fault>,
    /// [`Source::None`] of a fault.
    pub(crate) source: Source,
}

impl Judgement {
    pub(crate) fn new(outcome: Result<Verdict, Fault>, source: Source) -> Self {
        let source = if outcome.is_ok() { source } else { Source::None };
        Self { outcome, source }
    }

    pub(crate) const fn refused(rejection: Rejection, source: Source) -> Self {
        Self { outcome: Ok(Verdict::Refused(rejection)), source }
    }
}

/// What the truth table calls it. `None`: nothing is known without a call to authentik.
pub(crate) const fn in_policy(known: Option<&Result<Verdict, Fault>>) -> policy::Verdict {
    match known {
        None => policy::Verdict::Unknown,
        Some(Ok(Verdict::Vouched(_))) => policy::Verdict::Vouched,
        Some(Ok(Verdict::Refused(Rejection::Incomplete(_)))) => policy::Verdict::Incomplete,
        Some(Ok(Verdict::Refused(Rejection::Throttled { .. }))) => policy::Verdict::RateLimited,
        Some(Ok(Verdict::Refused(_))) => policy::Verdict::Refused,
        Some(Err(_)) => policy::Verdict::Unavailable,
    }
}

/// A refusal that is remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) rejection: Rejection,
    /// Whether authentik accepted the credential before. Then it is not counted as a guess.
    pub(crate) was_good: bool,
}

impl Weigh for Refusal {
    fn weight(&self) -> usize {
        0
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
