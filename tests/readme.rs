//! The README against the source: every setting and every failure is in its tables, and nothing that does not exist. The
//! recorded settings of this version have every setting too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use authentik_proxy_wasm::config::Config;
use authentik_proxy_wasm::config::table::describe::{Description, Kind, Row, all};
use authentik_proxy_wasm::config::table::kinds::Need;
use regex_lite::Regex;
use serde_json::{Value, json};

const README: &str = include_str!("../README.md");
const DECISION: &str = include_str!("../src/authn/report.rs");
const MAKEFILE: &str = include_str!("../Makefile");

fn all_of(pattern: &str, text: &str) -> BTreeSet<String> {
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

const OBJECTS: [&str; 2] = ["provider_defaults", "provider_overrides"];

/// What the README calls the settings, and the settings. Of an object that has settings of its own it lists those alone.
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

/// The rows of the README's table: the names, and the cells behind them.
fn rows() -> Vec<(BTreeSet<String>, Vec<String>)> {
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = table("## Settings");
    let rows = rows.lines().skip(2).map(cells);
    rows.map(|cells| (all_of("`([^`]+)`", &cells[1]), cells[2..].to_vec())).collect()
}

#[test]
fn every_setting_is_in_the_table_and_every_row_is_a_setting() {
    let mut settings: BTreeSet<_> = settings().into_iter().map(|(name, _)| name).collect();
    assert!(settings.len() > 45, "{settings:?}");
    settings.insert("providers[]".to_owned());
    let rows: BTreeSet<_> = rows().into_iter().flat_map(|(names, _)| names).collect();
    assert_eq!(rows, settings);
}

#[test]
fn every_row_has_the_default_of_its_setting() {
    let settings: BTreeMap<_, _> = settings().into_iter().collect();
    let mut count = 0;
    for (names, cells) in rows() {
        for setting in names.iter().filter_map(|name| settings.get(name)) {
            if let Some(default) = &setting.default {
                let in_readme: Value = serde_json::from_str(cells[0].trim_matches('`')).expect(&cells[0]);
                assert_eq!(in_readme, *default, "{names:?}");
                count += 1;
            }
            assert!(setting.need != Need::Always || cells[0] == "required" || names.contains("seal.values"));
        }
    }
    assert!(count > 35, "{count}");
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
        found.insert(setting.to_owned());
    }
    let is_number = |setting: &Description| matches!(setting.kind, Kind::Integer { .. });
    let numbers = settings().into_iter().filter(|(_, setting)| is_number(setting));
    assert_eq!(found, numbers.map(|(name, _)| name).collect());
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
        let pointer = pointer(&setting).replace('.', "/");
        assert!(recorded.pointer(&pointer).is_some(), "{setting} is not at {pointer}");
    }
}

#[test]
fn every_configuration_of_the_page_on_outposts_is_good() {
    let page = include_str!("../docs/outpost.md");
    let configurations: Vec<_> =
        page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(configurations.len(), 2);
    for configuration in configurations {
        let faults = Config::parse(configuration.as_bytes(), &|_| Some("a-token".to_owned())).err();
        assert_eq!(faults, None, "{configuration}");
    }
}

/// What a fault calls the setting of a row.
fn field_of(setting: &str) -> String {
    if setting.starts_with('.') { format!("providers[0]{setting}") } else { setting.to_owned() }
}

#[test]
fn every_failure_is_in_the_table_and_every_row_exists() {
    let told = all_of(r#""(authentik_[a-z_]+)""#, DECISION);
    let explained = all_of("`(authentik_[a-z_]+)`", &table("## Troubleshooting"));
    let unexplained: Vec<_> = told.difference(&explained).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
    assert!(explained.is_subset(&told), "{:?}", explained.difference(&told));
}

#[test]
fn every_make_target_that_is_named_exists() {
    let named = all_of(r"make ([a-z]+(?:-[a-z]+)*)", &[README, include_str!("../CONTRIBUTING.md")].concat());
    let targets = all_of(r"(?m)^([a-z-]+):", MAKEFILE);
    assert!(named.len() >= 4 && named.is_subset(&targets), "{named:?} of {targets:?}");
}
