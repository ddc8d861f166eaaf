//! The verdict on a credential.

use std::rc::Rc;

use crate::authn::ended::tally::Confirmation;
use crate::authn::fault::{Fault, Rejection};
use crate::authn::identity::Identity;
use crate::authn::policy;
use crate::base::token::Token;
use crate::base::weight::{BLOCK_BYTES, Weigh};

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

    /// What it is called where authentik was asked about a session.
    pub(crate) const fn confirmation(&self) -> Confirmation {
        match self.outcome {
            Ok(Verdict::Vouched(_)) => Confirmation::Confirmed,
            Ok(Verdict::Refused(_)) => Confirmation::Ended,
            Err(_) => Confirmation::Unavailable,
        }
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
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) rejection: Rejection,
    /// Whether authentik accepted the credential before. Then it is not counted as a guess.
    pub(crate) was_good: bool,
}

/// What a rejection holds beside itself: the name of an account.
fn rejection_weight(rejection: &Rejection) -> usize {
    let account =
        if let Rejection::Incomplete(incomplete) = rejection { incomplete.account.as_ref() } else { None };
    account.map_or(0, |name| name.len().saturating_add(BLOCK_BYTES))
}

impl Weigh for Refusal {
    fn weight(&self) -> usize {
        rejection_weight(&self.rejection)
    }
}

impl Weigh for Verdict {
    fn weight(&self) -> usize {
        match self {
            Self::Vouched(identity) => identity.weight().saturating_add(identity.cookie_weight()),
            Self::Refused(rejection) => rejection_weight(rejection),
        }
    }

    fn holds(&self, token: &Token) -> bool {
        match self {
            Self::Vouched(identity) => identity.verified().token().is_one_with(token),
            Self::Refused(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::identity::{Incomplete, IncompleteReason};

    #[test]
    fn a_refusal_weighs_as_much_as_the_account_name_in_it() {
        let incomplete =
            |account| Rejection::Incomplete(Incomplete { reason: IncompleteReason::NoSubject, account });
        for (rejection, weight) in [
            (Rejection::NoCredential, 0),
            (incomplete(None), 0),
            (incomplete(Some("alice".into())), 5 + BLOCK_BYTES),
        ] {
            assert_eq!(Verdict::Refused(rejection.clone()).weight(), weight);
            assert_eq!(Refusal { rejection, was_good: false }.weight(), weight);
        }
    }
}
