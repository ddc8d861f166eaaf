//! Sessions of clients that send a credential with every request and keep the cookie that they get for it.

use fake_authentik::TOKEN;
use loopback::header_values;
use reqwest::Method;

use super::navigator::{Answer, Navigator};
use super::place::{Place, SESSION, alice_basic};

/// `curl -u alice:app-password -c jar -b jar`
fn curl(place: &Place, jar: &mut Navigator, target: &str) -> Answer {
    let headers = [("authorization", alice_basic()), ("accept", "*/*".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    jar.send(place.envoy.port(), Method::GET, &place.url(target), &headers)
}

#[track_caller]
fn assert_alice(answer: &Answer) {
    let shown = answer.shown();
    assert_eq!(header_values(&shown, "x-authentik-username"), ["alice"]);
    assert_eq!(header_values(&shown, "authorization"), [""; 0], "the credential goes no further");
    assert_eq!(header_values(&shown, "cookie"), [""; 0]);
}

#[test]
fn a_thousand_requests_with_a_cookie_jar_cost_one_exchange() {
    for (ttl, workers) in [(0, 1), (0, 2), (60, 2)] {
        let place = Place::new(|options| options.configure("/cache/ttl_seconds", ttl).concurrency(workers));
        let mut jar = Navigator::default();
        for _ in 0..1_000 {
            assert_alice(&curl(&place, &mut jar, "/"));
        }
        assert_eq!(place.authentik.count(TOKEN), 1, "ttl {ttl}, {workers} workers");
        assert_eq!(jar.names(), [SESSION]);
    }
}

#[test]
fn the_session_of_a_credential_is_good_without_it() {
    let place = Place::new(|options| options);
    let mut jar = Navigator::default();
    assert_alice(&curl(&place, &mut jar, "/"));
    place.shows(&mut jar, "/", "alice");
    assert_eq!(place.authentik.count(TOKEN), 1);
}

#[test]
fn another_credential_is_never_served_with_the_sessions_identity() {
    let place = Place::new(|options| options);
    let mut jar = Navigator::default();
    curl(&place, &mut jar, "/");
    let send = |jar: &mut Navigator, authorization: &str| {
        jar.send(place.envoy.port(), Method::GET, &place.url("/"), &[("authorization", authorization)])
    };
    let eve = format!("Bearer {}", place.authentik.issue("demo", "eve"));
    assert_eq!(header_values(&send(&mut jar.clone(), &eve).shown(), "x-authentik-username"), ["eve"]);
    // base64 of "alice:wrong"
    assert_eq!(send(&mut jar.clone(), "Basic YWxpY2U6d3Jvbmc=").status, 401);
    place.shows(&mut jar, "/", "alice");
}

#[test]
fn no_cookie_is_added_to_what_shared_caches_keep() {
    let place = Place::new(|options| options);
    for (cache_control, is_set) in [
        ("public", false),
        ("max-age=60, PUBLIC", false),
        ("s-maxage=60", false),
        ("private", true),
        ("no-store", true),
        ("max-age=60", true),
    ] {
        let value: String = form_urlencoded::byte_serialize(cache_control.as_bytes()).collect();
        let answer = curl(&place, &mut Navigator::default(), &format!("/?cache-control={value}"));
        assert_alice(&answer);
        assert_eq!(answer.header("cache-control"), Some(cache_control));
        assert_eq!(answer.headers("set-cookie").len(), usize::from(is_set), "{cache_control}");
    }
}

#[test]
fn cookies_of_the_application_stay_beside_the_filters() {
    let place = Place::new(|options| options);
    let answer = curl(
        &place,
        &mut Navigator::default(),
        "/?set-cookie=a%3Db%3B+max-age%3D9&set-cookie=c%3Dd%3B+max-age%3D9",
    );
    let set = answer.headers("set-cookie");
    assert_eq!(set.len(), 3, "{set:?}");
    assert!(set.contains(&"a=b; max-age=9") && set.contains(&"c=d; max-age=9"), "{set:?}");
}

#[test]
fn sessions_are_issued_as_configured() {
    let place = Place::new(|options| options.configure("/session/issue", "login"));
    let mut jar = Navigator::default();
    assert_alice(&curl(&place, &mut jar, "/"));
    assert_eq!(jar.names(), [""; 0], "a credential makes no session");
    place.shows(&mut place.alice(), "/", "alice");

    for change in [("/session/issue", "never".into()), ("/session/enabled", serde_json::Value::from(false))] {
        let place = Place::new(|options| options.configure(change.0, change.1));
        let mut jar = Navigator::default();
        assert_alice(&curl(&place, &mut jar, "/"));
        let answer = place.open(&mut jar, "/a?b=c");
        let back: String = form_urlencoded::byte_serialize(place.url("/a?b=c").as_bytes()).collect();
        let start = place.url(&format!("/outpost.goauthentik.io/start?rd={back}"));
        assert_eq!(answer.location(), start, "an outpost behind the filter logs in");
        assert_eq!(jar.names(), [""; 0]);
    }
}
