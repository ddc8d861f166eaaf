//! The decision table of the design as data: session × what is sent × interception × what is known of it → what happens.

use serde_json::json;

use super::core::Core;
#[cfg(not(feature = "mutants"))]
use super::module::BuiltModule;
use super::{
    PASSWORD, Reply, Start, Subject, Told, ask, basic, configuration, granting, jar, log_in, refusing,
    request, signed, token,
};

/// Sessions: `login` of a browser as sam; `own` of the very credential that is sent, `other` of another one, whose user
/// was sam when the session began. The session comes from another replica than the one that judges the request.
///
/// Columns: `cached` a good credential that this replica has judged before; `good` and `bad` one that it has not; the
/// others are authentik's only answer.
///
/// `alice`: as the credential, which goes no further. `sam`: as the session, the header untouched. `sam*`: as the session,
/// the header removed: it is the session's own credential, or a token of this authentik. A session whose own credential is a token is
/// its user's, so `alice` is as the session there: no other column would be 200.
const TABLE: &str = "
    session  sent        intercept   cached   good     bad      405      500      garbage  reset
    none     absent      on          login    login    login    login    login    login    login
    none     absent      off         login    login    login    login    login    login    login
    none     basic       on          alice    alice    401      503      503      503      503
    none     basic       off         alice    alice    login    503      503      503      503
    none     bearer      on          alice    alice    401      503      503      503      503
    none     bearer      off         alice    alice    login    503      503      503      503
    none     token-user  on          alice    alice    401      503      503      503      503
    none     token-user  off         alice    alice    login    503      503      503      503
    none     unusable    on          401      401      401      401      401      401      401
    none     unusable    off         login    login    login    login    login    login    login
    login    absent      on          sam      sam      sam      sam      sam      sam      sam
    login    absent      off         sam      sam      sam      sam      sam      sam      sam
    login    basic       on          alice    sam      sam      sam      sam      sam      sam
    login    basic       off         alice    sam      sam      sam      sam      sam      sam
    login    bearer      on          alice    sam*     sam*     sam*     sam*     sam*     sam*
    login    bearer      off         alice    sam*     sam*     sam*     sam*     sam*     sam*
    login    token-user  on          alice    sam*     sam*     sam*     sam*     sam*     sam*
    login    token-user  off         alice    sam*     sam*     sam*     sam*     sam*     sam*
    login    unusable    on          sam      sam      sam      sam      sam      sam      sam
    login    unusable    off         sam      sam      sam      sam      sam      sam      sam
    own      basic       on          sam*     sam*     -        sam*     sam*     sam*     sam*
    own      basic       off         sam*     sam*     -        sam*     sam*     sam*     sam*
    own      bearer      on          alice    alice    -        alice    alice    alice    alice
    own      token-user  off         alice    alice    -        alice    alice    alice    alice
    other    absent      on          sam      sam      sam      sam      sam      sam      sam
    other    absent      off         sam      sam      sam      sam      sam      sam      sam
    other    basic       on          alice    alice    401      503      503      503      503
    other    basic       off         alice    alice    sam      503      503      503      503
    other    bearer      on          alice    alice    401      503      503      503      503
    other    bearer      off         alice    alice    sam*     503      503      503      503
    other    token-user  on          alice    alice    401      503      503      503      503
    other    token-user  off         alice    alice    sam*     503      503      503      503
    other    unusable    on          401      401      401      401      401      401      401
    other    unusable    off         sam      sam      sam      sam      sam      sam      sam
";

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
    let columns: Vec<_> = rows.next().unwrap().skip(3).collect();
    let mut cells = 0;
    for mut row in rows {
        let (session, sent, intercept) = (row.next().unwrap(), row.next().unwrap(), row.next().unwrap());
        let configuration = configuration(&json!({"intercept_header_auth": intercept == "on"}), &json!({}));
        for (known, expected) in columns.iter().zip(row).filter(|(_, expected)| *expected != "-") {
            let cookie = session_cookie(start, &configuration, session, sent);
            let authorization = authorization(sent, *known == "bad");
            let told = play(&mut *start(&configuration), cookie.as_deref(), authorization.as_deref(), known);
            let name = name_of(&told, authorization.as_deref());
            assert_eq!(
                name, *expected,
                "session {session}, {sent}, intercept {intercept}, {known}: {told:?}"
            );
            cells += 1;
        }
    }
    assert_eq!(cells, 34 * 7 - 4);
}

/// The cookie that another replica gave.
fn session_cookie(start: Start<'_>, configuration: &str, session: &str, sent: &str) -> Option<String> {
    let mut replica = start(configuration);
    let credential = match session {
        "none" => return None,
        "login" => return Some(log_in(&mut *replica, "sam")),
        "own" => authorization(sent, false)?,
        "other" => basic("sam", "another-app-password"),
        other => panic!("no session {other}"),
    };
    let sam = granting(json!({"preferred_username": "sam"}));
    let told = ask(&mut *replica, &[("authorization", &credential)], &sam);
    assert_eq!(told.status(), 200);
    Some(jar(&replica.respond(&[])))
}

fn play(subject: &mut dyn Subject, cookie: Option<&str>, authorization: Option<&str>, known: &str) -> Told {
    let good = granting(json!({}));
    let credential: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
    let cookie: Vec<_> = cookie.iter().map(|value| ("cookie", *value)).collect();
    let headers = [credential.clone(), cookie].concat();
    match known {
        "cached" => {
            ask(subject, &credential, &good);
            let told = subject.send(&request(&headers)).expect("no call for what is known");
            assert_eq!(subject.calls(), [""; 0]);
            told
        }
        "good" => ask(subject, &headers, &good),
        "bad" => ask(subject, &headers, &refusing),
        "405" => ask(subject, &headers, &|_| Reply::Body(405, "")),
        "500" => ask(subject, &headers, &|_| Reply::Body(500, "<html>")),
        "garbage" => ask(subject, &headers, &|_| Reply::Body(200, "<html>")),
        "reset" => ask(subject, &headers, &|_| Reply::Reset),
        other => panic!("no column {other}"),
    }
}

fn authorization(sent: &str, is_bad: bool) -> Option<String> {
    let (secret, password) = ("another-client-secret-0123456789abcdef", "a-wrong-password");
    // The session's user was called sam; who the token names does not matter for a session.
    let token = if is_bad { signed(&json!({}), secret) } else { token(&json!({})) };
    match sent {
        "absent" => None,
        "basic" => Some(basic("alice", if is_bad { password } else { PASSWORD })),
        "bearer" => Some(format!("Bearer {token}")),
        "token-user" => Some(basic("goauthentik.io/token", &token)),
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
            assert_eq!(told.header("retry-after").is_some(), *status == 503, "retry-after belongs to 503");
            status.to_string()
        }
    }
}
