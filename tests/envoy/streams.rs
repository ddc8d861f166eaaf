//! Requests that are more than a head and a body: server-sent events, WebSockets, gRPC and trailers over HTTP/2. They too
//! begin after the verdict, and then flow.

use std::io::Read as _;
use std::net::TcpStream;
use std::str::from_utf8;
use std::thread;

use fake_authentik::{ALICE, Fault, Gate, TOKEN};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::HandshakeError;
use tungstenite::{Error, Message, WebSocket};

use super::http2::Exchange;
use super::place::{Place, eventually, one, username};
use super::wire::basic;

const BYTES: usize = 5 << 20;

/// Some servers read trailers as headers.
const FORGED: [&str; 4] = ["x-authentik-username", "x_authentik_groups", "x.authentik.uid", "authorization"];

#[test]
fn streams_begin_after_the_verdict_and_then_flow() {
    let place = Place::new(|options| options.configure("/authentik/timeout_seconds", 60));
    place.await_keys("demo");
    server_sent_events_come_as_they_are_sent(&place);
    a_websocket_is_opened_for_whom_authentik_vouches_for(&place);
    a_websocket_is_opened_for_nobody_else(&place);
}

#[test]
fn grpc_over_http2_waits_with_body_and_trailers() {
    let place = Place::new(|options| {
        let mut options = options.configure("/authentik/timeout_seconds", 60);
        options.speak_http2_to("app");
        options
    });
    place.await_keys("demo");
    a_call_and_its_trailers_arrive_whole(&place);
    a_refused_call_reaches_nobody(&place);
}

/// Runs this while authentik is asked, and lets it answer when the application was seen to know of nothing.
fn while_authentik_is_asked<T: Send>(place: &Place, request: impl FnOnce() -> T + Send) -> T {
    let gate = Gate::closed();
    let seen = place.app.count();
    place.authentik.forget_calls();
    place.authentik.fault(TOKEN, Fault::Held(gate.clone()));
    thread::scope(|scope| {
        let answer = scope.spawn(request);
        eventually("authentik is asked", || place.calls_to(TOKEN) == 1);
        assert_eq!((place.app.count(), place.pending()), (seen, 1));
        gate.open();
        let answer = answer.join().expect("an answer");
        place.authentik.clear_faults();
        answer
    })
}

fn server_sent_events_come_as_they_are_sent(place: &Place) {
    let request = place.get("/events").authorization(place.newcomer("listener"));
    let mut stream = while_authentik_is_asked(place, || request.header("accept", "text/event-stream").open());
    let event = first_event(&mut stream);
    assert_eq!(username(&event), "listener");
    assert_eq!(place.pending(), 1, "the stream is open");
    drop(stream);
    eventually("Envoy has noticed that the client left", || place.pending() == 0);
    // An EventSource of a page says so.
    let cors = [("accept", "text/event-stream"), ("sec-fetch-mode", "cors")];
    place.turns_away(place.get("/events").headers(&cors), 401);
}

fn first_event(stream: &mut TcpStream) -> Value {
    let mut bytes = Vec::new();
    loop {
        let text = from_utf8(&bytes).unwrap_or_default();
        if let Some((_, event)) = text.split_once("data: ")
            && let Some((event, _)) = event.split_once("\n\n")
        {
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            return serde_json::from_str(event).unwrap();
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).expect("more of the event");
        assert_ne!(count, 0, "no event but {text}");
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// The WebSocket, or the status of the answer that refuses it.
fn open_socket(place: &Place, authorization: Option<&str>) -> Result<WebSocket<TcpStream>, u16> {
    let url = format!("ws://127.0.0.1:{}/socket", place.envoy.port());
    let mut request = url.into_client_request().unwrap();
    if let Some(value) = authorization {
        request.headers_mut().insert("authorization", value.parse().unwrap());
    }
    request.headers_mut().insert("x-authentik-username", "mallory".parse().unwrap());
    request.headers_mut().insert("connection", "Upgrade, x-authentik-username".parse().unwrap());
    let stream = TcpStream::connect(("127.0.0.1", place.envoy.port())).unwrap();
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(error) => panic!("neither a WebSocket nor an answer: {error}"),
    }
}

fn a_websocket_is_opened_for_whom_authentik_vouches_for(place: &Place) {
    let credential = place.newcomer("talker");
    let mut socket = while_authentik_is_asked(place, || open_socket(place, Some(&credential))).unwrap();
    let shown: Value = serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap();
    assert_eq!((username(&shown).as_str(), one(&shown, "upgrade").as_str()), ("talker", "websocket"));
    assert_eq!(one(&shown, "connection"), "upgrade", "nobody names headers for the next hop to drop");
    for text in ["one", "two"] {
        socket.send(Message::text(text)).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text(text));
    }
    drop(socket);
    eventually("Envoy has noticed that the client left", || place.pending() == 0);
}

fn a_websocket_is_opened_for_nobody_else(place: &Place) {
    let seen = place.app.count();
    let wrong = basic("alice", "wrong");
    for authorization in [None, Some(wrong.as_str()), Some("Bearer a.b.c"), Some("Negotiate abc")] {
        assert_eq!(open_socket(place, authorization).err(), Some(401), "{authorization:?}");
    }
    place.authentik.fault(TOKEN, Fault::ServerError405);
    assert_eq!(open_socket(place, Some(&basic("alice", ALICE))).err(), Some(503));
    place.authentik.clear_faults();
    assert_eq!(place.app.count(), seen, "the application saw a WebSocket that nobody vouched for");
}

fn grpc(place: &Place, credential: &str) -> Exchange {
    Exchange::post(place.envoy.port(), "/demo.Service/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", credential)
        .header("x-authentik-username", "mallory")
}

fn a_call_and_its_trailers_arrive_whole(place: &Place) {
    let call = grpc(place, &place.newcomer("caller")).body(vec![0; BYTES]).trailer("x-checksum", "17");
    let call = FORGED.into_iter().fold(call, |call, name| call.trailer(name, "mallory"));
    let answer = while_authentik_is_asked(place, || call.send());
    assert_eq!(answer.status, 200);
    let shown = answer.json();
    assert_eq!((username(&shown).as_str(), &shown["body_bytes"]), ("caller", &json!(BYTES)));
    assert_eq!(shown["trailers"], json!([["x-checksum", "17"]]));
}

fn a_refused_call_reaches_nobody(place: &Place) {
    let seen = place.app.count();
    let call = grpc(place, &basic("alice", "wrong")).body(vec![0; BYTES]).trailer("x-checksum", "17");
    let answer = call.send();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("16")), "{answer:?}");
    place.authentik.fault(TOKEN, Fault::ServerError405);
    let answer = grpc(place, &place.newcomer("unlucky")).body(vec![0; 10]).send();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")), "{answer:?}");
    place.authentik.clear_faults();
    assert_eq!(place.app.count(), seen, "the application saw a call that nobody vouched for");
}
