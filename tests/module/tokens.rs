//! Forged and malformed tokens against the provider's keys. Every table is judged with the host's `verify_signature`, and
//! those of RS256, ES256 and HS256 again by a module that checks them itself: the verdicts must be the same.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use fake_authentik::{Generation, Key, TokenSpec};
use proxy_wasm_testkit::{CallAnswer, Module, Request, Vm, World};
use rsa::pkcs8::EncodePublicKey as _;
use serde_json::{Value, json};

use super::fixture::{
    AUTHENTIK, BASE, Observed, answer_key_calls, artefact, basic, bearer, configuration, get, granted,
    observed, only_call, passed_as, path_of, portable, provider, seconds, send, token, token_with,
    url_encode, worker, worker_of, world,
};
use crate::support::host::VerifySignature as _;

const REFUSED: Observed = Observed::Status(401);

/// Who can check the signatures of this provider: a host, and the module where there is none.
fn checks(slug: &str) -> impl Iterator<Item = (bool, Module)> {
    let by_itself = !matches!(slug, "es384" | "es512");
    [(true, artefact())].into_iter().chain(by_itself.then(|| (false, portable())))
}

/// Judges each token in a fresh worker of each kind; only the provider's keys may be asked for, and only once.
fn judge(slug: &str, cases: &[(&str, String, Observed)]) {
    for (verifies, module) in checks(slug) {
        let world = world();
        world.set_verify_signature(verifies);
        let mut vm = worker_of(&module, &world, &configuration(slug));
        for (name, token, expected) in cases {
            let became = send(&mut vm, get(bearer(token)));
            assert_eq!(became, *expected, "{name} (host verifies: {verifies})");
        }
        assert_eq!(vm.calls_sent(), 1, "the keys, and no place that a token names");
        let request = get(bearer(token(slug)));
        assert_eq!(send(&mut vm, request), passed_as("alice"), "a good token after all that");
    }
}

/// Judges each token as its own key set.
fn judge_with_keys(slug: &str, cases: &[(&str, Value, String, Observed)]) {
    for (verifies, module) in checks(slug) {
        for (name, keys, token, expected) in cases {
            let world = world();
            world.set_verify_signature(verifies);
            let mut vm = worker_with_keys(&module, &world, slug, keys);
            let became = send(&mut vm, get(bearer(token)));
            assert_eq!(became, *expected, "{name} (host verifies: {verifies})");
        }
    }
}

fn worker_with_keys(module: &Module, world: &World, slug: &str, keys: &Value) -> Vm {
    let mut vm = Vm::start(world, module, configuration(slug).to_string()).unwrap();
    vm.tick();
    let call = only_call(&vm);
    vm.answer(call.id, CallAnswer::json(200, keys.to_string()));
    vm
}

fn mint(slug: &str, spec: TokenSpec) -> String {
    AUTHENTIK.mint(slug, spec)
}

/// The header and claims of a minted token, for a signature of one's own.
fn message_of(token: &str) -> &str {
    token.rsplit_once('.').unwrap().0
}

/// A token with this header in these very words.
fn with_raw_header(slug: &str, header: &str, key: &Key) -> String {
    let good = token(slug);
    let message = format!("{}.{}", url_encode(header), good.split('.').nth(1).unwrap());
    format!("{message}.{}", url_encode(key.sign(message.as_bytes())))
}

fn rs(generation: Generation) -> Key {
    Key::Rs256(generation)
}

/// The ways to write down an RSA public key that an attacker could take for an HMAC secret.
fn spellings_of_the_rsa_key() -> Vec<(&'static str, Vec<u8>)> {
    let jwk = rs(Generation::A).jwk().unwrap();
    let number = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let (n, e) = (number("n"), number("e"));
    let key =
        rsa::RsaPublicKey::new(rsa::BigUint::from_bytes_be(&n), rsa::BigUint::from_bytes_be(&e)).unwrap();
    let spki = key.to_public_key_der().unwrap().into_vec();
    let text = BASE64_STANDARD.encode(&spki);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
    vec![
        ("PEM", pem.clone().into_bytes()),
        ("PEM with a line end", format!("{pem}\n").into_bytes()),
        ("DER", spki),
        ("n", n),
        ("n as text", jwk["n"].as_str().unwrap().into()),
        ("the JWK", jwk.to_string().into_bytes()),
        ("nothing", Vec::new()),
    ]
}

#[test]
fn no_algorithm_but_the_keys_own_is_taken() {
    let good = token("rs");
    let kid = rs(Generation::A).kid().unwrap();
    let mut cases = Vec::new();
    for alg in ["none", "None", "NONE", "nOnE", "", " ", "null"] {
        let spec = || TokenSpec::new().header("alg", alg);
        cases.push(("none, no signature", mint("rs", spec().signed_by(Key::None)), REFUSED));
        cases.push((
            "none, with the key's id",
            mint("rs", spec().signed_by(Key::None).header("kid", &*kid)),
            REFUSED,
        ));
        cases.push(("none, truly signed", mint("rs", spec()), REFUSED));
    }
    for alg in ["rs256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256", "HS512", "RS256 "] {
        cases.push((
            "another alg over the key's signature",
            mint("rs", TokenSpec::new().header("alg", alg)),
            REFUSED,
        ));
    }
    cases.push(("no alg", mint("rs", TokenSpec::new().without_header("alg")), REFUSED));
    for alg in [json!(null), json!(256), json!(["RS256"]), json!({"RS256": true})] {
        cases.push(("alg of another type", mint("rs", TokenSpec::new().header("alg", alg)), REFUSED));
    }
    for (name, secret) in spellings_of_the_rsa_key() {
        let forged = |kid: Option<&str>| {
            let spec = TokenSpec::new().signed_by(Key::Secret(secret.clone()));
            mint("rs", kid.into_iter().fold(spec, |spec, kid| spec.header("kid", kid)))
        };
        cases.push((name, forged(None), REFUSED));
        cases.push((name, forged(Some(&kid)), REFUSED));
    }
    let own_secret = AUTHENTIK.client_secret("rs").into_bytes();
    cases.push((
        "the client secret",
        mint("rs", TokenSpec::new().signed_by(Key::Secret(own_secret))),
        REFUSED,
    ));
    let message = message_of(&good);
    cases.push(("the signature cut off", format!("{message}."), REFUSED));
    cases.push(("the signature cut short", good[..good.len() - 4].to_owned(), REFUSED));
    cases.push(("a signature of zeros", format!("{message}.{}", url_encode([0; 256])), REFUSED));
    cases.push((
        "a signature of another token",
        format!("{message}.{}", token_with("rs", json!({"sub": "x"})).rsplit_once('.').unwrap().1),
        REFUSED,
    ));
    judge("rs", &cases);
}

#[test]
fn a_provider_without_keys_takes_hs256_with_its_own_secret_only() {
    let kid = rs(Generation::A).kid().unwrap();
    let other = AUTHENTIK.client_secret("hs").into_bytes();
    let forged = |secret: &[u8]| mint("demo", TokenSpec::new().signed_by(Key::Secret(secret.to_vec())));
    let own = AUTHENTIK.client_secret("demo");
    judge(
        "demo",
        &[
            ("RS256", mint("demo", TokenSpec::new().signed_by(rs(Generation::A))), REFUSED),
            ("ES256", mint("demo", TokenSpec::new().signed_by(Key::Es256(Generation::A))), REFUSED),
            ("none", mint("demo", TokenSpec::new().signed_by(Key::None)), REFUSED),
            ("HS512 over an HS256 signature", mint("demo", TokenSpec::new().header("alg", "HS512")), REFUSED),
            ("another provider's secret", forged(&other), REFUSED),
            ("an empty secret", forged(b""), REFUSED),
            ("the client_id", forged(b"demo-client-id"), REFUSED),
            ("its secret cut short", forged(&own.as_bytes()[1..]), REFUSED),
            ("its secret with a line end", forged(format!("{own}\n").as_bytes()), REFUSED),
            (
                "its secret and a kid that means nothing",
                mint("demo", TokenSpec::new().header("kid", kid)),
                passed_as("alice"),
            ),
        ],
    );
}

#[test]
fn a_key_id_is_compared_and_never_used() {
    let spec = |kid: &str| mint("rs", TokenSpec::new().header("kid", kid));
    let kid = rs(Generation::A).kid().unwrap();
    let signed = |header: String| with_raw_header("rs", &header, &rs(Generation::A));
    judge(
        "rs",
        &[
            ("a path", spec("../../../../dev/null"), REFUSED),
            ("a path to another provider's keys", spec("../../es/jwks/"), REFUSED),
            ("an address", spec("https://evil.example.test/key"), REFUSED),
            ("SQL", spec("x' UNION SELECT 'key"), REFUSED),
            ("empty", spec(""), REFUSED),
            ("10 KB", spec(&"k".repeat(10_000)), REFUSED),
            ("the id and more", spec(&format!("{kid}x")), REFUSED),
            ("the id, cut short", spec(&kid[1..]), REFUSED),
            ("upper case", spec(&kid.to_ascii_uppercase()), REFUSED),
            ("a number", mint("rs", TokenSpec::new().header("kid", 7)), REFUSED),
            ("a list", mint("rs", TokenSpec::new().header("kid", json!([kid]))), REFUSED),
            ("another generation's", spec(&rs(Generation::B).kid().unwrap()), REFUSED),
            (
                "twice, the good one last",
                signed(format!(r#"{{"alg":"RS256","kid":"x","kid":"{kid}"}}"#)),
                REFUSED,
            ),
            (
                "twice, the good one first",
                signed(format!(r#"{{"alg":"RS256","kid":"{kid}","kid":"x"}}"#)),
                REFUSED,
            ),
            ("alg twice", signed(format!(r#"{{"alg":"RS256","alg":"none","kid":"{kid}"}}"#)), REFUSED),
            (
                "absent, and there is one key",
                mint("rs", TokenSpec::new().without_header("kid")),
                passed_as("alice"),
            ),
            (
                "null, and there is one key",
                mint("rs", TokenSpec::new().header("kid", json!(null))),
                passed_as("alice"),
            ),
        ],
    );
}

#[test]
fn among_several_keys_exactly_one_must_be_meant() {
    let jwk = |key: &Key| key.jwk().unwrap();
    let (a, b) = (rs(Generation::A), rs(Generation::B));
    let renamed = |key: &Key, kid: Value| {
        let mut entry = jwk(key);
        entry["kid"] = kid;
        entry
    };
    let without_kid = || mint("rs", TokenSpec::new().without_header("kid"));
    let own = a.kid().unwrap();
    let two = json!({"keys": [jwk(&a), jwk(&b)]});
    judge_with_keys(
        "rs",
        &[
            ("no kid, two RSA keys", two.clone(), without_kid(), REFUSED),
            ("a kid, two RSA keys", two.clone(), token("rs"), passed_as("alice")),
            (
                "the other key's kid over this key's signature",
                two.clone(),
                mint("rs", TokenSpec::new().header("kid", b.kid().unwrap())),
                REFUSED,
            ),
            (
                "this key's kid over the other's signature",
                two,
                mint("rs", TokenSpec::new().signed_by(b.clone()).header("kid", &*own)),
                REFUSED,
            ),
            (
                "no kid, one RSA key and an EC key",
                json!({"keys": [jwk(&a), jwk(&Key::Es256(Generation::A))]}),
                without_kid(),
                passed_as("alice"),
            ),
            (
                "one kid, two RSA keys",
                json!({"keys": [jwk(&a), renamed(&b, json!(own))]}),
                token("rs"),
                REFUSED,
            ),
            (
                "one kid, an RSA key and an EC key",
                json!({"keys": [jwk(&a), renamed(&Key::Es256(Generation::A), json!(own))]}),
                token("rs"),
                passed_as("alice"),
            ),
            (
                "the key has no kid, the token has",
                json!({"keys": [renamed(&a, json!(null))]}),
                token("rs"),
                REFUSED,
            ),
            (
                "the key has an alg of its family that is not ours",
                {
                    let mut key = jwk(&a);
                    key["alg"] = json!("PS256");
                    json!({"keys": [key]})
                },
                token("rs"),
                REFUSED,
            ),
            (
                "the key says that it is HS256",
                {
                    let mut key = jwk(&a);
                    key["alg"] = json!("HS256");
                    json!({"keys": [key]})
                },
                mint(
                    "rs",
                    TokenSpec::new().signed_by(Key::Secret(AUTHENTIK.client_secret("rs").into_bytes())),
                ),
                REFUSED,
            ),
        ],
    );
}

#[test]
fn extensions_are_refused_and_keys_that_a_token_brings_along_are_not_looked_at() {
    let foreign = rs(Generation::B);
    let kid = rs(Generation::A).kid().unwrap();
    let bringing = |key: &Key, kid: &str| {
        let spec = TokenSpec::new()
            .header("jwk", key.jwk().unwrap())
            .header("jku", "https://evil.example.test/jwks.json")
            .header("x5u", "https://evil.example.test/cert.pem")
            .header("x5c", json!(["MIIB"]));
        mint("rs", spec.signed_by(key.clone()).header("kid", kid))
    };
    let crit = |value: Value| mint("rs", TokenSpec::new().header("crit", value));
    judge(
        "rs",
        &[
            ("a key of its own, under its own id", bringing(&foreign, &foreign.kid().unwrap()), REFUSED),
            ("a key of its own, under the provider's id", bringing(&foreign, &kid), REFUSED),
            ("the provider's key, and more headers", bringing(&rs(Generation::A), &kid), passed_as("alice")),
            ("crit", crit(json!(["exp"])), REFUSED),
            (
                "crit of an unencoded payload",
                mint("rs", TokenSpec::new().header("crit", json!(["b64"])).header("b64", false)),
                REFUSED,
            ),
            ("an empty crit", crit(json!([])), REFUSED),
            ("crit of another type", crit(json!("exp")), REFUSED),
        ],
    );
}

#[test]
fn elliptic_signatures_are_raw_and_of_the_keys_curve() {
    for (slug, key) in [
        ("es", Key::Es256(Generation::A)),
        ("es384", Key::Es384(Generation::A)),
        ("es512", Key::Es512(Generation::A)),
    ] {
        let good = token(slug);
        let message = message_of(&good);
        let raw = key.sign(message.as_bytes());
        let der = match &key {
            Key::Es256(_) => p256::ecdsa::Signature::from_slice(&raw).unwrap().to_der().as_bytes().to_vec(),
            Key::Es384(_) => p384::ecdsa::Signature::from_slice(&raw).unwrap().to_der().as_bytes().to_vec(),
            _ => p521::ecdsa::Signature::from_slice(&raw).unwrap().to_der().as_bytes().to_vec(),
        };
        let signed = |signature: &[u8]| format!("{message}.{}", url_encode(signature));
        judge(
            slug,
            &[
                ("raw", signed(&raw), passed_as("alice")),
                ("DER", signed(&der), REFUSED),
                ("nothing", signed(b""), REFUSED),
                ("zeros", signed(&vec![0; raw.len()]), REFUSED),
                ("ones", signed(&vec![0xff; raw.len()]), REFUSED),
                ("one byte more", signed(&[&raw[..], b"\0"].concat()), REFUSED),
                ("one byte less", signed(&raw[..raw.len() - 1]), REFUSED),
                ("RSA", signed(&rs(Generation::A).sign(message.as_bytes())), REFUSED),
                (
                    "another key",
                    signed(&match &key {
                        Key::Es256(_) => Key::Es256(Generation::B).sign(message.as_bytes()),
                        Key::Es384(_) => Key::Es384(Generation::B).sign(message.as_bytes()),
                        _ => Key::Es512(Generation::B).sign(message.as_bytes()),
                    }),
                    REFUSED,
                ),
            ],
        );
    }
}

/// Such a token is neither good nor bad: it is not let in, and its client is not called a liar.
#[test]
fn a_signature_that_nobody_can_check_is_a_503_that_says_so() {
    for (slug, by_itself) in [("rs", true), ("es", true), ("es384", false), ("es512", false)] {
        for (module, checks) in [(artefact(), false), (portable(), by_itself)] {
            let world = world();
            world.set_verify_signature(false);
            let mut vm = worker_of(&module, &world, &configuration(slug));
            let (good, bad) = if checks {
                (passed_as("alice"), REFUSED)
            } else {
                (Observed::Status(503), Observed::Status(503))
            };
            let forged = token_with(slug, json!({"sub": "x"})).rsplit_once('.').unwrap().1.to_owned();
            let forged = format!("{}.{forged}", message_of(&token(slug)));
            assert_eq!(send(&mut vm, get(bearer(forged))), bad, "{slug}");
            assert_eq!(send(&mut vm, get(bearer(token(slug)))), good, "{slug}");
            let says_so = world.log().iter().any(|line| {
                line.text.contains("signatures by the provider's keys cannot be checked")
                    && line.text.contains("503")
            });
            assert_eq!(says_so, !checks, "{slug}");
            let expired = token_with(slug, json!({"exp": 1}));
            assert_eq!(send(&mut vm, get(bearer(expired))), REFUSED, "{slug}: known without a check");
            // What the token endpoint issues is checked as well.
            let stream = vm.send(get(basic("alice", "x")));
            vm.answer(only_call(&vm).id, granted(token(slug)));
            assert_eq!(observed(&vm, stream), good, "{slug}, Basic");
        }
    }
    for module in [artefact(), portable()] {
        let world = world();
        world.set_verify_signature(false);
        let mut vm = worker_of(&module, &world, &configuration("hs"));
        assert_eq!(send(&mut vm, get(bearer(token("hs")))), passed_as("alice"), "HS256 needs no host");
    }
}

/// It is no outage: nothing that was known before is bridged.
#[test]
fn what_nobody_can_check_any_longer_is_over_with_its_verdict() {
    let world = world();
    let mut settings = configuration("rs");
    settings["cache"] = json!({"ttl_seconds": 60, "stale_seconds": 3_600});
    let mut vm = worker(&world, &settings);
    let request = || get(bearer(token_with("rs", json!({"exp": world.now().as_secs() + 7_200}))));
    let known = get(bearer(token_with("rs", json!({"exp": world.now().as_secs() + 7_200, "jti": "known"}))));
    assert_eq!(send(&mut vm, known.clone()), passed_as("alice"));
    world.set_verify_signature(false);
    assert_eq!(send(&mut vm, known.clone()), passed_as("alice"), "its verdict is fresh");
    assert_eq!(send(&mut vm, request()), Observed::Status(503));
    world.advance(seconds(61));
    assert_eq!(send(&mut vm, known.clone()), Observed::Status(503));
    world.set_verify_signature(true);
    assert_eq!(send(&mut vm, known), passed_as("alice"));
}

#[test]
fn the_audience_must_be_ours_or_a_list_with_us_in_it() {
    let aud = |value: Value| token_with("rs", json!({"aud": value}));
    judge(
        "rs",
        &[
            ("ours", aud(json!("rs-client-id")), passed_as("alice")),
            ("a list of us", aud(json!(["rs-client-id"])), passed_as("alice")),
            ("a list with us", aud(json!(["other", "rs-client-id"])), passed_as("alice")),
            ("another", aud(json!("es-client-id")), REFUSED),
            ("a list of others", aud(json!(["es-client-id", "demo-client-id"])), REFUSED),
            ("an empty list", aud(json!([])), REFUSED),
            ("empty", aud(json!("")), REFUSED),
            ("absent", aud(json!(null)), REFUSED),
            ("a part of ours", aud(json!("rs-client")), REFUSED),
            ("ours and more", aud(json!("rs-client-id ")), REFUSED),
            ("a list in a text", aud(json!("[\"rs-client-id\"]")), REFUSED),
            ("an object", aud(json!({"rs-client-id": true})), REFUSED),
            ("a list of lists", aud(json!([["rs-client-id"]])), REFUSED),
            ("a number", aud(json!(7)), REFUSED),
        ],
    );
}

#[test]
fn the_issuer_must_be_ours_to_the_letter() {
    let iss = |value: &str| token_with("rs", json!({"iss": value}));
    judge(
        "rs",
        &[
            ("ours", iss(&format!("{BASE}/application/o/rs/")), passed_as("alice")),
            ("another application of this authentik", iss(&format!("{BASE}/application/o/es/")), REFUSED),
            ("the global one", iss(&format!("{BASE}/")), REFUSED),
            ("without the slash", iss(&format!("{BASE}/application/o/rs")), REFUSED),
            ("with two", iss(&format!("{BASE}/application/o/rs//")), REFUSED),
            ("a trailing dot of the host", iss("https://auth.example.test./application/o/rs/"), REFUSED),
            ("its port written out", iss("https://auth.example.test:443/application/o/rs/"), REFUSED),
            ("upper case", iss("https://AUTH.example.test/application/o/rs/"), REFUSED),
            ("another scheme", iss("http://auth.example.test/application/o/rs/"), REFUSED),
            (
                "ours inside another",
                iss(&format!("https://evil.example.test/{BASE}/application/o/rs/")),
                REFUSED,
            ),
            ("a blank behind", iss(&format!("{BASE}/application/o/rs/ ")), REFUSED),
            ("empty", iss(""), REFUSED),
            ("absent", token_with("rs", json!({"iss": null})), REFUSED),
            ("a list", token_with("rs", json!({"iss": [format!("{BASE}/application/o/rs/")]})), REFUSED),
        ],
    );
}

#[test]
fn the_times_of_a_token_are_checked_with_grace_for_the_past_ones_only() {
    let now = world().now().as_secs();
    let times = |claims: Value| token_with("rs", claims);
    judge(
        "rs",
        &[
            ("exp soon", times(json!({"exp": now + 30})), passed_as("alice")),
            ("exp just now", times(json!({"exp": now})), REFUSED),
            ("exp a moment ago, within the skew", times(json!({"exp": now - 1})), REFUSED),
            ("exp absent", times(json!({"exp": null})), REFUSED),
            ("exp zero", times(json!({"exp": 0})), REFUSED),
            ("exp negative", times(json!({"exp": -1})), REFUSED),
            ("exp far below zero", times(json!({"exp": i64::MIN})), REFUSED),
            ("exp a float of the past", times(json!({"exp": now as f64 - 0.5})), REFUSED),
            ("exp a float of the future", times(json!({"exp": now as f64 + 60.5})), passed_as("alice")),
            ("exp a float below zero", times(json!({"exp": -1e300})), REFUSED),
            ("exp 1e308", times(json!({"exp": 1e308})), REFUSED),
            ("exp a text", times(json!({"exp": (now + 60).to_string()})), REFUSED),
            ("exp a list", times(json!({"exp": [now + 60]})), REFUSED),
            ("exp true", times(json!({"exp": true})), REFUSED),
            ("exp 2^63", times(json!({"exp": 1_u64 << 63})), REFUSED),
            ("exp 2^64 - 1", times(json!({"exp": u64::MAX})), REFUSED),
            ("exp 2^64", times(json!({"exp": 18_446_744_073_709_551_616.0_f64})), REFUSED),
            ("nbf within the skew", times(json!({"nbf": now + 30})), passed_as("alice")),
            ("nbf beyond the skew", times(json!({"nbf": now + 120})), REFUSED),
            ("nbf 2^63", times(json!({"nbf": 1_u64 << 63})), REFUSED),
            ("nbf a text", times(json!({"nbf": "0"})), REFUSED),
            ("nbf negative", times(json!({"nbf": -1})), passed_as("alice")),
            ("iat within the skew", times(json!({"iat": now + 30})), passed_as("alice")),
            ("iat beyond the skew", times(json!({"iat": now + 120})), REFUSED),
            ("iat absent", times(json!({"iat": null})), passed_as("alice")),
            ("iat 2^63", times(json!({"iat": 1_u64 << 63})), REFUSED),
        ],
    );
}

/// A clock that stands at the epoch would make every token a good one.
#[test]
fn missing_clock_is_503() {
    const IN_2001: u64 = 1_000_000_000;
    let expired = token_with("hs", json!({"exp": IN_2001, "iat": null, "nbf": null, "auth_time": null}));
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    assert_eq!(send(&mut vm, get(bearer(&expired))), REFUSED);
    let now = world.now();
    let stands_at = |time: Duration, is_broken: bool| world.set_now(if is_broken { time } else { now });
    let broken: [(&str, &dyn Fn(bool)); 3] = [
        ("at the epoch", &|is_broken| stands_at(Duration::ZERO, is_broken)),
        ("half a second after it", &|is_broken| stands_at(Duration::from_millis(500), is_broken)),
        ("none at all", &|is_broken| world.set_failing("proxy_get_current_time_nanoseconds", is_broken)),
    ];
    for (name, set_broken) in broken {
        set_broken(true);
        for request in [get(bearer(&expired)), get(bearer(token("hs"))), Request::get("/")] {
            assert_eq!(send(&mut vm, request), Observed::Status(503), "{name}");
        }
        vm.tick();
        set_broken(false);
        assert_eq!(send(&mut vm, get(bearer(&expired))), REFUSED, "{name}, mended");
        let stream = vm.send(get(bearer(token("hs"))));
        assert_eq!(observed(&vm, stream), passed_as("alice"), "{name}, mended");
        vm.disconnect(stream);
    }
    assert_eq!((vm.open_streams(), vm.death()), (0, None));
}

#[test]
fn claims_of_the_wrong_types_are_refused_and_absent_names_are_forbidden() {
    let claims = |claims: Value| token_with("rs", claims);
    let good = token("rs");
    let mut parts = good.split('.');
    let header = parts.next().unwrap();
    let signed = |claims: &[u8]| {
        let message = format!("{header}.{}", url_encode(claims));
        format!("{message}.{}", url_encode(rs(Generation::A).sign(message.as_bytes())))
    };
    let deep = [&b"{\"a\":"[..], &b"[".repeat(5_000)].concat();
    judge(
        "rs",
        &[
            ("sub a number", claims(json!({"sub": 1})), REFUSED),
            ("sub absent", claims(json!({"sub": null})), Observed::Status(403)),
            ("sub empty", claims(json!({"sub": ""})), Observed::Status(403)),
            ("the user name absent", claims(json!({"preferred_username": null})), Observed::Status(403)),
            ("the user name empty", claims(json!({"preferred_username": ""})), Observed::Status(403)),
            ("the user name a list", claims(json!({"preferred_username": ["alice"]})), REFUSED),
            ("groups a text", claims(json!({"groups": "staff"})), REFUSED),
            ("groups with a number", claims(json!({"groups": ["staff", 1]})), REFUSED),
            ("ak_proxy a text", claims(json!({"ak_proxy": "x"})), REFUSED),
            ("no claims", signed(b"{}"), REFUSED),
            ("not JSON", signed(b"alice"), REFUSED),
            ("a list", signed(b"[]"), REFUSED),
            ("null", signed(b"null"), REFUSED),
            ("not UTF-8", signed(b"{\"sub\": \"\xff\"}"), REFUSED),
            ("nested too deep", signed(&deep), REFUSED),
            ("nothing", signed(b""), REFUSED),
        ],
    );
}

#[test]
fn token_that_is_no_jws_is_refused() {
    let good = token("rs");
    let parts: Vec<_> = good.split('.').collect();
    let owned = str::to_owned;
    judge(
        "rs",
        &[
            ("one word", owned("opaque"), REFUSED),
            ("two parts", format!("{}.{}", parts[0], parts[1]), REFUSED),
            ("four parts", format!("{good}.x"), REFUSED),
            ("five parts", format!("{good}.x.y"), REFUSED),
            ("dots", owned("...."), REFUSED),
            ("two dots", owned(".."), REFUSED),
            ("a part is missing", format!("{}..{}", parts[0], parts[2]), REFUSED),
            ("padding", format!("{good}="), REFUSED),
            ("padding of the claims", format!("{}.{}=.{}", parts[0], parts[1], parts[2]), REFUSED),
            (
                "base64, not base64url",
                format!("{}.{}.{}", parts[0], parts[1], parts[2].replace(['-', '_'], "+")),
                REFUSED,
            ),
            ("parts in another order", format!("{}.{}.{}", parts[1], parts[0], parts[2]), REFUSED),
            ("the header alone, three times", [parts[0]; 3].join("."), REFUSED),
            ("a header that is a list", with_raw_header("rs", "[]", &rs(Generation::A)), REFUSED),
            ("a header that is nothing", with_raw_header("rs", "", &rs(Generation::A)), REFUSED),
            (
                "a header nested too deep",
                with_raw_header("rs", &"[".repeat(5_000), &rs(Generation::A)),
                REFUSED,
            ),
        ],
    );
}

#[test]
fn tokens_of_another_provider_of_the_same_authentik_are_refused() {
    let mut both = configuration("rs");
    both["providers"].as_array_mut().unwrap().push(provider("rs-proxyscope"));
    let world = world();
    let mut vm = worker(&world, &both);
    // Both sign with the same key; only issuer and audience tell them apart.
    let request =
        |slug: &str, of: &str| get(bearer(token(of))).replace(":authority", format!("{slug}.example.com"));
    assert_eq!(send(&mut vm, request("rs", "rs")), passed_as("alice"));
    assert_eq!(send(&mut vm, request("rs-proxyscope", "rs")), REFUSED);
    assert_eq!(send(&mut vm, request("rs-proxyscope", "rs-proxyscope")), passed_as("alice"));
    assert_eq!(send(&mut vm, request("rs", "rs-proxyscope")), REFUSED);
}

#[test]
fn a_swapped_key_ends_the_old_one_and_begins_the_new_one() {
    let world = world();
    let mut vm = worker(&world, &configuration("rs"));
    let (old, new) = (rs(Generation::A), rs(Generation::B));
    let of = |key: &Key, sub: &str| {
        get(bearer(mint("rs", TokenSpec::new().signed_by(key.clone()).claim("sub", sub))))
    };
    assert_eq!(send(&mut vm, of(&old, "1")), passed_as("alice"));
    assert_eq!(send(&mut vm, of(&new, "2")), REFUSED, "the keys came a moment ago");
    world.advance(seconds(10));
    let stream = vm.send(of(&new, "3"));
    assert_eq!(observed(&vm, stream), Observed::Waits);
    let call = only_call(&vm);
    assert_eq!(path_of(&call), "/application/o/rs/jwks/");
    vm.answer(call.id, CallAnswer::json(200, json!({"keys": [new.jwk().unwrap()]}).to_string()));
    assert_eq!(observed(&vm, stream), passed_as("alice"));
    assert_eq!(send(&mut vm, of(&old, "4")), REFUSED);
    answer_key_calls(&mut vm);
}
