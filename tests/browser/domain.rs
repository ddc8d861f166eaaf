//! One login for all hosts below a cookie domain: the callback is on the provider's own host, and the browser comes
//! back to the host that it asked.

use loopback::header_values;
use serde_json::json;

use super::navigator::Navigator;
use super::place::{Place, provider};

fn place() -> Place {
    let settings = json!({"mode": "forward_domain", "cookie_domain": "apps.test"});
    Place::new(|options| {
        options.configure("/providers/0", provider("demo-domain", "https://sso.apps.test", settings))
    })
}

#[test]
fn login_is_valid_on_every_host_of_the_cookie_domain() {
    let place = place();
    let port = place.envoy.port();
    let mut browser = Navigator::default();
    let begun = browser.open(port, "https://one.apps.test/deep?x=1");
    let callback = place.authentik.approve(begun.location(), "alice");
    assert!(callback.starts_with("https://sso.apps.test/outpost.goauthentik.io/callback?"), "{callback}");
    let back = browser.open(port, &callback);
    assert_eq!(back.location(), "https://one.apps.test/deep?x=1");
    assert!(browser.cookies.iter().all(|cookie| cookie.has("domain=apps.test")), "{:?}", browser.cookies);

    place.authentik.forget_calls();
    for url in ["https://one.apps.test/deep?x=1", "https://two.apps.test/", "https://a.b.apps.test:8443/"] {
        let shown = browser.open(port, url).shown();
        assert_eq!(header_values(&shown, "x-authentik-username"), ["alice"], "{url}");
    }
    assert_eq!(place.authentik.calls().len(), 0);
}

#[test]
fn a_browser_on_another_domain_has_no_session_and_comes_back_to_no_other_domain() {
    let place = place();
    let port = place.envoy.port();
    let mut browser = Navigator::default();
    let begun = browser.open(port, "https://one.apps.test/").location().to_owned();
    browser.open(port, &place.authentik.approve(&begun, "alice"));
    assert_eq!(browser.cookie_header("apps.test.evil.test"), "");
    assert_eq!(browser.cookie_header("evilapps.test"), "");

    for rd in ["https://evilapps.test/", "https://apps.test.evil.test/", "http://one.apps.test/"] {
        let mut browser = Navigator::default();
        let start = format!("https://one.apps.test/outpost.goauthentik.io/start?rd={rd}");
        let callback = place.authentik.approve(browser.open(port, &start).location(), "alice");
        assert_eq!(browser.open(port, &callback).location(), "https://sso.apps.test/", "{rd}");
    }
    let mut browser = Navigator::default();
    let start = "https://sso.apps.test/outpost.goauthentik.io/start?rd=https://two.apps.test/x";
    let callback = place.authentik.approve(browser.open(port, start).location(), "alice");
    assert_eq!(browser.open(port, &callback).location(), "https://two.apps.test/x");
}
