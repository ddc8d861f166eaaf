//! Signatures and public parts of the RSA and ECDSA keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::pkcs8::DecodePrivateKey as _;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Key, url};

const NO_KEY_PAIR: &str = "a secret has no key pair";

impl Key {
    pub(super) fn sign_asymmetric(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Secret(_) | Self::None => panic!("{NO_KEY_PAIR}"),
            Self::Rs256(_) => rsa::pkcs1v15::SigningKey::<Sha256>::new(self.rsa()).sign(message).to_vec(),
            Self::Es256(_) | Self::External => {
                let signature: p256::ecdsa::Signature =
                    p256::ecdsa::SigningKey::from(self.p256()).sign(message);
                signature.to_vec()
            }
            Self::Es384(_) => {
                let signature: p384::ecdsa::Signature =
                    p384::ecdsa::SigningKey::from(self.p384()).sign(message);
                signature.to_vec()
            }
            Self::Es512(_) => {
                let key = p521::ecdsa::SigningKey::from_bytes(&self.p521().to_bytes()).unwrap();
                let signature: p521::ecdsa::Signature = key.sign_with_rng(&mut rand_core::OsRng, message);
                signature.to_vec()
            }
        }
    }

    /// The members of the JWKS entry that are the key itself.
    pub(super) fn public_parts(&self) -> Value {
        match self {
            Self::Secret(_) | Self::None => panic!("{NO_KEY_PAIR}"),
            Self::Rs256(_) => {
                let key = self.rsa();
                json!({"kty": "RSA", "n": url(key.n().to_bytes_be()), "e": url(key.e().to_bytes_be())})
            }
            Self::Es256(_) | Self::External => {
                let point = self.p256().public_key().to_encoded_point(false);
                json!({"kty": "EC", "crv": "P-256", "x": url(point.x().unwrap()), "y": url(point.y().unwrap())})
            }
            Self::Es384(_) => {
                let point = self.p384().public_key().to_encoded_point(false);
                json!({"kty": "EC", "crv": "P-384", "x": url(point.x().unwrap()), "y": url(point.y().unwrap())})
            }
            Self::Es512(_) => {
                let point = self.p521().public_key().to_encoded_point(false);
                json!({"kty": "EC", "crv": "P-521", "x": url(point.x().unwrap()), "y": url(point.y().unwrap())})
            }
        }
    }

    fn der(&self) -> Vec<u8> {
        let base64: String = self.pem().lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(base64).unwrap()
    }

    /// The RSA key; panics if it is none.
    pub fn rsa(&self) -> rsa::RsaPrivateKey {
        rsa::RsaPrivateKey::from_pkcs8_der(&self.der()).unwrap()
    }

    fn p256(&self) -> p256::SecretKey {
        p256::SecretKey::from_pkcs8_der(&self.der()).unwrap()
    }

    fn p384(&self) -> p384::SecretKey {
        p384::SecretKey::from_pkcs8_der(&self.der()).unwrap()
    }

    fn p521(&self) -> p521::SecretKey {
        p521::SecretKey::from_pkcs8_der(&self.der()).unwrap()
    }
}
