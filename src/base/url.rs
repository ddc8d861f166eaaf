//! Hosts and base URLs, in the one normal form in which they are compared.
//!
//! Owns: parsing of `authentik.host`, `external_host`, `cookie_domain` and the request's authority.
//! Must not: look at `X-Forwarded-*`, or compare hosts by prefix.

use core::fmt;

use http::uri::{Authority, Uri};

/// The two schemes a proxied application can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Clear text; default port 80.
    Http,
    /// TLS; default port 443.
    Https,
}

impl Scheme {
    /// As it is written in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host with its port: lower case, no trailing dot, no user information.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostAndPort {
    name: String,
    port: Option<u16>,
}

impl HostAndPort {
    /// Parses `host[:port]` as RFC 3986 §3.2 has it, without user information. `None` when it is anything else.
    pub fn parse(authority: &[u8]) -> Option<Self> {
        let authority = Authority::try_from(authority).ok()?;
        if authority.as_str().contains('@') {
            return None;
        }
        // `http` ignores a port that is none; here it makes the whole authority invalid.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => None,
            port => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        let name = authority.host().to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let is_valid = !name.split('.').any(str::is_empty);
        is_valid.then(|| Self { name: name.to_owned(), port })
    }

    /// The same host, with the port left out where it is the default of `scheme`.
    #[must_use]
    pub fn under(mut self, scheme: Scheme) -> Self {
        if self.port == Some(scheme.default_port()) {
            self.port = None;
        }
        self
    }

    /// The name alone, without a port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, if it is written.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether this host is `domain` or a name below it (label by label, never by suffix of a label).
    pub fn is_within(&self, domain: &str) -> bool {
        self.name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl fmt::Display for HostAndPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(formatter, "{}:{port}", self.name),
            None => formatter.write_str(&self.name),
        }
    }
}

/// `scheme://host[:port][/prefix]`, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// The scheme.
    pub scheme: Scheme,
    /// The host, without the scheme's default port.
    pub host: HostAndPort,
    prefix: String,
}

impl BaseUrl {
    /// Parses an absolute http(s) URL.
    ///
    /// # Errors
    /// What is wrong with it, in words for the operator.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "must be a URL such as \"https://app.example.com\"")?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err("must begin with http:// or https://"),
        };
        if uri.query().is_some() || url.contains('#') {
            return Err("must not have a query or a fragment");
        }
        let authority = uri.authority().ok_or("must name a host")?;
        let host = HostAndPort::parse(authority.as_str().as_bytes())
            .ok_or("must name a host, and optionally a port, and no user")?
            .under(scheme);
        let prefix = uri.path().trim_end_matches('/');
        if prefix.as_bytes().windows(2).any(|pair| pair == b"//") {
            return Err("must not have an empty path segment");
        }
        Ok(Self { scheme, host, prefix: prefix.to_owned() })
    }

    /// The path prefix: empty, or with a leading and without a trailing slash.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `scheme://host[:port]`, without the prefix.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme.as_str(), self.host)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", self.scheme.as_str(), self.host, self.prefix)
    }
}

/// A cookie domain in its normal form: lower case, no leading or trailing dot. `None` when it is no domain name.
pub fn parse_domain(domain: &str) -> Option<String> {
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let host = HostAndPort::parse(domain.as_bytes())?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (host.port.is_none() && host.name.bytes().all(is_name)).then_some(host.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Option<String> {
        HostAndPort::parse(text.as_bytes()).map(|host| host.to_string())
    }

    #[test]
    fn hosts_have_one_normal_form() {
        assert_eq!(host("App.Example.COM.").as_deref(), Some("app.example.com"));
        assert_eq!(host("app:8443").as_deref(), Some("app:8443"));
        assert_eq!(host("[::1]:80").as_deref(), Some("[::1]:80"));
        for bad in [
            "",
            ".",
            "a..b",
            "a..",
            ".a",
            "user@app",
            "app:",
            "app:x",
            "app:99999",
            "a b",
            "a/b",
            "a\\b",
            "é",
        ] {
            assert_eq!(host(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_default_port_of_the_scheme_means_nothing() {
        let app = |text: &str| HostAndPort::parse(text.as_bytes()).unwrap();
        assert_eq!(app("app:443").under(Scheme::Https), app("app"));
        assert_eq!(app("app:80").under(Scheme::Http), app("app"));
        assert_ne!(app("app:80").under(Scheme::Https), app("app"));
    }

    #[test]
    fn a_domain_is_matched_by_labels() {
        let host = |text: &str| HostAndPort::parse(text.as_bytes()).unwrap();
        assert!(host("example.com").is_within("example.com"));
        assert!(host("a.b.example.com:8080").is_within("example.com"));
        assert!(!host("evilexample.com").is_within("example.com"));
        assert!(!host("example.com.evil.net").is_within("example.com"));
    }

    #[test]
    fn a_cookie_domain_is_a_name_and_nothing_more() {
        assert_eq!(parse_domain("Example.COM.").as_deref(), Some("example.com"));
        assert_eq!(parse_domain(".example.com").as_deref(), Some("example.com"));
        for bad in ["", ".", "..a", "a:80", "[::1]", "a b", "a/b", "a;b", "a,b"] {
            assert_eq!(parse_domain(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn base_urls() {
        let url = |text: &str| BaseUrl::parse(text).map(|url| url.to_string());
        assert_eq!(url("https://auth.example.com/"), Ok("https://auth.example.com".to_owned()));
        assert_eq!(url("https://auth.example.com:443/sso/"), Ok("https://auth.example.com/sso".to_owned()));
        assert_eq!(url("http://127.0.0.1:9000"), Ok("http://127.0.0.1:9000".to_owned()));
        for bad in
            ["", "auth.example.com", "ftp://a", "https://", "https://u:p@a", "https://a?x", "https://a#x"]
        {
            assert!(url(bad).is_err(), "{bad:?}");
        }
    }
}
