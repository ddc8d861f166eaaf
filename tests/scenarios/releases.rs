//! What a release promises to the next ones: its sessions still open, its settings are still read.
//!
//! Owns: `tests/data/releases`, a folder for each version. `make release-data` writes the sessions of this version.

use std::fs;
use std::path::{Path, PathBuf};

use authentik_proxy_wasm::config::Config;
use serde_json::{Value, json};

use super::core::Core;
use super::{
    NOW, Observed, PASSWORD, Start, Subject, ask, basic, configuration, granting, jar, log_in, on_both,
    request, token,
};

/// Depends on the release, not on the session.
const META_VERSION: &str = "x-authentik-meta-version";
/// A token that only introspection can judge.
const OPAQUE: &str = "opaque-token-of-alice";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/releases")
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn releases() -> Vec<PathBuf> {
    let mut releases: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    releases.sort();
    releases
}

#[test]
fn sessions_of_every_release_still_open() {
    on_both(|start| {
        for release in releases() {
            let file = read(&release.join("sessions.json"));
            assert_eq!(file["sealed_at"], NOW, "the clock of the scenarios");
            let sessions = file["sessions"].as_object().unwrap();
            assert_eq!(
                sessions.keys().collect::<Vec<_>>(),
                ["of a credential", "of a login", "of a token", "of an opaque token", "of many groups"]
            );
            for (name, session) in sessions {
                let what = format!("{}: session {name}", release.display());
                opens(start, &file["configuration"].to_string(), session, &what);
            }
        }
    });
}

/// A recorded session stands for its identity without a call, alone and beside its credential, until its end. What a
/// login left signs out of authentik.
fn opens(start: Start<'_>, configuration: &str, session: &Value, what: &str) {
    let cookie = session["cookie"].as_str().unwrap();
    let seconds = session["seconds"].as_u64().unwrap();
    let send = |later: u64, headers: &[(&str, &str)]| {
        let mut replica = start(configuration);
        replica.advance(later);
        replica.send(&request(headers)).unwrap_or_else(|| panic!("{what}: no call is needed"))
    };
    let identity = session["identity"].as_object().unwrap();
    assert_eq!(identity.len(), 11, "{what}: all identity headers but {META_VERSION}");
    for later in [0, seconds - 1] {
        let observed = send(later, &[("cookie", cookie)]);
        assert!(matches!(observed, Observed::Forwarded(_)), "{what}: {observed:?}");
        for (name, value) in identity {
            assert_eq!(observed.headers(name), [value.as_str().unwrap()], "{what}: {name}");
        }
    }
    assert_eq!(send(seconds, &[("cookie", cookie)]).status(), 302, "{what}: ended");
    if let Some(credential) = session["authorization"].as_str() {
        let observed = send(0, &[("cookie", cookie), ("authorization", credential)]);
        assert_eq!((observed.status(), observed.header("authorization")), (200, None), "{what}");
    }
    if let Some(end) = session["sign_out"].as_str() {
        let observed = send(0, &[(":path", "/outpost.goauthentik.io/sign_out"), ("cookie", cookie)]);
        assert_eq!(observed.header("location"), Some(end), "{what}");
    }
}

#[test]
fn settings_of_every_release_are_still_read() {
    for release in releases() {
        let settings = read(&release.join("settings.json"));
        let environment = |name: &str| Some(format!("{name}-0123456789abcdef0123456789abcdef"));
        let config = Config::parse(settings.to_string().as_bytes(), &environment);
        assert_eq!(config.err(), None, "{}", release.display());
    }
}

/// Before a version is released, its sessions and settings are recorded for those after it.
#[test]
fn this_version_is_recorded() {
    let this = folder().join(env!("CARGO_PKG_VERSION"));
    for file in ["sessions.json", "settings.json"] {
        assert!(this.join(file).is_file(), "{}: see RELEASE.md", this.join(file).display());
    }
}

#[test]
#[ignore = "writes; `make release-data`"]
fn the_sessions_of_this_version_are_written() {
    let file = folder().join(env!("CARGO_PKG_VERSION")).join("sessions.json");
    assert!(!file.exists(), "{} is there: a released session is never sealed again", file.display());
    let configuration =
        configuration(&json!({"bearer_verification": "local_then_introspection"}), &json!({}));
    let start = || Core::new(&configuration);
    let groups: Vec<_> = (0..500).map(|number| format!("group-{number:06}")).collect();

    let after = |authorization: String, claims: Value| {
        let mut subject = start();
        let observed = ask(&mut subject, &[("authorization", &authorization)], &granting(claims));
        assert_eq!(observed.status(), 200, "{observed:?}");
        recorded(&start, &jar(&subject.respond(&[])), Some(&authorization))
    };
    let mut login = recorded(&start, &log_in(&mut start(), "alice"), None);
    let sign_out =
        [(":path", "/outpost.goauthentik.io/sign_out"), ("cookie", login["cookie"].as_str().unwrap())];
    let left = start().send(&request(&sign_out)).unwrap();
    login["sign_out"] = json!(left.header("location").unwrap());

    let content = json!({
        "sealed_at": NOW,
        "configuration": serde_json::from_str::<Value>(&configuration).unwrap(),
        "sessions": {
            "of a credential": after(basic("alice", PASSWORD), json!({})),
            "of a login": login,
            "of a token": after(format!("Bearer {}", token(&json!({}))), json!({})),
            "of an opaque token": after(format!("Bearer {OPAQUE}"), json!({})),
            "of many groups": after(basic("alice", PASSWORD), json!({"groups": groups})),
        },
    });
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, format!("{content:#}\n")).unwrap();
}

/// What a replica makes of a cookie.
fn recorded(start: &dyn Fn() -> Core, cookie: &str, authorization: Option<&str>) -> Value {
    let observed = start().send(&request(&[("cookie", cookie)])).expect("a session");
    let Observed::Forwarded(headers) = observed else { panic!("no session: {observed:?}") };
    let identity: serde_json::Map<_, _> = headers
        .into_iter()
        .filter(|(name, _)| name.starts_with("x-authentik-") && name != META_VERSION)
        .map(|(name, value)| (name, json!(value)))
        .collect();
    let mut session = json!({"cookie": cookie, "seconds": 3600, "identity": identity});
    if let Some(authorization) = authorization {
        session["authorization"] = json!(authorization);
    }
    session
}
