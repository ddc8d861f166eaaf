use core::time::Duration;

use super::*;
use crate::authn::authentik::call::Endpoint;
use crate::base::secret::Secret;

fn call() -> Call {
    Call {
        endpoint: Endpoint::Token,
        cluster: "authentik".to_owned(),
        headers: Vec::new(),
        body: Secret::default(),
        timeout: Duration::from_secs(5),
        max_response_bytes: 1,
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_000 + seconds)
}

fn response(status: u16) -> Answer {
    Answer::Response { status, retry_after: None, date: None, body: Secret::default() }
}

fn push(queue: &mut CallQueue<u32>, priority: Priority, subject: u32) -> Result<u64, Full> {
    queue.push(priority, subject, call(), at(0))
}

fn pop_all(queue: &mut CallQueue<u32>) -> Vec<(u64, u32)> {
    core::iter::from_fn(|| queue.pop(at(0)).map(|(number, subject, _)| (number, subject))).collect()
}

#[test]
fn the_limit_grows_by_one_a_round_and_is_halved_once_a_round() {
    let mut queue = CallQueue::new(8, 256);
    let mut limits = Vec::new();
    for round in 0..12 {
        for subject in 0..8 {
            push(&mut queue, Priority::Unknown, subject).unwrap();
        }
        let out = pop_all(&mut queue);
        limits.push(out.len());
        // All of a round fail together, as they do when authentik breaks down.
        let answer = response(if round == 6 || round == 7 { 503 } else { 200 });
        for (number, _) in out {
            assert!(queue.ended(number, &answer).is_some());
            assert!(queue.ended(number, &answer).is_none(), "once");
        }
    }
    assert_eq!(limits, [4, 5, 6, 7, 8, 8, 8, 4, 2, 3, 4, 5]);
}

#[test]
fn the_limit_is_never_below_one_nor_above_the_configured_one() {
    for max in [1, 2, 3, 100] {
        let mut queue = CallQueue::new(max, 1_000);
        for answer in [response(405), response(200)] {
            for round in 0..200 {
                push(&mut queue, Priority::Known, round).unwrap();
                let out = pop_all(&mut queue);
                assert!((1..=max).contains(&out.len()), "{} of {max}", out.len());
                for (number, _) in out {
                    queue.ended(number, &answer);
                }
            }
        }
        assert!(queue.limit <= max);
    }
}

#[test]
fn refusals_are_good_answers_and_failures_are_not() {
    for status in [200, 400, 401, 404] {
        assert!(!is_failure(&response(status)), "{status}");
    }
    for status in [405, 429, 500, 503, 599] {
        assert!(is_failure(&response(status)), "{status}");
    }
    let unreachable = Answer::Unreachable { status: 503, reason: "".into() };
    for answer in [unreachable, Answer::Reset, Answer::Lost, Answer::NotSent(NotSent::NoCapacity)] {
        assert!(is_failure(&answer), "{answer:?}");
    }
}

#[test]
fn queue_orders_key_sets_then_known_then_unknown_calls() {
    let mut queue = CallQueue::new(1, 256);
    for (priority, subject) in [
        (Priority::Unknown, 1),
        (Priority::Known, 2),
        (Priority::Unknown, 3),
        (Priority::Keys, 4),
        (Priority::Known, 5),
    ] {
        push(&mut queue, priority, subject).unwrap();
    }
    let mut order = Vec::new();
    while let Some((number, subject, _)) = queue.pop(at(0)) {
        order.push(subject);
        assert!(queue.pop(at(0)).is_none(), "one at a time");
        queue.ended(number, &response(200));
        queue.limit = 1;
    }
    assert_eq!(order, [4, 2, 5, 1, 3]);
}

#[test]
fn unknown_calls_take_no_place_of_known_calls() {
    let mut queue = CallQueue::new(1, 2);
    assert_eq!(push(&mut queue, Priority::Unknown, 0), Ok(1));
    assert_eq!(pop_all(&mut queue), [(1, 0)]);
    for _ in 0..2 {
        push(&mut queue, Priority::Unknown, 1).unwrap();
    }
    assert_eq!(push(&mut queue, Priority::Unknown, 2), Err(Full));
    for _ in 0..2 {
        push(&mut queue, Priority::Known, 3).unwrap();
    }
    assert_eq!(push(&mut queue, Priority::Known, 4), Err(Full));
    for _ in 0..10 {
        push(&mut queue, Priority::Keys, 5).unwrap();
    }
}

#[test]
fn calls_that_wait_too_long_are_given_up_in_order() {
    let mut queue = CallQueue::new(1, 256);
    push(&mut queue, Priority::Unknown, 0).unwrap();
    assert_eq!(pop_all(&mut queue).len(), 1);
    for seconds in 0..3 {
        queue.push(Priority::Unknown, 10 + u32::try_from(seconds).unwrap(), call(), at(seconds)).unwrap();
    }
    assert_eq!(queue.give_up(at(14), 15), []);
    assert_eq!(queue.give_up(at(16), 15), [(2, 10), (3, 11)]);
    assert_eq!((queue.lost(at(7), 7), queue.lost(at(8), 7)), (vec![], vec![1]), "out since 0");
}

#[test]
fn background_call_is_last_and_takes_no_place() {
    let mut queue = CallQueue::new(2, 8);
    queue.push_to_background(100, call());
    assert_eq!(queue.load(), (2, 0), "it does not count as one that waits");
    push(&mut queue, Priority::Unknown, 10).unwrap();
    for subject in 0..3 {
        push(&mut queue, Priority::Known, subject).unwrap();
    }
    let out = pop_all(&mut queue);
    assert_eq!(out.iter().map(|(_, subject)| *subject).collect::<Vec<_>>(), [0, 1]);
    for (number, _) in out {
        queue.ended(number, &response(400));
    }
    let out = pop_all(&mut queue);
    assert_eq!(out.iter().map(|(_, subject)| *subject).collect::<Vec<_>>(), [2, 10], "others wait no longer");
    for (number, _) in out {
        queue.ended(number, &response(400));
    }
    assert_eq!(pop_all(&mut queue).iter().map(|(_, subject)| *subject).collect::<Vec<_>>(), [100]);
    queue.push_to_background(101, call());
    assert!(pop_all(&mut queue).is_empty(), "one at a time");
    for subject in 20..22 {
        push(&mut queue, Priority::Unknown, subject).unwrap();
        assert_eq!(pop_all(&mut queue).len(), 1, "a request's call does not wait for it");
    }
}

#[test]
fn background_answer_does_not_change_the_limit() {
    for answer in [response(200), response(503), Answer::Lost] {
        let mut queue = CallQueue::new(8, 256);
        for subject in 0..20 {
            queue.push_to_background(subject, call());
            let [(number, popped)] = pop_all(&mut queue)[..] else { panic!("one call") };
            assert_eq!(popped, subject);
            assert_eq!(queue.ended(number, &answer), Some(subject));
            assert_eq!(queue.ended(number, &answer), None, "once");
            assert_eq!(queue.load(), (4, 0));
        }
    }
}

#[test]
fn background_call_waits_without_end_and_its_answer_can_be_lost() {
    let mut queue = CallQueue::new(1, 256);
    queue.push_to_background(100, call());
    push(&mut queue, Priority::Known, 1).unwrap();
    let (number, ..) = queue.pop(at(0)).unwrap();
    assert!(queue.give_up(at(1_000), 5).is_empty());
    queue.ended(number, &response(200));
    let (number, subject, _) = queue.pop(at(1_000)).unwrap();
    assert_eq!((subject, queue.lost(at(1_008), 7)), (100, vec![number]));
}
