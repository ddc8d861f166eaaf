//! Where tokens are made and changed: whatever can be done to their text. What is signed anew is in [`super::forgeries`],
//! what is done to signatures as numbers in [`super::numbers`].

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use fake_authentik::{Authentik, url};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::implementations::Decision;
use super::kinds::Kind;
use super::numbers::{self, Range};
use super::tokens::{Algorithm, Jws, Mint};

const BASE64_CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// As many good tokens as changes are made to.
const GOOD: usize = 200;

/// A token that something was done to.
pub(super) struct Change {
    pub(super) place: String,
    pub(super) token: String,
    pub(super) truth: Decision,
}

impl Change {
    pub(super) fn refused(place: impl Into<String>, token: String) -> Self {
        Self { place: place.into(), token, truth: Decision::Refused }
    }

    pub(super) fn passes(place: impl Into<String>, token: String, username: &str) -> Self {
        Self { place: place.into(), token, truth: Decision::PassesAs(username.to_owned()) }
    }
}

/// Where the tokens of one algorithm are made.
pub(super) struct Workshop<'a> {
    pub(super) mint: Mint<'a>,
    pub(super) random: StdRng,
    good: Vec<Jws>,
    /// HMAC has none.
    range: Option<Range>,
}

impl<'a> Workshop<'a> {
    pub(super) fn new(authentik: &'a Authentik, algorithm: Algorithm, random: StdRng) -> Self {
        let mut mint = Mint::new(authentik, algorithm);
        let good = (0..GOOD).map(|_| mint.sign_own(|spec| spec)).collect();
        Self { mint, random, good, range: Range::of(algorithm) }
    }

    /// A token of this kind, the so many-th. `None`: not from what was chosen at random this time.
    pub(super) fn make(&mut self, kind: Kind, number: usize) -> Option<Change> {
        match kind {
            Kind::Good | Kind::WithoutKid => Some(self.good(kind, number)),
            Kind::SignatureBit | Kind::HeaderCharacter | Kind::PayloadCharacter | Kind::PayloadOfAnother => {
                Some(self.altered(kind, number))
            }
            Kind::CutSignature | Kind::CutPayload | Kind::CutToken => Some(self.cut(kind)),
            Kind::EmptySignature | Kind::LongSignature => Some(self.of_another_length(kind, number)),
            Kind::PaddedBase64 | Kind::TrailingBits | Kind::StandardAlphabet => self.encoded(kind, number),
            Kind::AnotherKey => Some(self.another_key(number)),
            Kind::AnotherAlgorithm | Kind::PublicKeyAsSecret | Kind::Unsigned => {
                Some(self.another_algorithm(kind, number))
            }
            Kind::AnotherIssuer | Kind::AnotherAudience | Kind::Expired | Kind::CriticalExtension => {
                Some(self.another_claim(kind, number))
            }
            Kind::NegatedS
            | Kind::EdgeScalar
            | Kind::NegatedR
            | Kind::SwappedHalves
            | Kind::Der
            | Kind::PlusOrder => {
                let token = self.base();
                numbers::of_two(self.range.as_ref()?, &token, kind, number)
            }
            Kind::EdgeNumber | Kind::PlusModulus | Kind::NegatedNumber => {
                let token = self.base();
                numbers::of_one(self.range.as_ref()?, &token, kind, number)
            }
            Kind::AnotherPadding => Some(self.another_padding(number)),
            Kind::AnotherHash => Some(self.another_hash(number)),
        }
    }

    /// A good token to be changed.
    pub(super) fn base(&mut self) -> Jws {
        self.good.choose(&mut self.random).expect("good tokens").clone()
    }

    /// Any but this value.
    fn other_than<T: Copy + PartialEq>(&mut self, values: &[T], value: T) -> T {
        loop {
            match values.choose(&mut self.random) {
                Some(other) if *other != value => return *other,
                _ => {}
            }
        }
    }

    fn good(&mut self, kind: Kind, number: usize) -> Change {
        if kind == Kind::WithoutKid {
            let token = self.mint.sign_own(|spec| spec.without_header("kid"));
            return Change::passes("signed", token.text(), token.username);
        }
        let token = self.good.get(number).cloned();
        let token = token.unwrap_or_else(|| self.mint.sign_own(|spec| spec));
        Change::passes("signed", token.text(), token.username)
    }

    /// Another content, as long as before.
    fn altered(&mut self, kind: Kind, number: usize) -> Change {
        let mut token = self.base();
        match kind {
            Kind::SignatureBit => {
                let length = token.signature.len();
                let byte = match number % 5 {
                    0 => 0,
                    1 => length - 1,
                    2 => self.random.gen_range(0..length / 2),
                    3 => self.random.gen_range(length / 2..length),
                    _ => self.random.gen_range(0..length),
                };
                let bit = self.random.gen_range(0..8);
                token.signature[byte] ^= 1 << bit;
                Change::refused(format!("bit {bit} of byte {byte} of {length}"), token.text())
            }
            Kind::PayloadOfAnother => {
                let other = loop {
                    let other = self.base();
                    if other.payload != token.payload {
                        break other;
                    }
                };
                let place = format!("{}'s under {}'s signature", other.username, token.username);
                Change::refused(place, Jws { signature: token.signature, ..other }.text())
            }
            _ => {
                let part = if kind == Kind::HeaderCharacter { &mut token.header } else { &mut token.payload };
                let mut characters = std::mem::take(part).into_bytes();
                let length = characters.len();
                let place = match number % 4 {
                    0 => length - 1,
                    _ => self.random.gen_range(0..length),
                };
                characters[place] = self.other_than(BASE64_CHARACTERS, characters[place]);
                let changed = String::from_utf8(characters).expect("ASCII");
                match kind {
                    Kind::HeaderCharacter => token.header = changed,
                    _ => token.payload = changed,
                }
                Change::refused(format!("character {place} of {length}"), token.text())
            }
        }
    }

    /// A part, or the whole, ends too early.
    fn cut(&mut self, kind: Kind) -> Change {
        let mut token = self.base();
        let signature = url(&token.signature);
        match kind {
            Kind::CutSignature => {
                let (all, kept) = (signature.len(), self.random.gen_range(1..signature.len()));
                Change::refused(format!("to {kept} of {all} characters"), token.ending_in(&signature[..kept]))
            }
            Kind::CutPayload => {
                let (all, kept) = (token.payload.len(), self.random.gen_range(0..token.payload.len()));
                token.payload.truncate(kept);
                Change::refused(format!("to {kept} of {all} characters"), token.text())
            }
            _ => {
                let mut text = token.text();
                let (all, kept) = (text.len(), self.random.gen_range(1..text.len()));
                text.truncate(kept);
                Change::refused(format!("to {kept} of {all} characters"), text)
            }
        }
    }

    fn of_another_length(&mut self, kind: Kind, number: usize) -> Change {
        let token = self.base();
        if kind == Kind::EmptySignature {
            return match number % 2 {
                0 => Change::refused("a dot at the end", token.signed_with(&[])),
                _ => Change::refused("no dot at the end", token.message()),
            };
        }
        let own = &token.signature;
        let count = self.random.gen_range(1..=64);
        let noise: Vec<u8> = (0..count).map(|_| self.random.r#gen()).collect();
        let (place, signature) = match number % 6 {
            0 => ("a zero before it".to_owned(), [&[0], own.as_slice()].concat()),
            1 => ("a zero after it".to_owned(), [own.as_slice(), &[0]].concat()),
            2 => (format!("{count} bytes after it"), [own.as_slice(), &noise].concat()),
            3 => (format!("{count} bytes before it"), [noise.as_slice(), own].concat()),
            4 => ("twice".to_owned(), [own.as_slice(), own].concat()),
            _ => {
                // Each half with a zero before it, as integers have in DER.
                let (left, right) = own.split_at(own.len() / 2);
                ("a zero before each half".to_owned(), [&[0], left, &[0], right].concat())
            }
        };
        Change::refused(place, token.signed_with(&signature))
    }

    /// The same bytes in another spelling (RFC 7515 §2 has one).
    fn encoded(&mut self, kind: Kind, number: usize) -> Option<Change> {
        let mut token = self.base();
        let signature = url(&token.signature);
        match kind {
            Kind::PaddedBase64 => {
                let padding = |text: &str| "=".repeat(4 - text.len() % 4);
                Some(match number % 3 {
                    0 => {
                        let padded = format!("{signature}{}", padding(&signature));
                        Change::refused("after the signature", token.ending_in(&padded))
                    }
                    1 => {
                        token.payload = format!("{}{}", token.payload, padding(&token.payload));
                        Change::refused("after the payload", token.text())
                    }
                    _ => {
                        token.header = format!("{}{}", token.header, padding(&token.header));
                        Change::refused("after the header", token.text())
                    }
                })
            }
            Kind::TrailingBits => {
                let spare = signature.len() * 6 - token.signature.len() * 8;
                let (rest, last) = signature.split_at(signature.len() - 1);
                let value = BASE64_CHARACTERS.iter().position(|it| last.as_bytes() == [*it]).expect("base64");
                let noise = self.random.gen_range(1..1 << spare);
                let last = char::from(BASE64_CHARACTERS[value ^ noise]);
                Some(Change::refused(format!("bits {noise:#b}"), token.ending_in(&format!("{rest}{last}"))))
            }
            _ => {
                let standard = BASE64_STANDARD_NO_PAD.encode(&token.signature);
                (standard != signature).then(|| Change::refused("the signature", token.ending_in(&standard)))
            }
        }
    }
}
