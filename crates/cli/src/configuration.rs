//! The filter's own parser, and the line of each of its faults.
//!
//! Owns: what a configuration looks like, where a fault is, and what an unknown field may have been meant to be.
//! Must not: judge a setting; the parser does. Read the environment: a secret that names a variable counts as set.

use authentik_proxy_wasm::config::{Config, table};

use crate::document::{self, Data, Node};
use crate::fault::{Faults, Good};

/// Stands for the value of any variable: visible, and longer than any secret must be. Never printed.
const PRESENT: &str = "a-variable-of-the-environment-that-counts-as-set-0123456789abcdef";

/// Least likeness (Jaro-Winkler) of an unknown field and the one that may have been meant.
const LIKENESS: f64 = 0.8;

/// Whether a map by itself is one: with providers, or with a token in their place. Other programs have a token for authentik
/// too, but not the name of a cluster.
pub(crate) fn is_one(node: &Node) -> bool {
    let Some(authentik) = node.get("authentik") else { return false };
    let has = |name: &str| authentik.field(name).is_some();
    node.field("providers").is_some() || (has("token") && has("cluster"))
}

/// A configuration as a map of YAML or JSON.
pub(crate) fn check(file: &str, node: &Node, faults: &mut Faults) {
    if !node.is_map() {
        faults.add(file, node.line, "configuration", "must be an object");
        return;
    }
    judge(file, node, node.to_json().to_string().as_bytes(), faults);
}

/// A configuration as JSON in a string: what the proxy hands over as it is. `line` is its first. What was read of it, if it
/// is JSON.
pub(crate) fn check_text(file: &str, line: usize, text: &str, faults: &mut Faults) -> Option<Node> {
    let before = line.saturating_sub(1);
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        let what = format!("is not JSON (column {})", error.column());
        faults.add(file, before + error.line().max(1), "configuration", what);
        return None;
    }
    match document::read(text).as_deref() {
        Ok([node]) => {
            let node = node.clone().moved(before);
            judge(file, &node, text.as_bytes(), faults);
            Some(node)
        }
        Ok(_) | Err(_) => {
            faults.add(file, line, "configuration", "must be a JSON object");
            None
        }
    }
}

fn judge(file: &str, node: &Node, raw: &[u8], faults: &mut Faults) {
    let found = match parse(raw) {
        Ok(config) => {
            let digest = config.public_digest;
            faults.good.push(Good { file: file.to_owned(), node: node.clone(), digest });
            Vec::new()
        }
        Err(found) => found,
    };
    for fault in found {
        let (line, hint) = locate(node, &fault);
        faults.add_text(file, line, format!("{fault}{hint}"));
    }
}

/// A configuration whose variables count as set. No secret of it is a real one then.
pub(crate) fn parse(raw: &[u8]) -> Result<Config, Vec<String>> {
    Config::parse(raw, &|_| Some(PRESENT.to_owned()))
}

/// Walks down a fault's path as far as the document has it. An unknown field gets a hint.
pub(crate) fn locate(root: &Node, fault: &str) -> (usize, String) {
    let (mut node, mut line, mut rest) = (root, root.line, fault);
    let mut parent = String::new();
    loop {
        if let Some((index, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let Some(item) = index.parse::<usize>().ok().and_then(|index| node.items().get(index)) else {
                break;
            };
            (node, line, rest) = (item, item.line, after);
            parent.push_str("[]");
            continue;
        }
        let name = rest.strip_prefix('.').unwrap_or(rest);
        // The longest: a key may have any sign in it.
        let ends = |key: &str| name.strip_prefix(key).is_some_and(|rest| rest.starts_with(['.', '[', ':']));
        let Some(field) =
            node.fields().iter().filter(|field| ends(&field.key)).max_by_key(|field| field.key.len())
        else {
            break;
        };
        (node, line, rest) = (&field.node, field.line, name.get(field.key.len()..).unwrap_or_default());
        if rest == ": is not a known field" {
            return (line, hint(&parent, &field.key));
        }
        if !parent.is_empty() {
            parent.push('.');
        }
        parent.push_str(&field.key);
    }
    (line, String::new())
}

fn hint(parent: &str, unknown: &str) -> String {
    let likeness = |name: &&str| strsim::jaro_winkler(&unknown.to_lowercase(), name);
    let names = table::describe::names_in(parent);
    let best = names.into_iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match best.filter(|name| likeness(name) >= LIKENESS) {
        Some(name) => format!(" (did you mean \"{name}\"?)"),
        None => String::new(),
    }
}

/// The seal of a configuration, as far as it is written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) header: String,
    /// The value that is sent.
    pub(crate) first: Option<Source>,
    /// Some requests have none: in shadow mode only those of switched providers.
    pub(crate) is_partial: bool,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Written(String),
    Variable(String),
}

/// Whether there is no seal, and must be one. In shadow mode the gate stands before the filter, but for switched providers.
pub(crate) fn lacks_seal(configuration: &Node) -> bool {
    let shadow = configuration.get("shadow");
    let needs_one = shadow.is_none_or(|shadow| !shadow.items_at(&[table::shadow::SWITCHED.name]).is_empty());
    needs_one && seal(configuration).is_none()
}

/// `None`: there is no seal.
pub(crate) fn seal(configuration: &Node) -> Option<Seal> {
    let seal = configuration.get("seal")?;
    let values = seal.get("values");
    let first = match values.map(|values| &values.data) {
        Some(Data::List(items)) => items.first(),
        Some(Data::Plain(_) | Data::Text(_) | Data::Map(_)) | None => values,
    };
    let source = |value: &Node| match value.text() {
        Some(text) => Some(Source::Written(text.to_owned())),
        None => value.text_at(&["env"]).map(|name| Source::Variable(name.to_owned())),
    };
    let header = &table::seal::HEADER;
    Some(Seal {
        header: seal.text_at(&[header.name]).or(header.default).unwrap_or_default().to_ascii_lowercase(),
        first: first.and_then(source),
        is_partial: configuration.get("shadow").is_some(),
    })
}
