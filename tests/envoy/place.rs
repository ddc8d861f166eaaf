//! Where a test happens: a stand-in authentik, an application, and an Envoy between them. Owns the two verdicts that
//! every test is made of ([`Place::admits`], [`Place::turns_away`]: the application's word counts, not the answer's
//! alone) and the one that ends every test: Envoy lives, the filter never failed, and no secret is in the log.

use std::collections::BTreeMap;
use std::thread::{panicking, sleep};
use std::time::{Duration, Instant};

use fake_authentik::Authentik;
use local_envoy::{Envoy, EnvoyOptions};
use loopback::{App, header_values};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::wire::{Answer, Request};

/// How long something may take that is on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// What no line of a log may have: app passwords, client secrets, the cookie secret, seals, JSON Web Tokens, opaque
/// tokens of the tests, and a base64 `alice:…`.
const SECRETS: [&str; 7] = [
    "-app-password",
    "-client-secret-",
    "a cookie secret",
    "seal-of-the-tests",
    "eyJ",
    "opaque-token",
    "YWxpY2U6",
];

pub(super) struct Place {
    pub(super) authentik: Authentik,
    pub(super) app: App,
    pub(super) envoy: Envoy,
    /// The test makes the filter panic.
    pub(super) may_panic: bool,
}

impl Place {
    /// With these changes to `envoy.yaml`.
    pub(super) fn new(change: impl FnOnce(EnvoyOptions) -> EnvoyOptions) -> Self {
        Self::around(Authentik::start(), change)
    }

    /// One Envoy for all these providers, each on its host.
    pub(super) fn of(providers: &[Value]) -> Self {
        let providers = providers.to_vec();
        Self::new(|options| options.configure("/providers", providers))
    }

    /// Around an authentik that something was done to.
    pub(super) fn around(authentik: Authentik, change: impl FnOnce(EnvoyOptions) -> EnvoyOptions) -> Self {
        let app = App::start();
        let envoy = Envoy::start(change(options(&authentik, &app)));
        Self { authentik, app, envoy, may_panic: false }
    }

    pub(super) fn request(&self, method: &str, target: impl AsRef<[u8]>) -> Request {
        Request::new(self.envoy.port(), method, target)
    }

    pub(super) fn get(&self, target: impl AsRef<[u8]>) -> Request {
        self.request("GET", target)
    }

    /// A GET with this `Authorization`.
    pub(super) fn get_as(&self, authorization: impl AsRef<[u8]>) -> Request {
        self.get("/").authorization(authorization)
    }

    /// A user whom nobody has seen before; his app password is his name and `-app-password`.
    pub(super) fn newcomer(&self, username: &str) -> String {
        self.authentik.edit_user(username, |_| {});
        super::wire::basic(username, &format!("{username}-app-password"))
    }

    /// The request reaches the application, which shows it.
    #[track_caller]
    pub(super) fn admits(&self, request: Request) -> Value {
        let before = self.app.count();
        let answer = request.send();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(self.app.count(), before + 1, "the application did not answer this: {answer:?}");
        answer.json()
    }

    /// The request is answered with this status, and the application knows nothing of it.
    #[track_caller]
    pub(super) fn turns_away(&self, request: Request, status: u16) -> Answer {
        let before = self.app.count();
        let answer = request.send();
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(self.app.count(), before, "the application saw what was answered {answer:?}");
        answer
    }

    /// The browser is sent to authentik, to log in for this application and to come back to this host of its.
    #[track_caller]
    pub(super) fn sends_to_login(&self, request: Request, slug: &str, host: &str) {
        let answer = self.turns_away(request, 302);
        let location = answer.header("location").expect("a location");
        let (url, query) = location.split_once('?').expect("a query");
        assert_eq!(url, format!("{}/application/o/authorize/", self.authentik.public_base()));
        let mut query: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        for secret in ["state", "nonce", "code_challenge"] {
            assert!(query.remove(secret).is_some_and(|value| value.len() > 20), "{secret} in {location}");
        }
        let callback = "outpost.goauthentik.io/callback?X-authentik-auth-callback=true";
        let expected = [
            ("response_type", "code".to_owned()),
            ("client_id", format!("{slug}-client-id")),
            ("redirect_uri", format!("http://{host}/{callback}")),
            ("scope", "openid profile email entitlements ak_proxy".to_owned()),
            ("code_challenge_method", "S256".to_owned()),
        ];
        assert_eq!(query, expected.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!((answer.headers("www-authenticate").len(), answer.body.as_str()), (0, ""));
    }

    /// How many calls authentik got to this path.
    pub(super) fn calls_to(&self, path: &str) -> usize {
        self.authentik.count(path)
    }

    /// Requests that Envoy has not answered yet.
    pub(super) fn pending(&self) -> u64 {
        self.stat("http.ingress.downstream_rq_active")
    }

    /// One of Envoy's counters or gauges.
    pub(super) fn stat(&self, name: &str) -> u64 {
        self.envoy.stats(name).remove(name).unwrap_or_else(|| panic!("Envoy has no stat {name}"))
    }

    /// Waits until the keys of this application were asked for. A request that comes before the answer waits for it.
    #[track_caller]
    pub(super) fn await_keys(&self, slug: &str) {
        eventually("the keys are fetched", || self.calls_to(&jwks(slug)) > 0);
    }

    /// Waits for a line of Envoy's or the filter's log that has all these in it.
    #[track_caller]
    pub(super) fn await_log(&self, parts: &[&str]) {
        eventually(&format!("the log has a line with {parts:?}"), || {
            self.envoy.log().lines().any(|line| parts.iter().all(|part| line.contains(part)))
        });
    }
}

/// A place is left as it was found.
impl Drop for Place {
    fn drop(&mut self) {
        if !panicking() {
            assert_sound(&mut self.envoy, self.may_panic);
        }
    }
}

/// Envoy lives, the filter never failed (unless the test made it), and no secret is in the log.
#[track_caller]
pub(super) fn assert_sound(envoy: &mut Envoy, may_panic: bool) {
    let log = envoy.log();
    assert!(envoy.runs(), "Envoy has ended:\n{log}");
    for failure in ["panicked", "RuntimeError"] {
        assert!(may_panic || !log.contains(failure), "the filter failed:\n{log}");
    }
    assert!(log.contains("protecting with authentik"), "this is not the filter's log:\n{log}");
    assert_secretless(&log);
}

#[track_caller]
pub(super) fn assert_secretless(log: &str) {
    for line in log.lines() {
        let found: Vec<_> = SECRETS.iter().filter(|secret| line.contains(**secret)).collect();
        assert!(found.is_empty(), "the log has a secret ({found:?}): {line}");
    }
}

/// The configuration of `envoy.yaml` between these two. No test guesses so often that it would be braked.
pub(super) fn options(authentik: &Authentik, app: &App) -> EnvoyOptions {
    EnvoyOptions::new(&authentik.authority(), &app.authority()).configure("/throttle/failures", 0)
}

/// Where authentik publishes the keys of an application.
pub(super) fn jwks(slug: &str) -> String {
    format!("/application/o/{slug}/jwks/")
}

/// The configuration of one of the stand-in's providers on this host, with further settings.
pub(super) fn provider(slug: &str, host: &str, settings: Value) -> Value {
    let mut provider = json!({
        "assigned_application_slug": slug,
        "client_id": format!("{slug}-client-id"),
        "client_secret": format!("{slug}-client-secret-0123456789abcdef0123456789abcdef"),
        "cookie_secret": {"env": "AUTHENTIK_COOKIE_SECRET"},
        "external_host": format!("http://{host}"),
    });
    for (name, value) in settings.as_object().expect("an object") {
        provider[name] = value.clone();
    }
    provider
}

/// The name of a provider's session cookie.
pub(super) fn session_cookie(slug: &str) -> String {
    let digest = Sha256::digest(format!("{slug}-client-id"));
    let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("authentik_proxy_{digits}")
}

/// Asks until it is so.
#[track_caller]
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// The one user name that the application was told.
#[track_caller]
pub(super) fn username(shown: &Value) -> String {
    one(shown, "x-authentik-username")
}

/// The one value of a header that the application got.
#[track_caller]
pub(super) fn one(shown: &Value, name: &str) -> String {
    match header_values(shown, name).as_slice() {
        [value] => value.clone(),
        values => panic!("not one {name} but {values:?}"),
    }
}

/// The application got no such header.
#[track_caller]
pub(super) fn assert_without(shown: &Value, name: &str) {
    assert_eq!(header_values(shown, name), [""; 0], "{name}");
}
