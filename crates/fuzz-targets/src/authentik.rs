//! authentik, as it was recorded: who is known, which tokens it issued, what it answers.
//!
//! Owns: the good credentials, the recorded answers and tokens, and tokens made with the test keys.
//! Must not: judge.

use std::sync::LazyLock;

use authentik_proxy_wasm::authn::authentik::call::{Answer, Call};
use authentik_proxy_wasm::base::secret::Secret;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::worker::{BASE, NOW};
use fake_authentik::{Generation, Key};

pub(crate) const USERNAME: &str = "alice";
pub(crate) const PASSWORD: &str = "alice-app-password-0123456789abcdef";

/// Providers whose tokens and key sets were recorded, one for each algorithm.
pub(crate) const RECORDED: [&str; 5] = ["demo", "rs", "es", "es384", "es512"];

macro_rules! transcript {
    ($name:literal) => {
        include_str!(concat!("../../../tests/data/transcripts/", $name, ".txt"))
    };
}

/// Access and ID token of alice, by the order of [`RECORDED`].
static TOKENS: LazyLock<Vec<[String; 2]>> = LazyLock::new(|| {
    [
        transcript!("2-token-cc-demo-good"),
        transcript!("2-token-cc-rs-good"),
        transcript!("2-token-cc-es-good"),
        transcript!("2-token-cc-es384-good"),
        transcript!("2-token-cc-es512-good"),
    ]
    .map(|transcript| {
        ["access_token", "id_token"].map(|name| body(transcript)[name].as_str().unwrap().to_owned())
    })
    .to_vec()
});

static KEY_SETS: LazyLock<Vec<String>> = LazyLock::new(|| {
    [
        transcript!("1-jwks-demo"),
        transcript!("1-jwks-rs"),
        transcript!("1-jwks-es"),
        transcript!("1-jwks-es384"),
        transcript!("1-jwks-es512"),
    ]
    .map(|transcript| body(transcript).to_string())
    .to_vec()
});

/// The key set of a provider that has the test keys, one of each kind.
static OWN_KEY_SET: LazyLock<String> = LazyLock::new(|| {
    let keys = [
        Key::Rs256(Generation::A),
        Key::Es256(Generation::A),
        Key::Es384(Generation::A),
        Key::Es512(Generation::A),
    ];
    json!({"keys": keys.map(|key| key.jwk())}).to_string()
});

/// The JSON body of a recorded response.
fn body(transcript: &str) -> Value {
    let response = transcript.split("<<< RESPONSE").nth(1).unwrap();
    let body = response.split("\n\n").nth(1).unwrap();
    serde_json::from_str(body.split("\n=== ").next().unwrap()).unwrap()
}

fn index(slug: &str) -> Option<usize> {
    RECORDED.iter().position(|recorded| *recorded == slug)
}

/// The secret that the transcripts were recorded with.
pub(crate) fn client_secret(slug: &str) -> String {
    format!("{slug}-client-secret-0123456789abcdef0123456789abcdef")
}

/// The tokens that authentik issued to alice for this provider.
pub(crate) fn tokens(slug: &str) -> &'static [String] {
    index(slug).map_or(&[], |index| &TOKENS[index])
}

/// alice's access token of the provider without a signing key.
pub(crate) fn good_token() -> &'static str {
    &tokens("demo")[0]
}

/// What authentik publishes as the provider's keys.
pub(crate) fn key_set(slug: &str) -> &'static str {
    index(slug).map_or(&OWN_KEY_SET, |index| &KEY_SETS[index])
}

/// alice's claims, with these changed; `null` takes one away.
pub(crate) fn claims(slug: &str, changes: &Value) -> Value {
    let mut claims = json!({
        "iss": format!("{BASE}/application/o/{slug}/"),
        "sub": "c93aa54877a680039dcdd4a7bf636737",
        "aud": format!("{slug}-client-id"),
        "exp": NOW + 3600,
        "iat": NOW,
        "preferred_username": USERNAME,
        "email": "alice@example.test",
        "groups": ["staff"],
        "ak_proxy": {"user_attributes": {"additionalHeaders": {"X-Flag": true}}},
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        claims[key] = value.clone();
    }
    if let Some(fields) = claims.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    claims
}

/// A compact JWS of these very bytes.
pub(crate) fn sign(header: &[u8], payload: &[u8], key: &Key) -> String {
    let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", part(header), part(payload));
    let signature = part(&key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A token as the provider without a signing key issues them.
pub(crate) fn mint(slug: &str, changes: &Value) -> String {
    let payload = claims(slug, changes).to_string();
    sign(
        b"{\"alg\":\"HS256\",\"typ\":\"JWT\"}",
        payload.as_bytes(),
        &Key::Secret(client_secret(slug).into_bytes()),
    )
}

/// A header of a call.
pub(crate) fn header<'a>(call: &'a Call, name: &str) -> &'a str {
    let value = call.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_bytes());
    str::from_utf8(value.unwrap_or_default()).unwrap()
}

/// A field of a call's form.
pub(crate) fn field(call: &Call, name: &str) -> Option<String> {
    form_urlencoded::parse(call.body.expose())
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.into_owned())
}

pub(crate) fn respond(status: u16, body: &str) -> Answer {
    Answer::Response { status, retry_after: None, date: None, body: Secret::new(body.as_bytes().to_vec()) }
}

/// alice's app password is good, and so is what was issued for it; everything else is refused.
pub(crate) fn answer(call: &Call) -> Answer {
    let path = header(call, ":path");
    if let Some(slug) = path.strip_prefix("/application/o/").and_then(|rest| rest.strip_suffix("/jwks/")) {
        return respond(200, key_set(slug));
    }
    let is_alice = field(call, "username").as_deref() == Some(USERNAME)
        && field(call, "password").as_deref() == Some(PASSWORD);
    let presented = field(call, "token");
    let client_id = field(call, "client_id").unwrap_or_default();
    let slug = client_id.strip_suffix("-client-id").unwrap_or_default();
    let is_issued = presented.is_some_and(|token| tokens(slug).contains(&token));
    match path {
        "/application/o/token/" if is_alice => {
            respond(200, &json!({"access_token": tokens(slug)[0], "token_type": "Bearer"}).to_string())
        }
        "/application/o/introspect/" if is_issued => {
            let mut answer = claims(slug, &json!({}));
            answer["active"] = json!(true);
            respond(200, &answer.to_string())
        }
        "/application/o/introspect/" => respond(200, r#"{"active": false}"#),
        _ => respond(400, r#"{"error": "invalid_grant"}"#),
    }
}
