//! The `Cookie` header (RFC 6265 §4.2.1), taken apart.
//!
//! Owns: where a cookie begins and ends. Must not: know a name.

use core::iter;

use memchr::memchr;

/// The cookies of a `cookie` line, each still with its name. Most of a line is one long value, so its end is looked for
/// once, and not byte by byte.
pub(crate) fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    let between_semicolons = iter::from_fn(move || {
        let line = rest?;
        let Some((pair, after)) = memchr(b';', line).and_then(|end| line.split_at_checked(end)) else {
            return rest.take();
        };
        rest = after.strip_prefix(b";");
        Some(pair)
    });
    between_semicolons.map(trim).filter(|pair| !pair.is_empty())
}

/// Without spaces and control bytes at its ends: what is written has spaces in place of those.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| *byte == b' ' || byte.is_ascii_control();
    while let Some((_, rest)) = text.split_first().filter(|(first, _)| is_blank(first)) {
        text = rest;
    }
    while let Some((_, rest)) = text.split_last().filter(|(last, _)| is_blank(last)) {
        text = rest;
    }
    text
}
