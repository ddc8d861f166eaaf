//! Signature algorithms of JWS (RFC 7518 §3) and the two roads to check one.
//!
//! Owns: which algorithms exist here, public keys in both forms (for the host and for Wasm), the check itself: the
//! host's where it has one (BoringSSL, sixty times as fast), RustCrypto's otherwise, and for HS256 always.
//! Must not: choose a key or an algorithm by what a token says. That is [`super::jwks`]'s, by the key.

use std::borrow::Cow;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac as _};
use rsa::pkcs8::EncodePublicKey as _;
use rsa::signature::Verifier as _;
use rsa::traits::PublicKeyParts as _;
use sha2::Sha256;

use crate::authn::env::Host;

/// RSA keys below this are refused (RFC 7518 §3.3).
const MIN_RSA_BITS: usize = 2048;
/// RSA keys above this are refused: a check in Wasm would take too long.
const MAX_RSA_BITS: usize = 8192;

/// The asymmetric algorithms that authentik signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
}

impl Algorithm {
    /// The name in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    /// The algorithm of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Rs256, Self::Es256, Self::Es384, Self::Es512].into_iter().find(|one| one.name() == name)
    }

    /// The hash, as Envoy's `verify_signature` calls it.
    const fn hash(self) -> &'static str {
        match self {
            Self::Rs256 | Self::Es256 => "sha256",
            Self::Es384 => "sha384",
            Self::Es512 => "sha512",
        }
    }
}

/// A public key that can check signatures of exactly one algorithm.
#[derive(Debug, Clone)]
pub struct PublicKey {
    material: Material,
    /// SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7), for the host.
    spki: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Material {
    Rs256(Box<rsa::pkcs1v15::VerifyingKey<Sha256>>),
    Es256(Box<p256::ecdsa::VerifyingKey>),
    Es384(Box<p384::ecdsa::VerifyingKey>),
    Es512(Box<P521Key>),
}

/// `p521`'s own key type has no `Debug`.
#[derive(Clone)]
struct P521Key(p521::ecdsa::VerifyingKey);

impl core::fmt::Debug for P521Key {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("P521Key")
    }
}

impl PublicKey {
    /// An RSA key from the big-endian `n` and `e` of its JWK (RFC 7518 §6.3.1). `None`: not usable.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let (n, e) = (rsa::BigUint::from_bytes_be(modulus), rsa::BigUint::from_bytes_be(exponent));
        let key = rsa::RsaPublicKey::new_with_max_size(n, e, MAX_RSA_BITS).ok()?;
        if key.n().bits() < MIN_RSA_BITS {
            return None;
        }
        let spki = key.to_public_key_der().ok()?.into_vec();
        Some(Self { material: Material::Rs256(Box::new(rsa::pkcs1v15::VerifyingKey::new(key))), spki })
    }

    /// A key on the curve of `algorithm`, from its SEC1 point. `None`: not usable.
    pub fn elliptic(algorithm: Algorithm, point: &[u8]) -> Option<Self> {
        let (material, spki) = match algorithm {
            Algorithm::Rs256 => return None,
            Algorithm::Es256 => {
                let key = p256::PublicKey::from_sec1_bytes(point).ok()?;
                (Material::Es256(Box::new(key.into())), key.to_public_key_der().ok()?)
            }
            Algorithm::Es384 => {
                let key = p384::PublicKey::from_sec1_bytes(point).ok()?;
                (Material::Es384(Box::new(key.into())), key.to_public_key_der().ok()?)
            }
            Algorithm::Es512 => {
                let key = p521::PublicKey::from_sec1_bytes(point).ok()?;
                let verifying = p521::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
                (Material::Es512(Box::new(P521Key(verifying))), key.to_public_key_der().ok()?)
            }
        };
        Some(Self { material, spki: spki.into_vec() })
    }

    /// The only algorithm that this key checks.
    pub const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rs256(_) => Algorithm::Rs256,
            Material::Es256(_) => Algorithm::Es256,
            Material::Es384(_) => Algorithm::Es384,
            Material::Es512(_) => Algorithm::Es512,
        }
    }

    /// In the form that the host wants a signature in: DER for ECDSA. `None`: not a signature at all.
    fn signature_for_host<'s>(&self, signature: &'s [u8]) -> Option<Cow<'s, [u8]>> {
        Some(match self.material {
            Material::Rs256(_) => Cow::Borrowed(signature),
            Material::Es256(_) => {
                Cow::Owned(p256::ecdsa::Signature::from_slice(signature).ok()?.to_der().as_bytes().to_vec())
            }
            Material::Es384(_) => {
                Cow::Owned(p384::ecdsa::Signature::from_slice(signature).ok()?.to_der().as_bytes().to_vec())
            }
            Material::Es512(_) => {
                Cow::Owned(p521::ecdsa::Signature::from_slice(signature).ok()?.to_der().as_bytes().to_vec())
            }
        })
    }

    /// Checks a signature in the form that a JWS has it: by the host, which says yes or no, or in Wasm.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8], host: &dyn Host) -> bool {
        let Some(for_host) = self.signature_for_host(signature) else { return false };
        host.verify_signature(self.algorithm().hash(), &self.spki, &for_host, message)
            .unwrap_or_else(|| self.verify_in_wasm(message, signature))
    }

    fn verify_in_wasm(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rs256(key) => rsa::pkcs1v15::Signature::try_from(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Material::Es256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Material::Es384(key) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Material::Es512(key) => p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.0.verify(message, &signature).is_ok()),
        }
    }
}

/// HMAC with SHA-256 (RFC 7518 §3.2), compared in constant time. The host has no such check.
pub(crate) fn verify_hs256(secret: &str, message: &[u8], signature: &[u8]) -> bool {
    <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes())
        .is_ok_and(|mac| mac.chain_update(message).verify_slice(signature).is_ok())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use p256::ecdsa::signature::RandomizedSigner as _;

    use super::*;
    use crate::authn::env::{self, Shared};

    const MESSAGE: &[u8] = b"header.payload";

    /// Hash, key, signature and message, as the host is given them.
    type Asked = (String, Vec<u8>, Vec<u8>, Vec<u8>);

    /// A host that gives this answer, and remembers what it was asked.
    struct Host {
        answer: Option<bool>,
        asked: RefCell<Vec<Asked>>,
    }

    impl env::Host for Host {
        fn verify_signature(
            &self,
            hash: &str,
            spki: &[u8],
            signature: &[u8],
            message: &[u8],
        ) -> Option<bool> {
            let asked = (hash.to_owned(), spki.to_vec(), signature.to_vec(), message.to_vec());
            self.asked.borrow_mut().push(asked);
            self.answer
        }
        fn shared(&self, _: &str) -> Option<Shared> {
            None
        }
        fn share(&self, _: &str, _: &[u8]) {}
        fn share_if(&self, _: &str, _: &[u8], _: u32) -> bool {
            false
        }
        fn random(&self, _: &mut [u8]) -> bool {
            false
        }
        fn source_address(&self) -> Option<String> {
            None
        }
    }

    /// One curve's key, and its signature of [`MESSAGE`] as a JWS and as a host has it.
    struct Signed {
        hash: &'static str,
        key: PublicKey,
        spki: Vec<u8>,
        raw: Vec<u8>,
        der: Vec<u8>,
    }

    /// The same for each curve, whose types have nothing in common.
    macro_rules! signed {
        ($curve:ident, $algorithm:expr, $hash:literal, $bytes:literal) => {{
            let secret = $curve::SecretKey::from_slice(&[1; $bytes]).unwrap();
            let signing = $curve::ecdsa::SigningKey::from_slice(&[1; $bytes]).unwrap();
            let signature: $curve::ecdsa::Signature = signing.sign_with_rng(&mut rand_core::OsRng, MESSAGE);
            Signed {
                hash: $hash,
                key: PublicKey::elliptic($algorithm, &secret.public_key().to_sec1_bytes()).unwrap(),
                spki: secret.public_key().to_public_key_der().unwrap().into_vec(),
                raw: signature.to_bytes().to_vec(),
                der: signature.to_der().as_bytes().to_vec(),
            }
        }};
    }

    fn of_each_curve() -> [Signed; 3] {
        [
            signed!(p256, Algorithm::Es256, "sha256", 32),
            signed!(p384, Algorithm::Es384, "sha384", 48),
            signed!(p521, Algorithm::Es512, "sha512", 66),
        ]
    }

    fn check(host: &Host, key: &PublicKey, signature: &[u8], message: &[u8]) -> bool {
        key.verify(message, signature, host)
    }

    #[test]
    fn the_host_is_asked_in_its_own_form_and_its_word_counts() {
        for answer in [true, false] {
            for signed in of_each_curve() {
                let host = Host { answer: Some(answer), asked: RefCell::default() };
                assert_eq!(check(&host, &signed.key, &signed.raw, MESSAGE), answer, "{}", signed.hash);
                let expected = (signed.hash.to_owned(), signed.spki, signed.der, MESSAGE.to_vec());
                assert_eq!(*host.asked.borrow(), [expected]);
            }
        }
    }

    #[test]
    fn a_host_without_cryptography_is_done_without() {
        let host = Host { answer: None, asked: RefCell::default() };
        for Signed { hash, key, raw, .. } in of_each_curve() {
            assert!(check(&host, &key, &raw, MESSAGE), "{hash}");
            assert!(!check(&host, &key, &raw, b"header.another"), "{hash}");
        }
    }

    #[test]
    fn what_has_not_a_signature_s_length_is_shown_to_nobody() {
        let host = Host { answer: Some(true), asked: RefCell::default() };
        for Signed { hash, key, raw, der, .. } in of_each_curve() {
            for other in [&raw[1..], &[&raw[..], &[0]].concat(), &der, &[]] {
                assert!(!check(&host, &key, other, MESSAGE), "{hash}");
            }
        }
        assert!(host.asked.borrow().is_empty());
    }

    #[test]
    fn an_rsa_key_has_2048_to_8192_bits() {
        let modulus = |bits: usize| {
            let mut bytes = vec![0xff; bits.div_ceil(8)];
            bytes[0] >>= (8 - bits % 8) % 8;
            bytes
        };
        for (bits, is_usable) in [(2047, false), (2048, true), (2049, true), (8192, true), (8193, false)] {
            let key = PublicKey::rsa(&modulus(bits), &[1, 0, 1]);
            assert_eq!(key.is_some(), is_usable, "{bits} bits");
        }
    }
}
