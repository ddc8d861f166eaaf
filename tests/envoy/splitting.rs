//! Control characters in everything that is written into a request, a response, a call or a cookie, whoever chose it: a
//! user's claims, a return URL, a host, the operator. None of it becomes a second header, in the real Envoy, which itself
//! looks at what a filter writes into requests only.

use fake_authentik::Authentik;
use local_envoy::Envoy;
use loopback::App;
use serde_json::{Value, json};

use super::place::{Place, assert_without, one, username};
use super::wire::{Answer, Request, basic, bearer};

/// Each would end a header, or the head, if it were written as it is.
const NASTY: [&str; 9] = [
    "a\r\nx-injected: 1",
    "a\nx-injected: 1",
    "a\rx-injected: 1",
    "a\0b",
    "a\u{1}b",
    "a\tb",
    "a\u{7f}b",
    "a\u{1b}[31mb",
    "\r\n\r\nHTTP/1.1 200 OK\r\nx-injected: 1\r\n\r\n",
];

#[test]
fn no_claim_becomes_a_second_header() {
    let place = Place::new(|options| {
        options
            .configure("/providers/0/basic_auth_enabled", true)
            .configure("/providers/0/basic_auth_user_attribute", "user")
            .configure("/providers/0/basic_auth_password_attribute", "password")
    });
    place.await_keys("demo");
    for (index, text) in NASTY.into_iter().enumerate() {
        let user = format!("user-{index}");
        let credential = place.newcomer(&user);
        claim_everywhere(&place, &user, text);
        let token = bearer(&place.authentik.issue("demo", &user));
        for authorization in [&credential, &token] {
            let (answer, shown) = admitted(&place, place.get_as(authorization));
            assert_unsplit(&user, text, &shown);
            let cookies: Vec<_> =
                answer.headers("set-cookie").iter().map(|it| it.split(';').next().unwrap()).collect();
            assert!(!cookies.is_empty(), "{answer:?}");
            let (_, shown) = admitted(&place, place.get("/").header("cookie", cookies.join("; ")));
            assert_unsplit(&user, text, &shown);
        }
    }
}

/// In every place where something about a user can be said.
fn claim_everywhere(place: &Place, user: &str, text: &str) {
    place.authentik.edit_user(user, |user| {
        user.name = text.to_owned();
        user.email = text.to_owned();
        user.groups = vec![text.to_owned(), "staff".to_owned()];
        user.entitlements = vec![text.to_owned()];
        user.attributes = json!({
            "user": text,
            "password": text,
            "additionalHeaders": {"X-Text": text, text: "name", format!("x-{text}"): "name"},
        });
        user.ak_proxy.insert("host_header".to_owned(), json!(text));
        user.ak_proxy.insert("backend_override".to_owned(), json!(text));
    });
}

fn admitted(place: &Place, request: Request) -> (Answer, Value) {
    let before = place.app.count();
    let answer = request.send();
    assert_eq!((answer.status, place.app.count()), (200, before + 1), "{answer:?}");
    assert_eq!(answer.headers("x-injected"), [""; 0], "{answer:?}");
    let shown = answer.json();
    (answer, shown)
}

#[track_caller]
fn assert_unsplit(user: &str, text: &str, shown: &Value) {
    let cleaned: String = text.chars().map(|it| if it.is_ascii_control() { ' ' } else { it }).collect();
    // HTTP/1.1 takes spaces at the ends of a value for none.
    let cleaned = cleaned.trim();
    assert_eq!(username(shown), user);
    for name in ["x-authentik-name", "x-authentik-email", "x-authentik-entitlements", "x-text"] {
        assert_eq!(one(shown, name), cleaned, "{name} of {text:?}");
    }
    assert_eq!(
        one(shown, "x-authentik-groups").trim(),
        format!("{}|staff", trimmed_end_kept(text)),
        "{text:?}"
    );
    assert_without(shown, "x-injected");
    assert_eq!(one(shown, "authorization"), basic(text, text), "base64 keeps what is in it");
    let names: Vec<_> = shown["headers"].as_array().unwrap().iter().filter(|it| it[1] == "name").collect();
    assert!(names.is_empty(), "a name that is none was written: {names:?}");
}

/// As the first of several in one value: only the value's own ends are trimmed.
fn trimmed_end_kept(text: &str) -> String {
    let cleaned: String = text.chars().map(|it| if it.is_ascii_control() { ' ' } else { it }).collect();
    cleaned.trim_start().to_owned()
}

#[test]
fn no_user_name_with_a_control_character_passes() {
    let place = Place::new(|options| options);
    place.await_keys("demo");
    for text in NASTY {
        place.authentik.edit_user(text, |_| {});
        let token = bearer(&place.authentik.issue("demo", text));
        place.turns_away(place.get_as(token), 403);
        // Basic has no control characters either: authentik is not asked.
        place.authentik.forget_calls();
        place.turns_away(place.get_as(basic(text, "password")), 401);
        place.turns_away(place.get_as(basic("alice", text)), 401);
        assert_eq!(place.calls_to("/application/o/token/"), 0);
    }
}

#[test]
fn no_return_url_and_no_host_becomes_a_second_header() {
    let place = Place::new(|options| options.configure("/providers/0/mode", "proxy"));
    place.await_keys("demo");
    for text in NASTY {
        let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let percent = encoded.replace('+', "%20");
        let base = place.envoy.url("/");
        let url: String = form_urlencoded::byte_serialize(format!("{base}{text}").as_bytes()).collect();
        for target in [
            format!("/{percent}"),
            format!("/?{percent}={percent}"),
            format!("/outpost.goauthentik.io/start?rd={encoded}"),
            format!("/outpost.goauthentik.io/start?rd={url}"),
            format!("/?X-authentik-logout=true&{percent}"),
            format!("/outpost.goauthentik.io/sign_out?rd={url}"),
            format!("/outpost.goauthentik.io/callback?code={encoded}&state={encoded}"),
            format!("/outpost.goauthentik.io/callback?error={encoded}&error_description={encoded}"),
        ] {
            assert_whole(&place, place.get(target).send());
        }
        // Envoy refuses most of these itself; none reaches anybody.
        for name in ["host", "accept", "x-request-id", "cookie", "x-forwarded-host", "authorization"] {
            assert_whole(&place, place.get("/").header(name, text).send());
        }
        assert_whole(&place, place.get("/").host(text).send());
        assert_whole(&place, place.get(text).send());
    }
    assert_eq!(place.app.count(), 0);
}

#[track_caller]
fn assert_whole(place: &Place, answer: Answer) {
    assert!(matches!(answer.status, 302 | 400 | 401), "{answer:?}");
    assert_eq!(answer.headers("x-injected"), [""; 0], "{answer:?}");
    assert!(answer.headers("location").len() <= 1, "{answer:?}");
    let hosts = [place.envoy.url("/"), format!("{}/", place.authentik.public_base())];
    if let Some(location) = answer.header("location") {
        assert!(hosts.iter().any(|host| location.starts_with(host)), "{location}");
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location}");
    }
    for cookie in answer.headers("set-cookie") {
        assert!(
            cookie.starts_with("authentik_proxy_") && cookie.bytes().all(|byte| !byte.is_ascii_control())
        );
    }
}

#[test]
fn no_setting_with_a_control_character_is_taken() {
    let (authentik, app) = (Authentik::start(), App::start());
    let fields = [
        ("/authentik/host", "authentik.host"),
        ("/outpost_name", "outpost_name"),
        ("/authentik/cluster", "authentik.cluster"),
        ("/identity_headers/0", "identity_headers"),
        ("/owned_headers/0", "owned_headers"),
        ("/providers/0/name", "providers[0].name"),
        ("/providers/0/assigned_application_slug", "providers[0].assigned_application_slug"),
        ("/providers/0/client_id", "providers[0].client_id"),
        ("/providers/0/external_host", "providers[0].external_host"),
        ("/providers/0/cookie_domain", "providers[0].cookie_domain"),
    ];
    for text in ["a\r\nx-injected: 1", "a\0b", "a\u{7f}b"] {
        let options = super::place::options(&authentik, &app)
            .configure("/identity_headers", json!([""]))
            .configure("/owned_headers", json!([""]));
        let options = fields.iter().fold(options, |options, (pointer, _)| {
            let scheme = if pointer.ends_with("host") { "http://" } else { "" };
            options.configure(pointer, format!("{scheme}{text}"))
        });
        let log = Envoy::rejects(options);
        assert!(
            !log.lines().any(|line| line.starts_with("x-injected")),
            "a line of the log is broken:\n{log}"
        );
        for (_, path) in fields {
            assert!(
                log.contains(&format!("configuration: {path}")),
                "{path} with {text:?} was taken:\n{log}"
            );
        }
    }
}
