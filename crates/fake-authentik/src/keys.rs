//! The keys of the stand-in: fixed test keys, the signatures made with them and their JWKS entries, shaped as
//! authentik's are. There are two generations of each, so that a key can be swapped. RSA and curves are in `asymmetric.rs`.

#[cfg(feature = "asymmetric")]
mod asymmetric;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

/// Which of the two keys a provider signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The first.
    A,
    /// The one after a swap.
    B,
}

impl Generation {
    /// The one that a swap leads to.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Something that signs a token.
#[derive(Clone, Debug)]
pub enum Key {
    /// HS256 under these bytes.
    Secret(Vec<u8>),
    /// RSA of 2048 bits, PKCS#1 v1.5 with SHA-256.
    Rs256(Generation),
    /// P-256 with SHA-256.
    Es256(Generation),
    /// P-384 with SHA-384.
    Es384(Generation),
    /// P-521 with SHA-512.
    Es512(Generation),
    /// The key of the external issuer, ES256.
    External,
    /// The signature is empty, as with `alg: none`.
    None,
}

macro_rules! pem {
    ($name:literal, $generation:expr) => {
        match $generation {
            Generation::A => include_str!(concat!("../keys/", $name, "-a.pem")),
            Generation::B => include_str!(concat!("../keys/", $name, "-b.pem")),
        }
    };
}

impl Key {
    /// `alg` in a token's header.
    pub fn alg(&self) -> &'static str {
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
    pub fn kid(&self) -> Option<String> {
        match self {
            Self::Secret(_) | Self::None => None,
            Self::External => Some("ext-1".to_owned()),
            _ => Some(url(Sha512::digest(self.pem()))),
        }
    }

    /// Signs with the algorithm of the key. ECDSA signatures are raw, as in a JWS.
    ///
    /// # Panics
    /// Panics without the feature `asymmetric`, unless the key is a secret or none.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Secret(secret) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }
            Self::None => Vec::new(),
            _ => self.sign_asymmetric(message),
        }
    }

    /// The JWKS entry of a signing key; `None` where authentik publishes none.
    ///
    /// # Panics
    /// Panics without the feature `asymmetric`, unless the key is a secret or none.
    pub fn jwk(&self) -> Option<Value> {
        let mut entry = match self {
            Self::Secret(_) | Self::None => return None,
            _ => self.public_parts(),
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
            Self::External => include_str!("../keys/external.pem"),
            Self::Secret(_) | Self::None => panic!("no key in a file"),
        }
    }
}

#[cfg(not(feature = "asymmetric"))]
impl Key {
    fn sign_asymmetric(&self, _: &[u8]) -> Vec<u8> {
        panic!("{} needs the feature `asymmetric`", self.alg())
    }

    fn public_parts(&self) -> Value {
        panic!("{} needs the feature `asymmetric`", self.alg())
    }
}

/// The second entry of a provider that encrypts; nobody here decrypts, so the modulus is filler.
#[cfg(feature = "server")]
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

#[cfg(feature = "server")]
pub(crate) fn encryption_kid() -> String {
    url(Sha512::digest("the encryption key"))
}

/// The certificate members: of the right shape, not the certificate of the key.
fn add_certificate(entry: &mut Value) {
    entry["x5c"] = json!([STANDARD.encode([0x30; 640])]);
    entry["x5t"] = json!(url([0x51; 20]));
    entry["x5t#S256"] = json!(url([0x52; 32]));
}

/// Base64url without padding.
pub fn url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
