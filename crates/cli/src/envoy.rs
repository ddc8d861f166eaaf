//! Envoy's own configuration: the filter in a chain of HTTP filters, and `rbac` behind it.
//!
//! Owns: where the plugin's configuration is there, and in which chains requests would pass without the filter.

use crate::configuration;
use crate::document::Node;
use crate::fault::Faults;
use crate::filter;
use crate::objects::Objects;

const STRING_VALUE: &str = "google.protobuf.StringValue";

fn is_type(filter: &Node, name: &str) -> bool {
    let kind = filter.text_at(&["typed_config", "@type"]).unwrap_or_default();
    kind.rsplit('.').next() == Some(name) && kind.contains(".filters.http.")
}

/// Whether the document is Envoy's: it has an HTTP filter of Wasm.
pub(crate) fn is_envoy(document: &Node) -> bool {
    document.walk().into_iter().any(|node| is_type(node, "Wasm"))
}

/// `text` is that of the file. Whether the filter is there.
pub(crate) fn check(file: &str, text: &str, document: &Node, faults: &mut Faults) -> bool {
    let mut is_there = false;
    for manager in document.walk() {
        let chain = manager.items_at(&["http_filters"]);
        for (index, plugin) in chain.iter().enumerate().filter(|(_, filter)| is_type(filter, "Wasm")) {
            let behind = chain.get(index.saturating_add(1)..).unwrap_or_default();
            is_there |= check_plugin(file, text, plugin, (manager, behind), faults);
        }
    }
    is_there
}

fn check_plugin(
    file: &str,
    text: &str,
    plugin: &Node,
    (manager, behind): (&Node, &[Node]),
    faults: &mut Faults,
) -> bool {
    let Some(config) = plugin.at(&["typed_config", "config"]) else { return false };
    let value = config.at(&["configuration", "value"]);
    let names = [config.text_at(&["name"]), config.text_at(&["root_id"])];
    let module = config.text_at(&["vm_config", "code", "local", "filename"]);
    if !filter::is_filter(names, [module, value.and_then(Node::text)], config.get("configuration")) {
        return false;
    }
    if config.is_text(&["failure_policy"], "FAIL_OPEN") || config.get("fail_open").is_some_and(Node::is_true)
    {
        let field = if config.get("fail_open").is_some() { "fail_open" } else { "failure_policy" };
        let what = "lets everybody in while the filter has failed; use failure_policy: FAIL_RELOAD";
        faults.add(file, config.line_at(&[field]), field, what);
    }
    let line = config.line_at(&["configuration"]);
    let kind = config.text_at(&["configuration", "@type"]).unwrap_or_default();
    let Some(json) = value.filter(|_| kind.ends_with(STRING_VALUE)) else {
        let what = format!("must be a {STRING_VALUE} with JSON in it: the filter cannot read a Struct");
        faults.add(file, line, "configuration", what);
        return true;
    };
    let Some(json_text) = json.text() else {
        faults.add(file, json.line, "configuration", "must be JSON in a string");
        return true;
    };
    let first = first_line(text, json, config.line_at(&["configuration", "value"]));
    let Some(read) = configuration::check_text(file, first, json_text, faults) else { return true };
    match configuration::seal(&read) {
        None if configuration::lacks_seal(&read) => {
            faults.add(file, line, "configuration.seal", filter::NO_SEAL);
        }
        None => {}
        Some(seal) => check_seal(file, line, &seal, (manager, behind), faults),
    }
    true
}

/// On which line the text of a scalar begins: that of a block is below its `|`.
pub(crate) fn first_line(text: &str, scalar: &Node, key_line: usize) -> usize {
    let line = text.lines().nth(key_line.saturating_sub(1)).unwrap_or_default();
    let is_block = line
        .split(" #")
        .next()
        .unwrap_or_default()
        .trim_end()
        .trim_end_matches(['-', '+'])
        .ends_with(['|', '>']);
    if is_block { key_line.saturating_add(1) } else { scalar.line }
}

fn check_seal(
    file: &str,
    line: usize,
    seal: &configuration::Seal,
    (manager, behind): (&Node, &[Node]),
    faults: &mut Faults,
) {
    let guards = behind.iter().filter(|filter| is_type(filter, "RBAC"));
    let conditions: Vec<_> = guards
        .filter(|guard| guard.is_text(&["typed_config", "rules", "action"], "DENY"))
        .flat_map(Node::walk)
        .filter_map(|node| node.get("not_id"))
        .flat_map(Node::walk)
        .filter_map(|node| node.get("header"))
        .filter(|header| {
            header.text_at(&["name"]).is_some_and(|name| name.eq_ignore_ascii_case(&seal.header))
        })
        .collect();
    if conditions.is_empty() {
        let what =
            format!("has no rbac filter behind it that denies what lacks the header \"{}\"", seal.header);
        faults.add(file, line, "configuration.seal", what);
        return;
    }
    let values: Vec<_> = conditions.iter().map(|node| node.text_at(&["string_match", "exact"])).collect();
    let at = conditions.first().map_or(line, |node| node.line_at(&["string_match"]));
    if values.contains(&None) {
        faults.add(file, at, "header.string_match", "must be exact: more than one value would be good");
    } else {
        let values: Vec<_> = values.into_iter().flatten().collect();
        if let Some(what) = filter::value_fault(seal, &values, &Objects::default()) {
            faults.add(file, at, "header.string_match.exact", what);
        }
    }
    let lists = manager.walk().into_iter().filter_map(|node| node.get("request_headers_to_remove"));
    if manager.get("route_config").is_some()
        && !lists.into_iter().any(|list| filter::has_name(Some(list), &seal.header))
    {
        let what = crate::istio::not_removed(&seal.header);
        faults.add(file, manager.line_at(&["route_config"]), "route_config", what);
    }
}

impl Node {
    fn is_text(&self, keys: &[&str], text: &str) -> bool {
        self.text_at(keys) == Some(text)
    }
}
