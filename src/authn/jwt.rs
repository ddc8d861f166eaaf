//! JSON Web Tokens: taking one apart, the provider's keys, the checks and their order.

pub mod algorithm;
pub mod claims;
mod der;
pub mod jwk;
pub(crate) mod jws;
pub mod logout_token;
#[cfg(feature = "portable")]
mod portable;
pub mod rejection;
pub mod verifier;
