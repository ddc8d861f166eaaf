//! The pages that readers see: README, `docs/`, and the README of each folder. Each link leads somewhere, and each configuration
//! and command is run or says why it is not.

mod blocks;
mod links;
mod page;

use page::page;

/// What does not fit into it belongs on a page of `docs/`.
#[test]
fn readme_has_at_most_150_lines_that_fit() {
    let readme = page("README.md");
    let lines = readme.text.lines().count();
    assert!(lines <= 150, "{lines}");
    for line in readme.text.lines().filter(|line| !line.starts_with('|')) {
        assert!(line.chars().count() <= 120, "{line}");
    }
}

/// The order in which somebody reads who does not know the project.
#[test]
fn readme_has_its_sections_in_order() {
    let readme = page("README.md");
    let headings: Vec<_> = readme.text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(
        headings,
        [
            "Works with",
            "Try it",
            "Install",
            "Compared with the outpost behind `ext_authz`",
            "Smallest configuration",
            "Rules for production",
            "Performance",
            "Limits",
            "Links",
        ]
    );
}
