//! `docs/security-checklist.md`: what its commands print of the real Envoy's configuration, when all is well and when it is not.

use std::io::Write as _;
use std::process::{Command, Stdio};

use fake_authentik::Authentik;
use local_envoy::module::root;
use local_envoy::{Envoy, EnvoyOptions};
use loopback::App;

use super::place::options;

/// The page's one command that has these words.
fn command(words: &str) -> &'static str {
    let page = include_str!("../../docs/security-checklist.md");
    let mut lines =
        page.lines().filter(|line| line.starts_with("admin config_dump |") && line.contains(words));
    let (Some(line), None) = (lines.next(), lines.next()) else { panic!("not one command with {words}") };
    line
}

/// What the commands with these words print of an Envoy with this change.
fn printed(change: impl FnOnce(&mut EnvoyOptions), words: [&str; 4]) -> [String; 4] {
    let (authentik, app) = (Authentik::start(), App::start());
    let mut options = options(&authentik, &app);
    change(&mut options);
    let envoy = Envoy::start(options);
    let dump = envoy.admin("/config_dump").expect("the admin interface answers");
    words.map(|words| {
        let mut shell = Command::new("bash")
            .args(["-c", &format!("admin() {{ cat; }}; {}", command(words))])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash");
        shell.stdin.take().expect("a pipe").write_all(dump.as_bytes()).expect("it reads");
        String::from_utf8(shell.wait_with_output().expect("it ends").stdout).expect("text")
    })
}

const WORDS: [&str; 4] =
    ["match_typed_subject_alt_names", "cookie)_secret", "failure_policy", "normalize_path"];

#[test]
fn commands_of_the_checklist_tell_a_good_configuration_from_a_bad_one() {
    let authorities = root().join("tests/data/tls/issuer.pem");
    let [tls, secrets, policy, limits] =
        printed(|options| options.speak_tls_to("authentik", "auth.example.com", Some(&authorities)), WORDS);
    assert!(tls.contains("match_typed_subject_alt_names"), "{tls}");
    assert_eq!(secrets, "");
    assert!(policy.contains("\"FAIL_RELOAD\"") && !policy.contains("allow_on"), "{policy}");
    for name in ["normalize_path", "merge_slashes", "request_timeout", "stream_idle_timeout"] {
        assert!(limits.contains(name), "{name}: {limits}");
    }

    let bad = |options: &mut EnvoyOptions| {
        options.configuration["providers"][0]["client_secret"] = "a-client-secret-in-the-file".into();
        options.bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
            ["http_filters"][0]["typed_config"]["config"]["failure_policy"] = "FAIL_OPEN".into();
    };
    let [tls, secrets, policy, _] = printed(bad, WORDS);
    assert_eq!(tls, "");
    assert!(secrets.contains("a-client-secret-in-the-file"), "{secrets}");
    assert!(policy.contains("\"FAIL_OPEN\""), "{policy}");
}
