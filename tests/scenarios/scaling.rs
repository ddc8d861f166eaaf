//! How many calls a fleet makes to authentik: the closed formulas of `docs/scaling.md`, and a simulation of the core that they
//! are held to. The page's tables are made from the formulas and the simulation; `SCALING=write` replaces them.
//!
//! Owns: the formulas, and fleets in their steady state. Must not: know how a call is made, or judge by the clock.

pub(crate) mod fleet;
mod page;
mod restart;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde_json::{Value, json};

use super::core::Core;
use super::{NOW, Subject as _, basic, configuration, log_in, merge, token};
use fleet::{Authentik, Fleet, Numbers, Outcome, User};

/// How far a simulation may be from its formula. Counts of this length spread by about 1 %; a cache that does not remember, or
/// that workers do not share, is farther away by far.
const TOLERANCE: f64 = 0.05;

/// The filter counts in whole seconds, so a lifetime is half a second shorter on average than its setting.
const ROUNDING: f64 = 0.5;

/// Calls per second for a credential that each replica remembers for `lifetime` seconds: after that time, the user's next
/// request at this replica causes one. `pause`: seconds between two requests of a user, of which each replica gets its part.
pub(crate) fn remembered_by_replicas(users: usize, replicas: usize, lifetime: u64, pause: f64) -> f64 {
    users as f64 / ((lifetime as f64 - ROUNDING) / replicas as f64 + pause)
}

/// Calls per second for what the client carries in its cookie: every replica opens it, so their number does not matter.
fn carried_by_clients(users: usize, lifetime: u64, pause: f64) -> f64 {
    users as f64 / (lifetime as f64 - ROUNDING + pause)
}

/// Most fetches of key sets per second: a worker comes up to a tenth of the interval early.
fn key_sets(providers: usize, replicas: usize, refresh_seconds: u64) -> f64 {
    (providers * replicas) as f64 / (0.9 * refresh_seconds as f64)
}

/// The settings beside the provider, with these changed. Clients without cookies get none.
fn rest(changes: Value) -> Value {
    let mut rest = json!({"session": {"issue": "login"}, "throttle": {"failures": 0}});
    merge(&mut rest, &changes);
    rest
}

fn basic_users(count: usize) -> Vec<User> {
    let credential = |user| Some(basic(&format!("user-{user}"), "an app password"));
    (0..count).map(|user| User { authorization: credential(user), ..User::default() }).collect()
}

fn bearer_users(count: usize) -> Vec<User> {
    let token = |user| token(&json!({"preferred_username": format!("user-{user}"), "exp": NOW + 86_400}));
    let credential = |user| Some(format!("Bearer {}", token(user)));
    (0..count).map(|user| User { authorization: credential(user), ..User::default() }).collect()
}

/// They have logged in one after the other within `seconds`.
fn browsers(count: usize, configuration: &str, seconds: u64) -> Vec<User> {
    let mut core = Core::new(configuration);
    let mut passed = 0;
    let mut log_in = |user: usize| {
        let at = user as u64 * seconds / count as u64;
        core.advance(at - passed);
        passed = at;
        User {
            cookie: Some(log_in(&mut core, &format!("user-{user}"))),
            takes_cookies: true,
            authorization: None,
        }
    };
    (0..count).map(&mut log_in).collect()
}

/// A fleet in its steady state.
struct Steady {
    replicas: usize,
    workers: usize,
    /// Seconds between two requests of a user, on average; each goes to a replica and a worker by chance.
    pause: f64,
    /// The longest lifetime: within it the users come for the first time, and their first two cycles are not counted.
    lifetime: u64,
    /// Whether a user stays with one replica.
    is_sticky: bool,
}

/// Seconds that are counted, at least; and in lifetimes.
const WINDOW: u64 = 600;
const CYCLES: u64 = 8;

impl Steady {
    /// Calls per second, by the last segment of their path.
    fn calls(&self, configuration: &str, users: Vec<User>) -> BTreeMap<String, f64> {
        let mut numbers = Numbers::new(42);
        let cycle = self.lifetime * 1000 + (self.pause * 1000.0) as u64;
        let mut due: BinaryHeap<_> =
            (0..users.len()).map(|user| Reverse((numbers.below(cycle as usize) as u64, user))).collect();
        let mut fleet = Fleet::new(configuration, (self.replicas, self.workers), Authentik::idle(), users);
        let window = WINDOW.max(CYCLES * self.lifetime) * 1000;
        let mut before = None;
        while fleet.elapsed() < 2 * cycle + window {
            if fleet.elapsed() >= 2 * cycle {
                before.get_or_insert_with(|| fleet.authentik.calls.clone());
            }
            let mut requests = Vec::new();
            while let Some(Reverse((at, user))) = due.peek().copied()
                && at <= fleet.elapsed()
            {
                due.pop();
                let chosen = numbers.below(self.replicas);
                requests.push((user, if self.is_sticky { user % self.replicas } else { chosen }));
                due.push(Reverse((at + numbers.pause(self.pause), user)));
            }
            fleet.step(&requests, &mut numbers, |user, outcome| {
                assert!(matches!(outcome, Outcome::Forwarded), "user {user} gets in");
            });
        }
        let before = before.unwrap();
        let calls = fleet.authentik.calls.into_iter();
        calls
            .map(|(name, count)| {
                let counted = count - before.get(&name).copied().unwrap_or_default();
                (name, counted as f64 * 1000.0 / window as f64)
            })
            .collect()
    }
}

#[track_caller]
fn assert_near(what: &str, calls: &BTreeMap<String, f64>, endpoint: &str, expected: f64) {
    let found = calls.get(endpoint).copied().unwrap_or_default();
    let is_near = (found - expected).abs() <= TOLERANCE * expected;
    assert!(is_near, "{what}: {found:.3} calls per second, {expected:.3} by the formula");
    let others: Vec<_> = calls
        .iter()
        .filter(|(name, count)| !["jwks", endpoint].contains(&name.as_str()) && **count > 0.0)
        .collect();
    assert!(others.is_empty(), "{what}: {others:?}");
}

const USERS: usize = 60;

#[test]
fn basic_costs_one_exchange_for_each_user_replica_and_lifetime() {
    for (replicas, workers, ttl, pause) in
        [(1, 1, 60, 10.0), (1, 4, 60, 10.0), (3, 2, 60, 10.0), (10, 2, 60, 10.0), (3, 2, 15, 2.0)]
    {
        let configuration = configuration(&json!({}), &rest(json!({"cache": {"ttl_seconds": ttl}})));
        let fleet = Steady { replicas, workers, pause, lifetime: ttl, is_sticky: false };
        let calls = fleet.calls(&configuration, basic_users(USERS));
        let what = format!("Basic, {replicas} × {workers} workers, {ttl} s, a request each {pause} s");
        assert_near(&what, &calls, "token", remembered_by_replicas(USERS, replicas, ttl, pause));
    }
}

#[test]
fn users_who_stay_with_a_replica_cost_as_much_as_with_one_replica() {
    let configuration = configuration(&json!({}), &rest(json!({"cache": {"ttl_seconds": 60}})));
    let fleet = Steady { replicas: 10, workers: 2, pause: 10.0, lifetime: 60, is_sticky: true };
    let calls = fleet.calls(&configuration, basic_users(USERS));
    assert_near("10 replicas, sticky", &calls, "token", remembered_by_replicas(USERS, 1, 60, 10.0));
}

/// What the sharing is worth: without it each worker is a replica of its own.
#[test]
fn without_shared_slots_each_worker_asks_for_itself() {
    let configuration =
        configuration(&json!({}), &rest(json!({"cache": {"ttl_seconds": 60, "shared_slots": 0}})));
    let calls = Steady { replicas: 1, workers: 4, pause: 10.0, lifetime: 60, is_sticky: false }
        .calls(&configuration, basic_users(USERS));
    assert_near("no shared slots, 4 workers", &calls, "token", remembered_by_replicas(USERS, 4, 60, 10.0));
}

#[test]
fn introspected_bearer_costs_one_introspection_for_each_user_replica_and_lifetime() {
    for (provider, ttl, lifetime) in [
        (json!({"bearer_verification": "introspection"}), 60, 60),
        (json!({"bearer_verification": "introspection", "revalidate_seconds": 30}), 60, 30),
        (json!({"revalidate_seconds": 120}), 60, 120),
    ] {
        let configuration = configuration(&provider, &rest(json!({"cache": {"ttl_seconds": ttl}})));
        let fleet = Steady { replicas: 3, workers: 2, pause: 10.0, lifetime, is_sticky: false };
        let calls = fleet.calls(&configuration, bearer_users(USERS));
        let what = format!("{provider}, {lifetime} s");
        assert_near(&what, &calls, "introspect", remembered_by_replicas(USERS, 3, lifetime, 10.0));
    }
}

#[test]
fn local_bearer_costs_no_call_but_those_for_key_sets() {
    let refresh = 60;
    let configuration = configuration(
        &json!({}),
        &rest(json!({"cache": {"ttl_seconds": 15}, "jwks": {"refresh_seconds": refresh}})),
    );
    let fleet = Steady { replicas: 3, workers: 4, pause: 2.0, lifetime: 60, is_sticky: false };
    let calls = fleet.calls(&configuration, bearer_users(20));
    assert_eq!(calls.keys().collect::<Vec<_>>(), ["jwks"], "no call but for keys");
    let (found, most) = (calls["jwks"], key_sets(1, 3, refresh));
    assert!(found <= most && found >= 0.85 * most, "{found} of {most}");
}

#[test]
fn session_costs_one_confirmation_for_each_user_and_interval_however_many_replicas() {
    for (replicas, revalidate) in [(1, 60), (10, 60), (3, 120)] {
        let configuration = configuration(&json!({"revalidate_seconds": revalidate}), &rest(json!({})));
        let users = browsers(USERS, &configuration, revalidate);
        let fleet = Steady { replicas, workers: 2, pause: 10.0, lifetime: revalidate, is_sticky: false };
        let calls = fleet.calls(&configuration, users);
        let what = format!("sessions, {replicas} × 2 workers, confirmed each {revalidate} s");
        assert_near(&what, &calls, "introspect", carried_by_clients(USERS, revalidate, 10.0));
    }
}

#[test]
fn client_that_drops_the_renewed_cookie_is_confirmed_by_each_replica() {
    let configuration = configuration(&json!({"revalidate_seconds": 60}), &rest(json!({})));
    let mut users = browsers(USERS, &configuration, 60);
    users.iter_mut().for_each(|user| user.takes_cookies = false);
    let fleet = Steady { replicas: 10, workers: 2, pause: 10.0, lifetime: 60, is_sticky: false };
    let calls = fleet.calls(&configuration, users);
    assert_near("kept cookie", &calls, "introspect", remembered_by_replicas(USERS, 10, 60, 10.0));
}

/// Also right after a restart, when no replica knows anybody.
#[test]
fn session_without_revalidation_costs_no_call_but_those_for_key_sets() {
    let configuration = configuration(&json!({}), &rest(json!({})));
    let users = browsers(20, &configuration, 60);
    let fleet = Steady { replicas: 3, workers: 2, pause: 10.0, lifetime: 60, is_sticky: false };
    let calls = fleet.calls(&configuration, users);
    assert_eq!(calls.keys().collect::<Vec<_>>(), ["jwks"]);
}

#[test]
fn client_that_keeps_its_cookie_costs_one_exchange_for_each_session() {
    let max_age = 150;
    let configuration =
        configuration(&json!({}), &rest(json!({"session": {"issue": "always", "max_age_seconds": max_age}})));
    let mut users = basic_users(USERS);
    users.iter_mut().for_each(|user| user.takes_cookies = true);
    let calls = Steady { replicas: 10, workers: 2, pause: 10.0, lifetime: max_age, is_sticky: false }
        .calls(&configuration, users);
    assert_near("Basic with cookies", &calls, "token", carried_by_clients(USERS, max_age, 10.0));
}
