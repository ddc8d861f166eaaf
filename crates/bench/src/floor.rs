//! A Wasm module that makes the host calls of a request, and decides nothing: what a filter costs that changes a request in
//! this way, before any code of its own. `tests/module/budget.rs` pins the same calls for a cached Bearer token of ours.

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
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
    (import "env" "proxy_call_foreign_function" (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_log") (param i32))
    (func (export "proxy_on_delete") (param i32))"#;

/// What `verify_signature` is to check.
pub(crate) struct Signed {
    pub(crate) spki: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) message: Vec<u8>,
}

impl Signed {
    /// The arguments as protobuf: four fields of bytes.
    fn arguments(&self) -> Vec<u8> {
        let fields = [b"sha256".as_slice(), &self.spki, &self.signature, &self.message];
        let field = |(number, value): (u8, &[u8])| {
            let (low, high) = (value.len() as u8 & 0x7f | 0x80, (value.len() >> 7) as u8);
            [&[number << 3 | 2, low, high][..], value].concat()
        };
        (1..).zip(fields).flat_map(field).collect()
    }
}

/// The header with the credential goes; these are authentik's, the user name first.
pub(crate) fn module(credential: &str, headers: &[(String, String)], signed: Option<&Signed>) -> Vec<u8> {
    let mut texts = Vec::new();
    let mut place = |text: &[u8]| {
        let start = TEXTS + texts.len();
        texts.extend_from_slice(text);
        format!("(i32.const {start}) (i32.const {})", text.len())
    };
    let mut calls = vec![
        "$pairs (i32.const 0) (i32.const 0) (i32.const 4)".to_owned(),
        "$clock (i32.const 8)".to_owned(),
        format!("$remove (i32.const 0) {}", place(credential.as_bytes())),
    ];
    for (name, value) in headers {
        calls.push(format!("$add (i32.const 0) {} {}", place(name.as_bytes()), place(value.as_bytes())));
    }
    for (name, value) in
        [("username", headers[0].1.as_str()), ("reason", "ok"), ("source", "cache"), ("provider", "demo")]
    {
        let name = place(format!("authentik_{name}").as_bytes());
        calls.push(format!("$set_property {name} {}", place(value.as_bytes())));
    }
    let metric = place(b"authentik_proxy_requests_total");
    calls.push("$increment (i32.load (i32.const 24)) (i64.const 1)".to_owned());
    if let Some(signed) = signed {
        let (name, arguments) = (place(b"verify_signature"), place(&signed.arguments()));
        calls.push(format!("$foreign {name} {arguments} (i32.const 16) (i32.const 20)"));
    }
    let mut text = format!("(module {ENVIRONMENT}\n(data (i32.const {TEXTS}) \"");
    for byte in &texts {
        write!(text, "\\{byte:02x}").expect("a string");
    }
    text.push_str("\")\n");
    writeln!(
        text,
        "(func (export \"proxy_on_configure\") (param i32 i32) (result i32)
        (i32.eqz (call $define (i32.const 0) {metric} (i32.const 24))))"
    )
    .expect("a string");
    text.push_str("(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)\n");
    for call in &calls {
        // A call that the host refuses ends the request, and the check finds it.
        writeln!(text, "(if (call {call}) (then unreachable))").expect("a string");
    }
    if signed.is_some() {
        // What stands for a good signature.
        text.push_str(
            "(if (i32.ne (i32.load16_u (i32.load (i32.const 16))) (i32.const 0x0108)) (then unreachable))",
        );
    }
    text.push_str("(i32.const 0)))");
    wat::parse_str(text).expect("Wasm text")
}
