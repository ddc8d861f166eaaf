//! A configuration that is wrong does not serve: Envoy does not start, and its log says everything that is wrong.

use fake_authentik::Authentik;
use local_envoy::{Envoy, EnvoyOptions};
use loopback::App;
use serde_json::json;

use super::place::{Place, assert_secretless, options};

/// The log of an Envoy that does not start with this.
fn refused(change: impl FnOnce(EnvoyOptions) -> EnvoyOptions) -> String {
    let (authentik, app) = (Authentik::start(), App::start());
    let log = Envoy::rejects(change(options(&authentik, &app)));
    assert_eq!(authentik.calls().len(), 0, "a configuration that is refused asks nobody");
    log
}

#[track_caller]
fn assert_says(log: &str, line: &str) {
    assert!(log.contains(&format!("configuration: {line}")), "no {line:?} in:\n{log}");
}

#[test]
fn every_fault_is_named_by_its_path_and_no_value_is_shown() {
    let log = refused(|options| {
        options
            .without_env("AUTHENTIK_CLIENT_SECRET")
            .env("AUTHENTIK_COOKIE_SECRET", "a cookie secret, short")
            .configure("/authentik/host", "auth.example.test")
            .configure("/authentik/timeout_seconds", 0)
            .configure("/authentik/extra", "an unknown setting")
            .configure("/providers/0/mode", "forward")
            .configure("/providers/0/assigned_application_slug", "demo/../other")
            .configure("/providers/0/skip_path_regex", "^/public\n(")
            .configure("/owned_headers", json!(["cookie"]))
            .configure("/identity_headers", json!(["password"]))
            .configure("/cache/ttl_seconds", "60")
    });
    for line in [
        "authentik.host: ",
        "authentik.timeout_seconds: ",
        "authentik.extra: ",
        "providers[0].client_secret: ",
        "providers[0].cookie_secret: must have at least 32 bytes",
        "providers[0].mode: ",
        "providers[0].assigned_application_slug: ",
        "providers[0].skip_path_regex: line 2 is not a regular expression",
        "owned_headers: ",
        "identity_headers: ",
        "cache.ttl_seconds: ",
    ] {
        assert_says(&log, line);
    }
    assert_secretless(&log);
}

#[test]
fn a_struct_is_refused_with_what_to_write_instead() {
    let log = refused(|options| options.wrapped_in("google.protobuf.Struct"));
    assert_says(&log, "must be a JSON object in a google.protobuf.StringValue");
    assert!(log.contains("hands a google.protobuf.Struct over in binary form"), "{log}");
}

#[test]
fn a_blank_line_does_not_open_every_path() {
    let place = Place::new(|options| {
        options.configure("/providers/0/skip_path_regex", "^/public\n\n  \t\r\n^/assets/\n")
    });
    place.admits(place.get("/public"));
    place.admits(place.get("/assets/logo.svg"));
    for target in ["/", "/secret", "/assets"] {
        place.turns_away(place.get(target), 302);
    }
    for number in [2, 3] {
        place
            .await_log(&["providers[0].skip_path_regex", &format!("line {number} is blank and was dropped")]);
    }
}
