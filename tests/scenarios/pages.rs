//! The pages that a person sees: where each leads, what it repeats of a request, and which replies have its headers.

use serde_json::{Value, json};

use super::{
    Observed, PASSWORD, Reply, Subject, ask, basic, callback_path, configuration, granting, jar, on_both,
    parameter, refusing, request,
};

const POLICY: &str = "default-src 'none'; style-src 'sha256-";
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

fn demo() -> String {
    configuration(&json!({}), &json!({}))
}

/// The page with this status.
#[track_caller]
fn page(observed: &Observed, expected: u16) -> &str {
    match observed {
        Observed::Replied { status, body, .. } if *status == expected => {
            assert!(body.starts_with("<!doctype html>"), "{body}");
            body
        }
        other => panic!("{expected}, not {other:?}"),
    }
}

/// What authentik's outage shows to somebody whom the filter does not know.
fn unavailable(subject: &mut dyn Subject, method: &str, path: &str) -> Observed {
    let credential = basic("alice", PASSWORD);
    let headers = [(":method", method), (":path", path), BROWSER, ("authorization", &*credential)];
    ask(subject, &headers, &|_| Reply::Body(503, ""))
}

/// A login that was begun at this path: its cookie, its `state` and its nonce.
fn begin(subject: &mut dyn Subject, path: &str) -> (String, String, String) {
    let begun = subject.send(&request(&[(":path", path)])).unwrap();
    let cookie = jar(&begun.headers("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>());
    let value = |name| parameter(begun.header("location").unwrap(), name).unwrap();
    (cookie, value("state"), value("nonce"))
}

/// The browser comes back from authentik, which then answers so.
fn come_back(
    subject: &mut dyn Subject,
    (cookie, state, _): &(String, String, String),
    authentik: &dyn Fn(&str) -> Reply,
) -> Observed {
    let path = callback_path(state);
    ask(subject, &[(":path", &path), ("cookie", cookie), BROWSER], authentik)
}

#[test]
fn an_outage_page_leads_to_the_path_asked_for_and_loads_it_after_retry_after() {
    on_both(|start| {
        let observed = unavailable(&mut *start(&demo()), "GET", "/a?b=c&d='\"<b>");
        let body = page(&observed, 503);
        assert_eq!(observed.headers("retry-after"), ["5"]);
        let path = "/a?b=c&amp;d=&#39;&quot;&lt;b&gt;";
        assert!(body.contains(&format!("<meta http-equiv=\"refresh\" content=\"5;url={path}\">")), "{body}");
        assert!(body.contains(&format!("<a href=\"{path}\">Try again</a>")), "{body}");
    });
}

#[test]
fn a_page_leads_to_no_other_origin_and_repeats_no_other_method() {
    on_both(|start| {
        for (method, path) in [
            ("GET", "//evil.test/"),
            ("GET", "/\\evil.test/"),
            ("GET", "https://evil.test/"),
            ("GET", &format!("/{}", "a".repeat(2048))),
            ("POST", "/form"),
            ("DELETE", "/thing"),
        ] {
            let observed = unavailable(&mut *start(&demo()), method, path);
            let body = page(&observed, 503);
            assert!(
                !body.contains("href=") && !body.contains("refresh") && !body.contains("evil"),
                "{path}: {body}"
            );
            assert_eq!(observed.headers("retry-after"), ["5"]);
        }
    });
}

#[test]
fn the_code_of_a_callback_is_on_no_page_and_another_login_leads_to_the_same_place() {
    on_both(|start| {
        let again = "/outpost.goauthentik.io/start?rd=https%3A%2F%2Fapp.example.test%2Fdeep%3Fx%3D1";
        let mut subject = start(&demo());
        let begun = begin(&mut *subject, "/deep?x=1");
        let faulty: &dyn Fn(&str) -> Reply = &|_| Reply::Reset;
        let wrong_nonce = granting(json!({"nonce": "another"}));
        for (status, authentik) in [(503, faulty), (400, &wrong_nonce)] {
            let observed = come_back(&mut *subject, &begun, authentik);
            let body = page(&observed, status);
            assert!(body.contains(&format!("<a href=\"{again}\">Try again</a>")), "{body}");
            assert_eq!(body.contains(&format!("content=\"5;url={again}\"")), status == 503, "{body}");
            assert!(
                !body.contains("a-code") && !body.contains("state=") && !body.contains(&begun.1),
                "{body}"
            );
        }
        let mut without_cookie = begun.clone();
        without_cookie.0.clear();
        let observed = come_back(&mut *subject, &without_cookie, &refusing);
        assert!(page(&observed, 400).contains(&format!("<a href=\"{again}\">")), "{observed:?}");

        // The link begins a login that leads there.
        let location = subject.send(&request(&[(":path", again)])).unwrap();
        assert_eq!(location.status(), 302, "{location:?}");
        let cookie = jar(&location.headers("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>());
        let value = |name| parameter(location.header("location").unwrap(), name).unwrap();
        let begun = (cookie, value("state"), value("nonce"));
        let ended = come_back(&mut *subject, &begun, &granting(json!({"nonce": begun.2})));
        assert_eq!(ended.header("location"), Some("https://app.example.test/deep?x=1"));
    });
}

#[test]
fn without_sessions_a_callback_of_the_outpost_is_not_repeated() {
    on_both(|start| {
        let mut subject = start(&configuration(&json!({}), &json!({"session": {"enabled": false}})));
        for path in [&*callback_path("a-state"), "/outpost.goauthentik.io/callback?code=a-code&state=a-state"]
        {
            let observed = unavailable(&mut *subject, "GET", path);
            let body = page(&observed, 503);
            assert!(!body.contains("a-code") && !body.contains("href="), "{body}");
        }
    });
}

#[test]
fn somebody_without_a_usable_name_can_use_another_account() {
    let other = "<a href=\"/outpost.goauthentik.io/sign_out\">Use another account</a>";
    let page_of = |subject: &mut dyn Subject, changes: &Value| {
        let begun = begin(subject, "/");
        let mut changes = changes.clone();
        changes["nonce"] = json!(begun.2);
        page(&come_back(subject, &begun, &granting(changes)), 403).to_owned()
    };
    on_both(|start| {
        for (changes, name) in [
            (json!({"sub": null}), Some("alice")),
            (json!({"preferred_username": null}), Some("alice@example.test")),
            (json!({"preferred_username": null, "email": null}), None),
            (json!({"preferred_username": "<script>\r\n'x'"}), Some("&lt;script&gt;  &#39;x&#39;")),
            (json!({"preferred_username": " a&b\" "}), Some("a&amp;b&quot;")),
        ] {
            let body = page_of(&mut *start(&demo()), &changes);
            let signed_in = name.map(|name| format!("Signed in as <bdi>{name}</bdi> · ")).unwrap_or_default();
            assert!(body.contains(&format!("<p>{signed_in}{other}</p>")), "{changes}: {body}");
            assert!(!body.contains("Try again") && !body.contains("refresh"), "{body}");
        }
        // Without sessions there is nothing to sign out of.
        let mut subject = start(&configuration(&json!({}), &json!({"session": {"enabled": false}})));
        let credential = basic("alice", PASSWORD);
        let nameless = granting(json!({"sub": null}));
        let observed = ask(&mut *subject, &[BROWSER, ("authorization", &credential)], &nameless);
        let body = page(&observed, 403);
        assert!(!body.contains("href=") && !body.contains("alice"), "{body}");
    });
}

#[test]
fn only_pages_have_a_content_security_policy_and_a_referrer_policy() {
    on_both(|start| {
        let credential = basic("alice", PASSWORD);
        for (accept, is_page) in
            [("text/html", true), ("application/json", false), ("*/*", false), ("text/plain", false)]
        {
            for (status, authentik) in [
                (401, &refusing as &dyn Fn(&str) -> Reply),
                (403, &granting(json!({"sub": null}))),
                (503, &|_| Reply::Reset),
            ] {
                let headers = [("accept", accept), ("authorization", &*credential)];
                let observed = ask(&mut *start(&demo()), &headers, authentik);
                assert_eq!(observed.status(), status);
                let policies = observed.headers("content-security-policy");
                assert_eq!(policies.len(), usize::from(is_page), "{accept} {status}");
                assert!(policies.iter().all(|policy| policy.starts_with(POLICY)), "{policies:?}");
                let expected: &[&str] = if is_page { &["no-referrer"] } else { &[] };
                assert_eq!(observed.headers("referrer-policy"), expected, "{accept} {status}");
            }
        }
        // A redirect is no page, and neither is what gRPC gets.
        let grpc = [("content-type", "application/grpc"), (":method", "POST"), BROWSER];
        for headers in [&[BROWSER][..], &grpc] {
            let observed = start(&demo()).send(&request(headers)).unwrap();
            assert_eq!(observed.headers("content-security-policy"), [""; 0], "{observed:?}");
            assert_eq!(observed.headers("referrer-policy"), [""; 0]);
        }
    });
}
