//! The shell: Envoy's side of the filter. Wasm only.
//!
//! Owns: the module's entry point. [`root`] and [`http`] have Envoy's callbacks, of a worker and of a request; [`worker`]
//! has the core and its calls, [`stream`] a decision applied to a request, [`paused`] the requests that wait, [`shadow`]
//! shadow mode, [`telemetry`] what an operator sees, [`host`] all host calls.
//! Must not: hold policy. What is allowed, and what is answered, is the core's to say.

mod host;
mod http;
mod paused;
mod root;
mod shadow;
mod stream;
mod telemetry;
mod worker;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Debug);
    paused::answer_all_on_panic(); // after the SDK's logger, which has a hook of its own
    proxy_wasm::set_root_context(|id| Box::new(root::Root::new(id)));
}}
