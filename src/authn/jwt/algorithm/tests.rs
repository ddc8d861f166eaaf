//! The forms in which a host is asked, and what becomes of its answers.

use std::cell::RefCell;

use jwt_compact::Algorithm as _;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _};
use p256::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
use rsa::BigUint;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::*;
use crate::authn::env::Shared;

const MESSAGE: &[u8] = b"header.payload";

/// A host that checks signatures, with RustCrypto's algorithms, and offers nothing else.
pub(in crate::authn) struct CheckingHost;

impl Host for CheckingHost {
    fn verify_signature(&self, hash: &str, spki: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
        Some(if let Ok(key) = rsa::RsaPublicKey::from_public_key_der(spki) {
            let padding = rsa::Pkcs1v15Sign::new::<Sha256>();
            hash == "sha256" && key.verify(padding, &Sha256::digest(message), signature).is_ok()
        } else if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_der(spki) {
            let signature = p256::ecdsa::Signature::from_der(signature);
            hash == "sha256"
                && signature.is_ok_and(|it| key.verify_prehash(&Sha256::digest(message), &it).is_ok())
        } else if let Ok(key) = p384::ecdsa::VerifyingKey::from_public_key_der(spki) {
            let signature = p384::ecdsa::Signature::from_der(signature);
            hash == "sha384"
                && signature.is_ok_and(|it| key.verify_prehash(&Sha384::digest(message), &it).is_ok())
        } else if let Ok(key) = p521::PublicKey::from_public_key_der(spki) {
            let key = p521::ecdsa::VerifyingKey::from_affine(*key.as_affine()).unwrap();
            let signature = p521::ecdsa::Signature::from_der(signature);
            hash == "sha512"
                && signature.is_ok_and(|it| key.verify_prehash(&Sha512::digest(message), &it).is_ok())
        } else {
            false
        })
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

/// Hash, key, signature and message, as the host is given them.
type Asked = (String, Vec<u8>, Vec<u8>, Vec<u8>);

/// A host that gives this answer, and remembers what it was asked.
struct Answering {
    answer: Option<bool>,
    asked: RefCell<Vec<Asked>>,
}

impl Answering {
    fn new(answer: Option<bool>) -> Self {
        Self { answer, asked: RefCell::default() }
    }
}

impl Host for Answering {
    fn verify_signature(&self, hash: &str, spki: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
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

/// A key and its signature of [`MESSAGE`], as a JWS and as a host has them.
struct Signed {
    hash: &'static str,
    key: PublicKey,
    /// As RustCrypto writes it.
    spki: Vec<u8>,
    raw: Vec<u8>,
    for_host: Vec<u8>,
}

/// The same for each curve, whose types have nothing in common.
macro_rules! on_curve {
    ($curve:ident, $algorithm:expr, $hash:literal, $bytes:literal) => {{
        let secret = $curve::SecretKey::from_slice(&[1; $bytes]).unwrap();
        let signing = $curve::ecdsa::SigningKey::from_slice(&[1; $bytes]).unwrap();
        let signature: $curve::ecdsa::Signature = signing.sign_with_rng(&mut rand_core::OsRng, MESSAGE);
        let point = secret.public_key().to_sec1_bytes();
        let (x, y) = point[1..].split_at($bytes);
        Signed {
            hash: $hash,
            key: PublicKey::elliptic($algorithm, x, y).unwrap(),
            spki: secret.public_key().to_public_key_der().unwrap().into_vec(),
            raw: signature.to_bytes().to_vec(),
            for_host: signature.to_der().as_bytes().to_vec(),
        }
    }};
}

fn of_each_curve() -> [Signed; 3] {
    [
        on_curve!(p256, Algorithm::Es256, "sha256", 32),
        on_curve!(p384, Algorithm::Es384, "sha384", 48),
        on_curve!(p521, Algorithm::Es512, "sha512", 66),
    ]
}

fn by_rsa() -> Signed {
    let private = rsa::RsaPrivateKey::new(&mut rand_core::OsRng, 2_048).unwrap();
    let public = private.to_public_key();
    let (n, e) = {
        use rsa::traits::PublicKeyParts as _;
        (public.n().to_bytes_be(), public.e().to_bytes_be())
    };
    let raw = rsa::pkcs1v15::SigningKey::<Sha256>::new(private).sign(MESSAGE).to_vec();
    Signed {
        hash: "sha256",
        key: PublicKey::rsa(&n, &e).unwrap(),
        spki: public.to_public_key_der().unwrap().into_vec(),
        for_host: raw.clone(),
        raw,
    }
}

fn of_each_algorithm() -> impl Iterator<Item = Signed> {
    of_each_curve().into_iter().chain([by_rsa()])
}

/// `None`: nobody can.
fn check(host: &dyn Host, key: &PublicKey, signature: &[u8], message: &[u8]) -> Option<bool> {
    let check = HostCheck::new(key, host);
    let is_genuine = check.verify_signature(&Signature(signature.to_vec()), key, message);
    assert!(!(is_genuine && check.is_impossible()));
    (!check.is_impossible()).then_some(is_genuine)
}

#[test]
fn signature_check_uses_the_hosts_format_and_result() {
    for answer in [true, false] {
        for signed in of_each_algorithm() {
            let host = Answering::new(Some(answer));
            assert_eq!(check(&host, &signed.key, &signed.raw, MESSAGE), Some(answer), "{}", signed.hash);
            let expected = (signed.hash.to_owned(), signed.spki, signed.for_host, MESSAGE.to_vec());
            assert_eq!(*host.asked.borrow(), [expected]);
        }
    }
}

#[test]
fn a_checking_host_tells_good_signatures_from_others() {
    for Signed { hash, key, raw, .. } in of_each_algorithm() {
        assert_eq!(check(&CheckingHost, &key, &raw, MESSAGE), Some(true), "{hash}");
        assert_eq!(check(&CheckingHost, &key, &raw, b"header.another"), Some(false), "{hash}");
    }
}

#[test]
fn without_a_host_s_check_rs256_and_es256_are_checked_in_wasm_and_the_others_by_nobody() {
    let host = Answering::new(None);
    for Signed { key, raw, .. } in of_each_algorithm() {
        let (good, bad) = match key.algorithm() {
            Algorithm::Rs256 | Algorithm::Es256 => (Some(true), Some(false)),
            Algorithm::Es384 | Algorithm::Es512 => (None, None),
        };
        assert_eq!(check(&host, &key, &raw, MESSAGE), good, "{key:?}");
        assert_eq!(check(&host, &key, &raw, b"header.another"), bad, "{key:?}");
    }
}

#[test]
fn another_algorithm_s_key_checks_nothing() {
    let host = Answering::new(Some(true));
    let all: Vec<_> = of_each_algorithm().collect();
    for one in &all {
        for other in all.iter().filter(|other| other.key.algorithm() != one.key.algorithm()) {
            let check = HostCheck::new(&other.key, &host);
            assert!(!check.verify_signature(&Signature(one.raw.clone()), &one.key, MESSAGE));
        }
    }
    assert!(host.asked.borrow().is_empty());
}

#[test]
fn signature_of_wrong_length_is_not_checked() {
    let host = Answering::new(Some(true));
    for Signed { hash, key, raw, for_host, .. } in of_each_curve() {
        for other in [&raw[1..], &[&raw[..], &[0]].concat(), &for_host, &[]] {
            assert_eq!(check(&host, &key, other, MESSAGE), Some(false), "{hash}");
        }
    }
    assert!(host.asked.borrow().is_empty());
}

#[test]
fn a_signature_with_a_zero_in_it_is_shown_to_nobody() {
    let host = Answering::new(Some(true));
    for Signed { hash, key, raw, .. } in of_each_curve() {
        let (r, s) = raw.split_at(raw.len() / 2);
        let zero = vec![0; r.len()];
        for other in [[&zero, s], [r, &zero], [&zero, &zero]] {
            assert_eq!(check(&host, &key, &other.concat(), MESSAGE), Some(false), "{hash}");
        }
    }
    assert!(host.asked.borrow().is_empty());
}

/// P-256's signatures of many lengths: RustCrypto says how each is written.
#[test]
fn an_ecdsa_signature_is_written_as_rustcrypto_writes_it() {
    for r_zeros in 0..32 {
        for (s_zeros, first) in [(0, 0x7f), (0, 0x80), (1, 0x80), (31, 1)] {
            let number = |zeros: usize| [vec![0; zeros], vec![first; 32 - zeros]].concat();
            let (r, s) = (number(r_zeros), number(s_zeros));
            let raw = [&r[..], &s].concat();
            let expected = p256::ecdsa::Signature::from_slice(&raw).unwrap().to_der();
            assert_eq!(ecdsa_sig_value(&r, &s).as_deref(), Some(expected.as_bytes()), "{raw:x?}");
        }
    }
}

#[test]
fn an_rsa_key_has_2048_to_8192_bits() {
    let modulus = |bits: usize| {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= (8 - bits % 8) % 8;
        bytes
    };
    for (bits, is_usable) in [(2047, false), (2048, true), (2049, true), (8192, true), (8193, false)] {
        for zeros in [0, 1, 300] {
            let modulus = [vec![0; zeros], modulus(bits)].concat();
            let key = PublicKey::rsa(&modulus, &[1, 0, 1]);
            assert_eq!(key.is_some(), is_usable, "{bits} bits, {zeros} zeros before them");
        }
    }
    assert!(PublicKey::rsa(&[0; 300], &[1, 0, 1]).is_none() && PublicKey::rsa(&[], &[1, 0, 1]).is_none());
}

/// The same keys are usable that RustCrypto's `rsa` takes, and those that are are written as it writes them.
#[test]
fn an_rsa_key_is_odd_and_its_exponent_neither_tiny_nor_long() {
    for last in [0xff, 0xfe, 0, 1] {
        for exponent in [
            &[][..],
            &[0],
            &[1],
            &[2],
            &[3],
            &[4],
            &[0, 3],
            &[1, 0, 1],
            &[1, 0, 0],
            &[1, 0xff, 0xff, 0xff, 0xff],
            &[2, 0, 0, 0, 1],
            &[1, 0, 0, 0, 0, 0, 0, 0, 1],
        ] {
            let modulus = [vec![0xff; 255], vec![last]].concat();
            let (n, e) = (BigUint::from_bytes_be(&modulus), BigUint::from_bytes_be(exponent));
            let expected = rsa::RsaPublicKey::new(n, e).ok();
            let expected = expected.map(|key| key.to_public_key_der().unwrap().into_vec());
            let key = PublicKey::rsa(&modulus, exponent);
            assert_eq!(key.map(|key| key.spki), expected, "{last}, {exponent:x?}");
        }
    }
}

#[test]
fn a_coordinate_has_the_length_of_the_field() {
    for (algorithm, bytes) in [(Algorithm::Es256, 32), (Algorithm::Es384, 48), (Algorithm::Es512, 66)] {
        for (x, y) in [(bytes, bytes - 1), (bytes - 1, bytes), (bytes + 1, bytes), (bytes, 0)] {
            assert!(PublicKey::elliptic(algorithm, &vec![1; x], &vec![1; y]).is_none(), "{algorithm:?}");
        }
    }
    assert!(PublicKey::elliptic(Algorithm::Rs256, &[1; 32], &[1; 32]).is_none());
}

#[test]
fn by_a_point_that_is_not_on_its_curve_no_signature_is_good() {
    for (algorithm, bytes) in [(Algorithm::Es256, 32), (Algorithm::Es384, 48), (Algorithm::Es512, 66)] {
        let key = PublicKey::elliptic(algorithm, &vec![1; bytes], &vec![1; bytes]).unwrap();
        assert_eq!(check(&CheckingHost, &key, &vec![1; 2 * bytes], MESSAGE), Some(false), "{algorithm:?}");
        assert_eq!(check(&Answering::new(None), &key, &vec![1; 2 * bytes], MESSAGE), None, "{algorithm:?}");
    }
}
