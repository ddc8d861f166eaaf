//! What a token of the stand-in says: the claims of a user for the scopes that were granted, the issuer, and
//! the serialised token, JWT or JWE. Knows nothing of requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::directory::{Provider, User};
use super::logins::Code;
use crate::keys::{Key, encryption_kid, url};

pub(crate) type Claims = Map<String, Value>;

/// authentik's order of scopes in an answer.
const ORDER: [&str; 6] = ["offline_access", "email", "entitlements", "ak_proxy", "profile", "openid"];

/// The requested scopes that the provider has, in authentik's order.
pub(crate) fn granted(provider: &Provider, requested: &str) -> Vec<&'static str> {
    let requested: Vec<&str> = requested.split_whitespace().collect();
    ORDER.into_iter().filter(|it| requested.contains(it) && provider.scopes.contains(it)).collect()
}

/// `base` is scheme and host, as in `http://127.0.0.1:9000`.
pub(crate) fn issuer(provider: &Provider, base: &str) -> String {
    if provider.global_issuer {
        format!("{base}/")
    } else {
        format!("{base}/application/o/{}/", provider.slug)
    }
}

/// The claims that the ID token and the access token share.
pub(crate) fn id_token(provider: &Provider, user: &User, scopes: &[&str], base: &str) -> Claims {
    let now = now();
    let mut claims = object(json!({
        "iss": issuer(provider, base),
        "sub": user.sub,
        "aud": provider.client_id(),
        "exp": now + provider.lifetime_seconds,
        "iat": now,
        "auth_time": now,
        "acr": "goauthentik.io/providers/oauth2/default",
        "jti": identifier(),
    }));
    if provider.claims_in_tokens {
        for scope in scopes {
            claims.append(&mut of_scope(user, scope));
        }
        if provider.names_user_pk && scopes.contains(&"ak_proxy") {
            claims.insert("ak_user_pk".to_owned(), user.pk.into());
        }
    }
    claims
}

/// Adds what only the tokens of a browser's login have.
pub(super) fn of_login(claims: &mut Claims, code: &Code) {
    claims.insert("auth_time".to_owned(), code.login.since.into());
    claims.insert("amr".to_owned(), json!(["pwd"]));
    claims.insert("sid".to_owned(), code.login.sid.clone().into());
    if let Some(nonce) = &code.nonce {
        claims.insert("nonce".to_owned(), nonce.clone().into());
    }
}

/// The access token's claims, made of the ID token's.
pub(crate) fn access_token(provider: &Provider, id_token: &Claims, scopes: &[&str]) -> Claims {
    let mut claims = id_token.clone();
    claims.insert("azp".to_owned(), provider.client_id().into());
    claims.insert("uid".to_owned(), identifier().into());
    claims.insert("scope".to_owned(), scopes.join(" ").into());
    claims
}

fn of_scope(user: &User, scope: &str) -> Claims {
    object(match scope {
        "email" => json!({"email": user.email, "email_verified": false}),
        "entitlements" => json!({"entitlements": user.entitlements, "roles": []}),
        "profile" => json!({
            "name": user.name,
            "given_name": user.name,
            "preferred_username": user.username,
            "nickname": user.username,
            "groups": user.groups,
        }),
        "ak_proxy" => {
            let mut proxy = user.ak_proxy.clone();
            proxy.insert("user_attributes".to_owned(), user.attributes.clone());
            proxy.insert("is_superuser".to_owned(), user.is_superuser.into());
            json!({"ak_proxy": proxy})
        }
        _ => json!({}),
    })
}

/// A token as the provider serialises it.
pub(crate) fn serialise(provider: &Provider, claims: &Claims) -> String {
    if provider.encrypts { sealed() } else { signed(&header(&provider.key()), claims, &provider.key()) }
}

/// The header that authentik gives a token under this key.
pub(crate) fn header(key: &Key) -> Claims {
    let mut header = object(json!({"alg": key.alg(), "typ": "JWT"}));
    if let Some(kid) = key.kid() {
        header.insert("kid".to_owned(), kid.into());
    }
    header
}

pub(crate) fn signed(header: &Claims, claims: &Claims, key: &Key) -> String {
    let message = format!("{}.{}", url(ascii(header)), url(ascii(claims)));
    let signature = url(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// Five parts with a true JWE header; what they hold, only introspection knows.
fn sealed() -> String {
    let header =
        json!({"alg": "RSA-OAEP-256", "enc": "A256CBC-HS512", "kid": encryption_kid(), "typ": "JWE"});
    let filler =
        |length: usize| -> String { url(identifier().bytes().cycle().take(length).collect::<Vec<_>>()) };
    [url(header.to_string()), filler(512), filler(16), filler(1600), filler(32)].join(".")
}

/// JSON as Python writes it: every character beyond ASCII escaped.
pub(crate) fn ascii(value: &impl serde::Serialize) -> String {
    let mut escaped = String::new();
    for character in serde_json::to_string(value).unwrap().chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

pub(crate) fn object(value: Value) -> Claims {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// Forty characters that no other call returns.
pub(crate) fn identifier() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut text =
        hex(&Sha256::digest(format!("{count} of {} at {:?}", std::process::id(), SystemTime::now())));
    text.truncate(40);
    text
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
