//! Back-channel logout (OpenID Connect Back-Channel Logout 1.0) as authentik does it: the token as recorded, and the call that
//! brings it. A test says when, authentik's worker takes some seconds.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::claims::{self, identifier, now, object};
use super::events::uuid;
use super::{Authentik, TokenSpec};

/// The event that a logout token names.
pub const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How long the receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Authentik {
    /// The logout token of a provider for this session; without one for all sessions of the user. `spec` says of which user
    /// (alice), and in what it differs from authentik's own.
    pub fn logout_token(&self, slug: &str, sid: Option<&str>, spec: TokenSpec) -> String {
        let world = self.world();
        let (provider, user) = world.provider_and_user(slug, spec.username.as_deref().unwrap_or("alice"));
        let now = now();
        let mut claims = object(json!({
            "iss": claims::issuer(&provider, &world.public_base),
            "aud": provider.client_id(),
            "iat": now,
            "exp": now + 3_600,
            "jti": uuid(&identifier()),
            "events": {LOGOUT_EVENT: {}},
            "sub": user.sub,
        }));
        if let Some(sid) = sid {
            claims.insert("sid".to_owned(), sid.into());
        }
        let key = spec.key.clone().unwrap_or_else(|| provider.key());
        let mut header = claims::header(&key);
        header.insert("typ".to_owned(), "logout+jwt".into());
        spec.apply(&mut header, &mut claims);
        claims::signed(&header, &claims, &key)
    }

    /// Posts a logout token as authentik does. Returns the answer's status and its text, headers first.
    ///
    /// # Errors
    /// Nobody listens at the URL, or answers within ten seconds.
    ///
    /// # Panics
    /// The URL is not `http://` with host, port and path.
    pub fn post_logout_token(url: &str, token: &str) -> io::Result<(u16, String)> {
        let rest = url.strip_prefix("http://").expect("plain HTTP");
        let (authority, path) = rest.split_at(rest.find('/').expect("a path"));
        post(authority, authority, path, token)
    }

    /// The same, to this port on loopback, for the host that the URL names.
    ///
    /// # Errors
    /// Nobody listens there, or answers within ten seconds.
    pub fn post_logout_token_to(port: u16, host: &str, path: &str, token: &str) -> io::Result<(u16, String)> {
        post(&format!("127.0.0.1:{port}"), host, path, token)
    }
}

fn post(authority: &str, host: &str, path: &str, token: &str) -> io::Result<(u16, String)> {
    let body = form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", token).finish();
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: authentik@2026.5.0-rc1\r\nAccept: */*\r\n\
         Connection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no answer"))?;
    Ok((status, answer))
}
