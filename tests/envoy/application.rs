//! What the application gets beyond the identity headers, as authentik's settings of provider and user have it.

use fake_authentik::ALICE;
use loopback::header_values;
use serde_json::json;

use super::place::{Place, assert_without, one, provider, username};
use super::wire::{basic, encoded};

const EVE: &str = "eve-app-password-0123456789abcdef";

#[test]
fn the_application_gets_what_provider_and_user_are_set_to() {
    let sends_basic = |empty_password: &str| {
        json!({
            "basic_auth_enabled": true,
            "basic_auth_user_attribute": "app_username",
            "basic_auth_password_attribute": "app_password",
            "basic_auth_empty_password": empty_password,
        })
    };
    let providers = [
        provider("demo", "send.test", sends_basic("send")),
        provider("demo", "omit.test", sends_basic("omit")),
        provider("demo", "proxy.test", json!({"mode": "proxy", "name": "The proxy"})),
        provider("demo", "forward.test", json!({})),
    ];
    let format = "%RESPONSE_CODE% user=%FILTER_STATE(wasm.authentik_username:PLAIN)% \
                  backend=%FILTER_STATE(wasm.authentik_backend_override:PLAIN)%\n";
    let place = Place::new(|options| {
        options
            .configure("/providers", providers.to_vec())
            .manager("/access_log/0/typed_config/log_format/text_format_source/inline_string", format)
    });
    the_user_s_attributes_make_the_application_s_credential(&place);
    without_attributes_it_is_the_email_address_and_an_empty_password(&place);
    authentik_chooses_the_host_and_names_a_backend(&place);
    further_headers_cannot_take_the_request_over(&place);
    in_mode_proxy_the_client_s_host_is_told(&place);
}

fn the_user_s_attributes_make_the_application_s_credential(place: &Place) {
    for host in ["send.test", "omit.test"] {
        for _ in 0..2 {
            let shown = place.admits(place.get_as(basic("alice", ALICE)).host(host));
            assert_eq!(one(&shown, "authorization"), encoded("alice-basic:s3cr3t:with colon & ünï"));
        }
    }
}

fn without_attributes_it_is_the_email_address_and_an_empty_password(place: &Place) {
    let credential = place.newcomer("mail");
    place.authentik.edit_user("mail", |user| user.email = "mail@example.test".to_owned());
    let sent = place.admits(place.get_as(&credential).host("send.test"));
    assert_eq!(one(&sent, "authorization"), encoded("mail@example.test:"));
    let omitted = place.admits(place.get_as(&credential).host("omit.test"));
    assert_without(&omitted, "authorization");
    let nothing = place.admits(place.get_as(basic("eve", EVE)).host("send.test"));
    assert_without(&nothing, "authorization");
}

fn authentik_chooses_the_host_and_names_a_backend(place: &Place) {
    let credential = place.newcomer("tenant");
    place.authentik.edit_user("tenant", |user| {
        user.ak_proxy.insert("host_header".to_owned(), "inner.test:8080".into());
        user.ak_proxy.insert("backend_override".to_owned(), "http://backend.test".into());
    });
    for _ in 0..2 {
        let shown = place.admits(place.get_as(&credential).host("forward.test"));
        assert_eq!(one(&shown, "host"), "inner.test:8080");
    }
    place.await_log(&["200 user=tenant backend=http://backend.test"]);
    place.admits(place.get_as(basic("alice", ALICE)).host("forward.test"));
    place.await_log(&["200 user=alice backend=-"]);
    place.turns_away(place.get("/").host("forward.test"), 302);
    place.await_log(&["302 user=- backend=-"]);
}

fn further_headers_cannot_take_the_request_over(place: &Place) {
    let credential = place.newcomer("attributes");
    place.authentik.edit_user("attributes", |user| {
        user.attributes = json!({"additionalHeaders": {
            "X-Plain": "as\r\nx-injected: it is",
            "X_Spelt": "authentik's",
            "X_Authentik_Tier": "gold",
            "X-Authentik-Seal": "forged",
            "Authorization": "Token of-the-application",
            "X-Authentik-Username": "root",
            "x_authentik_uid": "0",
            "Host": "evil.test",
            ":path": "/evil",
            "Content-Length": "0",
            "Cookie": "evil=1",
            "X-Forwarded-For": "198.51.100.7",
            "not a name": "evil",
            "": "evil",
            "X-Null": null,
            "X-Object": {},
        }});
    });
    let sent = [
        ("x-plain", "the client's"),
        ("x-spelt", "the client's"),
        ("x-authentik-tier", "the client's"),
        ("x_authentik_tier", "the client's"),
        ("cookie", "own=1"),
    ];
    let request = place.get_as(&credential).host("forward.test").headers(&sent);
    let shown = place.admits(request);
    assert_eq!(username(&shown), "attributes");
    assert_eq!(one(&shown, "x-plain"), "as  x-injected: it is");
    assert_eq!(one(&shown, "x_spelt"), "authentik's");
    assert_without(&shown, "x-spelt");
    assert_eq!(one(&shown, "x-authentik-tier"), "gold");
    assert_without(&shown, "x_authentik_tier");
    assert_eq!(one(&shown, "authorization"), "Token of-the-application");
    assert_eq!((one(&shown, "host"), shown["path"].as_str()), ("forward.test".to_owned(), Some("/")));
    assert_eq!(one(&shown, "cookie"), "own=1");
    for name in ["x-injected", "x-null", "x-object", "x_authentik_uid", "x-authentik-seal"] {
        assert_without(&shown, name);
    }
    place.await_log(&["[warning]", "additionalHeaders sets x-plain, which owned_headers does not have"]);
    assert!(!header_values(&shown, "x-forwarded-for").contains(&"198.51.100.7".to_owned()));
}

fn in_mode_proxy_the_client_s_host_is_told(place: &Place) {
    let get =
        |host: &str| place.get_as(basic("alice", ALICE)).host(host).header("x-forwarded-host", "evil.test");
    let shown = place.admits(get("proxy.test"));
    assert_eq!(one(&shown, "x-forwarded-host"), "proxy.test");
    assert_eq!(one(&shown, "x-authentik-meta-provider"), "The proxy");
    // Elsewhere it is whatever stands before this Envoy that owns the header.
    assert_eq!(one(&place.admits(get("forward.test")), "x-forwarded-host"), "evil.test");
}

#[test]
fn only_the_chosen_identity_headers_are_sent() {
    let place = Place::new(|options| {
        options
            .configure("/identity_headers", json!(["username", "uid", "meta-outpost"]))
            .configure("/outpost_name", "my outpost")
    });
    let shown = place.admits(place.get_as(basic("alice", ALICE)).header("x-authentik-groups", "forged"));
    let names: Vec<_> = shown["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair[0].as_str().unwrap())
        .filter(|name| name.starts_with("x-authentik-"))
        .collect();
    assert_eq!(names, ["x-authentik-username", "x-authentik-uid", "x-authentik-meta-outpost"]);
    assert_eq!(one(&shown, "x-authentik-meta-outpost"), "my outpost");
}
