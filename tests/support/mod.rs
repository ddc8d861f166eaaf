//! The host of the filter: a stand-in authentik, an application that shows what it received, the real Envoy
//! between them, and a Proxy-Wasm host in this process. Each file has an owner's note at its top.
#![allow(dead_code, unused_imports, reason = "each binary that shares these uses a part of them")]

pub(crate) mod app;
pub(crate) mod authentik;
pub(crate) mod client;
pub(crate) mod envoy;
pub(crate) mod measured;
pub(crate) mod module;
#[cfg(test)]
pub(crate) mod proxy_host;
pub(crate) mod server;
pub(crate) mod signatures;
