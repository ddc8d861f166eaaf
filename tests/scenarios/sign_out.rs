//! A sign-out ends all sessions of the user at the provider, and nothing else.

use serde_json::json;

use super::{
    Observed, PASSWORD, Subject, ask, basic, configuration, granting, jar, log_in, on_both, refusing, request,
};

const SIGN_OUT: &str = "/outpost.goauthentik.io/sign_out";

fn with_cookie(subject: &mut dyn Subject, cookie: &str) -> Observed {
    subject.send(&request(&[("cookie", cookie)])).expect("nobody is asked about a session")
}

fn sign_out(subject: &mut dyn Subject, cookie: &str) {
    let observed = subject.send(&request(&[(":path", SIGN_OUT), ("cookie", cookie)])).unwrap();
    let location = observed.header("location").unwrap();
    assert!(location.starts_with("https://auth.example.test/application/o/demo/end-session/"), "{location}");
}

/// Logs a user with a `sub` of his own in.
fn log_in_as(subject: &mut dyn Subject, username: &str, sub: &str) -> String {
    let begun = subject.send(&request(&[])).unwrap();
    let login = jar(&begun.headers("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>());
    let location = begun.header("location").unwrap();
    let callback = super::callback_path(&super::parameter(location, "state").unwrap());
    let nonce = super::parameter(location, "nonce");
    let claims = json!({"preferred_username": username, "sub": sub, "nonce": nonce});
    let ended = ask(subject, &[(":path", &callback), ("cookie", &login)], &granting(claims));
    jar(&ended.headers("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn sign_out_ends_every_session_of_the_user_and_of_nobody_else() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let (phone, laptop) = (log_in(&mut *subject, "alice"), log_in(&mut *subject, "alice"));
        let sam = log_in_as(&mut *subject, "sam", "another-sub");
        for cookie in [&phone, &laptop, &sam] {
            assert_eq!(with_cookie(&mut *subject, cookie).status(), 200);
        }
        sign_out(&mut *subject, &phone);
        for cookie in [&phone, &laptop] {
            let observed = with_cookie(&mut *subject, cookie);
            assert_eq!(observed.status(), 302, "{observed:?}");
            let cleared = |line: &&str| line.starts_with("__Host-authentik_proxy_72846b5b=;");
            assert!(observed.headers("set-cookie").iter().any(cleared), "{observed:?}");
        }
        assert_eq!(with_cookie(&mut *subject, &sam).header("x-authentik-username"), Some("sam"));
        // Beside a session that has ended, one that has not is found.
        let both = with_cookie(&mut *subject, &format!("{phone}; {sam}"));
        assert_eq!(both.header("x-authentik-username"), Some("sam"));
    });
}

/// The clock of these tests stands still.
#[test]
fn login_in_the_same_moment_is_good() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let old = log_in(&mut *subject, "alice");
        sign_out(&mut *subject, &old);
        let new = log_in(&mut *subject, "alice");
        assert_eq!(with_cookie(&mut *subject, &new).status(), 200);
        assert_eq!(with_cookie(&mut *subject, &old).status(), 302);
        // A cookie that has ended can end nothing.
        sign_out(&mut *subject, &old);
        assert_eq!(with_cookie(&mut *subject, &new).status(), 200);
        sign_out(&mut *subject, &new);
        assert_eq!(with_cookie(&mut *subject, &new).status(), 302);
    });
}

#[test]
fn sign_out_ends_a_session_for_as_long_as_it_could_have_lasted() {
    on_both(|start| {
        let short = json!({"session": {"max_age_seconds": 1_000}});
        let mut subject = start(&configuration(&json!({"access_token_validity": 1_000}), &short));
        let old = log_in(&mut *subject, "alice");
        sign_out(&mut *subject, &old);
        for _ in 0..10 {
            subject.advance(150);
            assert_eq!(with_cookie(&mut *subject, &old).status(), 302);
        }
    });
}

/// A session of a longer age than is allowed now could outlive what is said of it.
#[test]
fn session_is_no_older_than_is_allowed_now() {
    on_both(|start| {
        let cookie = log_in(&mut *start(&configuration(&json!({}), &json!({}))), "alice");
        let mut subject = start(&configuration(&json!({}), &json!({"session": {"max_age_seconds": 100}})));
        assert_eq!(with_cookie(&mut *subject, &cookie).status(), 200);
        subject.advance(99);
        assert_eq!(with_cookie(&mut *subject, &cookie).status(), 200);
        subject.advance(1);
        assert_eq!(with_cookie(&mut *subject, &cookie).status(), 302);
    });
}

#[test]
fn credential_begins_a_new_session_after_a_sign_out() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let alice = basic("alice", PASSWORD);
        ask(&mut *subject, &[("authorization", &alice)], &granting(json!({})));
        let old = jar(&subject.respond(&[]));
        sign_out(&mut *subject, &old);
        assert_eq!(with_cookie(&mut *subject, &old).status(), 302);
        // authentik has not ended the credential, and nobody is asked.
        let observed = subject.send(&request(&[("authorization", &alice), ("cookie", &old)])).unwrap();
        assert_eq!(observed.status(), 200);
        let set = subject.respond(&[]);
        assert!(!set.iter().any(|line| line.contains("Max-Age=0")), "{set:?}");
        let new = jar(&set);
        assert_ne!(new, old);
        assert_eq!(with_cookie(&mut *subject, &new).status(), 200);
    });
}

/// The sign-out comes while authentik is asked about the session in another tab.
#[test]
fn session_that_is_signed_out_while_it_is_confirmed_gives_no_identity() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({"revalidate_seconds": 30}), &json!({})));
        let cookie = log_in(&mut *subject, "alice");
        let other = log_in(&mut *subject, "alice");
        subject.advance(30);
        assert!(subject.send(&request(&[("cookie", &cookie)])).is_none(), "it is to be confirmed");
        sign_out(&mut *subject, &other);
        let observed = subject.answer(&granting(json!({})));
        if let Some(observed) = observed {
            assert_eq!(observed.status(), 302, "{observed:?}");
        }
        assert_eq!(with_cookie(&mut *subject, &cookie).status(), 302);
        let observed = ask(&mut *subject, &[("cookie", &cookie), (":method", "POST")], &refusing);
        assert_eq!(observed.status(), 401);
    });
}
