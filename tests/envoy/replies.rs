//! What the filter answers itself: to the login or `401`, in the client's own format, with interception and without.

use std::collections::BTreeSet;

use fake_authentik::{ALICE, TokenSpec};
use serde_json::json;

use super::place::{Place, provider};
use super::wire::{Answer, Request, basic, bearer};

/// The one intercepts `Authorization`, the other does not.
const HOSTS: [&str; 2] = ["on.test", "off.test"];

#[test]
fn replies_follow_the_accept_header() {
    let off = json!({"intercept_header_auth": false});
    let providers = [provider("demo", HOSTS[0], json!({})), provider("demo", HOSTS[1], off)];
    let mut place = Place::of(&providers);
    for host in HOSTS {
        without_credential_a_navigation_goes_to_the_login(&place, host);
        without_credential_everything_else_is_unauthorized(&place, host);
        a_grpc_client_gets_a_grpc_status(&place, host);
    }
    the_login_s_own_paths_are_never_the_application_s(&place);
    with_interception_an_invalid_credential_is_unauthorized(&place);
    without_interception_an_invalid_credential_counts_as_none(&place);
    a_grpc_client_is_told_that_authentik_is_down(&mut place);
}

fn without_credential_a_navigation_goes_to_the_login(place: &Place, host: &str) {
    let get = |target: &str| place.get(target).host(host).header("x-forwarded-host", "evil.test");
    for target in ["/", "/a%20b?c=d&e=%2F", "/?rd=https://evil.test/"] {
        place.sends_to_login(get(target), "demo", host);
    }
    let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8"), ("sec-fetch-mode", "navigate")];
    place.sends_to_login(get("/").headers(&browser), "demo", host);
    place.sends_to_login(get("/").authorization(""), "demo", host);
}

fn without_credential_everything_else_is_unauthorized(place: &Place, host: &str) {
    let get = || place.get("/").host(host);
    let json = place.turns_away(get().header("accept", "application/json"), 401);
    assert_is(&json, "application/json", "{\"status\":401,\"error\":\"Unauthorized\"}\n");

    let post = || place.request("POST", "/").host(host).body(b"a=b".to_vec());
    assert_is(&place.turns_away(post(), 401), "text/plain; charset=utf-8", "401 Unauthorized\n");

    let html = place.turns_away(post().header("accept", "text/html"), 401);
    assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(html.body.starts_with("<!doctype html>") && html.body.contains("401 Unauthorized"), "{html:?}");

    for script in [
        ("x-requested-with", "XMLHttpRequest"),
        ("sec-fetch-mode", "cors"),
        ("accept", "application/problem+json"),
    ] {
        place.turns_away(get().headers(&[script]), 401);
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        place.turns_away(place.request(method, "/").host(host), 401);
    }
}

#[track_caller]
fn assert_is(answer: &Answer, content_type: &str, body: &str) {
    assert_eq!((answer.header("content-type"), answer.body.as_str()), (Some(content_type), body));
    assert_eq!(answer.headers("www-authenticate").len(), 2);
}

/// gRPC has its status in a header; HTTP's is always 200.
fn a_grpc_client_gets_a_grpc_status(place: &Place, host: &str) {
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let answer = place.turns_away(grpc(place, host).header("content-type", content_type), 200);
        assert_eq!(answer.header("grpc-status"), Some("16"), "{answer:?}");
    }
}

fn grpc(place: &Place, host: &str) -> Request {
    place.request("POST", "/service/Method").host(host).header("te", "trailers")
}

fn the_login_s_own_paths_are_never_the_application_s(place: &Place) {
    let get = |path: &str| place.get(format!("/outpost.goauthentik.io{path}")).host(HOSTS[0]);
    place.turns_away(get("/ping"), 204);
    for path in ["", "/", "/another"] {
        place.turns_away(get(path), 404);
    }
    place.sends_to_login(get("/start?rd=http%3A%2F%2Fevil.test%2F"), "demo", HOSTS[0]);
}

fn with_interception_an_invalid_credential_is_unauthorized(place: &Place) {
    for value in invalid(place) {
        let answer = place.turns_away(place.get_as(value).host(HOSTS[0]), 401);
        assert_eq!(answer.headers("www-authenticate").len(), 2);
    }
}

/// The header is the application's own; without a session it goes nowhere.
fn without_interception_an_invalid_credential_counts_as_none(place: &Place) {
    let host = HOSTS[1];
    for value in invalid(place) {
        place.sends_to_login(place.get_as(&value).host(host), "demo", host);
        let request = |method| place.request(method, "/").host(host).authorization(&value);
        place.turns_away(request("POST"), 401);
        place.turns_away(request("GET").header("accept", "application/json"), 401);
        place.turns_away(request("GET").header("x-requested-with", "XMLHttpRequest"), 401);
    }
    place.admits(place.get_as(basic("alice", ALICE)).host(host));
}

fn invalid(place: &Place) -> [String; 5] {
    [
        basic("alice", "wrong"),
        bearer(&place.authentik.mint("demo", TokenSpec::new().claim_in("exp", -1))),
        bearer("of-somebody-else"),
        "Digest username=\"alice\"".to_owned(),
        "Basic %%%".to_owned(),
    ]
}

fn a_grpc_client_is_told_that_authentik_is_down(place: &mut Place) {
    let newcomer = place.newcomer("grpc");
    place.authentik.down();
    let request = grpc(place, HOSTS[0]).header("content-type", "application/grpc").authorization(newcomer);
    assert_eq!(place.turns_away(request, 200).header("grpc-status"), Some("14"));
}

#[test]
fn the_reference_number_of_a_page_is_the_request_id_of_the_access_log() {
    let format = "%REQ(X-REQUEST-ID)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%\n";
    let place = Place::new(|options| {
        options.manager("/access_log/0/typed_config/log_format/text_format_source/inline_string", format)
    });
    let mut seen = BTreeSet::new();
    for (request, status, details) in [
        (place.request("POST", "/"), 401, "authentik_no_credential"),
        (place.get("/outpost.goauthentik.io/callback"), 400, "authentik_login_failed"),
        (place.get("/outpost.goauthentik.io/another"), 404, "authentik_not_found"),
    ] {
        let page = place.turns_away(request.header("accept", "text/html"), status);
        let (_, reference) = page.body.split_once("Reference number: <code>").expect("a reference number");
        let (reference, _) = reference.split_once("</code>").expect("its end");
        assert_eq!(reference.len(), 36, "a UUID of Envoy's: {reference}");
        place.await_log(&[&format!("{reference} {status} {details}")]);
        assert!(
            page.header("content-security-policy").is_some_and(|it| it.starts_with("default-src 'none'; "))
        );
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        seen.insert(reference.to_owned());
    }
    assert_eq!(seen.len(), 3, "each request has its own");
}

#[test]
fn without_sessions_the_login_is_the_outpost_s() {
    let domain = json!({"mode": "forward_domain", "cookie_domain": "domain.test"});
    let providers = [
        provider("demo", "a.test", json!({})),
        provider("demo-proxy", "b.test:8080", json!({"mode": "proxy"})),
        provider("demo-domain", "auth.domain.test", domain),
    ];
    let place = Place::new(|options| {
        options.configure("/providers", providers.to_vec()).configure("/session/enabled", false)
    });
    let logins = [
        ("A.test:80", "/", "http://a.test", "http%3A%2F%2Fa.test%2F"),
        ("a.test", "/a%20b?c=%2F&d", "http://a.test", "http%3A%2F%2Fa.test%2Fa%2520b%3Fc%3D%252F%26d"),
        ("b.test:8080", "/x", "http://b.test:8080", "http%3A%2F%2Fb.test%3A8080%2Fx"),
        ("Deep.domain.test", "/x", "http://auth.domain.test", "http%3A%2F%2Fdeep.domain.test%2Fx"),
    ];
    for (host, target, login, back) in logins {
        let request = place.get(target).host(host).header("x-forwarded-host", "evil.test");
        let answer = place.turns_away(request, 302);
        let location = format!("{login}/outpost.goauthentik.io/start?rd={back}");
        assert_eq!(answer.headers("location"), [location]);
        assert_eq!(answer.headers("set-cookie").len(), 0);
    }
    // There is no way back to where one is.
    for target in ["/outpost.goauthentik.io/start", "/outpost.goauthentik.io"] {
        place.turns_away(place.get(target).host("a.test"), 401);
    }
}
