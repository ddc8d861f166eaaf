//! The seal.

use serde_json::json;

use super::{SEAL, faults, minimal, parse, with};
use crate::base::header::IdentityHeader;
use crate::config::Config;

#[test]
fn there_is_no_seal_by_default_and_its_header_has_a_default_name() {
    assert!(parse(&minimal()).unwrap().seal.is_none());
    assert!(parse(&with("/seal", json!(null))).unwrap().seal.is_none());
    let config = parse(&with("/seal", json!({"values": [SEAL]}))).unwrap();
    let seal = config.seal.unwrap();
    assert_eq!((seal.header.as_str(), seal.value.as_bytes()), ("x-authentik-seal", SEAL.as_bytes()));
    assert!(config.owned_headers.is_empty(), "it is an owned name as it is");
}

#[test]
fn the_first_value_seals_and_the_others_are_kept_for_the_policy_behind() {
    let values = json!([{"env": "SECRET"}, SEAL, "0123456789abcdef"]);
    let seal = parse(&with("/seal", json!({"values": values}))).unwrap().seal.unwrap();
    assert_eq!(seal.value.as_bytes(), b"from-the-environment");
    let retired: Vec<_> = seal.retired.iter().map(|value| value.expose().as_str()).collect();
    assert_eq!(retired, [SEAL, "0123456789abcdef"]);
}

#[test]
fn a_seal_under_another_name_makes_that_name_an_owned_one() {
    let seal = |header: &str| with("/seal", json!({"header": header, "values": [SEAL]}));
    for (header, owned) in [("X-Gate", &["x-gate"][..]), ("X-Authentik-Gate", &[])] {
        let config = parse(&seal(header)).unwrap();
        assert_eq!(config.seal.unwrap().header, header.to_ascii_lowercase());
        assert_eq!(config.owned_headers, owned);
    }
    let mut both = seal("x-gate");
    both["owned_headers"] = json!(["X_Gate", "x-tenant"]);
    assert_eq!(parse(&both).unwrap().owned_headers, ["x-gate", "x-tenant"]);
}

#[test]
fn forbidden_seal_names_are_faults() {
    const TAKEN: &str = "seal.header: is an identity header, which the filter sends itself";
    const SYNTAX: &str = "seal.header: must consist of letters, digits and -";
    const NEVER: &str = "seal.header: is not a name that can be taken from clients";
    let fault = |header: &str| faults(&with("/seal", json!({"header": header, "values": [SEAL]})));
    for header in IdentityHeader::ALL {
        assert_eq!(fault(header.name()), [TAKEN]);
        assert_eq!(fault(&header.name().to_ascii_uppercase()), [TAKEN]);
    }
    for header in [
        "host",
        "Content-Length",
        "transfer-encoding",
        "connection",
        "authorization",
        "cookie",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "proxy-authorization",
        "forwarded",
        "X-Forwarded-Host",
        "x-envoy-internal",
    ] {
        assert_eq!(fault(header), [NEVER], "{header}");
    }
    for header in [
        "",
        ":path",
        ":authority",
        "x_authentik_seal",
        "x.seal",
        "x seal",
        "x-s\u{e9}al",
        "x-seal\r\n",
        "x:seal",
    ] {
        assert_eq!(fault(header), [SYNTAX], "{header:?}");
    }
}

#[test]
fn no_fault_and_no_debug_output_shows_the_seal() {
    let mut configuration = with("/seal", json!({"values": [SEAL, {"env": "SECRET"}]}));
    let shown = format!("{:?}", parse(&configuration).unwrap());
    assert!(!shown.contains(SEAL) && !shown.contains("from-the-environment"), "{shown}");
    for values in
        [json!([SEAL, "hunter2"]), json!([format!("{SEAL} hunter2")]), json!({"env": SEAL, "x": "hunter2"})]
    {
        configuration["seal"] = json!({"header": "host", "values": values});
        let text = faults(&configuration).join("\n");
        assert!(text.contains("seal.") && !text.contains("hunter2") && !text.contains(SEAL), "{text}");
    }
}

#[test]
fn the_digest_follows_the_seal() {
    let digest = |first: &str, second: &str| {
        let values = json!([{"env": "FIRST"}, {"env": "SECOND"}]);
        let configuration = with("/seal", json!({"values": values})).to_string();
        let environment = |name: &str| Some(if name == "FIRST" { first } else { second }.to_owned());
        Config::parse(configuration.as_bytes(), &environment).unwrap().digest
    };
    let (one, two) = ("one-0123456789abcdef", "two-0123456789abcdef");
    assert_eq!(digest(one, two), digest(one, two));
    assert_ne!(digest(one, one), digest(two, one));
    assert_ne!(digest(one, one), digest(one, two));
}
