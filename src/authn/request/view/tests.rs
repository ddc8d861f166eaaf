use super::*;

fn block(pairs: &[(&str, &str)]) -> HeaderBlock {
    HeaderBlock::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

fn is_navigation(pairs: &[(&str, &str)]) -> bool {
    RequestView::read(&block(pairs), &[]).unwrap().is_navigation()
}

#[test]
fn a_block_is_read_back() {
    let block = block(&[(":path", "/a?b"), ("x", ""), ("", "y")]);
    let pairs: Result<Vec<_>, _> = block.pairs().unwrap().collect();
    let expected: Vec<(&[u8], &[u8])> = vec![(b":path", b"/a?b"), (b"x", b""), (b"", b"y")];
    assert_eq!(pairs.unwrap(), expected);
}

#[test]
fn header_block_has_the_hosts_byte_format() {
    let block = block(&[(":path", "/"), ("x", "")]);
    let expected = b"\x02\0\0\0\x05\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0:path\0/\0x\0\0";
    assert_eq!(block.into_bytes(), expected);
}

#[test]
fn a_block_that_is_cut_anywhere_is_malformed_and_never_a_panic() {
    let bytes = block(&[(":path", "/"), ("cookie", "a=b")]).into_bytes();
    for length in 0..bytes.len() {
        let cut = HeaderBlock(bytes[..length].to_vec());
        assert!(RequestView::read(&cut, &[]).is_err(), "cut at {length}");
    }
    let huge = HeaderBlock(vec![0xff; 64]);
    assert!(RequestView::read(&huge, &[]).is_err());
}

#[test]
fn every_spelling_of_an_owned_name_is_noted() {
    let block = block(&[
        ("x-authentik-username", "a"),
        ("x_authentik_username", "b"),
        ("x-authentik-username", "c"),
        ("x-tenant", "d"),
        ("x-other", "e"),
    ]);
    let view = RequestView::read(&block, &["x-tenant".to_owned()]).unwrap();
    let expected: [&[u8]; 3] = [b"x-authentik-username", b"x-tenant", b"x_authentik_username"];
    assert_eq!(view.owned, BTreeSet::from(expected));
}

#[test]
fn the_path_ends_at_the_query() {
    let block = block(&[(":path", "/a/b?c=/d?e")]);
    assert_eq!(RequestView::read(&block, &[]).unwrap().path(), b"/a/b");
}

#[test]
fn every_connection_option_but_upgrade_is_one_for_the_next_hop() {
    let names_options = |value: &str| {
        RequestView::read(&block(&[("connection", value)]), &[]).unwrap().names_connection_options()
    };
    for value in ["upgrade, x-authentik-username", "x-authentik-username", "close", "upgrade,"] {
        assert!(names_options(value), "{value}");
    }
    for value in ["", "upgrade", "Upgrade"] {
        assert!(!names_options(value), "{value}");
    }
    assert!(!RequestView::read(&block(&[]), &[]).unwrap().names_connection_options());
}

#[test]
fn what_a_navigation_is() {
    assert!(is_navigation(&[(":method", "GET")]), "a client that says nothing");
    assert!(is_navigation(&[(":method", "HEAD"), ("accept", "*/*")]));
    assert!(is_navigation(&[(":method", "GET"), ("sec-fetch-mode", "navigate")]));
    assert!(is_navigation(&[(":method", "GET"), ("accept", "text/html,application/json")]));
    for other in [
        vec![(":method", "POST")],
        vec![(":method", "OPTIONS")],
        vec![(":method", "GET"), ("sec-fetch-mode", "cors")],
        vec![(":method", "GET"), ("x-requested-with", "xmlhttprequest")],
        vec![(":method", "GET"), ("upgrade", "WebSocket")],
        vec![(":method", "GET"), ("content-type", "application/grpc+proto")],
        vec![(":method", "GET"), ("accept", "application/json, */*")],
        vec![(":method", "GET"), ("accept", "application/problem+json")],
    ] {
        assert!(!is_navigation(&other), "{other:?}");
    }
}

#[test]
fn several_origin_headers_count_as_none() {
    let origin =
        |pairs: &[(&str, &str)]| RequestView::read(&block(pairs), &[]).unwrap().origin().map(<[u8]>::to_vec);
    let (a, b) = (("origin", "https://a"), ("origin", "https://b"));
    assert_eq!(origin(&[]), None);
    assert_eq!(origin(&[a]), Some(b"https://a".to_vec()));
    for several in [vec![a, a], vec![a, b], vec![a, b, a]] {
        assert_eq!(origin(&several), Some(Vec::new()), "{several:?}");
    }
}

#[test]
fn a_preflight_has_all_three_marks() {
    let preflight =
        [(":method", "OPTIONS"), ("origin", "https://a"), ("access-control-request-method", "PUT")];
    let is_preflight =
        |pairs: &[(&str, &str)]| RequestView::read(&block(pairs), &[]).unwrap().is_cors_preflight();
    assert!(is_preflight(&preflight));
    for missing in 0..preflight.len() {
        let mut pairs = preflight.to_vec();
        pairs.remove(missing);
        assert!(!is_preflight(&pairs), "without {:?}", preflight[missing]);
    }
}
