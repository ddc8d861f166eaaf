//! Each scene of the demonstration is played from its first line to its last, shortened, and ends with the demonstration.
//! Without a scene the requests that it prints get the answers that it names. Prometheus is beside it where it is installed.

mod real;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local_envoy::module;

/// So many seconds each scene takes.
const SECONDS: &str = "8";

/// For what takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// The ports of one demonstration, by the variables that set them.
type Ports = Vec<(&'static str, String)>;

fn free_ports() -> Ports {
    let names = ["LISTEN", "AUTHENTIK_PORT", "APP_PORT", "ADMIN_PORT", "PROMETHEUS_PORT"];
    // Held together, so that no two are equal.
    let free = names.map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let ports =
        names.into_iter().zip(&free).map(|(name, it)| (name, it.local_addr().unwrap().port().to_string()));
    ports.collect()
}

/// The demonstration, on ports of its own; it is killed when dropped, with the processes that it has started.
struct Demo(Child);

impl Demo {
    /// Without a scene if it has no name.
    fn start(scene: &str) -> Self {
        Self::with(free_ports(), &[("SCENE", scene), ("SCENE_SECONDS", SECONDS)])
    }

    /// With these variables.
    fn with(ports: Ports, variables: &[(&str, &str)]) -> Self {
        module::module();
        let child = Command::new(env!("CARGO_BIN_EXE_demo"))
            .envs(ports)
            .envs(variables.iter().copied())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the demonstration starts");
        Self(child)
    }

    /// Its lines up to the one that has these words.
    fn lines(&mut self, last: &str) -> Vec<String> {
        let lines = BufReader::new(self.0.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let mut seen = Vec::new();
        for line in lines {
            seen.push(line);
            if seen.last().is_some_and(|line| line.contains(last)) {
                return seen;
            }
        }
        let mut fault = String::new();
        let _ = self.0.stderr.take().expect("a pipe").read_to_string(&mut fault);
        panic!("there is no \"{last}\": {fault}\n{}", seen.join("\n"));
    }

    /// Ends as with Ctrl-C.
    fn stop(mut self) {
        let told =
            Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().expect("kill runs");
        assert!(told.success());
        assert!(self.0.wait().expect("it is ours").success(), "it ends by itself, without a fault");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // One that has ended has taken them along, and its number may be another's.
        if self.0.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

/// How many requests were answered with this status, in all steps of the scene.
fn count(lines: &[String], status: u16) -> u32 {
    let status = status.to_string();
    let answers = lines.iter().flat_map(|line| line.rsplit(": ").next().unwrap_or_default().split(", "));
    let counts = answers.filter_map(|answer| {
        let (it, count) = answer.split_once(" × ")?;
        (it.trim() == status).then(|| count.parse::<u32>().ok())?
    });
    counts.sum()
}

/// Plays a scene and checks which statuses its requests got, and which they did not.
fn plays(scene: &str, with: &[u16], without: &[u16]) {
    let mut demo = Demo::start(scene);
    let lines = demo.lines("the scene is over");
    let text = lines.join("\n");
    assert!(text.contains("What to watch in this scene:") && text.contains("authentik_proxy_"), "{text}");
    assert!(text.contains("[  0 s] "), "{text}");
    for status in with {
        assert!(count(&lines, *status) > 0, "{scene}: no {status}\n{text}");
    }
    for status in without {
        assert_eq!(count(&lines, *status), 0, "{scene}: {status}\n{text}");
    }
    demo.stop();
}

#[test]
#[ignore = "each takes 8 seconds by the clock: make scenes"]
fn outage_is_played_to_its_end() {
    plays("outage", &[200, 503], &[401, 0]);
}

#[test]
#[ignore = "each takes 8 seconds by the clock: make scenes"]
fn guessing_is_played_to_its_end() {
    plays("guessing", &[200, 401, 429], &[503, 0]);
}

#[test]
#[ignore = "each takes 8 seconds by the clock: make scenes"]
fn crowd_is_played_to_its_end() {
    plays("crowd", &[200], &[401, 503, 0]);
}

#[test]
#[ignore = "each takes 8 seconds by the clock: make scenes"]
fn rotation_is_played_to_its_end() {
    // 401 can be: a key that is new right after a fetch is not asked for before jwks.min_refresh_interval_seconds.
    plays("rotation", &[200], &[503, 0]);
}

/// What Envoy answers, without following a redirect.
fn answer(authority: &str, host: &str, authorization: Option<&str>) -> String {
    let mut connection = TcpStream::connect(authority).expect("Envoy listens");
    let authorization = authorization.map(|it| format!("authorization: {it}\r\n")).unwrap_or_default();
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n{authorization}connection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    answer
}

fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

fn status(url: &str, authorization: Option<&str>) -> u16 {
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    status_of(&answer(authority, authority, authorization))
}

#[test]
#[ignore = "beside the scenes: make scenes"]
fn without_a_scene_the_printed_requests_get_the_answers_that_are_named() {
    let mut demo = Demo::start("");
    let lines = demo.lines("Ctrl-C stops everything");
    let commands: Vec<_> = lines.iter().filter_map(|line| line.trim().strip_prefix("curl -i ")).collect();
    let [with_password, with_token, url] = commands[..] else { panic!("three commands, not {commands:?}") };
    let quoted = |command: &str| command.split('\'').nth(1).expect("an argument").to_owned();
    let password = format!("Basic {}", STANDARD.encode(quoted(with_password)));
    let token = quoted(with_token).trim_start_matches("Authorization: ").to_owned();
    // The providers come from authentik, a moment after Envoy listens.
    let start = Instant::now();
    while status(url, None) == 503 {
        assert!(start.elapsed() < PATIENCE, "there are no providers");
        sleep(Duration::from_millis(50));
    }
    assert_eq!(status(url, None), 302);
    assert_eq!(status(url, Some(&password)), 200);
    assert_eq!(status(url, Some(&token)), 200);
    demo.stop();
}

#[test]
#[ignore = "each takes 8 seconds by the clock: make scenes"]
fn shadow_is_played_to_its_end() {
    // The gate's own answers: what the filter would have done changes none of them.
    plays("shadow", &[200, 401], &[503, 0]);
}
