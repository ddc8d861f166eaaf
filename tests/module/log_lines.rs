//! What the log tells an operator: which setting, which slug, whose refusal.

use fake_authentik::{Key, TokenSpec};
use proxy_wasm_testkit::{CallAnswer, LogLevel, Request, World};
use serde_json::json;

use super::fixture::{
    AUTHENTIK, BASE, Observed, answer_key_calls, basic, bearer, configuration, get, granted, only_call,
    passed_as, refused, seconds, send, send_and_answer, token, token_with, with_provider, worker,
    worker_without_keys, world,
};

/// The lines of this level with this text in them.
fn lines(world: &World, level: LogLevel, text: &str) -> usize {
    world.log().iter().filter(|line| line.level == level && line.text.contains(text)).count()
}

#[track_caller]
fn assert_told(world: &World, level: LogLevel, text: &str) {
    let log: Vec<_> = world.log().into_iter().map(|line| line.text).collect();
    assert_eq!(lines(world, level, text), 1, "{text} in {log:#?}");
}

#[test]
fn a_refused_foreign_token_is_not_called_an_app_password() {
    let world = world();
    let mut vm = worker(&world, &with_provider("hs", "federated_bearer", true));
    let foreign = token_with("hs", json!({"iss": "https://ci.example.test"}));
    assert_eq!(send_and_answer(&mut vm, get(bearer(&foreign)), refused()), Observed::Status(401));
    assert_told(
        &world,
        LogLevel::Info,
        "message=\"authentik refused the token of another issuer (invalid_grant)",
    );
    assert_eq!(lines(&world, LogLevel::Info, "app password"), 0);
    // Another worker reads it in shared data, and says the same.
    world.clear_log();
    let mut second = worker(&world, &with_provider("hs", "federated_bearer", true));
    assert_eq!(send(&mut second, get(bearer(&foreign))), Observed::Status(401));
    assert_told(&world, LogLevel::Info, "the token of another issuer");
    assert_eq!(send_and_answer(&mut vm, get(basic("alice", "wrong")), refused()), Observed::Status(401));
    assert_told(&world, LogLevel::Info, "it must be an app password");
}

#[test]
fn a_wrong_slug_is_named_once_a_minute_with_the_url() {
    let world = world();
    let mut vm = worker_without_keys(&world, &configuration("hs"));
    let warning = format!(
        "hs: the key set of the application \"hs\" could not be fetched from {BASE}/application/o/hs/jwks/: authentik \
         has no key set for this application (404)"
    );
    for second in 0..125 {
        vm.tick();
        for call in vm.pending_calls() {
            vm.answer(call.id, CallAnswer::json(404, "<html>"));
        }
        let warned = lines(&world, LogLevel::Warn, &warning);
        assert!((1..=1 + second / 60).contains(&warned), "{warned} after {second} seconds");
        world.advance(seconds(1));
    }
    assert!(lines(&world, LogLevel::Warn, &warning) > 1, "it fails still");
    let calls = vm.calls_sent();
    assert!((5..=8).contains(&calls), "{calls} calls: at 0, 1, 3, 7, 15, 31, 63 and 123 seconds, or later");
}

/// Its request is answered at once, and says why.
#[test]
fn a_request_does_not_wait_for_a_key_set_that_has_just_failed() {
    let world = world();
    let mut vm = worker_without_keys(&world, &configuration("hs"));
    vm.tick();
    let call = only_call(&vm);
    vm.answer(call.id, CallAnswer::json(404, "<html>"));
    assert_eq!(send(&mut vm, get(bearer(token("hs")))), Observed::Status(503));
    assert_told(
        &world,
        LogLevel::Warn,
        "message=\"authentik has no key set for this application (404): check assigned_application_slug",
    );
    // Another worker of this Envoy neither asks nor waits.
    let mut second = worker_without_keys(&world, &configuration("hs"));
    assert_eq!(send(&mut second, get(bearer(token("hs")))), Observed::Status(503));
    assert_eq!(second.calls_sent(), 0);
    world.advance(seconds(2));
    vm.tick();
    answer_key_calls(&mut vm);
    assert_eq!(send(&mut vm, get(bearer(token("hs")))), passed_as("alice"));
    assert_eq!(send(&mut second, get(bearer(token("hs")))), passed_as("alice"));
}

#[test]
fn a_wrong_client_secret_at_a_login_is_not_called_an_unknown_client() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let invalid = || CallAnswer::json(400, json!({"error": "invalid_client"}).to_string());
    assert_eq!(send_and_answer(&mut vm, get(basic("alice", "x")), invalid()), Observed::Status(503));
    assert_told(&world, LogLevel::Warn, "authentik does not know the client_id");
    world.clear_log();
    let begun = vm.send(Request::get("/"));
    let (headers, _) = super::fixture::replied(&vm, begun);
    let text = |name: &str| String::from_utf8(headers.get(name).unwrap().to_vec()).unwrap();
    let location = text("location");
    let state = location.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let cookie = text("set-cookie").split(';').next().unwrap().to_owned();
    let callback = Request::get(&format!("/outpost.goauthentik.io/callback?code=x&state={state}"));
    assert_eq!(send_and_answer(&mut vm, callback.header("cookie", cookie), invalid()), Observed::Status(503));
    assert_told(
        &world,
        LogLevel::Warn,
        "authentik does not accept client_id and client_secret (invalid_client)",
    );
}

#[test]
fn ended_session_is_logged_at_info_with_its_cause() {
    let world = world();
    let mut vm = worker(&world, &with_provider("hs", "revalidate_seconds", 30));
    let stream = vm.send(get(basic("alice", "password")));
    let call = only_call(&vm);
    vm.answer(call.id, granted(token("hs")));
    let response = vm.respond(stream, &[(":status", "200")], "");
    let cookie = String::from_utf8(response.get("set-cookie").unwrap().to_vec()).unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    world.advance(seconds(31));
    let ended = || CallAnswer::json(200, r#"{"active":false}"#);
    let observed = send_and_answer(&mut vm, Request::get("/").header("cookie", &cookie), ended());
    assert_eq!(observed, Observed::Status(302));
    let reason = "authentik has ended the session: it says that the session's token is not active (also said for a \
                  wrong client_secret)";
    assert_told(
        &world,
        LogLevel::Info,
        &format!("status=302 reason=login source=none id=- message=\"{reason}\""),
    );
}

#[test]
fn missing_claims_are_logged_with_the_setting() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let nameless = token_with("hs", json!({"preferred_username": null}));
    assert_eq!(send(&mut vm, get(bearer(nameless))), Observed::Status(403));
    assert_told(&world, LogLevel::Warn, "Include claims in ID token");
}

#[test]
fn unverifiable_issued_token_is_logged_with_the_setting() {
    for (claims, hint) in [
        (json!({"iss": format!("{BASE}/")}), "issuer_mode, or set oidc_configuration.issuer"),
        (
            json!({"iss": "http://auth.example.test/application/o/hs/"}),
            "AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS",
        ),
        (json!({"aud": "another"}), "check client_id"),
        (json!({"exp": 1}), "check the clocks of authentik and of this host"),
    ] {
        let world = world();
        let mut vm = worker(&world, &configuration("hs"));
        let issued = granted(token_with("hs", claims));
        assert_eq!(send_and_answer(&mut vm, get(basic("alice", "x")), issued), Observed::Status(503));
        assert_told(&world, LogLevel::Warn, hint);
    }
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let forged = AUTHENTIK.mint("hs", TokenSpec::new().signed_by(Key::Secret(b"another secret".to_vec())));
    assert_eq!(send_and_answer(&mut vm, get(basic("alice", "x")), granted(forged)), Observed::Status(503));
    assert_told(&world, LogLevel::Warn, "check client_secret, and the provider's signing key");
}

/// authentik has a new key, and the key set was fetched a moment ago.
#[test]
fn a_new_key_is_not_called_a_fault_of_the_configuration() {
    let world = world();
    let mut vm = worker(&world, &configuration("es"));
    let other = AUTHENTIK.mint("es", TokenSpec::new().header("kid", "new"));
    assert_eq!(send_and_answer(&mut vm, get(basic("alice", "x")), granted(other)), Observed::Status(503));
    assert_told(&world, LogLevel::Warn, "authentik may have a new key");
    assert_eq!(lines(&world, LogLevel::Warn, "check"), 0);
}

/// Envoy says why it did not reach authentik; that is not authentik's answer.
#[test]
fn a_call_that_failed_on_the_way_says_so_with_envoy_s_reason() {
    let reason = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, \
                  transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED";
    let long = "x".repeat(4_000);
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    for (status, text, logged) in [
        (
            503,
            reason.to_owned(),
            format!(
                "status=503 reason=unavailable source=none id=- message=\"the way to authentik failed: Envoy says 503: {}",
                &reason[..200]
            ),
        ),
        (
            504,
            "upstream\r\nrequest timeout".to_owned(),
            "Envoy says 504: upstream  request timeout".to_owned(),
        ),
        (503, long.clone(), format!("Envoy says 503: {}", &long[..200])),
    ] {
        world.clear_log();
        let headers = vec![(b"content-type".to_vec(), b"text/plain".to_vec())];
        let answer = CallAnswer::Response { status, headers, body: text.into_bytes() };
        assert_eq!(send_and_answer(&mut vm, get(basic("alice", "x")), answer), Observed::Status(503));
        assert_told(&world, LogLevel::Warn, &logged);
        assert!(world.log().iter().all(|line| line.text.len() < 500), "no more than 200 bytes of it");
    }
    // What has passed a cluster bears its mark: then it is authentik's own, or a proxy's before it.
    world.clear_log();
    let answer = CallAnswer::json(503, "starting");
    assert_eq!(send_and_answer(&mut vm, get(basic("alice", "x")), answer), Observed::Status(503));
    assert_told(&world, LogLevel::Warn, "authentik is unavailable: status 503");
}

/// Each denial has its line, with the number that the page shows.
#[test]
fn a_denial_is_one_line_of_key_value_pairs() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let id = "5f0c3c2a-9d1e-4b7a-8a55-0d9f5d7c1a11";
    let request = get(basic("alice", "wrong")).header("x-request-id", id);
    assert_eq!(send_and_answer(&mut vm, request, refused()), Observed::Status(401));
    let line = format!(
        "provider=hs status=401 reason=refused source=exchange id={id} message=\"authentik refused the user name and app \
         password (invalid_grant); it must be an app password, and the user name, not the e-mail address\""
    );
    assert_eq!(world.log().last().map(|line| line.text.clone()), Some(line));
}

#[test]
fn one_cause_is_warned_of_once_a_minute_and_each_request_is_logged() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    for minute in 1..4 {
        for number in 0..20 {
            let request = get(basic(&format!("user-{minute}-{number}"), "x"));
            let observed = send_and_answer(&mut vm, request, CallAnswer::json(405, "{}"));
            assert_eq!(observed, Observed::Status(503));
        }
        let cause = "message=\"authentik is unavailable: status 405";
        assert_eq!(lines(&world, LogLevel::Warn, cause), minute);
        assert_eq!(lines(&world, LogLevel::Info, cause), 19 * minute);
        world.advance(seconds(60));
    }
}

/// `check` of the native tool prints the same digest.
#[test]
fn start_names_version_and_digest_of_the_configuration() {
    let world = world();
    let configuration = configuration("hs");
    let _vm = worker(&world, &configuration);
    let native =
        authentik_proxy_wasm::config::Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
    let line = format!(
        "version={} digest={} message=\"protecting with",
        env!("CARGO_PKG_VERSION"),
        native.public_digest
    );
    assert_eq!(lines(&world, LogLevel::Info, &line), 1, "{line}");
}
