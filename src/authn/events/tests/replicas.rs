//! Many Envoys beside each other, for a quarter of an hour: how often they ask authentik for events, and whether they do so together.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::*;
use crate::authn::env::{Host, Shared};

const ENVOYS: usize = 100;
const INTERVAL: u64 = 15;
const SECONDS: u64 = 900;

/// One Envoy: what its workers share, and random bytes that no other Envoy has, but each run of the test.
struct Envoy {
    number: usize,
    drawn: Cell<u64>,
    memory: Memory,
}

impl Host for Envoy {
    fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
    fn shared(&self, name: &str) -> Option<Shared> {
        self.memory.shared(name)
    }
    fn share(&self, name: &str, value: &[u8]) {
        self.memory.share(name, value);
    }
    fn share_if(&self, name: &str, value: &[u8], version: u32) -> bool {
        self.memory.share_if(name, value, version)
    }
    fn random(&self, bytes: &mut [u8]) -> bool {
        for byte in bytes {
            let mut hasher = DefaultHasher::new();
            (self.number, self.drawn.replace(self.drawn.get() + 1)).hash(&mut hasher);
            *byte = hasher.finish().to_be_bytes()[0];
        }
        true
    }
    fn source_address(&self) -> Option<String> {
        None
    }
}

/// The seconds in which an Envoy with so many workers begins to read the log.
fn readings(number: usize, workers: usize) -> Vec<u64> {
    let envoy = Envoy { number, drawn: Cell::new(0), memory: Memory::default() };
    let mut logs: Vec<_> = (0..workers).map(|_| worker(&envoy.memory).log).collect();
    let answer = page(&[logout(1, 0, "alice")]);
    let mut found = Vec::new();
    for second in 0..SECONDS {
        // Saves time: the log is young.
        if found.last().is_some_and(|last| second < last + INTERVAL - 2) {
            continue;
        }
        let env = Env { now: at(second), host: &envoy };
        for log in &mut logs {
            if log.tick(&env).is_some() {
                found.push(second);
                let mut calls = 1;
                while log.answered(&env, &answer).is_some() {
                    calls += 1;
                }
                // The first reading has its proof.
                assert_eq!(calls, if found.len() == 1 { 2 } else { 1 });
            }
        }
    }
    found
}

/// They all start in the same second, as after a change of the configuration of all.
#[test]
fn hundred_envoys_read_the_log_at_most_once_an_interval_and_not_in_the_same_second() {
    for workers in [1, 4] {
        let mut in_second = BTreeMap::<u64, usize>::new();
        for number in 0..ENVOYS {
            let readings = readings(number, workers);
            let pauses: Vec<_> = readings.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let longest = INTERVAL + INTERVAL / 10;
            assert!(pauses.iter().all(|pause| (INTERVAL..=longest).contains(pause)), "{pauses:?}");
            for second in readings {
                *in_second.entry(second).or_default() += 1;
            }
        }
        let most = in_second.range(300..SECONDS).map(|(_, count)| *count).max();
        println!("{workers} workers: at most {most:?} Envoys in one second after five minutes");
        assert_eq!(in_second.get(&0), Some(&ENVOYS), "all read at the start");
        assert!(most.is_some_and(|most| most <= ENVOYS / 3), "{workers}: {in_second:?}");
    }
}
