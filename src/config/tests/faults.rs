//! What every fault is called.

use serde_json::json;

use super::{SEAL, faults, with};

#[test]
fn every_fault_is_named_by_its_path() {
    for (pointer, value, fault) in [
        ("/authentik", json!(null), "authentik: is required"),
        ("/authentik", json!(7), "authentik: must be an object"),
        ("/authentik/cluster", json!(""), "authentik.cluster: must not be empty"),
        ("/authentik/cluster", json!(7), "authentik.cluster: must be a string"),
        ("/authentik/host", json!(null), "authentik.host: is required"),
        ("/authentik/host", json!("auth.example.com"), "authentik.host: must begin with http:// or https://"),
        ("/authentik/host", json!("https://a?b"), "authentik.host: must not have a query or a fragment"),
        (
            "/authentik/timeout_seconds",
            json!(0),
            "authentik.timeout_seconds: must be a whole number from 1 to 60",
        ),
        (
            "/authentik/timeout_seconds",
            json!(1.5),
            "authentik.timeout_seconds: must be a whole number from 1 to 60",
        ),
        (
            "/authentik/timeout_seconds",
            json!("5"),
            "authentik.timeout_seconds: must be a whole number from 1 to 60",
        ),
        ("/authentik/timeout", json!(5), "authentik.timeout: is not a known field"),
        ("/provider", json!([]), "provider: is not a known field"),
        ("/providers", json!(null), "providers: is required"),
        ("/providers", json!([]), "providers: must name at least one"),
        ("/providers", json!({}), "providers: must be a list of objects"),
        ("/providers/0", json!("x"), "providers[0]: must be an object"),
        ("/providers/0/client_id", json!(null), "providers[0].client_id: is required"),
        ("/providers/0/client_secret", json!(null), "providers[0].client_secret: is required"),
        ("/providers/0/client_secret", json!(""), "providers[0].client_secret: must not be empty"),
        (
            "/providers/0/client_secret",
            json!({"env": "SECRET", "x": 1}),
            "providers[0].client_secret: must be a string or {\"env\": \"NAME\"}",
        ),
        (
            "/providers/0/client_secret",
            json!({"env": "NOPE"}),
            "providers[0].client_secret: the environment variable NOPE is missing or empty in the VM",
        ),
        (
            "/providers/0/cookie_secret",
            json!(null),
            "providers[0].cookie_secret: is required while sessions are on",
        ),
        (
            "/providers/0/cookie_secret",
            json!("short"),
            "providers[0].cookie_secret: must have at least 32 bytes",
        ),
        (
            "/providers/0/cookie_secret",
            json!(["0123456789abcdef0123456789abcdef", 7]),
            "providers[0].cookie_secret[1]: must be a string or {\"env\": \"NAME\"}",
        ),
        ("/providers/0/external_host", json!(null), "providers[0].external_host: is required"),
        (
            "/providers/0/assigned_application_slug",
            json!("a/b"),
            "providers[0].assigned_application_slug: must consist of letters, digits, - and _",
        ),
        ("/providers/0/name", json!("a\nb"), "providers[0].name: must not have control characters"),
        (
            "/providers/0/mode",
            json!("single"),
            "providers[0].mode: must be one of \"proxy\", \"forward_single\", \"forward_domain\"",
        ),
        (
            "/providers/0/mode",
            json!("forward_domain"),
            "providers[0].cookie_domain: is required in mode forward_domain",
        ),
        (
            "/providers/0/cookie_domain",
            json!("other.com"),
            "providers[0].cookie_domain: must be the external_host's own domain or one above it",
        ),
        ("/providers/0/cookie_domain", json!("a b"), "providers[0].cookie_domain: must be a domain name"),
        (
            "/providers/0/intercept_header_auth",
            json!("yes"),
            "providers[0].intercept_header_auth: must be true or false",
        ),
        (
            "/providers/0/skip_path_regex",
            json!("^/a\n(b"),
            "providers[0].skip_path_regex: line 2 is not a regular expression",
        ),
        (
            "/providers/0/scopes_to_request",
            json!(["openid", ""]),
            "providers[0].scopes_to_request: must be a list of non-empty strings",
        ),
        (
            "/providers/0/bearer_verification",
            json!("none"),
            "providers[0].bearer_verification: must be one of \"local\", \"introspection\", \"local_then_introspection\"",
        ),
        (
            "/providers/0/revalidate_seconds",
            json!(-1),
            "providers[0].revalidate_seconds: must be a whole number from 0 to 31622400",
        ),
        ("/providers/0/secret", json!("x"), "providers[0].secret: is not a known field"),
        ("/identity_headers", json!(["user"]), "identity_headers: does not know \"user\""),
        ("/identity_headers", json!(["name", "name"]), "identity_headers: names \"name\" twice"),
        (
            "/owned_headers",
            json!(["host"]),
            "owned_headers: \"host\" is not a name that can be taken from clients",
        ),
        (
            "/owned_headers",
            json!([":path"]),
            "owned_headers: \":path\" is not a name that can be taken from clients",
        ),
        ("/cache", json!({"ttl": 1}), "cache.ttl: is not a known field"),
        (
            "/cache",
            json!({"local_entries": 0}),
            "cache.local_entries: must be a whole number from 1 to 65536",
        ),
        (
            "/jwks",
            json!({"refresh_seconds": 1}),
            "jwks.refresh_seconds: must be a whole number from 5 to 86400",
        ),
        (
            "/session",
            json!({"issue": "sometimes"}),
            "session.issue: must be one of \"always\", \"login\", \"never\"",
        ),
        ("/throttle", json!({"failures": 1e9}), "throttle.failures: must be a whole number from 0 to 100000"),
        ("/seal", json!("x-authentik-seal"), "seal: must be an object"),
        ("/seal", json!({}), "seal.values: must be 1 to 4 values"),
        ("/seal", json!({"values": []}), "seal.values: must be 1 to 4 values"),
        ("/seal", json!({"values": vec![SEAL; 5]}), "seal.values: must be 1 to 4 values"),
        (
            "/seal",
            json!({"values": [SEAL, "only-15-bytes--"]}),
            "seal.values[1]: must have at least 16 bytes",
        ),
        (
            "/seal",
            json!({"values": ["with a blank in it"]}),
            "seal.values[0]: must consist of visible ASCII characters",
        ),
        (
            "/seal",
            json!({"values": ["0123456789abcdefü"]}),
            "seal.values[0]: must consist of visible ASCII characters",
        ),
        ("/seal", json!({"values": [""]}), "seal.values[0]: must not be empty"),
        ("/seal", json!({"values": [7]}), "seal.values[0]: must be a string or {\"env\": \"NAME\"}"),
        (
            "/seal",
            json!({"values": [{"env": "NOPE"}]}),
            "seal.values[0]: the environment variable NOPE is missing or empty in the VM",
        ),
        ("/seal", json!({"value": SEAL}), "seal.value: is not a known field"),
        (
            "/allow_cors_origins",
            json!("https://a.test"),
            "allow_cors_origins: must be a list of non-empty strings",
        ),
        ("/allow_cors_origins", json!(["https://a.test", "*"]), "allow_cors_origins[1]: must be an origin"),
    ] {
        let found = faults(&with(pointer, value.clone()));
        assert!(found.iter().any(|found| found.starts_with(fault)), "{pointer} = {value}: {found:?}");
    }
}
