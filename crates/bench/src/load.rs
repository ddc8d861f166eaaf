//! Who asks: one client that sends an exact number of requests, one after the other, and wrk for load. Both send GETs
//! that differ in one header line, keep their connections and keep no cookies.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use local_envoy::{Envoy, Folder};

use super::counters::{Sample, perf_launcher, read_perf};

/// The application's host.
pub(crate) const HOST: &str = "app.bench";
/// Under valgrind an answer can take long.
const PATIENCE: Duration = Duration::from_secs(90);
const CONNECTIONS: &str = "16";

/// Requests until V8 has compiled what is hot, and each line was sent once.
const WARM_UP: usize = 1_500;

/// Sends requests over one connection for each worker, in turn.
pub(crate) struct Client {
    connections: Vec<TcpStream>,
    turn: usize,
    /// The last answer's, with its status line.
    head: String,
}

impl Client {
    pub(crate) fn open(port: u16, connections: u32) -> Self {
        let connect = |_| {
            let stream = TcpStream::connect(("127.0.0.1", port)).expect("Envoy accepts connections");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream.set_nodelay(true).expect("a socket");
            stream
        };
        Self { connections: (0..connections).map(connect).collect(), turn: 0, head: String::new() }
    }

    /// The status of the answer.
    pub(crate) fn ask(&mut self, line: &str) -> u16 {
        self.ask_at("/", line)
    }

    /// The same at a path.
    pub(crate) fn ask_at(&mut self, path: &str, line: &str) -> u16 {
        self.turn += 1;
        let count = self.connections.len();
        let stream = &mut self.connections[self.turn % count];
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n{line}\r\n\r\n").as_bytes())
            .expect("Envoy reads");
        let (mut answer, mut part) = (Vec::new(), [0; 16_384]);
        let end = loop {
            let length = stream.read(&mut part).expect("Envoy answers");
            assert!(length > 0, "Envoy closed the connection");
            answer.extend_from_slice(&part[..length]);
            if let Some(end) = answer.windows(4).position(|it| it == b"\r\n\r\n") {
                break end + 4;
            }
        };
        self.head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let body = self.header("content-length").map_or(0, |text| text.parse().expect("a length"));
        let stream = &mut self.connections[self.turn % count];
        stream.read_exact(&mut vec![0; body - (answer.len() - end)]).expect("the whole answer");
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// A header of the last answer.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.into_iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    /// Sends so many requests, all of which must have this answer.
    pub(crate) fn ask_all<'a>(&mut self, lines: impl Iterator<Item = &'a String>, status: u16) {
        for line in lines {
            assert_eq!(self.ask(line), status, "{}", self.head);
        }
    }

    pub(crate) fn warm_up(&mut self, lines: &[String], status: u16) {
        // Twice, so that each worker has met each line.
        let count = (lines.len() * self.connections.len()).max(WARM_UP);
        self.ask_all(lines.iter().cycle().take(count), status);
    }
}

const SCRIPT: &str = r#"
local requests, turn = {}, 0
function init(args)
  for line in io.lines(args[1]) do
    local name, value = line:match("^(.-): (.*)$")
    requests[#requests + 1] = wrk.format("GET", "/", {["Host"] = args[2], [name] = value})
  end
  turn = tonumber(args[3])
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("sum %d %d %d %d %d %d\n", summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(50), latency:percentile(99)))
end
"#;

/// wrk on the core that the measured Envoy does not have.
pub(crate) struct Wrk {
    folder: Folder,
    /// Which line is next.
    turn: u64,
}

impl Wrk {
    pub(crate) fn new(lines: &[String]) -> Self {
        let folder = Folder::new();
        fs::write(folder.0.join("script.lua"), SCRIPT).expect("a file");
        fs::write(folder.0.join("lines"), lines.join("\n")).expect("a file");
        Self { folder, turn: 0 }
    }

    pub(crate) fn run(&mut self, envoy: &Envoy, seconds: u64, status: u16, has_perf: bool) -> Sample {
        let before = envoy.cpu_time();
        let mut command = if has_perf { perf_launcher(envoy.pid(), "perf") } else { Vec::new() };
        command.push("taskset".to_owned());
        let output = Command::new(&command[0])
            .args(&command[1..])
            .args(["-c", "1", "wrk", "-t1", "-c", CONNECTIONS, &format!("-d{seconds}s"), "-s", "script.lua"])
            .args([&envoy.url("/"), "--", "lines", HOST, &self.turn.to_string()])
            .current_dir(&self.folder.0)
            .output()
            .expect("wrk and taskset are there: `make bench` installs them");
        let cpu = envoy.cpu_time() - before;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("sum "))
            .unwrap_or_else(|| panic!("wrk: {output:?}"));
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
        let [requests, duration, refused, broken, p50, p99] = numbers[..] else { panic!("{line}") };
        // The last answers may not have been counted when wrk stopped.
        assert_eq!(broken, 0, "{text}");
        assert_eq!(refused, if status < 400 { 0 } else { requests }, "{text}");
        self.turn += requests + 16;
        let counted = has_perf.then(|| fs::read_to_string(self.folder.0.join("perf")).expect("perf's count"));
        Sample {
            cpu_us: cpu.as_secs_f64() * 1e6 / requests as f64,
            per_second: requests as f64 * 1e6 / duration as f64,
            p50_us: p50 as f64,
            p99_us: p99 as f64,
            instructions: counted.map(|text| read_perf(&text).expect("a number") / requests as f64),
        }
    }
}
