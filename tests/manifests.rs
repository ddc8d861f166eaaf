//! The manifests for Istio and Envoy Gateway, as far as they can be held without a cluster: the filter takes their
//! configuration, Envoy takes what they write into its own, and both fail closed.

use authentik_proxy_wasm::config::Config;
use fake_authentik::Authentik;
use local_envoy::{Envoy, EnvoyOptions};
use loopback::App;
use serde::Deserialize as _;
use serde_json::{Value, json};

const ISTIO: &str = include_str!("../deploy/istio.yaml");
const ENVOY_GATEWAY: &str = include_str!("../deploy/envoy-gateway.yaml");

/// The one object of this kind.
fn object(manifest: &str, kind: &str) -> Value {
    let documents = serde_yaml_ng::Deserializer::from_str(manifest);
    let objects = documents.map(|document| Value::deserialize(document).expect("YAML"));
    let mut objects: Vec<_> = objects.filter(|object| object["kind"] == kind).collect();
    assert_eq!(objects.len(), 1, "{kind}");
    objects.remove(0)
}

/// What Envoy Gateway is told to add at this path, for want of a field.
fn patch(path: &str) -> Value {
    let policy = object(ENVOY_GATEWAY, "EnvoyPatchPolicy");
    let patches = policy["spec"]["jsonPatches"].as_array().unwrap();
    let values: Vec<_> =
        patches.iter().map(|patch| &patch["operation"]).filter(|patch| patch["path"] == path).collect();
    assert_eq!(values.len(), 1, "{path}");
    values[0]["value"].clone()
}

/// Numbers pass through `google.protobuf.Struct` there, and come out as doubles.
fn as_doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().unwrap()),
        Value::Array(items) => items.into_iter().map(as_doubles).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, as_doubles(value))).collect(),
        other => other,
    }
}

#[test]
fn the_filter_takes_the_configuration_of_both() {
    let istio = object(ISTIO, "WasmPlugin")["spec"]["pluginConfig"].clone();
    let gateway = object(ENVOY_GATEWAY, "EnvoyExtensionPolicy")["spec"]["wasm"][0]["config"].clone();
    for (configuration, cluster) in [(istio, "outbound|443||auth.example.com"), (gateway, "authentik")] {
        let text = as_doubles(configuration).to_string();
        let secret = |_: &str| Some("a secret from the environment, long enough".to_owned());
        let config = Config::parse(text.as_bytes(), &secret).unwrap();
        assert_eq!((config.authentik.cluster.as_str(), config.warnings.len()), (cluster, 0));
    }
    assert_eq!(patch("")["name"], "authentik");
}

#[test]
fn both_fail_closed_and_start_again() {
    assert_eq!(object(ISTIO, "WasmPlugin")["spec"]["failStrategy"], "FAIL_RELOAD");
    assert_eq!(object(ENVOY_GATEWAY, "EnvoyExtensionPolicy")["spec"]["wasm"][0]["failOpen"], false);
    assert_eq!(patch("failure_policy"), "FAIL_RELOAD");
    for word in ["FAIL_OPEN", "allow_on_headers_stop_iteration"] {
        let lines = [ISTIO, ENVOY_GATEWAY].into_iter().flat_map(str::lines);
        assert_eq!(
            lines.filter(|line| line.contains(word) && !line.trim().starts_with('#')).count(),
            0,
            "{word}"
        );
    }
}

#[test]
fn both_end_a_stream_that_nothing_else_ends() {
    let manager = &object(ISTIO, "EnvoyFilter")["spec"]["configPatches"][0]["patch"]["value"]["typed_config"];
    assert_eq!(
        (&manager["request_timeout"], &manager["stream_idle_timeout"]),
        (&json!("60s"), &json!("60s"))
    );
    let traffic = &object(ENVOY_GATEWAY, "ClientTrafficPolicy")["spec"]["timeout"]["http"];
    assert_eq!(
        (&traffic["requestReceivedTimeout"], &traffic["streamIdleTimeout"]),
        (&json!("60s"), &json!("60s"))
    );
}

/// The connection manager of the one, the plugin of the other.
#[test]
fn envoy_takes_what_they_write_into_its_configuration() {
    let (authentik, app) = (Authentik::start(), App::start());
    let mut options = EnvoyOptions::new(&authentik.authority(), &app.authority())
        .plugin("failure_policy", patch("failure_policy"))
        .plugin("reload_config", patch("reload_config"));
    let filter = object(ISTIO, "EnvoyFilter");
    let written = filter["spec"]["configPatches"][0]["patch"]["value"]["typed_config"].as_object().unwrap();
    for (field, value) in written {
        options.set_manager(field, value.clone());
    }
    let envoy = Envoy::start(options);
    let answer = envoy.get("/").header("accept", "application/json").send().unwrap();
    assert_eq!(answer.status(), 401);
}
