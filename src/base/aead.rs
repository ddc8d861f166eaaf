//! Authenticated encryption (XChaCha20-Poly1305, as the crate `chacha20poly1305` has it).
//!
//! Owns: the layout of a sealed value: nonce (24 bytes), ciphertext, tag (16). Must not: know what is inside, or make a nonce:
//! the caller has it from the host's randomness.

use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

/// The length of a nonce.
pub(crate) const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// A key.
pub(crate) struct Aead(XChaCha20Poly1305);

impl Aead {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(&key.into()))
    }

    /// Seals a value with a nonce that was never used with this key: one of 24 random bytes. `None`: the value is too long.
    #[inline(never)]
    pub(crate) fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated_data: &[u8],
        content: &[u8],
    ) -> Option<Vec<u8>> {
        let mut sealed = Vec::with_capacity(content.len().saturating_add(NONCE_BYTES + TAG_BYTES));
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(content);
        let (_, content) = sealed.split_first_chunk_mut::<NONCE_BYTES>()?;
        let tag = self.0.encrypt_in_place_detached(&XNonce::from(nonce), associated_data, content).ok()?;
        sealed.extend_from_slice(&tag);
        Some(sealed)
    }

    /// Opens a value that was sealed with one of the keys. `None`: with another key or other associated data, or changed
    /// bytes.
    #[inline(never)]
    pub(crate) fn open(keys: &[Self], associated_data: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let (nonce, content) = sealed.split_first_chunk_mut::<NONCE_BYTES>()?;
        let (content, tag) = content.split_last_chunk_mut::<TAG_BYTES>()?;
        let (nonce, tag, length) = (XNonce::from(*nonce), Tag::from(*tag), content.len());
        // A cipher checks the tag before it changes the buffer, so the next one finds it unchanged.
        let opens =
            |key: &Self| key.0.decrypt_in_place_detached(&nonce, associated_data, content, &tag).is_ok();
        if !keys.iter().any(opens) {
            return None;
        }
        sealed.drain(..NONCE_BYTES);
        sealed.truncate(length);
        Some(sealed)
    }
}
