//! What no input may do, as functions of bytes: each target drives the core through its public API with one kind of
//! hostile input, and asserts what the README promises of it, not only that nothing panics.
//!
//! Owns: the targets. `cargo fuzz` calls them (`fuzz_targets/`), and so do the integration tests on stable Rust
//! (`tests/fuzz.rs` includes this very file). Must not: depend on libFuzzer, or on anything outside this directory and
//! `tests/`.
//!
//! A target returns what it came to see ([`Seen`]); the tests insist that its corpus sees all of its `MUST_SEE`, so that
//! none turns into a target that hits nothing.

pub mod answers;
pub mod authorization;
pub mod cache_entry;
pub mod configuration;
pub mod cookies;
pub mod jwks;
pub mod jwt;
pub mod path;

mod authentik;
#[allow(
    dead_code,
    unreachable_pub,
    clippy::duplicate_mod,
    reason = "the stand-in authentik's, which the tests have beside this; a part of it is of use here"
)]
#[path = "../../tests/support/authentik/keys.rs"]
mod keys;
mod promises;
#[allow(
    unreachable_pub,
    clippy::duplicate_mod,
    reason = "the in-process host's, which the tests have beside this"
)]
#[path = "../../tests/support/signatures.rs"]
mod signatures;
mod worker;

/// What a run of a target came to see, in words.
pub type Seen = std::collections::BTreeSet<&'static str>;
