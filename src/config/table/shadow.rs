//! The settings of `shadow`.

use super::kinds::{Rule, Text};
use super::list::settings;

settings! {
    /// A header that the gate in front of the filter adds to each request that it allows. A request without the header is
    /// answered with `503`, unless the filter itself would leave its path open.
    GATE_HEADER: Text = Text::or("gate_header", Rule::OwnedHeader, "x-authentik-username"),
        change: "The gate does not send `x-authentik-username`.",
        example: "\"x-authentik-uid\"";
}
