//! A Wasm module that makes the host calls of a cached Bearer request, and decides nothing: what a filter costs that
//! changes a request in this way, before any code of its own. `tests/module/budget.rs` pins the same calls for ours.

use std::fmt::Write as _;

/// Texts are in the first page; the host writes to the second what it hands over, each time to the same place.
const TEXTS: usize = 64;

/// What Envoy finds of ours too, as far as it calls it for a GET.
const ENVIRONMENT: &str = r#"
    (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_current_time_nanoseconds" (func $clock (param i32) (result i32)))
    (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_delete") (param i32))"#;

/// These headers are authentik's, the user name first.
pub(crate) fn module(headers: &[(String, String)]) -> Vec<u8> {
    let mut texts = Vec::new();
    let mut place = |text: &str| {
        let start = TEXTS + texts.len();
        texts.extend_from_slice(text.as_bytes());
        format!("(i32.const {start}) (i32.const {})", text.len())
    };
    let mut calls = vec![
        "$pairs (i32.const 0) (i32.const 0) (i32.const 4)".to_owned(),
        "$clock (i32.const 8)".to_owned(),
        format!("$remove (i32.const 0) {}", place("authorization")),
    ];
    for (name, value) in headers {
        calls.push(format!("$add (i32.const 0) {} {}", place(name), place(value)));
    }
    calls.push(format!("$set_property {} {}", place("authentik_username"), place(&headers[0].1)));
    let mut text = format!("(module {ENVIRONMENT}\n(data (i32.const {TEXTS}) \"");
    for byte in &texts {
        write!(text, "\\{byte:02x}").expect("a string");
    }
    text.push_str("\")\n(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)\n");
    for call in &calls {
        // A call that the host refuses ends the request, and the check finds it.
        writeln!(text, "(if (call {call}) (then unreachable))").expect("a string");
    }
    text.push_str("(i32.const 0)))");
    wat::parse_str(text).expect("Wasm text")
}
