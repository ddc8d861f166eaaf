//! From the entries of authentik's API to `providers`.
//!
//! Owns: which fields go over, the names of the variables, and what becomes of the secrets. Must not: judge a setting; the
//! filter's parser does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Problem;

/// Settings of the filter, with authentik's names.
const SETTINGS: [&str; 13] = [
    "name",
    "assigned_application_slug",
    "client_id",
    "external_host",
    "mode",
    "cookie_domain",
    "intercept_header_auth",
    "basic_auth_enabled",
    "basic_auth_user_attribute",
    "basic_auth_password_attribute",
    "skip_path_regex",
    "scopes_to_request",
    "access_token_validity",
];
const SECRETS: [&str; 2] = ["client_secret", "cookie_secret"];
/// The filter has no use for them. The discovery document is that of the host which this tool asked, and browsers may see
/// another; its issuer follows from `authentik.host` and `issuer_mode`, and the keys are fetched.
const UNUSED: [&str; 6] = [
    "pk",
    "internal_host",
    "internal_host_ssl_validation",
    "certificate",
    "assigned_application_name",
    "oidc_configuration",
];

/// Secrets of the configuration, by the names of their variables.
#[derive(Default)]
pub(super) struct Secrets(BTreeMap<String, String>);

impl Secrets {
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// `NAME=value` a line.
    pub(super) fn lines(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    /// A variable with this value.
    fn add(&mut self, wanted: &str, value: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 1_usize;
        while self.0.contains_key(&name) {
            number = number.saturating_add(1);
            name = format!("{wanted}_{number}");
        }
        self.0.insert(name.clone(), value.to_owned());
        name
    }
}

/// What was made of the entries.
pub(super) struct Imported {
    pub(super) providers: Vec<Value>,
    pub(super) secrets: Secrets,
    /// For the operator.
    pub(super) notes: Vec<String>,
}

/// The entries of these providers. Their secrets go into variables, or stay where they are.
pub(super) fn read(
    entries: &[Value],
    wanted: &[(Value, String)],
    use_variables: bool,
) -> Result<Imported, Problem> {
    let mut secrets = Secrets::default();
    let mut faults = Vec::new();
    let mut unknown = BTreeSet::new();
    let mut providers = Vec::new();
    for entry in entries.iter().filter(|entry| wanted.iter().any(|(key, _)| entry["pk"] == *key)) {
        let Some(entry) = entry.as_object() else { continue };
        let slug = entry.get("assigned_application_slug").and_then(Value::as_str).unwrap_or_default();
        let mut provider = Map::new();
        for name in SETTINGS {
            if let Some(value) = entry.get(name).filter(|value| !value.is_null()) {
                provider.insert(name.to_owned(), whole(value));
            }
        }
        for name in SECRETS {
            match secret(entry, name, use_variables) {
                Ok(value) if use_variables => {
                    let variable = format!("AUTHENTIK_{}_{}", variable_part(slug), variable_part(name));
                    provider.insert(name.to_owned(), json!({"env": secrets.add(&variable, value)}));
                }
                Ok(value) => {
                    provider.insert(name.to_owned(), json!(value));
                }
                Err(what) => faults.push(format!("provider \"{slug}\": {name}: {what}")),
            }
        }
        match issuer_mode(entry, slug) {
            Ok(None) => {}
            Ok(Some(mode)) => {
                provider.insert("issuer_mode".to_owned(), json!(mode));
            }
            Err(what) => faults.push(format!("provider \"{slug}\": oidc_configuration.issuer: {what}")),
        }
        let is_known =
            |name: &&str| SETTINGS.iter().chain(&SECRETS).chain(&UNUSED).any(|known| known == name);
        unknown.extend(entry.keys().map(String::as_str).filter(|name| !is_known(name)));
        providers.push(Value::Object(provider));
    }
    if !faults.is_empty() {
        return Err(Problem::Faults(faults));
    }
    let note =
        |name: &str| format!("authentik's field \"{name}\" is not known to this version and is left out");
    Ok(Imported { providers, secrets, notes: unknown.into_iter().map(note).collect() })
}

/// authentik writes seconds as `3600.0`.
fn whole(value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
            serde_json::from_str(&format!("{number:.0}")).unwrap_or_else(|_| value.clone())
        }
        _ => value.clone(),
    }
}

fn secret<'a>(
    entry: &'a Map<String, Value>,
    name: &str,
    is_for_a_line: bool,
) -> Result<&'a str, &'static str> {
    match entry.get(name).and_then(Value::as_str) {
        None | Some("") => Err("is not in authentik's answer"),
        Some(value) if is_for_a_line && value.chars().any(char::is_control) => {
            Err("has a control character, which a file of NAME=value cannot have; use --inline-secrets")
        }
        Some(value) => Ok(value),
    }
}

fn variable_part(text: &str) -> String {
    text.chars()
        .map(|sign| if sign.is_ascii_alphanumeric() { sign.to_ascii_uppercase() } else { '_' })
        .collect()
}

/// What `issuer_mode` must be said; by default each provider has an issuer of its own.
fn issuer_mode(entry: &Map<String, Value>, slug: &str) -> Result<Option<&'static str>, &'static str> {
    let document = entry.get("oidc_configuration").unwrap_or(&Value::Null);
    match document["issuer"].as_str() {
        None => Ok(None),
        Some(issuer) if issuer.ends_with(&format!("/application/o/{slug}/")) => Ok(None),
        Some(issuer) if issuer.ends_with('/') && !issuer.contains("/application/o/") => Ok(Some("global")),
        Some(_) => Err("is neither that of the application nor that of the host"),
    }
}
