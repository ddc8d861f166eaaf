//! The decision table of the design as data: what is sent × interception × what is known of it → what happens.

use serde_json::json;

use super::core::Core;
use super::module::BuiltModule;
use super::{
    PASSWORD, Reply, Subject, Told, ask, basic, configuration, granting, refusing, request, signed, token,
};

/// `alice`: forwarded with her identity, the credential removed. `login`: a redirect to the login.
/// `cached`: a good credential that was judged before; authentik may not be asked again.
/// `bad`: a wrong app password, a token with a wrong signature. The columns after it are authentik's only answer.
const TABLE: &str = "
    sent        intercept   cached  good   bad    405    500    garbage  reset
    absent      on          login   login  login  login  login  login    login
    absent      off         login   login  login  login  login  login    login
    basic       on          alice   alice  401    503    503    503      503
    basic       off         alice   alice  login  503    503    503      503
    bearer      on          alice   alice  401    503    503    503      503
    bearer      off         alice   alice  login  503    503    503      503
    token-user  on          alice   alice  401    503    503    503      503
    token-user  off         alice   alice  login  503    503    503      503
    unusable    on          401     401    401    401    401    401      401
    unusable    off         login   login  login  login  login  login    login
";

#[test]
fn the_table_holds_on_the_core() {
    hold(&|configuration| Box::new(Core::new(configuration)));
}

#[test]
fn the_table_holds_on_the_module() {
    hold(&|configuration| Box::new(BuiltModule::new(configuration)));
}

fn hold(start: &dyn Fn(&str) -> Box<dyn Subject>) {
    let mut rows = TABLE.lines().filter(|line| !line.trim().is_empty()).map(str::split_whitespace);
    let columns: Vec<_> = rows.next().unwrap().skip(2).collect();
    let mut cells = 0;
    for mut row in rows {
        let (sent, intercept) = (row.next().unwrap(), row.next().unwrap());
        for (known, expected) in columns.iter().zip(row) {
            let configuration =
                configuration(&json!({"intercept_header_auth": intercept == "on"}), &json!({}));
            let told = play(&mut *start(&configuration), sent, known);
            assert_eq!(name_of(&told), expected, "{sent}, intercept {intercept}, {known}: {told:?}");
            cells += 1;
        }
    }
    assert_eq!(cells, 10 * 7);
}

fn play(subject: &mut dyn Subject, sent: &str, known: &str) -> Told {
    let good = granting(json!({}));
    let authorization = authorization(sent, known == "bad");
    let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    match known {
        "cached" => {
            ask(subject, &headers, &good);
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
    let secret_of_another = "another-client-secret-0123456789abcdef";
    let token = if is_bad { signed(&json!({}), secret_of_another) } else { token(&json!({})) };
    match sent {
        "absent" => None,
        "basic" => Some(basic("alice", PASSWORD)),
        "bearer" => Some(format!("Bearer {token}")),
        "token-user" => Some(basic("goauthentik.io/token", &token)),
        "unusable" => Some("Basic !".to_owned()),
        other => panic!("no row {other}"),
    }
}

fn name_of(told: &Told) -> String {
    match told {
        Told::Forwarded(_) => {
            assert_eq!(told.headers("authorization"), [""; 0], "the credential goes no further");
            told.header("x-authentik-username").unwrap_or("anonymous").to_owned()
        }
        Told::Replied { status: 302, .. } => {
            let start =
                "https://app.example.test/outpost.goauthentik.io/start?rd=https%3A%2F%2Fapp.example.test%2F";
            assert_eq!(told.header("location"), Some(start));
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
