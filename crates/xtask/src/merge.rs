//! Functions with the same code: one of them does for all.
//!
//! The compiler makes a function anew for each type that it is for, and many come out alike. V8 compiles each one when a worker
//! starts. Nothing compares the addresses of functions: Rust does not promise that they differ.

use std::collections::{HashMap, hash_map::Entry};

use anyhow::Result;
use walrus::ir::{Call, VisitorMut, dfs_pre_order_mut};
use walrus::passes::gc;
use walrus::{ElementItems, ExportItem, FunctionId, Module, ModuleConfig};
use wasmparser::{Parser, Payload};

/// How the module is read and written.
pub(crate) fn config() -> ModuleConfig {
    let mut config = ModuleConfig::new();
    config.generate_name_section(false).generate_producers_section(false);
    config
}

/// The module with one function for each code. What calls two that were alike may be alike then itself: until none is.
pub(crate) fn same_functions(mut wasm: Vec<u8>) -> Result<Vec<u8>> {
    loop {
        let mut module = config().parse(&wasm)?;
        let mut redirect = Redirect(same(&module, &wasm)?);
        if redirect.0.is_empty() {
            return Ok(wasm);
        }
        for (_, function) in module.funcs.iter_local_mut() {
            let entry = function.entry_block();
            dfs_pre_order_mut(&mut redirect, function, entry);
        }
        for elements in module.elements.iter_mut() {
            if let ElementItems::Functions(functions) = &mut elements.items {
                functions.iter_mut().for_each(|function| redirect.apply(function));
            }
        }
        for export in module.exports.iter_mut() {
            if let ExportItem::Function(function) = &mut export.item {
                redirect.apply(function);
            }
        }
        let before = module.funcs.iter().count();
        gc::run(&mut module);
        wasm = module.emit_wasm();
        if module.funcs.iter().count() == before {
            return Ok(wasm);
        }
    }
}

/// The code of each function that is not imported.
pub(crate) fn bodies(wasm: &[u8]) -> Result<Vec<&[u8]>> {
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload? {
            bodies.push(body.as_bytes());
        }
    }
    Ok(bodies)
}

/// By each function that is like an earlier one: that one.
fn same(module: &Module, wasm: &[u8]) -> Result<HashMap<FunctionId, FunctionId>> {
    let mut first = HashMap::new();
    let mut same = HashMap::new();
    for ((id, function), body) in module.funcs.iter_local().zip(bodies(wasm)?) {
        match first.entry((function.ty(), body)) {
            Entry::Occupied(first) => _ = same.insert(id, *first.get()),
            Entry::Vacant(place) => _ = place.insert(id),
        }
    }
    Ok(same)
}

struct Redirect(HashMap<FunctionId, FunctionId>);

impl Redirect {
    fn apply(&self, function: &mut FunctionId) {
        if let Some(first) = self.0.get(function) {
            *function = *first;
        }
    }
}

impl VisitorMut for Redirect {
    fn visit_call_mut(&mut self, call: &mut Call) {
        self.apply(&mut call.func);
    }
}
