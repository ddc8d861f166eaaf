//! What no input may do, as functions of bytes: each target drives the core through its public API with one kind of
//! hostile input, and asserts what the README promises of it, not only that nothing panics.
//!
//! Owns: the targets. `cargo fuzz` calls them (`fuzz_targets/`), and so do the integration tests on stable Rust
//! (`tests/fuzz.rs`). Must not: depend on libFuzzer.
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
pub mod logout;
pub mod path;

mod authentik;
mod promises;
mod worker;

/// What a run of a target came to see, in words.
pub type Seen = std::collections::BTreeSet<&'static str>;
