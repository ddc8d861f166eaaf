//! Keyed digests that stand for a credential where the credential itself must not be.
//!
//! Owns: the keys derived from a provider's secret, and the encoding that is digested (every part with its length, so
//! that no two credentials share an encoding). Must not: keep a credential.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::credential::Credential;
use crate::config::{Config, Provider};

/// A keyed digest of a credential; useless without the provider's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// The keys of one provider under one configuration. Another provider or another configuration has others, so
/// nothing that one of them wrote is anything to the other.
pub struct ProviderKeys {
    fingerprints: HmacKey,
    slots: HmacKey,
}

/// HMAC with SHA-256, its key set.
pub type HmacKey = Hmac<Sha256>;

impl ProviderKeys {
    /// The keys of this provider. `None` only if HMAC refused a key, which it never does.
    pub fn derive(config: &Config, provider: &Provider) -> Option<Self> {
        let derive = |purpose: &[u8]| {
            let mut mac = HmacKey::new_from_slice(provider.client_secret.expose().as_bytes()).ok()?;
            update(
                &mut mac,
                &[b"authentik-proxy-wasm 1", purpose, provider.client_id.as_bytes(), &config.digest],
            );
            HmacKey::new_from_slice(&mac.finalize().into_bytes()).ok()
        };
        Some(Self { fingerprints: derive(b"fingerprint")?, slots: derive(b"shared slot")? })
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
        Fingerprint(mac.finalize().into_bytes().into())
    }

    /// The fingerprint of a Bearer token.
    pub(super) fn fingerprint_of_token(&self, token: &[u8]) -> Fingerprint {
        let mut mac = self.fingerprints.clone();
        update(&mut mac, &[b"bearer", token]);
        Fingerprint(mac.finalize().into_bytes().into())
    }

    /// The authenticator of shared-slot contents.
    pub fn slot_mac(&self, content: &[u8]) -> HmacKey {
        let mut mac = self.slots.clone();
        mac.update(content);
        mac
    }
}

fn update(mac: &mut HmacKey, parts: &[&[u8]]) {
    for part in parts {
        mac.update(&part.len().to_be_bytes());
        mac.update(part);
    }
}
