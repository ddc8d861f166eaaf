//! Sealed boxes: what a browser carries for us and can neither read nor change.
//!
//! Owns: the keys derived from a provider's cookie secrets, the AEAD (XChaCha20-Poly1305, random nonces), and what a box
//! is bound to: its purpose and its provider, each with its length, so that no box opens where another belongs.
//! Must not: know what is inside.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::Surroundings;
use super::credential::Credential;
use crate::config::Provider;

const NONCE_BYTES: usize = 24;

/// What a box is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The session cookie.
    Session,
    /// The cookie that a login leaves in the browser.
    Login,
    /// The `state` parameter of a login.
    State,
}

/// A provider's keys for boxes. Every replica with the same cookie secret has the same.
pub struct SealingKeys {
    /// The first seals, all open.
    ciphers: Vec<XChaCha20Poly1305>,
    fingerprints: Hmac<Sha256>,
    provider: Vec<u8>,
}

impl SealingKeys {
    /// `None`: the provider has no cookie secret, sessions are off.
    pub fn derive(provider: &Provider) -> Option<Self> {
        let derive = |secret: &str, purpose: &[u8]| {
            let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret.as_bytes()).ok()?;
            mac.update(b"authentik-proxy-wasm 1 ");
            mac.update(purpose);
            Some(mac.finalize().into_bytes())
        };
        let cipher = |secret: &str| Some(XChaCha20Poly1305::new(&derive(secret, b"seal")?));
        let first = provider.cookie_secrets.first()?;
        let ciphers =
            provider.cookie_secrets.iter().map(|secret| cipher(secret.expose())).collect::<Option<_>>()?;
        let fingerprints =
            <Hmac<Sha256> as Mac>::new_from_slice(&derive(first.expose(), b"fingerprint")?).ok()?;
        let provider = with_lengths(&[provider.client_id.as_bytes(), provider.issuer.as_bytes()]);
        Some(Self { ciphers, fingerprints, provider })
    }

    /// A box that any replica can open. `None`: there is no randomness to be had.
    pub fn seal(&self, purpose: Purpose, content: &[u8], surroundings: &dyn Surroundings) -> Option<String> {
        let mut nonce = [0; NONCE_BYTES];
        if !surroundings.random(&mut nonce) {
            return None;
        }
        let payload = Payload { msg: content, aad: &self.bound_to(purpose) };
        let ciphertext = self.ciphers.first()?.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some(BASE64_URL_SAFE_NO_PAD.encode([&nonce[..], &ciphertext].concat()))
    }

    /// What is in a box. `None`: it is not ours, not for this, or not whole.
    pub fn open(&self, purpose: Purpose, sealed: &[u8]) -> Option<Vec<u8>> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let nonce = XNonce::from(*nonce);
        let aad = self.bound_to(purpose);
        let payload = || Payload { msg: ciphertext, aad: &aad };
        self.ciphers.iter().find_map(|cipher| cipher.decrypt(&nonce, payload()).ok())
    }

    /// The fingerprint of a credential as a session keeps it: the same on every replica and after every restart.
    pub fn fingerprint(&self, credential: &Credential<'_>) -> [u8; 32] {
        let mut mac = self.fingerprints.clone();
        mac.update(&self.provider);
        let parts: [&[u8]; 3] = match credential {
            Credential::Basic { username, password } => {
                [b"basic", username.as_bytes(), password.expose().as_bytes()]
            }
            Credential::Bearer(token) => [b"bearer", token.expose().as_bytes(), b""],
            Credential::Session(token) => [b"bearer", token.expose().as_bytes(), b""],
            Credential::Code(code) => [b"code", code.code.expose().as_bytes(), b""],
        };
        mac.update(&with_lengths(&parts));
        mac.finalize().into_bytes().into()
    }

    fn bound_to(&self, purpose: Purpose) -> Vec<u8> {
        let purpose: &[u8] = match purpose {
            Purpose::Session => b"session",
            Purpose::Login => b"login",
            Purpose::State => b"state",
        };
        with_lengths(&[purpose, &self.provider])
    }
}

fn with_lengths(parts: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        all.extend_from_slice(part);
    }
    all
}
