//! Crowds: many requests at one time, with one credential or with one each. Every one of them is judged by itself.

use super::super::crowd::{Crowd, Get, Protocol};
use super::client::Client;
use super::credentials::{asked_as, bad};
use super::expectation::{Expected, NUMBER, Outcome};
use super::site::{ES, HS, RS};

/// More than one callback of the filter can decide: see `envoy::crowds`.
const CROWD: usize = 500;

/// One of a crowd: who he is, his `Authorization`, and what may become of his request.
type Member = (String, String, Expected);

pub(super) fn crowd(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES]);
    let protocol = client.pick(&[Protocol::Http1, Protocol::Http2]);
    let (kind, members): (_, Vec<Member>) = match client.dice.below(4) {
        0 => ("crowd, one new credential", vec![newcomer(client, host); CROWD]),
        1 => ("crowd, one wrong credential", vec![stranger(client); CROWD]),
        2 => ("crowd, new credentials", (0..CROWD).map(|_| newcomer(client, host)).collect()),
        _ => ("crowd, wrong credentials", (0..CROWD).map(|_| stranger(client)).collect()),
    };
    let mut numbers = Vec::new();
    let mut requests = Vec::new();
    for (who, authorization, expected) in members {
        let number = client.begin(kind, &format!("{who} at {host}, {protocol:?}"), expected);
        let headers = [("authorization", authorization), (NUMBER, number.to_string())];
        let headers = headers.map(|(name, value)| (name.to_owned(), value));
        requests.push(Get { host: host.to_owned(), target: "/".to_owned(), headers: headers.into() });
        numbers.push(number);
    }
    let answers = Crowd::send(client.port, protocol, requests).answers();
    for (number, answer) in numbers.into_iter().zip(answers) {
        client.site.ledger.answered(number, answer.and_then(|answer| Outcome::of(&answer, number)));
    }
}

fn newcomer(client: &Client<'_>, host: &str) -> Member {
    let (user, authorization) = client.site.newcomer();
    let expected = asked_as(host, &user);
    (user, authorization, expected)
}

fn stranger(client: &mut Client<'_>) -> Member {
    let (authorization, expected) = bad(client);
    ("a stranger".to_owned(), authorization, expected)
}
