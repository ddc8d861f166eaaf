//! Requests with credentials, good and bad: what each kind sends, and what it must be told. Owns nothing but that.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fake_authentik::{Generation, Key, TokenSpec};

use super::super::stripping::FORGED;
use super::super::wire::{basic as encoded_basic, bearer as bearer_value, encoded};
use super::client::{Client, Pooled};
use super::expectation::{Aspect, Expected, Outcome};
use super::site::{ES, HS, LAX, LOCAL, REVALIDATED, RS, USERS, password_of, slug_of};

/// How many tokens a client sends again and again.
const POOL: usize = 12;

/// `Authorization` for a token, in one of the two ways.
fn with_token(client: &mut Client<'_>, token: &str) -> String {
    match client.dice.below(4) {
        0 => encoded_basic("goauthentik.io/token", token),
        _ => bearer_value(token),
    }
}

/// What a user who must be asked for is told at this host.
pub(super) fn asked_as(host: &str, username: &str) -> Expected {
    let expected = Expected::user(username).asked();
    match host {
        // authentik signs with a secret that the filter does not have, or the other way round.
        HS => expected.during(Aspect::Secret, Outcome::Status(503)),
        // It signs with a key that the filter may not fetch yet.
        ES => expected.during(Aspect::Keys, Outcome::Status(503)),
        _ => expected,
    }
}

/// What a user with a token is told where that is judged on the spot.
pub(super) fn judged_as(host: &str, username: &str) -> Expected {
    let expected = Expected::user(username);
    match host {
        HS => expected.during(Aspect::Secret, Outcome::Status(401)),
        ES => expected.during(Aspect::Keys, Outcome::Status(401)),
        LAX => expected,
        REVALIDATED => expected.asked(),
        _ => expected,
    }
}

/// A good credential for a host, and what it must be told.
pub(super) fn good(client: &mut Client<'_>, host: &'static str) -> (&'static str, String, Expected) {
    let user = client.pick(&USERS);
    if client.dice.below(2) == 0 {
        (user, password_of(user), asked_as(host, user))
    } else {
        let token = client.site.issue(host, user);
        (user, with_token(client, &token), judged_as(host, user))
    }
}

/// A bad one for a host where interception is on.
pub(super) fn bad(client: &mut Client<'_>) -> (String, Expected) {
    let user = client.pick(&USERS);
    let number = client.dice.next();
    (encoded_basic(user, &format!("wrong-app-password-{number}")), Expected::status(401).asked())
}

pub(super) fn basic(client: &mut Client<'_>) {
    let (host, user) = (client.pick(&[HS, RS, ES, LAX]), client.pick(&USERS));
    let request = client.get(host).authorization(password_of(user));
    client.send("basic, known", &format!("{user} at {host}"), asked_as(host, user), request);
}

pub(super) fn newcomer(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES, LAX]);
    let (user, authorization) = client.site.newcomer();
    let request = client.get(host).authorization(authorization);
    client.send("basic, newcomer", &format!("{user} at {host}"), asked_as(host, &user), request);
}

/// A token out of the pool, or a new one.
fn token(client: &mut Client<'_>) -> (&'static str, String, String) {
    let epoch = client.site.epoch.load(Ordering::SeqCst);
    // A token of a key or secret that was withdrawn is another kind's.
    client.tokens.retain(|it| it.epoch == epoch || !matches!(it.host, HS | ES));
    let place = client.dice.below(POOL * 2);
    if let Some(Pooled { host, username, token, .. }) = client.tokens.get(place) {
        return (host, username.clone(), token.clone());
    }
    let (host, user) = (client.pick(&LOCAL), client.pick(&USERS));
    let token = client.site.issue(host, user);
    if client.tokens.len() >= POOL {
        let place = client.dice.below(POOL);
        client.tokens.remove(place);
    }
    client.tokens.push(Pooled { host, username: user.to_owned(), token: token.clone(), epoch });
    (host, user.to_owned(), token)
}

pub(super) fn bearer(client: &mut Client<'_>) {
    let (host, user, token) = token(client);
    let kind = match host {
        HS => "bearer, HS256",
        RS => "bearer, RS256",
        ES => "bearer, ES256",
        _ => "bearer, a domain",
    };
    let request = client.get(host).authorization(bearer_value(&token));
    client.send(kind, &format!("{user} at {host}"), judged_as(host, &user), request);
}

pub(super) fn token_user(client: &mut Client<'_>) {
    let (host, user, token) = token(client);
    let request = client.get(host).authorization(encoded_basic("goauthentik.io/token", &token));
    client.send("token user", &format!("{user} at {host}"), judged_as(host, &user), request);
}

pub(super) fn wrong_password(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES, REVALIDATED]);
    let user = client.pick(&["alice", "eve", "dave", "nobody", "svc-batch"]);
    // Some again and again, so that the refusal is remembered; `dave` has the right one, and is disabled.
    let password = match (user, client.dice.below(3)) {
        ("dave", _) => "dave-app-password-0123456789abcdef".to_owned(),
        (_, 0) => "wrong-app-password".to_owned(),
        (_, _) => format!("wrong-app-password-{}", client.dice.next()),
    };
    let request = client.get(host).authorization(encoded_basic(user, &password));
    client.send("wrong password", &format!("{user} at {host}"), Expected::status(401).asked(), request);
}

pub(super) fn bad_token(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES]);
    let slug = slug_of(host).expect("one of ours");
    let spec = TokenSpec::new;
    let number = client.dice.next();
    let own = Expected::status(401);
    let (what, token, expected) = match client.dice.below(14) {
        0 => ("expired", client.site.mint(host, spec().claim_in("exp", -5)), own),
        1 => ("no exp", client.site.mint(host, spec().without_claim("exp")), own),
        2 => ("not yet", client.site.mint(host, spec().claim_in("nbf", 600)), own),
        3 => ("another audience", client.site.mint(host, spec().claim("aud", "other-client-id")), own),
        4 => ("another issuer", client.site.mint(host, spec().claim("iss", "https://other.test/")), own),
        5 => {
            let other = if host == RS { ES } else { RS };
            // Where the key decides, it is one that nobody here has.
            ("another provider's", client.site.issue(other, "alice"), own.asked())
        }
        6 => ("alg none", client.site.mint(host, spec().signed_by(Key::None)), own),
        7 if host == HS => {
            let token = client.site.mint(host, spec().signed_by(Key::Rs256(Generation::A)));
            // The provider may have been given a key.
            ("RS256", token, own.asked())
        }
        7 => {
            let secret = client.site.authentik.read().unwrap().client_secret(slug).into_bytes();
            let token = client.site.mint(host, spec().signed_by(Key::Secret(secret)));
            // No key is of this algorithm; a newer one might be.
            ("HS256 of the secret", token, own.asked())
        }
        8 if host == RS => {
            let keys = client.site.authentik.read().unwrap().jwks("rs");
            let modulus = keys["keys"][0]["n"].as_str().expect("a modulus").to_owned();
            let bytes = match number % 2 {
                0 => modulus.into_bytes(),
                _ => BASE64_URL_SAFE_NO_PAD.decode(modulus).expect("base64"),
            };
            let token = client.site.mint(host, spec().signed_by(Key::Secret(bytes)));
            ("HS256 of the public key", token, own.asked())
        }
        9 if host == RS => {
            let kid = Key::Rs256(Generation::A).kid().expect("a kid");
            let spec = spec().signed_by(Key::Rs256(Generation::B)).header("kid", kid);
            ("another key under this kid", client.site.mint(host, spec), own)
        }
        8..=10 if host != HS => {
            let token = client.site.mint(host, spec().header("kid", format!("kid-{number}")));
            ("a kid of nobody", token, own.asked())
        }
        11 => ("opaque", format!("opaque-token-{number}"), own),
        _ => ("altered", altered(client, host), own),
    };
    let authorization = with_token(client, &token);
    let request = client.get(host).authorization(authorization);
    client.send("bad token", &format!("{what}, at {host}"), expected, request);
}

/// A good token with one byte changed, in what it says or in its signature.
fn altered(client: &mut Client<'_>, host: &str) -> String {
    let token = client.site.issue(host, "alice");
    let start = token.find('.').expect("a header") + 1;
    // The last byte of the signature carries bits that mean nothing.
    let place = start + client.dice.below(token.len() - start - 1);
    let mut bytes = token.into_bytes();
    if bytes[place] != b'.' {
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
    } else {
        bytes[place - 1] ^= 1;
    }
    String::from_utf8(bytes).expect("ASCII")
}

/// Signed with the key of `es` that authentik no longer has, or not yet again; never sent before.
pub(super) fn withdrawn_key(client: &mut Client<'_>) {
    let token = {
        let authentik = client.site.authentik.read().unwrap();
        let mut generation = Generation::A;
        authentik.edit_provider("es", |provider| generation = provider.generation);
        authentik.mint("es", TokenSpec::new().signed_by(Key::Es256(generation.other())))
    };
    let expected = Expected::status(401).asked().during(Aspect::Keys, Outcome::named("alice"));
    let request = client.get(ES).authorization(bearer_value(&token));
    client.send("withdrawn key", "a token of the other key", expected, request);
}

pub(super) fn hostile(client: &mut Client<'_>) {
    let refused = || Expected::status(401);
    let any: Vec<u8> = (b' '..=255).filter(|byte| *byte != 0x7f).collect();
    let good = password_of("alice");
    let long = |kilobytes: usize| "A".repeat(kilobytes << 10);
    let text = |text: &str| text.as_bytes().to_vec();
    let (what, value, expected) = match client.dice.below(20) {
        0 => ("a byte beyond ASCII after a good one", [good.as_bytes(), &[0x80]].concat(), refused()),
        1 => ("bytes beyond ASCII", "Ｂasic YQ==".as_bytes().to_vec(), refused()),
        2 => ("17 KiB", text(&format!("Bearer {}", long(17))), refused()),
        3 => ("61 KiB", text(&format!("Basic {}", long(61))), Expected::status(431)),
        4 => ("only a scheme", text("Basic"), refused()),
        5 => ("a tab after the scheme", text("Bearer\tabc"), refused()),
        6 => ("a NUL", b"Bearer a\0b".to_vec(), Expected::status(400)),
        7 => ("an unknown scheme", text("Digest username=\"alice\""), refused()),
        8 => ("no base64", text("Basic ????"), refused()),
        9 => ("base64url", text("Basic YWxpY2U6_-_-"), refused()),
        10 => ("no colon", text(&encoded("alice")), refused()),
        11 => ("no user name", text(&encoded(":password")), refused()),
        12 => ("not UTF-8", text(&encoded(b"al\xffice:password")), refused()),
        13 => ("a line feed in the name", text(&encoded("al\nice:password")), refused()),
        14 => ("the token user without a token", text(&encoded("goauthentik.io/token:")), refused()),
        15 => ("the token user with blanks", text(&encoded("goauthentik.io/token:a b")), refused()),
        16 => ("two in one line", text(&format!("{good}, {good}")), refused()),
        17 => ("noise", [&b"x"[..], &client.dice.bytes(200, &any)].concat(), refused()),
        18 => ("noise as a token", [&b"Bearer x"[..], &client.dice.bytes(200, &any)].concat(), refused()),
        _ => {
            let content = [&client.dice.bytes(12, &any)[..], b":", &client.dice.bytes(12, &any)].concat();
            ("noise in Basic", text(&encoded(content)), refused().asked())
        }
    };
    let host = client.pick(&[HS, RS, ES, REVALIDATED]);
    let request = client.get(host).authorization(value);
    client.send("hostile bytes", &format!("{what}, at {host}"), expected, request);
}

pub(super) fn several(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES]);
    let (first, second) = (good(client, host).1, good(client, host).1);
    let request = client.get(host).authorization(first).authorization(second);
    client.send("several Authorization", host, Expected::status(401), request);
}

/// With headers that only the filter may set, in every spelling.
pub(super) fn spoofed(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES, LAX]);
    let request = client.request("GET", host, "/spoofed").headers(&FORGED);
    match client.dice.below(3) {
        0 => {
            client.send("spoofed, no credential", host, Expected::status(302), request);
        }
        1 if host != LAX => {
            let (authorization, expected) = bad(client);
            let request = request.authorization(authorization);
            client.send("spoofed, bad credential", host, expected, request);
        }
        _ => {
            let (user, authorization, expected) = good(client, host);
            let request = request.authorization(authorization);
            client.send("spoofed, good credential", &format!("{user} at {host}"), expected, request);
        }
    }
}

/// A bad credential is the application's own there, and so a login for what can show one.
pub(super) fn without_interception(client: &mut Client<'_>) {
    let authorization = match client.dice.below(3) {
        0 => bad(client).0,
        1 => bearer_value(&client.site.mint(LAX, TokenSpec::new().claim_in("exp", -5))),
        _ => "Digest username=\"alice\"".to_owned(),
    };
    let (method, status) = client.pick(&[("GET", 302), ("POST", 401)]);
    let request = client.request(method, LAX, "/").authorization(authorization);
    client.send("no interception", method, Expected::status(status).asked(), request);
}

/// Where authentik is asked about every token, again and again.
pub(super) fn revalidated(client: &mut Client<'_>) {
    let (user, authorization, expected) = good(client, REVALIDATED);
    let request = client.get(REVALIDATED).authorization(authorization);
    client.send("revalidated", user, expected.asked(), request);
}

/// Who is about to be disabled, or was.
pub(super) fn leaver(client: &mut Client<'_>) {
    let Some(leaver) = client.site.leaver.read().unwrap().clone() else { return };
    let user = leaver.username.as_str();
    let request = client.get(REVALIDATED).header("accept", "application/json");
    let request = match client.dice.below(3) {
        0 => request.header("cookie", &leaver.cookie),
        which => request.authorization(&leaver.credentials[which - 1]),
    };
    let (kind, expected) = if leaver.has_left {
        ("user, disabled", Expected::status(401).during(Aspect::Leaving, Outcome::named(user)))
    } else {
        ("user, still enabled", Expected::user(user).during(Aspect::Leaving, Outcome::Status(401)))
    };
    client.send(kind, user, expected.asked(), request);
}
