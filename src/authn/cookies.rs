//! The `cookie` header (RFC 6265 §5.4), by exact names.
//!
//! Owns: the name of a provider's session cookie, and taking our own cookies out of what the application gets.
//! Must not: find a cookie by substring.

use sha2::{Digest as _, Sha256};

use super::headers::HeaderValue;

/// Most parts of a session cookie: `<name>_0` to `<name>_15`.
const MAX_PARTS: usize = 16;

/// The name of a provider's session cookie: `authentik_proxy_` and the first 8 hex digits of SHA-256(client_id), as
/// the outpost has it.
pub(super) fn session_cookie_name(client_id: &str) -> String {
    let digest = Sha256::digest(client_id.as_bytes());
    let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("authentik_proxy_{digits}")
}

/// What is left of the client's cookies without ours.
pub(super) enum Remaining {
    /// Nothing of ours was there.
    Untouched,
    /// Only ours was there: the header goes.
    Nothing,
    /// The header's new value.
    Value(HeaderValue),
}

/// Takes the cookie `name`, its `__Host-` form and its parts out of all `cookie` lines.
pub(super) fn without_own(lines: &[&[u8]], name: &str) -> Remaining {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut found = false;
    for pair in lines.iter().flat_map(|line| line.split(|byte| *byte == b';')) {
        let pair = pair.trim_ascii();
        let pair_name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        if is_own(pair_name.trim_ascii_end(), name) {
            found = true;
        } else if !pair.is_empty() {
            kept.push(pair);
        }
    }
    match (found, kept.is_empty()) {
        (false, _) => Remaining::Untouched,
        (true, true) => Remaining::Nothing,
        (true, false) => Remaining::Value(HeaderValue::cleaned(kept.join(&b"; "[..]))),
    }
}

fn is_own(candidate: &[u8], name: &str) -> bool {
    let candidate = candidate.strip_prefix(b"__Host-").unwrap_or(candidate);
    let Some(rest) = candidate.strip_prefix(name.as_bytes()) else { return false };
    match rest.split_first() {
        None => true,
        Some((b'_', number)) => core::str::from_utf8(number)
            .is_ok_and(|number| number.parse().is_ok_and(|number: usize| number < MAX_PARTS)),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(lines: &[&str]) -> Option<String> {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        match without_own(&lines, "authentik_proxy_12345678") {
            Remaining::Untouched => None,
            Remaining::Nothing => Some(String::new()),
            Remaining::Value(value) => Some(String::from_utf8(value.as_bytes().to_vec()).unwrap()),
        }
    }

    #[test]
    fn only_our_own_cookie_goes() {
        assert_eq!(without(&[]), None);
        assert_eq!(without(&["a=b; authentik_proxy_123456789=x; xauthentik_proxy_12345678=y"]), None);
        assert_eq!(without(&["authentik_proxy_12345678_x=1; authentik_proxy_12345678_99=1"]), None);
        assert_eq!(without(&["authentik_proxy_12345678=x"]), Some(String::new()));
        assert_eq!(
            without(&["a=1;__Host-authentik_proxy_12345678_0=x; b=\"2\""]).as_deref(),
            Some("a=1; b=\"2\"")
        );
        assert_eq!(without(&["a=1", "authentik_proxy_12345678=x", "b=2"]).as_deref(), Some("a=1; b=2"));
        assert_eq!(
            without(&["a=1; authentik_proxy_12345678=x; authentik_proxy_12345678=y"]).as_deref(),
            Some("a=1")
        );
    }

    #[test]
    fn the_name_is_the_outpost_s() {
        // printf demo-client-id | sha256sum
        assert_eq!(session_cookie_name("demo-client-id"), format!("authentik_proxy_{}", DEMO));
    }

    const DEMO: &str = "72846b5b";
}
