//! `docs/threats.md` against the source: each test and each file that it names exists, and each row names a test.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use local_envoy::module::root;
use regex_lite::Regex;

const THREATS: &str = include_str!("../docs/threats.md");

/// What is in backquotes in one column of every row.
fn column(number: usize, pattern: &str) -> Vec<(&'static str, Vec<String>)> {
    let pattern = Regex::new(&format!("`({pattern})`")).unwrap();
    let rows = THREATS.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| Test |"));
    rows.map(|row| {
        let cell = row.trim_end_matches(" |").rsplit(" | ").nth(number).expect("three columns");
        (row, pattern.captures_iter(cell).map(|found| found[1].to_owned()).collect())
    })
    .collect()
}

/// The names of all integration tests, by the runner's own word.
fn integration_tests() -> BTreeSet<String> {
    let listed =
        Command::new(std::env::current_exe().unwrap()).args(["--list", "--format", "terse"]).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// `base::header::tests::a_value_cannot_be_split`: a test in the file of that module, in `tests.rs` beside it, or in a
/// file below that.
fn is_unit_test(name: &str) -> bool {
    let Some((module, test)) = name.split_once("::tests::") else { return false };
    let (below, test) = test.rsplit_once("::").unwrap_or(("", test));
    let path = module.replace("::", "/");
    let files = match below {
        "" => vec![format!("src/{path}.rs"), format!("src/{path}/tests.rs")],
        below => vec![format!("src/{path}/tests/{below}.rs")],
    };
    let sources = files.iter().filter_map(|file| fs::read_to_string(root().join(file)).ok());
    let is_there = Regex::new(&format!(r"#\[test\]\s+fn {test}\(\)")).unwrap();
    sources.into_iter().any(|source| is_there.is_match(&source))
}

/// `proxy_wasm_testkit::host::answering_twice_is_a_violation`: a test in a directory below a crate's `tests`, or, as
/// `local_envoy::envoy::tests::the_example_fails_closed`, a unit test of a crate.
fn is_crate_test(name: &str) -> bool {
    let Some((package, rest)) = name.split_once("::") else { return false };
    let Some((module, test)) = rest.rsplit_once("::") else { return false };
    let package = root().join("crates").join(package.replace('_', "-"));
    let file = match module.strip_suffix("::tests") {
        Some(module) => package.join("src").join(module.replace("::", "/")).with_extension("rs"),
        None => package.join("tests").join(module).join("main.rs"),
    };
    let is_there = Regex::new(&format!(r"#\[test\]\s+(?:#\[should_panic[^\n]*\s+)?fn {test}\(\)")).unwrap();
    fs::read_to_string(file).is_ok_and(|source| is_there.is_match(&source))
}

#[test]
fn every_attack_has_a_test_that_exists() {
    let integration = integration_tests();
    let rows = column(0, "[a-z0-9_]+(?:::[a-z0-9_]+)+");
    assert!(rows.len() > 150, "{}", rows.len());
    for (row, tests) in rows {
        assert!(!tests.is_empty() || row.ends_with("| none: time is no verdict |"), "no test: {row}");
        for test in tests {
            let is_there = integration.contains(&test) || is_unit_test(&test) || is_crate_test(&test);
            assert!(is_there, "{test} is no test: {row}");
        }
    }
}

#[test]
fn every_defence_is_in_a_file_and_a_function_that_exist() {
    let mut functions = 0;
    for (row, names) in column(1, r"[A-Za-z_/:.]+") {
        let mut source = None;
        for name in names {
            if [".rs", ".yaml", ".toml"].iter().any(|extension| name.ends_with(extension)) {
                let places = [root().join("src").join(&name), root().join(&name)];
                let found = places.iter().find_map(|place| fs::read_to_string(place).ok());
                assert!(found.is_some(), "there is no {name}: {row}");
                source = found.filter(|_| name.ends_with(".rs"));
            } else if let (Some(source), Some(function)) = (&source, name.rsplit("::").next())
                && name == function.to_lowercase()
                && !name.starts_with(':')
            {
                let is_there =
                    |before: &str| Regex::new(&format!(r"\b{before}{function}\b")).unwrap().is_match(source);
                assert!(is_there(""), "there is no {name} there: {row}");
                functions += usize::from(is_there("fn "));
            }
        }
    }
    assert!(functions > 150, "{functions}");
}
