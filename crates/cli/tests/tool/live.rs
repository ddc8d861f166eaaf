//! `check --live` against the stand-in, right and in each wrong way.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fake_authentik::{Authentik, Fault, Signing};
use serde_json::{Value, json};

use super::{Folder, Output, run};

const PUBLIC: &str = "https://auth.example.test";
const DISCOVERY: &str = "/application/o/rs/.well-known/openid-configuration";
const KEYS: &str = "/application/o/rs/jwks/";

/// A configuration with these providers, each an object with its slug; one provider a line from line 5 on.
fn configuration(host: &str, providers: &[Value]) -> String {
    let entry = |members: &Value| {
        let mut entry = json!({
            "client_id": "id",
            "client_secret": {"env": "CLIENT_SECRET"},
            "cookie_secret": {"env": "COOKIE_SECRET"},
            "external_host": format!("https://{}.example.test", members["assigned_application_slug"].as_str().unwrap()),
        });
        entry.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        entry.to_string()
    };
    let entries: Vec<_> = providers.iter().map(entry).collect();
    format!(
        "{{\n\"authentik\": {{\n\"cluster\": \"authentik\", \"timeout_seconds\": 1,\n\"host\": \"{host}\"}}, \"providers\": [\n{}],\n\
         \"clock_skew_seconds\": 60}}\n",
        entries.join(",\n")
    )
}

fn provider(slug: &str, members: Value) -> Value {
    let mut provider = json!({"assigned_application_slug": slug});
    provider.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    provider
}

/// Runs the check, at this address if there is one.
fn check(folder: &Folder, configuration: &str, address: Option<&str>) -> (String, Output) {
    let file = folder.file("config.json");
    fs::write(&file, configuration).unwrap();
    let address: Vec<_> = address.into_iter().flat_map(|address| ["--authentik-url", address]).collect();
    let output = run(&[&["check", "--live", &file][..], &address].concat());
    (file, output)
}

#[test]
fn right_providers_are_good_and_nothing_secret_is_asked() {
    let authentik = Authentik::start();
    let folder = Folder::new("live-right");
    let providers = [
        provider("demo", json!({})),
        provider("rs", json!({})),
        provider("rs-global", json!({"issuer_mode": "global"})),
        provider("hs", json!({"oidc_configuration": {"id_token_signing_alg_values_supported": ["HS256"]}})),
    ];
    let by_itself = format!("http://{}", authentik.authority());
    for (host, address) in [(by_itself.as_str(), None), (PUBLIC, Some(by_itself.as_str()))] {
        authentik.forget_calls();
        let (_, (code, output, error)) = check(&folder, &configuration(host, &providers), address);
        assert_eq!((code, output.as_str(), error.lines().count()), (0, "", 4), "{error}");
        assert!(
            error.contains("note: authentik agrees with the provider \"demo\": no signing key, so HS256"),
            "{error}"
        );
        assert!(error.contains("\"rs\": a signing key"), "{error}");
        let calls = authentik.all_calls();
        assert_eq!(calls.len(), 8, "keys and discovery of each");
        for call in calls {
            assert_eq!((call.method.as_str(), call.query.as_str(), call.body.len()), ("GET", "", 0));
            let (scheme, authority) = host.split_once("://").unwrap();
            assert_eq!(call.header("host"), Some(authority), "as the filter sends it");
            assert_eq!(call.header("x-forwarded-proto"), Some(scheme));
            assert!(call.header("authorization").is_none() && call.header("cookie").is_none());
        }
    }
}

/// One wrong way: the provider's entry, what is done to the stand-in, the line in the file, and words of the finding.
struct Wrong {
    name: &'static str,
    provider: Value,
    breaks: fn(&Authentik),
    line: usize,
    words: &'static [&'static str],
}

fn broken(path: &'static str, fault: impl FnOnce() -> Fault) -> impl FnOnce(&Authentik) {
    let fault = fault();
    move |authentik| authentik.fault(path, fault)
}

/// The keys come with this time on authentik's clock, seconds from now.
fn with_clock(authentik: &Authentik, ahead: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let then = UNIX_EPOCH + Duration::from_secs(now.checked_add_signed(ahead).unwrap());
    let headers = vec![("date".to_owned(), httpdate::fmt_http_date(then))];
    authentik.fault(KEYS, Fault::Status(200, headers, authentik.jwks("rs").to_string()));
}

fn wrong_ways() -> Vec<Wrong> {
    let rs = || provider("rs", json!({}));
    let wrong = |name, provider, breaks, line, words| Wrong { name, provider, breaks, line, words };
    vec![
        wrong(
            "proxy networks do not trust the caller",
            rs(),
            |authentik| authentik.set_trusts_proxies(false),
            4,
            &["authentik.host: ", "http://auth.example.test/", "AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS"],
        ),
        wrong(
            "issuer mode is global at authentik",
            provider("rs-global", json!({})),
            |_| {},
            5,
            &["providers[0].issuer_mode: ", "set issuer_mode to \"global\""],
        ),
        wrong(
            "issuer mode is global in the configuration",
            provider("rs", json!({"issuer_mode": "global"})),
            |_| {},
            5,
            &["providers[0].issuer_mode: ", "set issuer_mode to \"per_provider\""],
        ),
        wrong(
            "issuer is configured as another",
            provider("rs", json!({"oidc_configuration": {"issuer": "https://old.example.test/"}})),
            |_| {},
            4,
            &["authentik.host: ", "not what tokens must have", "set authentik.host"],
        ),
        wrong(
            "application is unknown",
            provider("nope", json!({})),
            |_| {},
            5,
            &["providers[0].assigned_application_slug: ", "\"nope\"", "(404)", "set the application's slug"],
        ),
        wrong(
            "application has no provider",
            provider("noapp", json!({})),
            |_| {},
            5,
            &["providers[0].assigned_application_slug: ", "(404)"],
        ),
        wrong(
            "key is of a kind that the filter does not have",
            rs(),
            |it| {
                it.set_jwks(
                    "rs",
                    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "use": "sig"}]}),
                )
            },
            5,
            &[
                "providers[0].assigned_application_slug: ",
                "RS256",
                "a key that the filter cannot use",
                "set a signing key",
            ],
        ),
        wrong(
            "key cannot be used by authentik itself",
            provider("ed", json!({})),
            |_| {},
            4,
            &["authentik.host: ", "/application/o/ed/jwks/ fails (500)", "a key that it cannot use"],
        ),
        wrong(
            "key set is that of another algorithm",
            rs(),
            |authentik| authentik.set_jwks("rs", authentik.jwks("es")),
            5,
            &["signs with \"RS256\"", "no key for that"],
        ),
        wrong(
            "signing key is there and none was expected",
            provider(
                "rs",
                json!({"oidc_configuration": {"id_token_signing_alg_values_supported": ["HS256"]}}),
            ),
            |_| {},
            5,
            &["id_token_signing_alg_values_supported: ", "signs with \"RS256\"", "without a signing key"],
        ),
        wrong(
            "clock of authentik is ahead",
            rs(),
            |authentik| with_clock(authentik, 120),
            6,
            &[
                "clock_skew_seconds: ",
                "authentik has a clock ",
                " seconds ahead of this machine's",
                "issued in the future",
                "by NTP",
            ],
        ),
        wrong(
            "clock of authentik is behind",
            rs(),
            |authentik| with_clock(authentik, -120),
            6,
            &["clock_skew_seconds: ", " seconds behind this machine's", "tokens expire early"],
        ),
        wrong(
            "discovery is redirected",
            rs(),
            |it| {
                broken(DISCOVERY, || {
                    Fault::Status(302, vec![("location".into(), "/x".into())], String::new())
                })(it)
            },
            4,
            &["authentik.host: ", "openid-configuration redirects (302)", "set authentik.host"],
        ),
        wrong(
            "discovery is a page of somebody else's",
            rs(),
            |it| broken(DISCOVERY, || Fault::Status(200, vec![], "<html>".into()))(it),
            4,
            &["authentik.host: ", "status 200 is not what it should be"],
        ),
        wrong(
            "discovery is too long",
            rs(),
            |it| broken(DISCOVERY, || Fault::Huge(2 << 20))(it),
            4,
            &["authentik.host: ", "longer than authentik.max_response_bytes"],
        ),
        wrong(
            "key set is refused",
            rs(),
            |it| broken(KEYS, || Fault::Html(403))(it),
            4,
            &["authentik.host: ", "is not authentik's page (403)"],
        ),
        wrong(
            "connection breaks",
            rs(),
            |it| broken(KEYS, || Fault::Reset)(it),
            4,
            &["authentik.host: ", "/application/o/rs/jwks/ cannot be reached", "--authentik-url"],
        ),
        wrong(
            "answer does not come",
            rs(),
            |it| broken(KEYS, || Fault::Hang)(it),
            4,
            &["authentik.host: ", "no answer within 1 seconds", "--authentik-url"],
        ),
    ]
}

#[test]
fn each_wrong_way_is_one_line_that_says_what_to_set() {
    for Wrong { name, provider, breaks, line, words } in wrong_ways() {
        let authentik = Authentik::start();
        let folder = Folder::new("live-wrong");
        breaks(&authentik);
        let address = format!("http://{}", authentik.authority());
        let configuration = configuration(PUBLIC, &[provider]);
        let (file, (code, output, error)) = check(&folder, &configuration, Some(&address));
        assert_eq!((code, output.lines().count()), (1, 1), "{name}: {output}{error}");
        assert!(output.starts_with(&format!("{file}:{line}: ")), "{name}: {output}");
        for word in words {
            assert!(output.contains(word), "{name}: {word} is not in {output}");
        }
        // The clock is the only one that leaves the provider as it should be.
        assert_eq!(error.is_empty(), !name.starts_with("clock"), "{name}: {error}");
    }
}

#[test]
fn clock_within_the_allowed_skew_is_no_finding() {
    for ahead in [-55, -5, 0, 5, 55] {
        let authentik = Authentik::start();
        with_clock(&authentik, ahead);
        let folder = Folder::new("live-clock");
        let address = format!("http://{}", authentik.authority());
        let configuration = configuration(PUBLIC, &[provider("rs", json!({}))]);
        let (_, (code, output, _)) = check(&folder, &configuration, Some(&address));
        assert_eq!((code, output.as_str()), (0, ""), "{ahead} seconds");
    }
}

#[test]
fn unreachable_authentik_is_one_line_for_all_providers() {
    let mut authentik = Authentik::start();
    authentik.down();
    let folder = Folder::new("live-down");
    let providers = ["demo", "rs", "es"].map(|slug| provider(slug, json!({})));
    let host = format!("http://{}", authentik.authority());
    let (file, (code, output, error)) = check(&folder, &configuration(&host, &providers), None);
    assert_eq!((code, output.lines().count(), error.as_str()), (1, 1, ""), "{output}");
    assert!(output.starts_with(&format!(
        "{file}:4: authentik.host: {host}/application/o/demo/jwks/ cannot be reached"
    )));
}

#[test]
fn faults_of_several_providers_are_all_told_with_those_of_the_file() {
    let authentik = Authentik::start();
    authentik.edit_provider("es", |it| it.signing = Signing::Rs256);
    let folder = Folder::new("live-several");
    let providers = [
        provider("nope", json!({})),
        provider("es", json!({})),
        provider("rs", json!({"issuer_mode": "global"})),
    ];
    fs::write(folder.file("faulty.json"), "{\"authentik\": {}, \"providers\": []}").unwrap();
    let faulty = folder.file("faulty.json");
    let good = folder.file("good.json");
    let host = format!("http://{}", authentik.authority());
    fs::write(&good, configuration(&host, &providers)).unwrap();
    let (code, output, error) = run(&["check", "--live", &faulty, &good]);
    let of = |file: &str| output.lines().filter(|line| line.starts_with(file)).count();
    assert_eq!((code, of(&good)), (1, 2), "{output}");
    assert!(of(&faulty) > 0 && error.contains("the provider \"es\""), "{output}{error}");
    let calls = authentik.all_calls().len();
    run(&["check", &good]);
    assert_eq!(authentik.all_calls().len(), calls, "without --live nobody is asked");
}

#[test]
fn configuration_in_an_envoy_yaml_is_found_at_its_lines() {
    let authentik = Authentik::start();
    let folder = Folder::new("live-envoy");
    let envoy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy.yaml");
    let slug = "\"assigned_application_slug\": \"";
    let text = fs::read_to_string(envoy).unwrap().replace(&format!("{slug}demo\""), &format!("{slug}nope\""));
    let at = text.lines().position(|line| line.contains("\"nope\"")).unwrap() + 1;
    let file = folder.file("envoy.yaml");
    fs::write(&file, &text).unwrap();
    let address = format!("http://{}", authentik.authority());
    let (code, output, error) = run(&["check", "--live", "--authentik-url", &address, &file]);
    let place =
        format!("{file}:{at}: providers[0].assigned_application_slug: authentik knows no application");
    assert!(
        code == 1 && output.lines().any(|line| line.starts_with(&place)),
        "{place} is not in {output}{error}"
    );
}

#[test]
fn wrong_address_is_a_wrong_command_line() {
    let folder = Folder::new("live-address");
    let text = configuration(PUBLIC, &[provider("rs", json!({}))]);
    for address in ["nonsense", "ftp://x", "http://u:p@x", "http://x/prefix", "http://x/?q", "unix:/x"] {
        let (_, (code, output, error)) = check(&folder, &text, Some(address));
        assert_eq!((code, output.as_str(), error.lines().count()), (2, "", 1), "{address}: {error}");
        assert!(error.contains("--authentik-url: "), "{error}");
    }
    let (code, ..) = run(&["check", "--authentik-url", "http://x", &folder.file("config.json")]);
    assert_eq!(code, 2, "without --live");
}
