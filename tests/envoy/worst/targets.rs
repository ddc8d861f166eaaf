//! Paths, queries and hosts that are expensive to match, to parse or to carry through a login.

use super::super::wire::basic;
use super::site::{Asking, BLOCK, DOMAIN, HS, Input, LAX, OPEN, PATTERNS};

const CALLBACK: &str = "/outpost.goauthentik.io/callback?X-authentik-auth-callback=true";

/// The longest path that is matched with `skip_path_regex`.
const PATH: usize = 4_096;

pub(super) fn inputs() -> Vec<Input> {
    let mut inputs = of_paths();
    inputs.extend(of_patterns());
    inputs.extend(of_logins());
    inputs.extend(of_hosts());
    inputs
}

fn of_paths() -> Vec<Input> {
    vec![
        Input::new("path of 58 KiB, sent to log in", 302, |it| get(it, HS, &format!("/{}", it.text(BLOCK)))),
        Input::new("path of 58 KiB, escapes only, open paths", 302, |it| {
            get(it, OPEN, &format!("/{}", "%41".repeat(BLOCK / 3)))
        }),
        Input::new("path of 29,000 segments", 302, |it| get(it, OPEN, &"/a".repeat(BLOCK / 2))),
        Input::new("return URL of 2,000 bytes, to be escaped", 302, |it| {
            get(it, HS, &format!("/?{}", "&=".repeat(990)))
        }),
        Input::new("wrong password and a path of 58 KiB, sent to log in", 302, |it| {
            let request = it.get(LAX, format!("/{}", it.text(BLOCK - 2_000)));
            request.authorization(basic("alice", &it.text(1_000))).send().status
        }),
    ]
}

/// Paths that keep each pattern busy to their end, and do not match.
fn of_patterns() -> Vec<Input> {
    vec![
        Input::new("4,096 bytes against `^/public(/|$)`", 302, |it| pattern(it, 0, "a/")),
        Input::new("4,096 bytes against a list of suffixes", 302, |it| pattern(it, 1, ".png")),
        Input::new("4,096 bytes against `/[^/]+/[^/]+/.*/assets/.*`", 302, |it| pattern(it, 2, "assets/")),
        Input::new("4,096 bytes against `(x+x+)+y`", 302, |it| pattern(it, 3, "x")),
        Input::new("4,096 bytes against `(\\w{1,20}/){1,5}index$`", 302, |it| pattern(it, 4, "aaaa/")),
        Input::new("4,096 bytes against `(\\w{1,100}/){1,10}index$`", 302, |it| {
            pattern(it, 5, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/")
        }),
        Input::new("4,096 bytes against ten lines of patterns", 302, |it| pattern(it, 6, "ab1-/")),
    ]
}

fn of_logins() -> Vec<Input> {
    vec![
        Input::new("`?X-authentik-` and 58,000 `&`", 302, |it| {
            get(it, HS, &format!("/?X-authentik-{}{}", it.number, "&".repeat(BLOCK)))
        }),
        Input::new("`?X-authentik-` and 19,000 parameters", 302, |it| {
            get(it, HS, &format!("/?X-authentik-{}{}", it.number, "&a=".repeat(BLOCK / 3)))
        }),
        Input::new("`?X-authentik` 5,000 times, without the final `-`", 302, |it| {
            get(it, HS, &format!("/?{}", "X-authentik".repeat(BLOCK / 11)))
        }),
        Input::new("callback with a state of 57 KiB", 400, |it| {
            get(it, HS, &format!("{CALLBACK}&code=x&state={}", it.text(57_000)))
        }),
        Input::new("callback with 14,000 parameters of escapes", 400, |it| {
            get(it, HS, &format!("{CALLBACK}{}", "&%41".repeat(14_000)))
        }),
        Input::new("start with `rd` of 57 KiB, escapes only", 302, |it| {
            get(it, HS, &format!("/outpost.goauthentik.io/start?rd={}", "%2f".repeat(19_000)))
        }),
        Input::new("start with a hostile `rd` of 2,000 bytes", 302, |it| {
            get(it, HS, &format!("/outpost.goauthentik.io/start?rd=http://{HS}@{}", "a.".repeat(980)))
        }),
        Input::new("an unknown outpost path of 58 KiB", 404, |it| {
            get(it, HS, &format!("/outpost.goauthentik.io/{}", it.text(57_500)))
        }),
    ]
}

fn of_hosts() -> Vec<Input> {
    vec![
        Input::new("domain mode, a host of 250 labels", 302, |it| {
            get(it, &format!("{}{DOMAIN}", "a.".repeat(250)), &format!("/{}", it.text(PATH - 1)))
        }),
        Input::new("unknown host of 58 KiB", 400, |it| get(it, &"a.".repeat(BLOCK / 2), "/")),
        Input::new("300 providers, unknown host", 400, |it| {
            get(it, &format!("{}many.test", "a.".repeat(110)), "/")
        })
        .at_many(),
        Input::new("300 providers, the last one, a path of 58 KiB", 302, |it| {
            get(it, "298.many.test", &format!("/{}", it.text(BLOCK)))
        })
        .at_many(),
    ]
}

fn get(asking: &Asking<'_>, host: &str, target: &str) -> u16 {
    asking.get(host, target).send().status
}

fn pattern(asking: &Asking<'_>, number: usize, part: &str) -> u16 {
    let path: String = "/".chars().chain(part.chars().cycle()).take(PATH).collect();
    get(asking, PATTERNS[number].0, &path)
}
