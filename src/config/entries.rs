//! From the entries of authentik's API to providers, one by one: a faulty one is left out, and the others serve.
//!
//! Owns: which entries become providers, and which do not, and why. Must not: know how they came, or what becomes of a
//! provider.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::digest;
use super::faults::Faults;
use super::json::Object;
use super::provider::{self, Context};
use super::settings::{BeyondApi, Config, Place, Provider};
use super::table::provider as table;

/// What a list of entries comes to.
#[derive(Debug, Default)]
pub struct Entries {
    /// The providers, in the order of the list.
    pub providers: Vec<Entry>,
    /// The entries that are none.
    pub left_out: Vec<LeftOut>,
    /// What is odd but not wrong, for the log.
    pub warnings: Vec<String>,
}

/// An entry that is a provider.
#[derive(Debug)]
pub struct Entry {
    /// Its settings.
    pub provider: Rc<Provider>,
    /// SHA-256 over them, secrets included: another one means that something has changed.
    pub digest: [u8; 32],
}

/// An entry that is no provider. What it would answer for has no provider at all: no other one may let its users in.
#[derive(Debug)]
pub struct LeftOut {
    /// What the log calls it: its slug, else its name.
    pub name: String,
    /// Why, each with the field; shows no value.
    pub faults: Vec<String>,
    /// Its settings as far as they could be read.
    pub provider: Option<Rc<Provider>>,
}

impl Config {
    /// Reads the entries of authentik's API. None of them can change anything but what is in [`Entries`].
    #[inline(never)]
    pub fn read_entries(&self, entries: &[Value]) -> Entries {
        let mut read = Entries::default();
        for entry in entries {
            self.read_entry(entry, &mut read);
        }
        self.leave_out_rivals(&mut read);
        if let Some(outpost) = &self.outpost {
            for (slug, _) in &outpost.overrides {
                if !entries.iter().any(|entry| text(entry, SLUG) == slug) {
                    read.warnings
                        .push(format!("provider_overrides.{slug}: the list has no application of this slug"));
                }
            }
        }
        read
    }

    fn read_entry(&self, entry: &Value, read: &mut Entries) {
        let slug = text(entry, SLUG);
        let beyond = self.outpost.as_ref().map_or_else(BeyondApi::default, |outpost| {
            let own = outpost.overrides.iter().find(|(other, _)| other == slug);
            own.map_or(outpost.defaults, |(_, own)| *own)
        });
        let context = Context {
            authentik: Some(&self.authentik),
            outpost_name: &self.outpost_name,
            session: &self.session,
        };
        let faults = Faults::default();
        let mut warnings = Vec::new();
        let provider = provider::read(Object::foreign(entry, &faults), context, Some(beyond), &mut warnings);
        let mut faults = faults.into_list();
        let name = if slug.is_empty() { text(entry, table::NAME.name) } else { slug }.to_owned();
        if self.providers.iter().any(|provider| provider.slug == slug) {
            faults = vec!["the configuration has a provider of its own with this slug".to_owned()];
        }
        match provider {
            Some(provider) if faults.is_empty() => {
                read.warnings.extend(warnings.iter().map(|warning| format!("{name}: {warning}")));
                read.providers.push(Entry { digest: digest::of_provider(&provider), provider });
            }
            provider => read.left_out.push(LeftOut { name, faults, provider }),
        }
    }

    /// Of two entries that answer for the same host neither counts: which of them is right, nobody can say. A provider of the
    /// configuration counts before them.
    fn leave_out_rivals(&self, read: &mut Entries) {
        let (mut seen, mut seen_twice) = (Map::new(), Map::new());
        let listed = read.providers.iter().map(|entry| &entry.provider);
        for provider in listed.chain(read.left_out.iter().filter_map(|it| it.provider.as_ref())) {
            if seen.insert(key(provider), Value::Null).is_some() {
                seen_twice.insert(key(provider), Value::Null);
            }
        }
        let candidates = core::mem::take(&mut read.providers);
        for entry in candidates {
            let key = key(&entry.provider);
            let fault = if self.providers.iter().any(|provider| self::key(provider) == key) {
                "a provider of the configuration answers for its host"
            } else if seen_twice.contains_key(&key) {
                "another entry answers for the same host: neither counts"
            } else {
                read.providers.push(entry);
                continue;
            };
            let (name, faults) = (entry.provider.slug.clone(), vec![fault.to_owned()]);
            read.left_out.push(LeftOut { name, faults, provider: Some(entry.provider) });
        }
    }
}

const SLUG: &str = table::ASSIGNED_APPLICATION_SLUG.name;

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What it answers for.
fn key(provider: &Provider) -> String {
    match provider.place() {
        Some(Place::Host(host)) => host.to_string(),
        Some(Place::Domain(domain)) => format!("*.{domain}"),
        // A domain's provider without its domain is left out already.
        None => String::new(),
    }
}
