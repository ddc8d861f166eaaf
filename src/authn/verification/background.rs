//! What is done for nobody's request: key sets, the doctor's round, the outpost's list of providers, authentik's event log.
//!
//! Owns: what a tick does, in which order; and what ends with a provider. Must not: know when something is due: each of those
//! does.

use std::rc::Rc;

use crate::authn::authentik;
use crate::authn::authentik::call::Call;
use crate::authn::env::Env;
use crate::authn::fault::Fault;
use crate::authn::fault::list::ListFault;
use crate::authn::provider::Provider;
use crate::authn::provider_list::News;
use crate::authn::report::Load;
use crate::authn::verdict::{Judgement, Source};
use crate::authn::verification::limit::Priority;
use crate::authn::verification::{Subject, Verification, key_fetch};
use crate::base::time::Timestamp;

impl<W> Verification<W> {
    /// The clock has moved: keys are fetched before anyone misses them, and taken from the worker that fetched them; what
    /// waits for an answer that is lost waits no longer. `jitter_percent` (0 to 10) spreads the fetches of workers and
    /// replicas.
    pub(crate) fn tick(&mut self, env: &Env<'_>, jitter_percent: u64) {
        self.give_up_lost_calls(env);
        self.look_for_ended(env);
        for provider in self.providers.clone() {
            let waits = self.awaiting_keys_of(&provider).map(|waiting| env.now.since(waiting.since));
            let longest_wait = waits.chain(self.logouts.waits(&provider, env.now)).max();
            let tick = key_fetch::tick(&provider, &self.config, env, longest_wait, jitter_percent);
            if tick.is_to_fetch {
                self.send_keys_call(env, &provider);
            }
            if tick.is_to_resume {
                self.resume_awaiting_keys(env, &provider);
            }
        }
        self.look_at_logouts(env);
        let next = self.checkup.tick(env);
        self.fetch_discovery(next);
        let next = self.list.as_mut().and_then(|list| list.tick(env));
        self.push_urgent(env, Subject::List, next);
        let next = self.events.as_mut().and_then(|log| log.tick(env));
        self.push_urgent(env, Subject::Events, next);
        self.tell_other_envoys(env);
        let next = self.events.as_mut().and_then(|log| log.tick_relay(env.now));
        self.push_urgent(env, Subject::Relay, next);
    }

    /// Once a second: what other workers have ended.
    fn look_for_ended(&mut self, env: &Env<'_>) {
        if env.now.seconds() == self.looked_for_ended.seconds() {
            return;
        }
        self.looked_for_ended = env.now;
        if let Some(revalidation) = &self.common.revalidation {
            revalidation.borrow_mut().sync(env);
        }
        for provider in &self.providers {
            provider.look_for_ended(env);
        }
    }

    /// Fetches a provider's discovery when nothing else is to be sent.
    #[inline(never)]
    pub(super) fn fetch_discovery(&mut self, provider: Option<Rc<Provider>>) {
        if let Some(provider) = provider {
            let call = authentik::discovery_call(&self.config, &provider.settings);
            self.calls.push_to_background(Subject::Discovery(provider), call);
        }
    }

    /// How much is going on.
    pub(crate) fn load(&self, now: Timestamp) -> Load {
        let (call_limit, pending_calls) = self.calls.load();
        let age = |provider: &Rc<Provider>| {
            provider.key_ring.borrow().fetched_at().map(|fetched| (provider.id, now.since(fetched)))
        };
        let (ended_sessions, confirmations) = self.common.tally.totals();
        Load {
            ended_sessions,
            confirmations,
            waiting_requests: self.waiting.len().saturating_add(self.logouts.len()),
            pending_calls,
            call_limit,
            cache_entries: self.verdicts.len(),
            keys_age: self.providers.iter().filter_map(age).collect(),
            events_age: self.events.as_ref().and_then(|log| log.age(now)),
            config_age: self.list.as_ref().and_then(|list| list.age(now)),
        }
    }

    /// Sends a call of which there is one at a time.
    pub(super) fn push_urgent(&mut self, env: &Env<'_>, subject: Subject, call: Option<Call>) {
        if let Some(call) = call {
            // There is always room for it.
            let _ = self.calls.push(Priority::Keys, subject, call, env.now);
        }
    }

    /// Looks for a list that another worker has read.
    pub(crate) fn look_for_list(&mut self, env: &Env<'_>) {
        if let Some(list) = &mut self.list {
            list.adopt(env);
        }
    }

    /// A list that differs from the one before, once.
    pub(crate) fn take_list(&mut self) -> Option<News> {
        self.list.as_mut()?.take_news()
    }

    /// Why there is no list; `None`: there is one, or none is wanted.
    pub(crate) fn list_fault(&self) -> Option<Fault> {
        self.list.as_ref().filter(|list| list.is_unknown()).map(|list| list.fault())
    }

    /// These are the providers from now on. A request that waits for a verdict of one that is no more is decided anew.
    pub(crate) fn replace_providers(
        &mut self,
        all: Vec<Rc<Provider>>,
        begun: Vec<Rc<Provider>>,
        version: String,
    ) {
        let is_gone = |provider: &Rc<Provider>| !all.iter().any(|other| Rc::ptr_eq(other, provider));
        for (_, verification, waiters) in self.waiting.take_all(|it| is_gone(it.miss.provider())) {
            let changed = Fault::List(ListFault::ProviderChanged);
            self.rate_limit.release(verification.attempt.as_ref(), &Err(changed.clone()));
            self.waiting.settle(waiters, &Judgement::new(Err(changed), Source::None));
        }
        self.checkup.add(begun, &all, version);
        self.providers = all;
    }
}
