//! Named scenarios: one rule of the design each, on the core and on the module.

use serde_json::json;

use super::core::Core;
#[cfg(feature = "hosts")]
use super::module::BuiltModule;
use super::{
    NOW, Observed, PASSWORD, Reply, Start, ask, basic, configuration, granting, jar, log_in, refusing,
    request, signed, token,
};

/// Makes a test on the core and one on the module of each scenario.
macro_rules! on_both {
    ($($(#[$doc:meta])* fn $name:ident($start:ident) $body:block)*) => {
        mod scenario {
            use super::*;
            $($(#[$doc])* pub(super) fn $name($start: Start<'_>) $body)*
        }
        mod on_the_core {
            use super::*;
            $(#[test] fn $name() { scenario::$name(&|configuration| Box::new(Core::new(configuration))); })*
        }
        #[cfg(feature = "hosts")]
        mod on_the_module {
            use super::*;
            $(#[test] fn $name() { scenario::$name(&|configuration| Box::new(BuiltModule::new(configuration))); })*
        }
    };
}

const SPELLINGS: [(&str, &str); 7] = [
    ("x-authentik-username", "admin"),
    ("x_authentik_username", "admin"),
    ("x-authentik_groups", "admins"),
    ("x-authentik-made-up", "x"),
    ("x.authentik.username", "admin"),
    ("x~authentik!uid", "0"),
    ("x.tenant", "red"),
];

fn assert_stripped(observed: &Observed) {
    let values = observed.headers("x-authentik-username");
    assert!(!values.contains(&"admin"), "{values:?}");
    for name in SPELLINGS.iter().map(|(name, _)| *name).skip(1).chain(["x_tenant", "x-tenant"]) {
        assert!(!observed.names().contains(&name), "{name}");
    }
}

on_both! {
    /// §2.5: exactly the outpost's twelve.
    fn all_twelve_headers(start) {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let observed = ask(&mut *subject, &[("authorization", &basic("alice", PASSWORD))], &granting(json!({})));
        let jwt = token(&json!({}));
        for (name, value) in [
            ("x-authentik-username", "alice"),
            ("x-authentik-groups", "staff|Gruppe Ü"),
            ("x-authentik-entitlements", "read"),
            ("x-authentik-email", "alice@example.test"),
            ("x-authentik-name", "Alice Ünicode"),
            ("x-authentik-uid", "c93aa54877a680039dcdd4a7bf636737"),
            ("x-authentik-jwt", jwt.as_str()),
            ("x-authentik-meta-jwks", "https://auth.example.test/application/o/demo/jwks/"),
            ("x-authentik-meta-outpost", "envoy"),
            ("x-authentik-meta-provider", "demo"),
            ("x-authentik-meta-app", "demo"),
            ("x-authentik-meta-version", concat!("goauthentik.io/outpost/", env!("CARGO_PKG_VERSION"))),
        ] {
            assert_eq!(observed.headers(name), [value], "{name}");
        }
        assert_eq!(observed.names().iter().filter(|name| name.starts_with("x-authentik-")).count(), 12);
    }

    /// §2.5: absent claims are empty values, and all twelve are there.
    fn absent_claims_are_empty(start) {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let bare = json!({"email": null, "name": null, "groups": null, "entitlements": null, "ak_proxy": null});
        let observed = ask(&mut *subject, &[("authorization", &format!("Bearer {}", token(&bare)))], &granting(json!({})));
        for name in ["x-authentik-groups", "x-authentik-entitlements", "x-authentik-email", "x-authentik-name"] {
            assert_eq!(observed.headers(name), [""], "{name}");
        }
    }

    /// §2.3: an identity needs a name; the reply is the same with interception off.
    fn an_identity_without_a_name_is_forbidden(start) {
        for intercept in [true, false] {
            for changes in [
                json!({"preferred_username": null}), json!({"preferred_username": ""}), json!({"sub": null}),
                json!({"sub": ""}), json!({"preferred_username": "ali\nce"}), json!({"sub": "a\u{0}b"}),
            ] {
                let mut subject = start(&configuration(&json!({"intercept_header_auth": intercept}), &json!({})));
                let observed = ask(&mut *subject, &[("authorization", &basic("alice", PASSWORD))], &granting(changes.clone()));
                assert_eq!(observed.status(), 403, "{changes}");
            }
        }
    }

    /// §2.1: on every path, with identity and without, whatever the identity comes from.
    fn owned_headers_are_stripped_everywhere(start) {
        let provider = json!({"skip_path_regex": "^/public", "intercept_header_auth": false});
        let rest = json!({"owned_headers": ["X-Tenant"], "allow_cors_preflight": true});
        let configuration = configuration(&provider, &rest);
        let credential = basic("alice", PASSWORD);
        let foreign = ("authorization", "Negotiate abc");
        let of_login = log_in(&mut *start(&configuration), "alice");
        let mut replica = start(&configuration);
        ask(&mut *replica, &[("authorization", &credential)], &granting(json!({})));
        let of_credential = jar(&replica.respond(&[]));
        let roads: [&[(&str, &str)]; 9] = [
            &[("authorization", &credential)],
            &[(":path", "/public/x")],
            &[(":method", "OPTIONS"), ("origin", "https://a"), ("access-control-request-method", "PUT")],
            &[("cookie", &of_login)],
            &[("cookie", &of_login), foreign],
            &[("cookie", &of_credential)],
            &[("cookie", &of_credential), ("authorization", &credential)],
            &[("cookie", &of_credential), foreign],
            &[(":path", "/public/x"), ("cookie", &of_login), foreign],
        ];
        for road in roads {
            let mut subject = start(&configuration);
            let headers = [road, &SPELLINGS, &[("x-tenant", "red"), ("x_tenant", "red")]].concat();
            let observed = ask(&mut *subject, &headers, &granting(json!({})));
            assert!(matches!(observed, Observed::Forwarded(_)), "{observed:?}");
            assert_stripped(&observed);
            let is_somebody = road.iter().any(|(name, _)| ["authorization", "cookie"].contains(name));
            assert_eq!(observed.headers("x-authentik-username"), ["alice"][..usize::from(is_somebody)], "{road:?}");
            let is_foreign = road.contains(&foreign);
            assert_eq!(observed.headers("authorization"), [foreign.1][..usize::from(is_foreign)], "{road:?}");
        }
    }

    /// §2.4, open paths: as C if that is known without a call, else unchanged. authentik is never asked.
    fn unauthenticated_paths(start) {
        let provider = json!({"skip_path_regex": "^/public"});
        let mut subject = start(&configuration(&provider, &json!({})));
        let good = basic("alice", PASSWORD);
        let public = |authorization: &str| request(&[(":path", "/public/x?y"), ("authorization", authorization)]);

        let unknown = subject.send(&public(&good)).expect("authentik is not asked");
        assert_eq!(unknown.header("x-authentik-username"), None);
        assert_eq!(unknown.header("authorization"), Some(good.as_str()), "untouched: it may be the application's own");
        assert_eq!(subject.calls(), [""; 0]);

        ask(&mut *subject, &[("authorization", &good)], &granting(json!({})));
        let known = subject.send(&public(&good)).expect("known");
        assert_eq!(known.header("x-authentik-username"), Some("alice"));
        assert_eq!(known.header("authorization"), None);

        let bearer = subject.send(&public(&format!("Bearer {}", token(&json!({}))))).expect("keys are here by now");
        assert_eq!(bearer.header("x-authentik-username"), Some("alice"));
        assert_eq!(bearer.header("authorization"), None);

        let own = subject.send(&public("Bearer opaque")).expect("authentik is not asked");
        assert_eq!((own.header("x-authentik-username"), own.header("authorization")), (None, Some("Bearer opaque")));
    }

    /// §3.3: in domain mode a pattern is searched in scheme, host and path, and a host that is not the domain's opens nothing:
    /// the client chooses it.
    fn unauthenticated_paths_in_domain_mode(start) {
        let domain = json!({
            "mode": "forward_domain", "cookie_domain": "example.test", "external_host": "https://auth-app.example.test",
        });
        let status = |pattern: &str, authority: &str, path: &str| {
            let mut provider = domain.clone();
            provider["skip_path_regex"] = json!(pattern);
            let mut subject = start(&configuration(&provider, &json!({})));
            subject.send(&request(&[(":authority", authority), (":path", path)])).unwrap().status()
        };
        let (path, host, both) = ("/public/", "^https://status\\.", "^https://wiki\\.example\\.test/public/");
        for (pattern, authority, target, expected) in [
            (path, "app.example.test", "/public/a", 200),
            (path, "example.test", "/a/public/b?c", 200),
            (path, "app.example.test", "/admin", 302),
            (path, "app.example.test", "/admin?/public/", 302),
            (path, "app.example.test", "/public/../admin", 302),
            ("^/public/", "app.example.test", "/public/a", 302),
            (host, "status.example.test", "/any", 200),
            (host, "STATUS.Example.Test.", "/any", 200),
            (host, "status.example.test", "/any/../path", 302),
            (host, "app.example.test", "/status.", 302),
            (both, "wiki.example.test", "/public/a", 200),
            (both, "wiki.example.test:443", "/public/a", 200),
            (both, "wiki.example.test:8443", "/public/a", 302),
            (both, "wiki.example.test", "/a", 302),
            (both, "app.example.test", "/public/a", 302),
            ("public", "public.example.test", "/admin", 200),
            ("public", "public.other.test", "/admin", 302),
            (path, "other.test", "/public/a", 302),
            (host, "status.other.test", "/any", 302),
            (host, "status.example.test.other.test", "/any", 302),
            (host, "status.evilexample.test", "/any", 302),
            (host, "status.example.test@other.test", "/any", 302),
            ("x*", "other.test", "/", 302),
            ("x*", "", "/", 302),
        ] {
            assert_eq!(status(pattern, authority, target), expected, "{pattern} {authority} {target}");
        }
    }

    /// §2.4: a JWT of this authentik never reaches an application, good or not, however it is sent.
    fn a_token_of_this_authentik_is_always_removed(start) {
        let mut subject = start(&configuration(&json!({"skip_path_regex": "^/public"}), &json!({})));
        let other_application = json!({"iss": "https://auth.example.test/application/o/other/"});
        let expired = json!({"exp": 1});
        for changes in [other_application, expired] {
            let token = token(&changes);
            for value in [format!("Bearer {token}"), basic("goauthentik.io/token", &token), format!("Bearer {token},x")] {
                let observed = subject.send(&request(&[(":path", "/public"), ("authorization", &value)])).unwrap();
                assert_eq!(observed.headers("authorization"), [""; 0], "{value}");
                assert_eq!(observed.header("x-authentik-username"), None);
            }
        }
    }

    /// §3.3: a path that is not in normal form is never open, and the query is never matched.
    fn odd_paths_need_authentication(start) {
        let mut subject = start(&configuration(&json!({"skip_path_regex": "public"}), &json!({})));
        for path in [
            "/x?/public", "/public/../secret", "/public/%2e%2e/secret", "//public", "/public;/secret", "/public%2fsecret",
            "/public\\..\\secret", "/public%00", "/public#/secret", "/public%25", "/public/./x",
        ] {
            let observed = subject.send(&request(&[(":path", path)])).unwrap();
            assert_eq!(observed.status(), 302, "{path}");
        }
        assert_eq!(subject.send(&request(&[(":path", "/a/public/b")])).unwrap().status(), 200, "searched, not anchored");
    }

    /// §2.7: only navigations are redirected; the body of a reply follows `Accept`.
    fn replies_follow_accept(start) {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let mut tell = |headers: &[(&str, &str)]| subject.send(&request(headers)).unwrap();
        assert_eq!(tell(&[]).status(), 302, "curl");
        assert_eq!(tell(&[("accept", "text/html,*/*")]).status(), 302, "a browser");
        for (headers, content_type) in [
            (vec![("accept", "application/json")], "application/json"),
            (vec![(":method", "POST"), ("accept", "text/html")], "text/html; charset=utf-8"),
            (vec![("x-requested-with", "XMLHttpRequest")], "text/plain; charset=utf-8"),
            (vec![("sec-fetch-mode", "cors")], "text/plain; charset=utf-8"),
            (vec![("upgrade", "websocket")], "text/plain; charset=utf-8"),
        ] {
            // Which challenges there are is `scripts`' subject.
            let is_script = ["x-requested-with", "sec-fetch-mode"].contains(&headers[0].0);
            let observed = tell(&headers);
            assert_eq!(observed.status(), 401, "{headers:?}");
            assert_eq!(observed.header("content-type"), Some(content_type), "{headers:?}");
            let challenges = ["Basic realm=\"demo\", charset=\"UTF-8\"", "Bearer realm=\"demo\""];
            assert_eq!(observed.headers("www-authenticate"), challenges[usize::from(is_script)..]);
        }
        let Observed::Replied { grpc_status, .. } = tell(&[(":method", "POST"), ("content-type", "application/grpc")]) else {
            panic!("a reply")
        };
        assert_eq!(grpc_status, Some(16));
    }

    /// §2.7: only the Bearer challenge has `error="invalid_token"`; no reply has the reason.
    fn challenges_tell_nothing_more(start) {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let mut bodies = Vec::new();
        for (value, error) in [
            (format!("Bearer {}", token(&json!({"exp": 1}))), ", error=\"invalid_token\""),
            (format!("Bearer {}", signed(&json!({}), "wrong")), ", error=\"invalid_token\""),
            (basic("alice", "wrong"), ""),
            (basic("nobody", "wrong"), ""),
        ] {
            let observed = ask(&mut *subject, &[("authorization", &value)], &refusing);
            assert_eq!(observed.headers("www-authenticate")[1], format!("Bearer realm=\"demo\"{error}"));
            let Observed::Replied { body, .. } = observed else { panic!("a reply") };
            bodies.push(body);
        }
        bodies.dedup();
        assert_eq!(bodies.len(), 1, "the body is the same for all of them");
    }

    /// §2.5: Send-HTTP-Basic and its fallbacks.
    fn send_http_basic(start) {
        let provider = |empty: &str| json!({
            "basic_auth_enabled": true,
            "basic_auth_user_attribute": "app_username",
            "basic_auth_password_attribute": "app_password",
            "basic_auth_empty_password": empty,
        });
        let attributes = |attributes: serde_json::Value| json!({"ak_proxy": {"user_attributes": attributes}});
        for (empty, changes, expected) in [
            ("send", attributes(json!({"app_username": "al", "app_password": "s:ü"})), Some(basic("al", "s:ü"))),
            ("send", attributes(json!({"app_password": "s"})), Some(basic("alice@example.test", "s"))),
            ("send", attributes(json!({"app_username": "al"})), Some(basic("al", ""))),
            ("send", attributes(json!({})), Some(basic("alice@example.test", ""))),
            ("send", json!({"ak_proxy": null}), Some(basic("alice@example.test", ""))),
            ("send", attributes(json!({"app_username": 7, "app_password": ["x"]})), Some(basic("alice@example.test", ""))),
            ("omit", attributes(json!({"app_username": "al"})), None),
            ("omit", attributes(json!({"app_username": "al", "app_password": "s"})), Some(basic("al", "s"))),
        ] {
            let mut subject = start(&configuration(&provider(empty), &json!({})));
            let observed = ask(&mut *subject, &[("authorization", &basic("alice", PASSWORD))], &granting(changes.clone()));
            assert_eq!(observed.header("authorization"), expected.as_deref(), "{empty} {changes}");
        }
    }

    /// §2.5: additionalHeaders set what they may, in place of whatever the client sent under any spelling.
    fn additional_headers(start) {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let additional = json!({
            "X-Tenant": "blue", "X-Number": 7, "X-Flag": true, "X-List": ["a"], "X-Null": null, "X-Object": {},
            "X-Authentik-Username": "admin", "x_authentik_uid": "0", "Host": "evil", "Cookie": "a=b", ":path": "/evil",
            "X-Forwarded-For": "1", "X_Forwarded_Host": "evil", "x-envoy-original-path": "/", "Content-Length": 0,
            "Connection": "x-tenant", "X-Split": "a\r\nx-authentik-username: admin", "bad name": "x",
        });
        let observed = ask(
            &mut *subject,
            &[("authorization", &basic("alice", PASSWORD)), ("x-tenant", "red"), ("x_tenant", "red")],
            &granting(json!({"ak_proxy": {"user_attributes": {"additionalHeaders": additional}}})),
        );
        for (name, value) in [("x-tenant", "blue"), ("x-number", "7"), ("x-flag", "true"), ("x-authentik-username", "alice"),
                              ("x-split", "a  x-authentik-username: admin"), (":path", "/"), (":authority", "app.example.test")] {
            assert_eq!(observed.headers(name), [value], "{name}");
        }
        for name in ["x_tenant", "x-list", "x-null", "x-object", "x_authentik_uid", "host", "cookie", "x-forwarded-for",
                     "x_forwarded_host", "x-envoy-original-path", "content-length", "connection", "bad name"] {
            assert!(!observed.names().contains(&name), "{name}");
        }
    }

    /// §2.5: host_header, the proxy mode's x-forwarded-host, and our own cookie.
    fn other_changes_to_the_request(start) {
        let mut subject = start(&configuration(&json!({"mode": "proxy"}), &json!({})));
        let observed = ask(
            &mut *subject,
            &[("authorization", &basic("alice", PASSWORD)), ("x-forwarded-host", "evil"), ("x_forwarded_host", "evil"),
              ("cookie", "a=1; __Host-authentik_proxy_72846b5b=x; b=2")],
            &granting(json!({"ak_proxy": {"host_header": "internal.test:8080"}})),
        );
        assert_eq!(observed.headers(":authority"), ["internal.test:8080"]);
        assert_eq!(observed.headers("x-forwarded-host"), ["app.example.test"]);
        assert!(!observed.names().contains(&"x_forwarded_host"));
        assert_eq!(observed.headers("cookie"), ["a=1; b=2"]);
        assert!(!observed.names().contains(&"authorization"));
    }

    /// An upgrade keeps its `Connection`; the next hop is told to take nothing away (RFC 9110 §7.6.1).
    fn connection_names_no_headers(start) {
        let credential = basic("alice", PASSWORD);
        for (sent, expected) in [
            ("Upgrade", "Upgrade"), ("Upgrade, x-authentik-username", "upgrade"), ("x-authentik-groups,upgrade", "upgrade"),
        ] {
            let mut subject = start(&configuration(&json!({"skip_path_regex": "^/public"}), &json!({})));
            for path in ["/", "/public"] {
                let headers = [
                    (":path", path), ("authorization", &*credential), ("upgrade", "websocket"), ("connection", sent),
                ];
                let observed = ask(&mut *subject, &headers, &granting(json!({})));
                assert_eq!((observed.header("x-authentik-username"), observed.headers("connection")), (Some("alice"), vec![expected]));
            }
        }
    }

    /// §2.7: a preflight has no identity, and a credential known to be valid is removed from it.
    fn a_preflight_is_nobodys(start) {
        let rest = json!({"allow_cors_preflight": true});
        let mut subject = start(&configuration(&json!({}), &rest));
        let marks = [(":method", "OPTIONS"), ("origin", "https://a"), ("access-control-request-method", "PUT")];
        let credential = basic("alice", PASSWORD);
        let preflight = request(&[&marks[..], &[("authorization", &credential)]].concat());
        let unknown = subject.send(&preflight).expect("authentik is not asked");
        assert_eq!(unknown.headers("authorization"), [&*credential], "untouched: it may be the application's own");
        ask(&mut *subject, &[("authorization", &credential)], &granting(json!({})));
        let known = subject.send(&preflight).expect("authentik is not asked");
        for observed in [unknown, known.clone()] {
            assert_eq!((observed.status(), observed.header("x-authentik-username")), (200, None), "{observed:?}");
        }
        assert_eq!(known.headers("authorization"), [""; 0]);
        assert_eq!(subject.calls(), [""; 0]);
    }

    /// §2.5: only the headers that are wanted are sent; the others are stripped all the same.
    fn chosen_identity_headers(start) {
        let mut subject = start(&configuration(&json!({}), &json!({"identity_headers": ["username", "meta-app"]})));
        let observed = ask(
            &mut *subject,
            &[("authorization", &basic("alice", PASSWORD)), ("x-authentik-email", "admin@example.test")],
            &granting(json!({})),
        );
        let mut names: Vec<_> = observed.names().into_iter().filter(|name| name.starts_with("x-authentik-")).collect();
        names.sort_unstable();
        assert_eq!(names, ["x-authentik-meta-app", "x-authentik-username"]);
    }

    /// §3.2: the host selects the provider; an unknown host is 400.
    fn providers_by_host(start) {
        let provider = |slug: &str, host: &str| json!({
            "assigned_application_slug": slug, "client_id": format!("{slug}-id"), "client_secret": "s",
            "cookie_secret": "0123456789abcdef0123456789abcdef", "external_host": host,
        });
        let mut domain = provider("wide", "https://auth.apps.test");
        domain["mode"] = json!("forward_domain");
        domain["cookie_domain"] = json!("apps.test");
        let rest = json!({"providers": [provider("a", "https://a.test"), provider("b", "http://b.test:8080/"), domain]});
        let mut subject = start(&configuration(&json!({}), &rest));
        let mut realm = |authority: &str| {
            let observed = subject.send(&request(&[(":method", "POST"), (":authority", authority)])).unwrap();
            observed.header("www-authenticate").map_or(observed.status().to_string(), |value| value.split('"').nth(1).unwrap().to_owned())
        };
        for (authority, expected) in [
            ("a.test", "a"), ("A.Test:443", "a"), ("a.test.", "a"), ("a.test:80", "400"), ("b.test:8080", "b"), ("b.test", "400"),
            ("x.apps.test", "wide"), ("x.y.apps.test:9", "wide"), ("apps.test", "wide"), ("evilapps.test", "400"),
            ("apps.test.evil", "400"), ("", "400"), ("a.test@b.test:8080", "400"),
        ] {
            assert_eq!(realm(authority), expected, "{authority}");
        }
    }

    /// §4.3: a verdict lives for its TTL, a refusal for the shorter one, a fault not at all.
    fn verdicts_live_as_long_as_they_may(start) {
        let mut subject = start(&configuration(&json!({}), &json!({"cache": {"ttl_seconds": 60, "negative_ttl_seconds": 10}})));
        let good = request(&[("authorization", &basic("alice", PASSWORD))]);
        let bad = request(&[("authorization", &basic("alice", "wrong"))]);
        assert!(subject.send(&good).is_none());
        subject.answer(&granting(json!({"exp": NOW + 90})));
        subject.advance(59);
        assert_eq!(subject.send(&good).expect("still known").status(), 200);
        subject.advance(1);
        assert!(subject.send(&good).is_none(), "asked again after the TTL");
        subject.answer(&granting(json!({"exp": NOW + 90})));
        subject.advance(29);
        assert_eq!(subject.send(&good).expect("still known").status(), 200);
        subject.advance(1);
        assert!(subject.send(&good).is_none(), "never past exp");
        assert_eq!(subject.answer(&|_| Reply::Reset).map(|observed| observed.status()), Some(503));
        assert!(subject.send(&good).is_none(), "a fault is not remembered");
        subject.answer(&refusing);

        assert!(subject.send(&bad).is_none());
        assert_eq!(subject.answer(&refusing).map(|observed| observed.status()), Some(401));
        subject.advance(9);
        assert_eq!(subject.send(&bad).expect("remembered").status(), 401);
        subject.advance(1);
        assert!(subject.send(&bad).is_none(), "asked again after the negative TTL");
    }

    /// §2.3: a wrong configuration is 503, not 401.
    fn an_issued_token_that_does_not_verify_is_a_fault(start) {
        for changes in [json!({"iss": "https://elsewhere.test/"}), json!({"aud": "other"}), json!({"exp": 1}), json!({"exp": null})] {
            let mut subject = start(&configuration(&json!({}), &json!({})));
            let observed = ask(&mut *subject, &[("authorization", &basic("alice", PASSWORD))], &granting(changes.clone()));
            assert_eq!(observed.status(), 503, "{changes}");
        }
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let unknown_client = |_: &str| Reply::Json(400, json!({"error": "invalid_client"}));
        assert_eq!(ask(&mut *subject, &[("authorization", &basic("alice", PASSWORD))], &unknown_client).status(), 503);
    }

    /// §2.3: introspection judges what the filter cannot.
    fn bearer_by_introspection(start) {
        let foreign = token(&json!({"iss": "https://elsewhere.test/"}));
        let bad = signed(&json!({}), "wrong");
        let jwe = "a.b.c.d.e";
        // token, verification, status when authentik says active, status when it says inactive, calls
        for (value, verification, active, inactive) in [
            ("opaque", "introspection", 200, 401),
            (jwe, "introspection", 200, 401),
            (&foreign, "introspection", 200, 401),
            ("opaque", "local_then_introspection", 200, 401),
            (jwe, "local_then_introspection", 200, 401),
            (&foreign, "local_then_introspection", 200, 401),
            (&bad, "local_then_introspection", 401, 401),
            ("opaque", "local", 401, 401),
            (&foreign, "local", 401, 401),
        ] {
            let configuration = configuration(&json!({"bearer_verification": verification}), &json!({}));
            let headers = [("authorization", &*format!("Bearer {value}"))];
            assert_eq!(ask(&mut *start(&configuration), &headers, &granting(json!({}))).status(), active, "{verification}");
            assert_eq!(ask(&mut *start(&configuration), &headers, &refusing).status(), inactive, "{verification}");
        }
    }

    /// §2.3: with revalidate_seconds a revoked token passes for at most that long.
    fn revalidation_ends_a_revoked_token(start) {
        for verification in ["local", "introspection", "local_then_introspection"] {
            let provider = json!({"bearer_verification": verification, "revalidate_seconds": 30});
            let mut subject = start(&configuration(&provider, &json!({})));
            let bearer = request(&[("authorization", &format!("Bearer {}", token(&json!({}))))]);
            assert!(subject.send(&bearer).is_none(), "introspected on first sight");
            assert_eq!(subject.answer(&granting(json!({}))).map(|observed| observed.status()), Some(200));
            subject.advance(29);
            assert_eq!(subject.send(&bearer).expect("known").status(), 200);
            subject.advance(1);
            assert!(subject.send(&bearer).is_none(), "introspected again");
            assert_eq!(subject.answer(&refusing).map(|observed| observed.status()), Some(401), "{verification}");
        }
    }

    /// §2.3: an encrypted token from an exchange is introspected; authentik alone can read it.
    fn an_encrypted_issued_token_is_introspected(start) {
        let jwe = |path: &str| match path {
            "/application/o/token/" => Reply::Json(200, json!({"access_token": "a.b.c.d.e"})),
            path => granting(json!({}))(path),
        };
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let observed = ask(&mut *subject, &[("authorization", &basic("alice", PASSWORD))], &jwe);
        assert_eq!(observed.header("x-authentik-username"), Some("alice"));
        assert_eq!(observed.header("x-authentik-jwt"), Some("a.b.c.d.e"));
    }

    /// §4.3: while authentik fails, and only then, a known valid credential passes for stale_seconds.
    fn stale_verdicts_bridge_an_outage(start) {
        let mut subject = start(&configuration(&json!({}), &json!({"cache": {"ttl_seconds": 10, "stale_seconds": 50}})));
        let good = request(&[("authorization", &basic("alice", PASSWORD))]);
        assert!(subject.send(&good).is_none());
        subject.answer(&granting(json!({})));
        subject.advance(59);
        assert!(subject.send(&good).is_none(), "authentik is asked first");
        assert_eq!(subject.answer(&|_| Reply::Reset).map(|observed| observed.status()), Some(200));
        assert!(subject.send(&good).is_none());
        assert_eq!(subject.answer(&refusing).map(|observed| observed.status()), Some(401), "a no is a no");
        subject.advance(11);
        assert!(subject.send(&good).is_none());
        assert_eq!(subject.answer(&|_| Reply::Reset).map(|observed| observed.status()), Some(503));
    }

    /// §2.4 without sessions: there is an outpost behind this filter, and its own paths do not go round in circles.
    fn without_sessions_the_login_is_the_outpost_s(start) {
        let mut subject = start(&configuration(&json!({}), &json!({"session": {"enabled": false}})));
        for path in ["/outpost.goauthentik.io/start?rd=x", "/outpost.goauthentik.io", "/outpost.goauthentik.io/callback"] {
            assert_eq!(subject.send(&request(&[(":path", path)])).unwrap().status(), 401, "{path}");
        }
        let observed = subject.send(&request(&[(":path", "/outpost.goauthentik.iox?a=b")])).unwrap();
        let start = "https://app.example.test/outpost.goauthentik.io/start?rd=\
                     https%3A%2F%2Fapp.example.test%2Foutpost.goauthentik.iox%3Fa%3Db";
        assert_eq!((observed.status(), observed.header("location")), (302, Some(start)));
        let observed = ask(&mut *subject, &[("authorization", &basic("alice", PASSWORD))], &granting(json!({})));
        assert_eq!(observed.status(), 200);
        assert!(subject.respond(&[]).is_empty(), "no cookie");
    }

    /// §2.3 and RFC 7523: a JWT of another issuer is exchanged, when the provider says so; what comes back is the token.
    fn a_federated_bearer_is_exchanged(start) {
        let foreign = |changes: serde_json::Value| {
            let mut all = json!({"iss": "https://ci.example.test", "sub": "repo:x", "preferred_username": null});
            for (name, value) in changes.as_object().unwrap() {
                all[name] = value.clone();
            }
            request(&[("authorization", &format!("Bearer {}", signed(&all, "of the CI")))])
        };
        for verification in ["local", "introspection", "local_then_introspection"] {
            let provider = json!({"federated_bearer": true, "bearer_verification": verification});
            let mut subject = start(&configuration(&provider, &json!({"cache": {"ttl_seconds": 60}})));
            assert!(subject.send(&foreign(json!({"exp": NOW + 30}))).is_none());
            let observed = subject.answer(&granting(json!({}))).unwrap();
            assert_eq!(observed.header("x-authentik-username"), Some("alice"));
            assert_eq!(observed.header("x-authentik-jwt"), Some(token(&json!({})).as_str()), "the provider's own token");
            assert_eq!(observed.header("authorization"), None);
            assert!(subject.send(&foreign(json!({"exp": NOW + 30}))).is_some(), "remembered");
            subject.advance(30);
            assert_eq!(subject.send(&foreign(json!({"exp": NOW + 30}))).unwrap().status(), 401, "not past its own end");
            assert!(subject.send(&foreign(json!({"exp": null}))).is_none(), "without an end authentik decides");
            assert_eq!(subject.answer(&refusing).map(|observed| observed.status()), Some(401));
        }
        let mut off = start(&configuration(&json!({}), &json!({})));
        off.send(&request(&[("authorization", &basic("a", "b"))]));
        off.answer(&refusing);
        off.send(&request(&[("authorization", &format!("Bearer {}", token(&json!({}))))]));
        off.answer(&refusing);
        assert_eq!(off.send(&foreign(json!({}))).expect("authentik is not asked").status(), 401);
    }

    /// §4.7: after too many refusals, unknown credentials are not passed on. A known valid one is accepted.
    fn guessing_is_rate_limited(start) {
        for (intercept, braked) in [(true, 429), (false, 302)] {
            let provider = json!({"intercept_header_auth": intercept});
            let rest = json!({"throttle": {"failures": 3, "window_seconds": 60}, "cache": {"ttl_seconds": 5}});
            let mut subject = start(&configuration(&provider, &rest));
            let guess = |username: &str, number: u32| request(&[("authorization", &basic(username, &format!("guess-{number}")))]);
            let good = request(&[("authorization", &basic("alice", PASSWORD))]);
            assert!(subject.send(&good).is_none());
            assert_eq!(subject.answer(&granting(json!({}))).map(|observed| observed.status()), Some(200));
            for number in 0..3 {
                assert!(subject.send(&guess("alice", number)).is_none());
                subject.answer(&refusing);
            }
            let observed = subject.send(&guess("alice", 3)).expect("authentik is not asked");
            assert_eq!(observed.status(), braked);
            let mut not_a_navigation = guess("alice", 3);
            not_a_navigation.push(("accept".to_owned(), "application/json".to_owned()));
            let expected = if intercept { 429 } else { 401 };
            assert_eq!(subject.send(&not_a_navigation).map(|observed| observed.status()), Some(expected));
            if intercept {
                assert_eq!(observed.header("retry-after"), Some("60"));
                assert!(observed.headers("www-authenticate").is_empty());
            }
            assert_eq!(subject.send(&good).expect("known").status(), 200);
            subject.advance(6);
            assert!(subject.send(&good).is_none(), "no longer fresh, and still no guess");
            assert_eq!(subject.answer(&granting(json!({}))).map(|observed| observed.status()), Some(200));
            assert!(subject.send(&guess("bob", 0)).is_none(), "another name is not braked");
            subject.answer(&refusing);
            subject.advance(54);
            assert!(subject.send(&guess("alice", 4)).is_none(), "the window is over");
            subject.answer(&refusing);
        }
    }

    /// A fault is no guess: an outage must not lock anybody out.
    fn faults_are_not_counted_as_guesses(start) {
        let mut subject = start(&configuration(&json!({}), &json!({"throttle": {"failures": 2}})));
        let good = request(&[("authorization", &basic("alice", PASSWORD))]);
        for _ in 0..5 {
            assert!(subject.send(&good).is_none());
            assert_eq!(subject.answer(&|_| Reply::Body(503, "")).map(|observed| observed.status()), Some(503));
        }
        assert!(subject.send(&good).is_none());
        assert_eq!(subject.answer(&granting(json!({}))).map(|observed| observed.status()), Some(200));
    }

    /// Where the source address is the client's own, many names from one address are braked as well.
    fn guessing_many_names_from_one_address_is_braked(start) {
        for (trusted, expected) in [(true, Some(429)), (false, None)] {
            let rest = json!({"throttle": {"failures": 3, "failures_per_user": 3, "trust_source_address": trusted}});
            let mut subject = start(&configuration(&json!({}), &rest));
            for number in 0..3 {
                assert!(subject.send(&request(&[("authorization", &basic(&format!("user-{number}"), "x"))])).is_none());
                subject.answer(&refusing);
            }
            let observed = subject.send(&request(&[("authorization", &basic("user-3", "x"))]));
            assert_eq!(observed.map(|observed| observed.status()), expected, "trusted: {trusted}");
        }
    }

    /// §2.7: a page has the request's identifier, and nothing else that a client could have put there but its path, as a link
    /// (see `pages`).
    fn pages_have_the_request_identifier_and_nothing_of_the_request(start) {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let mut page = |id: &str| {
            let headers = [(":method", "POST"), (":path", "/<b>"), ("accept", "text/html"), ("x-request-id", id), ("user-agent", "<b>")];
            match subject.send(&request(&headers)) {
                Some(Observed::Replied { status: 401, body, .. }) => body,
                other => panic!("a page, not {other:?}"),
            }
        };
        assert!(page("3af43310-9b08-4bf2").contains("Reference number: <code>3af43310-9b08-4bf2</code>"));
        for hostile in ["<script>alert(1)</script>", "a\"b", "é", &"a".repeat(65)] {
            let page = page(hostile);
            assert!(!page.contains("<code>") && !page.contains("script") && !page.contains("<b>"), "{page}");
        }
    }
}
