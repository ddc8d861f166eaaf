//! What operators watch: the alerts, the dashboard and the runbook. Each expression is read by Debian's promtool, each
//! alert has its unit tests, and the names of metrics and labels are those of a recorded scrape. [`live`] asks a real
//! Prometheus beside a real Envoy.
//!
//! Without promtool these tests are skipped, and say so; where continuous integration runs there must be one.

mod dashboard;
mod live;
mod promql;
mod rules;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Once;

use local_envoy::module::root;
use local_prometheus::MISSING;

/// The path of `promtool` or `prometheus`; `None`, and a loud line, where there is none.
fn program(name: &str) -> Option<PathBuf> {
    let found = local_prometheus::program(name);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{MISSING}");
        static SAID: Once = Once::new();
        // Not `eprintln!`: the harness would keep it to itself.
        SAID.call_once(|| drop(writeln!(std::io::stderr(), "SKIPPED: monitoring: {MISSING}")));
    }
    found
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs promtool; panics with its words if it finds a fault.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("promtool runs");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}:\n{said}");
    said
}

/// Envoy gives no help text, and the unit of the histogram is Envoy's own: both are known.
#[test]
fn promtool_finds_no_other_fault_in_a_scrape() {
    let Some(promtool) = program("promtool") else { return };
    let scrape = text("tests/data/metrics/scrape.txt");
    let own: Vec<_> = scrape.lines().filter(|line| line.contains("authentik_proxy_")).collect();
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut input = child.stdin.take().expect("its input");
    input.write_all((own.join("\n") + "\n").as_bytes()).expect("it reads");
    drop(input);
    let said = String::from_utf8(child.wait_with_output().expect("it ends").stderr).expect("UTF-8");
    let faults: Vec<_> = said.lines().collect();
    assert!(
        faults.iter().any(|line| line.starts_with("authentik_proxy_requests_total ")),
        "it read them: {said}"
    );
    for fault in faults {
        let (name, what) = fault.split_once(' ').expect("a name");
        let is_unit = name == "authentik_proxy_authentik_call_milliseconds"
            && what == "use base unit \"seconds\" instead of \"milliseconds\"";
        assert!(what == "no help text" || is_unit, "{fault}");
    }
}
