//! The fuzz targets (`crates/fuzz-targets`) on stable Rust: what was seeded and what was once found, as it is, and the seeds
//! changed at random, a bounded number of times. `make fuzz` searches for longer.
//!
//! Owns: the replay and the mutations. Must not: judge; the targets do.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzz_targets::Seen;
use local_envoy::module::root;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Another seed, other mutations; one that fails is printed, with the input.
const SEED: u64 = 20_261_123;
/// As many as keep the whole of it at some ten seconds, without optimisation.
const MUTATIONS: usize = 1_500;
/// A mutated input is no longer than that.
const MAX_BYTES: usize = 24 * 1024;

const WORDS: &str = include_str!("../fuzz/words.dict");

macro_rules! targets {
    ($($name:ident)*) => {
        const TARGETS: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                exercise(stringify!($name), fuzz_targets::$name::run, fuzz_targets::$name::MUST_SEE);
            }
        )*
    };
}

targets! { authorization cookies path jwt jwks answers cache_entry configuration logout }

#[test]
fn every_target_has_its_binary_and_its_corpus_and_the_other_way_round() {
    let expected: BTreeSet<String> = TARGETS.iter().map(|name| (*name).to_owned()).collect();
    let names = |below: &str| -> BTreeSet<String> {
        entries(&directory().join(below)).iter().map(|path| stem(path)).collect()
    };
    assert_eq!(names("corpus"), expected);
    assert_eq!(names("fuzz_targets"), expected);
    assert!(names("regressions").is_subset(&expected));
}

fn directory() -> PathBuf {
    root().join("fuzz")
}

/// What is in a directory, in the order of the names; nothing if there is none.
fn entries(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn exercise(name: &str, run: fn(&[u8]) -> Seen, must_see: &[&str]) {
    let read = |kind: &str| -> Vec<(String, Vec<u8>)> {
        let files = entries(&directory().join(kind).join(name));
        files.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
    };
    let seeds = read("corpus");
    assert!(!seeds.is_empty(), "{name} has no corpus");
    let mut seen = Seen::new();
    for (path, input) in seeds.iter().chain(&read("regressions")) {
        seen.extend(try_input(path, input, run));
    }
    let missed: Vec<_> = must_see.iter().filter(|what| !seen.contains(*what)).collect();
    assert!(missed.is_empty(), "{name}: the corpus never comes to see {missed:?}");

    let words = words();
    let mut random = StdRng::seed_from_u64(SEED);
    for number in 0..MUTATIONS {
        let input = mutated(&seeds, &words, &mut random);
        try_input(&format!("{name}: mutation {number} of seed {SEED}"), &input, run);
    }
}

/// A failure, told above, is of this input.
fn try_input(what: &str, input: &[u8], run: fn(&[u8]) -> Seen) -> Seen {
    catch_unwind(AssertUnwindSafe(|| run(input)))
        .unwrap_or_else(|_| panic!("{what} ({} bytes): b\"{}\"", input.len(), input.escape_ascii()))
}

/// libFuzzer's dictionary: a quoted word a line, with `\\`, `\"` and `\xNN`.
fn words() -> Vec<Vec<u8>> {
    let quoted = WORDS.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    let words: Vec<_> = quoted.map(unquoted).collect();
    assert!(words.len() > 40);
    words
}

fn unquoted(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'\\', [b'x', high, low, left @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(core::str::from_utf8(&digits).unwrap(), 16).unwrap());
                rest = left;
            }
            (b'\\', [escaped, left @ ..]) => {
                bytes.push(*escaped);
                rest = left;
            }
            _ => bytes.push(*byte),
        }
    }
    bytes
}

/// A seed, changed in a few places.
fn mutated(seeds: &[(String, Vec<u8>)], words: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = seeds[random.gen_range(0..seeds.len())].1.clone();
    for _ in 0..random.gen_range(1..=4) {
        let place = random.gen_range(0..=input.len());
        let end = random.gen_range(place..=input.len().min(place + 32));
        match random.gen_range(0..8) {
            0 => input.splice(place..end, []).for_each(drop),
            1 => input.splice(place..place, [random.r#gen()]).for_each(drop),
            2 => input.splice(place..end, words[random.gen_range(0..words.len())].clone()).for_each(drop),
            3 => {
                let word = words[random.gen_range(0..words.len())].clone();
                input.splice(place..place, word).for_each(drop);
            }
            4 => {
                let other = &seeds[random.gen_range(0..seeds.len())].1;
                let from = random.gen_range(0..=other.len());
                let to = random.gen_range(from..=other.len());
                input.splice(place..end, other[from..to].iter().copied()).for_each(drop);
            }
            5 => {
                let copy = input[place..end].to_vec();
                let times = random.gen_range(1..40);
                input.splice(place..place, copy.repeat(times)).for_each(drop);
            }
            6 => {
                if let Some(byte) = input.get_mut(place) {
                    *byte = random.r#gen();
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(place) {
                    *byte ^= 1 << random.gen_range(0..8);
                }
            }
        }
    }
    input.truncate(MAX_BYTES);
    input
}
