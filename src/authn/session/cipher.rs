//! Sealed boxes: what a browser carries for us and can neither read nor change.
//!
//! Owns: the keys derived from a provider's cookie secrets, the AEAD (XChaCha20-Poly1305, random nonces), and what a box
//! is bound to: its purpose and its provider, each with its length, so that no box opens where another belongs.
//! Must not: know what is inside.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

use crate::authn::env::Host;
use crate::authn::request::credential::Credential;
use crate::base::mac::{self, Mac};
use crate::config::{Mode, Provider};

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

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
    /// Has the provider's names in it.
    fingerprints: Mac,
    bound_to: BoundTo,
}

/// What a box is bound to, for each purpose.
struct BoundTo {
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
        let cipher = |secret: &str| Some(XChaCha20Poly1305::new(&derive(secret, b"seal")?.into()));
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
        let bound_to = |purpose: &[u8]| with_lengths(&[purpose, &provider]);
        let bound_to =
            BoundTo { session: bound_to(b"session"), login: bound_to(b"login"), state: bound_to(b"state") };
        Some(Self { ciphers, fingerprints, bound_to })
    }

    /// A box that any replica can open. `None`: there is no randomness to be had.
    pub fn seal(&self, purpose: Purpose, content: &[u8], host: &dyn Host) -> Option<String> {
        let mut sealed = Vec::with_capacity(content.len().saturating_add(NONCE_BYTES + TAG_BYTES));
        sealed.resize(NONCE_BYTES, 0);
        if !host.random(&mut sealed) {
            return None;
        }
        sealed.extend_from_slice(content);
        let (nonce, content) = sealed.split_first_chunk_mut::<NONCE_BYTES>()?;
        let (cipher, nonce) = (self.ciphers.first()?, XNonce::from(*nonce));
        let tag = cipher.encrypt_in_place_detached(&nonce, self.bound_to(purpose), content).ok()?;
        sealed.extend_from_slice(&tag);
        Some(BASE64_URL_SAFE_NO_PAD.encode(&sealed))
    }

    /// What is in a box. `None`: it is not ours, not for this, or not whole.
    pub fn open(&self, purpose: Purpose, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, content) = sealed.split_first_chunk_mut::<NONCE_BYTES>()?;
        let (content, tag) = content.split_last_chunk_mut::<TAG_BYTES>()?;
        let (nonce, tag, length) = (XNonce::from(*nonce), Tag::from(*tag), content.len());
        let aad = self.bound_to(purpose);
        // A cipher checks the tag before it changes anything: the next one finds the box as it was.
        let opens =
            |cipher: &XChaCha20Poly1305| cipher.decrypt_in_place_detached(&nonce, aad, content, &tag).is_ok();
        if !self.ciphers.iter().any(opens) {
            return None;
        }
        sealed.drain(..NONCE_BYTES);
        sealed.truncate(length);
        Some(sealed)
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

    fn bound_to(&self, purpose: Purpose) -> &[u8] {
        match purpose {
            Purpose::Session => &self.bound_to.session,
            Purpose::Login => &self.bound_to.login,
            Purpose::State => &self.bound_to.state,
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
pub(crate) mod tests {
    use core::cell::Cell;

    use serde_json::json;

    use super::*;
    use crate::authn::env::Shared;
    use crate::authn::request::credential::{AuthorizationCode, BearerToken};
    use crate::base::secret::Secret;
    use crate::base::token::Token;
    use crate::config::Config;

    const PURPOSES: [Purpose; 3] = [Purpose::Session, Purpose::Login, Purpose::State];

    /// Randomness that counts, as long as there is some.
    pub(crate) struct Counter(Cell<Option<u8>>);

    impl Counter {
        pub(crate) fn new() -> Self {
            Self(Cell::new(Some(0)))
        }
    }

    impl Host for Counter {
        fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            None
        }
        fn shared(&self, _: &str) -> Option<Shared> {
            None
        }
        fn share(&self, _: &str, _: &[u8]) {}
        fn share_if(&self, _: &str, _: &[u8], _: u32) -> bool {
            false
        }
        fn random(&self, bytes: &mut [u8]) -> bool {
            let Some(count) = self.0.get() else { return false };
            bytes.fill(count);
            self.0.set(Some(count + 1));
            true
        }
        fn source_address(&self) -> Option<String> {
            None
        }
    }

    /// The keys of a provider that differs from others in these two only.
    fn keys_of(client_id: &str, issuer: &str) -> SealingKeys {
        let configuration = json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
            "providers": [{
                "assigned_application_slug": "demo",
                "client_id": client_id,
                "client_secret": "s",
                "cookie_secret": "0123456789abcdef0123456789abcdef",
                "external_host": "https://app.example.test",
                "oidc_configuration": {"issuer": issuer},
            }],
        });
        let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
        SealingKeys::derive(&config.providers[0]).unwrap()
    }

    /// With the same text in each, put together in another way.
    fn providers() -> [SealingKeys; 4] {
        [("a", "bc"), ("ab", "c"), ("bc", "a"), ("a", "bd")]
            .map(|(client_id, issuer)| keys_of(client_id, issuer))
    }

    fn basic(username: &str, password: &str) -> Credential<'static> {
        Credential::Basic { username: username.to_owned(), password: Secret::new(password.to_owned()) }
    }

    fn token(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_box_opens_for_its_own_purpose_only() {
        let keys = keys_of("a", "bc");
        for sealed_for in PURPOSES {
            let sealed = keys.seal(sealed_for, b"content", &Counter::new()).unwrap();
            for opened_for in PURPOSES {
                let content = keys.open(opened_for, sealed.as_bytes());
                let expected = (opened_for == sealed_for).then(|| b"content".to_vec());
                assert_eq!(content, expected, "{sealed_for:?} as {opened_for:?}");
            }
        }
    }

    #[test]
    fn a_box_opens_at_its_own_provider_only() {
        let providers = providers();
        for (sealer, keys) in providers.iter().enumerate() {
            let sealed = keys.seal(Purpose::Session, b"content", &Counter::new()).unwrap();
            for (opener, keys) in providers.iter().enumerate() {
                let is_open = keys.open(Purpose::Session, sealed.as_bytes()).is_some();
                assert_eq!(is_open, opener == sealer, "provider {sealer}'s at {opener}");
            }
        }
    }

    #[test]
    fn every_box_has_a_nonce_of_its_own_and_without_randomness_there_is_none() {
        let (keys, counter) = (keys_of("a", "bc"), Counter::new());
        for count in 0..3 {
            let sealed = keys.seal(Purpose::Session, b"content", &counter).unwrap();
            let nonce = BASE64_URL_SAFE_NO_PAD.encode([count; NONCE_BYTES]);
            assert!(sealed.starts_with(&nonce), "{sealed}");
        }
        assert_eq!(keys.seal(Purpose::Session, b"content", &Counter(Cell::new(None))), None);
    }

    #[test]
    fn no_two_credentials_have_one_fingerprint() {
        let code = |code: &str| {
            Credential::Code(AuthorizationCode {
                code: token(code),
                verifier: token(""),
                nonce: String::new(),
            })
        };
        let credentials = [
            basic("alice", "pass"),
            basic("alicep", "ass"),
            basic("alicepass", ""),
            basic("Alice", "pass"),
            Credential::Bearer(BearerToken::InHeader("alicepass")),
            Credential::Bearer(BearerToken::Kept(Token::new("alice".to_owned()))),
            code("alicepass"),
        ];
        let mut seen = Vec::new();
        for keys in providers() {
            for credential in &credentials {
                let fingerprint = keys.fingerprint(credential);
                assert_eq!(
                    fingerprint,
                    keys.fingerprint(&credential.clone()),
                    "it stands for the credential"
                );
                assert!(!seen.contains(&fingerprint), "{credential:?}");
                seen.push(fingerprint);
            }
        }
        let of_session = Credential::Session(Token::new("alice".to_owned()));
        assert_eq!(
            keys_of("a", "bc").fingerprint(&of_session),
            keys_of("a", "bc").fingerprint(&credentials[5]),
            "the token of a session is the token"
        );
    }
}
