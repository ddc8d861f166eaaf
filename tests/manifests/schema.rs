//! A strict reading of structural schemas, as the API server's with `fieldValidation: Strict`: a field that the schema does
//! not have is a fault. Knows the keywords that the schemas in `tests/data/crds` use; a test holds it to that.

use std::collections::BTreeMap;
use std::fs;

use local_envoy::module::root;
use regex_lite::Regex;
use serde_json::{Map, Value, json};

/// The kinds that one or more projects publish: `group/version/kind` and the schema.
pub(super) struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// Those of these files below `tests/data/crds`, and Kubernetes' own.
    pub(super) fn of(files: &[&str]) -> Self {
        let read = |name: &&str| -> BTreeMap<String, Value> {
            let path = root().join(format!("tests/data/crds/{name}.json"));
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            serde_json::from_str(&text).expect("JSON")
        };
        Self(files.iter().chain(&["kubernetes"]).flat_map(read).collect())
    }

    /// What is wrong with the object, each with its path.
    pub(super) fn faults(&self, object: &Value) -> Vec<String> {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let kind = format!("{}/{}", text("apiVersion"), text("kind"));
        let Some(schema) = self.0.get(&kind) else { return vec![format!("{kind}: unknown kind")] };
        let mut schema = schema.clone();
        let fields = schema["properties"].as_object_mut().expect("an object's schema");
        for (name, own) in common() {
            fields.insert(name, own);
        }
        let mut faults = Vec::new();
        check(object, &schema, Reading::Strict, text("kind"), &mut faults);
        faults
    }

    /// Of one kind's part, such as the value of an annotation.
    pub(super) fn faults_of(&self, value: &Value, kind: &str) -> Vec<String> {
        let mut faults = Vec::new();
        check(value, &self.0[kind], Reading::Strict, kind, &mut faults);
        faults
    }
}

/// What every object has.
fn common() -> Map<String, Value> {
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let metadata = json!({
        "type": "object",
        "required": ["name", "namespace"],
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"},
            "namespace": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
            "labels": texts,
            "annotations": texts,
        },
    });
    let text = json!({"type": "string"});
    let fields = [("apiVersion", text.clone()), ("kind", text), ("metadata", metadata)];
    fields.map(|(name, schema)| (name.to_owned(), schema)).into_iter().collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Reading {
    Strict,
    /// Of a part of `allOf`, `anyOf`, `oneOf` and `not`, which repeats some fields only.
    Partial,
}

fn check(value: &Value, schema: &Value, reading: Reading, path: &str, faults: &mut Vec<String>) {
    let mut fault = |what: String| faults.push(format!("{path}: {what}"));
    if schema["x-kubernetes-int-or-string"] == true && !(value.is_i64() || value.is_string()) {
        fault("neither an integer nor a string".to_owned());
    }
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    let is_of_type = match schema["type"].as_str() {
        None => true,
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some(other) => panic!("{path}: the schema has the type {other}"),
    };
    if !is_of_type {
        return fault(format!("not of type {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        fault(format!("{value} is none of {}", schema["enum"]));
    }
    for what in out_of_bounds(value, schema) {
        fault(what);
    }
    let is_good = |part: &Value| {
        let mut faults = Vec::new();
        check(value, part, Reading::Partial, path, &mut faults);
        faults.is_empty()
    };
    let good = |keyword: &str| {
        schema[keyword]
            .as_array()
            .map(|parts| (parts.iter().filter(|part| is_good(part)).count(), parts.len()))
    };
    let is_met = good("allOf").is_none_or(|(good, all)| good == all)
        && good("anyOf").is_none_or(|(good, _)| good > 0)
        && good("oneOf").is_none_or(|(good, _)| good == 1)
        && schema.get("not").is_none_or(|part| !is_good(part));
    if !is_met {
        fault("a combination of fields or values that is not allowed".to_owned());
    }
    match value {
        Value::Object(fields) => check_fields(fields, schema, reading, path, faults),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some(schema) = schema.get("items") {
                    check(item, schema, reading, &format!("{path}[{index}]"), faults);
                }
            }
        }
        _ => {}
    }
}

fn check_fields(
    fields: &Map<String, Value>,
    schema: &Value,
    reading: Reading,
    path: &str,
    faults: &mut Vec<String>,
) {
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().expect("a name")) {
            faults.push(format!("{path}: {name} is missing"));
        }
    }
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        if let Some(known) = schema["properties"].get(name) {
            check(value, known, reading, &path, faults);
        } else if schema["additionalProperties"].is_object() {
            check(value, &schema["additionalProperties"], reading, &path, faults);
        } else if reading == Reading::Strict
            && schema["additionalProperties"] != true
            && schema["x-kubernetes-preserve-unknown-fields"] != true
        {
            faults.push(format!("{path}: unknown field"));
        }
    }
}

fn out_of_bounds(value: &Value, schema: &Value) -> Vec<String> {
    let bound = |keyword: &str| schema[keyword].as_f64();
    let (size, least, most) = match value {
        Value::String(text) => (text.chars().count() as f64, "minLength", "maxLength"),
        Value::Array(items) => (items.len() as f64, "minItems", "maxItems"),
        Value::Object(fields) => (fields.len() as f64, "minProperties", "maxProperties"),
        Value::Number(number) => (number.as_f64().expect("a number"), "minimum", "maximum"),
        Value::Null | Value::Bool(_) => return Vec::new(),
    };
    let mut faults = Vec::new();
    if bound(least).is_some_and(|least| size < least) || bound(most).is_some_and(|most| size > most) {
        faults.push(format!("{value} is not within {least} and {most}"));
    }
    if let (Some(text), Some(pattern)) = (value.as_str(), schema["pattern"].as_str())
        && !Regex::new(pattern).expect("a pattern").is_match(text)
    {
        faults.push(format!("{value} does not match {pattern}"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas() -> Schemas {
        Schemas::of(&["istio-1.31-head", "envoy-gateway-1.10-head", "gateway-api-of-envoy-gateway-1.10-head"])
    }

    fn policy(spec: Value) -> Value {
        let metadata = json!({"name": "a", "namespace": "b"});
        json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec})
    }

    #[test]
    fn each_kind_of_fault_is_found() {
        let when = |when: Value| policy(json!({"action": "DENY", "rules": [{"when": [when]}]}));
        let good = when(json!({"key": "request.headers[a]", "notValues": ["b"]}));
        assert_eq!(schemas().faults(&good), [""; 0]);
        let mut nameless = good.clone();
        nameless["metadata"].as_object_mut().unwrap().remove("name");
        let mut unknown = good.clone();
        unknown["kind"] = json!("AuthorisationPolicy");
        for (object, fault) in [
            (policy(json!({"selectors": {}})), "AuthorizationPolicy.spec.selectors: unknown field"),
            (policy(json!({"action": "FORBID"})), "AuthorizationPolicy.spec.action: \"FORBID\" is none of"),
            (policy(json!({"rules": {}})), "AuthorizationPolicy.spec.rules: not of type \"array\""),
            (
                when(json!({"notValues": ["b"]})),
                "AuthorizationPolicy.spec.rules[0].when[0]: \"key\" is missing",
            ),
            (when(json!({"key": "a", "notValue": []})), "when[0].notValue: unknown field"),
            (nameless, "AuthorizationPolicy.metadata: \"name\" is missing"),
            (unknown, "unknown kind"),
            (
                policy(json!({"targetRefs": [{"kind": "", "name": "a"}]})),
                "kind: \"\" is not within minLength and maxLength",
            ),
            (policy(json!({"targetRefs": [{"kind": "a b", "name": "a"}]})), "kind: \"a b\" does not match"),
        ] {
            let faults = schemas().faults(&object);
            assert!(faults.iter().any(|it| it.contains(fault)), "{fault} is not in {faults:?}");
        }
    }

    #[test]
    fn combinations_are_read_too() {
        let extension = |spec: Value| {
            let metadata = json!({"name": "a", "namespace": "b"});
            let kind = "TrafficExtension";
            json!({"apiVersion": "extensions.istio.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
        };
        let (wasm, lua) = (json!({"url": "oci://a"}), json!({"inlineCode": "a"}));
        assert_eq!(schemas().faults(&extension(json!({"wasm": wasm}))), [""; 0]);
        let both = schemas().faults(&extension(json!({"wasm": wasm, "lua": lua})));
        assert_eq!(both, ["TrafficExtension.spec: a combination of fields or values that is not allowed"]);
    }

    /// A keyword that nobody reads would be a rule that nobody holds.
    #[test]
    fn every_keyword_of_the_schemas_is_known() {
        const KNOWN: [&str; 24] = [
            "additionalProperties",
            "allOf",
            "anyOf",
            "default",
            "enum",
            "format",
            "items",
            "maxItems",
            "maxLength",
            "maxProperties",
            "maximum",
            "minItems",
            "minLength",
            "minProperties",
            "minimum",
            "not",
            "nullable",
            "oneOf",
            "pattern",
            "properties",
            "required",
            "type",
            "x-kubernetes-int-or-string",
            "x-kubernetes-preserve-unknown-fields",
        ];
        fn walk(schema: &Value) {
            for (keyword, value) in schema.as_object().into_iter().flatten() {
                // How lists are merged is no rule for one object.
                let is_known = KNOWN.contains(&keyword.as_str()) || keyword.starts_with("x-kubernetes-list-");
                assert!(is_known, "{keyword}: {value}");
                match keyword.as_str() {
                    "properties" => value.as_object().unwrap().values().for_each(walk),
                    "items" | "additionalProperties" | "not" => walk(value),
                    "allOf" | "anyOf" | "oneOf" => value.as_array().unwrap().iter().for_each(walk),
                    "pattern" => assert!(Regex::new(value.as_str().unwrap()).is_ok(), "{value}"),
                    _ => {}
                }
            }
        }
        let files = fs::read_dir(root().join("tests/data/crds")).unwrap().flatten();
        let names: Vec<_> = files.map(|file| file.file_name().into_string().unwrap()).collect();
        let names: Vec<_> = names.iter().filter_map(|name| name.strip_suffix(".json")).collect();
        assert_eq!(names.len(), 13);
        Schemas::of(&names).0.values().for_each(walk);
        for name in names {
            Schemas::of(&[name]).0.values().for_each(walk);
        }
    }
}
