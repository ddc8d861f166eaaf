//! `explain`: rows of the decision table, with what is removed and set, and never a secret.

use std::fs;

use authentik_proxy_wasm::authn::Authenticator;
use authentik_proxy_wasm::authn::authentik::call::Answer;
use authentik_proxy_wasm::authn::env::{Env, Host, Shared};
use authentik_proxy_wasm::authn::reply::Decision;
use authentik_proxy_wasm::authn::request::view::HeaderBlock;
use authentik_proxy_wasm::base::secret::Secret;
use authentik_proxy_wasm::base::time::Timestamp;
use authentik_proxy_wasm::config::Config;
use fake_authentik::{ALICE, Authentik};
use serde_json::{Value, json};

use super::{Folder, run, tool};

const SEAL: &str = "a-seal-that-nobody-can-guess";
const COOKIE_SECRET: &str = "cookie-secret-0123456789abcdef0123456789";
const HOST: &str = "app.example.com";

/// A folder with a configuration for one of the stand-in's providers.
struct Explained {
    folder: Folder,
    authentik: Authentik,
    slug: &'static str,
    /// What no output may show.
    secrets: Vec<String>,
}

impl Explained {
    fn new(name: &str, slug: &'static str, further: &Value) -> Self {
        let authentik = Authentik::start();
        let folder = Folder::new(&format!("explain-{name}"));
        let mut provider = json!({
            "assigned_application_slug": slug,
            "client_id": format!("{slug}-client-id"),
            "client_secret": {"env": "CLIENT_SECRET"},
            "cookie_secret": {"env": "COOKIE_SECRET"},
            "external_host": format!("https://{HOST}"),
        });
        provider.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let config = json!({
            "authentik": {"cluster": "authentik", "host": authentik.public_base()},
            "seal": {"values": [{"env": "SEAL"}]},
            "allow_cors_preflight": true,
            "providers": [provider],
        });
        fs::write(folder.file("config.json"), config.to_string()).unwrap();
        let secret = authentik.client_secret(slug);
        let lines =
            format!("# of a test\nCLIENT_SECRET={secret}\nCOOKIE_SECRET={COOKIE_SECRET}\nSEAL={SEAL}\n");
        fs::write(folder.file("secrets.env"), lines).unwrap();
        fs::write(folder.file("keys.json"), authentik.jwks(slug).to_string()).unwrap();
        let secrets = vec![SEAL.to_owned(), COOKIE_SECRET.to_owned(), ALICE.to_owned(), secret];
        Self { folder, authentik, slug, secrets }
    }

    /// A token of alice, and a word of which its parts are no output's.
    fn token(&mut self) -> String {
        let token = self.authentik.issue(self.slug, "alice");
        self.secrets.extend(token.split('.').map(str::to_owned));
        token
    }

    fn explain(&self, request: &str, further: &[&str]) -> String {
        let [config, file, secrets] =
            ["config.json", "request.txt", "secrets.env"].map(|name| self.folder.file(name));
        fs::write(&file, request).unwrap();
        let command = ["explain", "--config", &config, "--request", &file, "--secrets-file", &secrets];
        let (code, output, error) = run(&[&command[..], further].concat());
        assert_eq!((code, error.as_str()), (0, ""), "{output}");
        for secret in &self.secrets {
            assert!(!output.contains(secret.as_str()), "{secret} is in\n{output}");
        }
        output
    }

    fn with_keys(&self, request: &str) -> String {
        self.explain(request, &["--keys", &self.folder.file("keys.json")])
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.folder.file(name), text).unwrap();
        self.folder.file(name)
    }
}

fn request(headers: &str) -> String {
    format!("GET /reports HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n\r\n")
}

/// Fails unless the output has each of these lines, in this order.
fn assert_has(output: &str, expected: &[&str]) {
    let mut lines = output.lines();
    for line in expected {
        assert!(lines.any(|it| it == *line), "{line:?} is not in its place in\n{output}");
    }
}

fn has(output: &str, start: &str) -> bool {
    output.lines().any(|line| line.starts_with(start))
}

#[test]
fn good_bearer_token_goes_on_as_its_user() {
    for slug in ["demo", "rs", "es", "es384", "es512"] {
        let mut explained = Explained::new(&format!("bearer-{slug}"), slug, &json!({}));
        let token = explained.token();
        let output = explained.with_keys(&request(&format!(
            "Authorization: Bearer {token}\r\nX-Authentik-Username: mallory\r\nx_authentik_seal: forged"
        )));
        assert_has(
            &output,
            &[
                &format!("provider   {slug}"),
                "row        path needs authentication; credential; no session; verdict: authentik vouches for its user; \
                 intercept_header_auth on",
                "action     forward as the user of the credential, Authorization removed, with a session cookie if it may \
                 have one",
                "outcome    allowed",
                "reason     ok",
                "source     local",
                "decision   forward",
                "removed    x-authentik-username",
                "removed    x_authentik_seal",
                "removed    authorization",
                "set        x-authentik-username: alice",
                "set        x-authentik-groups: staff|admins-of|pipe|Gruppe Ü",
                &format!("set        x-authentik-jwt: [{} bytes]", token.len()),
                &format!("set        x-authentik-meta-app: {slug}"),
                &format!("set        x-authentik-seal: [{} bytes]", SEAL.len()),
            ],
        );
        assert!(
            has(&output, "call       GET http://127.0.0.1:") && output.contains("answered with --keys"),
            "{output}"
        );
        assert!(has(&output, "response   set-cookie: __Host-authentik_proxy_"), "{output}");
    }
}

#[test]
fn headers_from_a_user_s_attributes_are_shown_by_their_length() {
    let settings = json!({
        "basic_auth_enabled": true,
        "basic_auth_user_attribute": "app_username",
        "basic_auth_password_attribute": "app_password",
    });
    let mut explained = Explained::new("attributes", "demo", &settings);
    explained.secrets.extend(["s3cr3t".to_owned(), "YWxpY2UtYmFzaWM6".to_owned(), "blue".to_owned()]);
    let token = explained.token();
    let output = explained.with_keys(&request(&format!(
        "Authorization: Bearer {token}\r\nCookie: a=never-printed; \
        authentik_proxy_01234567=never-printed"
    )));
    assert!(has(&output, "set        authorization: ["), "{output}");
    assert!(has(&output, "set        x-tenant: [4 bytes]"), "{output}");
    assert!(has(&output, "set        cookie: [15 bytes]"), "{output}");
}

#[test]
fn bad_token_is_answered_with_its_reason() {
    let mut explained = Explained::new("bad", "rs", &json!({}));
    let token = explained.token();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{message}.{first}{}", &signature[1..]);
    explained.secrets.push(forged.rsplit('.').next().unwrap().to_owned());
    let output = explained.with_keys(&request(&format!("Authorization: Bearer {forged}")));
    assert_has(
        &output,
        &[
            "row        path needs authentication; credential; no session; verdict: refused; intercept_header_auth on",
            "action     answer 401, 403 or 429",
            "outcome    denied",
            "reason     invalid_token",
            "decision   reply 401",
            "header     www-authenticate: Basic realm=\"rs\", charset=\"UTF-8\"",
            "header     www-authenticate: Bearer realm=\"rs\", error=\"invalid_token\"",
        ],
    );
    assert!(has(&output, "log        provider=rs status=401 reason=invalid_token "), "{output}");
    assert!(output.contains("message=\"the token's signature is wrong\""), "{output}");
    // The same token, a day later.
    let good = request(&format!("Authorization: Bearer {token}"));
    let keys = explained.folder.file("keys.json");
    let output = explained.explain(&good, &["--keys", &keys, "--now", "4000000000"]);
    assert_has(&output, &["reason     invalid_token", "decision   reply 401"]);
    let output = explained.explain(&good, &["--keys", &explained.file("other.json", "<html>")]);
    assert_has(&output, &["outcome    unavailable", "decision   reply 503"]);
}

#[test]
fn question_without_an_answer_is_said_and_what_follows_from_each() {
    let mut explained = Explained::new("asks", "rs", &json!({}));
    let token = explained.token();
    let output = explained.explain(&request(&format!("Authorization: Bearer {token}")), &[]);
    let call = format!(
        "call       GET {}/application/o/rs/jwks/: not answered: give the answer with --keys",
        explained.authentik.public_base()
    );
    assert_has(
        &output,
        &[
            &call,
            "row        path needs authentication; credential; no session; verdict: unknown; intercept_header_auth on",
            "action     ask authentik",
            "decision   waits for authentik; then, by its verdict:",
            "           refused: answer 401, 403 or 429",
            "           authentik cannot say: answer 503",
        ],
    );
    assert!(explained.authentik.calls().is_empty(), "nothing is sent");
}

#[test]
fn basic_credential_is_exchanged_for_the_given_answer() {
    let mut explained = Explained::new("basic", "demo", &json!({"intercept_header_auth": false}));
    let basic = request("Authorization: Basic YWxpY2U6YWxpY2UtYXBwLXBhc3N3b3Jk");
    explained.secrets.push("YWxpY2U6".to_owned());
    let url = format!("{}/application/o/token/", explained.authentik.public_base());
    let form = "(grant_type=client_credentials, client_id, username, password, scope)";
    let output = explained.explain(&basic, &[]);
    assert_has(
        &output,
        &[
            &format!("call       POST {url} {form}: not answered: give the answer with --answer"),
            "row        path needs authentication; credential; no session; verdict: unknown; intercept_header_auth off",
            "           refused: to the login, or 401 for what cannot show it",
        ],
    );
    let token = explained.token();
    let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}).to_string();
    let (answer, keys) = (explained.file("token.json", &answer), explained.folder.file("keys.json"));
    let output = explained.explain(&basic, &["--answer", &answer, "--keys", &keys]);
    assert_has(
        &output,
        &[
            &format!("call       POST {url} {form}: answered with --answer"),
            "source     exchange",
            "decision   forward",
            "removed    authorization",
            "set        x-authentik-username: alice",
        ],
    );
    for (name, text, expected) in [
        ("refused", "HTTP/1.1 400 Bad Request\r\n\r\n{\"error\": \"invalid_grant\"}", "decision   reply 302"),
        ("down", "HTTP/1.1 503 Service Unavailable\nRetry-After: 17\n\n", "decision   reply 503"),
        ("html", "<html>", "decision   reply 503"),
    ] {
        let output = explained.explain(&basic, &["--answer", &explained.file(name, text)]);
        assert_has(&output, &[expected]);
        assert_eq!(has(&output, "header     retry-after: 17"), name == "down", "{output}");
    }
}

#[test]
fn introspection_is_answered_in_its_turn() {
    let mut explained =
        Explained::new("introspection", "demo", &json!({"bearer_verification": "introspection"}));
    let token = explained.token();
    let good = request(&format!("Authorization: Bearer {token}"));
    let url = format!("{}/application/o/introspect/", explained.authentik.public_base());
    let output = explained.explain(&good, &["--answer", &explained.file("no.json", "{\"active\": false}")]);
    assert!(has(&output, &format!("call       POST {url} (")), "{output}");
    assert_has(&output, &["reason     inactive_token", "source     introspection", "decision   reply 401"]);
}

#[test]
fn requests_without_a_credential_have_their_rows() {
    let explained = Explained::new("rows", "demo", &json!({"skip_path_regex": "^/public"}));
    let secret = explained.authentik.client_secret("demo");
    for (text, expected) in [
        (
            request(""),
            &[
                "row        path needs authentication; no credential; no session; verdict: unknown; intercept_header_auth on",
                "action     to the login, or 401 for what cannot show it",
                "reason     login",
                "decision   reply 302",
                "log        provider=demo status=302 reason=login source=none id=- message=\"no credential\"",
            ][..],
        ),
        (request("Accept: application/json"), &["reason     no_credential", "decision   reply 401"]),
        (request("Content-Type: application/grpc"), &["decision   reply 401, grpc-status 16"]),
        (
            request("Authorization: Digest never-printed"),
            &[
                "row        path needs authentication; malformed credential; no session; verdict: unknown; \
                 intercept_header_auth on",
                "reason     unusable_credential",
                "decision   reply 401",
            ],
        ),
        (
            format!(
                "GET /public/a?b=never-printed HTTP/1.1\nhost: {HOST}\nauthorization: Bearer never-printed\n"
            ),
            &[
                "row        open path (skip_path_regex); credential; no session; verdict: unknown; intercept_header_auth on",
                "action     forward without identity, Authorization as it is, unless it is a token of this authentik",
                "outcome    open",
                "reason     open_path",
                "decision   forward",
            ],
        ),
        (
            format!(
                "OPTIONS /a HTTP/1.1\nhost: {HOST}\norigin: https://a.test\naccess-control-request-method: GET\n"
            ),
            &["reason     preflight", "decision   forward"],
        ),
        (
            format!("GET /outpost.goauthentik.io/ping HTTP/1.1\nhost: {HOST}\n"),
            &[
                "row        none: the request is answered before the decision table is read",
                "reason     ping",
            ],
        ),
    ] {
        let output = explained.explain(&text, &[]);
        assert_has(&output, expected);
        assert!(!output.contains(&secret), "{output}");
    }
    let location = explained.explain(&request(""), &[]);
    assert!(location.contains("/application/o/authorize/?[response_type, client_id, "), "{location}");
    let cookie = location.lines().find(|line| line.starts_with("header     set-cookie: ")).unwrap();
    let value = cookie.split("_login=[").nth(1).unwrap();
    assert!(value.contains(" bytes]; Path=/; HttpOnly; "), "{cookie}");
}

/// Nothing but randomness.
struct Bare;

impl Host for Bare {
    fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
    fn shared(&self, _: &str) -> Option<Shared> {
        None
    }
    fn share(&self, _: &str, _: &[u8]) {}
    fn share_if(&self, _: &str, _: &[u8], _: u32) -> bool {
        false
    }
    fn random(&self, bytes: &mut [u8]) -> bool {
        bytes.fill(7);
        true
    }
    fn source_address(&self) -> Option<String> {
        None
    }
}

/// The session cookie that a worker sets for this token.
fn session_of(explained: &Explained, token: &str, now: u64) -> String {
    let config = fs::read(explained.folder.file("config.json")).unwrap();
    let secret = explained.authentik.client_secret("demo");
    let value = |name: &str| match name {
        "CLIENT_SECRET" => Some(secret.clone()),
        "COOKIE_SECRET" => Some(COOKIE_SECRET.to_owned()),
        _ => Some(SEAL.to_owned()),
    };
    let mut authenticator = Authenticator::new(Config::parse(&config, &value).unwrap()).unwrap();
    let env = Env { now: Timestamp::from_seconds(now), host: &Bare };
    let authorization = format!("Bearer {token}");
    let pairs = [(":authority", HOST), (":path", "/"), (":method", "GET"), ("authorization", &authorization)];
    let block = HeaderBlock::from_pairs(pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    assert!(authenticator.authenticate(&env, 1, &block).decided().is_none(), "keys are asked for");
    for (ticket, _) in authenticator.take_calls(env.now) {
        let body = Secret::new(b"{}".to_vec());
        authenticator.answered(
            &env,
            ticket,
            &Answer::Response { status: 200, retry_after: None, date: None, body },
        );
    }
    let id = authenticator.next_ready().unwrap();
    match authenticator.resume(&env, id, &block).decided().unwrap() {
        Decision::Forward(forward) => {
            let cookie = String::from_utf8(forward.set_cookies[0].as_bytes().to_vec()).unwrap();
            cookie.split(';').next().unwrap().to_owned()
        }
        Decision::Reply(reply) => panic!("{reply:?}"),
    }
}

#[test]
fn session_is_opened_with_the_secrets_and_with_no_others() {
    let mut explained = Explained::new("session", "demo", &json!({}));
    let token = explained.token();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let cookie = session_of(&explained, &token, now);
    explained.secrets.push(cookie.split_once('=').unwrap().1.to_owned());
    let with_cookie = request(&format!("Cookie: {cookie}; theme=dark"));
    let output = explained.explain(&with_cookie, &[]);
    assert_has(
        &output,
        &[
            "row        path needs authentication; no credential; session of another credential; verdict: unknown; \
             intercept_header_auth on",
            "source     session",
            "decision   forward",
            "set        cookie: [10 bytes]",
            "set        x-authentik-username: alice",
        ],
    );
    let own = request(&format!("Cookie: {cookie}\r\nAuthorization: Bearer {token}"));
    assert!(explained.explain(&own, &[]).contains("; session of this credential; "));
    let later = (now + 100_000).to_string();
    assert_has(&explained.explain(&with_cookie, &["--now", &later]), &["decision   reply 302"]);
    // Without its secrets a session is none, and the output says which are missing.
    fs::write(explained.folder.file("secrets.env"), "").unwrap();
    let output = explained.explain(&with_cookie, &[]);
    assert_has(
        &output,
        &[
            "note       COOKIE_SECRET is not set: it counts as a value that nobody knows",
            "decision   reply 302",
        ],
    );
    // From the environment, too.
    let [config, file] = ["config.json", "request.txt"].map(|name| explained.folder.file(name));
    let output = tool()
        .args(["explain", "--config", &config, "--request", &file])
        .envs([("COOKIE_SECRET", COOKIE_SECRET), ("SEAL", SEAL)])
        .env("CLIENT_SECRET", explained.authentik.client_secret("demo"))
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(has(&output, "source     session") && !has(&output, "note"), "{output}");
}

#[test]
fn confirmation_of_a_session_waits_for_its_answer() {
    let mut explained = Explained::new("confirmation", "demo", &json!({}));
    let token = explained.token();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let cookie = session_of(&explained, &token, now);
    explained.secrets.push(cookie.split_once('=').unwrap().1.to_owned());
    let mut config: Value =
        serde_json::from_slice(&fs::read(explained.folder.file("config.json")).unwrap()).unwrap();
    config["providers"][0]["revalidate_seconds"] = json!(60);
    explained.file("config.json", &config.to_string());
    let with_cookie = request(&format!("Cookie: {cookie}"));
    let later = (now + 61).to_string();
    let output = explained.explain(&with_cookie, &["--now", &later]);
    assert!(output.contains("/application/o/introspect/ ("), "{output}");
    assert_has(&output, &["decision   waits for authentik's word on the session or the login"]);
    let answer = explained.file("ended.json", "{\"active\": false}");
    let output = explained.explain(&with_cookie, &["--now", &later, "--answer", &answer]);
    assert_has(&output, &["decision   reply 302"]);
    assert!(
        has(&output, "header     set-cookie: __Host-authentik_proxy_"),
        "the cookie is taken back: {output}"
    );
}

#[test]
fn configuration_is_found_where_check_finds_it() {
    let explained = Explained::new("places", "demo", &json!({}));
    let config = fs::read_to_string(explained.folder.file("config.json")).unwrap();
    let indented = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&config).unwrap()).unwrap();
    let block: String = indented.lines().map(|line| format!("    {line}\n")).collect();
    for text in [
        format!("apiVersion: v1\nkind: WasmPlugin\nspec: {{pluginConfig: {config}}}\n---\na: b\n"),
        format!("static_resources:\n  configuration:\n   value: |\n{block}"),
    ] {
        explained.file("config.json", &text);
        assert_has(&explained.explain(&request(""), &[]), &["provider   demo", "decision   reply 302"]);
    }
    let [file, request] = ["config.json", "request.txt"].map(|name| explained.folder.file(name));
    let command = ["explain", "--config", &file, "--request", &request];
    let in_a_block = format!("a: b\nvalue: |\n{}", block.replace("client_id", "client_ids"));
    let line = in_a_block.lines().position(|line| line.contains("client_ids")).unwrap() + 1;
    for (text, code, words) in [
        (format!("{config}\n---\n{config}"), 2, "has 2 configurations"),
        ("a: b".to_owned(), 2, "has no configuration of the filter"),
        (
            config.replace("client_id", "client_ids"),
            1,
            "config.json:1: providers[0].client_ids: is not a known field",
        ),
        (
            in_a_block.clone(),
            1,
            &format!("config.json:{line}: providers[0].client_ids: is not a known field"),
        ),
        ("{".to_owned(), 1, "config.json:2: document: cannot be read"),
    ] {
        fs::write(&file, text).unwrap();
        let (got, output, error) = run(&command);
        assert!(got == code && format!("{output}{error}").contains(words), "{words}: {got} {output}{error}");
    }
    fs::write(&file, &config).unwrap();
    // Good in form, and not with the secret that is set.
    let secrets = explained.file("short.env", "COOKIE_SECRET=never-printed\n");
    let (code, output, _) = run(&[&command[..], &["--secrets-file", &secrets]].concat());
    assert!(
        code == 1 && output.contains("providers[0].cookie_secret: must have at least 32 bytes"),
        "{output}"
    );
}

#[test]
fn request_that_is_none_is_refused_with_its_line() {
    let explained = Explained::new("requests", "demo", &json!({}));
    let [config, file] = ["config.json", "request.txt"].map(|name| explained.folder.file(name));
    for (text, words) in [
        ("", ":1: must be a request line"),
        ("never-printed", ":1: must be a request line"),
        ("GET / HTTP/2\nHost: a", ":1: must be a request line"),
        ("GET  / HTTP/1.1\nHost: a", ":1: must be a request line"),
        ("G(T / HTTP/1.1\nHost: a", ":1: the method must be a name"),
        ("GET http://a/never-printed HTTP/1.1\nHost: a", ":1: the target must be a path"),
        ("GET / HTTP/1.1\n\nHost: a", ":1: has no Host"),
        ("GET / HTTP/1.1\nHost: a\nHost: never-printed", ":3: is a second Host"),
        ("GET / HTTP/1.1\nHost: a\nnever-printed", ":3: must be a header"),
        ("GET / HTTP/1.1\nHost: a\nx: b\n never-printed: c", ":4: must be a header"),
        ("GET / HTTP/1.1\nHost: a\nx: never\0printed", ":3: has a control character"),
    ] {
        fs::write(&file, text).unwrap();
        let (code, output, error) = run(&["explain", "--config", &config, "--request", &file]);
        assert!(code == 2 && output.is_empty() && error.contains(words), "{text:?}: {output}{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    fs::write(&file, request("")).unwrap();
    let answer = explained.file("answer", "HTTP/1.1 never-printed\n\n{}");
    let secrets = explained.file("bad.env", "never-printed\n");
    let nowhere = explained.folder.file("nowhere");
    for (further, words) in [
        (["--answer", &*answer], "has no status from 200 to 599"),
        (["--secrets-file", &secrets], "bad.env:1: must be NAME=value"),
        (["--keys", &nowhere], "No such file"),
        (["--now", "yesterday"], "--now"),
    ] {
        let command = ["explain", "--config", &config, "--request", &file];
        let (code, output, error) = run(&[&command[..], &further].concat());
        assert!(code == 2 && output.is_empty() && error.contains(words), "{words}: {output}{error}");
    }
}
