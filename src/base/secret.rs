//! A value that must not be seen.
//!
//! Owns: redaction in `Debug`, wiping on drop. Must not: offer `Display`, serialisation, or comparison that
//! takes a time depending on the content.

use core::fmt;

use zeroize::Zeroize;

/// A secret, credential or token: redacted in `Debug`, wiped when dropped.
#[derive(Clone, Default)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value into custody.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Every call of this is a place to look at in a review.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

/// Overwrites bytes that are about to be dropped. For what is dropped with every request: in Wasm this is one instruction,
/// where [`Zeroize`] writes byte by byte. The barrier keeps the compiler from leaving it out.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    core::hint::black_box(bytes);
}

#[cfg(test)]
mod tests {
    use super::{Secret, wipe};

    #[test]
    fn wiping_leaves_nothing() {
        let mut bytes = *b"hunter2";
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 7]);
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "[secret]");
    }
}
