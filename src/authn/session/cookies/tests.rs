use super::*;
use crate::authn::request::cookies::pairs;

fn cookie() -> Cookie {
    Cookie { name: "__Host-own".to_owned(), attributes: "; Path=/; Max-Age=".to_owned() }
}

fn text(values: &[HeaderValue]) -> Vec<String> {
    values.iter().map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap()).collect()
}

fn sent<'a>(lines: &[&'a str]) -> Vec<&'a [u8]> {
    lines.iter().flat_map(|line| pairs(line.as_bytes())).collect()
}

fn remaining(lines: &[&str]) -> Option<String> {
    match without_own(&sent(lines)) {
        Remaining::Untouched => None,
        Remaining::Nothing => Some(String::new()),
        Remaining::Value(value) => Some(text(&[value]).remove(0)),
    }
}

#[test]
fn every_cookie_of_our_shape_goes_and_no_other() {
    assert_eq!(remaining(&[]), None);
    for foreign in [
        "a=b",
        "authentik_proxy=x",
        "authentik_proxy_=x",
        "authentik_proxy_0a1b2c3=x",
        "authentik_proxy_0a1b2c3g=x",
        "authentik_proxy_0a1b2c3d4=x",
        "authentik_proxy_0a1b2c3d_9=x",
        "authentik_proxy_0a1b2c3d_10=x",
        "authentik_proxy_0a1b2c3d_other=x",
        "xauthentik_proxy_0a1b2c3d=x",
        "__Secure-authentik_proxy_0a1b2c3d=x",
        "a=authentik_proxy_0a1b2c3d=x",
    ] {
        assert_eq!(remaining(&[foreign]), None, "{foreign}");
    }
    for own in [
        "authentik_proxy_0a1b2c3d=x",
        "__Host-authentik_proxy_0a1b2c3d=x",
        "authentik_proxy_FFFFFFFF=x",
        "authentik_proxy_0a1b2c3d_0=x",
        "__Host-authentik_proxy_0a1b2c3d_8=x",
        "authentik_proxy_0a1b2c3d_login=x",
        "__Host-authentik_proxy_0a1b2c3d_login_1=x",
        "authentik_proxy_0a1b2c3d",
        "\u{14}authentik_proxy_0a1b2c3d\0=x",
    ] {
        assert_eq!(remaining(&[own]), Some(String::new()), "{own}");
        assert_eq!(remaining(&["a=1", own, "b=\"2\""]).as_deref(), Some("a=1; b=\"2\""), "{own}");
        assert_eq!(remaining(&[&format!("a=1;{own}; {own};b=2")]).as_deref(), Some("a=1; b=2"), "{own}");
    }
}

#[test]
fn values_are_found_whole_and_in_parts() {
    let values = |line| {
        let sent = sent(&[line]);
        cookie().values(&sent).into_iter().map(Cow::into_owned).collect::<Vec<_>>()
    };
    assert_eq!(values("a=1; __Host-own=x; __Host-own=y"), [b"x", b"y"]);
    assert_eq!(values("__Host-own_1=b; __Host-own_0=a; __Host-own_0=z"), [b"ab"]);
    assert!(values("__Host-own_1=b").is_empty(), "the first part is missing");
    assert_eq!(values(&"__Host-own=x; ".repeat(100)).len(), MAX_CANDIDATES);
}

#[test]
fn long_values_are_split_and_come_back_whole() {
    for length in [1, MAX_VALUE_BYTES, MAX_VALUE_BYTES + 1, MAX_VALUE_BYTES * MAX_PARTS] {
        let value: String =
            (0..length).map(|index| char::from(b'a' + u8::try_from(index % 26).unwrap())).collect();
        let set = text(&cookie().set(&value, 60, &[]).unwrap());
        let line: Vec<_> = set.iter().map(|line| line.split(';').next().unwrap()).collect();
        assert!(set.iter().all(|line| line.len() <= 4096 && line.ends_with("; Path=/; Max-Age=60")));
        assert_eq!(cookie().values(&sent(&[&line.join("; ")])), [value.as_bytes()]);
    }
    assert!(cookie().set(&"x".repeat(MAX_VALUE_BYTES * MAX_PARTS + 1), 60, &[]).is_none());
}

#[test]
fn unused_cookie_parts_are_cleared() {
    let other = sent(&["__Host-own_0=a; __Host-own_1=b; other=c"]);
    assert_eq!(
        text(&cookie().set("x", 60, &other).unwrap()),
        [
            "__Host-own=x; Path=/; Max-Age=60",
            "__Host-own_0=; Path=/; Max-Age=0",
            "__Host-own_1=; Path=/; Max-Age=0",
        ]
    );
    assert_eq!(text(&cookie().clear(&other)).len(), 2);
    let (whole, parts) = ("x".repeat(MAX_VALUE_BYTES), "x".repeat(MAX_VALUE_BYTES * 2));
    let sent = sent(&["__Host-own=w; __Host-own_0=a; __Host-own_1=b; __Host-own_2=c"]);
    let cleared = |value: &str| {
        let set = text(&cookie().set(value, 60, &sent).unwrap());
        set.into_iter().filter_map(|line| Some(line.strip_suffix("=; Path=/; Max-Age=0")?.to_owned()))
    };
    assert!(cleared(&whole).eq(["__Host-own_0", "__Host-own_1", "__Host-own_2"]));
    assert!(cleared(&parts).eq(["__Host-own", "__Host-own_2"]));
}
