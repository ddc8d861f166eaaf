//! What a client says about identity never reaches the application, in whatever spelling and on whatever path.

use fake_authentik::{ALICE, TOKEN, TokenSpec};
use serde_json::{Value, json};

use super::place::{Place, assert_without, one, username};
use super::wire::{Request, basic, bearer};

/// The filter's own names, and two of the operator's.
pub(super) const FORGED: [(&str, &str); 17] = [
    ("x-authentik-username", "forged"),
    ("X-Authentik-Username", "forged twice"),
    ("X-AUTHENTIK-USERNAME", ""),
    ("x_authentik_username", "forged"),
    ("X_Authentik-Username", "forged"),
    ("x-authentik_jwt", "forged"),
    ("x-authentik-anything", "forged"),
    ("X_AUTHENTIK_ANYTHING", "forged"),
    ("x-authentik-", "forged"),
    ("x.authentik.username", "forged"),
    ("X~Authentik!Username", "forged"),
    ("x.tenant", "forged"),
    ("X-Tenant", "forged"),
    ("x_tenant", "forged"),
    ("X-Internal-User", "forged"),
    ("x_internal_user", "forged"),
    ("x-internal-user", "forged twice"),
];

#[test]
fn client_sent_identity_headers_are_removed() {
    let place = Place::new(|options| {
        options
            .configure("/owned_headers", json!(["X_Internal_User", "x-tenant"]))
            .configure("/allow_cors_preflight", true)
            .configure("/providers/0/skip_path_regex", "^/public(/|$)")
    });
    place.await_keys("demo");
    not_as_an_authenticated_user(&place);
    not_beside_a_session(&place);
    not_on_a_path_that_needs_no_authentication(&place);
    not_in_a_preflight(&place);
    what_is_known_of_a_credential_counts_on_an_open_path(&place);
    a_token_of_authentik_never_reaches_the_application(&place);
}

/// On the first sight of the credential and, from the cache, on the second.
fn not_as_an_authenticated_user(place: &Place) {
    for _ in 0..2 {
        let shown = place.admits(forged(place.get_as(basic("alice", ALICE))));
        assert_eq!(username(&shown), "alice");
        assert_eq!(one(&shown, "x-tenant"), "blue");
        assert_eq!(assert_clean(&shown), 12);
    }
}

/// With the session's own credential, without any, and with one of another user's.
fn not_beside_a_session(place: &Place) {
    let own = basic("alice", ALICE);
    let answer = place.get_as(&own).send();
    let cookie: Vec<_> =
        answer.headers("set-cookie").iter().map(|line| line.split(';').next().unwrap()).collect();
    assert!(!cookie.is_empty(), "{answer:?}");
    let with_session = || place.get("/").header("cookie", cookie.join("; "));
    let other = place.newcomer("newcomer");
    for (request, user) in [
        (with_session(), "alice"),
        (with_session().authorization(own), "alice"),
        (with_session().authorization(other), "newcomer"),
    ] {
        let shown = place.admits(forged(request));
        assert_eq!(username(&shown), user);
        assert_eq!(assert_clean(&shown), 12);
        assert_without(&shown, "authorization");
    }
}

fn not_on_a_path_that_needs_no_authentication(place: &Place) {
    for target in ["/public", "/public/", "/public/a?b=/c", "/public/%C3%BC"] {
        let shown = place.admits(forged(place.get(target)));
        assert_eq!(shown["path"], target);
        assert_eq!(assert_clean(&shown), 0);
        assert_without(&shown, "x-tenant");
    }
    for target in ["/", "/publicity", "/a/public", "/a?/public"] {
        place.turns_away(forged(place.get(target)), 302);
    }
}

fn not_in_a_preflight(place: &Place) {
    let marks = [("origin", "https://other.test"), ("access-control-request-method", "PUT")];
    let shown = place.admits(forged(place.request("OPTIONS", "/").headers(&marks)));
    assert_eq!(assert_clean(&shown), 0);
    // It should have no credential; one that authentik vouched for goes no further, and makes nobody of it.
    let known = place.request("OPTIONS", "/").headers(&marks).authorization(basic("alice", ALICE));
    let shown = place.admits(forged(known));
    assert_eq!(assert_clean(&shown), 0);
    assert_without(&shown, "authorization");
    for other in ["POST", "PUT"] {
        place.turns_away(forged(place.request(other, "/").headers(&marks)), 401);
    }
    for mark in marks {
        place.turns_away(forged(place.request("OPTIONS", "/").headers(&[mark])), 401);
    }
}

fn what_is_known_of_a_credential_counts_on_an_open_path(place: &Place) {
    let before = place.calls_to(TOKEN);
    let known = place.admits(place.get("/public").authorization(basic("alice", ALICE)));
    assert_eq!(username(&known), "alice");
    assert_without(&known, "authorization");
    // Nothing is asked, so what is not known is the application's own.
    let unknown = basic("eve", "eve-app-password-0123456789abcdef");
    let shown = place.admits(place.get("/public").authorization(&unknown));
    assert_eq!(one(&shown, "authorization"), unknown);
    assert_eq!(identity_headers(&shown), 0);
    assert_eq!(place.calls_to(TOKEN), before);
}

/// Good or not, of this application or of another.
fn a_token_of_authentik_never_reaches_the_application(place: &Place) {
    let expired = place.authentik.mint("demo", TokenSpec::new().claim_in("exp", -60));
    for token in [place.authentik.issue("demo", "alice"), expired, place.authentik.issue("rs", "alice")] {
        for value in [bearer(&token), basic("goauthentik.io/token", &token)] {
            let shown = place.admits(place.get("/public").authorization(value));
            assert_without(&shown, "authorization");
        }
    }
    let foreign = place.authentik.mint("rs", TokenSpec::new().claim("iss", "https://other.test/"));
    let shown = place.admits(place.get("/public").authorization(bearer(&foreign)));
    assert_eq!(one(&shown, "authorization"), bearer(&foreign));
}

fn forged(request: Request) -> Request {
    request.headers(&FORGED).header("x-other", "kept").header("x_other", "kept too")
}

/// Nothing forged came through, and everything else did; says how many headers are authentik's.
#[track_caller]
fn assert_clean(shown: &Value) -> usize {
    let values = shown["headers"].as_array().unwrap().iter().map(|pair| pair[1].as_str().unwrap());
    let forged: Vec<_> = values.filter(|value| value.starts_with("forged")).collect();
    assert!(forged.is_empty(), "{forged:?} in {shown}");
    assert_eq!((one(shown, "x-other"), one(shown, "x_other")), ("kept".to_owned(), "kept too".to_owned()));
    identity_headers(shown)
}

fn identity_headers(shown: &Value) -> usize {
    let headers = shown["headers"].as_array().unwrap();
    let names = headers.iter().map(|pair| pair[0].as_str().unwrap().replace('_', "-"));
    names.filter(|name| name.starts_with("x-authentik-")).count()
}
