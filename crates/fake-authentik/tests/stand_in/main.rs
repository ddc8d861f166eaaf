//! Checks the stand-in against the recorded authentik: every transcript of the key and discovery (`1-`), token
//! (`2-`) and introspection endpoints (`3-`), of the browser's flow (`4-`) and of the outposts' API is replayed, and status,
//! headers, body and decoded tokens are compared. A transcript is replayed or listed in `LEFT_OUT`; a new one fails the test until
//! it is either.
//! Below: the control that tests have over the stand-in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use reqwest::blocking::{RequestBuilder, Response};
use serde_json::{Value, json};

mod events;
mod flow;
mod outposts;

use fake_authentik::{ALICE, Authentik, Fault, Generation, INTROSPECT, Key, TOKEN, TokenSpec};
use loopback::client;

/// Transcripts that are not replayed, by the beginnings of their names, and why.
const LEFT_OUT: [(&str, &str); 15] = [
    ("2-token-options", "a CORS preflight: the filter is no browser and sends none"),
    ("2-token-cc-rs-offline", "asks for a refresh token, which the filter never does"),
    ("4-refresh-", "the filter has no refresh tokens"),
    ("4-endsession-after-refresh", "the same"),
    ("4-endsession-after-introspect-refresh", "the same"),
    ("4-code-good", "the same; the rest of it is in 4-code-demo-good and 4-code-public-good"),
    ("4-revoke-", "the filter revokes nothing; a test revokes with `Authentik::revoke`"),
    ("4-userinfo-", "the filter asks introspection, not userinfo"),
    ("4-code-userinfo", "the same"),
    ("4-authorize-consent", "a provider whose flow asks for consent"),
    ("4-authorize-loggedin-prompt-login", "the filter sends no prompt"),
    ("4-authorize-max-age-bad", "the filter sends no max_age"),
    ("4-endsession-with-pending-flow.txt", "an unfinished flow at authentik itself"),
    ("4-logout-default-02", "the flow executor; see `logs_a_browser_in_and_out_by_its_pages`"),
    ("4-endsession-after-introspect.txt", "the flow executor of a provider that is no proxy"),
];

/// Response headers that must be as recorded, present or absent. CORS headers are left out: see above.
const HEADERS: [&str; 9] = [
    "content-type",
    "cache-control",
    "pragma",
    "allow",
    "location",
    "etag",
    "www-authenticate",
    "retry-after",
    "set-cookie",
];

/// The host that the transcripts were recorded under; with it, every `iss` is as recorded.
const RECORDED_HOST: &str = "127.0.0.1:9010";

const FULL_SCOPE: &str = "openid profile email entitlements ak_proxy";

#[test]
fn answers_as_the_recorded_authentik() {
    let mut failures = Vec::new();
    let mut replayed = 0;
    for transcript in transcripts() {
        if LEFT_OUT.iter().any(|(beginning, _)| transcript.name.starts_with(beginning)) {
            continue;
        }
        replayed += 1;
        let authentik = Authentik::start();
        let answer = Answer::read(transcript.request(&authentik).send().unwrap());
        if answer != transcript.answer {
            let recorded = &transcript.answer;
            failures.push(format!("{}:\n  recorded {recorded:#?}\n  got {answer:#?}", transcript.name));
        }
    }
    assert!(failures.is_empty(), "{} of {replayed} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(replayed > 150, "only {replayed} transcripts were found");
}

#[test]
fn leaves_out_only_transcripts_that_exist() {
    let names: Vec<String> = transcripts().into_iter().map(|it| it.name).collect();
    for (beginning, reason) in LEFT_OUT {
        assert!(names.iter().any(|it| it.starts_with(beginning)), "{beginning} ({reason}) does not exist");
    }
}

/// One recorded exchange.
struct Transcript {
    name: String,
    method: Method,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    answer: Answer,
}

fn transcripts() -> Vec<Transcript> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/transcripts");
    let mut found: Vec<Transcript> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let concerned = ["1-", "2-", "3-", "4-", "6-outpost-proxy-", "6-outpost-instance"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            concerned.then(|| Transcript::parse(name, &fs::read_to_string(&path).unwrap()))
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

impl Transcript {
    fn parse(name: String, text: &str) -> Self {
        let (_, exchange) = text.split_once(">>> REQUEST\n").unwrap();
        let (request, response) = exchange.split_once("<<< RESPONSE\n").unwrap();
        let mut sections = response.split("\n=== DECODED ");
        let (head, body) = sections.next().unwrap().split_once("\n\n").unwrap();
        let decoded = sections.map(|section| section.split_once('\n').unwrap().1).map(read_json).collect();
        let (status, headers) = head.split_once('\n').unwrap();
        let answer = Answer {
            status: status.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: kept_headers(header_lines(headers)),
            body: Body::recorded(body.trim()),
            decoded,
        };

        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let (line, headers) = head.split_once('\n').unwrap();
        let [method, target, _] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        Self {
            name,
            method: method.parse().unwrap(),
            target: target.to_owned(),
            headers: header_lines(headers),
            body: body.trim_end().to_owned(),
            answer,
        }
    }

    /// The recorded request, with fresh tokens in the place of the recorded ones.
    fn request(&self, authentik: &Authentik) -> RequestBuilder {
        let fresh = fresh_token(&self.name, authentik);
        let body = flow::with_fresh_code(&self.name, &whole(&self.body), authentik);
        let mut request = client()
            .request(self.method.clone(), format!("http://{}{}", authentik.authority(), self.target))
            .body(refreshed(&body, fresh.as_deref()));
        for (name, value) in &self.headers {
            if name != "content-length" && name != "connection" {
                request = request.header(name, refreshed(value, fresh.as_deref()));
            }
        }
        request
    }
}

fn header_lines(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect()
}

fn kept_headers(headers: Vec<(String, String)>) -> BTreeMap<String, String> {
    let kept = headers.into_iter().filter(|(name, _)| HEADERS.contains(&name.as_str()));
    kept.map(|(name, value)| (name, flow::without_secrets(&value))).collect()
}

fn read_json(text: &str) -> Value {
    normal(serde_json::from_str(text).unwrap())
}

/// Long bodies are recorded as their beginning and their length: what was cut off is more of the same.
fn whole(body: &str) -> String {
    let Some((beginning, length)) = body.split_once("... [") else { return body.to_owned() };
    let length: usize = length.strip_suffix(" bytes in all]").unwrap().parse().unwrap();
    let mut body = beginning.to_owned();
    if beginning.contains("&f0=1") {
        body.truncate(body.find("&f0=1").unwrap());
        for number in 0..=1000 {
            body.push_str(&format!("&f{number}=1"));
        }
    } else {
        let last = beginning.chars().last().unwrap();
        body.extend(std::iter::repeat_n(last, length - beginning.len()));
    }
    assert_eq!(body.len(), length);
    body
}

/// The text with the recorded token, if there is one, replaced.
fn refreshed(text: &str, fresh: Option<&str>) -> String {
    let Some(start) = text.find("eyJ") else { return text.to_owned() };
    let fresh = fresh.unwrap_or_else(|| panic!("a recorded token without a fresh one: {text}"));
    let token = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    let end = text[start..].find(|character| !token(character)).map_or(text.len(), |length| start + length);
    format!("{}{fresh}{}", &text[..start], &text[end..])
}

/// What stands in a transcript's request where a token was recorded.
fn fresh_token(name: &str, authentik: &Authentik) -> Option<String> {
    let external = |claims| Some(Authentik::assertion(claims, &Key::External));
    let access = |slug| Some(tokens(authentik, slug).0);
    let id = |slug| Some(tokens(authentik, slug).1);
    let recorded = name.strip_suffix(".txt").unwrap();
    match recorded {
        "2-token-assertion-provider-good" => access("rs"),
        "2-token-assertion-provider-idtoken" => id("rs"),
        "2-token-assertion-provider-notfederated" => access("es"),
        "2-token-assertion-source-good" | "2-token-assertion-wrong-type" => {
            external(json!({"iss": "https://ci.example", "sub": "repo:foo/bar", "exp": 4_000_000_000_i64}))
        }
        "2-token-assertion-source-noexp" => external(json!({"iss": "x", "sub": "noexp"})),
        "2-token-assertion-source-expired" => external(json!({"sub": "repo:foo/bar", "exp": 1_600_000_000})),
        "2-token-assertion-source-badsig" => {
            Some(Authentik::assertion(json!({"sub": "a"}), &Key::Es256(Generation::A)))
        }
        "3-introspect-demo-idtoken" => id("demo"),
        "3-introspect-demo-token-of-rs" | "3-introspect-rs-good" => access("rs"),
        "3-introspect-tampered" => access("rs").map(|token| tampered(&token)),
        "3-introspect-es-good" => access("es"),
        "3-introspect-public-client" => access("rs-public"),
        "3-introspect-rs-jwe-good" => access("rs-jwe"),
        "3-introspect-rs-noclaims-good" => access("rs-noclaims"),
        "3-introspect-rs-proxyscope-good" => access("rs-proxyscope"),
        "3-introspect-rs-short-expired" => {
            authentik.edit_provider("rs-short", |provider| provider.lifetime_seconds = -1);
            access("rs-short")
        }
        _ if recorded.starts_with("3-") => access("demo"),
        _ if recorded.starts_with("4-") => flow::fresh_token(recorded, authentik),
        _ => None,
    }
}

/// A fresh access token and ID token of alice, issued under the recorded host.
fn tokens(authentik: &Authentik, slug: &str) -> (String, String) {
    let body = token_request(authentik, slug, "alice", ALICE)
        .header("Host", RECORDED_HOST)
        .send()
        .unwrap()
        .json::<Value>()
        .unwrap();
    let token = |name: &str| body[name].as_str().unwrap().to_owned();
    (token("access_token"), token("id_token"))
}

fn token_request(authentik: &Authentik, slug: &str, username: &str, password: &str) -> RequestBuilder {
    let client_id = format!("{slug}-client-id");
    form(
        authentik,
        TOKEN,
        &[
            ("grant_type", "client_credentials"),
            ("client_id", &client_id),
            ("username", username),
            ("password", password),
            ("scope", FULL_SCOPE),
        ],
    )
}

fn form(authentik: &Authentik, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    client()
        .post(format!("http://{}{path}", authentik.authority()))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body)
}

fn tampered(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (beginning, end) = signature.split_at(2);
    let changed: String = beginning.chars().map(|it| if it == 'A' { 'B' } else { 'A' }).collect();
    format!("{message}.{changed}{end}")
}

/// An answer as far as it can be compared.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Body,
    /// Header and payload of the access token and of the ID token.
    decoded: Vec<Value>,
}

#[derive(Debug, PartialEq)]
enum Body {
    Empty,
    /// Not compared further: nobody reads it.
    Html,
    Json(Value),
}

impl Body {
    fn recorded(text: &str) -> Self {
        match text {
            "(empty body)" => Self::Empty,
            _ if text.starts_with("[HTML") => Self::Html,
            _ => Self::Json(read_json(text)),
        }
    }

    fn received(text: &str) -> Self {
        match text {
            "" => Self::Empty,
            _ if text.starts_with("<!DOCTYPE html>") => Self::Html,
            _ => Self::Json(read_json(text)),
        }
    }
}

impl Answer {
    fn read(response: Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let headers = kept_headers(headers.collect());
        let text = response.text().unwrap();
        let decoded = match serde_json::from_str::<Value>(&text) {
            Ok(body) => {
                ["access_token", "id_token"].iter().filter_map(|it| body[*it].as_str()).map(decode).collect()
            }
            Err(_) => Vec::new(),
        };
        Self { status, headers, body: Body::received(&text), decoded }
    }
}

/// A token in the form in which the transcripts show it.
fn decode(token: &str) -> Value {
    let parts: Vec<Vec<u8>> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let read = |part: &[u8]| serde_json::from_slice::<Value>(part).unwrap();
    normal(match &parts[..] {
        [header, payload, signature] => {
            json!({"header": read(header), "payload": read(payload), "sig_len": signature.len()})
        }
        parts => json!({"header(JWE)": read(&parts[0]), "parts": parts.len()}),
    })
}

/// JSON without what differs from one answer to the next, each replaced by what does not.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(mut members) => {
            if let (Some(exp), Some(iat)) = (members.get("exp"), members.get("iat")) {
                let lifetime = exp.as_i64().unwrap() - iat.as_i64().unwrap();
                members.insert("exp".to_owned(), json!(lifetime));
            }
            members.into_iter().map(|(name, value)| (name.clone(), stable(&name, value))).collect()
        }
        Value::Array(items) => items.into_iter().map(normal).collect(),
        other => other,
    }
}

fn stable(name: &str, value: Value) -> Value {
    let Some(text) = value.as_str() else {
        return match name {
            "iat" | "auth_time" => json!(value.is_i64()),
            "x5c" => json!(value.as_array().unwrap().len()),
            // The recorded RSA keys are 4,096 bits long, the stand-in's 2,048.
            "sig_len" if value == 512 || value == 256 => json!("RSA"),
            _ => normal(value),
        };
    };
    match name {
        "jti" | "uid" | "sid" | "request_id" | "kid" | "sub" | "x" | "y" | "x5t" | "x5t#S256" => {
            json!(text.len())
        }
        "n" => json!("modulus"),
        "access_token" | "id_token" => json!(text.split('.').count()),
        "scope" => {
            let mut scopes: Vec<&str> = text.split(' ').collect();
            scopes.sort_unstable();
            json!(scopes)
        }
        _ => value,
    }
}

// The control that tests have.

fn refused<T: std::fmt::Debug>(answer: reqwest::Result<T>) -> reqwest::Error {
    match answer {
        Ok(answer) => panic!("an answer: {answer:?}"),
        Err(error) => error,
    }
}

fn introspected(authentik: &Authentik, slug: &str, token: &str) -> Value {
    let (id, secret) = (format!("{slug}-client-id"), authentik.client_secret(slug));
    let fields = [("client_id", id.as_str()), ("client_secret", &secret), ("token", token)];
    form(authentik, INTROSPECT, &fields).send().unwrap().json().unwrap()
}

#[test]
fn remembers_what_was_asked() {
    let authentik = Authentik::start();
    token_request(&authentik, "demo", "alice", ALICE).header("X-Probe", "1").send().unwrap();
    let [call] = &authentik.calls()[..] else { panic!("one call was made") };
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", TOKEN));
    assert_eq!(call.header("x-probe"), Some("1"));
    assert_eq!(call.field("username"), Some("alice"));
    assert_eq!((authentik.count(TOKEN), authentik.count(INTROSPECT)), (1, 0));
    authentik.forget_calls();
    assert_eq!(authentik.count(TOKEN), 0);
}

#[test]
fn fails_as_told_and_only_where_told() {
    let authentik = Authentik::start();
    let jwks = format!("http://{}/application/o/rs/jwks/", authentik.authority());
    let ask = || client().get(&jwks);
    let set = |fault| {
        authentik.clear_faults();
        authentik.fault("/application/o/rs/", fault);
    };
    let answered = |fault| {
        set(fault);
        ask().send()
    };

    let unavailable = Fault::Status(503, vec![("retry-after".to_owned(), "5".to_owned())], "{}".to_owned());
    let answer = answered(unavailable).unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    assert_eq!(answered(Fault::ServerError405).unwrap().headers()["allow"], "GET, HEAD, OPTIONS");
    assert_eq!(answered(Fault::Html(502)).unwrap().status(), 502);
    assert!(refused(answered(Fault::Garbage).unwrap().json::<Value>()).is_decode());
    assert!(answered(Fault::Huge(100_000)).unwrap().text().unwrap().len() > 100_000);
    assert_eq!(answered(Fault::EmptyBody).unwrap().text().unwrap(), "");
    for unanswered in [Fault::Hang, Fault::Delay(Duration::from_secs(3600))] {
        set(unanswered);
        assert!(refused(ask().timeout(Duration::from_millis(100)).send()).is_timeout());
    }
    assert!(answered(Fault::Delay(Duration::ZERO)).unwrap().json::<Value>().unwrap()["keys"].is_array());
    assert!(!refused(answered(Fault::Reset)).is_timeout());
    let cut_off = answered(Fault::ResetMidBody).unwrap();
    assert_eq!(cut_off.status(), 200);
    assert!(cut_off.text().is_err());

    assert_eq!(token_request(&authentik, "rs", "alice", ALICE).send().unwrap().status(), 200);
    authentik.clear_faults();
    assert_eq!(ask().send().unwrap().status(), 200);
}

#[test]
fn goes_down_and_comes_back_on_its_port_with_what_it_knew() {
    let mut authentik = Authentik::start();
    let token = authentik.issue("demo", "alice");
    assert_eq!(introspected(&authentik, "demo", &token)["active"], true);
    authentik.down();
    assert!(refused(token_request(&authentik, "demo", "alice", ALICE).send()).is_connect());
    authentik.up();
    assert_eq!(introspected(&authentik, "demo", &token)["active"], true);
}

#[test]
fn ends_tokens_by_revocation_and_with_their_user() {
    let authentik = Authentik::start();
    let (revoked, kept) = (authentik.issue("demo", "alice"), authentik.issue("demo", "alice"));
    authentik.revoke(&revoked);
    assert_eq!(introspected(&authentik, "demo", &revoked), json!({"active": false}));
    assert_eq!(introspected(&authentik, "demo", &kept)["active"], true);
    authentik.disable_user("alice");
    assert_eq!(introspected(&authentik, "demo", &kept), json!({"active": false}));
    assert_eq!(token_request(&authentik, "demo", "alice", ALICE).send().unwrap().status(), 400);
}

#[test]
fn takes_users_and_providers_as_a_test_makes_them() {
    let authentik = Authentik::start();
    authentik.edit_user("mallory", |user| {
        user.name = "line\nbreak".to_owned();
        user.ak_proxy.insert("host_header".to_owned(), json!("other.test"));
    });
    authentik.edit_provider("es", |provider| provider.denied = vec!["alice"]);
    let body: Value =
        token_request(&authentik, "demo", "mallory", "mallory-app-password").send().unwrap().json().unwrap();
    let claims = &decode(body["access_token"].as_str().unwrap())["payload"];
    assert_eq!(
        (&claims["name"], &claims["ak_proxy"]["host_header"]),
        (&json!("line\nbreak"), &json!("other.test"))
    );
    assert_eq!(token_request(&authentik, "es", "alice", ALICE).send().unwrap().status(), 400);
}

#[test]
fn signs_what_its_published_keys_verify_before_and_after_a_rotation() {
    let authentik = Authentik::start();
    for slug in ["rs", "es", "es384", "es512"] {
        let before = authentik.mint(slug, TokenSpec::new());
        let old = authentik.jwks(slug);
        assert!(verifies(&old["keys"][0], &before), "{slug}");
        assert!(!verifies(&old["keys"][0], &tampered(&before)), "{slug}");
        authentik.rotate(slug);
        let new = authentik.jwks(slug);
        assert_ne!(old["keys"][0]["kid"], new["keys"][0]["kid"], "{slug}");
        assert!(verifies(&new["keys"][0], &authentik.mint(slug, TokenSpec::new())), "{slug}");
        assert!(!verifies(&new["keys"][0], &before), "{slug}");
    }
    let secret = authentik.client_secret("demo");
    authentik.rotate("demo");
    assert_ne!(authentik.client_secret("demo"), secret);
    assert_eq!(authentik.jwks("demo"), json!({}));
    authentik.set_jwks("rs", json!({"keys": "none"}));
    assert_eq!(authentik.jwks("rs"), json!({"keys": "none"}));
}

/// Whether the JWKS entry verifies the token's signature.
fn verifies(jwk: &Value, token: &str) -> bool {
    use rsa::signature::Verifier as _;
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let point = || [vec![4], bytes("x"), bytes("y")].concat();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (message, signature) = (message.as_bytes(), URL_SAFE_NO_PAD.decode(signature).unwrap());
    macro_rules! ecdsa {
        ($curve:ident) => {{
            let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(&point()).unwrap();
            let signature = $curve::ecdsa::Signature::from_slice(&signature);
            signature.is_ok_and(|signature| key.verify(message, &signature).is_ok())
        }};
    }
    match jwk["alg"].as_str().unwrap() {
        "RS256" => {
            let number = |name| rsa::BigUint::from_bytes_be(&bytes(name));
            let key = rsa::RsaPublicKey::new(number("n"), number("e")).unwrap();
            let signature = rsa::pkcs1v15::Signature::try_from(&signature[..]).unwrap();
            rsa::pkcs1v15::VerifyingKey::<sha2::Sha256>::new(key).verify(message, &signature).is_ok()
        }
        "ES256" => ecdsa!(p256),
        "ES384" => ecdsa!(p384),
        "ES512" => ecdsa!(p521),
        other => panic!("{other}"),
    }
}

#[test]
fn introspects_any_string_that_it_was_told_to_remember() {
    let authentik = Authentik::start();
    authentik.remember("rs", "eve", "opaque");
    assert_eq!(introspected(&authentik, "rs", "opaque")["preferred_username"], "eve");
    assert_eq!(introspected(&authentik, "es", "opaque"), json!({"active": false}));
}

#[test]
fn moves_below_a_path_with_its_issuer() {
    let authentik = Authentik::start();
    authentik.set_path_prefix("/auth");
    let url = |path: &str| format!("http://{}{path}application/o/rs/jwks/", authentik.authority());
    assert_eq!(client().get(url("/")).send().unwrap().status(), 404);
    assert_eq!(client().get(url("/auth/")).send().unwrap().status(), 200);
    let issuer = format!("http://{}/auth/application/o/demo/", authentik.authority());
    assert_eq!(decode(&authentik.mint("demo", TokenSpec::new()))["payload"]["iss"], issuer);
    let document: Value =
        client().get(format!("{issuer}.well-known/openid-configuration")).send().unwrap().json().unwrap();
    assert_eq!(document["issuer"], issuer);
}

#[test]
fn mints_any_token() {
    let authentik = Authentik::start();
    authentik.set_public_base("https://auth.example.test/");
    let good = decode(&authentik.mint("demo", TokenSpec::new()));
    assert_eq!(good["payload"]["iss"], "https://auth.example.test/application/o/demo/");
    assert_eq!(good["payload"]["preferred_username"], "alice");
    assert_eq!(good["payload"]["exp"], 3600, "the lifetime, in the form that is compared");

    let spec = TokenSpec::new()
        .user("eve")
        .scope("openid profile")
        .header("alg", "RS256")
        .without_header("typ")
        .claim("aud", json!(["a", "b"]))
        .claim_in("nbf", 60)
        .without_claim("exp")
        .signed_by(Key::Es256(Generation::B));
    let odd = decode(&authentik.mint("demo", spec));
    assert_eq!(odd["header"], json!({"alg": "RS256", "kid": 86}));
    assert_eq!((&odd["payload"]["aud"], odd["payload"].get("exp")), (&json!(["a", "b"]), None));
    assert_eq!((&odd["payload"]["preferred_username"], odd["payload"].get("email")), (&json!("eve"), None));
    assert_eq!(odd["sig_len"], 64);

    let unsigned = authentik.mint("demo", TokenSpec::new().signed_by(Key::None));
    assert!(unsigned.ends_with('.') && decode(&unsigned)["header"]["alg"] == "none");
}
