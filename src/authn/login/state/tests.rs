use super::*;

/// Randomness that counts.
struct Counter(core::cell::Cell<u8>);

impl Host for Counter {
    fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
    fn shared(&self, _: &str) -> Option<crate::authn::env::Shared> {
        None
    }
    fn share(&self, _: &str, _: &[u8]) {}
    fn share_if(&self, _: &str, _: &[u8], _: u32) -> bool {
        false
    }
    fn random(&self, bytes: &mut [u8]) -> bool {
        self.0.set(self.0.get() + 1);
        bytes.fill(self.0.get());
        true
    }
    fn source_address(&self) -> Option<String> {
        None
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_000 + seconds)
}

#[test]
fn pkce_challenge_matches_the_verifier_of_its_login() {
    let counter = Counter(core::cell::Cell::new(0));
    let logins = [(); 2].map(|()| Login::begin(at(0), &counter).unwrap());
    for login in &logins {
        let verifier = login.verifier();
        assert_eq!(verifier.expose().len(), 43, "32 bytes");
        let digest = Sha256::digest(verifier.expose().as_bytes());
        assert_eq!(login.challenge(), BASE64_URL_SAFE_NO_PAD.encode(digest));
    }
    assert_ne!(logins[0].verifier().expose(), logins[1].verifier().expose());
}

#[test]
fn the_minute_of_three_rounds_begins_with_the_first() {
    let counter = Counter(core::cell::Cell::new(0));
    let mut login = Login::begin(at(0), &counter).unwrap();
    for seconds in [10, 30, 50] {
        assert!(!login.has_too_many_rounds(at(seconds)));
        login = login.next(at(seconds), &counter).unwrap();
    }
    assert!(login.has_too_many_rounds(at(59)) && !login.has_too_many_rounds(at(60)));
    // The next minute begins with this round, and it counts.
    for seconds in [60, 70, 119] {
        assert!(!login.has_too_many_rounds(at(seconds)), "at {seconds}");
        login = login.next(at(seconds), &counter).unwrap();
    }
    assert!(login.has_too_many_rounds(at(119)) && !login.has_too_many_rounds(at(120)));
}

#[test]
fn a_code_is_of_printable_ascii() {
    for good in ["a", "2d7e7d388ce8466ba4edeb650fa72fa6", "~!+ /="] {
        assert!(is_code(good), "{good:?}");
    }
    for bad in ["", "a\0", "\n", "\u{7f}", "é", "\u{fffd}"] {
        assert!(!is_code(bad), "{bad:?}");
    }
}
