//! Ways past the filter that an attacker would try: another provider by the host's port, another provider's cookie, the
//! session's own credential on an open path, a verdict of another entry, a token of this authentik under another issuer.

use std::time::Duration;

use fake_authentik::{ALICE, Authentik, Fault, Gate, INTROSPECT, Key, TokenSpec};
use loopback::header_values;
use serde_json::{Value, json};

use super::place::{Place, assert_without, eventually, one, provider, username};
use super::wire::{Answer, basic, bearer};

const SECRET: &str = "secret.corp";
const WIKI: &str = "wiki.corp";
const OPEN: &str = "^/public";

/// A single application beside the domain that its name is in. Envoy ignores ports when it chooses a virtual host, as Istio
/// and Envoy Gateway have it.
fn single_beside_domain() -> Place {
    let domain =
        json!({"mode": "forward_domain", "cookie_domain": "corp", "skip_path_regex": "^http://[^/]*/public"});
    let providers = vec![provider("demo", SECRET, json!({})), provider("demo-domain", "auth.corp", domain)];
    let routed = |name: &str, domains: Value| {
        json!({
            "name": name, "domains": domains,
            "request_headers_to_add": [{"header": {"key": "x-routed-to", "value": name}}],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
        })
    };
    let place = Place::new(|mut options| {
        let hosts =
            [routed("secret", json!([SECRET])), routed("wiki", json!([WIKI])), routed("other", json!(["*"]))];
        options.set_manager(
            "route_config",
            json!({"ignore_port_in_host_matching": true, "virtual_hosts": hosts}),
        );
        options.configure("/providers", providers)
    });
    place.await_keys("demo");
    place.await_keys("demo-domain");
    place
}

#[test]
fn a_port_in_the_host_reaches_no_application_of_another_provider() {
    let place = single_beside_domain();
    let of_domain = bearer(&place.authentik.issue("demo-domain", "alice"));
    for host in ["secret.corp:1234", "secret.corp:443", "Secret.Corp:1234", "secret.corp.:1234"] {
        place.turns_away(place.get_as(&of_domain).host(host), 400);
        place.turns_away(place.get("/public").host(host), 400);
    }
    for host in [SECRET, "secret.corp:80", "SECRET.corp", "secret.corp."] {
        place.turns_away(place.get_as(&of_domain).host(host), 401);
    }
    // What was judged is what is routed.
    for host in [WIKI, "wiki.corp:80", "WIKI.corp", "wiki.corp.", "wiki.corp.:80"] {
        let shown = place.admits(place.get_as(&of_domain).host(host));
        assert_eq!(
            (one(&shown, "x-routed-to"), one(&shown, "host")),
            ("wiki".to_owned(), WIKI.to_owned()),
            "{host}"
        );
    }
    let of_secret = bearer(&place.authentik.issue("demo", "alice"));
    for host in [SECRET, "secret.corp.", "secret.corp:80", "SECRET.corp.:80"] {
        let shown = place.admits(place.get_as(&of_secret).host(host));
        assert_eq!(one(&shown, "x-routed-to"), "secret", "{host}");
    }
}

/// What a client would send back.
fn cookies(answer: &Answer) -> String {
    let lines = answer.headers("set-cookie");
    assert!(!lines.is_empty(), "no session: {answer:?}");
    lines.iter().filter_map(|line| line.split(';').next()).collect::<Vec<_>>().join("; ")
}

#[test]
fn an_application_gets_no_cookie_of_another_provider_s() {
    let place = Place::of(&[
        provider("demo", "a.test", json!({"skip_path_regex": OPEN})),
        provider("demo-proxy", "b.test", json!({"skip_path_regex": OPEN})),
    ]);
    place.await_keys("demo");
    place.await_keys("demo-proxy");
    let of = |host: &str| cookies(&place.get_as(basic("alice", ALICE)).host(host).send());
    let (first, second) = (of("a.test"), of("b.test"));
    let both = format!("theme=dark; {first}; {second}; lang=en");
    for (host, target) in [("a.test", "/"), ("a.test", "/public"), ("b.test", "/"), ("b.test", "/public")] {
        let shown = place.admits(place.get(target).host(host).header("cookie", &both));
        assert_eq!(one(&shown, "cookie"), "theme=dark; lang=en", "{host}{target}");
        assert_eq!(username(&shown), "alice");
    }
}

/// On a replica, or after its verdict has ended.
#[test]
fn an_open_path_gets_no_credential_that_its_session_came_from() {
    let place = Place::new(|options| {
        options.configure("/providers/0/skip_path_regex", OPEN).configure("/cache/ttl_seconds", 0)
    });
    place.await_keys("demo");
    let credential = basic("alice", ALICE);
    let session = cookies(&place.get_as(&credential).send());
    let open =
        |authorization: &str| place.get("/public").authorization(authorization).header("cookie", &session);
    let shown = place.admits(open(&credential));
    assert_without(&shown, "authorization");
    assert_eq!(username(&shown), "alice");
    let own = basic("app-user", "of the application");
    assert_eq!(one(&place.admits(open(&own)), "authorization"), own, "the application's own goes on");
}

/// A CI job's token that only one of two entries is to take.
#[test]
fn a_verdict_of_one_entry_opens_no_other() {
    let place = Place::new(|options| {
        let mode = "introspection";
        let entries = vec![
            provider("demo", "takes.test", json!({"federated_bearer": true, "bearer_verification": mode})),
            provider("demo", "refuses.test", json!({"bearer_verification": mode})),
        ];
        options.configure("/providers", entries)
    });
    place.await_keys("demo");
    let claims = json!({"iss": "https://ci.example.test", "sub": "repo:x", "aud": "authentik", "exp": 9_000_000_000_i64});
    let job = bearer(&Authentik::assertion(claims, &Key::External));
    let taken = place.get_as(&job).host("takes.test").send();
    assert_eq!(taken.status, 200, "{taken:?}");
    let session = cookies(&taken);
    for _ in 0..3 {
        place.turns_away(place.get_as(&job).host("refuses.test"), 401);
        let with_cookie = place.get("/").host("refuses.test").header("accept", "application/json");
        place.turns_away(with_cookie.header("cookie", &session), 401);
    }
}

#[test]
fn a_session_of_a_foreign_token_ends_with_that_token() {
    let place = Place::new(|options| options.configure("/providers/0/federated_bearer", true));
    place.await_keys("demo");
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 4;
    let claims = json!({"iss": "https://ci.example.test", "sub": "repo:x", "aud": "authentik", "exp": soon});
    let job = bearer(&Authentik::assertion(claims, &Key::External));
    let session = cookies(&place.get_as(&job).send());
    let with_both = || place.get_as(&job).header("cookie", &session).header("accept", "application/json");
    place.admits(with_both());
    eventually("both have ended", || with_both().send().status == 401);
    place.turns_away(place.get("/").header("cookie", &session).header("accept", "application/json"), 401);
}

#[test]
fn a_token_of_this_authentik_reaches_no_application_whatever_its_issuer_is_called() {
    let issuer = "https://login.example.test/application/o/demo/";
    let place = Place::new(|options| {
        options
            .configure("/providers/0/skip_path_regex", OPEN)
            .configure("/providers/0/oidc_configuration", json!({"issuer": issuer}))
    });
    place.await_keys("demo");
    let expired = TokenSpec::new().claim("iss", issuer).claim_in("exp", -60);
    let expired = place.authentik.mint("demo", expired);
    for credential in [bearer(&expired), basic("goauthentik.io/token", &expired)] {
        let shown = place.admits(place.get("/public").authorization(&credential));
        assert_eq!(header_values(&shown, "authorization"), [""; 0]);
    }
}

/// Escapes that Envoy leaves as they are, and that some server behind would read as another path.
#[test]
fn an_escaped_path_is_not_open() {
    let place = Place::new(|options| options.configure("/providers/0/skip_path_regex", "^/public/"));
    place.await_keys("demo");
    place.admits(place.get("/public/%20a"));
    for target in ["/public/%c0%ae%c0%ae/admin", "/public/%ff", "/public/%e0%80%ae", "/public/%2e%2e/admin"] {
        place.turns_away(place.get(target).header("accept", "application/json"), 401);
    }
}

/// Two session cookies, of which the first ends while authentik is asked about it: another host of the domain can set it.
#[test]
fn a_session_that_ends_while_it_is_confirmed_gives_nobody_its_identity() {
    let place = Place::new(|options| {
        options.configure("/providers/0/revalidate_seconds", 1).configure("/authentik/timeout_seconds", 30)
    });
    place.await_keys("demo");
    let short = place.authentik.mint("demo", TokenSpec::new().user("eve").claim_in("exp", 4));
    place.authentik.remember("demo", "eve", &short);
    let eve = cookies(&place.get_as(bearer(&short)).send());
    let alice = cookies(&place.get_as(basic("alice", ALICE)).send());
    let both = format!("{eve}; {alice}");
    std::thread::sleep(Duration::from_secs(2));
    let gate = Gate::closed();
    place.authentik.fault(INTROSPECT, Fault::Held(gate.clone()));
    let before = place.app.count();
    let waiting = std::thread::scope(|scope| {
        let request = || place.get("/").header("cookie", &both).header("accept", "application/json");
        let waiting = scope.spawn(move || request().send());
        eventually("authentik is asked", || place.pending() == 1);
        std::thread::sleep(Duration::from_secs(3));
        gate.open();
        waiting.join().unwrap()
    });
    assert_eq!((waiting.status, place.app.count()), (401, before), "{waiting:?}");
}

/// The application says nothing of caching, and the request had no `Authorization`: a shared cache may keep the response.
#[test]
fn a_renewed_cookie_is_in_no_response_that_may_be_kept() {
    let place = Place::new(|options| options.configure("/providers/0/revalidate_seconds", 1));
    place.await_keys("demo");
    let session = cookies(&place.get_as(basic("alice", ALICE)).send());
    let asked = place.calls_to(INTROSPECT);
    eventually("the session is confirmed", || {
        let answer = place.get("/").header("cookie", &session).send();
        assert_eq!((answer.status, answer.headers("set-cookie").len()), (200, 0), "{answer:?}");
        place.calls_to(INTROSPECT) > asked + 1
    });
}

/// HTTP takes the white space away, and the application reads another user's name.
#[test]
fn no_user_passes_whose_name_ends_with_white_space() {
    let place = Place::new(|options| options);
    place.await_keys("demo");
    for name in ["admin ", " admin", "admin\u{a0}", "\u{3000}admin"] {
        let token = place.authentik.mint("demo", TokenSpec::new().claim("preferred_username", name));
        place.turns_away(place.get_as(bearer(&token)), 403);
    }
}
