//! Sealed values: data that a browser carries for the filter and can neither read nor change.
//!
//! Owns: the keys derived from a provider's cookie secrets, and the associated data: purpose and provider, each with its
//! length, so that no value opens in the place of another.
//! Must not: know what is inside.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::authn::env::Host;
use crate::authn::request::credential::Credential;
use crate::base::aead::{Aead, NONCE_BYTES};
use crate::base::mac::{self, Mac};
use crate::config::{Mode, Provider};

/// What a sealed value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The session cookie.
    Session,
    /// The cookie that a login leaves in the browser.
    Login,
    /// The `state` parameter of a login.
    State,
}

/// A provider's keys for sealed values. Replicas with the same cookie secret have the same keys.
pub struct SealingKeys {
    /// The first seals, all open.
    ciphers: Vec<Aead>,
    /// Has the provider's names in it.
    fingerprints: Mac,
    associated_data: AssociatedData,
}

/// The associated data of each purpose.
struct AssociatedData {
    session: Vec<u8>,
    login: Vec<u8>,
    state: Vec<u8>,
}

impl SealingKeys {
    /// `None`: the provider has no cookie secret, sessions are off.
    pub fn derive(provider: &Provider) -> Option<Self> {
        let derive = |secret: &str, purpose: &[u8]| {
            let mut mac = mac::keyed(secret.as_bytes())?;
            mac::update(&mut mac, b"authentik-proxy-wasm 1 ");
            mac::update(&mut mac, purpose);
            Some(mac::finish(mac))
        };
        let cipher = |secret: &str| Some(Aead::new(derive(secret, b"seal")?));
        let first = provider.cookie_secrets.first()?;
        let ciphers =
            provider.cookie_secrets.iter().map(|secret| cipher(secret.expose())).collect::<Option<_>>()?;
        let mut fingerprints = mac::keyed(&derive(first.expose(), b"fingerprint")?)?;
        // Two entries with one client_id differ in what they answer for, and what one of them let in is nothing to the other.
        let external_host = provider.external_host.to_string();
        let provider = with_lengths(&[
            provider.client_id.as_bytes(),
            provider.issuer.as_bytes(),
            external_host.as_bytes(),
            provider.cookie_domain.as_deref().unwrap_or_default().as_bytes(),
            mode_name(provider.mode).as_bytes(),
        ]);
        mac::update(&mut fingerprints, &provider);
        let associated_data = |purpose: &[u8]| with_lengths(&[purpose, &provider]);
        let associated_data = AssociatedData {
            session: associated_data(b"session"),
            login: associated_data(b"login"),
            state: associated_data(b"state"),
        };
        Some(Self { ciphers, fingerprints, associated_data })
    }

    /// Seals a value, so that any replica can open it. `None`: the host has no randomness.
    pub fn seal(&self, purpose: Purpose, content: &[u8], host: &dyn Host) -> Option<String> {
        let mut nonce = [0; NONCE_BYTES];
        if !host.random(&mut nonce) {
            return None;
        }
        let sealed = self.ciphers.first()?.seal(nonce, self.associated_data(purpose), content)?;
        Some(BASE64_URL_SAFE_NO_PAD.encode(&sealed))
    }

    /// Opens a sealed value. `None`: another key, purpose or provider, or changed bytes.
    pub fn open(&self, purpose: Purpose, sealed: &[u8]) -> Option<Vec<u8>> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
        Aead::open(&self.ciphers, self.associated_data(purpose), sealed)
    }

    /// The fingerprint of a credential as a session keeps it: the same on every replica and after every restart.
    pub fn fingerprint(&self, credential: &Credential<'_>) -> [u8; 32] {
        let mut mac = self.fingerprints.clone();
        let parts: [&[u8]; 3] = match credential {
            Credential::Basic { username, password } => {
                [b"basic", username.as_bytes(), password.expose().as_bytes()]
            }
            Credential::Bearer(token) => [b"bearer", token.expose().as_bytes(), b""],
            Credential::Session(token) => [b"bearer", token.expose().as_bytes(), b""],
            Credential::Code(code) => [b"code", code.code.expose().as_bytes(), b""],
        };
        for part in parts {
            mac::update(&mut mac, &length(part));
            mac::update(&mut mac, part);
        }
        mac::finish(mac)
    }

    fn associated_data(&self, purpose: Purpose) -> &[u8] {
        match purpose {
            Purpose::Session => &self.associated_data.session,
            Purpose::Login => &self.associated_data.login,
            Purpose::State => &self.associated_data.state,
        }
    }
}

const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Proxy => "proxy",
        Mode::ForwardSingle => "forward_single",
        Mode::ForwardDomain => "forward_domain",
    }
}

fn with_lengths(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&length(part)[..], part].concat()).collect()
}

fn length(part: &[u8]) -> [u8; 8] {
    u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes()
}

#[cfg(test)]
pub(crate) mod tests;
