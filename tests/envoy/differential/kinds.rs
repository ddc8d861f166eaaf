//! What is done to tokens, to which, and to how many.

use super::tokens::Algorithm;

macro_rules! kinds {
    ($($(#[$note:meta])* $name:ident,)*) => {
        /// A kind of change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Kind {
            $($(#[$note])* $name,)*
        }

        impl Kind {
            pub(super) const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];
        }
    };
}

kinds! {
    /// None.
    Good,
    /// Signed without a `kid`: still the one key of that algorithm.
    WithoutKid,
    /// `(r, n - s)`, which is a signature if `(r, s)` is (SEC 1 §4.1.4 does not tell them apart).
    NegatedS,
    SignatureBit,
    HeaderCharacter,
    PayloadCharacter,
    PayloadOfAnother,
    CutSignature,
    CutPayload,
    CutToken,
    EmptySignature,
    LongSignature,
    PaddedBase64,
    /// Bits of the last character that belong to no byte (RFC 4648 §3.5).
    TrailingBits,
    StandardAlphabet,
    AnotherKey,
    AnotherAlgorithm,
    /// RFC 8725 §2.1.
    PublicKeyAsSecret,
    Unsigned,
    /// Signed as authentik signs, as are the next three.
    AnotherIssuer,
    AnotherAudience,
    Expired,
    CriticalExtension,
    /// `r` or `s` is 0, 1, n - 1, n or all ones.
    EdgeScalar,
    NegatedR,
    SwappedHalves,
    Der,
    /// `r` or `s` and the order, where that fits.
    PlusOrder,
    /// The signature is 0, 1, n - 1, n, n + 1 or all ones.
    EdgeNumber,
    PlusModulus,
    NegatedNumber,
    /// By the right key, in another form than RFC 8017 §8.2 has it.
    AnotherPadding,
    /// Under the right secret.
    AnotherHash,
}

/// How many of each kind, by the order of [`Algorithm::ALL`].
#[rustfmt::skip] // A table.
pub(super) const PLAN: [(Kind, [usize; 5]); Kind::ALL.len()] = [
    //                         RS256 ES256 ES384 ES512 HS256
    (Kind::Good,              [ 320,  320,  200,  220,  340]),
    (Kind::WithoutKid,        [  20,   20,   12,   20,    0]),
    (Kind::NegatedS,          [   0,  140,   60,   80,    0]),
    (Kind::SignatureBit,      [ 535,  517,  136,   65,  277]),
    (Kind::HeaderCharacter,   [ 180,  180,   70,   60,  160]),
    (Kind::PayloadCharacter,  [ 200,  200,   90,   90,  260]),
    (Kind::PayloadOfAnother,  [ 150,  150,   60,   70,  160]),
    (Kind::CutSignature,      [ 200,  120,   90,  100,   40]),
    (Kind::CutPayload,        [ 120,  120,   60,   60,  110]),
    (Kind::CutToken,          [ 200,  200,   80,   80,  200]),
    (Kind::EmptySignature,    [  20,   20,   14,   20,   20]),
    (Kind::LongSignature,     [  90,   90,   48,   50,  110]),
    (Kind::PaddedBase64,      [  50,   50,   30,   30,   60]),
    (Kind::TrailingBits,      [  40,   40,    0,    0,   40]),
    (Kind::StandardAlphabet,  [  30,   30,   20,   20,   30]),
    (Kind::AnotherKey,        [  48,   48,   24,   24,   48]),
    (Kind::AnotherAlgorithm,  [  80,   80,   44,   40,   80]),
    (Kind::PublicKeyAsSecret, [  40,   40,   20,   20,    0]),
    (Kind::Unsigned,          [  45,   45,   30,   30,   45]),
    (Kind::AnotherIssuer,     [  16,   16,   12,   12,   16]),
    (Kind::AnotherAudience,   [  16,   16,   12,   12,   16]),
    (Kind::Expired,           [  16,   16,   12,   12,   16]),
    (Kind::CriticalExtension, [  12,   12,   12,   12,   12]),
    (Kind::EdgeScalar,        [   0,   90,   54,   54,    0]),
    (Kind::NegatedR,          [   0,   50,   20,   24,    0]),
    (Kind::SwappedHalves,     [   0,   40,   16,   20,    0]),
    (Kind::Der,               [   0,   50,   24,   30,    0]),
    (Kind::PlusOrder,         [   0,    0,    0,   45,    0]),
    (Kind::EdgeNumber,        [  48,    0,    0,    0,    0]),
    (Kind::PlusModulus,       [  40,    0,    0,    0,    0]),
    (Kind::NegatedNumber,     [  50,    0,    0,    0,    0]),
    (Kind::AnotherPadding,    [  84,    0,    0,    0,    0]),
    (Kind::AnotherHash,       [   0,    0,    0,    0,   60]),
];

impl Kind {
    /// Whether it can be done to a token of this algorithm.
    pub(super) fn is_done_to(self, algorithm: Algorithm) -> bool {
        let (is_rsa, is_hmac) = (algorithm == Algorithm::Rs256, algorithm == Algorithm::Hs256);
        match self {
            Self::NegatedS | Self::EdgeScalar | Self::NegatedR | Self::SwappedHalves | Self::Der => {
                !is_rsa && !is_hmac
            }
            Self::PlusOrder => algorithm == Algorithm::Es512,
            Self::EdgeNumber | Self::PlusModulus | Self::NegatedNumber | Self::AnotherPadding => is_rsa,
            Self::AnotherHash => is_hmac,
            // A secret has neither.
            Self::WithoutKid | Self::PublicKeyAsSecret => !is_hmac,
            // 96 and 132 bytes fill their characters.
            Self::TrailingBits => !matches!(algorithm, Algorithm::Es384 | Algorithm::Es512),
            _ => true,
        }
    }
}
