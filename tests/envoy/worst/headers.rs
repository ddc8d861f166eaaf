//! Header blocks, cookies and trailers that are expensive to look through.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::super::place::session_cookie;
use super::super::wire::{Request, basic};
use super::site::{Asking, BLOCK, HS, Input, OPEN, ROTATED};

pub(super) fn inputs() -> Vec<Input> {
    let mut inputs = of_headers();
    inputs.extend(of_cookies());
    inputs
}

fn of_headers() -> Vec<Input> {
    vec![
        Input::new("3,900 tiny headers", 302, |it| {
            numbered(it.get(HS, "/"), 3_900, |number| format!("x-{number:x}")).send().status
        }),
        Input::new("3,000 owned names, open path", 200, |it| {
            numbered(it.get(OPEN, "/public/a"), 3_000, |number| format!("X-Authentik-{number:03x}"))
                .send()
                .status
        }),
        Input::new("1,000 owned names in odd spellings, open path", 200, |it| {
            let name = |number| format!("x_Authentik.{number}~aaaaaaaaaaaaaaaaaaaaaaaa");
            numbered(it.get(OPEN, "/public/a"), 1_000, name).send().status
        }),
        Input::new("90 owned names of 600 bytes, open path", 200, |it| {
            let rest = "a".repeat(570);
            numbered(it.get(OPEN, "/public/a"), 90, |number| format!("x-authentik-{number}-{rest}"))
                .send()
                .status
        }),
        Input::new("Accept of 58 KiB", 401, |it| {
            it.get(HS, "/")
                .header("sec-fetch-mode", "cors")
                .header("accept", "text/htm".repeat(BLOCK / 8))
                .send()
                .status
        }),
        Input::new("x-request-id, user-agent and content-type, 19 KiB each", 302, |it| {
            let long = "a".repeat(19_000);
            it.get(HS, "/")
                .header("x-request-id", &long)
                .header("user-agent", &long)
                .header("content-type", &long)
                .send()
                .status
        }),
        Input::new("3,900 trailers behind a wrong password", 401, |it| {
            let password = basic("alice", &it.text(20));
            let exchange = it.post(HS, "/").header("authorization", &password).body(b"body".to_vec());
            (0..3_900).fold(exchange, |exchange, _| exchange.trailer("x-authentik-a", "b")).send().status
        }),
    ]
}

fn of_cookies() -> Vec<Input> {
    vec![
        Input::new("14,000 cookies", 302, |it| cookies(it, HS, &"a=b;".repeat(BLOCK / 4))),
        Input::new("14,000 cookies, open path", 200, |it| {
            it.get(OPEN, "/public/a").header("cookie", "a=b;".repeat(BLOCK / 4)).send().status
        }),
        Input::new("58,000 semicolons", 302, |it| cookies(it, HS, &";".repeat(BLOCK))),
        Input::new("four session cookies of 14 KiB that do not open", 302, |it| {
            cookies(it, HS, &candidates(&session_cookie("hs"), it.number, 4, 10_500))
        }),
        Input::new("four session cookies of 14 KiB that do not open, eight secrets", 302, |it| {
            cookies(it, ROTATED, &candidates(&session_cookie("hs"), it.number, 4, 10_500))
        }),
        Input::new("session cookie in nine parts, 57 KiB, eight secrets", 302, |it| {
            cookies(it, ROTATED, &parts(&session_cookie("hs"), it.number))
        }),
        Input::new("1,500 session cookies, open path", 200, |it| {
            it.get(OPEN, "/public/a")
                .header("cookie", candidates(&session_cookie("hs"), it.number, 1_500, 8))
                .send()
                .status
        }),
        Input::new("four login cookies of 14 KiB at the start of a login, eight secrets", 302, |it| {
            let name = format!("{}_login", session_cookie("hs"));
            let cookie = candidates(&name, it.number, 4, 10_500);
            it.get(ROTATED, "/outpost.goauthentik.io/start").header("cookie", cookie).send().status
        }),
        Input::new("sign-out with 1,500 session cookies", 302, |it| {
            let cookie = candidates(&session_cookie("hs"), it.number, 1_500, 8);
            it.get(HS, "/outpost.goauthentik.io/sign_out").header("cookie", cookie).send().status
        }),
    ]
}

fn numbered(request: Request, count: usize, name: impl Fn(usize) -> String) -> Request {
    (0..count).fold(request, |request, number| request.header(&name(number), ""))
}

fn cookies(asking: &Asking<'_>, host: &str, cookies: &str) -> u16 {
    asking.get(host, "/").header("cookie", cookies).send().status
}

/// So many cookies of this name, each with so many bytes of noise, sealed by nobody.
fn candidates(name: &str, number: usize, count: usize, bytes: usize) -> String {
    let value = |index: usize| {
        let noise: Vec<u8> = (0..bytes).map(|place| (place * 31 + index * 7 + number) as u8).collect();
        format!("{name}={}", BASE64_URL_SAFE_NO_PAD.encode(noise))
    };
    (0..count).map(value).collect::<Vec<_>>().join("; ")
}

/// One cookie of nine parts.
fn parts(name: &str, number: usize) -> String {
    let value = BASE64_URL_SAFE_NO_PAD.encode(vec![number as u8; 42_500]);
    let part = |(index, part): (usize, &[u8])| format!("{name}_{index}={}", String::from_utf8_lossy(part));
    value.as_bytes().chunks(value.len().div_ceil(9)).enumerate().map(part).collect::<Vec<_>>().join("; ")
}
