//! `docs/moving-over.md`: its tables have the words of the filter. `tests/pages` runs its commands.

use std::collections::BTreeSet;
use std::fs;

use authentik_proxy_wasm::authn::shadow::{Difference, Finding};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/moving-over.md");

fn page() -> String {
    fs::read_to_string(PAGE).unwrap()
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
