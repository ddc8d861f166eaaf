//! `compare`: a summary of shadow mode, from access logs or from the metric.
//!
//! Owns: the options, how lines are read, the summary, and when there is too much disagreement. The words of results are the
//! filter's. Must not: show anything of a request but its reference number.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;

use authentik_proxy_wasm::authn::shadow::Finding;
use clap::Args;
use serde_json::Value;

use crate::{Outcome, output};

/// Most reference numbers that are shown for a reason.
const MAX_EXAMPLES: usize = 5;
/// How a line of a scrape begins that counts.
const METRIC: &str = "authentik_proxy_shadow_total{";

/// Options of `compare`.
#[derive(Args)]
pub(crate) struct Options {
    /// Access logs with one JSON object a line, or scrapes of /stats/prometheus; - for standard input
    #[arg(required = true, value_name = "FILE|-")]
    files: Vec<String>,
    /// Most disagreement in per cent of the compared requests; beyond it the exit code is 1
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_disagreement: Option<f64>,
}

pub(crate) const HELP: &str = "\
An access log has the fields of the JSON format in envoy.yaml: shadow, reason and id are read. A scrape has the whole count
since Envoy started; log and scrape are never added up, so give the one or the other.

Agreement is that of compared requests: agree, would_deny, would_allow, other_identity. What could not be compared is listed
below. A judgement that waits for authentik may come after the request's line in the access log: such a line has no result,
and the scrape has it.

Examples:
  authentik-proxy-wasm compare access.log
  authentik-proxy-wasm compare --max-disagreement 0.1 access.log access.log.1
  curl -s http://127.0.0.1:9901/stats/prometheus | authentik-proxy-wasm compare -

Exit codes: 0 compared; 1 more disagreement than --max-disagreement, or a request that passed no gate; 2 nothing to compare.";

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("must be a number from 0 to 100".to_owned()),
    }
}

pub(crate) fn run(options: &Options) -> Outcome {
    let mut counts = Counts::default();
    for file in &options.files {
        let text = match read(file) {
            Ok(text) => text,
            Err(error) => {
                output::complain(&format!("{file}: {error}"));
                return Outcome::CannotRun;
            }
        };
        text.lines().for_each(|line| counts.add(line));
    }
    if counts.is_from_log() && counts.is_from_scrape {
        output::complain("an access log and a scrape count the same requests: give the one or the other");
        return Outcome::CannotRun;
    }
    if counts.total() == 0 {
        output::complain(
            "no result of shadow mode was found: the log needs the field \"shadow\" of envoy.yaml",
        );
        return Outcome::CannotRun;
    }
    let is_too_much = options.max_disagreement.is_some_and(|most| {
        counts.disagreement() > most || counts.of(Finding::NoGate) > 0 || counts.compared() == 0
    });
    output::print(&counts.summary(), if is_too_much { Outcome::Faults } else { Outcome::Good })
}

fn read(file: &str) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if file == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes)?;
    } else {
        bytes = fs::read(file)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What was found of one result for one reason of the filter.
#[derive(Default)]
struct Reason {
    count: u64,
    examples: Vec<String>,
}

#[derive(Default)]
struct Counts {
    found: BTreeMap<&'static str, BTreeMap<String, Reason>>,
    /// Lines of the log without a result.
    unknown: u64,
    is_from_scrape: bool,
}

impl Counts {
    fn add(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix(METRIC) {
            self.add_series(rest);
        } else if line.trim_start().starts_with('{')
            && let Ok(entry) = serde_json::from_str::<Value>(line)
        {
            self.add_entry(&entry);
        }
    }

    /// `authentik_provider="demo",authentik_result="agree"} 7`
    fn add_series(&mut self, series: &str) {
        self.is_from_scrape = true;
        let Some((labels, value)) = series.rsplit_once("} ") else { return };
        let label = labels.split("authentik_result=\"").nth(1).and_then(|rest| rest.split('"').next());
        let value = value.split(' ').next().and_then(|count| count.parse().ok());
        if let (Some(finding), Some(count @ 1..)) = (label.and_then(finding), value) {
            let reason = self.found.entry(finding.as_str()).or_default().entry(String::new()).or_default();
            reason.count = reason.count.saturating_add(count);
        }
    }

    fn add_entry(&mut self, entry: &Value) {
        let field = |name: &str| entry[name].as_str().filter(|value| *value != "-");
        let Some(finding) = field("shadow").and_then(finding) else {
            // Without the field this is no log of shadow mode.
            self.unknown = self.unknown.saturating_add(u64::from(entry.get("shadow").is_some()));
            return;
        };
        let reasons = self.found.entry(finding.as_str()).or_default();
        let reason = reasons.entry(field("reason").unwrap_or_default().to_owned()).or_default();
        reason.count = reason.count.saturating_add(1);
        if let Some(id) = field("id")
            && reason.examples.len() < MAX_EXAMPLES
        {
            // The client may have chosen it.
            let plain = id.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-');
            reason.examples.push(plain.take(64).collect());
        }
    }

    fn of(&self, finding: Finding) -> u64 {
        let reasons = self.found.get(finding.as_str()).into_iter().flat_map(BTreeMap::values);
        reasons.map(|reason| reason.count).fold(0, u64::saturating_add)
    }

    fn sum(&self, is_wanted: impl Fn(Finding) -> bool) -> u64 {
        let wanted = Finding::ALL.into_iter().filter(|finding| is_wanted(*finding));
        wanted.map(|finding| self.of(finding)).fold(0, u64::saturating_add)
    }

    fn is_from_log(&self) -> bool {
        self.unknown > 0
            || self.found.values().flat_map(BTreeMap::values).any(|reason| !reason.examples.is_empty())
    }

    fn total(&self) -> u64 {
        self.sum(|_| true).saturating_add(self.unknown)
    }

    fn compared(&self) -> u64 {
        self.sum(|finding| finding == Finding::Agree || finding.is_disagreement())
    }

    /// In per cent of the compared requests.
    fn disagreement(&self) -> f64 {
        share(self.sum(Finding::is_disagreement), self.compared())
    }

    fn summary(&self) -> String {
        let (total, compared) = (self.total(), self.compared());
        let agreement = share(self.of(Finding::Agree), compared);
        let mut lines = vec![
            format!("{:<18} {total:>9}", "requests"),
            format!("{:<18} {compared:>9}  {:.2} % of the requests", "compared", share(compared, total)),
            format!(
                "{:<18} {:>9}  {agreement:.2} % of the compared requests",
                "agree",
                self.of(Finding::Agree)
            ),
        ];
        for finding in Finding::ALL.into_iter().filter(|finding| finding.is_disagreement()) {
            self.list(finding, &mut lines);
        }
        lines.push("not compared:".to_owned());
        let is_other = |finding: &Finding| *finding != Finding::Agree && !finding.is_disagreement();
        for finding in Finding::ALL.into_iter().filter(is_other) {
            self.list(finding, &mut lines);
        }
        if !self.is_from_scrape {
            lines.push(format!(
                "{:<18} {:>9}  judged after the line was written",
                "  no result yet", self.unknown
            ));
        }
        lines.join("\n") + "\n"
    }

    fn list(&self, finding: Finding, lines: &mut Vec<String>) {
        lines.push(format!("{:<18} {:>9}", format!("  {}", finding.as_str()), self.of(finding)));
        for (reason, Reason { count, examples }) in self.found.get(finding.as_str()).into_iter().flatten() {
            let reason = if reason.is_empty() { "not judged" } else { reason };
            if !examples.is_empty() {
                lines.push(format!("    {reason}: {count}, such as {}", examples.join(" ")));
            }
        }
    }
}

fn finding(word: &str) -> Option<Finding> {
    Finding::ALL.into_iter().find(|finding| finding.as_str() == word)
}

/// In per cent; of nothing it is 0.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a share for readers")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
