//! What is protected: four providers behind one filter, their hosts and paths, and the settings of one walk.
//!
//! Owns: which provider answers for a spelling of a host, and which paths are open: as data, from the contract.

use fake_authentik::{Generation, Key};
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// authentik as browsers see it.
pub(super) const AUTHENTIK: &str = "https://auth.example.test";
pub(super) const OUTPOST_NAME: &str = "walk";
/// Named in `owned_headers`.
pub(super) const OWNED_HEADER: &str = "x-tenant";
/// What every request that goes on carries, where the settings say so.
pub(super) const SEAL: &str = "x-authentik-seal";
pub(super) const SEAL_VALUE: &str = "seal-of-the-walk-0123456789";
pub(super) const THROTTLE_WINDOW: u64 = 60;
pub(super) const CALL_TIMEOUT: u64 = 5;

/// Index of a provider.
pub(super) type ProviderId = usize;

/// A single application, in the domain of the next.
pub(super) const APP: ProviderId = 0;
/// A domain.
pub(super) const CORP: ProviderId = 1;
/// A single application whose tokens and sessions are confirmed by authentik again and again.
pub(super) const CHECKED: ProviderId = 2;
/// Another entry with the client of [`APP`], and other settings.
pub(super) const TWIN: ProviderId = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verification {
    Local,
    Introspection,
    LocalThenIntrospection,
}

/// One entry of `providers`.
pub(super) struct Provider {
    pub(super) name: &'static str,
    pub(super) slug: &'static str,
    pub(super) external_host: &'static str,
    pub(super) mode: &'static str,
    pub(super) cookie_domain: Option<&'static str>,
    pub(super) intercepts: bool,
    pub(super) verification: Verification,
    pub(super) revalidate: u64,
    /// `access_token_validity`
    pub(super) validity: u64,
}

impl Provider {
    pub(super) fn client_id(&self) -> String {
        format!("{}-client-id", self.slug)
    }

    /// The name of its session cookie.
    pub(super) fn cookie(&self) -> String {
        let digest = Sha256::digest(self.client_id());
        let digits: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let prefix = if self.cookie_domain.is_none() { "__Host-" } else { "" };
        format!("{prefix}authentik_proxy_{digits}")
    }

    fn json(&self) -> Value {
        let verification = match self.verification {
            Verification::Local => "local",
            Verification::Introspection => "introspection",
            Verification::LocalThenIntrospection => "local_then_introspection",
        };
        let open = if self.cookie_domain.is_some() { "^https://[^/]*/public" } else { "^/public" };
        json!({
            "name": self.name,
            "assigned_application_slug": self.slug,
            "client_id": self.client_id(),
            "client_secret": client_secret(self.slug),
            "cookie_secret": cookie_secret(self.slug),
            "external_host": self.external_host,
            "mode": self.mode,
            "cookie_domain": self.cookie_domain.unwrap_or_default(),
            "intercept_header_auth": self.intercepts,
            "bearer_verification": verification,
            "revalidate_seconds": self.revalidate,
            "access_token_validity": self.validity,
            "skip_path_regex": open,
            "scopes_to_request": ["openid", "profile", "ak_proxy", self.name],
        })
    }
}

pub(super) fn issuer(slug: &str) -> String {
    format!("{AUTHENTIK}/application/o/{slug}/")
}

pub(super) fn client_secret(slug: &str) -> String {
    format!("{slug}-client-secret-0123456789abcdef")
}

pub(super) fn cookie_secret(slug: &str) -> String {
    format!("{slug}-cookie-secret-0123456789abcdef0123456789")
}

/// What a client's tokens are signed with; a client secret where authentik publishes no key.
pub(super) fn key(slug: &str) -> Key {
    match slug {
        "app" => Key::Es256(Generation::A),
        other => Key::Secret(client_secret(other).into_bytes()),
    }
}

/// The settings of one walk.
pub(super) struct Site {
    pub(super) providers: [Provider; 4],
    pub(super) ttl: u64,
    pub(super) negative_ttl: u64,
    pub(super) stale: u64,
    pub(super) local_entries: usize,
    pub(super) shared_slots: usize,
    /// `throttle.failures`; 0: no limit.
    pub(super) failures: usize,
    /// `session.max_age_seconds`
    pub(super) max_age: u64,
    pub(super) allows_preflight: bool,
    pub(super) has_seal: bool,
    /// Most requests are this one's.
    pub(super) busiest: ProviderId,
    /// Somebody tries passwords of alice's.
    pub(super) has_guesser: bool,
    /// authentik takes its time.
    pub(super) is_slow: bool,
}

impl Site {
    pub(super) fn draw(random: &mut StdRng) -> Self {
        let mut intercepts = || random.gen_bool(0.5);
        let app = Provider {
            name: "app",
            slug: "app",
            external_host: "https://app.corp.test",
            mode: "forward_single",
            cookie_domain: None,
            intercepts: intercepts(),
            verification: Verification::Local,
            revalidate: 0,
            validity: 86_400,
        };
        let corp = Provider {
            name: "corp",
            slug: "corp",
            external_host: "https://login.corp.test",
            mode: "forward_domain",
            cookie_domain: Some("corp.test"),
            intercepts: intercepts(),
            ..app
        };
        let checked = Provider {
            name: "checked",
            slug: "checked",
            external_host: "https://checked.test:8443",
            intercepts: intercepts(),
            revalidate: 30,
            validity: 120,
            ..app
        };
        let twin = Provider {
            name: "twin",
            external_host: "https://twin.test",
            mode: if intercepts() { "proxy" } else { "forward_single" },
            intercepts: intercepts(),
            verification: if intercepts() {
                Verification::Introspection
            } else {
                Verification::LocalThenIntrospection
            },
            ..app
        };
        let mut providers = [app, corp, checked, twin];
        let busiest = [APP, CORP, CHECKED, CHECKED, TWIN][random.gen_range(0..5)];
        if random.gen_bool(0.25) {
            // Its sessions end before the verdicts that they came of.
            providers[busiest].validity = 12;
        }
        Self {
            providers,
            ttl: 40,
            negative_ttl: 10,
            stale: if random.gen_bool(0.6) { 200 } else { 0 },
            local_entries: random.gen_range(4..=8),
            shared_slots: random.gen_range(4..=8),
            failures: [0, 1, 2, 3][random.gen_range(0..4)],
            max_age: 600,
            allows_preflight: random.gen_bool(0.5),
            has_seal: random.gen_bool(0.5),
            busiest,
            has_guesser: random.gen_bool(0.4),
            is_slow: random.gen_bool(0.4),
        }
    }

    pub(super) fn configuration(&self) -> String {
        let providers: Vec<_> = self.providers.iter().map(Provider::json).collect();
        json!({
            "authentik": {"cluster": "authentik", "host": AUTHENTIK, "timeout_seconds": CALL_TIMEOUT},
            "outpost_name": OUTPOST_NAME,
            "providers": providers,
            "owned_headers": ["X-Tenant"],
            "allow_cors_preflight": self.allows_preflight,
            "cache": {
                "ttl_seconds": self.ttl,
                "negative_ttl_seconds": self.negative_ttl,
                "stale_seconds": self.stale,
                "local_entries": self.local_entries,
                "shared_slots": self.shared_slots,
            },
            "session": {"max_age_seconds": self.max_age},
            "throttle": {"failures": self.failures, "window_seconds": THROTTLE_WINDOW},
            "seal": if self.has_seal { json!({"header": SEAL, "values": [SEAL_VALUE]}) } else { Value::Null },
        })
        .to_string()
    }
}

/// A host as a client may spell it, who answers for it, and the form of it that goes on.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) spelling: &'static str,
    /// `None`: nobody, which is a `400`.
    pub(super) provider: Option<ProviderId>,
    pub(super) judged: &'static str,
}

const fn host(provider: ProviderId, spelling: &'static str, judged: &'static str) -> Host {
    Host { spelling, provider: Some(provider), judged }
}

const fn nobodys(spelling: &'static str) -> Host {
    Host { spelling, provider: None, judged: "" }
}

pub(super) const HOSTS: &[Host] = &[
    host(APP, "app.corp.test", "app.corp.test"),
    host(APP, "APP.corp.test", "app.corp.test"),
    host(APP, "app.corp.test.", "app.corp.test"),
    host(APP, "App.Corp.Test.:443", "app.corp.test"),
    host(CORP, "wiki.corp.test", "wiki.corp.test"),
    host(CORP, "corp.test", "corp.test"),
    host(CORP, "WIKI.corp.test.", "wiki.corp.test"),
    host(CORP, "wiki.corp.test:443", "wiki.corp.test"),
    host(CORP, "wiki.corp.test:8443", "wiki.corp.test:8443"),
    host(CORP, "x.app.corp.test", "x.app.corp.test"),
    host(CHECKED, "checked.test:8443", "checked.test:8443"),
    host(CHECKED, "Checked.test:8443", "checked.test:8443"),
    host(CHECKED, "checked.test.:8443", "checked.test:8443"),
    host(TWIN, "twin.test", "twin.test"),
    host(TWIN, "twin.test:443", "twin.test"),
    host(TWIN, "TWIN.TEST.", "twin.test"),
    // A single provider's name with a port that is not its own is never the domain's.
    nobodys("app.corp.test:8080"),
    nobodys("app.corp.test.:80"),
    nobodys("checked.test"),
    nobodys("checked.test:443"),
    nobodys("evilcorp.test"),
    nobodys("app.corp.test.evil.test"),
    nobodys("wiki.corp.test.."),
];

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Protected,
    Open,
    /// One of the outpost's own, answered with one of these statuses whoever asks.
    Outpost(&'static [u16]),
}

pub(super) const PATHS: &[(&str, Place)] = &[
    ("/", Place::Protected),
    ("/a/b?next=/public", Place::Protected),
    ("/a%20b", Place::Protected),
    ("/%70ublic", Place::Protected),
    ("//public", Place::Protected),
    ("/public/../admin", Place::Protected),
    ("/public/%2e%2e/admin", Place::Protected),
    ("/public/%c0%ae%c0%ae/admin", Place::Protected),
    ("/public\\..\\admin", Place::Protected),
    ("/public;x/admin", Place::Protected),
    ("/public%00", Place::Protected),
    ("/public/%zz", Place::Protected),
    ("/public", Place::Open),
    ("/public/a?x=/../y", Place::Open),
    ("/public/a%20b", Place::Open),
    ("/public/%c3%bc", Place::Open),
    ("/outpost.goauthentik.io/ping", Place::Outpost(&[204])),
    ("/outpost.goauthentik.io/start", Place::Outpost(&[302])),
    ("/outpost.goauthentik.io/sign_out", Place::Outpost(&[302])),
    ("/public?X-authentik-logout=true", Place::Outpost(&[302])),
    ("/outpost.goauthentik.io/other", Place::Outpost(&[404])),
    ("/outpost.goauthentik.io/callback?error=x", Place::Outpost(&[302, 400])),
];
