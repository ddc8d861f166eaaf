//! Test subjects: small filters in Wasm text, callback by callback.
//!
//! A body may hold `{{text}}`, which becomes the address and the size of that
//! text, and `{{pairs:name=value|name=value}}`, the same for a header list.
//! `$tell` logs a number (a status, mostly), `$show` logs what the last
//! host call gave. Results go to the words at 16 (address), 20 (size), 24.

use proxy_wasm_testkit::Module;

const IMPORTS: &[(&str, &str)] = &[
    ("proxy_log", "i32 i32 i32"),
    ("proxy_get_current_time_nanoseconds", "i32"),
    ("proxy_set_tick_period_milliseconds", "i32"),
    ("proxy_get_buffer_bytes", "i32 i32 i32 i32 i32"),
    ("proxy_get_header_map_pairs", "i32 i32 i32"),
    ("proxy_get_header_map_value", "i32 i32 i32 i32 i32"),
    ("proxy_add_header_map_value", "i32 i32 i32 i32 i32"),
    ("proxy_replace_header_map_value", "i32 i32 i32 i32 i32"),
    ("proxy_remove_header_map_value", "i32 i32 i32"),
    ("proxy_get_property", "i32 i32 i32 i32"),
    ("proxy_set_property", "i32 i32 i32 i32"),
    ("proxy_get_shared_data", "i32 i32 i32 i32 i32"),
    ("proxy_set_shared_data", "i32 i32 i32 i32 i32"),
    ("proxy_continue_stream", "i32"),
    ("proxy_send_local_response", "i32 i32 i32 i32 i32 i32 i32 i32"),
    ("proxy_http_call", "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32"),
    ("proxy_set_effective_context", "i32"),
    ("proxy_call_foreign_function", "i32 i32 i32 i32 i32 i32"),
    ("proxy_done", ""),
    ("proxy_get_metric", "i32 i32"),
    ("proxy_get_status", "i32 i32 i32"),
    ("proxy_set_header_map_pairs", "i32 i32 i32"),
    ("proxy_define_metric", "i32 i32 i32 i32"),
    ("proxy_increment_metric", "i32 i64"),
];

const WASI: &[(&str, &str)] = &[
    ("environ_sizes_get", "i32 i32"),
    ("environ_get", "i32 i32"),
    ("clock_time_get", "i32 i64 i32"),
    ("random_get", "i32 i32"),
    ("fd_write", "i32 i32 i32 i32"),
];

const CALLBACKS: &[(&str, &str)] = &[
    ("_initialize", ""),
    ("proxy_on_context_create", "(param $id i32) (param $root i32)"),
    ("proxy_on_vm_start", "(param $id i32) (param $size i32) (result i32)"),
    ("proxy_on_configure", "(param $id i32) (param $size i32) (result i32)"),
    ("proxy_on_tick", "(param $id i32)"),
    ("proxy_on_request_headers", "(param $id i32) (param $count i32) (param $last i32) (result i32)"),
    ("proxy_on_request_body", "(param $id i32) (param $size i32) (param $last i32) (result i32)"),
    ("proxy_on_request_trailers", "(param $id i32) (param $count i32) (result i32)"),
    ("proxy_on_response_headers", "(param $id i32) (param $count i32) (param $last i32) (result i32)"),
    (
        "proxy_on_http_call_response",
        "(param $id i32) (param $token i32) (param $count i32) (param $size i32) (param $trailers i32)",
    ),
    ("proxy_on_done", "(param $id i32) (result i32)"),
    ("proxy_on_log", "(param $id i32)"),
    ("proxy_on_delete", "(param $id i32)"),
];

const PRELUDE: &str = "
    (memory (export \"memory\") 16)
    (global $free (mut i32) (i32.const 131072))
    (global $stream (mut i32) (i32.const 0))
    (func (export \"proxy_on_memory_allocate\") (param $size i32) (result i32)
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (local.get $size))))
    (func $tell (param $n i32)
        (i32.store8 (i32.const 0) (i32.add (i32.const 48) (i32.div_u (local.get $n) (i32.const 10))))
        (i32.store8 (i32.const 1) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
        (if (i32.lt_u (local.get $n) (i32.const 10))
            (then (drop (call $proxy_log (i32.const 2) (i32.const 1) (i32.const 1))))
            (else (drop (call $proxy_log (i32.const 2) (i32.const 0) (i32.const 2))))))
    (func $show
        (drop (call $proxy_log (i32.const 2) (i32.load (i32.const 16)) (i32.load (i32.const 20)))))
    (func $say (param $text i32) (param $size i32)
        (drop (call $proxy_log (i32.const 2) (local.get $text) (local.get $size))))";

/// A filter of these callbacks; those that are not given are not exported.
pub(crate) fn filter(callbacks: &[(&str, &str)]) -> Module {
    let mut texts = Texts { data: Vec::new() };
    let mut module = String::from("(module");
    for (host, imports) in [("env", IMPORTS), ("wasi_snapshot_preview1", WASI)] {
        for (name, parameters) in imports {
            module +=
                &format!("\n(import \"{host}\" \"{name}\" (func ${name} (param {parameters}) (result i32)))");
        }
    }
    module += PRELUDE;
    for (name, body) in callbacks {
        let short = format!("proxy_{name}");
        let known = CALLBACKS.iter().find(|(callback, _)| callback == name || *callback == short);
        let (export, signature) = known.unwrap_or_else(|| panic!("no callback {name}"));
        module += &format!("\n(func (export \"{export}\") {signature}\n{}\n)", texts.place(body));
    }
    let bytes: String = texts.data.iter().map(|byte| format!("\\{byte:02x}")).collect();
    module += &format!("\n(data (i32.const {}) \"{bytes}\"))", Texts::START);
    Module::from_bytes(module).expect("the subject is valid Wasm text")
}

struct Texts {
    data: Vec<u8>,
}

impl Texts {
    const START: usize = 1024;

    fn place(&mut self, body: &str) -> String {
        let mut parts = body.split("{{");
        let mut placed = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (text, rest) = part.split_once("}}").expect("a text ends");
            let bytes = match text.strip_prefix("pairs:") {
                Some(pairs) => encode_pairs(pairs),
                None => text.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0").into_bytes(),
            };
            let address = Self::START + self.data.len();
            self.data.extend_from_slice(&bytes);
            placed += &format!("(i32.const {address}) (i32.const {})", bytes.len());
            placed += rest;
        }
        placed
    }
}

fn encode_pairs(pairs: &str) -> Vec<u8> {
    let text = pairs.replace("\\r", "\r").replace("\\n", "\n");
    let pairs: Vec<(&str, &str)> = text.split('|').filter_map(|pair| pair.split_once('=')).collect();
    let word = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let mut bytes = word(pairs.len()).to_vec();
    for (name, value) in &pairs {
        bytes.extend(word(name.len()));
        bytes.extend(word(value.len()));
    }
    for (name, value) in &pairs {
        bytes.extend(format!("{name}\0{value}\0").into_bytes());
    }
    bytes
}
