//! The real Envoy on loopback, with the repository's `envoy.yaml` and the module that is built here.
//!
//! [`EnvoyOptions`] says what differs from the file, [`Envoy`] is the running process, [`module`] builds what Envoy loads and
//! [`measured`] says where and when something was measured.

mod admin;
mod envoy;
pub mod measured;
pub mod module;

pub use admin::ask;
pub use envoy::{Envoy, EnvoyOptions, Folder, SEAL, binary};
