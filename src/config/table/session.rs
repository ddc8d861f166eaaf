//! The settings of `session`: session cookies and the login flow.

use super::kinds::{Boolean, Integer, Words, YEAR, words};
use super::list::settings;
use crate::config::settings::SessionIssue;

settings! {
    /// Whether there are session cookies and a login flow. Off, browsers are redirected to
    /// `<external_host>/outpost.goauthentik.io/start`, for an outpost behind the filter.
    ENABLED: Boolean = Boolean::new("enabled", true),
        change: "The application is for programs only, or an outpost logs browsers in.";

    /// After what a session cookie is set: every authentication, the browser's login flow only, or nothing, as if sessions were
    /// off.
    ISSUE: Words<Option<SessionIssue>> = words!("issue", [
        "always" => Some(SessionIssue::Always),
        "login" => Some(SessionIssue::Login),
        "never" => None,
    ], Some(SessionIssue::Always)),
        change: "Programs that send a credential with every request must get no cookie.",
        example: "\"login\"";

    /// The longest life of a session, in seconds.
    MAX_AGE_SECONDS: Integer = Integer::new("max_age_seconds", 1..=YEAR, 86_400),
        change: "Users must log in more often, or less often.",
        example: "28800";
}
