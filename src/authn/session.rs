//! Sessions as they are: sealed cookies that stand for an identity.

pub mod cipher;
pub(crate) mod codec;
pub(crate) mod content;
pub(crate) mod cookies;
pub mod packing;
