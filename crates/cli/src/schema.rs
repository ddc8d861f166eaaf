//! The JSON Schema of the configuration, made from the table of settings that the parser reads through.
//!
//! Owns: how a kind of setting is said in JSON Schema, and the rules between settings that can be said there.
//! Must not: list settings. What it cannot say (two providers for one host, a cookie domain above the host, regular
//! expressions, lengths in bytes) the parser alone judges.

use authentik_proxy_wasm::config::Mode;
use authentik_proxy_wasm::config::table::describe::{Description, Kind, Row};
use authentik_proxy_wasm::config::table::kinds::{Need, Rule, Secrets};
use authentik_proxy_wasm::config::table::{self, ROWS, authentik, provider, session};
use serde_json::{Map, Value, json};

/// Draft 2020-12.
pub(crate) fn schema() -> Value {
    let mut schema = object(ROWS.iter().collect(), false);
    let fields = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of authentik-proxy-wasm",
        "allOf": [sessions_need_a_secret(), providers_are_written_or_listed()],
        "$defs": {"secret": secret(1, None)},
    });
    merge(&mut schema, fields);
    schema
}

fn merge(schema: &mut Value, fields: Value) {
    if let (Value::Object(schema), Value::Object(fields)) = (schema, fields) {
        schema.extend(fields);
    }
}

fn object(rows: Vec<&Row>, is_foreign: bool) -> Value {
    let properties: Map<_, _> = rows.iter().map(|row| (row.name().to_owned(), property(row))).collect();
    let required: Vec<_> =
        rows.iter().filter(|row| row.describe().need == Need::Always).map(|row| row.name()).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": is_foreign})
}

fn property(row: &Row) -> Value {
    let Description { need, kind, default, .. } = row.describe();
    let mut schema = value(row, need, &kind);
    // authentik's API writes null for "not set".
    if need != Need::Always && !matches!(kind, Kind::Anything | Kind::Unused) {
        schema = json!({"anyOf": [schema, {"type": "null"}]});
    }
    merge(&mut schema, json!({"description": row.meaning()}));
    if let Some(default) = default {
        merge(&mut schema, json!({"default": default}));
    }
    if let Ok(example) = serde_json::from_str::<Value>(row.example) {
        merge(&mut schema, json!({"examples": [example]}));
    }
    schema
}

fn value(row: &Row, need: Need, kind: &Kind) -> Value {
    match kind {
        Kind::Object { is_foreign } => object(row.fields().collect(), *is_foreign),
        Kind::Objects => {
            let mut item = object(row.fields().collect(), false);
            merge(&mut item, domain_mode_needs_a_domain());
            json!({"type": "array", "items": item})
        }
        Kind::NamedObjects => {
            json!({"type": "object", "additionalProperties": object(row.fields().collect(), false)})
        }
        Kind::Anything | Kind::Unused => json!({}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Integer { least, most } => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::Words(words) => json!({"enum": words}),
        Kind::Text(rule) => {
            let mut schema = text(*rule);
            if need == Need::Always {
                merge(&mut schema, json!({"minLength": 1}));
            }
            schema
        }
        Kind::Texts(rule) => {
            let mut item = text(*rule);
            let has_words = rule.words().is_some();
            if !has_words {
                merge(&mut item, json!({"minLength": 1}));
            }
            json!({"type": "array", "items": item, "uniqueItems": has_words})
        }
        Kind::Secret(rule) if rule.pattern().is_some() => secret(1, rule.pattern()),
        Kind::Secret(_) => json!({"$ref": "#/$defs/secret"}),
        Kind::Secrets { rule, least_bytes, most } if need == Need::Always => {
            one_or_list(&secret(*least_bytes, rule.pattern()), 1, Some(*most))
        }
        // How many and how long they must be depends on other settings.
        Kind::Secrets { .. } => one_or_list(&json!({"$ref": "#/$defs/secret"}), 0, None),
    }
}

fn text(rule: Rule) -> Value {
    if let Some(words) = rule.words() {
        return json!({"enum": words});
    }
    let mut schema = json!({"type": "string"});
    if let Some(pattern) = rule.pattern() {
        merge(&mut schema, json!({"pattern": pattern}));
    }
    let never = rule.never();
    if !never.is_empty() {
        merge(&mut schema, json!({"not": {"pattern": any_of(&never)}}));
    }
    schema
}

/// ECMA 262 has no flag for "in any case" within a pattern. Any sign that is no letter or digit counts as `-`.
fn any_of(names: &[String]) -> String {
    let any_spelling = |letter: char| match letter {
        'a'..='z' => format!("[{letter}{}]", letter.to_ascii_uppercase()),
        '-' => "[^a-zA-Z0-9]".to_owned(),
        '*' => ".*".to_owned(),
        other => other.to_string(),
    };
    let names: Vec<String> = names.iter().map(|name| name.chars().map(any_spelling).collect()).collect();
    format!("^({})$", names.join("|"))
}

fn one_or_list(item: &Value, least: usize, most: Option<usize>) -> Value {
    let mut list = json!({"type": "array", "minItems": least, "items": item});
    if let Some(most) = most {
        merge(&mut list, json!({"maxItems": most}));
    }
    json!({"anyOf": [item, list]})
}

/// A string of that length, or a variable of the environment.
fn secret(least: usize, pattern: Option<&str>) -> Value {
    let variable = json!({
        "type": "object", "properties": {"env": {"type": "string"}}, "required": ["env"], "additionalProperties": false,
    });
    let mut text = json!({"type": "string", "minLength": least});
    if let Some(pattern) = pattern {
        merge(&mut text, json!({"pattern": pattern}));
    }
    json!({"anyOf": [text, variable]})
}

/// With a token the providers may come from authentik's API; without it, what is said of those is of no use.
fn providers_are_written_or_listed() -> Value {
    let token = json!({"type": ["string", "object"]});
    let has_token = json!({"properties": {table::AUTHENTIK.name: {
        "properties": {authentik::TOKEN.name: token}, "required": [authentik::TOKEN.name],
    }}, "required": [table::AUTHENTIK.name]});
    let absent = json!({"type": "null"});
    let without = json!({
        "properties": {
            table::PROVIDERS.name: {"type": "array", "minItems": 1},
            table::PROVIDER_DEFAULTS.name: absent,
            table::PROVIDER_OVERRIDES.name: {"anyOf": [absent, {"maxProperties": 0}]},
            table::AUTHENTIK.name: {"properties": {authentik::OUTPOST.name: {"anyOf": [absent, {"maxLength": 0}]}}},
        },
        "required": [table::PROVIDERS.name],
    });
    json!({"if": has_token, "else": without})
}

fn sessions_need_a_secret() -> Value {
    let is =
        |field: &str, value: Value| json!({"properties": {field: {"const": value}}, "required": [field]});
    let off = json!({"properties": {table::SESSION.name: {"type": "object", "anyOf": [
        is(session::ENABLED.name, json!(false)),
        is(session::ISSUE.name, json!(session::ISSUE.word_for(&None))),
    ]}}, "required": [table::SESSION.name]});
    let Secrets { name, least_bytes, .. } = provider::COOKIE_SECRET;
    let secrets = one_or_list(&secret(least_bytes, None), 1, None);
    let on = json!({"properties": {table::PROVIDERS.name: {"items": {
        "properties": {name: secrets}, "required": [name],
    }}}});
    json!({"if": off, "else": on})
}

fn domain_mode_needs_a_domain() -> Value {
    let (mode, domain) = (provider::MODE.name, provider::COOKIE_DOMAIN.name);
    json!({
        "if": {"properties": {mode: {"const": provider::MODE.word_for(&Mode::ForwardDomain)}}, "required": [mode]},
        "then": {"properties": {domain: {"type": "string", "minLength": 1}}, "required": [domain]},
    })
}
