//! Names in PromQL: which metrics an expression selects, and which values it asks of labels. promtool 2.42 parses
//! expressions and does not print what it has read.
//!
//! Owns: a reading that is good enough for names. Must not: judge syntax; promtool does.

use std::collections::BTreeSet;

use regex_lite::Regex;

/// Words of the language that can stand where a metric can.
const WORDS: [&str; 14] = [
    "and",
    "or",
    "unless",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "offset",
    "bool",
    "inf",
    "nan",
    "atan2",
];

fn without(pattern: &str, text: &str) -> String {
    Regex::new(pattern).unwrap().replace_all(text, " ").into_owned()
}

/// The metrics that an expression selects.
pub(super) fn metrics(expression: &str) -> BTreeSet<String> {
    let mut text = expression.to_owned();
    for left_out in [
        r#""[^"]*""#,
        r"\{[^}]*\}",
        r"\[[^\]]*\]",
        r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)",
        r"\boffset\s+\w+",
        r"\b[a-zA-Z_][a-zA-Z0-9_]*\s*\(",
        r"\b[0-9][0-9.e]*\b",
    ] {
        text = without(left_out, &text);
    }
    let name = Regex::new(r"[a-zA-Z_:][a-zA-Z0-9_:]*").unwrap();
    let names = name.find_iter(&text).map(|found| found.as_str().to_owned());
    names.filter(|name| !WORDS.contains(&name.as_str())).collect()
}

/// The regular expressions by which an expression selects metrics, each for the whole name.
pub(super) fn patterns(expression: &str) -> Vec<Regex> {
    let pattern = Regex::new(r#"__name__=~"([^"]*)""#).unwrap();
    let found = pattern.captures_iter(expression);
    found.map(|found| Regex::new(&format!("^(?:{})$", &found[1])).unwrap()).collect()
}

/// Each label that an expression selects by, with each word of the value.
pub(super) fn selected(expression: &str) -> BTreeSet<(String, String)> {
    let matcher = Regex::new(r#"([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)\s*"([^"]*)""#).unwrap();
    let pairs = matcher.captures_iter(expression).flat_map(|found| {
        let name = found[1].to_owned();
        found[2].split('|').map(|word| (name.clone(), word.to_owned())).collect::<Vec<_>>()
    });
    pairs.collect()
}

#[test]
fn names_of_metrics_are_found_among_the_words_of_the_language() {
    let found = |expression| metrics(expression).into_iter().collect::<Vec<_>>();
    assert_eq!(found("absent(a_b)"), ["a_b"]);
    assert_eq!(found("1 + 0.5 * 10"), [""; 0]);
    assert_eq!(
        found(
            r#"histogram_quantile(0.99, sum by (job, le) (rate(c_bucket{x="y or z", le!="d"}[5m] offset 1h))) > 1000"#
        ),
        ["c_bucket"]
    );
    assert_eq!(
        found(
            "(job:served:rate5m > 0.1) unless on (job, instance) (sum(rate(total[5m])) > 0) or e unless e offset 15m"
        ),
        ["e", "job:served:rate5m", "total"]
    );
}

#[test]
fn patterns_of_metrics_are_for_the_whole_name() {
    let patterns = patterns(r#"sum({__name__=~"a_(b|c)", x="y"})"#);
    let found =
        ["a_b", "a_c", "a_bc", "xa_b"].map(|name| patterns.iter().any(|pattern| pattern.is_match(name)));
    assert_eq!(found, [true, true, false, false]);
}

#[test]
fn values_of_labels_are_found_word_by_word() {
    let found = selected(r#"a{outcome="denied", reason=~"x|y", job!="z"} > b"#);
    let expected = [("job", "z"), ("outcome", "denied"), ("reason", "x"), ("reason", "y")];
    assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}
