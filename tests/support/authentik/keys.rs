//! The keys of the stand-in: fixed test keys, the signatures made with them and their JWKS entries, shaped as
//! authentik's are. There are two generations of each, so that a key can be swapped.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::pkcs8::DecodePrivateKey as _;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

/// Which of the two keys a provider signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    A,
    B,
}

impl Generation {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Something that signs a token.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    /// HS256 under these bytes.
    Secret(Vec<u8>),
    Rs256(Generation),
    Es256(Generation),
    Es384(Generation),
    Es512(Generation),
    /// The key of the external issuer, ES256.
    External,
    /// The signature is empty, as with `alg: none`.
    None,
}

macro_rules! pem {
    ($name:literal, $generation:expr) => {
        match $generation {
            Generation::A => include_str!(concat!("../../data/keys/", $name, "-a.pem")),
            Generation::B => include_str!(concat!("../../data/keys/", $name, "-b.pem")),
        }
    };
}

impl Key {
    pub(crate) fn alg(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Rs256(_) => "RS256",
            Self::Es256(_) | Self::External => "ES256",
            Self::Es384(_) => "ES384",
            Self::Es512(_) => "ES512",
            Self::None => "none",
        }
    }

    /// The key id; a client secret has none.
    pub(crate) fn kid(&self) -> Option<String> {
        match self {
            Self::Secret(_) | Self::None => None,
            Self::External => Some("ext-1".to_owned()),
            _ => Some(url(Sha512::digest(self.pem()))),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Secret(secret) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }
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
            Self::None => Vec::new(),
        }
    }

    /// The JWKS entry of a signing key; `None` where authentik publishes none.
    pub(crate) fn jwk(&self) -> Option<Value> {
        let mut entry = match self {
            Self::Secret(_) | Self::None => return None,
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
        };
        entry["alg"] = json!(self.alg());
        entry["kid"] = json!(self.kid());
        entry["use"] = json!("sig");
        add_certificate(&mut entry);
        Some(entry)
    }

    fn pem(&self) -> &'static str {
        match self {
            Self::Rs256(generation) => pem!("rs256", generation),
            Self::Es256(generation) => pem!("es256", generation),
            Self::Es384(generation) => pem!("es384", generation),
            Self::Es512(generation) => pem!("es512", generation),
            Self::External => include_str!("../../data/keys/external.pem"),
            Self::Secret(_) | Self::None => panic!("no key in a file"),
        }
    }

    fn der(&self) -> Vec<u8> {
        let base64: String = self.pem().lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(base64).unwrap()
    }

    pub(crate) fn rsa(&self) -> rsa::RsaPrivateKey {
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

/// The second entry of a provider that encrypts; nobody here decrypts, so the modulus is filler.
pub(crate) fn encryption_jwk() -> Value {
    let mut entry = json!({
        "alg": "RSA-OAEP-256",
        "enc": "A256CBC-HS512",
        "kid": encryption_kid(),
        "kty": "RSA",
        "use": "enc",
        "n": url([0xb0; 512]),
        "e": "AQAB",
    });
    add_certificate(&mut entry);
    entry
}

pub(crate) fn encryption_kid() -> String {
    url(Sha512::digest("the encryption key"))
}

/// The certificate members: of the right shape, not the certificate of the key.
fn add_certificate(entry: &mut Value) {
    entry["x5c"] = json!([STANDARD.encode([0x30; 640])]);
    entry["x5t"] = json!(url([0x51; 20]));
    entry["x5t#S256"] = json!(url([0x52; 32]));
}

pub(crate) fn url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
