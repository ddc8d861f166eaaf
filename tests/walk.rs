//! The random walk: requests of every kind to two workers of the built module, with authentik's answers in any order, its
//! failures and changes of mind, and the time that passes; all of it drawn, each request judged by the truth table.
//!
//! Owns: how many walks, how long, and what they must come by. The judge is an oracle that is written from the contract and
//! uses nothing of the filter.
//!
//! A walk that fails is shortened, told line by line, and says how to run it again: `WALK_SEED`, `WALK_STEPS`.

mod application;
mod authentik;
mod calls;
mod credentials;
mod failure;
mod history;
mod judge;
mod oracle;
mod requests;
mod responses;
mod run;
mod sessions;
mod site;
mod steps;
mod truth_table;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

use self::failure::Failure;
use self::run::{OCCASIONS, Tally, Walk};
use self::truth_table::ROWS;

/// Another one, other walks.
const SEED: u64 = 2_027_011_500;
/// Each walk has settings of its own.
const WALKS: u64 = 20;
const REQUESTS: usize = 400;

#[test]
fn random_walk_agrees_with_the_truth_table() {
    if let (Some(seed), Some(steps)) = (setting("WALK_SEED"), setting("WALK_STEPS")) {
        let steps = steps.split(',').map(|step| u32::from_str_radix(step, 16).expect("a hexadecimal number"));
        return drop(finished(failure::walk(seed.parse().expect("WALK_SEED is a number"), steps)));
    }
    let mut tally = Tally::default();
    for seed in SEED..SEED + WALKS {
        tally.add(&finished(walk(seed)));
    }
    assert!(tally.requests >= 5_000, "{}", tally.requests);
    assert!(tally.most_waiting >= 8, "{} requests wait at one time", tally.most_waiting);
    let missed: Vec<_> = ROWS.iter().filter(|row| !tally.rows.contains_key(*row)).collect();
    assert!(missed.is_empty(), "no request came to the rows {missed:?}: {:#?}", tally.rows);
    let missed: Vec<_> = OCCASIONS.iter().filter(|it| !tally.occasions.contains_key(*it)).collect();
    assert!(missed.is_empty(), "it never happened: {missed:?}: {:#?}", tally.occasions);
}

#[test]
#[ignore = "two minutes: make soak"]
fn long_random_walk_agrees_with_the_truth_table() {
    let number = |name: &str| setting(name).map(|it| it.parse::<u64>().expect("a number"));
    let seconds = Duration::from_secs(number("WALK_SECONDS").unwrap_or(120));
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let first = number("WALK_SEED").unwrap_or(clock);
    println!("the first seed is {first}");
    let (begun, mut tally, mut walks) = (Instant::now(), Tally::default(), 0);
    while begun.elapsed() < seconds {
        tally.add(&finished(walk(first.wrapping_add(walks))));
        walks += 1;
    }
    for (name, count) in tally.rows.iter().chain(&tally.occasions) {
        println!("{count:>8} {name}");
    }
    println!("walk passed: {walks} walks, {} requests, 0 wrong decisions", tally.requests);
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A walk of [`REQUESTS`].
fn walk(seed: u64) -> Result<Walk, Failure> {
    let mut numbers = StdRng::seed_from_u64(seed);
    let steps = core::iter::repeat_with(move || numbers.next_u32());
    failure::walk_until(seed, steps, |walk| walk.tally.requests >= REQUESTS)
}

fn finished(walked: Result<Walk, Failure>) -> Tally {
    match walked {
        Ok(walk) => walk.tally,
        Err(failure) => panic!("{}", failure.shortened().report()),
    }
}
