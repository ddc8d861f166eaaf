//! The truth table, from the contract and nothing else: what becomes of a request, by its path, by what its session is
//! worth and by what is known of its credential.
//!
//! Owns: the rows. `I` stands for an identity.
//! Must not: know how a worth was found out, or use anything of the filter.

/// Whether the path asks for authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Protected,
    /// `skip_path_regex`: authentik is not asked.
    Open,
    /// A CORS preflight where the configuration lets it through: authentik is not asked.
    Preflight,
}

/// What the session cookie is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session<I> {
    None,
    OfLogin(I),
    OfThisCredential(I),
    OfAnotherCredential(I),
    /// authentik must confirm it: it cannot (protected path), or is not asked (any other path).
    Unconfirmed {
        is_of_this_credential: bool,
    },
}

/// What is known of the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential<I> {
    Absent,
    Malformed,
    /// authentik is not asked, and without that nothing is known.
    Unknown,
    Valid(I),
    Invalid,
    /// authentik vouches for it, and the identity has no user name.
    Incomplete,
    /// It would have to be asked about, and too many were refused before it.
    RateLimited,
    /// authentik cannot say.
    Unjudged,
}

/// What becomes of the client's `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    Removed,
    /// But a token of this authentik is removed whatever it is worth.
    Untouched,
}

/// What becomes of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome<I> {
    /// As this identity, and the response brings a new session.
    AsCredential(I),
    /// As this identity, which came with a credential, and the session cookie is left as it is.
    AsCredentialBesideLogin(I),
    AsSession(I, Header),
    AsNobody(Header),
    /// `302` for a navigation, else `401`.
    Login,
    /// Answered with this status.
    Status(u16),
}

/// The row of the table, by its name, and what it says. `None`: there is no such row, because authentik is not asked there.
pub(super) fn row<I: Copy>(
    path: Path,
    session: Session<I>,
    credential: Credential<I>,
    intercepts: bool,
) -> Option<(&'static str, Outcome<I>)> {
    use Credential as C;
    use Header::{Removed, Untouched};
    use Outcome::{AsCredential, AsCredentialBesideLogin, AsNobody, AsSession, Login, Status};
    use Path::{Open, Preflight, Protected};
    use Session as S;

    Some(match (path, session, credential, intercepts) {
        (Protected, S::None, C::Absent, _) => ("none: absent", Login),
        (Protected, S::None, C::Valid(c), _) => ("none: valid", AsCredential(c)),
        (Protected, S::None, C::Invalid, true) => ("none: invalid, on", Status(401)),
        (Protected, S::None, C::Invalid, false) => ("none: invalid, off", Login),
        (Protected, S::None, C::Malformed, true) => ("none: unusable, on", Status(401)),
        (Protected, S::None, C::Malformed, false) => ("none: unusable, off", Login),
        (Protected, S::None, C::Incomplete, _) => ("none: incomplete", Status(403)),
        (Protected, S::None, C::RateLimited, true) => ("none: rate limited, on", Status(429)),
        (Protected, S::None, C::RateLimited, false) => ("none: rate limited, off", Login),
        (Protected, S::None, C::Unjudged, _) => ("none: unjudged", Status(503)),

        (Protected, S::OfLogin(s), C::Absent, _) => ("login: absent", AsSession(s, Untouched)),
        (Protected, S::OfLogin(_), C::Valid(c), _) => ("login: valid", AsCredentialBesideLogin(c)),
        (Protected, S::OfLogin(s), C::Invalid, _) => ("login: invalid", AsSession(s, Untouched)),
        (Protected, S::OfLogin(s), C::Malformed, _) => ("login: unusable", AsSession(s, Untouched)),
        (Protected, S::OfLogin(s), C::Unknown, _) => ("login: unknown", AsSession(s, Untouched)),
        (Protected, S::OfLogin(s), C::Incomplete, _) => ("login: incomplete", AsSession(s, Removed)),

        (Protected, S::OfThisCredential(s), _, _) => ("this: any", AsSession(s, Removed)),

        (Protected, S::OfAnotherCredential(s), C::Absent, _) => ("another: absent", AsSession(s, Untouched)),
        (Protected, S::OfAnotherCredential(_), C::Valid(c), _) => ("another: valid", AsCredential(c)),
        (Protected, S::OfAnotherCredential(_), C::Invalid, true) => ("another: invalid, on", Status(401)),
        (Protected, S::OfAnotherCredential(s), C::Invalid, false) => {
            ("another: invalid, off", AsSession(s, Untouched))
        }
        (Protected, S::OfAnotherCredential(_), C::Malformed, true) => ("another: unusable, on", Status(401)),
        (Protected, S::OfAnotherCredential(s), C::Malformed, false) => {
            ("another: unusable, off", AsSession(s, Untouched))
        }
        (Protected, S::OfAnotherCredential(_), C::Incomplete, _) => ("another: incomplete", Status(403)),
        (Protected, S::OfAnotherCredential(_), C::RateLimited, true) => {
            ("another: rate limited, on", Status(429))
        }
        (Protected, S::OfAnotherCredential(s), C::RateLimited, false) => {
            ("another: rate limited, off", AsSession(s, Untouched))
        }
        (Protected, S::OfAnotherCredential(_), C::Unjudged, _) => ("another: unjudged", Status(503)),

        (Protected, S::Unconfirmed { .. }, _, _) => ("unconfirmed: any", Status(503)),

        (Open, _, C::Valid(c), _) => ("open: valid", AsCredentialBesideLogin(c)),
        (Open, S::OfThisCredential(s), _, _) => ("open: this", AsSession(s, Removed)),
        (Open, S::OfLogin(s) | S::OfAnotherCredential(s), C::Incomplete, _) => {
            ("open: session, incomplete", AsSession(s, Removed))
        }
        (Open, S::OfLogin(s) | S::OfAnotherCredential(s), _, _) => ("open: session", AsSession(s, Untouched)),
        (Open, S::Unconfirmed { is_of_this_credential: true }, _, _) => {
            ("open: unconfirmed, this", AsNobody(Removed))
        }
        (Open, S::None | S::Unconfirmed { .. }, C::Incomplete, _) => {
            ("open: nobody, incomplete", AsNobody(Removed))
        }
        (Open, S::None | S::Unconfirmed { .. }, _, _) => ("open: nobody", AsNobody(Untouched)),

        (Preflight, S::OfThisCredential(_) | S::Unconfirmed { is_of_this_credential: true }, _, _)
        | (Preflight, _, C::Valid(_) | C::Incomplete, _) => ("preflight: vouched for", AsNobody(Removed)),
        (Preflight, _, _, _) => ("preflight: any", AsNobody(Untouched)),

        (Protected, S::None | S::OfAnotherCredential(_), C::Unknown, _)
        | (Protected, S::OfLogin(_), C::RateLimited | C::Unjudged, _) => return None,
    })
}

/// The names of all rows.
pub(super) const ROWS: [&str; 37] = [
    "none: absent",
    "none: valid",
    "none: invalid, on",
    "none: invalid, off",
    "none: unusable, on",
    "none: unusable, off",
    "none: incomplete",
    "none: rate limited, on",
    "none: rate limited, off",
    "none: unjudged",
    "login: absent",
    "login: valid",
    "login: invalid",
    "login: unusable",
    "login: unknown",
    "login: incomplete",
    "this: any",
    "another: absent",
    "another: valid",
    "another: invalid, on",
    "another: invalid, off",
    "another: unusable, on",
    "another: unusable, off",
    "another: incomplete",
    "another: rate limited, on",
    "another: rate limited, off",
    "another: unjudged",
    "unconfirmed: any",
    "open: valid",
    "open: this",
    "open: session",
    "open: session, incomplete",
    "open: unconfirmed, this",
    "open: nobody",
    "open: nobody, incomplete",
    "preflight: vouched for",
    "preflight: any",
];

#[test]
fn every_scenario_is_in_the_list() {
    use Credential as C;

    let sessions = [
        Session::None,
        Session::OfLogin(1),
        Session::OfThisCredential(1),
        Session::OfAnotherCredential(1),
        Session::Unconfirmed { is_of_this_credential: true },
        Session::Unconfirmed { is_of_this_credential: false },
    ];
    let credentials = [
        C::Absent,
        C::Malformed,
        C::Unknown,
        C::Valid(2),
        C::Invalid,
        C::Incomplete,
        C::RateLimited,
        C::Unjudged,
    ];
    let mut names = std::collections::BTreeSet::new();
    for path in [Path::Protected, Path::Open, Path::Preflight] {
        for session in sessions {
            for credential in credentials {
                let rows = [true, false].map(|intercepts| row(path, session, credential, intercepts));
                names.extend(rows.into_iter().flatten().map(|(name, _)| name));
            }
        }
    }
    assert_eq!(names, ROWS.into_iter().collect());
}
