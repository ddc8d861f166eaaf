//! The in-process host against real modules: every rule that a filter relies on.
//!
//! The rules are Envoy 1.40's as measured; each test names one. The subjects
//! are filters in Wasm text (`subject.rs`) that log what the host tells them.

mod subject;

use std::time::Duration;

use proxy_wasm_testkit::protobuf::{bytes_field, field, fields};
use proxy_wasm_testkit::{
    CallAnswer, HeaderMap, LogLevel, Module, Outcome, Plugin, Request, StartError, Status, StreamId, Vm,
    World,
};
use subject::filter;

const CONTINUE: &str = "(i32.const 0)";
const PAUSE: &str = "(i32.const 1)";
/// Remembers the stream, for callbacks of the root context.
const REMEMBER: (&str, &str) =
    ("on_context_create", "(if (local.get $root) (then (global.set $stream (local.get $id))))");
const RESUME_ON_TICK: (&str, &str) = (
    "on_tick",
    "(call $tell (call $proxy_set_effective_context (global.get $stream)))
     (call $tell (call $proxy_continue_stream (i32.const 0)))",
);
const TICKING: (&str, &str) =
    ("on_configure", "(drop (call $proxy_set_tick_period_milliseconds (i32.const 1000))) (i32.const 1)");
const DENY: &str =
    "(call $proxy_send_local_response (i32.const 401) {{}} {{no}} {{pairs:x-a=b}} (i32.const -1))";

fn start(world: &World, callbacks: &[(&str, &str)]) -> Vm {
    Vm::start(world, &filter(callbacks), "").unwrap()
}

fn lines(world: &World) -> Vec<String> {
    let lines = world.log().into_iter().map(|line| line.text).collect();
    world.clear_log();
    lines
}

fn forwarded(vm: &Vm, stream: StreamId) -> (HeaderMap, Vec<u8>) {
    match vm.outcome(stream) {
        Outcome::Forwarded { headers, body } => (headers, body),
        other => panic!("not forwarded but {other:?}"),
    }
}

#[test]
fn a_filter_without_callbacks_lets_everything_pass() {
    let world = World::new();
    let mut vm = start(&world, &[]);
    let stream = vm.send(Request::get("/a").with_body("one").with_body("two"));
    let (headers, body) = forwarded(&vm, stream);
    assert_eq!(headers.get(":path"), Some(&b"/a"[..]));
    assert_eq!(body, b"onetwo");
    let response = vm.respond(stream, &[(":status", "200"), ("x-b", "c")], "");
    assert_eq!(response.get("x-b"), Some(&b"c"[..]));
    assert_eq!(vm.open_streams(), 0);
}

#[test]
fn a_pause_in_headers_holds_body_and_trailers_until_resumed() {
    let world = World::new();
    let mut vm = start(
        &world,
        &[
            TICKING,
            REMEMBER,
            RESUME_ON_TICK,
            ("on_request_headers", &format!("(call $tell (local.get $last)) {PAUSE}")),
            (
                "on_request_body",
                &format!("(call $tell (local.get $size)) (call $tell (local.get $last)) {CONTINUE}"),
            ),
            ("on_request_trailers", &format!("(call $say {{{{trailers}}}}) {CONTINUE}")),
        ],
    );
    let stream = vm.send(Request::get("/").with_body("abc").with_body("de").with_trailers(&[("t", "v")]));
    assert_eq!(vm.outcome(stream), Outcome::Pending);
    assert_eq!(lines(&world), ["0"]);
    vm.tick();
    assert_eq!(lines(&world), ["0", "0", "3", "0", "2", "0", "trailers"]);
    assert_eq!(forwarded(&vm, stream).1, b"abcde");
    vm.tick();
    assert_eq!(lines(&world), ["0", "0"], "resumed twice is harmless");
    assert_eq!(forwarded(&vm, stream).1, b"abcde");
}

#[test]
fn a_pause_in_the_body_gathers_what_comes() {
    let world = World::new();
    let body = "(call $tell (local.get $size)) (i32.eqz (local.get $last))";
    let mut vm = start(&world, &[("on_request_body", body)]);
    let stream = vm.send(Request::get("/").with_body("abc").with_body("de"));
    assert_eq!(lines(&world), ["3", "5"]);
    assert_eq!(forwarded(&vm, stream).1, b"abcde");
}

#[test]
fn the_flag_for_headers_only_lets_a_body_carry_held_headers_along() {
    let world = World::new();
    let module = filter(&[("on_request_headers", PAUSE), ("on_request_body", CONTINUE)]);
    let flagged = Plugin { allow_on_headers_stop_iteration: true, ..Plugin::default() };
    let mut vm = Vm::start_as(&world, &module, &flagged, "").unwrap();
    let bypass = vm.send(Request::get("/").with_body("x"));
    assert_eq!(forwarded(&vm, bypass).1, b"x");
    let mut vm = Vm::start(&world, &module, "").unwrap();
    let held = vm.send(Request::get("/").with_body("x"));
    assert_eq!(vm.outcome(held), Outcome::Pending);
}

#[test]
fn header_lines_arrive_as_envoy_merges_them() {
    let world = World::new();
    let read = |name: &str| {
        format!(
            "(call $tell (call $proxy_get_header_map_value (i32.const 0) {{{{{name}}}}} (i32.const 16) (i32.const 20)))
             (call $show)"
        )
    };
    let reads: String = ["authorization", "Cookie", "HOST"].iter().map(|name| read(name)).collect();
    let mut vm = start(&world, &[("on_request_headers", &format!("{reads} {CONTINUE}"))]);
    let request = Request::get("/")
        .header("Authorization", "Basic AAA")
        .header("X-Bytes", b"\x80\xff")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("authorization", "Bearer BBB");
    let stream = vm.send(request);
    assert_eq!(lines(&world), ["0", "Basic AAA,Bearer BBB", "0", "a=1", "0", "app.example.com"]);
    let headers = forwarded(&vm, stream).0;
    assert_eq!(headers.get_all("cookie"), [b"a=1", b"b=2"]);
    assert_eq!(headers.iter().find(|(name, _)| *name == b"x-bytes").unwrap().1, b"\x80\xff");
}

#[test]
fn headers_are_added_replaced_and_removed_with_all_their_lines() {
    let world = World::new();
    let body = "(call $tell (call $proxy_remove_header_map_value (i32.const 0) {{X-Gone}}))
                (call $tell (call $proxy_remove_header_map_value (i32.const 0) {{x-never}}))
                (call $tell (call $proxy_replace_header_map_value (i32.const 0) {{X-Set}} {{new}}))
                (call $tell (call $proxy_add_header_map_value (i32.const 0) {{x-more}} {{2}})) (i32.const 0)";
    let mut vm = start(&world, &[("on_request_headers", body)]);
    let request = ["x-gone", "x-gone", "x-set", "x-set"]
        .iter()
        .fold(Request::get("/"), |r, name| r.header(name, "old"));
    let stream = vm.send(request.header("x-more", "1"));
    assert_eq!(lines(&world), ["0", "0", "0", "0"]);
    let headers = forwarded(&vm, stream).0;
    assert!(!headers.contains("x-gone"));
    assert_eq!(headers.get_all("x-set"), [b"new"]);
    assert_eq!(headers.get_all("x-more"), [b"1", b"2"]);
}

#[test]
fn a_header_that_cannot_go_on_the_wire_is_a_503() {
    let world = World::new();
    let body =
        "(drop (call $proxy_add_header_map_value (i32.const 0) {{x-bad}} {{a\\r\\nb: c}})) (i32.const 0)";
    let mut vm = start(&world, &[("on_request_headers", body)]);
    let stream = vm.send(Request::get("/"));
    let Outcome::Replied { status, details, .. } = vm.outcome(stream) else {
        panic!("{:?}", vm.outcome(stream))
    };
    assert_eq!((status, details.as_slice()), (503, &b"invalid header value for: x-bad"[..]));
}

#[test]
fn maps_that_are_not_there_are_a_bad_argument_or_empty() {
    let world = World::new();
    let reads = "(call $tell (call $proxy_get_header_map_value (i32.const 2) {{:status}} (i32.const 16) (i32.const 20)))
                 (call $tell (call $proxy_get_header_map_value (i32.const 6) {{:status}} (i32.const 16) (i32.const 20)))
                 (call $tell (call $proxy_get_header_map_value (i32.const 0) {{x-none}} (i32.const 16) (i32.const 20)))
                 (call $tell (call $proxy_get_header_map_pairs (i32.const 6) (i32.const 16) (i32.const 20)))
                 (call $tell (i32.load (i32.const 20)))
                 (call $tell (call $proxy_get_buffer_bytes (i32.const 4) (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 20)))
                 (call $tell (call $proxy_get_header_map_pairs (i32.const 9) (i32.const 16) (i32.const 20)))
                 (i32.const 0)";
    let response = "(call $tell (call $proxy_get_header_map_value (i32.const 0) {{:path}} (i32.const 16) (i32.const 20)))
                    (i32.const 0)";
    let mut vm = start(&world, &[("on_request_headers", reads), ("on_response_headers", response)]);
    let stream = vm.send(Request::get("/"));
    assert_eq!(lines(&world), ["2", "2", "1", "0", "0", "1", "2"]);
    vm.respond(stream, &[(":status", "200")], "");
    assert_eq!(lines(&world), ["2"], "request headers are gone once the request went on");
}

#[test]
fn a_resumed_stream_takes_no_more_headers() {
    let world = World::new();
    let add = "(call $tell (call $proxy_add_header_map_value (i32.const 0) {{x-a}} {{b}}))";
    let tick = format!(
        "{} {add} (call $tell (call $proxy_continue_stream (i32.const 0))) {add}",
        "(drop (call $proxy_set_effective_context (global.get $stream)))"
    );
    let mut vm = start(&world, &[TICKING, REMEMBER, ("on_request_headers", PAUSE), ("on_tick", &tick)]);
    let stream = vm.send(Request::get("/"));
    vm.tick();
    assert_eq!(lines(&world), ["0", "0", "2"]);
    assert_eq!(forwarded(&vm, stream).0.get_all("x-a"), [b"b"]);
}

#[test]
fn the_effective_context_ends_with_the_call_and_with_the_stream() {
    let world = World::new();
    let tick = "(call $tell (call $proxy_remove_header_map_value (i32.const 0) {{x}}))
                (call $tell (call $proxy_set_effective_context (global.get $stream)))
                (call $tell (call $proxy_remove_header_map_value (i32.const 0) {{x}}))";
    let mut vm = start(&world, &[TICKING, REMEMBER, ("on_request_headers", PAUSE), ("on_tick", tick)]);
    let stream = vm.send(Request::get("/"));
    vm.tick();
    assert_eq!(lines(&world), ["2", "0", "0"]);
    vm.tick();
    assert_eq!(lines(&world), ["2", "0", "0"], "the root context again, until it is set");
    vm.disconnect(stream);
    vm.tick();
    assert_eq!(lines(&world), ["2", "2", "2"]);
    assert_eq!(vm.outcome(stream), Outcome::Pending);
}

#[test]
fn a_reply_is_made_whole_and_seen_by_the_response_callback() {
    let world = World::new();
    let deny = "(call $tell (call $proxy_send_local_response (i32.const 302) {{why}} {{moved}}
                {{pairs::status=200|Location=/a\\r\\nset-cookie: evil|set-cookie=a|set-cookie=b|content-type=text/html}}
                (i32.const -1))) (i32.const 0)";
    let seen =
        "(call $tell (call $proxy_add_header_map_value (i32.const 2) {{set-cookie}} {{c}})) (i32.const 0)";
    let gone = [
        ("on_log", "(call $say {{log}})"),
        ("on_done", "(call $say {{done}}) (i32.const 1)"),
        ("on_delete", "(call $say {{delete}})"),
    ];
    let callbacks =
        [[("on_request_headers", deny), ("on_response_headers", seen)].as_slice(), &gone].concat();
    let mut vm = start(&world, &callbacks);
    let stream = vm.send(Request::get("/"));
    let Outcome::Replied { status, headers, body, grpc_status, details } = vm.outcome(stream) else {
        panic!("{:?}", vm.outcome(stream))
    };
    assert_eq!(
        (status, body.as_slice(), grpc_status, details.as_slice()),
        (302, &b"moved"[..], None, &b"why"[..])
    );
    assert_eq!(headers.get_all("set-cookie"), [b"a", b"b", b"c"]);
    assert_eq!(headers.get_all("content-type"), [b"text/html"]);
    assert_eq!(headers.get("content-length"), Some(&b"5"[..]));
    assert_eq!(headers.get("location"), Some(&b"/a\r\nset-cookie: evil"[..]), "raw, for a test to find");
    assert_eq!(headers.first_invalid(), Some(&b"location"[..]));
    assert_eq!(lines(&world), ["0", "0", "log", "done", "delete"]);
}

#[test]
fn a_grpc_client_gets_its_refusal_as_grpc() {
    let world = World::new();
    let mut vm = start(&world, &[("on_request_headers", &format!("(drop {DENY}) {PAUSE}"))]);
    let stream = vm.send(Request::get("/").header("content-type", "application/grpc"));
    let Outcome::Replied { status, headers, body, grpc_status, .. } = vm.outcome(stream) else {
        panic!("{:?}", vm.outcome(stream))
    };
    assert_eq!((status, grpc_status, body), (200, Some(16), Vec::new()));
    assert_eq!(headers.get("grpc-message"), Some(&b"no"[..]));
}

#[test]
fn a_reply_in_the_response_phase_replaces_the_response() {
    let world = World::new();
    let mut vm = start(&world, &[("on_response_headers", &format!("(drop {DENY}) {CONTINUE}"))]);
    let stream = vm.send(Request::get("/"));
    let response = vm.respond(stream, &[(":status", "200"), ("x-secret", "1")], "body");
    assert_eq!(response.get(":status"), Some(&b"401"[..]));
    assert!(!response.contains("x-secret"));
}

#[test]
fn a_reply_for_another_stream_stops_the_callback_that_gave_it() {
    let world = World::new();
    let body = format!(
        "(if (global.get $stream) (then (drop (call $proxy_set_effective_context (global.get $stream))) (drop {DENY})
            (return {CONTINUE})))
         (global.set $stream (local.get $id)) {PAUSE}"
    );
    let mut vm = start(&world, &[("on_request_headers", &body)]);
    let (first, second) = (vm.send(Request::get("/1")), vm.send(Request::get("/2")));
    assert!(matches!(vm.outcome(first), Outcome::Replied { status: 401, .. }));
    assert_eq!(vm.outcome(second), Outcome::Pending, "held though it said Continue");
}

#[test]
fn a_client_that_goes_away_ends_its_stream_in_order() {
    let world = World::new();
    let log = "(call $tell (call $proxy_get_header_map_value (i32.const 0) {{:path}} (i32.const 16) (i32.const 20)))
               (call $tell (call $proxy_add_header_map_value (i32.const 0) {{a}} {{b}}))
               (call $show)";
    let mut vm = start(
        &world,
        &[
            ("on_log", log),
            ("on_done", "(call $say {{done}}) (i32.const 1)"),
            ("on_delete", "(call $say {{delete}})"),
        ],
    );
    let stream = vm.send(Request::get("/a"));
    assert_eq!(vm.open_streams(), 1);
    vm.disconnect(stream);
    assert_eq!(
        lines(&world),
        ["0", "2", "/a", "done", "delete"],
        "in on_log the maps can be read, not written"
    );
    assert_eq!(vm.open_streams(), 0);
    assert_eq!(forwarded(&vm, stream).0.get(":path"), Some(&b"/a"[..]));
}

#[test]
#[should_panic(expected = "stream 2 was forwarded and answered")]
fn forwarding_and_answering_is_a_violation() {
    let tick = format!(
        "(drop (call $proxy_set_effective_context (global.get $stream)))
        (drop (call $proxy_continue_stream (i32.const 0))) (drop {DENY})"
    );
    let mut vm =
        start(&World::new(), &[TICKING, REMEMBER, ("on_request_headers", PAUSE), ("on_tick", &tick)]);
    vm.send(Request::get("/"));
    vm.tick();
}

#[test]
#[should_panic(expected = "stream 2 was answered and resumed")]
fn answering_and_resuming_is_a_violation() {
    let tick = format!(
        "(drop (call $proxy_set_effective_context (global.get $stream)))
        (drop {DENY}) (drop (call $proxy_continue_stream (i32.const 0)))"
    );
    let mut vm =
        start(&World::new(), &[TICKING, REMEMBER, ("on_request_headers", PAUSE), ("on_tick", &tick)]);
    vm.send(Request::get("/"));
    vm.tick();
}

#[test]
#[should_panic(expected = "stream 2 was resumed before it was paused")]
fn resuming_before_the_decision_is_a_violation() {
    let body = format!("(drop (call $proxy_continue_stream (i32.const 0))) {PAUSE}");
    start(&World::new(), &[("on_request_headers", &body)]).send(Request::get("/"));
}

#[test]
#[should_panic(expected = "stream 2 was resumed before it was paused")]
fn resuming_before_the_request_is_a_violation() {
    let create = "(if (local.get $root) (then (drop (call $proxy_continue_stream (i32.const 0)))))";
    start(&World::new(), &[("on_context_create", create)]).send(Request::get("/"));
}

#[test]
#[should_panic(expected = "stream 2 was answered twice")]
fn answering_twice_is_a_violation() {
    start(&World::new(), &[("on_request_headers", &format!("(drop {DENY}) (drop {DENY}) {PAUSE}"))])
        .send(Request::get("/"));
}

#[test]
fn a_whole_map_can_be_replaced() {
    let world = World::new();
    let body = "(call $tell (call $proxy_set_header_map_pairs (i32.const 0) {{pairs::path=/b|X-A=1|x-a=2}}))
                (call $tell (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 16) (i32.const 20)))
                (call $tell (i32.load (i32.load (i32.const 16)))) (i32.const 0)";
    let mut vm = start(&world, &[("on_request_headers", body)]);
    let stream = vm.send(Request::get("/a").header("x-old", "1"));
    assert_eq!(lines(&world), ["0", "0", "3"]);
    let headers = forwarded(&vm, stream).0;
    let lines: Vec<_> = headers.iter().collect();
    assert_eq!(lines, [(&b":path"[..], &b"/b"[..]), (b"x-a", b"1"), (b"x-a", b"2")]);
}

#[test]
fn shared_data_is_one_map_for_all_vms_of_a_vm_id() {
    let world = World::new();
    let set = |key: &str, cas: &str| {
        format!("(call $tell (call $proxy_set_shared_data {{{{{key}}}}} {{{{v}}}} {cas}))")
    };
    let get =
        "(call $tell (call $proxy_get_shared_data {{key}} (i32.const 16) (i32.const 20) (i32.const 24)))";
    let body = [
        get,
        &set("key", "(i32.const 77)"),
        get,
        "(call $show)",
        &set("key", "(i32.add (i32.load (i32.const 24)) (i32.const 1))"),
        &set("key", "(i32.load (i32.const 24))"),
        &set("key", "(i32.const 0)"),
        "(call $tell (call $proxy_set_shared_data {{key}} {{}} (i32.const 0)))",
        get,
        "(call $tell (i32.load (i32.const 20)))",
        CONTINUE,
    ];
    let module = filter(&[("on_request_headers", &body.concat())]);
    Vm::start(&world, &module, "").unwrap().send(Request::get("/"));
    assert_eq!(lines(&world), ["1", "0", "0", "v", "8", "0", "0", "0", "0", "0"]);
    assert_eq!(world.shared_data("", "key"), Some(Vec::new()), "emptied, never removed");
    let mut second = Vm::start(&world, &module, "").unwrap();
    second.send(Request::get("/"));
    assert_eq!(lines(&world)[..2], ["0", "8"], "the other worker finds it");
    let other = Plugin { vm_id: "other".to_owned(), ..Plugin::default() };
    Vm::start_as(&world, &module, &other, "").unwrap().send(Request::get("/"));
    assert_eq!(lines(&world)[..2], ["1", "0"], "another vm_id does not");
    assert_eq!(world.shared_keys("other"), [b"key"]);
}

fn call(cluster: &str, pairs: &str, timeout: i32) -> String {
    format!(
        "(call $tell (call $proxy_http_call {{{{{cluster}}}}} {{{{pairs:{pairs}}}}} {{{{body}}}} {{{{}}}}
            (i32.const {timeout}) (i32.const 24)))"
    )
}

const COMPLETE: &str = ":method=POST|:path=/t|Host=auth.example.com|X-Y=z";

#[test]
fn calls_are_judged_as_envoy_judges_them() {
    let world = World::new();
    world.add_cluster("authentik");
    world.add_cluster("empty");
    world.set_endpoints("empty", false);
    let calls = [
        call("authentik", COMPLETE, 5000),
        call("authentik", COMPLETE, 0),
        call("nobody", COMPLETE, 5000),
        call("authentik", ":method=GET|:path=/", 5000),
        call("authentik", ":method=GET|:authority=a", 5000),
        call("authentik", ":path=/|:authority=a", 5000),
        call("authentik", COMPLETE, -1),
        call("empty", COMPLETE, 5000),
        call("authentik", &format!("{COMPLETE}|x-a=b\\r\\nc: d"), 5000),
    ];
    let mut vm = start(&world, &[("on_request_headers", &(calls.concat() + CONTINUE))]);
    vm.send(Request::get("/"));
    assert_eq!(lines(&world), ["0", "0", "2", "2", "2", "2", "2", "10", "10"]);
    let [first, second] = &vm.pending_calls()[..] else { panic!("two were sent") };
    assert_eq!((first.cluster.as_str(), first.body.as_slice()), ("authentik", &b"body"[..]));
    assert_eq!(first.headers.get(":authority"), Some(&b"auth.example.com"[..]));
    assert_eq!(first.headers.get("content-length"), Some(&b"4"[..]));
    assert_eq!(first.timeout, Some(Duration::from_secs(5)));
    assert_eq!(second.timeout, None);
    assert_eq!(vm.calls_sent(), 2);
}

#[test]
fn an_answer_is_readable_in_its_callback_only() {
    let world = World::new();
    world.add_cluster("authentik");
    let read = "(call $tell (call $proxy_get_header_map_value (i32.const 6) {{:status}} (i32.const 16) (i32.const 20)))";
    let body = "(call $tell (call $proxy_get_buffer_bytes (i32.const 4) (i32.const 0) (i32.const 999) (i32.const 16) (i32.const 20)))";
    let answered = format!(
        "(call $tell (local.get $count)) {read} (if (local.get $count) (then (call $show)))
         {body} (if (local.get $count) (then (call $show)))
         (call $tell (call $proxy_get_status (i32.const 24) (i32.const 16) (i32.const 20)))
         (call $tell (i32.load (i32.const 24))) (call $show)"
    );
    let configure = format!(
        "{} {} (i32.const 1)",
        TICKING.1.replace("(i32.const 1)", ""),
        call("authentik", COMPLETE, 9)
    );
    let tick = format!("{} {read}", call("authentik", COMPLETE, 9));
    let mut vm = start(
        &world,
        &[("on_configure", &configure), ("on_tick", &tick), ("on_http_call_response", &answered)],
    );
    assert_eq!(lines(&world), ["0"], "a call may be made in on_configure");
    vm.answer(vm.pending_calls()[0].id, CallAnswer::json(418, "{}"));
    assert_eq!(lines(&world), ["3", "0", "418", "0", "{}", "0", "0", ""]);
    assert!(vm.pending_calls().is_empty());
    let next = |vm: &mut Vm, answer| {
        vm.tick();
        assert_eq!(lines(&world), ["0", "2"], "outside the callback there is no map");
        vm.answer(vm.pending_calls()[0].id, answer);
        lines(&world)
    };
    assert_eq!(next(&mut vm, CallAnswer::Reset), ["0", "2", "1", "0", "9", "reset"]);
    assert_eq!(next(&mut vm, CallAnswer::ConnectFailure)[..3], ["3", "0", "503"]);
    assert_eq!(
        next(&mut vm, CallAnswer::Timeout),
        ["3", "0", "504", "0", "upstream request timeout", "0", "0", ""]
    );
}

/// Calls the foreign function `twice` with the configuration as arguments and leaves the result in the shared data.
fn call_twice(world: &World, arguments: &[u8]) -> String {
    let configure = "(drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (local.get $size) (i32.const 16) (i32.const 20)))
        (call $tell (call $proxy_call_foreign_function {{twice}}
            (i32.load (i32.const 16)) (i32.load (i32.const 20)) (i32.const 16) (i32.const 20)))
        (drop (call $proxy_set_shared_data {{result}} (i32.load (i32.const 16)) (i32.load (i32.const 20)) (i32.const 0)))
        (i32.const 1)";
    world.clear_log();
    Vm::start(world, &filter(&[("on_configure", configure)]), arguments).unwrap();
    lines(world).concat()
}

#[test]
fn a_registered_foreign_function_is_called_until_it_is_removed() {
    let world = World::new();
    assert_eq!(call_twice(&world, b"a"), "1", "not found");
    let of_the_function = world.clone();
    world.foreign("twice", move |arguments| {
        let _not_locked = of_the_function.now();
        let fields = fields(arguments).ok_or(Status::BadArgument)?;
        Ok(field(&fields, 2).repeat(2))
    });
    let long = [b'x'; 300];
    let arguments = [&b"\x08\x96\x01"[..], &bytes_field(2, b"first"), &bytes_field(2, &long)].concat();
    assert_eq!(call_twice(&world, &arguments), "0");
    assert_eq!(world.shared_data("", "result"), Some(long.repeat(2)), "of the field's last value");
    for broken in [&b"\xff\xff\xff"[..], b"\x12\x05four", b"\x15\0\0\0\0"] {
        assert_eq!(call_twice(&world, broken), "2", "{broken:?}");
    }
    world.remove_foreign("twice");
    assert_eq!(call_twice(&world, &arguments), "1");
}

/// A canary VM has what the world has.
#[test]
fn a_new_configuration_finds_the_foreign_functions_too() {
    let world = World::new();
    world.foreign("mine", |_| Ok(Vec::new()));
    let configure =
        "(i32.eqz (call $proxy_call_foreign_function {{mine}} {{}} (i32.const 16) (i32.const 20)))";
    let mut vm = start(&world, &[("on_configure", configure)]);
    vm.reconfigure("").unwrap();
    world.remove_foreign("mine");
    assert_eq!(vm.reconfigure(""), Err(StartError::ConfigurationRefused));
}

#[test]
fn a_registered_foreign_function_takes_the_place_of_envoy_s() {
    let world = World::new();
    world.foreign("clear_route_cache", |_| Err(Status::InternalFailure));
    let body = "(call $tell (call $proxy_call_foreign_function {{clear_route_cache}} {{}} (i32.const 16) (i32.const 20)))
        (i32.const 0)";
    start(&world, &[("on_request_headers", body)]).send(Request::get("/"));
    assert_eq!((lines(&world), world.route_cache_clears()), (vec!["10".to_owned()], 0));
}

#[test]
fn a_foreign_function_that_envoy_lacks_is_not_found() {
    let world = World::new();
    let foreign = |name: &str, arguments: &str| {
        format!(
            "(call $tell (call $proxy_call_foreign_function {{{{{name}}}}} {{{{{arguments}}}}} (i32.const 16) (i32.const 20)))"
        )
    };
    let body = [
        foreign("get_property", ""),
        foreign("clear_route_cache", ""),
        foreign("set_envoy_filter_state", "\n\u{c}envoy.string"),
        foreign("set_envoy_filter_state", "\n\u{3}own"),
        CONTINUE.to_owned(),
    ];
    start(&world, &[("on_request_headers", &body.concat())]).send(Request::get("/"));
    assert_eq!(lines(&world), ["1", "0", "0", "1"]);
    assert_eq!(world.route_cache_clears(), 1);
}

#[test]
fn a_trap_kills_the_vm_and_only_that() {
    let world = World::new();
    let body = "(if (global.get $stream) (then
                    (if (i32.eq (global.get $stream) (i32.const 9)) (then unreachable))
                    (global.set $stream (i32.const 9)) (return (i32.const 0))))
                (global.set $stream (i32.const 1)) (i32.const 1)";
    let module = filter(&[TICKING, ("on_request_headers", body), ("on_tick", "(call $say {{tick}})")]);
    let mut vm = Vm::start(&world, &module, "").unwrap();
    let (paused, passed, fatal) =
        (vm.send(Request::get("/")), vm.send(Request::get("/")), vm.send(Request::get("/")));
    assert_eq!(vm.outcome(fatal), Outcome::Failed);
    assert_eq!(vm.outcome(paused), Outcome::Pending, "it hangs");
    let response = vm.respond(passed, &[(":status", "200")], "");
    assert_eq!(response.get(":status"), Some(&b"503"[..]));
    assert!(vm.death().is_some() && world.logged(LogLevel::Critical, "the VM is dead"));
    let later = vm.send(Request::get("/"));
    assert_eq!(vm.outcome(later), Outcome::Failed);
    world.clear_log();
    vm.tick();
    assert_eq!(lines(&world), Vec::<String>::new());
    assert!(matches!(vm.reconfigure(""), Err(StartError::Trapped(_))));
    let mut other = Vm::start(&world, &module, "").unwrap();
    let stream = other.send(Request::get("/"));
    assert_eq!(other.outcome(stream), Outcome::Pending);
}

#[test]
fn what_a_dying_vm_answers_still_goes_out() {
    let world = World::new();
    world.add_cluster("authentik");
    let tick =
        format!("(drop (call $proxy_set_effective_context (global.get $stream))) (drop {DENY}) unreachable");
    let headers = format!("{} {PAUSE}", call("authentik", COMPLETE, 9));
    let mut vm = start(&world, &[TICKING, REMEMBER, ("on_request_headers", &headers), ("on_tick", &tick)]);
    let stream = vm.send(Request::get("/"));
    vm.tick();
    assert!(matches!(vm.outcome(stream), Outcome::Replied { status: 401, .. }));
    vm.answer(vm.pending_calls()[0].id, CallAnswer::json(200, ""));
    assert!(vm.death().is_some());
}

#[test]
fn a_new_configuration_is_a_new_root_and_the_old_one_drains() {
    let world = World::new();
    let module = filter(&[
        ("on_context_create", "(call $tell (local.get $id)) (call $tell (local.get $root))"),
        ("on_configure", "(call $say {{configure}}) (i32.ne (local.get $size) (i32.const 3))"),
        ("on_request_headers", PAUSE),
        ("on_done", "(call $say {{done}}) (i32.const 1)"),
        ("on_delete", "(call $tell (local.get $id)) (call $say {{deleted}})"),
    ]);
    let mut vm = Vm::start(&world, &module, "a").unwrap();
    let stream = vm.send(Request::get("/"));
    assert_eq!(lines(&world), ["1", "0", "configure", "2", "1"]);
    assert_eq!(vm.reconfigure("bad"), Err(StartError::ConfigurationRefused));
    assert_eq!(lines(&world), ["1", "0", "configure"], "only a canary saw it");
    vm.reconfigure("good").unwrap();
    assert_eq!(lines(&world), ["3", "0", "configure"]);
    let next = vm.send(Request::get("/"));
    assert_eq!(lines(&world), ["4", "3"]);
    vm.disconnect(stream);
    assert_eq!(lines(&world), ["done", "2", "deleted", "done", "1", "deleted"]);
    vm.disconnect(next);
    assert_eq!(lines(&world), ["done", "4", "deleted"]);
    assert!(matches!(Vm::start(&world, &module, "bad"), Err(StartError::ConfigurationRefused)));
}

#[test]
fn a_root_that_is_not_done_yet_drains_until_it_says_so() {
    let world = World::new();
    let module = filter(&[
        TICKING,
        ("on_done", "(call $say {{not yet}}) (i32.const 0)"),
        ("on_tick", "(call $tell (local.get $id)) (call $tell (call $proxy_done))"),
        ("on_delete", "(call $say {{deleted}})"),
    ]);
    let mut vm = Vm::start(&world, &module, "").unwrap();
    vm.reconfigure("").unwrap();
    assert_eq!(lines(&world), ["not yet"]);
    world.advance(Duration::from_secs(1));
    assert_eq!(vm.tick_due(), 2);
    assert_eq!(
        lines(&world),
        ["1", "0", "deleted", "2", "1"],
        "the serving root has nothing to be done with"
    );
}

#[test]
fn two_configurations_share_a_vm_as_two_roots() {
    let world = World::new();
    let module = filter(&[
        REMEMBER,
        ("on_configure", "(call $tell (global.get $stream)) (i32.const 1)"),
        ("on_request_headers", "(call $tell (local.get $id)) (i32.const 0)"),
    ]);
    let mut vm = Vm::start(&world, &module, "").unwrap();
    let stream = vm.send(Request::get("/"));
    let second = vm.add_root("").unwrap();
    assert_eq!(lines(&world), ["0", "2", "2"], "the second finds the globals of the first");
    let other = vm.send_to(second, Request::get("/"));
    assert_eq!(lines(&world), ["4"]);
    assert!(forwarded(&vm, stream) == forwarded(&vm, other));
}

#[test]
fn ticks_come_when_their_time_has_come() {
    let world = World::new();
    let mut vm = start(&world, &[TICKING, ("on_tick", "(call $say {{tick}})")]);
    assert_eq!(vm.tick_period(), Some(Duration::from_secs(1)));
    assert_eq!(vm.tick_due(), 0, "the first after one period");
    world.advance(Duration::from_millis(2500));
    assert_eq!(vm.tick_due(), 2);
    assert_eq!(lines(&world), ["tick", "tick"]);
}

#[test]
fn both_clocks_of_a_filter_are_the_worlds() {
    let world = World::new();
    let store = |key: &str| {
        format!(
            "(drop (call $proxy_set_shared_data {{{{{key}}}}} (i32.const 32) (i32.const 8) (i32.const 0)))"
        )
    };
    let tick = [
        "(drop (call $proxy_get_current_time_nanoseconds (i32.const 32)))",
        &store("abi"),
        "(drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 32)))",
        &store("wall"),
        "(drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 32)))",
        &store("monotonic"),
        "(drop (call $random_get (i32.const 32) (i32.const 8)))",
        &store("random"),
        "(call $tell (call $random_get (i32.const 32) (i32.const 65537)))",
    ];
    let mut vm = start(&world, &[TICKING, ("on_tick", &tick.concat())]);
    let nanoseconds = |key: &str| u64::from_le_bytes(world.shared_data("", key).unwrap().try_into().unwrap());
    world.set_now(Duration::from_secs(50));
    vm.tick();
    assert_eq!((nanoseconds("abi"), nanoseconds("wall")), (50_000_000_000, 50_000_000_000));
    let (monotonic, random) = (nanoseconds("monotonic"), nanoseconds("random"));
    world.advance(Duration::from_nanos(7));
    vm.tick();
    assert_eq!(nanoseconds("wall"), 50_000_000_007);
    assert_eq!(nanoseconds("monotonic"), monotonic + 7);
    assert_ne!(nanoseconds("random"), random);
    assert_eq!(lines(&world), ["28", "28"]);
    let again = World::new();
    start(&again, &[TICKING, ("on_tick", &tick.concat())]).tick();
    assert_eq!(
        again.shared_data("", "random").unwrap(),
        random.to_le_bytes(),
        "the same seed, the same bytes"
    );
}

#[test]
fn a_filter_has_its_environment_and_its_output_is_logged() {
    let world = World::new();
    world.set_env("SECRET", "s3");
    let initialize = "(drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
        (call $tell (i32.load (i32.const 16)))
        (drop (call $environ_get (i32.const 64) (i32.const 128)))
        (i32.store (i32.const 16) (i32.load (i32.const 64)))
        (drop (call $fd_write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 24)))
        (call $tell (i32.load (i32.const 24)))
        (call $tell (call $fd_write (i32.const 3) (i32.const 16) (i32.const 1) (i32.const 24)))";
    start(&world, &[("_initialize", initialize)]);
    assert!(world.logged(LogLevel::Error, "SECRET=s3\0"));
    assert_eq!(lines(&world), ["1", "SECRET=s3\0", "10", "8"]);
}

#[test]
fn most_of_the_host_is_closed_in_initialize() {
    let module = filter(&[("_initialize", "(drop (call $proxy_set_shared_data {{a}} {{b}} (i32.const 0)))")]);
    let Err(StartError::Trapped(why)) = Vm::start(&World::new(), &module, "") else { panic!("it started") };
    assert!(why.contains("proxy_set_shared_data must not be called in _initialize"), "{why}");
}

#[test]
fn properties_are_those_of_the_context() {
    let world = World::new();
    let get = |path: &str| {
        format!("(call $tell (call $proxy_get_property {{{{{path}}}}} (i32.const 16) (i32.const 20)))")
    };
    let set = "(call $tell (call $proxy_set_property {{user}} {{alice}}))";
    let request = format!(
        "{} (call $show) {} {set} {} (call $show) {CONTINUE}",
        get("source\\0address"),
        get("node"),
        get("user"),
    );
    let root =
        format!("{} (call $show) {} {set} (i32.const 1)", get("plugin_root_id"), get("source\\0address"));
    let module = filter(&[("on_configure", &root), ("on_request_headers", &request)]);
    let plugin = Plugin { root_id: "r1".to_owned(), ..Plugin::default() };
    let mut vm = Vm::start_as(&world, &module, &plugin, "").unwrap();
    assert_eq!(lines(&world), ["0", "r1", "1", "1"]);
    world.set_property(&["source", "address"], "203.0.113.9:1");
    let stream = vm.send(Request::get("/"));
    assert_eq!(lines(&world), ["0", "203.0.113.9:1", "1", "0", "0", "alice"]);
    assert_eq!(vm.filter_state(stream, "user"), Some(b"alice".to_vec()));
}

#[test]
fn metrics_add_up_over_vms_and_host_calls_are_counted() {
    let world = World::new();
    let configure =
        "(call $tell (call $proxy_define_metric (i32.const 0) {{hits}} (i32.const 24))) (i32.const 1)";
    let body = "(call $tell (call $proxy_increment_metric (i32.load (i32.const 24)) (i64.const 2)))
                (call $tell (call $proxy_increment_metric (i32.load (i32.const 24)) (i64.const 0)))
                (call $tell (call $proxy_increment_metric (i32.const 400) (i64.const 1)))
                (call $tell (call $proxy_get_metric (i32.load (i32.const 24)) (i32.const 32)))
                (call $tell (i32.load (i32.const 32))) (i32.const 0)";
    let module = filter(&[("on_configure", configure), ("on_request_headers", body)]);
    let mut workers = [Vm::start(&world, &module, "").unwrap(), Vm::start(&world, &module, "").unwrap()];
    lines(&world);
    world.reset_host_calls();
    for vm in &mut workers {
        vm.send(Request::get("/"));
    }
    assert_eq!(lines(&world), ["0", "2", "1", "0", "2", "0", "2", "1", "0", "4"]);
    assert_eq!(world.metric("hits"), Some(4));
    assert_eq!(
        world.host_calls().into_iter().collect::<Vec<_>>(),
        [("proxy_get_metric", 2), ("proxy_increment_metric", 6), ("proxy_log", 10)]
    );
}

#[test]
fn an_import_that_envoy_lacks_is_named() {
    let module = Module::from_bytes(
        "(module (import \"env\" \"proxy_get_magic\" (func)) (import \"env\" \"proxy_done\" (func (result i32)))
            (memory (export \"memory\") 1))",
    )
    .unwrap();
    let unknown = vec![("env".to_owned(), "proxy_get_magic".to_owned())];
    assert_eq!(module.unknown_imports(), unknown);
    assert_eq!(module.imports().len(), 2);
    assert_eq!(module.exports(), ["memory"]);
    assert_eq!(Vm::start(&World::new(), &module, "").err(), Some(StartError::UnknownImports(unknown)));
}

#[test]
fn an_import_that_is_not_played_stops_the_vm_with_its_name() {
    let module = Module::from_bytes(
        "(module (import \"env\" \"proxy_grpc_cancel\" (func $cancel (param i32) (result i32)))
            (memory (export \"memory\") 1)
            (func (export \"_initialize\") (drop (call $cancel (i32.const 1)))))",
    )
    .unwrap();
    let Err(StartError::Trapped(why)) = Vm::start(&World::new(), &module, "") else { panic!("it started") };
    assert!(why.contains("proxy_grpc_cancel is not played by this host"), "{why}");
}

#[test]
fn memory_is_that_of_the_vm() {
    let world = World::new();
    let mut vm = start(&world, &[("on_request_headers", "(drop (memory.grow (i32.const 3))) (i32.const 0)")]);
    assert_eq!(vm.memory_size(), 16 << 16);
    vm.send(Request::get("/"));
    assert_eq!(vm.memory_size(), 19 << 16);
    vm.forget_finished();
}
