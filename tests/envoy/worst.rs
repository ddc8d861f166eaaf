//! What the most expensive single requests of a stranger cost: the CPU time that Envoy takes for each of them, with the
//! filter and without it. The inputs are in the files beside; each is another for every time that it is sent, so that
//! nothing is remembered. `make worst` writes `docs/worst-requests.md` and fails above the limit.
//!
//! CPU time is the kernel's count for all threads of Envoy, read once they sleep. What an interrupt or another guest
//! of the machine adds is in it, so the median judges.

mod credentials;
mod headers;
mod site;
mod targets;

use std::fmt::Write as _;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use local_envoy::module::root;
use local_envoy::{Envoy, measured};

use self::site::{Asking, Input, Site, Stage};

/// No single request of a stranger may take more.
const LIMIT: Duration = Duration::from_millis(15);
/// How often each input is sent by `make worst`.
const TIMES: usize = 25;
/// Sent before anything is measured: V8 compiles what is hot anew.
const WARM_UP: usize = 10;
/// Until Envoy has done what comes after an answer, and its threads sleep.
const REST: Duration = Duration::from_millis(2);

fn inputs() -> Vec<Input> {
    [credentials::inputs(), headers::inputs(), targets::inputs()].concat()
}

#[test]
fn expensive_unauthenticated_requests_get_their_status() {
    let mut wrong = Vec::new();
    for site in Site::ALL {
        let stage = Stage::new(site);
        for input in inputs().iter().filter(|input| input.site == site) {
            for number in 0..2 {
                let status = input.send(&Asking { stage: &stage, port: stage.place.envoy.port(), number });
                if status != input.status {
                    wrong.push(format!("{}: {status}, not {}", input.name, input.status));
                }
            }
        }
        assert_eq!(stage.place.envoy.filter_failures(1), [""; 0], "{site:?}");
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
#[ignore = "a minute: make worst"]
fn no_unauthenticated_request_takes_above_15_ms() {
    let mut rows = Vec::new();
    for site in Site::ALL {
        let stage = Stage::new(site);
        let plain = stage.without_filter();
        for input in inputs().into_iter().filter(|input| input.site == site) {
            let with_filter = measure(&stage, &stage.place.envoy, &input);
            let without = measure(&stage, &plain, &input);
            let row = Row { name: input.name, status: input.status, with_filter, without };
            println!("{}", row.line());
            rows.push(row);
        }
        assert_eq!(stage.place.envoy.filter_failures(1), [""; 0], "{site:?}");
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.with_filter.median));
    let page = page(&rows);
    println!("{page}");
    fs::write(root().join("docs/worst-requests.md"), page).expect("docs/ can be written");
    let slow: Vec<_> = rows.iter().filter(|row| row.with_filter.median > LIMIT).map(|row| row.name).collect();
    assert_eq!(slow, [""; 0], "above {LIMIT:?}");
}

/// CPU time of one input.
struct Cost {
    first: Duration,
    median: Duration,
    longest: Duration,
}

fn measure(stage: &Stage, envoy: &Envoy, input: &Input) -> Cost {
    let mut times = Vec::new();
    for number in 0..WARM_UP + TIMES {
        let asking = Asking { stage, port: envoy.port(), number };
        let before = envoy.cpu_time();
        let status = input.send(&asking);
        sleep(REST);
        times.push(envoy.cpu_time() - before);
        let is_filtered = envoy.port() == stage.place.envoy.port();
        assert!(!is_filtered || status == input.status, "{}: {status}", input.name);
    }
    let first = times[0];
    let mut times = times.split_off(WARM_UP);
    times.sort();
    Cost { first, median: times[TIMES / 2], longest: times[TIMES - 1] }
}

struct Row {
    name: &'static str,
    status: u16,
    with_filter: Cost,
    without: Cost,
}

impl Row {
    fn line(&self) -> String {
        let Self { name, status, with_filter: Cost { first, median, longest }, without } = self;
        let [first, median, longest, without] = [*first, *median, *longest, without.median]
            .map(|time| format!("{:.2}", time.as_secs_f64() * 1e3));
        let name = name.replace('|', "\\|");
        format!("| {name} | {status} | {median} | {longest} | {first} | {without} |")
    }
}

fn page(rows: &[Row]) -> String {
    let mut text = format!(
        "# The most expensive unauthenticated requests\n\n\
         CPU time of Envoy for one request, in milliseconds, as `make worst` measured it: commit {}, {}, {}, {}.\n\
         No median may be above {} ms.\n\n\
         Envoy has one worker. Each input is sent {TIMES} times, after {WARM_UP} times that do not count. It differs each time, so that no cache answers it. The time is that of all threads of Envoy.\n\
         *First* is the first of all. *Without* is the median of the same requests to the same Envoy without the filter; Envoy answers them itself.\n\
         Envoy accepts 60 KiB of headers by default, and 100 headers; here it accepts 4,000 (`max_headers_count`).\n\n\
         The operator chooses the patterns of `skip_path_regex`. The filter matches at most 4,096 bytes of a path.\n\
         The time grows with the number of patterns, and with counted repetitions such as `{{1,100}}`.\n\n\
         | input | status | median | longest | first | without |\n|---|--:|--:|--:|--:|--:|\n",
        measured::commit(),
        measured::envoy_version(),
        measured::machine(),
        measured::today(),
        LIMIT.as_millis(),
    );
    for row in rows {
        writeln!(text, "{}", row.line()).expect("a string");
    }
    text
}
