//! What Envoy's `verify_signature` says of a signature, by RustCrypto in BoringSSL's place.
//!
//! Owns: the check, and the words of a check that fails. Must not: know how a filter asks for it.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::pkcs8::{DecodePublicKey, SubjectPublicKeyInfoRef};
use rsa::pkcs1;
use rsa::pkcs8::der::Decode;
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// As long as BoringSSL takes them.
const MAX_RSA_BITS: usize = 16_384;

/// Checks a signature. The key is a SubjectPublicKeyInfo in DER; an ECDSA signature is in DER.
///
/// # Errors
/// Why it is not good, in Envoy's words.
pub fn verify(hash: &str, key: &[u8], signature: &[u8], text: &[u8]) -> Result<(), String> {
    let hash = hash.to_ascii_lowercase();
    let (digest, padding) = match hash.as_str() {
        "sha224" => (Sha224::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha224>()),
        "sha256" => (Sha256::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha256>()),
        "sha384" => (Sha384::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha384>()),
        "sha512" => (Sha512::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha512>()),
        _ => return Err(format!("{hash} is not supported.")),
    };
    let verified = if let Some(key) = rsa_key(key) {
        key.verify(padding, &digest, signature).is_ok()
    } else if let Ok(key) = p256::PublicKey::from_public_key_der(key) {
        p256::ecdsa::Signature::from_der(signature)
            .is_ok_and(|s| p256::ecdsa::VerifyingKey::from(key).verify_prehash(&digest, &s).is_ok())
    } else if let Ok(key) = p384::PublicKey::from_public_key_der(key) {
        p384::ecdsa::Signature::from_der(signature)
            .is_ok_and(|s| p384::ecdsa::VerifyingKey::from(key).verify_prehash(&digest, &s).is_ok())
    } else if let Ok(key) = p521::PublicKey::from_public_key_der(key) {
        let key = p521::ecdsa::VerifyingKey::from_affine(*key.as_affine()).map_err(|e| e.to_string())?;
        p521::ecdsa::Signature::from_der(signature).is_ok_and(|s| key.verify_prehash(&digest, &s).is_ok())
    } else {
        return Err("Failed to parse the public key.".to_owned());
    };
    if verified { Ok(()) } else { Err("Failed to verify digital signature. Error code: 0".to_owned()) }
}

fn rsa_key(spki: &[u8]) -> Option<RsaPublicKey> {
    let spki = SubjectPublicKeyInfoRef::try_from(spki).ok()?;
    spki.algorithm.assert_algorithm_oid(pkcs1::ALGORITHM_OID).ok()?;
    let key = pkcs1::RsaPublicKey::from_der(spki.subject_public_key.raw_bytes()).ok()?;
    let number = |number: pkcs1::UintRef<'_>| BigUint::from_bytes_be(number.as_bytes());
    RsaPublicKey::new_with_max_size(number(key.modulus), number(key.public_exponent), MAX_RSA_BITS).ok()
}
