//! Every request that was sent, what may become of it, what did, and what the application says it saw. Owns the counts
//! and the wrong decisions.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::expectation::{Aspect, Expected, Outcome, judge};
use super::users::Sighting;
use super::weather::Weather;

/// More of one kind are counted, and not shown.
const SHOWN: usize = 4;

struct Entry {
    kind: &'static str,
    /// Enough to send it again, without its secret.
    what: String,
    expected: Expected,
    born: Instant,
    begun: Instant,
    answer: Option<(Instant, Result<Outcome, String>)>,
    sightings: Vec<Sighting>,
}

#[derive(Default)]
pub(super) struct Ledger {
    last: AtomicU64,
    open: Mutex<BTreeMap<u64, Entry>>,
    counts: Mutex<BTreeMap<&'static str, BTreeMap<String, u64>>>,
    /// Kinds by what they met.
    met: Mutex<BTreeMap<&'static str, u64>>,
    wrong: Mutex<Vec<String>>,
    forwarded: AtomicU64,
    /// Kinds that should pass, and whether one of them did.
    passed: Mutex<BTreeMap<&'static str, bool>>,
    /// By kind, of the requests that met no outage.
    slowest: Mutex<BTreeMap<&'static str, Duration>>,
}

impl Ledger {
    /// A request is about to be sent: its number.
    pub(super) fn begin(&self, kind: &'static str, what: String, expected: Expected, born: Instant) -> u64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let entry =
            Entry { kind, what, expected, born, begun: Instant::now(), answer: None, sightings: Vec::new() };
        self.open.lock().unwrap().insert(number, entry);
        number
    }

    pub(super) fn answered(&self, number: u64, outcome: Result<Outcome, String>) {
        let mut open = self.open.lock().unwrap();
        open.get_mut(&number).expect("a request that was begun").answer = Some((Instant::now(), outcome));
    }

    /// What the application saw; the error is what it must not have seen.
    pub(super) fn sighted(&self, sighting: Result<Sighting, String>) {
        match sighting {
            Ok(sighting) => {
                self.forwarded.fetch_add(1, Ordering::Relaxed);
                match self.open.lock().unwrap().get_mut(&sighting.number) {
                    Some(entry) => entry.sightings.push(sighting),
                    None => self.fault(format!("the application saw request {} after all", sighting.number)),
                }
            }
            Err(reason) => self.fault(format!("the application saw what it must not: {reason}")),
        }
    }

    /// Whether a request that was sent before this is still without an answer.
    pub(super) fn awaits_answers_from_before(&self, moment: Instant) -> bool {
        self.open.lock().unwrap().values().any(|entry| entry.born <= moment && entry.answer.is_none())
    }

    /// Judges everything, when all is answered and the application has nothing more to tell.
    pub(super) fn settle(&self, weather: &Weather) {
        let entries = std::mem::take(&mut *self.open.lock().unwrap());
        for (number, entry) in entries {
            self.settle_one(number, &entry, weather);
        }
    }

    fn settle_one(&self, number: u64, entry: &Entry, weather: &Weather) {
        let Entry { kind, what, expected, born, begun, answer, sightings } = entry;
        let (ended, outcome) = match answer {
            Some((ended, outcome)) => (*ended, outcome.clone()),
            None => (Instant::now(), Err("no answer".to_owned())),
        };
        // Whoever has gone is judged at leisure.
        let answered = ended;
        let ended = if outcome == Ok(Outcome::Left) { Instant::now() } else { ended };
        let allowed = expected.allowed(|aspect| weather.met(aspect, *born, ended));
        let label = outcome.as_ref().map_or("broken".to_owned(), Outcome::to_string);
        *self.counts.lock().unwrap().entry(kind).or_default().entry(label).or_default() += 1;
        if expected.hopes_to_pass() && outcome != Ok(Outcome::Left) {
            let has_passed = outcome.as_ref().is_ok_and(Outcome::is_forwarded);
            *self.passed.lock().unwrap().entry(kind).or_default() |= has_passed;
        }
        for (aspect, name) in [
            (Aspect::Outage, "an outage"),
            (Aspect::Keys, "a key swap"),
            (Aspect::Secret, "a new client secret"),
        ] {
            if weather.met(aspect, *born, ended) {
                *self.met.lock().unwrap().entry(name).or_default() += 1;
            }
        }
        if !weather.met(Aspect::Outage, *born, ended) {
            let mut slowest = self.slowest.lock().unwrap();
            let slowest = slowest.entry(kind).or_default();
            *slowest = (*slowest).max(answered.saturating_duration_since(*begun));
        }
        let seen: Vec<_> = sightings.iter().map(|it| it.outcome.clone()).collect();
        let judged = outcome.and_then(|got| judge(&allowed, &got, &seen));
        let stranger = sightings
            .iter()
            .filter_map(|it| it.configuration.as_deref())
            .find(|it| !weather.may_have_judged(it, *born, ended));
        let reason = match (judged, stranger) {
            (Ok(()), None) => return,
            (Ok(()), Some(stranger)) => format!("judged under configuration {stranger}, which is over"),
            (Err(reason), _) => reason,
        };
        self.fault(format!("{kind}, request {number}: {what}\n    expected one of {allowed:?}; {reason}"));
    }

    /// A wrong decision, or what makes one impossible to tell.
    pub(super) fn fault(&self, reason: String) {
        self.wrong.lock().unwrap().push(reason);
    }

    /// Kinds of which none got through, though nothing was wrong with them.
    pub(super) fn never_passed(&self) -> Vec<&'static str> {
        self.passed.lock().unwrap().iter().filter(|(_, passed)| !**passed).map(|(kind, _)| *kind).collect()
    }

    pub(super) fn sent(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// What the application saw.
    pub(super) fn forwarded(&self) -> u64 {
        self.forwarded.load(Ordering::Relaxed)
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, BTreeMap<String, u64>> {
        self.counts.lock().unwrap().clone()
    }

    pub(super) fn slowest(&self) -> BTreeMap<&'static str, Duration> {
        self.slowest.lock().unwrap().clone()
    }

    pub(super) fn met(&self) -> BTreeMap<&'static str, u64> {
        self.met.lock().unwrap().clone()
    }

    /// How many, and the first of each kind.
    pub(super) fn wrong(&self) -> (usize, Vec<String>) {
        let wrong = self.wrong.lock().unwrap();
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        let mut is_shown = |reason: &str| {
            let kind = reason.split([',', ':']).next().unwrap_or(reason);
            let count = kinds.entry(kind.to_owned()).or_default();
            *count += 1;
            *count <= SHOWN
        };
        (wrong.len(), wrong.iter().filter(|reason| is_shown(reason)).cloned().collect())
    }
}
