//! The browser's flow at the stand-in: what its transcripts need before they can be replayed (a session, a code,
//! a token that came from one), and what the recordings do not show because a real page is drawn by JavaScript.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use form_urlencoded::Serializer;
use reqwest::blocking::{RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{RECORDED_HOST, decode, form, introspected};
use fake_authentik::{ALICE_LOGIN, AUTHORIZE, Authentik, TOKEN};
use loopback::client;

const PROXY_SCOPE: &str = "openid profile email entitlements ak_proxy";
const PROXY_CALLBACK: &str =
    "http://app.localtest:8080/outpost.goauthentik.io/callback?X-authentik-auth-callback=true";
const CALLBACK: &str = "http://app.localtest:8080/cb";
/// The `code_verifier` of the transcripts.
const VERIFIER: &str = "qU3KfCBZDEHLYNM4oaj9EwA8ZyFGP-fZ91S5yTQcYa8p0pb56kc5toJFbxJFAyb_";

/// How a browser was sent to log in.
struct Asked<'a> {
    slug: &'a str,
    scope: &'a str,
    nonce: &'a str,
    has_challenge: bool,
}

impl<'a> Asked<'a> {
    const fn proxy(scope: &'a str) -> Self {
        Self { slug: "demo", scope, nonce: "", has_challenge: false }
    }

    const fn oauth(slug: &'a str, scope: &'a str) -> Self {
        Self { slug, scope, nonce: "", has_challenge: true }
    }

    fn redirect_uri(&self) -> &'static str {
        if self.slug == "demo" { PROXY_CALLBACK } else { CALLBACK }
    }

    fn url(&self, authentik: &Authentik) -> String {
        let client_id = format!("{}-client-id", self.slug);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let mut query = Serializer::new(String::new());
        query.append_pair("response_type", "code").append_pair("client_id", &client_id);
        query.append_pair("redirect_uri", self.redirect_uri()).append_pair("state", "st");
        for (name, value) in [("scope", self.scope), ("nonce", self.nonce)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if self.has_challenge {
            query.append_pair("code_challenge", &challenge).append_pair("code_challenge_method", "S256");
        }
        format!("{}{AUTHORIZE}?{}", authentik.public_base(), query.finish())
    }

    /// alice logs in: the code.
    fn code(&self, authentik: &Authentik) -> String {
        self.code_of(authentik, "alice")
    }

    fn code_of(&self, authentik: &Authentik, username: &str) -> String {
        parameter(&authentik.approve(&self.url(authentik), username), "code").expect("a code")
    }

    fn exchange(&self, authentik: &Authentik, code: &str) -> RequestBuilder {
        let (id, secret) = (format!("{}-client-id", self.slug), authentik.client_secret(self.slug));
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("client_id", &id),
            ("client_secret", &secret),
            ("code", code),
            ("redirect_uri", self.redirect_uri()),
        ];
        if self.has_challenge {
            fields.push(("code_verifier", VERIFIER));
        }
        form(authentik, TOKEN, &fields).header("Host", RECORDED_HOST)
    }

    fn access_token(&self, authentik: &Authentik) -> String {
        self.access_token_for(authentik, &self.code(authentik))
    }

    fn access_token_for(&self, authentik: &Authentik, code: &str) -> String {
        let body: Value = self.exchange(authentik, code).send().unwrap().json().unwrap();
        body["access_token"].as_str().expect("a token").to_owned()
    }
}

/// The access token of a user who logs in to `demo`.
pub(crate) fn access_token_of(authentik: &Authentik, username: &str) -> String {
    let asked = Asked::proxy(PROXY_SCOPE);
    asked.access_token_for(authentik, &asked.code_of(authentik, username))
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    form_urlencoded::parse(query.as_bytes()).find(|(it, _)| it == name).map(|(_, value)| value.into_owned())
}

/// The recorded form with a code that is good in the place of the recorded one.
pub(crate) fn with_fresh_code(name: &str, body: &str, authentik: &Authentik) -> String {
    let rest = name.trim_end_matches(".txt");
    let asked = match rest {
        "4-code-demo-basic" | "4-code-demo-good" => Asked::proxy(PROXY_SCOPE),
        "4-code-demo-noscope" => Asked::proxy(""),
        "4-code-public-good" => Asked::oauth("rs-public", "openid profile"),
        "4-code-other-client"
        | "4-code-replay"
        | "4-code-wrong-redirect"
        | "4-code-wrong-secret"
        | "4-code-wrong-verifier" => Asked::oauth("rs", "openid"),
        _ => return body.to_owned(),
    };
    let code = asked.code(authentik);
    if rest == "4-code-replay" {
        assert_eq!(asked.exchange(authentik, &code).send().unwrap().status(), 200);
    }
    let recorded = body.split('&').find_map(|pair| pair.strip_prefix("code=")).expect("a code");
    body.replace(recorded, &code)
}

/// What stands in a transcript's request where a token was recorded: authentik's session cookie looks like one.
pub(crate) fn fresh_token(recorded: &str, authentik: &Authentik) -> Option<String> {
    let proxy = Asked::proxy(PROXY_SCOPE);
    match recorded {
        "4-code-demo-introspect" | "4-endsession-after-introspect-demo" => {
            Some(proxy.access_token(authentik))
        }
        "4-code-introspect-access-token" => {
            let scope = "openid profile email entitlements offline_access";
            let asked = Asked { nonce: "n-123", ..Asked::oauth("rs", scope) };
            Some(asked.access_token(authentik))
        }
        "4-endsession-demo-after-introspect" => {
            let session = authentik.log_in_directly("alice");
            let token = Asked::proxy("openid profile email ak_proxy").access_token(authentik);
            let path = "/application/o/demo/end-session/";
            assert_eq!(get(authentik, path, &session).status(), 302);
            Some(token)
        }
        "4-logout-after-introspect" => {
            let token = proxy.access_token(authentik);
            authentik.log_out("alice");
            Some(token)
        }
        "4-logout-after-authorize" => Some("the cookie of a device".replace(' ', "-")),
        _ if recorded.starts_with("4-authorize-loggedin") || recorded.contains("-after") => {
            Some(authentik.log_in_directly("alice"))
        }
        "4-endsession-loggedin" | "4-endsession-demo-plain" | "4-logout-default-01" => {
            Some(authentik.log_in_directly("alice"))
        }
        _ => None,
    }
}

/// A header without what no two answers share: a code, the value of a cookie.
pub(crate) fn without_secrets(value: &str) -> String {
    for mark in ["authentik_session=", "code="] {
        if let Some(start) = value.find(mark) {
            let (before, rest) = value.split_at(start + mark.len());
            let end = rest.find([';', '&']).unwrap_or(rest.len());
            let secret = if mark == "code=" { end.to_string() } else { "…".to_owned() };
            return format!("{before}{secret}{}", &rest[end..]);
        }
    }
    value.to_owned()
}

fn get(authentik: &Authentik, target: &str, session: &str) -> Response {
    let request = client().get(format!("http://{}{target}", authentik.authority()));
    request.header("cookie", format!("authentik_session={session}")).send().unwrap()
}

fn location(answer: &Response) -> String {
    answer.headers()["location"].to_str().unwrap().to_owned()
}

#[test]
fn logs_a_browser_in_and_out_by_its_pages() {
    let authentik = Authentik::start();
    let url = |target: &str| format!("http://{}{target}", authentik.authority());
    let asked = Asked::proxy(PROXY_SCOPE);
    let authorize = asked.url(&authentik);

    let sent = location(&client().get(&authorize).send().unwrap());
    let form = client().get(url(&sent)).send().unwrap().text().unwrap();
    assert!(form.contains("<form method=\"post\">"), "{form}");
    let post = |password: &str| {
        let fields = [("username", "alice"), ("password", password)];
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = client().post(url(&sent)).header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().unwrap()
    };
    assert_eq!(post("alice-app-password-0123456789abcdef").status(), 200, "an app password is none");
    let logged_in = post(ALICE_LOGIN);
    let cookie = logged_in.headers()["set-cookie"].to_str().unwrap().to_owned();
    let session = cookie.strip_prefix("authentik_session=").unwrap().split(';').next().unwrap();

    let back = location(&get(&authentik, &location(&logged_in), session));
    let code = parameter(&back, "code").expect("a code");
    let granted: Value = asked.exchange(&authentik, &code).send().unwrap().json().unwrap();
    let token = granted["access_token"].as_str().unwrap();
    assert_eq!(decode(token)["payload"]["preferred_username"], "alice");

    let left = get(&authentik, "/application/o/demo/end-session/?id_token_hint=h", session);
    let page = get(&authentik, &location(&left), session).text().unwrap();
    assert!(page.contains("/flows/-/default/invalidation/"), "{page}");
    assert_eq!(introspected(&authentik, "demo", token)["active"], true, "the session goes on");
    assert!(authentik.calls().iter().any(|call| call.parameter("id_token_hint").as_deref() == Some("h")));

    let out = location(&get(&authentik, "/flows/-/default/invalidation/", session));
    assert!(get(&authentik, &out, session).headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(introspected(&authentik, "demo", token), json!({"active": false}));
    let target = format!("/{}", authorize.splitn(4, '/').last().unwrap());
    assert!(
        location(&get(&authentik, &target, session)).starts_with("/if/flow/default-authentication-flow/")
    );
}

#[test]
fn lets_in_only_whom_the_application_lets_in() {
    let authentik = Authentik::start();
    let url = Asked::proxy(PROXY_SCOPE).url(&authentik);
    let target = format!("/{}", url.splitn(4, '/').last().unwrap());
    let denied = get(&authentik, &target, &authentik.log_in_directly("bob"));
    assert_eq!((denied.status().as_u16(), denied.headers().get("location")), (200, None));
    assert!(denied.text().unwrap().contains("Permission denied"));

    let eve = authentik.log_in_directly("eve");
    assert!(location(&get(&authentik, &target, &eve)).starts_with(PROXY_CALLBACK));
    authentik.disable_user("eve");
    assert!(location(&get(&authentik, &target, &eve)).starts_with("/if/flow/"));
}

#[test]
fn a_code_is_no_good_without_what_it_was_asked_for_with() {
    let authentik = Authentik::start();
    let asked = Asked::oauth("rs", "openid");
    let code = asked.code(&authentik);
    let without_verifier = Asked { has_challenge: false, ..Asked::oauth("rs", "openid") };
    assert_eq!(without_verifier.exchange(&authentik, &code).send().unwrap().status(), 400);
    authentik.disable_user("alice");
    assert_eq!(asked.exchange(&authentik, &code).send().unwrap().status(), 400);
    authentik.edit_user("alice", |user| user.active = true);
    assert_eq!(asked.exchange(&authentik, &code).send().unwrap().status(), 200, "no try burnt it");
}

#[test]
fn sends_browsers_back_to_where_the_application_is() {
    let authentik = Authentik::start();
    authentik.set_external_host("demo", "https://app.example.test");
    let url = Asked::proxy(PROXY_SCOPE).url(&authentik);
    assert_eq!(client().get(&url).send().unwrap().status(), 400);
    let moved = url.replace("http%3A%2F%2Fapp.localtest%3A8080", "https%3A%2F%2Fapp.example.test");
    let back = authentik.approve(&moved, "alice");
    assert!(back.starts_with("https://app.example.test/outpost.goauthentik.io/callback?"), "{back}");
}
