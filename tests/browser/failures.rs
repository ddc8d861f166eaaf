//! Logins that do not end well: authentik refuses, the browser keeps no cookies, a callback comes twice or to the
//! wrong browser. The person sees a page and never a loop.

use fake_authentik::{Fault, TOKEN};
use loopback::client;

use super::navigator::{Answer, Navigator};
use super::place::{LOGIN, Place};

#[track_caller]
fn assert_page(answer: &Answer, status: u16, part: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.header("content-type").is_some_and(|it| it.starts_with("text/html")), "{answer:?}");
    assert!(answer.body.contains(part) && answer.body.starts_with("<!doctype html>"), "{}", answer.body);
}

#[test]
fn authentiks_error_becomes_a_page_that_a_person_can_read() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    let authorize = place.sends_to_login(&mut browser, "/");
    let refused = client().get(format!("{authorize}&prompt=none")).send().expect("authentik answers");
    let callback = refused.headers()["location"].to_str().expect("a URL").to_owned();
    assert!(callback.contains("X-authentik-auth-callback=true?error=login_required&"), "{callback}");
    let answer = browser.open(place.envoy.port(), &callback);
    assert_page(&answer, 400, "The sign-in did not work.");
    assert!(!answer.body.contains("login_required"), "nothing in the page comes from the request");
    assert_eq!((place.app.count(), place.authentik.count(TOKEN)), (0, 0));
}

#[test]
fn user_denied_by_policy_stays_at_authentik() {
    let place = Place::new(|options| options);
    let authorize = place.sends_to_login(&mut Navigator::default(), "/");
    let session = place.authentik.log_in_directly("bob");
    let request = client().get(authorize).header("cookie", format!("authentik_session={session}"));
    let answer = request.send().expect("authentik answers");
    assert_eq!((answer.status().as_u16(), answer.headers().get("location")), (200, None));
    assert!(answer.text().expect("a page").contains("Permission denied"));
}

#[test]
fn after_three_fruitless_rounds_there_is_a_page_and_no_fourth() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    let mut authorize = place.sends_to_login(&mut browser, "/");
    for round in 1..=3 {
        let callback = place.authentik.approve(&authorize, "alice").replace("&code=", "&code=x");
        let answer = browser.open(place.envoy.port(), &callback);
        if round == 3 {
            assert_page(&answer, 400, "The sign-in did not work.");
        } else {
            assert!(place.is_login(answer.location()), "round {round}");
            answer.location().clone_into(&mut authorize);
        }
    }
    assert_eq!(place.app.count(), 0);
}

#[test]
fn a_browser_that_loses_its_session_is_not_sent_round_for_ever() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    for _ in 0..3 {
        assert_eq!(place.log_in(&mut browser, "/", "alice").location(), place.url("/"));
        browser.lose_session();
    }
    assert_page(&place.open(&mut browser, "/"), 400, "your browser may be refusing cookies");
}

#[test]
fn a_browser_that_keeps_no_cookie_gets_a_page() {
    let place = Place::new(|options| options);
    let authorize = place.sends_to_login(&mut Navigator::default(), "/");
    let callback = place.authentik.approve(&authorize, "alice");
    let answer = Navigator::default().open(place.envoy.port(), &callback);
    assert_page(&answer, 400, "your browser may be refusing cookies");
    assert_eq!(place.authentik.count(TOKEN), 0);
}

#[test]
fn a_callback_is_good_once() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    let authorize = place.sends_to_login(&mut browser, "/page");
    let before = browser.clone();
    let callback = place.authentik.approve(&authorize, "alice");
    assert_eq!(browser.open(place.envoy.port(), &callback).location(), place.url("/page"));
    let mut without_session = browser.clone();
    without_session.lose_session();

    let again = browser.open(place.envoy.port(), &callback);
    assert_eq!(again.location(), place.url("/page"), "somebody went back in the history");
    assert_eq!(place.authentik.count(TOKEN), 1, "authentik was not asked again");
    for (who, mut thief) in [("the same browser", without_session), ("a copy from before", before)] {
        let answer = thief.open(place.envoy.port(), &callback);
        assert!(place.is_login(answer.location()), "{who}: {answer:?}");
        assert!(thief.session().is_empty(), "{who}: a session");
    }
    assert_eq!(place.app.count(), 0);
}

#[test]
fn nobody_is_logged_in_by_anothers_callback() {
    let place = Place::new(|options| options);
    let (mut victim, mut attacker) = (Navigator::default(), Navigator::default());
    place.sends_to_login(&mut victim, "/");
    let authorize = place.sends_to_login(&mut attacker, "/");
    let callback = place.authentik.approve(&authorize, "eve");
    let answer = victim.open(place.envoy.port(), &callback);
    assert!(place.is_login(answer.location()), "{answer:?}");
    assert_eq!(victim.names(), [LOGIN]);
    assert_eq!(place.authentik.count(TOKEN), 0, "the code is not even tried");
    assert_eq!(attacker.open(place.envoy.port(), &callback).location(), place.url("/"));
    place.shows(&mut attacker, "/", "eve");
}

#[test]
fn all_tabs_of_a_browser_can_log_in_at_the_same_time() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    let tabs = ["/one", "/two"].map(|tab| (tab, place.sends_to_login(&mut browser, tab)));
    for (tab, authorize) in tabs {
        let callback = place.authentik.approve(&authorize, "alice");
        assert_eq!(browser.open(place.envoy.port(), &callback).location(), place.url(tab));
    }
    place.shows(&mut browser, "/", "alice");
}

#[test]
fn failing_authentik_refuses_no_login() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    let authorize = place.sends_to_login(&mut browser, "/");
    let callback = place.authentik.approve(&authorize, "alice");
    for fault in [Fault::ServerError405, Fault::Html(502), Fault::Garbage, Fault::Reset] {
        place.authentik.fault(TOKEN, fault.clone());
        let answer = browser.open(place.envoy.port(), &callback);
        assert_page(&answer, 503, "not possible at the moment");
        assert!(answer.header("retry-after").is_some(), "{fault:?}");
        place.authentik.clear_faults();
    }
    // The code was not used, and the page can be loaded again.
    assert_eq!(browser.open(place.envoy.port(), &callback).location(), place.url("/"));
    place.shows(&mut browser, "/", "alice");
}
