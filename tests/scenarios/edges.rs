//! Where a rule ends: what is just covered by it, and what is just not.

use serde_json::json;

use super::{
    NOW, PASSWORD, Subject, ask, basic, callback_path, configuration, granting, jar, log_in, on_both,
    parameter, refusing, request, token,
};

/// A browser that comes back from a login is sent there.
fn landing(subject: &mut dyn Subject, headers: &[(&str, &str)]) -> String {
    let begun = subject.send(&request(headers)).expect("no call is needed to begin");
    let location = begun.header("location").unwrap();
    let cookie = jar(&begun.headers("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>());
    let callback = callback_path(&parameter(location, "state").unwrap());
    let nonce = parameter(location, "nonce").unwrap();
    let headers = [(":path", callback.as_str()), ("cookie", &cookie)];
    let ended = ask(subject, &headers, &granting(json!({"nonce": nonce})));
    ended.header("location").expect("the end of a login").to_owned()
}

#[test]
fn only_a_preflight_passes_and_only_where_it_may() {
    on_both(|start| {
        let preflight: &[(&str, &str)] =
            &[(":method", "OPTIONS"), ("origin", "https://a"), ("access-control-request-method", "PUT")];
        let get: &[(&str, &str)] = &[("origin", "https://a"), ("access-control-request-method", "PUT")];
        for (is_allowed, headers, status) in
            [(true, preflight, 200), (true, get, 302), (true, &[], 302), (false, preflight, 401)]
        {
            let rest = json!({"allow_cors_preflight": is_allowed});
            let observed = start(&configuration(&json!({}), &rest)).send(&request(headers)).unwrap();
            assert_eq!(observed.status(), status, "allowed: {is_allowed}, {headers:?}");
        }
    });
}

#[test]
fn a_path_that_only_looks_like_the_outpost_s_is_the_application_s() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let cookie = log_in(&mut *subject, "alice");
        let mut status =
            |path: &str| subject.send(&request(&[(":path", path), ("cookie", &cookie)])).unwrap().status();
        for path in [
            "/x?X-authentik-logout=false",
            "/x?X-authentik-logout",
            "/x?X-authentik-other=true",
            "/x?x=X-authentik-logout=true",
            "/x?X%2Dauthentik-logout=true",
            "/outpost.goauthentik.iox?X-authentik-other=true",
        ] {
            assert_eq!(status(path), 200, "{path}");
        }
        assert_eq!(status("/outpost.goauthentik.iox?X-authentik-logout=true"), 302, "any path, it says");
    });
}

#[test]
fn a_return_url_has_the_provider_s_scheme_and_a_length() {
    on_both(|start| {
        for (own, other) in [("http", "https"), ("https", "http")] {
            let host = format!("{own}://app.example.test");
            let mut subject = start(&configuration(&json!({"external_host": host}), &json!({})));
            let mut landing = |wanted: &str| {
                landing(&mut *subject, &[(":path", &format!("/outpost.goauthentik.io/start?rd={wanted}"))])
            };
            assert_eq!(landing(&format!("{own}://app.example.test/a")), format!("{host}/a"));
            assert_eq!(landing(&format!("{other}://app.example.test/a")), format!("{host}/"));
            let long = |length: usize| format!("{host}/{}", "a".repeat(length - host.len() - 1));
            assert_eq!(landing(&long(2_048)), long(2_048));
            for length in [2_049, 2_050] {
                assert_eq!(landing(&long(length)), format!("{host}/"), "{length} bytes");
            }
        }
    });
}

/// The outpost behind the filter would judge it as well; but nothing is put together that could be another host's.
#[test]
fn a_target_that_is_no_path_is_not_returned_to() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({"session": {"enabled": false}})));
        for target in [".evil.test/", "@evil.test/", "*", "https://evil.test/"] {
            let observed = subject.send(&request(&[(":path", target)])).unwrap();
            let location =
                "https://app.example.test/outpost.goauthentik.io/start?rd=https%3A%2F%2Fapp.example.test";
            assert_eq!((observed.status(), observed.header("location")), (302, Some(location)), "{target}");
        }
    });
}

#[test]
fn a_path_prefix_of_authentik_s_is_in_every_call() {
    on_both(|start| {
        let rest = json!({"authentik": {"cluster": "authentik", "host": "https://auth.example.test/sso/"}});
        let mut subject = start(&configuration(&json!({}), &rest));
        assert!(subject.send(&request(&[("authorization", &basic("alice", PASSWORD))])).is_none());
        assert_eq!(subject.calls(), ["/sso/application/o/token/"]);
    });
}

/// What was introspected is asked for again when the cache says so, also where sessions are confirmed less often; what was
/// verified here need not be asked for before that.
#[test]
fn revalidation_does_not_prolong_what_was_introspected() {
    on_both(|start| {
        let bearer = format!("Bearer {}", token(&json!({})));
        let headers = request(&[("authorization", &bearer)]);
        for (verification, seconds) in
            [("local", 300), ("introspection", 60), ("local_then_introspection", 60)]
        {
            let provider = json!({"bearer_verification": verification, "revalidate_seconds": 300});
            let rest = json!({"cache": {"ttl_seconds": 60}});
            let mut subject = start(&configuration(&provider, &rest));
            assert!(subject.send(&headers).is_none());
            assert_eq!(subject.answer(&granting(json!({}))).map(|observed| observed.status()), Some(200));
            subject.advance(seconds - 1);
            assert_eq!(subject.send(&headers).expect("known").status(), 200, "{verification}");
            subject.advance(1);
            assert!(subject.send(&headers).is_none(), "{verification}");
        }
    });
}

/// The verdict takes its time, and the session that the request came with ends in the meantime.
#[test]
fn a_session_that_ends_while_a_request_waits_is_over() {
    on_both(|start| {
        let configuration = configuration(&json!({"intercept_header_auth": false}), &json!({}));
        for (seconds, status) in [(59, 200), (60, 302), (61, 302)] {
            let mut subject = start(&configuration);
            let sam = granting(json!({"preferred_username": "sam", "exp": NOW + 60}));
            ask(&mut *subject, &[("authorization", &basic("sam", PASSWORD))], &sam);
            let cookie = jar(&subject.respond(&[]));
            let headers = request(&[("authorization", &basic("alice", "wrong")), ("cookie", &cookie)]);
            assert!(subject.send(&headers).is_none());
            subject.advance(seconds);
            let observed = subject.answer(&refusing);
            assert_eq!(observed.map(|observed| observed.status()), Some(status), "after {seconds} seconds");
        }
    });
}
