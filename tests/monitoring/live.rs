//! A real Prometheus beside a real Envoy: every query of the dashboard, and every rule, is answered from a run of the soak. An
//! Envoy without the filter is beside it, and missed; another one has its providers from authentik's list.
//!
//! `METRICS=write` replaces the recorded scrape by that of this run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fake_authentik::Authentik;
use local_envoy::module::root;
use local_envoy::{Envoy, EnvoyOptions};
use local_prometheus::{Prometheus, Target};

use super::dashboard::{SCRAPE, queries};
use super::{program, rules, text};
use crate::envoy::{outpost, soak};

const INTERVAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing listens there.
const NOBODY: &str = "127.0.0.1:1";
/// What only an Envoy has that is sent its listeners.
const OF_LISTENERS: &str = "envoy_listener_manager_lds_";
/// What only an Envoy has that reads authentik's list of providers and its event log.
const OF_THE_API: [&str; 2] = ["authentik_proxy_config_age_seconds", "authentik_proxy_events_age_seconds"];

/// Nothing here is run by Istio or in shadow mode, so these rows have no metrics.
const ROWS_WITHOUT_METRICS: [&str; 2] = ["Istio", "Shadow mode"];

/// What the recorded scrape keeps of Envoy's own metrics.
const KEPT: [&str; 5] = [
    "authentik_proxy_",
    "envoy_http_downstream_rq_total",
    "envoy_listener_manager_",
    "envoy_wasm_",
    "# TYPE authentik_proxy_",
];

#[test]
fn every_query_of_the_dashboard_is_answered_from_a_run_of_the_soak() {
    if program("prometheus").is_none() {
        return;
    }
    // Under Envoy Gateway listeners are sent to Envoy; only then it counts those that it rejects.
    let mut options = EnvoyOptions::new(NOBODY, NOBODY).without_filter();
    options.is_listener_watched = true;
    let gateway = Rc::new(Envoy::start(options));
    let authentik = Authentik::start();
    let listed = Rc::new(outpost::without_application(&authentik));
    soak::watched(|envoy| {
        let target = |job: &str, envoy: &Envoy| Target {
            job: job.to_owned(),
            authority: envoy.admin_authority().to_owned(),
        };
        let targets = [target("edge", envoy), target("gateway", &gateway), target("listed", &listed)];
        let prometheus = Prometheus::start(0, &targets, INTERVAL).expect("Prometheus starts");
        let scraped = |envoy: &Envoy| envoy.admin("/stats/prometheus").expect("a scrape");
        let listeners = scraped(&gateway);
        let (gateway, listed) = (Rc::clone(&gateway), Rc::clone(&listed));
        Box::new(move || {
            let listeners = listeners.lines().filter(|line| line.starts_with(OF_LISTENERS));
            let list = scraped(&listed);
            let list = list.lines().filter(|line| is_of_the_api(line));
            let others: String = list.chain(listeners).map(|line| format!("{line}\n")).collect();
            let scrape = scraped(envoy) + &others;
            assert!(!is_of_the_api(&scraped(envoy)), "without a token neither is read");
            if std::env::var_os("METRICS").is_some_and(|it| it == "write") {
                record(&scrape);
            }
            assert_recorded(&scrape);
            assert_answers(&prometheus);
            assert_rules(&prometheus);
            assert_the_filter_is_missed(&prometheus, &gateway);
        })
    });
}

fn is_of_the_api(text: &str) -> bool {
    OF_THE_API.iter().any(|name| text.contains(name))
}

/// Each query has samples that are numbers, those about Istio and shadow mode excepted, which are answered all the same.
fn assert_answers(prometheus: &Prometheus) {
    let mut empty = Vec::new();
    for query in queries() {
        let samples = numbers(prometheus, &query.expression).unwrap_or_else(|error| {
            panic!("{}: {error}: {}", query.name, query.expression);
        });
        if samples.is_empty() && !ROWS_WITHOUT_METRICS.contains(&query.row.as_str()) {
            empty.push(query.name);
        }
    }
    assert_eq!(empty, [""; 0], "these have no samples");
    let outcomes = labels(prometheus, "sum by (authentik_outcome) (authentik_proxy_requests_total) > 0");
    let expected = ["allowed", "denied", "login", "open", "unavailable"];
    assert_eq!(outcomes, expected.map(str::to_owned).into(), "the soak has requests of each outcome");
    let hit_rate = queries().into_iter().find(|query| query.name == "Hit rate: A").expect("a panel");
    let rates = numbers(prometheus, &hit_rate.expression).expect("an answer");
    assert!(rates.iter().all(|rate| *rate > 0.0 && *rate < 1.0), "{rates:?}");
}

fn numbers(prometheus: &Prometheus, expression: &str) -> Result<Vec<f64>, String> {
    let samples = prometheus.query(expression)?;
    let values = samples.iter().filter_map(|sample| sample["value"][1].as_str()?.parse::<f64>().ok());
    Ok(values.filter(|value| !value.is_nan()).collect())
}

fn labels(prometheus: &Prometheus, expression: &str) -> BTreeSet<String> {
    let samples = prometheus.query(expression).expect("an answer");
    let values = samples.iter().filter_map(|sample| sample["metric"].as_object()?.values().next()?.as_str());
    values.map(str::to_owned).collect()
}

/// Prometheus evaluates each rule without an error.
fn assert_rules(prometheus: &Prometheus) {
    let start = Instant::now();
    loop {
        let answer = prometheus.get("/api/v1/rules").expect("the rules");
        let groups = answer["data"]["groups"].as_array().expect("groups");
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
        let health: BTreeMap<_, _> = rules.map(|rule| (rule["name"].as_str(), &rule["health"])).collect();
        assert!(health.len() > 15, "{health:?}");
        if health.values().all(|health| **health == "ok") {
            return;
        }
        // A rule is "unknown" before it is evaluated for the first time.
        let is_failing = health.values().any(|health| **health == "err");
        assert!(!is_failing && start.elapsed() < PATIENCE, "{answer}\n{}", prometheus.log());
        sleep(INTERVAL);
    }
}

/// The alert on requests that nobody judges concerns the Envoy without the filter, and not the one with it.
fn assert_the_filter_is_missed(prometheus: &Prometheus, gateway: &Envoy) {
    let rules = rules::rules();
    let alert = rules.iter().find(|rule| rule["alert"].as_str() == Some("AuthentikProxyNobodyJudged"));
    let expression = alert.and_then(|rule| rule["expr"].as_str()).expect("the alert's expression");
    let jobs = format!("sum by (job) ({expression})");
    let start = Instant::now();
    while labels(prometheus, &jobs) != ["gateway".to_owned()].into() {
        assert!(start.elapsed() < PATIENCE, "{:?}", labels(prometheus, &jobs));
        for _ in 0..50 {
            let answer = gateway.get("/").send().expect("an answer");
            assert_eq!(answer.status().as_u16(), 403, "the seal refuses what nobody has judged");
        }
        sleep(INTERVAL);
    }
}

fn record(scrape: &str) {
    let lines = scrape.lines().filter(|line| KEPT.iter().any(|name| line.starts_with(name)));
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    let head = "# Recorded by METRICS=write from Envoy during a run of the soak: the filter's metrics, and those of Envoy's own that\n# rules and dashboard name.\n";
    fs::write(root().join(SCRAPE), format!("{head}{lines}")).expect("the scrape is written");
}

/// The recorded scrape has the metrics of the filter that this run has, with the same labels.
fn assert_recorded(scrape: &str) {
    assert_eq!(shape(scrape), shape(&text(SCRAPE)), "METRICS=write records the scrape again");
}

/// The filter's metrics with the names of their labels.
fn shape(scrape: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut shape: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in scrape.lines().filter(|line| line.starts_with("authentik_proxy_")) {
        let (name, rest) = line.split_once('{').expect("labels");
        let labels =
            rest.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|(label, _)| label.to_owned());
        shape.entry(name.to_owned()).or_default().extend(labels);
    }
    assert!(shape.len() > 8, "{shape:?}");
    shape
}
