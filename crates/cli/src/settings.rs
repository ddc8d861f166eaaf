//! THE TABLE of settings: name, kind, default, meaning.
//!
//! Owns: what the schema and the hints for unknown fields are made from. A test holds it to the parser, which has its own list.
//! Must not: judge a configuration.

/// A field of an object of the configuration.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) is_required: bool,
    pub(crate) kind: Kind,
    /// JSON; empty: none, or no single one.
    pub(crate) default: &'static str,
    pub(crate) meaning: &'static str,
}

/// What a value may be.
pub(crate) enum Kind {
    Object(&'static [Setting]),
    /// At least one.
    Objects(&'static [Setting]),
    /// An object that may have any other fields too.
    ForeignObject(&'static [Setting]),
    /// Accepted and not used.
    Anything,
    Boolean,
    /// A whole number in this range.
    Integer(u64, u64),
    Words(&'static [&'static str]),
    /// A string that matches this pattern (ECMA 262).
    Text(&'static str),
    /// A header's name with this pattern, in any case, but none of these; `*`: what begins so.
    Header(&'static str, &'static [&'static str]),
    /// A list of such names.
    Headers(&'static str, &'static [&'static str]),
    /// A list of strings, each with this pattern.
    Texts(&'static str),
    /// A list of some of these words, none twice.
    Choice(&'static [&'static str]),
    /// A string, or the name of a variable of the environment.
    Secret,
    /// One secret or a list.
    Secrets,
    /// One value of the seal or up to this many.
    SealValues(u64),
}

const YEAR: u64 = 366 * 24 * 60 * 60;

/// No control characters.
const PLAIN: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
const PLAIN_NOT_EMPTY: &str = r"^[^\u0000-\u001f\u007f-\u009f]+$";
const NOT_EMPTY: &str = r"^[\s\S]+$";
const LINES: &str = r"^[\s\S]*$";
const SLUG: &str = "^[-a-zA-Z0-9_]+$";
const DOMAIN: &str = r"^(\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?)?$";
const URL: &str = r"^https?://[^/?#@\s]+(/[^/?#\s]+)*/*$";
/// Lower case, no path, and no port that is the scheme's default.
const ORIGIN: &str = r"^(?!http://.*:80$)(?!https://.*:443$)https?://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$";
/// A token of RFC 9110.
const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
const SEAL_HEADER: &str = "^[-a-zA-Z0-9]+$";

/// Without these a request is none.
const NEVER_OWNED: &[&str] =
    &["host", "content-length", "transfer-encoding", "connection", "authorization", "cookie"];

/// What only the proxy or the filter may say.
const NEVER_A_SEAL: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "authorization",
    "cookie",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "trailers",
    "upgrade",
    "http2-settings",
    "forwarded",
    "expect",
    "x-forwarded-*",
    "x-envoy-*",
    "x-authentik-username",
    "x-authentik-groups",
    "x-authentik-entitlements",
    "x-authentik-email",
    "x-authentik-name",
    "x-authentik-uid",
    "x-authentik-jwt",
    "x-authentik-meta-jwks",
    "x-authentik-meta-outpost",
    "x-authentik-meta-provider",
    "x-authentik-meta-app",
    "x-authentik-meta-version",
];

/// The short names of the twelve identity headers.
pub(crate) const IDENTITY_HEADERS: [&str; 12] = [
    "username",
    "groups",
    "entitlements",
    "email",
    "name",
    "uid",
    "jwt",
    "meta-jwks",
    "meta-outpost",
    "meta-provider",
    "meta-app",
    "meta-version",
];

const fn required(name: &'static str, kind: Kind, meaning: &'static str) -> Setting {
    Setting { name, is_required: true, kind, default: "", meaning }
}

const fn optional(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, is_required: false, kind, default, meaning }
}

/// The whole configuration.
pub(crate) const ROOT: &[Setting] = &[
    required("authentik", Kind::Object(AUTHENTIK), "How authentik is reached"),
    optional("outpost_name", Kind::Text(PLAIN), r#""envoy""#, "Value of x-authentik-meta-outpost"),
    required(
        "providers",
        Kind::Objects(PROVIDER),
        "authentik's proxy providers: entries of GET /api/v3/outposts/proxy/, or written by hand",
    ),
    optional(
        "identity_headers",
        Kind::Choice(&IDENTITY_HEADERS),
        "",
        "The identity headers to send; all twelve by default. The others are stripped all the same",
    ),
    optional(
        "owned_headers",
        Kind::Headers(TOKEN, NEVER_OWNED),
        "[]",
        "Further header names that only the filter may set",
    ),
    optional(
        "seal",
        Kind::Object(SEAL),
        "",
        "A secret header by which a policy behind the filter knows its requests",
    ),
    optional(
        "clock_skew_seconds",
        Kind::Integer(0, 3600),
        "60",
        "Grace for a token's nbf and iat; exp has none",
    ),
    optional("allow_cors_preflight", Kind::Boolean, "false", "Let CORS preflights pass without identity"),
    optional(
        "allow_cors_origins",
        Kind::Texts(ORIGIN),
        "[]",
        "Origins whose scripts may read the filter's own replies, as browsers send them",
    ),
    optional("cache", Kind::Object(CACHE), "", "Caching of verdicts"),
    optional("jwks", Kind::Object(JWKS), "", "Refreshing of signing keys"),
    optional("session", Kind::Object(SESSION), "", "Session cookies and the login flow"),
    optional("throttle", Kind::Object(THROTTLE), "", "The rate limit of refused credentials"),
];

const AUTHENTIK: &[Setting] = &[
    required("cluster", Kind::Text(PLAIN_NOT_EMPTY), "Envoy cluster that leads to authentik"),
    required("host", Kind::Text(URL), "authentik's URL as browsers see it; may have a path prefix"),
    optional("timeout_seconds", Kind::Integer(1, 60), "5", "Limit of each call"),
    optional("max_response_bytes", Kind::Integer(4096, 16 << 20), "1048576", "Longest answer that is read"),
    optional("max_concurrent_calls", Kind::Integer(1, 1024), "8", "Most concurrent calls per worker"),
    optional("max_pending_calls", Kind::Integer(1, 65_536), "256", "Most waiting calls per worker"),
    optional("max_wait_seconds", Kind::Integer(1, 300), "15", "Longest wait for a place, then 503"),
];

const PROVIDER: &[Setting] = &[
    required("assigned_application_slug", Kind::Text(SLUG), "Slug of the application"),
    required("client_id", Kind::Text(PLAIN_NOT_EMPTY), "OAuth 2.0 client identifier of the provider"),
    required("client_secret", Kind::Secret, "OAuth 2.0 client secret of the provider"),
    optional(
        "cookie_secret",
        Kind::Secrets,
        "",
        "At least 32 bytes; required while sessions are on. Of a list the first seals and all open",
    ),
    required("external_host", Kind::Text(URL), "The application's URL as browsers see it"),
    optional("name", Kind::Text(PLAIN), "", "Value of x-authentik-meta-provider; the slug by default"),
    optional(
        "mode",
        Kind::Words(&["proxy", "forward_single", "forward_domain"]),
        r#""forward_single""#,
        "authentik's mode of the provider",
    ),
    optional(
        "cookie_domain",
        Kind::Text(DOMAIN),
        r#""""#,
        "Domain of the cookies; in forward_domain every host below it is this provider's",
    ),
    optional(
        "intercept_header_auth",
        Kind::Boolean,
        "true",
        "authentik's \"Intercept header authentication\"",
    ),
    optional("basic_auth_enabled", Kind::Boolean, "false", "authentik's \"Send HTTP-Basic Authentication\""),
    optional(
        "basic_auth_user_attribute",
        Kind::Text(PLAIN),
        r#""""#,
        "User attribute with the user name; the e-mail address by default",
    ),
    optional("basic_auth_password_attribute", Kind::Text(PLAIN), r#""""#, "User attribute with the password"),
    optional(
        "basic_auth_empty_password",
        Kind::Words(&["send", "omit"]),
        r#""send""#,
        "Whether a header is sent when there is no password",
    ),
    optional(
        "skip_path_regex",
        Kind::Text(LINES),
        r#""""#,
        "Paths that need no authentication: one regular expression a line",
    ),
    optional(
        "scopes_to_request",
        Kind::Texts(NOT_EMPTY),
        r#"["openid", "profile", "email", "entitlements", "ak_proxy"]"#,
        "Asked for with every exchange and login",
    ),
    optional(
        "access_token_validity",
        Kind::Integer(1, YEAR),
        "86400",
        "Longest life of a session, in seconds",
    ),
    optional(
        "issuer_mode",
        Kind::Words(&["per_provider", "global"]),
        r#""per_provider""#,
        "authentik's issuer mode",
    ),
    optional("oidc_configuration", Kind::ForeignObject(OIDC), "", "As in authentik's entry"),
    optional(
        "bearer_verification",
        Kind::Words(&["local", "introspection", "local_then_introspection"]),
        r#""local""#,
        "Who vouches for a Bearer token",
    ),
    optional(
        "revalidate_seconds",
        Kind::Integer(0, YEAR),
        "0",
        "Introspect tokens and sessions at first sight and again at this interval; 0: never",
    ),
    optional("federated_bearer", Kind::Boolean, "false", "Exchange Bearer JWTs of other issuers"),
    optional("pk", Kind::Anything, "", UNUSED),
    optional("internal_host", Kind::Anything, "", UNUSED),
    optional("internal_host_ssl_validation", Kind::Anything, "", UNUSED),
    optional("certificate", Kind::Anything, "", UNUSED),
    optional("assigned_application_name", Kind::Anything, "", UNUSED),
];

const UNUSED: &str = "In an entry of authentik's API, and not used";

const OIDC: &[Setting] = &[
    optional("issuer", Kind::Text(PLAIN), "", "Used instead of the computed issuer"),
    optional(
        "id_token_signing_alg_values_supported",
        Kind::Anything,
        "",
        "[\"HS256\"]: the provider has no signing key",
    ),
];

const SEAL: &[Setting] = &[
    optional(
        "header",
        Kind::Header(SEAL_HEADER, NEVER_A_SEAL),
        r#""x-authentik-seal""#,
        "Header that every forwarded request carries",
    ),
    required(
        "values",
        Kind::SealValues(4),
        "At least 16 bytes, visible ASCII. The first is sent; the others say what the policy may still accept",
    ),
];

const CACHE: &[Setting] = &[
    optional("ttl_seconds", Kind::Integer(0, 86_400), "60", "How long a valid credential is remembered"),
    optional(
        "negative_ttl_seconds",
        Kind::Integer(0, 300),
        "10",
        "How long a refusal of authentik is remembered",
    ),
    optional(
        "stale_seconds",
        Kind::Integer(0, 86_400),
        "0",
        "How long past its TTL a valid credential is accepted while authentik fails",
    ),
    optional("local_entries", Kind::Integer(1, 65_536), "1024", "Entries per worker"),
    optional("shared_slots", Kind::Integer(0, 65_536), "4096", "Slots shared by all workers"),
];

const JWKS: &[Setting] = &[
    optional("refresh_seconds", Kind::Integer(5, 86_400), "300", "How often keys are fetched"),
    optional(
        "min_refresh_interval_seconds",
        Kind::Integer(1, 3600),
        "10",
        "Least time between two fetches for an unknown key",
    ),
];

const SESSION: &[Setting] = &[
    optional("enabled", Kind::Boolean, "true", "Session cookies and the login flow"),
    optional(
        "issue",
        Kind::Words(&["always", "login", "never"]),
        r#""always""#,
        "After what a session cookie is set",
    ),
    optional("max_age_seconds", Kind::Integer(1, YEAR), "86400", "Longest life of a session"),
];

const THROTTLE: &[Setting] = &[
    optional("failures", Kind::Integer(0, 100_000), "10", "Refused credentials in the window; 0: never"),
    optional(
        "failures_per_user",
        Kind::Integer(1, 100_000),
        "100",
        "The same from all source addresses together",
    ),
    optional("window_seconds", Kind::Integer(1, 3600), "60", "The window"),
    optional(
        "trust_source_address",
        Kind::Boolean,
        "false",
        "Count per source address too; only where Envoy's source.address is the client's own",
    ),
];

/// The names of the fields of an object: "" the configuration, `providers[]` one of the list.
pub(crate) fn names_in(path: &str) -> Vec<&'static str> {
    let mut settings = ROOT;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let name = step.trim_end_matches("[]");
        let Some(setting) = settings.iter().find(|setting| setting.name == name) else { return Vec::new() };
        settings = match setting.kind {
            Kind::Object(fields) | Kind::Objects(fields) | Kind::ForeignObject(fields) => fields,
            _ => return Vec::new(),
        };
    }
    settings.iter().map(|setting| setting.name).collect()
}
