//! Readings that fail, that have no end, and shared data that is not ours.

use super::*;

#[test]
fn failed_reading_loses_nothing() {
    let one = logout(1, 0, "alice");
    let first_page = page_of((1, 2, 3), &[one.clone(), logout(2, 10, "bob")]);
    let refused = |detail: &str| status(403, json!({"detail": detail}).to_string().as_bytes());
    let cases: Vec<Vec<Answer>> = vec![
        vec![Answer::Reset],
        vec![Answer::Lost],
        vec![Answer::TooLarge],
        vec![status(500, b"<html>")],
        vec![status(405, b"")],
        vec![status(200, b"<html>")],
        vec![status(200, b"[]")],
        vec![status(404, b"")],
        vec![status(302, b"")],
        vec![refused("Token invalid/expired")],
        vec![refused("You do not have permission to perform this action.")],
        vec![page_of((2, 0, 1), core::slice::from_ref(&one))],
        vec![page_of((1, 1, 2), core::slice::from_ref(&one))],
        vec![page_of((1, 3, 3), core::slice::from_ref(&one))],
        vec![first_page.clone(), status(500, b"")],
        vec![first_page.clone(), status(404, b"")],
        // An event was removed, so one may have been passed over.
        vec![first_page.clone(), page_of((2, 0, 2), &[logout(3, 11, "carol")])],
    ];
    for answers in cases {
        let memory = Memory::default();
        let (mut first, mut second) = (worker(&memory), worker(&memory));
        first.begins(1, &one);
        first.news();
        assert_eq!(first.tick(16), Some(since_before(0)));
        for answer in &answers {
            first.answered(16, answer);
        }
        assert_eq!((first.news(), first.log.age(at(16))), (vec![], Some(15)), "{answers:?}");
        assert_eq!((first.tick(16), second.tick(16)), (None, None), "nobody tries again at once");
        assert_eq!(second.tick(18), Some(since_before(0)), "but soon");
        assert_eq!(second.answered(18, &page(&[one.clone(), logout(2, 10, "bob")])), None);
        assert_eq!(second.news(), [user(2, "bob")]);
    }
}

#[test]
fn failures_are_tried_less_and_less_often() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    let tries: Vec<_> = (0..400)
        .filter(|second| {
            worker.tick(*second).is_some_and(|_| worker.answered(*second, &Answer::Reset).is_none())
        })
        .collect();
    assert!((8..=13).contains(&tries.len()), "{tries:?}");
}

#[test]
fn log_that_is_too_long_means_everybody_and_is_searched_for_what_other_envoys_wrote() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    worker.begins(1, &logout(1, 0, "alice"));
    worker.news();
    assert_eq!(worker.tick(16), Some(since_before(0)));
    let many: Vec<_> = (0..100).map(|number| logout(number, 5, "alice")).collect();
    assert_eq!(worker.answered(16, &page_of((1, 2, 2001), &many)), newest_query());
    let newest = logout(9_999, 15, "zoe");
    let relayed_page =
        |number| Some(since_before(0).replace("events 1/100 c", &format!("relayed {number}/100 -c")));
    assert_eq!(worker.answered(16, &page(core::slice::from_ref(&newest))), relayed_page(1));
    let ended = relayed::event(5, 7, json!({"client_id": "demo-client-id", "sid": "s", "at": 1}));
    assert_eq!(worker.answered(16, &page_of((1, 2, 2), core::slice::from_ref(&ended))), relayed_page(2));
    assert_eq!(worker.answered(16, &page_of((2, 0, 2), &[])), None);
    let news = worker.news();
    assert!(news.contains(&Learned::Everybody), "{news:?}");
    assert!(news.iter().any(|learned| matches!(learned, Learned::Ended { .. })), "{news:?}");
    assert_eq!(worker.tick(31), Some(since_before(15)), "it goes on behind the newest");
    assert_eq!(worker.answered(31, &page(&[newest])), None);
}

#[test]
fn reading_has_an_end() {
    let memory = Memory::default();
    let mut worker = worker(&memory);
    worker.begins(1, &logout(1, 0, "alice"));
    // Pages that are shorter than was asked for, without an end, then what is relayed, without an end.
    worker.tick(16);
    let endless = |number| page_of((number, number + 1, 1999), &[logout(number, 5, "alice")]);
    let (mut pages, mut number) = (0, 1);
    while let Some(next) = worker.answered(16, &endless(number)) {
        let name = next.split(['/', ' ']).nth(1).unwrap();
        number = name.parse().unwrap();
        pages += 1;
    }
    assert_eq!(pages, 20 + 50, "with the question for the newest event");
    assert!(worker.news().contains(&Learned::Everybody));
}

#[test]
fn shared_data_has_no_secret_and_no_name_and_takes_nothing_that_is_not_ours() {
    let memory = Memory::default();
    worker(&memory).begins(1, &logout(1, 0, "alice"));
    for name in memory.names() {
        let value = memory.shared(&name).unwrap().value;
        for secret in ["alice", "example.test", TOKEN] {
            let is_there = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_there(&value) && !is_there(name.as_bytes()), "{secret} in {name}");
        }
    }
    let mut foreign = Worker { log: EventLog::new(&config("another-token")).unwrap(), memory: &memory };
    foreign.run(2, |log, env| log.adopt(env));
    assert!(foreign.log.known.is_none(), "another token");
    for name in memory.names().into_iter().filter(|name| !name.ends_with("/lease")) {
        let untouched = memory.shared(&name).unwrap().value;
        for index in 0..untouched.len() {
            let mut other = untouched.clone();
            other[index] ^= 1;
            memory.share(&name, &other);
            let mut reader = worker(&memory);
            // The reading begins anew, with its proof.
            assert_eq!(reader.tick(100), newest_query(), "{name}: byte {index}");
            reader.answered(100, &Answer::Reset);
            for lease in memory.names().into_iter().filter(|name| name.ends_with("/lease")) {
                memory.share(&lease, &[]);
            }
        }
        memory.share(&name, &untouched);
    }
}
