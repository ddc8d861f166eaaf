use super::*;

fn basic(text: impl AsRef<[u8]>) -> String {
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(text))
}

fn read_one(value: impl AsRef<[u8]>) -> String {
    match read(Authorization::One(value.as_ref())) {
        Ok(None) => "absent".to_owned(),
        Ok(Some(Credential::Basic { username, password })) => {
            format!("basic {username} {}", password.expose())
        }
        Ok(Some(Credential::Bearer(token))) => format!("bearer {}", token.expose()),
        Ok(Some(Credential::Session(_) | Credential::Code(_))) => panic!("never in a header"),
        Err(unusable) => format!("{unusable:?}"),
    }
}

#[test]
fn authorization_values_are_read_by_the_table() {
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "absent"),
        (b"  \t ".to_vec(), "absent"),
        (basic("alice:pw").into_bytes(), "basic alice pw"),
        (basic("alice:p:w:").into_bytes(), "basic alice p:w:"),
        (basic("alice:").into_bytes(), "basic alice "),
        (basic("älice:pw ü").into_bytes(), "basic älice pw ü"),
        (b"bAsIc YWxpY2U6cHc=".to_vec(), "basic alice pw"),
        (b"Basic YWxpY2U6cHc".to_vec(), "basic alice pw"),
        (b"Basic   YWxpY2U6cHc=".to_vec(), "basic alice pw"),
        (b"Bearer abc.def.ghi".to_vec(), "bearer abc.def.ghi"),
        (b"bearer opaque-~+/==".to_vec(), "bearer opaque-~+/=="),
        (basic("goauthentik.io/token:abc.def").into_bytes(), "bearer abc.def"),
        (basic("goauthentik.io/token:not a token").into_bytes(), "TokenSyntax"),
        (basic("goauthentik.io/token:").into_bytes(), "TokenSyntax"),
        (b"Basic".to_vec(), "NoColon"),
        (b"Basic ".to_vec(), "NoColon"),
        (b"Bearer".to_vec(), "TokenSyntax"),
        (b"Bearer a b".to_vec(), "TokenSyntax"),
        (b"Bearer a,Bearer b".to_vec(), "Several"),
        (b"Basic YWxpY2U6cHc=,Basic YWxpY2U6cHc=".to_vec(), "Several"),
        (b"Basic YWxpY2U6cHc=, Bearer x".to_vec(), "Several"),
        (b"Basic !!!!".to_vec(), "Base64"),
        (b"Basic YWxpY2U6cHc-_".to_vec(), "Base64"),
        (basic("alice").into_bytes(), "NoColon"),
        (basic(":pw").into_bytes(), "EmptyUsername"),
        (basic("ali\0ce:pw").into_bytes(), "ControlCharacter"),
        (basic("alice:p\r\nw").into_bytes(), "ControlCharacter"),
        (basic("alice:p\u{85}w").into_bytes(), "ControlCharacter"),
        (basic([b"alice:".as_slice(), &[0xff]].concat()).into_bytes(), "NotUtf8"),
        (b"Basic\tYWxpY2U6cHc=".to_vec(), "NotAscii"),
        (b"Bearer \xff\xfe".to_vec(), "NotAscii"),
        (b"Digest username=\"a\"".to_vec(), "Scheme"),
        (b"YWxpY2U6cHc=".to_vec(), "Scheme"),
        (format!("Bearer {}", "a".repeat(60 * 1024)).into_bytes(), "TooLong"),
    ];
    for (value, expected) in rows {
        assert_eq!(read_one(&value), expected, "{}", String::from_utf8_lossy(&value));
    }
    for (length, expected) in [(16_384, "bearer "), (16_385, "TooLong")] {
        let value = format!("Bearer {}", "a".repeat(length - "Bearer ".len()));
        assert!(read_one(value.as_bytes()).starts_with(expected), "{length} bytes");
    }
    assert!(matches!(read(Authorization::None), Ok(None)));
    assert!(matches!(read(Authorization::Several), Err(Malformed::Several)));
}

#[test]
fn token_is_found_in_any_part_of_authorization() {
    let mentions =
        |value: &str| mentions_token(Authorization::One(value.as_bytes()), |token| token == "a.b.c");
    for value in [
        "Bearer a.b.c",
        "a.b.c",
        "Basic eA==,Bearer a.b.c",
        "Digest x=\"a.b.c\"",
        &basic("goauthentik.io/token:a.b.c"),
    ] {
        assert!(mentions(value), "{value}");
    }
    for value in ["", "Bearer a.b.d", &basic("alice:pw")] {
        assert!(!mentions(value), "{value}");
    }
    assert!(mentions_token(Authorization::Several, |_| false));
    assert!(!mentions_token(Authorization::None, |_| true));
}

#[test]
fn debug_shows_no_secret() {
    for (value, secret) in [(basic("alice:hunter2"), "hunter2"), ("Bearer hunter.2".to_owned(), "hunter.2")] {
        let credential = read(Authorization::One(value.as_bytes())).unwrap().unwrap();
        assert!(!format!("{credential:?}").contains(secret));
    }
}
