//! The filter's own pages in a real browser: their links, their keys, their looks, and that they need nothing from
//! anywhere. `SCREENSHOTS=write` replaces the pictures in `docs/images`.

use std::fs;

use fake_authentik::{Fault, INTROSPECT, TOKEN};
use local_envoy::module::root;
use serde_json::{Value, json};

use super::chromium::{assert_login_page, assert_user, place, sign_in};
use super::chromium_driver::{Chromium, ENTER, TAB};
use super::place::{Place, eventually, provider};

/// What `docs/design.md` shows.
const PICTURES: [&str; 7] = [
    "401-light.png",
    "401-dark.png",
    "403-light.png",
    "403-dark.png",
    "503-light.png",
    "503-dark.png",
    "503-light-narrow.png",
];

/// One at a host of its own, whose sessions authentik confirms every second.
fn place_with_confirmations() -> Place {
    place(|port| provider("demo", &format!("http://app.localhost:{port}"), json!({"revalidate_seconds": 1})))
}

/// authentik's own outage, and when it says it will be over.
fn outage(retry_after: &str) -> Fault {
    Fault::Status(503, vec![("retry-after".to_owned(), retry_after.to_owned())], String::new())
}

/// alice has a session; then authentik fails for so many seconds, and the browser shows that at this path.
fn show_outage(chromium: &Chromium, place: &Place, target: &str, retry_after: &str) {
    chromium.open(&place.url("/"));
    sign_in(chromium, "alice");
    assert_user(chromium, "alice");
    place.authentik.fault(INTROSPECT, outage(retry_after));
    eventually("a confirmation is due", || {
        chromium.open(&place.url(target));
        chromium.title() == "Service Unavailable"
    });
}

/// Somebody signs in whose account says neither who it is nor anything else but this e-mail address.
fn show_forbidden(chromium: &Chromium, place: &Place, email: &str) {
    place.authentik.edit_provider("demo", |provider| provider.scopes = &["openid", "email"]);
    place.authentik.edit_user("eve", |user| user.email = email.to_owned());
    chromium.open(&place.url("/"));
    sign_in(chromium, "eve");
    eventually("the login ends", || chromium.title() == "Forbidden");
}

/// From now on tokens name their user.
fn mend_scopes(place: &Place) {
    place.authentik.edit_provider("demo", |provider| provider.scopes = &["openid", "email", "profile"]);
}

/// The value of an expression in the page.
fn value(chromium: &Chromium, expression: &str) -> Value {
    chromium.script(&format!("done({expression})"))
}

fn violations(chromium: &Chromium) -> Vec<String> {
    chromium.console().into_iter().filter(|line| line.contains("Content Security Policy")).collect()
}

/// The text of what has the focus, and how it shows that.
fn focus(chromium: &Chromium) -> (Value, Value) {
    let style = "getComputedStyle(document.activeElement).outlineStyle";
    (value(chromium, "document.activeElement.textContent"), value(chromium, style))
}

#[test]
fn after_an_outage_the_link_leads_to_the_page_asked_for() {
    let Some(chromium) = Chromium::start() else { return };
    let place = place_with_confirmations();
    show_outage(&chromium, &place, "/page?x='%22&y=1", "300");
    place.authentik.clear_faults();
    chromium.click("a");
    assert_user(&chromium, "alice");
    assert_eq!(chromium.url(), place.url("/page?x=%27%22&y=1"));
}

#[test]
fn an_outage_page_loads_itself_until_the_application_is_there() {
    let Some(chromium) = Chromium::start() else { return };
    let place = place_with_confirmations();
    show_outage(&chromium, &place, "/page?x=1", "1");
    let before = place.authentik.count(INTROSPECT);
    eventually("the page asks again", || place.authentik.count(INTROSPECT) >= before + 2);
    place.authentik.clear_faults();
    assert_user(&chromium, "alice");
    assert_eq!(chromium.url(), place.url("/page?x=1"));
}

#[test]
fn a_login_that_an_outage_interrupts_goes_on_where_it_was_to_lead() {
    let Some(chromium) = Chromium::start() else { return };
    let place = place_with_confirmations();
    place.authentik.fault(TOKEN, outage("300"));
    chromium.open(&place.url("/deep?x=1"));
    sign_in(&chromium, "alice");
    eventually("the login ends", || chromium.title() == "Service Unavailable");
    assert!(chromium.url().contains("code="), "{}", chromium.url());
    place.authentik.clear_faults();
    chromium.click("a");
    assert_user(&chromium, "alice");
    assert_eq!(chromium.url(), place.url("/deep?x=1"));
}

#[test]
fn another_account_can_be_used_after_a_403() {
    let Some(chromium) = Chromium::start() else { return };
    let place = place_with_confirmations();
    let email = "<b>\"eve\"</b> & 'co'@example.test";
    show_forbidden(&chromium, &place, email);
    assert_eq!(chromium.text("bdi"), email);
    assert_eq!(value(&chromium, "document.querySelectorAll('b').length"), 0);

    mend_scopes(&place);
    chromium.click("a");
    assert!(chromium.text("h1").contains("logged out of the application"), "authentik's page");
    chromium.click("#log-out");
    assert!(chromium.text("body").contains("You've logged out."), "authentik's own session ends");
    chromium.open(&place.url("/"));
    assert_login_page(&chromium);
    sign_in(&chromium, "alice");
    assert_user(&chromium, "alice");
}

#[test]
fn pages_can_be_used_by_keyboard() {
    let Some(chromium) = Chromium::start() else { return };
    let place = place_with_confirmations();
    show_outage(&chromium, &place, "/page", "300");
    chromium.press(TAB);
    assert_eq!(focus(&chromium), (json!("Try again"), json!("solid")));
    place.authentik.clear_faults();
    chromium.press(ENTER);
    assert_user(&chromium, "alice");

    chromium.forget_cookies();
    chromium.open(&place.url("/outpost.goauthentik.io/sign_out"));
    chromium.click("#log-out");
    assert!(chromium.text("body").contains("You've logged out."));
    show_forbidden(&chromium, &place, "eve@example.test");
    chromium.press(TAB);
    assert_eq!(focus(&chromium), (json!("Use another account"), json!("solid")));
    chromium.press(ENTER);
    assert!(chromium.text("h1").contains("logged out of the application"), "authentik's page");
}

/// A request that says it is a script's, for which the browser asks for no password.
fn show_unauthorized(chromium: &Chromium, place: &Place) {
    chromium.add_headers(&json!({"X-Requested-With": "XMLHttpRequest"}));
    chromium.open(&place.url("/page"));
    chromium.add_headers(&json!({}));
    assert_eq!(chromium.title(), "Unauthorized");
}

#[test]
fn pages_need_nothing_from_anywhere_in_light_dark_and_narrow_windows() {
    let Some(chromium) = Chromium::start() else { return };
    let place = place_with_confirmations();
    chromium.open(&place.url("/outpost.goauthentik.io/callback"));
    assert_looks(&chromium, "400");
    show_unauthorized(&chromium, &place);
    assert_looks(&chromium, "401");
    show_forbidden(&chromium, &place, "eve@example.test");
    assert_looks(&chromium, "403");
    value(&chromium, "document.querySelector('bdi').textContent = 'w'.repeat(64)");
    assert_eq!(widths(&chromium), json!([320, 320]), "a long name makes the window scroll sideways");
    mend_scopes(&place);
    chromium.open(&place.url("/outpost.goauthentik.io/sign_out"));
    chromium.click("#log-out");
    show_outage(&chromium, &place, "/page", "300");
    assert_looks(&chromium, "503");

    // The console would have said it.
    let style = "Object.assign(document.createElement('style'), {textContent: 'a{}'})";
    value(&chromium, &format!("document.head.append({style})"));
    assert_eq!(violations(&chromium).len(), 1);
}

/// What a person sees of the page that is open, and that its style sheet counts.
fn assert_looks(chromium: &Chromium, name: &str) {
    let mut seen = Vec::new();
    for scheme in ["light", "dark"] {
        for (size, width, height) in [("", 640, 400), ("-narrow", 320, 480)] {
            chromium.look(width, height, scheme);
            assert_eq!(widths(chromium), json!([width, width]), "{name} {scheme} scrolls sideways");
            let colours =
                "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]";
            seen.push(value(chromium, colours));
            write(&format!("{name}-{scheme}{size}.png"), &chromium.screenshot());
        }
    }
    assert!(seen[0] == seen[1] && seen[2] == seen[3] && seen[0] != seen[2], "{name}: {seen:?}");
    assert!(value(chromium, "document.querySelector('code').textContent").as_str().unwrap().len() > 30);
    assert_eq!(violations(chromium), [""; 0], "{name}");
}

/// How wide the page is, and the window.
fn widths(chromium: &Chromium) -> Value {
    value(chromium, "[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
}

/// Replaces a picture of the documentation, if there is one of this name and that is wanted.
fn write(name: &str, picture: &[u8]) {
    if PICTURES.contains(&name) && std::env::var("SCREENSHOTS").is_ok_and(|it| it == "write") {
        fs::write(root().join("docs/images").join(name), picture).expect("the picture is written");
    }
}

#[test]
fn each_picture_of_a_page_is_small_and_in_the_documentation() {
    let design = fs::read_to_string(root().join("docs/design.md")).unwrap();
    for name in PICTURES {
        let picture = fs::read(root().join("docs/images").join(name)).expect(name);
        assert!(
            picture.starts_with(b"\x89PNG\r\n") && picture.len() < 40_000,
            "{name}: {} bytes",
            picture.len()
        );
        assert!(design.contains(&format!("](images/{name})")), "{name} is not in docs/design.md");
    }
}
