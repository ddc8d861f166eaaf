//! The settings of `throttle`: the rate limit of refused credentials.

use super::kinds::{Boolean, Integer};
use super::list::settings;

settings! {
    /// Refused credentials of a user name in the window, after which unknown ones get `429`. 0: there is no rate limit.
    FAILURES: Integer = Integer::new("failures", 0..=100_000, 10),
        change: "Users mistype more often than that, or fewer guesses must be possible.",
        example: "20";

    /// With `trust_source_address`: the same for a user name from all addresses together, and for an address with all user
    /// names together.
    FAILURES_PER_USER: Integer = Integer::new("failures_per_user", 1..=100_000, 100),
        change: "Many users share an address, or fewer guesses must be possible.",
        example: "500";

    /// The time in which refused credentials are counted, in seconds.
    WINDOW_SECONDS: Integer = Integer::new("window_seconds", 1..=3600, 60),
        change: "Slower guesses must be counted too.",
        example: "300";

    /// Whether refused credentials are counted for each user name and source address, so that an attacker does not limit the
    /// user. Only where Envoy's `source.address` is the client's own.
    TRUST_SOURCE_ADDRESS: Boolean = Boolean::new("trust_source_address", false),
        change: "At the edge, where Envoy sees the address of the client.";
}
