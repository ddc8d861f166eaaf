//! Secrets are nowhere but where they belong: in calls to authentik. No password, token, client or cookie secret is
//! in a log line of any level, a reply, a shared-data key, a metric's name or a configuration's fault.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use proxy_wasm_testkit::{CallAnswer, Outcome, StartError, Vm, World};
use serde_json::{Value, json};

use super::fixture::{
    AUTHENTIK, COOKIE_SECRET, Observed, artefact, basic, bearer, configuration, forwarded, get, granted,
    observed, only_call, passed_as, refused, send, send_and_answer, token, token_with, verdict_slots,
    with_provider, worker, worker_without_keys, world,
};

const PASSWORD: &str = "correct-horse-battery-staple";
const WRONG: &str = "incorrect-zebra-charger-paperclip";

/// A secret, its encodings, and the parts of a token that let it be made again.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let mut spellings = vec![
        secret.as_bytes().to_vec(),
        BASE64_STANDARD.encode(secret).into_bytes(),
        BASE64_URL_SAFE_NO_PAD.encode(secret).into_bytes(),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
        format!("{:?}", secret.as_bytes()).into_bytes(),
    ];
    spellings.extend(
        secret.split('.').skip(1).filter(|part| part.len() > 20).map(|part| part.as_bytes().to_vec()),
    );
    spellings
}

fn assert_absent(secrets: &[String], place: &str, text: &[u8]) {
    for secret in secrets {
        for spelling in spellings(secret) {
            let found = text.windows(spelling.len()).any(|window| window == spelling);
            assert!(!found, "{place} shows {secret:.12}…: {}", text.escape_ascii());
        }
    }
}

/// Replies of all requests, and everything that the world has recorded.
pub(super) fn assert_kept(secrets: &[String], world: &World, outcomes: &[Outcome]) {
    assert!(!world.log().is_empty());
    for line in world.log() {
        assert_absent(secrets, "the log", line.text.as_bytes());
    }
    for key in world.shared_keys("") {
        assert_absent(secrets, "a shared-data key", &key);
    }
    for name in world.metrics().keys() {
        assert_absent(secrets, "a metric", name.as_bytes());
    }
    let mut replies = 0;
    for outcome in outcomes {
        if let Outcome::Replied { headers, body, details, .. } = outcome {
            replies += 1;
            assert_absent(secrets, "a reply's body", body);
            assert_absent(secrets, "a reply's details", details);
            for (name, value) in headers.iter() {
                assert_absent(secrets, "a reply's header", name);
                assert_absent(secrets, "a reply's header", value);
            }
        }
    }
    assert!(replies > 0);
}

/// Sends a request and gives each call that it causes the next of these answers.
fn run(vm: &mut Vm, authorization: &str, answers: Vec<CallAnswer>) -> Outcome {
    let stream = vm.send(get(authorization));
    for answer in answers {
        let call = only_call(vm);
        vm.answer(call.id, answer);
    }
    assert_ne!(observed(vm, stream), Observed::Waits);
    vm.outcome(stream)
}

#[test]
fn no_secret_leaks_after_valid_invalid_and_failing_requests() {
    for verification in ["local", "introspection", "local_then_introspection"] {
        let world = world();
        let mut vm = worker_without_keys(&world, &with_provider("hs", "bearer_verification", verification));
        let good = token("hs");
        let forged =
            token_with("hs", json!({"iss": "https://auth.example.test/application/o/hs/", "exp": 1}));
        let foreign = token_with("hs", json!({"aud": "other"}));
        let opaque = "opaque-token-of-some-length-0123456789";
        let mut outcomes = vec![
            run(&mut vm, &basic("alice", WRONG), vec![refused()]),
            run(&mut vm, &basic("alice", PASSWORD), vec![CallAnswer::Timeout]),
            run(
                &mut vm,
                &basic("alice", PASSWORD),
                vec![CallAnswer::json(400, r#"{"error":"invalid_client"}"#)],
            ),
            run(
                &mut vm,
                &basic("alice", PASSWORD),
                vec![CallAnswer::json(200, format!("{{\"access_token\": \"{good}"))],
            ),
            run(&mut vm, &basic("alice", PASSWORD), vec![CallAnswer::json(500, &good)]),
            run(&mut vm, &basic("alice", PASSWORD), vec![granted(&foreign), CallAnswer::json(200, "{}")]),
            run(&mut vm, &basic("alice", PASSWORD), vec![granted(&good)]),
            run(&mut vm, &basic("alice", PASSWORD), vec![]),
            run(&mut vm, &format!("Basic {}", BASE64_STANDARD.encode(PASSWORD)), vec![]),
            run(&mut vm, &format!("{}, {}", basic("alice", PASSWORD), bearer(&good)), vec![]),
            run(&mut vm, &format!("Digest {PASSWORD}"), vec![]),
        ];
        let inactive = || CallAnswer::json(200, r#"{"active": false}"#);
        for credential in [
            bearer(&good),
            bearer(&forged),
            bearer(&foreign),
            bearer(opaque),
            basic("goauthentik.io/token", &forged),
        ] {
            let stream = vm.send(get(&credential));
            for call in vm.pending_calls() {
                vm.answer(call.id, inactive());
            }
            outcomes.push(vm.outcome(stream));
            world.set_endpoints("authentik", false);
            outcomes.push(run(&mut vm, &credential, vec![]));
            world.set_endpoints("authentik", true);
        }
        let secrets = [
            PASSWORD,
            WRONG,
            opaque,
            COOKIE_SECRET,
            &AUTHENTIK.client_secret("hs"),
            &good,
            &forged,
            &foreign,
        ];
        assert_kept(&secrets.map(str::to_owned), &world, &outcomes);
    }
}

#[test]
fn the_application_gets_no_credential_that_authentik_vouched_for() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let request = get(basic("alice", PASSWORD));
    assert_eq!(send_and_answer(&mut vm, request.clone(), granted(token("hs"))), passed_as("alice"));
    let stream = vm.send(request);
    let headers = forwarded(&vm, stream);
    for (name, value) in headers.iter() {
        assert_absent(&[PASSWORD.to_owned()], "a header of the application", value);
        assert_ne!(name, b"authorization");
    }
}

#[test]
fn the_password_of_a_shared_entry_cannot_be_read_in_it() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let request = get(basic("alice", PASSWORD));
    assert_eq!(send_and_answer(&mut vm, request, granted(token("hs"))), passed_as("alice"));
    let keys = verdict_slots(&world);
    assert_eq!(keys.len(), 1);
    let entry = world.shared_data("", &keys[0]).unwrap();
    let secrets = [PASSWORD, COOKIE_SECRET, &AUTHENTIK.client_secret("hs")].map(str::to_owned);
    assert_absent(&secrets, "a shared entry", &entry);
}

#[test]
fn a_fault_of_the_configuration_names_its_place_and_never_a_secret() {
    const SHORT: &str = "short-cookie-secret";
    let spoilt = |change: &dyn Fn(&mut Value)| {
        let mut configuration = configuration("hs");
        change(&mut configuration);
        configuration.to_string()
    };
    let secret = AUTHENTIK.client_secret("hs");
    let cases = [
        ("providers[0].cookie_secret", spoilt(&|c| c["providers"][0]["cookie_secret"] = json!(SHORT))),
        ("providers[0].client_secret", spoilt(&|c| c["providers"][0]["client_secret"] = json!([secret]))),
        (
            "providers[0].client_secret",
            spoilt(&|c| c["providers"][0]["client_secret"] = json!({"value": secret})),
        ),
        (
            "providers[0].client_secret",
            spoilt(&|c| c["providers"][0]["client_secret"] = json!({"env": "NOT_THERE", "or": secret})),
        ),
        ("providers[0].mode", spoilt(&|c| c["providers"][0]["mode"] = json!("other"))),
        ("providers[0].client_secrets", spoilt(&|c| c["providers"][0]["client_secrets"] = json!(secret))),
        (
            "authentik.host",
            spoilt(&|c| c["authentik"]["host"] = json!(format!("https://user:{PASSWORD}@auth.example.test"))),
        ),
        ("providers", spoilt(&|c| c["providers"] = json!([c["providers"][0], c["providers"][0]]))),
        ("not JSON", configuration("hs").to_string().replace('}', "")),
        ("google.protobuf.Struct", format!("\n\u{7}{}", configuration("hs"))),
    ];
    let secrets = [SHORT, COOKIE_SECRET, &secret, PASSWORD].map(str::to_owned);
    for (place, configuration) in cases {
        let world = world();
        let refused = Vm::start(&world, &artefact(), &configuration).err();
        assert_eq!(refused, Some(StartError::ConfigurationRefused), "{place}");
        let lines: Vec<_> = world.log().into_iter().map(|line| line.text).collect();
        assert!(lines.iter().any(|line| line.contains(place)), "{place}: {lines:?}");
        assert_absent(&secrets, place, lines.join("\n").as_bytes());
    }
}

#[test]
fn two_replies_to_different_failures_of_one_kind_are_the_same_to_the_last_byte() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let mut reply = |username: &str, password: &str| {
        let stream = vm.send(get(basic(username, password)));
        let call = only_call(&vm);
        vm.answer(call.id, refused());
        vm.outcome(stream)
    };
    assert_eq!(reply("alice", "wrong"), reply("nobody", "at all"));
    let token_reply = |vm: &mut Vm, token: String| {
        let stream = vm.send(get(bearer(token)));
        vm.outcome(stream)
    };
    let expired = token_reply(&mut vm, token_with("hs", json!({"exp": 1})));
    for claims in [json!({"aud": "other"}), json!({"iss": "x"}), json!({"exp": null})] {
        assert_eq!(token_reply(&mut vm, token_with("hs", claims.clone())), expired, "{claims}");
    }
    assert_eq!(send(&mut vm, get(bearer("opaque"))), Observed::Status(401));
}
