//! OpenID Connect Back-Channel Logout 1.0: authentik posts a logout token, and the sessions that it names end.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt as _, Claims, Header};
use serde_json::{Value, json};

use super::{
    CLIENT_SECRET, NOW, Observed, Reply, Start, Subject, ask, callback_path, configuration, core, granting,
    jar, merge, parameter, request, token,
};

const PATH: &str = "/outpost.goauthentik.io/backchannel_logout";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// On the core, and on the module in an Envoy that hands it bodies.
fn on_both(hold: impl Fn(Start<'_>)) {
    hold(&|configuration| Box::new(core::Core::new(configuration)));
    #[cfg(feature = "hosts")]
    hold(&|configuration| Box::new(super::module::BuiltModule::reading_bodies(configuration)));
}

/// What authentik posts about alice, with these claims changed; `null` takes one away.
fn logout_claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://auth.example.test/application/o/demo/", "aud": "demo-client-id",
        "iat": NOW, "exp": NOW + 3600, "jti": "a-token", "events": {EVENT: {}},
        "sub": "c93aa54877a680039dcdd4a7bf636737", "sid": "a-session",
    });
    merge(&mut claims, changes);
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn logout_token(changes: &Value) -> String {
    let header = Header::empty().with_token_type("logout+jwt");
    Hs256.token(&header, &Claims::new(logout_claims(changes)), &Hs256Key::new(CLIENT_SECRET)).unwrap()
}

fn headers() -> Vec<(String, String)> {
    request(&[(":method", "POST"), (":path", PATH), ("content-type", "application/x-www-form-urlencoded")])
}

/// Posts a body. `None`: the request waits.
fn try_post(subject: &mut dyn Subject, body: &str) -> Option<Observed> {
    subject.post(&headers(), body.as_bytes())
}

/// Posts a body, and lets authentik answer whatever it is asked.
fn post(subject: &mut dyn Subject, body: &str) -> Observed {
    let observed = match try_post(subject, body) {
        Some(observed) => observed,
        None => subject.answer(&granting(json!({}))).expect("authentik has answered"),
    };
    assert!(matches!(observed, Observed::Replied { .. }), "forwarded: {observed:?}");
    assert_eq!(observed.header("cache-control"), Some("no-store"), "{observed:?}");
    assert_eq!(observed.header("set-cookie"), None, "{observed:?}");
    observed
}

fn log_out(subject: &mut dyn Subject, changes: &Value) -> u16 {
    post(subject, &format!("logout_token={}", logout_token(changes))).status()
}

/// A browser logs in; its token has these claims.
fn log_in(subject: &mut dyn Subject, claims: &Value) -> String {
    let begun = subject.send(&request(&[])).unwrap();
    let login = jar(&begun.headers("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>());
    let location = begun.header("location").unwrap();
    let callback = callback_path(&parameter(location, "state").unwrap());
    let mut all = json!({"nonce": parameter(location, "nonce")});
    merge(&mut all, claims);
    let ended = ask(subject, &[(":path", &callback), ("cookie", &login)], &granting(all));
    assert_eq!(ended.status(), 302, "{ended:?}");
    jar(&ended.headers("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>())
}

fn is_in(subject: &mut dyn Subject, cookie: &str) -> bool {
    subject.send(&request(&[("cookie", cookie)])).unwrap().status() == 200
}

#[test]
fn logout_token_ends_the_session_that_its_sid_names_and_no_other() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let one = log_in(&mut *subject, &json!({"sid": "a-session"}));
        let copy = log_in(&mut *subject, &json!({"sid": "a-session"}));
        let other = log_in(&mut *subject, &json!({"sid": "another-session"}));
        for cookie in [&one, &copy, &other] {
            assert!(is_in(&mut *subject, cookie));
        }
        assert_eq!(log_out(&mut *subject, &json!({})), 200);
        let ins = [&one, &copy, &other].map(|cookie| is_in(&mut *subject, cookie));
        assert_eq!(ins, [false, false, true], "`sid` wins over `sub`");
        let again = log_in(&mut *subject, &json!({"sid": "a-later-session"}));
        assert!(is_in(&mut *subject, &again));
    });
}

/// The token is posted late: between its issue and its arrival the user has logged in again.
#[test]
fn logout_token_without_sid_ends_the_users_sessions_that_began_before_it_was_issued() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let before = log_in(&mut *subject, &json!({}));
        let of_another = log_in(&mut *subject, &json!({"sub": "another-user"}));
        subject.advance(10);
        let after = log_in(&mut *subject, &json!({}));
        let about_the_user = json!({"sid": null, "iat": NOW + 5});
        assert_eq!(log_out(&mut *subject, &about_the_user), 200);
        let ins = [&before, &of_another, &after].map(|cookie| is_in(&mut *subject, cookie));
        assert_eq!(ins, [false, true, true]);
    });
}

#[test]
fn logout_token_that_was_accepted_is_refused_the_second_time() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        assert_eq!(log_out(&mut *subject, &json!({})), 200);
        assert_eq!(log_out(&mut *subject, &json!({})), 400);
        assert_eq!(log_out(&mut *subject, &json!({"jti": "another-token"})), 200);
    });
}

#[test]
fn logout_token_that_fails_a_check_ends_nothing() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let cookie = log_in(&mut *subject, &json!({"sid": "a-session"}));
        let forged = Hs256
            .token(
                &Header::empty().with_token_type("logout+jwt"),
                &Claims::new(logout_claims(&json!({}))),
                &Hs256Key::new("another-secret"),
            )
            .unwrap();
        let untyped = Hs256.token(
            &Header::empty(),
            &Claims::new(logout_claims(&json!({}))),
            &Hs256Key::new(CLIENT_SECRET),
        );
        let mut tokens = vec![forged, untyped.unwrap(), token(&json!({"sid": "a-session"})), String::new()];
        tokens.extend(
            [
                json!({"iss": "https://auth.example.test/application/o/other/"}),
                json!({"aud": "other-client-id"}),
                json!({"exp": NOW}),
                json!({"iat": NOW + 3600, "exp": NOW + 7200}),
                json!({"iat": NOW - 3660}),
                json!({"iat": null}),
                json!({"jti": null}),
                json!({"events": {}}),
                json!({"nonce": "a"}),
                json!({"sid": null, "sub": null}),
            ]
            .map(|changes| logout_token(&changes)),
        );
        for token in tokens {
            assert_eq!(post(&mut *subject, &format!("logout_token={token}")).status(), 400, "{token}");
        }
        assert!(is_in(&mut *subject, &cookie));
        assert_eq!(log_out(&mut *subject, &json!({})), 200, "a refused token has not used the jti up");
    });
}

#[test]
fn body_that_is_not_a_form_with_one_token_is_refused() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let cookie = log_in(&mut *subject, &json!({"sid": "a-session"}));
        let good = logout_token(&json!({}));
        let long = "a".repeat(16 << 10);
        for body in [
            String::new(),
            "=".to_owned(),
            "&&&".to_owned(),
            good.clone(),
            "logout_token".to_owned(),
            format!("Logout_token={good}"),
            format!("logout_token={good}&logout_token={good}"),
            format!("logout_token={good}&logout%5Ftoken="),
            format!("logout_token={good}%zz"),
            format!("logout_token={good}%"),
            format!("logout_token={good}%ff"),
            format!("logout_token=+{good}"),
            format!("logout_token={good}.a.b"),
            format!("logout_token={good}&rest={long}"),
            format!("logout_token={long}.{long}.{long}"),
            "a".repeat(1 << 20),
        ] {
            assert_eq!(post(&mut *subject, &body).status(), 400, "{}", body.get(..40).unwrap_or(&body));
        }
        let not_text = [b"logout_token=\xff\xfe", good.as_bytes()].concat();
        assert_eq!(subject.post(&headers(), &not_text).unwrap().status(), 400);
        for content_type in ["application/json", "text/plain", "multipart/form-data; boundary=x", ""] {
            let mut headers = headers();
            headers.retain(|(name, _)| name != "content-type");
            headers.push(("content-type".to_owned(), content_type.to_owned()));
            let observed = subject.post(&headers, format!("logout_token={good}").as_bytes()).unwrap();
            assert_eq!(observed.status(), 400, "{content_type}");
        }
        assert!(is_in(&mut *subject, &cookie));
        let other = post(&mut *subject, &format!("a=b&logout_token={good}&c"));
        assert_eq!(other.status(), 200, "other parameters are ignored (§2.5)");
        assert!(!is_in(&mut *subject, &cookie));
    });
}

#[test]
fn token_waits_for_the_first_key_set() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let body = format!("logout_token={}", logout_token(&json!({})));
        assert_eq!(try_post(&mut *subject, &body), None, "nothing is known of the keys");
        let keys = "/application/o/demo/jwks/".to_owned();
        assert_eq!(subject.calls().iter().filter(|path| **path == keys).count(), 1);
        let observed = subject.answer(&granting(json!({}))).unwrap();
        assert_eq!(observed.status(), 200, "{observed:?}");
    });
}

#[test]
fn token_is_answered_with_503_where_no_key_set_can_be_had() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        let body = format!("logout_token={}", logout_token(&json!({})));
        assert_eq!(try_post(&mut *subject, &body), None);
        let observed = subject.answer(&|_| Reply::Reset).unwrap();
        assert_eq!(observed.status(), 503, "{observed:?}");
        assert!(observed.header("retry-after").is_some(), "{observed:?}");
        assert_eq!(observed.header("cache-control"), Some("no-store"));
    });
}

/// A stranger can name any key.
#[test]
fn unknown_keys_cause_one_fetch_in_the_minimum_interval() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({})));
        assert_eq!(log_out(&mut *subject, &json!({})), 200);
        subject.advance(60);
        let body = |number: usize| {
            let header = json!({"alg": "ES256", "typ": "logout+jwt", "kid": format!("key-{number}")});
            let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
            format!("logout_token={}.{}.AAAA", encode(&header), encode(&logout_claims(&json!({}))))
        };
        assert_eq!(try_post(&mut *subject, &body(0)), None, "authentik may have a new key");
        assert_eq!(subject.calls().len(), 1);
        assert_eq!(subject.answer(&granting(json!({}))).map(|observed| observed.status()), Some(400));
        for number in 1..100 {
            assert_eq!(try_post(&mut *subject, &body(number)).map(|observed| observed.status()), Some(400));
        }
        assert_eq!(subject.calls(), Vec::<String>::new());
    });
}

#[test]
fn no_request_of_the_endpoint_reaches_the_application() {
    on_both(|start| {
        let open = json!({"skip_path_regex": ".*"});
        let mut subject = start(&configuration(&open, &json!({})));
        assert_eq!(post(&mut *subject, "logout_token=x").status(), 400);
        assert_eq!(log_out(&mut *subject, &json!({})), 200);
        for method in ["GET", "HEAD", "PUT", "DELETE", "post"] {
            let observed = subject.send(&request(&[(":method", method), (":path", PATH)])).unwrap();
            assert!(matches!(observed, Observed::Replied { status: 404, .. }), "{method}: {observed:?}");
        }
        let below = request(&[(":method", "POST"), (":path", "/outpost.goauthentik.io/backchannel_logout/")]);
        let observed = subject.post(&below, b"logout_token=x").unwrap();
        assert!(matches!(observed, Observed::Replied { status: 404, .. }), "{observed:?}");
    });
}

/// There is no session to end, and the path may be an outpost's behind the filter.
#[test]
fn without_sessions_the_path_is_protected_like_any_other() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({"session": {"enabled": false}})));
        let body = format!("logout_token={}", logout_token(&json!({})));
        assert_eq!(try_post(&mut *subject, &body).map(|observed| observed.status()), Some(401));
    });
}

/// It has issuer, audience, times and user of the provider, and travels in the clear.
#[test]
fn logout_token_is_refused_as_a_credential_without_a_call() {
    let named = logout_token(&json!({"preferred_username": "alice"}));
    let basic = super::basic("goauthentik.io/token", &named);
    for provider in [
        json!({}),
        json!({"bearer_verification": "introspection"}),
        json!({"bearer_verification": "local_then_introspection"}),
        json!({"federated_bearer": true}),
        json!({"federated_bearer": true, "oidc_configuration": {"issuer": "https://elsewhere.test/"}}),
        json!({"revalidate_seconds": 30}),
    ] {
        on_both(|start| {
            let mut subject = start(&configuration(&provider, &json!({})));
            // Its keys are fetched.
            let other = token(&json!({}));
            ask(&mut *subject, &[("authorization", &format!("Bearer {other}"))], &granting(json!({})));
            for authorization in [&format!("Bearer {named}"), &basic] {
                let observed = subject.send(&request(&[("authorization", authorization)]));
                assert_eq!(observed.map(|observed| observed.status()), Some(401), "{provider}");
                assert_eq!(subject.calls(), Vec::<String>::new(), "{provider}");
            }
        });
    }
}
