//! Body and trailers of a request: nothing of them goes on before the decision, nothing at all of one that is
//! refused or that Envoy does not let us change; also where Envoy is told to stop at the headers only.

use proxy_wasm_testkit::{CallAnswer, Outcome, Plugin, Request, Vm, World};
use serde_json::json;

use super::fixture::{
    Observed, answer_key_calls, artefact, basic, bearer, get, granted, observed, only_call, passed_as,
    refused, send, token, with_provider, world,
};

/// Workers with the flag and without.
fn workers(world: &World) -> [Vm; 2] {
    [false, true].map(|allow_on_headers_stop_iteration| {
        let plugin = Plugin { allow_on_headers_stop_iteration, ..Plugin::default() };
        let mut vm = Vm::start_as(world, &artefact(), &plugin, without_shared_slots()).unwrap();
        vm.tick();
        answer_key_calls(&mut vm);
        vm
    })
}

/// So that no worker knows what another has asked for. In this mode the filter removes, replaces and adds headers.
fn without_shared_slots() -> String {
    let mut configuration = with_provider("hs", "mode", "proxy");
    configuration["providers"][0]["skip_path_regex"] = json!("^/public");
    configuration["cache"] = json!({"shared_slots": 0});
    configuration.to_string()
}

/// Some servers read trailers as headers.
const TRAILERS: [(&str, &str); 6] = [
    ("x-authentik-username", "admin"),
    ("x_authentik_groups", "admins"),
    ("X.Authentik.Uid", "0"),
    ("authorization", "Basic YWRtaW46"),
    ("x-checksum", "1"),
    ("x-authentik", "kept: it is nobody's"),
];

fn upload(authorization: &str) -> Request {
    get(authorization)
        .replace(":method", "POST")
        .with_body("first ")
        .with_body("second ")
        .with_body("third")
        .with_trailers(&[("x-checksum", "1")])
}

#[test]
fn a_body_waits_for_the_decision_and_goes_on_whole() {
    let world = world();
    for mut vm in workers(&world) {
        let stream = vm.send(upload(&basic("alice", "password")));
        assert_eq!(vm.outcome(stream), Outcome::Pending);
        let call = only_call(&vm);
        vm.answer(call.id, granted(token("hs")));
        match vm.outcome(stream) {
            Outcome::Forwarded { headers, body } => {
                assert_eq!(headers.get_all("x-authentik-username"), [b"alice"]);
                assert!(!headers.contains("authorization"));
                assert_eq!(body, b"first second third");
            }
            other => panic!("not forwarded but {other:?}"),
        }
    }
}

#[test]
fn nothing_of_a_refused_request_goes_on() {
    let world = world();
    for mut vm in workers(&world) {
        let answers = [
            (refused(), Observed::Status(401)),
            (CallAnswer::Timeout, Observed::Status(503)),
            (CallAnswer::Reset, Observed::Status(503)),
        ];
        for (number, (answer, expected)) in answers.into_iter().enumerate() {
            let stream = vm.send(upload(&basic("alice", &format!("wrong-{number}"))));
            assert_eq!(vm.outcome(stream), Outcome::Pending);
            let call = only_call(&vm);
            vm.answer(call.id, answer);
            assert_eq!(observed(&vm, stream), expected);
        }
        assert_eq!(vm.open_streams(), 0);
    }
}

#[test]
fn a_body_does_not_carry_a_request_past_an_answer_at_once() {
    let world = world();
    for mut vm in workers(&world) {
        assert_eq!(send(&mut vm, upload("Bearer forged")), Observed::Status(401));
        assert_eq!(send(&mut vm, upload("Digest x")), Observed::Status(401));
        let anonymous =
            Request::get("/").replace(":method", "POST").with_body("x").with_trailers(&[("t", "1")]);
        assert_eq!(send(&mut vm, anonymous), Observed::Status(401));
        world.set_endpoints("authentik", false);
        assert_eq!(send(&mut vm, upload(&basic("alice", "password"))), Observed::Status(503));
        world.set_endpoints("authentik", true);
    }
}

#[test]
fn a_body_with_a_credential_that_is_known_passes_at_once() {
    let world = world();
    for mut vm in workers(&world) {
        let stream = vm.send(upload(&bearer(token("hs"))));
        assert_eq!(observed(&vm, stream), passed_as("alice"));
        match vm.outcome(stream) {
            Outcome::Forwarded { body, .. } => assert_eq!(body, b"first second third"),
            other => panic!("not forwarded but {other:?}"),
        }
    }
}

#[test]
fn trailers_alone_wait_for_the_decision_too() {
    let world = world();
    for mut vm in workers(&world) {
        let stream =
            vm.send(get(basic("alice", "password")).with_trailers(&[("x-authentik-username", "admin")]));
        assert_eq!(vm.outcome(stream), Outcome::Pending);
        let call = only_call(&vm);
        vm.answer(call.id, granted(token("hs")));
        assert_eq!(observed(&vm, stream), passed_as("alice"));
    }
}

#[test]
fn trailers_say_nothing_that_headers_may_not() {
    let world = world();
    for mut vm in workers(&world) {
        let waiting = vm.send(get(basic("alice", "password")).with_body("x").with_trailers(&TRAILERS));
        assert_eq!(vm.trailers(waiting), None, "not before the decision");
        let call = only_call(&vm);
        vm.answer(call.id, granted(token("hs")));
        let known = vm.send(get(bearer(token("hs"))).with_body("x").with_trailers(&TRAILERS));
        let without_body = vm.send(get(bearer(token("hs"))).with_trailers(&TRAILERS));
        let open = vm.send(Request::get("/public").with_body("x").with_trailers(&TRAILERS));
        for (stream, user) in [(waiting, "alice"), (known, "alice"), (without_body, "alice"), (open, "")] {
            assert_eq!(observed(&vm, stream), passed_as(user));
            let trailers = vm.trailers(stream).expect("the trailers went on");
            let left: Vec<_> = trailers.iter().map(|(name, _)| name.escape_ascii().to_string()).collect();
            assert_eq!(left, ["x-checksum", "x-authentik"]);
        }
    }
}

/// It would go on with what the client says it is, or without what authentik says.
#[test]
fn a_request_whose_headers_cannot_be_changed_does_not_go_on() {
    for call in
        ["proxy_remove_header_map_value", "proxy_replace_header_map_value", "proxy_add_header_map_value"]
    {
        let world = world();
        for mut vm in workers(&world) {
            world.set_failing(call, true);
            let waiting = vm.send(upload(&basic("alice", "password")));
            assert_eq!(vm.outcome(waiting), Outcome::Pending);
            let exchange = only_call(&vm);
            vm.answer(exchange.id, granted(token("hs")));
            assert_eq!(observed(&vm, waiting), Observed::Status(503), "{call}, after a call");
            assert_eq!(
                send(&mut vm, upload(&basic("alice", "password"))),
                Observed::Status(503),
                "{call}, known"
            );
            assert_eq!(
                send(&mut vm, upload(&bearer(token("hs")))),
                Observed::Status(503),
                "{call}, verified"
            );
            // Nobody's request gets no headers: there is nothing to add.
            if call != "proxy_add_header_map_value" {
                let forged = Request::get("/public").header("x-authentik-username", "admin").with_body("x");
                assert_eq!(send(&mut vm, forged), Observed::Status(503), "{call}, on an open path");
            }
            assert_eq!((vm.open_streams(), vm.death()), (0, None));
            world.set_failing(call, false);
            assert_eq!(send(&mut vm, upload(&bearer(token("hs")))), passed_as("alice"), "{call} works again");
        }
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_disturbs_nothing() {
    let world = world();
    for mut vm in workers(&world) {
        let stream = vm.send(upload(&basic("alice", "password")));
        vm.disconnect(stream);
        let call = only_call(&vm);
        vm.answer(call.id, granted(token("hs")));
        assert_eq!(vm.outcome(stream), Outcome::Pending, "it was never let on");
        assert_eq!(send(&mut vm, upload(&basic("alice", "password"))), passed_as("alice"));
    }
}
