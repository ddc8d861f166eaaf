//! Back-channel logout: the filter reads the body of this one request, where Envoy hands bodies to a filter that holds the
//! headers back. Where Envoy does not, the request is answered, and never sent on.

use fake_authentik::TokenSpec;
use serde_json::json;

use super::place::{Place, eventually, username};
use super::wire::{Answer, Request, bearer};

const PATH: &str = "/outpost.goauthentik.io/backchannel_logout";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn place(reads_bodies: bool) -> Place {
    let place = Place::new(|options| {
        let options = options.concurrency(2);
        if reads_bodies { options.plugin("allow_on_headers_stop_iteration", true) } else { options }
    });
    place.await_keys("demo");
    place
}

fn logout_token(place: &Place, sid: &str) -> String {
    let spec = TokenSpec::new().header("typ", "logout+jwt").claim("sid", sid);
    let spec = spec.claim("jti", format!("token-of-{sid}")).claim("events", json!({EVENT: {}}));
    place.authentik.mint("demo", spec.without_claim("nonce"))
}

fn post(place: &Place) -> Request {
    place.request("POST", PATH).header("content-type", "application/x-www-form-urlencoded")
}

fn form(place: &Place, sid: &str) -> Vec<u8> {
    format!("logout_token={}", logout_token(place, sid)).into_bytes()
}

fn answered(answer: &Answer, status: u16) {
    assert_eq!((answer.status, answer.headers("cache-control")), (status, vec!["no-store"]), "{answer:?}");
    assert!(answer.headers("set-cookie").is_empty(), "{answer:?}");
}

/// The session that comes of a token with this `sid`.
fn session(place: &Place, sid: &str) -> String {
    let token = place.authentik.mint("demo", TokenSpec::new().claim("sid", sid));
    let answer = place.get_as(bearer(&token)).send();
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookies = answer.headers("set-cookie");
    cookies.iter().filter_map(|cookie| cookie.split(';').next()).collect::<Vec<_>>().join("; ")
}

fn with_cookie(place: &Place, cookie: &str) -> u16 {
    place.get("/").header("cookie", cookie).header("accept", "application/json").send().status
}

#[test]
fn logout_token_ends_a_session_in_all_workers() {
    let place = place(true);
    for (sid, pieces) in [("with-length", 0), ("in-chunks", 1), ("in-small-chunks", 40)] {
        let (cookie, other) = (session(&place, sid), session(&place, &format!("other-{sid}")));
        assert_eq!((with_cookie(&place, &cookie), with_cookie(&place, &other)), (200, 200));
        let seen = place.app.count();
        let body = form(&place, sid);
        let request = if pieces == 0 {
            post(&place).body(body)
        } else {
            let length = body.len().div_ceil(pieces);
            post(&place).chunks(&body.chunks(length).collect::<Vec<_>>())
        };
        answered(&request.send(), 200);
        assert_eq!(place.app.count(), seen, "{sid}: it is the filter's");
        // Connections are spread over the workers.
        eventually("the session has ended everywhere", || {
            (0..16).all(|_| with_cookie(&place, &cookie) == 401)
        });
        assert_eq!(with_cookie(&place, &other), 200, "{sid}");
        answered(&post(&place).body(form(&place, sid)).send(), 400);
    }
    place.await_log(&["session ended by authentik's back-channel logout"]);
    place.await_log(&["back-channel logout refused: the token was used before"]);
}

#[test]
fn hostile_bodies_are_refused_and_disturb_nobody() {
    let place = place(true);
    let cookie = session(&place, "a-session");
    let seen = place.app.count();
    let good = form(&place, "a-session");
    for body in
        [Vec::new(), vec![b'a'; 16 << 10], vec![b'a'; 5 << 20], [&good[..], b"&logout_token="].concat()]
    {
        let length = body.len();
        let answer = post(&place).body(body).send();
        assert!([400, 413].contains(&answer.status), "{length}: {answer:?}");
    }
    answered(&place.request("POST", PATH).body(good).send(), 400);
    // Bodies that never end: they are given up, and meanwhile nobody waits for them.
    let endless: Vec<_> = (0..50).map(|_| post(&place).header("content-length", "9").open()).collect();
    assert_eq!(with_cookie(&place, &cookie), 200);
    for mut stream in endless {
        let answer = Answer::read(&mut stream);
        answered(&answer, 503);
    }
    assert_eq!(place.app.count(), seen + 1, "nothing of them was sent on");
    let shown = place.admits(place.get("/").header("cookie", &cookie));
    assert_eq!(username(&shown), "alice");
}

/// What Envoy does by default. The log names the option.
#[test]
fn without_the_option_the_request_is_answered_with_503() {
    let place = place(false);
    let cookie = session(&place, "a-session");
    let seen = place.app.count();
    answered(&post(&place).body(form(&place, "a-session")).send(), 503);
    place.await_log(&["did not come within 5 seconds: check allow_on_headers_stop_iteration"]);
    assert_eq!(place.app.count(), seen);
    assert_eq!(with_cookie(&place, &cookie), 200);
    answered(&post(&place).send(), 400);
}
