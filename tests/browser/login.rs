//! The login flow as it should go: one redirect to authentik, one back, and from then on no call.

use fake_authentik::TOKEN;
use loopback::header_values;
use reqwest::Method;

use super::navigator::Navigator;
use super::place::{LOGIN, Place, SESSION, parameter, provider};

#[test]
fn a_browser_logs_in_and_comes_back_to_where_it_was() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    let back = place.log_in(&mut browser, "/a/b?c=d&e=%2F%3D", "alice");
    assert_eq!(back.location(), place.url("/a/b?c=d&e=%2F%3D"));
    assert_eq!(place.app.count(), 0, "the application saw a part of the flow");

    let shown = place.shows(&mut browser, "/a/b?c=d&e=%2F%3D", "alice");
    assert_eq!(shown["path"], "/a/b?c=d&e=%2F%3D");
    assert_eq!(header_values(&shown, "x-authentik-groups"), ["staff|admins-of|pipe|Gruppe Ü"]);
    assert_eq!(header_values(&shown, "x-authentik-email"), ["alice@example.test"]);
    assert!(header_values(&shown, "x-authentik-jwt")[0].starts_with("eyJ"));
}

#[test]
fn session_costs_no_call() {
    let place = Place::new(|options| options);
    let mut browser = place.alice();
    assert_eq!(place.authentik.count(TOKEN), 1, "one code, one exchange");
    place.authentik.forget_calls();
    for _ in 0..5 {
        place.shows(&mut browser, "/", "alice");
    }
    assert_eq!((place.authentik.calls().len(), place.app.count()), (0, 5));
}

#[test]
fn the_application_gets_its_own_cookies_and_not_the_filters() {
    let place = Place::new(|options| options);
    let mut browser = place.eve();
    assert_eq!(browser.names(), [SESSION, LOGIN]);
    let shown = place.shows(&mut browser, "/", "eve");
    assert_eq!(header_values(&shown, "cookie"), [""; 0]);
    place.shows(&mut browser, "/?set-cookie=theme%3Ddark%3B+Max-Age%3D60", "eve");
    let shown = place.shows(&mut browser, "/", "eve");
    assert_eq!(header_values(&shown, "cookie"), ["theme=dark"]);
}

#[test]
fn the_request_to_authentik_has_what_authentik_checks() {
    let place = Place::new(|options| options);
    let authorize = place.sends_to_login(&mut Navigator::default(), "/");
    let value = |name| parameter(&authorize, name).unwrap_or_default();
    assert_eq!(value("response_type"), "code");
    assert_eq!(value("client_id"), "demo-client-id");
    let callback = place.url("/outpost.goauthentik.io/callback?X-authentik-auth-callback=true");
    assert_eq!(value("redirect_uri"), callback);
    assert_eq!(value("scope"), "openid profile email entitlements ak_proxy");
    assert_eq!(value("code_challenge_method"), "S256");
    for random in ["state", "nonce", "code_challenge"] {
        assert!(value(random).len() > 20, "{random}");
    }
}

#[test]
fn the_callback_works_at_the_outposts_other_address_too() {
    let place = Place::new(|options| options);
    let mut browser = Navigator::default();
    let authorize = place.sends_to_login(&mut browser, "/");
    let callback = place.authentik.approve(&authorize, "alice");
    let other = callback.replace("/outpost.goauthentik.io/callback?", "/?");
    assert_ne!(callback, other);
    assert_eq!(browser.open(place.envoy.port(), &other).location(), place.url("/"));
    place.shows(&mut browser, "/", "alice");
}

/// Name and attributes of the session cookie, and its life.
fn session_cookie(host: &str, domain: &str) -> (String, Vec<String>, u64) {
    let place = Place::new(|options| {
        options.configure("/providers/0/external_host", host).configure("/providers/0/cookie_domain", domain)
    });
    let browser = place.eve();
    let [cookie, login] = &browser.cookies[..] else { panic!("{:?}", browser.names()) };
    assert_eq!(login.name, format!("{}_login", cookie.name));
    let attributes = cookie.attributes.iter().filter(|it| !it.starts_with("max-age")).cloned();
    (cookie.name.clone(), attributes.collect(), cookie.max_age())
}

#[test]
fn the_session_cookie_stays_with_its_host_and_out_of_scripts() {
    let (name, attributes, max_age) = session_cookie("http://app.test", "");
    assert_eq!(name, SESSION);
    assert_eq!(attributes, ["path=/", "httponly", "samesite=lax"]);
    assert!((3500..=3600).contains(&max_age), "as long as the token: {max_age}");

    let (name, attributes, _) = session_cookie("https://app.test", "");
    assert_eq!(name, format!("__Host-{SESSION}"));
    assert_eq!(attributes, ["path=/", "httponly", "samesite=lax", "secure"]);

    let (name, attributes, _) = session_cookie("https://app.apps.test", "apps.test");
    assert_eq!(name, SESSION);
    assert_eq!(attributes, ["path=/", "httponly", "samesite=lax", "secure", "domain=apps.test"]);
}

#[test]
fn a_session_ends_with_the_shortest_of_what_may_end_it() {
    let place = Place::new(|options| options.configure("/session/max_age_seconds", 100));
    assert!(place.alice().session()[0].max_age() <= 100);
    let place = Place::new(|options| options.configure("/providers/0/access_token_validity", 50));
    assert!(place.alice().session()[0].max_age() <= 50);
}

#[test]
fn only_navigations_are_redirected_to_the_login() {
    let place = Place::new(|options| options);
    let port = place.envoy.port();
    let cases: [(Method, &[(&str, &str)]); 5] = [
        (Method::POST, &[]),
        (Method::GET, &[("x-requested-with", "XMLHttpRequest")]),
        (Method::GET, &[("sec-fetch-mode", "cors")]),
        (Method::GET, &[("accept", "application/json")]),
        (Method::DELETE, &[("accept", "text/html")]),
    ];
    // Scripts are challenged for Bearer alone.
    for ((method, headers), challenges) in cases.into_iter().zip([2, 1, 1, 2, 2]) {
        let answer = Navigator::default().send(port, method, &place.url("/"), headers);
        assert_eq!(answer.status, 401, "{headers:?}");
        assert_eq!(answer.headers("www-authenticate").len(), challenges, "{headers:?}");
        assert_eq!(answer.headers("set-cookie"), [""; 0], "{headers:?}");
    }
    assert!(place.is_login(Navigator::default().send(port, Method::GET, &place.url("/"), &[]).location()));
    assert!(place.is_login(Navigator::default().send(port, Method::HEAD, &place.url("/"), &[]).location()));
    assert_eq!(place.app.count(), 0);
}

#[test]
fn the_outposts_paths_are_never_the_applications() {
    let place = Place::new(|options| options);
    let mut browser = place.alice();
    let ping = place.open(&mut browser, "/outpost.goauthentik.io/ping");
    assert_eq!((ping.status, ping.body.as_str()), (204, ""));
    for unknown in
        ["/outpost.goauthentik.io", "/outpost.goauthentik.io/", "/outpost.goauthentik.io/auth/nginx"]
    {
        assert_eq!(place.open(&mut browser, unknown).status, 404, "{unknown}");
    }
    assert_eq!(place.app.count(), 0);
    place.shows(&mut browser, "/outpost.goauthentik.iox", "alice");
}

#[test]
fn a_start_leads_back_to_the_application_and_nowhere_else() {
    let place = Place::new(|options| options);
    let port = place.envoy.port();
    let end_of = |rd: &str| {
        let rd: String = form_urlencoded::byte_serialize(rd.as_bytes()).collect();
        let mut browser = Navigator::default();
        let target = format!("/outpost.goauthentik.io/start?rd={rd}");
        place.log_in(&mut browser, &target, "alice").location().to_owned()
    };
    let own = place.url("/deep/page?x=1&y=2");
    assert_eq!(end_of(&own), own);
    for foreign in [
        "https://evil.test/",
        "//evil.test/",
        "/\\evil.test",
        "http://evil.test:80/",
        "javascript:alert(1)",
        &format!("http://127.0.0.1:{port}@evil.test/"),
        &format!("http://127.0.0.1:{port}.evil.test/"),
        &format!("http://127.0.0.1:{port}\\@evil.test/"),
        &format!("http://127.0.0.1:{port}/\r\nset-cookie: a=b"),
        &format!("http://user@127.0.0.1:{port}/"),
        &format!("https://127.0.0.1:{port}/"),
        &place.url("/outpost.goauthentik.io/sign_out"),
        "",
    ] {
        assert_eq!(end_of(foreign), place.url("/"), "{foreign:?}");
    }
}

#[test]
fn any_kind_of_key_and_an_encrypted_token_make_a_session() {
    for slug in ["rs", "es", "es384", "es512", "rs-jwe"] {
        let host = "https://app.test";
        let place = Place::new(|options| {
            options.configure("/providers/0", provider(slug, host, serde_json::json!({})))
        });
        let mut browser = place.alice();
        place.shows(&mut browser, "/", "alice");
    }
}
