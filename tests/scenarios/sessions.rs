//! The session cookie: what it looks like, how long it lasts, and who may open it.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::core::Core;
use super::{
    NOW, Observed, PASSWORD, Reply, Start, Subject, ask, basic, configuration, granting, jar, log_in,
    on_both, refusing, request, signed, token,
};

/// A response of the application's to a request without `Authorization` that may bring a cookie.
const PRIVATE: [(&str, &str); 1] = [("cache-control", "private")];

const SECRETS: [&str; 2] = ["demo-cookie-secret-0123456789abcdef", "another-cookie-secret-0123456789abcdef"];

fn plain() -> String {
    configuration(&json!({}), &json!({}))
}

/// Alice authenticates with her app password, and authentik says this of her; the response's cookies.
fn cookies(subject: &mut dyn Subject, claims: Value) -> Vec<String> {
    let observed = ask(subject, &[("authorization", &basic("alice", PASSWORD))], &granting(claims));
    assert_eq!(observed.status(), 200, "{observed:?}");
    subject.respond(&[])
}

/// Whether a replica with this configuration takes the cookie for a session.
fn is_session(start: Start<'_>, configuration: &str, cookie: &str, seconds_later: u64) -> bool {
    let mut replica = start(configuration);
    replica.advance(seconds_later);
    match replica.send(&request(&[("cookie", cookie)])) {
        Some(Observed::Forwarded(headers)) => {
            headers.iter().any(|header| *header == ("x-authentik-username".to_owned(), "alice".to_owned()))
        }
        Some(Observed::Replied { status: 302, .. }) => false,
        other => panic!("neither a session nor none: {other:?}"),
    }
}

#[test]
fn the_cookie_s_name_and_attributes() {
    on_both(|start| {
        for (provider, name, attributes) in [
            (
                json!({}),
                "__Host-authentik_proxy_DIGEST=",
                "; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=3600",
            ),
            (
                json!({"external_host": "http://app.example.test"}),
                "authentik_proxy_DIGEST=",
                "; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600",
            ),
            (
                json!({"cookie_domain": ".Example.test"}),
                "authentik_proxy_DIGEST=",
                "; Path=/; HttpOnly; SameSite=Lax; Secure; Domain=example.test; Max-Age=3600",
            ),
        ] {
            let set = cookies(&mut *start(&configuration(&provider, &json!({}))), json!({}));
            assert_eq!(set.len(), 1);
            assert!(set[0].starts_with(&name.replace("DIGEST", "72846b5b")), "{}", &set[0][..40]);
            assert!(set[0].ends_with(attributes), "{}", set[0]);
        }
    });
}

#[test]
fn it_ends_with_the_token_the_provider_s_validity_or_the_longest_age() {
    on_both(|start| {
        for (provider, rest, seconds) in [
            (json!({}), json!({}), 3600),
            (json!({"access_token_validity": 1800}), json!({}), 1800),
            (json!({}), json!({"session": {"max_age_seconds": 900}}), 900),
        ] {
            let configuration = configuration(&provider, &rest);
            let set = cookies(&mut *start(&configuration), json!({}));
            assert!(set[0].ends_with(&format!("; Max-Age={seconds}")), "{}", set[0]);
            assert!(is_session(start, &configuration, &jar(&set), seconds - 1));
            assert!(!is_session(start, &configuration, &jar(&set), seconds), "whatever the browser keeps");
        }
    });
}

#[test]
fn a_client_that_returns_it_is_not_authenticated_again() {
    on_both(|start| {
        let rest = json!({"cache": {"ttl_seconds": 0}});
        let mut subject = start(&configuration(&json!({}), &rest));
        let cookie = jar(&cookies(&mut *subject, json!({})));
        for _ in 0..100 {
            subject.advance(10);
            let headers = request(&[("authorization", &basic("alice", PASSWORD)), ("cookie", &cookie)]);
            let observed = subject.send(&headers).expect("no call for a session");
            assert_eq!(
                (observed.header("x-authentik-username"), observed.header("authorization")),
                (Some("alice"), None)
            );
            assert!(subject.respond(&[]).is_empty(), "and gets no new cookie");
        }
    });
}

#[test]
fn a_cookie_with_any_byte_changed_is_no_session() {
    let start: Start<'_> = &|configuration| Box::new(Core::new(configuration));
    let cookie = jar(&cookies(&mut *start(&plain()), json!({})));
    let value = cookie.find('=').unwrap() + 1;
    for position in value..cookie.len() {
        let mut altered = cookie.clone().into_bytes();
        altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
        assert!(!is_session(start, &plain(), &String::from_utf8(altered).unwrap(), 0), "at {position}");
    }
    for length in value..cookie.len() {
        assert!(!is_session(start, &plain(), &cookie[..length], 0), "cut at {length}");
    }
    assert!(is_session(start, &plain(), &cookie, 0), "and it was good to begin with");
}

#[test]
fn only_the_same_provider_with_the_same_secret_opens_it() {
    on_both(|start| {
        let with = |provider: Value| configuration(&provider, &json!({}));
        let cookie = jar(&cookies(&mut *start(&with(json!({"cookie_secret": SECRETS[0]}))), json!({})));
        for (provider, opens) in [
            (json!({"cookie_secret": SECRETS[0]}), true),
            (json!({"cookie_secret": [SECRETS[0]]}), true),
            (json!({"cookie_secret": [SECRETS[1], SECRETS[0]]}), true),
            (json!({"cookie_secret": SECRETS[0], "skip_path_regex": "^/x"}), true),
            (json!({"cookie_secret": SECRETS[1]}), false),
            (json!({"cookie_secret": SECRETS[0], "assigned_application_slug": "other"}), false),
        ] {
            assert_eq!(is_session(start, &with(provider.clone()), &cookie, 0), opens, "{provider}");
        }
        // Under another client_id it has another name; renamed it does not open either.
        let other = with(json!({"cookie_secret": SECRETS[0], "client_id": "other"}));
        let name =
            cookies(&mut *start(&other), json!({"aud": "other"}))[0].split('=').next().unwrap().to_owned();
        let renamed = format!("{name}={}", cookie.split_once('=').unwrap().1);
        assert!(!is_session(start, &other, &renamed, 0));
    });
}

/// On the core, whose randomness is real: two workers of the in-process host would have the same.
#[test]
fn replicas_seal_the_same_session_with_different_nonces() {
    let sealed = [(); 2].map(|()| jar(&cookies(&mut Core::new(&plain()), json!({}))));
    let [one, two] = sealed.each_ref().map(|cookie| &cookie.split_once('=').unwrap().1[..32]);
    assert_ne!(one, two, "a box begins with its nonce");
}

#[test]
fn a_large_session_is_split_and_a_very_large_one_is_not_set() {
    on_both(|start| {
        // Names that cannot be packed.
        let name = |number: usize| format!("{:x}", Sha256::digest(number.to_be_bytes()));
        let groups = |count: usize| json!({"groups": (0..count).map(name).collect::<Vec<_>>()});
        let set = cookies(&mut *start(&plain()), groups(100));
        assert!(set.len() > 1 && set.iter().all(|line| line.len() <= 4096), "{} parts", set.len());
        assert!(is_session(start, &plain(), &jar(&set), 0));
        assert!(
            !is_session(start, &plain(), jar(&set).split_once("; ").unwrap().1, 0),
            "without its first part"
        );
        assert!(cookies(&mut *start(&plain()), groups(500)).is_empty());
    });
}

#[test]
fn a_user_with_a_thousand_groups_has_a_session_of_two_cookies() {
    on_both(|start| {
        let names: Vec<_> = (0..1_000).map(|number| format!("group-{number:03}")).collect();
        let set = cookies(&mut *start(&plain()), json!({"groups": names}));
        assert_eq!(set.len(), 2, "{set:?}");
        let mut replica = start(&plain());
        let observed = replica.send(&request(&[("cookie", &jar(&set))])).expect("no call is needed");
        assert_eq!(observed.header("x-authentik-groups"), Some(&*names.join("|")));
    });
}

#[test]
fn no_cookie_on_a_response_that_shared_caches_may_keep() {
    on_both(|start| {
        for (cache_control, is_set) in [
            ("no-store", true),
            ("private, max-age=60", true),
            ("max-age=60", true),
            ("Public", false),
            ("max-age=60, public", false),
            ("s-maxage=60", false),
            ("private, S-MaxAge = 1", false),
            ("must-revalidate, max-age=60", false),
            ("no-store, no-cache, must-revalidate", true),
            ("private, must-revalidate", true),
        ] {
            let mut subject = start(&plain());
            ask(&mut *subject, &[("authorization", &basic("alice", PASSWORD))], &granting(json!({})));
            assert_eq!(
                !subject.respond(&[("cache-control", cache_control)]).is_empty(),
                is_set,
                "{cache_control}"
            );
        }
    });
}

#[test]
fn sessions_are_issued_as_configured() {
    on_both(|start| {
        for (issue, after_credential) in [("always", true), ("login", false)] {
            let configuration = configuration(&json!({}), &json!({"session": {"issue": issue}}));
            assert_eq!(
                !cookies(&mut *start(&configuration), json!({})).is_empty(),
                after_credential,
                "{issue}"
            );
            assert!(
                is_session(start, &configuration, &log_in(&mut *start(&configuration), "alice"), 0),
                "{issue}"
            );
        }
        let never = configuration(&json!({}), &json!({"session": {"issue": "never"}}));
        assert!(cookies(&mut *start(&never), json!({})).is_empty());
        assert!(!is_session(start, &never, &jar(&cookies(&mut *start(&plain()), json!({}))), 0));
    });
}

/// §2.3: `revalidate_seconds` holds for sessions, wherever they came from, and across replicas.
#[test]
fn revalidation_ends_a_session_whose_token_was_revoked() {
    on_both(|start| {
        let configuration = configuration(&json!({"revalidate_seconds": 30}), &json!({}));
        for cookie in [
            jar(&cookies(&mut *start(&configuration), json!({}))),
            log_in(&mut *start(&configuration), "alice"),
        ] {
            let headers = request(&[("cookie", &cookie)]);
            let mut subject = start(&configuration);
            subject.advance(29);
            assert_eq!(subject.send(&headers).expect("confirmed by its own beginning").status(), 200);
            subject.advance(1);
            assert!(subject.send(&headers).is_none(), "authentik is asked");
            assert_eq!(subject.calls(), ["/application/o/introspect/"]);
            assert_eq!(subject.answer(&granting(json!({}))).map(|observed| observed.status()), Some(200));
            let renewed = jar(&subject.respond(&PRIVATE));
            assert!(!renewed.is_empty(), "a cookie that says so");
            let mut other = start(&configuration);
            other.advance(59);
            assert_eq!(
                other.send(&request(&[("cookie", &renewed)])).expect("confirmed a moment ago").status(),
                200
            );
            other.advance(1);
            assert!(other.send(&request(&[("cookie", &renewed)])).is_none());
            assert_eq!(
                other.answer(&|_| Reply::Reset).map(|observed| observed.status()),
                Some(503),
                "nobody can say"
            );
            assert!(other.send(&request(&[("cookie", &renewed)])).is_none());
            assert_eq!(
                other.answer(&refusing).map(|observed| observed.status()),
                Some(302),
                "revoked: login"
            );
            assert_eq!(
                other.send(&request(&[("cookie", &renewed)])).expect("a no is remembered").status(),
                302
            );
        }
    });
}

/// authentik's word makes a session no longer, whatever the token's own end is by then.
#[test]
fn a_confirmed_session_ends_when_it_would_have() {
    on_both(|start| {
        let rest = json!({"session": {"max_age_seconds": 60}});
        let configuration = configuration(&json!({"revalidate_seconds": 30}), &rest);
        for cookie in [
            jar(&cookies(&mut *start(&configuration), json!({}))),
            log_in(&mut *start(&configuration), "alice"),
        ] {
            let mut subject = start(&configuration);
            subject.advance(30);
            let observed = ask(&mut *subject, &[("cookie", &cookie)], &granting(json!({"exp": NOW + 7200})));
            assert_eq!(observed.status(), 200, "confirmed");
            let set = subject.respond(&PRIVATE);
            assert!(set.len() == 1 && set[0].ends_with("; Max-Age=30"), "{set:?}");
            let renewed = jar(&set);
            assert!(is_session(start, &configuration, &renewed, 59));
            assert!(!is_session(start, &configuration, &renewed, 60), "nor is authentik asked");
            subject.advance(30);
            for cookie in [&cookie, &renewed] {
                let observed = subject.send(&request(&[("cookie", cookie)])).expect("nobody is asked");
                assert_eq!(observed.status(), 302, "nor where it was confirmed: {observed:?}");
            }
        }
    });
}

/// A cookie of the one beside the credential of the other, where both are the same text.
#[test]
fn a_session_is_of_one_credential_only() {
    on_both(|start| {
        let observed = |cookie: &str, credential: &str| {
            let headers = request(&[("cookie", cookie), ("authorization", credential)]);
            start(&plain()).send(&headers).map(|observed| observed.status())
        };
        let mut replica = start(&plain());
        let own = basic("alice", "pass");
        ask(&mut *replica, &[("authorization", &own)], &granting(json!({})));
        let cookie = jar(&replica.respond(&[]));
        assert_eq!(observed(&cookie, &own), Some(200), "its own credential: nobody is asked");
        for other in [basic("alicep", "ass"), basic("alicepass", ""), "Bearer alicepass".to_owned()] {
            assert_eq!(observed(&cookie, &other), None, "{other}: authentik, or its keys, are asked");
        }
    });
}

/// The token that a client brings stands for itself, whatever the session's own token is.
#[test]
fn a_session_of_a_token_is_of_the_token_that_the_client_brought() {
    on_both(|start| {
        let configuration = configuration(&json!({"federated_bearer": true}), &json!({}));
        let observed = |cookie: &str, credential: &str| {
            let headers = request(&[("cookie", cookie), ("authorization", credential)]);
            let observed = start(&configuration).send(&headers)?;
            assert_eq!((observed.status(), observed.header("authorization")), (200, None));
            Some(())
        };
        let issued = token(&json!({}));
        let foreign = signed(&json!({"iss": "https://ci.example.test"}), "of the CI");
        let cookie_for = |sent: &str| {
            let mut replica = start(&configuration);
            let given =
                ask(&mut *replica, &[("authorization", &format!("Bearer {sent}"))], &granting(json!({})));
            assert_eq!((given.status(), given.header("x-authentik-jwt")), (200, Some(issued.as_str())));
            jar(&replica.respond(&[]))
        };
        for (own, other) in [(&issued, &foreign), (&foreign, &issued)] {
            let cookie = cookie_for(own);
            assert_eq!(observed(&cookie, &format!("Bearer {own}")), Some(()), "nobody is asked");
            assert_eq!(
                observed(&cookie, &basic("goauthentik.io/token", own)),
                Some(()),
                "nor for the token user"
            );
            assert_eq!(
                observed(&cookie, &format!("Bearer {other}")),
                None,
                "authentik, or its keys, are asked"
            );
            assert_eq!(observed(&cookie, &basic("alice", own)), None, "nor is it a password");
        }
    });
}

/// What is remembered may be as old as the interval: a cookie never says that it is younger.
#[test]
fn cookie_keeps_the_time_of_authentiks_confirmation() {
    on_both(|start| {
        let configuration = configuration(&json!({"revalidate_seconds": 30}), &json!({}));
        let mut subject = start(&configuration);
        cookies(&mut *subject, json!({}));
        subject.advance(29);
        let observed =
            subject.send(&request(&[("authorization", &basic("alice", PASSWORD))])).expect("remembered");
        assert_eq!(observed.status(), 200);
        let late = jar(&subject.respond(&[]));
        let mut other = start(&configuration);
        other.advance(30);
        assert!(
            other.send(&request(&[("cookie", &late)])).is_none(),
            "thirty seconds after the exchange, not after the cookie"
        );
        other.answer(&granting(json!({})));
        let old = jar(&cookies(&mut *start(&configuration), json!({})));
        other.advance(29);
        assert_eq!(other.send(&request(&[("cookie", &old)])).expect("remembered").status(), 200);
        let renewed = jar(&other.respond(&PRIVATE));
        let mut third = start(&configuration);
        third.advance(60);
        assert!(third.send(&request(&[("cookie", &renewed)])).is_none());
    });
}

/// §2.4: on an unauthenticated path nothing is asked of authentik, not even about a session.
#[test]
fn open_path_causes_no_call() {
    on_both(|start| {
        let configuration =
            configuration(&json!({"revalidate_seconds": 30, "skip_path_regex": "^/public"}), &json!({}));
        let cookie = jar(&cookies(&mut *start(&configuration), json!({})));
        let mut subject = start(&configuration);
        let headers = request(&[(":path", "/public"), ("cookie", &cookie)]);
        assert_eq!(subject.send(&headers).unwrap().header("x-authentik-username"), Some("alice"));
        subject.advance(30);
        assert_eq!(subject.send(&headers).expect("nobody is asked").header("x-authentik-username"), None);
    });
}

/// A session that authentik has ended stands for nobody, whatever else the request carries.
#[test]
fn an_ended_session_does_not_come_back_through_a_bad_credential() {
    on_both(|start| {
        let provider = json!({"revalidate_seconds": 30, "intercept_header_auth": false});
        let configuration = configuration(&provider, &json!({}));
        for cookie in [
            jar(&cookies(&mut *start(&configuration), json!({}))),
            log_in(&mut *start(&configuration), "alice"),
        ] {
            for credential in [basic("alice", "wrong"), "Basic !".to_owned(), "Bearer opaque".to_owned()] {
                let mut subject = start(&configuration);
                subject.advance(30);
                let headers = [("cookie", &*cookie), ("authorization", &*credential)];
                let observed = ask(&mut *subject, &headers, &refusing);
                assert_eq!(observed.status(), 302, "{credential}: {observed:?}");
                let again = ask(&mut *subject, &headers, &refusing);
                assert_eq!(again.status(), 302, "{credential}, once it is remembered: {again:?}");
            }
        }
    });
}
