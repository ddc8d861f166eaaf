//! The login flow as a person sees it: a real browser, its own idea of cookies, redirects and what a navigation is.

use local_envoy::EnvoyOptions;
use loopback::header_values;
use serde_json::{Value, json};

use super::chromium_driver::Chromium;
use super::place::{LOGIN, Place, SESSION, provider};

/// authentik and the application on hosts of their own, as in life: a browser keeps cookies by host, not by port.
pub(super) fn place(provider: impl FnOnce(u16) -> Value) -> Place {
    Place::new(|options| {
        let base = options.configuration["authentik"]["host"].as_str().expect("a host");
        let authentik = base.replace("127.0.0.1", "auth.localhost");
        let provider = provider(options.port());
        let options: EnvoyOptions = options.configure("/authentik/host", authentik);
        options.configure("/providers/0", provider)
    })
}

/// Fills in authentik's login page.
pub(super) fn sign_in(chromium: &Chromium, username: &str) {
    chromium.fill("input[name=username]", username);
    chromium.fill("input[name=password]", &format!("{username}-login-password"));
    chromium.click("button");
}

/// What the application showed.
pub(super) fn shown(chromium: &Chromium) -> Value {
    serde_json::from_str(&chromium.text("pre")).expect("the application's JSON")
}

#[track_caller]
pub(super) fn assert_user(chromium: &Chromium, username: &str) {
    assert_eq!(header_values(&shown(chromium), "x-authentik-username"), [username]);
}

#[track_caller]
pub(super) fn assert_login_page(chromium: &Chromium) {
    assert!(chromium.url().starts_with("http://auth.localhost:"), "{}", chromium.url());
    assert!(chromium.url().contains("/if/flow/default-authentication-flow/"), "{}", chromium.url());
}

/// The status of what a script of the page fetches; `credentials` is what fetch calls so.
fn fetched(chromium: &Chromium, target: &str, credentials: &str) -> Value {
    let fetch = format!("fetch('{target}', {{credentials: '{credentials}'}})");
    chromium.script(&format!("{fetch}.then(answer => done(answer.status), error => done(String(error)))"))
}

#[test]
fn a_person_signs_in_and_out_and_in_again() {
    let Some(chromium) = Chromium::start() else { return };
    let place = place(|port| provider("demo", &format!("http://app.localhost:{port}"), json!({})));

    chromium.open(&place.url("/page?x=1&y=%2F"));
    assert_login_page(&chromium);
    sign_in(&chromium, "alice");
    assert_user(&chromium, "alice");
    assert_eq!(chromium.url(), place.url("/page?x=1&y=%2F"));
    assert_eq!(shown(&chromium)["path"], "/page?x=1&y=%2F");

    // The page's scripts have the session and do not see it; neither does the application.
    assert!(chromium.cookies().iter().any(|name| name.starts_with(SESSION)));
    assert_eq!(chromium.script("done(document.cookie)"), "");
    assert_eq!(fetched(&chromium, "/data", "same-origin"), 200);
    assert_eq!(header_values(&shown(&chromium), "cookie"), [""; 0]);

    chromium.open(&place.url("/outpost.goauthentik.io/sign_out"));
    assert!(chromium.text("h1").contains("logged out of the application"), "authentik's page");
    chromium.click("#log-out");
    assert!(chromium.text("body").contains("You've logged out."), "authentik's own session ends too");

    chromium.open(&place.url("/other"));
    assert_login_page(&chromium);
    sign_in(&chromium, "eve");
    assert_user(&chromium, "eve");
    assert_eq!(chromium.url(), place.url("/other"));
    assert_eq!(chromium.cookies().iter().filter(|name| *name != LOGIN).collect::<Vec<_>>(), [SESSION]);
}

#[test]
fn user_with_authentik_session_sees_no_login_page() {
    let Some(chromium) = Chromium::start() else { return };
    let place = place(|port| provider("demo", &format!("http://app.localhost:{port}"), json!({})));
    chromium.open(&place.url("/"));
    sign_in(&chromium, "alice");
    assert_user(&chromium, "alice");

    chromium.forget_cookies();
    // Without a cookie, and without a person whom the browser could ask for a password.
    assert_eq!(fetched(&chromium, "/data", "omit"), 401, "a script is not sent to a login page");
    chromium.open(&place.url("/again"));
    assert_user(&chromium, "alice");
    assert_eq!(chromium.url(), place.url("/again"));
}

#[test]
fn one_login_is_good_for_all_hosts_of_a_domain() {
    let Some(chromium) = Chromium::start() else { return };
    let place = place(|port| {
        let settings = json!({"mode": "forward_domain", "cookie_domain": "apps.localhost"});
        provider("demo-domain", &format!("http://sso.apps.localhost:{port}"), settings)
    });
    let on = |host: &str| place.url("/deep?x=1").replace("sso.", host);
    chromium.open(&on("one."));
    assert_login_page(&chromium);
    sign_in(&chromium, "alice");
    assert_user(&chromium, "alice");
    assert_eq!(chromium.url(), on("one."));

    place.authentik.forget_calls();
    chromium.open(&on("two."));
    assert_user(&chromium, "alice");
    assert_eq!((chromium.url(), place.authentik.calls().len()), (on("two."), 0));
}

#[test]
fn a_login_that_fails_ends_on_a_page_with_words() {
    let Some(chromium) = Chromium::start() else { return };
    let place = place(|port| provider("demo", &format!("http://app.localhost:{port}"), json!({})));
    chromium.open(
        &place.url("/outpost.goauthentik.io/callback?X-authentik-auth-callback=true?error=access_denied"),
    );
    assert!(chromium.text("h1").contains("400"), "{}", chromium.text("body"));
    assert!(chromium.text("p").contains("Go back to the application and try again"));
}
