//! The callbacks that a filter exports.
//!
//! Any of them may be missing (they are stripped from the artefact when the
//! filter does not need them): Envoy then goes on as if it had said Continue.

use wasmi::{Instance, Store, TypedFunc, WasmParams, WasmResults};

use crate::guest::Guest;

type Export<Params, Results> = Option<TypedFunc<Params, Results>>;

/// A filter's callbacks, by the name Envoy calls them without `proxy_`.
#[derive(Clone, Copy)]
pub(crate) struct Exports {
    pub(crate) on_context_create: Export<(u32, u32), ()>,
    pub(crate) on_vm_start: Export<(u32, u32), u32>,
    pub(crate) on_configure: Export<(u32, u32), u32>,
    pub(crate) on_tick: Export<u32, ()>,
    pub(crate) on_request_headers: Export<(u32, u32, u32), u32>,
    pub(crate) on_request_body: Export<(u32, u32, u32), u32>,
    pub(crate) on_request_trailers: Export<(u32, u32), u32>,
    pub(crate) on_response_headers: Export<(u32, u32, u32), u32>,
    pub(crate) on_response_body: Export<(u32, u32, u32), u32>,
    pub(crate) on_http_call_response: Export<(u32, u32, u32, u32, u32), ()>,
    pub(crate) on_done: Export<u32, u32>,
    pub(crate) on_log: Export<u32, ()>,
    pub(crate) on_delete: Export<u32, ()>,
}

impl Exports {
    /// Finds the callbacks; an error names one of the wrong signature.
    pub(crate) fn of(instance: &Instance, store: &Store<Guest>) -> Result<Self, String> {
        Ok(Self {
            on_context_create: find(instance, store, "proxy_on_context_create")?,
            on_vm_start: find(instance, store, "proxy_on_vm_start")?,
            on_configure: find(instance, store, "proxy_on_configure")?,
            on_tick: find(instance, store, "proxy_on_tick")?,
            on_request_headers: find(instance, store, "proxy_on_request_headers")?,
            on_request_body: find(instance, store, "proxy_on_request_body")?,
            on_request_trailers: find(instance, store, "proxy_on_request_trailers")?,
            on_response_headers: find(instance, store, "proxy_on_response_headers")?,
            on_response_body: find(instance, store, "proxy_on_response_body")?,
            on_http_call_response: find(instance, store, "proxy_on_http_call_response")?,
            on_done: find(instance, store, "proxy_on_done")?,
            on_log: find(instance, store, "proxy_on_log")?,
            on_delete: find(instance, store, "proxy_on_delete")?,
        })
    }
}

/// One exported function; `None` if it is not exported.
pub(crate) fn find<Params: WasmParams, Results: WasmResults>(
    instance: &Instance,
    store: &Store<Guest>,
    name: &str,
) -> Result<Export<Params, Results>, String> {
    match instance.get_func(store, name) {
        None => Ok(None),
        Some(function) => function.typed(store).map(Some).map_err(|error| format!("{name}: {error}")),
    }
}
