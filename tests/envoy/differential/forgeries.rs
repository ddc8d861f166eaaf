//! Tokens that were signed: by another key, for another algorithm, with other claims, or by the right key in another way.

use fake_authentik::{Generation, Key, TokenSpec};
use hmac::{Hmac, Mac as _};
use rand::Rng as _;
use rsa::{Pkcs1v15Sign, Pss};
use serde_json::json;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::changes::{Change, Workshop};
use super::kinds::Kind;
use super::public_key;
use super::tokens::Algorithm;

/// DigestInfo up to the digest (RFC 8017 §9.2, note 1): of SHA-256, the same without NULL, and of SHA-512.
const SHA256_INFO: &[u8] = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
const SHA256_INFO_WITHOUT_NULL: &[u8] =
    b"\x30\x2f\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x04\x20";
const SHA512_INFO: &[u8] = b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40";

impl Workshop<'_> {
    pub(super) fn another_key(&mut self, number: usize) -> Change {
        let (own_kid, algorithm) = (self.mint.key.kid(), self.mint.algorithm);
        let (what, key) = match (algorithm, number % 4) {
            (Algorithm::Hs256, 0) => ("an empty secret", Key::Secret(Vec::new())),
            (Algorithm::Hs256, 1) => ("the client_id", Key::Secret(b"hs-client-id".to_vec())),
            (Algorithm::Hs256, 2) => ("a shorter secret", {
                let secret = self.mint.client_secret();
                Key::Secret(secret.as_bytes()[..secret.len() - 1].to_vec())
            }),
            (Algorithm::Hs256, _) => (
                "another's secret",
                Key::Secret(b"rs-client-secret-0123456789abcdef0123456789abcdef".to_vec()),
            ),
            (Algorithm::Es256, 3) => ("an external key", Key::External),
            _ => ("the next key", algorithm.key(Generation::B, "")),
        };
        let kids = [("the right kid", own_kid), ("its own kid", key.kid()), ("no kid", None)];
        let (which, kid) = &kids[number / 4 % kids.len()];
        let change = |spec: TokenSpec| match kid {
            Some(kid) => spec.header("kid", kid.as_str()),
            None => spec.without_header("kid"),
        };
        let token = self.mint.sign(change, &key);
        Change::refused(format!("{what}, {which}"), token.text())
    }

    /// The header claims what the provider's key does not do.
    pub(super) fn another_algorithm(&mut self, kind: Kind, number: usize) -> Change {
        let own = self.mint.key.clone();
        match kind {
            Kind::PublicKeyAsSecret => {
                let forms = public_key::forms(self.mint.algorithm, &self.mint.jwk());
                let (form, secret) = forms[number % forms.len()].clone();
                let has_kid = (number / forms.len()).is_multiple_of(2);
                let key = Key::Secret(secret);
                let token = self.mint.sign(
                    |spec| {
                        let spec = spec.header("alg", "HS256");
                        if has_kid { spec } else { spec.without_header("kid") }
                    },
                    &key,
                );
                Change::refused(format!("{form}, with kid: {has_kid}"), token.text())
            }
            Kind::Unsigned => {
                let names = ["none", "None", "NONE", "nOnE", ""];
                let name = names[number % names.len()];
                let token = self.mint.sign(|spec| spec.header("alg", name), &own);
                let (how, text) = match number / names.len() % 3 {
                    0 => ("no signature", token.signed_with(&[])),
                    1 => ("no third part", token.message()),
                    _ => ("a good signature", token.text()),
                };
                Change::refused(format!("alg {name:?}, {how}"), text)
            }
            _ => {
                let mut claimed = vec!["PS256", "RS384", "RS512", "HS384", "HS512", "EdDSA", "ES256K"];
                let algorithm = self.mint.algorithm;
                claimed.extend(Algorithm::ALL.iter().filter(|it| **it != algorithm).map(|it| it.name()));
                let name = claimed[number % claimed.len()];
                let claimed_key = Algorithm::ALL
                    .into_iter()
                    .find(|it| it.name() == name)
                    .map(|it| it.key(Generation::A, &self.mint.client_secret()));
                let (by, key) = match (claimed_key, number / claimed.len() % 2) {
                    (Some(key), 1) => ("a key of it", key),
                    _ => ("the own key", own),
                };
                let keeps_kid = self.random.r#gen::<bool>();
                let token = self.mint.sign(
                    |spec| {
                        let spec = spec.header("alg", name);
                        if keeps_kid { spec } else { spec.without_header("kid") }
                    },
                    &key,
                );
                Change::refused(format!("claims {name}, signed by {by}, with kid: {keeps_kid}"), token.text())
            }
        }
    }

    /// A good signature, and yet not for us, not now, or not understood.
    pub(super) fn another_claim(&mut self, kind: Kind, number: usize) -> Change {
        let (base, slug) = (self.mint.base(), self.mint.algorithm.slug());
        let (place, name, value) = match kind {
            Kind::AnotherIssuer => {
                let issuers = [
                    format!("{base}/application/o/{slug}"),
                    format!("{base}/application/o/demo/"),
                    format!("{base}/"),
                    "https://evil.test/".to_owned(),
                ];
                let issuer = number % issuers.len();
                (format!("iss number {issuer}"), "iss", json!(issuers[issuer]))
            }
            Kind::AnotherAudience => {
                let audiences = [json!("demo-client-id"), json!([]), json!(["another", "more"]), json!("")];
                let audience = number % audiences.len();
                (format!("aud number {audience}"), "aud", audiences[audience].clone())
            }
            Kind::Expired => {
                // Long enough ago to be so on both roads.
                let seconds = self.random.gen_range(10..100_000);
                let token = self.mint.sign_own(|spec| spec.claim_in("exp", -seconds));
                return Change::refused(format!("{seconds} s ago"), token.text());
            }
            _ => {
                let token = self.mint.sign_own(|spec| spec.header("crit", json!(["exp"])));
                return Change::refused("crit", token.text());
            }
        };
        let token = self.mint.sign_own(|spec| spec.claim(name, value));
        Change::refused(place, token.text())
    }

    /// RSA signatures by the right key that are not RSASSA-PKCS1-v1_5 with SHA-256 to the letter.
    pub(super) fn another_padding(&mut self, number: usize) -> Change {
        let token = self.base();
        let message = token.message();
        let (digest, key) = (Sha256::digest(&message), self.mint.key.rsa());
        let sign = |content: &[u8]| key.sign(Pkcs1v15Sign::new_unprefixed(), content).expect("a signature");
        if number == 0 {
            // Or else the others would be wrong for another reason than theirs.
            assert_eq!(sign(&[SHA256_INFO, &digest].concat()), token.signature);
        }
        let noise: [u8; 20] = self.random.r#gen();
        let (place, content) = match number % 7 {
            0 => {
                let signature = key.sign_with_rng(&mut self.random, Pss::new::<Sha256>(), &digest);
                return Change::refused("PSS", token.signed_with(&signature.expect("a signature")));
            }
            1 => ("DigestInfo without NULL", [SHA256_INFO_WITHOUT_NULL, &digest].concat()),
            2 => ("no DigestInfo", digest.to_vec()),
            3 => ("noise after the digest", [SHA256_INFO, &digest, &noise].concat()),
            4 => ("noise before DigestInfo", [&noise, SHA256_INFO, &digest].concat()),
            5 => ("SHA-512", [SHA512_INFO, &Sha512::digest(&message)].concat()),
            _ => ("SHA-256 cut in half", [SHA256_INFO, &digest[..16]].concat()),
        };
        Change::refused(place, token.signed_with(&sign(&content)))
    }

    /// Authentication codes under the right secret that are not HMAC with SHA-256.
    pub(super) fn another_hash(&mut self, number: usize) -> Change {
        let token = self.base();
        let (message, secret) = (token.message(), self.mint.client_secret());
        let (place, code) = match number % 4 {
            0 => ("HMAC with SHA-384", {
                let mac = Hmac::<Sha384>::new_from_slice(secret.as_bytes()).expect("any key");
                mac.chain_update(&message).finalize().into_bytes().to_vec()
            }),
            1 => ("HMAC with SHA-512", {
                let mac = Hmac::<Sha512>::new_from_slice(secret.as_bytes()).expect("any key");
                mac.chain_update(&message).finalize().into_bytes().to_vec()
            }),
            2 => ("SHA-256 of secret and message", Sha256::digest(format!("{secret}{message}")).to_vec()),
            _ => ("SHA-256 of the message", Sha256::digest(&message).to_vec()),
        };
        Change::refused(place, token.signed_with(&code))
    }
}
