//! What is measured once and is no cost of a request: memory, and the time from the configuration to the first answer.

use std::thread;
use std::time::{Duration, Instant};

use fake_authentik::{Fault, Gate};
use local_envoy::Envoy;

use super::load::Client;
use super::variants::{Alg, Asks, Filter, Site};
use super::world::World;

const WORKERS: u32 = 4;
const CREDENTIALS: usize = 10_000;
const STARTS: usize = 5;

pub(crate) struct Once {
    /// Of Envoy with four workers, before the first request and after each worker has met all credentials.
    pub(crate) noop: [u64; 2],
    pub(crate) ours: [u64; 2],
    pub(crate) noop_start: Duration,
    pub(crate) our_start: Duration,
    /// From authentik's answer with the keys to the answer of a request that waits for them.
    pub(crate) keys_to_answer: Duration,
}

impl Once {
    /// What a worker takes more than with the no-op filter.
    pub(crate) fn bytes_per_worker(&self) -> i64 {
        (self.ours[1] as i64 - self.noop[1] as i64) / i64::from(WORKERS)
    }
}

pub(crate) fn measure(world: &World) -> Once {
    let noop = Site::Noop { workers: WORKERS };
    let ours = Filter::new(Alg::Hs256);
    let median = |run: &dyn Fn() -> Duration| {
        let mut times: Vec<_> = (0..STARTS).map(|_| run()).collect();
        times.sort();
        times[STARTS / 2]
    };
    Once {
        noop: memory(world, noop),
        ours: memory(world, Site::Filter(Filter { workers: WORKERS, ..ours })),
        noop_start: median(&|| start(world, Site::Noop { workers: 1 })),
        our_start: median(&|| start(world, Site::Filter(ours))),
        keys_to_answer: median(&|| keys_to_answer(world, ours)),
    }
}

fn memory(world: &World, site: Site) -> [u64; 2] {
    let lines = world.lines(Asks::Distinct(CREDENTIALS));
    let envoy = world.serve(site, world.options(site));
    // Each worker must have started, and have the keys.
    let mut first = Client::open(envoy.port(), WORKERS);
    first.ask_all(lines.iter().cycle().take(WORKERS as usize), 200);
    drop(first);
    let before = envoy.memory();
    thread::scope(|scope| {
        for mut client in [(); WORKERS as usize].map(|()| Client::open(envoy.port(), 1)) {
            let lines = &lines;
            scope.spawn(move || client.ask_all(lines.iter(), 200));
        }
    });
    [before, envoy.memory()]
}

/// From the start of the process to the first `200`.
fn start(world: &World, site: Site) -> Duration {
    let line = &world.lines(Asks::Distinct(1))[0];
    let options = world.options(site);
    let start = Instant::now();
    let envoy = Envoy::start(options);
    assert_eq!(Client::open(envoy.port(), 1).ask(line), 200);
    start.elapsed()
}

fn keys_to_answer(world: &World, filter: Filter) -> Duration {
    let line = &world.lines(Asks::Distinct(1))[0];
    let gate = Gate::closed();
    let jwks = format!("/application/o/{}/jwks/", filter.alg.slug());
    world.authentik.forget_calls();
    world.authentik.fault(&jwks, Fault::Held(gate.clone()));
    let envoy = Envoy::start(world.options(Site::Filter(filter)));
    let elapsed = thread::scope(|scope| {
        let answered = scope.spawn(|| {
            assert_eq!(Client::open(envoy.port(), 1).ask(line), 200);
            Instant::now()
        });
        while world.authentik.count(&jwks) == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        // So that the request waits already.
        thread::sleep(Duration::from_millis(200));
        assert!(!answered.is_finished(), "answered without keys");
        let opened = Instant::now();
        gate.open();
        answered.join().expect("an answer") - opened
    });
    world.authentik.clear_faults();
    elapsed
}
