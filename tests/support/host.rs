//! The in-process Proxy-Wasm host as Envoy is: with the foreign function `verify_signature`.
//!
//! Arguments and results are protobuf. A check that fails is not an error: its status is Ok, and the result holds a text and
//! no `true`. Keys are DER SubjectPublicKeyInfo; RSA signatures are PKCS#1 v1.5 (so no PS256), ECDSA signatures are DER.
//! Nothing ties the algorithm to the key's kind.

use proxy_wasm_testkit::protobuf::{bytes_field, field, fields};
use proxy_wasm_testkit::{Status, World};

const NAME: &str = "verify_signature";

/// A world whose host checks signatures, or does not.
pub(crate) trait VerifySignature {
    /// Says whether the host offers `verify_signature`.
    fn set_verify_signature(&self, present: bool);
}

impl VerifySignature for World {
    fn set_verify_signature(&self, present: bool) {
        if present {
            self.foreign(NAME, answer);
        } else {
            self.remove_foreign(NAME);
        }
    }
}

/// As [`World::new`], with `verify_signature`.
pub(crate) fn world() -> World {
    with_signatures(World::new())
}

/// As [`World::with_seed`], with `verify_signature`.
pub(crate) fn world_with_seed(seed: u64) -> World {
    with_signatures(World::with_seed(seed))
}

fn with_signatures(world: World) -> World {
    world.set_verify_signature(true);
    world
}

fn answer(arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let fields = fields(arguments).ok_or(Status::BadArgument)?;
    let hash = String::from_utf8_lossy(field(&fields, 1));
    Ok(match verify_signature::verify(&hash, field(&fields, 2), field(&fields, 3), field(&fields, 4)) {
        Ok(()) => vec![0x08, 0x01],
        Err(text) => bytes_field(2, text.as_bytes()),
    })
}
