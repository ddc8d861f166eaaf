//! The tables of `docs/scaling.md`, made from the formulas and the simulation. `SCALING=write` replaces those in the page.
//!
//! Owns: rows, columns and numbers. Must not: count calls by itself.

use std::fs;

use serde_json::json;

use super::super::configuration;
use super::restart::{self, Restart, Scene};
use super::{Steady, basic_users, carried_by_clients, key_sets, remembered_by_replicas, rest};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scaling.md");

const USERS: [usize; 3] = [100, 1_000, 10_000];
const REPLICAS: [usize; 4] = [1, 3, 10, 100];
const LIFETIMES: [u64; 3] = [60, 300, 900];
/// Seconds between two requests of a user.
const PAUSE: f64 = 10.0;

fn grouped(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

/// Two or three digits: the model is no better.
fn figure(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        _ if number < 0.1 => format!("{number:.4}"),
        _ if number < 10.0 => format!("{number:.2}"),
        _ if number < 100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

fn table(head: &[String], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = head.iter().enumerate().map(|(column, _)| if column == 0 { "---" } else { "--:" });
    let mut table = line(head) + &format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
    rows.into_iter().for_each(|row| table.push_str(&line(&row)));
    table
}

fn head<const N: usize>(first: &[&str], name: &str, numbers: [usize; N]) -> Vec<String> {
    let first = first.iter().map(|cell| (*cell).to_owned());
    first
        .chain(
            numbers.map(|number| format!("{} {name}{}", grouped(number), if number == 1 { "" } else { "s" })),
        )
        .collect()
}

fn replicas() -> String {
    let row = |users: usize, lifetime: u64| {
        let figures =
            REPLICAS.map(|replicas| figure(remembered_by_replicas(users, replicas, lifetime, PAUSE)));
        [vec![grouped(users), lifetime.to_string()], figures.into()].concat()
    };
    let rows = USERS.iter().flat_map(|users| LIFETIMES.map(|lifetime| row(*users, lifetime)));
    table(&head(&["users", "lifetime, s"], "replica", REPLICAS), rows)
}

fn clients() -> String {
    let row = |name: &str, calls: &dyn Fn(usize) -> f64| {
        [vec![name.to_owned()], USERS.map(|users| figure(calls(users))).into()].concat()
    };
    let mut rows = vec![
        row("Bearer, `bearer_verification: local`", &|_| 0.0),
        row("session, until its end", &|_| 0.0),
        row("logins, or Basic by clients that keep their cookie: a session of 86,400 s", &|users| {
            carried_by_clients(users, 86_400, PAUSE)
        }),
        row("the same, a session of 3,600 s", &|users| carried_by_clients(users, 3_600, PAUSE)),
    ];
    rows.extend(LIFETIMES.map(|seconds| {
        row(&format!("session, `revalidate_seconds: {seconds}`"), &|users| {
            carried_by_clients(users, seconds, PAUSE)
        })
    }));
    table(&head(&["what users send"], "user", USERS), rows)
}

fn keys() -> String {
    let rows = [1, 10, 100].map(|providers| {
        let figures = REPLICAS.map(|replicas| figure(key_sets(providers, replicas, 300)));
        [vec![providers.to_string()], figures.into()].concat()
    });
    table(&head(&["providers"], "replica", REPLICAS), rows)
}

/// Calls with too few entries, as a multiple of the formula's.
fn entries() -> String {
    const USERS: usize = 100;
    let factor = |local: usize, shared: usize| {
        let cache = json!({"local_entries": local, "shared_slots": shared, "ttl_seconds": 60});
        let configuration = configuration(&json!({}), &rest(json!({"cache": cache})));
        let calls = Steady { replicas: 1, workers: 2, pause: PAUSE, lifetime: 60, is_sticky: false }
            .calls(&configuration, basic_users(USERS));
        calls["token"] / remembered_by_replicas(USERS, 1, 60, PAUSE)
    };
    let rows = [(2, 8), (2, 2), (2, 1), (1, 8), (1, 1)].map(|(local, shared)| {
        let (local_entries, shared_slots) = (local * USERS / 2, shared * USERS / 2);
        let times = |halves: usize| format!("{} × users", halves as f64 / 2.0);
        vec![times(local), times(shared), format!("{:.2}", factor(local_entries, shared_slots))]
    });
    let head = ["`cache.local_entries`", "`cache.shared_slots`", "calls ÷ formula"];
    table(&head.map(str::to_owned), rows)
}

fn restarts() -> String {
    let row = |(scene, seen): &(Scene, Restart)| {
        let (in_a_row, all) = seen.overloaded;
        vec![
            format!("{} × {}", scene.replicas, scene.workers),
            scene.max_concurrent_calls.to_string(),
            seen.peak.to_string(),
            format!("{in_a_row}; {all}"),
            grouped(seen.exchanges),
            grouped(seen.unavailable),
            seen.seconds.map_or("–".to_owned(), |seconds| seconds.to_string()),
        ]
    };
    let head = [
        "replicas × workers",
        "`max_concurrent_calls`",
        "most calls at one time",
        "steps above capacity: in a row; in all",
        "exchanges",
        "`503`",
        "all users are in after, s",
    ];
    table(&head.map(str::to_owned), restart::scenes().iter().map(row))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test has an environment")]
fn page_has_the_tables_of_formulas_and_simulation() {
    let committed = fs::read_to_string(PAGE).unwrap();
    let mut page = committed.clone();
    for (name, table) in [
        ("replicas", replicas()),
        ("clients", clients()),
        ("keys", keys()),
        ("entries", entries()),
        ("restarts", restarts()),
    ] {
        let (begin, end) = (format!("<!-- made: {name} -->\n"), "<!-- end -->");
        let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (_, after) = rest.split_once(end).unwrap();
        page = format!("{before}{begin}{table}{end}{after}");
    }
    if std::env::var("SCALING").is_ok_and(|it| it == "write") {
        fs::write(PAGE, &page).unwrap();
    } else {
        let difference = page.lines().zip(committed.lines()).find(|(made, committed)| made != committed);
        assert_eq!(difference, None, "SCALING=write make core replaces the tables");
        assert_eq!(page, committed);
    }
}
