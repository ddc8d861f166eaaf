//! Two entries of `providers` with one client_id: what one of them learned is nothing to the other.

use serde_json::{Value, json};

use super::{
    CLIENT_SECRET, NOW, PASSWORD, ask, basic, configuration, granting, jar, on_both, refusing, request,
    signed,
};

const OPEN: &str = "open.example.test";
const STRICT: &str = "strict.example.test";

/// The same provider twice: one entry takes tokens of other issuers, the other does not.
fn entries(changes: &Value) -> String {
    let entry = |host: &str, federated: bool| {
        let mut entry = json!({
            "assigned_application_slug": "demo", "client_id": "demo-client-id", "client_secret": CLIENT_SECRET,
            "cookie_secret": "demo-cookie-secret-0123456789abcdef", "external_host": format!("https://{host}"),
            "federated_bearer": federated, "name": host,
        });
        super::merge(&mut entry, changes);
        entry
    };
    configuration(&json!({}), &json!({"providers": [entry(OPEN, true), entry(STRICT, false)]}))
}

#[test]
fn a_verdict_of_one_entry_is_none_for_another() {
    on_both(|start| {
        let foreign = signed(&json!({"iss": "https://ci.example.test", "aud": "demo"}), "of the CI");
        for verification in ["local", "introspection", "local_then_introspection"] {
            let mut subject = start(&entries(&json!({"bearer_verification": verification})));
            let bearer = format!("Bearer {foreign}");
            let headers = |host| [(":authority", host), ("authorization", &*bearer)];
            let observed = ask(&mut *subject, &headers(OPEN), &granting(json!({})));
            assert_eq!(observed.status(), 200, "{verification}");
            let observed = ask(&mut *subject, &headers(STRICT), &refusing);
            assert_eq!(observed.status(), 401, "{verification}");
            // Good and bad alike.
            let wrong = basic("alice", "wrong");
            let headers = |host| [(":authority", host), ("authorization", &*wrong)];
            assert_eq!(ask(&mut *subject, &headers(OPEN), &refusing).status(), 401);
            assert!(subject.send(&request(&headers(STRICT))).is_none(), "authentik is asked");
            assert_eq!(subject.answer(&granting(json!({}))).map(|observed| observed.status()), Some(200));
        }
    });
}

#[test]
fn a_session_of_one_entry_is_none_for_another() {
    on_both(|start| {
        let configuration = entries(&json!({}));
        let mut subject = start(&configuration);
        let credential = basic("alice", PASSWORD);
        let headers = [(":authority", OPEN), ("authorization", &*credential)];
        ask(&mut *subject, &headers, &granting(json!({})));
        let cookie = jar(&subject.respond(&[]));
        let mut with_cookie =
            |host| subject.send(&request(&[(":authority", host), ("cookie", &cookie)])).unwrap().status();
        assert_eq!((with_cookie(OPEN), with_cookie(STRICT)), (200, 302));
    });
}

/// The application of one provider gets no cookie that is good at another's.
#[test]
fn no_application_gets_another_provider_s_cookies() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({"skip_path_regex": "^/public"}), &json!({})));
        let others = [
            "authentik_proxy_0a1b2c3d=x",
            "__Host-authentik_proxy_0a1b2c3d=x",
            "authentik_proxy_0a1b2c3d_0=x",
            "authentik_proxy_0a1b2c3d_login=x",
            "__Host-authentik_proxy_0a1b2c3d_login_1=x",
        ]
        .join("; ");
        let credential = basic("alice", PASSWORD);
        for headers in [vec![("authorization", &*credential)], vec![(":path", "/public")]] {
            for (sent, left) in [(others.clone(), None), (format!("a=1; {others}; b=2"), Some("a=1; b=2"))] {
                let headers = [headers.clone(), vec![("cookie", &*sent)]].concat();
                let observed = ask(&mut *subject, &headers, &granting(json!({})));
                assert_eq!((observed.status(), observed.header("cookie")), (200, left), "{headers:?}");
            }
        }
    });
}

/// What is granted for a token of another issuer ends with that token: verdict, session, and what another worker learns.
#[test]
fn a_session_of_a_foreign_token_ends_with_it() {
    on_both(|start| {
        let configuration = entries(&json!({}));
        let foreign = signed(&json!({"iss": "https://ci.example.test", "exp": NOW + 6}), "of the CI");
        let bearer = format!("Bearer {foreign}");
        let mut subject = start(&configuration);
        let headers = [(":authority", OPEN), ("authorization", &*bearer)];
        let observed = ask(&mut *subject, &headers, &granting(json!({})));
        assert_eq!(observed.status(), 200, "{observed:?}");
        let set = subject.respond(&[]);
        assert!(set.len() == 1 && set[0].ends_with("Max-Age=6"), "{set:?}");
        let cookie = jar(&set);
        for (seconds, status) in [(5, 200), (6, 302)] {
            let mut replica = start(&configuration);
            replica.advance(seconds);
            let observed = replica.send(&request(&[(":authority", OPEN), ("cookie", &cookie)])).unwrap();
            assert_eq!(observed.status(), status, "after {seconds} seconds");
        }
        let mut replica = start(&configuration);
        replica.advance(6);
        let both = [(":authority", OPEN), ("authorization", &*bearer), ("cookie", &*cookie)];
        assert_eq!(ask(&mut *replica, &both, &refusing).status(), 401, "an expired token with its cookie");
    });
}
