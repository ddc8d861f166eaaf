//! What the core may know of the world: the moment, and what the host answers without waiting.
//!
//! Owns: [`Host`], [`Env`] and [`RequestId`]. Must not: wait, or decide anything.

pub(crate) mod lease;
pub(crate) mod published;

use crate::base::time::Timestamp;

/// The host's name for a request; never used twice at one time.
pub type RequestId = u32;

/// What the core may ask of its host without waiting. All of it may lie or fail; none of it can panic the core.
pub trait Host {
    /// Checks a signature with the host's cryptography. `hash` is `sha256`, `sha384` or `sha512`, `spki` the public key
    /// in DER, ECDSA signatures are in DER. `None`: the host offers no such check.
    fn verify_signature(&self, hash: &str, spki: &[u8], signature: &[u8], message: &[u8]) -> Option<bool>;

    /// Reads shared data. `None`: nothing there, or not to be had.
    fn shared(&self, name: &str) -> Option<Shared>;

    /// Writes shared data. Best effort; errors are ignored.
    fn share(&self, name: &str, value: &[u8]);

    /// Writes shared data if nobody has since that version. Whether it did.
    fn share_if(&self, name: &str, value: &[u8], version: u32) -> bool;

    /// Fills the bytes with randomness that nobody can foresee. Whether it could.
    fn random(&self, bytes: &mut [u8]) -> bool;

    /// The address of the request's client, with its port, as far as the host can be trusted with it.
    fn source_address(&self) -> Option<String>;
}

/// A shared value and its version.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The value.
    pub value: Vec<u8>,
    /// For [`Host::share_if`].
    pub version: u32,
}

/// The moment and the host of one step.
pub struct Env<'a> {
    /// Now.
    pub now: Timestamp,
    /// The host, or a test's stand-in for it.
    pub host: &'a dyn Host,
}

impl Env<'_> {
    /// One byte of randomness; 0 where the host has none: for what only spreads work.
    pub(crate) fn random_byte(&self) -> u8 {
        let mut random = [0];
        self.host.random(&mut random);
        let [random] = random;
        random
    }
}
