//! The settings of `jwks`: how often signing keys are fetched.

use super::kinds::Integer;
use super::list::settings;

settings! {
    /// How often the keys of a provider are fetched, in seconds, by one worker for all.
    REFRESH_SECONDS: Integer = Integer::new("refresh_seconds", 5..=86_400, 300),
        change: "A withdrawn signing key must stop earlier.",
        example: "60";

    /// The least time between two fetches, in seconds: a token with an unknown `kid` causes at most one in this time.
    MIN_REFRESH_INTERVAL_SECONDS: Integer = Integer::new("min_refresh_interval_seconds", 1..=3600, 10),
        change: "Lower: a new signing key is known earlier. Higher: strange tokens cost authentik fewer calls.",
        example: "30";
}
