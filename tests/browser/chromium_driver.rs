//! A real browser: Debian's chromium without a screen, driven over WebDriver by its own chromedriver. Owns both
//! processes and a profile of their own; all are gone with their owner. No name but those that a test names leads
//! anywhere, and those lead to loopback.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use local_envoy::Folder;
use loopback::client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How long a page may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys, as WebDriver §17.4.2 has them.
pub(super) const TAB: &str = "\u{e004}";
pub(super) const ENTER: &str = "\u{e007}";

const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    // `.localhost` is this machine (RFC 6761 §6.3), and trusted as HTTPS is: requests say what they are (Sec-Fetch-Mode).
    "--host-resolver-rules=MAP *.localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

pub(super) struct Chromium {
    client: Client,
    runtime: Runtime,
    driver: Driver,
    _profile: Folder,
}

impl Chromium {
    /// `None`, and a loud line, where there is no chromium. Where continuous integration runs there must be one.
    pub(super) fn start() -> Option<Self> {
        let (Some(browser), Some(driver)) = (installed("chromium"), installed("chromedriver")) else {
            let missing = "no chromium or no chromedriver: run `make browser`";
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            static SAID: Once = Once::new();
            // Not `eprintln!`: the harness would keep it to itself.
            let line = format!("SKIPPED: browser::chromium: {missing}");
            SAID.call_once(|| drop(writeln!(std::io::stderr(), "{line}")));
            return None;
        };
        let profile = Folder::new();
        let driver = Driver::start(driver);
        let mut flags: Vec<_> = FLAGS.map(str::to_owned).into();
        flags.push(format!("--user-data-dir={}", profile.0.display()));
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), json!({"binary": browser, "args": flags}));
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let url = format!("http://127.0.0.1:{}", driver.port);
        let client = runtime.block_on(async {
            ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&url).await
        });
        Some(Self { client: client.expect("chromium starts"), runtime, driver, _profile: profile })
    }

    /// Types it into the address bar; comes back when the page is there, after all redirects.
    pub(super) fn open(&self, url: &str) {
        self.runtime.block_on(self.client.goto(url)).unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    pub(super) fn url(&self) -> String {
        self.runtime.block_on(self.client.current_url()).expect("a URL").to_string()
    }

    pub(super) fn fill(&self, selector: &str, text: &str) {
        let typed = async { self.element(selector).await.send_keys(text).await };
        self.runtime.block_on(typed).expect("a field");
    }

    pub(super) fn click(&self, selector: &str) {
        let clicked = async { self.element(selector).await.click().await };
        self.runtime.block_on(clicked).expect("something to click");
    }

    /// The text of an element, once there is one.
    pub(super) fn text(&self, selector: &str) -> String {
        self.runtime.block_on(async { self.element(selector).await.text().await }).expect("a text")
    }

    /// What a script of the page gets to see; it ends by calling `done`.
    pub(super) fn script(&self, script: &str) -> Value {
        let script = format!("const done = arguments[arguments.length - 1]; {script}");
        self.runtime.block_on(self.client.execute_async(&script, Vec::new())).expect("a script that ends")
    }

    /// Presses a key; [`TAB`] and [`ENTER`] are two.
    pub(super) fn press(&self, key: &str) {
        let pressed = async { self.client.active_element().await?.send_keys(key).await };
        self.runtime.block_on(pressed).expect("an element that has the focus");
    }

    /// The page's title.
    pub(super) fn title(&self) -> String {
        self.runtime.block_on(self.client.title()).expect("a title")
    }

    /// Sends these headers with every request from now on.
    pub(super) fn add_headers(&self, headers: &Value) {
        self.protocol("Network.enable", json!({}));
        self.protocol("Network.setExtraHTTPHeaders", json!({"headers": headers}));
    }

    /// A window of this size, for a user of this colour scheme.
    pub(super) fn look(&self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.protocol("Emulation.setDeviceMetricsOverride", metrics);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.protocol("Emulation.setEmulatedMedia", features);
    }

    /// What is in the window, as PNG.
    pub(super) fn screenshot(&self) -> Vec<u8> {
        self.runtime.block_on(self.client.screenshot()).expect("a screenshot")
    }

    /// The messages on the console since the last call.
    pub(super) fn console(&self) -> Vec<String> {
        let log = self.command("se/log", &json!({"type": "browser"}));
        let entries = log.as_array().expect("entries");
        entries.iter().map(|entry| entry["message"].as_str().expect("a message").to_owned()).collect()
    }

    /// A command of the Chrome DevTools Protocol.
    fn protocol(&self, command: &str, parameters: Value) {
        self.command("goog/cdp/execute", &json!({"cmd": command, "params": parameters}));
    }

    /// A command of chromedriver's own.
    fn command(&self, path: &str, parameters: &Value) -> Value {
        let session = self.runtime.block_on(self.client.session_id()).expect("a session");
        let session = session.expect("a session");
        let url = format!("http://127.0.0.1:{}/session/{session}/{path}", self.driver.port);
        let answer = client().post(url).body(parameters.to_string()).send().expect("chromedriver answers");
        let mut answer: Value = serde_json::from_str(&answer.text().expect("a text")).expect("JSON");
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].take()
    }

    /// Names of the cookies that go to the page's host.
    pub(super) fn cookies(&self) -> Vec<String> {
        let cookies = self.runtime.block_on(self.client.get_all_cookies()).expect("cookies");
        cookies.iter().map(|cookie| cookie.name().to_owned()).collect()
    }

    /// Forgets the cookies of the page's host.
    pub(super) fn forget_cookies(&self) {
        self.runtime.block_on(self.client.delete_all_cookies()).expect("cookies");
    }

    async fn element(&self, selector: &str) -> fantoccini::elements::Element {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await;
        match found {
            Ok(element) => element,
            Err(error) => panic!(
                "no {selector} ({error}) at {:?}:\n{}",
                self.client.current_url().await.map(|url| url.to_string()),
                self.client.source().await.unwrap_or_default()
            ),
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let client = self.client.clone();
        let _ = self
            .runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(10), client.close()).await });
        self.driver.stop();
    }
}

/// chromedriver, and the group of processes that it leads.
struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    fn start(binary: PathBuf) -> Self {
        let mut child = Command::new(binary)
            .arg("--port=0")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let mut driver = Self { child, port: 0 };
        match port {
            Some(port) => Self { port, ..driver },
            None => {
                driver.stop();
                panic!("chromedriver does not say its port");
            }
        }
    }

    /// Ends what is left of the group, whose leader is a child of ours that nobody has waited for.
    fn stop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

/// Where a program is.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|it| fs::metadata(it).is_ok_and(|it| it.is_file()))
}
