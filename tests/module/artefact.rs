//! What the artefact asks of its host and offers to it.

use authentik_proxy_wasm::config::table::describe::all;
use local_envoy::module::module;
use wasmparser::{Operator, Parser, Payload, TypeRef};

use super::fixture::artefact;
use crate::support::capabilities_of_the_page;

/// What Envoy looks up and calls. Without one of these the filter would be loaded and not be asked; with another one it
/// would be called for nothing, for every request.
const EXPORTS: &[&str] = &[
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_log",
    "proxy_on_memory_allocate",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];

/// WASI is for randomness, the environment and the runtime's farewell; there is no file and no socket.
const ALLOWED_WASI: &[&str] =
    &["environ_get", "environ_sizes_get", "random_get", "fd_write", "proc_exit", "clock_time_get"];

#[test]
fn every_import_is_one_that_envoy_offers() {
    assert_eq!(artefact().unknown_imports(), []);
}

#[test]
fn module_exports_exactly_what_envoy_needs() {
    let mut exports = artefact().exports();
    exports.sort_unstable();
    assert_eq!(exports, EXPORTS);
}

#[test]
fn module_imports_only_harmless_wasi_functions() {
    let imports = artefact().imports();
    let beyond: Vec<_> = imports
        .iter()
        .filter(|(module, name)| module != "env" && !ALLOWED_WASI.contains(&name.as_str()))
        .collect();
    assert!(beyond.is_empty(), "{beyond:?}");
}

/// The page names what the filter uses. Of its imports the SDK has more.
#[test]
fn every_capability_of_the_page_is_an_import_or_export_of_the_module() {
    let page = capabilities_of_the_page();
    let imports: Vec<_> = artefact().imports().into_iter().map(|(_, name)| name).collect();
    for name in &page {
        assert!(imports.contains(name) || EXPORTS.contains(&name.as_str()), "{name}");
    }
    for callback in EXPORTS.iter().filter(|name| name.starts_with("proxy_on_")) {
        assert!(page.iter().any(|name| name == callback), "{callback} is not on the page");
    }
}

/// Envoy compiles the module at each start: texts of the table of settings are for the native tools.
#[test]
fn module_has_no_text_of_the_reference_page() {
    let module = std::fs::read(module()).unwrap();
    let text = String::from_utf8_lossy(&module);
    let mut count = 0;
    for (path, row) in all() {
        for sentence in [row.meaning(), row.change].into_iter().filter(|sentence| !sentence.is_empty()) {
            assert!(!text.contains(sentence), "{path}: {sentence}");
            count += 1;
        }
    }
    assert!(count > 100 && text.contains("max_concurrent_calls"), "{count}");
}

/// V8 would copy such a callee into its caller, and into each caller of that: `crates/xtask/src/calls.rs`.
#[test]
fn long_callees_are_called_through_the_table_and_the_most_called_have_the_least_numbers() {
    let module = std::fs::read(module()).unwrap();
    let (mut imported, mut sizes, mut calls) = (0, Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(&module) {
        match payload.unwrap() {
            Payload::ImportSection(imports) => {
                imported = imports
                    .into_iter()
                    .filter(|it| matches!(it.as_ref().unwrap().ty, TypeRef::Func(_)))
                    .count();
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader().unwrap() {
                    if let Operator::Call { function_index } = operator.unwrap() {
                        calls.push((sizes.len(), function_index as usize));
                    }
                }
                sizes.push(body.range().len());
            }
            _ => {}
        }
    }
    let mut counts = vec![0; sizes.len()];
    for (caller, callee) in calls {
        let Some(callee) = callee.checked_sub(imported) else { continue };
        counts[callee] += 1;
        // The lengths were compared before the calls were changed: the bounds are a little wider here.
        let is_long = sizes[callee] >= 150 && sizes[callee] >= sizes[caller];
        assert!(!is_long, "{} bytes call {} bytes", sizes[caller], sizes[callee]);
    }
    assert!(counts[0] > 100 && counts.is_sorted_by(|one, next| one >= next), "{counts:?}");
}

/// The feature `test-panic` is for a test of its own.
#[test]
fn release_module_has_no_panic_trigger() {
    let module = std::fs::read(module()).unwrap();
    let trigger = b"x-test-panic";
    assert!(!module.windows(trigger.len()).any(|window| window == trigger));
}
