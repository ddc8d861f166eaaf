//! authentik header authentication as a Proxy-Wasm filter.
