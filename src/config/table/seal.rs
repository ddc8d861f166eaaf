//! The settings of `seal`.

use super::kinds::{Need, Rule, Secrets, Text};
use super::list::settings;

settings! {
    /// The header that every forwarded request carries. Not one of the twelve identity headers; another name than
    /// `x-authentik-…` becomes an owned one.
    HEADER: Text = Text::or("header", Rule::SealHeader, "x-authentik-seal"),
        change: "The policy behind the filter expects another name.",
        example: "\"x-gate\"";

    /// The first value is sent. The others say what the policy may still accept, for a rotation without a refused request.
    VALUES: Secrets = Secrets {
        name: "values", rule: Rule::Visible, need: Need::Always, least_bytes: 16, most: 4,
    },
        change: "To rotate it: let the policy accept old and new, put the new value first, then remove the old one.",
        example: "[{\"env\": \"AUTHENTIK_SEAL\"}]";
}
