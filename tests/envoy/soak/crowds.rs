//! Crowds: many requests at one time, with one credential or with one each. Every one of them is judged by itself.

use super::super::crowd::{Crowd, Get, Protocol};
use super::client::Client;
use super::credentials::{asked_as, bad};
use super::expectation::{Expected, NUMBER, Outcome};
use super::site::{ES, HS, RS};

/// More than one callback of the filter can decide: see `envoy::crowds`.
const CROWD: usize = 500;

#[derive(Clone, Copy)]
enum Kind {
    NewCredential,
    WrongCredential,
    NewCredentials,
    WrongCredentials,
}

impl Kind {
    const ALL: [Self; 4] =
        [Self::NewCredential, Self::WrongCredential, Self::NewCredentials, Self::WrongCredentials];

    const fn name(self) -> &'static str {
        match self {
            Self::NewCredential => "crowd, one new credential",
            Self::WrongCredential => "crowd, one wrong credential",
            Self::NewCredentials => "crowd, new credentials",
            Self::WrongCredentials => "crowd, wrong credentials",
        }
    }
}

/// One of a crowd: who he is, his `Authorization`, and what may become of his request.
type Member = (String, String, Expected);

pub(super) fn crowd(client: &mut Client<'_>) {
    let kind = client.pick(&Kind::ALL);
    let host = match kind {
        // The stand-in signs five hundred tokens for them, one after the other: with RS256 it takes too long.
        Kind::NewCredentials => HS,
        _ => client.pick(&[HS, RS, ES]),
    };
    let protocol = client.pick(&[Protocol::Http1, Protocol::Http2]);
    let members: Vec<Member> = match kind {
        Kind::NewCredential => vec![newcomer(client, host); CROWD],
        Kind::WrongCredential => vec![stranger(client); CROWD],
        Kind::NewCredentials => (0..CROWD).map(|_| newcomer(client, host)).collect(),
        Kind::WrongCredentials => (0..CROWD).map(|_| stranger(client)).collect(),
    };
    let mut numbers = Vec::new();
    let mut requests = Vec::new();
    for (who, authorization, expected) in members {
        let number = client.begin(kind.name(), &format!("{who} at {host}, {protocol:?}"), expected);
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
