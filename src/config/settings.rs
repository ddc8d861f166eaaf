//! What a checked configuration says.

use core::time::Duration;
use std::rc::Rc;

use regex_lite::Regex;

use super::meta::MetaHeaders;
use super::seal::Seal;
use crate::base::header::IdentityHeader;
use crate::base::secret::Secret;
use crate::base::url::{BaseUrl, HostAndPort};

/// A whole, checked configuration.
#[derive(Debug)]
pub struct Config {
    /// How authentik is reached.
    pub authentik: Authentik,
    /// Value of `x-authentik-meta-outpost`.
    pub outpost_name: String,
    /// At least one, unless there is an `outpost`; which one a request belongs to is
    /// [`crate::authn::provider::directory::Directory`]'s business.
    pub providers: Vec<Rc<Provider>>,
    /// The outpost whose providers there are too.
    pub outpost: Option<Outpost>,
    /// authentik's event log. `None`: it is not read.
    pub events: Option<Events>,
    /// The identity headers to send, out of authentik's twelve.
    pub identity_headers: Vec<IdentityHeader>,
    /// Further names that only the filter may set: lower case, `_` read as `-`. Has the seal's name if that is not an
    /// owned one by itself.
    pub owned_headers: Vec<String>,
    /// The header that every request carries which the filter lets go on.
    pub seal: Option<Rc<Seal>>,
    /// Shadow mode: no decision is applied.
    pub shadow: Option<Shadow>,
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
    /// Eight hex digits that replicas with one configuration have in common. Follows no secret.
    pub public_digest: String,
    /// What is odd but not wrong, for the log.
    pub warnings: Vec<String>,
}

/// Shadow mode.
#[derive(Debug)]
pub struct Shadow {
    /// The header that the gate adds to each request that it allows, in lower case.
    pub gate_header: String,
    /// Names of providers for which the filter decides all the same.
    pub switched: Vec<String>,
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

/// An outpost of authentik, whose providers the filter takes from authentik's API.
#[derive(Debug)]
pub struct Outpost {
    /// An API token that may read it.
    pub token: Secret<String>,
    /// Its name. `None`: every provider that the token sees.
    pub name: Option<String>,
    /// How often its providers are read.
    pub refresh_seconds: u64,
    /// What its providers have beyond the API.
    pub defaults: BeyondApi,
    /// The same for single ones, by slug.
    pub overrides: Vec<(String, BeyondApi)>,
}

/// authentik's event log, from which the filter learns what has ended.
#[derive(Debug)]
pub struct Events {
    /// An API token that may read events, and write them.
    pub token: Secret<String>,
    /// How often the log is read.
    pub interval_seconds: u64,
}

/// What a provider has beyond authentik's API.
#[derive(Debug, Clone, Copy)]
pub struct BeyondApi {
    /// See [`BasicAuth::send_empty_password`].
    pub send_empty_password: bool,
    /// See [`Provider::bearer_verification`].
    pub bearer_verification: BearerVerification,
    /// See [`Provider::revalidate_seconds`].
    pub revalidate_seconds: u64,
    /// See [`Provider::federated_bearer`].
    pub federated_bearer: bool,
}

/// A number that a provider has in one worker: its index in [`Config::providers`], or a later one, which no other provider had
/// before it.
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

impl Provider {
    /// What it answers for. `None`: nothing.
    pub fn place(&self) -> Option<Place<'_>> {
        match (self.mode, &self.cookie_domain) {
            (Mode::ForwardDomain, domain) => domain.as_deref().map(Place::Domain),
            (Mode::Proxy | Mode::ForwardSingle, _) => Some(Place::Host(&self.external_host.host)),
        }
    }
}

/// What a provider answers for. No two providers have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// One host.
    Host(&'a HostAndPort),
    /// The hosts below a domain.
    Domain(&'a str),
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
    /// The configured origin that this `Origin` header has, byte for byte: its scripts may read the filter's own replies.
    pub fn allowed_origin(&self, origin: Option<&[u8]>) -> Option<&str> {
        let origin = origin?;
        self.allow_cors_origins.iter().map(String::as_str).find(|allowed| allowed.as_bytes() == origin)
    }
}
