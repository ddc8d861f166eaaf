//! The demonstration that `make run` starts: an authentik, an application and Envoy with the repository's
//! `envoy.yaml` between them, and Prometheus where it is installed, on loopback, until Ctrl-C. The authentik is the tests'
//! stand-in, or a real one.
//!
//! Environment: `LISTEN` (10000), `AUTHENTIK_PORT` (9000), `APP_PORT` (8080), `ADMIN_PORT` (9901) and `PROMETHEUS_PORT` (9191)
//! are ports, `ENVOY` is Envoy's binary. `SCENE` plays a [`scene`] for `SCENE_SECONDS` (120). The module [`real`] has the variables
//! for a real authentik.

mod client;
mod real;
mod scene;

use std::env;
use std::future::poll_fn;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use fake_authentik::gate::Gate;
use fake_authentik::{ALICE, ALICE_LOGIN, Authentik, OUTPOST_TOKEN};
use local_envoy::{Envoy, EnvoyOptions, binary, module};
use local_prometheus::{Prometheus, Target};
use loopback::App;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::scene::{Scene, Stage};

/// How often Prometheus asks Envoy.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long a scene takes.
const SCENE_SECONDS: u64 = 120;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("demo: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let (listen, admin) = (Port::read("LISTEN", 10000)?, Port::read("ADMIN_PORT", 9901)?);
    listen.check()?;
    admin.check()?;
    let scene = text("SCENE").map(|name| Scene::named(&name)).transpose()?;
    let seconds = match text("SCENE_SECONDS") {
        Some(value) => value.parse().map_err(|_| format!("SCENE_SECONDS={value} is not a number"))?,
        None => SCENE_SECONDS,
    };
    binary()?;
    let module = module::path();
    if !module.is_file() {
        return Err(format!("{} is missing: run `make`", module.display()));
    }

    let mut options = EnvoyOptions::as_written(module, listen.number);
    options.admin_port = admin.number;
    options.wasm_log_level = "info".to_owned();
    // A new one each time, for the filter and for the policy behind it.
    options.environment.insert("AUTHENTIK_SEAL".to_owned(), random_seal()?);
    options.configuration["providers"][0]["external_host"] =
        json!(text("EXTERNAL_HOST").unwrap_or_else(|| format!("http://127.0.0.1:{}", listen.number)));

    let app_port = Port::read("APP_PORT", 8080)?;
    let app = App::start_on(app_port.number).map_err(|error| app_port.fault(&error))?;
    options.set_cluster("app", &app.authority());
    let stand_in = match text("AUTHENTIK") {
        Some(_) if scene.is_some() => {
            return Err("a SCENE needs the stand-in: leave AUTHENTIK out".to_owned());
        }
        Some(url) => {
            real::take(&mut options, &url)?;
            None
        }
        None => Some(take_stand_in(&mut options, scene)?),
    };

    let gate = stand_in.as_ref().filter(|_| scene == Some(Scene::Shadow)).map(Gate::start);
    if let Some(gate) = &gate {
        // In shadow mode nothing is sealed.
        let further = ["x-tenant", "x-number", "x-flag"];
        options = options.unsealed().behind(gate.cluster(), Gate::filter(&further));
    }

    let mut envoy = Envoy::try_start(options).map_err(|log| format!("Envoy does not start:\n{log}"))?;
    let prometheus = start_prometheus(&envoy)?;
    let slug = scene.map_or("demo", Scene::slug);
    introduce(&envoy, stand_in.as_ref().map(|authentik| authentik.issue(slug, "alice")), prometheus.as_ref());
    // One after the other: what a `let … else` takes has ended before its `else`, and the stand-in must not.
    let Some(scene) = scene else { return until_stopped(&mut envoy) };
    let Some(authentik) = stand_in else { return until_stopped(&mut envoy) };
    announce(scene, prometheus.as_ref());
    let (authentik, is_stopped) = (Mutex::new(authentik), AtomicBool::new(false));
    let gate = gate.as_ref();
    let stage = Stage { port: envoy.port(), authentik: &authentik, gate, seconds, is_stopped: &is_stopped };
    thread::scope(|scope| {
        scope.spawn(|| stage.play(scene));
        let stopped = until_stopped(&mut envoy);
        is_stopped.store(true, Ordering::Relaxed);
        stopped
    })
}

/// Prometheus beside Envoy; `None` where it is not installed.
fn start_prometheus(envoy: &Envoy) -> Result<Option<Prometheus>, String> {
    if local_prometheus::program("prometheus").is_none() {
        return Ok(None);
    }
    let port = Port::read("PROMETHEUS_PORT", 9191)?;
    port.check()?;
    let target = Target { job: "demo".to_owned(), authority: envoy.admin_authority().to_owned() };
    Prometheus::start(port.number, &[target], INTERVAL).map(Some)
}

/// Says what the scene shows in the metrics.
fn announce(scene: Scene, prometheus: Option<&Prometheus>) {
    println!("\nWhat to watch in this scene:");
    for (expression, shows) in scene.watch() {
        println!("   {expression}\n      {shows}");
        if let Some(prometheus) = prometheus {
            println!("      {}", prometheus.graph(expression));
        }
    }
    println!();
}

fn random_seal() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn take_stand_in(options: &mut EnvoyOptions, scene: Option<Scene>) -> Result<Authentik, String> {
    let port = Port::read("AUTHENTIK_PORT", 9000)?;
    let authentik = Authentik::start_on(port.number).map_err(|error| port.fault(&error))?;
    options.set_cluster("authentik", &authentik.authority());
    options.configuration["authentik"]["host"] = json!(authentik.public_base());
    let external_host = options.configuration["providers"][0]["external_host"].as_str().expect("a URL");
    let slug = scene.map_or("demo", Scene::slug);
    authentik.set_external_host(slug, external_host);
    if let Some(scene) = scene {
        scene.set(options, &authentik.client_secret(slug));
    }
    // The outpost has this provider; another one is written out.
    if slug == "demo" {
        take_providers_from_authentik(options, OUTPOST_TOKEN.to_owned());
    }
    Ok(authentik)
}

/// The whole configuration of the providers is a token.
fn take_providers_from_authentik(options: &mut EnvoyOptions, token: String) {
    options.configuration["providers"] = Value::Null;
    options.configuration["authentik"]["token"] = json!({"env": "AUTHENTIK_TOKEN"});
    options.environment.insert("AUTHENTIK_TOKEN".to_owned(), token);
}

/// Says what to try, and what to expect; with a token of alice's if authentik is the stand-in.
fn introduce(envoy: &Envoy, token: Option<String>, prometheus: Option<&Prometheus>) {
    let url = envoy.url("/");
    let is_stand_in = token.is_some();
    let (user, token) = match token {
        Some(token) => (format!("alice:{ALICE}"), token),
        None => ("USER:APP_PASSWORD".to_owned(), "ACCESS_TOKEN".to_owned()),
    };
    let name = if is_stand_in { "alice" } else { "the user" };
    let sign_in =
        if is_stand_in { format!("sign in as alice, password {ALICE_LOGIN}") } else { "sign in".to_owned() };
    let metrics = format!("http://{}/stats/prometheus", envoy.admin_authority());
    let prometheus = match prometheus {
        Some(prometheus) => format!("Prometheus has them at {}", prometheus.url("/")),
        None => "Prometheus is not there: `make prometheus`".to_owned(),
    };
    println!(
        "
Envoy listens on {url} and its log is {log}

1. A user and an app password: 200, and the application shows x-authentik-username: {name}
   curl -i -u '{user}' {url}

2. An access token: the same
   curl -i -H 'Authorization: Bearer {token}' {url}

3. Nothing: 302 to authentik's login
   curl -i {url}

4. A browser: open {url} and {sign_in}; the application shows who it is
   {url}outpost.goauthentik.io/sign_out signs out

5. Metrics: {metrics}
   {prometheus}

Ctrl-C stops everything.",
        log = envoy.log_path().display(),
    );
}

fn until_stopped(envoy: &mut Envoy) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
        loop {
            let was_running = envoy.runs();
            // Ctrl-C reaches Envoy too; so an Envoy that has ended gets one more round to tell why.
            let stopped = poll_fn(|context| {
                let is_stopped =
                    interrupt.poll_recv(context).is_ready() || terminate.poll_recv(context).is_ready();
                if is_stopped { Poll::Ready(()) } else { Poll::Pending }
            });
            if timeout(Duration::from_millis(500), stopped).await.is_ok() {
                return Ok(());
            }
            if !was_running {
                return Err(format!("Envoy has ended:\n{}", envoy.log()));
            }
        }
    })
}

/// A port and the variable that sets it.
struct Port {
    variable: &'static str,
    number: u16,
}

impl Port {
    fn read(variable: &'static str, default: u16) -> Result<Self, String> {
        let number = match text(variable) {
            Some(value) => value.parse().map_err(|_| format!("{variable}={value} is not a port"))?,
            None => default,
        };
        Ok(Self { variable, number })
    }

    /// Whether Envoy will get it.
    fn check(&self) -> Result<(), String> {
        TcpListener::bind(("127.0.0.1", self.number)).map(drop).map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &std::io::Error) -> String {
        format!("port {} cannot be used ({error}); set {} to another", self.number, self.variable)
    }
}

/// A variable that is neither unset nor empty.
fn text(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}
