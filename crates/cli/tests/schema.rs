//! The schema against the parser: what one accepts the other accepts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use authentik_proxy_wasm::config::Config;
use authentik_proxy_wasm::config::table::describe::{Kind, all};
use jsonschema::Validator;
use serde_json::{Value, json};

const FAULTY: &str = include_str!("../../../tests/data/faulty-settings.json");
const TRANSCRIPT: &str = include_str!("../../../tests/data/transcripts/6-outpost-proxy-outpost-token.txt");
const SEAL: &str = "a-seal-of-the-configuration-tests";

/// What JSON Schema cannot say: the parser alone finds it.
const BEYOND_SCHEMA: [&str; 5] = [
    " of another provider",
    "the environment variable",
    "must be the external_host's own domain or one above it",
    "is not a regular expression",
    "is the name of no provider",
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

/// Where a setting is in the minimal configuration.
fn pointer(path: &str) -> String {
    format!("/{}", path.replace("[]", "/0").replace('.', "/"))
}

/// The minimal configuration with this value at this JSON pointer. Objects on the way are made.
fn with(pointer: &str, value: Value) -> Value {
    let mut configuration = minimal();
    let mut node = &mut configuration;
    for step in pointer.split('/').skip(1) {
        node = match node {
            Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
            object => &mut object[step],
        };
    }
    *node = value;
    // Without a token these are of no use.
    if pointer.starts_with("/authentik/events/") {
        configuration["authentik"]["events"]["token"] = json!("a-token");
    }
    if pointer.starts_with("/provider_") {
        configuration["authentik"]["token"] = json!("a-token");
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

/// The schema's verdict is the parser's. Returns those of [`BEYOND_SCHEMA`] that the parser found.
fn judge(validator: &Validator, configuration: &Value) -> BTreeSet<&'static str> {
    let faults = faults(configuration);
    let beyond_of = |fault: &String| BEYOND_SCHEMA.into_iter().find(|what| fault.contains(what));
    let is_good = faults.iter().all(|fault| beyond_of(fault).is_some());
    assert_eq!(validator.is_valid(configuration), is_good, "{configuration}: {faults:?}");
    faults.iter().filter_map(beyond_of).collect()
}

/// Values of every kind, at the edges of every rule.
fn values() -> Value {
    let long = "0123456789abcdef0123456789abcdef";
    json!([
        null, true, false, -1, 0, 1, 60.0, 1.5, 4096, 1e9, 1e30, "", " ", "x", "a\nb", "a\u{7f}b", "e\u{301}", "1",
        "demo", "proxy", "forward_domain", "per_provider", "send", "local", "login", "x-gate", "Host", "x_gate", "example.com",
        ".example.com.", "example..com", "a/b", "https://app.example.com", "https://app.example.com/", "https://a.test/sso",
        "https://A.test:443", "ftp://a.test", "https://u@a.test", "https://a.test?b", "https://a.test#b", "^/a$",
        long, [], [""], ["x"], ["x", "x"], ["name"], ["name", "name"], ["x-gate"], ["host"], ["https://app.example.com"],
        [long], [long, long, long, long], [long, long, long, long, long], [1], [null], {}, {"env": "SECRET"}, {"env": 1},
        {"env": "SECRET", "x": 1}, [{"env": "SECRET"}], [{}], {"x": 1}, {"issuer": "https://a.test/"}, {"values": [long]},
    ])
}

#[test]
fn every_setting_is_judged_alike_by_schema_and_parser_with_values_of_every_kind() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut verdicts = [0, 0];
    for (path, row) in all() {
        let own = serde_json::from_str(row.example).ok().into_iter().chain(row.describe().default);
        for value in values().as_array().unwrap().iter().cloned().chain(own) {
            let configuration = with(&pointer(&path), value);
            judge(&validator, &configuration);
            verdicts[usize::from(faults(&configuration).is_empty())] += 1;
        }
    }
    assert!(verdicts.iter().all(|count| *count > 500), "{verdicts:?}");
}

/// The objects among the files of a folder.
fn objects_in(folder: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let entries = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    entries.filter_map(|text| serde_json::from_slice(&text).ok()).filter(Value::is_object).collect()
}

#[test]
fn faulty_configurations_are_judged_alike_by_schema_and_parser() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let cases: Vec<(String, Value, String)> = serde_json::from_str(FAULTY).unwrap();
    let mut configurations = Vec::new();
    for (pointer, value, fault) in cases {
        let configuration = with(&pointer, value);
        assert!(!faults(&configuration).is_empty(), "{fault}: the parser accepts it");
        configurations.push(configuration);
    }
    let corpus = objects_in("fuzz/corpus/configuration");
    assert!(corpus.len() > 20, "{}", corpus.len());
    configurations.extend(corpus);
    let beyond: BTreeSet<_> = configurations.iter().flat_map(|it| judge(&validator, it)).collect();
    assert_eq!(beyond, BEYOND_SCHEMA.into(), "an exception that no case needs");
}

#[test]
fn headers_and_origins_are_judged_alike_by_schema_and_parser() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut verdicts = [0, 0];
    let mut judge = |configuration: &Value| {
        verdicts[usize::from(faults(configuration).is_empty())] += 1;
        assert_eq!(judge(&validator, configuration), BTreeSet::new());
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
    let recorded =
        objects_in("tests/data/releases/0.1.0").into_iter().find(|it| it.get("providers").is_some());
    assert_eq!(judge(&validator, &recorded.unwrap()), ["the environment variable"].into());
    for configuration in &good {
        assert_eq!(faults(configuration), [""; 0], "{configuration}");
        let error = validator.validate(configuration).err().map(|error| error.to_string());
        assert_eq!(error, None, "{configuration}");
    }
}

/// A setting of the table in the schema. What is optional may be null too.
fn property<'a>(schema: &'a Value, path: &str) -> &'a Value {
    let mut node = schema;
    for step in path.split('.') {
        if step == "*" {
            node = &node["additionalProperties"];
            continue;
        }
        let name = step.trim_end_matches("[]");
        node = &node["properties"][name];
        node = node.get("anyOf").map_or(node, |choices| &choices[0]);
        node = if step == name { node } else { &node["items"] };
    }
    node
}

#[test]
fn every_number_has_the_range_that_the_parser_has() {
    let schema = schema();
    let mut numbers = 0;
    for (path, _) in all().into_iter().filter(|(_, row)| matches!(row.describe().kind, Kind::Integer { .. }))
    {
        let property = property(&schema, &path);
        let (low, high) = (property["minimum"].as_i64().unwrap(), property["maximum"].as_i64().unwrap());
        let pointer = pointer(&path);
        for (number, is_good) in [(low - 1, false), (low, true), (high, true), (high + 1, false)] {
            assert_eq!(faults(&with(&pointer, json!(number))).is_empty(), is_good, "{path}: {number}");
        }
        numbers += 1;
    }
    assert!(numbers >= 19, "{numbers}");
}
