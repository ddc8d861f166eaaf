//! What the repository promises to those who only see its pages: workflows with few permissions, a changelog with a
//! form, one list of supported versions. `make workflows` has actionlint and zizmor beside it.

use std::collections::BTreeSet;
use std::fs;

use local_envoy::module::root;
use regex_lite::Regex;
use serde_yaml_ng::Value;

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn workflow(name: &str) -> Value {
    serde_yaml_ng::from_str(&text(&format!(".github/workflows/{name}.yml"))).unwrap()
}

fn steps<'a>(workflow: &'a Value, job: &str) -> Vec<&'a Value> {
    workflow["jobs"][job]["steps"].as_sequence().unwrap().iter().collect()
}

fn position(steps: &[&Value], command: &str) -> usize {
    let runs = |step: &&Value| step["run"].as_str().is_some_and(|run| run.contains(command));
    steps.iter().position(runs).unwrap_or_else(|| panic!("no step runs {command}"))
}

#[test]
fn workflows_run_what_is_run_here_with_few_permissions() {
    let (ci, release) = (workflow("ci"), workflow("release"));
    let mut writes = BTreeSet::new();
    for workflow in [&ci, &release] {
        assert!(workflow["permissions"].as_mapping().unwrap().is_empty(), "none but those of a job");
        for (name, job) in workflow["jobs"].as_mapping().unwrap() {
            for (what, access) in job["permissions"].as_mapping().unwrap() {
                if (what.as_str(), access.as_str()) != (Some("contents"), Some("read")) {
                    writes.insert(format!("{}: {}", name.as_str().unwrap(), what.as_str().unwrap()));
                }
            }
        }
    }
    assert_eq!(
        writes,
        ["publish: contents", "publish: id-token", "publish: packages"].map(str::to_owned).into()
    );
    position(&steps(&ci, "ci"), ".ci/run");
    position(&steps(&ci, "envoys"), "make test-envoys");
    let build = steps(&release, "build");
    assert!(position(&build, ".ci/run") < position(&build, "make dist VERSION="));
    let publish = steps(&release, "publish");
    let order = [
        "sha256sum --check",
        "skopeo copy",
        "cosign sign",
        "--type cyclonedx",
        "oras attach",
        "slsaprovenance1",
    ];
    assert!(order.map(|command| position(&publish, command)).is_sorted());
    for step in publish {
        let run = step["run"].as_str().unwrap_or_default();
        assert!(
            !run.contains("make ") && !run.contains("cargo "),
            "nothing is compiled beside the permissions: {run}"
        );
    }
}

#[test]
fn every_action_is_github_s_own_and_pinned_by_commit() {
    let pinned = Regex::new(r"^actions/[a-z-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$").unwrap();
    let mut count = 0;
    for name in ["ci", "release"] {
        let text = text(&format!(".github/workflows/{name}.yml"));
        for (_, action) in text.lines().filter_map(|line| line.split_once("uses: ")) {
            assert!(pinned.is_match(action), "{action}");
            count += 1;
        }
    }
    assert!(count >= 5, "{count}");
}

/// Keep a Changelog 1.1.0.
#[test]
fn changelog_has_its_form() {
    let changelog = text("CHANGELOG.md");
    let version =
        Regex::new(r"^## \[[0-9]+\.[0-9]+\.[0-9]+\] - [0-9]{4}-[0-9]{2}-[0-9]{2}( \[YANKED\])?$").unwrap();
    let mut headings = changelog.lines().filter(|line| line.starts_with("## "));
    assert_eq!(headings.next(), Some("## [Unreleased]"));
    for heading in headings {
        assert!(version.is_match(heading), "{heading}");
    }
    let kinds: Vec<_> = changelog.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(!kinds.is_empty());
    for kind in kinds {
        assert!(["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"].contains(&kind), "{kind}");
    }
}

/// docs/versions.md calls tested what `make test-envoys` runs, and nothing else.
#[test]
fn tested_envoys_are_those_that_make_runs() {
    let makefile = text("Makefile");
    let made = |name: &str| {
        let line = makefile.lines().find_map(|line| line.strip_prefix(&format!("{name} := ")));
        line.unwrap_or_else(|| panic!("{name} is not in the Makefile")).to_owned()
    };
    let run: BTreeSet<_> = made("ENVOY_VERSIONS").split(' ').map(str::to_owned).collect();
    let page = text("docs/versions.md");
    let envoy =
        page.split("\n## ").find(|section| section.starts_with("Envoy\n")).expect("a section on Envoy");
    let row = Regex::new(r"(?m)^\| (1\.[0-9]+\.[0-9]+) \| ([^|]+) \|").unwrap();
    let tested = row.captures_iter(envoy).filter(|row| row[2].starts_with("tested"));
    assert_eq!(tested.map(|row| row[1].to_owned()).collect::<BTreeSet<_>>(), run);
    assert!(run.contains(&made("ENVOY_VERSION")), "`make test` runs one of them");
}
