//! Providers that come and go with authentik's list.
//!
//! Owns: how a new list takes effect, and what is said to a request before there is one. Must not: judge a request.

use crate::authn::Authenticator;
use crate::authn::env::Env;
use crate::authn::reply::{self, Decision, ReplyContext};
use crate::authn::request::view::RequestView;
use crate::config::{Config, ProviderId};

impl Authenticator {
    /// Takes what another worker has read, where there was no list yet: a request need not wait for the next tick.
    pub(super) fn look_for_first_list(&mut self, env: &Env<'_>) {
        if self.verification.list_fault().is_some() {
            self.verification.look_for_list(env);
            self.take_list();
        }
    }

    /// Takes a new list of providers over, if there is one.
    pub(super) fn take_list(&mut self) {
        if let Some(news) = self.verification.take_list() {
            let entries = self.config.read_entries(&news.entries);
            let changes = self.roster.replace(&entries);
            if news.is_first_hand {
                changes.log(&entries);
            }
            self.directory = changes.directory;
            let all = self.roster.all().cloned().collect();
            self.verification.replace_providers(all, changes.begun, news.version);
            self.has_new_names = true;
        }
    }

    /// The decision on a request of a host that no provider is known for.
    pub(super) fn without_provider(&self, view: &RequestView<'_>, config: &Config) -> Decision {
        match self.verification.list_fault() {
            Some(fault) => reply::fail(&ReplyContext::without_provider(view, config), fault),
            None => reply::unknown_host(view, config),
        }
    }

    /// The names of all providers, once after each change.
    pub fn take_names(&mut self) -> Option<Vec<(ProviderId, String)>> {
        let names = self.roster.all().map(|provider| (provider.id, provider.settings.name.clone()));
        core::mem::take(&mut self.has_new_names).then(|| names.collect())
    }
}
