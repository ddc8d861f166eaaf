//! The browser's login flow: start, callback, sign-out, and everything that must not end in a session.

use std::collections::BTreeSet;

use serde_json::json;

use super::core::Core;
use super::{
    Observed, Reply, Subject, ask, callback_path, configuration, granting, jar, log_in, on_both, parameter,
    refusing, request,
};

const REFUSED: &str = include_str!("../data/refused-return-urls.txt");

fn default_configuration() -> String {
    configuration(&json!({}), &json!({}))
}

/// A login that was begun: the cookie, and the parameters of the redirect to authentik.
struct Begun {
    cookie: String,
    location: String,
}

impl Begun {
    fn at(subject: &mut dyn Subject, path: &str) -> Self {
        Self::with(subject, &[(":path", path)])
    }

    fn with(subject: &mut dyn Subject, headers: &[(&str, &str)]) -> Self {
        let observed = subject.send(&request(headers)).expect("no call is needed to begin");
        assert_eq!(observed.status(), 302, "{observed:?}");
        Self { cookie: cookie_of(&observed), location: observed.header("location").unwrap().to_owned() }
    }

    fn state(&self) -> String {
        parameter(&self.location, "state").unwrap()
    }

    fn nonce(&self) -> String {
        parameter(&self.location, "nonce").unwrap()
    }

    /// The browser comes back with this state and these cookies, and authentik grants what it is asked for.
    fn come_back(&self, subject: &mut dyn Subject, state: &str, cookie: &str) -> Observed {
        let headers = [(":path", &*callback_path(state)), ("cookie", cookie)];
        ask(subject, &headers, &granting(json!({"nonce": self.nonce()})))
    }
}

fn cookie_of(observed: &Observed) -> String {
    jar(&observed.headers("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>())
}

fn has_session(observed: &Observed) -> bool {
    let is_session = |line: &&str| !line.contains("_login=") && !line.contains("Max-Age=0");
    observed.headers("set-cookie").iter().any(is_session)
}

#[test]
fn a_browser_comes_back_to_where_it_was() {
    on_both(|start| {
        let mut subject = start(&default_configuration());
        let begun = Begun::at(&mut *subject, "/a/b?c=d&e=%20f");
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", "demo-client-id"),
            (
                "redirect_uri",
                "https://app.example.test/outpost.goauthentik.io/callback?X-authentik-auth-callback=true",
            ),
            ("scope", "openid profile email entitlements ak_proxy"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(parameter(&begun.location, name).as_deref(), Some(value));
        }
        assert_eq!(parameter(&begun.location, "code_challenge").map(|challenge| challenge.len()), Some(43));
        let ended = begun.come_back(&mut *subject, &begun.state(), &begun.cookie);
        assert_eq!(ended.header("location"), Some("https://app.example.test/a/b?c=d&e=%20f"));
        assert!(has_session(&ended));
        let observed =
            subject.send(&request(&[("cookie", &cookie_of(&ended))])).expect("no call for a session");
        assert_eq!(observed.header("x-authentik-username"), Some("alice"));
    });
}

/// What one login was told is of no use in another.
#[test]
fn two_logins_have_nothing_in_common() {
    on_both(|start| {
        let mut subject = start(&default_configuration());
        let logins = [(); 3].map(|()| Begun::at(&mut *subject, "/"));
        let all_differ = |what: &str, values: Vec<String>| {
            let distinct: BTreeSet<_> = values.iter().filter(|value| value.len() >= 22).collect();
            assert_eq!(distinct.len(), values.len(), "{what}: {values:?}");
        };
        for name in ["nonce", "code_challenge"] {
            all_differ(name, logins.iter().map(|login| parameter(&login.location, name).unwrap()).collect());
        }
        // A box begins with its nonce. The same one twice under one key would give the contents away.
        let cookies = logins.iter().map(|login| login.cookie.split_once('=').unwrap().1.to_owned());
        let boxes = logins.iter().map(Begun::state).chain(cookies);
        all_differ("nonces of boxes", boxes.map(|sealed| sealed[..32].to_owned()).collect());
    });
}

#[test]
fn another_replica_takes_over_in_mid_flow_and_after_it() {
    on_both(|start| {
        let begun = Begun::at(&mut *start(&default_configuration()), "/");
        let ended = begun.come_back(&mut *start(&default_configuration()), &begun.state(), &begun.cookie);
        let observed =
            start(&default_configuration()).send(&request(&[("cookie", &cookie_of(&ended))])).unwrap();
        assert_eq!(observed.header("x-authentik-username"), Some("alice"));
    });
}

#[test]
fn tabs_share_a_login_and_each_comes_back_to_its_own_page() {
    on_both(|start| {
        let mut subject = start(&default_configuration());
        let first = Begun::at(&mut *subject, "/first");
        let second = Begun::with(&mut *subject, &[(":path", "/second"), ("cookie", &first.cookie)]);
        let ended = first.come_back(&mut *subject, &first.state(), &second.cookie);
        assert_eq!(ended.header("location"), Some("https://app.example.test/first"));
        let late = second.come_back(&mut *subject, &second.state(), &cookie_of(&ended));
        assert_eq!(
            late.header("location"),
            Some("https://app.example.test/second"),
            "it has its session by now"
        );
    });
}

#[test]
fn a_marked_path_is_the_callback_too_and_authentik_s_second_question_mark_is_read() {
    on_both(|start| {
        let mut subject = start(&default_configuration());
        let begun = Begun::at(&mut *subject, "/x");
        let path = format!("/?X-authentik-auth-callback=true&code=c&state={}", begun.state());
        let headers = [(":path", &*path), ("cookie", &*begun.cookie)];
        let ended = ask(&mut *subject, &headers, &granting(json!({"nonce": begun.nonce()})));
        assert_eq!(ended.header("location"), Some("https://app.example.test/x"));
        let malformed = format!(
            "/outpost.goauthentik.io/callback?X-authentik-auth-callback=true?error=login_required&error_description=x&state={}",
            begun.state()
        );
        let observed = subject.send(&request(&[
            (":path", &malformed),
            ("accept", "text/html"),
            ("cookie", &begun.cookie),
        ]));
        let Some(Observed::Replied { status, body, .. }) = observed else { panic!("a page") };
        assert_eq!(status, 400);
        assert!(body.contains("The sign-in did not work") && !body.contains("login_required"), "{body}");
    });
}

#[test]
fn invalid_callback_gives_no_session() {
    on_both(|start| {
        let mut subject = start(&default_configuration());
        let begun = Begun::at(&mut *subject, "/");
        let other_browser = Begun::at(&mut *subject, "/");
        let rest = json!({"providers": [{
            "assigned_application_slug": "other", "client_id": "other-id", "client_secret": "s",
            "cookie_secret": "demo-cookie-secret-0123456789abcdef", "external_host": "https://app.example.test",
        }]});
        let other_provider = Begun::at(&mut *start(&configuration(&json!({}), &rest)), "/");
        let callback = |state: &str| callback_path(state);
        for (why, path, cookie, status) in [
            ("no cookie", callback(&begun.state()), "", 400),
            ("another browser's cookie", callback(&begun.state()), &*other_browser.cookie, 302),
            ("another provider's cookie", callback(&begun.state()), &*other_provider.cookie, 400),
            ("another browser's state", callback(&other_browser.state()), &*begun.cookie, 302),
            ("another provider's state", callback(&other_provider.state()), &*begun.cookie, 302),
            ("no state", callback(""), &*begun.cookie, 302),
            ("a cookie as state", callback(begun.cookie.split('=').nth(1).unwrap()), &*begun.cookie, 302),
            ("no code", callback(&begun.state()).replace("code=a-code", "code="), &*begun.cookie, 400),
        ] {
            let observed = subject.send(&request(&[(":path", &path), ("cookie", cookie)])).expect(why);
            assert_eq!(observed.status(), status, "{why}");
            assert!(!has_session(&observed), "{why}");
            if status == 302 {
                let authorize = "https://auth.example.test/application/o/authorize/?";
                assert!(observed.header("location").unwrap().starts_with(authorize), "{why}: a fresh login");
            }
        }
        subject.advance(600);
        let late = subject
            .send(&request(&[(":path", &callback(&begun.state())), ("cookie", &begun.cookie)]))
            .unwrap();
        assert_eq!((late.status(), has_session(&late)), (400, false), "too late");
    });
}

#[test]
fn a_state_or_cookie_with_any_byte_changed_gives_no_session() {
    on_both(|start| {
        let mut subject = start(&default_configuration());
        let begun = Begun::at(&mut *subject, "/");
        let altered = |text: &str, position: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        };
        let state = begun.state();
        for position in 0..state.len() {
            let observed = begun.come_back(&mut *subject, &altered(&state, position), &begun.cookie);
            assert!(!has_session(&observed) && observed.status() == 302, "state at {position}");
        }
        let value = begun.cookie.find('=').unwrap() + 1;
        for position in value..begun.cookie.len() {
            let observed = begun.come_back(&mut *subject, &state, &altered(&begun.cookie, position));
            assert!(!has_session(&observed) && observed.status() == 400, "cookie at {position}");
        }
    });
}

#[test]
fn token_needs_the_nonce_of_its_login() {
    on_both(|start| {
        for nonce in [json!(null), json!(""), json!("another")] {
            let mut subject = start(&default_configuration());
            let begun = Begun::at(&mut *subject, "/");
            let headers = [(":path", &*callback_path(&begun.state())), ("cookie", &*begun.cookie)];
            let observed = ask(&mut *subject, &headers, &granting(json!({"nonce": nonce})));
            assert_eq!((observed.status(), has_session(&observed)), (400, false), "{nonce}");
        }
    });
}

#[test]
fn a_code_that_authentik_refuses_is_a_fresh_login_and_a_fault_is_a_fault() {
    on_both(|start| {
        let mut subject = start(&default_configuration());
        let begun = Begun::at(&mut *subject, "/");
        let headers = [(":path", &*callback_path(&begun.state())), ("cookie", &*begun.cookie)];
        let observed = ask(&mut *subject, &headers, &refusing);
        assert_eq!((observed.status(), has_session(&observed)), (302, false));
        for answer in [405, 500, 503] {
            let observed = ask(&mut *subject, &headers, &|_| Reply::Body(answer, ""));
            assert_eq!((observed.status(), has_session(&observed)), (503, false));
        }
        let nameless = granting(json!({"nonce": begun.nonce(), "preferred_username": null}));
        assert_eq!(ask(&mut *subject, &headers, &nameless).status(), 403);
    });
}

#[test]
fn three_fruitless_rounds_end_in_a_page() {
    on_both(|start| {
        let mut subject = start(&default_configuration());
        let mut cookie = String::new();
        for round in 0..3 {
            let begun = Begun::with(&mut *subject, &[("cookie", &cookie)]);
            let ended = begun.come_back(&mut *subject, &begun.state(), &begun.cookie);
            assert!(has_session(&ended), "round {round}");
            // The browser keeps the login's cookie and loses the session's.
            let lines: Vec<_> =
                ended.headers("set-cookie").into_iter().filter(|line| line.contains("_login=")).collect();
            cookie = jar(&lines.into_iter().map(str::to_owned).collect::<Vec<_>>());
        }
        let observed = subject.send(&request(&[("cookie", &cookie)])).unwrap();
        assert_eq!(observed.status(), 400, "{observed:?}");
        subject.advance(60);
        assert_eq!(subject.send(&request(&[("cookie", &cookie)])).unwrap().status(), 302, "a minute later");
    });
}

#[test]
fn signing_out_clears_the_session_and_tells_authentik() {
    on_both(|start| {
        for path in ["/outpost.goauthentik.io/sign_out", "/any/path?a=b&X-authentik-logout=true"] {
            let mut subject = start(&default_configuration());
            let cookie = log_in(&mut *subject, "alice");
            let observed = subject.send(&request(&[(":path", path), ("cookie", &cookie)])).unwrap();
            let end_session = "https://auth.example.test/application/o/demo/end-session/?id_token_hint=x";
            assert_eq!(observed.header("location"), Some(end_session));
            let cleared = observed.headers("set-cookie");
            assert_eq!(cleared.len(), 2, "{cleared:?}");
            for line in cleared {
                assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"), "{line}");
            }
        }
    });
}

#[test]
fn the_outpost_s_paths_are_never_the_application_s() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({"skip_path_regex": "."}), &json!({})));
        let mut status = |path: &str| subject.send(&request(&[(":path", path)])).unwrap().status();
        assert_eq!(status("/outpost.goauthentik.io/ping"), 204);
        assert_eq!(status("/outpost.goauthentik.io/ping?x"), 204);
        assert_eq!(status("/outpost.goauthentik.io/start"), 302);
        for path in
            ["/outpost.goauthentik.io", "/outpost.goauthentik.io/", "/outpost.goauthentik.io/auth/nginx"]
        {
            assert_eq!(status(path), 404, "{path}");
        }
        assert_eq!(status("/outpost.goauthentik.iox"), 200);
    });
}

/// Where `/start?rd=…` would lead in the end.
fn return_url(subject: &mut dyn Subject, wanted: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("rd", wanted).finish();
    let begun = Begun::at(subject, &format!("/outpost.goauthentik.io/start?{query}"));
    let ended = begun.come_back(subject, &begun.state(), &begun.cookie);
    ended.header("location").unwrap().to_owned()
}

#[test]
fn no_hostile_return_url_leads_anywhere_else() {
    let mut subject = Core::new(&default_configuration());
    let mut count = 0;
    for line in REFUSED.lines().filter(|line| !line.starts_with('#')) {
        let wanted: String = serde_json::from_str(line).unwrap();
        assert_eq!(return_url(&mut subject, &wanted), "https://app.example.test/", "{line}");
        count += 1;
    }
    assert!(count >= 200, "{count}");
}

#[test]
fn return_urls_on_the_own_host_are_kept() {
    on_both(|start| {
        let mut subject = start(&default_configuration());
        for (wanted, kept) in [
            ("https://app.example.test/a?b=c", "https://app.example.test/a?b=c"),
            ("https://app.example.test", "https://app.example.test/"),
            ("https://app.example.test:443/a", "https://app.example.test/a"),
            ("https://APP.example.test./a", "https://app.example.test/a"),
            ("https://app.example.test//evil.test", "https://app.example.test//evil.test"),
        ] {
            assert_eq!(return_url(&mut *subject, wanted), kept);
        }
    });
}

/// Of the URL that a link may name; the request's own port is one that this filter is behind.
#[test]
fn in_domain_mode_a_return_url_has_a_port_of_ours() {
    on_both(|start| {
        let provider = json!({
            "mode": "forward_domain", "cookie_domain": "example.test", "external_host": "https://auth-app.example.test",
        });
        let mut subject = start(&configuration(&provider, &json!({})));
        let mut landing = |authority: &str, wanted: &str| {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("rd", wanted).finish();
            let start = format!("/outpost.goauthentik.io/start?{query}");
            let begun = Begun::with(&mut *subject, &[(":authority", authority), (":path", &start)]);
            let headers = [
                (":authority", "auth-app.example.test"),
                (":path", &*callback_path(&begun.state())),
                ("cookie", &*begun.cookie),
            ];
            let ended = ask(&mut *subject, &headers, &granting(json!({"nonce": begun.nonce()})));
            ended.header("location").unwrap().to_owned()
        };
        let own = "https://one.example.test/x";
        assert_eq!(landing("one.example.test", own), own);
        let other = "https://one.example.test:8443/x";
        assert_eq!(landing("one.example.test", other), "https://auth-app.example.test/");
        assert_eq!(landing("one.example.test:9443", other), "https://auth-app.example.test/");
        assert_eq!(landing("one.example.test:8443", other), other);
        assert_eq!(landing("one.example.test:8443", own), own);
    });
}

#[test]
fn in_domain_mode_any_host_below_the_cookie_domain_is_the_own() {
    on_both(|start| {
        let provider = json!({
            "mode": "forward_domain", "cookie_domain": "example.test", "external_host": "https://auth-app.example.test",
        });
        let mut subject = start(&configuration(&provider, &json!({})));
        let begun = Begun::with(&mut *subject, &[(":authority", "one.example.test"), (":path", "/x?y")]);
        let uri =
            "https://auth-app.example.test/outpost.goauthentik.io/callback?X-authentik-auth-callback=true";
        assert_eq!(parameter(&begun.location, "redirect_uri").as_deref(), Some(uri));
        let headers = [
            (":authority", "auth-app.example.test"),
            (":path", &*callback_path(&begun.state())),
            ("cookie", &*begun.cookie),
        ];
        let ended = ask(&mut *subject, &headers, &granting(json!({"nonce": begun.nonce()})));
        assert_eq!(ended.header("location"), Some("https://one.example.test/x?y"), "back to the first host");
        for line in ended.headers("set-cookie") {
            assert!(line.contains("; Domain=example.test") && !line.starts_with("__Host-"), "{line}");
        }
        let two = subject
            .send(&request(&[(":authority", "two.example.test"), ("cookie", &cookie_of(&ended))]))
            .unwrap();
        assert_eq!(two.header("x-authentik-username"), Some("alice"));
        let query = "rd=https%3A%2F%2Fexample.test.evil.test%2F";
        let evil = Begun::with(
            &mut *subject,
            &[
                (":authority", "auth-app.example.test"),
                (":path", &format!("/outpost.goauthentik.io/start?{query}")),
            ],
        );
        let headers = [
            (":authority", "auth-app.example.test"),
            (":path", &*callback_path(&evil.state())),
            ("cookie", &*evil.cookie),
        ];
        let ended = ask(&mut *subject, &headers, &granting(json!({"nonce": evil.nonce()})));
        assert_eq!(ended.header("location"), Some("https://auth-app.example.test/"));
    });
}
