//! Links: each file and each anchor that a page names exists, and the book has every page of `docs/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::page::{Page, page, pages, root};

/// `docs/../README.md` is `README.md`; `None`: outside the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => normal.pop().then_some(())?,
            Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    Some(normal)
}

/// What is wrong with a link, if anything is.
fn fault(from: &Page, link: &str, anchors: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() {
        PathBuf::from(&from.path)
    } else {
        let folder = Path::new(&from.path).parent().unwrap();
        let Some(path) = normal(&folder.join(file)) else { return Some("leaves the repository".to_owned()) };
        path
    };
    if !root().join(&path).exists() {
        return Some(format!("{} does not exist", path.display()));
    }
    let anchor = anchor?;
    let known = anchors.get(path.to_str().unwrap());
    let is_known = known.is_some_and(|anchors| anchors.contains(anchor));
    (!is_known).then(|| format!("{} has no heading #{anchor}", path.display()))
}

#[test]
fn every_link_and_every_anchor_exists() {
    let pages = pages();
    let anchors: BTreeMap<_, _> = pages.iter().map(|page| (page.path.clone(), page.anchors())).collect();
    let (mut faults, mut count) = (Vec::new(), 0);
    for page in &pages {
        for (line, link) in page.links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            count += 1;
            if let Some(fault) = fault(page, &link, &anchors) {
                faults.push(format!("{}:{line}: {link}: {fault}", page.path));
            }
        }
    }
    assert!(count > 200, "{count}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn book_has_every_page_of_docs_once() {
    let folder = fs::read_dir(root().join("docs")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut expected: Vec<_> = names.filter(|name| name.ends_with(".md") && name != "SUMMARY.md").collect();
    let mut listed: Vec<_> = page("docs/SUMMARY.md").links().into_iter().map(|(_, link)| link).collect();
    expected.sort();
    listed.sort();
    assert!(expected.len() > 30, "{expected:?}");
    assert_eq!(listed, expected);
}

#[test]
fn every_make_target_that_a_page_names_exists() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<_> =
        makefile.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()).collect();
    let pattern =
        regex_lite::Regex::new(r"`(?:\$ )?make ([a-z]+(?:-[a-z]+)*)|(?m)^\$ make ([a-z]+(?:-[a-z]+)*)")
            .unwrap();
    let (mut faults, mut count) = (Vec::new(), 0);
    for page in pages() {
        for found in pattern.captures_iter(&page.text) {
            let name = found.get(1).or_else(|| found.get(2)).unwrap().as_str();
            count += 1;
            if !targets.contains(name) {
                faults.push(format!("{}: make {name}", page.path));
            }
        }
    }
    assert!(count > 60, "{count}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
