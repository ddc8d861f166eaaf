//! The settings of `cache`: how long verdicts are remembered, and how many.

use super::kinds::Integer;
use super::list::settings;

settings! {
    /// How long a valid credential is remembered, in seconds; never past the token's `exp`.
    TTL_SECONDS: Integer = Integer::new("ttl_seconds", 0..=86_400, 60),
        change: "Lower: a revoked app password stops earlier. Higher: authentik gets fewer calls.",
        example: "300";

    /// How long a refusal of authentik is remembered, in seconds.
    NEGATIVE_TTL_SECONDS: Integer = Integer::new("negative_ttl_seconds", 0..=300, 10),
        change: "Lower: a new app password works earlier after a failed attempt.",
        example: "3";

    /// How long past `ttl_seconds` a valid credential is accepted while authentik fails, in seconds; never past `exp`.
    STALE_SECONDS: Integer = Integer::new("stale_seconds", 0..=86_400, 0),
        change: "Known users must get through an outage of authentik. A revoked credential passes for as long.",
        example: "600";

    /// Most verdicts, and most opened sessions, that a worker remembers. Together they take at most 10 KiB times this number.
    LOCAL_ENTRIES: Integer = Integer::new("local_entries", 1..=65_536, 1024),
        change: "More users than this are active at one time.",
        example: "4096";

    /// Verdicts of exchanges and introspections that all workers share. A slot takes at most 16 KiB.
    SHARED_SLOTS: Integer = Integer::new("shared_slots", 0..=65_536, 4096),
        change: "More credentials than this are in use at one time. 0: no verdict is shared.",
        example: "16384";
}
