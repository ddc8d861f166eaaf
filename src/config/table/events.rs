//! The settings of `authentik.events`: how authentik's event log is read.

use super::kinds::{Integer, Need, OneSecret, Rule};
use super::list::settings;

settings! {
    /// An API token whose user may read authentik's event log (permission `authentik_events.view_event`) and write to it
    /// (`authentik_events.add_event`).
    TOKEN: OneSecret = OneSecret { name: "token", rule: Rule::Visible, need: Need::Always },
        example: "{\"env\": \"AUTHENTIK_EVENTS_TOKEN\"}";

    /// How often the log is read, in seconds: once for each Envoy, and up to a tenth of the time later.
    INTERVAL_SECONDS: Integer = Integer::new("interval_seconds", 5..=3600, 15),
        change: "A sign-out must count earlier, or many replicas must ask less often.",
        example: "60";
}
