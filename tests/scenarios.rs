//! The decision table and named scenarios, each run twice: on the core (as values) and on the built module (in a
//! Proxy-Wasm host in this process). What holds for one and not for the other is a fault of the shell.
//!
//! Owns: the common view of a subject under test ([`Subject`]) and the material of the scenarios: one provider, one
//! user, fixed time.

mod attributes;
mod backchannel;
mod call_limit;
mod cases;
mod core;
mod edges;
mod ended_sessions;
mod host_failures;
mod hosts;
mod login;
#[cfg(feature = "hosts")]
mod module;
mod open_paths;
mod outages;
mod pages;
mod providers;
mod releases;
pub(crate) mod scaling;
mod scripts;
mod seal;
mod sessions;
mod sign_out;
mod table;

use std::collections::BTreeMap;

use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt as _, Claims, Header};
use serde_json::{Value, json};

/// All scenarios happen at this second.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const CLIENT_SECRET: &str = "demo-client-secret-0123456789abcdef0123456789abcdef";
pub(crate) const PASSWORD: &str = "alice-app-password";

/// What is being tested: something that judges requests and asks authentik.
pub(crate) trait Subject {
    /// Sends a request. `None`: it waits.
    fn send(&mut self, headers: &[(String, String)]) -> Option<Observed>;
    /// Sends a request with a body. `None`: it waits.
    fn post(&mut self, headers: &[(String, String)], body: &[u8]) -> Option<Observed>;
    /// Paths of the calls that wait for an answer.
    fn calls(&mut self) -> Vec<String>;
    /// Answers all calls that wait, and those that follow, by path; gives what the request was told, if it was.
    fn answer(&mut self, authentik: &dyn Fn(&str) -> Reply) -> Option<Observed>;
    /// The application answers the last request, with these headers: the response's `Set-Cookie` lines.
    fn respond(&mut self, headers: &[(&str, &str)]) -> Vec<String>;
    /// Moves the clock.
    fn advance(&mut self, seconds: u64);
}

/// Starts a subject with a configuration: a worker, a replica.
pub(crate) type Start<'a> = &'a dyn Fn(&str) -> Box<dyn Subject>;

/// On the core and on the module.
pub(crate) fn on_both(hold: impl Fn(Start<'_>)) {
    hold(&|configuration| Box::new(core::Core::new(configuration)));
    #[cfg(feature = "hosts")]
    hold(&|configuration| Box::new(module::BuiltModule::new(configuration)));
}

/// What authentik does with one call.
pub(crate) enum Reply {
    Json(u16, Value),
    Body(u16, &'static str),
    Reset,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observed {
    /// The application got these headers.
    Forwarded(Vec<(String, String)>),
    /// The client got this.
    Replied { status: u16, headers: Vec<(String, String)>, body: String, grpc_status: Option<u32> },
}

impl Observed {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).into_iter().next()
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let (Self::Forwarded(headers) | Self::Replied { headers, .. }) = self;
        headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Forwarded(_) => 200,
            Self::Replied { status, .. } => *status,
        }
    }

    /// The names of all headers, for what must not be there under any name.
    pub(crate) fn names(&self) -> Vec<&str> {
        let (Self::Forwarded(headers) | Self::Replied { headers, .. }) = self;
        headers.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// The scenarios' configuration, with these fields of the provider changed.
pub(crate) fn configuration(provider: &Value, rest: &Value) -> String {
    let mut entry = json!({
        "assigned_application_slug": "demo",
        "client_id": "demo-client-id",
        "client_secret": CLIENT_SECRET,
        "cookie_secret": "demo-cookie-secret-0123456789abcdef",
        "external_host": "https://app.example.test",
    });
    merge(&mut entry, provider);
    let mut configuration = json!({
        "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
        "providers": [entry],
    });
    merge(&mut configuration, rest);
    configuration.to_string()
}

pub(crate) fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

/// A request for `/` on the application's host, with these headers too.
pub(crate) fn request(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = BTreeMap::from([(":method", "GET"), (":path", "/"), (":authority", "app.example.test")]);
    let mut list = Vec::new();
    for (name, value) in headers {
        if all.contains_key(name) {
            all.insert(name, value);
        } else {
            list.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    let mut request: Vec<_> =
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    request.extend(list);
    request
}

pub(crate) fn basic(username: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{username}:{password}")))
}

/// Alice's claims as authentik writes them, with these changed; `null` takes one away.
pub(crate) fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://auth.example.test/application/o/demo/",
        "sub": "c93aa54877a680039dcdd4a7bf636737",
        "aud": "demo-client-id",
        "exp": NOW + 3600,
        "iat": NOW,
        "ak_proxy": {"user_attributes": {}, "is_superuser": false},
        "email": "alice@example.test",
        "email_verified": false,
        "entitlements": ["read"],
        "name": "Alice Ünicode",
        "preferred_username": "alice",
        "groups": ["staff", "Gruppe Ü"],
    });
    merge(&mut claims, changes);
    if let Some(fields) = claims.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    claims
}

/// A token of the provider without a signing key: HS256 with the client secret.
pub(crate) fn token(changes: &Value) -> String {
    signed(changes, CLIENT_SECRET)
}

pub(crate) fn signed(changes: &Value, secret: &str) -> String {
    Hs256.token(&Header::empty(), &Claims::new(claims(changes)), &Hs256Key::new(secret)).unwrap()
}

/// An authentik that grants alice a token with these claims.
pub(crate) fn granting(changes: Value) -> impl Fn(&str) -> Reply {
    move |path| match path {
        "/application/o/token/" => Reply::Json(
            200,
            json!({"access_token": token(&changes), "token_type": "Bearer", "expires_in": 3600, "id_token": "x"}),
        ),
        "/application/o/introspect/" => {
            let mut answer = claims(&changes);
            answer["active"] = json!(true);
            Reply::Json(200, answer)
        }
        path if path.ends_with("/jwks/") => Reply::Json(200, json!({})),
        _ => Reply::Body(404, "<html>"),
    }
}

/// An authentik that refuses every credential, and has its keys.
pub(crate) fn refusing(path: &str) -> Reply {
    match path {
        "/application/o/token/" => {
            Reply::Json(400, json!({"error": "invalid_grant", "error_description": "no"}))
        }
        "/application/o/introspect/" => Reply::Json(200, json!({"active": false})),
        path if path.ends_with("/jwks/") => Reply::Json(200, json!({})),
        _ => Reply::Body(404, "<html>"),
    }
}

/// Sends a request and lets this authentik answer whatever it asks.
pub(crate) fn ask(
    subject: &mut dyn Subject,
    headers: &[(&str, &str)],
    authentik: &dyn Fn(&str) -> Reply,
) -> Observed {
    match subject.send(&request(headers)) {
        Some(observed) => observed,
        None => subject
            .answer(authentik)
            .expect("a request that waits is observed something when authentik answers"),
    }
}

/// What a client sends back: names and values of these `Set-Cookie` lines.
pub(crate) fn jar(set_cookies: &[String]) -> String {
    let kept = set_cookies.iter().filter(|line| !line.contains("Max-Age=0"));
    kept.map(|line| line.split(';').next().unwrap()).collect::<Vec<_>>().join("; ")
}

/// The value of a parameter of a URL's query.
pub(crate) fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    form_urlencoded::parse(query.as_bytes())
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.into_owned())
}

/// A browser goes through the login flow as this user; the cookies that it has at the end.
pub(crate) fn log_in(subject: &mut dyn Subject, username: &str) -> String {
    let begun = subject.send(&request(&[])).expect("no call is needed to begin");
    let login = jar(&begun.headers("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>());
    let location = begun.header("location").unwrap();
    let nonce = parameter(location, "nonce").unwrap();
    let callback = callback_path(&parameter(location, "state").unwrap());
    let headers = [(":path", callback.as_str()), ("cookie", login.as_str())];
    let ended = ask(subject, &headers, &granting(json!({"preferred_username": username, "nonce": nonce})));
    assert_eq!(
        (ended.status(), ended.header("location")),
        (302, Some("https://app.example.test/")),
        "{ended:?}"
    );
    jar(&ended.headers("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>())
}

pub(crate) fn callback_path(state: &str) -> String {
    format!("/outpost.goauthentik.io/callback?X-authentik-auth-callback=true&code=a-code&state={state}")
}
