//! Key sets as they should not be: faults, foreign and broken keys, far too many, none. A fault is a `503` and never
//! means HS256; a good key is found beside bad ones; a weak one is refused.

use fake_authentik::{Generation, Key, TokenSpec};
use proxy_wasm_testkit::{CallAnswer, Vm, World};
use rsa::BigUint;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::fixture::{
    AUTHENTIK, Observed, answer_key_calls, bearer, configuration, get, observed, only_call, passed_as,
    path_of, seconds, send, token, url_encode, worker, worker_without_keys, world,
};

/// A worker without keys, a request that waits for them, and this answer: what became of the request.
fn with_key_answer(world: &World, slug: &str, token: &str, answer: CallAnswer) -> (Vm, Observed) {
    let mut vm = worker_without_keys(world, &configuration(slug));
    let stream = vm.send(get(bearer(token)));
    assert_eq!(observed(&vm, stream), Observed::Waits);
    let call = only_call(&vm);
    assert_eq!(path_of(&call), format!("/application/o/{slug}/jwks/"));
    vm.answer(call.id, answer);
    let became = observed(&vm, stream);
    (vm, became)
}

fn with_key_set(slug: &str, token: &str, keys: &Value) -> Observed {
    with_key_answer(&world(), slug, token, CallAnswer::json(200, keys.to_string())).1
}

fn jwk(key: &Key) -> Value {
    key.jwk().unwrap()
}

/// The client secret's HMAC over a token that says it is HS256: what a forger who knew the secret would send.
fn signed_with_client_secret(slug: &str) -> String {
    let secret = AUTHENTIK.client_secret(slug).into_bytes();
    AUTHENTIK.mint(slug, TokenSpec::new().signed_by(Key::Secret(secret)))
}

#[test]
fn invalid_key_set_is_503_and_fetched_again() {
    let bare =
        |status, body: &[u8]| CallAnswer::Response { status, headers: Vec::new(), body: body.to_vec() };
    let good = AUTHENTIK.jwks("rs").to_string();
    let cases = [
        ("reset", CallAnswer::Reset),
        ("timeout", CallAnswer::Timeout),
        ("connect failure", CallAnswer::ConnectFailure),
        ("HTML", bare(200, b"<!DOCTYPE html><html></html>")),
        ("nothing", bare(200, b"")),
        ("truncated", bare(200, &good.as_bytes()[..good.len() / 2])),
        ("2 MB", CallAnswer::json(200, format!(r#"{{"keys": [], "x": "{}"}}"#, "a".repeat(2 << 20)))),
        ("a redirect", bare(302, good.as_bytes())),
        ("404", CallAnswer::json(404, "{}")),
        ("405", bare(405, b"")),
        ("500 with a body that looks good", CallAnswer::json(500, &good)),
        ("a list", CallAnswer::json(200, "[]")),
        ("null", CallAnswer::json(200, "null")),
        ("keys are null", CallAnswer::json(200, r#"{"keys": null}"#)),
        ("keys are an object", CallAnswer::json(200, r#"{"keys": {}}"#)),
        ("keys are a text", CallAnswer::json(200, r#"{"keys": "none"}"#)),
        ("nested too deep", bare(200, format!("{{\"keys\": {}", "[".repeat(100_000)).as_bytes())),
    ];
    for (name, answer) in cases {
        let world = world();
        let (mut vm, became) = with_key_answer(&world, "rs", &token("rs"), answer);
        assert_eq!(became, Observed::Status(503), "{name}");
        let forged = signed_with_client_secret("rs");
        assert_eq!(send(&mut vm, get(bearer(forged))), Observed::Status(503), "{name}: HS256");
        world.advance(seconds(1));
        let stream = vm.send(get(bearer(token("rs"))));
        answer_key_calls(&mut vm);
        assert_eq!(observed(&vm, stream), passed_as("alice"), "{name}: does not recover");
    }
}

#[test]
fn a_set_without_a_signing_key_means_the_client_secret_and_nothing_else() {
    let encryption = AUTHENTIK.jwks("rs-jwe")["keys"][1].clone();
    assert_eq!(encryption["use"], "enc");
    for keys in [json!({}), json!({"keys": []}), json!({"keys": [encryption]})] {
        assert_eq!(with_key_set("hs", &token("hs"), &keys), passed_as("alice"), "{keys:.80}");
        assert_eq!(with_key_set("rs", &token("rs"), &keys), Observed::Status(401), "{keys:.80}");
    }
}

#[test]
fn signing_keys_that_are_there_and_unusable_never_mean_the_client_secret() {
    let mut short = jwk(&Key::Rs256(Generation::A));
    short["n"] = json!("AQAB");
    let unusable = [
        json!({}),
        json!(null),
        json!("key"),
        json!([]),
        json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "use": "sig"}),
        json!({"kty": "RSA", "use": "sig", "alg": "RS256"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
        json!({"use": "other"}),
        short,
    ];
    for key in unusable {
        let keys = json!({"keys": [key]});
        assert_eq!(
            with_key_set("rs", &signed_with_client_secret("rs"), &keys),
            Observed::Status(401),
            "{keys}"
        );
        assert_ne!(with_key_set("rs", &token("rs"), &keys), passed_as("alice"), "{keys}");
    }
}

#[test]
fn the_good_key_is_found_beside_foreign_and_broken_ones() {
    let good = Key::Rs256(Generation::A);
    let mut same_id_other_use = jwk(&Key::Rs256(Generation::B));
    same_id_other_use["kid"] = json!(good.kid());
    same_id_other_use["use"] = json!("enc");
    let mut no_point = jwk(&Key::Es256(Generation::A));
    no_point["x"] = json!(url_encode([0xff; 32]));
    let mut numbers = jwk(&Key::Rs256(Generation::B));
    (numbers["kid"], numbers["n"]) = (json!(7), json!(65_537));
    let keys = json!({"more": true, "keys": [
        same_id_other_use, no_point, numbers, jwk(&Key::Rs256(Generation::B)), jwk(&Key::Es256(Generation::A)),
        jwk(&Key::Es512(Generation::A)), {"kty": "RSA", "n": "\u{0}\u{1F600}", "e": "AQAB"}, null, 1, "x", [],
        jwk(&good), {"kty": "oct", "k": "AAAA"},
    ]});
    assert_eq!(with_key_set("rs", &token("rs"), &keys), passed_as("alice"));
}

#[test]
fn key_set_with_ten_thousand_keys_is_survived() {
    let filler = |number: usize| json!({"kty": "RSA", "use": "sig", "kid": format!("k{number}"), "n": "AQAB", "e": "AQAB"});
    let good = jwk(&Key::Rs256(Generation::A));
    let fillers: Vec<_> = (0..10_000).map(filler).collect();
    let one = std::slice::from_ref(&good);
    let first = json!({"keys": ([one, &fillers].concat())});
    let last = json!({"keys": ([&fillers, one].concat())});
    assert!(last.to_string().len() < 1 << 20, "within what is read of an answer");
    assert_eq!(with_key_set("rs", &token("rs"), &first), passed_as("alice"));
    for token in [token("rs"), signed_with_client_secret("rs")] {
        let became = with_key_set("rs", &token, &last);
        assert!(matches!(became, Observed::Status(401 | 503)), "{became:?}");
    }
}

#[test]
fn an_rsa_key_below_2048_bits_is_refused_and_one_of_2048_is_not() {
    for (bits, expected) in
        [(1024, Observed::Status(401)), (2047, Observed::Status(401)), (2048, passed_as("alice"))]
    {
        let private = rsa::RsaPrivateKey::new(&mut rand_core::OsRng, bits).unwrap();
        let key = json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "own",
            "n": url_encode(private.n().to_bytes_be()), "e": url_encode(private.e().to_bytes_be()),
        });
        let minted = AUTHENTIK.mint("rs", TokenSpec::new().header("kid", "own"));
        let (message, _) = minted.rsplit_once('.').unwrap();
        let signer = rsa::pkcs1v15::SigningKey::<Sha256>::new(private);
        let token = format!("{message}.{}", url_encode(signer.sign(message.as_bytes()).to_vec()));
        assert_eq!(with_key_set("rs", &token, &json!({"keys": [key]})), expected, "{bits} bits");
    }
}

/// The modulus of an RSA key with exponent 3, and a signature of this message that it verifies. No private key is needed:
/// modulo `s³ - m`, `s` is the cube root of the padded hash `m`.
fn modulus_and_signature(bits: usize, message: &str) -> (BigUint, Vec<u8>) {
    // RFC 8017 §9.2: what says that it is SHA-256.
    const DIGEST_INFO: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
        0x04, 0x20,
    ];
    let (length, hash) = (bits / 8, Sha256::digest(message));
    let padding = vec![0xff; length - 3 - DIGEST_INFO.len() - hash.len()];
    let padded = BigUint::from_bytes_be(&[&[0, 1], &padding[..], &[0], &DIGEST_INFO, &hash].concat());
    // The cube root of 1.5 times the least number of so many bits; of such a parity that the modulus is odd.
    let hundredths: u32 = [114, 144, 181][(bits - 1) % 3];
    let even = ((BigUint::from(hundredths) << ((bits - 1) / 3)) / 200_u32) << 1;
    let root = even + u32::from(hash[31] % 2 == 0);
    let modulus = &root * &root * &root - padded;
    assert_eq!(modulus.bits(), bits);
    let digits = root.to_bytes_be();
    (modulus, [vec![0; length - digits.len()], digits].concat())
}

#[test]
fn an_rsa_key_above_8192_bits_is_refused_and_one_of_8192_is_not() {
    let refused = Observed::Status(401);
    for (bits, expected) in [(8192, passed_as("alice")), (8200, refused.clone()), (16_384, refused)] {
        let minted = AUTHENTIK.mint("rs", TokenSpec::new().header("kid", "own"));
        let (message, _) = minted.rsplit_once('.').unwrap();
        let (modulus, signature) = modulus_and_signature(bits, message);
        let key = json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "own",
            "n": url_encode(modulus.to_bytes_be()), "e": url_encode([3]),
        });
        let token = format!("{message}.{}", url_encode(signature));
        assert_eq!(with_key_set("rs", &token, &json!({"keys": [key]})), expected, "{bits} bits");
    }
}

#[test]
fn a_flood_of_unknown_key_ids_causes_one_fetch_per_interval() {
    let world = world();
    let mut vm = worker(&world, &configuration("rs"));
    let calls = vm.calls_sent();
    let unknown = |number: usize| {
        let kid = format!("unknown-{number}");
        get(bearer(AUTHENTIK.mint("rs", TokenSpec::new().header("kid", kid))))
    };
    for number in 0..20 {
        assert_eq!(send(&mut vm, unknown(number)), Observed::Status(401));
    }
    assert_eq!(vm.calls_sent(), calls, "the keys came a moment ago");
    world.advance(seconds(10));
    let streams: Vec<_> = (20..40).map(|number| vm.send(unknown(number))).collect();
    assert_eq!(vm.calls_sent(), calls + 1);
    answer_key_calls(&mut vm);
    for stream in streams {
        assert_eq!(observed(&vm, stream), Observed::Status(401));
    }
    assert_eq!(send(&mut vm, unknown(40)), Observed::Status(401));
    assert_eq!(vm.calls_sent(), calls + 1);
    assert_eq!(send(&mut vm, get(bearer(token("rs")))), passed_as("alice"));
}
