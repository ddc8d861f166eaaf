//! `import` against the stand-in's API: what it writes, and that it writes nothing when something is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use fake_authentik::{
    ADMIN_TOKEN, ALICE, ALICE_API_TOKEN, Authentik, Fault, OUTPOST_PROVIDERS, OUTPOST_TOKEN,
};
use loopback::Server;
use serde_json::{Value, json};

use super::{Folder, Output, run, run_with_secrets, tool};

const OUTPOST: &str = "demo-outpost";

/// A folder with a token, and files of an earlier import in it.
struct Operator {
    folder: Folder,
    url: String,
}

impl Operator {
    fn of(name: &str, url: String) -> Self {
        let folder = Folder::new(&format!("import-{name}"));
        for (file, text) in [("token", OUTPOST_TOKEN), ("config.json", "old"), ("secrets.env", "old")] {
            fs::write(folder.file(file), format!("{text}\n")).unwrap();
        }
        Self { folder, url }
    }

    fn new(name: &str, authentik: &Authentik) -> Self {
        Self::of(name, format!("http://{}", authentik.authority()))
    }

    fn with_token(self, token: &str) -> Self {
        fs::write(self.folder.file("token"), token).unwrap();
        self
    }

    fn import(&self, further: &[&str]) -> Output {
        let [token, config, secrets] =
            ["token", "config.json", "secrets.env"].map(|name| self.folder.file(name));
        let files = ["--token-file", &token, "--output", &config, "--secrets-file", &secrets];
        run(&[&["import", "--url", &self.url][..], &files, further].concat())
    }

    /// Imports well; the configuration.
    fn imported(&self, further: &[&str]) -> Value {
        let (code, output, error) = self.import(further);
        assert_eq!((code, output.as_str(), error.as_str()), (0, "", ""));
        self.configuration()
    }

    fn configuration(&self) -> Value {
        serde_json::from_slice(&fs::read(self.folder.file("config.json")).unwrap()).unwrap()
    }

    /// Fails with this exit code and one line that has these words, and leaves the old files as they are.
    fn fails(&self, further: &[&str], code: i32, words: &[&str]) {
        let before = self.folder.content();
        let (got, output, error) = self.import(further);
        assert_eq!((got, output.as_str(), error.lines().count()), (code, "", 1), "{further:?}: {error}");
        for word in words {
            assert!(error.contains(word), "{words:?}: {error}");
        }
        assert_eq!(self.folder.content(), before, "something was written: {error}");
    }
}

fn slugs(configuration: &Value) -> Vec<&str> {
    let providers = configuration["providers"].as_array().unwrap().iter();
    providers.map(|provider| provider["assigned_application_slug"].as_str().unwrap()).collect()
}

fn mode(file: &str) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn providers_of_the_outpost_become_a_configuration_that_passes_check() {
    let authentik = Authentik::start();
    let operator = Operator::new("all", &authentik);
    let configuration = operator.imported(&["--host", "https://auth.example.com", "--cluster", "idp"]);
    assert_eq!(configuration["authentik"], json!({"cluster": "idp", "host": "https://auth.example.com"}));
    assert_eq!(configuration["outpost_name"], OUTPOST);
    assert_eq!(slugs(&configuration), ["demo", "demo-domain", "demo-proxy"]);
    assert_eq!(
        configuration["providers"][1],
        json!({
            "name": "demo-domain",
            "assigned_application_slug": "demo-domain",
            "client_id": "demo-domain-client-id",
            "client_secret": {"env": "AUTHENTIK_DEMO_DOMAIN_CLIENT_SECRET"},
            "cookie_secret": {"env": "AUTHENTIK_DEMO_DOMAIN_COOKIE_SECRET"},
            "external_host": "http://auth.localtest:8080",
            "mode": "forward_domain",
            "cookie_domain": "localtest",
            "intercept_header_auth": true,
            "basic_auth_enabled": false,
            "basic_auth_user_attribute": "",
            "basic_auth_password_attribute": "",
            "skip_path_regex": "^/public/.*\n^/healthz$",
            "scopes_to_request": ["email", "entitlements", "ak_proxy", "profile", "openid"],
            "access_token_validity": 3600,
        })
    );
    assert_eq!(configuration["providers"][0]["basic_auth_user_attribute"], "app_username");
    let config = operator.folder.file("config.json");
    assert_eq!(run(&["check", &config]), (0, String::new(), String::new()));
}

#[test]
fn secrets_are_in_their_file_alone_and_only_its_owner_reads_it() {
    let authentik = Authentik::start();
    let operator = Operator::new("secrets", &authentik);
    operator.imported(&[]);
    let secrets = operator.folder.file("secrets.env");
    assert_eq!(mode(&secrets), 0o600);
    assert_eq!(
        fs::read_to_string(secrets).unwrap(),
        "AUTHENTIK_DEMO_CLIENT_SECRET=demo-client-secret-0123456789abcdef0123456789abcdef\n\
         AUTHENTIK_DEMO_COOKIE_SECRET=demo-cookie-secret-0123456789abc\n\
         AUTHENTIK_DEMO_DOMAIN_CLIENT_SECRET=demo-domain-client-secret-0123456789abcdef0123456789abcdef\n\
         AUTHENTIK_DEMO_DOMAIN_COOKIE_SECRET=demo-domain-cookie-secret-012345\n\
         AUTHENTIK_DEMO_PROXY_CLIENT_SECRET=demo-proxy-client-secret-0123456789abcdef0123456789abcdef\n\
         AUTHENTIK_DEMO_PROXY_COOKIE_SECRET=demo-proxy-cookie-secret-0123456\n"
    );
    let configuration = fs::read_to_string(operator.folder.file("config.json")).unwrap();
    assert!(!configuration.contains("secret-0"), "{configuration}");
    assert_eq!(operator.folder.content().len(), 3, "nothing unfinished stays");
}

#[test]
fn two_slugs_of_one_variable_have_two() {
    let authentik = Authentik::start();
    for (slug, host) in [("a-b", "https://a.example.com"), ("a_b", "https://b.example.com")] {
        authentik.add_proxy_provider(slug, host);
    }
    authentik.edit_outpost(OUTPOST, |outpost| outpost.providers = vec!["a-b", "a_b"]);
    let configuration = Operator::new("names", &authentik).imported(&[]);
    let names = [0, 1].map(|index| &configuration["providers"][index]["client_secret"]["env"]);
    assert_eq!(names, ["AUTHENTIK_A_B_CLIENT_SECRET", "AUTHENTIK_A_B_CLIENT_SECRET_2"]);
}

#[test]
fn inline_secrets_are_in_the_configuration() {
    let authentik = Authentik::start();
    let operator = Operator::new("inline", &authentik);
    let (token, config) = (operator.folder.file("token"), operator.folder.file("config.json"));
    let command = ["import", "--url", &operator.url, "--token-file", &token, "--inline-secrets"];
    let (code, output, error) = run_with_secrets(&command);
    assert_eq!((code, error.as_str()), (0, ""));
    let printed: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(printed["providers"][0]["client_secret"], authentik.client_secret("demo"));
    assert_eq!(run(&[&command[..], &["--output", &config]].concat()), (0, String::new(), String::new()));
    assert_eq!((operator.configuration(), mode(&config)), (printed, 0o600));
    assert_eq!(run(&["check", &config]).0, 0);
}

#[test]
fn configuration_that_nobody_reads_leaves_no_secrets() {
    let authentik = Authentik::start();
    let operator = Operator::new("no-reader", &authentik);
    let before = operator.folder.content();
    let (token, secrets) = (operator.folder.file("token"), operator.folder.file("secrets.env"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = tool();
    command.args(["import", "--url", &operator.url, "--token-file", &token, "--secrets-file", &secrets]);
    assert_eq!(command.stdout(writer).stderr(Stdio::null()).status().unwrap().code(), Some(2));
    assert_eq!(operator.folder.content(), before);
}

#[test]
fn one_way_for_the_secrets_must_be_chosen() {
    let authentik = Authentik::start();
    let operator = Operator::new("choice", &authentik);
    let token = operator.folder.file("token");
    let (code, output, error) = run(&["import", "--url", &operator.url, "--token-file", &token]);
    assert_eq!((code, output.as_str()), (2, ""));
    assert!(error.contains("--secrets-file") && error.contains("--inline-secrets"), "{error}");
    assert_eq!(operator.import(&["--inline-secrets"]).0, 2, "both");
    assert!(authentik.calls().is_empty());
}

#[test]
fn every_page_is_read() {
    let authentik = Authentik::start();
    let added: Vec<&'static str> = (0..230).map(|number| &*format!("app-{number:03}").leak()).collect();
    for slug in &added {
        authentik.add_proxy_provider(slug, &format!("https://{slug}.example.com"));
    }
    authentik.edit_outpost(OUTPOST, |outpost| outpost.providers.clone_from(&added));
    let configuration = Operator::new("pages", &authentik).imported(&[]);
    assert_eq!(slugs(&configuration), added);
    assert_eq!(authentik.count(OUTPOST_PROVIDERS), 3);
}

#[test]
fn outpost_is_named_where_the_token_sees_several() {
    let authentik = Authentik::start();
    authentik.add_proxy_provider("elsewhere", "https://elsewhere.example.com");
    let operator = Operator::new("outpost", &authentik).with_token(ADMIN_TOKEN);
    operator.fails(&[], 2, &["--outpost: is missing", "\"authentik Embedded Outpost\", \"demo-outpost\""]);
    operator.fails(
        &["--outpost", "demo"],
        2,
        &["--outpost: the token sees no proxy outpost \"demo\"", "demo-outpost"],
    );
    operator.fails(
        &["--outpost", "authentik Embedded Outpost"],
        2,
        &["--outpost: \"authentik Embedded Outpost\" has no proxy provider"],
    );
    let configuration = operator.imported(&["--outpost", OUTPOST]);
    assert_eq!(slugs(&configuration), ["demo", "demo-domain", "demo-proxy"]);
    authentik.edit_outpost("authentik Embedded Outpost", |outpost| outpost.kind = "ldap");
    assert_eq!(slugs(&operator.imported(&[])).len(), 3, "the only proxy outpost");
    authentik.edit_outpost(OUTPOST, |outpost| outpost.kind = "ldap");
    operator.fails(&[], 2, &["--token-file: the token sees no proxy outpost"]);
}

#[test]
fn host_is_what_browsers_see() {
    let authentik = Authentik::start();
    let operator = Operator::new("host", &authentik);
    let host = |operator: &Operator| operator.imported(&[])["authentik"]["host"].clone();
    assert_eq!(host(&operator), "http://127.0.0.1:9010");
    authentik
        .edit_outpost(OUTPOST, |outpost| outpost.authentik_host_browser = "https://auth.example.com/".into());
    assert_eq!(host(&operator), "https://auth.example.com");
    authentik.edit_outpost(OUTPOST, |outpost| {
        outpost.authentik_host.clear();
        outpost.authentik_host_browser.clear();
    });
    assert_eq!(host(&operator), operator.url.as_str());
    authentik.set_path_prefix("/auth");
    let below = Operator::of("below", format!("{}/auth/", operator.url));
    assert_eq!(host(&below), format!("{}/auth", operator.url));
}

#[test]
fn issuer_of_the_host_is_said() {
    let authentik = Authentik::start();
    authentik.edit_provider("demo-proxy", |provider| provider.global_issuer = true);
    let configuration = Operator::new("issuer", &authentik).imported(&[]);
    assert_eq!(configuration["providers"][0]["issuer_mode"], Value::Null);
    assert_eq!(configuration["providers"][2]["issuer_mode"], "global");
}

#[test]
fn operator_is_told_what_is_left_out() {
    let authentik = Authentik::start();
    authentik.edit_provider("demo-proxy", |provider| provider.has_application = false);
    authentik.edit_proxy("demo", |proxy| drop(proxy.replaced.insert("new_setting".into(), json!(true))));
    let operator = Operator::new("notes", &authentik);
    let (code, _, error) = operator.import(&[]);
    assert_eq!((code, error.lines().count()), (0, 2), "{error}");
    assert!(error.contains("note: authentik's field \"new_setting\" is not known"), "{error}");
    assert!(error.contains("note: provider \"demo-proxy\" has no application and is left out"), "{error}");
    assert_eq!(slugs(&operator.configuration()), ["demo", "demo-domain"]);
}

#[test]
fn wrong_url_is_named_and_nothing_is_written() {
    let mut authentik = Authentik::start();
    let operator = Operator::new("url", &authentik);
    let status = |status: u16| Fault::Status(status, Vec::new(), "{}".to_owned());
    for (fault, words) in [
        (Fault::Html(500), "authentik, or the proxy before it, fails (500"),
        (Fault::Html(502), "fails (502"),
        (Fault::Html(404), "there is no authentik API below"),
        (status(405), "is not authentik's API (405"),
        (Fault::Html(200), "is not authentik's API: no list"),
        (Fault::Garbage, "is not authentik's API: no list"),
        (Fault::EmptyBody, "is not authentik's API: no list"),
        (Fault::Status(200, Vec::new(), "[]".to_owned()), "is not authentik's API: no list"),
        (Fault::Status(200, Vec::new(), r#"{"results": []}"#.to_owned()), "is not authentik's API: no list"),
        (Fault::Huge(40 << 20), "is longer than 16 MiB"),
        (Fault::ResetMidBody, "the answer ends too early"),
        (Fault::Reset, "cannot be reached"),
    ] {
        for path in ["/api/", OUTPOST_PROVIDERS] {
            authentik.clear_faults();
            authentik.fault(path, fault.clone());
            operator.fails(&[], 2, &["authentik-proxy-wasm: --url: ", words]);
        }
    }
    authentik.clear_faults();
    authentik.down();
    operator.fails(&[], 2, &["--url: cannot be reached: ", "refused"]);
    for (address, words) in [
        ("auth.example.com", "is not a URL"),
        ("ftp://auth.example.com", "must begin with https:// or http://"),
        ("https://me:never-printed@auth.example.com", "without user"),
        ("https://auth.example.com/?a=b", "without user, query"),
    ] {
        Operator::of("address", address.to_owned()).fails(&[], 2, &["--url: ", words]);
    }
}

#[test]
fn wrong_token_is_named_and_nothing_is_written() {
    let authentik = Authentik::start();
    for (token, words) in [
        ("wrong", "does not know the token, or it has expired (403)"),
        (ALICE, "does not know the token, or it has expired (403); an app password is no API token"),
        (ALICE_API_TOKEN, "the token may not read outposts (403)"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("two tokens", "must have the token and nothing else"),
        ("tök", "must have the token and nothing else"),
    ] {
        let operator = Operator::new("token", &authentik).with_token(token);
        operator.fails(&[], 2, &["authentik-proxy-wasm: --token-file: ", words]);
    }
    let operator = Operator::new("token", &authentik);
    fs::remove_file(operator.folder.file("token")).unwrap();
    operator.fails(&[], 2, &["--token-file: ", "token: No such file"]);
    let operator = Operator::new("token", &authentik);
    let detail = r#"{"detail": "Authentication credentials were not provided."}"#;
    authentik.fault("/api/", Fault::Status(403, Vec::new(), detail.to_owned()));
    operator.fails(&[], 2, &["--token-file: the token does not reach authentik (403)"]);
    // An answer that repeats the token: the run of every test looks for it.
    let echo = json!({"detail": OUTPOST_TOKEN}).to_string();
    authentik.fault("/api/", Fault::Status(401, Vec::new(), echo));
    operator.fails(&[], 2, &["--token-file: the token is refused (401)"]);
}

#[test]
fn redirect_is_not_followed_with_the_token() {
    let (authentik, other) = (Authentik::start(), Authentik::start());
    let to = format!("http://{}/somewhere?token=never-printed", other.authority());
    authentik.fault("/api/", Fault::Status(302, vec![("location".to_owned(), to)], String::new()));
    let operator = Operator::new("redirect", &authentik);
    operator.fails(&[], 2, &["--url: is redirected to", &format!("http://{}", other.authority())]);
    assert!(other.calls().is_empty());
}

#[test]
fn pages_out_of_order_are_refused() {
    let authentik = Authentik::start();
    let operator = Operator::new("order", &authentik);
    let page = |current: u64, next: u64, count: u64| {
        let pagination = json!({"current": current, "next": next, "count": count});
        Fault::Status(200, Vec::new(), json!({"pagination": pagination, "results": []}).to_string())
    };
    for (fault, words) in [
        (page(1, 1, 0), "the pages of the list are out of order: asked for page 1, got 1 with next 1"),
        (page(1, 3, 0), "got 1 with next 3"),
        (page(2, 3, 0), "asked for page 1, got 2"),
        // The second page is the first one again.
        (page(1, 2, 0), "asked for page 2, got 1 with next 2"),
        (page(1, 0, 7), "the list changed while it was read"),
    ] {
        authentik.clear_faults();
        authentik.fault(OUTPOST_PROVIDERS, fault);
        operator.fails(&[], 2, &["--url: ", words]);
    }
}

#[test]
fn list_without_end_is_given_up() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    async fn endless(request: Request) -> String {
        ASKED.fetch_add(1, Ordering::SeqCst);
        let query = request.uri().query().unwrap();
        let number: u64 = query.split(['=', '&']).nth(1).unwrap().parse().unwrap();
        json!({"pagination": {"current": number, "next": number + 1, "count": 0}, "results": []}).to_string()
    }
    let server = Server::start(Router::new().fallback(endless), 0).unwrap();
    let operator = Operator::of("endless", format!("http://{}", server.authority()));
    operator.fails(&[], 2, &["--url: the list has more than 200 pages"]);
    assert_eq!(ASKED.load(Ordering::SeqCst), 200);
}

#[test]
fn entry_that_cannot_be_a_provider_is_named_and_nothing_is_written() {
    let authentik = Authentik::start();
    let operator = Operator::new("entries", &authentik);
    for (field, value, words) in [
        ("client_secret", Value::Null, "provider \"demo\": client_secret: is not in authentik's answer"),
        ("cookie_secret", json!(""), "provider \"demo\": cookie_secret: is not in authentik's answer"),
        ("client_secret", json!(7), "client_secret: is not in authentik's answer"),
        ("client_secret", json!("a\nPATH=never-printed"), "client_secret: has a control character"),
        ("cookie_secret", json!("never-printed"), "providers[0].cookie_secret: must have at least 32 bytes"),
        ("external_host", json!("app"), "provider \"demo\": providers[0].external_host: "),
        ("mode", json!("forward_all"), "provider \"demo\": providers[0].mode: "),
        ("skip_path_regex", json!("("), "providers[0].skip_path_regex: line 1 is not a regular expression"),
        ("access_token_validity", json!("hours=1"), "providers[0].access_token_validity: "),
        (
            "oidc_configuration",
            json!({"issuer": "https://a.test/application/o/b/"}),
            "oidc_configuration.issuer: ",
        ),
        ("external_host", json!("http://app2.localtest:8080"), "has the external_host of another provider"),
    ] {
        authentik
            .edit_proxy("demo", |proxy| proxy.replaced = [(field.to_owned(), value)].into_iter().collect());
        operator.fails(&[], 1, &[words]);
    }
    authentik.edit_proxy("demo", |proxy| {
        proxy.replaced = [("client_secret", Value::Null), ("cookie_secret", Value::Null)]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect();
    });
    let (code, _, error) = operator.import(&[]);
    assert_eq!((code, error.lines().count()), (1, 2), "all at once: {error}");
}

#[test]
fn wrong_options_are_named_and_nothing_is_written() {
    let authentik = Authentik::start();
    let operator = Operator::new("options", &authentik);
    operator.fails(&["--host", "auth.example.com"], 2, &["--host: "]);
    operator.fails(&["--cluster", ""], 2, &["--cluster: "]);
    authentik.edit_outpost(OUTPOST, |outpost| outpost.providers.clear());
    operator.fails(&[], 2, &["--outpost: \"demo-outpost\" has no proxy provider"]);
    authentik.forget_calls();
    let token = operator.folder.file("token");
    for (further, words) in [
        (&["--output", operator.folder.path()][..], "--output: "),
        (&["--output", &operator.folder.file("not-there/config.json")], "is in no folder that is there"),
        (&["--output", &operator.folder.file("secrets.env")], "must be another file than that of --output"),
    ] {
        let secrets = operator.folder.file("secrets.env");
        let before = operator.folder.content();
        let command = ["import", "--url", &operator.url, "--token-file", &token, "--secrets-file", &secrets];
        let (code, _, error) = run(&[&command[..], further].concat());
        assert!(code == 2 && error.contains(words), "{error}");
        assert_eq!(operator.folder.content(), before);
    }
    assert!(authentik.calls().is_empty(), "known before authentik is asked");
}
