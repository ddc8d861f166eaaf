//! The requests for back-channel logout that wait, for their body or for keys.
//!
//! Owns: the list, and for how long they wait. Must not: judge a token.

use std::rc::Rc;

use crate::authn::env::RequestId;
use crate::authn::provider::Provider;
use crate::authn::provider::key_ring::Activity;
use crate::authn::verification::key_fetch;
use crate::base::time::Timestamp;
use crate::base::token::Token;

/// How long a body may take, in seconds. [`crate::authn::fault::Fault::NoBody`] names it too.
const BODY_SECONDS: u64 = 5;

/// The requests that wait in one worker.
#[derive(Default)]
pub(crate) struct Logouts {
    pub(super) waiting: Vec<Waiting>,
}

/// A request that waits.
pub(super) struct Waiting {
    pub(super) id: RequestId,
    pub(super) provider: Rc<Provider>,
    pub(super) since: Timestamp,
    /// `None`: the body is to come.
    pub(super) token: Option<Token>,
    pub(super) is_over: bool,
}

impl Logouts {
    /// How many requests wait.
    pub(crate) const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The next request that waits no longer.
    pub(crate) fn next_ready(&self) -> Option<RequestId> {
        self.waiting.iter().find(|waiting| waiting.is_over).map(|waiting| waiting.id)
    }

    /// Whether this request waits no longer.
    pub(crate) fn is_ready(&self, id: RequestId) -> bool {
        self.waiting.iter().any(|waiting| waiting.id == id && waiting.is_over)
    }

    /// A request is gone.
    pub(crate) fn forget(&mut self, id: RequestId) {
        self.waiting.retain(|waiting| waiting.id != id);
    }

    /// For how long tokens have waited for the keys of a provider, in seconds.
    pub(super) fn waits<'a>(
        &'a self,
        provider: &'a Rc<Provider>,
        now: Timestamp,
    ) -> impl Iterator<Item = u64> + 'a {
        self.awaiting_keys()
            .filter(|waiting| Rc::ptr_eq(&waiting.provider, provider))
            .map(move |waiting| now.since(waiting.since))
    }

    /// Whether a token waits for keys that another worker fetches.
    pub(super) fn wants_ticks(&self) -> bool {
        self.awaiting_keys().any(|waiting| key_fetch::activity(&waiting.provider) == Activity::Following)
    }

    /// Looks who need not wait any longer: no keys are on their way any more, or too much time has passed. `patience`: seconds
    /// for keys.
    pub(super) fn look(&mut self, now: Timestamp, patience: u64) {
        for waiting in &mut self.waiting {
            let waited = now.since(waiting.since);
            waiting.is_over |= match waiting.token {
                None => waited >= BODY_SECONDS,
                Some(_) => key_fetch::activity(&waiting.provider) == Activity::Idle || waited >= patience,
            };
        }
    }

    /// Those whose token waits for keys.
    pub(super) fn awaiting_keys(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter().filter(|waiting| waiting.token.is_some())
    }

    /// Takes a request off the list.
    pub(super) fn take(&mut self, id: RequestId) -> Option<Waiting> {
        let place = self.waiting.iter().position(|waiting| waiting.id == id)?;
        Some(self.waiting.swap_remove(place))
    }
}
