//! Who the users are, and whether what the application was told of one is all true. Owns the reading of what the
//! application saw; what of it was expected is the ledger's to say.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use fake_authentik::User;
use loopback::header_values;
use serde_json::Value;

use super::super::place::session_cookie;
use super::expectation::{NUMBER, Outcome};
use super::site::{Settings, slug_of};

/// A request that the application saw, and that has nothing wrong in itself.
pub(super) struct Sighting {
    pub(super) number: u64,
    pub(super) outcome: Outcome,
    /// Which configuration judged it, where it had an identity.
    pub(super) configuration: Option<String>,
}

pub(super) struct People {
    by_name: Mutex<HashMap<String, User>>,
    /// Scheme and host of authentik.
    base: String,
}

impl People {
    pub(super) fn new(base: String) -> Self {
        Self { by_name: Mutex::default(), base }
    }

    pub(super) fn know(&self, user: &User) {
        self.by_name.lock().unwrap().insert(user.username.clone(), user.clone());
    }

    /// What the application was told is what the filter may have written, to the last header; else the reason.
    pub(super) fn read(&self, shown: &Value) -> Result<Sighting, String> {
        let number = header_values(shown, NUMBER);
        let [number] = number.as_slice() else { return Err("a request of nobody's".to_owned()) };
        let number = number.parse().map_err(|_| "a request of nobody's".to_owned())?;
        self.identity(shown)
            .map(|(outcome, configuration)| Sighting { number, outcome, configuration })
            .map_err(|reason| format!("request {number}: {reason}"))
    }

    fn identity(&self, shown: &Value) -> Result<(Outcome, Option<String>), String> {
        leaks_nothing(shown)?;
        let told = owned(shown)?;
        let tenant = header_values(shown, "x-tenant");
        let Some(username) = told.get("x-authentik-username") else {
            return match told.first_key_value() {
                None if tenant.is_empty() => Ok((Outcome::Anonymous, None)),
                None => Err("nobody has a tenant".to_owned()),
                Some((name, _)) => Err(format!("{name} of nobody")),
            };
        };
        let by_name = self.by_name.lock().unwrap();
        let user = by_name.get(username).ok_or_else(|| format!("a user who is none: {username}"))?;
        let configuration = told.get("x-authentik-meta-outpost").cloned().unwrap_or_default();
        let settings = Settings::of(&configuration).ok_or("an outpost that is none")?;
        let slug = slug_of(&header_values(shown, "host").concat()).ok_or("a host of nobody's")?;
        let expected: BTreeMap<String, String> = settings
            .headers()
            .iter()
            .map(|name| {
                let value = match *name {
                    "jwt" => told.get("x-authentik-jwt").cloned().unwrap_or_default(),
                    name => self.value_of(name, user, slug, &configuration),
                };
                (format!("x-authentik-{name}"), value)
            })
            .collect();
        for (name, value) in &expected {
            if told.get(name) != Some(value) {
                return Err(format!("{username}'s {name} is {:?} and not {value:?}", told.get(name)));
            }
        }
        if let Some(name) = told.keys().find(|name| !expected.contains_key(*name)) {
            return Err(format!("{name}, which is not to be sent"));
        }
        if let Some(token) = told.get("x-authentik-jwt") {
            self.speaks_of(token, user, slug)?;
        }
        let has_tenant = slug.starts_with("demo") || slug == "rs-proxyscope";
        let expected_tenant: &[&str] =
            if has_tenant && user.attributes["additionalHeaders"].is_object() { &["blue"] } else { &[] };
        if tenant != expected_tenant {
            return Err(format!("{username} of {slug} is of tenant {tenant:?}"));
        }
        Ok((Outcome::named(username), Some(configuration)))
    }

    fn value_of(&self, name: &str, user: &User, slug: &str, configuration: &str) -> String {
        match name {
            "username" => user.username.clone(),
            "groups" => user.groups.join("|"),
            "entitlements" => user.entitlements.join("|"),
            "email" => user.email.clone(),
            "name" => user.name.clone(),
            "uid" => user.sub.clone(),
            "meta-jwks" => format!("{}/application/o/{slug}/jwks/", self.base),
            "meta-outpost" => configuration.to_owned(),
            "meta-provider" | "meta-app" => slug.to_owned(),
            "meta-version" => concat!("goauthentik.io/outpost/", env!("CARGO_PKG_VERSION")).to_owned(),
            other => panic!("no header {other}"),
        }
    }

    /// The token is the user's own, of this application.
    fn speaks_of(&self, token: &str, user: &User, slug: &str) -> Result<(), String> {
        let payload = token.split('.').nth(1).and_then(|it| BASE64_URL_SAFE_NO_PAD.decode(it).ok());
        let claims: Value =
            payload.and_then(|it| serde_json::from_slice(&it).ok()).ok_or("a token that is none")?;
        let expected = [
            ("sub", user.sub.clone()),
            ("preferred_username", user.username.clone()),
            ("aud", format!("{slug}-client-id")),
            ("iss", format!("{}/application/o/{slug}/", self.base)),
        ];
        match expected.iter().find(|(name, value)| claims[*name] != **value) {
            Some((name, _)) => Err(format!("{}'s token has the {name} of another", user.username)),
            None => Ok(()),
        }
    }
}

/// Nothing forged, no session of the filter's, and no credential that authentik would take.
fn leaks_nothing(shown: &Value) -> Result<(), String> {
    let own = slug_of(&header_values(shown, "host").concat()).map(session_cookie);
    for pair in shown["headers"].as_array().expect("headers") {
        let (name, value) = (pair[0].as_str().expect("a name"), pair[1].as_str().expect("a value"));
        if value.contains("forged") {
            return Err(format!("a forged {name}"));
        }
        if name == "cookie" && value.split(';').any(|pair| is_own(pair.trim(), own.as_deref())) {
            return Err("a cookie of the filter's".to_owned());
        }
        if name == "authorization" {
            let encoded = value.split_once(' ').map_or(value, |(_, rest)| rest);
            let decoded = BASE64_STANDARD.decode(encoded).unwrap_or_default();
            let decoded = String::from_utf8_lossy(&decoded).into_owned();
            if [value, &decoded].iter().any(|it| it.contains("-app-password") || it.contains("eyJ")) {
                return Err("a credential".to_owned());
            }
        }
    }
    Ok(())
}

/// The session's cookie, a part of it, or the login's. A name without a value is no cookie of anybody's.
fn is_own(pair: &str, own: Option<&str>) -> bool {
    let rest = pair.split_once('=').and_then(|(name, _)| name.strip_prefix(own?));
    let part = rest.map(|rest| rest.strip_prefix('_').unwrap_or(rest));
    part.is_some_and(|part| part.is_empty() || part == "login" || part.parse::<u8>().is_ok())
}

/// The headers that only the filter may write: in its own spelling, and once each.
fn owned(shown: &Value) -> Result<BTreeMap<String, String>, String> {
    let mut owned = BTreeMap::new();
    for pair in shown["headers"].as_array().expect("headers") {
        let (name, value) = (pair[0].as_str().expect("a name"), pair[1].as_str().expect("a value"));
        let normal = name.to_ascii_lowercase().replace('_', "-");
        if normal == "x-tenant" && name != "x-tenant" || normal == "x-internal-user" {
            return Err(format!("{name}, which is the filter's"));
        }
        if normal.starts_with("x-authentik-")
            && (name != normal || owned.insert(normal, value.to_owned()).is_some())
        {
            return Err(format!("{name}, in another spelling or twice"));
        }
    }
    Ok(owned)
}
