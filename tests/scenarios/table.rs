//! The truth table of the design as data: path × session × what is sent × interception × what is known of it → what happens.

use serde_json::json;

use super::core::Core;
#[cfg(not(feature = "mutants"))]
use super::module::BuiltModule;
use super::{
    PASSWORD, Reply, Start, Told, ask, basic, configuration, granting, jar, log_in, refusing, request,
    signed, token,
};

/// Paths: `open` needs no authentication (`skip_path_regex`), and nobody is asked there.
///
/// Sessions: `login` of a browser as sam; `own` of the very credential that is sent, `other` of another one, whose user
/// was sam when the session began; `due` is `own`, and authentik would have to confirm it. The session comes from another
/// replica than the one that judges the request.
///
/// Columns: `cached` a good credential that this replica has judged before; `good` and `bad` one that it has not;
/// `limited` the same as `good`, after too many wrong passwords of this user name; `nameless` authentik vouches for
/// somebody without a user name; `stale` what was `cached` has expired, and authentik fails (a JWT
/// needs nobody but the keys). The others are authentik's
/// only answer.
///
/// `alice`: as the credential, which goes no further. `sam`: as the session, the header untouched. `sam*`: as the session,
/// the header removed: it is the session's own credential, or a token of this authentik. `nobody`, `nobody*`: without
/// identity, in the same two ways. A session whose own credential is a JWT is its user's, so `alice` is as the session
/// there: no other column would be 200. `opaque` is a Bearer token that authentik must say the user of, and it says
/// another one later: there session and credential are two users.
const TABLE: &str = "
    path   session  sent        intercept   cached   good     bad      405      500      garbage  reset    limited  nameless stale
    closed none     absent      on          login    login    login    login    login    login    login    login    login    login
    closed none     absent      off         login    login    login    login    login    login    login    login    login    login
    closed none     basic       on          alice    alice    401      503      503      503      503      429      403      alice
    closed none     basic       off         alice    alice    login    503      503      503      503      login    403      alice
    closed none     bearer      on          alice    alice    401      503      503      503      503      alice    403      alice
    closed none     bearer      off         alice    alice    login    503      503      503      503      alice    403      alice
    closed none     token-user  on          alice    alice    401      503      503      503      503      alice    403      alice
    closed none     token-user  off         alice    alice    login    503      503      503      503      alice    403      alice
    closed none     opaque      on          alice    alice    401      503      503      503      503      alice    403      alice
    closed none     opaque      off         alice    alice    login    503      503      503      503      alice    403      alice
    closed none     unusable    on          401      401      401      401      401      401      401      401      401      401
    closed none     unusable    off         login    login    login    login    login    login    login    login    login    login
    closed login    absent      on          sam      sam      sam      sam      sam      sam      sam      sam      sam      sam
    closed login    absent      off         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam
    closed login    basic       on          alice    sam      sam      sam      sam      sam      sam      sam      sam      sam
    closed login    basic       off         alice    sam      sam      sam      sam      sam      sam      sam      sam      sam
    closed login    bearer      on          alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     alice
    closed login    bearer      off         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     alice
    closed login    token-user  on          alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     alice
    closed login    token-user  off         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     alice
    closed login    unusable    on          sam      sam      sam      sam      sam      sam      sam      sam      sam      sam
    closed login    unusable    off         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam
    closed own      basic       on          sam*     sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*
    closed own      basic       off         sam*     sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*
    closed own      bearer      on          alice    alice    -        alice    alice    alice    alice    alice    -        alice
    closed own      token-user  off         alice    alice    -        alice    alice    alice    alice    alice    -        alice
    closed own      opaque      on          sam*     sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*
    closed own      opaque      off         sam*     sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*
    closed other    absent      on          sam      sam      sam      sam      sam      sam      sam      sam      sam      sam
    closed other    absent      off         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam
    closed other    basic       on          alice    alice    401      503      503      503      503      429      403      alice
    closed other    basic       off         alice    alice    sam      503      503      503      503      sam      403      alice
    closed other    bearer      on          alice    alice    401      503      503      503      503      alice    403      alice
    closed other    bearer      off         alice    alice    sam*     503      503      503      503      alice    403      alice
    closed other    token-user  on          alice    alice    401      503      503      503      503      alice    403      alice
    closed other    token-user  off         alice    alice    sam*     503      503      503      503      alice    403      alice
    closed other    opaque      on          alice    alice    401      503      503      503      503      alice    403      alice
    closed other    opaque      off         alice    alice    sam      503      503      503      503      alice    403      alice
    closed other    unusable    on          401      401      401      401      401      401      401      401      401      401
    closed other    unusable    off         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam
    open   none     absent      any         nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody
    open   none     basic       any         alice    nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody
    open   none     bearer      any         alice    nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  alice
    open   none     token-user  any         alice    nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  alice
    open   none     opaque      any         alice    nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody
    open   none     unusable    any         nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody
    open   login    absent      any         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam
    open   login    basic       any         alice    sam      sam      sam      sam      sam      sam      sam      sam      sam
    open   login    bearer      any         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     alice
    open   login    token-user  any         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     alice
    open   login    opaque      any         alice    sam      sam      sam      sam      sam      sam      sam      sam      sam
    open   login    unusable    any         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam
    open   other    absent      any         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam
    open   other    basic       any         alice    sam      sam      sam      sam      sam      sam      sam      sam      sam
    open   other    bearer      any         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     alice
    open   other    token-user  any         alice    sam*     sam*     sam*     sam*     sam*     sam*     sam*     sam*     alice
    open   other    opaque      any         alice    sam      sam      sam      sam      sam      sam      sam      sam      sam
    open   other    unusable    any         sam      sam      sam      sam      sam      sam      sam      sam      sam      sam
    open   own      basic       any         alice    sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*
    open   own      opaque      any         alice    sam*     -        sam*     sam*     sam*     sam*     sam*     sam*     sam*
    open   due      absent      any         nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody   nobody
    open   due      basic       any         alice    nobody*  -        nobody*  nobody*  nobody*  nobody*  nobody*  nobody*  nobody*
";

const CELLS: usize = 826;

#[test]
fn the_table_holds_on_the_core() {
    hold(&|configuration| Box::new(Core::new(configuration)));
}

#[cfg(not(feature = "mutants"))]
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
                let authorization = authorization(sent, known);
                let told = case.play(start, authorization.as_deref());
                assert_eq!(name_of(&told, authorization.as_deref()), *expected, "{case:?}: {told:?}");
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
            "limited" => json!({"throttle": {"failures": 1}}),
            "stale" => json!({"cache": {"ttl_seconds": 60, "stale_seconds": 600}}),
            _ => json!({}),
        };
        configuration(&provider, &rest)
    }

    /// The cookie that another replica gave.
    fn cookie(&self, start: Start<'_>) -> Option<String> {
        let mut replica = start(&self.configuration());
        let credential = match self.session {
            "none" => return None,
            "login" => return Some(log_in(&mut *replica, "sam")),
            "own" | "due" => authorization(self.sent, "good").or_else(|| authorization("basic", "good"))?,
            "other" => basic("sam", "another-app-password"),
            other => panic!("no session {other}"),
        };
        let sam = granting(json!({"preferred_username": "sam"}));
        let told = ask(&mut *replica, &[("authorization", &credential)], &sam);
        assert_eq!(told.status(), 200);
        Some(jar(&replica.respond(&[])))
    }

    fn play(&self, start: Start<'_>, authorization: Option<&str>) -> Told {
        let cookie = self.cookie(start);
        let mut subject = start(&self.configuration());
        let subject = &mut *subject;
        if self.session == "due" {
            subject.advance(30);
        }
        let good = granting(json!({}));
        let credential: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
        match self.known {
            "cached" | "stale" if authorization.is_some() => {
                ask(subject, &credential, &good);
            }
            "limited" => {
                ask(subject, &[("authorization", &basic("alice", "a-guess"))], &refusing);
            }
            _ => {}
        }
        if self.known == "stale" {
            subject.advance(61);
        }
        let path = if self.path == "open" { "/public" } else { "/" };
        let cookie: Vec<_> = cookie.iter().map(|value| ("cookie", value.as_str())).collect();
        let headers = [vec![(":path", path)], credential, cookie].concat();
        if self.known == "cached" || self.path == "open" {
            let told = subject.send(&request(&headers)).expect("nobody is asked");
            assert_eq!(subject.calls(), [""; 0], "{self:?}");
            return told;
        }
        match self.known {
            "good" | "limited" => ask(subject, &headers, &good),
            "bad" => ask(subject, &headers, &refusing),
            "405" => ask(subject, &headers, &|_| Reply::Body(405, "")),
            "500" => ask(subject, &headers, &|_| Reply::Body(500, "<html>")),
            "garbage" => ask(subject, &headers, &|_| Reply::Body(200, "<html>")),
            "reset" | "stale" => ask(subject, &headers, &|_| Reply::Reset),
            "nameless" => ask(subject, &headers, &granting(json!({"preferred_username": ""}))),
            other => panic!("no column {other}"),
        }
    }
}

fn authorization(sent: &str, known: &str) -> Option<String> {
    let token = || match known {
        "bad" => signed(&json!({}), "another-client-secret-0123456789abcdef"),
        "nameless" => token(&json!({"preferred_username": ""})),
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

fn name_of(told: &Told, sent: Option<&str>) -> String {
    match told {
        Told::Forwarded(_) => {
            assert!(!told.names().contains(&"cookie"), "our own cookie goes no further");
            let username = told.header("x-authentik-username").unwrap_or("anonymous");
            let is_untouched = told.header("authorization") == sent;
            match (username, told.header("authorization")) {
                ("alice", None) => "alice".to_owned(),
                ("sam", _) if is_untouched => "sam".to_owned(),
                ("sam", None) => "sam*".to_owned(),
                ("anonymous", _) if is_untouched => "nobody".to_owned(),
                ("anonymous", None) => "nobody*".to_owned(),
                other => format!("{other:?}"),
            }
        }
        Told::Replied { status: 302, .. } => {
            let authorize = "https://auth.example.test/application/o/authorize/?response_type=code&client_id=demo-client-id&";
            assert!(told.header("location").unwrap().starts_with(authorize), "{told:?}");
            "login".to_owned()
        }
        Told::Replied { status, .. } => {
            let has_challenge = !told.headers("www-authenticate").is_empty();
            assert_eq!(has_challenge, *status == 401, "a challenge belongs to 401");
            let is_temporary = [429, 503].contains(status);
            assert_eq!(
                told.header("retry-after").is_some(),
                is_temporary,
                "retry-after belongs to 429 and 503"
            );
            status.to_string()
        }
    }
}
