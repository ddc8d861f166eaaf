//! How a filter is tested with this crate: a small one in WebAssembly text (`filter.wat`) that asks for an API key.

use proxy_wasm_testkit::{Module, Outcome, Request, Vm, World};

fn filter() -> Module {
    Module::from_bytes(include_str!("filter.wat")).expect("the filter is valid WebAssembly text")
}

#[test]
fn a_request_with_a_key_goes_on_without_the_key() {
    let mut vm = Vm::start(&World::new(), &filter(), "").unwrap();
    let stream = vm.send(Request::get("/orders").header("X-Api-Key", "k1").with_body("tea"));
    let Outcome::Forwarded { headers, body } = vm.outcome(stream) else {
        panic!("{:?}", vm.outcome(stream));
    };
    assert_eq!(headers.get(":path"), Some(&b"/orders"[..]));
    assert_eq!(headers.get("x-checked"), Some(&b"yes"[..]));
    assert!(!headers.contains("x-api-key"));
    assert_eq!(body, b"tea");
    let response = vm.respond(stream, &[(":status", "200")], "served");
    assert_eq!(response.get(":status"), Some(&b"200"[..]));
    assert_eq!(vm.open_streams(), 0);
}

#[test]
fn a_request_without_a_key_is_a_403() {
    let mut vm = Vm::start(&World::new(), &filter(), "").unwrap();
    let stream = vm.send(Request::get("/orders"));
    let Outcome::Replied { status, headers, body, grpc_status, .. } = vm.outcome(stream) else {
        panic!("{:?}", vm.outcome(stream));
    };
    assert_eq!((status, grpc_status, body.as_slice()), (403, None, &b"an API key is needed\n"[..]));
    assert_eq!(headers.get("content-type"), Some(&b"text/plain"[..]));
}

#[test]
fn a_grpc_client_without_a_key_is_told_so_in_grpc() {
    let mut vm = Vm::start(&World::new(), &filter(), "").unwrap();
    let stream = vm.send(Request::get("/shop.Orders/List").header("content-type", "application/grpc"));
    let outcome = vm.outcome(stream);
    assert!(matches!(outcome, Outcome::Replied { status: 200, grpc_status: Some(7), .. }), "{outcome:?}");
}

/// Two workers of one Envoy have a VM each, and their metrics in common.
#[test]
fn both_workers_count_the_same_denials() {
    let world = World::new();
    let mut workers = [(); 2].map(|()| Vm::start(&world, &filter(), "").unwrap());
    for worker in &mut workers {
        worker.send(Request::get("/"));
        worker.send(Request::get("/").header("x-api-key", "k1"));
    }
    assert_eq!(world.metric("api_key.denied"), Some(2));
}

/// A filter must live with a host that fails: here it cannot define its counter and refuses its configuration.
#[test]
fn a_host_without_metrics_does_not_start_the_filter() {
    let world = World::new();
    world.set_failing("proxy_define_metric", true);
    let error = Vm::start(&world, &filter(), "").unwrap_err();
    assert_eq!(error, proxy_wasm_testkit::StartError::ConfigurationRefused);
}
