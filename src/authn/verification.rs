//! Asking authentik: one credential on its way, who waits for it, how many calls are out, who guesses.

pub(crate) mod key_fetch;
pub(crate) mod limit;
pub(crate) mod pending;
pub(crate) mod rate_limit;
pub(crate) mod single_flight;
