//! Where the inputs are sent: an Envoy with a provider of every kind, one with three hundred of them, and the same
//! without the filter. Owns what an input is.

use fake_authentik::TokenSpec;
use local_envoy::{Envoy, EnvoyOptions};
use serde_json::{Value, json};

use super::super::http2::Exchange;
use super::super::place::{Place, provider};
use super::super::wire::Request;

/// What the filter reads of `Authorization` at most, in bytes.
pub(super) const LONGEST: usize = 16 << 10;
/// What is left of Envoy's 60 KiB for what an input is about, in bytes.
pub(super) const BLOCK: usize = 58_000;

pub(super) const RS: &str = "rs.test";
pub(super) const HS: &str = "hs.test";
/// Without interception.
pub(super) const LAX: &str = "lax.test";
/// authentik is asked about every token.
pub(super) const ASKED: &str = "asked.test";
/// Tokens of other issuers are exchanged.
pub(super) const FEDERATED: &str = "federated.test";
/// All hosts below it are one provider's.
pub(super) const DOMAIN: &str = "domain.test";
/// `/public` is open.
pub(super) const OPEN: &str = "open.test";
/// Seven older cookie secrets are still good.
pub(super) const ROTATED: &str = "rotated.test";

/// Patterns that an operator may write, from the ordinary to the most expensive kind, each on a host of its own.
pub(super) const PATTERNS: [(&str, &str); 7] = [
    ("plain.test", "^/public(/|$)"),
    ("suffix.test", r"(?i)\.(css|js|png|jpe?g|gif|svg|woff2?)$"),
    ("segments.test", r"/[^/]+/[^/]+/.*/assets/.*\.(css|js)$"),
    ("ambiguous.test", "(x+x+)+y"),
    ("repeated.test", r"(\w{1,20}/){1,5}index$"),
    ("huge.test", r"(\w{1,100}/){1,10}index$"),
    ("lines.test", LINES),
];

const LINES: &str = r"^/public/
^/health$
/assets/.*\.css$
/assets/.*\.js$
^/a.*/b.*/c$
(a|b|ab)*c$
[a-z]+[0-9]+[a-z]+$
\.png$
/v[0-9]+/.*/open$
^/.*/.*/.*/.*/z$";

/// Which Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// One provider of every kind.
    Each,
    /// Three hundred providers.
    Many,
}

impl Site {
    pub(super) const ALL: [Self; 2] = [Self::Each, Self::Many];

    fn providers(self) -> Vec<Value> {
        match self {
            Self::Each => {
                let open =
                    |slug, host, patterns: &str| provider(slug, host, json!({"skip_path_regex": patterns}));
                let secrets: Vec<_> =
                    (0..8).map(|number| format!("{number}-a-cookie-secret-of-32-bytes-and-more")).collect();
                let domain = json!({
                    "mode": "forward_domain",
                    "cookie_domain": DOMAIN,
                    "skip_path_regex": "^http://[^/]+/public/",
                });
                let mut providers = vec![
                    provider("rs", RS, json!({})),
                    provider("es", "es.test", json!({})),
                    provider("es384", "es384.test", json!({})),
                    provider("es512", "es512.test", json!({})),
                    provider("hs", HS, json!({})),
                    provider("hs", LAX, json!({"intercept_header_auth": false})),
                    provider("rs", ASKED, json!({"bearer_verification": "introspection"})),
                    provider("fed", FEDERATED, json!({"federated_bearer": true})),
                    provider("demo-domain", &format!("auth.{DOMAIN}"), domain),
                    provider("hs", ROTATED, json!({"cookie_secret": secrets})),
                    open("hs", OPEN, "^/public(/|$)"),
                ];
                providers.extend(PATTERNS.map(|(host, patterns)| open("hs", host, patterns)));
                providers
            }
            Self::Many => (0..300)
                .map(|number| {
                    let mut entry = provider("hs", &format!("{number}.many.test"), json!({}));
                    if number % 2 == 0 {
                        entry["mode"] = json!("forward_domain");
                        entry["cookie_domain"] = json!(format!("{number}.many.test"));
                    }
                    entry
                })
                .collect(),
        }
    }
}

/// One Envoy with the filter, and what a stranger can know of it.
pub(super) struct Stage {
    pub(super) place: Place,
}

impl Stage {
    pub(super) fn new(site: Site) -> Self {
        let place = Place::new(|options| {
            let owned: Vec<_> = (0..20).map(|number| format!("X-Of-The-Operator-{number}")).collect();
            let mut options =
                options.configure("/providers", site.providers()).configure("/owned_headers", owned);
            // What reaches the log of a worker in production.
            options.wasm_log_level = "info".to_owned();
            answering(options)
        });
        for slug in ["rs", "es", "es384", "es512", "hs", "fed"] {
            if site == Site::Each || slug == "hs" {
                place.await_keys(slug);
            }
        }
        Self { place }
    }

    pub(super) fn without_filter(&self) -> Envoy {
        let mut options =
            answering(EnvoyOptions::new(&self.place.authentik.authority(), &self.place.app.authority()));
        options.peers = Some(Vec::new());
        Envoy::start(options)
    }
}

/// Answers by itself, and takes all headers that a stranger could send to a generous one.
fn answering(mut options: EnvoyOptions) -> EnvoyOptions {
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
    options.set_manager(
        "route_config",
        json!({"virtual_hosts": [{"name": "app", "domains": ["*"], "routes": [route]}]}),
    );
    options.set_manager("common_http_protocol_options", json!({"max_headers_count": 4_000}));
    options
}

/// One sending of an input.
pub(super) struct Asking<'a> {
    pub(super) stage: &'a Stage,
    pub(super) port: u16,
    /// No two sendings have the same.
    pub(super) number: usize,
}

impl Asking<'_> {
    pub(super) fn get(&self, host: &str, target: impl AsRef<[u8]>) -> Request {
        Request::new(self.port, "GET", target).host(host)
    }

    pub(super) fn post(&self, host: &str, path: &str) -> Exchange {
        Exchange::post(self.port, path).host(host)
    }

    /// A token of the provider whose signature was changed; another one each time.
    pub(super) fn forged(&self, slug: &str, spec: TokenSpec) -> String {
        let token = self.stage.place.authentik.mint(slug, spec.claim("jti", self.number));
        assert!(token.len() + "Bearer ".len() <= LONGEST, "{} bytes are not looked at", token.len());
        let middle = token.len() - 20;
        let other = if token.as_bytes()[middle] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &token[..middle], &token[middle + 1..])
    }

    /// So many characters, other ones each time.
    pub(super) fn text(&self, length: usize) -> String {
        let mut text = format!("{}x", self.number);
        text.extend(std::iter::repeat_n('a', length.saturating_sub(text.len())));
        text
    }
}

/// A request that may be expensive.
#[derive(Clone)]
pub(super) struct Input {
    pub(super) name: &'static str,
    /// What is answered, if it does what it is there for.
    pub(super) status: u16,
    pub(super) site: Site,
    send: fn(&Asking<'_>) -> u16,
}

impl Input {
    pub(super) const fn new(name: &'static str, status: u16, send: fn(&Asking<'_>) -> u16) -> Self {
        Self { name, status, site: Site::Each, send }
    }

    pub(super) const fn at_many(self) -> Self {
        Self { site: Site::Many, ..self }
    }

    /// The status of the answer.
    pub(super) fn send(&self, asking: &Asking<'_>) -> u16 {
        (self.send)(asking)
    }
}
