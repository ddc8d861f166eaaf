#![doc = include_str!("../README.md")]

mod drive;
mod exports;
mod foreign;
mod guest;
mod header_map;
mod http_call;
mod imports;
mod metrics;
mod module;
pub mod protobuf;
mod shared_data;
mod status;
mod stream;
mod vm;
mod wasi;
mod world;

pub use header_map::{HeaderMap, Kind};
pub use http_call::{CallAnswer, CallId, HttpCall};
pub use module::Module;
pub use status::Status;
pub use stream::{Outcome, Request, StreamId};
pub use vm::{Plugin, RootId, StartError, Vm};
pub use world::{LogLevel, LogLine, World};
