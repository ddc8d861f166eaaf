//! HTTP on loopback for tests.
//!
//! [`Server`] serves an axum router for tests that block; it goes down, comes up and cuts connections. [`App`] is an application
//! that shows what it received. [`client()`] is a client that adds nothing and follows nothing (feature `client`).

mod app;
#[cfg(any(test, feature = "client"))]
mod client;
mod server;

pub use app::{App, header_values};
#[cfg(feature = "client")]
pub use client::client;
pub use server::{Cut, Server};
