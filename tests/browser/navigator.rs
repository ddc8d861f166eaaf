//! A browser without a screen: it keeps cookies as RFC 6265 has it, as far as the filter's need it, and follows no
//! redirect by itself, so that a test sees every step. TLS ends before Envoy, so cookies that are `Secure` travel too.

use loopback::client;
use reqwest::Method;
use reqwest::blocking::Response;
use serde_json::Value;

/// One cookie, as it was set.
#[derive(Clone, Debug)]
pub(crate) struct Cookie {
    pub(crate) name: String,
    pub(crate) value: String,
    /// In lower case, in their order: `httponly`, `max-age=3600`.
    pub(crate) attributes: Vec<String>,
    /// The host that it goes back to, or the domain whose hosts it goes back to.
    place: String,
}

impl Cookie {
    fn parse(line: &str, host: &str) -> Self {
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a name and a value");
        let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        let domain = attributes.iter().find_map(|it| it.strip_prefix("domain="));
        let place = domain.map_or_else(|| host.to_owned(), |domain| format!(".{domain}"));
        Self { name: name.to_owned(), value: value.to_owned(), attributes, place }
    }

    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|it| it == attribute)
    }

    fn is_session(&self) -> bool {
        self.name.contains("authentik_proxy_") && !self.name.ends_with("_login")
    }

    /// The same cookie with another value.
    pub(crate) fn with_value(&self, value: impl Into<String>) -> Self {
        Self { value: value.into(), ..self.clone() }
    }

    /// Its content under another name.
    pub(crate) fn with_name(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// Its life in seconds.
    pub(crate) fn max_age(&self) -> u64 {
        let age = self.attributes.iter().find_map(|it| it.strip_prefix("max-age="));
        age.expect("a life").parse().expect("a number")
    }

    fn goes_to(&self, host: &str) -> bool {
        match self.place.strip_prefix('.') {
            Some(domain) => {
                let name = host.split(':').next().unwrap_or(host);
                name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            None => host == self.place,
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn read(response: Response) -> Self {
        let headers = response.headers().iter();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Self {
            status: response.status().as_u16(),
            headers: headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            body: response.text().expect("a whole body"),
        }
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    /// Where it sends the browser.
    #[track_caller]
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 302, "{self:?}");
        self.header("location").expect("a location")
    }

    /// What the application showed.
    #[track_caller]
    pub(crate) fn shown(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).expect("the application's JSON")
    }
}

/// A browser and its cookies.
#[derive(Clone, Default)]
pub(crate) struct Navigator {
    pub(crate) cookies: Vec<Cookie>,
}

impl Navigator {
    /// Opens a URL as the address bar does, at the Envoy that listens on this port.
    pub(crate) fn open(&mut self, port: u16, url: &str) -> Answer {
        let accept = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        self.send(port, Method::GET, url, &[accept, ("sec-fetch-mode", "navigate")])
    }

    /// Sends a request with the cookies for its host, on a connection of its own, and keeps the cookies it brings.
    pub(crate) fn send(&mut self, port: u16, method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
        let rest = url.split_once("://").expect("an absolute URL").1;
        let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let slash = if target.starts_with('/') { "" } else { "/" };
        let mut request = client()
            .request(method, format!("http://127.0.0.1:{port}{slash}{target}"))
            .header("host", host)
            .header("connection", "close");
        let cookies = self.cookie_header(host);
        if !cookies.is_empty() {
            request = request.header("cookie", cookies);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = Answer::read(request.send().expect("Envoy answers"));
        for line in answer.headers("set-cookie") {
            self.keep(Cookie::parse(line, host));
        }
        answer
    }

    /// The value of `Cookie` for this host.
    pub(crate) fn cookie_header(&self, host: &str) -> String {
        let sent = self.cookies.iter().filter(|cookie| cookie.goes_to(host));
        sent.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect::<Vec<_>>().join("; ")
    }

    /// The session's cookie, or its parts.
    pub(crate) fn session(&self) -> Vec<Cookie> {
        self.cookies.iter().filter(|cookie| cookie.is_session()).cloned().collect()
    }

    pub(crate) fn lose_session(&mut self) {
        self.cookies.retain(|cookie| !cookie.is_session());
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.cookies.iter().map(|cookie| cookie.name.as_str()).collect()
    }

    /// Loses the cookies of this name.
    pub(crate) fn lose(&mut self, name: &str) {
        self.cookies.retain(|cookie| cookie.name != name);
    }

    pub(crate) fn keep(&mut self, cookie: Cookie) {
        self.cookies.retain(|it| (&it.name, &it.place) != (&cookie.name, &cookie.place));
        if cookie.max_age() > 0 {
            self.cookies.push(cookie);
        }
    }
}
