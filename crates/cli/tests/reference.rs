//! The committed reference page is the one that the tool makes, and has all that the schema has.

use std::fs;
use std::process::Command;

use serde_json::Value;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration-reference.md");

fn run(subcommand: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_authentik-proxy-wasm")).arg(subcommand).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// `REFERENCE=write` replaces the page first.
#[test]
fn committed_page_is_the_one_that_the_tool_makes() {
    let made = run("reference");
    if std::env::var("REFERENCE").is_ok_and(|what| what == "write") {
        fs::write(PAGE, &made).unwrap();
    }
    let committed = fs::read_to_string(PAGE).unwrap();
    let difference =
        made.lines().zip(committed.lines()).enumerate().find(|(_, (made, committed))| made != committed);
    assert_eq!(
        difference, None,
        "REFERENCE=write cargo test --package cli --test reference replaces the page"
    );
    assert_eq!(made.len(), committed.len());
}

/// The paths of all properties, as the page writes them.
fn properties(schema: &Value, path: &str) -> Vec<String> {
    let schema = schema.get("anyOf").map_or(schema, |choices| &choices[0]);
    let (schema, path) = match (schema.get("items"), &schema["additionalProperties"]) {
        (Some(items), _) => (items, format!("{path}[]")),
        (None, named @ Value::Object(_)) => (named, format!("{path}.*")),
        (None, _) => (schema, path.to_owned()),
    };
    let below = |(name, property): (&String, &Value)| {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        [vec![path.clone()], properties(property, &path)].concat()
    };
    schema["properties"].as_object().into_iter().flatten().flat_map(below).collect()
}

#[test]
fn page_has_a_heading_for_every_property_of_the_schema_and_no_other() {
    let page = run("reference");
    let mut headings: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let schema = serde_json::from_str(&run("schema")).unwrap();
    let mut properties = properties(&schema, "");
    headings.sort_unstable();
    properties.sort_unstable();
    assert!(properties.len() > 60, "{properties:?}");
    assert_eq!(headings, properties);
}
