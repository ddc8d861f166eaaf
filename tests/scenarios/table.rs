//! The truth table of the design as data: path × session × what is sent × interception × what is known of it → what happens.

use serde_json::json;

use super::core::Core;
#[cfg(feature = "hosts")]
use super::module::BuiltModule;
use super::{
    Observed, PASSWORD, Reply, Start, Subject, ask, basic, configuration, granting, jar, log_in, refusing,
    request, signed, token,
};

/// Paths: `open` needs no authentication (`skip_path_regex`), and nobody is asked there.
///
/// Sessions: `login` of a browser as sam; `own` of the very credential that is sent, `other` of another one, a password or a
/// token, whose user was sam when the session began; `due` is `own`, and authentik would have to confirm it. The session
/// comes from another replica than the one that judges the request.
///
/// Columns: `cached` a good credential that this replica has judged before; `good` and `bad` one that it has not;
/// `limited` the same as `good`, after too many wrong passwords of this user name, or from this address where the address
/// counts (`opaque`); `nameless` authentik vouches for somebody without a user name, `nl-cached` this replica knows that
/// before; `stale` what was `cached` has expired, and authentik fails (a JWT needs nobody but the keys). The others are
/// authentik's only answer.
///
/// `alice`: as the credential, which goes no further; `alice+`: and the response begins a session. `sam`: as the session, the
/// header untouched. `sam*`: as the session, the header removed: it is the session's own credential, a token of this
/// authentik, or one that authentik vouched for. `nobody`, `nobody*`: without identity, in the same two ways. A session whose
/// own credential is a JWT is its user's, so `alice` is as the session there: as the credential it would be `alice+`.
/// `opaque` is a Bearer token that authentik must say the user of, and it says another one later: there session and
/// credential are two users.
const TABLE: &str = "
    path   session  sent        intercept   cached   good     bad      405      500      garbage  reset    limited  nameless nl-cached stale
    closed none     absent      on          login    login    login    login    login    login    login    login    login    login     login
    closed none     absent      off         login    login    login    login    login    login    login    login    login    login     login
    closed none     basic       on          alice+   alice+   401      503      503      503      503      429      403      403       alice+
    closed none     basic       off         alice+   alice+   login    503      503      503      503      login    403      403       alice+
    closed none     bearer      on          alice+   alice+   401      503      503      503      503      alice+   403      403       alice+
    closed none     bearer      off         alice+   alice+   login    503      503      503      503      alice+   403      403       alice+
    closed none     token-user  on          alice+   alice+   401      503      503      503      503      alice+   403      403       alice+
    closed none     token-user  off         alice+   alice+   login    503      503      503      503      alice+   403      403       alice+
    closed none     opaque      on          alice+   alice+   401      503      503      503      503      429      403      403       alice+
    closed none     opaque      off         alice+   alice+   login    503      503      503      503      login    403      403       alice+
    closed none     unusable    on          401      401      401      401      401      401      401      401      401      401       401
    closed none     unusable    off         login    login    login    login    login    login    login    login    login    login     login
    closed login    absent      on          sam      sam      sam      sam      sam      sam      sam      sam      sam      sam       sam
    closed login    absent      off         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam       sam
    closed login    basic       on          alice    sam      sam      sam      sam      sam      sam      sam      sam      sam*      sam
    closed login    basic       off         alice    sam      sam      sam      sam      sam      sam      sam      sam      sam*      sam
    closed login    bearer      on          alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*      alice
    closed login    bearer      off         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*      alice
    closed login    token-user  on          alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*      alice
    closed login    token-user  off         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*      alice
    closed login    opaque      on          alice    sam      sam      sam      sam      sam      sam      sam      sam      sam*      sam
    closed login    opaque      off         alice    sam      sam      sam      sam      sam      sam      sam      sam      sam*      sam
    closed login    unusable    on          sam      sam      sam      sam      sam      sam      sam      sam      sam      sam       sam
    closed login    unusable    off         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam       sam
    closed own      basic       on          sam*     sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*      sam*
    closed own      basic       off         sam*     sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*      sam*
    closed own      bearer      on          alice    alice    -        alice    alice    alice    alice    alice    -        -         alice
    closed own      token-user  off         alice    alice    -        alice    alice    alice    alice    alice    -        -         alice
    closed own      opaque      on          sam*     sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*      sam*
    closed own      opaque      off         sam*     sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*      sam*
    closed other    absent      on          sam      sam      sam      sam      sam      sam      sam      sam      sam      sam       sam
    closed other    absent      off         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam       sam
    closed other    basic       on          alice+   alice+   401      503      503      503      503      429      403      403       alice+
    closed other    basic       off         alice+   alice+   sam      503      503      503      503      sam      403      403       alice+
    closed other    bearer      on          alice+   alice+   401      503      503      503      503      alice+   403      403       alice+
    closed other    bearer      off         alice+   alice+   sam*     503      503      503      503      alice+   403      403       alice+
    closed other    token-user  on          alice+   alice+   401      503      503      503      503      alice+   403      403       alice+
    closed other    token-user  off         alice+   alice+   sam*     503      503      503      503      alice+   403      403       alice+
    closed other    opaque      on          alice+   alice+   401      503      503      503      503      429      403      403       alice+
    closed other    opaque      off         alice+   alice+   sam      503      503      503      503      sam      403      403       alice+
    closed other    unusable    on          401      401      401      401      401      401      401      401      401      401       401
    closed other    unusable    off         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam       sam
    open   none     absent      any         nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody    nobody
    open   none     basic       any         alice    nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody*   nobody
    open   none     bearer      any         alice    nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*   alice
    open   none     token-user  any         alice    nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*   alice
    open   none     opaque      any         alice    nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody*   nobody
    open   none     unusable    any         nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody    nobody
    open   login    absent      any         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam       sam
    open   login    basic       any         alice    sam      sam      sam      sam      sam      sam      sam      sam      sam*      sam
    open   login    bearer      any         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*      alice
    open   login    token-user  any         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*      alice
    open   login    opaque      any         alice    sam      sam      sam      sam      sam      sam      sam      sam      sam*      sam
    open   login    unusable    any         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam       sam
    open   other    absent      any         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam       sam
    open   other    basic       any         alice    sam      sam      sam      sam      sam      sam      sam      sam      sam*      sam
    open   other    bearer      any         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*      alice
    open   other    token-user  any         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*      alice
    open   other    opaque      any         alice    sam      sam      sam      sam      sam      sam      sam      sam      sam*      sam
    open   other    unusable    any         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam       sam
    open   own      basic       any         alice    sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*      sam*
    open   own      opaque      any         alice    sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*      sam*
    open   due      absent      any         nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody    nobody
    open   due      basic       any         alice    nobody*  -        nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*   nobody*
";

const CELLS: usize = 930;

#[test]
fn the_table_holds_on_the_core() {
    hold(&|configuration| Box::new(Core::new(configuration)));
}

#[cfg(feature = "hosts")]
#[test]
fn the_table_holds_on_the_module() {
    hold(&|configuration| Box::new(BuiltModule::new(configuration)));
}

fn hold(start: Start<'_>) {
    let mut rows = TABLE.lines().filter(|line| !line.trim().is_empty()).map(str::split_whitespace);
    let columns: Vec<_> = rows.next().unwrap().skip(4).collect();
    let mut cells = 0;
    for row in rows {
        let words: Vec<_> = row.collect();
        let [path, session, sent, intercept, expected @ ..] = &words[..] else { panic!("{words:?}") };
        assert_eq!(expected.len(), columns.len(), "{words:?}");
        for intercept in [true, false].into_iter().filter(|on| match *intercept {
            "any" => true,
            word => (word == "on") == *on,
        }) {
            for (known, expected) in columns.iter().zip(expected).filter(|(_, expected)| **expected != "-") {
                let case = Case { path, session, sent, intercept, known };
                for begun_by in case.begun_by() {
                    let name = case.play(start, begun_by.as_deref());
                    assert_eq!(name, *expected, "{case:?}, a session by {begun_by:?}");
                }
                cells += 1;
            }
        }
    }
    assert_eq!(cells, CELLS);
}

/// One cell.
#[derive(Debug)]
struct Case<'a> {
    path: &'a str,
    session: &'a str,
    sent: &'a str,
    intercept: bool,
    known: &'a str,
}

impl Case<'_> {
    fn configuration(&self) -> String {
        let mut provider =
            json!({"intercept_header_auth": self.intercept, "skip_path_regex": "^/public(/|$)"});
        if self.sent == "opaque" {
            provider["bearer_verification"] = json!("introspection");
        }
        if self.session == "due" {
            provider["revalidate_seconds"] = json!(30);
        }
        let rest = match self.known {
            "limited" => {
                let counts_addresses = self.sent == "opaque";
                json!({"throttle": {
                    "failures": 1, "failures_per_user": 1, "trust_source_address": counts_addresses,
                }})
            }
            "stale" => json!({"cache": {"ttl_seconds": 60, "stale_seconds": 600}}),
            _ => json!({}),
        };
        configuration(&provider, &rest)
    }

    /// The credentials that a session of this kind may come from; `None`: from none.
    fn begun_by(&self) -> Vec<Option<String>> {
        let tokens_of_sam = token(&json!({"preferred_username": "sam"}));
        match self.session {
            "none" | "login" => vec![None],
            "own" | "due" => {
                vec![authorization(self.sent, "good").or_else(|| authorization("basic", "good"))]
            }
            "other" => {
                vec![Some(basic("sam", "another-app-password")), Some(format!("Bearer {tokens_of_sam}"))]
            }
            other => panic!("no session {other}"),
        }
    }

    /// The cookie that another replica gave.
    fn cookie(&self, start: Start<'_>, begun_by: Option<&str>) -> Option<String> {
        let mut replica = start(&self.configuration());
        let Some(credential) = begun_by else {
            return (self.session == "login").then(|| log_in(&mut *replica, "sam"));
        };
        let sam = granting(json!({"preferred_username": "sam"}));
        let observed = ask(&mut *replica, &[("authorization", credential)], &sam);
        assert_eq!(observed.status(), 200);
        Some(jar(&replica.respond(&[])))
    }

    /// What becomes of the request, by the table's name for it.
    fn play(&self, start: Start<'_>, begun_by: Option<&str>) -> String {
        let authorization = authorization(self.sent, self.known);
        let cookie = self.cookie(start, begun_by);
        let mut subject = start(&self.configuration());
        let subject = &mut *subject;
        if self.session == "due" {
            subject.advance(30);
        }
        let (good, nameless) = (granting(json!({})), granting(json!({"preferred_username": ""})));
        let credential: Vec<_> = authorization.iter().map(|value| ("authorization", &**value)).collect();
        match self.known {
            "cached" | "stale" => drop(ask(subject, &credential, &good)),
            "nl-cached" => drop(ask(subject, &credential, &nameless)),
            "limited" => drop(ask(subject, &[("authorization", &basic("alice", "a-guess"))], &refusing)),
            _ => {}
        }
        if self.known == "stale" {
            subject.advance(61);
        }
        let path = if self.path == "open" { "/public" } else { "/" };
        let cookie: Vec<_> = cookie.iter().map(|value| ("cookie", value.as_str())).collect();
        let headers = [vec![(":path", path)], credential, cookie].concat();
        let observed = match subject.send(&request(&headers)) {
            Some(observed) => {
                assert_eq!(subject.calls(), [""; 0], "it is decided, and somebody is asked: {self:?}");
                observed
            }
            None => {
                assert!(self.may_ask(), "somebody is asked: {self:?}");
                let observed = match self.known {
                    "good" => subject.answer(&good),
                    "limited" => {
                        assert_eq!(subject.calls(), ["/application/o/demo/jwks/"], "{self:?}");
                        subject.answer(&good)
                    }
                    "bad" => subject.answer(&refusing),
                    "405" => subject.answer(&|_| Reply::Body(405, "")),
                    "500" => subject.answer(&|_| Reply::Body(500, "<html>")),
                    "garbage" => subject.answer(&|_| Reply::Body(200, "<html>")),
                    "reset" | "stale" => subject.answer(&|_| Reply::Reset),
                    "nameless" => subject.answer(&nameless),
                    other => panic!("no column {other} in which somebody is asked"),
                };
                observed.expect("a request that waits is decided when authentik answers")
            }
        };
        name_of(&observed, authorization.as_deref(), subject)
    }

    /// Beside its own session, or that of a login, a credential is worth what is known of it.
    fn may_ask(&self) -> bool {
        self.path == "closed" && ["none", "other"].contains(&self.session)
    }
}

fn authorization(sent: &str, known: &str) -> Option<String> {
    let token = || match known {
        "bad" => signed(&json!({}), "another-client-secret-0123456789abcdef"),
        "nameless" | "nl-cached" => token(&json!({"preferred_username": ""})),
        _ => token(&json!({})),
    };
    match sent {
        "absent" => None,
        "basic" => Some(basic("alice", if known == "bad" { "a-wrong-password" } else { PASSWORD })),
        "bearer" => Some(format!("Bearer {}", token())),
        "opaque" => Some("Bearer an-opaque-token".to_owned()),
        "token-user" => Some(basic("goauthentik.io/token", &token())),
        "unusable" => Some("Basic !".to_owned()),
        other => panic!("no row {other}"),
    }
}

fn name_of(observed: &Observed, sent: Option<&str>, subject: &mut dyn Subject) -> String {
    match observed {
        Observed::Forwarded(_) => {
            let begins = if subject.respond(&[]).is_empty() { "" } else { "+" };
            assert!(!observed.names().contains(&"cookie"), "our own cookie goes no further");
            let username = observed.header("x-authentik-username").unwrap_or("anonymous");
            let is_untouched = observed.header("authorization") == sent;
            match (username, observed.header("authorization")) {
                ("alice", None) => format!("alice{begins}"),
                _ if !begins.is_empty() => format!("{observed:?}, and a session begins"),
                ("sam", _) if is_untouched => "sam".to_owned(),
                ("sam", None) => "sam*".to_owned(),
                ("anonymous", _) if is_untouched => "nobody".to_owned(),
                ("anonymous", None) => "nobody*".to_owned(),
                other => format!("{other:?}"),
            }
        }
        Observed::Replied { status: 302, .. } => {
            let authorize = "https://auth.example.test/application/o/authorize/?response_type=code&client_id=demo-client-id&";
            assert!(observed.header("location").unwrap().starts_with(authorize), "{observed:?}");
            "login".to_owned()
        }
        Observed::Replied { status, .. } => {
            let has_challenge = !observed.headers("www-authenticate").is_empty();
            assert_eq!(has_challenge, *status == 401, "a challenge belongs to 401");
            let is_temporary = [429, 503].contains(status);
            assert_eq!(
                observed.header("retry-after").is_some(),
                is_temporary,
                "retry-after belongs to 429 and 503"
            );
            status.to_string()
        }
    }
}
