//! What a browser carries and could change: cookies, `state`, code. A change makes it worthless; it never lets
//! anybody in, and it is never a failure of ours.

use super::navigator::Navigator;
use super::place::{Place, SESSION, parameter};

/// The text with the byte at this place made another, in ways that a parser may take differently.
fn altered(text: &str, place: usize) -> Vec<String> {
    let (before, rest) = text.split_at(place);
    let after = &rest[1..];
    let others = ["A", "B", "_", "=", ".", "%00", ""].into_iter().filter(|it| *it != &rest[..1]);
    others.map(|other| format!("{before}{other}{after}")).filter(|it| it != text).collect()
}

/// So many places, first and last among them.
fn places(text: &str, count: usize) -> impl Iterator<Item = usize> {
    let last = text.len() - 1;
    (0..=count).map(move |step| step * last / count)
}

#[test]
fn an_altered_session_is_none() {
    let place = Place::new(|options| options);
    let good = place.eve().session()[0].clone();
    for at in places(&good.value, 40) {
        for value in altered(&good.value, at) {
            let mut browser = Navigator { cookies: vec![good.with_value(value)] };
            place.sends_to_login(&mut browser, &format!("/?{at}"));
        }
    }
    place.shows(&mut Navigator { cookies: vec![good] }, "/", "eve");
}

#[test]
fn a_session_is_found_among_others_of_its_name_and_kind() {
    let place = Place::new(|options| options);
    let good = place.eve().session()[0].clone();
    let other = |value: &str| good.with_value(value);
    for cookies in [
        vec![other(""), good.clone()],
        vec![good.clone(), other("AAAA")],
        vec![other("\"quoted\""), other("x=y=z"), good.clone()],
    ] {
        place.shows(&mut Navigator { cookies }, "/", "eve");
    }
    for value in ["", "A", "AAAA", "....", "%", "\"", "null", &"A".repeat(8_000)] {
        place.sends_to_login(&mut Navigator { cookies: vec![other(value)] }, "/");
    }
}

#[test]
fn an_altered_login_cookie_ends_the_login() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    let authorize = place.sends_to_login(&mut browser, "/");
    let callback = place.authentik.approve(&authorize, "alice");
    let good = browser.cookies[0].clone();
    for at in places(&good.value, 20) {
        for value in altered(&good.value, at) {
            let mut browser = Navigator { cookies: vec![good.with_value(value)] };
            let answer = browser.open(place.envoy.port(), &callback);
            assert_eq!(answer.status, 400, "{at}: {answer:?}");
            assert_eq!(answer.headers("set-cookie"), [""; 0], "{at}");
        }
    }
    assert_eq!(browser.open(place.envoy.port(), &callback).location(), place.url("/"));
}

#[test]
fn an_altered_state_or_code_begins_anew() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    let authorize = place.sends_to_login(&mut browser, "/");
    let callback = place.authentik.approve(&authorize, "alice");
    for name in ["state", "code"] {
        let good = parameter(&callback, name).expect("a value");
        for at in places(&good, 12) {
            for value in altered(&good, at) {
                let url = callback.replace(&format!("&{name}={good}"), &format!("&{name}={value}"));
                assert_ne!(url, callback);
                let mut copy = browser.clone();
                let answer = copy.open(place.envoy.port(), &url);
                let is_page = answer.status == 400 && name == "code";
                assert!(is_page || place.is_login(answer.location()), "{name} {at}: {answer:?}");
                assert_eq!(copy.cookies.len(), 1, "{name} {at}: a session");
            }
        }
        let without = callback.replace(&format!("&{name}={good}"), "");
        let answer = browser.clone().open(place.envoy.port(), &without);
        assert!(matches!(answer.status, 302 | 400), "no {name}: {answer:?}");
        assert_eq!(answer.headers("set-cookie").len(), usize::from(name == "state"), "no {name}: {answer:?}");
    }
    assert_eq!(browser.open(place.envoy.port(), &callback).location(), place.url("/"));
    assert_eq!(place.app.count(), 0);
}

#[test]
fn sealed_values_do_not_open_in_each_others_place() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    let authorize = place.sends_to_login(&mut browser, "/");
    let session = browser.cookies[0].with_name(SESSION);
    let state = parameter(&authorize, "state").expect("a state");
    for value in [session.value.clone(), state] {
        let cookie = session.with_value(value);
        place.sends_to_login(&mut Navigator { cookies: vec![cookie] }, "/");
    }
}
