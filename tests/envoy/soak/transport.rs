//! Requests that are odd in how they come: paths, bodies, protocols, clients that leave.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use super::super::hostile::ODD;
use super::super::stripping::FORGED;
use super::super::wire::{Answer, Connection, bearer};
use super::client::Client;
use super::credentials::{asked_as, bad, good};
use super::expectation::{Aspect, Expected, NUMBER, Outcome};
use super::site::{ES, HS, LAX, REVALIDATED, RS, USERS, password_of};

const MEBIBYTE: usize = 1 << 20;

pub(super) fn open_path(client: &mut Client<'_>) {
    let target =
        client.pick(&["/public", "/public/", "/public/a?b=/c", "/public/%C3%BC", "//public", "/a/../public"]);
    let request = client.request("GET", HS, target).headers(&FORGED);
    client.send("open path", target, Expected::only(Outcome::Anonymous), request);
}

pub(super) fn near_miss(client: &mut Client<'_>) {
    let target = client.pick(&ODD);
    let request = client.request("GET", HS, target).headers(&FORGED);
    let what = target.escape_ascii().to_string();
    client.send("open path, missed", &what, Expected::only(Outcome::Refused), request);
}

pub(super) fn upload(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES]);
    let size = client.pick(&[0, 10, 10_000, 200_000, 2 * MEBIBYTE]);
    let is_chunked = client.dice.below(2) == 0;
    let request = client.request("POST", host, "/upload");
    let request = if is_chunked {
        let chunk = vec![b'a'; (size / 8).max(1)];
        request.chunks(&vec![&chunk[..]; size / chunk.len()])
    } else {
        request.body(vec![b'a'; size])
    };
    let what = format!("{size} bytes at {host}, chunked: {is_chunked}");
    match client.dice.below(4) {
        0 => {
            let (authorization, expected) = bad(client);
            client.send("upload, bad credential", &what, expected, request.authorization(authorization));
        }
        1 => {
            client.send("upload, no credential", &what, Expected::status(401), request);
        }
        _ => {
            let (_, authorization, expected) = good(client, host);
            client.judged(("upload", &what), expected, |number| {
                let answer = request.authorization(authorization).header(NUMBER, number.to_string()).send();
                let outcome = Outcome::of(&answer, number)?;
                whole(&outcome, &answer, size).map(|()| (outcome, ()))
            });
        }
    }
}

/// The application got all of the body.
fn whole(outcome: &Outcome, answer: &Answer, size: usize) -> Result<(), String> {
    if outcome.is_forwarded() && answer.json()["body_bytes"] != size {
        return Err(format!("{} bytes of {size} arrived", answer.json()["body_bytes"]));
    }
    Ok(())
}

pub(super) fn expect_continue(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES]);
    let (user, authorization, expected) = good(client, host);
    let head = client.request("PUT", host, "/").authorization(authorization);
    let head = head.header("expect", "100-continue").header("content-length", "4");
    client.judged(("expect: 100-continue", user), expected, |number| {
        let mut stream = head.header(NUMBER, number.to_string()).open();
        let interim = interim(&mut stream)?;
        if !interim.starts_with("HTTP/1.1 100 ") {
            return Err(format!("no 100 but {}", interim.lines().next().unwrap_or_default()));
        }
        // Envoy may have refused it in the meantime.
        let _ = stream.write_all(b"body");
        let answer = Answer::read(&mut stream);
        let outcome = Outcome::of(&answer, number)?;
        whole(&outcome, &answer, 4).map(|()| (outcome, ()))
    });
}

/// The head of an answer and not one byte more.
fn interim(stream: &mut TcpStream) -> Result<String, String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            end => return Err(format!("no interim answer: {end:?}")),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The client leaves while authentik is asked, in the middle of a body, or at once. Nobody else has its credential.
pub(super) fn disconnect(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES]);
    let (user, authorization) = client.site.newcomer();
    let is_good = client.dice.below(3) > 0;
    let (authorization, expected) =
        if is_good { (authorization, Expected::user(&user)) } else { bad(client) };
    let size = client.pick(&[0, 1_000, MEBIBYTE]);
    let request = client.request("POST", host, "/left").authorization(authorization);
    client.judged(("disconnect", &format!("{user}, good: {is_good}, {size} bytes")), expected, |number| {
        let request = request.header("content-length", size.to_string());
        let mut stream = request.header(NUMBER, number.to_string()).open();
        let _ = stream.write_all(&vec![b'a'; size / 2]);
        drop(stream);
        Ok((Outcome::Left, ()))
    });
}

/// HTTP/2: each stream has its own verdict.
pub(super) fn multiplexed(client: &mut Client<'_>) {
    let mut streams = Vec::new();
    for stream in 0..6 {
        let (user, authorization, expected) = match stream {
            0 => ("nobody", bad(client).0, Expected::status(302).asked()),
            1 => ("nobody", String::new(), Expected::status(302)),
            _ => good(client, LAX),
        };
        streams.push((user, authorization, expected));
    }
    let url = format!("http://h2.domain.test:{}/", client.port);
    let client = &*client;
    thread::scope(|scope| {
        for (user, authorization, expected) in streams {
            let url = &url;
            scope.spawn(move || {
                client.judged(("http/2", user), expected, |number| {
                    let request = client.http2.get(url).header(NUMBER, number.to_string());
                    let request = FORGED
                        .iter()
                        .fold(request, |it, (name, value)| it.header(name.to_ascii_lowercase(), *value));
                    let answer = request.header("authorization", authorization).send();
                    let answer = answer.map_err(|error| error.to_string())?;
                    let status = answer.status().as_u16();
                    let body = answer.text().map_err(|error| error.to_string())?;
                    let outcome = match status {
                        200 => Outcome::shown(&body, number)?,
                        status => Outcome::Status(status),
                    };
                    Ok((outcome, ()))
                })
            });
        }
    });
}

/// One connection, many users: nobody inherits anything.
pub(super) fn kept_connection(client: &mut Client<'_>) {
    let mut connection = Connection::open(client.port);
    for _ in 0..6 {
        client.begin_turn();
        let host = client.pick(&[HS, RS, ES, LAX]);
        let (user, authorization, expected) = match client.dice.below(3) {
            0 => ("nobody", None, Expected::status(302)),
            1 if host != LAX => {
                let (authorization, expected) = bad(client);
                ("nobody", Some(authorization), expected)
            }
            _ => {
                let (user, authorization, expected) = good(client, host);
                (user, Some(authorization), expected)
            }
        };
        let what = format!("{user} at {host}");
        let heard = client.judged(("kept connection", &what), expected, |number| {
            let number_text = number.to_string();
            let mut headers = vec![(NUMBER, number_text.as_str())];
            headers.extend(authorization.as_deref().map(|it| ("authorization", it)));
            let answer = connection.get_with(host, &headers);
            Outcome::of(&answer, number).map(|outcome| (outcome, ()))
        });
        if heard.is_none() {
            return;
        }
    }
}

pub(super) fn preflight(client: &mut Client<'_>) {
    let marks = [("origin", "https://other.test"), ("access-control-request-method", "PUT")];
    let host = client.pick(&[HS, RS, ES, LAX, REVALIDATED]);
    let (what, method, marks, expected) = match client.dice.below(3) {
        0 => ("no preflight: another method", "POST", &marks[..], Expected::status(401)),
        1 => ("no preflight: one mark", "OPTIONS", &marks[..1], Expected::status(401)),
        _ => ("preflight", "OPTIONS", &marks[..], Expected::only(Outcome::Anonymous)),
    };
    let request = client.request(method, host, "/").headers(marks).headers(&FORGED);
    client.send("CORS preflight", what, expected, request);
}

pub(super) fn grpc(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES]);
    let request = client.request("POST", host, "/service/Method").header("content-type", "application/grpc");
    let refused = Expected::only(Outcome::Grpc(16));
    match client.dice.below(3) {
        0 => {
            client.send("gRPC, no credential", host, refused, request);
        }
        1 => {
            let (authorization, _) = bad(client);
            let expected = refused.during(Aspect::Outage, Outcome::Grpc(14));
            client.send("gRPC, bad credential", host, expected, request.authorization(authorization));
        }
        _ => {
            let user = client.pick(&USERS);
            let token = client.site.issue(RS, user);
            let request =
                client.request("POST", RS, "/service/Method").header("content-type", "application/grpc");
            let request = request.authorization(bearer(&token));
            client.send("gRPC, good credential", user, Expected::user(user), request);
        }
    }
}

/// A WebSocket cannot log in.
pub(super) fn websocket(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES, LAX]);
    let request = client.get(host).headers(&[("upgrade", "websocket"), ("connection", "upgrade")]);
    if host != LAX && client.dice.below(2) == 0 {
        let (authorization, expected) = bad(client);
        client.send("WebSocket, bad credential", host, expected, request.authorization(authorization));
    } else {
        client.send("WebSocket, no credential", host, Expected::status(401), request);
    }
    // That the way is open for those who may is another matter: the application speaks no WebSocket.
    let user = client.pick(&USERS);
    let request = client.request("GET", host, "/").authorization(password_of(user));
    client.send("beside a WebSocket", user, asked_as(host, user), request);
}
