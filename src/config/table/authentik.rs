//! The settings of `authentik`: how the filter reaches it.

use super::kinds::{Integer, Need, OneSecret, Rule, Section, Text};
use super::list::settings;

settings! {
    /// The Envoy cluster that leads to authentik.
    CLUSTER: Text = Text::required("cluster", Rule::Plain),
        example: "\"authentik\"";

    /// authentik's URL as browsers see it. It may have a path prefix. Issuers are computed from it, and it is the authority of
    /// every call.
    HOST: Text = Text::required("host", Rule::Url),
        example: "\"https://auth.example.com\"";

    /// Time limit of each call to authentik, in seconds.
    TIMEOUT_SECONDS: Integer = Integer::new("timeout_seconds", 1..=60, 5),
        change: "authentik answers correctly, but more slowly.",
        example: "10";

    /// The longest answer of authentik that is read, in bytes.
    MAX_RESPONSE_BYTES: Integer = Integer::new("max_response_bytes", 4096..=16 << 20, 1 << 20),
        change: "The log says that an answer `is longer than authentik.max_response_bytes`.",
        example: "4194304";

    /// Most concurrent calls to authentik per worker. The limit starts at 4, grows with good answers, and a failure halves it.
    MAX_CONCURRENT_CALLS: Integer = Integer::new("max_concurrent_calls", 1..=1024, 8),
        change: "Many new users arrive at once and authentik has capacity to spare, or it must be spared.",
        example: "16";

    /// Most calls that wait for a place per worker, for unknown and for known credentials each. Beyond it the reply is `503`.
    MAX_PENDING_CALLS: Integer = Integer::new("max_pending_calls", 1..=65_536, 256),
        change: "Crowds of new users get `503` although authentik answers in time.",
        example: "1024";

    /// Longest time that a call waits for a place, in seconds. Then the reply is `503`.
    MAX_WAIT_SECONDS: Integer = Integer::new("max_wait_seconds", 1..=300, 15),
        change: "Clients give up earlier, or they can wait for longer.",
        example: "5";

    /// The API token of an outpost. With it the filter takes its providers from authentik's API, as an outpost does.
    TOKEN: OneSecret = OneSecret { name: "token", rule: Rule::Visible, need: Need::Never },
        change: "authentik's list of providers must be the configuration.",
        example: "{\"env\": \"AUTHENTIK_TOKEN\"}";

    /// The name of the outpost whose providers count. Needed where the token sees several outposts, as an administrator's does.
    OUTPOST: Text = Text::or("outpost", Rule::Plain, ""),
        change: "The token is not the outpost's own.",
        example: "\"edge\"";

    /// How often the list is read, in seconds: once for each Envoy, and up to a tenth of the time later.
    OUTPOST_REFRESH_SECONDS: Integer = Integer::new("outpost_refresh_seconds", 1..=86_400, 60),
        change: "A change in authentik must count earlier, or many replicas must ask less often.",
        example: "300";

    /// authentik's event log, from which the filter learns who signed out or was changed. It is not read by default.
    EVENTS: Section = Section::optional("events"), fields: [super::events::ROWS],
        change: "A user who is disabled or signs out in authentik must lose access within seconds, and the calls that `revalidate_seconds` makes are too many.",
        example: "{\"token\": {\"env\": \"AUTHENTIK_EVENTS_TOKEN\"}}";
}
