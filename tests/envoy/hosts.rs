//! Several providers in one Envoy: whose is a request, by its host alone, and nothing passes from one to another.

use fake_authentik::{ALICE, TOKEN};
use reqwest::blocking::Client;
use serde_json::json;

use super::place::{Place, one, provider, username};
use super::wire::{basic, bearer};

#[test]
fn host_selects_the_provider() {
    let domain = json!({"mode": "forward_domain", "cookie_domain": "domain.test"});
    let place = Place::of(&[
        provider("demo", "a.test", json!({})),
        provider("demo-proxy", "b.test:8080", json!({})),
        provider("demo-domain", "auth.domain.test", domain),
    ]);
    for slug in ["demo", "demo-proxy", "demo-domain"] {
        place.await_keys(slug);
    }
    a_host_has_one_provider_in_every_spelling(&place);
    a_host_of_nobody_is_a_bad_request(&place);
    a_token_is_good_for_its_own_provider_only(&place);
    each_provider_asks_for_itself(&place);
    a_login_begins_and_ends_at_the_provider_s_own_host(&place);
    http_2_names_the_host_as_well(&place);
}

fn a_host_has_one_provider_in_every_spelling(place: &Place) {
    let hosts = [
        ("a.test", "demo"),
        ("A.Test", "demo"),
        ("a.test.", "demo"),
        ("a.test:80", "demo"),
        ("b.test:8080", "demo-proxy"),
        ("auth.domain.test", "demo-domain"),
        ("domain.test", "demo-domain"),
        ("x.Y.domain.test:8443", "demo-domain"),
    ];
    for (host, slug) in hosts {
        let token = place.authentik.issue(slug, "alice");
        let shown = place.admits(place.get_as(bearer(&token)).host(host));
        assert_eq!(one(&shown, "x-authentik-meta-app"), slug, "{host}");
    }
}

fn a_host_of_nobody_is_a_bad_request(place: &Place) {
    let token = bearer(&place.authentik.issue("demo", "alice"));
    let strangers =
        ["c.test", "b.test", "a.test:8443", "evildomain.test", "domain.test.evil.test", "a.test.evil"];
    for host in strangers {
        let request = place.get_as(&token).host(host).header("x-forwarded-host", "a.test");
        let answer = place.turns_away(request, 400);
        assert_eq!(answer.headers("www-authenticate").len(), 0);
    }
}

fn a_token_is_good_for_its_own_provider_only(place: &Place) {
    let places = [("demo", "a.test"), ("demo-proxy", "b.test:8080"), ("demo-domain", "x.domain.test")];
    for (slug, _) in places {
        let token = bearer(&place.authentik.issue(slug, "alice"));
        for (other, host) in places {
            // First where it is good: what is remembered there is not remembered here.
            place.admits(place.get_as(&token).host(places.iter().find(|it| it.0 == slug).unwrap().1));
            if other != slug {
                place.turns_away(place.get_as(&token).host(host), 401);
            }
        }
    }
}

fn each_provider_asks_for_itself(place: &Place) {
    let asked = || -> Vec<String> {
        let calls = place.authentik.calls().into_iter().filter(|call| call.path == TOKEN);
        calls.map(|call| call.field("client_id").unwrap_or_default().to_owned()).collect()
    };
    for host in ["a.test", "b.test:8080", "a.test", "b.test:8080", "A.TEST"] {
        assert_eq!(username(&place.admits(place.get_as(basic("alice", ALICE)).host(host))), "alice");
    }
    assert_eq!(asked(), ["demo-client-id", "demo-proxy-client-id"]);
    // A policy of the one denies him, none of the other.
    let bob = basic("bob", "bob-app-password-0123456789abcdef");
    place.turns_away(place.get_as(&bob).host("a.test"), 401);
    place.admits(place.get_as(&bob).host("b.test:8080"));
    place.turns_away(place.get_as(&bob).host("a.test"), 401);
}

fn a_login_begins_and_ends_at_the_provider_s_own_host(place: &Place) {
    let logins = [
        ("A.test:80", "demo", "a.test"),
        ("b.test:8080", "demo-proxy", "b.test:8080"),
        ("Deep.domain.test", "demo-domain", "auth.domain.test"),
    ];
    for (host, slug, own) in logins {
        place.sends_to_login(place.get("/x").host(host), slug, own);
    }
}

/// `:authority`, by way of a client that resolves the name itself.
fn http_2_names_the_host_as_well(place: &Place) {
    let address = ([127, 0, 0, 1], place.envoy.port()).into();
    let client = Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .resolve("x.domain.test", address)
        .resolve("c.test", address)
        .build()
        .unwrap();
    let token = bearer(&place.authentik.issue("demo-domain", "alice"));
    for (host, status) in [("x.domain.test", 200), ("c.test", 400)] {
        let url = format!("http://{host}:{}/", place.envoy.port());
        let answer = client.get(url).header("authorization", &token).send().unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (status, reqwest::Version::HTTP_2));
    }
}
