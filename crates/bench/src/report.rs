//! What is written: the tables of `docs/benchmark.md` and the short ones of `docs/performance.md`. Judges nothing;
//! `budgets` does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use local_envoy::measured;

use super::Plan;
use super::budgets;
use super::once::Once;
use super::rounds::{Figure, Rounds};
use super::variants::{Asks, Site, Variant};

/// The rows of `docs/performance.md`.
const KNOWN: [&str; 6] = [
    "jwt_authn, cached, six headers",
    "this filter, Bearer cached, six headers",
    "this filter, Bearer cached, twelve headers",
    "this filter, session cookie",
    "this filter, Basic cached",
    "ext_authz to an Envoy that says yes with twelve headers",
];
const FIRST_SIGHT: [&str; 3] = [
    "jwt_authn, RS256 first sight, six headers",
    "this filter, RS256 first sight, no sessions",
    "this filter, RS256 first sight",
];

/// By the place of the variant in the list.
#[derive(Default)]
pub(crate) struct Results {
    /// Instructions per request, and the relative spread of the counts.
    pub(crate) instructions: BTreeMap<usize, (f64, f64)>,
    pub(crate) rounds: BTreeMap<usize, Rounds>,
}

/// One row with its figures.
pub(crate) struct Row<'a> {
    pub(crate) variant: &'a Variant,
    /// Instructions per request; CPU time in nanoseconds where nothing counts them.
    pub(crate) cost: f64,
    /// The same of the same requests without a filter.
    pub(crate) plain: f64,
    pub(crate) rounds: Rounds,
}

pub(crate) struct Report<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) rows: Vec<Row<'a>>,
    /// The largest of all counts.
    spread: f64,
    pub(crate) once: Option<Once>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(plan: &'a Plan, variants: &'a [Variant], results: Results, once: Option<Once>) -> Self {
        let cost = |index: usize| {
            let counted = results.instructions.get(&index).map(|(instructions, _)| *instructions);
            let timed =
                || results.rounds.get(&index)?.median(|it| it.instructions.unwrap_or(it.cpu_us * 1e3));
            counted.or_else(timed).expect("one of both was measured")
        };
        let plain =
            |asks: Asks| variants.iter().position(|it| it.site == Site::Plain && it.asks == asks).map(cost);
        let row = |(index, variant): (usize, &'a Variant)| Row {
            variant,
            cost: cost(index),
            plain: plain(variant.asks).expect("a baseline for all that is asked"),
            rounds: results.rounds.get(&index).cloned().unwrap_or_default(),
        };
        Self {
            plan,
            rows: variants.iter().enumerate().map(row).collect(),
            spread: results.instructions.values().map(|(_, spread)| *spread).fold(0.0, f64::max),
            once,
        }
    }

    /// What the costs are thousands of.
    pub(crate) fn unit(&self) -> &'static str {
        if self.plan.has_callgrind || self.plan.has_perf { "k instructions" } else { "µs of CPU time" }
    }

    pub(crate) fn markdown(&self) -> String {
        let parts = [
            self.head(),
            self.figures(),
            "## Ratios\n\n".to_owned(),
            self.ratios(),
            budgets::markdown(self),
            self.growth(),
            self.single(),
            self.method(),
        ];
        parts.concat()
    }

    /// The short tables of `docs/performance.md`.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{}\nKnown credentials:\n\n{}\nFirst sight of a token, RS256:\n\n{}",
            self.origin(),
            self.short(&KNOWN),
            self.short(&FIRST_SIGHT)
        )
    }

    fn short(&self, names: &[&str]) -> String {
        let mut text = format!(
            "| filter | {} | CPU µs | {} ÷ no filter | {} ÷ `jwt_authn` |\n|---|--:|--:|--:|--:|\n",
            self.unit(),
            self.unit_alone(),
            self.unit_alone()
        );
        for row in names.iter().filter_map(|name| self.row(name)) {
            let cpu =
                row.rounds.median(|it| it.cpu_us).map_or("–".to_owned(), |figure| format!("{figure:.0}"));
            let of_peer =
                self.peer_of(row).map_or("–".to_owned(), |peer| format!("{:.2}", row.cost / peer.cost));
            writeln!(
                text,
                "| {} | {:.1} | {cpu} | {:.2} | {of_peer} |",
                row.variant.name,
                row.cost / 1e3,
                row.cost / row.plain
            )
            .expect("a string");
        }
        text
    }

    fn unit_alone(&self) -> &'static str {
        if self.plan.has_callgrind || self.plan.has_perf { "instructions" } else { "CPU time" }
    }

    fn head(&self) -> String {
        format!(
            "# Benchmark\n\n`make bench` writes this page. [Performance](performance.md) is the short one.\n\n{}\n![Cost of a request over no filter](performance.svg)\n\n",
            self.origin()
        )
    }

    fn origin(&self) -> String {
        let module = self.plan.module.as_ref();
        format!(
            "This filter beside Envoy's own, in one Envoy worker, as `make bench` measured it in one run: commit {}, {}, {}, {}.{}\n",
            measured::commit(),
            measured::envoy_version(),
            measured::machine(),
            measured::today(),
            module.map_or(String::new(), |path| format!(" The module is `{}`.", path.display())),
        )
    }

    fn main_rows(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(|row| !row.variant.is_growth)
    }

    fn figures(&self) -> String {
        let mut text = format!(
            "| filter | {} | over none | CPU µs | requests/s | p50 µs | p99 µs |\n|---|--:|--:|--:|--:|--:|--:|\n",
            self.unit()
        );
        for row in self.main_rows() {
            let cpu = [1, 2, 3].map(|which| row.rounds.quartile(which, |it| it.cpu_us));
            let cpu = match cpu {
                [Some(first), Some(median), Some(third)] => format!("{median:.1} ({first:.0}–{third:.0})"),
                _ => "–".to_owned(),
            };
            let others: [Figure; 3] = [|it| it.per_second, |it| it.p50_us, |it| it.p99_us];
            let others = others
                .map(|of| row.rounds.median(of).map_or("–".to_owned(), |figure| format!("{figure:.0}")));
            let (name, over) = (&row.variant.name, row.cost - row.plain);
            writeln!(
                text,
                "| {name} | {:.1} | {:.1} | {cpu} | {} |",
                row.cost / 1e3,
                over / 1e3,
                others.join(" | ")
            )
            .expect("a string");
        }
        text + "\n\"Over none\": cost above that of the same requests without a filter.\n\n"
    }

    /// Each figure twice: to no filter, and to `jwt_authn`.
    fn ratios(&self) -> String {
        let mut text =
            "| filter | instructions | CPU time | requests/s | p50 | p99 |\n|---|--:|--:|--:|--:|--:|\n"
                .to_owned();
        for row in self.main_rows().filter(|row| row.variant.site != Site::Plain) {
            let (Some(plain), Some(peer)) = (self.plain_of(row), self.peer_of(row)) else { continue };
            let pair = |ratio: &dyn Fn(&Row<'_>) -> Option<f64>| {
                ratio(plain)
                    .zip(ratio(peer))
                    .map_or("–".to_owned(), |(plain, peer)| format!("{plain:.2} · {peer:.2}"))
            };
            let figures: [Figure; 4] = [|it| it.cpu_us, |it| it.per_second, |it| it.p50_us, |it| it.p99_us];
            writeln!(
                text,
                "| {} | {} | {} |",
                row.variant.name,
                pair(&|other| self.instructions_ratio(row, other)),
                figures.map(|of| pair(&|other| row.rounds.ratio(&other.rounds, of))).join(" | "),
            )
            .expect("a string");
        }
        text + "\nLeft: × the same requests without a filter. Right: × `jwt_authn` with six headers, cached (first sight: uncached, same algorithm).\n\n"
    }

    /// `None` where nothing counted them.
    pub(crate) fn instructions_ratio(&self, one: &Row<'_>, other: &Row<'_>) -> Option<f64> {
        (self.plan.has_callgrind || self.plan.has_perf).then(|| one.cost / other.cost)
    }

    fn plain_of(&self, row: &Row<'_>) -> Option<&Row<'a>> {
        self.rows.iter().find(|it| it.variant.site == Site::Plain && it.variant.asks == row.variant.asks)
    }

    /// `jwt_authn` with six headers for the same request, or for the cached Bearer token where it knows no such request.
    fn peer_of(&self, row: &Row<'_>) -> Option<&Row<'a>> {
        let find = |asks: Asks| {
            self.rows.iter().find(|it| {
                it.variant.asks == asks && matches!(it.variant.site, Site::Jwt { has_headers: true, .. })
            })
        };
        find(row.variant.asks).or_else(|| find(Asks::Bearer))
    }

    pub(crate) fn row(&self, name: &str) -> Option<&Row<'a>> {
        self.rows.iter().find(|row| row.variant.name == name)
    }

    fn growth(&self) -> String {
        let mut text = format!(
            "## Effect of scale\n\nCached Bearer (HS256), twelve headers, no sessions, `cache.local_entries: 16384` (100 providers, 2 workers: 1024). More groups make the token longer.\n\n\
            | with | {} | over none |\n|---|--:|--:|\n",
            self.unit()
        );
        for row in self.rows.iter().filter(|row| row.variant.is_growth && row.variant.is_ours()) {
            writeln!(
                text,
                "| {} | {:.1} | {:.1} |",
                row.variant.name,
                row.cost / 1e3,
                (row.cost - row.plain) / 1e3
            )
            .expect("a string");
        }
        text + "\nIf more credentials alternate than the cache has entries, every request is a first sight.\n\n"
    }

    fn single(&self) -> String {
        let Some(once) = &self.once else { return String::new() };
        let mib = |bytes: u64| bytes as f64 / 1048576.0;
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
        format!(
            "## Memory and start\n\n| what | no-op | this filter | |\n|---|--:|--:|--:|\n\
            | Envoy with four workers, MiB | {:.1} | {:.1} | |\n\
            | the same after each worker met 10,000 credentials, MiB | {:.1} | {:.1} | {:.1} for each worker |\n\
            | process start to the first `200`, ms | {:.0} | {:.0} | {:+.0} |\n\
            | from authentik's answer with the keys to the reply to a waiting request, ms | – | {:.1} | |\n\n",
            mib(once.noop[0]),
            mib(once.ours[0]),
            mib(once.noop[1]),
            mib(once.ours[1]),
            once.bytes_per_worker() as f64 / 1048576.0,
            ms(once.noop_start),
            ms(once.our_start),
            ms(once.our_start) - ms(once.noop_start),
            ms(once.keys_to_answer),
        )
    }

    fn method(&self) -> String {
        let instructions = if self.plan.has_perf {
            "Instructions are the processor's own count for the Envoy process in user space (`perf stat`), under load; medians.".to_owned()
        } else if self.plan.has_callgrind {
            format!(
                "Instructions are user-space instructions of all threads of Envoy, with V8's code, counted by valgrind's callgrind. One connection sends one request after the other, after a warm-up. Each figure is the median of three counts that agree (largest spread: {:.2} %). The processor that valgrind emulates lacks ADX, which BoringSSL uses for multiplication, so the count of an RSA signature is too high.",
                self.spread * 100.0
            )
        } else {
            "Instructions were not counted; costs are CPU time.".to_owned()
        };
        let time = if self.plan.rounds == 0 {
            "Time was not measured in this run.".to_owned()
        } else {
            format!(
                "wrk measures time: 16 connections, Envoy on one core and wrk on another, {} rounds of {} s for each variant. One round has all variants in turn. CPU µs is the kernel's count for all threads of Envoy. Figures are medians of the rounds. The brackets have the quartiles, which show how much this machine varied. A ratio is taken within one round, where both variants ran seconds apart; the table has its median, which can differ from the ratio of the medians. Where instructions and time disagree, trust the instructions: they vary less.",
                self.plan.rounds, self.plan.seconds
            )
        };
        format!(
            "## Method\n\n{instructions}\n\n{time}\n\n\
            Each Envoy runs `envoy.yaml` with another filter, with `direct_response: 200` instead of an application and without an access log. Each is checked first (200 for a valid credential, 401 for an invalid one). All filters get the same RS256 token of about 1 KiB. First sight: 2,048 tokens in turn, of which the filter remembers 1,024. No client keeps cookies, so with sessions every response sets one. `jwt_authn` has the keys inline and checks issuer and audience; its six headers are five claims and the payload. The authorization server of `ext_authz` runs on the load generator's core, so its own cost is not in the figures. Its twelve headers are the same as this filter's. `ext_authz` forwards the parts of request and answer that authentik's documentation names. The bench first checks that the headers reach an application.\n"
        )
    }
}
