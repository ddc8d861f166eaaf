use super::*;

#[test]
fn an_owned_name_is_owned_in_every_spelling() {
    let further = [normalise("X_Tenant")];
    for name in [
        "x-authentik-username",
        "X-Authentik-Anything",
        "x_authentik_jwt",
        "x-AUTHENTIK_x",
        "x-tenant",
        "X_TENANT",
        "X.Tenant",
        "x.authentik.username",
        "x~authentik!username",
    ] {
        assert!(is_owned(name.as_bytes(), &further), "{name}");
    }
    for name in ["x-authentik", "xx-authentik-username", "x-tenants", "authorization", ""] {
        assert!(!is_owned(name.as_bytes(), &further), "{name}");
    }
}

#[test]
fn attributes_may_not_set_what_frames_or_routes_the_request() {
    for name in [
        ":path",
        ":authority",
        "Host",
        "content_length",
        "Cookie",
        "Transfer-Encoding",
        "connection",
        "te",
        "upgrade",
        "keep-alive",
        "proxy-authorization",
        "Forwarded",
        "x-forwarded-for",
        "X_Forwarded_Proto",
        "X.Forwarded.For",
        "X~Envoy~Original~Path",
        "x-envoy-original-path",
        "",
        "a b",
        "a:b",
        "a\r\nb",
        "é",
    ] {
        assert_eq!(name_for_attribute(name, None), None, "{name:?}");
    }
    for (name, written) in
        [("X-Tenant", "x-tenant"), ("X_Tenant", "x_tenant"), ("Authorization", "authorization")]
    {
        assert_eq!(name_for_attribute(name, None).as_deref(), Some(written));
    }
}

#[test]
fn attributes_may_set_owned_names_but_no_identity_header_and_not_the_seal() {
    for (name, written) in [
        ("X-Authentik-Tier", "x-authentik-tier"),
        ("x_authentik.TIER", "x-authentik-tier"),
        ("X-Authentik-Usernames", "x-authentik-usernames"),
    ] {
        assert_eq!(name_for_attribute(name, Some("x-authentik-seal")).as_deref(), Some(written));
    }
    let spellings = |name: &str| {
        let upper = name.to_ascii_uppercase();
        [name.to_owned(), upper, name.replace('-', "_"), name.replacen('-', ".", 1), name.replace('-', "~")]
    };
    for name in IdentityHeader::ALL.into_iter().flat_map(|header| spellings(header.name())) {
        assert_eq!(name_for_attribute(&name, None), None, "{name}");
    }
    for seal in ["x-authentik-seal", "x-gate"] {
        for name in spellings(seal) {
            assert_eq!(name_for_attribute(&name, Some(seal)), None, "{name}");
            assert!(name_for_attribute(&name, Some("x-another")).is_some(), "{name}");
        }
    }
}

#[test]
fn a_value_cannot_be_split() {
    let value = HeaderValue::cleaned("a\r\nset-cookie: x\0\t\u{7f}ü");
    assert_eq!(value.as_bytes(), "a  set-cookie: x   ü".as_bytes());
}

#[test]
fn any_byte_at_any_place_is_looked_at() {
    for around in [b'~', b' ', b'\0', 0x7f, 0x80, 0xff] {
        for (byte, length) in (0..=u8::MAX).flat_map(|byte| (1..=17).map(move |length| (byte, length))) {
            for place in 0..length {
                let mut value = vec![around; length];
                value[place] = byte;
                let expected: Vec<_> =
                    value.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }).collect();
                assert_eq!(is_clean(&value), expected == value, "{value:?}");
                assert_eq!(HeaderValue::cleaned(value).as_bytes(), expected);
            }
        }
    }
}

#[test]
fn a_number_is_written_whole() {
    let written = |number| HeaderValue::cleaned("a=").followed_by(number);
    assert_eq!(written(0).as_bytes(), b"a=0");
    assert_eq!(written(u64::MAX).as_bytes(), b"a=18446744073709551615");
}

#[test]
fn short_names_are_the_configuration_s() {
    assert_eq!(IdentityHeader::from_short_name("meta-jwks"), Some(IdentityHeader::MetaJwks));
    assert_eq!(IdentityHeader::from_short_name("x-authentik-username"), None);
}
