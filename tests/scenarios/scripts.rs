//! Replies to scripts: which origins may read them (CORS), and that no browser opens its password box for them.

use serde_json::{Value, json};

use super::{Observed, PASSWORD, Reply, Start, ask, basic, configuration, granting, on_both, refusing};

const ALLOWED: &str = "https://spa.example.test";

fn with_origins(rest: &Value) -> String {
    let mut rest = rest.clone();
    rest["allow_cors_origins"] = json!(["https://other.example.test:8443", ALLOWED]);
    configuration(&json!({}), &rest)
}

/// The headers by which a browser lets a script read a reply.
fn cors(observed: &Observed) -> [Vec<&str>; 3] {
    ["access-control-allow-origin", "access-control-allow-credentials", "vary"]
        .map(|name| observed.headers(name))
}

/// What a request says, what authentik answers, and the status that comes of it.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a dyn Fn(&str) -> Reply, u16);

/// A request of this origin, of each kind that the filter answers itself, and what it is answered with.
fn replies(start: Start<'_>, configuration: &str, origin: &[(&str, &str)]) -> Vec<Observed> {
    let credential = basic("alice", PASSWORD);
    let good: [(&str, &str); 1] = [("authorization", &credential)];
    let reset: &dyn Fn(&str) -> Reply = &|_| Reply::Reset;
    let nameless = granting(json!({"preferred_username": null}));
    let cases: [Case<'_>; 10] = [
        (&[("sec-fetch-mode", "cors")], &refusing, 401),
        (&[(":method", "POST"), ("content-type", "application/grpc-web")], &refusing, 401),
        (&[(":method", "OPTIONS"), ("access-control-request-method", "PUT")], &refusing, 401),
        (&good, &refusing, 401),
        (&[], &refusing, 302),
        (&good, &nameless, 403),
        (&[(":path", "/outpost.goauthentik.io/callback?code=a&state=b")], &refusing, 400),
        (&[(":path", "/outpost.goauthentik.io/another")], &refusing, 404),
        (&[(":path", "/outpost.goauthentik.io/ping")], &refusing, 204),
        (&good, reset, 503),
    ];
    let mut replies = Vec::new();
    for (headers, authentik, status) in cases {
        let observed = ask(&mut *start(configuration), &[headers, origin].concat(), authentik);
        assert_eq!(observed.status(), status, "{observed:?}");
        replies.push(observed);
    }
    replies.push(too_many_guesses(&mut *start(configuration), origin));
    replies
}

fn too_many_guesses(subject: &mut dyn super::Subject, origin: &[(&str, &str)]) -> Observed {
    ask(subject, &[("authorization", &basic("alice", "one"))], &refusing);
    let two = basic("alice", "two");
    let observed = ask(subject, &[&[("authorization", &*two)], origin].concat(), &refusing);
    assert_eq!(observed.status(), 429);
    observed
}

#[test]
fn every_reply_lets_scripts_of_an_allowed_origin_read_it() {
    on_both(|start| {
        let configuration = with_origins(&json!({"throttle": {"failures": 1}}));
        for observed in replies(start, &configuration, &[("origin", ALLOWED)]) {
            assert_eq!(cors(&observed), [vec![ALLOWED], vec!["true"], vec!["Origin"]], "{observed:?}");
        }
    });
}

#[test]
fn no_reply_lets_scripts_of_another_origin_read_it() {
    on_both(|start| {
        let rest = json!({"throttle": {"failures": 1}});
        for (configuration, origins) in [
            (
                with_origins(&rest),
                &[
                    vec![],
                    vec![("origin", "https://evil.test")],
                    vec![("origin", "null")],
                    vec![("origin", "")],
                    vec![("origin", "*")],
                    vec![("origin", "https://spa.example.test.evil.test")],
                    vec![("origin", "https://evil.spa.example.test")],
                    vec![("origin", "http://spa.example.test")],
                    vec![("origin", "https://spa.example.test:8443")],
                    vec![("origin", "https://SPA.example.test")],
                    vec![("origin", "https://spa.example.test/")],
                    vec![("origin", ALLOWED), ("origin", ALLOWED)],
                    vec![("referer", ALLOWED)],
                ][..],
            ),
            (configuration(&json!({}), &rest), &[vec![("origin", ALLOWED)]]),
        ] {
            for origin in origins {
                for observed in replies(start, &configuration, origin) {
                    assert_eq!(cors(&observed), [[""; 0]; 3], "{origin:?}: {observed:?}");
                }
            }
        }
    });
}

/// Whose CORS headers are the application's business.
#[test]
fn a_request_that_goes_on_gets_no_cors_headers() {
    on_both(|start| {
        let credential = basic("alice", PASSWORD);
        let headers = [("authorization", &*credential), ("origin", ALLOWED)];
        let observed = ask(&mut *start(&with_origins(&json!({}))), &headers, &granting(json!({})));
        assert!(
            matches!(observed, Observed::Forwarded(_)) && observed.header("origin") == Some(ALLOWED),
            "{observed:?}"
        );
        assert_eq!(cors(&observed), [[""; 0]; 3]);
    });
}

/// Also where no provider answers for the host.
#[test]
fn a_host_without_a_provider_is_answered_readably_too() {
    on_both(|start| {
        let provider = |slug: &str| {
            json!({
                "assigned_application_slug": slug, "client_id": slug, "client_secret": "s",
                "cookie_secret": "0123456789abcdef0123456789abcdef", "external_host": format!("https://{slug}.test"),
            })
        };
        let configuration = with_origins(&json!({"providers": [provider("a"), provider("b")]}));
        let headers = [(":authority", "c.test"), ("origin", ALLOWED), ("sec-fetch-mode", "cors")];
        let observed = ask(&mut *start(&configuration), &headers, &refusing);
        assert_eq!((observed.status(), cors(&observed)[0].as_slice()), (400, &[ALLOWED][..]));
    });
}

#[test]
fn a_script_is_not_challenged_for_a_password() {
    on_both(|start| {
        let bearer = "Bearer a-token-of-nobody";
        for (headers, challenges) in [
            (vec![(":method", "POST")], 2),
            (vec![(":method", "POST"), ("sec-fetch-mode", "navigate")], 2),
            (vec![("accept", "application/json")], 2),
            (vec![("accept", "application/json"), ("x-requested-with", "curl")], 2),
            (vec![("sec-fetch-mode", "cors")], 1),
            (vec![("sec-fetch-mode", "no-cors")], 1),
            (vec![("sec-fetch-mode", "same-origin")], 1),
            (vec![("sec-fetch-mode", "websocket"), ("upgrade", "websocket")], 1),
            (vec![("x-requested-with", "XMLHttpRequest")], 1),
            (vec![("x-requested-with", "xmlhttprequest"), ("sec-fetch-mode", "navigate")], 1),
        ] {
            for authorization in [None, Some(bearer)] {
                let authorization = authorization.map(|value| ("authorization", value));
                let headers: Vec<_> = headers.iter().copied().chain(authorization).collect();
                let observed = ask(&mut *start(&configuration(&json!({}), &json!({}))), &headers, &refusing);
                assert_eq!(observed.status(), 401, "{headers:?}: {observed:?}");
                let error = if authorization.is_some() { ", error=\"invalid_token\"" } else { "" };
                let bearer = format!("Bearer realm=\"demo\"{error}");
                let all = ["Basic realm=\"demo\", charset=\"UTF-8\"", &*bearer];
                assert_eq!(observed.headers("www-authenticate"), all[2 - challenges..], "{headers:?}");
            }
        }
    });
}
