//! What a request costs in calls of the host: each is a border crossing, so their number is pinned.

use std::collections::BTreeMap;

use super::fixture::{bearer, configuration, get, passed_as, send, token, worker, world};

#[test]
fn a_cached_bearer_request_makes_no_more_host_calls_than_it_did() {
    let world = world();
    let mut vm = worker(&world, &configuration("rs"));
    let authorization = bearer(token("rs"));
    assert_eq!(send(&mut vm, get(&authorization)), passed_as("alice"));
    world.reset_host_calls();
    assert_eq!(send(&mut vm, get(&authorization)), passed_as("alice"));
    let calls = BTreeMap::from([
        ("proxy_get_header_map_pairs", 1),
        ("proxy_get_current_time_nanoseconds", 1),
        ("proxy_remove_header_map_value", 1),
        ("proxy_add_header_map_value", 12),
        // User name, reason, source, provider: for the access log.
        ("proxy_set_property", 4),
        ("proxy_increment_metric", 1),
    ]);
    assert_eq!(
        world.host_calls(),
        calls,
        "fewer: lower the numbers here; more: every request of every user pays for it, so say in the commit why"
    );
}
