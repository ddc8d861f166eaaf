//! Sessions that authentik has ended, several session cookies in one request, and responses that may bring a cookie.

use serde_json::json;

use super::{
    NOW, Observed, PASSWORD, Start, ask, basic, callback_path, configuration, granting, jar, log_in, on_both,
    parameter, refusing, request,
};

fn confirmed() -> String {
    configuration(&json!({"revalidate_seconds": 30}), &json!({}))
}

/// The cookie that a replica gives this user, whose token ends so many seconds from now.
fn cookie_of(start: Start<'_>, username: &str, seconds: u64) -> String {
    let mut replica = start(&confirmed());
    let claims = json!({"preferred_username": username, "exp": NOW + seconds});
    ask(&mut *replica, &[("authorization", &basic(username, PASSWORD))], &granting(claims));
    jar(&replica.respond(&[]))
}

/// The first cookie's session ends while authentik is asked about it.
#[test]
fn the_session_that_was_confirmed_is_the_one_that_is_used() {
    on_both(|start| {
        let (short, long) = (cookie_of(start, "sam", 60), cookie_of(start, "alice", 3600));
        let cookies = format!("{short}; {long}");
        let mut subject = start(&confirmed());
        subject.advance(59);
        assert!(subject.send(&request(&[("cookie", &cookies)])).is_none(), "sam's is to be confirmed");
        subject.advance(1);
        let sam = granting(json!({"preferred_username": "sam"}));
        let observed = subject.answer(&sam).expect("it is over");
        assert_eq!((observed.status(), observed.header("x-authentik-username")), (302, None), "{observed:?}");
        // In time, it is his.
        let mut subject = start(&confirmed());
        subject.advance(58);
        assert!(subject.send(&request(&[("cookie", &cookies)])).is_none());
        subject.advance(1);
        let observed = subject.answer(&sam).unwrap();
        assert_eq!(observed.header("x-authentik-username"), Some("sam"));
    });
}

fn takes_the_cookie_back(observed: &Observed) -> bool {
    let cleared =
        |line: &&str| line.starts_with("__Host-authentik_proxy_72846b5b=;") && line.ends_with("Max-Age=0");
    observed.headers("set-cookie").iter().any(cleared)
}

#[test]
fn a_session_that_authentik_has_ended_is_taken_back_with_the_answer() {
    on_both(|start| {
        let cookie = cookie_of(start, "alice", 3600);
        for (headers, status) in [
            (vec![], 302),
            (vec![(":method", "POST")], 401),
            (vec![("authorization", "Basic !")], 401),
            (vec![("authorization", "Basic YWxpY2U6eA==")], 401),
        ] {
            let mut subject = start(&confirmed());
            subject.advance(30);
            let headers = [headers, vec![("cookie", &*cookie)]].concat();
            let observed = ask(&mut *subject, &headers, &refusing);
            assert_eq!(observed.status(), status, "{headers:?}");
            assert!(takes_the_cookie_back(&observed), "{headers:?}: {observed:?}");
        }
        // What is good beside it brings a session of its own.
        let mut subject = start(&confirmed());
        let credential = basic("alice", PASSWORD);
        ask(&mut *subject, &[("authorization", &credential)], &granting(json!({})));
        let old = jar(&subject.respond(&[]));
        subject.advance(30);
        let other = basic("alice", "another-app-password");
        let headers = [("cookie", &*old), ("authorization", &*other)];
        let observed = ask(&mut *subject, &headers, &|path| match path {
            "/application/o/introspect/" => refusing(path),
            path => granting(json!({}))(path),
        });
        assert_eq!(observed.status(), 200, "{observed:?}");
        let set = subject.respond(&[]);
        assert!(set.len() == 1 && !set[0].contains("Max-Age=0"), "{set:?}");
    });
}

/// The old cookie comes back with the callback: the login must not take it for another tab's.
#[test]
fn a_user_whose_session_was_ended_can_log_in_again_at_once() {
    on_both(|start| {
        let mut subject = start(&confirmed());
        let old = log_in(&mut *subject, "alice");
        subject.advance(30);
        let observed = ask(&mut *subject, &[("cookie", &old)], &refusing);
        assert_eq!(observed.status(), 302, "authentik has ended it");
        let location = observed.header("location").unwrap().to_owned();
        let set: Vec<_> = observed.headers("set-cookie").into_iter().map(str::to_owned).collect();
        let (callback, login) = (callback_path(&parameter(&location, "state").unwrap()), jar(&set));
        let good = granting(json!({"nonce": parameter(&location, "nonce"), "exp": NOW + 3600}));
        for kept in ["", &*format!("{old}; ")] {
            let cookies = format!("{kept}{login}");
            let ended = ask(&mut *subject, &[(":path", &callback), ("cookie", &cookies)], &good);
            assert_eq!(
                (ended.status(), ended.header("location")),
                (302, Some("https://app.example.test/")),
                "kept {kept:?}"
            );
            let set: Vec<_> = ended.headers("set-cookie").into_iter().map(str::to_owned).collect();
            let observed = subject.send(&request(&[("cookie", &jar(&set))])).expect("a new session");
            assert_eq!(observed.header("x-authentik-username"), Some("alice"));
        }
    });
}

#[test]
fn the_login_s_cookie_has_nothing_of_the_login_left_when_it_has_ended() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let cookies = log_in(&mut *subject, "alice");
        let login: Vec<_> = cookies.split("; ").filter(|cookie| cookie.contains("_login=")).collect();
        assert_eq!(login.len(), 1, "it counts the rounds for a minute: {cookies}");
        let observed = subject.send(&request(&[("cookie", login[0])])).unwrap();
        let state = parameter(observed.header("location").unwrap(), "state").unwrap();
        let set: Vec<_> = observed.headers("set-cookie").into_iter().map(str::to_owned).collect();
        assert_ne!(jar(&set), login[0], "a new login has a new cookie");
        let stale = [(":path", &*callback_path(&state)), ("cookie", login[0])];
        let observed = subject.send(&request(&stale)).expect("nothing is exchanged with it");
        assert!(observed.header("location").unwrap().contains("/application/o/authorize/"), "{observed:?}");
        // After a minute nothing is left to count.
        let set = jar_line(&mut *start(&configuration(&json!({}), &json!({}))));
        assert!(set.ends_with("Max-Age=60"), "{set}");
    });
}

/// The line that sets the login's cookie at the end of a login.
fn jar_line(subject: &mut dyn super::Subject) -> String {
    let begun = subject.send(&request(&[])).unwrap();
    let location = begun.header("location").unwrap();
    let set: Vec<_> = begun.headers("set-cookie").into_iter().map(str::to_owned).collect();
    let callback = callback_path(&parameter(location, "state").unwrap());
    let good = granting(json!({"nonce": parameter(location, "nonce")}));
    let ended = ask(subject, &[(":path", &callback), ("cookie", &jar(&set))], &good);
    ended.headers("set-cookie").into_iter().find(|line| line.contains("_login=")).unwrap().to_owned()
}

/// RFC 9111 §3, §3.5: what shared caches may keep has no cookie of anybody's.
#[test]
fn no_cookie_goes_where_a_shared_cache_may_keep_it() {
    on_both(|start| {
        let response = |fields: &'static [(&'static str, &'static str)]| fields;
        for (fields, with_authorization, with_cookie_only) in [
            (response(&[]), true, false),
            (&[("cache-control", "max-age=60")], true, false),
            (&[("expires", "Thu, 01 Jan 2099 00:00:00 GMT")], true, false),
            (&[("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")], true, false),
            (&[("cache-control", "private")], true, true),
            (&[("cache-control", "private, max-age=60")], true, true),
            (&[("cache-control", "private=\"x-name\"")], true, false),
            (&[("cache-control", "no-store")], true, true),
            (&[("cache-control", "no-cache")], true, false),
            (&[("cache-control", "public")], false, false),
            (&[("cache-control", "s-maxage=5")], false, false),
            (&[("cache-control", "must-revalidate")], false, false),
            (&[("cache-control", "private"), ("cdn-cache-control", "max-age=60")], false, false),
            (&[("cache-control", "no-store"), ("surrogate-control", "max-age=60")], false, false),
            (&[("cache-control", "private"), ("cdn-cache-control", "no-store")], true, true),
        ] {
            let mut subject = start(&confirmed());
            ask(&mut *subject, &[("authorization", &basic("alice", PASSWORD))], &granting(json!({})));
            assert_eq!(!subject.respond(fields).is_empty(), with_authorization, "{fields:?}");
            let cookie = cookie_of(start, "alice", 3600);
            let mut subject = start(&confirmed());
            subject.advance(30);
            let observed = ask(&mut *subject, &[("cookie", &cookie)], &granting(json!({})));
            assert_eq!(observed.status(), 200);
            assert_eq!(!subject.respond(fields).is_empty(), with_cookie_only, "renewed: {fields:?}");
        }
    });
}

/// A link with a user name and password in it, on a page of somebody else's.
#[test]
fn a_request_of_another_site_begins_no_session() {
    on_both(|start| {
        let credential = basic("alice", PASSWORD);
        for (site, is_set) in
            [("cross-site", false), ("same-site", true), ("same-origin", true), ("none", true)]
        {
            let mut subject = start(&configuration(&json!({}), &json!({})));
            let headers = [("authorization", &*credential), ("sec-fetch-site", site)];
            let observed = ask(&mut *subject, &headers, &granting(json!({})));
            assert_eq!(observed.header("x-authentik-username"), Some("alice"), "{site}");
            assert_eq!(!subject.respond(&[]).is_empty(), is_set, "{site}");
        }
    });
}

/// The verdict on a token lasts longer than its session may.
#[test]
fn a_cookie_whose_session_has_ended_is_never_set_again() {
    on_both(|start| {
        let rest = json!({"session": {"max_age_seconds": 20}, "cache": {"ttl_seconds": 600}});
        let mut subject = start(&configuration(&json!({}), &rest));
        let headers = [("authorization", &*basic("alice", PASSWORD))];
        ask(&mut *subject, &headers, &granting(json!({})));
        for (seconds, max_age) in [(0, 20), (19, 1), (1, 20), (30, 20)] {
            subject.advance(seconds);
            assert_eq!(subject.send(&request(&headers)).expect("remembered").status(), 200);
            let set = subject.respond(&[]);
            let expected = format!("Max-Age={max_age}");
            assert!(set.len() == 1 && set[0].ends_with(&expected), "after {seconds} more: {set:?}");
        }
    });
}
