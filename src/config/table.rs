//! THE TABLE of settings: name, kind, range, default and meaning of each, once.
//!
//! Owns: every setting of the configuration. The parser ([`super::read`] and what is beside it) reads through these
//! entries; the JSON Schema, the reference page (`docs/configuration-reference.md`) and the hints of the native tool are
//! made from [`ROWS`]. A file below this one has the settings of one object; here are those of the configuration itself.
//! Must not: read a configuration. What makes a combination of settings wrong, the parser says.

pub mod authentik;
pub mod beyond_api;
pub mod cache;
#[cfg(not(target_arch = "wasm32"))]
pub mod describe;
pub mod events;
pub mod jwks;
pub mod kinds;
mod list;
pub mod oidc;
pub mod provider;
pub mod seal;
pub mod session;
pub mod shadow;
pub mod throttle;

use self::kinds::{Boolean, Integer, NamedSections, Need, Rule, Section, Sections, Text, Texts};
use self::list::settings;

settings! {
    /// How the filter reaches authentik.
    AUTHENTIK: Section = Section::required("authentik"), fields: [authentik::ROWS];

    /// The name of the outpost: the value of `x-authentik-meta-outpost`.
    OUTPOST_NAME: Text = Text::or("outpost_name", Rule::Plain, "envoy"),
        change: "An application reads the name, or several gateways must be told apart.",
        example: "\"edge\"";

    /// authentik's proxy providers: entries of `GET /api/v3/outposts/proxy/`, or written by hand. A single provider answers for
    /// every host, unless `authentik.token` is set. With `authentik.token` these count before authentik's entries with the same
    /// slug or host.
    PROVIDERS: Sections = Sections { name: "providers", need: Need::WithoutToken },
        fields: [provider::ROWS, beyond_api::ROWS];

    /// Settings of the providers that come from authentik's API, which does not have these.
    PROVIDER_DEFAULTS: Section = Section::optional("provider_defaults"), fields: [beyond_api::ROWS];

    /// The same for single providers, by the slug of their application. They count before `provider_defaults`.
    PROVIDER_OVERRIDES: NamedSections = NamedSections { name: "provider_overrides" }, fields: [beyond_api::ROWS],
        example: "{\"wiki\": {\"bearer_verification\": \"introspection\"}}";

    /// Short names of the identity headers that are sent; all twelve by default. The others are stripped from requests all the
    /// same.
    IDENTITY_HEADERS: Texts = Texts { name: "identity_headers", rule: Rule::IdentityHeader, default: None },
        change: "The application reads a few of them. Each header that is left out makes a request cheaper.",
        example: "[\"username\", \"groups\"]";

    /// Names of further headers that only the filter may set. Clients cannot send them in any spelling.
    OWNED_HEADERS: Texts = Texts { name: "owned_headers", rule: Rule::OwnedHeader, default: Some(&[]) },
        change: "The user attribute `additionalHeaders` sets headers whose names do not begin with `x-authentik-`.",
        example: "[\"x-tenant\"]";

    /// A secret header by which a policy behind the filter knows the requests that the filter forwarded. There is no seal by
    /// default.
    SEAL: Section = Section::optional("seal"), fields: [seal::ROWS],
        change: "Always in production: Envoy forwards every request while the filter is missing.",
        example: "{\"values\": [{\"env\": \"AUTHENTIK_SEAL\"}]}";

    /// Shadow mode: the filter stands behind another gate, compares its own decision with what the gate did, and changes
    /// nothing. Off by default.
    SHADOW: Section = Section::optional("shadow"), fields: [shadow::ROWS],
        change: "Before the filter replaces an outpost behind `ext_authz`.",
        example: "{\"gate_header\": \"x-authentik-username\"}";

    /// Grace for a token's `nbf` and `iat`, in seconds. `exp` has none.
    CLOCK_SKEW_SECONDS: Integer = Integer::new("clock_skew_seconds", 0..=3600, 60),
        change: "The clocks of Envoy and of authentik differ by more.",
        example: "120";

    /// Whether CORS preflights pass without an identity.
    ALLOW_CORS_PREFLIGHT: Boolean = Boolean::new("allow_cors_preflight", false),
        change: "Scripts of other origins call the application, and the application answers preflights itself.";

    /// Origins whose scripts may read the filter's own replies, such as a `401`. Compared byte by byte with what browsers send.
    ALLOW_CORS_ORIGINS: Texts = Texts { name: "allow_cors_origins", rule: Rule::Origin, default: Some(&[]) },
        change: "A script of another origin must see why its request failed.",
        example: "[\"https://app.example.com\"]";

    /// How long verdicts are remembered, and how many.
    CACHE: Section = Section::optional("cache"), fields: [cache::ROWS];

    /// How often signing keys are fetched.
    JWKS: Section = Section::optional("jwks"), fields: [jwks::ROWS];

    /// Session cookies and the login flow.
    SESSION: Section = Section::optional("session"), fields: [session::ROWS];

    /// The rate limit of refused credentials.
    THROTTLE: Section = Section::optional("throttle"), fields: [throttle::ROWS];
}
