//! The real Envoy, run with the repository's own `envoy.yaml`: reads the file, changes what a test must change
//! (ports, addresses, the module's path, the plugin's configuration, the environment), starts the binary,
//! waits until it serves and stops it. Owns the child process and nothing else of the machine. Ports are the
//! kernel's choice and are reserved, so that any number of Envoys run at once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[cfg(feature = "client")]
use reqwest::{Method, blocking::RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::admin;
use crate::module::{module, root};

/// How long a start may take on a busy machine; after that Envoy hangs.
const PATIENCE: Duration = Duration::from_secs(120);

const COOKIE_SECRET: &str = "a cookie secret of more than thirty-two bytes";

/// What the filter sends and the policy behind it accepts, unless a test says otherwise.
pub const SEAL: &str = "seal-of-the-tests-0123456789abcdef";

/// The file below Envoy's folder that has the filter, where it is watched.
const WATCHED: &str = "filter.json";

/// The file below Envoy's folder that has the listener, where that is watched.
const WATCHED_LISTENER: &str = "listener.json";

/// How many VMs there are.
const VMS: &str = "wasm.envoy.wasm.runtime.v8.active";

const LISTENER: &str = "/static_resources/listeners/0";
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
/// The names of our filter and of the policy behind it that asks for the seal.
const FILTER: &str = "authentik";
const POLICY: &str = "authentik-seal";
/// Whom the policy does not refuse.
const ACCEPTED: &str = "/typed_config/rules/policies/unsealed/principals/0/not_id";

/// What one Envoy is started with. Everything else is as in `envoy.yaml`.
pub struct EnvoyOptions {
    /// The plugin's configuration. As in `envoy.yaml`, with the hosts of this test.
    pub configuration: Value,
    /// The whole bootstrap, for what has no option of its own.
    pub bootstrap: Value,
    /// Envoy's environment besides `PATH`; the plugin sees what `host_env_keys` names.
    pub environment: BTreeMap<String, String>,
    /// The module that Envoy loads.
    pub module: PathBuf,
    /// The number of workers.
    pub concurrency: u32,
    /// Envoy's log level for the plugin's lines.
    pub wasm_log_level: String,
    /// 0 is any free one.
    pub admin_port: u16,
    /// Envoy reads the filter's configuration from a file that it watches (ECDS); [`Envoy::reconfigure`] replaces it.
    pub is_watched: bool,
    /// Envoy reads its listener from a file that it watches (LDS); [`Envoy::put_filter`] changes it.
    pub is_listener_watched: bool,
    /// What Envoy is run by, such as `valgrind`; nothing by default.
    pub launcher: Vec<String>,
    /// HTTP filters in the place of ours and of the seal's policy, for comparison.
    pub peers: Option<Vec<Value>>,
    /// The seals that the policy behind the filter accepts; `None`: the one of the filter's environment.
    accepted_seals: Option<Vec<String>>,
    /// Our filter is not in the chain, and the policy behind it is.
    is_filter_missing: bool,
    listener: Reserved,
}

impl EnvoyOptions {
    /// Between these two authorities, on a free port, with a freshly built module and one worker.
    pub fn new(authentik: &str, app: &str) -> Self {
        let listener = Reserved::any();
        let mut options = Self::read(module().to_owned(), listener);
        options.set_cluster("authentik", authentik);
        options.set_cluster("app", app);
        options.configuration["authentik"]["host"] = json!(format!("http://{authentik}"));
        options.configuration["providers"][0]["external_host"] =
            json!(format!("http://127.0.0.1:{}", options.port()));
        options
    }

    /// `envoy.yaml` as it is, but for this module and a listener on this port.
    pub fn as_written(module: PathBuf, port: u16) -> Self {
        Self::read(module, Reserved::not(port))
    }

    fn read(module: PathBuf, listener: Reserved) -> Self {
        let text = fs::read_to_string(root().join("envoy.yaml")).expect("envoy.yaml");
        let mut bootstrap: Value = serde_yaml_ng::from_str(&text).expect("envoy.yaml is YAML");
        let configuration = plugin(&mut bootstrap)["configuration"]["value"].as_str().expect("a StringValue");
        let configuration = serde_json::from_str(configuration).expect("the plugin's configuration is JSON");
        let environment = [
            ("AUTHENTIK_CLIENT_SECRET", "demo-client-secret-0123456789abcdef0123456789abcdef"),
            ("AUTHENTIK_COOKIE_SECRET", COOKIE_SECRET),
            ("AUTHENTIK_SEAL", SEAL),
        ];
        Self {
            configuration,
            bootstrap,
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            module,
            concurrency: 1,
            wasm_log_level: "debug".to_owned(),
            admin_port: 0,
            is_watched: false,
            is_listener_watched: false,
            launcher: Vec::new(),
            peers: None,
            accepted_seals: None,
            is_filter_missing: false,
            listener,
        }
    }

    /// Hands the plugin's configuration over as another protobuf message, such as `google.protobuf.Struct`.
    pub fn wrapped_in(mut self, message: &str) -> Self {
        plugin(&mut self.bootstrap)["configuration"]["@type"] =
            json!(format!("type.googleapis.com/{message}"));
        self
    }

    /// Sets one value of the HTTP connection manager, by JSON pointer.
    pub fn manager(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let place = self.bootstrap.pointer_mut(&format!("{MANAGER}{pointer}")).expect("a value to replace");
        *place = value.into();
        self
    }

    /// Sets one field of the HTTP connection manager.
    pub fn set_manager(&mut self, field: &str, value: Value) {
        self.bootstrap.pointer_mut(MANAGER).expect("an HTTP connection manager")[field] = value;
    }

    /// Sets one field of the Wasm filter's own configuration (`envoy.extensions.wasm.v3.PluginConfig`).
    pub fn plugin(mut self, field: &str, value: impl Into<Value>) -> Self {
        plugin(&mut self.bootstrap)[field] = value.into();
        self
    }

    /// The policy behind the filter accepts these seals and no other.
    pub fn accepting(mut self, seals: &[&str]) -> Self {
        self.accepted_seals = Some(seals.iter().map(|seal| (*seal).to_owned()).collect());
        self
    }

    /// Takes the filter out of the chain, and leaves the policy behind it.
    pub fn without_filter(mut self) -> Self {
        self.is_filter_missing = true;
        self
    }

    /// No seal and no policy that asks for one: the filter alone is measured.
    pub fn unsealed(mut self) -> Self {
        self.configuration.as_object_mut().expect("an object").remove("seal");
        filters(&mut self.bootstrap).retain(|it| it["name"] != POLICY);
        self
    }

    /// Puts another filter before ours, with the cluster that it asks.
    pub fn behind(mut self, cluster: Value, filter: Value) -> Self {
        let clusters = self.bootstrap["static_resources"]["clusters"].as_array_mut().expect("clusters");
        clusters.push(cluster);
        filters(&mut self.bootstrap).insert(0, filter);
        self
    }

    /// The port that Envoy will listen on.
    pub fn port(&self) -> u16 {
        self.listener.port
    }

    /// Sets one value of the plugin's configuration, by JSON pointer; missing members are made.
    pub fn configure(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.configuration;
        for step in pointer.split('/').skip(1) {
            place = match step.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[step],
            };
        }
        *place = value.into();
        self
    }

    /// Configures the one provider for this application of the stand-in.
    pub fn provider(mut self, slug: &str, client_secret: &str) -> Self {
        let provider = &mut self.configuration["providers"][0];
        provider["assigned_application_slug"] = json!(slug);
        provider["client_id"] = json!(format!("{slug}-client-id"));
        self.environment.insert("AUTHENTIK_CLIENT_SECRET".to_owned(), client_secret.to_owned());
        self
    }

    /// Sets a variable of Envoy's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Leaves out a variable of Envoy's environment.
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Sets the number of workers.
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// Points a cluster at `host:port`; a host that is a name is resolved.
    pub fn set_cluster(&mut self, name: &str, authority: &str) {
        let (host, port) = authority.rsplit_once(':').expect("host:port");
        let cluster = self.cluster(name);
        let host = host.trim_matches(['[', ']']);
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        cluster["type"] = json!(if is_address { "STATIC" } else { "STRICT_DNS" });
        let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        endpoint["address"]["socket_address"] =
            json!({"address": host, "port_value": port.parse::<u16>().expect("a port")});
    }

    /// HTTP/2 to this cluster, without TLS.
    pub fn speak_http2_to(&mut self, name: &str) {
        self.cluster(name)["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        });
    }

    /// TLS to this cluster, with this name in the handshake. The server's certificate is verified with the authorities in this
    /// file, or with the system's.
    pub fn speak_tls_to(&mut self, name: &str, server_name: &str, authorities: Option<&Path>) {
        let trusted = authorities.unwrap_or(Path::new("/etc/ssl/certs/ca-certificates.crt"));
        let is_address = server_name.parse::<std::net::IpAddr>().is_ok();
        let kind = if is_address { "IP_ADDRESS" } else { "DNS" };
        // Without certificates to trust nothing verifies, and names alone are nothing to Envoy.
        let validation = if trusted.is_file() {
            json!({
                "trusted_ca": {"filename": trusted},
                "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": server_name}}],
            })
        } else {
            json!({"verify_certificate_hash": ["00".repeat(32)]})
        };
        let mut context = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {"validation_context": validation},
        });
        // RFC 6066 §3: no address in the handshake.
        if !is_address {
            context["sni"] = json!(server_name);
        }
        self.cluster(name)["transport_socket"] =
            json!({"name": "envoy.transport_sockets.tls", "typed_config": context});
    }

    fn cluster(&mut self, name: &str) -> &mut Value {
        let clusters = self.bootstrap["static_resources"]["clusters"].as_array_mut().expect("clusters");
        clusters.iter_mut().find(|it| it["name"] == name).expect("a cluster of this name")
    }

    /// The bootstrap with everything in its place.
    fn bootstrap(&self) -> Value {
        let mut bootstrap = self.bootstrap.clone();
        bootstrap["admin"]["address"]["socket_address"]["port_value"] = json!(self.admin_port);
        bootstrap.pointer_mut(LISTENER).expect("a listener")["address"]["socket_address"]["port_value"] =
            json!(self.listener.port);
        let plugin = plugin(&mut bootstrap);
        plugin["vm_config"]["code"]["local"]["filename"] = json!(self.module);
        let wrapper = &mut plugin["configuration"];
        wrapper["value"] = match wrapper["@type"].as_str() {
            Some(name) if name.ends_with(".Struct") => self.configuration.clone(),
            _ => json!(self.configuration.to_string()),
        };
        let filters = filters(&mut bootstrap);
        if let Some(policy) = filters.iter_mut().find(|it| it["name"] == POLICY) {
            self.accept_seals(policy);
        }
        filters.retain(|it| !self.is_filter_missing || it["name"] != FILTER);
        if let Some(peers) = &self.peers {
            filters.retain(|it| it["name"] != FILTER && it["name"] != POLICY);
            filters.splice(..0, peers.iter().cloned());
        }
        bootstrap
    }

    fn accept_seals(&self, policy: &mut Value) {
        let own = || self.environment.get("AUTHENTIK_SEAL").map(|seal| vec![seal.clone()]);
        let Some(seals) = self.accepted_seals.clone().or_else(own) else { return };
        let accepted = policy.pointer_mut(ACCEPTED).expect("a principal");
        let header = accepted["header"].take();
        let one = |seal: &String| {
            let mut header = header.clone();
            header["string_match"]["exact"] = json!(seal);
            json!({"header": header})
        };
        *accepted = match seals.as_slice() {
            [seal] => one(seal),
            several => json!({"or_ids": {"ids": several.iter().map(one).collect::<Vec<_>>()}}),
        };
    }
}

/// The Wasm filter's plugin configuration in a bootstrap.
fn plugin(bootstrap: &mut Value) -> &mut Value {
    &mut filter(bootstrap)["typed_config"]["config"]
}

fn filter(bootstrap: &mut Value) -> &mut Value {
    filters(bootstrap).iter_mut().find(|it| it["name"] == FILTER).expect("the filter")
}

/// Moves the filter out of a bootstrap into a file that Envoy watches instead.
fn watch(bootstrap: &mut Value, file: &Path) {
    let filter = filter(bootstrap);
    let settings = filter["typed_config"].take();
    *filter = json!({"name": "authentik", "config_discovery": {
        "config_source": {"resource_api_version": "V3", "path_config_source": {"path": file}},
        "type_urls": [settings["@type"]],
    }});
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "authentik",
        "typed_config": settings,
    });
    bootstrap["node"] = json!({"id": "test", "cluster": "test"});
    let response = json!({"version_info": "0", "resources": [resource]});
    fs::write(file, response.to_string()).expect("the filter's file is written");
}

/// Moves the listener out of a bootstrap into a file that Envoy watches instead.
fn watch_listener(bootstrap: &mut Value, file: &Path) {
    let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().expect("listeners");
    let mut listener = listeners.remove(0);
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    let source = json!({"resource_api_version": "V3", "path_config_source": {"path": file}});
    bootstrap["dynamic_resources"] = json!({"lds_config": source});
    bootstrap["node"] = json!({"id": "test", "cluster": "test"});
    let response = json!({"version_info": "0", "resources": [listener]});
    fs::write(file, response.to_string()).expect("the listener's file is written");
}

fn filters(bootstrap: &mut Value) -> &mut Vec<Value> {
    let manager = bootstrap.pointer_mut(MANAGER).expect("an HTTP connection manager");
    manager["http_filters"].as_array_mut().expect("HTTP filters")
}

/// A port that the kernel gives to nobody else while Envoy, which shares its ports, binds it too.
struct Reserved {
    port: u16,
    _socket: Option<TcpSocket>,
}

impl Reserved {
    fn any() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseport(true).expect("a port that can be shared");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port on loopback");
        let port = socket.local_addr().expect("a bound socket").port();
        Self { port, _socket: Some(socket) }
    }

    fn not(port: u16) -> Self {
        Self { port, _socket: None }
    }
}

/// A running Envoy; it is killed when dropped.
pub struct Envoy {
    child: Child,
    folder: Folder,
    admin: String,
    _listener: Reserved,
    port: u16,
    /// What [`Envoy::put_filter`] puts back.
    filter: Option<Value>,
}

impl Envoy {
    /// Starts Envoy and waits until it serves; panics with its log if it does not.
    pub fn start(options: EnvoyOptions) -> Self {
        Self::try_start(options).unwrap_or_else(|log| panic!("Envoy does not start:\n{log}"))
    }

    /// The log of an Envoy that refuses these options; panics if it takes them.
    pub fn rejects(options: EnvoyOptions) -> String {
        match Self::try_start(options) {
            Ok(envoy) => panic!("Envoy accepts the configuration:\n{}", envoy.log()),
            Err(log) => log,
        }
    }

    /// Starts Envoy and waits until it serves.
    ///
    /// # Errors
    /// Envoy's log, if it ends instead.
    pub fn try_start(options: EnvoyOptions) -> Result<Self, String> {
        let folder = Folder::new();
        let configuration = folder.0.join("envoy.json");
        let mut bootstrap = options.bootstrap();
        if options.is_watched {
            watch(&mut bootstrap, &folder.0.join(WATCHED));
        }
        let mut filter = None;
        if options.is_listener_watched {
            filter = filters(&mut bootstrap).iter().find(|it| it["name"] == FILTER).cloned();
            watch_listener(&mut bootstrap, &folder.0.join(WATCHED_LISTENER));
        }
        fs::write(&configuration, bootstrap.to_string()).expect("the configuration is written");
        let log = File::create(folder.0.join("log")).expect("a log file");
        let mut command = options.launcher.clone();
        command.push(binary().unwrap_or_else(|reason| panic!("{reason}")).display().to_string());
        let child = Command::new(command.remove(0))
            .args(command)
            .arg("--config-path")
            .arg(&configuration)
            .args(["--use-dynamic-base-id", "--log-level", "warning"])
            .args(["--component-log-level", &format!("wasm:{}", options.wasm_log_level)])
            // The access log is written at once, so that a test need not wait for it.
            .args(["--file-flush-interval-msec", "20"])
            .args(["--concurrency", &options.concurrency.to_string()])
            .arg("--admin-address-path")
            .arg(folder.0.join("admin"))
            .current_dir(root())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(&options.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("Envoy's binary runs");
        let port = options.port();
        let mut envoy =
            Self { child, folder, admin: String::new(), _listener: options.listener, port, filter };
        if envoy.serves() { Ok(envoy) } else { Err(envoy.log()) }
    }

    /// Waits until Envoy accepts connections; false if it ends before.
    fn serves(&mut self) -> bool {
        let start = Instant::now();
        let listener = SocketAddr::from(([127, 0, 0, 1], self.port));
        while start.elapsed() < PATIENCE {
            if self.child.try_wait().expect("the child is ours").is_some() {
                return false;
            }
            self.admin = fs::read_to_string(self.folder.0.join("admin")).unwrap_or_default();
            if !self.admin.is_empty()
                && self.admin("/ready").is_some_and(|answer| answer.contains("LIVE"))
                && TcpStream::connect(listener).is_ok()
            {
                return true;
            }
            sleep(Duration::from_millis(20));
        }
        panic!("Envoy neither serves nor ends:\n{}", self.log());
    }

    /// The port that Envoy listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Replaces the plugin's configuration, its text, in the running process. Envoy takes it or not, a moment later.
    pub fn reconfigure(&self, configuration: &str) {
        self.replace(WATCHED, |resource| {
            resource["typed_config"]["config"]["configuration"]["value"] = json!(configuration);
        });
    }

    /// Takes the filter out of the running process, or puts it back, where the listener is watched. Envoy does it a moment
    /// later, for new connections.
    pub fn put_filter(&self, is_there: bool) {
        self.replace(WATCHED_LISTENER, |listener| {
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            let filters = manager["http_filters"].as_array_mut().expect("HTTP filters");
            filters.retain(|it| it["name"] != FILTER);
            if is_there {
                filters.insert(0, self.filter.clone().expect("a listener that is watched"));
            }
        });
    }

    /// Changes the one resource of a watched file.
    fn replace(&self, file: &str, change: impl FnOnce(&mut Value)) {
        let (file, next) = (self.folder.0.join(file), self.folder.0.join("next"));
        let text = fs::read_to_string(&file).expect("a file that is watched");
        let mut response: Value = serde_json::from_str(&text).expect("JSON");
        let version: u64 = response["version_info"].as_str().expect("a version").parse().expect("a number");
        response["version_info"] = json!((version + 1).to_string());
        change(&mut response["resources"][0]);
        fs::write(&next, response.to_string()).expect("the next version is written");
        // Envoy sees a file that takes the place of another, not one that changes.
        fs::rename(next, file).expect("it takes the place of the last");
    }

    /// The process, or what it is run by if that stays.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `http://127.0.0.1:port` and the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A request of the tests' client.
    #[cfg(feature = "client")]
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        loopback::client().request(method, self.url(path))
    }

    /// A GET of the tests' client.
    #[cfg(feature = "client")]
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// The file that Envoy and the plugin log to.
    pub fn log_path(&self) -> PathBuf {
        self.folder.0.join("log")
    }

    /// From now on the plugin's warnings are logged, and no more.
    pub fn quiet(&self) {
        let (status, text) =
            admin::ask(&self.admin, "POST", "/logging?wasm=warning").expect("an admin interface");
        assert_eq!(status, 200, "{text}");
    }

    /// What Envoy and the plugin have logged.
    pub fn log(&self) -> String {
        let log = fs::read(self.log_path()).expect("a log file");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Counters and gauges whose names match the regular expression.
    pub fn stats(&self, filter: &str) -> BTreeMap<String, u64> {
        let filter: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
        let text = self.admin(&format!("/stats?filter={filter}")).expect("stats");
        text.lines()
            .filter_map(|line| line.rsplit_once(": "))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// What shows that the filter failed in one of so many workers, line by line: it trapped, or its VM was started
    /// again.
    pub fn filter_failures(&self, workers: u32) -> Vec<String> {
        let marks = ["panicked", "RuntimeError", "Maximum call stack", "wasm trap", "wasm_fail_stream"];
        let log = self.log();
        let mut failures: Vec<_> = marks
            .iter()
            .filter_map(|mark| log.lines().find(|line| line.contains(mark)))
            .map(str::to_owned)
            .collect();
        let reloads = self.stats("^wasm\\.authentik\\.vm_reload");
        if reloads.len() < 3 || reloads.values().any(|count| *count > 0) {
            failures.push(format!("the filter's VM was started again, or nobody counts: {reloads:?}"));
        }
        let vms = self.stats(VMS);
        // One for each worker, the main thread's, and the one that the others are copies of.
        if vms.get(VMS) != Some(&(u64::from(workers) + 2)) {
            failures.push(format!("not {workers} + 2 VMs: {vms:?}"));
        }
        failures
    }

    /// The process's resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Envoy runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") * 1024
    }

    /// What all threads of the process have run so far. Exact once they sleep.
    pub fn cpu_time(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("Envoy runs");
        let time = |thread: fs::DirEntry| {
            let text = fs::read_to_string(thread.path().join("schedstat")).expect("a thread of Envoy");
            text.split(' ').next().and_then(|number| number.parse::<u64>().ok()).expect("nanoseconds")
        };
        Duration::from_nanos(threads.flatten().map(time).sum())
    }

    /// False once Envoy has ended by itself.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours").is_none()
    }

    /// `host:port` of the admin interface.
    pub fn admin_authority(&self) -> &str {
        &self.admin
    }

    /// The answer of the admin interface to a GET, if there is one.
    pub fn admin(&self, path: &str) -> Option<String> {
        admin::ask(&self.admin, "GET", path).ok().map(|(_, text)| text)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Envoy's binary: `$ENVOY`, or the one that `make envoy` put below the repository's root.
///
/// # Errors
/// What to do about a binary that is missing.
pub fn binary() -> Result<PathBuf, String> {
    let named = std::env::var_os("ENVOY").filter(|path| !path.is_empty()).map(PathBuf::from);
    let binary = match named {
        Some(named) => named,
        None => installed().ok_or("Envoy's binary is missing: run `make envoy`, or set ENVOY")?,
    };
    if binary.is_file() { Ok(binary) } else { Err(format!("ENVOY={} is not a file", binary.display())) }
}

fn installed() -> Option<PathBuf> {
    let pythons = fs::read_dir(root().join(".venv/lib")).ok()?;
    let binaries = pythons.flatten().map(|python| python.path().join("site-packages/envoy/_bin/envoy"));
    binaries.into_iter().find(|binary| binary.is_file())
}

/// A folder that is gone with its owner.
pub struct Folder(
    /// Where it is.
    pub PathBuf,
);

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Folder {
    /// An empty folder among the temporary files.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("authentik-proxy-wasm-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder of its own");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ACCEPTED, EnvoyOptions, FILTER, MANAGER, POLICY, SEAL, filters, plugin};

    fn options() -> EnvoyOptions {
        EnvoyOptions::as_written("module.wasm".into(), 10000)
    }

    #[test]
    fn changes_only_what_it_is_told_to() {
        let text = std::fs::read_to_string(super::root().join("envoy.yaml")).unwrap();
        let mut written: Value = serde_yaml_ng::from_str(&text).unwrap();
        let mut started = EnvoyOptions { admin_port: 9901, ..options() }.bootstrap();
        for tree in [&mut written, &mut started] {
            let plugin = plugin(tree);
            let configuration = plugin["configuration"]["value"].as_str().unwrap();
            plugin["configuration"]["value"] = serde_json::from_str(configuration).unwrap();
            plugin["vm_config"]["code"]["local"]["filename"] = Value::Null;
            accepted(tree)["header"]["string_match"]["exact"] = Value::Null;
        }
        assert_eq!(started, written);
    }

    /// Whom the policy behind the filter lets pass.
    fn accepted(bootstrap: &mut Value) -> &mut Value {
        let policy = filters(bootstrap).iter_mut().find(|it| it["name"] == POLICY).unwrap();
        policy.pointer_mut(ACCEPTED).unwrap()
    }

    #[test]
    fn filter_and_policy_have_one_seal_unless_told_otherwise() {
        let exact = |options: EnvoyOptions| accepted(&mut options.bootstrap())["header"].clone();
        let header = |seal: &str| json!({"name": "x-authentik-seal", "string_match": {"exact": seal}});
        assert_eq!(exact(options()), header(SEAL));
        assert_eq!(exact(options().env("AUTHENTIK_SEAL", "another")), header("another"));
        assert_eq!(exact(options().accepting(&["a third"])), header("a third"));
        let several = accepted(&mut options().accepting(&["old", "new"]).bootstrap()).clone();
        let ids = [json!({"header": header("old")}), json!({"header": header("new")})];
        assert_eq!(several, json!({"or_ids": {"ids": ids}}));
    }

    #[test]
    fn the_filter_or_the_seal_can_be_left_out() {
        let names = |options: EnvoyOptions| -> Vec<String> {
            let mut bootstrap = options.bootstrap();
            filters(&mut bootstrap).iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
        };
        let router = "envoy.filters.http.router";
        assert_eq!(names(options()), [FILTER, POLICY, router]);
        assert_eq!(names(options().without_filter()), [POLICY, router]);
        assert_eq!(names(options().unsealed()), [FILTER, router]);
        let mut compared = options();
        compared.peers = Some(vec![json!({"name": "peer"})]);
        assert_eq!(names(compared), ["peer", router]);
    }

    /// It has a blank, which no seal has: with `envoy.yaml` as it is, nobody passes.
    #[test]
    fn the_value_in_the_example_is_never_the_filter_s() {
        let text = std::fs::read_to_string(super::root().join("envoy.yaml")).unwrap();
        let mut written: Value = serde_yaml_ng::from_str(&text).unwrap();
        let value = accepted(&mut written)["header"]["string_match"]["exact"].clone();
        assert!(value.as_str().unwrap().contains(' '), "{value}");
    }

    #[test]
    fn puts_what_it_is_told_in_its_place() {
        let mut options = options().provider("rs", "secret").configure("/cache/ttl_seconds", 5);
        options.set_cluster("authentik", "127.0.0.2:81");
        options.set_cluster("app", "app.test:82");
        assert_eq!(options.environment["AUTHENTIK_CLIENT_SECRET"], "secret");
        let mut bootstrap = options.bootstrap();
        let configuration: Value =
            serde_json::from_str(plugin(&mut bootstrap)["configuration"]["value"].as_str().unwrap()).unwrap();
        assert_eq!(configuration["providers"][0]["client_id"], "rs-client-id");
        assert_eq!(configuration["cache"], json!({"ttl_seconds": 5}));
        let clusters = bootstrap["static_resources"]["clusters"].as_array().unwrap();
        let addresses: Vec<_> = clusters
            .iter()
            .map(|cluster| {
                let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
                let address = &endpoint["address"]["socket_address"];
                (
                    cluster["type"].as_str().unwrap(),
                    address["address"].as_str().unwrap(),
                    address["port_value"].clone(),
                )
            })
            .collect();
        assert_eq!(addresses, [("STATIC", "127.0.0.2", json!(81)), ("STRICT_DNS", "app.test", json!(82))]);
    }

    #[test]
    fn the_example_fails_closed_and_sees_one_spelling_of_a_path() {
        let mut bootstrap = options().bootstrap();
        let manager = bootstrap.pointer(MANAGER).unwrap();
        for setting in ["normalize_path", "merge_slashes", "use_remote_address"] {
            assert_eq!(manager[setting], true, "{setting}");
        }
        for timeout in ["request_timeout", "stream_idle_timeout"] {
            assert!(manager[timeout].is_string(), "{timeout}");
        }
        let filters: Vec<_> =
            manager["http_filters"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
        assert_eq!(filters, [FILTER, POLICY, "envoy.filters.http.router"]);
        let plugin = plugin(&mut bootstrap);
        assert_eq!(plugin["failure_policy"], "FAIL_RELOAD");
        assert!(plugin.get("allow_on_headers_stop_iteration").is_none());
    }
}
