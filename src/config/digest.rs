//! The digest of a configuration that an operator compares between replicas.
//!
//! Owns: which values are secrets and stay out of it; and the digest by which a provider is known to be the same. Must not: be
//! a key of anything; [`super::Config::digest`] is.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::settings::{BasicAuth, Provider};
use crate::base::hex;

/// The fields whose value is a secret, wherever they stand.
const SECRETS: [&str; 4] = ["client_secret", "cookie_secret", "token", "values"];

/// Eight hex digits of SHA-256 over the configuration without its secrets: names of variables count, their values and literal
/// secrets do not. The order of fields and white space say nothing.
pub(super) fn public(configuration: &Value) -> String {
    let mut digest = Sha256::new();
    add(&mut digest, configuration, false);
    hex::of(digest.finalize().first_chunk::<4>().map_or(&[], |bytes| bytes))
}

/// SHA-256 over every setting of a provider, secrets included: for comparison within one worker, and for nothing that leaves it.
pub(super) fn of_provider(provider: &Provider) -> [u8; 32] {
    let Provider {
        name,
        slug,
        client_id,
        client_secret,
        cookie_secrets,
        external_host,
        mode,
        cookie_domain,
        intercept_header_auth,
        basic_auth,
        skip_paths,
        scope,
        access_token_validity_seconds,
        issuer,
        has_no_signing_key,
        bearer_verification,
        revalidate_seconds,
        federated_bearer,
        // Made of the others, and of what all providers share.
        meta_headers: _,
    } = provider;
    let mut digest = Sha256::new();
    for text in [name, slug, client_id, client_secret.expose(), scope, issuer, &external_host.to_string()] {
        add_text(&mut digest, text);
    }
    begin(&mut digest, b'c', cookie_secrets.len());
    cookie_secrets.iter().for_each(|secret| add_text(&mut digest, secret.expose()));
    begin(&mut digest, b'p', skip_paths.len());
    skip_paths.iter().for_each(|pattern| add_text(&mut digest, pattern.as_str()));
    begin(&mut digest, b'd', usize::from(cookie_domain.is_some()));
    add_text(&mut digest, cookie_domain.as_deref().unwrap_or_default());
    if let Some(BasicAuth { user_attribute, password_attribute, send_empty_password }) = basic_auth {
        begin(&mut digest, b'a', usize::from(*send_empty_password));
        add_text(&mut digest, user_attribute);
        add_text(&mut digest, password_attribute);
    }
    add_text(&mut digest, &format!("{mode:?} {bearer_verification:?}"));
    for switch in [*intercept_header_auth, *has_no_signing_key, *federated_bearer] {
        begin(&mut digest, b'b', usize::from(switch));
    }
    digest.update(access_token_validity_seconds.to_be_bytes());
    digest.update(revalidate_seconds.to_be_bytes());
    digest.finalize().into()
}

/// Every value with what it is and how long, so that no two configurations are added alike.
fn add(digest: &mut Sha256, value: &Value, is_secret: bool) {
    match value {
        Value::Object(fields) => {
            begin(digest, b'{', fields.len());
            // serde_json keeps them in the order of their names.
            for (name, value) in fields {
                add_text(digest, name);
                // The name of a variable is no secret.
                let is_secret = SECRETS.contains(&name.as_str()) || (is_secret && name != "env");
                add(digest, value, is_secret);
            }
        }
        Value::Array(values) => {
            begin(digest, b'[', values.len());
            values.iter().for_each(|value| add(digest, value, is_secret));
        }
        Value::String(_) if is_secret => begin(digest, b's', 0),
        Value::String(text) => add_text(digest, text),
        Value::Bool(value) => begin(digest, b'b', usize::from(*value)),
        Value::Null => begin(digest, b'n', 0),
        Value::Number(number) => {
            begin(digest, b'd', 0);
            add_text(digest, &number.to_string());
        }
    }
}

fn add_text(digest: &mut Sha256, text: &str) {
    begin(digest, b'"', text.len());
    digest.update(text);
}

fn begin(digest: &mut Sha256, kind: u8, length: usize) {
    digest.update([kind]);
    // The same in the module and in the native tool.
    digest.update(u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn public_digest_follows_every_setting_but_no_secret() {
        let configuration = |secret: Value, refresh: u64| json!({"providers": [{"client_secret": secret, "cookie_secret": ["x", secret]}], "jwks": {"refresh_seconds": refresh}});
        let one = public(&configuration(json!("one"), 300));
        assert!(one.len() == 8 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert_eq!(one, public(&configuration(json!("two"), 300)));
        assert_ne!(one, public(&configuration(json!("one"), 301)));
        assert_ne!(one, public(&configuration(json!({"env": "ONE"}), 300)));
        assert_ne!(
            public(&configuration(json!({"env": "ONE"}), 1)),
            public(&configuration(json!({"env": "TWO"}), 1))
        );
    }
}
