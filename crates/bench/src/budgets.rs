//! What the filter may cost at most, beside its peers and by itself: met or not.

use std::fmt::Write as _;
use std::fs;

use local_envoy::module;

use super::once::Once;
use super::report::Report;

const MIB: f64 = 1_048_576.0;

pub(crate) fn markdown(report: &Report<'_>) -> String {
    let cached = "jwt_authn, cached, six headers";
    let fresh = "jwt_authn, RS256 first sight, six headers";
    let ask_out = "ext_authz to an Envoy that says yes with twelve headers";
    let bare_yes = "ext_authz to an Envoy that says yes";
    let floors = ["twelve headers", "six headers", "session cookie", "RS256 first sight"]
        .map(|it| format!("host calls alone, {it}"));
    let [twelve, six, session, first] = floors.each_ref().map(|it| Some(it.as_str()));
    let mut lines = Vec::new();
    for (ours, peer, most, floor) in [
        ("this filter, Bearer cached, twelve headers", cached, 1.15, twelve),
        ("this filter, Bearer cached, twelve headers, no sessions", cached, 1.15, twelve),
        ("this filter, Bearer cached, six headers", cached, 1.0, six),
        ("this filter, Bearer cached, six headers, no sessions", cached, 1.0, six),
        ("this filter, RS256 first sight", fresh, 0.8, first),
        ("this filter, RS256 first sight, no sessions", fresh, 0.8, first),
        ("this filter, session cookie", cached, 1.25, session),
        ("this filter, Bearer cached, twelve headers", ask_out, 0.5, twelve),
        ("this filter, Bearer cached, twelve headers, no sessions", ask_out, 0.5, twelve),
        ("this filter, Basic cached", ask_out, 0.5, None),
        ("this filter, session cookie", ask_out, 0.5, session),
        ("this filter, Bearer cached, twelve headers", bare_yes, 0.5, twelve),
        ("this filter, Bearer cached, twelve headers, no sessions", bare_yes, 0.5, twelve),
        ("this filter, Basic cached", bare_yes, 0.5, None),
        ("this filter, session cookie", bare_yes, 0.5, session),
    ] {
        let Some(ratios) = ratios(report, ours, peer) else { continue };
        let [floor, _] = floor.and_then(|floor| self::ratios(report, floor, peer)).unwrap_or_default();
        // Callgrind's count is of another processor, CPU time of a shared one: both must hold.
        let judged = if report.plan.has_perf { &ratios[..1] } else { &ratios };
        lines.push(format!(
            "| {ours} ÷ {peer} | {} | {} | {} | {most:.2} × | {} |\n",
            times(ratios[0]),
            times(ratios[1]),
            times(floor),
            verdict(judged, most)
        ));
    }
    let judge = if report.plan.has_perf {
        "instructions are within it"
    } else {
        "instructions and CPU time are both within it"
    };
    format!(
        "## Budgets\n\nA budget is met if {judge}. This filter replaces authentik's outpost behind `ext_authz`, which returns the twelve headers. The comparison with an answer without headers is stricter. \"Host calls alone\": the instructions of a module that makes the same host calls for this request, without sessions, and decides nothing. If that is above the budget, no filter with these calls can meet it.\n\n| what | instructions | CPU time | host calls alone | at most | |\n|---|--:|--:|--:|--:|---|\n{}\n{}",
        lines.concat(),
        report.once.as_ref().map_or(String::new(), by_itself)
    )
}

/// Of instructions and of CPU time, where they were counted.
fn ratios(report: &Report<'_>, one: &str, other: &str) -> Option<[Option<f64>; 2]> {
    let (one, other) = (report.row(one)?, report.row(other)?);
    Some([report.instructions_ratio(one, other), one.rounds.ratio(&other.rounds, |it| it.cpu_us)])
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2} ×"))
}

fn by_itself(once: &Once) -> String {
    let module = fs::metadata(module::path()).expect("the module is built").len() as f64;
    let mut text = "| what | figure | at most | |\n|---|--:|--:|---|\n".to_owned();
    for (what, figure, most, unit) in [
        ("the module", module / MIB, 700.0 / 1_024.0, "MiB"),
        (
            "memory per worker over the no-op, 10,000 credentials",
            once.bytes_per_worker() as f64 / MIB,
            20.0,
            "MiB",
        ),
        (
            "from authentik's answer with the keys to the reply to a waiting request",
            once.keys_to_answer.as_secs_f64() * 1e3,
            100.0,
            "ms",
        ),
    ] {
        let verdict = verdict(&[Some(figure)], most);
        writeln!(text, "| {what} | {figure:.2} {unit} | {most:.2} {unit} | {verdict} |").expect("a string");
    }
    text + "\n"
}

/// One figure that is too high is enough; what was not counted may be.
fn verdict(figures: &[Option<f64>], most: f64) -> &'static str {
    if figures.iter().flatten().any(|figure| *figure > most) {
        "**NOT met**"
    } else if figures.contains(&None) {
        "not judged"
    } else {
        "met"
    }
}
