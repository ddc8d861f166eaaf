//! What every fault is called.

use serde_json::Value;

use super::{faults, with};

/// Place, value and fault. The JSON Schema is held to the same file.
const FAULTY: &str = include_str!("../../../tests/data/faulty-settings.json");

#[test]
fn every_fault_is_named_by_its_path() {
    let cases: Vec<(String, Value, String)> = serde_json::from_str(FAULTY).unwrap();
    assert!(cases.len() >= 59, "{}", cases.len());
    for (pointer, value, fault) in cases {
        let found = faults(&with(&pointer, value.clone()));
        assert!(found.iter().any(|found| found.starts_with(&fault)), "{pointer} = {value}: {found:?}");
    }
}
