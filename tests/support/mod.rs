//! The host of the filter in this process: that of `proxy-wasm-testkit`, as Envoy is. What else surrounds the filter is in
//! `crates/`: the stand-in authentik, the application, the real Envoy.

pub(crate) mod host;
