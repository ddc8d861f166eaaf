//! Paths that need no authentication: what of a credential reaches the application there.

use serde_json::json;

use super::{
    NOW, Observed, PASSWORD, ask, basic, configuration, granting, jar, on_both, request, signed, token,
};

const OPEN: (&str, &str) = (":path", "/public/a");

fn open(provider: serde_json::Value) -> String {
    let mut changes = json!({"skip_path_regex": "^/public"});
    super::merge(&mut changes, &provider);
    configuration(&changes, &json!({}))
}

/// On a replica, or after the verdict has ended, nothing is known of the credential but that the session came from it.
#[test]
fn a_session_s_own_credential_never_reaches_the_application() {
    on_both(|start| {
        let bearer = format!("Bearer {}", token(&json!({})));
        for credential in
            [basic("alice", PASSWORD), bearer, basic("goauthentik.io/token", &token(&json!({})))]
        {
            for provider in
                [json!({}), json!({"revalidate_seconds": 30}), json!({"intercept_header_auth": false})]
            {
                let configuration = open(provider.clone());
                let mut first = start(&configuration);
                ask(&mut *first, &[("authorization", &credential)], &granting(json!({})));
                let cookie = jar(&first.respond(&[]));
                assert!(!cookie.is_empty());
                for seconds in [0, 29, 30, 61] {
                    let mut replica = start(&configuration);
                    replica.advance(seconds);
                    let headers = request(&[OPEN, ("authorization", &credential), ("cookie", &cookie)]);
                    let observed = replica.send(&headers).expect("nothing is asked on an open path");
                    let Observed::Forwarded(_) = observed else { panic!("{observed:?}") };
                    assert_eq!(observed.header("authorization"), None, "{provider} after {seconds} seconds");
                }
            }
        }
    });
}

/// authentik vouched for it, and the identity has no user name.
#[test]
fn a_credential_without_a_user_name_never_reaches_the_application() {
    on_both(|start| {
        let configuration = open(json!({}));
        let credential = basic("alice", PASSWORD);
        let nameless = granting(json!({"preferred_username": ""}));
        for has_login in [false, true] {
            let mut subject = start(&configuration);
            let cookie = if has_login { super::log_in(&mut *subject, "sam") } else { String::new() };
            let observed = ask(&mut *subject, &[("authorization", &credential)], &nameless);
            assert_eq!(observed.status(), 403);
            for path in ["/public/a", "/"].into_iter().filter(|path| has_login || *path != "/") {
                let headers = [(":path", path), ("authorization", &*credential), ("cookie", &*cookie)];
                let observed = subject.send(&request(&headers)).expect("nothing is asked");
                let name = observed.header("x-authentik-username");
                assert_eq!((observed.status(), name), (200, has_login.then_some("sam")), "{path}");
                assert_eq!(observed.header("authorization"), None, "{path}");
            }
        }
    });
}

#[test]
fn unknown_credential_on_an_open_path_reaches_the_application() {
    on_both(|start| {
        let configuration = open(json!({}));
        let mut first = start(&configuration);
        ask(&mut *first, &[("authorization", &basic("alice", PASSWORD))], &granting(json!({})));
        let cookie = jar(&first.respond(&[]));
        for other in [basic("alice", "another"), basic("app", "own"), "Digest username=\"x\"".to_owned()] {
            for cookie in ["", &*cookie] {
                let headers = request(&[OPEN, ("authorization", &other), ("cookie", cookie)]);
                let observed = start(&configuration).send(&headers).unwrap();
                assert_eq!(observed.header("authorization"), Some(&*other), "{other}, {cookie}");
            }
        }
    });
}

/// Whatever issuer it names: any application of this authentik, and the one that the configuration names.
#[test]
fn a_token_of_this_authentik_never_reaches_the_application() {
    on_both(|start| {
        let configured = "https://login.example.test/application/o/demo/";
        let configuration = open(json!({"oidc_configuration": {"issuer": configured}}));
        for issuer in [
            configured,
            "https://auth.example.test/application/o/demo/",
            "https://auth.example.test/application/o/other/",
            "http://auth.example.test/application/o/demo/",
            "https://auth.example.test/",
        ] {
            for exp in [NOW - 1, NOW + 60] {
                let spent = signed(&json!({"iss": issuer, "exp": exp}), "whoever signed it");
                for credential in [format!("Bearer {spent}"), basic("goauthentik.io/token", &spent)] {
                    let observed = start(&configuration)
                        .send(&request(&[OPEN, ("authorization", &credential)]))
                        .unwrap();
                    assert_eq!(
                        (observed.status(), observed.header("authorization")),
                        (200, None),
                        "{issuer} {exp}"
                    );
                }
            }
        }
        let foreign = format!("Bearer {}", signed(&json!({"iss": "https://elsewhere.test/"}), "x"));
        let observed = start(&configuration).send(&request(&[OPEN, ("authorization", &foreign)])).unwrap();
        assert_eq!(observed.header("authorization"), Some(&*foreign), "of another issuer");
    });
}

#[test]
fn path_with_special_escape_is_not_open() {
    on_both(|start| {
        let mut subject = start(&open(json!({})));
        let mut status = |path: &str| subject.send(&request(&[(":path", path)])).unwrap().status();
        for path in ["/public/a", "/public/%20", "/public/%c3%bc"] {
            assert_eq!(status(path), 200, "{path}");
        }
        for path in
            ["/public/%c0%ae%c0%ae/admin", "/public/%61", "/%70ublic", "/public/%ff", "/public/%2e%2e/x"]
        {
            assert_eq!(status(path), 302, "{path}");
        }
    });
}
