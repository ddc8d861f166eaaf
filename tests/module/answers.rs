//! authentik's answers when it is not itself: each fault is a `503` with `Retry-After` for the request at hand, is
//! never taken for a refusal and never remembered.

use fake_authentik::{Generation, Key, TokenSpec};
use proxy_wasm_testkit::CallAnswer;
use serde_json::{Value, json};

use super::fixture::{
    AUTHENTIK, Observed, TOKEN_PATH, basic, bearer, configuration, get, granted, observed, only_call,
    passed_as, path_of, refused, replied, seconds, send, send_and_answer, token, token_with, verdict_slots,
    with_provider, worker, world,
};

fn html(status: u16) -> CallAnswer {
    let body = b"<!DOCTYPE html><html><body><h1>authentik</h1></body></html>".to_vec();
    CallAnswer::Response { status, headers: vec![(b"content-type".to_vec(), b"text/html".to_vec())], body }
}

fn bare(status: u16, body: &[u8]) -> CallAnswer {
    CallAnswer::Response { status, headers: Vec::new(), body: body.to_vec() }
}

/// What is no answer at any endpoint.
fn no_answers() -> Vec<(String, CallAnswer)> {
    let megabytes = format!(r#"{{"active": true, "keys": [], "access_token": "{}"}}"#, "a".repeat(2 << 20));
    let mut cases = vec![
        ("reset".to_owned(), CallAnswer::Reset),
        ("timeout".to_owned(), CallAnswer::Timeout),
        ("connect failure".to_owned(), CallAnswer::ConnectFailure),
        ("200, nothing".to_owned(), bare(200, b"")),
        ("200, HTML".to_owned(), html(200)),
        ("200, 2 MB".to_owned(), CallAnswer::json(200, megabytes)),
        ("200, not UTF-8".to_owned(), bare(200, b"{\"access_token\": \"\xff\xfe\", \"active\": \"\xff\"}")),
        ("200, nested too deep".to_owned(), bare(200, &b"[".repeat(100_000))),
    ];
    let texts =
        ["null", "true", "1", "\"text\"", "[]", "[[]]", "{", "{\"access_token\": \"ey", "\u{feff}{}", "{}}"];
    cases.extend(texts.map(|text| (format!("200, {text}"), CallAnswer::json(200, text))));
    for status in [201, 204, 301, 302, 401, 403, 404, 405, 418, 429, 500, 502, 503, 504] {
        cases.push((format!("{status}, nothing"), bare(status, b"")));
        cases.push((format!("{status}, HTML"), html(status)));
        // Only a 400 can be a refusal.
        cases.push((
            format!("{status}, invalid_grant"),
            CallAnswer::json(status, r#"{"error":"invalid_grant"}"#),
        ));
        let granted = json!({"access_token": token("hs"), "active": true}).to_string();
        cases.push((format!("{status}, a good body"), CallAnswer::json(status, granted)));
    }
    cases
}

/// What is no answer at the token endpoint.
fn no_grants() -> Vec<(String, CallAnswer)> {
    let mut cases = no_answers();
    for body in [
        json!({}),
        json!({"token_type": "Bearer"}),
        json!({"access_token": null}),
        json!({"access_token": 7}),
        json!({"access_token": ""}),
        json!({"access_token": ["x"]}),
        json!({"id_token": token("hs")}),
        json!({"error": "invalid_grant"}),
        json!({"access_token": "opaque"}),
        json!({"access_token": "a.b.c"}),
        json!({"access_token": "..", "token_type": "Bearer"}),
        json!({"access_token": "\u{1F600}.\u{0}.\r\n"}),
    ] {
        cases.push((format!("200, {body:.60}"), CallAnswer::json(200, body.to_string())));
    }
    for body in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        r#"{"error":null}"#,
        r#"{"error":7}"#,
        r#"{"error":"invalid_client"}"#,
        r#"{"error":"invalid_scope"}"#,
        r#"{"error":"unsupported_grant_type"}"#,
        r#"{"error":"Invalid_Grant"}"#,
        r#"{"error":["invalid_grant"]}"#,
        r#"{"detail":"invalid_grant"}"#,
    ] {
        cases.push((format!("400, {body}"), CallAnswer::json(400, body)));
    }
    cases
}

/// Tokens that authentik would not issue to this provider: they do not verify, so the configuration is at fault.
fn strange_tokens() -> Vec<(&'static str, String)> {
    let changed = |claims: Value| token_with("hs", claims);
    let signed = |key| AUTHENTIK.mint("hs", TokenSpec::new().signed_by(key));
    vec![
        ("signed with another secret", signed(Key::Secret(b"another secret".to_vec()))),
        ("signed with a key", signed(Key::Rs256(Generation::A))),
        ("not signed", signed(Key::None)),
        ("for another client", changed(json!({"aud": "other"}))),
        ("of another issuer", changed(json!({"iss": "https://other.example.test/application/o/hs/"}))),
        ("expired", changed(json!({"exp": 1_000_000}))),
        ("without end", changed(json!({"exp": null}))),
        ("not yet valid", changed(json!({"nbf": 99_999_999_999_i64}))),
        ("with groups of the wrong type", changed(json!({"groups": "staff"}))),
    ]
}

#[test]
fn every_failure_of_the_token_endpoint_is_a_503_and_not_remembered() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let request = || get(basic("alice", "password"));
    let strange = strange_tokens().into_iter().map(|(name, token)| (name.to_owned(), granted(token)));
    for (name, answer) in no_grants().into_iter().chain(strange) {
        let stream = vm.send(request());
        assert_eq!(observed(&vm, stream), Observed::Waits, "{name}: remembered what came before");
        let call = only_call(&vm);
        assert_eq!(path_of(&call), TOKEN_PATH);
        vm.answer(call.id, answer);
        assert_eq!(observed(&vm, stream), Observed::Status(503), "{name}");
        let retry = replied(&vm, stream).0.get("retry-after").map(<[u8]>::to_vec);
        assert_eq!(retry, Some(b"5".to_vec()), "{name}");
        vm.forget_finished();
    }
    assert!(verdict_slots(&world).is_empty(), "no fault is shared");
    assert_eq!(send_and_answer(&mut vm, request(), granted(token("hs"))), passed_as("alice"));
    assert_eq!(vm.death(), None);
}

#[test]
fn every_failure_of_introspection_is_a_503_and_not_remembered() {
    let world = world();
    let mut vm = worker(&world, &with_provider("hs", "bearer_verification", "introspection"));
    let request = || get(bearer("opaque-token"));
    let mut cases = no_answers();
    for body in [
        json!({}),
        json!({"active": null}),
        json!({"active": "true"}),
        json!({"active": 1}),
        json!({"active": [true]}),
        json!({"Active": true}),
    ] {
        cases.push((format!("200, {body}"), CallAnswer::json(200, body.to_string())));
    }
    for status in [400, 401] {
        cases.push((format!("{status}, inactive"), CallAnswer::json(status, r#"{"active":false}"#)));
    }
    for (name, answer) in cases {
        assert_eq!(send_and_answer(&mut vm, request(), answer), Observed::Status(503), "{name}");
        vm.forget_finished();
    }
    assert!(verdict_slots(&world).is_empty(), "no fault is shared");
    let active = json!({
        "active": true, "client_id": "hs-client-id", "sub": "1", "preferred_username": "alice",
        "exp": world.now().as_secs() + 60,
    });
    let answer = CallAnswer::json(200, active.to_string());
    assert_eq!(send_and_answer(&mut vm, request(), answer), passed_as("alice"));
}

#[test]
fn an_active_token_whose_claims_do_not_stand_is_not_let_in() {
    let world = world();
    let mut vm = worker(&world, &with_provider("hs", "bearer_verification", "introspection"));
    let now = world.now().as_secs();
    let cases = [
        ("without end", json!({"sub": "1", "preferred_username": "alice"}), 401),
        ("ended", json!({"sub": "1", "preferred_username": "alice", "exp": now - 1}), 401),
        ("sub is a number", json!({"sub": 1, "preferred_username": "alice", "exp": now + 60}), 503),
        ("without sub", json!({"preferred_username": "alice", "exp": now + 60}), 403),
        ("without user name", json!({"sub": "1", "exp": now + 60}), 403),
        ("with an empty user name", json!({"sub": "1", "preferred_username": "", "exp": now + 60}), 403),
        ("refresh in the name", json!({"sub": "1", "preferred_username": "a\r\nb", "exp": now + 60}), 403),
    ];
    for (number, (name, mut claims, status)) in cases.into_iter().enumerate() {
        claims["active"] = json!(true);
        claims["client_id"] = json!("hs-client-id");
        let request = get(bearer(format!("opaque-{number}")));
        let became = send_and_answer(&mut vm, request, CallAnswer::json(200, claims.to_string()));
        assert_eq!(became, Observed::Status(status), "{name}");
    }
}

#[test]
fn authentiks_own_wait_is_passed_on_within_bounds() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let cases = [
        ("7", "7"),
        ("0", "1"),
        ("86400", "300"),
        ("-1", "5"),
        ("18446744073709551616", "5"),
        ("1e3", "5"),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "5"),
        ("\u{ff}", "5"),
        ("", "5"),
    ];
    for (given, expected) in cases {
        let stream = vm.send(get(basic("alice", "password")));
        let call = only_call(&vm);
        let headers = vec![(b"retry-after".to_vec(), given.as_bytes().to_vec())];
        vm.answer(call.id, CallAnswer::Response { status: 503, headers, body: Vec::new() });
        let headers = replied(&vm, stream).0;
        assert_eq!(headers.get_all("retry-after"), [expected.as_bytes()], "{given}");
    }
}

#[test]
fn a_refusal_is_not_a_fault_and_is_remembered_for_ten_seconds() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let request = || get(basic("alice", "wrong"));
    assert_eq!(send_and_answer(&mut vm, request(), refused()), Observed::Status(401));
    assert_eq!(send(&mut vm, request()), Observed::Status(401));
    world.advance(seconds(10));
    assert_eq!(send_and_answer(&mut vm, request(), granted(token("hs"))), passed_as("alice"));
}

#[test]
fn an_issued_token_with_ten_thousand_claims_is_read() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let mut claims = json!({});
    for number in 0..10_000 {
        claims[format!("claim-{number}")] = json!(number);
    }
    let token = token_with("hs", claims);
    let request = get(basic("alice", "password"));
    assert_eq!(send_and_answer(&mut vm, request.clone(), granted(&token)), passed_as("alice"));
    assert_eq!(send(&mut vm, request), passed_as("alice"), "remembered here");
    assert!(verdict_slots(&world).is_empty(), "too long to be shared");
}
