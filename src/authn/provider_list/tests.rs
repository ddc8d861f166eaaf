//! Who reads the list, when, and what a list must be.

use serde_json::{Value, json};

use super::*;
use crate::authn::cache::shared::tests::{Memory, MemoryAndByte, at};
use crate::authn::env::{Host, Shared};
use crate::authn::fault::list::TokenRefusal;
use crate::base::secret::Secret;

mod replicas;

/// A random byte that delays no reading of the list.
const NO_DELAY: u8 = 11;

struct Worker<'a> {
    list: ProviderList,
    memory: &'a Memory,
}

const TOKEN: &str = "the-token-of-the-outpost";

fn worker<'a>(memory: &'a Memory, authentik: Value) -> Worker<'a> {
    let mut configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test", "token": TOKEN},
    });
    for (name, value) in authentik.as_object().unwrap() {
        configuration["authentik"][name] = value.clone();
    }
    let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
    Worker { list: ProviderList::new(&Rc::new(config)).unwrap(), memory }
}

impl Worker<'_> {
    fn run<T>(&mut self, seconds: u64, run: impl FnOnce(&mut ProviderList, &Env<'_>) -> T) -> T {
        run(&mut self.list, &Env { now: at(seconds), host: &MemoryAndByte(self.memory, NO_DELAY) })
    }

    /// One tick; the path of its call.
    fn tick(&mut self, seconds: u64) -> Option<String> {
        self.run(seconds, |list, env| list.tick(env)).map(|call| path(&call))
    }

    /// An answer; the path of the next call.
    fn answered(&mut self, seconds: u64, answer: &Answer) -> Option<String> {
        self.run(seconds, |list, env| list.answered(env, answer)).map(|call| path(&call))
    }

    /// The primary keys of a new list.
    fn news(&mut self) -> Option<Vec<u64>> {
        let news = self.list.take_news()?;
        Some(news.entries.iter().map(|entry| entry["pk"].as_u64().unwrap()).collect())
    }

    fn reads(&mut self, seconds: u64, keys: &[u64]) {
        assert_eq!(self.tick(seconds), page_path("proxy", 1), "at {seconds}");
        assert_eq!(self.answered(seconds, &providers(keys)), None);
    }
}

fn path(call: &Call) -> String {
    let value = |name: &str| {
        let (_, value) = call.headers.iter().find(|(other, _)| *other == name).unwrap();
        String::from_utf8(value.as_bytes().to_vec()).unwrap()
    };
    assert_eq!(value("authorization"), format!("Bearer {TOKEN}"));
    value(":path")
}

fn page_path(list: &str, page: u64) -> Option<String> {
    Some(format!("/api/v3/outposts/{list}/?page={page}&page_size=100"))
}

fn status(status: u16, body: &[u8]) -> Answer {
    Answer::Response { status, retry_after: None, date: None, body: Secret::new(body.to_vec()) }
}

fn page((current, next, count): (u64, u64, usize), results: &[Value]) -> Answer {
    let page = json!({"pagination": {"current": current, "next": next, "count": count}, "results": results});
    status(200, page.to_string().as_bytes())
}

fn entry(key: u64) -> Value {
    json!({"pk": key, "client_secret": "the-client-secret", "cookie_secret": "the-cookie-secret"})
}

/// A list of one page.
fn providers(keys: &[u64]) -> Answer {
    page((1, 0, keys.len()), &keys.iter().copied().map(entry).collect::<Vec<_>>())
}

#[test]
fn one_worker_reads_and_the_others_know_without_a_call() {
    let memory = Memory::default();
    let (mut first, mut second) = (worker(&memory, json!({})), worker(&memory, json!({})));
    assert_eq!(first.tick(0), page_path("proxy", 1));
    assert_eq!((second.tick(0), second.tick(1), first.tick(1)), (None, None, None), "one reads");
    assert_eq!(first.answered(2, &providers(&[1, 2])), None);
    assert_eq!((first.news(), first.news()), (Some(vec![1, 2]), None));
    assert_eq!((second.tick(2), second.news()), (None, Some(vec![1, 2])));
    let mut third = worker(&memory, json!({}));
    assert_eq!((third.tick(40), third.news()), (None, Some(vec![1, 2])), "a new worker");
    assert_eq!([first.list.age(at(40)), third.list.age(at(40))], [Some(38); 2]);
}

#[test]
fn list_is_read_at_once_when_authentik_says_that_it_has_changed() {
    let memory = Memory::default();
    let mut worker = worker(&memory, json!({}));
    worker.reads(0, &[1]);
    assert_eq!(worker.tick(5), None);
    worker.list.read_at_once();
    worker.reads(6, &[1, 2]);
    assert_eq!(worker.news(), Some(vec![1, 2]));
    assert_eq!(worker.tick(10), None, "once");
}

#[test]
fn same_list_is_no_news_and_a_changed_one_is() {
    let memory = Memory::default();
    let (mut first, mut second) = (worker(&memory, json!({})), worker(&memory, json!({})));
    first.reads(0, &[1]);
    second.tick(1);
    assert_eq!((first.news(), second.news()), (Some(vec![1]), Some(vec![1])));
    first.reads(60, &[1]);
    second.tick(61);
    assert_eq!((first.news(), second.news()), (None, None));
    assert_eq!(second.list.age(at(61)), Some(1), "the others know that it was read again");
    first.reads(120, &[1, 2]);
    second.tick(121);
    assert_eq!((first.news(), second.news()), (Some(vec![1, 2]), Some(vec![1, 2])));
    first.reads(180, &[]);
    second.tick(181);
    assert_eq!((first.news(), second.news()), (Some(vec![]), Some(vec![])), "an empty list is a list");
}

#[test]
fn pages_are_one_list() {
    let memory = Memory::default();
    let mut worker = worker(&memory, json!({}));
    assert_eq!(worker.tick(0), page_path("proxy", 1));
    assert_eq!(worker.answered(0, &page((1, 2, 3), &[entry(1), entry(2)])), page_path("proxy", 2));
    assert_eq!(worker.news(), None, "not before the last page");
    assert_eq!(worker.answered(1, &page((2, 0, 3), &[entry(3)])), None);
    assert_eq!(worker.news(), Some(vec![1, 2, 3]));
}

#[test]
fn named_outpost_has_only_its_own_providers() {
    let memory = Memory::default();
    let outposts = |names: &[(&str, &str)]| {
        let outpost = |(name, kind): &(&str, &str)| json!({"name": name, "type": kind, "providers": [2, 3]});
        page((1, 0, names.len()), &names.iter().map(outpost).collect::<Vec<_>>())
    };
    let mut found = worker(&memory, json!({"outpost": "edge"}));
    assert_eq!(found.tick(0), page_path("instances", 1));
    let answer = outposts(&[("other", "proxy"), ("edge", "proxy")]);
    assert_eq!(found.answered(0, &answer), page_path("proxy", 1));
    assert_eq!(found.answered(0, &providers(&[1, 2, 3, 4])), None);
    assert_eq!(found.news(), Some(vec![2, 3]));
    for others in [&[("other", "proxy")][..], &[("edge", "ldap")], &[]] {
        let memory = Memory::default();
        let mut worker = worker(&memory, json!({"outpost": "edge"}));
        assert_eq!(worker.tick(0), page_path("instances", 1));
        assert_eq!(worker.answered(0, &outposts(others)), None);
        assert_eq!(worker.list.fault(), Fault::List(ListFault::UnknownOutpost), "{others:?}");
    }
}

#[test]
fn what_is_no_list_changes_nothing() {
    let refused = |detail: &str| status(403, json!({"detail": detail}).to_string().as_bytes());
    let list = |fault| Fault::List(fault);
    let first_page = page((1, 2, 3), &[entry(1), entry(2)]);
    let bad = Fault::BadAnswer { status: 200 };
    let cases: Vec<(&[Answer], Fault)> = vec![
        (&[Answer::Reset], Fault::Reset),
        (&[Answer::Lost], Fault::Lost),
        (&[Answer::TooLarge], Fault::AnswerTooLarge),
    ];
    let mut cases: Vec<(Vec<Answer>, Fault)> =
        cases.into_iter().map(|(answers, fault)| (answers.to_vec(), fault)).collect();
    cases.extend([
        (vec![status(500, b"<html>")], Fault::Unavailable { status: 500, retry_after: None }),
        (vec![status(200, b"<html>")], bad.clone()),
        (vec![status(200, b"[]")], bad.clone()),
        (
            vec![status(200, br#"{"pagination": {"current": 1, "next": 0, "count": 1}, "results": [7]}"#)],
            bad.clone(),
        ),
        (vec![page((2, 0, 1), &[entry(1)])], bad.clone()),
        (vec![page((1, 1, 2), &[entry(1)])], bad.clone()),
        (vec![page((1, 3, 3), &[entry(1)])], bad),
        (vec![page((1, 0, 2), &[entry(1)])], list(ListFault::Changed)),
        (vec![first_page.clone(), page((2, 0, 2), &[entry(3)])], list(ListFault::Changed)),
        (vec![first_page.clone(), status(404, b"")], list(ListFault::Changed)),
        (vec![status(404, b"")], list(ListFault::NoApi { status: 404 })),
        (vec![status(302, b"")], list(ListFault::NoApi { status: 302 })),
        (vec![refused("Token invalid/expired")], list(ListFault::TokenRefused(TokenRefusal::Unknown))),
        (
            vec![refused("You do not have permission to perform this action.")],
            list(ListFault::TokenRefused(TokenRefusal::NoPermission)),
        ),
        (
            vec![refused("Authentication credentials were not provided.")],
            list(ListFault::TokenRefused(TokenRefusal::NotReceived)),
        ),
        (vec![status(403, b"<html>")], list(ListFault::TokenRefused(TokenRefusal::Other))),
    ]);
    for (answers, fault) in cases {
        let memory = Memory::default();
        let (mut first, mut second) = (worker(&memory, json!({})), worker(&memory, json!({})));
        first.reads(0, &[1, 2, 3]);
        assert_eq!(first.news(), Some(vec![1, 2, 3]));
        assert_eq!(first.tick(60), page_path("proxy", 1));
        for answer in &answers {
            first.answered(60, answer);
        }
        assert_eq!((first.list.fault(), first.news()), (fault, None), "{answers:?}");
        assert_eq!(first.list.age(at(60)), Some(60));
        second.tick(60);
        assert_eq!(second.news(), Some(vec![1, 2, 3]), "the others know the old one");
        assert_eq!((first.tick(60), second.tick(60)), (None, None), "nobody tries again at once");
        assert_eq!(second.tick(62), page_path("proxy", 1), "but soon");
    }
}

#[test]
fn list_has_an_end() {
    let memory = Memory::default();
    let mut worker = worker(&memory, json!({}));
    assert_eq!(worker.tick(0), page_path("proxy", 1));
    let full = |number| page((number, number + 1, 100_000), &[entry(number)]);
    let mut asked = 1;
    while worker.answered(0, &full(asked)).is_some() {
        asked += 1;
    }
    assert_eq!((asked, worker.list.fault()), (200, Fault::List(ListFault::TooLong)));
    let mut long = entry(1);
    long["name"] = json!("x".repeat(1 << 20));
    assert_eq!(worker.tick(100), page_path("proxy", 1));
    let mut asked = 1;
    while worker.answered(100, &page((asked, asked + 1, 100), core::slice::from_ref(&long))).is_some() {
        asked += 1;
    }
    assert_eq!((asked, worker.list.fault()), (8, Fault::List(ListFault::TooLong)));
}

#[test]
fn shared_data_has_no_secret_and_takes_none_that_is_not_ours() {
    let memory = Memory::default();
    let mut first = worker(&memory, json!({}));
    first.reads(0, &[1]);
    for name in memory.names() {
        let value = memory.shared(&name).unwrap().value;
        for secret in ["the-client-secret", "the-cookie-secret", TOKEN] {
            let is_there = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_there(&value) && !is_there(name.as_bytes()), "{secret} in {name}");
        }
    }
    let mut foreign = worker(&memory, json!({"token": "another-token"}));
    foreign.run(1, |list, env| list.adopt(env));
    assert_eq!(foreign.news(), None, "another token");
    for name in memory.names() {
        let untouched = memory.shared(&name).unwrap().value;
        for index in 0..untouched.len() {
            let mut changed = untouched.clone();
            changed[index] ^= 1;
            memory.share(&name, &changed);
            let mut reader = worker(&memory, json!({}));
            reader.run(1, |list, env| list.adopt(env));
            assert!(reader.news().is_none() || name.ends_with("/lease"), "{name}: byte {index}");
        }
        memory.share(&name, &untouched);
    }
}

#[test]
fn long_overdue_list_is_taken_only_after_a_failed_reading() {
    let memory = Memory::default();
    worker(&memory, json!({})).reads(0, &[1]);
    let mut late = worker(&memory, json!({}));
    assert_eq!(late.tick(1000), page_path("proxy", 1));
    assert_eq!(late.news(), None, "authentik may have taken a provider out since");
    assert_eq!(late.answered(1001, &Answer::Reset), None);
    assert_eq!(late.news(), Some(vec![1]));
    let mut follower = worker(&memory, json!({}));
    assert_eq!((follower.tick(1001), follower.news()), (None, Some(vec![1])));
}

#[test]
fn worker_that_is_gone_keeps_nobody_waiting() {
    let memory = Memory::default();
    let (mut gone, mut other) = (worker(&memory, json!({})), worker(&memory, json!({})));
    assert!(gone.tick(0).is_some());
    assert_eq!((other.tick(1), other.tick(2)), (None, None));
    assert_eq!(other.tick(LEASE_SECONDS), page_path("proxy", 1));
}

#[test]
fn failures_are_tried_less_and_less_often() {
    let memory = Memory::default();
    let mut worker = worker(&memory, json!({}));
    let mut tried_at = Vec::new();
    for second in 0..400 {
        if worker.tick(second).is_some() {
            tried_at.push(second);
            worker.answered(second, &Answer::Reset);
        }
    }
    assert!((8..=13).contains(&tried_at.len()), "{tried_at:?}");
}
