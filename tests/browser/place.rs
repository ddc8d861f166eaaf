//! Where a test happens: a stand-in authentik, an application, and an Envoy between them. Owns the two verdicts that
//! most tests are made of ([`Place::shows`], [`Place::sends_to_login`]: the application's word counts, not the answer's
//! alone) and the one that ends every test: Envoy lives, and the filter never failed.

use std::thread::{panicking, sleep};
use std::time::{Duration, Instant};

use fake_authentik::{ALICE, AUTHORIZE, Authentik};
use local_envoy::{Envoy, EnvoyOptions};
use loopback::{App, header_values};
use serde_json::{Value, json};

use super::navigator::{Answer, Navigator};

/// How long something may take that is on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// The provider's cookies where nothing makes them `__Host-`: `authentik_proxy_` and the first 8 hex digits of
/// SHA-256("demo-client-id").
pub(super) const SESSION: &str = "authentik_proxy_72846b5b";
pub(super) const LOGIN: &str = "authentik_proxy_72846b5b_login";

pub(super) struct Place {
    pub(super) authentik: Authentik,
    pub(super) app: App,
    pub(super) envoy: Envoy,
    /// The application as browsers see it.
    pub(super) base: String,
}

impl Place {
    /// With these changes to `envoy.yaml`.
    pub(super) fn new(change: impl FnOnce(EnvoyOptions) -> EnvoyOptions) -> Self {
        let (authentik, app) = (Authentik::start(), App::start());
        let options = change(options(&authentik, &app));
        let provider = &options.configuration["providers"][0];
        let base = provider["external_host"].as_str().expect("an external host").to_owned();
        let slug = provider["assigned_application_slug"].as_str().expect("a slug");
        authentik.set_external_host(slug, &base);
        Self { authentik, app, envoy: Envoy::start(options), base }
    }

    /// Another Envoy for the same application: a replica, or the next one after a restart.
    pub(super) fn another(&self, change: impl FnOnce(EnvoyOptions) -> EnvoyOptions) -> Envoy {
        let options = change(options(&self.authentik, &self.app));
        Envoy::start(options.configure("/providers/0/external_host", self.base.as_str()))
    }

    /// The URL of this path as browsers see it.
    pub(super) fn url(&self, target: &str) -> String {
        format!("{}{target}", self.base)
    }

    /// The browser opens this path.
    pub(super) fn open(&self, browser: &mut Navigator, target: &str) -> Answer {
        browser.open(self.envoy.port(), &self.url(target))
    }

    /// The browser opens this path, is sent to authentik, logs in there and comes back: the answer to the callback.
    #[track_caller]
    pub(super) fn log_in(&self, browser: &mut Navigator, target: &str, username: &str) -> Answer {
        let authorize = self.sends_to_login(browser, target);
        let callback = self.authentik.approve(&authorize, username);
        browser.open(self.envoy.port(), &callback)
    }

    /// A browser that has logged in as alice.
    #[track_caller]
    pub(super) fn alice(&self) -> Navigator {
        self.logged_in("alice")
    }

    /// A browser that has logged in as eve, of whom there is little to say: her session is one cookie.
    #[track_caller]
    pub(super) fn eve(&self) -> Navigator {
        let browser = self.logged_in("eve");
        assert_eq!(browser.session().len(), 1);
        browser
    }

    #[track_caller]
    fn logged_in(&self, username: &str) -> Navigator {
        let mut browser = Navigator::default();
        assert_eq!(self.log_in(&mut browser, "/", username).location(), self.url("/"));
        browser
    }

    /// The browser gets to see this path, as this user.
    #[track_caller]
    pub(super) fn shows(&self, browser: &mut Navigator, target: &str, username: &str) -> Value {
        let shown = self.open(browser, target).shown();
        assert_eq!(header_values(&shown, "x-authentik-username"), [username]);
        shown
    }

    /// The browser is sent to authentik, and the application knows nothing of it: the URL it is sent to.
    #[track_caller]
    pub(super) fn sends_to_login(&self, browser: &mut Navigator, target: &str) -> String {
        let before = self.app.count();
        let answer = self.open(browser, target);
        assert!(self.is_login(answer.location()), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(self.app.count(), before, "the application saw it");
        answer.location().to_owned()
    }

    pub(super) fn is_login(&self, location: &str) -> bool {
        location.starts_with(&format!("{}{AUTHORIZE}?", self.authentik.public_base()))
    }
}

/// `envoy.yaml` between these two. A busy machine is no authentik that does not answer.
fn options(authentik: &Authentik, app: &App) -> EnvoyOptions {
    let options = EnvoyOptions::new(&authentik.authority(), &app.authority());
    options.configure("/authentik/timeout_seconds", 30)
}

/// A place is left as it was found.
impl Drop for Place {
    fn drop(&mut self) {
        if !panicking() {
            let log = self.envoy.log();
            assert!(self.envoy.runs(), "Envoy has ended:\n{log}");
            for failure in ["panicked", "RuntimeError"] {
                assert!(!log.contains(failure), "the filter failed:\n{log}");
            }
            for secret in ["eyJ", "-app-password", "-client-secret-", "seal-of-the-tests", "code="] {
                let line = log.lines().find(|line| line.contains(secret));
                assert!(line.is_none(), "the log has a secret: {line:?}");
            }
        }
    }
}

/// alice's app password, as `curl -u` sends it.
pub(super) fn alice_basic() -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("alice:{ALICE}")))
}

/// A provider of the stand-in for `/providers/0`.
pub(super) fn provider(slug: &str, external_host: &str, settings: Value) -> Value {
    let mut provider = json!({
        "assigned_application_slug": slug,
        "client_id": format!("{slug}-client-id"),
        "client_secret": format!("{slug}-client-secret-0123456789abcdef0123456789abcdef"),
        "cookie_secret": {"env": "AUTHENTIK_COOKIE_SECRET"},
        "external_host": external_host,
    });
    for (name, value) in settings.as_object().expect("an object") {
        provider[name] = value.clone();
    }
    provider
}

/// The value of a parameter of a URL.
pub(super) fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    form_urlencoded::parse(query.as_bytes()).find(|(it, _)| it == name).map(|(_, value)| value.into_owned())
}

/// Asks until it is so.
#[track_caller]
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(50));
    }
}
