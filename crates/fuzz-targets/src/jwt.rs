//! Any token: raw, or made of any header and any claims and signed by somebody.
//!
//! Input: a byte that says who signs, a byte that says whose provider it is for, then header and claims, a line each, and a
//! raw signature for where nobody signs. For a raw token: the token.
//!
//! Promised: a token that passes was signed by authentik, byte for byte, and says what it must; the rules are written
//! down here a second time. What does not pass is told why by its status alone, and by whose fault.

use authentik_proxy_wasm::authn::reply::Decision;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Seen;
use super::authentik::{self, RECORDED, client_secret};
use super::promises;
use super::worker::{BASE, NOW, Request, Worker, configuration, provider};
use fake_authentik::{Generation, Key};

/// What the corpus must come to see.
pub const MUST_SEE: &[&str] = &[
    "raw: passes",
    "raw: refused",
    "unsigned: refused",
    "client secret: passes",
    "client secret: refused",
    "ES256: passes",
    "ES256: refused",
    "another key: refused",
    "public key as secret: refused",
    "lying host: passes",
    "403",
    "white space",
    "app password's token: passes",
];

const CLOCK_SKEW: f64 = 60.0;

/// Who signs.
enum Signer {
    Raw,
    Nobody,
    ClientSecret,
    Es256,
    AnotherKey,
    /// HS256 with what everybody may read.
    PublicKey,
    /// Nobody, and the host says of every signature that it is good.
    LyingHost,
    /// The client secret; the token comes of the token endpoint.
    TokenEndpoint,
}

/// Runs the target on one input.
pub fn run(data: &[u8]) -> Seen {
    let mut seen = Seen::new();
    let [signer, slug, rest @ ..] = data else { return seen };
    let signer = match signer % 8 {
        0 => Signer::Raw,
        1 => Signer::Nobody,
        2 => Signer::ClientSecret,
        3 => Signer::Es256,
        4 => Signer::AnotherKey,
        5 => Signer::PublicKey,
        6 => Signer::LyingHost,
        _ => Signer::TokenEndpoint,
    };
    let recorded = RECORDED.get(usize::from(slug % 6)).copied();
    let slug = match signer {
        Signer::Raw => recorded.unwrap_or("own"),
        Signer::ClientSecret | Signer::TokenEndpoint => "demo",
        Signer::Nobody | Signer::Es256 | Signer::AnotherKey | Signer::PublicKey | Signer::LyingHost => "own",
    };
    let mut parts = rest.splitn(3, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (header, claims, signature) = (part(), part(), part());
    let unsigned = || {
        let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        format!("{}.{}.{}", part(header), part(claims), part(signature))
    };
    let public_key = Key::Secret(authentik::key_set("own").as_bytes().to_vec());
    let token = match signer {
        Signer::Raw => String::from_utf8_lossy(rest).into_owned(),
        Signer::Nobody | Signer::LyingHost => unsigned(),
        Signer::ClientSecret | Signer::TokenEndpoint => {
            authentik::sign(header, claims, &Key::Secret(client_secret("demo").into_bytes()))
        }
        Signer::Es256 => authentik::sign(header, claims, &Key::Es256(Generation::A)),
        Signer::AnotherKey => authentik::sign(header, claims, &Key::Es256(Generation::B)),
        Signer::PublicKey => authentik::sign(header, claims, &public_key),
    };
    let mut worker = Worker::new(&configuration(&[provider(slug, &settings())], &json!({})));
    if matches!(signer, Signer::LyingHost) {
        worker.world.signatures = Some(true);
    }
    worker.fetch_keys(&authentik::answer);
    let request = Request::get(format!("{slug}.example.test").as_bytes(), b"/");
    let request = match signer {
        Signer::TokenEndpoint => request.with(b"authorization", b"Basic Ym9iOmJvYidzLWFwcC1wYXNzd29yZA=="),
        _ => request.with(b"authorization", &[b"Bearer ", token.as_bytes()].concat()),
    };
    let decision = worker.ask(&request, &|call| match authentik::field(call, "username") {
        Some(_) => authentik::respond(200, &json!({"access_token": token}).to_string()),
        None => authentik::answer(call),
    });

    let (name, expected) = match signer {
        Signer::Raw => ("raw", authentik::tokens(slug).contains(&token).then_some(Expected::Passes)),
        Signer::Nobody => ("unsigned", None),
        Signer::ClientSecret => ("client secret", expected(slug, "HS256", header, claims)),
        Signer::TokenEndpoint => ("app password's token", expected(slug, "HS256", header, claims)),
        Signer::Es256 => ("ES256", expected(slug, "ES256", header, claims)),
        Signer::AnotherKey => ("another key", None),
        Signer::PublicKey => ("public key as secret", None),
        Signer::LyingHost => ("lying host", expected_of_any_algorithm(slug, header, claims)),
    };
    match (&decision, expected) {
        (Decision::Forward(forward), expected) => {
            let identity = forward.identity.as_ref().expect("every path needs an identity");
            assert!(expected == Some(Expected::Passes), "{name}: passes as {}", identity.username());
            assert_eq!(identity.verified().token().expose(), token);
            let claims = claims_of(&token);
            let claim = |name: &str| claims[name].as_str().unwrap_or_default();
            assert_eq!(identity.username(), claim("preferred_username"));
            let uid = identity.identity_headers().iter().find(|(name, _)| name == "x-authentik-uid").unwrap();
            assert_eq!(uid.1.as_bytes(), claim("sub").as_bytes());
            seen.extend(match name {
                "raw" => Some("raw: passes"),
                "client secret" => Some("client secret: passes"),
                "ES256" => Some("ES256: passes"),
                "lying host" => Some("lying host: passes"),
                _ => Some("app password's token: passes"),
            });
        }
        (Decision::Reply(reply), expected) => {
            let is_incomplete = matches!(expected, Some(Expected::Nobody | Expected::Trimmed));
            assert!(reply.status != 403 || is_incomplete, "{name}: {}", reply.log.message);
            if reply.status == 403 && expected == Some(Expected::Trimmed) {
                seen.insert("white space");
            }
            let is_fault = matches!(signer, Signer::TokenEndpoint) && reply.status != 403;
            assert!(
                if is_fault { reply.status == 503 } else { [401, 403].contains(&reply.status) },
                "{}",
                reply.log.message
            );
            seen.extend(match name {
                _ if reply.status == 403 => Some("403"),
                "raw" => Some("raw: refused"),
                "unsigned" => Some("unsigned: refused"),
                "client secret" => Some("client secret: refused"),
                "ES256" => Some("ES256: refused"),
                "another key" => Some("another key: refused"),
                "public key as secret" => Some("public key as secret: refused"),
                _ => None,
            });
        }
    }
    seen
}

fn settings() -> Value {
    json!({
        "basic_auth_enabled": true,
        "basic_auth_user_attribute": "app_username",
        "basic_auth_password_attribute": "app_password",
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Passes,
    /// It stands, and names nobody.
    Nobody,
    /// It stands, and HTTP would make another name of the user's.
    Trimmed,
}

fn claims_of(token: &str) -> Value {
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap_or_default()).unwrap();
    read(&payload).unwrap()
}

/// JSON (RFC 8259 §8.2) may have half of a surrogate pair escaped in a string; serde_json refuses to make a text of it, but
/// does not look where nobody wants one.
fn read(json: &[u8]) -> Option<Value> {
    serde_json::from_slice(&without_lone_surrogates(json)).ok()
}

fn without_lone_surrogates(json: &[u8]) -> Vec<u8> {
    let escaped = |at: &[u8]| {
        let digits = at.strip_prefix(br"\u")?.get(..4)?;
        u16::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut rest, mut text) = (json, Vec::new());
    while let Some(first) = rest.first() {
        let follower = rest.get(6..).and_then(escaped);
        let (length, is_lone) = match (escaped(rest), follower) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, false),
            (Some(0xd800..=0xdfff), _) => (6, true),
            (Some(_), _) => (6, false),
            (None, _) if *first == b'\\' => (2.min(rest.len()), false),
            (None, _) => (1, false),
        };
        let (part, others) = rest.split_at(length);
        text.extend_from_slice(if is_lone { br"\ufffd" } else { part });
        rest = others;
    }
    text
}

fn expected_of_any_algorithm(slug: &str, header: &[u8], claims: &[u8]) -> Option<Expected> {
    ["RS256", "ES256", "ES384", "ES512"].into_iter().find_map(|alg| expected(slug, alg, header, claims))
}

/// RFC 7515, 7519 and the README, for a token whose signature is good. `None`: it must not pass.
fn expected(slug: &str, alg: &str, header: &[u8], claims: &[u8]) -> Option<Expected> {
    let (header, claims) = standing(slug, alg, header, claims)?;
    if is_logout(&header) {
        return None;
    }
    let names = ["sub", "preferred_username"].map(|name| claims[name].as_str().unwrap_or_default());
    let is_plain = |text: &str| !text.is_empty() && !text.contains(char::is_control);
    Some(match names {
        names if !names.iter().all(|name| is_plain(name)) => Expected::Nobody,
        names if !names.iter().all(|name| promises::is_whole(name)) => Expected::Trimmed,
        _ => Expected::Passes,
    })
}

/// Whether the header is that of a logout token, by the media type (RFC 7515 §4.1.9).
pub(crate) fn is_logout(header: &Value) -> bool {
    let typ = header["typ"].as_str().unwrap_or_default().to_ascii_lowercase();
    ["logout+jwt", "application/logout+jwt"].contains(&typ.as_str())
}

/// Header and claims of a token whose signature is good, if it is a token of this provider and of this time.
pub(crate) fn standing(slug: &str, alg: &str, header: &[u8], claims: &[u8]) -> Option<(Value, Value)> {
    let (header, claims) = (read(header)?, read(claims)?);
    let own_kid = |kid: &str| authentik::key_set(slug).contains(&format!("\"kid\":\"{kid}\""));
    let is_own_key = match header.get("kid").filter(|kid| !kid.is_null()) {
        Some(kid) => alg == "HS256" || kid.as_str().is_some_and(own_kid),
        None => true,
    };
    if header["alg"] != alg || !header["crit"].is_null() || !is_own_key {
        return None;
    }
    let client_id = json!(format!("{slug}-client-id"));
    let is_for_us =
        claims["aud"] == client_id || claims["aud"].as_array().is_some_and(|all| all.contains(&client_id));
    if claims["iss"] != format!("{BASE}/application/o/{slug}/") || !is_for_us {
        return None;
    }
    // A number, cut to seconds.
    let second = |name: &str| claims.get(name).map(|time| time.as_f64().unwrap_or(f64::NAN).trunc());
    let now = NOW as f64;
    let is_past = |name: &str| second(name).is_none_or(|time| time <= now + CLOCK_SKEW);
    if !second("exp").is_some_and(|exp| exp > now) || !is_past("nbf") || !is_past("iat") {
        return None;
    }
    Some((header, claims))
}
