//! Providers that come and go with authentik's list.

use core::cell::Cell;

use serde_json::{Value, json};

use super::*;
use crate::authn::authentik::call::Endpoint;
use crate::authn::cache::shared::tests::MemoryAndByte;

/// A random byte that delays no reading of the list.
const NO_DELAY: u8 = 11;

struct Worker<'a> {
    core: Authenticator,
    memory: &'a Memory,
    last_id: Cell<RequestId>,
}

fn worker<'a>(memory: &'a Memory, fields: &Value) -> Worker<'a> {
    let mut configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test", "token": "t"},
        "session": {"enabled": false},
    });
    for (name, value) in fields.as_object().unwrap() {
        configuration[name] = value.clone();
    }
    let config = Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap();
    Worker { core: Authenticator::new(config).unwrap(), memory, last_id: Cell::new(0) }
}

fn entry(slug: &str, fields: &Value) -> Value {
    let mut entry = json!({
        "assigned_application_slug": slug, "client_id": slug, "client_secret": "s",
        "external_host": format!("https://{slug}.example.test"),
        "oidc_configuration": {"id_token_signing_alg_values_supported": ["HS256"]},
    });
    for (name, value) in fields.as_object().unwrap() {
        entry[name] = value.clone();
    }
    entry
}

fn plain(slug: &str) -> Value {
    entry(slug, &json!({}))
}

fn domain() -> Value {
    entry("domain", &json!({"mode": "forward_domain", "cookie_domain": "example.test"}))
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer::Response {
        status,
        retry_after: None,
        date: None,
        body: Secret::new(body.to_string().into_bytes()),
    }
}

impl Worker<'_> {
    fn run<T>(&mut self, seconds: u64, run: impl FnOnce(&mut Authenticator, &Env<'_>) -> T) -> T {
        run(&mut self.core, &Env { now: at(seconds), host: &MemoryAndByte(self.memory, NO_DELAY) })
    }

    /// The calls to this endpoint that are sent now; those to others are lost.
    fn calls(&mut self, seconds: u64, endpoint: Endpoint) -> Vec<Ticket> {
        let calls = self.run(seconds, |core, env| core.take_calls(env.now));
        calls.into_iter().filter(|(_, call)| call.endpoint == endpoint).map(|(ticket, _)| ticket).collect()
    }

    /// Reads this list from authentik.
    #[track_caller]
    fn reads(&mut self, seconds: u64, entries: &[Value]) {
        self.run(seconds, |core, env| core.tick(env, 0));
        let [ticket] = self.calls(seconds, Endpoint::Outposts)[..] else { panic!("no call at {seconds}") };
        let pagination = json!({"current": 1, "next": 0, "count": entries.len()});
        let list = answer(200, &json!({"pagination": pagination, "results": entries}));
        self.run(seconds, |core, env| core.answered(env, ticket, &list));
    }

    /// What becomes of a request: the status and the reason, or `None` while it waits.
    fn request(&mut self, seconds: u64, host: &str, authorization: &str) -> Option<(u16, String)> {
        self.last_id.set(self.last_id.get() + 1);
        let id = self.last_id.get();
        let request = block(&[(":authority", host), (":path", "/"), ("authorization", authorization)]);
        outcome(self.run(seconds, |core, env| core.authenticate(env, id, &request)))
    }

    /// The request that came last, as its verdict is there.
    fn resumed(&mut self, seconds: u64, host: &str, authorization: &str) -> Option<(u16, String)> {
        let id = self.last_id.get();
        assert_eq!(self.core.next_ready(), Some(id));
        let request = block(&[(":authority", host), (":path", "/"), ("authorization", authorization)]);
        outcome(self.run(seconds, |core, env| core.resume(env, id, &request)))
    }
}

fn outcome(step: Step) -> Option<(u16, String)> {
    match step.decided()? {
        Decision::Reply(reply) => Some((reply.status, reply.log.message.clone())),
        Decision::Forward(_) => Some((200, String::new())),
    }
}

fn status(outcome: &Option<(u16, String)>) -> Option<u16> {
    outcome.as_ref().map(|(status, _)| *status)
}

const ALICE: &str = "Basic YWxpY2U6eA==";

#[test]
fn nobody_passes_before_the_first_list() {
    let memory = Memory::default();
    let mut first = worker(&memory, &json!({}));
    let unread = Some((503, "authentik's list of providers was not read yet".to_owned()));
    assert_eq!(first.request(0, "wiki.example.test", ALICE), unread);
    first.run(0, |core, env| core.tick(env, 0));
    let [ticket] = first.calls(0, Endpoint::Outposts)[..] else { panic!() };
    let refused = answer(403, &json!({"detail": "Token invalid/expired"}));
    first.run(0, |core, env| core.answered(env, ticket, &refused));
    let (status, message) = first.request(0, "wiki.example.test", ALICE).unwrap();
    assert!(status == 503 && message.starts_with("authentik.token is refused (403)"), "{status}: {message}");
    first.reads(2, &[plain("wiki")]);
    assert_eq!(first.request(2, "wiki.example.test", ALICE), None, "now authentik is asked");
    let mut second = worker(&memory, &json!({}));
    assert_eq!(second.request(3, "wiki.example.test", ALICE), None, "known by its first request");
    assert_eq!(second.calls(3, Endpoint::Outposts), [], "and without a call");
}

#[test]
fn single_listed_provider_does_not_answer_for_every_host() {
    let memory = Memory::default();
    let mut worker = worker(&memory, &json!({}));
    worker.reads(0, &[plain("wiki")]);
    assert_eq!(status(&worker.request(0, "other.example.test", ALICE)), Some(400));
    let own = json!({"providers": [plain("own")]});
    let memory = Memory::default();
    let mut mixed = self::worker(&memory, &own);
    assert_eq!(mixed.request(0, "own.example.test", ALICE), None, "it serves before the list");
    assert_eq!(status(&mixed.request(0, "wiki.example.test", ALICE)), Some(503));
    mixed.reads(0, &[]);
    assert_eq!(status(&mixed.request(0, "wiki.example.test", ALICE)), Some(400));
}

#[test]
fn host_below_a_domain_waits_for_the_list_that_may_have_it() {
    let memory = Memory::default();
    let mut worker = worker(&memory, &json!({"providers": [domain()]}));
    assert_eq!(status(&worker.request(0, "wiki.example.test", ALICE)), Some(503));
    worker.reads(0, &[plain("wiki")]);
    assert_eq!(worker.request(0, "other.example.test", ALICE), None);
}

#[test]
fn faulty_entry_s_host_belongs_to_nobody() {
    let memory = Memory::default();
    let mut worker = worker(&memory, &json!({}));
    let faulty = entry("wiki", &json!({"client_secret": null}));
    worker.reads(0, &[domain(), faulty]);
    assert_eq!(worker.request(0, "other.example.test", ALICE), None);
    assert_eq!(status(&worker.request(0, "wiki.example.test", ALICE)), Some(400));
    worker.reads(60, &[domain()]);
    assert_eq!(worker.request(60, "wiki.example.test", ALICE), None, "taken out, it is the domain's");
}

#[test]
fn removed_provider_ends_at_once_and_the_others_stay_the_same() {
    let memory = Memory::default();
    let mut worker = worker(&memory, &json!({}));
    worker.reads(0, &[plain("wiki"), plain("shop")]);
    let kept = worker.core.roster.all().next().unwrap().clone();
    worker.reads(60, &[plain("wiki")]);
    assert_eq!(status(&worker.request(60, "shop.example.test", ALICE)), Some(400));
    let all: Vec<_> = worker.core.roster.all().cloned().collect();
    assert!(all.len() == 1 && Rc::ptr_eq(&all[0], &kept));
    worker.reads(120, &[plain("shop"), plain("wiki"), plain("blog")]);
    let ids: Vec<_> = worker.core.roster.all().map(|it| (it.settings.slug.clone(), it.id)).collect();
    assert_eq!(ids, [("shop".to_owned(), 2), ("wiki".to_owned(), 0), ("blog".to_owned(), 3)]);
}

#[test]
fn what_one_secret_vouched_for_is_nothing_to_the_next() {
    let memory = Memory::default();
    let mut worker = worker(&memory, &json!({}));
    worker.reads(0, &[plain("wiki")]);
    assert_eq!(worker.request(0, "wiki.example.test", ALICE), None);
    let [ticket] = worker.calls(0, Endpoint::Token)[..] else { panic!() };
    let refused = answer(400, &json!({"error": "invalid_grant"}));
    worker.run(0, |core, env| core.answered(env, ticket, &refused));
    assert_eq!(status(&worker.resumed(0, "wiki.example.test", ALICE)), Some(401));
    assert_eq!(status(&worker.request(1, "wiki.example.test", ALICE)), Some(401), "remembered");
    worker.reads(60, &[entry("wiki", &json!({"client_secret": "another"}))]);
    assert_eq!(worker.request(60, "wiki.example.test", ALICE), None, "asked anew");
}

#[test]
fn request_that_waits_for_a_changed_provider_is_decided_anew() {
    let memory = Memory::default();
    let mut worker = worker(&memory, &json!({}));
    worker.reads(0, &[plain("wiki")]);
    assert_eq!(worker.request(59, "wiki.example.test", ALICE), None);
    let [old] = worker.calls(59, Endpoint::Token)[..] else { panic!() };
    worker.reads(60, &[entry("wiki", &json!({"client_id": "another"}))]);
    assert_eq!(worker.resumed(60, "wiki.example.test", ALICE), None, "authentik is asked again");
    let [new] = worker.calls(60, Endpoint::Token)[..] else { panic!() };
    let refused = answer(400, &json!({"error": "invalid_grant"}));
    worker.run(60, |core, env| core.answered(env, old, &refused));
    assert_eq!(worker.core.next_ready(), None, "the old call decides nothing");
    worker.run(60, |core, env| core.answered(env, new, &refused));
    assert_eq!(status(&worker.resumed(60, "wiki.example.test", ALICE)), Some(401));
    assert_eq!(worker.request(119, "wiki.example.test", "Basic Ym9iOng="), None);
    worker.reads(120, &[]);
    assert_eq!(status(&worker.resumed(120, "wiki.example.test", "Basic Ym9iOng=")), Some(400), "removed");
}

#[test]
fn names_are_told_once_after_each_change() {
    let memory = Memory::default();
    let mut worker = worker(&memory, &json!({}));
    assert_eq!((worker.core.take_names(), worker.core.take_names()), (Some(vec![]), None));
    worker.reads(0, &[plain("wiki")]);
    assert_eq!(worker.core.take_names(), Some(vec![(0, "wiki".to_owned())]));
    worker.reads(60, &[plain("wiki")]);
    assert_eq!(worker.core.take_names(), None);
}

#[test]
fn doctor_looks_at_what_has_begun() {
    let memory = Memory::default();
    let mut worker = worker(&memory, &json!({}));
    let looked_at = |worker: &mut Worker<'_>, seconds: core::ops::Range<u64>| {
        let mut paths = Vec::new();
        for second in seconds {
            worker.run(second, |core, env| core.tick(env, 0));
            for (ticket, call) in worker.run(second, |core, env| core.take_calls(env.now)) {
                if call.endpoint == Endpoint::Discovery {
                    let (_, path) = call.headers.iter().find(|(name, _)| *name == ":path").unwrap();
                    paths.push(String::from_utf8(path.as_bytes().to_vec()).unwrap());
                }
                let body = if call.endpoint == Endpoint::Jwks { json!({}) } else { json!([]) };
                worker.run(second, |core, env| core.answered(env, ticket, &answer(200, &body)));
            }
        }
        paths
    };
    let path = |slug: &str| format!("/application/o/{slug}/.well-known/openid-configuration");
    worker.reads(0, &[plain("wiki"), plain("shop")]);
    assert_eq!(looked_at(&mut worker, 1..30), [path("wiki"), path("shop")]);
    worker.reads(60, &[plain("wiki"), plain("blog")]);
    assert_eq!(looked_at(&mut worker, 61..90), [path("blog")]);
}

#[test]
fn shadow_mode_calls_a_request_before_the_first_list_unavailable() {
    let memory = Memory::default();
    let mut worker = worker(&memory, &json!({"shadow": {"gate_header": "x-authentik-username"}}));
    let request = block(&[
        (":authority", "wiki.example.test"),
        (":path", "/"),
        ("x-authentik-username", "alice"),
        ("authorization", ALICE),
    ]);
    let finding = |worker: &mut Worker<'_>| match worker
        .run(0, |core, env| core.observe((env, 1), (shadow::Gate::Allowed, false), &request))
    {
        Observed::Compared(comparison) => Some(comparison.finding),
        Observed::Waiting => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(finding(&mut worker), Some(shadow::Finding::Unavailable));
    worker.reads(0, &[plain("wiki")]);
    assert_eq!(finding(&mut worker), None, "authentik is asked");
}
