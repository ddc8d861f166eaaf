//! JSON Web Tokens: taking one apart, the provider's keys, the checks and their order.

pub mod algorithm;
pub mod jwk;
pub(crate) mod jws;
pub mod verifier;
