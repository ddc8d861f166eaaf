//! Signatures as numbers: the moduli and orders that they are below, and what can be done to them there.

use fake_authentik::{Generation, Key};
use p256::NistP256;
use p256::elliptic_curve::{Curve, FieldBytesEncoding};
use p384::NistP384;
use p521::NistP521;
use rsa::BigUint;
use rsa::traits::PublicKeyParts as _;

use super::changes::Change;
use super::kinds::Kind;
use super::tokens::{Algorithm, Jws};

/// What the numbers of a signature are below, and how many bytes each has.
pub(super) struct Range {
    pub(super) end: BigUint,
    pub(super) bytes: usize,
}

impl Range {
    /// RSA's modulus, or the order of the curve. HMAC has no numbers.
    pub(super) fn of(algorithm: Algorithm) -> Option<Self> {
        let bytes = match algorithm {
            Algorithm::Rs256 => Key::Rs256(Generation::A).rsa().n().to_bytes_be(),
            Algorithm::Es256 => order::<NistP256>(),
            Algorithm::Es384 => order::<NistP384>(),
            Algorithm::Es512 => order::<NistP521>(),
            Algorithm::Hs256 => return None,
        };
        Some(Self { end: BigUint::from_bytes_be(&bytes), bytes: bytes.len() })
    }

    /// In as many bytes as it must have; `None`: it does not fit.
    pub(super) fn to_bytes(&self, number: &BigUint) -> Option<Vec<u8>> {
        let digits = number.to_bytes_be();
        let zeros = self.bytes.checked_sub(digits.len())?;
        Some([vec![0; zeros], digits].concat())
    }

    /// `n - x`.
    pub(super) fn negated(&self, bytes: &[u8]) -> Vec<u8> {
        self.to_bytes(&(&self.end - BigUint::from_bytes_be(bytes))).expect("it is smaller")
    }

    /// `n + x`, which is the same to who forgets to look; `None`: it does not fit.
    pub(super) fn wrapped(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.to_bytes(&(&self.end + BigUint::from_bytes_be(bytes)))
    }

    /// The numbers at the ends, by name.
    pub(super) fn edges(&self) -> [(&'static str, Vec<u8>); 6] {
        let one = BigUint::from(1_u8);
        let bytes = |number: &BigUint| self.to_bytes(number).expect("about as long as the end");
        [
            ("0", vec![0; self.bytes]),
            ("1", bytes(&one)),
            ("n - 1", bytes(&(&self.end - &one))),
            ("n", bytes(&self.end)),
            ("n + 1", bytes(&(&self.end + &one))),
            ("all ones", vec![0xff; self.bytes]),
        ]
    }
}

/// In as many bytes as a coordinate has.
fn order<C: Curve>() -> Vec<u8>
where
    C::Uint: FieldBytesEncoding<C>,
{
    C::ORDER.encode_field_bytes().to_vec()
}

/// What can be done to an ECDSA signature, two numbers.
pub(super) fn of_two(range: &Range, token: &Jws, kind: Kind, number: usize) -> Option<Change> {
    let (r, s) = token.signature.split_at(range.bytes);
    let both = |r: &[u8], s: &[u8]| token.signed_with(&[r, s].concat());
    Some(match kind {
        Kind::NegatedS => Change::passes("s", both(r, &range.negated(s)), token.username),
        Kind::NegatedR => match number % 2 {
            0 => Change::refused("r", both(&range.negated(r), s)),
            _ => Change::refused("r and s", both(&range.negated(r), &range.negated(s))),
        },
        Kind::SwappedHalves => Change::refused("r and s", both(s, r)),
        Kind::PlusOrder => match number % 3 {
            0 => Change::refused("r", both(&range.wrapped(r)?, s)),
            1 => Change::refused("s", both(r, &range.wrapped(s)?)),
            _ => Change::refused("r and s", both(&range.wrapped(r)?, &range.wrapped(s)?)),
        },
        Kind::Der => Change::refused("the signature", token.signed_with(&der(&token.signature)?)),
        _ => {
            let edges = range.edges();
            let (name, value) = &edges[number % edges.len()];
            match number / edges.len() % 3 {
                0 => Change::refused(format!("r is {name}"), both(value, s)),
                1 => Change::refused(format!("s is {name}"), both(r, value)),
                _ => Change::refused(format!("r and s are {name}"), both(value, value)),
            }
        }
    })
}

/// What can be done to an RSA signature, one number.
pub(super) fn of_one(range: &Range, token: &Jws, kind: Kind, number: usize) -> Option<Change> {
    Some(match kind {
        Kind::NegatedNumber => Change::refused("s", token.signed_with(&range.negated(&token.signature))),
        Kind::PlusModulus => Change::refused("s", token.signed_with(&range.wrapped(&token.signature)?)),
        _ => {
            let edges = range.edges();
            let (name, value) = &edges[number % edges.len()];
            Change::refused(format!("s is {name}"), token.signed_with(value))
        }
    })
}

/// As X.509 has it (RFC 3279 §2.2.3), and JWS has not.
fn der(raw: &[u8]) -> Option<Vec<u8>> {
    Some(match raw.len() {
        64 => p256::ecdsa::Signature::from_slice(raw).ok()?.to_der().as_bytes().to_vec(),
        96 => p384::ecdsa::Signature::from_slice(raw).ok()?.to_der().as_bytes().to_vec(),
        _ => p521::ecdsa::Signature::from_slice(raw).ok()?.to_der().as_bytes().to_vec(),
    })
}
