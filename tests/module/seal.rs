//! The seal in the built module: not in trailers, and nowhere that anybody can read it but in the forwarded request.

use proxy_wasm_testkit::{CallAnswer, Outcome, Request, StartError, Vm, World};
use serde_json::{Value, json};

use super::fixture::{
    Observed, artefact, basic, configuration, forwarded, get, granted, observed, only_call, refused, token,
    token_with, worker, world,
};

const SEAL: &str = "the-seal-of-the-module-tests";
const RETIRED: &str = "the-seal-before-that-one";

fn sealed() -> Value {
    let mut configuration = configuration("hs");
    configuration["seal"] = json!({"values": [SEAL, RETIRED]});
    configuration["providers"][0]["skip_path_regex"] = json!("^/public");
    configuration
}

fn assert_absent(place: &str, text: impl AsRef<[u8]>) {
    let text = String::from_utf8_lossy(text.as_ref()).into_owned();
    for secret in [SEAL, RETIRED] {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for spelling in [secret, &hex, &format!("{:?}", secret.as_bytes())] {
            assert!(!text.contains(spelling), "{place}: {text}");
        }
    }
}

#[test]
fn no_trailer_says_the_seal_again() {
    let world = world();
    let mut other = sealed();
    other["seal"]["header"] = json!("X-Gate");
    for (configuration, sent) in [
        (sealed(), ["x-authentik-seal", "X_Authentik_Seal", "x.authentik.seal"]),
        (other, ["x-gate", "X_Gate", "x.gate"]),
    ] {
        let mut vm = worker(&world, &configuration);
        let trailers: Vec<_> = sent.iter().map(|name| (*name, SEAL)).chain([("x-checksum", "1")]).collect();
        for request in [get(basic("alice", "password")), Request::get("/public")] {
            let stream = vm.send(request.with_body("x").with_trailers(&trailers));
            for call in vm.pending_calls() {
                vm.answer(call.id, granted(token("hs")));
            }
            assert_eq!(forwarded(&vm, stream).get_all(sent[0].to_ascii_lowercase()), [SEAL.as_bytes()]);
            let trailers = vm.trailers(stream).expect("the trailers went on");
            assert_eq!(trailers.iter().collect::<Vec<_>>(), [(&b"x-checksum"[..], &b"1"[..])]);
        }
    }
}

#[test]
fn seal_is_sent_only_towards_the_application() {
    let world = world();
    let mut vm = worker(&world, &sealed());
    let mut outcomes = Vec::new();
    let good = basic("alice", "password");
    for (request, answer) in [
        (get(&good), Some(granted(token("hs")))),
        (get(basic("alice", "wrong")), Some(refused())),
        (get(basic("bob", "password")), Some(CallAnswer::Reset)),
        (get(basic("eve", "password")), Some(granted(token_with("hs", json!({"preferred_username": null}))))),
        (get("Bearer forged"), None),
        (get("Digest x"), None),
        (Request::get("/"), None),
        (Request::get("/").header("x-authentik-seal", SEAL).header("accept", "text/html"), None),
        (Request::get("/outpost.goauthentik.io/ping"), None),
        (Request::get("/public"), None),
    ] {
        let stream = vm.send(request);
        if let Some(answer) = answer {
            let call = only_call(&vm);
            for (name, value) in call.headers.iter() {
                assert_absent("a call to authentik", name);
                assert_absent("a call to authentik", value);
            }
            assert_absent("a call to authentik", &call.body);
            vm.answer(call.id, answer);
        }
        outcomes.push((stream, vm.outcome(stream)));
    }
    let mut passed = 0;
    for (stream, outcome) in outcomes {
        match outcome {
            Outcome::Forwarded { headers, .. } => {
                assert_eq!(headers.get_all("x-authentik-seal"), [SEAL.as_bytes()]);
                let others = headers.iter().filter(|(name, _)| *name != b"x-authentik-seal");
                others.for_each(|(_, value)| assert_absent("another header", value));
                for (_, value) in vm.respond(stream, &[(":status", "200")], "").iter() {
                    assert_absent("a response", value);
                }
                passed += 1;
            }
            Outcome::Replied { headers, body, details, .. } => {
                headers.iter().for_each(|(_, value)| assert_absent("a reply", value));
                assert_absent("a reply", body);
                assert_absent("a reply", details);
            }
            Outcome::Pending | Outcome::Failed => panic!("neither forwarded nor answered: {outcome:?}"),
        }
    }
    assert_eq!(passed, 2);
    is_in_no_record_of(&world);
}

fn is_in_no_record_of(world: &World) {
    assert!(world.log().iter().any(|line| line.text.contains("refused")), "everything is logged");
    world.log().iter().for_each(|line| assert_absent("the log", &line.text));
    let keys = world.shared_keys("");
    assert!(!keys.is_empty());
    for key in keys {
        assert_absent("a key of shared data", &key);
        assert_absent("shared data", world.shared_data("", &key).unwrap_or_default());
    }
    world.metrics().keys().for_each(|name| assert_absent("a metric", name));
}

#[test]
fn a_fault_of_the_seal_names_its_place_and_never_a_value() {
    let wrong = |seal: Value| {
        let mut configuration = sealed();
        configuration["seal"] = seal;
        configuration.to_string()
    };
    let blank = format!("{SEAL} {RETIRED}");
    for (place, configuration) in [
        ("seal.header", wrong(json!({"header": "x-authentik-uid", "values": [SEAL, RETIRED]}))),
        ("seal.values[1]", wrong(json!({"values": [SEAL, &RETIRED[..15]]}))),
        ("seal.values[0]", wrong(json!({"values": [blank]}))),
        ("seal.values", wrong(json!({"values": vec![SEAL; 5]}))),
        ("seal.value", wrong(json!({"value": SEAL}))),
        ("seal", wrong(json!(SEAL))),
    ] {
        let world = world();
        let refused = Vm::start(&world, &artefact(), &configuration).err();
        assert_eq!(refused, Some(StartError::ConfigurationRefused), "{place}");
        let lines: Vec<_> = world.log().into_iter().map(|line| line.text).collect();
        assert!(lines.iter().any(|line| line.contains(&format!("{place}: "))), "{place}: {lines:?}");
        for line in lines {
            assert_absent(place, &line);
            assert!(!line.contains(&RETIRED[..15]), "{line}");
        }
    }
}

/// It would reach a policy that refuses it, or an application without one.
#[test]
fn a_request_that_cannot_be_sealed_does_not_go_on() {
    let world = world();
    let mut vm = worker(&world, &sealed());
    for request in [get(format!("Bearer {}", token("hs"))), Request::get("/public")] {
        world.set_failing("proxy_replace_header_map_value", true);
        let stream = vm.send(request.clone());
        assert_eq!(observed(&vm, stream), Observed::Status(503));
        world.set_failing("proxy_replace_header_map_value", false);
        let stream = vm.send(request);
        assert_eq!(forwarded(&vm, stream).get_all("x-authentik-seal"), [SEAL.as_bytes()]);
    }
}
