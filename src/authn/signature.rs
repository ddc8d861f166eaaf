//! Signature algorithms of JWS (RFC 7518 §3): jwt-compact's [`Algorithm`](jwt_compact::Algorithm) over the host's
//! `verify_signature`. HS256 is jwt-compact's own.
//!
//! Owns: which algorithms of public keys exist here, and the forms in which the host takes keys and signatures.
//! Must not: choose a key or an algorithm by what a token says. That is [`super::jwks`]'s, by the key.

use core::cell::Cell;
use core::convert::Infallible;
use std::borrow::Cow;

use jwt_compact::AlgorithmSignature;

use super::{Surroundings, der};

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
    portable: Option<super::portable::Key>,
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
            portable: super::portable::Key::rs256(n, e),
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
            portable: (algorithm == Algorithm::Es256).then(|| super::portable::Key::es256(x, y)).flatten(),
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
    surroundings: &'a dyn Surroundings,
    is_impossible: Cell<bool>,
}

impl<'a> HostCheck<'a> {
    /// For signatures by this key.
    pub(super) fn new(key: &PublicKey, surroundings: &'a dyn Surroundings) -> Self {
        Self { algorithm: key.algorithm, surroundings, is_impossible: Cell::new(false) }
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
        let answer = self.surroundings.verify_signature(hash, &key.spki, &for_host, message);
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
pub(super) mod tests {
    use std::cell::RefCell;

    use jwt_compact::Algorithm as _;
    use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
    use p256::ecdsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _};
    use p256::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
    use rsa::BigUint;
    use sha2::{Digest as _, Sha256, Sha384, Sha512};

    use super::*;
    use crate::authn::Shared;

    const MESSAGE: &[u8] = b"header.payload";

    /// A host that checks signatures, with RustCrypto's algorithms, and offers nothing else.
    pub(in crate::authn) struct CheckingHost;

    impl Surroundings for CheckingHost {
        fn verify_signature(
            &self,
            hash: &str,
            spki: &[u8],
            signature: &[u8],
            message: &[u8],
        ) -> Option<bool> {
            Some(if let Ok(key) = rsa::RsaPublicKey::from_public_key_der(spki) {
                let padding = rsa::Pkcs1v15Sign::new::<Sha256>();
                hash == "sha256" && key.verify(padding, &Sha256::digest(message), signature).is_ok()
            } else if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_der(spki) {
                let signature = p256::ecdsa::Signature::from_der(signature);
                hash == "sha256"
                    && signature.is_ok_and(|it| key.verify_prehash(&Sha256::digest(message), &it).is_ok())
            } else if let Ok(key) = p384::ecdsa::VerifyingKey::from_public_key_der(spki) {
                let signature = p384::ecdsa::Signature::from_der(signature);
                hash == "sha384"
                    && signature.is_ok_and(|it| key.verify_prehash(&Sha384::digest(message), &it).is_ok())
            } else if let Ok(key) = p521::PublicKey::from_public_key_der(spki) {
                let key = p521::ecdsa::VerifyingKey::from_affine(*key.as_affine()).unwrap();
                let signature = p521::ecdsa::Signature::from_der(signature);
                hash == "sha512"
                    && signature.is_ok_and(|it| key.verify_prehash(&Sha512::digest(message), &it).is_ok())
            } else {
                false
            })
        }
        fn shared(&self, _: &str) -> Option<Shared> {
            None
        }
        fn share(&self, _: &str, _: &[u8]) {}
        fn share_if(&self, _: &str, _: &[u8], _: u32) -> bool {
            false
        }
        fn random(&self, _: &mut [u8]) -> bool {
            false
        }
        fn source_address(&self) -> Option<String> {
            None
        }
    }

    /// Hash, key, signature and message, as the host is given them.
    type Asked = (String, Vec<u8>, Vec<u8>, Vec<u8>);

    /// A host that gives this answer, and remembers what it was asked.
    struct Host {
        answer: Option<bool>,
        asked: RefCell<Vec<Asked>>,
    }

    impl Host {
        fn new(answer: Option<bool>) -> Self {
            Self { answer, asked: RefCell::default() }
        }
    }

    impl Surroundings for Host {
        fn verify_signature(
            &self,
            hash: &str,
            spki: &[u8],
            signature: &[u8],
            message: &[u8],
        ) -> Option<bool> {
            let asked = (hash.to_owned(), spki.to_vec(), signature.to_vec(), message.to_vec());
            self.asked.borrow_mut().push(asked);
            self.answer
        }
        fn shared(&self, _: &str) -> Option<Shared> {
            None
        }
        fn share(&self, _: &str, _: &[u8]) {}
        fn share_if(&self, _: &str, _: &[u8], _: u32) -> bool {
            false
        }
        fn random(&self, _: &mut [u8]) -> bool {
            false
        }
        fn source_address(&self) -> Option<String> {
            None
        }
    }

    /// A key and its signature of [`MESSAGE`], as a JWS and as a host has them.
    struct Signed {
        hash: &'static str,
        key: PublicKey,
        /// As RustCrypto writes it.
        spki: Vec<u8>,
        raw: Vec<u8>,
        for_host: Vec<u8>,
    }

    /// The same for each curve, whose types have nothing in common.
    macro_rules! on_curve {
        ($curve:ident, $algorithm:expr, $hash:literal, $bytes:literal) => {{
            let secret = $curve::SecretKey::from_slice(&[1; $bytes]).unwrap();
            let signing = $curve::ecdsa::SigningKey::from_slice(&[1; $bytes]).unwrap();
            let signature: $curve::ecdsa::Signature = signing.sign_with_rng(&mut rand_core::OsRng, MESSAGE);
            let point = secret.public_key().to_sec1_bytes();
            let (x, y) = point[1..].split_at($bytes);
            Signed {
                hash: $hash,
                key: PublicKey::elliptic($algorithm, x, y).unwrap(),
                spki: secret.public_key().to_public_key_der().unwrap().into_vec(),
                raw: signature.to_bytes().to_vec(),
                for_host: signature.to_der().as_bytes().to_vec(),
            }
        }};
    }

    fn of_each_curve() -> [Signed; 3] {
        [
            on_curve!(p256, Algorithm::Es256, "sha256", 32),
            on_curve!(p384, Algorithm::Es384, "sha384", 48),
            on_curve!(p521, Algorithm::Es512, "sha512", 66),
        ]
    }

    fn by_rsa() -> Signed {
        let private = rsa::RsaPrivateKey::new(&mut rand_core::OsRng, 2_048).unwrap();
        let public = private.to_public_key();
        let (n, e) = {
            use rsa::traits::PublicKeyParts as _;
            (public.n().to_bytes_be(), public.e().to_bytes_be())
        };
        let raw = rsa::pkcs1v15::SigningKey::<Sha256>::new(private).sign(MESSAGE).to_vec();
        Signed {
            hash: "sha256",
            key: PublicKey::rsa(&n, &e).unwrap(),
            spki: public.to_public_key_der().unwrap().into_vec(),
            for_host: raw.clone(),
            raw,
        }
    }

    fn of_each_algorithm() -> impl Iterator<Item = Signed> {
        of_each_curve().into_iter().chain([by_rsa()])
    }

    /// `None`: nobody can.
    fn check(host: &dyn Surroundings, key: &PublicKey, signature: &[u8], message: &[u8]) -> Option<bool> {
        let check = HostCheck::new(key, host);
        let is_genuine = check.verify_signature(&Signature(signature.to_vec()), key, message);
        assert!(!(is_genuine && check.is_impossible()));
        (!check.is_impossible()).then_some(is_genuine)
    }

    #[test]
    fn the_host_is_asked_in_its_own_form_and_its_word_counts() {
        for answer in [true, false] {
            for signed in of_each_algorithm() {
                let host = Host::new(Some(answer));
                assert_eq!(check(&host, &signed.key, &signed.raw, MESSAGE), Some(answer), "{}", signed.hash);
                let expected = (signed.hash.to_owned(), signed.spki, signed.for_host, MESSAGE.to_vec());
                assert_eq!(*host.asked.borrow(), [expected]);
            }
        }
    }

    #[test]
    fn a_checking_host_tells_good_signatures_from_others() {
        for Signed { hash, key, raw, .. } in of_each_algorithm() {
            assert_eq!(check(&CheckingHost, &key, &raw, MESSAGE), Some(true), "{hash}");
            assert_eq!(check(&CheckingHost, &key, &raw, b"header.another"), Some(false), "{hash}");
        }
    }

    #[test]
    fn without_a_host_s_check_rs256_and_es256_are_checked_in_wasm_and_the_others_by_nobody() {
        let host = Host::new(None);
        for Signed { key, raw, .. } in of_each_algorithm() {
            let (good, bad) = match key.algorithm() {
                Algorithm::Rs256 | Algorithm::Es256 => (Some(true), Some(false)),
                Algorithm::Es384 | Algorithm::Es512 => (None, None),
            };
            assert_eq!(check(&host, &key, &raw, MESSAGE), good, "{key:?}");
            assert_eq!(check(&host, &key, &raw, b"header.another"), bad, "{key:?}");
        }
    }

    #[test]
    fn another_algorithm_s_key_checks_nothing() {
        let host = Host::new(Some(true));
        let all: Vec<_> = of_each_algorithm().collect();
        for one in &all {
            for other in all.iter().filter(|other| other.key.algorithm() != one.key.algorithm()) {
                let check = HostCheck::new(&other.key, &host);
                assert!(!check.verify_signature(&Signature(one.raw.clone()), &one.key, MESSAGE));
            }
        }
        assert!(host.asked.borrow().is_empty());
    }

    #[test]
    fn what_has_not_a_signature_s_length_is_shown_to_nobody() {
        let host = Host::new(Some(true));
        for Signed { hash, key, raw, for_host, .. } in of_each_curve() {
            for other in [&raw[1..], &[&raw[..], &[0]].concat(), &for_host, &[]] {
                assert_eq!(check(&host, &key, other, MESSAGE), Some(false), "{hash}");
            }
        }
        assert!(host.asked.borrow().is_empty());
    }

    #[test]
    fn a_signature_with_a_zero_in_it_is_shown_to_nobody() {
        let host = Host::new(Some(true));
        for Signed { hash, key, raw, .. } in of_each_curve() {
            let (r, s) = raw.split_at(raw.len() / 2);
            let zero = vec![0; r.len()];
            for other in [[&zero, s], [r, &zero], [&zero, &zero]] {
                assert_eq!(check(&host, &key, &other.concat(), MESSAGE), Some(false), "{hash}");
            }
        }
        assert!(host.asked.borrow().is_empty());
    }

    /// P-256's signatures of many lengths: RustCrypto says how each is written.
    #[test]
    fn an_ecdsa_signature_is_written_as_rustcrypto_writes_it() {
        for r_zeros in 0..32 {
            for (s_zeros, first) in [(0, 0x7f), (0, 0x80), (1, 0x80), (31, 1)] {
                let number = |zeros: usize| [vec![0; zeros], vec![first; 32 - zeros]].concat();
                let (r, s) = (number(r_zeros), number(s_zeros));
                let raw = [&r[..], &s].concat();
                let expected = p256::ecdsa::Signature::from_slice(&raw).unwrap().to_der();
                assert_eq!(ecdsa_sig_value(&r, &s).as_deref(), Some(expected.as_bytes()), "{raw:x?}");
            }
        }
    }

    #[test]
    fn an_rsa_key_has_2048_to_8192_bits() {
        let modulus = |bits: usize| {
            let mut bytes = vec![0xff; bits.div_ceil(8)];
            bytes[0] >>= (8 - bits % 8) % 8;
            bytes
        };
        for (bits, is_usable) in [(2047, false), (2048, true), (2049, true), (8192, true), (8193, false)] {
            for zeros in [0, 1, 300] {
                let modulus = [vec![0; zeros], modulus(bits)].concat();
                let key = PublicKey::rsa(&modulus, &[1, 0, 1]);
                assert_eq!(key.is_some(), is_usable, "{bits} bits, {zeros} zeros before them");
            }
        }
        assert!(PublicKey::rsa(&[0; 300], &[1, 0, 1]).is_none() && PublicKey::rsa(&[], &[1, 0, 1]).is_none());
    }

    /// The same keys are usable that RustCrypto's `rsa` takes, and those that are are written as it writes them.
    #[test]
    fn an_rsa_key_is_odd_and_its_exponent_neither_tiny_nor_long() {
        for last in [0xff, 0xfe, 0, 1] {
            for exponent in [
                &[][..],
                &[0],
                &[1],
                &[2],
                &[3],
                &[4],
                &[0, 3],
                &[1, 0, 1],
                &[1, 0, 0],
                &[1, 0xff, 0xff, 0xff, 0xff],
                &[2, 0, 0, 0, 1],
                &[1, 0, 0, 0, 0, 0, 0, 0, 1],
            ] {
                let modulus = [vec![0xff; 255], vec![last]].concat();
                let (n, e) = (BigUint::from_bytes_be(&modulus), BigUint::from_bytes_be(exponent));
                let expected = rsa::RsaPublicKey::new(n, e).ok();
                let expected = expected.map(|key| key.to_public_key_der().unwrap().into_vec());
                let key = PublicKey::rsa(&modulus, exponent);
                assert_eq!(key.map(|key| key.spki), expected, "{last}, {exponent:x?}");
            }
        }
    }

    #[test]
    fn a_coordinate_has_the_length_of_the_field() {
        for (algorithm, bytes) in [(Algorithm::Es256, 32), (Algorithm::Es384, 48), (Algorithm::Es512, 66)] {
            for (x, y) in [(bytes, bytes - 1), (bytes - 1, bytes), (bytes + 1, bytes), (bytes, 0)] {
                assert!(PublicKey::elliptic(algorithm, &vec![1; x], &vec![1; y]).is_none(), "{algorithm:?}");
            }
        }
        assert!(PublicKey::elliptic(Algorithm::Rs256, &[1; 32], &[1; 32]).is_none());
    }

    #[test]
    fn by_a_point_that_is_not_on_its_curve_no_signature_is_good() {
        for (algorithm, bytes) in [(Algorithm::Es256, 32), (Algorithm::Es384, 48), (Algorithm::Es512, 66)] {
            let key = PublicKey::elliptic(algorithm, &vec![1; bytes], &vec![1; bytes]).unwrap();
            assert_eq!(
                check(&CheckingHost, &key, &vec![1; 2 * bytes], MESSAGE),
                Some(false),
                "{algorithm:?}"
            );
            assert_eq!(check(&Host::new(None), &key, &vec![1; 2 * bytes], MESSAGE), None, "{algorithm:?}");
        }
    }
}
