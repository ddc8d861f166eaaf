//! What `make bench` runs: this filter beside Envoy's own, in the real Envoy with one worker. Owns the order of events;
//! what is compared is in `variants`, who asks in `load`, what is counted in `counters`, what rounds of load say
//! together in `rounds`, what is written in `report`, what the filter is judged by in `budgets`.
//!
//! Environment: `BENCH_ROUNDS` (15; 0 counts instructions only) and `BENCH_SECONDS` (1) of load for each variant;
//! `BENCH_QUICK=1`: one round, fewer requests, nothing is written; `BENCH_MODULE=/path`: that module instead
//! of the one built here, its variants only, nothing is written; `BENCH_WITHOUT_CALLGRIND=1`: no counts by callgrind;
//! `BENCH_ONLY=text`: only variants with this in their name, nothing is written.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use local_envoy::{Envoy, module};

use self::counters::Callgrind;
use self::load::{Client, Wrk};
use self::report::{Report, Results};
use self::variants::{Filter, Site, Variant};
use self::world::World;

mod budgets;
mod chart;
mod counters;
mod floor;
mod load;
mod once;
mod report;
mod rounds;
mod variants;
mod world;

/// Envoys that are started under callgrind at one time: a count does not depend on what else runs.
const AT_ONCE: usize = 2;

/// How long a first judgement may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the environment asks for.
pub(crate) struct Plan {
    rounds: usize,
    seconds: u64,
    is_quick: bool,
    /// Of the module that is compared; only its variants are measured.
    module: Option<PathBuf>,
    /// Of variants.
    only: Option<String>,
    has_perf: bool,
    /// Where the processor itself does not count.
    has_callgrind: bool,
}

impl Plan {
    fn read() -> Self {
        let text = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
        let number = |name: &str, default| {
            text(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
        };
        let is_set = |name: &str| text(name).is_some_and(|text| text != "0");
        let is_quick = is_set("BENCH_QUICK");
        let has_perf = counters::has_perf();
        Self {
            rounds: number("BENCH_ROUNDS", if is_quick { 1 } else { 15 }) as usize,
            seconds: number("BENCH_SECONDS", 1),
            is_quick,
            module: text("BENCH_MODULE").map(PathBuf::from),
            only: text("BENCH_ONLY"),
            has_perf,
            has_callgrind: !has_perf && !is_set("BENCH_WITHOUT_CALLGRIND") && Callgrind::is_there(),
        }
    }

    fn is_written(&self) -> bool {
        !self.is_quick && self.module.is_none() && self.only.is_none()
    }
}

fn main() {
    let plan = Plan::read();
    let world = World::start(&plan);
    let variants = variants::all(&plan);
    check(&world, &variants);
    let mut results = Results::default();
    if plan.has_callgrind {
        count(&world, &variants, &plan, &mut results);
    }
    time(&world, &variants, &plan, &mut results);
    let once = plan.is_written().then(|| once::measure(&world));
    let report = Report::new(&plan, &variants, results, once);
    let text = report.markdown();
    println!("{text}");
    if plan.is_written() {
        // Before anything is written: it says whether the tree is clean.
        let summary = report.summary();
        std::fs::create_dir_all(module::root().join("docs")).expect("docs/ can be made");
        std::fs::write(module::root().join("docs/benchmark.md"), text).expect("docs/ can be written");
        std::fs::write(module::root().join("docs/performance.svg"), chart::svg(&report)).expect("docs/ too");
        write_summary(&summary);
    }
}

/// Between its marks in the short page.
fn write_summary(summary: &str) {
    let path = module::root().join("docs/performance.md");
    let text = std::fs::read_to_string(&path).expect("the short page");
    let (before, rest) = text.split_once(BEGIN).expect("the first mark");
    let (_, after) = rest.split_once(END).expect("the last mark");
    std::fs::write(path, format!("{before}{BEGIN}\n{summary}{END}{after}"))
        .expect("the short page can be written");
}

const BEGIN: &str = "<!-- make bench -->";
const END: &str = "<!-- end of make bench -->";

/// The variants of each Envoy, in the order of the list.
fn by_site(variants: &[Variant]) -> BTreeMap<Site, Vec<usize>> {
    let mut sites: BTreeMap<Site, Vec<usize>> = BTreeMap::new();
    for (index, variant) in variants.iter().enumerate() {
        sites.entry(variant.site).or_default().push(index);
    }
    sites
}

/// Nothing is measured that does not do its work: each variant answers as it must, and a bad credential gets `401`.
fn check(world: &World, variants: &[Variant]) {
    for (site, indices) in by_site(variants) {
        let envoy = world.serve(site, world.options(site));
        let mut client = Client::open(envoy.port(), 1);
        for variant in indices.iter().map(|index| &variants[*index]) {
            let lines = world.lines(variant.asks);
            for line in lines.iter().take(2) {
                assert_eq!(client.ask(line), variant.status(), "{}", variant.name);
            }
        }
        match site {
            Site::ExtAuthz { has_headers: false } => assert!(world.has_said_yes(), "nobody was asked"),
            Site::ExtAuthz { has_headers: true } => {
                assert_eq!(world.arriving(site), world.identity_headers(), "{site:?}");
            }
            Site::Filter(Filter { is_shadow: true, .. }) => {
                // The first judgement may wait for keys.
                let start = Instant::now();
                while !agrees(&envoy) {
                    assert!(start.elapsed() < PATIENCE, "filter and gate do not agree: {}", envoy.log());
                    sleep(Duration::from_millis(100));
                }
            }
            Site::Floor(floor) => assert_eq!(world.arriving(site), world.headers_of(floor), "{site:?}"),
            _ => {}
        }
        if site.authenticates() {
            assert_eq!(client.ask(&world.bad_line(site)), 401, "{site:?} lets a bad token through");
        }
    }
}

/// In shadow mode: whether something was compared, and nothing was found.
fn agrees(envoy: &Envoy) -> bool {
    let scrape = envoy.admin("/stats/prometheus").expect("a scrape");
    let is_found = |line: &&str| line.starts_with("authentik_proxy_shadow_total{") && !line.ends_with(" 0");
    let found: Vec<_> = scrape.lines().filter(is_found).collect();
    !found.is_empty() && found.iter().all(|line| line.contains("authentik_result=\"agree\""))
}

/// Instructions, under callgrind: some Envoys at a time.
fn count(world: &World, variants: &[Variant], plan: &Plan, results: &mut Results) {
    let (sites, counts) = (Mutex::new(by_site(variants)), Mutex::new(&mut results.instructions));
    let work = || {
        while let Some((site, indices)) = next(&sites) {
            for (index, count) in count_site(world, variants, site, &indices, plan) {
                println!("{:>9.1} k instructions  {}", count.0 / 1e3, variants[index].name);
                counts.lock().expect("no panic").insert(index, count);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
}

fn next(sites: &Mutex<BTreeMap<Site, Vec<usize>>>) -> Option<(Site, Vec<usize>)> {
    sites.lock().expect("no panic").pop_first()
}

fn count_site(
    world: &World,
    variants: &[Variant],
    site: Site,
    indices: &[usize],
    plan: &Plan,
) -> Vec<(usize, (f64, f64))> {
    let callgrind = Callgrind::new();
    let mut options = world.options(site);
    options.launcher = callgrind.launcher();
    let envoy = world.serve(site, options);
    let count = |index: &usize| {
        let lines = world.lines(variants[*index].asks);
        let mut client = Client::open(envoy.port(), site.workers());
        (*index, callgrind.count(&envoy, &mut client, &lines, variants[*index].status(), plan.is_quick))
    };
    indices.iter().map(count).collect()
}

/// Time, under load: all Envoys stand ready, and each round meets every variant.
fn time(world: &World, variants: &[Variant], plan: &Plan, results: &mut Results) {
    if plan.rounds == 0 {
        return;
    }
    let start = |site: Site| {
        let mut options = world.options(site);
        options.launcher = ["taskset", "-c", "0"].map(str::to_owned).into();
        (site, world.serve(site, options))
    };
    let is_timed = |variant: &Variant| !variant.is_growth || !plan.has_callgrind;
    let envoys: BTreeMap<_, _> = by_site(variants)
        .into_iter()
        .filter(|(_, all)| all.iter().any(|it| is_timed(&variants[*it])))
        .map(|(site, _)| start(site))
        .collect();
    let mut loads: BTreeMap<usize, Wrk> = BTreeMap::new();
    for round in 1..=plan.rounds {
        for (index, variant) in variants.iter().enumerate().filter(|(_, variant)| is_timed(variant)) {
            let envoy = &envoys[&variant.site];
            let wrk = loads.entry(index).or_insert_with(|| {
                let lines = world.lines(variant.asks);
                Client::open(envoy.port(), variant.site.workers()).warm_up(&lines, variant.status());
                Wrk::new(&lines)
            });
            let sample = wrk.run(envoy, plan.seconds, variant.status(), plan.has_perf);
            println!("round {round}: {:>7.1} us CPU  {}", sample.cpu_us, variant.name);
            results.rounds.entry(index).or_default().0.push(sample);
        }
    }
}
