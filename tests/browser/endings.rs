//! How a session ends before its time: its token is revoked, its user is disabled or logs out at authentik, and
//! `revalidate_seconds` finds out.

use fake_authentik::{Fault, INTROSPECT};
use loopback::header_values;

use super::navigator::Navigator;
use super::place::{Place, eventually};

/// Asks authentik every second whether sessions still stand.
fn place() -> Place {
    Place::new(|options| options.configure("/providers/0/revalidate_seconds", 1))
}

/// The session goes on while authentik confirms it, and ends soon after this.
fn ends_after(what: &str, happens: impl FnOnce(&Place, &str)) {
    let place = place();
    let mut browser = place.alice();
    let shown = place.shows(&mut browser, "/", "alice");
    eventually("authentik is asked", || {
        place.shows(&mut browser, "/", "alice");
        place.authentik.count(INTROSPECT) > 1
    });
    happens(&place, &header_values(&shown, "x-authentik-jwt")[0]);
    eventually(what, || {
        let answer = place.open(&mut browser, "/");
        assert!(answer.status == 200 || place.is_login(answer.location()), "{answer:?}");
        answer.status == 302
    });
    let seen = place.app.count();
    place.sends_to_login(&mut browser, "/");
    assert_eq!(place.app.count(), seen);
}

#[test]
fn a_session_ends_when_its_token_is_revoked() {
    ends_after("the session ends", |place, token| place.authentik.revoke(token));
}

#[test]
fn a_session_ends_when_its_user_is_disabled() {
    ends_after("the session ends", |place, _| place.authentik.disable_user("alice"));
}

#[test]
fn a_session_ends_when_its_user_logs_out_at_authentik() {
    ends_after("the session ends", |place, _| place.authentik.log_out("alice"));
}

#[test]
fn unconfirmed_session_gets_503_while_authentik_fails() {
    let place = place();
    let mut browser = place.alice();
    place.authentik.fault(INTROSPECT, Fault::Html(502));
    eventually("authentik is asked", || {
        let answer = place.open(&mut browser, "/");
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        answer.status == 503
    });
    place.authentik.clear_faults();
    eventually("authentik answers again", || place.open(&mut browser, "/").status == 200);
}

#[test]
fn without_revalidation_a_session_lives_as_long_as_its_token() {
    let place = Place::new(|options| options);
    place.authentik.edit_provider("demo", |provider| provider.lifetime_seconds = 3);
    let mut browser = place.alice();
    assert!(browser.cookies[0].max_age() <= 3);
    // The clock of a browser is not to be relied on: the cookie is sent for ever.
    eventually("the token expires", || place.open(&mut browser, "/").status == 302);
    place.authentik.edit_provider("demo", |provider| provider.lifetime_seconds = 3_600);
    let mut again = Navigator { cookies: browser.cookies };
    assert_eq!(place.log_in(&mut again, "/", "alice").location(), place.url("/"));
    place.shows(&mut again, "/", "alice");
}

/// authentik has ended the session; the browser still has its cookie when it comes back from the login.
#[test]
fn a_user_whose_session_authentik_has_ended_logs_in_again() {
    let place = place();
    let mut browser = place.alice();
    let shown = place.shows(&mut browser, "/", "alice");
    let token = header_values(&shown, "x-authentik-jwt").remove(0);
    let kept = browser.session();
    place.authentik.revoke(&token);
    let mut location = String::new();
    eventually("the session has ended", || {
        let answer = place.open(&mut browser, "/page");
        answer.header("location").unwrap_or_default().clone_into(&mut location);
        answer.status == 302
    });
    assert!(place.is_login(&location), "{location}");
    assert!(browser.session().is_empty(), "the cookie is taken back");
    // A browser that does not let go of it: another tab has set it again.
    for cookie in kept {
        browser.keep(cookie);
    }
    let callback = place.authentik.approve(&location, "alice");
    assert_eq!(browser.open(place.envoy.port(), &callback).location(), place.url("/page"));
    place.shows(&mut browser, "/page", "alice");
}
