//! The configuration: raw JSON in, a compiled [`Config`] out, or every fault at once.
//!
//! Owns: the names, defaults and limits of all settings (the table is in the README), and what makes a
//! combination of them wrong. Nothing after this file looks at raw configuration again.
//! Must not: do I/O (the environment is a look-up that is handed in), answer a fault with a default.

mod json;
mod meta;
mod seal;

use core::time::Duration;
use std::collections::BTreeSet;
use std::rc::Rc;

use regex_lite::Regex;
use serde_json::Value;

pub use self::json::Environment;
use self::json::{Faults, Object};
pub use self::meta::MetaHeaders;
pub use self::seal::Seal;
use crate::base::header::{self, IdentityHeader};
use crate::base::mac;
use crate::base::secret::Secret;
use crate::base::url::{self, BaseUrl};

/// The least length of a cookie secret, in bytes: the key of the session cookies is derived from it.
const COOKIE_SECRET_BYTES: usize = 32;

const DEFAULT_SCOPES: [&str; 5] = ["openid", "profile", "email", "entitlements", "ak_proxy"];

const YEAR: u64 = 366 * 24 * 60 * 60;

/// A whole, checked configuration.
#[derive(Debug)]
pub struct Config {
    /// How authentik is reached.
    pub authentik: Authentik,
    /// Value of `x-authentik-meta-outpost`.
    pub outpost_name: String,
    /// At least one; which one a request belongs to is [`crate::authn::provider::directory::Directory`]'s business.
    pub providers: Vec<Rc<Provider>>,
    /// The identity headers to send, out of authentik's twelve.
    pub identity_headers: Vec<IdentityHeader>,
    /// Further names that only the filter may set: lower case, `_` read as `-`. Has the seal's name if that is not an
    /// owned one by itself.
    pub owned_headers: Vec<String>,
    /// The header that every request carries which the filter lets go on.
    pub seal: Option<Rc<Seal>>,
    /// Grace for `nbf` and `iat`, in seconds. `exp` has none.
    pub clock_skew_seconds: u64,
    /// Whether CORS preflights pass without identity.
    pub allow_cors_preflight: bool,
    /// Origins whose scripts may read the filter's own replies, each as browsers send it.
    pub allow_cors_origins: Vec<String>,
    /// Caching of verdicts.
    pub cache: Cache,
    /// Refreshing of signing keys.
    pub jwks: Jwks,
    /// Session cookies.
    pub session: Session,
    /// The rate limit of refused credentials.
    pub throttle: Throttle,
    /// Stands for this very configuration, secrets included; tells nothing about them.
    pub digest: [u8; 32],
    /// What is odd but not wrong, for the log.
    pub warnings: Vec<String>,
}

/// How authentik is reached.
#[derive(Debug)]
pub struct Authentik {
    /// Envoy cluster that leads to authentik.
    pub cluster: String,
    /// authentik as browsers see it: makes the issuer, and is the authority of every call.
    pub base: BaseUrl,
    /// Limit of each call.
    pub timeout: Duration,
    /// Longest answer that is read, in bytes.
    pub max_response_bytes: usize,
    /// Most calls that are out at one time, per worker. How many are adapts to authentik's answers.
    pub max_concurrent_calls: usize,
    /// Most calls that wait for a place, per worker.
    pub max_pending_calls: usize,
    /// Longest wait for a place.
    pub max_wait_seconds: u64,
}

/// Index of a provider in [`Config::providers`].
pub type ProviderId = usize;

/// One of authentik's proxy providers.
#[derive(Debug)]
pub struct Provider {
    /// Value of `x-authentik-meta-provider`.
    pub name: String,
    /// Slug of the application: part of the issuer and of the JWKS path.
    pub slug: String,
    /// OAuth 2.0 client identifier.
    pub client_id: String,
    /// OAuth 2.0 client secret; the HS256 key where the provider has no signing key.
    pub client_secret: Secret<String>,
    /// The first seals sessions, all open them.
    pub cookie_secrets: Vec<Secret<String>>,
    /// The application as browsers see it.
    pub external_host: BaseUrl,
    /// authentik's mode of the provider.
    pub mode: Mode,
    /// Domain of the session cookie; in [`Mode::ForwardDomain`] also what the provider answers for.
    pub cookie_domain: Option<String>,
    /// authentik's "Intercept header authentication".
    pub intercept_header_auth: bool,
    /// authentik's "Send HTTP-Basic Authentication".
    pub basic_auth: Option<BasicAuth>,
    /// Paths that need no authentication.
    pub skip_paths: Vec<Regex>,
    /// The scopes to ask for, separated by spaces.
    pub scope: String,
    /// Longest life of a session, in seconds.
    pub access_token_validity_seconds: u64,
    /// The `iss` that a token of this provider must have.
    pub issuer: String,
    /// Whether authentik's own entry says that the provider signs HS256 with the client secret and nothing else
    /// (`oidc_configuration.id_token_signing_alg_values_supported`): no key set need be fetched first.
    pub has_no_signing_key: bool,
    /// Who vouches for a Bearer token.
    pub bearer_verification: BearerVerification,
    /// How often a token is introspected again, in seconds; 0: never.
    pub revalidate_seconds: u64,
    /// Whether Bearer tokens of other issuers are exchanged as client assertions.
    pub federated_bearer: bool,
    /// What its users have in common.
    pub meta_headers: MetaHeaders,
}

/// authentik's provider modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The proxy forwards to the application itself.
    Proxy,
    /// Forward authentication for one application.
    ForwardSingle,
    /// Forward authentication for all hosts below the cookie domain.
    ForwardDomain,
}

/// Which attributes make the `Authorization` header that the application gets.
#[derive(Debug)]
pub struct BasicAuth {
    /// User attribute with the user name.
    pub user_attribute: String,
    /// User attribute with the password.
    pub password_attribute: String,
    /// Whether a header is sent when there is no password.
    pub send_empty_password: bool,
}

/// Who vouches for a Bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerVerification {
    /// The filter, with the provider's keys.
    Local,
    /// authentik's introspection endpoint (RFC 7662).
    Introspection,
    /// The filter, and authentik for what the filter cannot decide.
    LocalThenIntrospection,
}

/// Caching of verdicts.
#[derive(Debug)]
pub struct Cache {
    /// Life of a positive entry.
    pub ttl_seconds: u64,
    /// Life of a negative entry.
    pub negative_ttl_seconds: u64,
    /// How long past its TTL a known good credential goes on while authentik fails.
    pub stale_seconds: u64,
    /// Entries per worker.
    pub local_entries: usize,
    /// Slots shared by all workers.
    pub shared_slots: u32,
}

/// Refreshing of signing keys.
#[derive(Debug)]
pub struct Jwks {
    /// How often keys are fetched.
    pub refresh_seconds: u64,
    /// Least time between two fetches, whatever asks for them.
    pub min_refresh_interval_seconds: u64,
}

/// Session cookies.
#[derive(Debug)]
pub struct Session {
    /// After what a session cookie is set; `None`: sessions are off.
    pub issue: Option<SessionIssue>,
    /// Longest life of a session.
    pub max_age_seconds: u64,
}

/// After what a session cookie is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionIssue {
    /// After every authentication.
    Always,
    /// After the browser's login flow only.
    Login,
}

/// The rate limit of refused credentials.
#[derive(Debug)]
pub struct Throttle {
    /// Refused credentials of one user name (and source address) until further unknown ones are not asked for; 0: never.
    pub failures: u32,
    /// The same for one user name from all source addresses together.
    pub failures_per_user: u32,
    /// Time in which they are counted.
    pub window_seconds: u64,
    /// Whether Envoy's `source.address` is the client's own.
    pub trust_source_address: bool,
}

impl Config {
    /// Compiles a configuration as Envoy hands it over.
    ///
    /// # Errors
    /// Every fault, each with the path of its field. None of them shows a value.
    pub fn parse(raw: &[u8], environment: Environment<'_>) -> Result<Self, Vec<String>> {
        let value = read_json(raw).map_err(|fault| vec![fault])?;
        let faults = Faults::default();
        let config = read_config(raw, Object::root(&value, &faults, environment));
        match (config, faults.into_list()) {
            (Some(config), faults) if faults.is_empty() => Ok(config),
            (_, faults) => Err(faults),
        }
    }

    /// The configured origin that this `Origin` header has, byte for byte: its scripts may read the filter's own replies.
    pub fn allowed_origin(&self, origin: Option<&[u8]>) -> Option<&str> {
        let origin = origin?;
        self.allow_cors_origins.iter().map(String::as_str).find(|allowed| allowed.as_bytes() == origin)
    }
}

fn read_json(raw: &[u8]) -> Result<Value, String> {
    let is_json = raw.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte == b'{');
    match (raw, is_json) {
        ([], _) => Err("configuration: is empty".to_owned()),
        (_, false) => {
            Err("configuration: must be a JSON object in a google.protobuf.StringValue; Envoy hands a \
             google.protobuf.Struct over in binary form"
                .to_owned())
        }
        (_, true) => serde_json::from_slice(raw).map_err(|error| {
            format!("configuration: is not JSON (line {}, column {})", error.line(), error.column())
        }),
    }
}

/// `None` only where a fault was found.
fn read_config(raw: &[u8], mut root: Object<'_>) -> Option<Config> {
    let authentik = read_authentik(root.required_object("authentik"));
    let session = read_session(root.object("session"));
    let mut warnings = Vec::new();
    let outpost_name = root.string("outpost_name").unwrap_or("envoy").to_owned();
    let entries = root.required_objects("providers");
    let count = entries.len();
    let providers: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| read_provider(entry, authentik.as_ref(), &outpost_name, &session, &mut warnings))
        .map(Rc::new)
        .collect();
    check_distinct(&root, &providers);
    let cache = read_cache(root.object("cache"));
    let jwks = read_jwks(root.object("jwks"));
    let throttle = read_throttle(root.object("throttle"));
    let seal = read_seal(&mut root);
    let config = Config {
        outpost_name,
        identity_headers: read_identity_headers(&mut root),
        owned_headers: read_owned_headers(&mut root, seal.as_deref()),
        clock_skew_seconds: root.integer_or("clock_skew_seconds", 60, 0..=3600),
        allow_cors_preflight: root.bool_or("allow_cors_preflight", false),
        allow_cors_origins: read_cors_origins(&mut root),
        cache,
        jwks,
        session,
        throttle,
        warnings,
        // Last: everything was read before one of these ends the reading.
        digest: digest(raw, &providers, seal.as_deref())?,
        seal,
        providers,
        authentik: authentik?,
    };
    (config.providers.len() == count).then_some(config)
}

fn read_authentik(mut object: Object<'_>) -> Option<Authentik> {
    let cluster = object.required_string("cluster").to_owned();
    let base = read_base_url(&mut object, "host");
    let timeout = Duration::from_secs(object.integer_or("timeout_seconds", 5, 1..=60));
    let max_response_bytes = object.integer_or("max_response_bytes", 1 << 20, 4096..=16 << 20);
    let max_concurrent_calls = object.integer_or("max_concurrent_calls", 8, 1..=1_024);
    let max_pending_calls = object.integer_or("max_pending_calls", 256, 1..=65_536);
    let max_wait_seconds = object.integer_or("max_wait_seconds", 15, 1..=300);
    Some(Authentik {
        cluster,
        base: base?,
        timeout,
        max_response_bytes: to_usize(max_response_bytes),
        max_concurrent_calls: to_usize(max_concurrent_calls),
        max_pending_calls: to_usize(max_pending_calls),
        max_wait_seconds,
    })
}

fn read_base_url(object: &mut Object<'_>, key: &'static str) -> Option<BaseUrl> {
    let url = object.required_string(key);
    match BaseUrl::parse(url) {
        Ok(url) => Some(url),
        Err(_) if url.is_empty() => None,
        Err(what) => {
            object.fault(key, what);
            None
        }
    }
}

fn read_provider(
    mut object: Object<'_>,
    authentik: Option<&Authentik>,
    outpost_name: &str,
    session: &Session,
    warnings: &mut Vec<String>,
) -> Option<Provider> {
    // In an entry of authentik's API, and of no use here.
    for key in
        ["pk", "internal_host", "internal_host_ssl_validation", "certificate", "assigned_application_name"]
    {
        object.accept(key);
    }
    let slug = read_slug(&mut object);
    let name = object.string("name").filter(|name| !name.is_empty()).unwrap_or(slug).to_owned();
    let external_host = read_base_url(&mut object, "external_host");
    let mode = object.word_or(
        "mode",
        Mode::ForwardSingle,
        &[
            ("proxy", Mode::Proxy),
            ("forward_single", Mode::ForwardSingle),
            ("forward_domain", Mode::ForwardDomain),
        ],
    );
    let cookie_domain = read_cookie_domain(&mut object, mode, external_host.as_ref());
    let (issuer, has_no_signing_key) = read_oidc_configuration(&mut object, authentik, slug);
    let meta_headers = authentik.map(|it| MetaHeaders::new(&it.base, outpost_name, &name, slug));
    let provider = Provider {
        name,
        slug: slug.to_owned(),
        client_id: object.required_string("client_id").to_owned(),
        client_secret: object.required_secret("client_secret"),
        cookie_secrets: read_cookie_secrets(&mut object, session),
        mode,
        cookie_domain,
        intercept_header_auth: object.bool_or("intercept_header_auth", true),
        basic_auth: read_basic_auth(&mut object),
        skip_paths: read_skip_paths(&mut object, warnings),
        scope: object.strings("scopes_to_request").unwrap_or_else(|| DEFAULT_SCOPES.to_vec()).join(" "),
        access_token_validity_seconds: object.integer_or("access_token_validity", 86_400, 1..=YEAR),
        bearer_verification: object.word_or(
            "bearer_verification",
            BearerVerification::Local,
            &[
                ("local", BearerVerification::Local),
                ("introspection", BearerVerification::Introspection),
                ("local_then_introspection", BearerVerification::LocalThenIntrospection),
            ],
        ),
        revalidate_seconds: object.integer_or("revalidate_seconds", 0, 0..=YEAR),
        federated_bearer: object.bool_or("federated_bearer", false),
        external_host: external_host?,
        issuer: issuer?,
        has_no_signing_key,
        meta_headers: meta_headers?,
    };
    Some(provider)
}

/// authentik's slugs are `[-a-zA-Z0-9_]+`; nothing else may get into a path.
fn read_slug<'a>(object: &mut Object<'a>) -> &'a str {
    let key = "assigned_application_slug";
    let slug = object.required_string(key);
    if !slug.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        object.fault(key, "must consist of letters, digits, - and _");
    }
    slug
}

fn read_cookie_domain(
    object: &mut Object<'_>,
    mode: Mode,
    external_host: Option<&BaseUrl>,
) -> Option<String> {
    let key = "cookie_domain";
    let Some(text) = object.string(key).filter(|text| !text.is_empty()) else {
        if mode == Mode::ForwardDomain {
            object.fault(key, "is required in mode forward_domain");
        }
        return None;
    };
    let Some(domain) = url::parse_domain(text) else {
        object.fault(key, "must be a domain name");
        return None;
    };
    if external_host.is_some_and(|url| !url.host.is_within(&domain)) {
        object.fault(key, "must be the external_host's own domain or one above it");
    }
    Some(domain)
}

/// Issuer, and whether the provider has no signing key. authentik builds `iss` from the host that it is asked by, so the
/// configured public host decides.
fn read_oidc_configuration(
    object: &mut Object<'_>,
    authentik: Option<&Authentik>,
    slug: &str,
) -> (Option<String>, bool) {
    let is_global = object.word_or("issuer_mode", false, &[("per_provider", false), ("global", true)]);
    let mut oidc = object.object("oidc_configuration");
    oidc.accept_rest();
    let has_no_signing_key = oidc.is_list_of("id_token_signing_alg_values_supported", &["HS256"]);
    let named = oidc.string("issuer").filter(|issuer| !issuer.is_empty()).map(str::to_owned);
    let computed = authentik.map(|authentik| {
        let base = &authentik.base;
        if is_global { format!("{base}/") } else { format!("{base}/application/o/{slug}/") }
    });
    (named.or(computed), has_no_signing_key)
}

fn read_cookie_secrets(object: &mut Object<'_>, session: &Session) -> Vec<Secret<String>> {
    let key = "cookie_secret";
    let secrets = object.secrets(key);
    if session.issue.is_some() {
        if secrets.is_empty() {
            object.fault(key, "is required while sessions are on");
        }
        // An empty one was complained about already.
        let is_short = |secret: &Secret<String>| (1..COOKIE_SECRET_BYTES).contains(&secret.expose().len());
        if secrets.iter().any(is_short) {
            object.fault(key, format!("must have at least {COOKIE_SECRET_BYTES} bytes"));
        }
    }
    secrets
}

fn read_basic_auth(object: &mut Object<'_>) -> Option<BasicAuth> {
    let enabled = object.bool_or("basic_auth_enabled", false);
    let basic_auth = BasicAuth {
        user_attribute: object.string("basic_auth_user_attribute").unwrap_or_default().to_owned(),
        password_attribute: object.string("basic_auth_password_attribute").unwrap_or_default().to_owned(),
        send_empty_password: object.word_or(
            "basic_auth_empty_password",
            true,
            &[("send", true), ("omit", false)],
        ),
    };
    enabled.then_some(basic_auth)
}

/// One pattern a line. A blank line would match every path, as it does in authentik's own outpost: dropped.
fn read_skip_paths(object: &mut Object<'_>, warnings: &mut Vec<String>) -> Vec<Regex> {
    let key = "skip_path_regex";
    let text = object.lines(key).unwrap_or_default();
    let mut patterns = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|_| !text.is_empty()) {
        let number = index.saturating_add(1);
        if line.trim().is_empty() {
            warnings.push(format!("{}: line {number} is blank and was dropped", object.path_of(key)));
            continue;
        }
        match Regex::new(line) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => object.fault(key, format!("line {number} is not a regular expression: {error}")),
        }
    }
    patterns
}

/// Two providers that answer for the same host would make the choice a matter of order.
fn check_distinct(root: &Object<'_>, providers: &[Rc<Provider>]) {
    let mut seen = BTreeSet::new();
    for provider in providers {
        let (field, place) = match (provider.mode, &provider.cookie_domain) {
            (Mode::ForwardDomain, Some(domain)) => ("cookie_domain", domain.clone()),
            (Mode::ForwardDomain, None) => continue,
            (Mode::Proxy | Mode::ForwardSingle, _) => {
                ("external_host", provider.external_host.host.to_string())
            }
        };
        if !seen.insert((field, place)) {
            root.fault("providers", format!("\"{}\" has the {field} of another provider", provider.name));
        }
    }
}

fn read_identity_headers(root: &mut Object<'_>) -> Vec<IdentityHeader> {
    let key = "identity_headers";
    let Some(names) = root.strings(key) else { return IdentityHeader::ALL.to_vec() };
    let mut chosen = Vec::new();
    for name in names {
        match IdentityHeader::from_short_name(name) {
            Some(header) if !chosen.contains(&header) => chosen.push(header),
            Some(_) => root.fault(key, format!("names \"{name}\" twice")),
            None => root.fault(key, format!("does not know {name:?}")),
        }
    }
    chosen
}

fn read_owned_headers(root: &mut Object<'_>, seal: Option<&Seal>) -> Vec<String> {
    let key = "owned_headers";
    let names = root.strings(key).unwrap_or_default();
    for name in &names {
        if !header::may_be_owned(name) {
            root.fault(key, format!("{name:?} is not a name that can be taken from clients"));
        }
    }
    let mut owned: Vec<_> = names.into_iter().map(header::normalise).collect();
    if let Some(seal) = seal
        && !header::is_owned(seal.header.as_bytes(), &owned)
    {
        owned.push(seal.header.clone());
    }
    owned
}

fn read_seal(root: &mut Object<'_>) -> Option<Rc<Seal>> {
    root.optional_object("seal").and_then(Seal::read).map(Rc::new)
}

fn read_cors_origins(root: &mut Object<'_>) -> Vec<String> {
    let key = "allow_cors_origins";
    let origins = root.strings(key).unwrap_or_default();
    for (index, _) in origins.iter().enumerate().filter(|(_, origin)| !is_origin(origin)) {
        let what = "must be an origin as browsers send it, such as \"https://app.example.com\"";
        root.fault(&format!("{key}[{index}]"), what);
    }
    origins.into_iter().map(str::to_owned).collect()
}

/// Origins are compared byte by byte with what browsers send, so only that form is one (RFC 6454 §6.2): lower case, no
/// path, no default port, and no pattern.
fn is_origin(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/[]".contains(&byte);
    text.bytes().all(is_plain) && BaseUrl::parse(text).is_ok_and(|url| url.origin() == text)
}

fn read_cache(mut object: Object<'_>) -> Cache {
    Cache {
        ttl_seconds: object.integer_or("ttl_seconds", 60, 0..=86_400),
        negative_ttl_seconds: object.integer_or("negative_ttl_seconds", 10, 0..=300),
        stale_seconds: object.integer_or("stale_seconds", 0, 0..=86_400),
        local_entries: to_usize(object.integer_or("local_entries", 1024, 1..=65_536)),
        shared_slots: u32::try_from(object.integer_or("shared_slots", 4096, 0..=65_536)).unwrap_or_default(),
    }
}

fn read_jwks(mut object: Object<'_>) -> Jwks {
    Jwks {
        refresh_seconds: object.integer_or("refresh_seconds", 300, 5..=86_400),
        min_refresh_interval_seconds: object.integer_or("min_refresh_interval_seconds", 10, 1..=3600),
    }
}

fn read_session(mut object: Object<'_>) -> Session {
    let enabled = object.bool_or("enabled", true);
    let issue = object.word_or(
        "issue",
        Some(SessionIssue::Always),
        &[("always", Some(SessionIssue::Always)), ("login", Some(SessionIssue::Login)), ("never", None)],
    );
    Session {
        issue: issue.filter(|_| enabled),
        max_age_seconds: object.integer_or("max_age_seconds", 86_400, 1..=YEAR),
    }
}

fn read_throttle(mut object: Object<'_>) -> Throttle {
    Throttle {
        failures: u32::try_from(object.integer_or("failures", 10, 0..=100_000)).unwrap_or_default(),
        failures_per_user: u32::try_from(object.integer_or("failures_per_user", 100, 1..=100_000))
            .unwrap_or_default(),
        window_seconds: object.integer_or("window_seconds", 60, 1..=3600),
        trust_source_address: object.bool_or("trust_source_address", false),
    }
}

/// HMAC over the raw text, keyed by the secrets: the environment is part of the configuration, and a digest
/// without a key would let a weak secret be guessed from the names of the shared slots.
fn digest(raw: &[u8], providers: &[Rc<Provider>], seal: Option<&Seal>) -> Option<[u8; 32]> {
    let mut key = Vec::new();
    let mut add = |secret: &[u8]| {
        key.extend_from_slice(&secret.len().to_be_bytes());
        key.extend_from_slice(secret);
    };
    for provider in providers {
        for secret in core::iter::once(&provider.client_secret).chain(&provider.cookie_secrets) {
            add(secret.expose().as_bytes());
        }
    }
    seal.into_iter().flat_map(Seal::values).for_each(add);
    let key = Secret::new(key);
    let mut mac = mac::keyed(key.expose())?;
    mac::update(&mut mac, raw);
    Some(mac::finish(mac))
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
