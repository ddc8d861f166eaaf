//! How verifications wait for the keys of a provider.
//!
//! Owns: whether keys are taken from another worker, fetched here, or waited for, and who goes on when they are there. When
//! a key set may be fetched is [`super::key_fetch`]'s. Must not: judge a token.

use std::rc::Rc;

use crate::authn::authentik;
use crate::authn::env::Env;
use crate::authn::fault::Fault;
use crate::authn::provider::Provider;
use crate::authn::provider::key_ring::Activity;
use crate::authn::verification::limit::Priority;
use crate::authn::verification::pending::{PendingVerification, Progress, Stage};
use crate::authn::verification::{Subject, Verification, key_fetch};

impl<W> Verification<W> {
    /// Keys are wanted: another worker's, if it has newer ones; else they are fetched, here or there.
    pub(super) fn seek_keys(&mut self, env: &Env<'_>, provider: &Rc<Provider>, stage: Stage) -> Progress {
        let mut stage = stage;
        if key_fetch::adopt(provider, &self.config, env) {
            match self.with_facts(env, provider, |facts| stage.keys_fetched(facts)) {
                Progress::AwaitKeys(waiting) => stage = waiting,
                progress @ (Progress::Done(_) | Progress::Ask(..)) => return progress,
            }
        }
        if key_fetch::begin(provider, env) {
            self.send_keys_call(env, provider);
        }
        match key_fetch::activity(provider) {
            Activity::Fetching | Activity::Following => Progress::AwaitKeys(stage),
            // Another worker's fetch has just failed: nothing is on its way, but overdue keys may be here now.
            Activity::Idle => match self.with_facts(env, provider, |facts| stage.keys_fetched(facts)) {
                Progress::AwaitKeys(_) => {
                    let fault = provider.key_ring.borrow().last_fault();
                    Progress::Done(Err(fault.unwrap_or(Fault::NoKeys)))
                }
                progress @ (Progress::Done(_) | Progress::Ask(..)) => progress,
            },
        }
    }

    /// Sends the fetch of a key set, before all other calls that wait.
    pub(super) fn send_keys_call(&mut self, env: &Env<'_>, provider: &Rc<Provider>) {
        let call = authentik::keys_call(&self.config, &provider.settings);
        // There is always room for it.
        let _ = self.calls.push(Priority::Keys, Subject::Keys(Rc::clone(provider)), call, env.now);
    }

    pub(super) fn awaiting_keys_of<'a>(
        &'a self,
        provider: &'a Rc<Provider>,
    ) -> impl Iterator<Item = &'a PendingVerification> {
        self.waiting.all().filter(|verification| verification.awaits_keys_of(provider))
    }

    pub(super) fn resume_awaiting_keys(&mut self, env: &Env<'_>, provider: &Rc<Provider>) {
        for (name, verification, waiters) in self.waiting.take_all(|it| it.awaits_keys_of(provider)) {
            self.go_on(env, name, verification, waiters, Stage::keys_fetched);
        }
    }
}
