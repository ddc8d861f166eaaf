//! Whether shared caches may keep a response: no cookie is added to one that they may.
//!
//! Owns: the rules of RFC 9111, RFC 9213 and `Surrogate-Control` as far as they are about that. Must not: change a response.

use crate::authn::request::view::{HeaderBlock, MalformedBlock};

/// The fields that tell caches what to do: the general one, and those that tell a shared cache something else (RFC 9213 §2;
/// `Surrogate-Control`, W3C Edge Architecture §2.1).
const CACHE_FIELDS: [&[u8]; 3] = [b"cache-control", b"cdn-cache-control", b"surrogate-control"];

/// Whether shared caches may keep a response with these headers: no cookie belongs there. Headers that cannot be read are no
/// reason to set one. After a request with `Authorization` a shared cache keeps only what says `public`, `s-maxage` or
/// `must-revalidate` (RFC 9111 §3.5). After any other it may keep whatever says neither `private` nor `no-store` (RFC
/// 9111 §3): `Expires`, `Last-Modified` or the status alone are enough for it (RFC 9111 §4.2.2).
pub fn may_be_shared(headers: &HeaderBlock, has_authorization: bool) -> bool {
    let Some(Ok(pairs)) = headers.pairs().map(Iterator::collect::<Result<Vec<_>, MalformedBlock>>) else {
        return true;
    };
    let may_keep = |field: &[u8]| {
        let lines: Vec<_> =
            pairs.iter().filter(|(name, _)| *name == field).map(|(_, value)| *value).collect();
        let has = |directive: &str| {
            lines.iter().flat_map(|value| value.split(|byte| *byte == b',')).any(|part| {
                let name = part.split(|byte| *byte == b'=').next().unwrap_or_default();
                name.trim_ascii().eq_ignore_ascii_case(directive.as_bytes())
            })
        };
        // `private="x-name"` keeps that field only out of shared caches (RFC 9111 §5.2.2.7).
        let is_private = lines.iter().flat_map(|value| value.split(|byte| *byte == b','));
        let is_private =
            is_private.into_iter().any(|part| part.trim_ascii().eq_ignore_ascii_case(b"private"));
        let is_forbidden = is_private || has("no-store");
        let is_general = field == b"cache-control";
        match (has_authorization, lines.is_empty()) {
            (_, true) => is_general && !has_authorization,
            (false, false) => has("public") || has("s-maxage") || !is_forbidden,
            // `must-revalidate` mostly stands beside what forbids it.
            (true, false) => {
                has("public")
                    || has("s-maxage")
                    || (has("must-revalidate") && !is_forbidden && !has("no-cache"))
                    // What is meant for a CDN alone it may well follow whatever the request had.
                    || (!is_general && !is_forbidden)
            }
        }
    };
    CACHE_FIELDS.into_iter().any(may_keep)
}
