//! Providers from authentik's list: what the configuration adds, and what is left out.

use serde_json::{Value, json};

use super::{faults, minimal, parse, provider, with};
use crate::config::{BearerVerification, Config, Entries};

fn with_token(fields: &Value) -> Value {
    let mut configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.com", "token": "a-token"},
    });
    for (name, value) in fields.as_object().unwrap() {
        configuration[name] = value.clone();
    }
    configuration
}

/// An entry of the list, with these fields.
fn entry(slug: &str, fields: Value) -> Value {
    let mut entry = provider();
    entry["assigned_application_slug"] = json!(slug);
    entry["external_host"] = json!(format!("https://{slug}.example.com"));
    for (name, value) in fields.as_object().unwrap() {
        entry[name] = value.clone();
    }
    entry
}

fn slugs(entries: &Entries) -> Vec<&str> {
    entries.providers.iter().map(|entry| entry.provider.slug.as_str()).collect()
}

fn left_out(entries: &Entries) -> Vec<(&str, String)> {
    entries.left_out.iter().map(|it| (it.name.as_str(), it.faults.join("; "))).collect()
}

#[test]
fn token_is_all_that_a_configuration_needs() {
    let config = parse(&with_token(&json!({}))).unwrap();
    let outpost = config.outpost.unwrap();
    assert_eq!((config.providers.len(), outpost.refresh_seconds, outpost.name), (0, 60, None));
    assert_eq!(config.outpost_name, "envoy");
    let with_list = parse(&with_token(&json!({"providers": []}))).unwrap();
    assert_eq!(with_list.providers.len(), 0);
    let with_both = parse(&with_token(&json!({"providers": [provider()]}))).unwrap();
    assert!(with_both.outpost.is_some() && with_both.providers.len() == 1);
}

#[test]
fn event_log_is_read_only_with_a_token_of_its_own() {
    assert!(parse(&with_token(&json!({}))).unwrap().events.is_none());
    let with_events = |token: &str| {
        let mut configuration = minimal();
        configuration["authentik"]["events"] = json!({"token": {"env": "TOKEN"}});
        Config::parse(configuration.to_string().as_bytes(), &|_| Some(token.to_owned())).unwrap()
    };
    let (one, other) = (with_events("one"), with_events("other"));
    let events = one.events.unwrap();
    assert_eq!((events.token.expose().as_str(), events.interval_seconds), ("one", 15));
    assert!(one.outpost.is_none());
    assert_ne!(one.digest, other.digest, "the secret is part of the configuration");
    assert_eq!(one.public_digest, other.public_digest, "and not of what is shown of it");
}

#[test]
fn outpost_has_its_own_name_unless_the_configuration_gives_another() {
    let named = |fields: Value| {
        let mut configuration = with_token(&fields);
        configuration["authentik"]["outpost"] = json!("edge");
        parse(&configuration).unwrap().outpost_name
    };
    assert_eq!((named(json!({})).as_str(), named(json!({"outpost_name": "x"})).as_str()), ("edge", "x"));
}

#[test]
fn settings_of_an_outpost_without_its_token_are_faults() {
    for (pointer, value, path) in [
        ("/provider_defaults", json!({"revalidate_seconds": 60}), "provider_defaults"),
        ("/provider_overrides", json!({"demo": {"federated_bearer": true}}), "provider_overrides"),
        ("/authentik/outpost", json!("edge"), "authentik.outpost"),
    ] {
        assert_eq!(faults(&with(pointer, value)), [format!("{path}: is of no use without authentik.token")]);
    }
    let mut odd = minimal();
    odd["authentik"]["token"] = json!("two\nlines");
    assert_eq!(faults(&odd), ["authentik.token: must consist of visible ASCII characters"]);
    odd["authentik"]["token"] = json!({"env": "MISSING"});
    assert_eq!(
        faults(&odd),
        ["authentik.token: the environment variable MISSING is missing or empty in the VM"]
    );
    let unknown = with_token(&json!({"provider_overrides": {"wiki": {"mode": "proxy"}}}));
    assert_eq!(faults(&unknown), ["provider_overrides.wiki.mode: is not a known field"]);
    let secret = with_token(&json!({"provider_defaults": {"client_secret": "x"}}));
    assert_eq!(faults(&secret), ["provider_defaults.client_secret: is not a known field"]);
}

#[test]
fn override_counts_before_the_default_and_that_before_the_built_in_one() {
    let config = parse(&with_token(&json!({
        "provider_defaults": {"revalidate_seconds": 300, "federated_bearer": true},
        "provider_overrides": {"wiki": {"revalidate_seconds": 30, "bearer_verification": "introspection"}},
    })))
    .unwrap();
    let entries = config.read_entries(&[entry("wiki", json!({})), entry("demo", json!({}))]);
    let judged: Vec<_> = entries
        .providers
        .iter()
        .map(|entry| &entry.provider)
        .map(|it| (it.revalidate_seconds, it.bearer_verification, it.federated_bearer))
        .collect();
    assert_eq!(
        judged,
        [(30, BearerVerification::Introspection, true), (300, BearerVerification::Local, true)]
    );
    assert_eq!(entries.warnings, [""; 0]);
}

#[test]
fn override_of_a_provider_that_is_not_listed_is_a_warning() {
    let config =
        parse(&with_token(&json!({"provider_overrides": {"wikki": {"revalidate_seconds": 30}}}))).unwrap();
    let entries = config.read_entries(&[entry("wiki", json!({}))]);
    assert_eq!(entries.warnings, ["provider_overrides.wikki: the list has no application of this slug"]);
}

#[test]
fn recorded_entries_are_providers() {
    let transcript = include_str!("../../../tests/data/transcripts/6-outpost-proxy-outpost-token.txt");
    let body = &transcript[transcript.find("\n{\n").unwrap()..];
    let list: Value = serde_json::from_str(body).unwrap();
    let mut configuration = with_token(&json!({}));
    configuration["authentik"]["host"] = json!("http://127.0.0.1:9010");
    let config = parse(&configuration).unwrap();
    let entries = config.read_entries(list["results"].as_array().unwrap());
    assert_eq!((slugs(&entries), left_out(&entries)), (vec!["demo", "demo-domain", "demo-proxy"], vec![]));
    let demo = &entries.providers[0].provider;
    assert_eq!(demo.issuer, "http://127.0.0.1:9010/application/o/demo/");
    assert!(demo.has_no_signing_key && demo.intercept_header_auth);
}

#[test]
fn faulty_entry_is_left_out_with_its_fault_and_the_others_serve() {
    let config = parse(&with_token(&json!({}))).unwrap();
    for (fields, fault) in [
        (json!({"client_secret": null}), "client_secret: is required"),
        (json!({"client_secret": ""}), "client_secret: must not be empty"),
        (json!({"cookie_secret": "short"}), "cookie_secret: must have at least 32 bytes"),
        (json!({"mode": "forward_domain"}), "cookie_domain: is required in mode forward_domain"),
        (json!({"mode": "tunnel"}), "mode: must be one of \"proxy\", \"forward_single\", \"forward_domain\""),
        (json!({"external_host": "faulty"}), "external_host: must begin with http:// or https://"),
        (json!({"skip_path_regex": "("}), "skip_path_regex: line 1 is not a regular expression"),
        (
            json!({"client_secret": {"env": "SECRET"}}),
            "client_secret: the environment variable SECRET is missing or empty in the VM",
        ),
    ] {
        let list = [entry("wiki", json!({})), entry("faulty", fields), entry("demo", json!({}))];
        let entries = config.read_entries(&list);
        assert_eq!(slugs(&entries), ["wiki", "demo"], "{fault}");
        let [(name, found)] = &left_out(&entries)[..] else { panic!("{entries:?}") };
        assert!(*name == "faulty" && found.starts_with(fault), "{found}");
    }
    let entries = config.read_entries(&[json!({"name": "Nameless"}), entry("demo", json!({"of_2030": [1]}))]);
    assert_eq!(slugs(&entries), ["demo"], "a field that the filter does not know is no fault");
    assert_eq!(left_out(&entries)[0].0, "Nameless");
}

#[test]
fn of_two_entries_for_one_host_neither_counts() {
    let config = parse(&with_token(&json!({}))).unwrap();
    let host = |scheme: &str| json!({"external_host": format!("{scheme}://same.example.com")});
    let entries = config.read_entries(&[
        entry("one", host("https")),
        entry("wiki", json!({})),
        entry("two", host("http")),
        entry("three", json!({"external_host": "https://same.example.com", "client_secret": null})),
    ]);
    assert_eq!(slugs(&entries), ["wiki"]);
    let names: Vec<_> = left_out(&entries).into_iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["three", "one", "two"]);
    let domain = json!({"mode": "forward_domain", "cookie_domain": "example.com"});
    let entries = config.read_entries(&[entry("one", domain.clone()), entry("two", domain)]);
    assert_eq!(slugs(&entries), [""; 0]);
}

#[test]
fn provider_of_the_configuration_counts_before_the_list() {
    let config = parse(&with_token(&json!({"providers": [entry("wiki", json!({}))]}))).unwrap();
    let entries = config.read_entries(&[
        entry("wiki", json!({"external_host": "https://elsewhere.example.com"})),
        entry("rival", json!({"external_host": "https://wiki.example.com"})),
        entry("demo", json!({})),
    ]);
    assert_eq!(slugs(&entries), ["demo"]);
    assert_eq!(
        left_out(&entries),
        [
            ("wiki", "the configuration has a provider of its own with this slug".to_owned()),
            ("rival", "a provider of the configuration answers for its host".to_owned()),
        ]
    );
}

#[test]
fn digest_of_an_entry_follows_every_setting_and_nothing_else() {
    let config = parse(&with_token(&json!({}))).unwrap();
    let digest = |config: &Config, entry: Value| config.read_entries(&[entry]).providers[0].digest;
    let plain = digest(&config, entry("wiki", json!({})));
    for same in [
        json!({"scopes_to_request": ["profile", "openid", "ak_proxy", "entitlements", "email"]}),
        json!({"pk": 7, "assigned_application_name": "Wiki", "internal_host": "http://wiki", "new": 1}),
        json!({"oidc_configuration": {"issuer": "https://auth.example.com/application/o/wiki/", "x": 1}}),
    ] {
        assert_eq!(digest(&config, entry("wiki", same.clone())), plain, "{same}");
    }
    let mut seen = vec![plain];
    for changed in [
        json!({"name": "Wiki"}),
        json!({"client_id": "another"}),
        json!({"client_secret": "another-client-secret"}),
        json!({"cookie_secret": "another-cookie-secret-0123456789"}),
        json!({"external_host": "https://other.example.com"}),
        json!({"mode": "proxy"}),
        json!({"cookie_domain": "example.com"}),
        json!({"mode": "forward_domain", "cookie_domain": "example.com"}),
        json!({"intercept_header_auth": false}),
        json!({"basic_auth_enabled": true}),
        json!({"basic_auth_enabled": true, "basic_auth_user_attribute": "a"}),
        json!({"basic_auth_enabled": true, "basic_auth_password_attribute": "a"}),
        json!({"skip_path_regex": "^/a"}),
        json!({"skip_path_regex": "^/a\n^/b"}),
        json!({"scopes_to_request": ["openid"]}),
        json!({"access_token_validity": 60}),
        json!({"oidc_configuration": {"issuer": "https://elsewhere/"}}),
        json!({"oidc_configuration": {"id_token_signing_alg_values_supported": ["HS256"]}}),
    ] {
        let digest = digest(&config, entry("wiki", changed.clone()));
        assert!(!seen.contains(&digest), "{changed}");
        seen.push(digest);
    }
    for defaults in [
        json!({"bearer_verification": "introspection"}),
        json!({"revalidate_seconds": 60}),
        json!({"federated_bearer": true}),
    ] {
        let config = parse(&with_token(&json!({"provider_defaults": defaults}))).unwrap();
        let digest = digest(&config, entry("wiki", json!({})));
        assert!(!seen.contains(&digest));
        seen.push(digest);
    }
}
