//! Which provider a request belongs to.
//!
//! Owns: the look-up by host. Must not: look at anything but the request's authority.

use std::collections::HashMap;

use super::origin::{Host, Scheme};
use crate::config::{Mode, Provider};

/// Index of a provider in [`crate::config::Config::providers`].
pub type ProviderId = usize;

/// Hosts to providers, made once per configuration.
#[derive(Debug)]
pub struct Directory {
    /// Set when there is just one provider: it answers for every host.
    only: Option<ProviderId>,
    /// By host, as a request would name it on a plain or on a TLS port.
    single: HashMap<Host, ProviderId>,
    /// By cookie domain, the longest first.
    domains: Vec<(String, ProviderId)>,
}

impl Directory {
    /// Indexes the providers.
    pub fn new(providers: &[Provider]) -> Self {
        let mut single = HashMap::new();
        let mut domains = Vec::new();
        for (id, provider) in providers.iter().enumerate() {
            match (provider.mode, &provider.cookie_domain) {
                (Mode::ForwardDomain, Some(domain)) => domains.push((domain.clone(), id)),
                (Mode::ForwardDomain, None) => {}
                (Mode::Proxy | Mode::ForwardSingle, _) => {
                    single.insert(provider.external_host.host.clone(), id);
                }
            }
        }
        domains.sort_by_key(|(domain, _)| core::cmp::Reverse(domain.len()));
        Self { only: (providers.len() == 1).then_some(0), single, domains }
    }

    /// The provider of a request with this `:authority`: the only one, else the one whose `external_host` it is,
    /// else the one with the longest `cookie_domain` that it ends in.
    pub fn find(&self, authority: &[u8], providers: &[Provider]) -> Option<ProviderId> {
        if self.only.is_some() {
            return self.only;
        }
        let host = Host::parse(authority)?;
        let of_scheme = |scheme| {
            let id = *self.single.get(&host.clone().under(scheme))?;
            (providers.get(id)?.external_host.scheme == scheme).then_some(id)
        };
        let by_domain = || self.domains.iter().find(|(domain, _)| host.is_within(domain)).map(|(_, id)| *id);
        of_scheme(Scheme::Https).or_else(|| of_scheme(Scheme::Http)).or_else(by_domain)
    }
}
