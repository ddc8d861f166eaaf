//! The providers of an outpost in the artefact: what the log says of a list, and where its secrets are not.

use fake_authentik::{OUTPOST_TOKEN, TokenSpec};
use proxy_wasm_testkit::{CallAnswer, LogLevel, Outcome, Vm, World};
use serde_json::{Value, json};

use super::fixture::{
    AUTHENTIK, BASE, COOKIE_SECRET, Observed, answer_key_calls, artefact, basic, bearer, get, granted,
    observed, only_call, passed_as, path_of, provider, refused, seconds, send, send_and_answer, token, world,
};
use super::secrets::assert_kept;

fn configuration(authentik: &Value) -> Value {
    let mut configuration = json!({
        "authentik": {"cluster": "authentik", "host": BASE, "token": OUTPOST_TOKEN},
        "throttle": {"failures": 0},
    });
    for (name, value) in authentik.as_object().unwrap() {
        configuration["authentik"][name] = value.clone();
    }
    configuration
}

fn start(world: &World) -> Vm {
    Vm::start(world, &artefact(), configuration(&json!({})).to_string()).unwrap()
}

fn entry(slug: &str, key: u32) -> Value {
    let mut entry = provider(slug);
    entry["pk"] = json!(key);
    entry["name"] = json!(slug);
    entry
}

fn page(entries: &[Value]) -> CallAnswer {
    let pagination = json!({"current": 1, "next": 0, "count": entries.len()});
    CallAnswer::json(200, json!({"pagination": pagination, "results": entries}).to_string())
}

/// Ticks, and answers the call for the list.
#[track_caller]
fn read(vm: &mut Vm, answer: CallAnswer) {
    vm.tick();
    let calls = vm.pending_calls();
    let call = calls
        .iter()
        .find(|call| path_of(call).starts_with("/api/v3/outposts/"))
        .expect("the list is asked for");
    vm.answer(call.id, answer);
    vm.tick();
    answer_key_calls(vm);
}

fn get_at(slug: &str, authorization: impl AsRef<[u8]>) -> proxy_wasm_testkit::Request {
    get(authorization).replace(":authority", format!("{slug}.example.com"))
}

/// The warnings and errors so far, without what the testkit's Envoy says itself.
fn warnings(world: &World) -> Vec<String> {
    let log = world.log();
    log.iter().filter(|line| line.level >= LogLevel::Warn).map(|line| line.text.clone()).collect()
}

#[test]
fn new_vm_knows_the_list_without_a_call() {
    let world = world();
    let mut first = start(&world);
    read(&mut first, page(&[entry("hs", 1), entry("rs", 2)]));
    assert_eq!(send(&mut first, get_at("rs", bearer(token("rs")))), passed_as("alice"));
    let mut second = start(&world);
    assert_eq!(send(&mut second, get_at("rs", bearer(token("rs")))), passed_as("alice"));
    second.tick();
    assert_eq!(second.calls_sent(), 0);
    drop(first);
    let mut third = start(&world);
    assert_eq!(
        send(&mut third, get_at("rs", bearer(token("rs")))),
        passed_as("alice"),
        "after the first has ended"
    );
}

#[test]
fn every_list_that_is_wrong_has_one_clear_line_and_nobody_passes() {
    let refusal = |detail: &str| CallAnswer::json(403, json!({"detail": detail}).to_string());
    let without_secret = {
        let mut entry = entry("hs", 1);
        entry.as_object_mut().unwrap().remove("client_secret");
        entry
    };
    let rival = {
        let mut rival = entry("rs", 2);
        rival["external_host"] = json!("https://hs.example.com");
        rival
    };
    let unread =
        "the providers of the outpost could not be read from https://auth.example.test/api/v3/outposts/: ";
    let cases = [
        (refusal("Token invalid/expired"), 503, vec![format!("{unread}authentik.token is refused (403): authentik does not know it, or it has expired; an app password is no API token")]),
        (refusal("You do not have permission to perform this action."), 503, vec![format!("{unread}authentik.token is refused (403): it may not read outposts; take the token of the outpost")]),
        (CallAnswer::json(200, "<html>"), 503, vec![format!("{unread}authentik's answer with status 200 is not what it should be")]),
        (CallAnswer::json(200, " ".repeat(2 << 20)), 503, vec![format!("{unread}authentik's answer is longer than authentik.max_response_bytes")]),
        (CallAnswer::json(404, "<html>"), 503, vec![format!("{unread}what answers is not authentik's API (status 404): check authentik.host")]),
        (CallAnswer::Timeout, 503, vec![format!("{unread}the way to authentik failed: Envoy says 504: upstream request timeout")]),
        (page(&[]), 400, vec!["the outpost has no proxy provider with an application".to_owned()]),
        (page(&[without_secret]), 400, vec!["the provider \"hs\" of authentik's list is left out: client_secret: is required".to_owned()]),
        (page(&[entry("hs", 1), rival]), 400, vec![
            "the provider \"hs\" of authentik's list is left out: another entry answers for the same host: neither counts".to_owned(),
            "the provider \"rs\" of authentik's list is left out: another entry answers for the same host: neither counts".to_owned(),
        ]),
    ];
    for (answer, status, lines) in cases {
        let world = world();
        let mut vm = start(&world);
        read(&mut vm, answer);
        assert_eq!(warnings(&world), lines);
        assert_eq!(send(&mut vm, get_at("hs", bearer(token("hs")))), Observed::Status(status), "{lines:?}");
        for second in 1..20 {
            world.advance(seconds(second));
            vm.tick();
        }
        assert_eq!(send(&mut vm, get_at("hs", bearer(token("hs")))), Observed::Status(status), "{lines:?}");
    }
}

#[test]
fn outpost_of_another_name_has_a_clear_line() {
    let world = world();
    let configuration = configuration(&json!({"outpost": "edge"}));
    let mut vm = Vm::start(&world, &artefact(), configuration.to_string()).unwrap();
    read(&mut vm, page(&[json!({"name": "other", "type": "proxy", "providers": [1]})]));
    let [line] = &warnings(&world)[..] else { panic!("{:?}", warnings(&world)) };
    assert!(
        line.ends_with("the token sees no proxy outpost of this name: check authentik.outpost"),
        "{line}"
    );
    assert_eq!(send(&mut vm, get_at("hs", bearer(token("hs")))), Observed::Status(503));
}

#[test]
fn no_secret_of_the_list_leaks() {
    let world = world();
    let mut vm = start(&world);
    let secret = "another-client-secret-of-the-list-0123456789";
    let changed = {
        let mut entry = entry("hs", 1);
        entry["client_secret"] = json!(secret);
        entry
    };
    let faulty = {
        let mut entry = entry("es", 3);
        entry["external_host"] = json!("es.example.com");
        entry["cookie_secret"] = json!({"not": "a secret"});
        entry
    };
    let mut outcomes: Vec<Outcome> = Vec::new();
    read(&mut vm, CallAnswer::json(403, json!({"detail": OUTPOST_TOKEN}).to_string()));
    for list in [
        vec![entry("hs", 1), entry("rs", 2)],
        vec![entry("hs", 1), entry("rs", 2), faulty],
        vec![changed, entry("hs", 9)],
        vec![entry("rs", 2)],
    ] {
        world.advance(seconds(70));
        read(&mut vm, page(&list));
        for slug in ["hs", "rs", "es"] {
            let stream = vm.send(get_at(slug, basic("alice", "a-wrong-app-password")));
            if observed(&vm, stream) == Observed::Waits {
                let call = only_call(&vm);
                vm.answer(call.id, refused());
            }
            outcomes.push(vm.outcome(stream));
            let stream = vm.send(get_at(slug, bearer(AUTHENTIK.mint("hs", TokenSpec::new()))));
            outcomes.push(vm.outcome(stream));
        }
    }
    let mut secrets = vec![OUTPOST_TOKEN.to_owned(), COOKIE_SECRET.to_owned(), secret.to_owned()];
    secrets.extend(["hs", "rs", "es"].map(|slug| AUTHENTIK.client_secret(slug)));
    assert_kept(&secrets, &world, &outcomes);
    for key in world.shared_keys("") {
        let value = world.shared_data("", &key).unwrap();
        for secret in &secrets {
            let is_there = value.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_there, "{} has {secret:.12}…", String::from_utf8_lossy(&key));
        }
    }
    assert_eq!(
        send_and_answer(&mut vm, get_at("rs", basic("alice", "good")), granted(token("rs"))),
        passed_as("alice"),
        "the list is one that works"
    );
}
