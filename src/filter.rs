//! The shell: Envoy's side of the filter. Wasm only.
//!
//! Owns: the module's entry point. [`root`] has what a worker shares (configuration, core, calls to authentik),
//! [`http`] one request, [`paused`] those that wait, [`host`] every word that is spoken with Envoy.
//! Must not: hold policy. What is allowed, and what is answered, is the core's to say.

mod host;
mod http;
mod paused;
mod root;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Debug);
    paused::answer_all_on_panic(); // after the SDK's logger, which has a hook of its own
    proxy_wasm::set_root_context(|id| Box::new(root::Root::new(id)));
}}
