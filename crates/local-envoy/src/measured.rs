//! Where and when something was measured, for the head of a table. Owns nothing but the words.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use crate::{envoy, module};

/// With `-dirty` where the tree is not the commit's.
pub fn commit() -> String {
    output("git", &["describe", "--always", "--dirty", "--abbrev=10"])
}

/// The day, UTC.
pub fn today() -> String {
    output("date", &["-u", "+%F"])
}

/// `envoy  version: <commit>/1.40.0/…` becomes `Envoy 1.40.0`.
pub fn envoy_version() -> String {
    let binary = envoy::binary().expect("it has run").display().to_string();
    let text = output(&binary, &["--version"]);
    let version = text.rsplit(": ").next().and_then(|it| it.split('/').nth(1));
    format!("Envoy {}", version.unwrap_or("of unknown version"))
}

/// Cores and model of the processor.
pub fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(" of unknown model");
    let cores = available_parallelism().map_or(0, usize::from);
    format!("{cores} cores of {}", model.trim_start_matches([' ', '\t', ':']))
}

fn output(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).current_dir(module::root()).output();
    output.map_or("unknown".to_owned(), |it| String::from_utf8_lossy(&it.stdout).trim().to_owned())
}
