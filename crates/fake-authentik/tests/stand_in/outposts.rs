//! The outposts' API of the stand-in: what a test can change and plant.

use fake_authentik::{Authentik, Fault, OUTPOST_PROVIDERS, OUTPOST_TOKEN};
use loopback::client;
use serde_json::{Value, json};

use super::{Answer, Body, RECORDED_HOST};

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
