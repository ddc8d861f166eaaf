//! What all variants share: the stand-in authentik with its keys, the tokens that it minted, the authorization server
//! of `ext_authz`, and Envoy's configuration for each site. Every site answers by itself (`direct_response`), so that no
//! application blurs the figures, and is `envoy.yaml` but for its filter.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::thread::sleep;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use fake_authentik::{Authentik, OUTPOST_TOKEN, TokenSpec};
use local_envoy::{Envoy, EnvoyOptions, Folder};
use loopback::App;
use rsa::pkcs8::EncodePublicKey as _;
use rsa::{BigUint, RsaPublicKey};
use serde_json::{Value, json};

use super::Plan;
use super::floor::{self, Signed};
use super::load::{Client, HOST};
use super::variants::{Alg, Asks, Filter, Floor, Site};

const USER: &str = "bench";
/// More than the filter remembers by default, so that none of them is known when its turn comes again.
const FRESH: usize = 2_048;
/// As many users as the list of ended sessions has room for.
const ENDED: usize = 4_096;
/// Longer than any run.
const LIFETIME_SECONDS: i64 = 6 * 3600;
/// authentik's claims that the filter has no use for; without them an RS256 token has about 1 KiB.
const UNUSED: [&str; 9] =
    ["acr", "auth_time", "given_name", "nickname", "email_verified", "roles", "azp", "uid", "scope"];
/// `jwt_authn` sets these and the payload; the filter, told to set [`SIX`], these and the token.
const CLAIMS: [(&str, &str); 5] = [
    ("x-jwt-username", "preferred_username"),
    ("x-jwt-email", "email"),
    ("x-jwt-name", "name"),
    ("x-jwt-uid", "sub"),
    ("x-jwt-groups", "groups"),
];
const SIX: [&str; 6] = ["username", "groups", "email", "name", "uid", "jwt"];

/// Where authentik's outpost answers `ext_authz`.
const OUTPOST: &str = "/outpost.goauthentik.io/auth/envoy";

/// The cluster of the gate before the filter in shadow mode.
const GATE: &str = "outpost";

/// ABI and memory for the host's data, and nothing that Envoy calls for a request.
const NOOP: &str = r#"(module
    (memory (export "memory") 2)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024)))"#;

pub(crate) struct World {
    pub(crate) authentik: Authentik,
    module: Option<PathBuf>,
    folder: Folder,
    lines: Mutex<BTreeMap<Asks, Vec<String>>>,
    identity_headers: OnceLock<Vec<(String, String)>>,
    yes: OnceLock<Envoy>,
    listed: OnceLock<()>,
}

impl World {
    pub(crate) fn start(plan: &Plan) -> Self {
        let authentik = Authentik::start();
        authentik.edit_user(USER, |user| {
            user.name = "Bench Mark".to_owned();
            user.email = "bench@example.test".to_owned();
            user.groups = vec!["staff".to_owned(), "admins".to_owned(), "readers".to_owned()];
        });
        for slug in ["rs", "es", "hs"] {
            authentik.edit_provider(slug, |provider| provider.lifetime_seconds = LIFETIME_SECONDS);
        }
        let folder = Folder::new();
        std::fs::write(folder.0.join("noop.wasm"), wat::parse_str(NOOP).expect("Wasm text")).expect("a file");
        Self {
            authentik,
            module: plan.module.clone(),
            folder,
            lines: Mutex::default(),
            identity_headers: OnceLock::new(),
            yes: OnceLock::new(),
            listed: OnceLock::new(),
        }
    }

    pub(crate) fn options(&self, site: Site) -> EnvoyOptions {
        let mut options = answering(&self.authentik.authority());
        options.concurrency = site.workers();
        match site {
            Site::Plain => options.peers = Some(Vec::new()),
            Site::Noop { .. } => options.module = self.folder.0.join("noop.wasm"),
            Site::Floor(floor) => {
                options.module = self.folder.0.join(format!("{floor:?}.wasm"));
                std::fs::write(&options.module, self.floor(floor)).expect("a file");
            }
            Site::Filter(filter) => {
                self.configure(&mut options, filter);
                if filter.is_shadow {
                    options.configuration["shadow"] = json!({});
                    let mut cluster = options.bootstrap["static_resources"]["clusters"][0].clone();
                    cluster["name"] = json!(GATE);
                    options = options.behind(cluster, ext_authz(true, GATE));
                    options.set_cluster(GATE, &format!("127.0.0.1:{}", self.yes().port()));
                }
            }
            Site::Jwt { alg, has_cache, has_headers } => {
                options.peers = Some(vec![self.jwt_authn(alg, has_cache, has_headers)]);
            }
            Site::ExtAuthz { has_headers } => {
                options.set_cluster("authentik", &format!("127.0.0.1:{}", self.yes().port()));
                options.peers = Some(vec![ext_authz(has_headers, "authentik")]);
            }
        }
        options
    }

    /// Starts Envoy with this in it, and waits until it has its providers.
    pub(crate) fn serve(&self, site: Site, options: EnvoyOptions) -> Envoy {
        let envoy = Envoy::start(options);
        if matches!(site, Site::Filter(Filter { are_listed: true, .. })) {
            let is_there = |_: &usize| {
                sleep(Duration::from_millis(100));
                Client::open(envoy.port(), 1).ask("accept: application/json") == 401
            };
            assert!((0..600).find(is_there).is_some(), "the list is never read: {}", envoy.log());
        }
        if let Site::Filter(filter @ Filter { has_full_list: true, .. }) = site {
            self.sign_out_many(filter, &envoy);
        }
        envoy
    }

    /// Each of so many users gets a session and signs out.
    fn sign_out_many(&self, filter: Filter, envoy: &Envoy) {
        let mut client = Client::open(envoy.port(), 1);
        for number in 0..ENDED {
            let token = TokenSpec::new().claim("sub", format!("user-{number}"));
            assert_eq!(client.ask(&self.bearer(filter.alg, token)), 200);
            let set_cookie = client.header("set-cookie").expect("a session cookie");
            let cookie = format!("cookie: {}", set_cookie.split(';').next().expect("a pair"));
            assert_eq!(client.ask_at("/outpost.goauthentik.io/sign_out", &cookie), 302);
            assert!(number > 0 || client.ask(&cookie) == 302, "a session that was signed out goes on");
        }
    }

    fn configure(&self, options: &mut EnvoyOptions, filter: Filter) {
        if let Some(module) = &self.module {
            module.clone_into(&mut options.module);
        }
        let slug = filter.alg.slug();
        let provider = |number: usize| {
            json!({
                "name": format!("{slug}-{number}"),
                "assigned_application_slug": slug,
                "client_id": format!("{slug}-client-id"),
                "client_secret": self.authentik.client_secret(slug),
                "cookie_secret": {"env": "AUTHENTIK_COOKIE_SECRET"},
                // The last one is asked for.
                "external_host": if number == filter.providers { format!("http://{HOST}") } else { format!("http://{number}.{HOST}") },
            })
        };
        let configuration = &mut options.configuration;
        configuration["authentik"]["host"] = json!(self.authentik.public_base());
        // Under valgrind everything takes fifty times as long.
        configuration["authentik"]["timeout_seconds"] = json!(60);
        let providers: Vec<_> = (1..=filter.providers).map(provider).collect();
        if filter.are_listed {
            self.listed.get_or_init(|| self.list(&providers));
            configuration["providers"] = Value::Null;
            configuration["authentik"]["token"] = json!(OUTPOST_TOKEN);
        } else {
            configuration["providers"] = Value::Array(providers);
        }
        configuration["cache"] =
            json!({"ttl_seconds": LIFETIME_SECONDS, "local_entries": filter.local_entries});
        configuration["session"] = json!({"enabled": filter.has_sessions});
        if filter.has_six_headers {
            configuration["identity_headers"] = json!(SIX);
        }
    }

    /// authentik's outpost has these providers and no other.
    fn list(&self, providers: &[Value]) {
        self.authentik.edit_outpost("demo-outpost", |outpost| outpost.providers.clear());
        for settings in providers {
            // Few, and for as long as the benchmark runs.
            let slug: &'static str = settings["name"].as_str().expect("a name").to_owned().leak();
            self.authentik.add_proxy_provider(slug, settings["external_host"].as_str().expect("a URL"));
            self.authentik.edit_proxy(slug, |proxy| {
                for name in ["assigned_application_slug", "client_id", "client_secret"] {
                    proxy.replaced.insert(name.to_owned(), settings[name].clone());
                }
                proxy.replaced.insert("oidc_configuration".to_owned(), json!({}));
            });
            self.authentik.edit_outpost("demo-outpost", |outpost| outpost.providers.push(slug));
        }
    }

    /// It knows the keys from the start, and checks issuer and audience too.
    fn jwt_authn(&self, alg: Alg, has_cache: bool, has_headers: bool) -> Value {
        let slug = alg.slug();
        let keys = match alg {
            Alg::Hs256 => {
                let secret = BASE64_URL_SAFE_NO_PAD.encode(self.authentik.client_secret(slug));
                json!({"keys": [{"kty": "oct", "alg": "HS256", "k": secret}]})
            }
            Alg::Rs256 | Alg::Es256 => self.authentik.jwks(slug),
        };
        let mut provider = json!({
            "issuer": format!("{}/application/o/{slug}/", self.authentik.public_base()),
            "audiences": [format!("{slug}-client-id")],
            "local_jwks": {"inline_string": keys.to_string()},
        });
        if has_cache {
            provider["jwt_cache_config"] = json!({"jwt_cache_size": 1000});
        }
        if has_headers {
            let headers = CLAIMS.map(|(header, claim)| json!({"header_name": header, "claim_name": claim}));
            provider["claim_to_headers"] = json!(headers);
            provider["forward_payload_header"] = json!("x-jwt-payload");
        }
        filter(
            "jwt_authn.v3.JwtAuthentication",
            json!({
                "providers": {"authentik": provider},
                "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "authentik"}}],
            }),
        )
    }

    /// What distinguishes the requests: a header line each, sent in turn.
    pub(crate) fn lines(&self, asks: Asks) -> Vec<String> {
        if let Some(lines) = self.lines.lock().expect("no panic").get(&asks) {
            return lines.clone();
        }
        let many = |count: usize, alg: Alg| (0..count).map(|_| self.bearer(alg, TokenSpec::new())).collect();
        let lines = match asks {
            Asks::Bearer => many(1, Alg::Rs256),
            Asks::Fresh(alg) => many(FRESH, alg),
            Asks::Distinct(count) => many(count, Alg::Hs256),
            Asks::Groups(count) => {
                let groups: Vec<_> = (1..=count).map(|number| format!("group-{number:04}")).collect();
                vec![self.bearer(Alg::Hs256, TokenSpec::new().claim("groups", groups))]
            }
            Asks::Basic => vec![basic(&format!("{USER}-app-password"))],
            Asks::Session => vec![self.session()],
            Asks::FreshSessions => self.sessions(FRESH),
            Asks::Nothing => vec!["accept: application/json".to_owned()],
        };
        self.lines.lock().expect("no panic").insert(asks, lines.clone());
        lines
    }

    fn bearer(&self, alg: Alg, spec: TokenSpec) -> String {
        let spec = UNUSED.iter().fold(spec.user(USER), |spec, claim| spec.without_claim(claim));
        format!("authorization: Bearer {}", self.authentik.mint(alg.slug(), spec))
    }

    /// The cookie that a client gets for its token.
    fn session(&self) -> String {
        let envoy = Envoy::start(self.options(Site::Filter(Filter::new(Alg::Rs256))));
        let mut client = Client::open(envoy.port(), 1);
        assert_eq!(client.ask(&self.bearer(Alg::Rs256, TokenSpec::new())), 200);
        let set_cookie = client.header("set-cookie").expect("a session cookie");
        format!("cookie: {}", set_cookie.split(';').next().expect("a pair"))
    }

    /// The cookies that clients get for so many app passwords.
    fn sessions(&self, count: usize) -> Vec<String> {
        let passwords: Vec<_> = (0..count).map(|number| format!("{USER}-app-password-{number}")).collect();
        self.authentik.edit_user(USER, |user| user.app_passwords.extend_from_slice(&passwords));
        let envoy = Envoy::start(self.options(Site::Filter(Filter::new(Alg::Rs256))));
        let mut client = Client::open(envoy.port(), 1);
        let mut cookie = |password: &String| {
            assert_eq!(client.ask(&basic(password)), 200);
            let set_cookie = client.header("set-cookie").expect("a session cookie");
            format!("cookie: {}", set_cookie.split(';').next().expect("a pair"))
        };
        passwords.iter().map(&mut cookie).collect()
    }

    /// The twelve that this filter sets for the Bearer token, as an application sees them.
    pub(crate) fn identity_headers(&self) -> &[(String, String)] {
        self.identity_headers.get_or_init(|| {
            let headers = self.arriving(Site::Filter(Filter::new(Alg::Rs256)));
            assert_eq!(headers.len(), 12, "{headers:?}");
            headers
        })
    }

    /// As many of them as this module sets.
    pub(crate) fn headers_of(&self, floor: Floor) -> Vec<(String, String)> {
        let is_one_of_six = |name: &str| SIX.iter().any(|it| name.strip_prefix("x-authentik-") == Some(it));
        let headers = self.identity_headers().iter();
        headers.filter(|(name, _)| floor != Floor::SixHeaders || is_one_of_six(name)).cloned().collect()
    }

    fn floor(&self, floor: Floor) -> Vec<u8> {
        let credential = if floor == Floor::SessionCookie { "cookie" } else { "authorization" };
        let signed = (floor == Floor::FirstSight).then(|| self.signed());
        floor::module(credential, &self.headers_of(floor), signed.as_ref())
    }

    /// One of the tokens that come in turn, and its key.
    fn signed(&self) -> Signed {
        let line = self.lines(Asks::Fresh(Alg::Rs256)).swap_remove(0);
        let token = line.rsplit(' ').next().expect("a token");
        let (message, signature) = token.rsplit_once('.').expect("a signature");
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url");
        let number = |name| {
            let keys = self.authentik.jwks(Alg::Rs256.slug());
            BigUint::from_bytes_be(&decode(keys["keys"][0][name].as_str().expect("a JWK")))
        };
        let key = RsaPublicKey::new(number("n"), number("e")).expect("a key");
        Signed {
            spki: key.to_public_key_der().expect("DER").into_vec(),
            signature: decode(signature),
            message: message.as_bytes().to_vec(),
        }
    }

    /// authentik's headers that reach an application behind this site, for the Bearer token.
    pub(crate) fn arriving(&self, site: Site) -> Vec<(String, String)> {
        let app = App::start();
        let mut options = self.options(site);
        options.set_cluster("app", &app.authority());
        options.set_manager(
            "route_config",
            routes(&json!([{"match": {"prefix": "/"}, "route": {"cluster": "app"}}])),
        );
        let envoy = Envoy::start(options);
        assert_eq!(Client::open(envoy.port(), 1).ask(&self.lines(Asks::Bearer)[0]), 200, "{site:?}");
        let shown = app.take().remove(0);
        let headers: Vec<(String, String)> =
            serde_json::from_value(shown["headers"].clone()).expect("names and values");
        headers.into_iter().filter(|(name, _)| name.starts_with("x-authentik-")).collect()
    }

    /// The authorization server that always says yes, on the core that the load comes from; below the outpost's path
    /// with the twelve headers.
    fn yes(&self) -> &Envoy {
        self.yes.get_or_init(|| {
            let add = |(name, value): &(String, String)| json!({"header": {"key": name, "value": value}, "keep_empty_value": true});
            let headers: Vec<_> = self.identity_headers().iter().map(add).collect();
            let mut options = self.options(Site::Plain);
            options.set_manager("route_config", routes(&json!([
                {"match": {"prefix": OUTPOST}, "direct_response": {"status": 200}, "response_headers_to_add": headers},
                {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
            ])));
            options.launcher = ["taskset", "-c", "1"].map(str::to_owned).into();
            Envoy::start(options)
        })
    }

    /// Whether the authorization server was asked.
    pub(crate) fn has_said_yes(&self) -> bool {
        self.yes().stats("^http.ingress.downstream_rq_2xx$").values().sum::<u64>() > 0
    }

    /// Good but for its signature.
    pub(crate) fn bad_line(&self, site: Site) -> String {
        let line = self.bearer(site.alg(), TokenSpec::new());
        let (message, signature) = line.rsplit_once('.').expect("a signature");
        format!("{message}.{}", signature.chars().rev().collect::<String>())
    }
}

/// `envoy.yaml` with an answer in the place of the application, without an access log and without the seal, which the
/// filters that this one is compared with do not have; statistics are not flushed while something is counted.
fn answering(authentik: &str) -> EnvoyOptions {
    let mut options = EnvoyOptions::new(authentik, "127.0.0.1:9").unsealed();
    options.set_manager("access_log", json!([]));
    let answer = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]);
    options.set_manager("route_config", routes(&answer));
    options.bootstrap["stats_flush_interval"] = json!("299s");
    options.bootstrap["static_resources"]["listeners"][0]["connection_balance_config"] =
        json!({"exact_balance": {}});
    options.wasm_log_level = "warning".to_owned();
    options
}

fn routes(routes: &Value) -> Value {
    json!({"virtual_hosts": [{"name": "app", "domains": ["*"], "routes": routes}]})
}

/// The least that it can be told; or what authentik's documentation tells it, so that the headers come through.
fn ext_authz(has_headers: bool, cluster: &str) -> Value {
    let mut service =
        json!({"server_uri": {"uri": "http://127.0.0.1", "cluster": cluster, "timeout": "30s"}});
    if has_headers {
        service["path_prefix"] = json!(OUTPOST);
        service["authorization_request"] = json!({"allowed_headers": {"patterns": [{"exact": "cookie"}]}});
        service["authorization_response"] = json!({"allowed_upstream_headers": {"patterns": [{"exact": "set-cookie"}, {"prefix": "x-authentik-"}]}});
    }
    filter("ext_authz.v3.ExtAuthz", json!({"http_service": service}))
}

fn filter(kind: &str, mut configuration: Value) -> Value {
    configuration["@type"] = json!(format!("type.googleapis.com/envoy.extensions.filters.http.{kind}"));
    json!({"name": kind, "typed_config": configuration})
}

fn basic(password: &str) -> String {
    format!("authorization: Basic {}", BASE64_STANDARD.encode(format!("{USER}:{password}")))
}
