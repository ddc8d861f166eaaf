//! All providers of one worker: those of the configuration, and those of authentik's list.
//!
//! Owns: who answers for which host, and which of them stay as they are when a new list comes. A provider whose settings are the same is the same: it keeps its
//! number, its keys and all that was learned for it. Any other is a new one, to which nothing of the old one counts.
//! Must not: know how the list came.

use std::rc::Rc;

use crate::authn::ended::Common;
use crate::authn::provider::Provider;
use crate::authn::provider::directory::{Directory, Found};
use crate::config::{Config, Entries, Entry, LeftOut, ProviderId};

/// Most entries that are left out with a line of their own.
const MAX_LINES: usize = 20;

/// The providers.
pub(crate) struct Roster {
    config: Rc<Config>,
    /// Of the configuration.
    own: Vec<Rc<Provider>>,
    /// Of authentik's list, each with the digest of its settings.
    listed: Vec<([u8; 32], Rc<Provider>)>,
    next_id: ProviderId,
    common: Rc<Common>,
    /// Who answers for which host.
    directory: Directory<Rc<Provider>>,
    /// Whether the providers have changed since somebody asked for their names.
    has_new_names: bool,
}

/// What a new list has changed.
pub(crate) struct Changes {
    /// New ones, and those with other settings.
    pub(crate) begun: Vec<Rc<Provider>>,
    /// Those that are no more, and those with other settings.
    ended: Vec<Rc<Provider>>,
}

impl Roster {
    /// With the providers of the configuration. `None` only if HMAC refused a key, which it never does.
    pub(crate) fn new(config: &Rc<Config>) -> Option<Self> {
        let common = Rc::new(Common::new(config)?);
        let entries = config.providers.iter().enumerate();
        let own: Vec<_> = entries
            .map(|(id, settings)| Provider::new(config, id, settings, &id.to_be_bytes(), &common))
            .collect::<Option<_>>()?;
        let (config, listed) = (Rc::clone(config), Vec::new());
        let directory = Directory::new(core::iter::empty());
        let mut roster =
            Self { config, next_id: own.len(), own, listed, common, directory, has_new_names: true };
        roster.directory = roster.first_directory();
        Some(roster)
    }

    /// The provider of a request, by its authority.
    pub(crate) fn find(&self, authority: &[u8]) -> Option<Found<Rc<Provider>>> {
        self.directory.find(authority)
    }

    /// The names of all providers, once after each change.
    pub(crate) fn take_names(&mut self) -> Option<Vec<(ProviderId, String)>> {
        let has_new_names = core::mem::take(&mut self.has_new_names);
        let names = self.all().map(|provider| (provider.id, provider.settings.name.clone()));
        has_new_names.then(|| names.collect())
    }

    /// What all of them have together.
    pub(crate) const fn common(&self) -> &Rc<Common> {
        &self.common
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Rc<Provider>> {
        self.own.iter().chain(self.listed.iter().map(|(_, provider)| provider))
    }

    /// Who answers for which host, before there is a list: only those of the configuration whose host is a single one. With a
    /// list to come, a single provider does not answer for every host: the others may come, or go.
    fn first_directory(&self) -> Directory<Rc<Provider>> {
        match (&self.config.outpost, self.own.as_slice()) {
            (None, [only]) => Directory::of_one(Rc::clone(only)),
            (None, _) => self.index(),
            (Some(_), _) => self.index().without_domains(),
        }
    }

    #[inline(never)]
    fn index(&self) -> Directory<Rc<Provider>> {
        Directory::new(self.all().map(|provider| (&*provider.settings, Rc::clone(provider))))
    }

    /// Takes the entries of a new list over.
    #[inline(never)]
    pub(crate) fn replace(&mut self, entries: &Entries) -> Changes {
        let mut begun = Vec::new();
        let mut old = core::mem::take(&mut self.listed);
        for Entry { provider: settings, digest } in &entries.providers {
            let same = old.iter().position(|(known, _)| known == digest);
            let provider = match same.map(|index| old.swap_remove(index)) {
                Some((_, provider)) => provider,
                None => {
                    // Only if HMAC refused a key, which it never does.
                    let provider = Provider::new(&self.config, self.next_id, settings, digest, &self.common);
                    let Some(provider) = provider else { continue };
                    self.next_id = self.next_id.saturating_add(1);
                    begun.push(Rc::clone(&provider));
                    provider
                }
            };
            self.listed.push((*digest, provider));
        }
        let ended = old.into_iter().map(|(_, provider)| provider).collect();
        self.directory = self.index();
        let left_out = entries.left_out.iter().filter_map(|it| it.provider.as_ref());
        left_out.for_each(|it| self.directory.block(it));
        self.has_new_names = true;
        Changes { begun, ended }
    }
}

impl Changes {
    /// One line for what has changed, and one for each entry that is left out.
    #[inline(never)]
    pub(crate) fn log(&self, Entries { providers, left_out, warnings }: &Entries) {
        let names = |providers: &[Rc<Provider>]| {
            let names: Vec<_> = providers.iter().map(|provider| provider.settings.name.as_str()).collect();
            names.join(", ")
        };
        log::info!(
            "authentik lists {} providers; begun: {:?}, ended: {:?}",
            providers.len().saturating_add(left_out.len()),
            names(&self.begun),
            names(&self.ended)
        );
        if providers.is_empty() && left_out.is_empty() {
            log::warn!("the outpost has no proxy provider with an application");
        }
        for LeftOut { name, faults, .. } in left_out.iter().take(MAX_LINES) {
            log::warn!("the provider {name:?} of authentik's list is left out: {}", faults.join("; "));
        }
        if let Some(further) = left_out.len().checked_sub(MAX_LINES).filter(|further| *further > 0) {
            log::warn!("{further} further providers of authentik's list are left out");
        }
        for warning in warnings {
            log::warn!("{warning}");
        }
    }
}
