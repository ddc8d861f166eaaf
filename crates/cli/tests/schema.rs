//! The schema against the parser and the README: what one accepts the others accept.

use std::process::Command;

use authentik_proxy_wasm::config::Config;
use serde_json::{Value, json};

const FAULTY: &str = include_str!("../../../tests/data/faulty-settings.json");
const TRANSCRIPT: &str = include_str!("../../../tests/data/transcripts/6-outpost-proxy-outpost-token.txt");
const README: &str = include_str!("../../../README.md");
const SEAL: &str = "a-seal-of-the-configuration-tests";

/// What JSON Schema cannot say: the parser alone finds it.
const BEYOND_SCHEMA: [&str; 3] = [
    "the environment variable",
    "must be the external_host's own domain or one above it",
    "is not a regular expression",
];

fn schema() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_authentik-proxy-wasm")).arg("schema").output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn minimal() -> Value {
    json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.com"},
        "providers": [{
            "assigned_application_slug": "demo", "client_id": "demo-client-id", "client_secret": "demo-client-secret",
            "cookie_secret": "0123456789abcdef0123456789abcdef", "external_host": "https://app.example.com",
        }],
    })
}

/// The minimal configuration with this value at this JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut configuration = minimal();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    if configuration.pointer(parent).is_none() {
        configuration[parent.trim_start_matches('/')] = json!({});
    }
    match configuration.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        object => object[key] = value,
    }
    configuration
}

fn faults(configuration: &Value) -> Vec<String> {
    let environment =
        |name: &str| (name == "SECRET").then(|| "from-the-environment-0123456789abcdef".to_owned());
    Config::parse(configuration.to_string().as_bytes(), &environment).err().unwrap_or_default()
}

#[test]
fn the_schema_is_one_of_draft_2020_12() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(jsonschema::meta::is_valid(&schema));
}

#[test]
fn faulty_configurations_are_judged_alike_by_schema_and_parser() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let cases: Vec<(String, Value, String)> = serde_json::from_str(FAULTY).unwrap();
    let mut beyond = [false; BEYOND_SCHEMA.len()];
    for (pointer, value, fault) in cases {
        let configuration = with(&pointer, value);
        assert!(!faults(&configuration).is_empty(), "{fault}: the parser accepts it");
        let exception = BEYOND_SCHEMA.iter().position(|what| fault.contains(what));
        assert_eq!(validator.is_valid(&configuration), exception.is_some(), "{pointer}: {fault}");
        if let Some(index) = exception {
            beyond[index] = true;
        }
    }
    assert_eq!(beyond, [true; BEYOND_SCHEMA.len()], "an exception that no case needs");
}

#[test]
fn headers_and_origins_are_judged_alike_by_schema_and_parser() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut verdicts = [0, 0];
    let mut judge = |configuration: &Value| {
        let is_good = faults(configuration).is_empty();
        verdicts[usize::from(is_good)] += 1;
        assert_eq!(
            validator.is_valid(configuration),
            is_good,
            "{configuration}: {:?}",
            faults(configuration)
        );
    };
    let names = [
        "host",
        "Content-Length",
        "content_length",
        "transfer-encoding",
        "connection",
        "authorization",
        "cookie",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "proxy-authorization",
        "forwarded",
        "X-Forwarded-Host",
        "x-envoy-internal",
        "x-envoy",
        "X-Authentik-Username",
        "x-authentik-meta-version",
        "x-authentik-seal",
        "X-Gate",
        "x_gate",
        "x.gate",
        "x gate",
        "",
        ":path",
        "x-seal\r\n",
        "x-s\u{e9}al",
        "hosts",
        "x-host",
        "cookies",
        "x-authentik-username-2",
    ];
    for name in names {
        judge(&with("/seal", json!({"header": name, "values": [SEAL]})));
        judge(&with("/owned_headers", json!([name])));
    }
    let origins: Value = serde_json::from_str(include_str!("../../../tests/data/origins.json")).unwrap();
    for origin in ["good", "bad"].into_iter().flat_map(|kind| origins[kind].as_array().unwrap()) {
        judge(&with("/allow_cors_origins", json!([origin])));
    }
    for host in [
        "https://a.test",
        "https://a.test/",
        "https://a.test/sso/",
        "http://127.0.0.1:9000",
        "https://a.test//b",
        "HTTP",
        "",
    ] {
        judge(&with("/authentik/host", json!(host)));
    }
    assert!(verdicts.iter().all(|count| *count > 15), "{verdicts:?}");
}

#[test]
fn good_configurations_are_good_to_the_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let body = TRANSCRIPT.split("<<< RESPONSE").nth(1).unwrap().split("\n\n").nth(1).unwrap();
    let entries: Value = serde_json::from_str(body).unwrap();
    let entries = entries["results"].as_array().unwrap();
    assert!(!entries.is_empty());
    let mut domain = with("/providers/0/mode", json!("forward_domain"));
    domain["providers"][0]["cookie_domain"] = json!("example.com");
    let mut without_sessions = with("/providers/0/cookie_secret", Value::Null);
    without_sessions["session"] = json!({"enabled": false});
    let mut never = with("/providers/0/cookie_secret", json!("short"));
    never["session"] = json!({"issue": "never"});
    let mut good = vec![
        minimal(),
        domain,
        without_sessions,
        never,
        with("/seal", Value::Null),
        with("/seal", json!({"values": {"env": "SECRET"}})),
        with("/seal", json!({"header": "X-Gate", "values": [{"env": "SECRET"}, SEAL, "0123456789abcdef"]})),
        with("/cache", json!({"ttl_seconds": 90.0, "shared_slots": null})),
        with("/providers/0/name", json!("")),
        with("/providers/0/client_secret", json!({"env": "SECRET"})),
        with("/providers/0/cookie_secret", json!([{"env": "SECRET"}, "0123456789abcdef0123456789abcdef"])),
        with("/providers/0/skip_path_regex", json!("^/public\n\n  \n^/health$\n")),
        with("/providers/0/oidc_configuration", json!({"issuer": "https://x.test/", "jwks_uri": "y"})),
        with("/identity_headers", json!(["username", "meta-app"])),
    ];
    good.extend(entries.iter().map(|entry| with("/providers", json!([entry]))));
    for configuration in &good {
        assert_eq!(faults(configuration), [""; 0], "{configuration}");
        let error = validator.validate(configuration).err().map(|error| error.to_string());
        assert_eq!(error, None, "{configuration}");
    }
}

/// The rows of the README's table: the name of a setting and its default.
fn rows() -> Vec<(String, String)> {
    let section = README.split("\n## Settings\n").nth(1).unwrap();
    let table =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let mut rows = Vec::new();
    for row in table.skip(2) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        for name in cells[1].split(", ") {
            rows.push((name.trim_matches('`').trim_end_matches("[]").to_owned(), cells[2].replace('`', "")));
        }
    }
    rows
}

/// A setting of the README in the schema. What is optional may be null too.
fn property<'a>(schema: &'a Value, setting: &str) -> &'a Value {
    let (mut node, path) = match setting.strip_prefix('.') {
        Some(field) => (&schema["properties"]["providers"]["items"], field),
        None => (schema, setting),
    };
    let mut found = node;
    for name in path.split('.') {
        found = &node["properties"][name];
        node = found.get("anyOf").map_or(found, |choices| &choices[0]);
    }
    found
}

#[test]
fn schema_and_readme_have_the_same_settings_and_defaults() {
    let schema = schema();
    let rows = rows();
    assert!(rows.len() > 45, "{rows:?}");
    let mut defaults = 0;
    for (setting, default) in &rows {
        let property = property(&schema, setting);
        assert!(property.is_object(), "{setting} is not in the schema");
        if let Some(in_schema) = property.get("default") {
            let in_readme =
                serde_json::from_str::<Value>(default).unwrap_or_else(|_| panic!("{setting}: {default}"));
            assert_eq!(*in_schema, in_readme, "{setting}");
            defaults += 1;
        }
    }
    assert!(defaults > 35, "{defaults}");
    let unused =
        ["pk", "internal_host", "internal_host_ssl_validation", "certificate", "assigned_application_name"];
    let provider = &schema["properties"]["providers"]["items"]["properties"];
    for name in provider.as_object().unwrap().keys().filter(|name| !unused.contains(&name.as_str())) {
        let is_it = |(row, _): &(String, String)| {
            row.strip_prefix('.').is_some_and(|row| row == name || row.starts_with(&format!("{name}.")))
        };
        assert!(rows.iter().any(is_it), "providers[].{name} is not in the README");
    }
    for (name, property) in schema["properties"].as_object().unwrap() {
        let node = property.get("anyOf").map_or(property, |choices| &choices[0]);
        match node.get("properties").and_then(Value::as_object) {
            Some(fields) => {
                for field in fields.keys() {
                    assert!(rows.iter().any(|(row, _)| *row == format!("{name}.{field}")), "{name}.{field}");
                }
            }
            None => assert!(rows.iter().any(|(row, _)| row == name), "{name}"),
        }
    }
}

#[test]
fn every_number_has_the_range_that_the_parser_has() {
    let schema = schema();
    let mut numbers = 0;
    for (setting, _) in rows() {
        let property = property(&schema, &setting);
        let node = property.get("anyOf").map_or(property, |choices| &choices[0]);
        let (Some(low), Some(high)) = (node["minimum"].as_i64(), node["maximum"].as_i64()) else { continue };
        let pointer = match setting.strip_prefix('.') {
            Some(field) => format!("/providers/0/{field}"),
            None => format!("/{}", setting.replace('.', "/")),
        };
        for (number, is_good) in [(low - 1, false), (low, true), (high, true), (high + 1, false)] {
            assert_eq!(faults(&with(&pointer, json!(number))).is_empty(), is_good, "{setting}: {number}");
        }
        numbers += 1;
    }
    assert!(numbers >= 19, "{numbers}");
}
