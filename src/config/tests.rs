//! The configuration's truth table: what is accepted, what every fault is called, and that all come at once.

mod entries;
mod faults;
mod seal;
mod shadow;
mod table;

use serde_json::{Value, json};

use super::*;
use crate::base::header::IdentityHeader;

fn provider() -> Value {
    json!({
        "assigned_application_slug": "demo",
        "client_id": "demo-client-id",
        "client_secret": "demo-client-secret",
        "cookie_secret": "0123456789abcdef0123456789abcdef",
        "external_host": "https://app.example.com",
    })
}

fn minimal() -> Value {
    json!({"authentik": {"cluster": "authentik", "host": "https://auth.example.com"}, "providers": [provider()]})
}

fn parse(value: &Value) -> Result<Config, Vec<String>> {
    Config::parse(value.to_string().as_bytes(), &|name| {
        (name == "SECRET").then(|| "from-the-environment".to_owned())
    })
}

/// The minimal configuration with the value at this JSON pointer replaced; `null` counts as absent.
fn with(pointer: &str, value: Value) -> Value {
    let mut configuration = minimal();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match configuration.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        object => object[key] = value,
    }
    configuration
}

fn faults(value: &Value) -> Vec<String> {
    parse(value).err().unwrap_or_default()
}

#[test]
fn a_provider_is_called_by_its_name_or_by_its_slug() {
    let name_of = |name: Value| parse(&with("/providers/0/name", name)).unwrap().providers[0].name.clone();
    assert_eq!(name_of(json!("The demonstration")), "The demonstration");
    assert_eq!((name_of(json!("")).as_str(), name_of(json!(null)).as_str()), ("demo", "demo"));
}

#[test]
fn the_longest_answer_is_bounded() {
    let limit = |bytes: u64| parse(&with("/authentik/max_response_bytes", json!(bytes))).ok();
    for (bytes, is_accepted) in [(4_095, false), (4_096, true), (16_777_216, true), (16_777_217, false)] {
        assert_eq!(limit(bytes).is_some(), is_accepted, "{bytes}");
    }
}

#[test]
fn an_empty_url_is_one_fault() {
    assert_eq!(faults(&with("/authentik/host", json!(""))), ["authentik.host: must not be empty"]);
}

#[test]
fn the_minimal_configuration_has_the_documented_defaults() {
    let config = parse(&minimal()).unwrap();
    assert_eq!(config.authentik.timeout.as_secs(), 5);
    assert_eq!(config.authentik.max_response_bytes, 1_048_576);
    assert_eq!(config.authentik.max_pending_calls, 256);
    assert_eq!(config.outpost_name, "envoy");
    assert_eq!(config.identity_headers, IdentityHeader::ALL);
    assert!(config.owned_headers.is_empty());
    assert_eq!(config.clock_skew_seconds, 60);
    assert!(!config.allow_cors_preflight);
    let cache = &config.cache;
    assert_eq!((cache.ttl_seconds, cache.negative_ttl_seconds, cache.stale_seconds), (60, 10, 0));
    assert_eq!((cache.local_entries, cache.shared_slots), (1024, 4096));
    assert_eq!((config.jwks.refresh_seconds, config.jwks.min_refresh_interval_seconds), (300, 10));
    assert_eq!((config.session.issue, config.session.max_age_seconds), (Some(SessionIssue::Always), 86_400));
    assert_eq!((config.throttle.failures, config.throttle.window_seconds), (10, 60));
    assert!(!config.throttle.trust_source_address);
    let provider = &config.providers[0];
    assert_eq!((provider.name.as_str(), provider.mode), ("demo", Mode::ForwardSingle));
    assert_eq!(provider.issuer, "https://auth.example.com/application/o/demo/");
    assert_eq!(provider.scope, "openid profile email entitlements ak_proxy");
    assert_eq!(provider.access_token_validity_seconds, 86_400);
    assert_eq!(provider.bearer_verification, BearerVerification::Local);
    assert!(
        provider.intercept_header_auth && provider.basic_auth.is_none() && provider.skip_paths.is_empty()
    );
    assert_eq!((provider.revalidate_seconds, provider.federated_bearer), (0, false));
}

/// `GET /api/v3/outposts/proxy/` of a real authentik: an entry can be pasted in as it is.
#[test]
fn an_entry_of_authentik_s_api_is_a_provider() {
    let transcript = include_str!("../../tests/data/transcripts/6-outpost-proxy-outpost-token.txt");
    let response = transcript.split("<<< RESPONSE").nth(1).unwrap();
    let body: Value = serde_json::from_str(response.split("\n\n").nth(1).unwrap()).unwrap();
    let entries = body["results"].as_array().unwrap();
    assert!(!entries.is_empty());
    for entry in entries {
        let configuration = with("/providers", json!([entry]));
        let config = parse(&configuration).unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!(config.providers[0].issuer, entry["oidc_configuration"]["issuer"].as_str().unwrap());
    }
}

#[test]
fn all_faults_come_at_once() {
    let configuration = json!({
        "authentik": {"host": "nonsense"},
        "providers": [{"client_id": 7}, {"mode": "x", "unknown": 1}],
        "cache": {"ttl_seconds": "x"},
        "wrong": true,
    });
    let found = faults(&configuration);
    for path in [
        "authentik.cluster:",
        "authentik.host:",
        "providers[0].client_id:",
        "providers[0].client_secret:",
        "providers[0].assigned_application_slug:",
        "providers[0].external_host:",
        "providers[0].cookie_secret:",
        "providers[1].client_id:",
        "providers[1].mode:",
        "providers[1].unknown:",
        "cache.ttl_seconds:",
        "wrong:",
    ] {
        assert!(found.iter().any(|fault| fault.starts_with(path)), "{path} in {found:#?}");
    }
}

#[test]
fn unreadable_configurations_have_distinct_faults() {
    let fault = |raw: &[u8]| Config::parse(raw, &|_| None).unwrap_err().join("\n");
    assert_eq!(fault(b""), "configuration: is empty");
    assert!(fault(b"\n\x10authentik\x12\x05*\x03\n\x01a").contains("google.protobuf.Struct"));
    assert!(fault(b"[]").contains("must be a JSON object"));
    assert!(fault(b"{\"a\": }").starts_with("configuration: is not JSON (line 1, column 7)"));
}

#[test]
fn no_fault_shows_a_secret() {
    let mut configuration = minimal();
    configuration["providers"][0]["client_secret"] = json!({"value": "hunter2"});
    configuration["providers"][0]["cookie_secret"] = json!("hunter2");
    let text = faults(&configuration).join("\n");
    assert!(
        text.contains("client_secret") && text.contains("cookie_secret") && !text.contains("hunter2"),
        "{text}"
    );
    let raw = b"{\"client_secret\": \"hunter2\", }";
    assert!(!Config::parse(raw, &|_| None).unwrap_err().join("").contains("hunter2"));
}

#[test]
fn a_secret_may_come_from_the_environment() {
    let config = parse(&with("/providers/0/client_secret", json!({"env": "SECRET"}))).unwrap();
    assert_eq!(config.providers[0].client_secret.expose(), "from-the-environment");
    assert!(!format!("{config:?}").contains("from-the-environment"));
}

#[test]
fn the_digest_follows_the_environment() {
    let configuration = with("/providers/0/client_secret", json!({"env": "SECRET"})).to_string();
    let digest =
        |secret: &str| Config::parse(configuration.as_bytes(), &|_| Some(secret.to_owned())).unwrap().digest;
    assert_eq!(digest("a"), digest("a"));
    assert_ne!(digest("a"), digest("b"));
    assert_ne!(parse(&minimal()).unwrap().digest, parse(&with("/outpost_name", json!("x"))).unwrap().digest);
}

#[test]
fn numbers_may_arrive_as_doubles_and_null_is_absent() {
    let config = parse(&with("/cache", json!({"ttl_seconds": 90.0, "shared_slots": null}))).unwrap();
    assert_eq!((config.cache.ttl_seconds, config.cache.shared_slots), (90, 4096));
}

/// An empty pattern matches every path: authentik's own outpost opens everything on a blank line.
#[test]
fn blank_patterns_are_dropped_with_a_warning() {
    let config = parse(&with("/providers/0/skip_path_regex", json!("^/public\n\n  \n^/health$\n"))).unwrap();
    assert_eq!(config.providers[0].skip_paths.len(), 2);
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    assert!(config.warnings[0].contains("providers[0].skip_path_regex: line 2"), "{:?}", config.warnings);
    let only_blank = parse(&with("/providers/0/skip_path_regex", json!("\n"))).unwrap();
    assert_eq!((only_blank.providers[0].skip_paths.len(), only_blank.warnings.len()), (0, 1));
}

#[test]
fn issuers() {
    let issuer = |configuration: &Value| parse(configuration).unwrap().providers[0].issuer.clone();
    assert_eq!(
        issuer(&with("/authentik/host", json!("https://a.test/sso/"))),
        "https://a.test/sso/application/o/demo/"
    );
    assert_eq!(issuer(&with("/providers/0/issuer_mode", json!("global"))), "https://auth.example.com/");
    let given =
        with("/providers/0/oidc_configuration", json!({"issuer": "https://x.test/", "jwks_uri": "y"}));
    assert_eq!(issuer(&given), "https://x.test/");
}

#[test]
fn two_providers_for_one_host_are_a_fault() {
    let mut configuration = minimal();
    configuration["providers"] = json!([provider(), provider()]);
    assert!(faults(&configuration)[0].contains("has the external_host of another provider"));
}

#[test]
fn sessions_that_are_off_need_no_cookie_secret() {
    let mut configuration = minimal();
    configuration["providers"][0]["cookie_secret"] = json!(null);
    for session in [json!({"enabled": false}), json!({"issue": "never"})] {
        configuration["session"] = session;
        assert!(parse(&configuration).is_ok());
    }
}

const SEAL: &str = "a-seal-of-the-configuration-tests";

/// As browsers serialise them (RFC 6454 section 6.2): what is written otherwise would never be equal to one.
#[test]
fn only_a_serialized_origin_is_accepted() {
    assert!(parse(&minimal()).unwrap().allow_cors_origins.is_empty());
    let origins: Value = serde_json::from_str(include_str!("../../tests/data/origins.json")).unwrap();
    let good = &origins["good"];
    assert_eq!(json!(parse(&with("/allow_cors_origins", good.clone())).unwrap().allow_cors_origins), *good);
    for bad in origins["bad"].as_array().unwrap() {
        let found = faults(&with("/allow_cors_origins", json!([bad])));
        let expected = "allow_cors_origins[0]: must be an origin as browsers send it, such as \"https://app.example.com\"";
        assert_eq!(found, [expected], "{bad:?}");
    }
}
