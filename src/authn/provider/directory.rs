//! Which provider a request belongs to.
//!
//! Owns: the look-up by host, and the one form of the host that was looked up. Must not: look at anything but the
//! request's authority.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::base::url::{HostAndPort, Scheme};
use crate::config::{Mode, Provider};

/// Hosts to providers, made once per configuration. `T` stands for a provider.
#[derive(Debug)]
pub struct Directory<T> {
    /// Set when there is just one provider: it answers for every host.
    only: Option<T>,
    /// By host, without the default port of its scheme.
    single: HashMap<HostAndPort, Entry<T>>,
    /// The names of those hosts.
    single_names: BTreeSet<String>,
    /// By cookie domain, the longest first.
    domains: Vec<(String, Entry<T>)>,
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
    /// Indexes the providers; `stands_for` says what is found in their place.
    pub fn new(providers: &[Rc<Provider>], stands_for: &[T]) -> Self {
        let mut single = HashMap::new();
        let mut domains = Vec::new();
        for (settings, provider) in providers.iter().zip(stands_for) {
            let entry = Entry { scheme: settings.external_host.scheme, provider: provider.clone() };
            match (settings.mode, &settings.cookie_domain) {
                (Mode::ForwardDomain, Some(domain)) => {
                    let is_longer = |(other, _): &(String, _)| other.len() >= domain.len();
                    domains.insert(domains.partition_point(is_longer), (domain.clone(), entry));
                }
                (Mode::ForwardDomain, None) => {}
                (Mode::Proxy | Mode::ForwardSingle, _) => {
                    single.insert(settings.external_host.host.clone(), entry);
                }
            }
        }
        // One by one: a set that is collected is sorted first, and the module would have to carry that.
        let mut single_names = BTreeSet::new();
        single.keys().for_each(|host: &HostAndPort| _ = single_names.insert(host.name().to_owned()));
        let only = stands_for.first().filter(|_| stands_for.len() == 1).cloned();
        Self { only, single, single_names, domains }
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
        self.domains.iter().find(|(domain, _)| host.is_within(domain)).map(|(_, entry)| entry)
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

    #[test]
    fn a_name_of_a_single_provider_never_belongs_to_a_domain() {
        let config = config(&[
            ("secret", "https://secret.corp", ""),
            ("odd", "https://odd.corp:8443", ""),
            ("corp", "https://auth.corp", "corp"),
            ("deep", "https://auth.deep.corp", "deep.corp"),
        ]);
        let slugs: Vec<_> = config.providers.iter().map(|provider| provider.slug.clone()).collect();
        let directory = Directory::new(&config.providers, &slugs);
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
    fn the_only_provider_answers_for_every_host_as_it_is() {
        let config = config(&[("demo", "https://demo.corp", "")]);
        let directory = Directory::new(&config.providers, &[0]);
        for authority in ["demo.corp", "DEMO.corp.:1", "other", "", "\u{7f}"] {
            let found = directory.find(authority.as_bytes());
            assert_eq!(found, Some(Found { provider: 0, authority: None }), "{authority}");
        }
    }
}
