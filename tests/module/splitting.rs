//! What users, administrators and clients choose is written into headers: none of it becomes a second header, a
//! second line or a broken message, towards the application, the client or authentik.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proxy_wasm_testkit::{CallAnswer, HeaderMap, Request, Vm};
use serde_json::{Value, json};

use super::fixture::{
    Dice, Observed, TOKEN_PATH, basic, bearer, configuration, forwarded, get, granted, observed, only_call,
    path_of, replied, send, token_with, with_provider, without_sessions, worker, world,
};

/// What would end a header or a message if it were written as it is.
const NASTY: &[&str] = &[
    "a\r\nx-authentik-username: admin",
    "a\nx-injected: 1",
    "a\rb",
    "a\0b",
    "a\tb",
    "a\u{7f}b",
    "a\u{1b}[31mb",
    "\r\n\r\nHTTP/1.1 200 OK",
    "\r\n",
    " a ",
    "ü\u{85}\u{2028}b",
];

/// Everything a token can say about a user, with this text in each place.
fn claims(text: &str) -> Value {
    json!({
        "name": text,
        "email": text,
        "groups": [text, "staff", text],
        "entitlements": [text],
        "ak_proxy": {
            "host_header": text,
            "backend_override": text,
            "user_attributes": {
                "user": text,
                "password": text,
                "additionalHeaders": {"X-Text": text, text: "name", format!("x-{text}"): text, ":path": text, "": text},
            },
        },
    })
}

fn send_basic_on(slug: &str) -> Value {
    let mut configuration = configuration(slug);
    let provider = &mut configuration["providers"][0];
    provider["basic_auth_enabled"] = json!(true);
    provider["basic_auth_user_attribute"] = json!("user");
    provider["basic_auth_password_attribute"] = json!("password");
    configuration
}

/// What a request of alice's with these claims becomes, as a Bearer token and after an exchange.
fn forwarded_with(claims: &Value) -> [HeaderMap; 2] {
    let world = world();
    let mut vm = worker(&world, &send_basic_on("hs"));
    let token = token_with("hs", claims.clone());
    let direct = vm.send(get(bearer(&token)));
    let exchanged = vm.send(get(basic("alice", "password")));
    let call = only_call(&vm);
    vm.answer(call.id, granted(token));
    [forwarded(&vm, direct), forwarded(&vm, exchanged)]
}

#[test]
fn no_claim_becomes_a_second_header_or_a_broken_one() {
    let names = |headers: &HeaderMap| -> Vec<Vec<u8>> {
        headers.iter().map(|(name, _)| name.to_vec()).filter(|name| !name.starts_with(b"x-a\\")).collect()
    };
    for text in NASTY {
        for headers in forwarded_with(&claims(text)) {
            let shown = text.escape_debug();
            assert_eq!(headers.first_invalid(), None, "{shown}");
            let has_control = headers.iter().any(|(_, value)| value.iter().any(u8::is_ascii_control));
            assert!(!has_control, "{shown}: {headers:?}");
            assert_eq!(headers.get_all("x-authentik-username"), [b"alice"], "{shown}");
            assert_eq!(headers.get_all(":path"), [b"/"], "{shown}");
            assert!(!names(&headers).iter().any(|name| name.is_empty() || name == b"x-injected"), "{shown}");
            let cleaned: String = text.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }).collect();
            for (name, expected) in [
                ("x-authentik-name", cleaned.clone()),
                ("x-authentik-email", cleaned.clone()),
                ("x-authentik-groups", format!("{cleaned}|staff|{cleaned}")),
                ("x-authentik-entitlements", cleaned.clone()),
                ("x-text", cleaned.clone()),
            ] {
                assert_eq!(headers.get_all(name), [expected.as_bytes()], "{name}: {shown}");
            }
            // base64 keeps whatever is in it: the application decodes the very text.
            let authorization = headers.get("authorization").unwrap().strip_prefix(b"Basic ").unwrap();
            let decoded = BASE64_STANDARD.decode(authorization).unwrap();
            assert_eq!(decoded, format!("{text}:{text}").as_bytes(), "{shown}");
        }
    }
}

#[test]
fn a_host_header_that_is_no_host_leaves_the_requests_own() {
    for host in
        ["a b", "a\r\nb", "", "a/b", "user@host", "[::1", "a:99999", "\u{fc}.example", "a?b", "a#b", "\0"]
    {
        for headers in forwarded_with(&json!({"ak_proxy": {"host_header": host}})) {
            assert_eq!(headers.get_all(":authority"), [b"app.example.com"], "{host:?}");
        }
    }
    for headers in forwarded_with(&json!({"ak_proxy": {"host_header": "Inner.example.com:8080"}})) {
        assert_eq!(headers.get_all(":authority"), [b"inner.example.com:8080"]);
    }
}

#[test]
fn additional_headers_are_never_ones_that_only_the_proxy_may_say() {
    let refused = [
        "Host",
        "host",
        ":authority",
        ":path",
        ":method",
        "Content-Length",
        "content_length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "TE",
        "Trailer",
        "Cookie",
        "Proxy-Authorization",
        "Forwarded",
        "X-Forwarded-For",
        "x_forwarded_for",
        "X-Forwarded-Host",
        "X-Envoy-Original-Path",
        "X-authentik-username",
        "X_Authentik_Groups",
        "x-AUTHENTIK.jwt",
        "",
        " ",
        "a b",
        "a:b",
        "ü",
        "a\r\nb",
        "x-a\0",
    ];
    let mut additional = json!({"X-Good": "yes"});
    for name in refused {
        additional[name] = json!("forged");
    }
    for headers in
        forwarded_with(&json!({"ak_proxy": {"user_attributes": {"additionalHeaders": additional}}}))
    {
        let forged: Vec<_> = headers.iter().filter(|(_, value)| *value == b"forged").collect();
        assert!(forged.is_empty(), "{forged:?}");
        assert_eq!(headers.get_all("x-good"), [b"yes"]);
        assert_eq!(headers.get_all(":authority"), [b"app.example.com"]);
    }
}

#[test]
fn a_user_name_or_uid_with_a_control_character_is_forbidden_on_every_road() {
    for claim in ["sub", "preferred_username"] {
        for text in NASTY.iter().filter(|text| text.chars().any(char::is_control)) {
            let world = world();
            let mut vm = worker(&world, &configuration("hs"));
            let token = token_with("hs", json!({claim: text}));
            assert_eq!(send(&mut vm, get(bearer(&token))), Observed::Status(403), "{claim} {text:?}");
            for _ in 0..2 {
                let stream = vm.send(get(basic("alice", "password")));
                for call in vm.pending_calls() {
                    vm.answer(call.id, granted(&token));
                }
                assert_eq!(observed(&vm, stream), Observed::Status(403), "{claim} {text:?}");
            }
            let mut other = worker(&world, &configuration("hs"));
            assert_eq!(
                send(&mut other, get(basic("alice", "password"))),
                Observed::Status(403),
                "through the shared entry"
            );
        }
    }
}

#[test]
fn what_access_logs_can_show_of_a_user_has_no_control_character() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let mut state = |backend: &str| {
        let token = token_with("hs", json!({"ak_proxy": {"backend_override": backend}}));
        let stream = vm.send(get(bearer(token)));
        assert_eq!(vm.filter_state(stream, "authentik_username"), Some(b"alice".to_vec()));
        vm.filter_state(stream, "authentik_backend_override")
    };
    assert_eq!(state("http://10.0.0.7:8080"), Some(b"http://10.0.0.7:8080".to_vec()));
    for text in NASTY.iter().filter(|text| text.chars().any(char::is_control)) {
        assert_eq!(state(text), None, "{text:?}");
    }
}

#[test]
fn names_beyond_ascii_go_on_as_they_are() {
    let claims = json!({"preferred_username": "zoë", "name": "Łukasz 山田 🦀", "groups": ["Gruppe Ü"]});
    for headers in forwarded_with(&claims) {
        assert_eq!(headers.get("x-authentik-username"), Some("zoë".as_bytes()));
        assert_eq!(headers.get("x-authentik-name"), Some("Łukasz 山田 🦀".as_bytes()));
        assert_eq!(headers.get("x-authentik-groups"), Some("Gruppe Ü".as_bytes()));
    }
}

/// Where a browser that asked for this is sent.
fn location(vm: &mut Vm, host: &[u8], path: &[u8]) -> String {
    let stream = vm.send(Request::get("/").replace(":authority", host).replace(":path", path));
    let (headers, _) = replied(vm, stream);
    assert_eq!(headers.get(":status"), Some(&b"302"[..]), "{}", path.escape_ascii());
    assert_eq!(headers.first_invalid(), None, "{}", path.escape_ascii());
    let lines = headers.get_all("location");
    assert_eq!(lines.len(), 1);
    let location = String::from_utf8(lines[0].to_vec()).unwrap();
    assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location}");
    location
}

/// The return URL in a location, which must be one of the outpost below `external`.
fn return_url(location: &str, external: &str) -> String {
    let query = location.strip_prefix(&format!("{external}/outpost.goauthentik.io/start?")).expect(location);
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    assert_eq!(pairs.len(), 1, "{location}");
    assert_eq!(pairs[0].0, "rd");
    pairs[0].1.to_string()
}

#[test]
fn a_redirect_leads_to_the_configured_host_whatever_was_asked_for() {
    let external = "https://hs.example.com";
    let hosts: [&[u8]; 8] = [
        b"hs.example.com",
        b"evil.example.net",
        b"evil.example.net\r\nset-cookie: a=b",
        b"hs.example.com@evil.example.net",
        b"\xff\xfe",
        b"",
        b"evil.example.net:80#",
        b"[::1]",
    ];
    let paths: [&[u8]; 12] = [
        b"/",
        b"/a?b=c&rd=https://evil.example.net/#x",
        b"//evil.example.net/",
        b"/\\evil.example.net",
        b"https://evil.example.net/",
        b"@evil.example.net/",
        b".evil.example.net/",
        b":80@evil.example.net/",
        b"/a\r\nset-cookie: a=b",
        b"/a\0b\tc\x7f",
        b"/\xff\xc3\x28",
        b"",
    ];
    let world = world();
    let mut vm = worker(&world, &without_sessions("hs"));
    for host in hosts {
        for path in paths {
            let url = return_url(&location(&mut vm, host, path), external);
            assert!(url == external || url.starts_with(&format!("{external}/")), "{url}");
        }
    }
    let mut dice = Dice::new(7);
    let any: Vec<u8> = (0..=255).collect();
    for _ in 0..500 {
        let (host, path) = (dice.bytes(24, &any), [&b"/"[..], &dice.bytes(48, &any)].concat());
        let url = return_url(&location(&mut vm, &host, &path), external);
        assert!(url == external || url.starts_with(&format!("{external}/")), "{url}");
    }
}

#[test]
fn in_domain_mode_a_redirect_leads_back_to_a_host_below_the_domain_or_to_the_own() {
    let mut configuration = without_sessions("hs");
    let provider = &mut configuration["providers"][0];
    provider["mode"] = json!("forward_domain");
    provider["cookie_domain"] = json!("example.com");
    let world = world();
    let mut vm = worker(&world, &configuration);
    let external = "https://hs.example.com";
    let cases: [(&[u8], &str); 9] = [
        (b"app.example.com", "https://app.example.com/x"),
        (b"APP.example.com:443", "https://app.example.com/x"),
        (b"app.example.com:8443", "https://app.example.com:8443/x"),
        (b"evilexample.com", "https://hs.example.com/x"),
        (b"app.example.com.evil.net", "https://hs.example.com/x"),
        (b"app.example.com@evil.net", "https://hs.example.com/x"),
        (b"evil.net/.example.com", "https://hs.example.com/x"),
        (b"evil.net\\.example.com", "https://hs.example.com/x"),
        (b"evil.net\r\n.example.com", "https://hs.example.com/x"),
    ];
    for (host, expected) in cases {
        assert_eq!(
            return_url(&location(&mut vm, host, b"/x"), external),
            expected,
            "{}",
            host.escape_ascii()
        );
    }
}

#[test]
fn calls_to_authentik_carry_any_user_name_and_password_in_a_well_formed_form() {
    let world = world();
    let mut vm = worker(&world, &configuration("hs"));
    let pairs = [
        ("alice&client_id=other", "x&grant_type=password"),
        ("alice=", "a+b c%20d%"),
        ("zoë", "s3cr3t:with colon & ünï 🦀"),
        ("a;b", "\"quoted\" \\ 'x'"),
        ("alice", ""),
    ];
    for (username, password) in pairs {
        let stream = vm.send(get(basic(username, password)));
        let call = only_call(&vm);
        assert_eq!(path_of(&call), TOKEN_PATH);
        assert_eq!(call.headers.first_invalid(), None);
        let form: Vec<(String, String)> = form_urlencoded::parse(&call.body).into_owned().collect();
        let names: Vec<_> = form.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["grant_type", "client_id", "username", "password", "scope"]);
        assert_eq!((form[2].1.as_str(), form[3].1.as_str()), (username, password));
        assert_eq!(form[1].1, "hs-client-id");
        vm.answer(call.id, CallAnswer::Reset);
        assert_eq!(observed(&vm, stream), Observed::Status(503));
    }
}

#[test]
fn in_mode_proxy_the_application_gets_the_clients_host_and_not_what_the_client_says_it_is() {
    let world = world();
    let mut vm = worker(&world, &with_provider("hs", "mode", "proxy"));
    let token = token_with("hs", json!({}));
    for host in [&b"App.example.com:8443"[..], b"\xff\xfe", b""] {
        let request = get(bearer(&token)).replace(":authority", host).header("x-forwarded-host", "forged");
        let stream = vm.send(request);
        let headers = forwarded(&vm, stream);
        assert_eq!((headers.get_all("x-forwarded-host"), headers.first_invalid()), (vec![host], None));
    }
}
