//! THE TRUTH TABLE: what is done with a request, as one pure function of what is known of it.
//!
//! Owns: the rules, and their order. Must not: know a header, a cookie, a token or a host; ask or remember anything.

/// Whether the path needs authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// It does.
    Protected,
    /// `skip_path_regex`. Nothing is asked of authentik there.
    Open,
    /// A CORS preflight that `allow_cors_preflight` lets through without identity, whoever sends it.
    Preflight,
}

/// What is in `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// Nothing.
    Absent,
    /// What cannot be presented to authentik.
    Malformed,
    /// A user name with an app password, or a token.
    Credential,
}

/// The session that the request's cookie stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// There is none.
    None,
    /// A browser went through the login flow.
    OfLogin,
    /// It came from the very credential that the request presents.
    OfThisCredential,
    /// It came from another credential.
    OfAnotherCredential,
    /// It came from the credential presented, and authentik would have to confirm it: it gives no identity on an open path.
    OfThisCredentialUnconfirmed,
}

/// What is known of the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing without a call to authentik.
    Unknown,
    /// authentik vouches for its user.
    Vouched,
    /// It does not.
    Refused,
    /// authentik vouches for somebody without a name.
    Incomplete,
    /// Too many refused ones came before.
    RateLimited,
    /// authentik cannot say.
    Unavailable,
}

/// What is done with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// authentik is asked about the credential, and the table is read again.
    Ask,
    /// Forwarded as the credential, which goes no further.
    AsCredential {
        /// Whether the response brings one.
        session: bool,
    },
    /// Forwarded as the session.
    AsSession {
        /// The client's `Authorization`.
        authorization: Authorization,
    },
    /// Forwarded without identity.
    Anonymous {
        /// The client's `Authorization`.
        authorization: Authorization,
    },
    /// To the login flow, or `401` for what cannot show it.
    Login,
    /// Answered with what the verdict says: `401`, `403`, `429`.
    Reject,
    /// `503`
    Unavailable,
}

/// What becomes of the client's `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// The application does not get it.
    Removed,
    /// It is the application's own, unless it is a token of this authentik.
    Untouched,
}

/// A row of the table: what is known of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Whether the path needs authentication.
    pub path: Path,
    /// What is in `Authorization`.
    pub presented: Presented,
    /// What the cookie stands for.
    pub session: Session,
    /// What is known of the credential.
    pub verdict: Verdict,
    /// authentik's "Intercept header authentication".
    pub intercepts: bool,
}

impl Row {
    /// The table.
    pub const fn action(self) -> Action {
        let Self { path, presented, session, verdict, intercepts } = self;
        match path {
            Path::Open => on_open_path(presented, session, verdict),
            Path::Preflight => as_preflight(on_open_path(presented, session, verdict)),
            Path::Protected => match presented {
                Presented::Absent => match session {
                    Session::None | Session::OfThisCredentialUnconfirmed => Action::Login,
                    Session::OfLogin | Session::OfThisCredential | Session::OfAnotherCredential => {
                        Action::AsSession { authorization: Authorization::Untouched }
                    }
                },
                Presented::Malformed => match session {
                    Session::OfLogin => Action::AsSession { authorization: Authorization::Untouched },
                    Session::None
                    | Session::OfThisCredential
                    | Session::OfThisCredentialUnconfirmed
                    | Session::OfAnotherCredential => after_refusal(session, intercepts),
                },
                Presented::Credential => with_credential(session, verdict, intercepts),
            },
        }
    }
}

/// The same without identity.
const fn as_preflight(action: Action) -> Action {
    let authorization = match action {
        Action::Anonymous { authorization } | Action::AsSession { authorization } => authorization,
        Action::AsCredential { .. } | Action::Ask | Action::Login | Action::Reject | Action::Unavailable => {
            Authorization::Removed
        }
    };
    Action::Anonymous { authorization }
}

const fn on_open_path(presented: Presented, session: Session, verdict: Verdict) -> Action {
    let authorization = match (presented, verdict) {
        (Presented::Credential, Verdict::Vouched) => return Action::AsCredential { session: false },
        (Presented::Credential, _) => of_credential(session, verdict),
        (Presented::Absent | Presented::Malformed, _) => Authorization::Untouched,
    };
    match session {
        Session::None | Session::OfThisCredentialUnconfirmed => Action::Anonymous { authorization },
        Session::OfLogin | Session::OfThisCredential | Session::OfAnotherCredential => {
            Action::AsSession { authorization }
        }
    }
}

const fn with_credential(session: Session, verdict: Verdict, intercepts: bool) -> Action {
    match (session, verdict) {
        // Nobody is asked: the browser has its session, whatever the application's own header is.
        (Session::OfLogin, Verdict::Vouched) => Action::AsCredential { session: false },
        (Session::OfLogin | Session::OfThisCredential, _) => {
            Action::AsSession { authorization: of_credential(session, verdict) }
        }
        (_, Verdict::Unknown) => Action::Ask,
        (_, Verdict::Vouched) => Action::AsCredential { session: true },
        // A login would end here again.
        (_, Verdict::Incomplete) => Action::Reject,
        (_, Verdict::Refused | Verdict::RateLimited) => after_refusal(session, intercepts),
        (_, Verdict::Unavailable) => Action::Unavailable,
    }
}

/// The application gets no credential that authentik vouches for, nor the one that the session came from.
const fn of_credential(session: Session, verdict: Verdict) -> Authorization {
    match (session, verdict) {
        (Session::OfThisCredential | Session::OfThisCredentialUnconfirmed, _)
        | (_, Verdict::Vouched | Verdict::Incomplete) => Authorization::Removed,
        (Session::None | Session::OfLogin | Session::OfAnotherCredential, _) => Authorization::Untouched,
    }
}

/// With interception a refusal is final; without it the header is the application's own.
const fn after_refusal(session: Session, intercepts: bool) -> Action {
    match (intercepts, session) {
        (true, _) => Action::Reject,
        (false, Session::None | Session::OfThisCredentialUnconfirmed) => Action::Login,
        (false, Session::OfLogin | Session::OfThisCredential | Session::OfAnotherCredential) => {
            Action::AsSession { authorization: Authorization::Untouched }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERDICTS: [Verdict; 6] = [
        Verdict::Unknown,
        Verdict::Vouched,
        Verdict::Refused,
        Verdict::Incomplete,
        Verdict::RateLimited,
        Verdict::Unavailable,
    ];

    /// `sam` as the session, `alice` as the credential; `*` the header is removed, `+` the response brings a session.
    const TABLE: &str = "
        path   session      presented   intercept  unknown  vouched  refused  incompl  limited  unavail
        closed none         absent      on         login    login    login    login    login    login
        closed none         absent      off        login    login    login    login    login    login
        closed none         malformed   on         reject   reject   reject   reject   reject   reject
        closed none         malformed   off        login    login    login    login    login    login
        closed none         credential  on         ask      alice+   reject   reject   reject   503
        closed none         credential  off        ask      alice+   login    reject   login    503
        closed login        absent      on         sam      sam      sam      sam      sam      sam
        closed login        absent      off        sam      sam      sam      sam      sam      sam
        closed login        malformed   on         sam      sam      sam      sam      sam      sam
        closed login        malformed   off        sam      sam      sam      sam      sam      sam
        closed login        credential  on         sam      alice    sam      sam*     sam      sam
        closed login        credential  off        sam      alice    sam      sam*     sam      sam
        closed own          credential  on         sam*     sam*     sam*     sam*     sam*     sam*
        closed own          credential  off        sam*     sam*     sam*     sam*     sam*     sam*
        closed other        absent      on         sam      sam      sam      sam      sam      sam
        closed other        absent      off        sam      sam      sam      sam      sam      sam
        closed other        malformed   on         reject   reject   reject   reject   reject   reject
        closed other        malformed   off        sam      sam      sam      sam      sam      sam
        closed other        credential  on         ask      alice+   reject   reject   reject   503
        closed other        credential  off        ask      alice+   sam      reject   sam      503
        open   none         absent      any        nobody   nobody   nobody   nobody   nobody   nobody
        open   none         malformed   any        nobody   nobody   nobody   nobody   nobody   nobody
        open   none         credential  any        nobody   alice    nobody   nobody*  nobody   nobody
        open   login        absent      any        sam      sam      sam      sam      sam      sam
        open   login        malformed   any        sam      sam      sam      sam      sam      sam
        open   login        credential  any        sam      alice    sam      sam*     sam      sam
        open   own          credential  any        sam*     alice    sam*     sam*     sam*     sam*
        open   unconfirmed  credential  any        nobody*  alice    nobody*  nobody*  nobody*  nobody*
        open   other        absent      any        sam      sam      sam      sam      sam      sam
        open   other        malformed   any        sam      sam      sam      sam      sam      sam
        open   other        credential  any        sam      alice    sam      sam*     sam      sam
        cors   none         absent      any        nobody   nobody   nobody   nobody   nobody   nobody
        cors   none         malformed   any        nobody   nobody   nobody   nobody   nobody   nobody
        cors   none         credential  any        nobody   nobody*  nobody   nobody*  nobody   nobody
        cors   login        absent      any        nobody   nobody   nobody   nobody   nobody   nobody
        cors   login        credential  any        nobody   nobody*  nobody   nobody*  nobody   nobody
        cors   own          credential  any        nobody*  nobody*  nobody*  nobody*  nobody*  nobody*
        cors   unconfirmed  credential  any        nobody*  nobody*  nobody*  nobody*  nobody*  nobody*
        cors   other        absent      any        nobody   nobody   nobody   nobody   nobody   nobody
        cors   other        credential  any        nobody   nobody*  nobody   nobody*  nobody   nobody
    ";

    fn name(action: Action) -> &'static str {
        match action {
            Action::Ask => "ask",
            Action::AsCredential { session: false } => "alice",
            Action::AsCredential { session: true } => "alice+",
            Action::AsSession { authorization: Authorization::Untouched } => "sam",
            Action::AsSession { authorization: Authorization::Removed } => "sam*",
            Action::Anonymous { authorization: Authorization::Untouched } => "nobody",
            Action::Anonymous { authorization: Authorization::Removed } => "nobody*",
            Action::Login => "login",
            Action::Reject => "reject",
            Action::Unavailable => "503",
        }
    }

    #[test]
    fn the_table() {
        let rows = TABLE.lines().map(str::trim).filter(|row| !row.is_empty()).skip(1);
        let mut cells = 0;
        for row in rows {
            let words: Vec<_> = row.split_whitespace().collect();
            let [path, session, presented, intercept, expected @ ..] = &words[..] else { panic!("{row}") };
            let path = match *path {
                "closed" => Path::Protected,
                "open" => Path::Open,
                "cors" => Path::Preflight,
                other => panic!("{other}"),
            };
            let session = match *session {
                "none" => Session::None,
                "login" => Session::OfLogin,
                "own" => Session::OfThisCredential,
                "other" => Session::OfAnotherCredential,
                "unconfirmed" => Session::OfThisCredentialUnconfirmed,
                other => panic!("{other}"),
            };
            let presented = match *presented {
                "absent" => Presented::Absent,
                "malformed" => Presented::Malformed,
                "credential" => Presented::Credential,
                other => panic!("{other}"),
            };
            for intercepts in
                [true, false].into_iter().filter(|on| *intercept == "any" || (*intercept == "on") == *on)
            {
                for (verdict, expected) in VERDICTS.into_iter().zip(expected) {
                    let action = Row { path, presented, session, verdict, intercepts }.action();
                    assert_eq!(name(action), *expected, "{verdict:?}: {row}");
                    cells += 1;
                }
            }
        }
        assert_eq!(cells, (20 + 2 * 20) * 6);
    }

    /// Whatever else is the case, nothing is forwarded without somebody's word, but on an open path.
    #[test]
    fn only_a_session_or_a_vouched_credential_passes_a_protected_path() {
        for presented in [Presented::Absent, Presented::Malformed, Presented::Credential] {
            for verdict in VERDICTS {
                for intercepts in [true, false] {
                    for session in [Session::None, Session::OfThisCredentialUnconfirmed] {
                        let row = Row { path: Path::Protected, presented, session, verdict, intercepts };
                        let action = row.action();
                        let is_forwarded = matches!(
                            action,
                            Action::AsCredential { .. } | Action::AsSession { .. } | Action::Anonymous { .. }
                        );
                        let is_vouched = presented == Presented::Credential && verdict == Verdict::Vouched;
                        assert_eq!(is_forwarded, is_vouched, "{presented:?} {verdict:?} {action:?}");
                    }
                }
            }
        }
    }
}
