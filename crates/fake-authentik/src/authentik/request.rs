//! A request as the stand-in's endpoints see it: read whole, the form decoded as Django does (the last of a
//! field's values counts), and the base URL that authentik derives its issuer from.

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::logins::COOKIE;

/// Above authentik's own limit, so that going over that one can be answered.
const LARGEST_BODY: usize = 16 << 20;

/// A call that the stand-in received.
#[derive(Clone, Debug)]
pub struct Call {
    /// In capitals.
    pub method: String,
    /// As it was sent, without the query.
    pub path: String,
    /// Without the question mark; empty if there is none.
    pub query: String,
    /// In their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The fields of a form, in their order.
    pub form: Vec<(String, String)>,
    /// As it was sent.
    pub body: Bytes,
}

impl Call {
    pub(super) async fn read(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        let headers: Vec<(String, String)> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let body = to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
        let is_form = headers.iter().any(|(name, value)| {
            name == "content-type" && value.starts_with("application/x-www-form-urlencoded")
        });
        let form = if is_form { form_urlencoded::parse(&body).into_owned().collect() } else { Vec::new() };
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers,
            form,
            body,
        }
    }

    /// A browser's visit to a URL of authentik's.
    pub(super) fn visit(url: &str, session: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("an absolute URL");
        let (host, target) = rest.split_at(rest.find('/').expect("a path"));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let cookie = format!("{COOKIE}={session}");
        let headers = [("host", host), ("x-forwarded-proto", scheme), ("cookie", &cookie)];
        Self {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            form: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// The first value of a header; the name is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The last value of a form field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().rev().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The last value of a parameter of the query, if it is not empty.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let values = form_urlencoded::parse(self.query.as_bytes()).filter(|(it, _)| it == name);
        values.last().map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
    }

    /// The value of authentik's session cookie.
    pub(super) fn session(&self) -> Option<String> {
        let pairs =
            self.headers.iter().filter(|(name, _)| name == "cookie").flat_map(|(_, it)| it.split(';'));
        let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned())
    }

    /// A field that is neither missing nor empty.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.field(name).filter(|value| !value.is_empty())
    }

    /// Client id and secret: those of a Basic header count before those of the form.
    pub(super) fn client(&self) -> (String, String) {
        let basic = self
            .header("authorization")
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|value| STANDARD.decode(value).ok())
            .and_then(|value| String::from_utf8(value).ok());
        match basic.as_deref().and_then(|value| value.split_once(':')) {
            Some((id, secret)) => (id.to_owned(), secret.to_owned()),
            None => {
                let field = |name| self.field(name).unwrap_or_default().to_owned();
                (field("client_id"), field("client_secret"))
            }
        }
    }

    /// Scheme and host as authentik sees them: `Host` and, from trusted proxies, `X-Forwarded-Proto` count,
    /// `X-Forwarded-Host` not.
    pub(super) fn base(&self, trusts_proxies: bool) -> String {
        let https = trusts_proxies
            && self
                .header("x-forwarded-proto")
                .is_some_and(|value| value.split(',').next().is_some_and(|first| first.trim() == "https"));
        format!("{}://{}", if https { "https" } else { "http" }, self.header("host").unwrap_or_default())
    }

    /// What ends in a server error in authentik: too large, too many fields, a NUL byte on its way to the
    /// database.
    pub(super) fn breaks_authentik(&self) -> bool {
        self.body.len() > 2_621_440
            || self.form.len() > 1000
            || self.form.iter().any(|(_, value)| value.contains('\0'))
    }
}
