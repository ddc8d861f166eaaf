//! Signature algorithms of JWS (RFC 7518 §3): jwt-compact's [`Algorithm`](jwt_compact::Algorithm) over the host's
//! `verify_signature`. HS256 is jwt-compact's own.
//!
//! Owns: which algorithms of public keys exist here, and the forms in which the host takes keys and signatures.
//! Must not: choose a key or an algorithm by what a token says. That is [`super::jwk`]'s, by the key.

use core::cell::Cell;
use core::convert::Infallible;
use std::borrow::Cow;

use jwt_compact::AlgorithmSignature;

use crate::authn::env::Host;
use crate::authn::jwt::der;

/// Bits of an RSA modulus (RFC 7518 §3.3). A check with a longer one would take too long.
const RSA_BITS: core::ops::RangeInclusive<usize> = 2_048..=8_192;
/// Public exponents of RSA; they are odd. BoringSSL takes none of more than 33 bits either.
const RSA_EXPONENTS: core::ops::RangeInclusive<u64> = 3..=0x1_ffff_ffff;

/// The asymmetric algorithms that authentik signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
}

impl Algorithm {
    /// The name in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    /// The algorithm of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Rs256, Self::Es256, Self::Es384, Self::Es512].into_iter().find(|one| one.name() == name)
    }

    /// The hash, as Envoy's `verify_signature` calls it.
    const fn hash(self) -> &'static str {
        match self {
            Self::Rs256 | Self::Es256 => "sha256",
            Self::Es384 => "sha384",
            Self::Es512 => "sha512",
        }
    }

    /// The AlgorithmIdentifier of its keys in DER: of RSA (RFC 3279 §2.3.1), or of a curve (RFC 5480 §2.1.1).
    const fn key_identifier(self) -> &'static [u8] {
        match self {
            Self::Rs256 => b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00",
            Self::Es256 => {
                b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
            }
            Self::Es384 => b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22",
            Self::Es512 => b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23",
        }
    }

    /// Bytes of a coordinate, and of each half of a signature (RFC 7518 §3.4, §6.2.1.2). `None`: RSA has neither.
    const fn field_bytes(self) -> Option<usize> {
        match self {
            Self::Rs256 => None,
            Self::Es256 => Some(32),
            Self::Es384 => Some(48),
            Self::Es512 => Some(66),
        }
    }
}

/// A public key that can check signatures of exactly one algorithm.
#[derive(Debug, Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7), for the host.
    spki: Vec<u8>,
    /// For a host that checks nothing. `None`: there is no other way.
    #[cfg(feature = "portable")]
    portable: Option<crate::authn::jwt::portable::Key>,
}

impl PublicKey {
    /// An RSA key from the big-endian `n` and `e` of its JWK (RFC 7518 §6.3.1). `None`: not usable.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let (n, e) = (der::without_leading_zeros(modulus), der::without_leading_zeros(exponent));
        let is_odd = |digits: &[u8]| digits.last().is_some_and(|last| last & 1 == 1);
        if !RSA_BITS.contains(&bits(n)?) || !RSA_EXPONENTS.contains(&number(e)?) || !is_odd(n) || !is_odd(e) {
            return None;
        }
        let key = der::sequence(&[&der::integer(n)?, &der::integer(e)?])?;
        Some(Self {
            algorithm: Algorithm::Rs256,
            spki: spki(Algorithm::Rs256, &key)?,
            #[cfg(feature = "portable")]
            portable: crate::authn::jwt::portable::Key::rs256(n, e),
        })
    }

    /// A key on the curve of `algorithm`, from the big-endian coordinates of its JWK (RFC 7518 §6.2.1). `None`: not usable.
    /// Whether the point is on the curve is the host's to say: it calls each signature by another point wrong.
    pub fn elliptic(algorithm: Algorithm, x: &[u8], y: &[u8]) -> Option<Self> {
        /// SEC 1 §2.3.3.
        const UNCOMPRESSED: u8 = 4;
        let field_bytes = algorithm.field_bytes()?;
        if x.len() != field_bytes || y.len() != field_bytes {
            return None;
        }
        Some(Self {
            algorithm,
            spki: spki(algorithm, &[&[UNCOMPRESSED], x, y].concat())?,
            #[cfg(feature = "portable")]
            portable: (algorithm == Algorithm::Es256)
                .then(|| crate::authn::jwt::portable::Key::es256(x, y))
                .flatten(),
        })
    }

    /// The only algorithm that this key checks.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// In the form that the host wants a signature in. `None`: not a signature at all.
    fn signature_for_host<'s>(&self, signature: &'s [u8]) -> Option<Cow<'s, [u8]>> {
        let Some(field_bytes) = self.algorithm.field_bytes() else { return Some(Cow::Borrowed(signature)) };
        let (r, s) = signature.split_at_checked(field_bytes).filter(|(_, s)| s.len() == field_bytes)?;
        ecdsa_sig_value(r, s).map(Cow::Owned)
    }

    /// Checks a signature without the host. `None`: nobody here can.
    #[cfg(feature = "portable")]
    fn verify_without_host(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        self.portable.as_ref().map(|key| key.verify(message, signature))
    }

    #[cfg(not(feature = "portable"))]
    const fn verify_without_host(&self, _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

/// The key itself and what it is for (RFC 5280 §4.1).
fn spki(algorithm: Algorithm, key: &[u8]) -> Option<Vec<u8>> {
    der::sequence(&[algorithm.key_identifier(), &der::bit_string(key)?])
}

/// An ECDSA signature in DER (RFC 3279 §2.2.3). `None`: neither number may be zero (FIPS 186-5 §6.4.2).
fn ecdsa_sig_value(r: &[u8], s: &[u8]) -> Option<Vec<u8>> {
    let is_zero = |digits: &[u8]| digits.iter().all(|digit| *digit == 0);
    if is_zero(r) || is_zero(s) {
        return None;
    }
    der::sequence(&[&der::integer(r)?, &der::integer(s)?])
}

/// The bits of a number without leading zeros.
fn bits(digits: &[u8]) -> Option<usize> {
    let unused = usize::try_from(digits.first()?.leading_zeros()).ok()?;
    digits.len().checked_mul(8)?.checked_sub(unused)
}

/// `None`: more than 64 bits.
fn number(digits: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    let (_, end) = bytes.split_at_mut_checked(8_usize.checked_sub(digits.len())?)?;
    end.copy_from_slice(digits);
    Some(u64::from_be_bytes(bytes))
}

/// jwt-compact's view of one of the algorithms: the host checks.
pub(super) struct HostCheck<'a> {
    algorithm: Algorithm,
    host: &'a dyn Host,
    is_impossible: Cell<bool>,
}

impl<'a> HostCheck<'a> {
    /// For signatures by this key.
    pub(super) fn new(key: &PublicKey, host: &'a dyn Host) -> Self {
        Self { algorithm: key.algorithm, host, is_impossible: Cell::new(false) }
    }

    /// Whether a signature was called wrong because nobody here can check it. [`jwt_compact::Algorithm`] has two answers only.
    pub(super) const fn is_impossible(&self) -> bool {
        self.is_impossible.get()
    }
}

impl jwt_compact::Algorithm for HostCheck<'_> {
    /// The filter signs nothing.
    type SigningKey = Infallible;
    type VerifyingKey = PublicKey;
    type Signature = Signature;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.algorithm.name())
    }

    fn sign(&self, signing_key: &Infallible, _: &[u8]) -> Signature {
        match *signing_key {}
    }

    fn verify_signature(&self, signature: &Signature, key: &PublicKey, message: &[u8]) -> bool {
        // It binds no algorithm to the key; the host neither.
        if key.algorithm != self.algorithm {
            return false;
        }
        let Some(for_host) = key.signature_for_host(&signature.0) else { return false };
        let hash = self.algorithm.hash();
        let answer = self.host.verify_signature(hash, &key.spki, &for_host, message);
        let answer = answer.or_else(|| key.verify_without_host(message, &signature.0));
        self.is_impossible.set(answer.is_none());
        answer == Some(true)
    }
}

/// The bytes of a JWS signature; what they mean is the key's business.
pub(super) struct Signature(Vec<u8>);

impl AlgorithmSignature for Signature {
    fn try_from_slice(slice: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(slice.to_vec()))
    }

    fn as_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }
}

#[cfg(test)]
pub(super) mod tests;
