//! All integration tests: one binary, one count.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics to fail, and its surroundings have a clock and an environment"
)]

#[cfg(feature = "mutants")]
compile_error!("the feature leaves out the scenarios on the module; it is for `cargo test --lib`");

mod browser;
mod envoy;
mod module;
mod proxy_host;
mod readme;
mod scenarios;
mod stand_in;
mod support;
