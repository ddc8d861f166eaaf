//! Shadow mode.

use serde_json::json;

use super::{SEAL, faults, minimal, parse, provider, with};

#[test]
fn shadow_mode_is_off_by_default_and_its_gate_header_has_a_default_name() {
    assert!(parse(&with("/shadow", json!(null))).unwrap().shadow.is_none());
    for (shadow, name) in
        [(json!({}), "x-authentik-username"), (json!({"gate_header": "X-Authentik-Uid"}), "x-authentik-uid")]
    {
        let config = parse(&with("/shadow", shadow)).unwrap();
        let shadow = config.shadow.unwrap();
        assert_eq!((shadow.gate_header.as_str(), shadow.switched.len()), (name, 0));
        assert!(config.warnings.is_empty());
        assert!(config.owned_headers.is_empty(), "shadow mode takes nothing from a request");
    }
}

#[test]
fn seal_in_shadow_mode_is_a_warning() {
    let mut configuration = with("/seal", json!({"values": [SEAL]}));
    assert!(parse(&configuration).unwrap().warnings.is_empty());
    configuration["shadow"] = json!({});
    let warnings = parse(&configuration).unwrap().warnings;
    assert_eq!(warnings, [crate::config::shadow::SEAL_WARNING]);
}

#[test]
fn providers_are_switched_by_their_names() {
    let mut configuration = minimal();
    let mut other = provider();
    other["name"] = json!("The other");
    other["external_host"] = json!("https://other.example.com");
    configuration["providers"] = json!([provider(), other]);
    configuration["shadow"] = json!({"switched": ["The other"]});
    assert_eq!(parse(&configuration).unwrap().shadow.unwrap().switched, ["The other"]);
    configuration["shadow"] = json!({"switched": ["demo", "the other"]});
    assert_eq!(faults(&configuration), ["shadow.switched[1]: is the name of no provider"]);
}
