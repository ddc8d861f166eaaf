//! The outposts' API: the types of authentik's own client read the recorded answers and the stand-in's, and lose nothing of
//! them, so that a change of the API is seen. Below: what a test can change and plant.

use authentik_client::models::{PaginatedOutpostList, PaginatedProxyOutpostConfigList};
use fake_authentik::{ADMIN_TOKEN, Authentik, Fault, OUTPOST_INSTANCES, OUTPOST_PROVIDERS, OUTPOST_TOKEN};
use loopback::client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Answer, Body, RECORDED_HOST, transcripts};

fn get(authentik: &Authentik, target: &str, token: &str) -> Answer {
    let request = client()
        .get(format!("http://{}{target}", authentik.authority()))
        .header("host", RECORDED_HOST)
        .header("authorization", format!("Bearer {token}"));
    Answer::read(request.send().unwrap())
}

fn list(authentik: &Authentik, target: &str, token: &str) -> Value {
    match get(authentik, target, token).body {
        Body::Json(list) => list,
        other => panic!("{target}: {other:?}"),
    }
}

fn recorded(name: &str) -> Value {
    let transcript = transcripts().into_iter().find(|it| it.name == name).unwrap();
    match transcript.answer.body {
        Body::Json(list) => list,
        other => panic!("{name}: {other:?}"),
    }
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

fn slugs(list: &Value) -> Vec<&str> {
    let entries = list["results"].as_array().unwrap().iter();
    entries.map(|entry| entry["assigned_application_slug"].as_str().unwrap()).collect()
}

#[test]
fn list_of_an_outpost_changes_while_it_runs() {
    let authentik = Authentik::start();
    let listed = || list(&authentik, OUTPOST_PROVIDERS, OUTPOST_TOKEN);
    authentik.add_proxy_provider("wiki", "https://wiki.example.com");
    assert_eq!(slugs(&listed()), ["demo", "demo-domain", "demo-proxy"]);
    authentik.edit_outpost("demo-outpost", |outpost| outpost.providers = vec!["wiki", "demo"]);
    assert_eq!(slugs(&listed()), ["demo", "wiki"]);
    assert_eq!(listed()["results"][1]["external_host"], "https://wiki.example.com");
    authentik.edit_proxy("wiki", |proxy| proxy.mode = "proxy");
    authentik.edit_proxy("wiki", |proxy| drop(proxy.replaced.insert("client_secret".into(), Value::Null)));
    authentik.rotate("demo");
    let after = listed();
    assert_eq!(
        (&after["results"][1]["mode"], &after["results"][1]["client_secret"]),
        (&json!("proxy"), &Value::Null)
    );
    assert_eq!(after["results"][0]["client_secret"], authentik.client_secret("demo"));
    authentik.edit_provider("demo", |provider| provider.has_application = false);
    assert_eq!(slugs(&listed()), ["wiki"], "a provider without an application is in no list");
    authentik.edit_outpost("demo-outpost", |outpost| outpost.token = Some("another".to_owned()));
    assert_eq!(get(&authentik, OUTPOST_PROVIDERS, OUTPOST_TOKEN).status, 403);
    assert_eq!(slugs(&list(&authentik, OUTPOST_PROVIDERS, "another")), ["wiki"]);
}

#[test]
fn pages_of_an_outpost_are_its_list() {
    let authentik = Authentik::start();
    let page =
        |number| list(&authentik, &format!("{OUTPOST_PROVIDERS}?page_size=2&page={number}"), OUTPOST_TOKEN);
    let pages = [page(1), page(2)];
    let next = pages.each_ref().map(|page| page["pagination"]["next"].as_u64().unwrap());
    assert_eq!(next, [2, 0]);
    assert_eq!(pages.each_ref().map(|page| slugs(page)).concat(), ["demo", "demo-domain", "demo-proxy"]);
    authentik.edit_outpost("demo-outpost", |outpost| outpost.providers.clear());
    let empty = page(1);
    assert_eq!((slugs(&empty).len(), empty["pagination"]["count"].as_u64()), (0, Some(0)));
}

#[test]
fn outposts_fail_as_recorded_while_the_database_is_down() {
    let authentik = Authentik::start();
    authentik.fault("/api/", Fault::Html(500));
    let answer = get(&authentik, OUTPOST_PROVIDERS, OUTPOST_TOKEN);
    assert_eq!((answer.status, answer.body), (500, Body::Html));
}
