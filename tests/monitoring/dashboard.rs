//! `deploy/grafana/authentik-proxy.json`, and what dashboard, rules and runbook call things: each expression is PromQL, each
//! metric is in a recorded scrape, and each value of a label is a word of the filter.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use local_envoy::Folder;
use regex_lite::Regex;
use serde_json::{Value, json};

use super::promql::{metrics, patterns, selected};
use super::{program, rules, run, text};

const DASHBOARD: &str = "deploy/grafana/authentik-proxy.json";
/// Recorded from this filter in Envoy, by [`super::live`].
pub(super) const SCRAPE: &str = "tests/data/metrics/scrape.txt";
/// Recorded from this filter in shadow mode, by `envoy::shadow`.
const SHADOW: &str = "tests/data/metrics/shadow.txt";
/// What Istio showed.
const ISTIO: &str = "tests/data/metrics/istio.txt";
/// Where the words of labels are.
const WORDS: [&str; 4] = [
    include_str!("../../src/authn/report.rs"),
    include_str!("../../src/authn/shadow.rs"),
    include_str!("../../src/authn/verdict.rs"),
    include_str!("../../src/authn/authentik/call.rs"),
];

/// What Grafana puts into an expression before it asks, with the values of "All" and of a range.
const VARIABLES: [(&str, &str); 3] = [("$__rate_interval", "5m"), ("$provider", ".*"), ("$job", ".*")];

/// One query of a panel, as Grafana asks it.
pub(super) struct Query {
    /// `Panel: A`
    pub(super) name: String,
    /// The row that the panel is in.
    pub(super) row: String,
    pub(super) expression: String,
}

/// All queries of the dashboard.
pub(super) fn queries() -> Vec<Query> {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    let (mut row, mut queries) = (String::new(), Vec::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        if panel["type"] == "row" {
            title.clone_into(&mut row);
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let mut expression = target["expr"].as_str().unwrap().to_owned();
            for (variable, value) in VARIABLES {
                expression = expression.replace(variable, value);
            }
            assert!(!expression.contains('$'), "{title}: {expression}");
            let name = format!("{title}: {}", target["refId"].as_str().unwrap());
            queries.push(Query { name, row: row.clone(), expression });
        }
    }
    assert!(queries.len() > 20, "{}", queries.len());
    queries
}

#[test]
fn every_query_of_the_dashboard_is_promql() {
    let Some(promtool) = program("promtool") else { return };
    // promtool 2.42 reads an expression as a part of a rule only.
    let rules: Vec<_> = (1..)
        .zip(queries())
        .map(|(number, query)| json!({"record": format!("query_{number}"), "expr": query.expression}))
        .collect();
    let folder = Folder::new();
    let file = folder.0.join("rules.yaml");
    let count = rules.len();
    fs::write(&file, json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).unwrap();
    let said = run(Command::new(promtool).args(["check", "rules"]).arg(&file));
    assert!(said.contains(&format!("SUCCESS: {count} rules found")), "{said}");
}

/// Expressions of dashboard and rules, with who has them.
fn expressions() -> Vec<(String, String)> {
    let of_dashboard = queries().into_iter().map(|query| (query.name, query.expression));
    let of_rules = rules::rules().into_iter().map(|rule| {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap().to_owned();
        (name, rule["expr"].as_str().unwrap().to_owned())
    });
    of_dashboard.chain(of_rules).collect()
}

#[test]
fn every_metric_of_dashboard_and_rules_is_in_a_recorded_scrape() {
    let mut known: BTreeSet<String> = [SCRAPE, SHADOW, ISTIO]
        .into_iter()
        .flat_map(|path| text(path).lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned()))
        .collect();
    known.extend(rules::rules().iter().filter_map(|rule| Some(rule["record"].as_str()?.to_owned())));
    for (name, expression) in expressions() {
        let (metrics, patterns) = (metrics(&expression), patterns(&expression));
        assert!(!metrics.is_empty() || !patterns.is_empty(), "{name}: {expression}");
        for pattern in patterns {
            assert!(
                known.iter().any(|metric| pattern.is_match(metric)),
                "{name}: {pattern} is in no recorded scrape"
            );
        }
        for metric in metrics {
            assert!(known.contains(&metric), "{name}: {metric} is in no recorded scrape");
        }
    }
}

#[test]
fn every_label_of_the_filter_has_a_value_that_the_filter_gives() {
    let word = Regex::new(r#"=> "([a-z_]+)""#).unwrap();
    let found = WORDS.iter().flat_map(|file| word.captures_iter(file));
    let words: BTreeSet<_> =
        found.map(|found| found[1].trim_start_matches("authentik_").to_owned()).collect();
    let mut count = 0;
    for (name, expression) in expressions() {
        for (label, value) in selected(&expression) {
            // ".*" stands for a variable of the dashboard.
            if label.starts_with("authentik_") && value != ".*" {
                assert!(words.contains(&value), "{name}: {label} is never {value}");
                count += 1;
            }
        }
    }
    assert!(count > 15, "{count}");
}

#[test]
fn every_panel_has_a_place_of_its_own_and_says_what_it_shows() {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title}: wider than the page");
        for (x, y) in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert((x, y)), "{title}: covers another at {x}, {y}");
        }
        if panel["type"] != "row" {
            assert!(panel["description"].as_str().is_some_and(|it| it.len() > 10), "{title}: no description");
        }
    }
}
