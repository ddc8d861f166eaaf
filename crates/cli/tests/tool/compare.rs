//! `compare`: a recorded access log and a recorded scrape of a shadow run.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use super::{Folder, run, tool};

const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/shadow/access.log");
const SCRAPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/metrics/shadow.txt");

/// The count that a line of the summary gives for a name.
fn count(summary: &str, name: &str) -> u64 {
    let line =
        summary.lines().find(|line| line.trim_start().starts_with(&format!("{name} "))).expect("a line");
    line.trim_start()[name.len()..].split_whitespace().next().unwrap().parse().unwrap()
}

/// How many lines of a text have this in them.
fn lines_with(text: &str, part: &str) -> u64 {
    u64::try_from(text.lines().filter(|line| line.contains(part)).count()).unwrap()
}

#[test]
fn recorded_access_log_is_summed_up_as_it_was_written() {
    let log = fs::read_to_string(LOG).unwrap();
    let (code, summary, error) = run(&["compare", LOG]);
    assert_eq!((code, error.as_str()), (0, ""), "{summary}");
    for finding in [
        "agree",
        "would_deny",
        "would_allow",
        "other_identity",
        "session_of_gate",
        "not_comparable",
        "unavailable",
        "no_gate",
    ] {
        let expected = lines_with(&log, &format!("\"shadow\":\"{finding}\""));
        assert!(expected > 0, "{finding} is in the recording");
        assert_eq!(count(&summary, finding), expected, "{finding}: {summary}");
    }
    assert_eq!(count(&summary, "requests"), lines_with(&log, "\"shadow\":"));
    assert_eq!(count(&summary, "no result yet"), lines_with(&log, "\"shadow\":null"));
    // Examples are reference numbers, by the reason of the filter.
    let example = summary.lines().find(|line| line.contains("refused: ")).expect("a reason");
    let id = example.rsplit(' ').next().unwrap();
    assert!(
        log.lines().any(|line| line.contains(&format!("\"id\":\"{id}\"")) && line.contains("would_deny")),
        "{summary}"
    );
}

#[test]
fn recorded_scrape_and_log_of_one_run_agree() {
    let (code, summary, error) = run(&["compare", SCRAPE]);
    assert_eq!((code, error.as_str()), (0, ""), "{summary}");
    let (_, of_log, _) = run(&["compare", LOG]);
    assert_eq!(count(&summary, "requests"), count(&of_log, "requests"));
    for finding in ["would_deny", "other_identity", "session_of_gate", "not_comparable", "no_gate"] {
        assert!(count(&summary, finding) >= count(&of_log, finding), "{finding}: {summary}{of_log}");
    }
    assert!(!summary.contains("no result yet"), "a scrape has every result: {summary}");
    let (code, _, error) = run(&["compare", LOG, SCRAPE]);
    assert_eq!((code, error.lines().count()), (2, 1), "{error}");
}

fn entry(shadow: &str, reason: &str, id: &str) -> String {
    format!("{{\"shadow\":{shadow},\"reason\":{reason},\"id\":{id},\"path\":\"/never-printed\"}}\n")
}

#[test]
fn exit_code_follows_the_disagreement() {
    let folder = Folder::new("compare-exit-code");
    let agree = entry("\"agree\"", "\"ok\"", "\"1\"").repeat(999);
    let deny = entry("\"would_deny\"", "\"refused\"", "\"2\"");
    let others =
        entry("\"session_of_gate\"", "\"login\"", "\"3\"").repeat(5_000) + &entry("null", "null", "\"4\"");
    let no_gate = entry("\"no_gate\"", "\"shadow_without_gate\"", "\"5\"");
    for (log, most, expected) in [
        (format!("{agree}{deny}{others}"), "0.1", 0),
        (format!("{agree}{deny}{others}"), "0.09", 1),
        (format!("{agree}{deny}{deny}"), "0.1", 1),
        (agree.clone(), "0", 0),
        (format!("{agree}{no_gate}"), "50", 1),
        (others.clone(), "100", 1),
        ("{\"path\":\"/\"}\nno json\n".to_owned(), "100", 2),
        (String::new(), "100", 2),
    ] {
        let file = folder.file("access.log");
        fs::write(&file, &log).unwrap();
        let (code, summary, error) = run(&["compare", "--max-disagreement", most, &file]);
        assert_eq!(code, expected, "{most}: {summary}{error}");
        // Without a bound nothing is too much.
        assert_eq!(run(&["compare", &file]).0, if expected == 2 { 2 } else { 0 });
    }
    for wrong in ["-1", "101", "many", "NaN"] {
        let (code, _, error) = run(&["compare", &format!("--max-disagreement={wrong}"), LOG]);
        assert!(code == 2 && error.contains("from 0 to 100"), "{wrong}: {error}");
    }
    let (code, _, error) = run(&["compare", &folder.file("missing.log")]);
    assert!(code == 2 && error.contains("missing.log"), "{error}");
}

#[test]
fn standard_input_is_read_and_nothing_of_a_request_but_its_number_is_printed() {
    let log = entry("\"would_allow\"", "\"ok\"", "\"5f0c\\u001b[31mnever\\nprinted\"");
    let mut command = tool();
    let mut child =
        command.args(["compare", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(log.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let summary = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), count(&summary, "would_allow")), (Some(0), 1));
    assert!(summary.contains("ok: 1, such as 5f0c31mneverprinted\n"), "{summary}");
    assert!(!summary.contains("never-printed") && !summary.contains('\u{1b}'), "{summary}");
}
