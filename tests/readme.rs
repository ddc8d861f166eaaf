//! The README against the source: every setting and every failure is in its tables, and nothing that does not exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use authentik_proxy_wasm::config::Config;
use regex_lite::Regex;
use serde_json::{Value, json};

const README: &str = include_str!("../README.md");
const CONFIG: &str = concat!(
    include_str!("../src/config/read.rs"),
    include_str!("../src/config/provider.rs"),
    include_str!("../src/config/seal.rs")
);
const DECISION: &str = include_str!("../src/authn/report.rs");
const MAKEFILE: &str = include_str!("../Makefile");

fn all(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The rows of the table that has this heading.
fn table(heading: &str) -> String {
    let section = README.split(heading).nth(1).expect("the section is there");
    section
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with('|'))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_setting_is_in_the_table_and_every_row_is_a_setting() {
    let keys = all(r#"(?:object|root|oidc)\s*\.\s*\w+\(\s*"([a-z_]+)""#, CONFIG);
    let read: BTreeSet<_> = keys.union(&all(r#"let key = "([a-z_]+)";"#, CONFIG)).cloned().collect();
    let read: BTreeSet<_> =
        read.union(&all(r#"read_(?:text|base_url)\(&mut \w+, "([a-z_]+)"\)"#, CONFIG)).cloned().collect();
    assert!(read.len() > 40, "{read:?}");
    let settings = table("## Settings");
    for key in &read {
        let name = Regex::new(&format!(r"[.`]{key}[`.\[]")).unwrap();
        assert!(name.is_match(&settings), "{key} is not in the README");
    }
    for row in settings.lines().skip(2) {
        let names = all("`([^`]+)`", row.split('|').nth(1).unwrap());
        for name in names.iter().flat_map(|name| name.split('.')).filter(|name| !name.is_empty()) {
            let name = name.trim_end_matches("[]");
            assert!(read.contains(name), "{name} is in the README and no setting");
        }
    }
}

/// Where the setting of a row is, as a JSON pointer.
fn pointer(setting: &str) -> String {
    match setting.strip_prefix('.') {
        Some(field) => format!("/providers/0/{field}"),
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
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    if configuration.pointer(parent).is_none() {
        configuration[parent.trim_start_matches('/')] = json!({});
    }
    configuration.pointer_mut(parent).unwrap()[field] = value;
    Config::parse(configuration.to_string().as_bytes(), &|_| None).err().unwrap_or_default()
}

#[test]
fn every_number_has_the_range_that_the_table_gives() {
    let range = Regex::new(r"(\d+)–(\d+)").unwrap();
    let mut found = BTreeSet::new();
    for row in table("## Settings").lines().skip(2) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let Some(range) = range.captures(cells[3]) else { continue };
        let (low, high): (i64, i64) = (range[1].parse().unwrap(), range[2].parse().unwrap());
        let default: i64 = cells[2].parse().unwrap();
        let setting = cells[1].trim_matches('`');
        let pointer = pointer(setting);
        for good in [low, default, high] {
            assert_eq!(faults(&pointer, json!(good)), [""; 0], "{setting}: {good}");
        }
        for bad in [low - 1, high + 1] {
            let faults = faults(&pointer, json!(bad));
            let fault = format!("{}: must be a whole number from {low} to {high}", field_of(setting));
            assert_eq!(faults, [fault], "{setting}: {bad}");
        }
        found.insert(setting.rsplit('.').next().unwrap().to_owned());
    }
    assert_eq!(found, all(r#"integer_or\(\s*"([a-z_]+)""#, CONFIG));
}

/// What a later version must still read (`scenarios::releases`).
#[test]
fn every_setting_is_in_the_recorded_settings_of_this_version() {
    let path = format!("data/releases/{}/settings.json", env!("CARGO_PKG_VERSION"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let recorded: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut count = 0;
    for row in table("## Settings").lines().skip(2) {
        for setting in all("`([^`]+)`", row.split('|').nth(1).unwrap()) {
            let pointer = pointer(setting.trim_end_matches("[]")).replace('.', "/");
            assert!(recorded.pointer(&pointer).is_some(), "{setting} is not at {pointer}");
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

/// What a fault calls the setting of a row.
fn field_of(setting: &str) -> String {
    if setting.starts_with('.') { format!("providers[0]{setting}") } else { setting.to_owned() }
}

#[test]
fn every_failure_is_in_the_table_and_every_row_exists() {
    let told = all(r#""(authentik_[a-z_]+)""#, DECISION);
    let explained = all("`(authentik_[a-z_]+)`", &table("## Troubleshooting"));
    let unexplained: Vec<_> = told.difference(&explained).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
    assert!(explained.is_subset(&told), "{:?}", explained.difference(&told));
}

#[test]
fn every_make_target_that_is_named_exists() {
    let named = all(r"make ([a-z]+(?:-[a-z]+)*)", &[README, include_str!("../CONTRIBUTING.md")].concat());
    let targets = all(r"(?m)^([a-z-]+):", MAKEFILE);
    assert!(named.len() >= 4 && named.is_subset(&targets), "{named:?} of {targets:?}");
}
