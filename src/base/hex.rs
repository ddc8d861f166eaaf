//! Bytes as hexadecimal digits.

use core::fmt::Write as _;

/// Two digits for each byte, in lower case.
#[inline(never)]
pub(crate) fn of(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}
