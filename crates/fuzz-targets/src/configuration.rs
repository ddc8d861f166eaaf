//! Any bytes as the plugin configuration.
//!
//! Input: the configuration. The environment has `GOOD` and `SHORT`.
//!
//! Promised: a configuration that is taken has every limit that the README's table names, and works: nobody passes
//! without a credential. One that is not taken says why, and shows no secret.

use authentik_proxy_wasm::authn::reply::Decision;
use authentik_proxy_wasm::config::{Config, Mode};
use serde_json::Value;

use super::Seen;
use super::worker::{Request, Worker};

/// What the corpus must come to see.
pub const MUST_SEE: &[&str] =
    &["good", "faults", "not JSON", "several providers", "warnings", "seal", "outpost"];

const YEAR: u64 = 366 * 24 * 60 * 60;
/// Runs the target on one input.
pub fn run(data: &[u8]) -> Seen {
    let mut seen = Seen::new();
    let document: Option<Value> = serde_json::from_slice(data).ok();
    if let Some(document) = &document {
        shows_no_secret(document);
    }
    let config = match Config::parse(data, &environment) {
        Ok(config) => config,
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            seen.insert(if document.is_some() { "faults" } else { "not JSON" });
            return seen;
        }
    };
    seen.insert("good");
    if config.providers.len() > 1 {
        seen.insert("several providers");
    }
    if config.seal.is_some() {
        seen.insert("seal");
    }
    if config.outpost.is_some() {
        seen.insert("outpost");
    }
    if !config.warnings.is_empty() {
        seen.insert("warnings");
    }
    has_its_limits(&config);
    let hosts: Vec<_> = config
        .providers
        .iter()
        .map(|provider| (provider.external_host.host.to_string(), provider.skip_paths.is_empty()))
        .collect();
    let mut worker = Worker::with(config);
    for (host, needs_identity) in hosts {
        let request = Request::get(host.as_bytes(), b"/path?query").with(b"x-authentik-username", b"admin");
        let decision = worker.send(&request).expect("nobody is asked about no credential");
        let is_open =
            !needs_identity && matches!(&decision, Decision::Forward(forward) if forward.identity.is_none());
        assert!(is_open || matches!(decision, Decision::Reply(_)), "passes without a credential");
    }
    worker.tick(0);
    worker.calls();
    seen
}

fn environment(name: &str) -> Option<String> {
    match name {
        "GOOD" => Some("a-secret-of-the-environment-0123456789abcdef".to_owned()),
        "SHORT" => Some("short".to_owned()),
        _ => None,
    }
}

/// The README's table of settings.
fn has_its_limits(config: &Config) {
    let seconds = config.authentik.timeout.as_secs();
    assert!((1..=60).contains(&seconds) && !config.authentik.cluster.is_empty());
    assert!((4096..=16_777_216).contains(&config.authentik.max_response_bytes));
    assert!((1..=65_536).contains(&config.authentik.max_pending_calls));
    assert!(config.clock_skew_seconds <= 3600);
    assert!(config.cache.ttl_seconds <= 86_400 && config.cache.negative_ttl_seconds <= 300);
    assert!(config.cache.stale_seconds <= 86_400);
    assert!((1..=65_536).contains(&config.cache.local_entries) && config.cache.shared_slots <= 65_536);
    assert!((5..=86_400).contains(&config.jwks.refresh_seconds));
    assert!((1..=3600).contains(&config.jwks.min_refresh_interval_seconds));
    assert!((1..=YEAR).contains(&config.session.max_age_seconds));
    assert!(config.throttle.failures <= 100_000 && (1..=3600).contains(&config.throttle.window_seconds));
    assert!(!config.providers.is_empty() || config.outpost.is_some());
    if let Some(outpost) = &config.outpost {
        assert!((1..=86_400).contains(&outpost.refresh_seconds));
        let token = outpost.token.expose();
        assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "no header's value");
    }
    for name in &config.owned_headers {
        let never = ["host", "content-length", "transfer-encoding", "connection", "authorization", "cookie"];
        assert!(!never.contains(&name.as_str()) && !name.starts_with(':') && !name.is_empty(), "{name}");
    }
    if let Some(seal) = &config.seal {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(!seal.header.is_empty() && seal.header.bytes().all(is_plain), "{}", seal.header);
        let never = ["host", "authorization", "cookie", "connection", "upgrade", "x-authentik-username"];
        assert!(!never.contains(&seal.header.as_str()), "{}", seal.header);
        let retired = seal.retired.iter().map(|value| value.expose().as_bytes());
        for value in retired.chain([seal.value.as_bytes()]) {
            assert!(value.len() >= 16 && value.iter().all(u8::is_ascii_graphic), "a weak seal");
        }
        assert!(seal.retired.len() < 4);
        let is_owned = |owned: &String| *owned == seal.header;
        assert!(seal.header.starts_with("x-authentik-") || config.owned_headers.iter().any(is_owned));
    }
    for origin in &config.allow_cors_origins {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        assert!(
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ', '@'])),
            "{origin}"
        );
    }
    assert!(!config.outpost_name.contains(char::is_control));
    for provider in &config.providers {
        assert!(!provider.client_id.is_empty() && !provider.client_secret.expose().is_empty());
        let is_slug_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(!provider.slug.is_empty() && provider.slug.bytes().all(is_slug_byte));
        assert!(
            !provider.issuer.is_empty()
                && !provider.name.is_empty()
                && !provider.name.contains(char::is_control)
        );
        assert!(provider.mode != Mode::ForwardDomain || provider.cookie_domain.is_some());
        assert!(
            (1..=YEAR).contains(&provider.access_token_validity_seconds)
                && provider.revalidate_seconds <= YEAR
        );
        if config.session.issue.is_some() {
            assert!(!provider.cookie_secrets.is_empty());
            assert!(provider.cookie_secrets.iter().all(|secret| secret.expose().len() >= 32));
        }
        let external = provider.external_host.to_string();
        assert!(external.starts_with("http://") || external.starts_with("https://"));
        assert!(!external.ends_with('/') && !external.contains(['?', '#']), "{external}");
        let authority = external.split('/').nth(2).unwrap_or_default();
        assert!(!authority.is_empty() && !authority.contains('@'), "{external}");
    }
}

/// Other secrets of the same length are told of in the same words.
fn shows_no_secret(document: &Value) {
    let said = |document: &Value| match Config::parse(document.to_string().as_bytes(), &environment) {
        Ok(config) => config.warnings,
        Err(faults) => faults,
    };
    assert_eq!(said(document), said(&masked(document, "")), "a secret is in the log");
}

/// The same with every character of a secret replaced.
fn masked(value: &Value, key: &str) -> Value {
    let is_secret = ["client_secret", "cookie_secret"].contains(&key);
    // What is no visible ASCII may be complained about.
    let visible = |letter: char| if letter.is_ascii_graphic() { 's' } else { letter };
    match value {
        Value::String(text) if key == "values" => Value::String(text.chars().map(visible).collect()),
        Value::String(text) if is_secret => Value::String("s".repeat(text.len())),
        Value::Array(items) => items.iter().map(|item| masked(item, key)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), masked(value, name))).collect()
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}
