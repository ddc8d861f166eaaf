//! The JSON Schema of the configuration, made from the table of settings.
//!
//! Owns: how a kind of setting is said in JSON Schema, and the rules between settings that can be said there.
//! Must not: list settings. What it cannot say (two providers for one host, a cookie domain above the host, regular
//! expressions, lengths in bytes) the parser judges.

use serde_json::{Map, Value, json};

use crate::settings::{Kind, ROOT, Setting};

/// Draft 2020-12.
pub(crate) fn schema() -> Value {
    let mut schema = object(ROOT, false);
    let fields = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of authentik-proxy-wasm",
        "allOf": [sessions_need_a_secret()],
        "$defs": {"secret": secret(1, "")},
    });
    merge(&mut schema, fields);
    schema
}

fn merge(schema: &mut Value, fields: Value) {
    if let (Value::Object(schema), Value::Object(fields)) = (schema, fields) {
        schema.extend(fields);
    }
}

fn object(settings: &[Setting], is_foreign: bool) -> Value {
    let properties: Map<_, _> =
        settings.iter().map(|setting| (setting.name.to_owned(), property(setting))).collect();
    let required: Vec<_> =
        settings.iter().filter(|setting| setting.is_required).map(|setting| setting.name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": is_foreign})
}

fn property(setting: &Setting) -> Value {
    let mut schema = kind(&setting.kind);
    // authentik's API writes null for "not set".
    if !setting.is_required && !matches!(setting.kind, Kind::Anything) {
        schema = json!({"anyOf": [schema, {"type": "null"}]});
    }
    merge(&mut schema, json!({"description": setting.meaning}));
    if let Ok(default) = serde_json::from_str::<Value>(setting.default) {
        merge(&mut schema, json!({"default": default}));
    }
    schema
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Object(fields) => object(fields, false),
        Kind::ForeignObject(fields) => object(fields, true),
        Kind::Objects(fields) => {
            let mut item = object(fields, false);
            merge(&mut item, domain_mode_needs_a_domain());
            json!({"type": "array", "minItems": 1, "items": item})
        }
        Kind::Anything => json!({}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Integer(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
        Kind::Words(words) => json!({"enum": words}),
        Kind::Text(pattern) => json!({"type": "string", "pattern": pattern}),
        Kind::Header(pattern, never) => header(pattern, never),
        Kind::Headers(pattern, never) => json!({"type": "array", "items": header(pattern, never)}),
        Kind::Texts(pattern) => json!({"type": "array", "items": {"type": "string", "pattern": pattern}}),
        Kind::Choice(words) => json!({"type": "array", "items": {"enum": words}, "uniqueItems": true}),
        Kind::Secret => json!({"$ref": "#/$defs/secret"}),
        Kind::Secrets => one_or_list(&json!({"$ref": "#/$defs/secret"}), 0, None),
        Kind::SealValues(most) => one_or_list(&secret(16, "^[!-~]*$"), 1, Some(*most)),
    }
}

/// ECMA 262 has no flag for "in any case" within a pattern. Any sign that is no letter or digit counts as `-`.
fn header(pattern: &str, never: &[&str]) -> Value {
    let any_spelling = |letter: char| match letter {
        'a'..='z' => format!("[{letter}{}]", letter.to_ascii_uppercase()),
        '-' => "[^a-zA-Z0-9]".to_owned(),
        '*' => ".*".to_owned(),
        other => other.to_string(),
    };
    let never: Vec<String> = never.iter().map(|name| name.chars().map(any_spelling).collect()).collect();
    json!({"type": "string", "pattern": pattern, "not": {"pattern": format!("^({})$", never.join("|"))}})
}

fn one_or_list(item: &Value, least: u64, most: Option<u64>) -> Value {
    let mut list = json!({"type": "array", "minItems": least, "items": item});
    if let Some(most) = most {
        merge(&mut list, json!({"maxItems": most}));
    }
    json!({"anyOf": [item, list]})
}

/// A string of that length, or a variable of the environment.
fn secret(least: u64, pattern: &str) -> Value {
    let variable = json!({
        "type": "object", "properties": {"env": {"type": "string"}}, "required": ["env"], "additionalProperties": false,
    });
    let mut text = json!({"type": "string", "minLength": least});
    if !pattern.is_empty() {
        merge(&mut text, json!({"pattern": pattern}));
    }
    json!({"anyOf": [text, variable]})
}

fn sessions_need_a_secret() -> Value {
    let off = json!({"properties": {"session": {
        "type": "object",
        "anyOf": [
            {"properties": {"enabled": {"const": false}}, "required": ["enabled"]},
            {"properties": {"issue": {"const": "never"}}, "required": ["issue"]},
        ],
    }}, "required": ["session"]});
    let long = secret(32, "");
    let secrets = one_or_list(&long, 1, None);
    let on = json!({"properties": {"providers": {"items": {
        "properties": {"cookie_secret": secrets}, "required": ["cookie_secret"],
    }}}});
    json!({"if": off, "else": on})
}

fn domain_mode_needs_a_domain() -> Value {
    json!({
        "if": {"properties": {"mode": {"const": "forward_domain"}}, "required": ["mode"]},
        "then": {"properties": {"cookie_domain": {"type": "string", "minLength": 1}}, "required": ["cookie_domain"]},
    })
}
