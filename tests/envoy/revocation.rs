//! With `revalidate_seconds`, what authentik has ended ends here too: tokens, credentials and sessions.

use fake_authentik::{INTROSPECT, TOKEN};
use serde_json::json;

use super::place::{Place, eventually, one, provider, username};
use super::wire::{Answer, Request, basic, bearer};

const MODES: [(&str, &str); 3] = [
    ("local", "local.test"),
    ("introspection", "introspection.test"),
    ("local_then_introspection", "either.test"),
];

#[test]
fn revoked_token_passes_at_most_for_the_revalidation_interval() {
    let providers = MODES.map(|(mode, host)| {
        provider("demo", host, json!({"bearer_verification": mode, "revalidate_seconds": 1}))
    });
    let place = Place::of(&providers);
    place.await_keys("demo");
    for (mode, host) in MODES {
        a_revoked_token_ends_with_its_session(&place, host);
        a_disabled_user_is_out(&place, host, mode);
        a_user_name_and_app_password_end_with_their_session(&place, host, mode);
    }
}

fn a_revoked_token_ends_with_its_session(place: &Place, host: &str) {
    let token = place.authentik.issue("demo", "alice");
    let with_token = || place.get_as(bearer(&token)).host(host);
    let session = session(&with_token().send());
    let with_session = || resumed(place, host, &session);
    place.admits(with_token());
    place.admits(with_session());

    let asked = place.calls_to(INTROSPECT);
    eventually("authentik is asked again", || {
        place.admits(with_token());
        place.admits(with_session());
        place.calls_to(INTROSPECT) > asked
    });
    place.authentik.revoke(&token);
    ends("the token", with_token);
    ends("its session", with_session);
    let both = || with_token().header("cookie", &session);
    ends("the token with its session", both);
}

fn a_disabled_user_is_out(place: &Place, host: &str, mode: &str) {
    let user = format!("disabled-{mode}");
    place.newcomer(&user);
    let token = place.authentik.issue("demo", &user);
    let with_token = || place.get_as(bearer(&token)).host(host);
    let session = session(&with_token().send());
    place.authentik.disable_user(&user);
    ends("the user's token", with_token);
    ends("his session", || resumed(place, host, &session));
}

fn a_user_name_and_app_password_end_with_their_session(place: &Place, host: &str, mode: &str) {
    let user = format!("changed-{mode}");
    let credential = place.newcomer(&user);
    let with_credential = || place.get_as(&credential).host(host);
    let first = with_credential().send();
    let session = session(&first);
    let token = one(&first.json(), "x-authentik-jwt");
    assert_eq!(username(&place.admits(resumed(place, host, &session))), user);

    place.authentik.edit_user(&user, |user| user.app_passwords.clear());
    ends("the credential", with_credential);
    // The token that it was exchanged for is another matter, and so is what came of it.
    place.admits(resumed(place, host, &session));
    place.authentik.revoke(&token);
    ends("the session", || resumed(place, host, &session));
}

/// A script that kept the cookie.
fn resumed(place: &Place, host: &str, cookie: &str) -> Request {
    place.get("/").host(host).header("cookie", cookie).header("accept", "application/json")
}

#[track_caller]
fn ends<'a>(what: &str, request: impl Fn() -> Request + 'a) {
    eventually(&format!("{what} has ended"), || match request().send().status {
        401 => true,
        200 => false,
        other => panic!("{other} for {what}"),
    });
    assert_eq!(request().send().status, 401, "{what} stays ended");
}

/// The cookies that a client would send back.
#[track_caller]
fn session(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookies = answer.headers("set-cookie");
    assert_ne!(cookies.len(), 0, "no session");
    cookies.iter().filter_map(|cookie| cookie.split(';').next()).collect::<Vec<_>>().join("; ")
}

/// For the difference to all of the above.
#[test]
fn without_an_interval_a_token_and_a_session_last_as_long_as_they_say() {
    let place = Place::new(|options| options.configure("/cache/ttl_seconds", 0));
    place.await_keys("demo");
    let token = place.authentik.issue("demo", "alice");
    let with_token = || place.get_as(bearer(&token));
    let session = session(&with_token().send());
    place.authentik.revoke(&token);
    for _ in 0..5 {
        place.admits(with_token());
        place.admits(place.get("/").header("cookie", &session));
    }
    assert_eq!((place.calls_to(INTROSPECT), place.calls_to(TOKEN)), (0, 0));
    // Basic is asked for again and again then.
    let credential = basic("eve", "eve-app-password-0123456789abcdef");
    for calls in 1..=3 {
        place.admits(place.get_as(&credential));
        assert_eq!(place.calls_to(TOKEN), calls);
    }
}
