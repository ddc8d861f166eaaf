//! Users with more claims than one cookie holds.

use fake_authentik::TOKEN;
use loopback::header_values;
use reqwest::Method;
use sha2::{Digest as _, Sha256};

use super::navigator::Navigator;
use super::place::{LOGIN, Place, SESSION};

/// alice in so many groups, whose names cannot be packed.
fn groups(place: &Place, count: usize) -> String {
    let name = |number: usize| format!("{:x}", Sha256::digest(number.to_be_bytes()));
    set_groups(place, (0..count).map(name).collect())
}

fn set_groups(place: &Place, names: Vec<String>) -> String {
    let all = names.join("|");
    place.authentik.edit_user("alice", |user| user.groups = names);
    all
}

#[test]
fn a_large_session_is_split_and_comes_back_whole() {
    let place = Place::new(|options| options);
    let groups = groups(&place, 120);
    let mut browser = place.alice();
    let parts = browser.session();
    assert!(parts.len() > 2, "{:?}", browser.names());
    for (number, part) in parts.iter().enumerate() {
        assert_eq!(part.name, format!("{SESSION}_{number}"));
        assert!(part.name.len() + part.value.len() + part.attributes.join("; ").len() < 4_096);
    }
    let shown = place.shows(&mut browser, "/", "alice");
    assert_eq!(header_values(&shown, "x-authentik-groups"), [groups]);
    assert_eq!(header_values(&shown, "cookie"), [""; 0]);

    for missing in [0, 1, parts.len() - 1] {
        let mut torn = browser.clone();
        torn.lose(&format!("{SESSION}_{missing}"));
        place.sends_to_login(&mut torn, "/");
    }
    let mut swapped = browser.clone();
    let (first, second) = (swapped.cookies[0].value.clone(), swapped.cookies[1].value.clone());
    (swapped.cookies[0].value, swapped.cookies[1].value) = (second, first);
    place.sends_to_login(&mut swapped, "/");

    place.open(&mut browser, "/outpost.goauthentik.io/sign_out");
    assert_eq!(browser.names(), [""; 0], "every part is taken away");
}

/// Her cookies are a fifth of what Envoy takes as a request's headers (60 KiB).
#[test]
fn a_user_with_a_thousand_groups_logs_in() {
    let place = Place::new(|options| options);
    let groups = set_groups(&place, (0..1_000).map(|number| format!("group-{number:03}")).collect());
    let mut browser = place.alice();
    let sent: usize = browser.session().iter().map(|part| part.name.len() + part.value.len()).sum();
    assert!(sent < 12_000, "{sent} bytes");
    for _ in 0..2 {
        let shown = place.shows(&mut browser, "/", "alice");
        assert_eq!(header_values(&shown, "x-authentik-groups"), [groups.as_str()]);
    }
}

#[test]
fn a_session_that_became_small_leaves_no_parts_behind() {
    let place = Place::new(|options| options);
    groups(&place, 45);
    let mut browser = place.alice();
    // The parts are there and no longer good: one is lost.
    browser.lose(&format!("{SESSION}_0"));
    assert_eq!(browser.names(), [&format!("{SESSION}_1"), LOGIN]);
    place.log_in(&mut browser, "/", "eve");
    assert_eq!(browser.names(), [SESSION, LOGIN]);
    place.shows(&mut browser, "/", "eve");
}

#[test]
fn oversized_session_is_logged_and_credentials_still_work() {
    let place = Place::new(|options| options);
    groups(&place, 400);
    let mut browser = Navigator::default();
    let answer = place.log_in(&mut browser, "/", "alice");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(browser.session().is_empty());

    let authorization = super::place::alice_basic();
    let mut jar = Navigator::default();
    for _ in 0..2 {
        let headers = [("authorization", authorization.as_str())];
        let answer = jar.send(place.envoy.port(), Method::GET, &place.url("/"), &headers);
        assert_eq!(header_values(&answer.shown(), "x-authentik-username"), ["alice"]);
        assert_eq!(answer.headers("set-cookie"), [""; 0]);
    }
    assert_eq!(place.authentik.count(TOKEN), 2, "one code, one credential");
    assert!(place.envoy.log().contains("no session cookie for alice"), "{}", place.envoy.log());
}
