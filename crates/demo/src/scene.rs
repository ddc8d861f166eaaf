//! Scenes: what can happen to a gateway, played with bounded load, for who wants to see it in the metrics.
//!
//! Owns: what happens when, and what there is to watch. Must not: run without an end; each scene has a number of seconds,
//! and sends at most [`PER_SECOND`] requests in each, crowds apart.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope, sleep};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fake_authentik::gate::Gate;
use fake_authentik::{ALICE, Authentik, Fault, TOKEN};
use local_envoy::EnvoyOptions;
use serde_json::json;

use crate::client::Answers;

/// Requests in a second of a steady load.
const PER_SECOND: u32 = 10;

/// Requests of a crowd.
const CROWD: usize = 200;

/// Seconds for each crowd.
const CROWD_EVERY: u64 = 30;

/// What is played.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// authentik is down for half of the time.
    Outage,
    /// Somebody tries passwords of a user.
    Guessing,
    /// Many new users arrive at one time, and authentik is slow.
    Crowd,
    /// The provider's key pair is swapped.
    Rotation,
    /// The filter stands in shadow mode behind an outpost, and disagrees with it here and there.
    Shadow,
}

impl Scene {
    const ALL: [(&'static str, Self); 5] = [
        ("outage", Self::Outage),
        ("guessing", Self::Guessing),
        ("crowd", Self::Crowd),
        ("rotation", Self::Rotation),
        ("shadow", Self::Shadow),
    ];

    /// The scene of this name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let names = Self::ALL.map(|(name, _)| name).join(", ");
        let scene = Self::ALL.into_iter().find(|(it, _)| *it == name).map(|(_, scene)| scene);
        let scene = scene.ok_or_else(|| format!("SCENE={name} is none of {names}"))?;
        if scene == Self::Rotation && !fake_authentik::HAS_KEY_PAIRS {
            return Err("this demo was built without key pairs: run `make run SCENE=rotation`".to_owned());
        }
        Ok(scene)
    }

    /// The stand-in's application that the scene uses.
    pub(crate) const fn slug(self) -> &'static str {
        match self {
            Self::Rotation => "es",
            Self::Outage | Self::Guessing | Self::Crowd | Self::Shadow => "demo",
        }
    }

    /// What the scene needs of the filter.
    pub(crate) fn set(self, options: &mut EnvoyOptions, client_secret: &str) {
        match self {
            Self::Outage => options.configuration["authentik"]["timeout_seconds"] = json!(2),
            Self::Rotation => {
                let slug = self.slug();
                let provider = &mut options.configuration["providers"][0];
                provider["assigned_application_slug"] = json!(slug);
                provider["client_id"] = json!(format!("{slug}-client-id"));
                options.environment.insert("AUTHENTIK_CLIENT_SECRET".to_owned(), client_secret.to_owned());
                options.configuration["jwks"] =
                    json!({"refresh_seconds": 10, "min_refresh_interval_seconds": 1});
            }
            Self::Shadow => options.configuration["shadow"] = json!({}),
            Self::Guessing | Self::Crowd => {}
        }
    }

    /// Expressions to watch in Prometheus, each with what it should show.
    pub(crate) const fn watch(self) -> &'static [(&'static str, &'static str)] {
        const OUTCOMES: &str = "sum by (authentik_outcome) (rate(authentik_proxy_requests_total[30s]))";
        const RESULTS: &str = "sum by (authentik_result) (rate(authentik_proxy_authentik_calls_total[30s]))";
        const LIMIT: &str = "authentik_proxy_call_limit";
        match self {
            Self::Outage => &[
                (
                    OUTCOMES,
                    "unavailable appears with the outage and goes with it; allowed is never zero: alice is cached",
                ),
                (RESULTS, "ok, then unreachable, then ok"),
                (LIMIT, "falls to 5 (1 of the worker, 4 of the main thread), then rises"),
            ],
            Self::Guessing => &[
                (
                    "sum by (authentik_reason) (rate(authentik_proxy_requests_total[30s]))",
                    "refused for ten guesses in a minute, throttled for the rest; ok goes on: alice herself is cached",
                ),
                (RESULTS, "refused, far below the rate of guesses"),
            ],
            Self::Crowd => &[
                (
                    "authentik_proxy_waiting_requests",
                    "jumps with each crowd, and falls as fast as authentik answers (the filter writes it once a second)",
                ),
                ("authentik_proxy_pending_calls", "the same, less the calls that are out"),
                (LIMIT, "rises from 8 to 12 (8 of the worker, 4 of the main thread) while answers are good"),
                (
                    "histogram_quantile(0.99, sum by (le) (rate(authentik_proxy_authentik_call_milliseconds_bucket[30s])))",
                    "between 250 and 500: the stand-in takes 300 ms",
                ),
            ],
            Self::Shadow => &[
                (
                    "sum by (authentik_result) (rate(authentik_proxy_shadow_total[30s]))",
                    "agree; would_deny and would_allow in the second half",
                ),
                (
                    "sum by (authentik_outcome) (rate(authentik_proxy_requests_total[30s]))",
                    "nothing: the filter decides nothing",
                ),
            ],
            Self::Rotation => &[
                (
                    OUTCOMES,
                    "allowed; denied for a second at most, if the keys were fetched right before the new one (jwks.min_refresh_interval_seconds)",
                ),
                (
                    "sum by (authentik_result) (rate(authentik_proxy_authentik_calls_total{authentik_endpoint=\"jwks\"}[30s]))",
                    "a fetch each ten seconds, and one more for each new key",
                ),
                ("authentik_proxy_keys_age_seconds", "a saw-tooth between 0 and about 10"),
            ],
        }
    }
}

/// Where a scene is played.
pub(crate) struct Stage<'a> {
    /// Envoy's.
    pub(crate) port: u16,
    pub(crate) authentik: &'a Mutex<Authentik>,
    /// The outpost's stand-in before the filter, in [`Scene::Shadow`].
    pub(crate) gate: Option<&'a Gate>,
    /// How long the scene takes, crowds that still wait apart.
    pub(crate) seconds: u64,
    pub(crate) is_stopped: &'a AtomicBool,
}

impl Stage<'_> {
    /// Plays the scene to its end, or until it is stopped. Prints each step with its second.
    pub(crate) fn play(&self, scene: Scene) {
        let (start, answers) = (Instant::now(), Answers::default());
        let say = |what: &str| println!("[{:>3} s] {what}", start.elapsed().as_secs());
        thread::scope(|scope| {
            let run = Run { stage: self, scope, answers: &answers, slug: scene.slug() };
            let say = |what: &str, part: &mut dyn FnMut()| {
                if self.goes_on() {
                    say(what);
                    part();
                    println!("        {}", answers.summary());
                }
            };
            let quarter = Duration::from_secs(self.seconds) / 4;
            match scene {
                Scene::Outage => {
                    let load = |time, name: &str| run.load(time, |number| run.known_or_new(name, number));
                    say(
                        "authentik answers; every second request is alice's, the others are of new users",
                        &mut || {
                            load(quarter, "before");
                        },
                    );
                    self.authentik().down();
                    say("authentik is down", &mut || load(2 * quarter, "meanwhile"));
                    self.authentik().up();
                    say("authentik is back", &mut || load(quarter, "after"));
                }
                Scene::Guessing => {
                    say("every fifth request is alice's, the others try passwords", &mut || {
                        run.load(4 * quarter, |number| match number % 5 {
                            0 => basic("alice", ALICE),
                            _ => basic("alice", &format!("guess-{number}")),
                        });
                    })
                }
                Scene::Crowd => {
                    self.authentik().fault(TOKEN, Fault::Delay(Duration::from_millis(300)));
                    for crowd in 0..(self.seconds / CROWD_EVERY).max(1) {
                        say("a crowd of 200 new users", &mut || run.crowd(crowd));
                    }
                }
                Scene::Shadow => {
                    self.open_gate(&basic("alice", ALICE));
                    say("gate and filter know alice, and refuse wrong passwords", &mut || {
                        run.load(2 * quarter, |number| match number % 5 {
                            0 => basic("alice", "wrong"),
                            _ => basic("alice", ALICE),
                        });
                    });
                    self.open_gate(&basic("carol", "taken-back"));
                    let dan = run.newcomer("dan");
                    say(
                        "the gate still lets carol in, whose password authentik has taken back, and does not know dan yet",
                        &mut || {
                            run.load(2 * quarter, |number| match number % 5 {
                                0 => basic("carol", "taken-back"),
                                1 => dan.clone(),
                                _ => basic("alice", ALICE),
                            });
                        },
                    );
                }
                Scene::Rotation => {
                    let load = || run.load(quarter, |_| run.token());
                    say("authentik keeps its key; each request has a new token", &mut || load());
                    for _ in 0..3 {
                        self.authentik().rotate(scene.slug());
                        say("authentik has a new key", &mut || load());
                    }
                }
            }
        });
        say(&format!("the scene is over: {}", answers.summary()));
    }

    fn authentik(&self) -> MutexGuard<'_, Authentik> {
        self.authentik.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate lets this credential in, as alice.
    fn open_gate(&self, authorization: &str) {
        if let Some(gate) = self.gate {
            gate.lets_in(authorization, &gate.identity(&self.authentik(), "alice"));
        }
    }

    fn goes_on(&self) -> bool {
        !self.is_stopped.load(Ordering::Relaxed)
    }
}

/// A scene that is played.
struct Run<'a, 'scope, 'env> {
    stage: &'a Stage<'a>,
    scope: &'scope Scope<'scope, 'env>,
    answers: &'scope Answers,
    slug: &'static str,
}

impl Run<'_, '_, '_> {
    /// A steady load for so long.
    fn load(&self, time: Duration, authorization: impl Fn(u32) -> String) {
        let (start, pause) = (Instant::now(), Duration::from_secs(1) / PER_SECOND);
        for number in 0.. {
            if start.elapsed() >= time || !self.stage.goes_on() {
                return;
            }
            self.answers.send(self.scope, self.stage.port, authorization(number));
            sleep(pause);
        }
    }

    /// Many at one time, then quiet until the next.
    fn crowd(&self, crowd: u64) {
        let start = Instant::now();
        for number in 0..CROWD {
            let authorization = self.newcomer(&format!("crowd-{crowd}-{number}"));
            self.answers.send(self.scope, self.stage.port, authorization);
        }
        while start.elapsed() < Duration::from_secs(CROWD_EVERY.min(self.stage.seconds))
            && self.stage.goes_on()
        {
            sleep(Duration::from_millis(100));
        }
    }

    fn known_or_new(&self, name: &str, number: u32) -> String {
        if number.is_multiple_of(2) {
            basic("alice", ALICE)
        } else {
            self.newcomer(&format!("{name}-{number}"))
        }
    }

    /// Somebody whom the filter has not seen yet.
    fn newcomer(&self, username: &str) -> String {
        self.stage.authentik().edit_user(username, |_| {});
        basic(username, &format!("{username}-app-password"))
    }

    fn token(&self) -> String {
        format!("Bearer {}", self.stage.authentik().issue(self.slug, "alice"))
    }
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
}
