//! Envoy as the core sees it: what it answers without waiting.
//!
//! Owns: the host's side of [`Host`]. Must not: call authentik, or touch a request.

use core::ptr::null_mut;

use proxy_wasm::hostcalls;

use super::abi::{
    HostError, NOT_FOUND, OK, check, proxy_call_foreign_function, proxy_get_shared_data,
    proxy_set_shared_data, take,
};
use crate::authn::env::{Host, Shared};

/// Envoy, as the core sees it.
pub(crate) struct Envoy;

impl Host for Envoy {
    /// Envoy's foreign function `verify_signature` (BoringSSL). It binds no algorithm to the key; the core does.
    fn verify_signature(&self, hash: &str, spki: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
        const NAME: &str = "verify_signature";
        let capacity = [hash.len(), spki.len(), signature.len(), message.len(), 32].iter().sum();
        let mut arguments = Vec::with_capacity(capacity);
        for (field, value) in [(1, hash.as_bytes()), (2, spki), (3, signature), (4, message)] {
            push_protobuf_bytes(&mut arguments, field, value);
        }
        let (mut data, mut size) = (null_mut(), 0);
        // SAFETY: name, arguments and both out pointers live through the call.
        let status = unsafe {
            proxy_call_foreign_function(
                NAME.as_ptr(),
                NAME.len(),
                arguments.as_ptr(),
                arguments.len(),
                &raw mut data,
                &raw mut size,
            )
        };
        match status {
            // `result: true` and nothing else. A failed check is a status of OK with an error text.
            OK => Some(take(data, size) == [0x08, 0x01]),
            NOT_FOUND => None,
            _ => Some(false),
        }
    }

    fn shared(&self, name: &str) -> Option<Shared> {
        let (mut data, mut size, mut cas) = (null_mut(), 0, 0);
        // SAFETY: the name and all out pointers live through the call.
        let status = unsafe {
            proxy_get_shared_data(name.as_ptr(), name.len(), &raw mut data, &raw mut size, &raw mut cas)
        };
        check(status).ok()?;
        Some(Shared { value: take(data, size), version: cas })
    }

    fn share(&self, name: &str, value: &[u8]) {
        if let Err(error) = set_shared(name, value, UNCONDITIONALLY) {
            log::debug!("a value was not shared: {error}");
        }
    }

    fn share_if(&self, name: &str, value: &[u8], version: u32) -> bool {
        version != UNCONDITIONALLY && set_shared(name, value, version).is_ok()
    }

    fn random(&self, bytes: &mut [u8]) -> bool {
        getrandom::fill(bytes).is_ok()
    }

    fn source_address(&self) -> Option<String> {
        let address = hostcalls::get_property(vec!["source", "address"]).ok()??;
        String::from_utf8(address).ok()
    }
}

/// The version that stands for "whatever is there".
const UNCONDITIONALLY: u32 = 0;

fn set_shared(name: &str, value: &[u8], version: u32) -> Result<(), HostError> {
    // SAFETY: name and value live through the call.
    check(unsafe { proxy_set_shared_data(name.as_ptr(), name.len(), value.as_ptr(), value.len(), version) })
}

/// A length-delimited field of the protobuf wire format.
fn push_protobuf_bytes(message: &mut Vec<u8>, field: u8, value: &[u8]) {
    message.push(field << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        message.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).unwrap_or(0));
    message.extend_from_slice(value);
}
