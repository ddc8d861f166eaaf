//! Whether what became of a request is right.
//!
//! Owns: the comparison of what was seen with what the oracle permits, down to the headers of replies and responses.

use proxy_wasm_testkit::HeaderMap;

use super::application::{self, Sighting};
use super::authentik::{Authentik, TokenId};
use super::oracle::Permitted;
use super::requests::Draft;
use super::site::{AUTHENTIK, Provider, Site};
use super::truth_table::{Header, Outcome};

/// What became of a request.
#[derive(Debug)]
pub(super) enum Seen {
    Forwarded { headers: HeaderMap, body: Vec<u8>, trailers: Option<HeaderMap> },
    Replied { status: u16, headers: HeaderMap, grpc_status: Option<u32> },
}

/// Those of what is permitted that were seen; an error if none was.
pub(super) fn judge(
    seen: &Seen,
    permitted: &[Permitted],
    draft: &Draft,
    site: &Site,
    authentik: &Authentik,
) -> Result<Vec<Permitted>, String> {
    let provider = draft.host.provider.map(|provider| &site.providers[provider]);
    let shown = |text: &str| {
        let all: Vec<_> = permitted.iter().map(|it| format!("{:?} ({})", it.outcome, it.row)).collect();
        let permitted = if all.is_empty() { "nothing".to_owned() } else { all.join(" or ") };
        format!("{text}; permitted: {permitted}")
    };
    let fitting: Vec<_> = match seen {
        Seen::Forwarded { headers, body, trailers } => {
            let (Some(provider), Ok(identity)) = (provider, identity(headers, authentik)) else {
                return Err(shown("forwarded, as somebody whom nobody vouched for"));
            };
            let has_header = headers.contains("authorization");
            let fitting: Vec<_> = permitted
                .iter()
                .filter(|it| {
                    forwarding(it.outcome).is_some_and(|(as_whom, header)| {
                        as_whom == identity && is_left(draft, header) == has_header
                    })
                })
                .collect();
            let Some((_, header)) = fitting.first().and_then(|it| forwarding(it.outcome)) else {
                let whom = identity.map_or("nobody".to_owned(), |token| name(authentik, token));
                let header = if has_header { "untouched" } else { "not there" };
                return Err(shown(&format!("forwarded as {whom}, Authorization {header}")));
            };
            let sighting = Sighting { headers, body, trailers: trailers.as_ref() };
            application::check(&sighting, draft, (site, provider), authentik, identity, header)?;
            fitting
        }
        Seen::Replied { status, headers, grpc_status } => {
            check_reply(*status, *grpc_status, headers)?;
            let is_login = headers.get("location").is_some_and(|location| {
                let client = provider.map(Provider::client_id).unwrap_or_default();
                let url =
                    format!("{AUTHENTIK}/application/o/authorize/?response_type=code&client_id={client}&");
                location.starts_with(url.as_bytes())
            });
            let is_status = |wanted: u16| match grpc_status {
                // Nobody logs in or out by gRPC.
                Some(_) if wanted < 400 => true,
                Some(grpc) => *grpc == grpc_status_of(wanted),
                None => *status == wanted,
            };
            let fits = |it: &&Permitted| match it.outcome {
                Outcome::Login if draft.marks.is_navigation => *status == 302 && is_login,
                Outcome::Login => is_status(401),
                Outcome::Status(wanted) => is_status(wanted),
                Outcome::AsCredential(_)
                | Outcome::AsCredentialBesideLogin(_)
                | Outcome::AsSession(..)
                | Outcome::AsNobody(_) => false,
            };
            permitted.iter().filter(fits).collect()
        }
    };
    if fitting.is_empty() {
        return Err(match seen {
            Seen::Replied { status, headers, .. } => shown(&format!(
                "answered with {status}, {:?}",
                headers.get("location").map(<[u8]>::escape_ascii)
            )),
            Seen::Forwarded { .. } => shown("forwarded"),
        });
    }
    Ok(fitting.into_iter().cloned().collect())
}

/// As whom a request goes on, and with which header.
pub(super) fn forwarding(outcome: Outcome<TokenId>) -> Option<(Option<TokenId>, Header)> {
    match outcome {
        Outcome::AsCredential(token) | Outcome::AsCredentialBesideLogin(token) => {
            Some((Some(token), Header::Removed))
        }
        Outcome::AsSession(token, header) => Some((Some(token), header)),
        Outcome::AsNobody(header) => Some((None, header)),
        Outcome::Login | Outcome::Status(_) => None,
    }
}

/// Whether the client's header is to be there.
fn is_left(draft: &Draft, header: Header) -> bool {
    draft.authorization.value.is_some() && header == Header::Untouched && !draft.authorization.names_authentik
}

/// Whom the application takes it for: by the token, of which there is only one.
fn identity(headers: &HeaderMap, authentik: &Authentik) -> Result<Option<TokenId>, ()> {
    match headers.get("x-authentik-jwt") {
        None if headers.contains("x-authentik-username") => Err(()),
        None => Ok(None),
        Some(text) => authentik.find_token(&String::from_utf8_lossy(text)).map(Some).ok_or(()),
    }
}

fn name(authentik: &Authentik, token: TokenId) -> String {
    format!("{} by token {token}", authentik.users[authentik.tokens[token].user].name)
}

/// What belongs to a status is there, and nothing else.
fn check_reply(status: u16, grpc_status: Option<u32>, headers: &HeaderMap) -> Result<(), String> {
    let has = |name: &str| headers.contains(name);
    if grpc_status.is_none() {
        if has("www-authenticate") != (status == 401) {
            return Err(format!("a challenge belongs to 401, and only there: {status}"));
        }
        if has("retry-after") != matches!(status, 429 | 503) {
            return Err(format!("Retry-After belongs to 429 and 503, and only there: {status}"));
        }
    }
    if headers.iter().any(|(name, _)| name.starts_with(b"x-authentik-")) {
        return Err("an identity header in a reply".to_owned());
    }
    Ok(())
}

fn grpc_status_of(status: u16) -> u32 {
    match status {
        401 => 16,
        403 => 7,
        429 | 503 => 14,
        404 => 5,
        _ => 3,
    }
}

/// A `Set-Cookie` line of the provider's session cookie.
#[derive(Debug)]
pub(super) struct SetCookie {
    /// Behind the name: empty, or a part's number.
    pub(super) part: String,
    pub(super) value: String,
    pub(super) max_age: u64,
}

/// The lines that set or clear the session cookie.
pub(super) fn session_cookies(headers: &HeaderMap, provider: &Provider) -> Result<Vec<SetCookie>, String> {
    let name = provider.cookie();
    let mut found = Vec::new();
    for line in headers.get_all("set-cookie") {
        let line = String::from_utf8_lossy(line).into_owned();
        let (pair, attributes) = line.split_once(';').unwrap_or((&line, ""));
        let (cookie, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(part) = cookie.strip_prefix(&name).filter(|part| !part.starts_with("_login")) else {
            continue;
        };
        let attributes: Vec<_> = attributes.split(';').map(str::trim).collect();
        let has_all =
            ["HttpOnly", "SameSite=Lax", "Path=/", "Secure"].iter().all(|it| attributes.contains(it));
        let domain = attributes.iter().find_map(|it| it.strip_prefix("Domain="));
        let max_age =
            attributes.iter().find_map(|it| it.strip_prefix("Max-Age=")).and_then(|it| it.parse().ok());
        let Some(max_age) = max_age.filter(|_| has_all && domain == provider.cookie_domain) else {
            return Err(format!("a session cookie without what it must have: {line}"));
        };
        found.push(SetCookie { part: part.to_owned(), value: value.to_owned(), max_age });
    }
    Ok(found)
}
