//! DER (X.690), as far as keys and signatures have to be written in it for the host.
//!
//! Owns: the encoding of a value: tag, length, contents; and of an INTEGER.
//! Must not: read DER, or know what the values mean. That is [`super::algorithm`]'s.

/// Tag of an INTEGER.
const INTEGER: u8 = 0x02;
/// Tag of a BIT STRING.
const BIT_STRING: u8 = 0x03;
/// Tag of a SEQUENCE.
const SEQUENCE: u8 = 0x30;

/// A SEQUENCE of these values, which are in DER already. `None`: longer than 65,535 bytes.
pub(super) fn sequence(values: &[&[u8]]) -> Option<Vec<u8>> {
    value(SEQUENCE, values)
}

/// A BIT STRING of whole bytes (X.690 §8.6.2.2). `None`: longer than 65,535 bytes.
pub(super) fn bit_string(bytes: &[u8]) -> Option<Vec<u8>> {
    const UNUSED_BITS: u8 = 0;
    value(BIT_STRING, &[&[UNUSED_BITS], bytes])
}

/// An unsigned big-endian number as an INTEGER (X.690 §8.3): in as few bytes as it takes, with a zero before a first bit
/// that would be the sign. `None`: longer than 65,535 bytes.
pub(super) fn integer(number: &[u8]) -> Option<Vec<u8>> {
    let digits = without_leading_zeros(number);
    let is_positive_as_it_is = digits.first().is_some_and(|first| first.leading_zeros() > 0);
    value(INTEGER, &[if is_positive_as_it_is { &[] } else { &[0] }, digits])
}

/// A big-endian number without its leading zeros. Zero has no bytes at all.
pub(super) fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|digit| **digit == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Tag, length in the shortest form (X.690 §10.1) and contents.
fn value(tag: u8, contents: &[&[u8]]) -> Option<Vec<u8>> {
    let length: usize = contents.iter().map(|part| part.len()).sum();
    let head: &[u8] = match u16::try_from(length).ok()?.to_be_bytes() {
        [0, low @ 0..=0x7f] => &[tag, low],
        [0, low] => &[tag, 0x81, low],
        [high, low] => &[tag, 0x82, high, low],
    };
    let mut encoded = Vec::with_capacity(head.len().saturating_add(length));
    encoded.extend_from_slice(head);
    contents.iter().for_each(|part| encoded.extend_from_slice(part));
    Some(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_has_no_byte_too_many_and_is_never_negative() {
        for (number, expected) in [
            (&[][..], &[2, 1, 0][..]),
            (&[0, 0], &[2, 1, 0]),
            (&[1], &[2, 1, 1]),
            (&[0x7f], &[2, 1, 0x7f]),
            (&[0x80], &[2, 2, 0, 0x80]),
            (&[0, 0, 0x7f, 0], &[2, 2, 0x7f, 0]),
            (&[0, 0xff, 0], &[2, 3, 0, 0xff, 0]),
        ] {
            assert_eq!(integer(number).as_deref(), Some(expected), "{number:x?}");
        }
    }

    #[test]
    fn a_length_is_in_its_shortest_form() {
        for (length, head) in [
            (0, &[0x30, 0][..]),
            (0x7f, &[0x30, 0x7f]),
            (0x80, &[0x30, 0x81, 0x80]),
            (0xff, &[0x30, 0x81, 0xff]),
            (0x100, &[0x30, 0x82, 1, 0]),
            (0xffff, &[0x30, 0x82, 0xff, 0xff]),
        ] {
            let contents = vec![7; length];
            assert_eq!(sequence(&[&contents]), Some([head, &contents].concat()), "{length}");
        }
        assert_eq!(sequence(&[&[7; 0xffff], &[7]]), None);
    }

    #[test]
    fn a_bit_string_says_that_no_bit_of_it_is_unused() {
        assert_eq!(bit_string(&[5, 6]).as_deref(), Some(&[3, 3, 0, 5, 6][..]));
    }
}
