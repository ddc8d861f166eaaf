//! Where the soak happens: a stand-in authentik, the application, the providers that one Envoy has for them, and what
//! outlives an Envoy: users, kept sessions, the state of the keys. Owns the plugin's configuration.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use fake_authentik::{Authentik, TokenSpec};
use local_envoy::EnvoyOptions;
use loopback::App;
use serde_json::{Value, json};

use super::super::place::{options, provider};
use super::super::wire::basic;
use super::ledger::Ledger;
use super::users::People;
use super::weather::Weather;

/// HS256, with an open path: the one that browsers log in to.
pub(super) const HS: &str = "hs.test";
pub(super) const RS: &str = "rs.test";
/// The one whose key pair is swapped.
pub(super) const ES: &str = "es.test";
/// RS256, and authentik is asked again every [`REVALIDATE`] seconds.
pub(super) const REVALIDATED: &str = "revalidated.test";
/// A whole domain, with interception off.
pub(super) const LAX: &str = "lax.domain.test";

/// Where a token can be judged without authentik.
pub(super) const LOCAL: [&str; 4] = [HS, RS, ES, LAX];

pub(super) const REVALIDATE: u64 = 1;
/// How long a call to authentik may take. Longer than an honest answer takes on a busy machine.
pub(super) const CALL: Duration = Duration::from_secs(5);

/// Sessions older than this are not replayed: their tokens end after an hour.
const KEPT: Duration = Duration::from_secs(1_500);
/// So many are kept.
const JAR: usize = 64;

/// The slug of the provider of a host, with or without a port.
pub(super) fn slug_of(host: &str) -> Option<&'static str> {
    match host.split(':').next().unwrap_or(host) {
        HS => Some("demo"),
        RS => Some("rs"),
        ES => Some("es"),
        REVALIDATED => Some("rs-proxyscope"),
        host if host.ends_with(".domain.test") => Some("demo-domain"),
        _ => None,
    }
}

/// What is changed while Envoy runs. The application is told which it was, as the outpost's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// All twelve headers and a long memory, or some and a short one.
    is_ample: bool,
    /// Which of `demo`'s two client secrets.
    has_first_secret: bool,
}

impl Settings {
    const ALL: [Self; 4] = [
        Self { is_ample: true, has_first_secret: true },
        Self { is_ample: false, has_first_secret: true },
        Self { is_ample: true, has_first_secret: false },
        Self { is_ample: false, has_first_secret: false },
    ];

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match (self.is_ample, self.has_first_secret) {
            (true, true) => "ample-first",
            (false, true) => "scant-first",
            (true, false) => "ample-second",
            (false, false) => "scant-second",
        }
    }

    pub(super) const fn with_other_headers(self) -> Self {
        Self { is_ample: !self.is_ample, ..self }
    }

    pub(super) const fn with_other_secret(self) -> Self {
        Self { has_first_secret: !self.has_first_secret, ..self }
    }

    /// Short names of the identity headers.
    pub(super) const fn headers(self) -> &'static [&'static str] {
        if self.is_ample {
            &[
                "username",
                "groups",
                "entitlements",
                "email",
                "name",
                "uid",
                "jwt",
                "meta-jwks",
                "meta-outpost",
                "meta-provider",
                "meta-app",
                "meta-version",
            ]
        } else {
            &["username", "uid", "groups", "meta-outpost", "meta-app"]
        }
    }
}

/// A session that a client keeps: what it would send as `Cookie`.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) host: &'static str,
    pub(super) username: String,
    pub(super) cookie: String,
    since: Instant,
}

/// A user whom authentik disables, with everything that let him in.
#[derive(Clone)]
pub(super) struct Leaver {
    pub(super) username: String,
    pub(super) credentials: [String; 2],
    pub(super) cookie: String,
    pub(super) has_left: bool,
}

pub(super) struct Site {
    /// Written to only while it goes down or comes up.
    pub(super) authentik: RwLock<Authentik>,
    pub(super) app: App,
    pub(super) people: People,
    pub(super) weather: Weather,
    pub(super) ledger: Ledger,
    pub(super) settings: Mutex<Settings>,
    pub(super) leaver: RwLock<Option<Leaver>>,
    /// How often the key pair of `es`, or the client secret of `demo`, was changed.
    pub(super) epoch: AtomicU64,
    kept: Mutex<Vec<Kept>>,
    newcomers: AtomicU64,
}

impl Site {
    pub(super) fn new() -> Self {
        let authentik = Authentik::start();
        authentik.set_external_host("demo", &format!("http://{HS}"));
        let site = Self {
            people: People::new(authentik.public_base()),
            authentik: RwLock::new(authentik),
            app: App::start(),
            weather: Weather::default(),
            ledger: Ledger::default(),
            settings: Mutex::new(Settings::ALL[0]),
            leaver: RwLock::default(),
            epoch: AtomicU64::new(0),
            kept: Mutex::default(),
            newcomers: AtomicU64::new(0),
        };
        for username in USERS {
            site.make_known(username);
        }
        site
    }

    /// For an Envoy with so many workers, and the filter in a file.
    pub(super) fn options(&self, workers: u32) -> EnvoyOptions {
        let mut options = options(&self.authentik.read().unwrap(), &self.app).concurrency(workers);
        options.is_watched = true;
        options.configuration = self.configuration(*self.settings.lock().unwrap());
        // Else Envoy refuses a WebSocket before the filter is asked.
        options.bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
            ["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
        options
    }

    pub(super) fn configuration(&self, settings: Settings) -> Value {
        let secret = if settings.has_first_secret {
            "demo-client-secret-0123456789abcdef0123456789abcdef"
        } else {
            "demo-client-secret-fedcba9876543210fedcba9876543210"
        };
        let domain =
            json!({"mode": "forward_domain", "cookie_domain": "domain.test", "intercept_header_auth": false});
        json!({
            "seal": {"values": [{"env": "AUTHENTIK_SEAL"}]},
            "authentik": {
                "cluster": "authentik",
                "host": self.authentik.read().unwrap().public_base(),
                "timeout_seconds": CALL.as_secs(),
                // Of a crowd with a credential each, every one is asked for.
                "max_pending_calls": 4_096,
            },
            "outpost_name": settings.name(),
            "providers": [
                provider("demo", HS, json!({"client_secret": secret, "skip_path_regex": "^/public(/|$)"})),
                provider("rs", RS, json!({})),
                provider("es", ES, json!({})),
                provider("rs-proxyscope", REVALIDATED, json!({"revalidate_seconds": REVALIDATE})),
                provider("demo-domain", "auth.domain.test", domain),
            ],
            "identity_headers": settings.headers(),
            "owned_headers": ["X-Tenant", "x_internal_user"],
            "allow_cors_preflight": true,
            // Small, so that all of it is full soon and memory says something.
            "cache": {
                "ttl_seconds": if settings.is_ample { 8 } else { 3 },
                "local_entries": 128,
                "shared_slots": 256,
            },
            "jwks": {"refresh_seconds": 5, "min_refresh_interval_seconds": 1},
            "throttle": {"failures": 0},
        })
    }

    fn make_known(&self, username: &str) {
        self.authentik.read().unwrap().edit_user(username, |user| self.people.know(user));
    }

    /// A user whom nobody has seen before, and his `Authorization`.
    pub(super) fn newcomer(&self) -> (String, String) {
        let username = format!("newcomer-{}", self.newcomers.fetch_add(1, Ordering::Relaxed));
        self.make_known(&username);
        let authorization = basic(&username, &format!("{username}-app-password"));
        (username, authorization)
    }

    /// A good token, which authentik knows.
    pub(super) fn issue(&self, host: &str, username: &str) -> String {
        self.authentik.read().unwrap().issue(slug_of(host).expect("one of ours"), username)
    }

    pub(super) fn mint(&self, host: &str, spec: TokenSpec) -> String {
        self.authentik.read().unwrap().mint(slug_of(host).expect("one of ours"), spec)
    }

    pub(super) fn keep(&self, host: &'static str, username: &str, cookie: String) {
        let mut kept = self.kept.lock().unwrap();
        kept.retain(|it| it.since.elapsed() < KEPT);
        let place = self.newcomers.load(Ordering::Relaxed) as usize % JAR;
        let session = Kept { host, username: username.to_owned(), cookie, since: Instant::now() };
        match kept.get_mut(place) {
            Some(place) => *place = session,
            None => kept.push(session),
        }
    }

    /// One of the kept sessions, by any number.
    pub(super) fn kept(&self, number: usize) -> Option<Kept> {
        let kept = self.kept.lock().unwrap();
        kept.get(number % kept.len().max(1)).filter(|it| it.since.elapsed() < KEPT).cloned()
    }
}

/// Those whom every application lets in.
pub(super) const USERS: [&str; 3] = ["alice", "eve", "svc-batch"];

/// A user's `Authorization`.
pub(super) fn password_of(username: &str) -> String {
    let name = if username == "svc-batch" { "svc" } else { username };
    basic(username, &format!("{name}-app-password-0123456789abcdef"))
}
