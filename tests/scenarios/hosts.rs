//! Which provider a host belongs to, and what host the application's route is chosen by.

use serde_json::{Value, json};

use super::{Observed, ask, basic, configuration, granting, on_both, request};

/// A single application beside the domain that it is in, whose public paths are open.
fn single_beside_domain() -> String {
    let entry = |slug: &str, changes: Value| {
        let mut entry = json!({
            "assigned_application_slug": slug, "client_id": format!("{slug}-id"), "client_secret": "a-client-secret",
            "cookie_secret": "a cookie secret of at least 32 bytes",
        });
        super::merge(&mut entry, &changes);
        entry
    };
    let providers = json!({"providers": [
        entry("secret", json!({"external_host": "https://secret.corp"})),
        entry("corp", json!({
            "external_host": "https://auth.corp", "cookie_domain": "corp", "mode": "forward_domain",
            "skip_path_regex": "^https://[^/]*/public",
        })),
    ]});
    configuration(&json!({}), &providers)
}

#[test]
fn a_port_or_a_dot_in_the_host_chooses_no_other_provider() {
    on_both(|start| {
        let mut subject = start(&single_beside_domain());
        for host in ["secret.corp:1234", "secret.corp:80", "SECRET.corp:1234", "secret.corp.:1234"] {
            for path in ["/", "/public"] {
                let observed = subject.send(&request(&[(":authority", host), (":path", path)])).unwrap();
                assert_eq!(observed.status(), 400, "{host}{path}: {observed:?}");
            }
        }
        for host in ["secret.corp", "secret.corp.", "Secret.Corp", "secret.corp:443", "secret.corp.:443"] {
            let observed = subject.send(&request(&[(":authority", host), (":path", "/public")])).unwrap();
            let location = observed.header("location").unwrap_or_default();
            assert!(location.contains("client_id=secret-id"), "{host}: {observed:?}");
        }
    });
}

#[test]
fn with_several_providers_the_host_that_was_judged_goes_on() {
    on_both(|start| {
        let mut subject = start(&single_beside_domain());
        for (host, judged) in [
            ("wiki.corp", "wiki.corp"),
            ("Wiki.CORP", "wiki.corp"),
            ("wiki.corp.", "wiki.corp"),
            ("wiki.corp:443", "wiki.corp"),
            ("wiki.corp.:8443", "wiki.corp:8443"),
        ] {
            let observed = subject.send(&request(&[(":authority", host), (":path", "/public")])).unwrap();
            let Observed::Forwarded(_) = observed else { panic!("an open path: {observed:?}") };
            assert_eq!(observed.headers(":authority"), [judged], "{host}");
        }
    });
}

#[test]
fn the_only_provider_leaves_the_host_as_it_is() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let headers = [(":authority", "APP.example.test."), ("authorization", &*basic("alice", "p"))];
        let observed = ask(&mut *subject, &headers, &granting(json!({})));
        assert_eq!(observed.headers(":authority"), ["APP.example.test."]);
    });
}
