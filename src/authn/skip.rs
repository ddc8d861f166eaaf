//! Paths that need no authentication (`skip_path_regex`).
//!
//! Owns: what is matched (the path, never the query; in domain mode the whole URL) and which paths are too odd to be
//! matched at all: what the application makes of them may not be what a pattern saw.

use super::origin::Host;
use super::request::RequestView;
use crate::config::{Mode, Provider};

/// Escapes that some server between here and the application may undo, each of which changes what the path means.
const TELLING_ESCAPES: [u8; 8] = [b'#', b'%', b'.', b'/', b';', b'?', b'\\', 0x7f];

/// Longest path that is matched, in bytes. A search takes time for each byte, and some patterns take a lot of it.
const MAX_PATH_BYTES: usize = 4096;

/// Whether the request's path needs no authentication.
pub(super) fn is_unauthenticated(provider: &Provider, view: &RequestView<'_>) -> bool {
    if provider.skip_paths.is_empty() || !is_normal(view.path()) {
        return false;
    }
    let Ok(path) = core::str::from_utf8(view.path()) else { return false };
    let subject = match provider.mode {
        Mode::Proxy | Mode::ForwardSingle => path.to_owned(),
        Mode::ForwardDomain => {
            // The client chooses the host, and a pattern may be found in it: only one of the provider's own counts.
            let own_host = Host::parse(view.authority).filter(|host| is_below(provider, host));
            let Some(host) = own_host else { return false };
            let scheme = provider.external_host.scheme;
            format!("{}://{}{path}", scheme.as_str(), host.under(scheme))
        }
    };
    provider.skip_paths.iter().any(|pattern| pattern.is_match(&subject))
}

fn is_below(provider: &Provider, host: &Host) -> bool {
    provider.cookie_domain.as_ref().is_some_and(|domain| host.is_within(domain))
}

/// Not too long, absolute, ASCII, no `.` or `..` segment, no empty one, no `\`, `;`, `#` or control byte, no telling escape.
fn is_normal(path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(b"/") else { return false };
    let is_plain = |byte: &u8| matches!(byte, b'!'..=b'~') && !b"\\;#".contains(byte);
    if path.len() > MAX_PATH_BYTES || !path.iter().all(is_plain) || has_telling_escape(path) {
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

/// An escape that is not two hex digits counts as telling: nobody knows what it will be read as.
fn has_telling_escape(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'%').skip(1).any(|after| {
        let byte = after
            .get(..2)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| core::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_none_or(|byte| byte < 0x20 || TELLING_ESCAPES.contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::{MAX_PATH_BYTES, is_normal};

    #[test]
    fn only_normal_paths_can_match() {
        for path in ["/", "/public", "/public/", "/a/b.c/..d", "/a%20b", "/%C3%BC", "/a%41"] {
            assert!(is_normal(path.as_bytes()), "{path}");
        }
        for path in [
            "", "*", "public", "//public", "/a//b", "/./a", "/a/..", "/../a", "/a/.", "/a\\b", "/a;b",
            "/a#b", "/a b", "/a\tb", "/a\u{7f}", "/ü", "/%00", "/%1F", "/%23", "/%25", "/%2e", "/%2E",
            "/%2f", "/%3b", "/%3F", "/%5c", "/%7f", "/%", "/%4", "/%zz",
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
