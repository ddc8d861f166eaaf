use serde_json::{Value, json};

use super::*;
use crate::config::Config;

fn provider(changes: &Value) -> Rc<config::Provider> {
    let mut entry = json!({
        "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
        "external_host": "https://app.example.test",
    });
    entry.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
        "session": {"enabled": false}, "providers": [entry],
    });
    Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap().providers.remove(0)
}

#[test]
fn verdicts_that_cost_a_call_are_shared_and_codes_are_not() {
    for (changes, is_bearer_shared) in [
        (json!({}), false),
        (json!({"bearer_verification": "introspection"}), true),
        (json!({"bearer_verification": "local_then_introspection"}), true),
        (json!({"federated_bearer": true}), true),
        (json!({"revalidate_seconds": 1}), true),
    ] {
        let settings = provider(&changes);
        assert_eq!(is_shared(&settings, Kind::Bearer), is_bearer_shared, "{changes}");
        assert!(is_shared(&settings, Kind::Basic) && is_shared(&settings, Kind::Session), "{changes}");
        assert!(!is_shared(&settings, Kind::Code), "{changes}");
    }
}
