//! What is remembered: verdicts in this worker and between workers, key sets over time and between workers.

pub mod fingerprint;
pub(crate) mod jwks;
pub(crate) mod local;
pub(crate) mod shared;
pub(crate) mod shared_jwks;
pub(crate) mod verdicts;
