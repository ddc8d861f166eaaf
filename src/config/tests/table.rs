//! The table against the parser that reads through it.

use serde_json::{Value, json};

use super::{faults, minimal};
use crate::config::table::describe::{Row, all};

/// Every setting, with its place in the minimal configuration.
fn settings() -> Vec<(String, &'static Row)> {
    let place =
        |path: String| format!("/{}", path.replace("[]", "/0").replace('*', "demo").replace('.', "/"));
    all().into_iter().map(|(path, row)| (place(path), row)).collect()
}

/// The minimal configuration with this value there. What is missing on the way is made.
fn at(place: &str, value: Value) -> Value {
    let (parent, name) = place.rsplit_once('/').unwrap();
    let mut configuration = minimal();
    if configuration.pointer(parent).is_none() {
        configuration = at(parent, json!({}));
    }
    configuration.pointer_mut(parent).unwrap()[name] = value;
    configuration
}

#[test]
fn every_setting_of_the_table_is_read() {
    let rows = settings();
    assert!(rows.len() > 60, "{}", rows.len());
    for (place, _) in &rows {
        let found = faults(&at(place, Value::Null));
        assert!(!found.iter().any(|fault| fault.contains("is not a known field")), "{place}: {found:?}");
    }
    let found = faults(&at("/cache/nobody", Value::Null));
    assert_eq!(found, ["cache.nobody: is not a known field"]);
}

#[test]
fn names_are_unique_within_an_object() {
    let mut places: Vec<_> = settings().into_iter().map(|(place, _)| place).collect();
    let count = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), count);
}

#[test]
fn every_example_and_default_is_accepted() {
    let mut count = 0;
    for (place, row) in settings() {
        let example = Some(row.example).filter(|example| !example.is_empty());
        let example = example.map(|example| serde_json::from_str(example).expect(&place));
        for value in example.into_iter().chain(row.describe().default) {
            let mut configuration = at(&place, value.clone());
            configuration["providers"][0]["external_host"] = json!("https://wiki.example.com");
            if place.starts_with("/provider_") || place == "/authentik/outpost" {
                configuration["authentik"]["token"] = json!("a-token");
            }
            if place == "/authentik/events/interval_seconds" {
                configuration["authentik"]["events"]["token"] = json!("a-token");
            }
            if place.starts_with("/seal/") && row.name() != "values" {
                configuration["seal"]["values"] = json!("a-seal-of-the-configuration-tests");
            }
            if row.example == r#""forward_domain""# {
                configuration["providers"][0]["cookie_domain"] = json!("example.com");
            }
            let environment = |name: &str| Some(format!("the-value-of-the-variable-{name}-in-the-VM"));
            let found =
                crate::config::Config::parse(configuration.to_string().as_bytes(), &environment).err();
            assert_eq!(found, None, "{place}: {value}");
            count += 1;
        }
    }
    assert!(count > 70, "{count}");
}

#[test]
fn every_text_of_the_table_is_in_sentences() {
    for (place, row) in settings() {
        for text in [row.meaning(), row.change] {
            let is_sentence = text.ends_with('.') && !text.contains("  ") && !text.contains('|');
            assert!(is_sentence || (text.is_empty() && text != row.meaning()), "{place}: {text:?}");
        }
    }
}
