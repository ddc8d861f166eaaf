//! The settings of a provider that authentik's API does not have: of an entry of `providers`, of `provider_defaults`, and of
//! each object of `provider_overrides`.

use super::kinds::{Boolean, Integer, Words, YEAR, words};
use super::list::settings;
use crate::config::settings::BearerVerification;

settings! {
    /// Whether the header is sent when there is no password. authentik's outpost does not send it.
    SENDS_EMPTY_PASSWORD: Words<bool> =
        words!("basic_auth_empty_password", ["send" => true, "omit" => false], true),
        change: "The application must not see a user without a password.",
        example: "\"omit\"";

    /// Who verifies a Bearer token: the filter with the provider's keys, authentik's introspection endpoint, or authentik for
    /// those tokens that the filter cannot decide.
    BEARER_VERIFICATION: Words<BearerVerification> = words!("bearer_verification", [
        "local" => BearerVerification::Local,
        "introspection" => BearerVerification::Introspection,
        "local_then_introspection" => BearerVerification::LocalThenIntrospection,
    ], BearerVerification::Local),
        change: "A revoked token must stop before its `exp`, or tokens are opaque.",
        example: "\"introspection\"";

    /// Tokens and sessions are introspected at first sight and again at this interval, in seconds. 0: never.
    REVALIDATE_SECONDS: Integer = Integer::new("revalidate_seconds", 0..=YEAR, 0),
        change: "A disabled user or an ended session must stop within this time.",
        example: "300";

    /// Whether Bearer JWTs of other issuers are exchanged at authentik as client assertions (RFC 7523).
    FEDERATED_BEARER: Boolean = Boolean::new("federated_bearer", false),
        change: "Jobs of a CI system or service accounts of Kubernetes call with their own tokens.";
}
