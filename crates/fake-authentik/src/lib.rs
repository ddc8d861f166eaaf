//! A stand-in for authentik: it issues, publishes, introspects and logs in as the recorded authentik does, and it fails as a
//! test wants it to.
//!
//! [`gate::Gate`] stands in for an outpost behind `ext_authz`.
//!
//! Start one with [`Authentik::start`], point a client at its address, and look at the calls it got. Its providers, users
//! and secrets are those of the recorded authentik; a test changes them. [`TokenSpec`] mints the tokens that authentik
//! would never issue.
//!
//! Features: `server` is the stand-in itself; without it there are the keys only. `asymmetric` signs with RSA and ECDSA;
//! without it only providers that sign with their client secret work, and the others answer as authentik does for a key that
//! it cannot use: with a server error.

#[cfg(feature = "server")]
mod authentik;
#[cfg(feature = "server")]
pub mod gate;
mod keys;

#[cfg(feature = "server")]
pub use self::authentik::*;
pub use self::keys::{Generation, Key, url};

/// Says whether the stand-in can sign with a key pair: the feature `asymmetric`.
pub const HAS_KEY_PAIRS: bool = cfg!(feature = "asymmetric");
