//! The types of authentik's own OpenAPI client read the recorded answers of the outposts' API and those of the stand-in, and
//! lose nothing of them, so that a change of the API is seen with the next version of the client.
//!
//! Owns: that comparison. Must not: replay the transcripts; the stand-in's own tests do.

use std::fs;

use authentik_client::models::{PaginatedOutpostList, PaginatedProxyOutpostConfigList};
use fake_authentik::{ADMIN_TOKEN, Authentik, OUTPOST_INSTANCES, OUTPOST_PROVIDERS, OUTPOST_TOKEN};
use loopback::client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn list(authentik: &Authentik, target: &str, token: &str) -> Value {
    let request = client()
        .get(format!("http://{}{target}", authentik.authority()))
        .header("authorization", format!("Bearer {token}"));
    request.send().unwrap().json().unwrap()
}

/// The body of a recorded response.
fn recorded(name: &str) -> Value {
    let path = format!("{}/../../tests/data/transcripts/{name}", env!("CARGO_MANIFEST_DIR"));
    let transcript = fs::read_to_string(path).unwrap();
    let response = transcript.split_once("<<< RESPONSE\n").unwrap().1;
    serde_json::from_str(response.split_once("\n\n").unwrap().1).unwrap()
}

/// The API's numbers are whole or not, as its client pleases.
fn with_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().unwrap()),
        Value::Array(items) => items.into_iter().map(with_floats).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, with_floats(value))).collect(),
        other => other,
    }
}

/// Fails if the client's types do not read the list, or if they have no place for something in it. Of the discovery document
/// they have the required fields only.
fn read_whole<T: DeserializeOwned + Serialize>(list: &Value) {
    let read: T = serde_json::from_value(list.clone()).unwrap();
    let read = with_floats(serde_json::to_value(&read).unwrap());
    let mut list = with_floats(list.clone());
    for (entry, read) in entries(&mut list).into_iter().zip(read["results"].as_array().unwrap()) {
        if let Some(document) = entry.get_mut("oidc_configuration").and_then(Value::as_object_mut) {
            let known = read["oidc_configuration"].as_object().unwrap();
            document.retain(|name, _| known.contains_key(name));
            assert!(document.contains_key("issuer"), "{known:?}");
        }
    }
    assert_eq!(read, list);
}

fn entries(list: &mut Value) -> Vec<&mut Value> {
    list["results"].as_array_mut().unwrap().iter_mut().collect()
}

#[test]
fn client_of_authentik_reads_the_recorded_outposts_and_loses_nothing() {
    for name in ["6-outpost-proxy-outpost-token.txt", "6-outpost-proxy-page-size-1.txt"] {
        read_whole::<PaginatedProxyOutpostConfigList>(&recorded(name));
    }
    for name in ["6-outpost-instances-outpost-token.txt", "6-outpost-instances-admin-token.txt"] {
        read_whole::<PaginatedOutpostList>(&recorded(name));
    }
}

#[test]
fn client_of_authentik_reads_the_outposts_of_the_stand_in_and_loses_nothing() {
    let authentik = Authentik::start();
    for token in [OUTPOST_TOKEN, ADMIN_TOKEN] {
        read_whole::<PaginatedProxyOutpostConfigList>(&list(&authentik, OUTPOST_PROVIDERS, token));
        read_whole::<PaginatedOutpostList>(&list(&authentik, OUTPOST_INSTANCES, token));
    }
}
