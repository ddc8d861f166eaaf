//! A user whom the filter knows, and how long he waits for his answers.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use fake_authentik::ALICE;

use super::super::place::Place;
use super::super::wire::{Answer, Connection, basic};
use super::INTERCEPTED;

/// A user whose credential the filter remembers. Nothing but the filter and Envoy is between him and his answers.
pub(super) struct KnownUser {
    connection: Connection,
}

impl KnownUser {
    pub(super) fn new(place: &Place) -> Self {
        Self { connection: Connection::open(place.envoy.port()) }
    }

    pub(super) fn ask(&mut self) -> Answer {
        let authorization = basic("alice", ALICE);
        self.connection.get_target(INTERCEPTED, "/direct", &[("authorization", &authorization)])
    }

    /// Asks, one request after the other, from before the work begins until after it is done.
    pub(super) fn asks_while<T>(mut self, work: impl FnOnce() -> T) -> (T, Waits) {
        let (is_asking, is_done) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut waits = Waits::default();
                loop {
                    let is_last = is_done.load(Ordering::Acquire);
                    let start = Instant::now();
                    let answer = self.ask();
                    waits.slowest = waits.slowest.max(start.elapsed());
                    waits.statuses.push(answer.status);
                    is_asking.store(true, Ordering::Release);
                    if is_last {
                        return waits;
                    }
                    sleep(Duration::from_millis(1));
                }
            });
            while !is_asking.load(Ordering::Acquire) && !asking.is_finished() {
                sleep(Duration::from_millis(1));
            }
            let done = work();
            is_done.store(true, Ordering::Release);
            (done, asking.join().expect("a known user gets every answer"))
        })
    }
}

/// How long somebody waited for his answers.
#[derive(Default)]
pub(super) struct Waits {
    pub(super) slowest: Duration,
    statuses: Vec<u16>,
}

impl Waits {
    /// Of requests that did not get what they should.
    pub(super) fn wrong(&self) -> Vec<u16> {
        self.statuses.iter().copied().filter(|status| *status != 200).collect()
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} at most in {} requests", self.slowest, self.statuses.len())
    }
}
