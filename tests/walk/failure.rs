//! What is said of a walk that fails: fewer steps that fail too, and how to run them again.
//!
//! A step is made of one number and of what there is when it comes, so most lists of steps fail in fewer than were walked.

use std::fmt::Write as _;

use super::run::Walk;

/// Walks that may be tried to find a shorter one.
const TRIES: usize = 400;

/// A walk that failed.
pub(super) struct Failure {
    pub(super) seed: u64,
    /// The last one is where it failed; the end of the walk, if there is none.
    pub(super) steps: Vec<u32>,
    pub(super) what: String,
    pub(super) story: Vec<String>,
}

/// Walks these steps.
pub(super) fn walk(seed: u64, steps: impl IntoIterator<Item = u32>) -> Result<Walk, Failure> {
    walk_until(seed, steps, |_| false)
}

/// Walks these steps, until it is enough.
pub(super) fn walk_until(
    seed: u64,
    steps: impl IntoIterator<Item = u32>,
    is_enough: impl Fn(&Walk) -> bool,
) -> Result<Walk, Failure> {
    let mut taken = Vec::new();
    let failed = |walk: Option<Walk>, steps: Vec<u32>, what| {
        Err(Failure { seed, steps, what, story: walk.map(|walk| walk.story).unwrap_or_default() })
    };
    let mut walk = match Walk::begin(seed) {
        Ok(walk) => walk,
        Err(what) => return failed(None, taken, what),
    };
    for step in steps {
        taken.push(step);
        if let Err(what) = walk.step(step) {
            return failed(Some(walk), taken, what);
        }
        if is_enough(&walk) {
            break;
        }
    }
    match walk.end() {
        Ok(()) => Ok(walk),
        Err(what) => failed(Some(walk), taken, what),
    }
}

impl Failure {
    /// The same failure, or another, in as few steps as are found: leaves out half of them, a quarter, and so on.
    pub(super) fn shortened(self) -> Self {
        let (mut shortest, mut tries, mut length) = (self, 0, usize::MAX);
        while length > 1 {
            length = length.min(shortest.steps.len()).div_ceil(2);
            let mut from = 0;
            while from < shortest.steps.len() && tries < TRIES {
                let until = (from + length).min(shortest.steps.len());
                let fewer = [&shortest.steps[..from], &shortest.steps[until..]].concat();
                tries += 1;
                match walk(shortest.seed, fewer) {
                    Err(failure) => shortest = failure,
                    Ok(_) => from = until,
                }
            }
        }
        shortest
    }

    pub(super) fn report(&self) -> String {
        let mut report = String::new();
        for line in &self.story {
            let _ = writeln!(report, "{line}");
        }
        let steps: Vec<_> = self.steps.iter().map(|step| format!("{step:x}")).collect();
        let _ = writeln!(report, "\n{}", self.what);
        let _ = writeln!(
            report,
            "to walk these {} steps again:\n  WALK_SEED={} WALK_STEPS={} cargo test --locked --test integration -- \
             --nocapture walk::random_walk_agrees_with_the_truth_table",
            steps.len(),
            self.seed,
            steps.join(","),
        );
        report
    }
}
