//! Every overlay against the schemas of every supported version.

use std::fmt::Write as _;
use std::fs;

use local_envoy::module::root;
use serde_json::Value;

use super::schema::Schemas;
use super::{Overlay, objects_of, overlays};

const ISTIO: [&str; 6] = ["1.26.0", "1.27.0", "1.28.0", "1.29.0", "1.30.3", "1.31-head"];
const ENVOY_GATEWAY: [&str; 3] = ["1.8.0", "1.9.0", "1.10-head"];

/// Istio ships none of the Gateway API: each set that there is must do.
fn schemas(is_istio: bool, version: &str) -> Vec<Schemas> {
    if !is_istio {
        let files = [format!("envoy-gateway-{version}"), format!("gateway-api-of-envoy-gateway-{version}")];
        return vec![Schemas::of(&files.each_ref().map(String::as_str))];
    }
    let istio = format!("istio-{version}");
    let with =
        |gateway_api: &str| Schemas::of(&[&istio, &format!("gateway-api-of-envoy-gateway-{gateway_api}")]);
    ENVOY_GATEWAY.map(with).into()
}

fn faults(overlay: &Overlay, version: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for schemas in schemas(overlay.is_istio(), version) {
        for object in overlay.objects() {
            faults.extend(schemas.faults(object));
            // What Istio merges into the Deployment that it makes for a Gateway.
            if object["kind"] == "ConfigMap" {
                let overlay = objects_of(object["data"]["deployment"].as_str().unwrap()).remove(0);
                faults.extend(schemas.faults_of(&overlay, "apps/v1/Deployment"));
            }
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

/// Valid, or why not.
fn verdict(overlay: &Overlay, version: &str) -> &'static str {
    let faults = faults(overlay, version);
    let Some(first) = faults.first() else { return "valid" };
    for (part, reason) in [
        ("\"FAIL_RELOAD\" is none of", "no: `FAIL_RELOAD`"),
        ("TrafficExtension: unknown kind", "no: TrafficExtension"),
        ("ClientTrafficPolicy.spec.headers.host: unknown field", "no: `headers.host`"),
    ] {
        if faults.len() == 1 && first.contains(part) {
            return reason;
        }
    }
    panic!("{} under {version}: {faults:#?}", overlay.name);
}

fn table(project: &str, versions: &[&str]) -> String {
    let mut table =
        format!("| overlay | {} |\n|---|{}\n", versions.join(" | "), "---|".repeat(versions.len()));
    for overlay in overlays() {
        if let Some(name) = overlay.name.strip_prefix(project) {
            let verdicts: Vec<_> = versions.iter().map(|version| verdict(&overlay, version)).collect();
            writeln!(table, "| `{name}` | {} |", verdicts.join(" | ")).unwrap();
        }
    }
    table
}

#[test]
fn overlays_are_valid_in_the_versions_that_the_page_names() {
    let page = fs::read_to_string(root().join("deploy/README.md")).unwrap();
    for table in [table("istio/", &ISTIO), table("envoy-gateway/", &ENVOY_GATEWAY)] {
        println!("{table}");
        assert!(page.contains(&table), "deploy/README.md has not this table:\n{table}");
    }
}

/// Where a schema takes any field: what is there is not for it to judge.
const FREE: [&str; 9] = [
    "EnvoyExtensionPolicy.spec.wasm.config.",
    "EnvoyFilter.spec.configPatches.patch.value.",
    "EnvoyPatchPolicy.spec.jsonPatches.operation.value.",
    "EnvoyProxy.spec.bootstrap.jsonPatches.value.",
    "EnvoyProxy.spec.logging.level.",
    "TrafficExtension.spec.wasm.pluginConfig.",
    "WasmPlugin.spec.pluginConfig.",
    "matchLabels.",
    "labels.",
];

/// The newest schemas; every field of every object is misspelt once.
#[test]
fn no_field_can_be_misspelt() {
    let (mut found, mut free) = (0, 0);
    for overlay in overlays() {
        let version = if overlay.is_istio() { "1.31-head" } else { "1.10-head" };
        let schemas = schemas(overlay.is_istio(), version).remove(0);
        for object in overlay.objects() {
            for pointer in pointers(object) {
                let faults = schemas.faults(&misspelt(object, &pointer));
                let path: String = pointer.split('/').filter(|step| step.parse::<usize>().is_err()).fold(
                    object["kind"].as_str().unwrap().to_owned(),
                    |path, step| match step {
                        "" => path,
                        step => format!("{path}.{step}"),
                    },
                );
                let is_free = FREE.iter().any(|it| path.contains(it))
                    || path.contains(".annotations.")
                    || path.starts_with("ConfigMap.data.");
                assert_eq!(faults.is_empty(), is_free, "{}: {path}: {faults:?}", overlay.name);
                if is_free { free += 1 } else { found += 1 }
            }
        }
    }
    println!("{found} misspelt fields found, {free} where any field is allowed");
    assert!(found > 1_000 && free > 0);
}

/// Of all fields.
fn pointers(value: &Value) -> Vec<String> {
    let below = |step: &str, value: &Value| -> Vec<String> {
        pointers(value).into_iter().map(|rest| format!("/{step}{rest}")).collect()
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value))
            .flat_map(|(name, value)| [vec![format!("/{name}")], below(&name, value)].concat())
            .collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(index, item)| below(&index.to_string(), item)).collect()
        }
        _ => Vec::new(),
    }
}

fn misspelt(object: &Value, pointer: &str) -> Value {
    let mut object = object.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let fields = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    let value = fields.remove(&name).unwrap();
    fields.insert(format!("{name}x"), value);
    object
}
