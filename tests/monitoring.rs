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
use std::process::{Command, Output};
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
