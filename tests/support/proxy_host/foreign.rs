//! The foreign functions of this host: `verify_signature` and two that are only there.
//!
//! Arguments and results are protobuf. A check that fails is not an error:
//! its status is Ok, and the result holds a text and no `true`. Keys are
//! DER SubjectPublicKeyInfo; RSA signatures are PKCS#1 v1.5 (so no PS256),
//! ECDSA signatures are DER. Nothing ties the algorithm to the key's kind.

use super::status::Status;
use super::world::World;
use crate::support::signatures;

/// Calls a foreign function.
pub(super) fn call(world: &World, name: &[u8], arguments: &[u8]) -> Result<Vec<u8>, Status> {
    match name {
        b"verify_signature" if world.lock().verifies_signatures => {
            let fields = fields(arguments).ok_or(Status::BadArgument)?;
            let hash = String::from_utf8_lossy(field(&fields, 1));
            Ok(match signatures::verify(&hash, field(&fields, 2), field(&fields, 3), field(&fields, 4)) {
                Ok(()) => vec![0x08, 0x01],
                Err(text) => bytes_field(2, text.as_bytes()),
            })
        }
        b"set_envoy_filter_state" => {
            let fields = fields(arguments).ok_or(Status::BadArgument)?;
            // Only keys that have a factory; the filter's own names have none.
            match field(&fields, 1) {
                b"envoy.string" | b"envoy.hashable_string" => Ok(Vec::new()),
                _ => Err(Status::NotFound),
            }
        }
        b"clear_route_cache" => {
            world.lock().route_cache_clears += 1;
            Ok(Vec::new())
        }
        _ => Err(Status::NotFound),
    }
}

/// The length-delimited fields of a message; varints are passed over.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, Vec<u8>)>> {
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

/// The last value of a field; empty if there is none.
fn field(fields: &[(u64, Vec<u8>)], number: u64) -> &[u8] {
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

/// A length-delimited field.
pub(crate) fn bytes_field(number: u8, value: &[u8]) -> Vec<u8> {
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
