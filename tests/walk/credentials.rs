//! What clients put into `Authorization`: every kind, in many spellings, and what each is by the contract.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::authentik::{Authentik, Kind, PASSWORD_MARK};

const TOKEN_USER: &str = "goauthentik.io/token";

/// Something that authentik can be asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Password {
        username: String,
        password: String,
    },
    /// The text of a token.
    Token(String),
    /// The code at the end of a login.
    Code(String),
}

/// What a header is to the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    Absent,
    Malformed,
    Usable(Subject),
}

/// An `Authorization` header, or none.
#[derive(Clone, Debug)]
pub(super) struct Authorization {
    pub(super) value: Option<Vec<u8>>,
    pub(super) presented: Presented,
    /// Whether a JWT that names this authentik as its issuer is in it.
    pub(super) names_authentik: bool,
}

impl Authorization {
    fn absent(value: Option<&str>) -> Self {
        let value = value.map(|value| value.as_bytes().to_vec());
        Self { value, presented: Presented::Absent, names_authentik: false }
    }

    fn unusable(value: impl Into<Vec<u8>>, names_authentik: bool) -> Self {
        Self { value: Some(value.into()), presented: Presented::Malformed, names_authentik }
    }

    pub(super) fn subject(&self) -> Option<&Subject> {
        match &self.presented {
            Presented::Usable(subject) => Some(subject),
            Presented::Absent | Presented::Malformed => None,
        }
    }

    /// A header with this credential, spelt somehow.
    pub(super) fn of(subject: &Subject, authentik: &Authentik, random: &mut StdRng) -> Self {
        let (value, names_authentik) = match subject {
            Subject::Password { username, password } => (basic(username, password, random), false),
            Subject::Token(text) => {
                let names_authentik =
                    authentik.find_token(text).is_some_and(|id| authentik.tokens[id].names_authentik());
                let value = if random.gen_bool(0.3) {
                    basic(TOKEN_USER, text, random)
                } else {
                    format!("{} {text}", pick(&["Bearer", "bearer", "BEARER", "Bearer "], random))
                };
                (value, names_authentik)
            }
            Subject::Code(_) => panic!("no client sends a code in a header"),
        };
        Self {
            value: Some(value.into_bytes()),
            presented: Presented::Usable(subject.clone()),
            names_authentik,
        }
    }

    /// Any header.
    pub(super) fn draw(has_guesser: bool, authentik: &Authentik, random: &mut StdRng) -> Self {
        match random.gen_range(0..100) {
            0..=17 => Self::absent(None),
            18..=19 => Self::absent(Some(pick(&["", "  "], random))),
            20..=59 => Self::of(&draw_password(has_guesser, authentik, random), authentik, random),
            60..=86 => {
                let token = authentik.tokens.choose(random).expect("every walk begins with some");
                Self::of(&Subject::Token(token.text.clone()), authentik, random)
            }
            _ => Self::draw_unusable(authentik, random),
        }
    }

    fn draw_unusable(authentik: &Authentik, random: &mut StdRng) -> Self {
        let mut genuine = authentik.tokens.iter().filter(|token| token.kind == Kind::Genuine);
        let token = &genuine.next_back().expect("every walk begins with some").text;
        let alice = BASE64_STANDARD.encode(format!("alice:{}", authentik.users[0].password));
        let encoded = |text: &[u8]| BASE64_STANDARD.encode(text);
        match random.gen_range(0..16) {
            0 => Self::unusable("Digest username=\"alice\", realm=\"app\"", false),
            1 => Self::unusable("AppKey 0123456789", false),
            2 => Self::unusable(format!("Token {token}"), true),
            3 => Self::unusable("Basic !", false),
            4 => Self::unusable(format!("Basic {}", encoded(b"alice")), false),
            5 => Self::unusable(format!("Basic {}", encoded(b":no-name")), false),
            6 => Self::unusable(format!("Basic {}", encoded(b"alice:pass\nword")), false),
            7 => Self::unusable(format!("Basic {}", encoded(b"alice:\xff\xfe")), false),
            8 => Self::unusable(format!("Basic {}", encoded(b"goauthentik.io/token:not a token")), false),
            9 => Self::unusable(format!("Basic {alice},Basic {alice}"), false),
            10 => Self::unusable(format!("Basic {alice}, Bearer {token}"), true),
            11 => Self::unusable("Bearer", false),
            12 => Self::unusable("Bearer two words", false),
            13 => Self::unusable(b"Bearer \xc3\xbc".to_vec(), false),
            14 => Self::unusable(format!("Bearer {}", "a".repeat(16 * 1024)), false),
            _ => Self::unusable(alice, false),
        }
    }
}

/// A user name with a password that is right, was right, or never was.
fn draw_password(has_guesser: bool, authentik: &Authentik, random: &mut StdRng) -> Subject {
    let is_guess = has_guesser && random.gen_bool(0.5);
    let user = if is_guess { authentik.users.first() } else { authentik.users.choose(random) };
    // Twice the one whose tokens lack a name: there is only her.
    let nameless = authentik.users.iter().find(|user| user.is_nameless && random.gen_bool(0.15));
    let user = nameless.or(user).expect("there are some");
    let password = match random.gen_range(if is_guess { 8 } else { 0 }..12) {
        0..=7 => user.password.clone(),
        8 => format!("{}-{PASSWORD_MARK}-0", user.name),
        9 => format!("wrong-{PASSWORD_MARK}"),
        _ => format!("wrong:{PASSWORD_MARK}-{}", random.gen_range(0..50)),
    };
    let username = if random.gen_bool(0.03) { "nobody" } else { user.name };
    Subject::Password { username: username.to_owned(), password }
}

fn basic(username: &str, password: &str, random: &mut StdRng) -> String {
    let text = format!("{username}:{password}");
    let encoded =
        if random.gen_bool(0.5) { BASE64_STANDARD.encode(text) } else { BASE64_STANDARD_NO_PAD.encode(text) };
    format!("{} {encoded}", pick(&["Basic", "basic", "BASIC", "Basic  "], random))
}

pub(super) fn pick<'a>(list: &[&'a str], random: &mut StdRng) -> &'a str {
    list.choose(random).expect("a list of some")
}
