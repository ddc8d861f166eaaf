//! Good tokens, and what a change needs of them: their parts, their keys, their signing again. A header says what it is
//! told to, whoever signs it.

use fake_authentik::{Authentik, Generation, Key, TokenSpec, url};
use serde_json::Value;

/// The algorithms that authentik signs with; each has a provider of the stand-in, and a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    Es384,
    Es512,
    Hs256,
}

impl Algorithm {
    pub(super) const ALL: [Self; 5] = [Self::Rs256, Self::Es256, Self::Es384, Self::Es512, Self::Hs256];

    pub(super) fn slug(self) -> &'static str {
        match self {
            Self::Rs256 => "rs",
            Self::Es256 => "es",
            Self::Es384 => "es384",
            Self::Es512 => "es512",
            Self::Hs256 => "hs",
        }
    }

    pub(super) fn host(self) -> String {
        format!("{}.test", self.slug())
    }

    /// The name in `alg`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Hs256 => "HS256",
        }
    }

    /// A key of this algorithm; `secret` is the one of HS256.
    pub(super) fn key(self, generation: Generation, secret: &str) -> Key {
        match self {
            Self::Rs256 => Key::Rs256(generation),
            Self::Es256 => Key::Es256(generation),
            Self::Es384 => Key::Es384(generation),
            Self::Es512 => Key::Es512(generation),
            Self::Hs256 => Key::Secret(secret.as_bytes().to_vec()),
        }
    }
}

/// A token in its parts.
#[derive(Clone)]
pub(super) struct Jws {
    /// Base64, as the next.
    pub(super) header: String,
    pub(super) payload: String,
    pub(super) signature: Vec<u8>,
    pub(super) username: &'static str,
}

impl Jws {
    pub(super) fn text(&self) -> String {
        self.signed_with(&self.signature)
    }

    /// With these bytes for a signature.
    pub(super) fn signed_with(&self, signature: &[u8]) -> String {
        self.ending_in(&url(signature))
    }

    /// With this text for a signature.
    pub(super) fn ending_in(&self, signature: &str) -> String {
        format!("{}.{signature}", self.message())
    }

    /// What is signed (RFC 7515 §5.1).
    pub(super) fn message(&self) -> String {
        format!("{}.{}", self.header, self.payload)
    }
}

/// Makes the tokens of one provider.
pub(super) struct Mint<'a> {
    authentik: &'a Authentik,
    pub(super) algorithm: Algorithm,
    /// What the provider signs with.
    pub(super) key: Key,
    count: usize,
}

impl<'a> Mint<'a> {
    pub(super) fn new(authentik: &'a Authentik, algorithm: Algorithm) -> Self {
        let key = algorithm.key(Generation::A, &authentik.client_secret(algorithm.slug()));
        Self { authentik, algorithm, key, count: 0 }
    }

    /// A token as authentik issues it to the one user or the other, in turns, with these changes before it is signed.
    pub(super) fn sign(&mut self, change: impl FnOnce(TokenSpec) -> TokenSpec, key: &Key) -> Jws {
        self.count += 1;
        let username = ["alice", "eve"][self.count % 2];
        // Not at random: a `jti` of the stand-in's is of the moment.
        let number = format!("{:?}-{:032}", self.algorithm, self.count);
        let spec = TokenSpec::new().user(username).signed_by(Key::None).header("alg", self.algorithm.name());
        let spec = spec.claim("jti", number.as_str()).claim("uid", number.as_str());
        let spec = match self.key.kid() {
            Some(kid) => spec.header("kid", kid),
            None => spec,
        };
        let unsigned = self.authentik.mint(self.algorithm.slug(), change(spec));
        let (message, _) = unsigned.rsplit_once('.').expect("three parts");
        let (header, payload) = message.split_once('.').expect("three parts");
        let signature = key.sign(message.as_bytes());
        Jws { header: header.to_owned(), payload: payload.to_owned(), signature, username }
    }

    /// Signed with the provider's own key.
    pub(super) fn sign_own(&mut self, change: impl FnOnce(TokenSpec) -> TokenSpec) -> Jws {
        let key = self.key.clone();
        self.sign(change, &key)
    }

    /// The key as authentik publishes it.
    pub(super) fn jwk(&self) -> Value {
        self.authentik.jwks(self.algorithm.slug())["keys"][0].take()
    }

    /// What the provider and authentik alone know.
    pub(super) fn client_secret(&self) -> String {
        self.authentik.client_secret(self.algorithm.slug())
    }

    /// Where this authentik's tokens come from.
    pub(super) fn base(&self) -> String {
        self.authentik.public_base()
    }
}
