//! The host of the filter: a stand-in authentik, an application that shows what it received, the real Envoy
//! between them, and the host of `proxy-wasm-testkit` as Envoy is. Each file has an owner's note at its top.
#![allow(dead_code, unused_imports, reason = "each binary that shares these uses a part of them")]

pub(crate) mod app;
pub(crate) mod authentik;
pub(crate) mod client;
pub(crate) mod envoy;
#[cfg(test)]
pub(crate) mod host;
pub(crate) mod measured;
pub(crate) mod module;
pub(crate) mod server;
