//! The pages against the source: ranges and defaults of the configuration reference, every reason in troubleshooting. The
//! recorded settings of this version have every setting too.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use authentik_proxy_wasm::config::Config;
use authentik_proxy_wasm::config::table::describe::{Description, Kind, Row, all};
use regex_lite::Regex;
use serde_json::{Value, json};

const REFERENCE: &str = include_str!("../docs/configuration-reference.md");
const TROUBLESHOOTING: &str = include_str!("../docs/troubleshooting.md");
const DECISION: &str = include_str!("../src/authn/report.rs");

fn all_of(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

const OBJECTS: [&str; 2] = ["provider_defaults", "provider_overrides"];

/// The settings by path, without `providers[]`. Of an object that has settings of its own those alone.
fn settings() -> Vec<(String, Description)> {
    let has_fields = |row: &Row| row.fields().next().is_some();
    // These have fields of `providers[]`, and a row of their own.
    let is_below =
        |path: &str, object: &str| path.strip_prefix(object).is_some_and(|rest| rest.starts_with('.'));
    let is_repeated = |path: &str| OBJECTS.iter().any(|object| is_below(path, object));
    let is_listed = |path: &str, row: &Row| {
        (OBJECTS.contains(&path) || !has_fields(row))
            && !is_repeated(path)
            && !matches!(row.describe().kind, Kind::Unused)
    };
    let listed = all().into_iter().filter(|(path, row)| is_listed(path, row));
    let name = |path: String| path.strip_prefix("providers[]").map_or(path.clone(), str::to_owned);
    listed.map(|(path, row)| (name(path), row.describe())).collect()
}

/// The lines of a setting on the reference page; `name` is as in [`settings`].
fn on_the_page(name: &str) -> Vec<&'static str> {
    let path = if name.starts_with('.') { format!("providers[]{name}") } else { name.to_owned() };
    let (_, rest) = REFERENCE.split_once(&format!("\n### `{path}`\n")).unwrap_or_else(|| panic!("{path}"));
    rest.lines().take_while(|line| !line.starts_with('#')).collect()
}

/// What stands behind this word on the reference page.
fn fact(name: &str, word: &str) -> Option<&'static str> {
    let start = format!("* {word}: ");
    on_the_page(name).into_iter().find_map(|line| line.strip_prefix(&start))
}

#[test]
fn every_default_of_the_page_is_that_of_its_setting_and_is_taken() {
    let mut count = 0;
    for (name, setting) in settings() {
        let Some(default) = setting.default else { continue };
        let text = fact(&name, "Default").unwrap_or_else(|| panic!("{name} has no default"));
        let on_the_page: Value = serde_json::from_str(text.trim_matches('`')).expect(text);
        assert_eq!(on_the_page, default, "{name}");
        // These go with another setting.
        if !["shadow.gate_header", "seal.header"].contains(&name.as_str()) {
            assert_eq!(faults(&pointer(&name), default), [""; 0], "{name}");
        }
        count += 1;
    }
    assert!(count > 35, "{count}");
}

/// Where a setting is, as a JSON pointer.
fn pointer(setting: &str) -> String {
    match setting.strip_prefix('.') {
        Some(field) => format!("/providers/0/{}", field.replace('.', "/")),
        None => format!("/{}", setting.replace('.', "/")),
    }
}

/// The faults of a configuration that has this value at this place and is good otherwise.
fn faults(pointer: &str, value: Value) -> Vec<String> {
    let mut configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.com"},
        "providers": [{
            "assigned_application_slug": "demo", "client_id": "id", "client_secret": "secret",
            "cookie_secret": "0123456789abcdef0123456789abcdef", "external_host": "https://app.example.com",
        }],
    });
    let mut place = &mut configuration;
    for step in pointer.split('/').skip(1) {
        place = match step.parse::<usize>() {
            Ok(index) => &mut place[index],
            // A missing object is made.
            Err(_) => &mut place[step],
        };
    }
    *place = value;
    if let Some(events) = configuration["authentik"].get_mut("events") {
        events["token"] = json!("a-token");
    }
    Config::parse(configuration.to_string().as_bytes(), &|_| {
        Some("0123456789abcdef0123456789abcdef".to_owned())
    })
    .err()
    .unwrap_or_default()
}

#[test]
fn every_number_has_the_range_that_the_page_gives() {
    let range = Regex::new(r"^a whole number from (\d+) to (\d+)$").unwrap();
    let mut count = 0;
    for (name, setting) in settings() {
        let text = fact(&name, "Value").unwrap_or_else(|| panic!("{name} has no value"));
        let Some(range) = range.captures(text) else {
            assert!(!matches!(setting.kind, Kind::Integer { .. }), "{name}: {text}");
            continue;
        };
        let (low, high): (i64, i64) = (range[1].parse().unwrap(), range[2].parse().unwrap());
        let pointer = pointer(&name);
        for good in [low, high] {
            assert_eq!(faults(&pointer, json!(good)), [""; 0], "{name}: {good}");
        }
        for bad in [low - 1, high + 1] {
            let fault = format!("{}: must be a whole number from {low} to {high}", field_of(&name));
            assert_eq!(faults(&pointer, json!(bad)), [fault], "{name}: {bad}");
        }
        count += 1;
    }
    assert!(count >= 20, "{count}");
}

#[test]
fn every_setting_that_somebody_changes_has_an_example_that_is_taken() {
    let mut count = 0;
    for (name, _) in settings() {
        let Some(example) = fact(&name, "Example") else {
            assert_eq!(fact(&name, "When to change"), None, "{name} has no example");
            continue;
        };
        let example: Value =
            serde_json::from_str(&format!("{{{}}}", example.trim_matches('`'))).expect(example);
        let (_, value) = example.as_object().unwrap().iter().next().expect("one field");
        // What another setting lacks, or this one without another, is no fault of the example.
        let field = field_of(&name);
        let own: Vec<_> = faults(&pointer(&name), value.clone())
            .into_iter()
            .filter(|fault| fault.starts_with(&field) && !fault.contains(" without "))
            .collect();
        assert_eq!(own, [""; 0], "{name}");
        count += 1;
    }
    assert!(count > 45, "{count}");
}

/// What a later version must still read (`scenarios::releases`).
#[test]
fn every_setting_is_in_the_recorded_settings_of_this_version() {
    let path = format!("data/releases/{}/settings.json", env!("CARGO_PKG_VERSION"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let recorded: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let settings = settings();
    assert!(settings.len() > 45, "{}", settings.len());
    for (setting, _) in settings {
        let pointer = pointer(&setting);
        assert!(recorded.pointer(&pointer).is_some(), "{setting} is not at {pointer}");
    }
}

/// What a fault calls a setting.
fn field_of(setting: &str) -> String {
    if setting.starts_with('.') { format!("providers[0]{setting}") } else { setting.to_owned() }
}

#[test]
fn every_reason_is_reached_from_a_symptom_and_explained_by_log_line() {
    let told = all_of(r#""(authentik_[a-z_]+)""#, DECISION);
    assert!(told.len() > 15, "{told:?}");
    let (symptoms, log_lines) = TROUBLESHOOTING.split_once("\n## Log lines\n").expect("the last section");
    for part in [symptoms, log_lines] {
        let explained = all_of("`(authentik_[a-z_]+)`", part);
        let unexplained: Vec<_> = told.difference(&explained).collect();
        assert!(unexplained.is_empty(), "{unexplained:?}");
        assert!(explained.is_subset(&told), "{:?}", explained.difference(&told));
    }
}
