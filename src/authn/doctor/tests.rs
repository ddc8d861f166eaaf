use serde_json::{Value, json};

use super::*;
use crate::authn::authentik::call::Answer;
use crate::authn::authentik::discovery;
use crate::authn::fault::Fault;
use crate::base::secret::Secret;

/// Status and body of a recorded response.
fn recorded(name: &str) -> (u16, String) {
    let path = format!("{}/tests/data/transcripts/1-{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let transcript = std::fs::read_to_string(path).unwrap();
    let response = transcript.split("<<< RESPONSE\n").nth(1).unwrap();
    let (head, body) = response.split_once("\n\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn answer((status, body): (u16, String)) -> Answer {
    Answer::Response { status, retry_after: None, date: None, body: Secret::new(body.into_bytes()) }
}

fn discovered(name: &str) -> Discovery {
    discovery::read(&answer(recorded(&format!("discovery-{name}")))).unwrap()
}

fn keys(name: &str) -> KeySet {
    KeySet::parse(recorded(&format!("jwks-{name}")).1.as_bytes()).unwrap()
}

/// A configuration with this provider, and further members of its entry.
fn config(host: &str, slug: &str, members: Value) -> Config {
    let mut provider = json!({
        "assigned_application_slug": slug, "client_id": "id", "client_secret": "s",
        "external_host": "https://app.example.test",
    });
    provider.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": host}, "session": {"enabled": false}, "providers": [provider],
    });
    Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
}

fn findings(config: &Config, discovery: &Discovery, keys: &KeySet) -> Vec<String> {
    let found = compare(config, &config.providers[0], discovery, keys);
    found.iter().map(|finding| format!("{}: {finding}", finding.path(0))).collect()
}

#[track_caller]
fn assert_finds(found: &[String], expected: &[&[&str]]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, words) in found.iter().zip(expected) {
        for word in *words {
            assert!(found.contains(word), "{word} is not in {found}");
        }
    }
}

const RECORDED_HOST: &str = "http://127.0.0.1:9010";

#[test]
fn recorded_providers_agree_with_their_own_configuration() {
    for slug in
        ["demo", "demo-domain", "demo-proxy", "rs", "es", "es384", "es512", "hs", "rs-jwe", "rs-public"]
    {
        let config = config(RECORDED_HOST, slug, json!({}));
        assert_eq!(findings(&config, &discovered(slug), &keys(slug)), [""; 0], "{slug}");
    }
    let global = config(RECORDED_HOST, "rs-global", json!({"issuer_mode": "global"}));
    assert_eq!(findings(&global, &discovered("rs-global"), &keys("rs-global")), [""; 0]);
}

#[test]
fn issuer_of_the_other_mode_is_found() {
    let own = config(RECORDED_HOST, "rs-global", json!({}));
    assert_finds(
        &findings(&own, &discovered("rs-global"), &keys("rs-global")),
        &[&["providers[0].issuer_mode: ", "\"http://127.0.0.1:9010/\"", "set issuer_mode to \"global\""]],
    );
    let global = config(RECORDED_HOST, "rs", json!({"issuer_mode": "global"}));
    assert_finds(
        &findings(&global, &discovered("rs"), &keys("rs")),
        &[&["providers[0].issuer_mode: ", "set issuer_mode to \"per_provider\""]],
    );
}

#[test]
fn issuer_in_clear_text_names_the_trusted_proxy_networks() {
    // authentik did not believe X-Forwarded-Proto.
    for mode in ["global", "per_provider"] {
        let config = config("https://127.0.0.1:9010", "demo", json!({"issuer_mode": mode}));
        assert_finds(
            &findings(&config, &discovered("demo"), &keys("demo")),
            &[&["authentik.host: ", "http://127.0.0.1:9010/", "AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS"]],
        );
    }
    let issuer = json!({"oidc_configuration": {"issuer": "https://127.0.0.1:9010/application/o/demo/"}});
    let named = config("https://auth.example.test", "demo", issuer);
    assert_finds(&findings(&named, &discovered("demo"), &keys("demo")), &[&["TRUSTED_PROXY_CIDRS"]]);
    // It did, behind a proxy that changes the host.
    let config = config("https://auth.example.test", "demo", json!({}));
    assert_finds(
        &findings(&config, &discovered("xfp-https"), &keys("demo")),
        &[&[
            "authentik.host: ",
            "https://internal:9010/application/o/demo/",
            "set authentik.host",
            "keep Host",
        ]],
    );
}

#[test]
fn issuer_of_another_host_is_found_unless_it_is_configured() {
    let other = discovered("other-host");
    let config = |members| config(RECORDED_HOST, "demo", members);
    assert_finds(
        &findings(&config(json!({})), &other, &keys("demo")),
        &[&[
            "authentik.host: ",
            "\"http://auth.localtest:9010/application/o/demo/\"",
            "not what tokens must have",
        ]],
    );
    let named =
        config(json!({"oidc_configuration": {"issuer": "http://auth.localtest:9010/application/o/demo/"}}));
    assert_eq!(findings(&named, &other, &keys("demo")), [""; 0]);
    // The configured one is not authentik's, which is the one that authentik.host makes.
    let wrong = config(json!({"oidc_configuration": {"issuer": "http://elsewhere.test/"}}));
    assert_finds(
        &findings(&wrong, &discovered("demo"), &keys("demo")),
        &[&["not what tokens must have", "oidc_configuration.issuer"]],
    );
}

#[test]
fn key_set_that_does_not_fit_is_found() {
    let plain = config(RECORDED_HOST, "es", json!({}));
    let unusable = KeySet::parse(br#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]}"#).unwrap();
    let slug = "providers[0].assigned_application_slug: ";
    assert_finds(&findings(&plain, &discovered("es"), &unusable), &[&[slug, "\"ES256\"", "cannot use"]]);
    assert_finds(
        &findings(&plain, &discovered("es"), &keys("rs")),
        &[&[slug, "\"ES256\"", "no key for that"]],
    );
    assert_finds(&findings(&plain, &discovered("es"), &keys("hs")), &[&[slug, "no key for that"]]);
    let hs256 = json!({"oidc_configuration": {"id_token_signing_alg_values_supported": ["HS256"]}});
    let assumed = config(RECORDED_HOST, "es", hs256.clone());
    assert_finds(
        &findings(&assumed, &discovered("es"), &keys("es")),
        &[&["id_token_signing_alg_values_supported: ", "without a signing key", "\"ES256\""]],
    );
    let right = config(RECORDED_HOST, "hs", hs256);
    assert_eq!(findings(&right, &discovered("hs"), &keys("hs")), [""; 0], "no key means HS256");
}

#[test]
fn issuer_and_keys_are_two_findings() {
    let config = config("https://127.0.0.1:9010", "es", json!({}));
    assert_finds(&findings(&config, &discovered("es"), &keys("hs")), &[&["CIDRS"], &["no key for that"]]);
}

#[test]
fn clocks_that_differ_by_more_than_the_allowed_skew_are_found() {
    let now = Timestamp::from_seconds(1_800_000_000);
    let clock = |config: &Config, seconds: i64| {
        let date = Timestamp::from_seconds(now.seconds().checked_add_signed(seconds).unwrap());
        let found = clock(config, date, now);
        found.map(|finding| format!("{}: {finding}", finding.path(7)))
    };
    let plain = config(RECORDED_HOST, "demo", json!({}));
    // Two seconds may be the answer's way and the rounding of `Date`: it can only seem too early by them.
    for seconds in [-62, -61, -1, 0, 1, 59, 60] {
        assert_eq!(clock(&plain, seconds), None, "{seconds}");
    }
    for (seconds, words) in [
        (
            61,
            &["a clock 61 seconds ahead of this machine's", "issued in the future", "set both clocks by NTP"]
                [..],
        ),
        (86_400, &["86400 seconds ahead of"]),
        (-63, &["a clock 61 seconds behind this machine's", "tokens expire early", "set both clocks by NTP"]),
        (-1_800_000_000, &["1799999998 seconds behind"]),
    ] {
        let found = clock(&plain, seconds).unwrap();
        assert_finds(&[found], &[&[&["clock_skew_seconds: authentik has "], words].concat()]);
    }
    let mut exact = plain;
    exact.clock_skew_seconds = 0;
    for (seconds, is_found) in [(-3, true), (-2, false), (0, false), (1, true)] {
        assert_eq!(clock(&exact, seconds).is_some(), is_found, "{seconds}");
    }
}

/// It comes from whoever answers at authentik's address, and goes into the log.
#[test]
fn published_texts_are_cut_and_their_control_characters_escaped() {
    let issuer = format!("http://x/\n\u{1b}[31m{}", "y".repeat(10_000));
    let discovery = Discovery { issuer, algorithms: format!("a\r\n{}", "b".repeat(10_000)) };
    let config = config(RECORDED_HOST, "demo", json!({}));
    for finding in findings(&config, &discovery, &keys("demo")) {
        assert!(finding.len() < 700 && !finding.contains(|letter: char| letter.is_control()), "{finding}");
    }
}

#[test]
fn document_that_is_none_is_a_fault_of_the_fetch() {
    let read = |status, body: &str| discovery::read(&answer((status, body.to_owned())));
    assert_eq!(discovery::read(&answer(recorded("discovery-unknown-slug"))), Err(Fault::UnknownApplication));
    assert_eq!(
        discovery::read(&answer(recorded("discovery-ed"))),
        Err(Fault::Unavailable { status: 500, retry_after: None })
    );
    for body in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"issuer": "x"}"#,
        r#"{"issuer": 1, "id_token_signing_alg_values_supported": []}"#,
    ] {
        assert_eq!(read(200, body), Err(Fault::BadAnswer { status: 200 }), "{body}");
    }
    assert_eq!(discovery::read(&Answer::Lost), Err(Fault::Lost));
}
