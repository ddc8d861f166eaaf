//! Bytes and paths that no honest client sends: never a pass, never an error of the server, and the filter lives on.

use fake_authentik::ALICE;
use loopback::header_values;

use super::place::{Place, one};
use super::wire::{Request, basic};

#[test]
fn hostile_bytes_neither_pass_nor_crash() {
    let place = Place::new(|options| options);
    bytes_beyond_ascii_are_no_credential(&place);
    a_credential_beyond_measure_is_none(&place);
    bytes_beyond_ascii_elsewhere_are_the_application_s(&place);
    odd_hosts_are_nobody_s(&place);
}

fn still_works(place: &Place) {
    place.admits(place.get_as(basic("alice", ALICE)));
}

fn bytes_beyond_ascii_are_no_credential(place: &Place) {
    let good = basic("alice", ALICE);
    for byte in 0x80..=0xff {
        for start in ["", "Basic ", "Bearer ", &good] {
            place.turns_away(place.get_as([start.as_bytes(), &[byte]].concat()), 401);
        }
    }
    for value in ["Ｂasic YQ==", "Bearer ü", "Basic\u{a0}YTpi"] {
        place.turns_away(place.get_as(value), 401);
    }
    still_works(place);
}

/// Above 16 KiB it is the filter's to say, above 60 KiB of headers Envoy's.
fn a_credential_beyond_measure_is_none(place: &Place) {
    for (kilobytes, status) in [(17, 401), (50, 401), (60, 431), (200, 431)] {
        for scheme in ["Basic", "Bearer"] {
            let value = format!("{scheme} {}", "A".repeat(kilobytes << 10));
            place.turns_away(place.get_as(value), status);
        }
    }
    still_works(place);
}

fn bytes_beyond_ascii_elsewhere_are_the_application_s(place: &Place) {
    let names = [
        "accept",
        "cookie",
        "content-type",
        "x-requested-with",
        "sec-fetch-mode",
        "origin",
        "user-agent",
        "x-forwarded-proto",
        "x-other",
    ];
    let bytes: Vec<u8> = (0x80..=0xff).collect();
    for name in names {
        let shown = place.admits(place.get_as(basic("alice", ALICE)).header(name, &bytes));
        assert_eq!(header_values(&shown, name).len(), 1, "{name}");
        let answer = place.get("/").header(name, &bytes).send();
        assert!(matches!(answer.status, 302 | 401), "{name}: {answer:?}");
    }
    let forged = place.admits(place.get_as(basic("alice", ALICE)).header("X_Authentik_Username", &bytes));
    assert_eq!(one(&forged, "x-authentik-username"), "alice");
}

fn odd_hosts_are_nobody_s(place: &Place) {
    for host in ["", "ü.test", "a b", "user@a.test", "a.test:x", "a.test,b.test", "[::1", "..", "%00"] {
        let request = place.get("/").host(host);
        assert_not_passed(place, request, host.as_bytes());
    }
    still_works(place);
}

/// With one rule: what begins with `/public` is open.
fn with_open_paths(normalizes: bool) -> Place {
    Place::new(|options| {
        options
            .configure("/providers/0/skip_path_regex", "^/public")
            .manager("/normalize_path", normalizes)
            .manager("/merge_slashes", normalizes)
    })
}

/// Targets that are no open path, whatever is made of them on the way.
pub(super) const ODD: [&[u8]; 29] = [
    b"/public/../secret",
    b"/public/..",
    b"/public/%2e%2e/secret",
    b"/public/%2E%2e/secret",
    b"/public/.%2e/secret",
    b"/public/%252e%252e/secret",
    b"/public%2f..%2fsecret",
    b"/public/..%2fsecret",
    b"/public/..;/secret",
    b"/public;/../secret",
    b"/public;x=y",
    b"/public%3b/secret",
    b"/public\\..\\secret",
    b"/public%5c..%5csecret",
    b"/public%00",
    b"/public%0a",
    b"/public%3fa",
    b"/public%23a",
    b"/public%",
    b"/public/\xff",
    b"/public/\xc0\xae\xc0\xae/secret",
    b"/public\ta",
    b"/secret?/public",
    b"/secret?a=/public&/public",
    b"/secret#/public",
    b"/secret/../../public/../secret",
    b"/./secret",
    b"http://evil.test/public/../secret",
    b"*",
];

/// What is another spelling of an open path, and only that once Envoy has normalised it.
const SAME: [(&str, &str); 4] = [
    ("//public", "/public"),
    ("/./public", "/public"),
    ("/secret/../public", "/public"),
    ("/public//a", "/public/a"),
];

#[test]
fn no_odd_path_is_an_open_path() {
    for normalizes in [true, false] {
        let place = with_open_paths(normalizes);
        for target in ODD {
            assert_not_passed(&place, place.get(target), target);
        }
        for (target, seen) in SAME {
            let request = place.get(target);
            if normalizes {
                assert_eq!(place.admits(request)["path"], seen);
            } else {
                assert_not_passed(&place, request, target.as_bytes());
            }
        }
        place.admits(place.get("/public"));
        still_works(&place);
    }
}

/// To the login, or a fault of the client's, and nothing of it reached the application.
#[track_caller]
fn assert_not_passed(place: &Place, request: Request, what: &[u8]) {
    let before = place.app.count();
    let answer = request.send();
    let what = String::from_utf8_lossy(what);
    assert!(matches!(answer.status, 302 | 400..500), "{what}: {answer:?}");
    assert_eq!(place.app.count(), before, "{what}");
}
