//! Many clients, the real Envoy, and an authentik that fails, changes its keys and comes back: a long run in which the
//! right outcome of every request is known, and every one is judged.
//!
//! A request is written into the [`ledger`] with everything that may become of it before it is sent; what [`weather`]
//! is around it (an outage, a key swap) may allow a second outcome, from before the event's cause until it is seen that
//! every worker knows. The application names each request that it saw and everything that it was told of the user. A
//! *wrong decision* is an answer that was not allowed, or an application that saw what it must not.
//!
//! `make soak` runs it for ten minutes, a few seconds of the same are an ordinary test. Time is a verdict in one place:
//! how long a disabled user may still pass.

mod browsers;
mod client;
mod credentials;
mod crowds;
mod events;
mod expectation;
mod ledger;
mod report;
mod site;
mod transport;
mod users;
mod weather;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use local_envoy::Envoy;

use self::client::Client;
use self::events::{Event, Programme, Stage};
use self::report::{Figures, GROWTH};
use self::site::Site;
use super::place::{assert_secretless, eventually};

const CLIENTS: u64 = 10;

#[test]
fn a_short_soak_has_no_wrong_decision() {
    let (first, second) = Event::ALL.split_at(5);
    let stages = [(2, Programme::of(first)), (1, Programme::of(second))];
    let short = Duration::from_millis(300);
    let pace = Pace { stage: Duration::ZERO, outage: short, calm: short, is_whole: true };
    soak(stages.into(), &pace, &|_| Box::new(|| {}));
}

/// What looks at the running Envoy from outside: called when it serves, and what is returned when its clients have ended.
pub(crate) type Watch<'a> = dyn for<'e> Fn(&'e Envoy) -> Box<dyn FnOnce() + 'e> + 'a;

/// One stage of the soak with two workers and half of the events, watched.
pub(crate) fn watched(watch: impl for<'e> Fn(&'e Envoy) -> Box<dyn FnOnce() + 'e>) {
    let (events, _) = Event::ALL.split_at(5);
    let second = Duration::from_secs(1);
    let pace = Pace { stage: Duration::ZERO, outage: 2 * second, calm: second, is_whole: false };
    soak([(2, Programme::of(events))].into(), &pace, &watch);
}

#[test]
#[ignore = "ten minutes: make soak"]
fn a_long_soak_has_no_wrong_decision() {
    let seconds = std::env::var("SOAK_SECONDS").ok().filter(|it| !it.is_empty());
    let seconds: u64 = seconds.map_or(600, |it| it.parse().expect("SOAK_SECONDS is a number"));
    let stages = [2, 1, 3, 4].map(|workers| (workers, Programme::endless()));
    let stage = Duration::from_secs(seconds) / u32::try_from(stages.len()).expect("a few");
    let pace = Pace { stage, outage: Duration::from_secs(4), calm: Duration::from_secs(1), is_whole: true };
    soak(stages.into(), &pace, &|_| Box::new(|| {}));
}

/// How long things last at least.
struct Pace {
    /// One Envoy; one whose programme ends sooner ends with it.
    stage: Duration,
    outage: Duration,
    /// Between two events.
    calm: Duration,
    /// Every event must happen, and a request of every kind must pass.
    is_whole: bool,
}

/// One Envoy after the other, with so many workers.
#[expect(clippy::print_stdout, reason = "the table is what `make soak` is for")]
fn soak(stages: Vec<(u32, Programme)>, pace: &Pace, watch: &Watch<'_>) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let seed = std::env::var("SOAK_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(since);
    let site = Site::new();
    site.weather.may_be(site.settings.lock().unwrap().name());
    let mut figures = Vec::new();
    let mut happened: BTreeMap<Event, (u32, Duration)> = BTreeMap::new();
    for (stage, (workers, mut programme)) in (1_u64..).zip(stages) {
        let run = Run { site: &site, workers, seed: seed.wrapping_mul(1_000).wrapping_add(stage * 100) };
        figures.push(run.stage(&mut programme, pace, &mut happened, watch));
    }
    for stage in &figures {
        if let Err(reason) = stage.growth() {
            site.ledger.fault(reason);
        }
    }
    for kind in site.ledger.never_passed().into_iter().filter(|_| pace.is_whole) {
        site.ledger.fault(format!("{kind}: not one got through"));
    }
    let events: Vec<_> =
        happened.iter().map(|(event, (count, time))| (event.to_string(), *count, *time)).collect();
    let (wrong, shown) = site.ledger.wrong();
    println!("{}", report::table(seed, &site.ledger, &figures, &events));
    println!("memory may grow by {} KiB a worker from the third quarter to the last", GROWTH / 1024);
    for reason in &shown {
        println!("WRONG: {reason}");
    }
    let seconds: u64 = figures.iter().map(|it| it.time.as_secs()).sum();
    let verdict = if wrong == 0 { "passed" } else { "FAILED" };
    println!(
        "soak {verdict}: {seconds} s, {} requests, {wrong} wrong decisions or faults",
        site.ledger.sent()
    );
    assert_eq!(wrong, 0, "wrong decisions or faults; the first are above");
    if pace.is_whole {
        assert_eq!(happened.len(), Event::ALL.len(), "not everything happened: SOAK_SECONDS is too few");
    }
}

/// One Envoy on the site.
struct Run<'a> {
    site: &'a Site,
    workers: u32,
    seed: u64,
}

impl Run<'_> {
    fn stage(
        &self,
        programme: &mut Programme,
        pace: &Pace,
        happened: &mut BTreeMap<Event, (u32, Duration)>,
        watch: &Watch<'_>,
    ) -> Figures {
        let site = self.site;
        let (sent_before, start) = (site.ledger.sent(), Instant::now());
        let mut envoy = Envoy::start(site.options(self.workers));
        let seen = watch(&envoy);
        let memory = Mutex::new(Vec::new());
        let (clients_stop, all_stop) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !all_stop.load(Ordering::Relaxed) {
                    self.hear_the_application();
                    site.authentik.read().unwrap().forget_calls();
                    sleep(Duration::from_millis(100));
                }
            });
            scope.spawn(|| {
                while !all_stop.load(Ordering::Relaxed) {
                    // An Envoy that has ended has none.
                    let Ok(bytes) = catch_unwind(AssertUnwindSafe(|| envoy.memory())) else { return };
                    memory.lock().unwrap().push(bytes);
                    sleep(Duration::from_secs(1));
                }
            });
            let mut clients: Vec<_> = (1..=CLIENTS)
                .map(|number| {
                    let name = format!("{} workers, client {number}", self.workers);
                    let client = Client::new(site, envoy.port(), name, self.seed + number);
                    let stop = &clients_stop;
                    scope.spawn(move || client.run(stop))
                })
                .collect();
            let named = |name: &str, number| {
                Client::new(
                    site,
                    envoy.port(),
                    format!("{} workers, {name}", self.workers),
                    self.seed + number,
                )
            };
            let crowds = named("crowds", CLIENTS + 1);
            clients.push(scope.spawn(|| crowds.run_crowds(&clients_stop)));
            let client = named("events", 0);
            let mut stage = Stage { envoy: &envoy, client, workers: self.workers, outage: pace.outage };
            sleep(pace.calm);
            while let Some(event) = programme.next() {
                let began = Instant::now();
                match catch_unwind(AssertUnwindSafe(|| stage.happen(event))) {
                    Ok(Ok(())) => {}
                    Ok(Err(reason)) => site.ledger.fault(format!("{event}: {reason}")),
                    Err(_) => site.ledger.fault(format!("{event}: a panic; it is above")),
                }
                let (count, total) = happened.entry(event).or_default();
                (*count, *total) = (*count + 1, *total + began.elapsed());
                sleep(pace.calm);
                // After a fault the rest would say the same again and again.
                if (programme.is_endless() && start.elapsed() >= pace.stage) || site.ledger.wrong().0 > 100 {
                    break;
                }
            }
            clients_stop.store(true, Ordering::Relaxed);
            for client in clients {
                client.join().expect("a client does not panic");
            }
            let idle = catch_unwind(AssertUnwindSafe(|| is_idle(&envoy)));
            if idle.is_err() {
                site.ledger.fault("Envoy has requests that nobody waits for".to_owned());
            }
            all_stop.store(true, Ordering::Relaxed);
        });
        seen();
        self.hear_the_application();
        site.ledger.settle(&site.weather);
        let log = self.health(&mut envoy);
        Figures {
            workers: self.workers,
            time: start.elapsed(),
            requests: site.ledger.sent() - sent_before,
            memory: memory.into_inner().unwrap(),
            log_bytes: log.len(),
        }
    }

    fn hear_the_application(&self) {
        for shown in self.site.app.take() {
            self.site.ledger.sighted(self.site.people.read(&shown));
        }
    }

    /// Envoy is the one that was started, the filter never failed, and nobody's secret is in the log: the log.
    fn health(&self, envoy: &mut Envoy) -> String {
        let ledger = &self.site.ledger;
        let log = envoy.log();
        if !envoy.runs() {
            ledger.fault(format!("Envoy has ended:\n{log}"));
            return log;
        }
        for failure in envoy.filter_failures(self.workers) {
            ledger.fault(format!("the filter failed: {failure}"));
        }
        if catch_unwind(|| assert_secretless(&log)).is_err() {
            ledger.fault("a secret is in the log; the line is above".to_owned());
        }
        log
    }
}

/// Waits until Envoy has nothing under way, upstream or down.
fn is_idle(envoy: &Envoy) {
    for gauge in ["http.ingress.downstream_rq_active", "cluster.app.upstream_rq_active"] {
        eventually(gauge, || envoy.stats(gauge).get(gauge) == Some(&0));
    }
}
