//! The scenarios on the core alone: no module, no host, no Wasm engine.
//!
//! `cargo test --package integration --no-default-features --test core_alone` compiles for them the core and little else.
#![cfg(not(feature = "hosts"))]
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
    clippy::wildcard_enum_match_arm,
    reason = "a test panics to fail"
)]

mod scenarios;
