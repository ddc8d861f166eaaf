//! Paths that need no authentication (`skip_path_regex`).
//!
//! Owns: what is matched (the path, never the query; in domain mode the whole URL) and which paths are too odd to be
//! matched at all: what the application makes of them may not be what a pattern saw.

use crate::authn::request::view::RequestView;
use crate::base::url::HostAndPort;
use crate::config::{Mode, Provider};

/// Escapes that some server between here and the application may undo, each of which changes what the path means.
const SPECIAL_ESCAPES: [u8; 8] = [b'#', b'%', b'.', b'/', b';', b'?', b'\\', 0x7f];

/// Longest path that is matched, in bytes. A search takes time for each byte, and some patterns take a lot of it.
const MAX_PATH_BYTES: usize = 4096;

/// Whether the request's path needs no authentication.
pub(crate) fn is_unauthenticated(provider: &Provider, view: &RequestView<'_>) -> bool {
    if provider.skip_paths.is_empty() || !is_normal(view.path()) {
        return false;
    }
    let Ok(path) = core::str::from_utf8(view.path()) else { return false };
    let subject = match provider.mode {
        Mode::Proxy | Mode::ForwardSingle => path.to_owned(),
        Mode::ForwardDomain => {
            // The client chooses the host, and a pattern may be found in it: only one of the provider's own counts.
            let own_host = HostAndPort::parse(view.authority).filter(|host| is_below(provider, host));
            let Some(host) = own_host else { return false };
            let scheme = provider.external_host.scheme;
            format!("{}://{}{path}", scheme.as_str(), host.under(scheme))
        }
    };
    provider.skip_paths.iter().any(|pattern| pattern.is_match(&subject))
}

fn is_below(provider: &Provider, host: &HostAndPort) -> bool {
    provider.cookie_domain.as_ref().is_some_and(|domain| host.is_within(domain))
}

/// Not too long, absolute, ASCII, no `.` or `..` segment, no empty one, no `\`, `;`, `#` or control byte, no escape that some
/// server reads as more than an octet of a name.
fn is_normal(path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(b"/") else { return false };
    let is_plain = |byte: &u8| matches!(byte, b'!'..=b'~') && !b"\\;#".contains(byte);
    if path.len() > MAX_PATH_BYTES || !path.iter().all(is_plain) || !has_plain_escapes(path) {
        return false;
    }
    let mut segments = rest.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if matches!(segment, b"." | b"..") || (segment.is_empty() && !is_last) {
            return false;
        }
    }
    true
}

/// Every escape is two hex digits, none is of [`SPECIAL_ESCAPES`], a control byte or a character that needs none (RFC 3986
/// §6.2.2.2: `%61dmin` is `admin`), and together they are UTF-8: what is not (`%c0%ae`) some servers read as a dot.
fn has_plain_escapes(path: &[u8]) -> bool {
    let mut parts = path.split(|byte| *byte == b'%');
    let mut decoded = parts.next().unwrap_or_default().to_vec();
    for after in parts {
        let Some((digits, rest)) = after.split_at_checked(2) else { return false };
        let byte = core::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(byte) = byte else { return false };
        let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if byte < 0x20 || is_unreserved || SPECIAL_ESCAPES.contains(&byte) {
            return false;
        }
        decoded.push(byte);
        decoded.extend_from_slice(rest);
    }
    core::str::from_utf8(&decoded).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{MAX_PATH_BYTES, is_normal};

    #[test]
    fn only_normal_paths_can_match() {
        for path in ["/", "/public", "/public/", "/a/b.c/..d", "/a%20b", "/%C3%BC", "/a%2Bb%c3%bc/c"] {
            assert!(is_normal(path.as_bytes()), "{path}");
        }
        for path in [
            "",
            "*",
            "public",
            "//public",
            "/a//b",
            "/./a",
            "/a/..",
            "/../a",
            "/a/.",
            "/a\\b",
            "/a;b",
            "/a#b",
            "/a b",
            "/a\tb",
            "/a\u{7f}",
            "/ü",
            "/%00",
            "/%1F",
            "/%23",
            "/%25",
            "/%2e",
            "/%2E",
            "/%2f",
            "/%3b",
            "/%3F",
            "/%5c",
            "/%7f",
            "/%",
            "/%4",
            "/%zz",
            "/a%41",
            "/%61dmin",
            "/%7e",
            "/%2d",
            "/%c0%ae%c0%ae/admin",
            "/%ff",
            "/%C3",
            "/%C3x%BC",
            "/%e0%80%ae",
            "/%+1",
        ] {
            assert!(!is_normal(path.as_bytes()), "{path:?}");
        }
    }

    #[test]
    fn a_path_that_would_take_long_to_match_does_not() {
        let path = |length: usize| format!("/{}", "a".repeat(length - 1));
        assert!(is_normal(path(MAX_PATH_BYTES).as_bytes()));
        assert!(!is_normal(path(MAX_PATH_BYTES + 1).as_bytes()));
    }
}
