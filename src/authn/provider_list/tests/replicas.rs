//! Many Envoys beside each other, for an hour: how often they ask authentik for the list, and whether they do so together.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use std::collections::BTreeMap;

use super::*;

const ENVOYS: usize = 100;
const INTERVAL: u64 = 60;
const SECONDS: u64 = 3600;

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

/// The seconds in which an Envoy with so many workers reads the list. To save time, nobody looks while the list is young.
fn readings(number: usize, workers: usize) -> Vec<u64> {
    let envoy = Envoy { number, drawn: Cell::new(0), memory: Memory::default() };
    let mut lists: Vec<_> = (0..workers).map(|_| worker(&envoy.memory, json!({})).list).collect();
    let mut found = Vec::new();
    for second in 0..SECONDS {
        if found.last().is_some_and(|last| second < last + INTERVAL - 5) {
            continue;
        }
        let env = Env { now: at(second), host: &envoy };
        for list in &mut lists {
            if list.tick(&env).is_some() {
                found.push(second);
                assert!(list.answered(&env, &providers(&[1, 2])).is_none());
            }
        }
    }
    found
}

/// They all start in the same second, as after a change of the configuration of all.
#[test]
fn hundred_envoys_read_the_list_at_most_once_an_interval_and_not_in_the_same_second() {
    for workers in [1, 4] {
        let mut in_second = BTreeMap::<u64, usize>::new();
        for number in 0..ENVOYS {
            let readings = readings(number, workers);
            let pauses: Vec<_> = readings.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let longest = INTERVAL + INTERVAL / 10;
            assert!(pauses.iter().all(|pause| (INTERVAL..=longest).contains(pause)), "{pauses:?}");
            assert!(
                (SECONDS / longest..=SECONDS / INTERVAL).contains(&u64::try_from(readings.len()).unwrap())
            );
            for second in readings {
                *in_second.entry(second).or_default() += 1;
            }
        }
        let most = |from: u64, to: u64| in_second.range(from..to).map(|(_, count)| *count).max();
        println!(
            "{workers} workers: at most {:?} Envoys in one second after ten minutes",
            most(600, SECONDS)
        );
        assert_eq!(most(0, 1), Some(ENVOYS), "all need it at the start");
        assert!(most(600, SECONDS).is_some_and(|most| most <= ENVOYS / 4), "{workers}: {in_second:?}");
    }
}
