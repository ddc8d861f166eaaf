//! Leaves: what every room builds on and what builds on nothing here.
//!
//! Owns: secrets and tokens that wipe themselves, seconds since 1970, pauses between tries, hosts and URLs in their one normal
//! form, names and values of headers, HMAC and AEAD. Must not: know authentik, a request or the configuration.

pub(crate) mod aead;
pub(crate) mod backoff;
pub mod header;
pub(crate) mod hex;
pub mod mac;
pub mod secret;
pub mod time;
pub mod token;
pub mod url;
pub(crate) mod weight;
