//! What the platforms show of the filter: the same labels and the same words in the access log everywhere.

use std::collections::BTreeSet;
use std::fs;

use local_envoy::module::root;
use serde_json::Value;

use super::{Overlay, overlays};

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(root().join(path)).unwrap();
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn of_envoy_gateway() -> impl Iterator<Item = Overlay> {
    overlays().into_iter().filter(|overlay| !overlay.is_istio())
}

/// The labels that these expressions make, each of its own name.
fn labels<'a>(tags: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    let label = |tag: &Value| {
        let name = tag["tag_name"].as_str().unwrap().to_owned();
        assert_eq!(tag["regex"], format!(r"({name}=\.=(.*?);\.;)"), "the form that Istio installs");
        name
    };
    tags.into_iter().map(label).collect()
}

fn of_envoy() -> BTreeSet<String> {
    labels(yaml("envoy.yaml")["stats_config"]["stats_tags"].as_array().unwrap())
}

#[test]
fn every_label_of_the_filter_is_a_label_in_envoy_yaml() {
    let source = fs::read_to_string(root().join("src/filter/telemetry.rs")).unwrap();
    let named = regex_lite::Regex::new(r#"\("([a-z]+)", "#).unwrap();
    let named: BTreeSet<_> =
        named.captures_iter(&source).map(|found| format!("authentik_{}", &found[1])).collect();
    let single = regex_lite::Regex::new(r#"labels\(\[\("([a-z]+)""#).unwrap();
    let single = single.captures_iter(&source).map(|found| format!("authentik_{}", &found[1]));
    assert_eq!(named.into_iter().chain(single).collect::<BTreeSet<_>>(), of_envoy());
}

/// The expressions are not anchored.
#[test]
fn no_label_is_the_end_of_another() {
    let labels = of_envoy();
    for label in &labels {
        let ends = labels.iter().filter(|other| other.ends_with(label.as_str())).count();
        assert_eq!(ends, 1, "{label}");
    }
}

#[test]
fn istio_and_envoy_gateway_have_the_labels_of_envoy_yaml() {
    let istio = yaml("deploy/istio/mesh-config.yaml");
    let tags = istio["meshConfig"]["defaultConfig"]["extraStatTags"].as_array().unwrap();
    let tags: BTreeSet<_> = tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
    assert_eq!(tags, of_envoy());
    for overlay in of_envoy_gateway() {
        let proxy = overlay.object("EnvoyProxy", "web");
        let patches = proxy["spec"]["bootstrap"]["jsonPatches"].as_array().unwrap();
        let tags = patches.iter().filter(|patch| patch["path"] == "/stats_config/stats_tags/-");
        assert_eq!(labels(tags.map(|patch| &patch["value"])), of_envoy(), "{}", overlay.name);
    }
}

/// The operators of a format, in their order.
fn operators(format: &str) -> Vec<String> {
    let operator = regex_lite::Regex::new("%[A-Z_]+(?:\\([^)]*\\))?(?::[A-Z]+)?%").unwrap();
    operator.find_iter(format).map(|found| found.as_str().to_owned()).collect()
}

#[test]
fn access_logs_have_the_same_words_everywhere_and_no_query() {
    const FORMAT: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/access_log/0/typed_config/\
                          log_format/text_format_source/inline_string";
    let envoy = yaml("envoy.yaml");
    let format = envoy.pointer(FORMAT).and_then(Value::as_str).unwrap();
    let expected = operators(format);
    assert!(expected.len() > 9 && format.ends_with('\n'), "{format:?}");
    assert!(!format.contains("%REQ(:PATH)%") && !format.contains("%PATH%"), "{format}");
    let istio = yaml("deploy/istio/mesh-config.yaml");
    assert_eq!(istio["meshConfig"]["accessLogFormat"], format, "Istio");
    for overlay in of_envoy_gateway() {
        let proxy = overlay.object("EnvoyProxy", "web");
        let settings = &proxy["spec"]["telemetry"]["accessLog"]["settings"][0];
        assert_eq!(settings["format"]["text"], format, "{}", overlay.name);
    }
}

/// The formats for machines stand in comments.
#[test]
fn json_formats_of_istio_and_envoy_have_the_same_fields() {
    let fields = |path: &str, first: &str| -> BTreeSet<(String, String)> {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let (_, rest) = text.split_once(first).unwrap_or_else(|| panic!("{path} has no {first}"));
        let field = regex_lite::Regex::new(r#"^\s*#\s+"?([a-z]+)"?: "(%[^"]+)",?$"#).unwrap();
        let lines = rest.lines().skip(1).skip_while(|line| !field.is_match(line));
        let found = lines
            .map_while(|line| field.captures(line).map(|found| (found[1].to_owned(), found[2].to_owned())));
        found.collect()
    };
    let envoy = fields("envoy.yaml", "# json_format:");
    assert!(envoy.len() == 12, "{envoy:?}");
    assert_eq!(fields("deploy/istio/mesh-config.yaml", "# accessLogEncoding: JSON"), envoy);
}
