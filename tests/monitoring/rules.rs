//! `deploy/prometheus/rules.yaml`: each alert fires in one unit test and stays silent in another, and has a section in the
//! runbook.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use local_envoy::module::root;
use regex_lite::Regex;
use serde_yaml_ng::Value;

use super::promql::{metrics, patterns};
use super::{program, run, text};

const RULES: &str = local_prometheus::RULES;
const TESTS: &str = "deploy/prometheus/tests";
const RUNBOOK: &str = "docs/runbook.md";
const LINK: &str = "https://github.com/OWNER/authentik-proxy-wasm/blob/main/docs/runbook.md#";

/// The parts of each section of the runbook, in this order.
const PARTS: [&str; 5] = ["**Meaning.**", "**Users see.**", "**Look at.**", "**Do.**", "**Over when.**"];

fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_sequence().map_or(&[], Vec::as_slice)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The rules of all groups.
pub(super) fn rules() -> Vec<Value> {
    let file = yaml(RULES);
    let rules: Vec<_> =
        list(&file["groups"]).iter().flat_map(|group| list(&group["rules"])).cloned().collect();
    assert!(rules.len() > 15, "{}", rules.len());
    rules
}

/// The alerts by name.
fn alerts() -> BTreeMap<String, Value> {
    let named = rules().into_iter().filter_map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule)));
    named.collect()
}

/// Paths of the files with unit tests, from the root.
fn files() -> Vec<String> {
    let folder = fs::read_dir(root().join(TESTS)).unwrap();
    let mut files: Vec<_> =
        folder.map(|entry| format!("{TESTS}/{}", entry.unwrap().file_name().to_str().unwrap())).collect();
    files.sort();
    files
}

#[test]
fn rules_pass_their_unit_tests() {
    let Some(promtool) = program("promtool") else { return };
    run(Command::new(&promtool).args(["check", "rules"]).arg(root().join(RULES)));
    let files = files();
    let said = run(Command::new(&promtool).args(["test", "rules"]).args(&files).current_dir(root()));
    assert_eq!(said.matches("SUCCESS").count(), files.len(), "{said}");
}

/// What the unit tests expect of one alert: a group of series in which it fires, and one in which it never does.
#[derive(Default)]
struct Cases {
    firing: bool,
    silent: bool,
}

#[test]
fn every_alert_fires_in_one_unit_test_and_is_silent_in_another() {
    let alerts = alerts();
    let mut cases: BTreeMap<String, Cases> = BTreeMap::new();
    for file in files() {
        let file = yaml(&file);
        for group in list(&file["tests"]) {
            let mut expected: BTreeMap<&str, bool> = BTreeMap::new();
            for case in list(&group["alert_rule_test"]) {
                *expected.entry(word(&case["alertname"])).or_default() |=
                    !list(&case["exp_alerts"]).is_empty();
            }
            for (name, fires) in expected {
                let alert = alerts.get(name).unwrap_or_else(|| panic!("{name} is no alert"));
                let cases = cases.entry(name.to_owned()).or_default();
                // Silence says something only where there is something to select.
                cases.silent |= !fires && selects_something(alert, group);
                cases.firing |= fires;
            }
        }
    }
    for name in alerts.keys() {
        let cases = cases.get(name).unwrap_or_else(|| panic!("{name} has no unit test"));
        assert!(cases.firing, "{name} fires in no unit test");
        assert!(cases.silent, "{name} is silent in no unit test that has its series");
    }
}

/// Whether the group has a series that the alert selects, itself or by a recording rule.
fn selects_something(alert: &Value, group: &Value) -> bool {
    let mut expressions = vec![word(&alert["expr"]).to_owned()];
    let recorded =
        rules().into_iter().filter(|rule| metrics(&expressions[0]).contains(word(&rule["record"])));
    let recorded: Vec<_> = recorded.map(|rule| word(&rule["expr"]).to_owned()).collect();
    expressions.extend(recorded);
    let names: BTreeSet<_> = expressions.iter().flat_map(|expression| metrics(expression)).collect();
    let patterns: Vec<_> = expressions.iter().flat_map(|expression| patterns(expression)).collect();
    let series = list(&group["input_series"]).iter().map(|series| word(&series["series"]));
    series
        .filter_map(|series| series.split('{').next())
        .any(|name| names.contains(name) || patterns.iter().any(|pattern| pattern.is_match(name)))
}

#[test]
fn every_alert_says_how_urgent_it_is_and_what_happened() {
    for (name, alert) in alerts() {
        assert!(name.starts_with("AuthentikProxy"), "{name}");
        assert!(alert["for"].is_string(), "{name}: for");
        assert!(["critical", "warning"].contains(&word(&alert["labels"]["severity"])), "{name}: severity");
        assert!(word(&alert["annotations"]["summary"]).len() > 20, "{name}: summary");
        let url = format!("{LINK}{}", name.to_lowercase());
        assert_eq!(word(&alert["annotations"]["runbook_url"]), url, "{name}");
    }
}

#[test]
fn every_alert_has_a_section_in_the_runbook_and_every_section_an_alert() {
    let alerts: BTreeSet<_> = alerts().into_keys().collect();
    let page = text(RUNBOOK);
    let mut sections = BTreeSet::new();
    for section in page.split("\n## ").skip(1) {
        let (heading, body) = section.split_once('\n').unwrap();
        if heading == "Before the first alert" {
            continue;
        }
        assert!(sections.insert(heading.to_owned()), "{heading} is there twice");
        let places = PARTS.map(|part| body.find(part).unwrap_or_else(|| panic!("{heading}: no {part}")));
        assert!(places.is_sorted(), "{heading}: {PARTS:?} are in another order");
    }
    assert_eq!(sections, alerts);
    let links = Regex::new(r"\]\(#([a-z]+)\)").unwrap();
    let anchors: BTreeSet<_> = alerts.iter().map(|name| name.to_lowercase()).collect();
    for link in links.captures_iter(&page) {
        assert!(anchors.contains(&link[1]), "#{} is no section", &link[1]);
    }
}
