//! Nothing is stored: any Envoy with the same configuration goes on where another left off, and secrets can be
//! changed without logging anybody out.

use fake_authentik::TOKEN;
use local_envoy::Envoy;
use loopback::header_values;
use serde_json::json;

use super::navigator::Navigator;
use super::place::Place;

const OLD: &str = "the old cookie secret, of more than thirty-two bytes";
const NEW: &str = "the new cookie secret, of more than thirty-two bytes";

fn username_at(envoy: &Envoy, place: &Place, browser: &mut Navigator) -> Option<String> {
    let answer = browser.open(envoy.port(), &place.url("/"));
    (answer.status == 200).then(|| header_values(&answer.shown(), "x-authentik-username").concat())
}

#[test]
fn a_second_envoy_takes_over_in_mid_flow_and_after_it() {
    let place = Place::new(|options| options);
    let second = place.another(|options| options);
    let mut browser = Navigator::default();
    let authorize = place.sends_to_login(&mut browser, "/page?x=1");
    let callback = place.authentik.approve(&authorize, "alice");
    let back = browser.open(second.port(), &callback);
    assert_eq!(back.location(), place.url("/page?x=1"), "the callback came to another Envoy");
    place.authentik.forget_calls();
    place.shows(&mut browser, "/page?x=1", "alice");
    assert_eq!(username_at(&second, &place, &mut browser).as_deref(), Some("alice"));
    assert_eq!(place.authentik.count(TOKEN), 0);
}

#[test]
fn a_session_outlives_the_envoy_that_made_it() {
    let place = Place::new(|options| options);
    let first = place.another(|options| options);
    let mut browser = Navigator::default();
    let authorize = browser.open(first.port(), &place.url("/")).location().to_owned();
    let callback = place.authentik.approve(&authorize, "alice");
    assert_eq!(browser.open(first.port(), &callback).status, 302);
    drop(first);
    place.shows(&mut browser, "/", "alice");
}

#[test]
fn the_first_cookie_secret_seals_and_all_of_them_open() {
    let secret = "/providers/0/cookie_secret";
    let old = Place::new(|options| options.configure(secret, json!([OLD])));
    let both = old.another(|options| options.configure(secret, json!([NEW, OLD])));
    let new = old.another(|options| options.configure(secret, json!([NEW])));

    let mut early = old.alice();
    assert_eq!(username_at(&both, &old, &mut early).as_deref(), Some("alice"));
    assert_eq!(username_at(&new, &old, &mut early), None);

    let mut late = Navigator::default();
    let authorize = late.open(both.port(), &old.url("/")).location().to_owned();
    let callback = old.authentik.approve(&authorize, "alice");
    assert_eq!(late.open(both.port(), &callback).location(), old.url("/"));
    assert_eq!(username_at(&new, &old, &mut late).as_deref(), Some("alice"));
    assert_eq!(username_at(&old.envoy, &old, &mut late), None);
}

#[test]
fn a_session_is_good_at_its_own_provider_only() {
    let place = Place::new(|options| options);
    let cookies = place.alice().session();
    // The same cookie secret and client_id, another application.
    let other = place.another(|options| options.configure("/providers/0/assigned_application_slug", "rs"));
    let mut browser = Navigator { cookies };
    assert_eq!(username_at(&other, &place, &mut browser), None);
    assert_eq!(username_at(&place.envoy, &place, &mut browser).as_deref(), Some("alice"));
}
