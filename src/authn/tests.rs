//! The flow by itself: how requests wait, and what the log says.

mod checkup;
mod key_sets;
mod outpost;

use serde_json::json;

use super::*;
use crate::authn::authentik::call::Answer;
use crate::authn::cache::shared::tests::{Memory, at};
use crate::authn::reply::Decision;
use crate::base::secret::Secret;

fn authenticator() -> Authenticator {
    let configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
        "owned_headers": ["X-Tenant"],
        "session": {"enabled": false},
        "throttle": {"failures": 1},
        "providers": [{
            "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
            "external_host": "https://app.example.test", "intercept_header_auth": false,
        }],
    });
    let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
    Authenticator::new(config).unwrap()
}

fn block(pairs: &[(&str, &str)]) -> HeaderBlock {
    HeaderBlock::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

#[test]
fn trailers_lose_owned_headers_credentials_and_cookies() {
    let trailers = block(&[
        ("x-checksum", "1"),
        ("x-authentik-username", "admin"),
        ("X_Authentik_Groups", "admins"),
        ("x.tenant", "red"),
        ("Authorization", "Basic x"),
        ("cookie", "authentik_proxy_0a1b2c3d=x"),
        ("x-authentik", "not below the prefix"),
        ("x_tenant-tier", "gold"),
        ("x-forwarded-host", "elsewhere"),
    ]);
    let authenticator = authenticator();
    let forbidden = |trailers: &HeaderBlock, set: &[&str]| {
        edits::forbidden_trailers(trailers, set, authenticator.config())
    };
    assert_eq!(
        forbidden(&trailers, &["x-tenant-tier", "X_Forwarded_Host"]).unwrap(),
        [
            &b"x-authentik-username"[..],
            b"X_Authentik_Groups",
            b"x.tenant",
            b"Authorization",
            b"cookie",
            b"x_tenant-tier",
            b"x-forwarded-host",
        ]
    );
    assert_eq!(forbidden(&block(&[]), &["x"]), Some(Vec::new()));
    let malformed = HeaderBlock::new(vec![0xff; 64]);
    assert_eq!(forbidden(&malformed, &[]), None);
}

#[test]
fn waiting_requests_are_bounded() {
    let (mut authenticator, memory) = (authenticator(), Memory::default());
    let env = Env { now: at(0), host: &memory };
    let request = block(&[(":authority", "app.example.test"), ("authorization", "Basic YWxpY2U6eA==")]);
    for id in 0..8_192 {
        assert!(authenticator.authenticate(&env, id, &request).decided().is_none(), "request {id}");
    }
    let mut status = |id| match authenticator.authenticate(&env, id, &request).decided() {
        Some(Decision::Reply(reply)) => Some(reply.status),
        Some(Decision::Forward(_)) => Some(200),
        None => None,
    };
    assert_eq!((status(8_192), status(8_193)), (Some(503), Some(503)));
    authenticator.forget(7);
    assert!(authenticator.authenticate(&env, 8_194, &request).decided().is_none(), "one has left");
    let calls = authenticator.take_calls(env.now);
    assert_eq!(calls.len(), 1);
    for (ticket, _) in calls {
        authenticator.answered(&env, ticket, &Answer::Reset);
        let ids: Vec<_> = core::iter::from_fn(|| {
            let id = authenticator.next_ready()?;
            assert!(matches!(authenticator.resume(&env, id, &request).decided(), Some(Decision::Reply(_))));
            Some(id)
        })
        .collect();
        let expected: Vec<_> = (0..8_192).filter(|id| *id != 7).chain([8_194]).collect();
        assert_eq!(ids, expected, "in the order in which they came");
    }
}

#[test]
fn a_request_that_does_not_wait_is_never_forwarded() {
    let (mut authenticator, memory) = (authenticator(), Memory::default());
    let env = Env { now: at(0), host: &memory };
    let request = block(&[(":authority", "app.example.test"), ("authorization", "Basic YWxpY2U6eA==")]);
    let unknown = authenticator.resume(&env, 1, &request).decided();
    assert!(matches!(unknown, Some(Decision::Reply(reply)) if reply.status == 503), "nobody knows it");
    assert!(authenticator.authenticate(&env, 2, &request).decided().is_none());
    assert!(authenticator.resume(&env, 2, &request).decided().is_none(), "its verdict is not there");
    for (ticket, _) in authenticator.take_calls(env.now) {
        authenticator.answered(&env, ticket, &Answer::Reset);
    }
    assert_eq!(authenticator.next_ready(), Some(2));
    let malformed = HeaderBlock::new(vec![0xff; 64]);
    let broken = authenticator.resume(&env, 2, &malformed).decided();
    assert!(matches!(broken, Some(Decision::Reply(reply)) if reply.status == 503));
    assert_eq!(authenticator.next_ready(), None);
}

/// An answer that is lost ends nobody's patience for ever, and one that comes late is nobody's.
#[test]
fn a_lost_answer_is_given_up_and_a_late_one_changes_nothing() {
    let (mut authenticator, memory) = (authenticator(), Memory::default());
    let request = block(&[(":authority", "app.example.test"), ("authorization", "Basic YWxpY2U6eA==")]);
    let env = |seconds| Env { now: at(seconds), host: &memory };
    let status = |decision| match decision {
        Some(Decision::Reply(reply)) => reply.status,
        other => panic!("a reply, not {other:?}"),
    };
    assert!(authenticator.authenticate(&env(0), 1, &request).decided().is_none());
    let (lost, _) = authenticator.take_calls(at(0)).remove(0);
    authenticator.tick(&env(7), 0);
    assert_eq!(authenticator.next_ready(), None, "5 seconds for the call, 2 for Envoy's own answer");
    authenticator.tick(&env(8), 0);
    assert_eq!(authenticator.next_ready(), Some(1));
    assert_eq!(status(authenticator.resume(&env(8), 1, &request).decided()), 503);
    // The next request with this credential asks again, and the late answer is not taken for its own.
    assert!(authenticator.authenticate(&env(9), 2, &request).decided().is_none());
    let calls = authenticator.take_calls(at(9));
    let refused = Answer::Response {
        status: 400,
        retry_after: None,
        date: None,
        body: Secret::new(br#"{"error":"invalid_grant"}"#.to_vec()),
    };
    authenticator.answered(&env(9), lost, &refused);
    assert_eq!(authenticator.next_ready(), None);
    for (ticket, _) in calls {
        authenticator.answered(&env(9), ticket, &refused);
    }
    assert_eq!(authenticator.next_ready(), Some(2));
    assert_eq!(status(authenticator.resume(&env(9), 2, &request).decided()), 401);
}

/// With interception off the client is told the same; who reads the log must not be.
#[test]
fn log_names_the_reason_of_each_rejection() {
    let (mut authenticator, memory) = (authenticator(), Memory::default());
    let env = Env { now: at(0), host: &memory };
    let mut turned_away = |id, credential: &str| {
        let headers =
            [(":method", "POST"), (":authority", "app.example.test"), ("authorization", credential)];
        let block = block(&headers);
        let decided = authenticator.authenticate(&env, id, &block).decided();
        let refused = Answer::Response {
            status: 400,
            retry_after: None,
            date: None,
            body: Secret::new(br#"{"error":"invalid_grant"}"#.to_vec()),
        };
        let mut calls = authenticator.take_calls(env.now).into_iter();
        let answered = calls.next().and_then(|(ticket, _)| {
            authenticator.answered(&env, ticket, &refused);
            let ready = authenticator.next_ready()?;
            authenticator.resume(&env, ready, &block).decided()
        });
        match decided.or(answered) {
            Some(Decision::Reply(reply)) => (reply.status, reply.report.reason.details()),
            other => panic!("a reply, not {other:?}"),
        }
    };
    assert_eq!(turned_away(1, "Basic !"), (401, "authentik_unusable_credential"));
    assert_eq!(turned_away(2, "Basic YWxpY2U6eA=="), (401, "authentik_refused"));
    assert_eq!(turned_away(3, "Basic YWxpY2U6eQ=="), (401, "authentik_throttled"));
}
