use super::*;
use crate::authn::fault::LoginFailure;
use crate::authn::identity::{Incomplete, IncompleteReason};
use crate::authn::request::credential::Malformed;

fn context(is_grpc: bool, body_kind: BodyKind) -> ReplyContext<'static> {
    ReplyContext {
        id: Some(0),
        provider: Some("demo"),
        realm: "demo",
        scheme: None,
        is_grpc,
        body_kind,
        request_id: "7",
        is_script: false,
        links: page::Links::default(),
        allowed_origin: None,
    }
}

fn rejected(rejection: &Rejection, is_grpc: bool, body_kind: BodyKind) -> Reply {
    match reject(&context(is_grpc, body_kind), rejection.clone()) {
        Decision::Reply(reply) => reply,
        Decision::Forward(_) => panic!("a rejection is a reply"),
    }
}

#[test]
fn every_status_has_its_words_and_its_grpc_status() {
    let nameless = Incomplete { reason: IncompleteReason::NoSubject, account: None };
    for (rejection, status, words, grpc_status) in [
        (Rejection::UnknownHost, 400, "Bad Request", 3),
        (Rejection::LoginFailed(LoginFailure::State), 400, "Bad Request", 3),
        (Rejection::Malformed(Malformed::Several), 401, "Unauthorized", 16),
        (Rejection::Incomplete(nameless), 403, "Forbidden", 7),
        (Rejection::NotFound, 404, "Not Found", 5),
        (Rejection::Throttled { retry_after: Some(1) }, 429, "Too Many Requests", 14),
    ] {
        let reply = rejected(&rejection, false, BodyKind::Text);
        assert_eq!((reply.status, reply.grpc_status), (status, None));
        assert_eq!(reply.body, format!("{status} {words}\n"));
        assert_eq!((reply.log.provider.as_str(), reply.log.message), ("demo", rejection.to_string()));
        // Whatever it accepts: the body is what Envoy makes the grpc-message of.
        for body_kind in [BodyKind::Html, BodyKind::Json, BodyKind::Text] {
            let reply = rejected(&rejection, true, body_kind);
            assert_eq!((reply.grpc_status, reply.body.as_str()), (Some(grpc_status), words));
        }
    }
}

fn values<'a>(reply: &'a Reply, name: &str) -> Vec<&'a str> {
    let values = reply.headers.iter().filter(|(other, _)| *other == name);
    values.map(|(_, value)| core::str::from_utf8(value.as_bytes()).unwrap()).collect()
}

#[test]
fn only_pages_have_the_headers_of_pages() {
    for (is_grpc, body_kind) in [
        (false, BodyKind::Html),
        (false, BodyKind::Json),
        (false, BodyKind::Text),
        (true, BodyKind::Html),
        (true, BodyKind::Json),
    ] {
        for rejection in [Rejection::NoCredential, Rejection::UnknownHost, Rejection::NotFound] {
            let reply = rejected(&rejection, is_grpc, body_kind);
            let is_page = !is_grpc && body_kind == BodyKind::Html;
            for (name, value) in page::HEADERS {
                let expected = if is_page { vec![value] } else { Vec::new() };
                assert_eq!(values(&reply, name), expected, "{is_grpc} {body_kind:?} {rejection}");
            }
            assert_eq!(reply.body.contains("<!doctype html>"), is_page);
        }
    }
}

#[test]
fn a_page_comes_again_when_retry_after_says() {
    for seconds in [1, 5, 300] {
        let mut context = context(false, BodyKind::Html);
        context.links.path = Some("/page");
        let reply = fail_reply(&context, Fault::Unavailable { status: 503, retry_after: Some(seconds) });
        assert_eq!(values(&reply, "retry-after"), [seconds.to_string()]);
        assert!(reply.body.contains(&format!("content=\"{seconds};url=/page\"")), "{}", reply.body);
        assert!(reply.body.contains(&format!("after {seconds} second")), "{}", reply.body);
    }
    let throttled = rejected(&Rejection::Throttled { retry_after: Some(9) }, false, BodyKind::Html);
    assert_eq!(values(&throttled, "retry-after"), ["9"]);
    assert!(!throttled.body.contains("refresh"), "{}", throttled.body);
}
