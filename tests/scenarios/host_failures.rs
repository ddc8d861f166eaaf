//! What no Envoy does, or only one in need: no randomness, headers out of format, lines that are not merged, more requests
//! that wait than there is room for. On the core alone, since neither host can be made to do it.

use authentik_proxy_wasm::authn::request::view::HeaderBlock;
use serde_json::json;

use super::core::Core;
use super::{
    Observed, PASSWORD, Subject, ask, basic, callback_path, configuration, granting, jar, parameter, request,
};

/// As many requests as wait in one worker.
const ROOM: usize = 8192;

fn plain() -> String {
    configuration(&json!({}), &json!({}))
}

fn refused_for_want_of_something(observed: &Observed) {
    assert_eq!((observed.status(), observed.headers("set-cookie").len()), (503, 0), "{observed:?}");
    assert!(observed.header("retry-after").is_some(), "{observed:?}");
}

/// As many times does a login ask for randomness, at its beginning and at its end.
const TIMES: [fn(u32) -> bool; 5] = [|it| it == 0, |it| it == 1, |it| it == 2, |it| it == 3, |it| it == 4];

/// Never a login that somebody could foresee, whichever part of it there was no randomness for.
#[test]
fn without_randomness_no_login_begins() {
    for denies in TIMES.into_iter().chain([(|_| true) as fn(u32) -> bool]) {
        for path in ["/", "/outpost.goauthentik.io/start"] {
            let mut poor = Core::denied_randomness(&plain(), denies);
            refused_for_want_of_something(&poor.send(&request(&[(":path", path)])).unwrap());
        }
    }
    let mut enough = Core::denied_randomness(&plain(), |it| it == 5);
    assert_eq!(enough.send(&request(&[])).unwrap().status(), 302, "these were all");
}

/// Nor does one end that began elsewhere, or begin anew.
#[test]
fn without_randomness_no_login_ends() {
    let begun = Core::new(&plain()).send(&request(&[])).unwrap();
    let cookie = jar(&begun.headers("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>());
    let location = begun.header("location").unwrap();
    let nonce = parameter(location, "nonce").unwrap();
    let come_back = |denies: fn(u32) -> bool, state: &str| {
        let headers = [(":path", &*callback_path(state)), ("cookie", &*cookie)];
        ask(&mut Core::denied_randomness(&plain(), denies), &headers, &granting(json!({"nonce": nonce})))
    };
    let state = parameter(location, "state").unwrap();
    for denies in TIMES.into_iter().chain([(|_| true) as fn(u32) -> bool]) {
        refused_for_want_of_something(&come_back(denies, "another"));
    }
    for denies in [|it| it == 0, |it| it == 1, |_| true] as [fn(u32) -> bool; 3] {
        refused_for_want_of_something(&come_back(denies, &state));
    }
    assert_eq!(come_back(|it| it == 2, &state).status(), 302, "these were all");
}

/// Nothing of it is random but the cookie.
#[test]
fn without_randomness_a_good_credential_passes_without_a_session() {
    let mut poor = Core::denied_randomness(&plain(), |_| true);
    for _ in 0..2 {
        let observed = ask(&mut poor, &[("authorization", &basic("alice", PASSWORD))], &granting(json!({})));
        assert_eq!(observed.header("x-authentik-username"), Some("alice"));
        assert!(poor.respond(&[]).is_empty());
    }
}

#[test]
fn headers_out_of_format_are_a_503() {
    let configuration =
        configuration(&json!({"skip_path_regex": "."}), &json!({"allow_cors_preflight": true}));
    let mut core = Core::new(&configuration);
    let credential = basic("alice", PASSWORD);
    ask(&mut core, &[("authorization", &credential)], &granting(json!({})));
    let good = request(&[(":path", "/public"), ("authorization", &credential)]);
    let pairs = good.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let whole = HeaderBlock::from_pairs(pairs).into_bytes();
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    for bytes in cut.chain([vec![0xff; 64]]) {
        let shown = format!("{} of {} bytes", bytes.len(), whole.len());
        let observed = core.send_block(&HeaderBlock::new(bytes)).expect("an answer at once");
        assert_eq!(observed.status(), 503, "{shown}: {observed:?}");
    }
    assert_eq!(core.send_block(&HeaderBlock::new(whole)).unwrap().status(), 200, "it was good to begin with");
}

/// Both hosts merge the lines of `authorization` into one value; one that does not must not choose for us.
#[test]
fn of_two_authorization_lines_none_is_taken() {
    let credential = basic("alice", PASSWORD);
    for other in [&*basic("mallory", "x"), "Bearer x", "", &*credential] {
        for pair in [[&*credential, other], [other, &*credential]] {
            let mut core = Core::new(&configuration(&json!({"skip_path_regex": "^/public"}), &json!({})));
            ask(&mut core, &[("authorization", &credential)], &granting(json!({})));
            let lines = pair.map(|value| ("authorization", value));
            let observed = core.send(&request(&lines)).expect("authentik is not asked");
            assert_eq!(observed.status(), 401, "{pair:?}: {observed:?}");
            let observed = core.send(&request(&[&[(":path", "/public")], &lines[..]].concat())).unwrap();
            assert_eq!((observed.status(), observed.header("x-authentik-username")), (200, None), "{pair:?}");
            assert!(!observed.names().contains(&"authorization"), "{pair:?}: {observed:?}");
        }
    }
}

/// Each that waits keeps its headers. Those who are known, or bring nothing, need no room.
#[test]
fn waiting_requests_have_a_limit() {
    let mut core = Core::new(&plain());
    let known = request(&[("authorization", &basic("alice", PASSWORD))]);
    ask(&mut core, &[("authorization", &basic("alice", PASSWORD))], &granting(json!({})));
    let waiting = ["bob", "carol"].map(|name| request(&[("authorization", &basic(name, "x"))]));
    for number in 0..ROOM {
        assert!(core.send(&waiting[number % 2]).is_none(), "request {number} waits");
    }
    let newcomer = request(&[("authorization", &basic("dave", "x"))]);
    for late in [&waiting[0], &waiting[1], &newcomer] {
        let observed = core.send(late).expect("there is no room for this one");
        assert_eq!((observed.status(), observed.header("retry-after")), (503, Some("1")), "{observed:?}");
    }
    assert_eq!(core.calls().len(), 2, "nobody is asked for those");
    assert_eq!(core.send(&known).expect("known").status(), 200);
    assert_eq!(core.send(&request(&[])).expect("nobody is asked").status(), 302);
    core.answer(&granting(json!({})));
    assert!(core.send(&newcomer).is_none(), "there is room again");
}

#[test]
fn client_that_leaves_frees_its_place() {
    let mut core = Core::new(&plain());
    let waiting = request(&[("authorization", &basic("bob", "x"))]);
    for _ in 0..ROOM {
        assert!(core.send(&waiting).is_none());
    }
    core.leave();
    assert!(core.send(&waiting).is_none(), "in the place of the one who left");
    assert_eq!(core.send(&waiting).expect("there is no room for this one").status(), 503);
}
