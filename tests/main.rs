//! All integration tests: one binary, one count.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::panic_in_result_fn,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics to fail, and its host have a clock and an environment"
)]

mod architecture;
mod browser;
mod dist;
mod envoy;
mod fuzz;
mod manifests;
mod module;
mod monitoring;
mod readme;
mod repository;
mod scenarios;
mod signatures;
mod support;
mod threats;
mod walk;
