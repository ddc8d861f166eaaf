//! A stand-in for authentik's outpost behind `ext_authz`, as authentik documents it for Envoy: who is let in gets the twelve
//! identity headers, everybody else a redirect to the login or a `401`. It holds no connection to authentik: whom it lets in
//! is a table, so that a test can plant what the filter is to find.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use loopback::Server;
use serde_json::{Value, json};

use crate::authentik::Authentik;

const PREFIX: &str = "/outpost.goauthentik.io/auth/envoy";
/// Of the cluster and of the filter.
const NAME: &str = "outpost";

/// The path that the gate alone leaves open: a planted difference.
pub const ONLY_GATE_OPENS: &str = "/only-the-gate-opens";
/// The path on which the gate fails.
pub const GATE_FAILS: &str = "/gate-fails";
/// The host of an application with Send-HTTP-Basic, where the gate replaces `authorization`.
pub const WITH_BASIC: &str = "basic.example.test";

/// Names and values.
pub type Headers = Vec<(String, String)>;

/// Whom the gate lets in.
#[derive(Default)]
struct Table {
    /// By the value of `authorization`, or by the whole `cookie` line.
    users: HashMap<String, Headers>,
}

/// The running stand-in.
pub struct Gate {
    table: Arc<RwLock<Table>>,
    server: Server,
    base: String,
}

impl Gate {
    /// Starts it on any free port.
    pub fn start(authentik: &Authentik) -> Self {
        let table = Arc::<RwLock<Table>>::default();
        let router = Router::new().fallback(judge).with_state(Arc::clone(&table));
        Self {
            table,
            server: Server::start(router, 0).expect("a free port on loopback"),
            base: authentik.public_base(),
        }
    }

    /// Who sends this `authorization` or this `cookie` is let in with these identity headers.
    pub fn lets_in(&self, key: &str, headers: &[(String, String)]) {
        self.table.write().unwrap().users.insert(key.to_owned(), headers.to_vec());
    }

    /// What the outpost says of a user of the stand-in authentik, for the application `demo`.
    pub fn identity(&self, authentik: &Authentik, username: &str) -> Headers {
        let mut user = None;
        authentik.edit_user(username, |found| user = Some(found.clone()));
        let user = user.expect("the stand-in calls it");
        let mut headers: Headers = [
            ("username", username),
            ("groups", &user.groups.join("|")),
            ("entitlements", &user.entitlements.join("|")),
            ("email", &user.email),
            ("name", &user.name),
            ("uid", &user.sub),
            ("jwt", "eyJ0b2tlbiI6Im9mIHRoZSBnYXRlIn0"),
            ("meta-jwks", &format!("{}/application/o/demo/jwks/", self.base)),
            ("meta-outpost", "authentik Embedded Outpost"),
            ("meta-provider", "demo"),
            ("meta-app", "demo"),
            ("meta-version", "goauthentik.io/outpost/2026.5.0"),
        ]
        .map(|(name, value)| (format!("x-authentik-{name}"), value.to_owned()))
        .into();
        for (name, value) in user.attributes["additionalHeaders"].as_object().into_iter().flatten() {
            match value {
                Value::String(text) => headers.push((name.to_lowercase(), text.clone())),
                Value::Number(_) | Value::Bool(_) => headers.push((name.to_lowercase(), value.to_string())),
                _ => {}
            }
        }
        headers
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        self.server.authority()
    }

    /// The cluster that leads to the gate, as Envoy's configuration has it.
    pub fn cluster(&self) -> Value {
        json!({
            "name": NAME, "connect_timeout": "2s", "type": "STATIC",
            "load_assignment": {"cluster_name": NAME, "endpoints": [{"lb_endpoints": [{"endpoint": {"address":
                {"socket_address": {"address": "127.0.0.1", "port_value": self.server.port()}}}}]}]},
        })
    }

    /// The HTTP filter that asks the gate. These headers of the gate's go on too, beside its identity headers.
    pub fn filter(further: &[&str]) -> Value {
        let further = further.iter().map(|name| json!({"exact": name}));
        let upstream: Vec<_> = [json!({"exact": "set-cookie"}), json!({"prefix": "x-authentik-"})]
            .into_iter()
            .chain(further)
            .collect();
        json!({
            "name": NAME,
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
                "http_service": {
                    "server_uri": {"uri": "http://127.0.0.1", "cluster": NAME, "timeout": "30s"},
                    "path_prefix": PREFIX,
                    "authorization_request": {"allowed_headers": {"patterns": [{"exact": "cookie"}, {"exact": "accept"}]}},
                    "authorization_response": {"allowed_upstream_headers": {"patterns": upstream}},
                },
            },
        })
    }
}

async fn judge(State(table): State<Arc<RwLock<Table>>>, request: Request) -> Response<Body> {
    let target = request.uri().to_string();
    let target = target.strip_prefix(PREFIX).unwrap_or(&target).to_owned();
    let header = |name: &str| {
        let value =
            request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        value.unwrap_or_default()
    };
    if target.starts_with(GATE_FAILS) {
        return answer(503, &[]);
    }
    if ["/outpost.goauthentik.io", "/public", ONLY_GATE_OPENS].iter().any(|open| target.starts_with(open)) {
        return answer(200, &[]);
    }
    let login = ("location".to_owned(), format!("/outpost.goauthentik.io/start?rd={target}"));
    let cookie = ("set-cookie".to_owned(), "authentik_proxy_2a97516c=before-the-login; Path=/".to_owned());
    if target.contains("X-authentik-") {
        return answer(302, &[login, cookie]);
    }
    let known = {
        let table = table.read().unwrap();
        let keys = [header("cookie"), header("authorization")];
        keys.iter().find_map(|key| table.users.get(key).cloned())
    };
    match known {
        Some(mut headers) => {
            if header("host") == WITH_BASIC {
                headers.push(("authorization".to_owned(), "Basic b2YtdGhlLWFwcGxpY2F0aW9uOng=".to_owned()));
            }
            answer(200, &headers)
        }
        None if header("accept").contains("json") => answer(401, &[]),
        None => answer(302, &[login, cookie]),
    }
}

fn answer(status: u16, headers: &[(String, String)]) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value.as_bytes());
    }
    response.body(Body::empty()).unwrap()
}
