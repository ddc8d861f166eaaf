//! Headers that a user's attributes in authentik set for the application.
//!
//! Owns: `additionalHeaders`, Send-HTTP-Basic and `host_header` as authentik's outpost has them, and the warning about
//! names that a client could send as well.
//! Must not: set an identity header, the seal, or what frames or routes the request ([`header::name_for_attribute`]).

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::authn::identity::Identity;
use crate::authn::jwt::claims::Claims;
use crate::base::header::{self, Header, HeaderValue};
use crate::base::url::HostAndPort;
use crate::config::{BasicAuth, Config, Provider};

/// Most headers of one user's `additionalHeaders`.
const MAX_ADDITIONAL_HEADERS: usize = 100;
/// Most names that a worker warns of.
const MAX_WARNINGS: usize = 64;
/// A name in the log is cut off there, in characters.
const MAX_NAME_IN_LOG: usize = 100;

/// The headers that replace the client's. No two of them have the same name, and no two additional ones the same normal form.
pub(crate) fn overriding_headers(claims: &Claims, provider: &Provider, config: &Config) -> Vec<Header> {
    let proxy = claims.ak_proxy.as_ref();
    let attributes = proxy.and_then(|proxy| proxy.user_attributes.as_ref());
    let mut overriding = Vec::new();
    // A host that is none would break the request; the outpost's Go server would drop it as well.
    let host = proxy.and_then(|proxy| proxy.host_header.as_deref());
    if let Some(host) = host.and_then(|host| HostAndPort::parse(host.as_bytes())) {
        overriding.push((Cow::Borrowed(":authority"), HeaderValue::cleaned(host.to_string())));
    }
    let seal = config.seal.as_ref().map(|seal| seal.header.as_str());
    let additional = attributes.map(|attributes| additional_headers(attributes, seal)).unwrap_or_default();
    let basic = provider.basic_auth.as_ref().and_then(|basic| basic_header(basic, attributes, claims));
    // As in the outpost, an additional header of this name wins.
    overriding.extend(basic.filter(|(name, _)| additional.iter().all(|(other, _)| other != name)));
    overriding.extend(additional);
    overriding
}

/// Of names that have one normal form (`X-Tenant`, `x_tenant`), and of more than [`MAX_ADDITIONAL_HEADERS`], the first ones in
/// the order of the claim's map, which is the order of the names' bytes.
fn additional_headers(attributes: &Map<String, Value>, seal: Option<&str>) -> Vec<Header> {
    let additional = attributes.get("additionalHeaders").and_then(Value::as_object);
    let mut seen = BTreeSet::new();
    let header = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        let name = header::name_for_attribute(name, seal)?;
        seen.insert(header::normalise(&name)).then(|| (Cow::Owned(name), HeaderValue::cleaned(value)))
    };
    additional.into_iter().flatten().filter_map(header).take(MAX_ADDITIONAL_HEADERS).collect()
}

/// authentik's "Send HTTP-Basic Authentication", for every user of the provider. `None` where there is nothing to send:
/// neither attributes nor an e-mail address.
fn basic_header(
    basic: &BasicAuth,
    attributes: Option<&Map<String, Value>>,
    claims: &Claims,
) -> Option<Header> {
    let attribute = |name: &str| attributes?.get(name)?.as_str();
    let username = attribute(&basic.user_attribute).or(claims.email.as_deref()).unwrap_or_default();
    let password = match attribute(&basic.password_attribute) {
        Some(password) => password,
        None if basic.send_empty_password => "",
        None => return None,
    };
    if username.is_empty() && password.is_empty() {
        return None;
    }
    let encoded = BASE64_STANDARD.encode(format!("{username}:{password}"));
    Some((Cow::Borrowed("authorization"), HeaderValue::cleaned(format!("Basic {encoded}"))))
}

/// The names that `additionalHeaders` set and that are not owned: a client whose token has no attributes can send them
/// himself. Each is warned of once, as far as there is room.
#[derive(Debug, Default)]
pub(crate) struct UnownedNames(RefCell<BTreeSet<String>>);

impl UnownedNames {
    /// Warns of the names of this identity that were not seen before.
    pub(crate) fn warn_of(&self, identity: &Identity, config: &Config) {
        for name in self.new_ones(identity, config) {
            log::warn!(
                "additionalHeaders sets {name}, which owned_headers does not have: a client can send it too"
            );
        }
    }

    fn new_ones(&self, identity: &Identity, config: &Config) -> Vec<String> {
        let unowned = |name: &&str| {
            header::may_be_owned(name) && !header::is_owned(name.as_bytes(), &config.owned_headers)
        };
        let names = identity.overriding_headers().iter().map(|(name, _)| name.as_ref()).filter(unowned);
        let mut seen = self.0.borrow_mut();
        let mut is_new = |name: &String| seen.len() < MAX_WARNINGS && seen.insert(name.clone());
        names.map(|name| name.chars().take(MAX_NAME_IN_LOG).collect()).filter(|name| is_new(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use serde_json::json;

    use super::*;
    use crate::authn::identity::tests::identity;

    fn config(owned_headers: &Value) -> Config {
        let configuration = json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
            "session": {"enabled": false},
            "owned_headers": owned_headers,
            "providers": [{
                "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
                "external_host": "https://app.example.test",
            }],
        });
        Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
    }

    fn user(additional: &Value) -> Identity {
        identity(&json!({"host_header": "h.test", "user_attributes": {"additionalHeaders": additional}}))
    }

    #[test]
    fn an_additional_authorization_takes_the_place_of_the_basic_one() {
        let mut config = config(&json!([]));
        Rc::get_mut(&mut config.providers[0]).unwrap().basic_auth = Some(BasicAuth {
            user_attribute: "u".to_owned(),
            password_attribute: "p".to_owned(),
            send_empty_password: true,
        });
        let authorization = |additional: &Value| -> Vec<Vec<u8>> {
            let attributes = json!({"u": "al", "p": "s", "additionalHeaders": additional});
            let proxy = json!({"ak_proxy": {"user_attributes": attributes}});
            let claims: Claims = serde_json::from_value(proxy).unwrap();
            let headers = overriding_headers(&claims, &config.providers[0], &config);
            headers.iter().map(|(_, value)| value.as_bytes().to_vec()).collect()
        };
        assert_eq!(authorization(&json!({})), [b"Basic YWw6cw=="]);
        assert_eq!(authorization(&json!({"Authorization": "Token x"})), [b"Token x"]);
    }

    #[test]
    fn unowned_attribute_names_are_warned_of_once() {
        let config = config(&json!(["X_Tenant"]));
        let names = UnownedNames::default();
        let new_ones = |additional: &Value| names.new_ones(&user(additional), &config);
        let first =
            json!({"X-Tenant": 1, "X-Team": 1, "X_Role": 1, "X-Authentik-Tier": 1, "Authorization": "a"});
        assert_eq!(new_ones(&first), ["x-team", "x_role"]);
        assert_eq!(new_ones(&first), [""; 0]);
        assert_eq!(new_ones(&json!({"x-team": 2, "x-place": 2})), ["x-place"]);
        assert_eq!(new_ones(&json!({"X-Null": null, "Host": "h"})), [""; 0]);
    }

    #[test]
    fn warned_names_are_bounded_in_number_and_length() {
        let config = config(&json!([]));
        let names = UnownedNames::default();
        let long = format!("x-{}", "a".repeat(1_000));
        assert_eq!(names.new_ones(&user(&json!({long.clone(): 1})), &config), [&long[..MAX_NAME_IN_LOG]]);
        let many = |prefix: &str| -> Value {
            (0..MAX_ADDITIONAL_HEADERS).map(|number| (format!("x-{prefix}{number}"), json!(1))).collect()
        };
        assert_eq!(names.new_ones(&user(&many("a")), &config).len(), MAX_WARNINGS - 1);
        assert_eq!(names.new_ones(&user(&many("b")), &config), [""; 0]);
    }
}
