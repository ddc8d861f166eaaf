//! Which provider a request belongs to.
//!
//! Owns: the look-up by host, and the one form of the host that was looked up. Must not: look at anything but the
//! request's authority.

use std::collections::{BTreeSet, HashMap};

use crate::base::url::{HostAndPort, Scheme};
use crate::config::{Place, Provider};

/// Hosts to providers. `T` stands for a provider.
#[derive(Debug)]
pub struct Directory<T> {
    /// Answers for every host.
    only: Option<T>,
    /// By host, without the default port of its scheme.
    single: HashMap<HostAndPort, Entry<T>>,
    /// The names of those hosts, and of those that have no provider.
    single_names: BTreeSet<String>,
    /// By cookie domain, the longest first. `None`: the domain has no provider.
    domains: Vec<(String, Option<Entry<T>>)>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    scheme: Scheme,
    provider: T,
}

/// The provider of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// Which it is.
    pub provider: T,
    /// With several providers: the host that was judged (lower case, no trailing dot, no default port). This is what goes on
    /// as `:authority`, so that Envoy routes by what was judged. `None`: the request has just this form, or there is only
    /// one provider.
    pub authority: Option<HostAndPort>,
}

impl<T: Clone> Directory<T> {
    /// Indexes providers, each with what stands for it.
    pub fn new<'a>(providers: impl Iterator<Item = (&'a Provider, T)>) -> Self {
        let (single, single_names, domains) = Default::default();
        let mut directory = Self { only: None, single, single_names, domains };
        for (settings, provider) in providers {
            directory.add(settings, Some(provider));
        }
        directory
    }

    /// One provider that answers for every host.
    pub fn of_one(provider: T) -> Self {
        Self { only: Some(provider), ..Self::new(core::iter::empty()) }
    }

    /// Says that a provider is not there: what it would answer for, no other one answers for in its place. Does nothing where
    /// another one has the very same place.
    pub fn block(&mut self, settings: &Provider) {
        self.add(settings, None);
    }

    /// Says that not all providers are known: which one a host below a domain belongs to, nobody can say.
    pub fn without_domains(mut self) -> Self {
        self.domains.clear();
        self
    }

    #[inline(never)]
    fn add(&mut self, settings: &Provider, provider: Option<T>) {
        let entry = provider.map(|provider| Entry { scheme: settings.external_host.scheme, provider });
        match settings.place() {
            Some(Place::Domain(domain)) => {
                // A blocked one comes behind others of its length, so behind one of the same name.
                let is_before = |(other, _): &(String, _)| other.len() >= domain.len();
                let index = self.domains.partition_point(is_before);
                self.domains.insert(index, (domain.to_owned(), entry));
            }
            Some(Place::Host(host)) => {
                self.single_names.insert(host.name().to_owned());
                if let Some(entry) = entry {
                    self.single.insert(host.clone(), entry);
                }
            }
            None => {}
        }
    }

    /// The provider of a request with this `:authority`: the only one, else the one whose `external_host` it is,
    /// else the one with the longest `cookie_domain` that it ends in. Envoy may route a host whatever its port says, so a
    /// name that is a single provider's belongs to nobody else: with another port it has no provider.
    pub fn find(&self, authority: &[u8]) -> Option<Found<T>> {
        if let Some(only) = &self.only {
            return Some(Found { provider: only.clone(), authority: None });
        }
        let host = HostAndPort::parse(authority)?;
        let Entry { scheme, provider } = self.single(&host).or_else(|| self.domain(&host))?.clone();
        let judged = host.under(scheme);
        let is_same = judged.to_string().as_bytes() == authority;
        Some(Found { provider, authority: (!is_same).then_some(judged) })
    }

    fn single(&self, host: &HostAndPort) -> Option<&Entry<T>> {
        let of_scheme = |scheme| {
            let entry = self.single.get(&host.clone().under(scheme))?;
            (entry.scheme == scheme).then_some(entry)
        };
        of_scheme(Scheme::Https).or_else(|| of_scheme(Scheme::Http))
    }

    fn domain(&self, host: &HostAndPort) -> Option<&Entry<T>> {
        if self.single_names.contains(host.name()) {
            return None;
        }
        self.domains.iter().find(|(domain, _)| host.is_within(domain))?.1.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn config(providers: &[(&str, &str, &str)]) -> Config {
        let provider = |(slug, external_host, cookie_domain): &(&str, &str, &str)| {
            let mode = if cookie_domain.is_empty() { "forward_single" } else { "forward_domain" };
            json!({
                "assigned_application_slug": slug, "client_id": slug, "client_secret": "s", "mode": mode,
                "external_host": external_host, "cookie_domain": cookie_domain,
            })
        };
        let providers: Vec<_> = providers.iter().map(provider).collect();
        let configuration = json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
            "session": {"enabled": false}, "providers": providers,
        });
        Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
    }

    /// Each provider's slug stands for it.
    fn directory(config: &Config) -> Directory<String> {
        Directory::new(config.providers.iter().map(|provider| (&**provider, provider.slug.clone())))
    }

    #[test]
    fn a_name_of_a_single_provider_never_belongs_to_a_domain() {
        let config = config(&[
            ("secret", "https://secret.corp", ""),
            ("odd", "https://odd.corp:8443", ""),
            ("corp", "https://auth.corp", "corp"),
            ("deep", "https://auth.deep.corp", "deep.corp"),
        ]);
        let directory = directory(&config);
        let find = |authority: &str| {
            let found = directory.find(authority.as_bytes())?;
            Some((found.provider, found.authority.map(|host| host.to_string())))
        };
        for (authority, slug, judged) in [
            ("secret.corp", "secret", None),
            ("secret.corp:443", "secret", Some("secret.corp")),
            ("Secret.CORP.", "secret", Some("secret.corp")),
            ("secret.corp.:443", "secret", Some("secret.corp")),
            ("odd.corp:8443", "odd", None),
            ("odd.corp.:8443", "odd", Some("odd.corp:8443")),
            ("other.corp", "corp", None),
            ("OTHER.corp:443", "corp", Some("other.corp")),
            ("other.corp:1234", "corp", None),
            ("x.deep.corp", "deep", None),
            ("x.secret.corp", "corp", None),
        ] {
            let expected = Some((slug.to_owned(), judged.map(str::to_owned)));
            assert_eq!(find(authority), expected, "{authority}");
        }
        for authority in [
            "secret.corp:1234",
            "secret.corp:80",
            "SECRET.corp.:1234",
            "odd.corp",
            "odd.corp:443",
            "corp.example",
            "secret.corp:",
            "user@secret.corp",
            "",
            "secret.corp..",
        ] {
            assert_eq!(find(authority), None, "{authority}");
        }
    }

    #[test]
    fn what_a_provider_that_is_not_there_would_answer_for_has_no_provider() {
        let absent = config(&[
            ("secret", "https://secret.corp", ""),
            ("deep", "https://auth.deep.corp", "deep.corp"),
            ("rival", "https://wiki.corp", ""),
        ]);
        let there = config(&[("corp", "https://auth.corp", "corp"), ("wiki", "https://wiki.corp", "")]);
        let mut directory = directory(&there);
        let find = |directory: &Directory<String>, host: &str| {
            directory.find(host.as_bytes()).map(|found| found.provider)
        };
        let places = ["secret.corp", "secret.corp:8443", "x.deep.corp", "wiki.corp", "x.corp"];
        let found = |directory: &Directory<String>| places.map(|host| find(directory, host));
        let [corp, wiki] = ["corp", "wiki"].map(|slug| Some(slug.to_owned()));
        assert_eq!(found(&directory), [corp.clone(), corp.clone(), corp.clone(), wiki.clone(), corp.clone()]);
        absent.providers.iter().for_each(|provider| directory.block(provider));
        assert_eq!(found(&directory), [None, None, None, wiki.clone(), corp]);
        assert_eq!(found(&directory.without_domains()), [None, None, None, wiki, None]);
    }

    #[test]
    fn the_only_provider_answers_for_every_host_as_it_is() {
        let directory = Directory::of_one(0);
        for authority in ["demo.corp", "DEMO.corp.:1", "other", "", "\u{7f}"] {
            let found = directory.find(authority.as_bytes());
            assert_eq!(found, Some(Found { provider: 0, authority: None }), "{authority}");
        }
    }
}
