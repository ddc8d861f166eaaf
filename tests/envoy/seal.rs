//! The seal, with Envoy's `rbac` filter behind ours as `envoy.yaml` has it: it refuses every request that ours did not let
//! go on, and the application sees nothing of it.

use std::net::TcpStream;

use fake_authentik::{ALICE, Authentik, Fault, TOKEN};
use local_envoy::module::panicking_module;
use local_envoy::{Envoy, EnvoyOptions, SEAL};
use loopback::App;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::HandshakeError;
use tungstenite::{Error, WebSocket};

use super::http2::Exchange;
use super::place::{Place, assert_secretless, eventually, one, options, username};
use super::wire::{Request, basic, bearer};

const HEADER: &str = "x-authentik-seal";
/// Two more; what looks for secrets finds them too.
const OLD: &str = "seal-of-the-tests-old-0123456789";
const NEW: &str = "seal-of-the-tests-new-0123456789";

const PREFLIGHT: [(&str, &str); 2] =
    [("origin", "https://other.test"), ("access-control-request-method", "PUT")];

/// With paths and preflights that need no identity.
fn open(options: EnvoyOptions) -> EnvoyOptions {
    options
        .configure("/allow_cors_preflight", true)
        .configure("/providers/0/skip_path_regex", "^/public(/|$)")
}

/// What a client may send of it.
fn guesses() -> [Vec<(&'static str, String)>; 8] {
    let guess = || "a-guess-of-the-client".to_owned();
    let right = || SEAL.to_owned();
    [
        vec![],
        vec![(HEADER, guess())],
        vec![(HEADER, String::new())],
        vec![("X_Authentik_Seal", right())],
        vec![(HEADER, right())],
        vec![(HEADER, guess()), (HEADER, right())],
        vec![(HEADER, format!("{SEAL},{SEAL}"))],
        vec![("X-Authentik-Seal", right()), ("x.authentik.seal", guess())],
    ]
}

fn with(request: Request, headers: &[(&'static str, String)]) -> Request {
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

#[test]
fn every_request_that_the_filter_lets_go_on_is_sealed_and_no_application_sees_it() {
    let place = Place::new(open);
    place.await_keys("demo");
    let (good, token) = (basic("alice", ALICE), bearer(&place.authentik.issue("demo", "alice")));
    let answer = place.get_as(&good).send();
    let cookie: Vec<_> =
        answer.headers("set-cookie").iter().map(|line| line.split(';').next().unwrap()).collect();
    let cookie = cookie.join("; ");
    assert!(!cookie.is_empty(), "{answer:?}");
    for guess in guesses() {
        for request in [
            place.get_as(&good),
            place.get_as(&token),
            place.get_as(place.newcomer("newcomer")),
            place.request("POST", "/").authorization(&good).body(b"a=b".to_vec()),
            place.get("/").header("cookie", &cookie),
            place.get("/").header("cookie", &cookie).authorization(&good),
            place.get("/public"),
            place.get("/public").authorization(&good),
            place.get("/public").authorization("Negotiate abc"),
            place.request("OPTIONS", "/").headers(&PREFLIGHT),
        ] {
            assert_unseen(&place.admits(with(request, &guess)));
        }
        place.turns_away(with(place.get("/"), &guess), 302);
        place.turns_away(with(place.get_as(basic("alice", "wrong")), &guess), 401);
    }
    over_a_websocket_and_http2(&place, &good);
    assert_eq!(place.stat("http.ingress.rbac.denied"), 0);
}

/// The application got no header that it could take for the seal.
#[track_caller]
fn assert_unseen(shown: &Value) {
    for part in ["headers", "trailers"] {
        for pair in shown[part].as_array().unwrap() {
            let (name, value) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
            assert!(!name.contains("seal") && !value.contains(SEAL), "{shown}");
        }
    }
}

fn over_a_websocket_and_http2(place: &Place, credential: &str) {
    for guess in [None, Some("a-guess-of-the-client"), Some(SEAL)] {
        let mut socket = open_socket(place.envoy.port(), Some(credential), guess).unwrap();
        let shown: Value = serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap();
        assert_eq!(username(&shown), "alice");
        assert_unseen(&shown);
        assert_eq!(open_socket(place.envoy.port(), None, guess).err(), Some(401));

        let call = Exchange::post(place.envoy.port(), "/").header("authorization", credential);
        let call = guess.iter().fold(call, |call, guess| call.header(HEADER, guess));
        let call = call.body(vec![0; 1_000]).trailer(HEADER, SEAL).trailer("x-checksum", "17");
        let answer = call.send();
        assert_eq!(answer.status, 200, "{answer:?}");
        let shown = answer.json();
        assert_eq!(username(&shown), "alice");
        assert_unseen(&shown);
    }
}

/// The WebSocket, or the status of the answer that refuses it.
fn open_socket(
    port: u16,
    authorization: Option<&str>,
    seal: Option<&str>,
) -> Result<WebSocket<TcpStream>, u16> {
    let mut request = format!("ws://127.0.0.1:{port}/socket").into_client_request().unwrap();
    for (name, value) in [("authorization", authorization), (HEADER, seal)] {
        if let Some(value) = value {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    match tungstenite::client(request, TcpStream::connect(("127.0.0.1", port)).unwrap()) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(error) => panic!("neither a WebSocket nor an answer: {error}"),
    }
}

/// As it is when it is taken out, refused, not fetched, or aimed at nothing.
#[test]
fn without_the_filter_nobody_passes_but_who_knows_the_seal() {
    let (authentik, app) = (Authentik::start(), App::start());
    let envoy = Envoy::start(open(options(&authentik, &app)).without_filter());
    let request = |method: &str, target: &str| {
        Request::new(envoy.port(), method, target).header("x-authentik-username", "forged")
    };
    let requests = || {
        [
            request("GET", "/"),
            request("GET", "/").header("accept", "text/html").header("sec-fetch-mode", "navigate"),
            request("GET", "/").authorization(basic("alice", ALICE)),
            request("GET", "/").authorization(bearer(&authentik.issue("demo", "alice"))),
            request("POST", "/").authorization(basic("alice", ALICE)).body(b"a=b".to_vec()),
            request("GET", "/public"),
            request("OPTIONS", "/").headers(&PREFLIGHT),
            request("GET", "/outpost.goauthentik.io/ping"),
        ]
    };
    let shorter = &SEAL[1..];
    let guesses: [&[(&str, &str)]; 8] = [
        &[],
        &[(HEADER, "a-guess-of-the-client")],
        &[(HEADER, "")],
        &[(HEADER, shorter)],
        &[(HEADER, &format!("{SEAL}x"))],
        &[(HEADER, &SEAL.to_ascii_uppercase())],
        &[(HEADER, &format!("a-guess,{SEAL}"))],
        &[("X_Authentik_Seal", SEAL), ("x.authentik.seal", SEAL), ("x-authentik-seals", SEAL)],
    ];
    for guess in guesses {
        for request in requests() {
            let answer = request.headers(guess).send();
            assert_eq!((answer.status, answer.body.as_str()), (403, "RBAC: access denied"), "{guess:?}");
        }
    }
    for guess in [None, Some("a-guess-of-the-client"), Some(shorter)] {
        let credential = basic("alice", ALICE);
        assert_eq!(open_socket(envoy.port(), Some(&credential), guess).err(), Some(403));
        let call = Exchange::post(envoy.port(), "/").header("authorization", &credential);
        let call = guess.iter().fold(call, |call, guess| call.header(HEADER, guess));
        assert_eq!(call.trailer(HEADER, SEAL).send().status, 403);
    }
    assert_eq!((app.count(), authentik.calls().len()), (0, 0), "nobody was asked, and nobody passed");
    // Which is why it is a secret.
    let shown = request("GET", "/").header(HEADER, SEAL).send().json();
    assert_eq!(username(&shown), "forged");
    assert_unseen(&shown);
}

/// A VM that has failed lets everything pass under this policy of Envoy's, which nobody should set.
#[test]
fn under_fail_open_the_policy_refuses_what_a_failed_filter_lets_pass() {
    for is_sealed in [false, true] {
        let mut place = Place::new(|options| {
            let mut options = options.plugin("failure_policy", "FAIL_OPEN");
            options.module = panicking_module().to_owned();
            if is_sealed { options } else { options.unsealed() }
        });
        place.may_panic = true;
        place.admits(place.get_as(basic("alice", ALICE)));
        place.get("/").header("x-test-panic", "1").send();
        for forged in [place.get("/"), place.get_as(basic("alice", ALICE)), place.get_as("Bearer forged")] {
            let forged = forged.header("x-authentik-username", "admin");
            if is_sealed {
                place.turns_away(forged, 403);
            } else {
                assert_eq!(username(&place.admits(forged)), "admin");
            }
        }
    }
}

#[test]
fn where_filter_and_policy_have_different_seals_nobody_passes() {
    // The filter sends the first of its values and no other.
    for (sent, accepted) in [(json!([OLD]), NEW), (json!([OLD, NEW]), NEW)] {
        let place =
            Place::new(|options| open(options).configure("/seal/values", sent).accepting(&[accepted]));
        let good = basic("alice", ALICE);
        for request in [
            place.get_as(&good),
            place.get_as(&good),
            place.get("/public"),
            place.request("OPTIONS", "/").headers(&PREFLIGHT),
            place.get_as(&good).header(HEADER, NEW),
        ] {
            let answer = place.turns_away(request, 403);
            assert_eq!(answer.body, "RBAC: access denied");
        }
        assert_eq!(open_socket(place.envoy.port(), Some(&good), Some(NEW)).err(), Some(403));
        place.turns_away(place.get("/"), 302);
        place.turns_away(place.get_as(basic("alice", "wrong")).header(HEADER, NEW), 401);
    }
}

/// The policy accepts both, then the filter sends the new one, then the policy forgets the old one.
#[test]
fn a_seal_is_changed_without_a_request_refused() {
    let mut configuration = Value::Null;
    let place = Place::new(|options| {
        let mut options = open(options).configure("/seal/values", json!([OLD])).accepting(&[OLD, NEW]);
        options.is_watched = true;
        // So that it can be seen which one is sent.
        let host = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";
        let removed = &mut options.bootstrap.pointer_mut(host).unwrap()["request_headers_to_remove"];
        assert_eq!(removed.take(), json!([HEADER]));
        configuration = options.configuration.clone();
        options
    });
    let good = basic("alice", ALICE);
    let sealed = || one(&place.admits(place.get_as(&good)), HEADER);
    assert_eq!(sealed(), OLD);
    configuration["seal"]["values"] = json!([NEW, OLD]);
    place.envoy.reconfigure(&configuration.to_string());
    eventually("the filter sends the new one", || sealed() == NEW);
    for path in ["/public", "/"] {
        assert_eq!(one(&place.admits(place.get(path).authorization(&good)), HEADER), NEW);
    }
    drop(place);
    let place = Place::new(|options| options.configure("/seal/values", json!([NEW])).accepting(&[NEW]));
    assert_unseen(&place.admits(place.get_as(&good)));
}

#[test]
fn no_log_reply_or_stat_shows_the_seal() {
    let place = Place::new(|options| {
        let mut options = open(options).concurrency(2);
        options.wasm_log_level = "trace".to_owned();
        options
    });
    for request in [
        place.get_as(basic("alice", ALICE)),
        place.get_as(bearer(&place.authentik.issue("demo", "alice"))),
        place.get("/public"),
    ] {
        place.admits(request.header(HEADER, SEAL));
    }
    place.authentik.fault(TOKEN, Fault::ServerError405);
    for (request, status) in [
        (place.get("/").header("accept", "text/html"), 302),
        (place.request("POST", "/").header("accept", "text/html"), 401),
        (place.get_as(bearer("forged")).header("accept", "application/json"), 401),
        (place.get_as("Digest x"), 401),
        (place.get("/outpost.goauthentik.io/another"), 404),
        (place.get("/outpost.goauthentik.io/ping"), 204),
        (place.get_as(place.newcomer("unlucky")), 503),
    ] {
        let answer = place.turns_away(request.header(HEADER, SEAL), status);
        assert!(!format!("{answer:?}").contains(SEAL), "{answer:?}");
    }
    place.await_log(&["status=503 "]);
    assert_secretless(&place.envoy.log());
    for page in ["/stats", "/stats/prometheus", "/server_info", "/clusters", "/runtime", "/listeners"] {
        assert_secretless(&place.envoy.admin(page).expect("an answer"));
    }
    // Envoy shows its configuration, the policy's value with it.
    let dump = place.envoy.admin("/config_dump").expect("an answer");
    let lines: Vec<_> = dump.lines().filter(|line| line.contains(SEAL)).collect();
    assert!(
        !lines.is_empty() && lines.iter().all(|line| line.trim() == format!("\"exact\": \"{SEAL}\"")),
        "{lines:?}"
    );
}
