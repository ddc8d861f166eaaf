//! Signatures checked in Wasm, by jwt-compact: for hosts without `verify_signature`. Only with the feature `portable`.
//!
//! Owns: RS256 and ES256, which are jwt-compact's. It has no ES384 and no ES512, and takes RSA keys up to 4,096 bits.
//! Must not: be asked before the host. It is sixty times as slow.

use std::borrow::Cow;

use jwt_compact::alg::{Es256, Rsa, RsaPublicKey};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm, AlgorithmSignature};

/// A public key that jwt-compact can check signatures of.
#[derive(Debug, Clone)]
pub(super) enum Key {
    Rs256(Box<RsaPublicKey>),
    Es256(Box<<Es256 as Algorithm>::VerifyingKey>),
}

impl Key {
    /// From modulus and public exponent, big-endian. `None`: jwt-compact does not take them.
    pub(super) fn rs256(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let (modulus, public_exponent) = (Cow::Borrowed(modulus), Cow::Borrowed(exponent));
        let key = JsonWebKey::Rsa { modulus, public_exponent, private_parts: None };
        RsaPublicKey::try_from(&key).ok().map(|key| Self::Rs256(Box::new(key)))
    }

    /// From the coordinates of a point on P-256. `None`: it is not there.
    pub(super) fn es256(x: &[u8], y: &[u8]) -> Option<Self> {
        let (x, y) = (Cow::Borrowed(x), Cow::Borrowed(y));
        let key = JsonWebKey::EllipticCurve { curve: "P-256".into(), x, y, secret: None };
        <Es256 as Algorithm>::VerifyingKey::try_from(&key).ok().map(|key| Self::Es256(Box::new(key)))
    }

    /// Checks a signature in the form that a JWS has it.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rs256(key) => check(&Rsa::rs256(), key.as_ref(), message, signature),
            Self::Es256(key) => check(&Es256, key.as_ref(), message, signature),
        }
    }
}

fn check<A: Algorithm>(algorithm: &A, key: &A::VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    A::Signature::try_from_slice(signature)
        .is_ok_and(|signature| algorithm.verify_signature(&signature, key, message))
}
