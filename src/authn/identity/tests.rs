use std::rc::Rc;

use serde_json::json;

use super::*;
use crate::authn::jwt::verifier;
use crate::authn::session::content::{Origin, Session};
use crate::authn::verdict::Verdict;
use crate::base::token::Token;
use crate::base::weight::Weigh as _;

fn config() -> Config {
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
        "session": {"enabled": false},
        "providers": [{
            "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
            "external_host": "https://app.example.test",
        }],
    });
    Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
}

/// A user with these `ak_proxy` claims.
pub(crate) fn identity(proxy: &Value) -> Identity {
    let config = config();
    let claims = json!({
        "sub": "7", "preferred_username": "alice", "exp": 200, "email": "e".repeat(1_000), "ak_proxy": proxy,
    });
    let now = Timestamp::from_seconds(100);
    let token = "t".repeat(1_000);
    let verified = verifier::restored(Token::new(token), claims.to_string().as_bytes(), now, now).unwrap();
    Identity::new(verified, &config.providers[0], &config).unwrap()
}

#[test]
fn an_audience_is_one_or_a_list_with_us_in_it() {
    let includes = |aud: Value| serde_json::from_value::<Audience>(aud).unwrap().includes("us");
    assert!(includes(json!("us")) && includes(json!(["us"])) && includes(json!(["them", "us"])));
    for aud in [json!(""), json!("them"), json!("us "), json!([]), json!(["them"]), json!(["them", "u", "s"])]
    {
        assert!(!includes(aud.clone()), "{aud}");
    }
}

#[test]
fn a_time_is_a_number_or_not_there() {
    let claims = |json: &str| serde_json::from_str::<Claims>(json);
    for name in ["exp", "nbf", "iat"] {
        for value in ["null", "true", "\"7\"", "[7]", "{}", "9007199254740992", "1e300", "1e999"] {
            assert!(claims(&format!("{{\"{name}\": {value}}}")).is_err(), "{name}: {value}");
        }
    }
    let read = claims(r#"{"exp": 7.9, "nbf": -1, "iat": 9007199254740991}"#).unwrap();
    let seconds = [read.exp, read.nbf, read.iat].map(|date| date.unwrap().0.seconds());
    assert_eq!(seconds, [7, 0, 9_007_199_254_740_991]);
    let none = claims("{}").unwrap();
    assert!(none.exp.is_none() && none.nbf.is_none() && none.iat.is_none());
}

#[test]
fn half_a_surrogate_pair_is_refused_only_where_it_is_read() {
    let claims = |json: &str| serde_json::from_str::<Claims>(json);
    assert!(claims(r#"{"sub": "7", "jti": "\ud800"}"#).is_ok());
    assert!(claims(r#"{"sub": "\ud800"}"#).is_err());
    assert!(claims(r#"{"sub": "7", "\ud800": "x"}"#).is_err());
}

#[test]
fn filter_state_has_authentiks_value_or_none() {
    let backend = |url: &str| identity(&json!({"backend_override": url}));
    assert_eq!(backend("http://other:8080").backend_override(), Some("http://other:8080"));
    assert_eq!(backend("http://other\n200 OK").backend_override(), None);
    assert_eq!(identity(&json!({})).backend_override(), None);
    assert_eq!(identity(&json!(null)).username(), "alice");
}

#[test]
fn an_identity_weighs_no_less_than_what_it_holds() {
    let attributes = json!({"user_attributes": {"additionalHeaders": {"x-large": "h".repeat(1_000)}}});
    // Token and e-mail address are there twice: as claims and as headers.
    assert!(identity(&attributes).weight() >= 5_000);
    let plain = Rc::new(identity(&json!({})));
    assert!(plain.weight() >= 4_000);
    assert_eq!(Verdict::Vouched(Rc::clone(&plain)).weight(), plain.weight());
    let expires = plain.expires();
    let session = Session {
        origin: Origin::Login,
        identity: plain,
        begun: expires,
        expires,
        checked: Checked::default(),
        is_renewed: false,
        id_token: None,
    };
    assert!(Rc::new(session).weight() >= 4_000);
}

#[test]
fn claims_weigh_what_their_lists_and_trees_take() {
    let heavier = |claims: Claims| claims_weight(&claims) - claims_weight(&Claims::default());
    let names = || Some(vec!["ab".to_owned(); 100]);
    let least = 100 * (size_of::<String>() + 2);
    assert!(heavier(Claims { groups: names(), ..Claims::default() }) >= least);
    assert!(heavier(Claims { entitlements: names(), ..Claims::default() }) >= least);
    let audience = names().map(Audience::Many);
    assert!(heavier(Claims { aud: audience, ..Claims::default() }) >= least);
    let attributes = |attributes: Value| {
        let user_attributes = Some(attributes.as_object().unwrap().clone());
        let proxy = ProxyClaims { user_attributes, ..ProxyClaims::default() };
        heavier(Claims { ak_proxy: Some(proxy), ..Claims::default() })
    };
    let node = 11 * (size_of::<String>() + size_of::<Value>());
    assert!(attributes(json!({"a": "x".repeat(1_000)})) >= node + 1_000);
    assert!(attributes(json!({"a": vec![1; 100]})) >= node + 100 * size_of::<Value>());
    assert!(attributes(json!({"a": [{"b": {"c": 1}}]})) >= 3 * node);
}

/// What these claims lack: `sub`, at least.
fn incomplete(claims: &Value) -> Incomplete {
    let mut all = claims.clone();
    all["exp"] = json!(200);
    let now = Timestamp::from_seconds(100);
    let verified =
        verifier::restored(Token::new("t".to_owned()), all.to_string().as_bytes(), now, now).unwrap();
    let config = config();
    Identity::new(verified, &config.providers[0], &config).unwrap_err()
}

#[test]
fn an_incomplete_identity_has_a_short_plain_account_name() {
    for (claims, expected) in [
        (json!({"preferred_username": "alice", "email": "a@example.test"}), Some("alice".to_owned())),
        (json!({"email": "a@example.test"}), Some("a@example.test".to_owned())),
        (json!({"preferred_username": " ", "email": "a@example.test"}), Some("a@example.test".to_owned())),
        (json!({"preferred_username": "a\r\nb\u{0}\u{85}c "}), Some("a  b  c".to_owned())),
        (json!({"preferred_username": "ü".repeat(1_000)}), Some("ü".repeat(64))),
        (json!({"preferred_username": "", "email": ""}), None),
        (json!({"name": "Alice"}), None),
    ] {
        assert_eq!(incomplete(&claims).account.as_deref(), expected.as_deref(), "{claims}");
    }
}
