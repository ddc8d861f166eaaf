//! Takes from the module what Envoy has no need of.
//!
//! The SDK exports every callback of the ABI. Envoy calls each one that it finds, for every request, and each costs it
//! more than a thousand instructions to learn that there is nothing to do. Without the export the call is never made,
//! and the code that only it reached goes as well. Of functions with the same code one stays (`merge`), V8 is
//! kept from copying long functions (`calls`), and what is called most has the shortest number (`order`).

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use walrus::passes::gc;

use crate::{calls, merge, order};

/// What Envoy is to find. A callback that the filter comes to use must be added; a test compares.
const EXPORTS: [&str; 15] = [
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

/// Reads the built module and writes the packed one.
pub(crate) fn pack(built: &Path, packed: &Path) -> Result<()> {
    let mut module = merge::config().parse_file(built)?;
    for name in EXPORTS {
        ensure!(module.exports.iter().any(|export| export.name == name), "the module does not export {name}");
    }
    let others = module.exports.iter().filter(|export| !EXPORTS.contains(&export.name.as_str()));
    let others: Vec<_> = others.map(walrus::Export::id).collect();
    for other in others {
        module.exports.delete(other);
    }
    gc::run(&mut module);
    let module = merge::same_functions(module.emit_wasm())?;
    let module = order::by_calls(&calls::through_table(&module)?)?;
    merge::config().parse(&module).context("the packed module is not valid")?;
    std::fs::write(packed, module)?;
    Ok(())
}
