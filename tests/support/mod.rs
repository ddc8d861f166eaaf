//! The host of the filter in this process: that of `proxy-wasm-testkit`, as Envoy is. What else surrounds the filter is in
//! `crates/`: the stand-in authentik, the application, the real Envoy.

pub(crate) mod host;

/// The names on `docs/capabilities.md` that Envoy allows the module.
pub(crate) fn capabilities_of_the_page() -> Vec<String> {
    let page = include_str!("../../docs/capabilities.md");
    let block = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let block: serde_yaml_ng::Value = serde_yaml_ng::from_str(block).expect("YAML");
    let names = block["capability_restriction_config"]["allowed_capabilities"].as_mapping().expect("names");
    names.keys().map(|name| name.as_str().expect("a name").to_owned()).collect()
}
