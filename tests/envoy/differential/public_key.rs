//! A provider's public key in every form that a careless verifier could take for a secret.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rsa::pkcs8::EncodePublicKey as _;
use rsa::{BigUint, RsaPublicKey};
use serde_json::Value;

use super::tokens::Algorithm;

/// By name. HS256 has none.
pub(super) fn forms(algorithm: Algorithm, jwk: &Value) -> Vec<(&'static str, Vec<u8>)> {
    let member = |name: &str| {
        let text = jwk[name].as_str().expect("a member of the key");
        BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64")
    };
    let point = || [&[4], member("x").as_slice(), &member("y")].concat();
    let (raw, der) = match algorithm {
        Algorithm::Rs256 => {
            let (n, e) = (member("n"), member("e"));
            let key = RsaPublicKey::new(BigUint::from_bytes_be(&n), BigUint::from_bytes_be(&e));
            (n, key.expect("an RSA key").to_public_key_der())
        }
        Algorithm::Es256 => {
            (point(), p256::PublicKey::from_sec1_bytes(&point()).expect("a point").to_public_key_der())
        }
        Algorithm::Es384 => {
            (point(), p384::PublicKey::from_sec1_bytes(&point()).expect("a point").to_public_key_der())
        }
        Algorithm::Es512 => {
            (point(), p521::PublicKey::from_sec1_bytes(&point()).expect("a point").to_public_key_der())
        }
        Algorithm::Hs256 => return Vec::new(),
    };
    let der = der.expect("a SubjectPublicKeyInfo").into_vec();
    let base64 = BASE64_STANDARD.encode(&der);
    let lines: Vec<_> =
        base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("ASCII")).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
    vec![
        ("DER", der),
        ("PEM", pem.clone().into_bytes()),
        ("PEM with a line end", format!("{pem}\n").into_bytes()),
        ("the number or point", raw),
        ("JWK", jwk.to_string().into_bytes()),
    ]
}
