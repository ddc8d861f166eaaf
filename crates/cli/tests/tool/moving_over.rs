//! `docs/moving-over.md`: its commands do what the page shows, and its tables have the words of the filter.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use authentik_proxy_wasm::authn::shadow::{Difference, Finding};

use super::tool;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn page() -> String {
    fs::read_to_string(root().join("docs/moving-over.md")).unwrap()
}

/// The blocks of code with this mark.
fn blocks(page: &str, mark: &str) -> Vec<String> {
    let fence = format!("```{mark}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn commands_of_the_page_print_what_the_page_shows() {
    let (mut count, page) = (0, page());
    for block in blocks(&page, "console") {
        let (command, shown) = block.split_once('\n').unwrap();
        let command = command.strip_prefix("$ ").unwrap();
        if let Some(scene) = command.strip_prefix("make run SCENE=") {
            // crates/demo/tests plays every scene.
            let demo = fs::read_to_string(root().join("crates/demo/src/scene.rs")).unwrap();
            assert!(demo.contains(&format!("\"{scene}\"")), "{command}");
        } else {
            let arguments = command.strip_prefix("authentik-proxy-wasm ").unwrap().split(' ');
            let output = tool().args(arguments).current_dir(root()).output().unwrap();
            assert_eq!(
                (output.status.code(), String::from_utf8(output.stdout).unwrap().as_str()),
                (Some(0), shown)
            );
        }
        count += 1;
    }
    assert_eq!(count, 3);
    // Every other command needs a cluster or a running Envoy, and names files that are there.
    for line in blocks(&page, "sh").concat().lines() {
        assert!(["kubectl ", "curl "].iter().any(|start| line.starts_with(start)), "{line}");
        for path in line.split(' ').filter(|word| word.starts_with("deploy/")) {
            assert!(root().join(path).exists(), "{line}");
        }
    }
}

/// The words in the first column of the table that begins so.
fn first_column(page: &str, heading: &str) -> BTreeSet<String> {
    let (_, rest) = page.split_once(heading).unwrap();
    let rows = rest.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| Some(row.split('`').nth(1)?.to_owned())).collect()
}

#[test]
fn tables_of_the_page_have_every_result_and_every_intended_difference() {
    let page = page();
    let results: BTreeSet<_> = Finding::ALL.map(|finding| finding.as_str().to_owned()).into();
    assert_eq!(first_column(&page, "| result | what to do |"), results);
    let differences: BTreeSet<_> = Difference::ALL.map(|difference| difference.name().to_owned()).into();
    assert_eq!(first_column(&page, "| name | difference |"), differences);
}
