use super::*;
use crate::authn::fault::LoginFailure;
use crate::authn::identity::Incomplete;
use crate::authn::request::credential::Malformed;

fn rejected(rejection: Rejection, is_grpc: bool, body_kind: BodyKind) -> Reply {
    let context = ReplyContext {
        id: Some(0),
        provider: Some("demo"),
        realm: "demo",
        scheme: None,
        is_grpc,
        body_kind,
        request_id: "7",
        is_script: false,
        allowed_origin: None,
    };
    match reject(&context, rejection) {
        Decision::Reply(reply) => reply,
        Decision::Forward(_) => panic!("a rejection is a reply"),
    }
}

#[test]
fn every_status_has_its_words_and_its_grpc_status() {
    for (rejection, status, words, grpc_status) in [
        (Rejection::UnknownHost, 400, "Bad Request", 3),
        (Rejection::LoginFailed(LoginFailure::State), 400, "Bad Request", 3),
        (Rejection::Malformed(Malformed::Several), 401, "Unauthorized", 16),
        (Rejection::Incomplete(Incomplete::NoSubject), 403, "Forbidden", 7),
        (Rejection::NotFound, 404, "Not Found", 5),
        (Rejection::Throttled { retry_after: Some(1) }, 429, "Too Many Requests", 14),
    ] {
        let reply = rejected(rejection, false, BodyKind::Text);
        assert_eq!((reply.status, reply.grpc_status), (status, None));
        assert_eq!(reply.body, format!("{status} {words}\n"));
        assert_eq!((reply.log.provider.as_str(), reply.log.message), ("demo", rejection.to_string()));
        // Whatever it accepts: the body is what Envoy makes the grpc-message of.
        for body_kind in [BodyKind::Html, BodyKind::Json, BodyKind::Text] {
            let reply = rejected(rejection, true, body_kind);
            assert_eq!((reply.grpc_status, reply.body.as_str()), (Some(grpc_status), words));
        }
    }
}
