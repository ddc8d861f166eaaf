//! HMAC with SHA-256 (RFC 2104), as the crate `hmac` has it.
//!
//! Owns: that its code is in the module once: each call that is inlined would be a copy of some five hundred bytes.
//! Must not: know what a key is for.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// A key, or a computation under way with it.
pub type Mac = Hmac<Sha256>;

/// A computation with this key. `None` only if HMAC refused a key, which it never does.
#[inline(never)]
pub(crate) fn keyed(key: &[u8]) -> Option<Mac> {
    Mac::new_from_slice(key).ok()
}

/// Adds to what is authenticated.
#[inline(never)]
pub(crate) fn update(mac: &mut Mac, part: &[u8]) {
    mac.update(part);
}

/// The code.
#[inline(never)]
pub(crate) fn finish(mac: Mac) -> [u8; 32] {
    mac.finalize().into_bytes().into()
}

/// Whether this is the code; in constant time.
#[inline(never)]
pub(crate) fn is_code(mac: Mac, code: &[u8]) -> bool {
    mac.verify_slice(code).is_ok()
}
