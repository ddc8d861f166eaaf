//! All replicas restart at once: nobody is known, and everybody comes back within a second.
//!
//! Owns: the crowd, and what authentik gets of it. Must not: know how a call is limited.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::configuration;
use super::fleet::{Authentik, Fleet, Numbers, Outcome, STEP};
use super::{basic_users, rest};

/// What a restart was like.
#[derive(Debug)]
pub(super) struct Restart {
    /// Seconds until the last user was in; `None`: not within the limit of the run.
    pub(super) seconds: Option<u64>,
    /// Users who were in at the end.
    pub(super) inside: usize,
    /// Most calls that authentik had at one time.
    pub(super) peak: usize,
    /// Exchanges, for as many users.
    pub(super) exchanges: usize,
    /// How often somebody got a `503`.
    pub(super) unavailable: usize,
    /// Most steps in a row in which authentik had more than it bears, and all such steps.
    pub(super) overloaded: (u64, u64),
}

/// One line of the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    pub(super) replicas: usize,
    pub(super) workers: usize,
    pub(super) users: usize,
    /// Calls that authentik answers in a second.
    pub(super) per_second: usize,
    /// Most calls at one time of which it answers any.
    pub(super) bears: usize,
    /// `authentik.max_concurrent_calls`.
    pub(super) max_concurrent_calls: usize,
}

/// Each user stays with one replica, and comes back when `Retry-After` says so. `limit`: seconds after which the run ends.
pub(super) fn restart(scene: Scene, limit: u64) -> Restart {
    let authentik: Value = json!({
        "cluster": "authentik", "host": "https://auth.example.test",
        "max_concurrent_calls": scene.max_concurrent_calls,
    });
    let configuration = configuration(&json!({}), &rest(json!({"authentik": authentik})));
    let serves = scene.per_second * STEP as usize / 1000;
    let mut fleet = Fleet::new(
        &configuration,
        (scene.replicas, scene.workers),
        Authentik::new(serves, scene.bears),
        basic_users(scene.users),
    );
    let mut numbers = Numbers::new(7);
    let mut due: BTreeMap<(u64, usize), usize> = (0..scene.users)
        .map(|user| ((numbers.below(1000) as u64, user), numbers.below(scene.replicas)))
        .collect();
    let replica_of: BTreeMap<_, _> = due.iter().map(|((_, user), replica)| (*user, *replica)).collect();
    let (mut inside, mut unavailable) = (0, 0);
    let mut seconds = None;
    while seconds.is_none() && fleet.elapsed() < limit * 1000 {
        let elapsed = fleet.elapsed();
        let mut requests = Vec::new();
        while let Some(first) = due.first_entry()
            && first.key().0 <= elapsed
        {
            let ((_, user), replica) = first.remove_entry();
            requests.push((user, replica));
        }
        fleet.step(&requests, &mut numbers, |user, outcome| match outcome {
            Outcome::Forwarded => inside += 1,
            Outcome::Unavailable(seconds) => {
                unavailable += 1;
                due.insert((elapsed + seconds * 1000, user), replica_of[&user]);
            }
        });
        seconds = (inside == scene.users).then(|| elapsed.div_ceil(1000));
    }
    assert_eq!(inside + due.len() + fleet.waiting(), scene.users, "nobody is lost, and nobody is in twice");
    let authentik = fleet.authentik;
    Restart {
        seconds,
        inside,
        peak: authentik.peak,
        exchanges: authentik.calls["token"],
        unavailable,
        overloaded: (authentik.most_overloaded, authentik.all_overloaded),
    }
}
