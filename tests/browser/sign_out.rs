//! Signing out: the session ends here, authentik is told whose it was, and the next request begins anew.

use local_envoy::EnvoyOptions;

use super::navigator::Navigator;
use super::place::{LOGIN, Place, parameter};

#[test]
fn signing_out_ends_the_session_and_the_next_request_logs_in_again() {
    let place = Place::new(|options| options);
    for target in
        ["/outpost.goauthentik.io/sign_out", "/page?X-authentik-logout=true", "/?a=b&X-authentik-logout=true"]
    {
        let mut browser = place.alice();
        let before = place.app.count();
        let answer = place.open(&mut browser, target);
        let location = answer.location();
        let end = format!("{}/application/o/demo/end-session/", place.authentik.public_base());
        assert_eq!(location.split('?').next(), Some(end.as_str()), "{target}");
        assert_eq!(
            claim(&parameter(location, "id_token_hint").expect("a hint"), "preferred_username"),
            "alice"
        );
        assert_eq!(browser.names(), [""; 0], "{target}");
        assert_eq!(place.app.count(), before, "{target}");

        place.sends_to_login(&mut browser, "/");
        assert_eq!(place.log_in(&mut browser, "/x", "eve").location(), place.url("/x"));
        place.shows(&mut browser, "/x", "eve");
    }
}

#[test]
fn cookies_are_taken_away_with_the_attributes_they_were_set_with() {
    let change = |host: &'static str, domain: &'static str| {
        move |options: EnvoyOptions| {
            let options = options.configure("/providers/0/external_host", host);
            options.configure("/providers/0/cookie_domain", domain)
        }
    };
    for (host, domain) in [("https://app.test", ""), ("https://app.apps.test", "apps.test")] {
        let place = Place::new(change(host, domain));
        let mut browser = place.alice();
        let set = browser.cookies.clone();
        assert!(set.len() > 1, "session and login");
        let answer = place.open(&mut browser, "/outpost.goauthentik.io/sign_out");
        assert_eq!(answer.headers("set-cookie").len(), set.len());
        for cookie in set {
            let line = answer
                .headers("set-cookie")
                .into_iter()
                .find(|line| line.split_once('=').is_some_and(|(name, _)| name == cookie.name));
            let attributes = cookie.attributes.iter().filter(|it| !it.starts_with("max-age"));
            let line = line.expect("each cookie is taken away").to_ascii_lowercase();
            for attribute in attributes {
                assert!(line.contains(&format!("; {attribute}")), "{attribute} in {line}");
            }
            assert!(line.contains("; max-age=0"), "{line}");
        }
    }
}

#[test]
fn signing_out_without_a_session_leads_to_authentik_too() {
    let place = Place::new(|options| options);
    let answer = place.open(&mut Navigator::default(), "/outpost.goauthentik.io/sign_out");
    let end = format!("{}/application/o/demo/end-session/", place.authentik.public_base());
    assert_eq!(answer.location(), end);
    assert_eq!(answer.headers("set-cookie"), [""; 0]);
}

#[test]
fn a_login_under_way_ends_with_signing_out() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    let authorize = place.sends_to_login(&mut browser, "/");
    assert_eq!(browser.names(), [LOGIN]);
    place.open(&mut browser, "/outpost.goauthentik.io/sign_out");
    let answer = browser.open(place.envoy.port(), &place.authentik.approve(&authorize, "alice"));
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(browser.session().is_empty());
}

/// A claim of a token, unverified.
fn claim(token: &str, name: &str) -> String {
    use base64::Engine as _;
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("a JWT"));
    let claims: serde_json::Value = serde_json::from_slice(&payload.expect("base64")).expect("JSON");
    claims[name].as_str().expect("a claim").to_owned()
}
