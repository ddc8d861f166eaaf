//! An in-process Proxy-Wasm host: Envoy's part, played for one filter.
//!
//! It loads the built `.wasm` into an interpreter and behaves as Envoy was
//! measured to behave, in milliseconds: header maps, pauses, calls, shared
//! data, ticks, traps. A test makes a [`World`], starts a [`Vm`] (or two: two
//! workers) in it, sends requests, answers the filter's calls and looks at
//! each [`Outcome`]. A filter that breaks a rule which Envoy would let pass
//! (answering a request that was forwarded) makes the test panic.

#![allow(dead_code, unused_imports, reason = "the host offers more than any one test needs")]

mod drive;
mod exports;
pub(crate) mod foreign;
mod guest;
mod header_map;
mod http_call;
mod imports;
mod metrics;
mod module;
mod shared_data;
mod status;
mod stream;
mod vm;
mod wasi;
mod world;

pub(crate) use header_map::HeaderMap;
pub(crate) use http_call::{CallAnswer, CallId, HttpCall};
pub(crate) use module::Module;
pub(crate) use stream::{Outcome, Request, StreamId};
pub(crate) use vm::{Plugin, RootId, StartError, Vm};
pub(crate) use world::{LogLevel, LogLine, World};
