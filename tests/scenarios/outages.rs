//! What goes on while authentik fails, and what does not.

use serde_json::{Value, json};

use super::{
    NOW, PASSWORD, Reply, ask, basic, configuration, granting, jar, on_both, refusing, request, token,
};

fn stale(provider: &Value, rest: &Value) -> String {
    let mut changes = json!({"cache": {"ttl_seconds": 60, "stale_seconds": 600, "negative_ttl_seconds": 10}});
    super::merge(&mut changes, rest);
    configuration(provider, &changes)
}

fn down(_: &str) -> Reply {
    Reply::Reset
}

#[test]
fn only_a_failure_of_authentik_is_bridged() {
    on_both(|start| {
        let rest = json!({"authentik": {"cluster": "authentik", "host": "https://auth.example.test", "max_concurrent_calls": 1, "max_pending_calls": 1}});
        let alice = basic("alice", PASSWORD);
        let known = [("authorization", &*alice)];
        let also_known = request(&[("authorization", &basic("eve", PASSWORD))]);
        let mut subject = start(&stale(&json!({}), &rest));
        ask(&mut *subject, &known, &granting(json!({})));
        assert!(subject.send(&also_known).is_none());
        subject.answer(&granting(json!({"preferred_username": "eve"})));
        subject.advance(61);
        assert_eq!(ask(&mut *subject, &known, &down).status(), 200, "authentik fails");
        // One call is out, one known credential waits for its place, and there is no room for another: that is no failure of
        // authentik's, and anybody can bring it about.
        assert!(subject.send(&request(&[("authorization", &basic("bob", "guess"))])).is_none());
        assert!(subject.send(&request(&known)).is_none());
        assert_eq!(subject.send(&also_known).map(|observed| observed.status()), Some(503), "too many calls");
        subject.answer(&refusing);
        ask(&mut *subject, &known, &granting(json!({})));
        subject.advance(61);
        for wrong in ["invalid_client", "invalid_request"] {
            let observed = ask(&mut *subject, &known, &|_| Reply::Json(400, json!({"error": wrong})));
            assert_eq!(observed.status(), 503, "{wrong} is the configuration's fault");
        }
    });
}

/// What the interval ends is bridged like the rest; what authentik has ended is not.
#[test]
fn unconfirmed_session_is_stale_as_long_as_any_verdict() {
    on_both(|start| {
        let configuration = stale(&json!({"revalidate_seconds": 30}), &json!({}));
        let mut first = start(&configuration);
        ask(&mut *first, &[("authorization", &basic("alice", PASSWORD))], &granting(json!({})));
        let cookie = jar(&first.respond(&[]));
        let headers = [("cookie", &*cookie)];
        for (seconds, status) in [(29, 200), (30, 200), (629, 200), (630, 503)] {
            let mut replica = start(&configuration);
            replica.advance(seconds);
            let observed = ask(&mut *replica, &headers, &down);
            assert_eq!(observed.status(), status, "after {seconds} seconds, its first confirmation");
        }
        let mut replica = start(&configuration);
        replica.advance(30);
        assert_eq!(ask(&mut *replica, &headers, &refusing).status(), 302);
        replica.advance(11);
        assert_eq!(ask(&mut *replica, &headers, &down).status(), 503, "authentik has ended it");
        let without = super::configuration(&json!({"revalidate_seconds": 30}), &json!({}));
        let mut replica = start(&without);
        replica.advance(30);
        assert_eq!(ask(&mut *replica, &headers, &down).status(), 503, "stale_seconds is 0");
    });
}

/// Envoy has started again, and authentik is down.
#[test]
fn a_provider_that_says_that_it_has_no_key_needs_no_key_set_first() {
    on_both(|start| {
        let bearer = format!("Bearer {}", token(&json!({})));
        let headers = request(&[("authorization", &bearer)]);
        let with = |algorithms: Value| {
            let oidc = json!({
                "issuer": "https://auth.example.test/application/o/demo/",
                "id_token_signing_alg_values_supported": algorithms,
            });
            configuration(&json!({"oidc_configuration": oidc}), &json!({}))
        };
        let mut subject = start(&with(json!(["HS256"])));
        assert_eq!(subject.send(&headers).map(|observed| observed.status()), Some(200), "nobody is asked");
        for other in [json!(["RS256"]), json!(["HS256", "RS256"]), json!([]), json!("HS256"), json!(null)] {
            let mut subject = start(&with(other.clone()));
            assert!(subject.send(&headers).is_none(), "{other}: the key set decides");
            assert_eq!(subject.answer(&down).map(|observed| observed.status()), Some(503), "{other}");
        }
        // A token of a key that the entry did not speak of: the key set is fetched.
        let mut subject = start(&with(json!(["HS256"])));
        let es256 = super::signed(&json!({}), "x").split('.').nth(1).unwrap().to_owned();
        let header = base64::Engine::encode(
            &base64::prelude::BASE64_URL_SAFE_NO_PAD,
            json!({"alg": "ES256", "kid": "new"}).to_string(),
        );
        let unknown = format!("Bearer {header}.{es256}.{}", "A".repeat(86));
        assert!(subject.send(&request(&[("authorization", &unknown)])).is_none());
        assert_eq!(subject.calls(), ["/application/o/demo/jwks/"]);
    });
}

/// A login ends at authentik's error pages, a captive portal, or a proxy in between: none of them is a key set.
#[test]
fn an_object_that_is_no_key_set_never_means_the_client_secret() {
    on_both(|start| {
        let bearer = format!("Bearer {}", token(&json!({"exp": NOW + 600})));
        for body in [json!({"error": "x"}), json!({"detail": "Not found."}), json!({"keys": "x"})] {
            let mut subject = start(&configuration(&json!({}), &json!({})));
            assert!(subject.send(&request(&[("authorization", &bearer)])).is_none());
            let observed = subject.answer(&|_| Reply::Json(200, body.clone())).unwrap();
            assert_eq!(observed.status(), 503, "{body}");
        }
    });
}
