//! Shadow mode.

use serde_json::json;

use super::{SEAL, parse, with};

#[test]
fn shadow_mode_is_off_by_default_and_its_gate_header_has_a_default_name() {
    assert!(parse(&with("/shadow", json!(null))).unwrap().shadow.is_none());
    for (shadow, name) in
        [(json!({}), "x-authentik-username"), (json!({"gate_header": "X-Authentik-Uid"}), "x-authentik-uid")]
    {
        let config = parse(&with("/shadow", shadow)).unwrap();
        assert_eq!(config.shadow.unwrap().gate_header, name);
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
