//! All replicas restart at once: nobody is known, and everybody comes back within a second.
//!
//! Owns: the crowd, and what authentik gets of it. Must not: know how a call is limited.

use std::collections::BTreeMap;
use std::sync::OnceLock;

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

/// Those of the page: an authentik that answers ten calls a second and none while it has more than forty.
pub(super) fn scenes() -> &'static [(Scene, Restart)] {
    static SCENES: OnceLock<Vec<(Scene, Restart)>> = OnceLock::new();
    SCENES.get_or_init(|| {
        [(1, 8), (3, 8), (3, 6), (10, 8), (10, 2), (30, 8), (30, 1)]
            .map(|(replicas, max_concurrent_calls)| {
                let scene = Scene {
                    replicas,
                    workers: 2,
                    users: 500,
                    per_second: 10,
                    bears: 40,
                    max_concurrent_calls,
                };
                (scene, restart(scene, 900))
            })
            .into()
    })
}

/// A step is the time in which an idle authentik answers.
#[test]
fn restarted_fleet_leaves_authentik_s_capacity_in_the_next_step_where_two_calls_a_worker_fit() {
    for (scene, seen) in scenes() {
        let workers = scene.replicas * scene.workers;
        assert_eq!(seen.inside, scene.users, "{scene:?}: everybody gets in");
        if 2 * workers <= scene.bears {
            assert!(seen.overloaded.0 <= 1, "{scene:?}: {seen:?}");
        }
        if scene.max_concurrent_calls * workers <= scene.bears {
            assert_eq!(seen.overloaded, (0, 0), "{scene:?}: {seen:?}");
            assert_eq!(seen.exchanges, scene.users, "{scene:?}: nobody is asked for twice");
        }
        assert!(seen.peak <= 2 * scene.bears.max(workers), "{scene:?}: {seen:?}");
    }
}
