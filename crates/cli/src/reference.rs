//! The reference page of the configuration, made from the table of settings that the parser reads through.
//!
//! Owns: how a setting is said in Markdown. Must not: list settings.

use std::fmt::Write as _;

use authentik_proxy_wasm::config::table::ROWS;
use authentik_proxy_wasm::config::table::describe::{Description, Kind, Row};
use authentik_proxy_wasm::config::table::kinds::{Need, Rule};

const INTRODUCTION: &str = "\
# Configuration reference

`authentik-proxy-wasm reference` makes this page from the table of settings through which the filter reads its configuration
(`src/config/table`). Do not edit it; `REFERENCE=write cargo test --package cli --test reference` replaces it.

* The configuration is one JSON object. Its objects are below, each with its settings.
* A field that is not on this page is a fault. `null` counts as absent.
* *Required* means: wherever the object is that has the setting.
* A number may be written as `60.0`.
* A *secret* is a string, or `{\"env\": \"NAME\"}` for a variable of the VM's environment.
* `authentik-proxy-wasm check` finds all faults of a configuration at once; `authentik-proxy-wasm schema` prints its JSON Schema.
";

/// The whole page.
pub(crate) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    section(&mut page, "The configuration", "", &ROWS.iter().collect::<Vec<_>>());
    page
}

/// The settings of an object, then those of the objects in it.
fn section(page: &mut String, title: &str, path: &str, rows: &[&Row]) {
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## {title}\n");
    for row in rows {
        setting(page, path, row);
    }
    for row in rows {
        let fields: Vec<_> = row.fields().collect();
        if !fields.is_empty() {
            let path = format!("{path}{}{}", row.name(), row.describe().kind.suffix());
            section(page, &format!("Settings of `{path}`"), &format!("{path}."), &fields);
        }
    }
}

fn setting(page: &mut String, path: &str, row: &Row) {
    let Description { name, need, kind, default } = row.describe();
    let other = default.as_ref().and_then(|default| default.as_bool()).map(|default| (!default).to_string());
    let _ = write!(page, "\n### `{path}{name}`\n\n{}\n\n* Value: {}\n", row.meaning(), value(&kind));
    let required = match need {
        Need::Always => "yes",
        Need::WithSessions => "unless sessions are off",
        Need::InDomainMode => "in mode `forward_domain`",
        Need::WithoutToken => "unless `authentik.token` is set",
        Need::Never => "no",
    };
    let _ = writeln!(page, "* Required: {required}");
    if let Some(default) = default {
        let _ = writeln!(page, "* Default: `{default}`");
    }
    if !row.change.is_empty() {
        let _ = writeln!(page, "* When to change: {}", row.change);
    }
    let example = other.as_deref().unwrap_or(row.example);
    if !example.is_empty() {
        let _ = writeln!(page, "* Example: `\"{name}\": {example}`");
    }
}

fn value(kind: &Kind) -> String {
    match kind {
        Kind::Object { is_foreign: false } => "an object".to_owned(),
        Kind::Object { is_foreign: true } => "an object, which may have other fields too".to_owned(),
        Kind::Objects => "a list of objects".to_owned(),
        Kind::NamedObjects => "an object of objects, each under a name of your own".to_owned(),
        Kind::Anything => "any".to_owned(),
        Kind::Unused => "any; it is accepted and not used".to_owned(),
        Kind::Boolean => "`true` or `false`".to_owned(),
        Kind::Integer { least, most } => format!("a whole number from {least} to {most}"),
        Kind::Words(words) => format!("one of {}", quoted(words)),
        Kind::Text(rule) => text(*rule),
        Kind::Texts(rule) => match rule.words() {
            Some(words) => format!("a list of some of {}", quoted(&words)),
            None => format!("a list; each item is {}", text(*rule)),
        },
        Kind::Secret(Rule::Visible) => "a secret of visible ASCII characters".to_owned(),
        Kind::Secret(_) => "a secret".to_owned(),
        Kind::Secrets { rule, least_bytes, most } => {
            let most = if *most == usize::MAX { "secrets".to_owned() } else { format!("up to {most}") };
            let of = if *rule == Rule::Visible { " of visible ASCII" } else { "" };
            format!("a secret, or a list of {most}; each has at least {least_bytes} bytes{of}")
        }
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
}

fn text(rule: Rule) -> String {
    let text = match rule {
        Rule::Plain => "a string without control characters",
        Rule::Lines => "a string of any number of lines",
        Rule::NotEmpty => "a string that is not empty",
        Rule::Slug => "a string of letters, digits, `-` and `_`",
        Rule::Domain => "a domain name",
        Rule::Url => "an http or https URL without user, query and fragment",
        Rule::Origin => "an origin in lower case without path and default port; no pattern, no `null`",
        Rule::SealHeader => "the name of a header, of letters, digits and `-`",
        Rule::OwnedHeader => "the name of a header",
        Rule::IdentityHeader => "the short name of an identity header",
        Rule::Visible => "a string of visible ASCII characters",
    };
    let never: Vec<_> = rule.never().iter().map(|name| format!("`{name}`")).collect();
    if never.is_empty() { text.to_owned() } else { format!("{text}; none of {}", never.join(", ")) }
}
