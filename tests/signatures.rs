//! `verify_signature` of the in-process host, as a filter calls it: what Envoy takes, and what it says of the rest.

use p256::ecdsa::signature::hazmat::RandomizedPrehashSigner;
use proxy_wasm_testkit::protobuf::bytes_field;
use proxy_wasm_testkit::{Module, Vm, World};
use rsa::pkcs8::EncodePublicKey;
use rsa::signature::{SignatureEncoding, Signer};
use sha2::Digest;

use crate::support::host::{self, VerifySignature as _};

/// Calls `verify_signature` with its configuration as arguments; status and result go to the shared data.
const FILTER: &str = r#"(module
    (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_call_foreign_function" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data" (func $share (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (data (i32.const 64) "verify_signature")
    (data (i32.const 96) "status")
    (data (i32.const 104) "result")
    (global $free (mut i32) (i32.const 1024))
    (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (local.get $size))))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $buffer (i32.const 7) (i32.const 0) (local.get 1) (i32.const 0) (i32.const 4)))
        (i32.store (i32.const 8) (call $call (i32.const 64) (i32.const 16)
            (i32.load (i32.const 0)) (i32.load (i32.const 4)) (i32.const 0) (i32.const 4)))
        (drop (call $share (i32.const 96) (i32.const 6) (i32.const 8) (i32.const 1) (i32.const 0)))
        (drop (call $share (i32.const 104) (i32.const 6)
            (i32.load (i32.const 0)) (i32.load (i32.const 4)) (i32.const 0)))
        (i32.const 1)))"#;

/// Status and result of a call with these arguments.
fn verify(world: &World, arguments: &[u8]) -> (u8, Vec<u8>) {
    Vm::start(world, &Module::from_bytes(FILTER).unwrap(), arguments).unwrap();
    let [status] = world.shared_data("", "status").unwrap()[..] else { panic!("a byte") };
    (status, world.shared_data("", "result").unwrap())
}

fn arguments(hash: &str, key: &[u8], signature: &[u8], text: &[u8]) -> Vec<u8> {
    [bytes_field(1, hash.as_bytes()), bytes_field(2, key), bytes_field(3, signature), bytes_field(4, text)]
        .concat()
}

const VERIFIED: [u8; 2] = [0x08, 0x01];

#[test]
fn verify_signature_takes_rsa_with_pkcs1_only() {
    let world = host::world();
    let key = rsa::RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap();
    let public = key.to_public_key().to_public_key_der().unwrap();
    let signature = rsa::pkcs1v15::SigningKey::<sha2::Sha256>::new(key.clone()).sign(b"text").to_vec();
    let ok = |hash: &str, signature: &[u8]| {
        verify(&world, &arguments(hash, public.as_bytes(), signature, b"text"))
    };
    assert_eq!(ok("SHA256", &signature), (0, VERIFIED.to_vec()));
    assert_eq!(ok("sha256", &signature).1, VERIFIED);
    let (status, result) = ok("sha256", &signature[1..]);
    assert_eq!((status, result[0]), (0, 0x12), "a failed check is Ok with a text");
    let (status, result) = ok("md5", &signature);
    assert_eq!((status, &result[2..]), (0, &b"md5 is not supported."[..]));
    let blinded = rsa::pss::BlindedSigningKey::<sha2::Sha256>::new(key);
    let pss =
        rsa::signature::RandomizedSigner::sign_with_rng(&blinded, &mut rand_core::OsRng, b"text").to_vec();
    assert_ne!(ok("sha256", &pss).1, VERIFIED);
    assert_ne!(verify(&world, &arguments("sha256", b"no key", &signature, b"text")).1, VERIFIED);
    assert_eq!(verify(&world, &[0xff; 3]).0, 2, "no protobuf");
    world.set_verify_signature(false);
    assert_eq!(ok("sha256", &signature).0, 1);
}

#[test]
fn verify_signature_takes_ecdsa_in_der_only() {
    let world = host::world();
    let check = |hash: &str, key: &[u8], der: &[u8], raw: &[u8]| {
        assert_eq!(verify(&world, &arguments(hash, key, der, b"text")).1, VERIFIED, "{hash}");
        assert_ne!(verify(&world, &arguments(hash, key, raw, b"text")).1, VERIFIED, "{hash}");
        assert_ne!(verify(&world, &arguments(hash, key, der, b"other")).1, VERIFIED, "{hash}");
    };
    let rng = &mut rand_core::OsRng;
    let key = p256::ecdsa::SigningKey::random(rng);
    let signature: p256::ecdsa::Signature = key.sign(b"text");
    let point = key.verifying_key().to_encoded_point(false);
    let public = spki("3059301306072a8648ce3d020106082a8648ce3d030107034200", point.as_bytes());
    check("sha256", &public, signature.to_der().as_bytes(), &signature.to_bytes());

    let key = p384::ecdsa::SigningKey::random(rng);
    let signature: p384::ecdsa::Signature = key.sign(b"text");
    let point = key.verifying_key().to_encoded_point(false);
    let public = spki("3076301006072a8648ce3d020106052b81040022036200", point.as_bytes());
    check("sha384", &public, signature.to_der().as_bytes(), &signature.to_bytes());

    let key = p521::ecdsa::SigningKey::random(rng);
    let digest = sha2::Sha512::digest(b"text");
    let signature: p521::ecdsa::Signature = key.sign_prehash_with_rng(rng, &digest).unwrap();
    let point = p521::ecdsa::VerifyingKey::from(&key).to_encoded_point(false);
    let public = spki("30819b301006072a8648ce3d020106052b8104002303818600", point.as_bytes());
    check("sha512", &public, signature.to_der().as_bytes(), &signature.to_bytes());
}

/// A SubjectPublicKeyInfo of this head (in hexadecimal) and this point.
fn spki(head: &str, point: &[u8]) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(head.get(at..at + 2).unwrap(), 16).unwrap();
    (0..head.len()).step_by(2).map(byte).chain(point.iter().copied()).collect()
}
