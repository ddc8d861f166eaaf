//! Prometheus on loopback, with the repository's rules: finds the programs, starts the server with its data in a folder
//! of its own, asks it, and stops it.
//!
//! Owns: the child process and its folder. Must not: download anything, or judge what Prometheus answers.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use local_envoy::module::root;
use local_envoy::{Folder, ask};
use serde_json::{Value, json};

/// How long a start may take on a busy machine; after that Prometheus hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The rules of the repository.
pub const RULES: &str = "deploy/prometheus/rules.yaml";

/// What to do where a program is missing.
pub const MISSING: &str = "no prometheus or no promtool: run `make prometheus`";

/// Where `prometheus` or `promtool` is: in `PATH`, or where `make prometheus` puts it; `None` if it is nowhere.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.push(root().join(".tools/prometheus/usr/bin"));
    folders.into_iter().map(|folder| folder.join(name)).find(|it| it.is_file())
}

/// An Envoy whose metrics are collected.
pub struct Target {
    /// The label `job`: replicas with one configuration share it.
    pub job: String,
    /// `host:port` of Envoy's admin interface.
    pub authority: String,
}

/// A running Prometheus; it is killed when dropped.
pub struct Prometheus {
    child: Child,
    folder: Folder,
    authority: String,
}

impl Prometheus {
    /// Starts Prometheus on this port of loopback (0: any free one) and waits until it is ready. It scrapes the targets
    /// and evaluates the repository's rules once in `interval`.
    ///
    /// # Errors
    /// [`MISSING`], or the log of a Prometheus that ends.
    pub fn start(port: u16, targets: &[Target], interval: Duration) -> Result<Self, String> {
        let binary = program("prometheus").ok_or(MISSING)?;
        let folder = Folder::new();
        let configuration = folder.0.join("prometheus.yml");
        fs::write(&configuration, text(targets, interval)).map_err(|error| error.to_string())?;
        let mut attempt = 1;
        loop {
            let number = if port == 0 { free_port()? } else { port };
            match Self::spawn(&binary, &folder, &configuration, number)? {
                Ok((child, authority)) => return Ok(Self { child, folder, authority }),
                // Somebody else took the port between its choice and the start.
                Err(log) if port == 0 && attempt < 5 && log.contains("address already in use") => {
                    attempt += 1
                }
                Err(log) => return Err(format!("Prometheus does not start:\n{log}")),
            }
        }
    }

    /// The process once it is ready, or the log of one that has ended.
    fn spawn(
        binary: &Path,
        folder: &Folder,
        configuration: &Path,
        port: u16,
    ) -> Result<Result<(Child, String), String>, String> {
        let authority = format!("127.0.0.1:{port}");
        let path = folder.0.join("log");
        let log = File::create(&path).map_err(|error| error.to_string())?;
        let mut child = Command::new(binary)
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.0.join("data").display()))
            .arg(format!("--web.listen-address={authority}"))
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if child.try_wait().map_err(|error| error.to_string())?.is_some() {
                return Ok(Err(fs::read_to_string(&path).unwrap_or_default()));
            }
            if ask(&authority, "GET", "/-/ready").is_ok_and(|(status, _)| status == 200) {
                return Ok(Ok((child, authority)));
            }
            sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
        Err("Prometheus neither serves nor ends".to_owned())
    }

    /// `http://127.0.0.1:port` and the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    /// Where a browser sees the graph of an expression, of the last five minutes.
    pub fn graph(&self, expression: &str) -> String {
        let expression: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        self.url(&format!("/graph?g0.expr={expression}&g0.tab=0&g0.range_input=5m"))
    }

    /// The samples that an expression has now.
    ///
    /// # Errors
    /// Prometheus's words about an expression that it does not answer.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let expression: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let mut answer = self.get(&format!("/api/v1/query?query={expression}"))?;
        match answer["data"]["result"].take() {
            Value::Array(samples) => Ok(samples),
            other => Err(format!("not a vector: {other}")),
        }
    }

    /// The answer of the API to a GET.
    ///
    /// # Errors
    /// What Prometheus says instead, or why there is no answer.
    pub fn get(&self, target: &str) -> Result<Value, String> {
        let (_, body) = ask(&self.authority, "GET", target).map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        if answer["status"] == "success" { Ok(answer) } else { Err(answer["error"].to_string()) }
    }

    /// What Prometheus has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

/// The configuration. JSON is YAML.
fn text(targets: &[Target], interval: Duration) -> String {
    let interval = format!("{}ms", interval.as_millis());
    let jobs: Vec<_> = targets
        .iter()
        .map(|target| {
            json!({
                "job_name": target.job,
                "metrics_path": "/stats/prometheus",
                "static_configs": [{"targets": [target.authority]}],
            })
        })
        .collect();
    json!({
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [root().join(RULES)],
        "scrape_configs": jobs,
    })
    .to_string()
}
