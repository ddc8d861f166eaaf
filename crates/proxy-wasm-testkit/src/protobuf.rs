//! The protobuf wire format, as far as arguments and results of Envoy's foreign functions need it.
//!
//! A message is a list of length-delimited fields. Varint fields are skipped.

/// Reads the length-delimited fields of a message: number and value of each, in their order.
///
/// Returns `None` if the message is not protobuf, or holds a field of a fixed size.
pub fn fields(mut message: &[u8]) -> Option<Vec<(u64, Vec<u8>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => {
                varint(&mut message)?;
            }
            2 => {
                let size = usize::try_from(varint(&mut message)?).ok()?;
                let (value, rest) = message.split_at_checked(size)?;
                fields.push((key >> 3, value.to_vec()));
                message = rest;
            }
            _ => return None,
        }
    }
    Some(fields)
}

/// Returns the last value of a field, or an empty one if the message has no such field.
pub fn field(fields: &[(u64, Vec<u8>)], number: u64) -> &[u8] {
    fields.iter().rev().find(|(n, _)| *n == number).map(|(_, value)| value.as_slice()).unwrap_or_default()
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Writes a length-delimited field.
///
/// # Panics
/// Panics if the number is above 15: its key would need a second byte.
pub fn bytes_field(number: u8, value: &[u8]) -> Vec<u8> {
    assert!((1..=15).contains(&number), "field {number}");
    let mut bytes = vec![number << 3 | 2];
    let mut size = value.len();
    while size >= 0x80 {
        bytes.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
        size >>= 7;
    }
    bytes.push(u8::try_from(size).unwrap());
    bytes.extend_from_slice(value);
    bytes
}
