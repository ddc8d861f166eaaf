//! Tokens inside a sealed cookie: decoded. The cookie is base64url itself, so four bytes of an encoded token would take
//! more than five bytes of it, in every request.
//!
//! Must not: change a token. Unpacking returns the same bytes. A token that its decoded parts do not reproduce is kept as
//! it is.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// What is needed to make the token again: whether its parts were decoded, and how long each is now.
#[derive(Serialize, Deserialize)]
pub(crate) struct Packed(bool, Vec<usize>);

impl Packed {
    /// Packs a token, behind what is there.
    pub(crate) fn append(token: &str, bytes: &mut Vec<u8>) -> Self {
        let begin = bytes.len();
        let decode = |part: &str| {
            let begin = bytes.len();
            // Strict: no padding, no other alphabet, no bits beyond the last byte. There is one text for these bytes.
            BASE64_URL_SAFE_NO_PAD.decode_vec(part, bytes).ok()?;
            bytes.len().checked_sub(begin)
        };
        if let Some(lengths) = token.split('.').map(decode).collect() {
            return Self(true, lengths);
        }
        bytes.truncate(begin);
        bytes.extend_from_slice(token.as_bytes());
        Self(false, vec![token.len()])
    }

    /// Makes the token again, and takes its bytes off. `None`: they are not there.
    pub(crate) fn unpack(&self, bytes: &mut &[u8]) -> Option<String> {
        let Self(is_decoded, lengths) = self;
        let size = lengths.iter().copied().fold(0, usize::saturating_add).min(bytes.len());
        // Enough, so that no copy is left behind unwiped, and not much more: it is kept for as long as the session.
        let room = size.saturating_add(size / 3).saturating_add(lengths.len().saturating_mul(2));
        let mut token = String::with_capacity(room);
        for (number, length) in lengths.iter().enumerate() {
            if number > 0 {
                token.push('.');
            }
            let (part, rest) = bytes.split_at_checked(*length)?;
            *bytes = rest;
            if *is_decoded {
                BASE64_URL_SAFE_NO_PAD.encode_string(part, &mut token);
            } else {
                token.push_str(core::str::from_utf8(part).ok()?);
            }
        }
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_token_round_trips_byte_for_byte() {
        let jws = ["{\"alg\":\"RS256\"}", "{\"sub\":\"7\"}", "\u{0}\u{1}sig"]
            .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let jws = jws.join(".");
        for (token, is_decoded) in [
            (&*jws, true),
            ("AAAA.BBBB.CCCC.DDDD.EEEE", true),
            ("", true),
            (".", true),
            ("..", true),
            ("AA", true),
            // The last character has bits that stand for nothing: another text for the same byte.
            ("AB", false),
            ("A", false),
            ("AAA=", false),
            ("AA==.AAAA", false),
            ("a+b/", false),
            ("e30.e30.e31", false),
            ("two\nlines", false),
            ("é", false),
            ("a b", false),
        ] {
            let mut bytes = b"before it ".to_vec();
            let packed = Packed::append(token, &mut bytes);
            assert_eq!(packed.0, is_decoded, "{token:?}");
            bytes.extend_from_slice(b" behind it");
            let mut rest = bytes.strip_prefix(b"before it ").unwrap();
            let unpacked = packed.unpack(&mut rest).unwrap();
            assert_eq!(unpacked, token);
            assert!(unpacked.capacity() <= token.len() + token.len() / 3 + 10, "{}", unpacked.capacity());
            assert_eq!(rest, b" behind it", "{token:?}");
        }
        let mut bytes = Vec::new();
        Packed::append(&jws, &mut bytes);
        assert!(bytes.len() * 4 <= jws.len() * 3);
    }

    #[test]
    fn wrong_packed_lengths_are_rejected() {
        for lengths in [vec![3], vec![1, 2], vec![usize::MAX, 2], vec![1, usize::MAX]] {
            assert!(Packed(true, lengths.clone()).unpack(&mut &b"ab"[..]).is_none(), "{lengths:?}");
            assert!(Packed(false, lengths.clone()).unpack(&mut &b"ab"[..]).is_none(), "{lengths:?}");
        }
        assert!(Packed(false, vec![1]).unpack(&mut &b"\xff"[..]).is_none());
    }
}
