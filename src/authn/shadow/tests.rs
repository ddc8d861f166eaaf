//! The comparison as a table, and each intended difference.

use serde_json::{Value, json};

use super::*;
use crate::authn::cache::shared::tests::{Memory, at};
use crate::authn::env::Env;
use crate::authn::fault::Rejection;
use crate::authn::identity::tests::identity;
use crate::authn::policy;
use crate::authn::provider::directory::Directory;
use crate::authn::request::credential::Malformed;
use crate::authn::request::view::HeaderBlock;

fn config(provider: &Value) -> Config {
    let mut configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
        "session": {"enabled": false},
        "providers": [{
            "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
            "external_host": "https://app.example.test", "skip_path_regex": "^/public",
        }],
        "allow_cors_preflight": true,
        "shadow": {"gate_header": "X-Authentik-Uid"},
    });
    for (name, value) in provider.as_object().unwrap() {
        configuration["providers"][0][name] = value.clone();
    }
    Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
}

fn block(pairs: &[(&str, &str)]) -> HeaderBlock {
    HeaderBlock::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

/// Runs with the request that these headers are.
fn with_request<T>(config: &Config, block: &HeaderBlock, run: impl FnOnce(Request<'_>) -> T) -> T {
    let memory = Memory::default();
    let env = Env { now: at(0), host: &memory };
    let provider = Provider::new(config, 0, &config.providers[0], &[], &Rc::default()).unwrap();
    let directory = Directory::new([(&*config.providers[0], provider)].into_iter());
    let view = RequestView::read(block, &config.owned_headers).unwrap();
    let found = directory.find(view.authority).unwrap();
    run(Request::new(&env, 1, config, &found, &view))
}

/// What the filter would have done.
#[derive(Clone, Copy)]
enum Own {
    Alice,
    Open,
    Deny,
    Login,
    Unavailable,
}

fn decision(own: Own, config: &Config, block: &HeaderBlock) -> Decision {
    let attributes =
        json!({"user_attributes": {"additionalHeaders": {"x-tenant": "red"}}, "host_header": "inner"});
    with_request(config, block, |request| {
        let context = ReplyContext::of(request, None);
        match own {
            Own::Alice => {
                let identity = Rc::new(identity(&attributes));
                Decision::Forward(Forward::identified(request, policy::Authorization::Removed, identity))
            }
            Own::Open => {
                let mut forward = Forward::anonymous(request, policy::Authorization::Untouched);
                forward.report.reason = Reason::OpenPath;
                Decision::Forward(forward)
            }
            Own::Deny => reply::reject(&context, Rejection::Malformed(Malformed::Scheme)),
            Own::Login => reply::redirect(
                &context,
                "https://auth.example.test/",
                Vec::new(),
                Reason::Login,
                &Rejection::NoCredential,
            ),
            Own::Unavailable => reply::fail(&context, Fault::NoKeys),
        }
    })
}

/// A request as a gate that let alice through hands it on.
fn alice() -> Vec<(&'static str, String)> {
    let email = "e".repeat(1_000);
    let mut headers: Vec<_> = [
        (":method", "GET"),
        (":path", "/"),
        (":authority", "app.example.test"),
        ("x-request-id", "5f0c3c2a"),
        ("x-authentik-username", "alice"),
        ("x-authentik-groups", ""),
        ("x-authentik-entitlements", ""),
        ("x-authentik-name", ""),
        ("x-authentik-uid", "7"),
        ("x-authentik-jwt", "another-token"),
        ("x-authentik-meta-jwks", "https://auth.example.test/application/o/demo/jwks/"),
        ("x-authentik-meta-outpost", "the old gate"),
        ("x-authentik-meta-provider", "demo"),
        ("x-authentik-meta-app", "demo"),
        ("x-authentik-meta-version", "goauthentik.io/outpost/2026.5.0"),
        ("x-tenant", "red"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    headers.push(("x-authentik-email", email));
    headers
}

fn as_block(headers: &[(&str, String)]) -> HeaderBlock {
    HeaderBlock::from_pairs(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

fn without(name: &str) -> Vec<(&'static str, String)> {
    alice().into_iter().filter(|(other, _)| *other != name).collect()
}

fn with(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    let mut headers = without(name);
    headers.push((name, value.to_owned()));
    headers
}

fn compared(gate: Gate, block: &HeaderBlock, decision: Decision) -> Comparison {
    compare(gate, &RequestView::read(block, &[]).unwrap(), decision, "demo")
}

#[test]
fn every_decision_beside_everything_that_a_gate_does_has_its_result() {
    const TABLE: &str = "
        gate     cookie  alice            open         deny             login            unavailable
        allowed  no      agree            agree        would_deny       would_deny       unavailable
        allowed  yes     agree            agree        session_of_gate  session_of_gate  unavailable
        other    no      other_identity   agree        would_deny       would_deny       unavailable
        other    yes     session_of_gate  agree        session_of_gate  session_of_gate  unavailable
        refused  no      would_allow      would_allow  agree            agree            unavailable
        refused  yes     would_allow      would_allow  agree            agree            unavailable
        failed   no      unavailable      unavailable  unavailable      unavailable      unavailable
    ";
    let config = config(&json!({}));
    let mut cells = 0;
    for row in TABLE.lines().map(str::trim).filter(|row| !row.is_empty()).skip(1) {
        let words: Vec<_> = row.split_whitespace().collect();
        let [gate, cookie, expected @ ..] = &words[..] else { panic!("{row}") };
        let (gate, mut headers) = match *gate {
            "allowed" => (Gate::Allowed, alice()),
            "other" => (Gate::Allowed, with("x-authentik-groups", "admins")),
            "refused" => {
                (Gate::Refused, alice().into_iter().filter(|(name, _)| !name.starts_with("x-")).collect())
            }
            "failed" => (Gate::Failed, alice()),
            other => panic!("{other}"),
        };
        if *cookie == "yes" {
            headers.push(("cookie", "theme=dark; __Host-authentik_proxy_2a97516c=of-the-outpost".to_owned()));
        }
        let block = as_block(&headers);
        for (own, expected) in
            [Own::Alice, Own::Open, Own::Deny, Own::Login, Own::Unavailable].into_iter().zip(expected)
        {
            let comparison = compared(gate, &block, decision(own, &config, &block));
            assert_eq!(comparison.finding.as_str(), *expected, "{row}");
            let names = if *expected == "other_identity" { "x-authentik-groups" } else { "" };
            let differing = comparison.line.map(|line| line.differing).unwrap_or_default();
            assert_eq!(differing, names, "{row}");
            cells += 1;
        }
    }
    assert_eq!(cells, 7 * 5);
}

/// Each difference of the table explains something here, and is gone with what it explains.
#[test]
fn intended_differences_are_no_disagreements() {
    let config = config(&json!({}));
    // Of headers: the whole request agrees, and the header by itself differs for this reason.
    let mut seen = Vec::new();
    for (headers, name, own, why) in [
        (alice(), "x-authentik-jwt", "t", Difference::TokenOfItsOwn),
        (alice(), "x-authentik-meta-version", "goauthentik.io/outpost/0", Difference::Version),
        (alice(), "x-authentik-meta-outpost", "envoy", Difference::OutpostName),
        (without("x-authentik-name"), "x-authentik-name", "", Difference::EmptyHeader),
    ] {
        let block = as_block(&headers);
        let view = RequestView::read(&block, &[]).unwrap();
        let gate = view.pairs().find(|(sent, _)| *sent == name.as_bytes()).map(|(_, value)| value);
        assert_ne!(gate, Some(own.as_bytes()));
        assert_eq!(Difference::of_header(name, gate, own.as_bytes()), Some(why));
        let decision = decision(Own::Alice, &config, &block);
        assert_eq!(compared(Gate::Allowed, &block, decision).finding, Finding::Agree, "{why:?}");
        seen.push(why);
    }
    assert_eq!(Difference::of_header("x-authentik-name", Some(b"a"), b""), None);
    assert_eq!(Difference::of_header("x-authentik-name", None, b"a"), None);
    assert_eq!(Difference::of_header("x-tenant", None, b""), None);
    // A redirect and a denial are both a refusal.
    for own in [Own::Deny, Own::Login] {
        let block = block(&[(":path", "/"), (":authority", "app.example.test")]);
        assert_eq!(compared(Gate::Refused, &block, decision(own, &config, &block)).finding, Finding::Agree);
    }
    seen.push(Difference::RefusalForm);
    // Where both leave a path open, nobody's identity counts.
    for headers in [alice(), without("x-authentik-username")] {
        let block = as_block(&headers);
        assert_eq!(
            compared(Gate::Allowed, &block, decision(Own::Open, &config, &block)).finding,
            Finding::Agree
        );
    }
    seen.push(Difference::OpenPathIdentity);
    assert!(Difference::ALL.iter().all(|difference| seen.contains(difference)), "{seen:?}");
    let names: std::collections::BTreeSet<_> = Difference::ALL.map(Difference::name).into();
    assert_eq!(names.len(), Difference::ALL.len());
}

#[test]
fn every_other_difference_is_named_and_no_value_is_shown() {
    let config = config(&json!({}));
    let named = |headers: &[(&str, String)]| {
        let block = as_block(headers);
        let comparison = compared(Gate::Allowed, &block, decision(Own::Alice, &config, &block));
        let line = comparison.log_line();
        (comparison.line.map(|line| line.differing).unwrap_or_default(), line)
    };
    for name in [
        "x-authentik-username",
        "x-authentik-email",
        "x-authentik-uid",
        "x-authentik-meta-jwks",
        "x-authentik-meta-provider",
        "x-authentik-meta-app",
        "x-tenant",
    ] {
        for headers in
            [without(name), with(name, "secret-value"), [alice(), vec![(name, "second".to_owned())]].concat()]
        {
            let (names, line) = named(&headers);
            assert_eq!(names, name);
            let expected = format!(
                "shadow=other_identity headers={name} provider=demo status=200 reason=ok source=none id=5f0c3c2a message=\"the filter lets the request through\""
            );
            assert_eq!(line, Some(expected));
        }
    }
    for name in ["x-authentik-groups", "x-authentik-name"] {
        assert_eq!(named(&with(name, "more")).0, name);
    }
    // The application's own credential and the authority are not of the identity.
    assert_eq!(named(&with("authorization", "Basic x")).0, "");
}

#[test]
fn request_that_passed_no_gate_is_refused() {
    let (plain, basic) = (json!({}), json!({"basic_auth_enabled": true}));
    let app = [(":method", "GET"), (":authority", "app.example.test")];
    type Case<'a> = (&'a Value, Gate, &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        (&plain, Gate::Allowed, &[(":path", "/"), ("x-authentik-uid", "7")], "judged"),
        (&plain, Gate::Allowed, &[(":path", "/"), ("x-authentik-uid", "")], "refused"),
        (&plain, Gate::Allowed, &[(":path", "/"), ("x-authentik-username", "alice")], "refused"),
        (&plain, Gate::Allowed, &[(":path", "/"), ("x_authentik_uid", "7")], "refused"),
        (&plain, Gate::Allowed, &[(":path", "/")], "refused"),
        (&plain, Gate::Allowed, &[(":path", "/?X-authentik-logout=true")], "refused"),
        (
            &plain,
            Gate::Allowed,
            &[(":path", "/?X-authentik-logout=true"), ("x-authentik-uid", "7")],
            "not_comparable",
        ),
        (&plain, Gate::Allowed, &[(":path", "/public/a")], "judged"),
        (&plain, Gate::Allowed, &[(":path", "/public/../a")], "refused"),
        (&plain, Gate::Allowed, &[(":path", "/outpost.goauthentik.io/start?rd=x")], "not_comparable"),
        (&plain, Gate::Allowed, &[(":path", "/outpost.goauthentik.io.evil")], "refused"),
        (&plain, Gate::Refused, &[(":path", "/")], "judged"),
        (&plain, Gate::Refused, &[(":path", "/?X-authentik-auth-callback=true&code=1")], "not_comparable"),
        (&plain, Gate::Refused, &[(":path", "/outpost.goauthentik.io/callback?code=1")], "not_comparable"),
        (&plain, Gate::Failed, &[(":path", "/")], "unavailable"),
        (
            &plain,
            Gate::Allowed,
            &[(":path", "/"), ("x-authentik-uid", "7"), ("authorization", "Basic x")],
            "judged",
        ),
        (
            &basic,
            Gate::Allowed,
            &[(":path", "/"), ("x-authentik-uid", "7"), ("authorization", "BASIC x")],
            "not_comparable",
        ),
        (
            &basic,
            Gate::Allowed,
            &[(":path", "/"), ("x-authentik-uid", "7"), ("authorization", "Bearer x")],
            "judged",
        ),
        (&basic, Gate::Allowed, &[(":path", "/"), ("authorization", "Basic x")], "refused"),
        (&basic, Gate::Refused, &[(":path", "/"), ("authorization", "Basic x")], "judged"),
    ];
    for (provider, gate, headers, expected) in cases {
        let config = config(provider);
        let block = block(&[&app, *headers].concat());
        let entry =
            with_request(&config, &block, |request| entry(*gate, Some(request), request.view, &config));
        let word = match &entry {
            None => "judged",
            Some(Observed::Refused(reply)) => {
                assert_eq!((reply.status, reply.report.reason), (503, Reason::ShadowWithoutGate));
                assert_eq!(reply.log.level, log::Level::Warn);
                "refused"
            }
            Some(Observed::Compared(comparison)) => {
                assert_eq!((comparison.provider, comparison.report), (Some(0), None));
                comparison.finding.as_str()
            }
            Some(Observed::Waiting) => "waiting",
            Some(Observed::Switched) => "switched",
        };
        assert_eq!(word, *expected, "{headers:?}");
    }
}

#[test]
fn without_provider_only_the_gate_header_opens() {
    let config = config(&json!({}));
    for (header, is_refused) in [("x-authentik-uid", false), ("x-authentik-name", true)] {
        let block = block(&[(":path", "/public/a"), (":authority", "other.test"), (header, "7")]);
        let view = RequestView::read(&block, &[]).unwrap();
        let entry = entry(Gate::Allowed, None, &view, &config);
        assert_eq!(matches!(entry, Some(Observed::Refused(_))), is_refused, "{entry:?}");
    }
}

#[test]
fn switched_provider_is_judged_whatever_a_gate_did() {
    let mut config = config(&json!({}));
    config.shadow.as_mut().unwrap().switched = vec!["demo".to_owned()];
    for (gate, header) in
        [(Gate::Allowed, "x-authentik-uid"), (Gate::Allowed, "x-other"), (Gate::Refused, "x-other")]
    {
        let block = block(&[(":path", "/"), (":authority", "app.example.test"), (header, "7")]);
        let entry =
            with_request(&config, &block, |request| entry(gate, Some(request), request.view, &config));
        assert!(matches!(entry, Some(Observed::Switched)), "{entry:?}");
    }
}
