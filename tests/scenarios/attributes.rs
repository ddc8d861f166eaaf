//! What a user's attributes set for the application, and what they cannot.

use serde_json::{Map, Value, json};

use super::{Observed, PASSWORD, ask, basic, configuration, granting, on_both};

/// The identity headers, each in a spelling of its own.
const TWELVE: [&str; 12] = [
    "X-Authentik-Username",
    "x_authentik_groups",
    "X-AUTHENTIK-ENTITLEMENTS",
    "x.authentik.email",
    "X-Authentik_Name",
    "X_Authentik_Uid",
    "x~authentik~jwt",
    "X-Authentik-Meta-Jwks",
    "x-authentik-meta_outpost",
    "X_AUTHENTIK_META_PROVIDER",
    "x-authentik.meta.app",
    "x!authentik!meta!version",
];

/// What alice's request becomes with these `additionalHeaders`.
fn observed(start: super::Start<'_>, rest: &Value, additional: &Value, sent: &[(&str, &str)]) -> Observed {
    let mut subject = start(&configuration(&json!({}), rest));
    let credential = basic("alice", PASSWORD);
    let changes = json!({"ak_proxy": {"user_attributes": {"additionalHeaders": additional}}});
    ask(&mut *subject, &[&[("authorization", &*credential)], sent].concat(), &granting(changes))
}

#[test]
fn additional_headers_may_have_owned_names_in_their_normal_form() {
    on_both(|start| {
        let additional = json!({"X-Authentik-Tier": "gold", "X_Authentik_Region": "eu"});
        let sent = [
            ("x-authentik-tier", "forged"),
            ("x_authentik_tier", "forged"),
            ("x.authentik.region", "forged"),
        ];
        let observed = observed(start, &json!({}), &additional, &sent);
        assert_eq!(observed.headers("x-authentik-tier"), ["gold"]);
        assert_eq!(observed.headers("x-authentik-region"), ["eu"]);
        let count = observed
            .names()
            .iter()
            .filter(|name| name.replace(['_', '.'], "-").starts_with("x-authentik-"))
            .count();
        assert_eq!(count, 12 + 2, "{observed:?}");
    });
}

#[test]
fn no_additional_header_is_an_identity_header_sent_or_not() {
    on_both(|start| {
        let additional: Map<String, Value> =
            TWELVE.iter().map(|name| ((*name).to_owned(), json!("forged"))).collect();
        for rest in [json!({}), json!({"identity_headers": ["username"]})] {
            let observed = observed(start, &rest, &json!(additional), &[]);
            assert_eq!(observed.header("x-authentik-username"), Some("alice"));
            assert!(!format!("{observed:?}").contains("forged"), "{observed:?}");
        }
    });
}

#[test]
fn of_names_with_one_normal_form_the_first_in_the_order_of_names_is_sent() {
    on_both(|start| {
        let additional =
            json!({"x_tenant": "4", "x-tenant": "3", "X_Tenant": "2", "X-Tenant": "1", "x.tenant": "5"});
        let sent = [("x-tenant", "forged"), ("x_tenant", "forged"), ("x.tenant", "forged")];
        let observed = observed(start, &json!({}), &additional, &sent);
        assert_eq!(observed.headers("x-tenant"), ["1"], "{observed:?}");
        assert!(
            !observed.names().contains(&"x_tenant") && !observed.names().contains(&"x.tenant"),
            "{observed:?}"
        );
    });
}

#[test]
fn at_most_a_hundred_additional_headers_are_sent_the_first_in_the_order_of_names() {
    on_both(|start| {
        // What is refused or no value does not count.
        let mut additional = json!({"Host": "evil", "X-A": null, "X-B": []});
        for number in 0..20_000 {
            additional[format!("x-{number:05}")] = json!(number);
        }
        let observed = observed(start, &json!({}), &additional, &[]);
        let sent: Vec<_> = observed.names().into_iter().filter(|name| name.starts_with("x-0")).collect();
        let expected: Vec<_> = (0..100).map(|number| format!("x-{number:05}")).collect();
        assert_eq!(sent, expected);
        assert!(!observed.names().iter().any(|name| name.starts_with("x-1")));
    });
}

#[test]
fn send_http_basic_sends_nothing_where_there_is_nothing_to_send() {
    on_both(|start| {
        for (empty_password, email, attributes, expected) in [
            ("send", None, json!({}), None),
            ("send", Some(""), json!({}), None),
            ("send", None, json!({"app_username": "", "app_password": ""}), None),
            ("send", None, json!({"app_username": 7}), None),
            ("omit", None, json!({}), None),
            ("send", None, json!({"app_username": "al"}), Some(basic("al", ""))),
            ("send", None, json!({"app_password": "s"}), Some(basic("", "s"))),
            ("omit", None, json!({"app_password": "s"}), Some(basic("", "s"))),
            ("send", Some("a@example.test"), json!({}), Some(basic("a@example.test", ""))),
        ] {
            let provider = json!({
                "basic_auth_enabled": true,
                "basic_auth_user_attribute": "app_username",
                "basic_auth_password_attribute": "app_password",
                "basic_auth_empty_password": empty_password,
            });
            let mut subject = start(&configuration(&provider, &json!({})));
            let changes = json!({"email": email, "ak_proxy": {"user_attributes": attributes}});
            let observed = ask(
                &mut *subject,
                &[("authorization", &basic("alice", PASSWORD))],
                &granting(changes.clone()),
            );
            assert_eq!(observed.status(), 200);
            assert_eq!(observed.header("authorization"), expected.as_deref(), "{empty_password} {changes}");
        }
    });
}

/// HTTP takes blanks away at both ends of a value; application servers take more.
#[test]
fn a_name_with_white_space_at_an_end_is_forbidden() {
    const WHITE: [char; 8] =
        [' ', '\u{a0}', '\u{1680}', '\u{2003}', '\u{2028}', '\u{202f}', '\u{3000}', '\u{feff}'];
    on_both(|start| {
        let status = |claim: &str, value: &str| {
            let mut subject = start(&configuration(&json!({}), &json!({})));
            let mut changes = json!({});
            changes[claim] = json!(value);
            ask(&mut *subject, &[("authorization", &basic("alice", PASSWORD))], &granting(changes)).status()
        };
        for claim in ["preferred_username", "sub"] {
            for white in WHITE {
                for name in [format!("admin{white}"), format!("{white}admin"), white.to_string()] {
                    assert_eq!(status(claim, &name), 403, "{claim} {name:?}");
                }
            }
            for name in ["two words", "a\u{a0}b", "Ünïcode"] {
                assert_eq!(status(claim, name), 200, "{claim} {name:?}");
            }
        }
    });
}
