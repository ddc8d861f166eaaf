//! The README against the source: every setting and every failure is in its tables, and nothing that does not exist.

use std::collections::BTreeSet;

use regex_lite::Regex;

const README: &str = include_str!("../README.md");
const CONFIG: &str = include_str!("../src/config.rs");
const DECISION: &str = include_str!("../src/authn/decision.rs");
const MAKEFILE: &str = include_str!("../Makefile");

fn all(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The rows of the table that has this heading.
fn table(heading: &str) -> String {
    let section = README.split(heading).nth(1).expect("the section is there");
    section
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with('|'))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_setting_is_in_the_table_and_every_row_is_a_setting() {
    let keys = all(r#"(?:object|root|oidc)\s*\.\s*\w+\(\s*"([a-z_]+)""#, CONFIG);
    let read: BTreeSet<_> = keys.union(&all(r#"let key = "([a-z_]+)";"#, CONFIG)).cloned().collect();
    let read: BTreeSet<_> =
        read.union(&all(r#"read_(?:text|base_url)\(&mut \w+, "([a-z_]+)"\)"#, CONFIG)).cloned().collect();
    assert!(read.len() > 40, "{read:?}");
    let settings = table("## Settings");
    for key in &read {
        let name = Regex::new(&format!(r"[.`]{key}[`.\[]")).unwrap();
        assert!(name.is_match(&settings), "{key} is not in the README");
    }
    for row in settings.lines().skip(2) {
        let names = all("`([^`]+)`", row.split('|').nth(1).unwrap());
        for name in names.iter().flat_map(|name| name.split('.')).filter(|name| !name.is_empty()) {
            let name = name.trim_end_matches("[]");
            assert!(read.contains(name), "{name} is in the README and no setting");
        }
    }
}

#[test]
fn every_failure_is_in_the_table_and_every_row_exists() {
    let told = all(r#""(authentik_[a-z_]+)""#, DECISION);
    let explained = all("`(authentik_[a-z_]+)`", &table("## When it does not let you in"));
    let unexplained: Vec<_> = told.difference(&explained).filter(|word| *word != "authentik_ping").collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
    assert!(explained.is_subset(&told), "{:?}", explained.difference(&told));
}

#[test]
fn every_make_target_that_is_named_exists() {
    let named = all(r"make ([a-z]+)", &[README, include_str!("../CONTRIBUTING.md")].concat());
    let targets = all(r"(?m)^([a-z]+):", MAKEFILE);
    assert!(named.len() >= 4 && named.is_subset(&targets), "{named:?} of {targets:?}");
}
