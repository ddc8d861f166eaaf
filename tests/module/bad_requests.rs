//! Requests that no honest client sends: odd bytes, sizes, missing parts, rubbish. None of them stops the worker,
//! becomes a 5xx, reaches authentik or reaches the application.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proxy_wasm_testkit::{Outcome, Request, Vm};
use sha2::{Digest as _, Sha256};

use super::fixture::{
    Dice, Observed, answer_key_calls, basic, bearer, configuration, forwarded, get, observed, only_call,
    passed_as, path_of, provider, refused, replied, send, token, with_provider, worker, world,
};

const OBS_TEXT: &[u8] = b"a\x80\xc3\xff\xfe\xc0\xafz";

/// Every header that the filter reads, and some that it does not.
const NAMES: &[&str] = &[
    ":method",
    ":path",
    ":authority",
    ":scheme",
    "authorization",
    "cookie",
    "accept",
    "content-type",
    "origin",
    "upgrade",
    "sec-fetch-mode",
    "x-requested-with",
    "access-control-request-method",
    "x-authentik-username",
    "x_authentik_username",
    "x-forwarded-host",
    "x-unknown",
];

fn alive(vm: &Vm) {
    assert_eq!(vm.death(), None);
}

/// Answered by the filter, as the client's fault or with the way to the login.
fn is_turned_away(observed: &Observed) -> bool {
    matches!(observed, Observed::Status(302 | 400 | 401))
}

#[test]
fn bytes_beyond_ascii_in_any_header_are_turned_away_without_a_credential() {
    let world = world();
    let mut vm = worker(&world, &configuration("rs"));
    let calls = vm.calls_sent();
    for name in NAMES {
        let became = send(&mut vm, Request::get("/").replace(name, OBS_TEXT));
        assert!(is_turned_away(&became), "{name}: {became:?}");
    }
    assert_eq!(vm.calls_sent(), calls);
    alive(&vm);
}

#[test]
fn bytes_beyond_ascii_beside_a_good_credential_go_on_as_they_are() {
    let world = world();
    let mut vm = worker(&world, &configuration("rs"));
    let authorization = bearer(token("rs"));
    for name in NAMES.iter().filter(|name| **name != "authorization") {
        let stream = vm.send(get(&authorization).replace(name, OBS_TEXT));
        let headers = forwarded(&vm, stream);
        assert_eq!(headers.get_all("x-authentik-username"), [b"alice"], "{name}");
        match *name {
            "x-authentik-username" => {}
            "x_authentik_username" => assert!(!headers.contains(name)),
            _ => assert_eq!(headers.get_all(name), [OBS_TEXT], "{name}"),
        }
    }
    alive(&vm);
}

#[test]
fn oversized_and_malformed_credentials_are_turned_away_without_a_call() {
    let world = world();
    let mut vm = worker(&world, &configuration("rs"));
    let calls = vm.calls_sent();
    let long = "A".repeat(60 << 10);
    let text = |text: &str| text.as_bytes().to_vec();
    let encoded = |bytes: &[u8]| text(&format!("Basic {}", BASE64_STANDARD.encode(bytes)));
    let cases = [
        ("60 KiB of Bearer", text(&bearer(&long))),
        ("60 KiB of Basic", text(&basic("alice", &long))),
        ("60 KiB of blanks in Bearer", text(&format!("Bearer {}x", " ".repeat(60 << 10)))),
        ("only a scheme", text("Basic")),
        ("a scheme and a blank", text("Bearer ")),
        ("a tab after the scheme", text("Bearer\tabc")),
        ("a NUL", b"Bearer a\0b".to_vec()),
        ("a line feed", b"Bearer a\nb".to_vec()),
        ("an unknown scheme", text("Digest username=\"alice\"")),
        ("no base64", text("Basic ????")),
        ("base64url", text("Basic YWxpY2U6_-_-")),
        ("no colon", encoded(b"alice")),
        ("no user name", encoded(b":password")),
        ("not UTF-8", encoded(b"al\xffice:password")),
        ("a NUL in the password", encoded(b"alice:pass\0word")),
        ("a line feed in the name", encoded(b"al\nice:password")),
        ("a C1 control character", encoded("alice:pass\u{85}word".as_bytes())),
        ("two in one line", text(&format!("{}, {}", basic("alice", "x"), bearer("y")))),
        ("the token user without a token", encoded(b"goauthentik.io/token:")),
        ("the token user with blanks", encoded(b"goauthentik.io/token:a b")),
    ];
    for (name, value) in cases {
        assert_eq!(send(&mut vm, get(value)), Observed::Status(401), "{name}");
    }
    let twice = get(basic("alice", "x")).header("authorization", bearer(token("rs")));
    assert_eq!(send(&mut vm, twice), Observed::Status(401));
    assert_eq!(vm.calls_sent(), calls);
    alive(&vm);
}

#[test]
fn missing_and_empty_pseudo_headers_are_turned_away() {
    let world = world();
    let full = [(":method", "GET"), (":scheme", "https"), (":authority", "rs.example.com"), (":path", "/")];
    for intercepts in [true, false] {
        let mut vm = worker(&world, &with_provider("rs", "intercept_header_auth", intercepts));
        for (missing, _) in full {
            let lines: Vec<_> = full.iter().copied().filter(|(name, _)| *name != missing).collect();
            let became = send(&mut vm, Request::new(&lines));
            assert!(is_turned_away(&became), "without {missing}: {became:?}");
            let became = send(&mut vm, Request::new(&full).replace(missing, ""));
            assert!(is_turned_away(&became), "empty {missing}: {became:?}");
            let became = send(&mut vm, Request::new(&lines).header("authorization", "Bearer nonsense"));
            assert!(is_turned_away(&became), "nonsense without {missing}: {became:?}");
        }
        let connect = [(":method", "CONNECT"), (":authority", "rs.example.com:443")];
        assert_eq!(send(&mut vm, Request::new(&connect)), Observed::Status(401));
        alive(&vm);
    }
}

#[test]
fn a_connect_without_a_path_goes_on_with_a_good_credential() {
    let world = world();
    let mut vm = worker(&world, &configuration("rs"));
    let connect = Request::new(&[(":method", "CONNECT"), (":authority", "rs.example.com:443")]);
    assert_eq!(send(&mut vm, connect.header("authorization", bearer(token("rs")))), passed_as("alice"));
}

#[test]
fn a_host_of_no_provider_is_a_bad_request_whatever_its_bytes() {
    let world = world();
    let mut two = configuration("rs");
    two["providers"].as_array_mut().unwrap().push(provider("es"));
    let mut vm = worker(&world, &two);
    let authorization = bearer(token("rs"));
    let hosts: [&[u8]; 10] = [
        b"",
        OBS_TEXT,
        b"other.example.com",
        b"rs.example.com.evil.test",
        b"evil-rs.example.com",
        b"rs.example.com@evil.test",
        b"evil.test@rs.example.com",
        b"rs.example.com:99999",
        b"rs.example.com:x",
        b"rs.example.com,es.example.com",
    ];
    for host in hosts {
        let request = get(&authorization).replace(":authority", host);
        assert_eq!(send(&mut vm, request), Observed::Status(400), "{}", host.escape_ascii());
    }
    for host in ["rs.example.com", "RS.Example.COM", "rs.example.com:443", "rs.example.com."] {
        let request = get(&authorization).replace(":authority", host);
        assert_eq!(send(&mut vm, request), passed_as("alice"), "{host}");
    }
    let request = get(&authorization).replace(":authority", "es.example.com");
    assert_eq!(send(&mut vm, request), Observed::Status(401), "another provider's token");
}

#[test]
fn a_thousand_headers_are_read_and_the_owned_ones_among_them_removed() {
    let world = world();
    let mut vm = worker(&world, &configuration("rs"));
    let spellings = ["x-authentik-groups", "X-Authentik-Groups", "x_authentik_groups", "x-authentik_groups"];
    let mut request = get(bearer(token("rs")));
    for number in 0..1_000 {
        let name = match number % 10 {
            0 => spellings[number / 10 % 4].to_owned(),
            _ => format!("x-header-{number}"),
        };
        request = request.header(name, "forged");
    }
    let stream = vm.send(request.clone());
    let headers = forwarded(&vm, stream);
    let forged: Vec<_> = headers
        .iter()
        .filter(|(name, value)| {
            name.starts_with(b"x") && !name.starts_with(b"x-header-") && *value == b"forged"
        })
        .collect();
    assert!(forged.is_empty(), "{forged:?}");
    assert_eq!(headers.iter().filter(|(name, _)| name.starts_with(b"x-header-")).count(), 900);
    assert_eq!(send(&mut vm, request.replace("authorization", "Bearer x")), Observed::Status(401));
    alive(&vm);
}

#[test]
fn malformed_cookies_are_no_session_and_no_error() {
    let world = world();
    let mut vm = worker(&world, &configuration("rs"));
    let digest = Sha256::digest("rs-client-id");
    let own = format!("authentik_proxy_{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
    let cookies: [Vec<u8>; 13] = [
        b"".to_vec(),
        b";".to_vec(),
        b";;; ; ;=;=;".to_vec(),
        b"=".to_vec(),
        b"====".to_vec(),
        OBS_TEXT.to_vec(),
        b"authentik_proxy_".to_vec(),
        own.clone().into_bytes(),
        [b"__Host-", own.as_bytes(), b"=\xff\xfe"].concat(),
        format!("{own}_99999999999999999999=x; {own}_-1=y; {own}_0=z").into_bytes(),
        format!("authentik_proxy=a\tb; {own}=\"unterminated").into_bytes(),
        vec![format!("{own}=x"); 100].join("; ").into_bytes(),
        format!("{own}={}", "A".repeat(60 << 10)).into_bytes(),
    ];
    let authorization = bearer(token("rs"));
    for cookie in &cookies {
        let name = cookie.escape_ascii();
        assert_eq!(
            send(&mut vm, Request::get("/").header("cookie", cookie)),
            Observed::Status(302),
            "{name}"
        );
        assert_eq!(send(&mut vm, get("Bearer x").header("cookie", cookie)), Observed::Status(401), "{name}");
        assert_eq!(send(&mut vm, get(&authorization).header("cookie", cookie)), passed_as("alice"), "{name}");
    }
    alive(&vm);
}

#[test]
fn no_odd_spelling_of_a_path_opens_what_a_pattern_leaves_closed() {
    let world = world();
    let mut vm = worker(&world, &with_provider("rs", "skip_path_regex", "^/public/"));
    assert_eq!(send(&mut vm, Request::get("/public/logo.svg?next=/../admin")), passed_as(""));
    let closed: [&[u8]; 18] = [
        b"/admin?/public/",
        b"/admin#/public/",
        b"/public/../admin",
        b"/public/./../admin",
        b"/public/..",
        b"/public/%2e%2e/admin",
        b"/public/.%2E/admin",
        b"/public/%252e%252e/admin",
        b"/public/..;/admin",
        b"/public/..\\admin",
        b"/public/%5c../admin",
        b"/public/x%2f..%2fadmin",
        b"/public//admin",
        b"/public/a;b",
        b"/public/%00",
        b"/public/%zz",
        b"/public/\xff",
        b"http://rs.example.com/public/",
    ];
    for path in closed {
        let became = send(&mut vm, Request::get("/").replace(":path", path));
        assert!(is_turned_away(&became), "{}: {became:?}", path.escape_ascii());
    }
    for (name, value) in [
        ("x-original-url", "/public/"),
        ("x-forwarded-uri", "/public/"),
        ("x-rewrite-url", "/public/"),
        ("x-envoy-original-path", "/public/"),
        ("referer", "https://rs.example.com/public/"),
        ("user-agent", "GoogleHC/1.0"),
        ("user-agent", "kube-probe/1.30"),
        ("user-agent", "/public/"),
    ] {
        let became = send(&mut vm, Request::get("/admin").header(name, value));
        assert!(is_turned_away(&became), "what {name} says opens nothing: {became:?}");
    }
}

#[test]
fn random_input_neither_passes_nor_crashes_nor_becomes_5xx() {
    const CASES: usize = 3_000;
    let world = world();
    let mut vm = worker(&world, &configuration("rs"));
    let mut dice = Dice::new(20_260_101);
    let any: Vec<u8> = (0..=255).collect();
    let good = token("rs");
    let mut asked = 0;
    for case in 0..CASES {
        let authorization = rubbish_authorization(&mut dice, &any, &good);
        let cookie = dice.bytes(64, &any);
        let path = [&b"/"[..], &dice.bytes(64, &any)].concat();
        let shown = format!("case {case}: {}", authorization.escape_ascii());
        let mut request = Request::get("/").replace(":path", path).header("cookie", cookie);
        if !authorization.is_empty() {
            request = request.header("authorization", &authorization);
        }
        let stream = vm.send(request);
        if observed(&vm, stream) == Observed::Waits {
            // A well-formed Basic credential of nobody, or a key that a token names and nobody has.
            asked += 1;
            let call = only_call(&vm);
            match path_of(&call).as_str() {
                "/application/o/token/" => vm.answer(call.id, refused()),
                _ => answer_key_calls(&mut vm),
            }
        }
        let became = observed(&vm, stream);
        assert!(matches!(became, Observed::Status(302 | 401)), "{shown}: {became:?}");
        assert_eq!(replied(&vm, stream).0.first_invalid(), None, "{shown}");
        vm.forget_finished();
    }
    assert!((10..CASES / 2).contains(&asked), "the mixture is off: {asked} were asked");
    assert_eq!(vm.open_streams(), 0);
    assert_eq!(send(&mut vm, get(bearer(good))), passed_as("alice"));
}

/// Nothing, noise, well-formed credentials of noise, and a good token with one byte changed.
fn rubbish_authorization(dice: &mut Dice, any: &[u8], good: &str) -> Vec<u8> {
    let token_bytes = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~+/=";
    match dice.below(6) {
        0 => dice.bytes(48, any),
        1 => [&b"Bearer "[..], &dice.bytes(200, token_bytes)].concat(),
        2 => [&b"Bearer "[..], &dice.bytes(48, any)].concat(),
        3 => format!("Basic {}", BASE64_STANDARD.encode(dice.bytes(24, any))).into_bytes(),
        4 => {
            let name = dice.bytes(6, b"abcdef\xc3\xa4:");
            let encoded = BASE64_STANDARD.encode([&name[..], b":", &dice.bytes(6, b" -~abc")].concat());
            format!("bASIC {encoded}").into_bytes()
        }
        _ => {
            let mut token = good.as_bytes().to_vec();
            let at = dice.below(token.len());
            let other = token_bytes[dice.below(token_bytes.len())];
            // The last byte of the signature carries bits that mean nothing.
            token[at] = if token[at] == other || at + 1 == good.len() { b'!' } else { other };
            [&b"Bearer "[..], &token].concat()
        }
    }
}

#[test]
fn a_reply_to_a_head_request_and_to_grpc_is_well_formed_for_odd_requests_too() {
    let world = world();
    let mut vm = worker(&world, &configuration("rs"));
    let odd = get(OBS_TEXT).header("content-type", "application/grpc");
    let stream = vm.send(odd);
    match vm.outcome(stream) {
        Outcome::Replied { status, grpc_status, headers, .. } => {
            assert_eq!((status, grpc_status, headers.first_invalid()), (200, Some(16), None));
        }
        other => panic!("not answered but {other:?}"),
    }
    let stream = vm.send(get(OBS_TEXT).replace(":method", "HEAD"));
    let (headers, body) = replied(&vm, stream);
    assert_eq!((headers.get(":status"), body.len()), (Some(&b"401"[..]), 0));
}
