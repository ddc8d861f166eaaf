//! JSON Web Tokens: taking one apart, the provider's keys, the checks and their order.

pub mod algorithm;
mod der;
pub mod jwk;
pub(crate) mod jws;
#[cfg(feature = "portable")]
mod portable;
pub mod rejection;
pub mod verifier;
