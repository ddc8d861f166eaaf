//! What a soak found: the figures of each stage, and the table at the end.

use std::fmt::Write as _;
use std::time::Duration;

use super::ledger::Ledger;

const MEBIBYTE: u64 = 1 << 20;

/// What the memory of a warm Envoy may grow by for each worker, from the third to the last quarter of its stage. Each
/// worker fills caches of its own (`cache.local_entries`, up to 10 MiB), and the more workers there are, the fewer
/// requests each has got by then.
pub(super) const GROWTH: u64 = 6 * MEBIBYTE;

/// Shorter stages have no warm half.
const WARM: Duration = Duration::from_secs(60);

/// One Envoy, from its start to its end.
pub(super) struct Figures {
    pub(super) workers: u32,
    pub(super) time: Duration,
    pub(super) requests: u64,
    /// Resident bytes, one sample a second.
    pub(super) memory: Vec<u64>,
    pub(super) log_bytes: usize,
}

impl Figures {
    /// Median of the third quarter and of the last; `None`: too short to say.
    fn halves(&self) -> Option<(u64, u64)> {
        let quarter = self.memory.len() / 4;
        (self.time >= WARM && quarter > 0)
            .then(|| (median(&self.memory[quarter * 2..quarter * 3]), median(&self.memory[quarter * 3..])))
    }

    /// What it grew by when it was warm, and should not have. A single worker may grow by as much as two.
    pub(super) fn growth(&self) -> Result<(), String> {
        match self.halves() {
            Some((third, last)) if last > third + GROWTH * u64::from(self.workers.max(2)) => Err(format!(
                "memory grew from {} to {} KiB with {} workers",
                third / 1024,
                last / 1024,
                self.workers
            )),
            _ => Ok(()),
        }
    }
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// The table.
pub(super) fn table(
    seed: u64,
    ledger: &Ledger,
    stages: &[Figures],
    events: &[(String, u32, Duration)],
) -> String {
    let mut text =
        format!("\nseed {seed}\n\nrequests                                 sent  slowest, s  outcomes\n");
    let slowest = ledger.slowest();
    let mut all = 0;
    for (kind, outcomes) in ledger.counts() {
        let sent: u64 = outcomes.values().sum();
        all += sent;
        let slowest = slowest.get(kind).map_or(0.0, Duration::as_secs_f64);
        let outcomes: Vec<_> =
            outcomes.iter().map(|(outcome, count)| format!("{outcome}: {count}")).collect();
        let _ = writeln!(text, "  {kind:35} {sent:7}  {slowest:10.2}  {}", outcomes.join(", "));
    }
    let _ = writeln!(text, "  {:35} {all:7}              the application saw {}", "all", ledger.forwarded());
    for (what, count) in ledger.met() {
        let _ = writeln!(text, "  {:35} {count:7}", format!("of them met {what}"));
    }
    text.push_str(
        "\nevents                              count  seconds until every worker was done with it, mean\n",
    );
    for (name, count, time) in events {
        let _ =
            writeln!(text, "  {name:33} {count:5}  {:.1}", time.as_secs_f64() / f64::from((*count).max(1)));
    }
    text.push_str(
        "\nworkers  seconds  requests  resident KiB: first, third quarter, last quarter, largest; log KiB\n",
    );
    for figures in stages {
        let Figures { workers, time, requests, memory, log_bytes } = figures;
        let (first, largest) = (memory.first().unwrap_or(&0), memory.iter().max().unwrap_or(&0));
        let halves = figures.halves().map_or("too short to say".to_owned(), |(third, last)| {
            format!("{} {}", third / 1024, last / 1024)
        });
        let _ = writeln!(
            text,
            "  {workers:5}  {:7}  {requests:8}  {} {halves} {}; {}",
            time.as_secs(),
            first / 1024,
            largest / 1024,
            log_bytes / 1024
        );
        let samples: Vec<_> =
            memory.iter().step_by((memory.len() / 15).max(1)).map(|it| (it / 1024).to_string()).collect();
        let _ = writeln!(text, "         samples: {}", samples.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Figures, GROWTH};

    fn figures(memory: Vec<u64>) -> Figures {
        Figures { workers: 1, time: Duration::from_secs(100), requests: 0, memory, log_bytes: 0 }
    }

    #[test]
    fn growth_counts_when_it_is_warm() {
        let flat = [vec![1; 20], vec![1 << 30; 80]].concat();
        assert_eq!(figures(flat).growth(), Ok(()));
        let growing = (0..100).map(|second| second * GROWTH / 10).collect();
        assert!(figures(growing).growth().is_err());
    }
}
