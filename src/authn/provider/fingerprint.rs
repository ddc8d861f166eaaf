//! Keyed digests that stand for a credential where the credential itself must not be.
//!
//! Owns: the keys derived from a provider's secret, and the encoding that is digested (every part with its length, so
//! that no two credentials share an encoding). Must not: keep a credential.

use crate::authn::request::credential::Credential;
use crate::base::hex;
use crate::base::mac::{self, Mac};
use crate::config::{Config, Provider};

/// A keyed digest of a credential; useless without the provider's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// The keys of one provider under one configuration. Another entry or another configuration has others, also
/// with the same `client_id` and secret: a verdict belongs to an entry with all its settings, so nothing that one of them
/// learned is anything to the other. Key sets are authentik's alone: every configuration with this provider reads them.
pub struct ProviderKeys {
    fingerprints: Mac,
    slots: Mac,
    key_sets: Mac,
    shared_name: String,
}

impl ProviderKeys {
    /// The keys of this provider, which is this `entry` of the configuration or of authentik's list. `None` only if HMAC refused
    /// a key, which it never does.
    pub fn derive(config: &Config, provider: &Provider, entry: &[u8]) -> Option<Self> {
        let derive = |purpose: &[u8], bound_to: &[&[u8]]| {
            let mut mac = mac::keyed(provider.client_secret.expose().as_bytes())?;
            update(&mut mac, &[b"authentik-proxy-wasm 2", purpose, provider.client_id.as_bytes()]);
            update(&mut mac, bound_to);
            mac::keyed(&mac::finish(mac))
        };
        let entry: [&[u8]; 2] = [&config.digest, entry];
        let base = config.authentik.base.to_string();
        let authentik = [base.as_bytes(), config.authentik.cluster.as_bytes(), provider.slug.as_bytes()];
        let key_sets = derive(b"key set", &authentik)?;
        let mut name = key_sets.clone();
        mac::update(&mut name, b"name");
        let shared_name = hex::of(mac::finish(name).first_chunk::<8>().map_or(&[], |bytes| bytes));
        Some(Self {
            fingerprints: derive(b"fingerprint", &entry)?,
            slots: derive(b"shared slot", &entry)?,
            key_sets,
            shared_name,
        })
    }

    /// What the names of the provider's own shared entries end with.
    pub(crate) fn shared_name(&self) -> &str {
        &self.shared_name
    }

    /// The authenticator of a shared key set.
    pub fn key_set_mac(&self, content: &[u8]) -> Mac {
        let mut mac = self.key_sets.clone();
        mac::update(&mut mac, content);
        mac
    }

    /// The fingerprint of a credential of this provider.
    pub fn fingerprint(&self, credential: &Credential<'_>) -> Fingerprint {
        let mut mac = self.fingerprints.clone();
        match credential {
            Credential::Basic { username, password } => {
                update(&mut mac, &[b"basic", username.as_bytes(), password.expose().as_bytes()]);
            }
            Credential::Bearer(token) => return self.fingerprint_of_token(token.expose().as_bytes()),
            Credential::Session(token) => update(&mut mac, &[b"session", token.expose().as_bytes()]),
            Credential::Code(code) => {
                update(
                    &mut mac,
                    &[b"code", code.code.expose().as_bytes(), code.verifier.expose().as_bytes()],
                );
            }
        }
        Fingerprint(mac::finish(mac))
    }

    /// The fingerprint of a Bearer token.
    pub(crate) fn fingerprint_of_token(&self, token: &[u8]) -> Fingerprint {
        let mut mac = self.fingerprints.clone();
        update(&mut mac, &[b"bearer", token]);
        Fingerprint(mac::finish(mac))
    }

    /// The authenticator of shared-slot contents.
    pub fn slot_mac(&self, content: &[u8]) -> Mac {
        let mut mac = self.slots.clone();
        mac::update(&mut mac, content);
        mac
    }
}

fn update(mac: &mut Mac, parts: &[&[u8]]) {
    for part in parts {
        mac::update(mac, &part.len().to_be_bytes());
        mac::update(mac, part);
    }
}
