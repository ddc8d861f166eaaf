//! User-space instructions of the Envoy process, by the processor's own counter (`perf stat`) where the machine has one,
//! else by callgrind.

use std::fs;
use std::process::{Command, Stdio};

use local_envoy::{Envoy, Folder};

use super::load::Client;

/// One round of load.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Of all threads of Envoy, per request.
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Per request, in user space; `None` where there is no counter.
    pub(crate) instructions: Option<f64>,
}

const EVENT: &str = "instructions:u";

/// Whether the processor counts, and lets us read it.
pub(crate) fn has_perf() -> bool {
    let output = Command::new("perf").args(["stat", "-x,", "-e", EVENT, "true"]).output();
    output.is_ok_and(|it| it.status.success() && read_perf(&String::from_utf8_lossy(&it.stderr)).is_some())
}

/// What counts instructions of this process while the command that follows runs, into this file.
pub(crate) fn perf_launcher(pid: u32, file: &str) -> Vec<String> {
    let pid = pid.to_string();
    ["perf", "stat", "-x,", "-e", EVENT, "-o", file, "-p", &pid, "--"].map(str::to_owned).into()
}

/// `12345,,instructions:u,…`; `<not supported>` where the number would be.
pub(crate) fn read_perf(text: &str) -> Option<f64> {
    text.lines().find(|line| line.contains(EVENT))?.split(',').next()?.parse().ok()
}

/// Requests of one count.
const BATCH: usize = 100;
/// Counts that must agree before one is taken.
const AGREEING: usize = 3;
/// How well, relative to their median.
const TOLERANCE: f64 = 0.005;
const MOST_BATCHES: usize = 12;

/// An Envoy under valgrind's callgrind. It counts what the process runs in user space, V8's code included; it counts
/// nothing until it is told to, so that Envoy starts in seconds.
pub(crate) struct Callgrind {
    folder: Folder,
}

impl Callgrind {
    pub(crate) fn is_there() -> bool {
        Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok_and(|it| it.success())
    }

    pub(crate) fn new() -> Self {
        Self { folder: Folder::new() }
    }

    pub(crate) fn launcher(&self) -> Vec<String> {
        let folder = self.folder.0.display();
        vec![
            "valgrind".to_owned(),
            "--tool=callgrind".to_owned(),
            // V8 writes the code that it runs.
            "--smc-check=all-non-file".to_owned(),
            "--instr-atstart=no".to_owned(),
            format!("--vgdb-prefix={folder}/vgdb"),
            format!("--callgrind-out-file={folder}/out"),
        ]
    }

    /// Instructions per request, and the relative spread of the counts it is the median of. Warm: V8 has compiled what
    /// is hot, and counts agree.
    pub(crate) fn count(
        &self,
        envoy: &Envoy,
        client: &mut Client,
        lines: &[String],
        status: u16,
        is_quick: bool,
    ) -> (f64, f64) {
        let batch = if is_quick { BATCH / 2 } else { BATCH };
        client.warm_up(lines, status);
        self.tell(envoy, &["instrumentation", "on"]);
        let mut turns = lines.iter().cycle();
        client.ask_all(turns.by_ref().take(batch), status);
        self.dump(envoy);
        let mut counts = Vec::new();
        let result = loop {
            client.ask_all(turns.by_ref().take(batch), status);
            counts.push(self.dump(envoy) as f64 / batch as f64);
            let mut last = counts[counts.len().saturating_sub(AGREEING)..].to_vec();
            last.sort_by(f64::total_cmp);
            let median = last[last.len() / 2];
            let spread = (last[last.len() - 1] - last[0]) / median;
            if last.len() == AGREEING && spread <= TOLERANCE || counts.len() == MOST_BATCHES {
                break (median, spread);
            }
        };
        self.tell(envoy, &["instrumentation", "off"]);
        result
    }

    /// The count since the last one.
    fn dump(&self, envoy: &Envoy) -> u64 {
        self.tell(envoy, &["dump"]);
        let mut total = None;
        for file in fs::read_dir(&self.folder.0).expect("a folder").flatten() {
            if file.file_name().to_string_lossy().starts_with("out.") {
                let text = fs::read_to_string(file.path()).expect("a count");
                let line = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("totals");
                total = Some(total.unwrap_or_default() + line.trim().parse::<u64>().expect("a number"));
                fs::remove_file(file.path()).expect("a file of ours");
            }
        }
        total.expect("callgrind wrote its count")
    }

    fn tell(&self, envoy: &Envoy, words: &[&str]) {
        let output = Command::new("vgdb")
            .arg(format!("--pid={}", envoy.pid()))
            .arg(format!("--vgdb-prefix={}/vgdb", self.folder.0.display()))
            .args(words)
            .output()
            .expect("vgdb comes with valgrind");
        assert!(output.status.success(), "callgrind does not listen: {output:?}");
    }
}
