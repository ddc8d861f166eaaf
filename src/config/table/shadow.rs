//! The settings of `shadow`.

use super::kinds::{Rule, Text, Texts};
use super::list::settings;

settings! {
    /// A header that the gate in front of the filter adds to each request that it allows. A request without the header is
    /// answered with `503`, unless the filter itself would leave its path open.
    GATE_HEADER: Text = Text::or("gate_header", Rule::OwnedHeader, "x-authentik-username"),
        change: "The gate does not send `x-authentik-username`.",
        example: "\"x-authentik-uid\"";

    /// Names of providers that are switched: for their hosts the filter decides, as without shadow mode, and no gate is asked
    /// for.
    SWITCHED: Texts = Texts { name: "switched", rule: Rule::Plain, default: Some(&[]) },
        change: "One application after the other moves from the gate to the filter.",
        example: "[\"demo\"]";
}
