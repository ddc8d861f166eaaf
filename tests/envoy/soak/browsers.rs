//! Requests with cookies: sessions that clients keep, sessions that nobody sealed, and browsers that log in and out.

use super::super::place::session_cookie;
use super::super::wire::{Answer, Request};
use super::client::Client;
use super::credentials::{asked_as, bad, good};
use super::expectation::{Aspect, Expected, Outcome};
use super::site::{ES, HS, Kept, LAX, LOCAL, REVALIDATED, RS, USERS, password_of, slug_of};
use crate::browser::navigator::Navigator;

/// Browsers that a client has at one time.
const BROWSERS: usize = 4;

/// What a client would send back.
pub(super) fn cookies_of(answer: &Answer) -> Option<String> {
    let pairs: Vec<_> = answer.headers("set-cookie").iter().filter_map(|it| it.split(';').next()).collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

pub(super) fn new_session(client: &mut Client<'_>) {
    let host = client.pick(&[HS, RS, ES, REVALIDATED, LAX]);
    let (user, authorization, expected) = good(client, host);
    let expected = if host == REVALIDATED { expected.asked() } else { expected };
    let request = client.get(host).authorization(authorization);
    let answer = client.send("session, new", &format!("{user} at {host}"), expected, request);
    let Some(answer) = answer.filter(|answer| answer.status == 200) else { return };
    match cookies_of(&answer) {
        Some(cookie) => client.site.keep(host, user, cookie),
        None => client.site.ledger.fault(format!("no session for {user} at {host}")),
    }
}

fn kept(client: &mut Client<'_>) -> Option<Kept> {
    let number = client.dice.below(1 << 20);
    client.site.kept(number)
}

/// As the session; where authentik is asked about it, an outage may be an end.
fn resumed_as(kept: &Kept) -> Expected {
    let expected = Expected::user(&kept.username);
    if kept.host == REVALIDATED { expected.asked() } else { expected }
}

fn with_cookie(client: &Client<'_>, kept: &Kept, target: &str) -> Request {
    client.request("GET", kept.host, target).header("cookie", &kept.cookie)
}

/// Whatever Envoy it came from, and whatever authentik is doing.
pub(super) fn replayed_session(client: &mut Client<'_>) {
    let Some(kept) = kept(client) else { return };
    let target = if kept.host == HS { client.pick(&["/", "/public/a", "/a?b=c"]) } else { "/" };
    // On an open path nobody is asked; that is for a host where nobody would be.
    let request = with_cookie(client, &kept, target);
    let what = format!("{} at {}{target}", kept.username, kept.host);
    client.send("session, replayed", &what, resumed_as(&kept), request);
}

/// The credential counts, good or bad.
pub(super) fn session_beside_a_credential(client: &mut Client<'_>) {
    let Some(kept) = kept(client).filter(|it| it.host != LAX) else { return };
    let request = with_cookie(client, &kept, "/");
    if client.dice.below(3) == 0 {
        let (authorization, expected) = bad(client);
        let request = request.authorization(authorization);
        client.send("session, bad credential", kept.host, expected, request);
    } else {
        let user = client.pick(&USERS);
        let what = format!("{}'s session, {user}'s credential at {}", kept.username, kept.host);
        let request = request.authorization(password_of(user));
        client.send("session, another's credential", &what, asked_as(kept.host, user), request);
    }
}

/// A session that was changed, or that is another application's.
pub(super) fn tampered_session(client: &mut Client<'_>) {
    let Some(mut kept) = kept(client) else { return };
    let what = if client.dice.below(3) == 0 {
        let other = client.pick(&[HS, RS, ES, LAX]);
        if other == kept.host {
            return;
        }
        let name = |host| session_cookie(slug_of(host).expect("one of ours"));
        kept.cookie = kept.cookie.replace(&name(kept.host), &name(other));
        let what = format!("a session of {} at {other}", kept.host);
        kept.host = other;
        what
    } else {
        let start = kept.cookie.find('=').expect("a value") + 1;
        let place = start + client.dice.below(kept.cookie.len() - start);
        let mut bytes = kept.cookie.into_bytes();
        // Between two parts, the names would be changed; that is as good.
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        kept.cookie = String::from_utf8(bytes).expect("ASCII");
        format!("byte {place} of a session of {}", kept.host)
    };
    let request = with_cookie(client, &kept, "/");
    client.send("session, tampered or foreign", &what, Expected::status(302), request);
}

pub(super) fn malformed_cookie(client: &mut Client<'_>) {
    let host = client.pick(&LOCAL);
    let own = session_cookie(slug_of(host).expect("one of ours"));
    let any: Vec<u8> = (b' '..=255).filter(|byte| *byte != 0x7f).collect();
    let cookie = match client.dice.below(9) {
        0 => b";;; ; ;=;=;".to_vec(),
        1 => own.clone().into_bytes(),
        2 => [own.as_bytes(), b"=\xff\xfe"].concat(),
        3 => format!("{own}_99999999999999999999=x; {own}_-1=y; {own}_0=z").into_bytes(),
        4 => format!("authentik_proxy=a; {own}=\"unterminated").into_bytes(),
        5 => vec![format!("{own}=x"); 100].join("; ").into_bytes(),
        6 => format!("{own}={}", "A".repeat(30 << 10)).into_bytes(),
        7 => format!("{own}=....; {own}_login=AAAA").into_bytes(),
        _ => [own.as_bytes(), b"=", &client.dice.bytes(300, &any)].concat(),
    };
    let request = client.get(host).header("cookie", cookie);
    if client.dice.below(2) == 0 {
        client.send("cookie, malformed", host, Expected::status(302), request);
    } else {
        let (_, authorization, expected) = good(client, host);
        let request = request.authorization(authorization);
        client.send("cookie, malformed, good credential", host, expected, request);
    }
}

/// A browser logs in, looks around, logs out.
pub(super) fn browse(client: &mut Client<'_>) {
    if client.browsers.len() < BROWSERS {
        log_in(client);
        return;
    }
    let which = client.dice.below(BROWSERS);
    let (user, mut browser) = client.browsers.swap_remove(which);
    let page = format!("http://{HS}/page?{}", client.dice.below(1_000));
    let seen = ("browser, logged in", user.as_str());
    client.visit(seen, Expected::user(&user), &mut browser, &page);
    if client.dice.below(3) == 0 {
        sign_out(client, &user, browser);
    } else {
        client.browsers.push((user, browser));
    }
}

fn log_in(client: &mut Client<'_>) {
    // A user of its own: who signs out ends all his sessions, and others' kept cookies go on.
    let (user, _) = client.site.newcomer();
    let user = user.as_str();
    let page = format!("http://{HS}/page?{}", client.dice.below(1_000));
    let mut browser = Navigator::default();
    let sent = ("browser, sent to authentik", user);
    let Some(answer) = client.visit(sent, Expected::status(302), &mut browser, &page) else { return };
    // The ledger has judged that.
    if answer.status != 302 {
        return;
    }
    let authorize = answer.location();
    let callback = client.site.authentik.read().unwrap().approve(authorize, user);
    let expected = Expected::status(302).asked().during(Aspect::Secret, Outcome::Status(503));
    let back = ("browser, back from authentik", user);
    let Some(answer) = client.visit(back, expected, &mut browser, &callback) else { return };
    if answer.status != 302 {
        return;
    }
    if answer.location() != page || browser.session().is_empty() {
        client.site.ledger.fault(format!("{user}'s login did not end where it began, with a session"));
        return;
    }
    let seen = ("browser, logged in", user);
    client.visit(seen, Expected::user(user), &mut browser, &page);
    client.browsers.push((user.to_owned(), browser));
}

fn sign_out(client: &Client<'_>, user: &str, mut browser: Navigator) {
    let target = format!("http://{HS}/outpost.goauthentik.io/sign_out");
    let out = ("browser, signs out", user);
    let Some(answer) = client.visit(out, Expected::status(302), &mut browser, &target) else { return };
    let end = "/application/o/demo/end-session/";
    if answer.status != 302 {
        return;
    }
    if !answer.location().contains(end) || !browser.session().is_empty() {
        client.site.ledger.fault(format!("{user}'s session did not end"));
    }
    let after = ("browser, signed out", user);
    client.visit(after, Expected::status(302), &mut browser, &format!("http://{HS}/"));
}
