//! What the manifests of `deploy/` add to Envoy, in the real Envoy: the connection manager, the access log, the cluster, and
//! both seals (Istio's policy and Envoy Gateway's route) with the filter there, missing, coming and going. Istio and Envoy
//! Gateway are not here: what they would make of the objects is written down below, as it was seen in their config dumps.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fake_authentik::{ALICE, Authentik};
use local_envoy::module::root;
use local_envoy::{Envoy, EnvoyOptions, Folder, SEAL};
use loopback::App;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::HandshakeError;

use super::place::{Place, eventually, one, options, username};
use super::wire::{Answer, Request, basic, bearer};
use crate::manifests::Overlay;

const HEADER: &str = "x-authentik-seal";
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const POLICY: &str = "authentik-seal";

/// The settings of the filter that are not about this authentik and this application.
fn configure(mut options: EnvoyOptions, overlay: &Overlay) -> EnvoyOptions {
    for setting in ["seal", "throttle"] {
        options.configuration[setting] = overlay.configuration()[setting].clone();
    }
    assert_eq!(options.configuration["throttle"]["trust_source_address"], true);
    // The tests guess more often than a user does.
    options.configure("/throttle/failures", 0)
}

fn manager(options: &mut EnvoyOptions) -> &mut Value {
    options.bootstrap.pointer_mut(MANAGER).expect("an HTTP connection manager")
}

fn filters(options: &mut EnvoyOptions) -> &mut Vec<Value> {
    manager(options)["http_filters"].as_array_mut().expect("HTTP filters")
}

fn virtual_host(options: &mut EnvoyOptions) -> &mut Value {
    let host = &mut manager(options)["route_config"]["virtual_hosts"][0];
    host.as_object_mut().expect("a virtual host").remove("request_headers_to_remove");
    host
}

/// As Istio does it: the EnvoyFilters are merged, and the policy is an `rbac` filter behind ours.
fn istio(options: EnvoyOptions) -> EnvoyOptions {
    let overlay = Overlay::read("istio/wasmplugin-classic");
    let mut options = configure(options, &overlay);
    let patch = |name: &str| {
        overlay.object("EnvoyFilter", name)["spec"]["configPatches"][0]["patch"]["value"].clone()
    };
    for (field, value) in patch("authentik-connection-manager")["typed_config"].as_object().unwrap() {
        options.set_manager(field, value.clone());
    }
    virtual_host(&mut options);
    for (field, value) in patch("authentik-seal-strip").as_object().unwrap() {
        manager(&mut options)["route_config"][field] = value.clone();
    }
    let spec = &overlay.object("AuthorizationPolicy", POLICY)["spec"];
    let condition = &spec["rules"][0]["when"][0];
    let name = condition["key"].as_str().unwrap();
    let name = name.strip_prefix("request.headers[").and_then(|it| it.strip_suffix(']')).unwrap();
    // `EnvoyOptions` puts the value in: the manifest has none.
    let header = json!({"name": name, "string_match": {"exact": condition["notValues"][0]}});
    let policy = filters(&mut options).iter_mut().find(|it| it["name"] == POLICY).unwrap();
    policy["typed_config"]["rules"] = json!({
        "action": spec["action"],
        "policies": {"unsealed": {"permissions": [{"any": true}], "principals": [{"not_id": {"header": header}}]}},
    });
    options
}

/// As Envoy Gateway does it: a route for each match of each rule, and no policy. The filter is off in the listener, and each
/// route switches it on by its name, whether it is there or not.
fn envoy_gateway(options: EnvoyOptions, overlay: &str) -> EnvoyOptions {
    let overlay = Overlay::read(&format!("envoy-gateway/{overlay}"));
    let mut options = configure(options, &overlay);
    filters(&mut options).retain(|it| it["name"] != POLICY);
    let rules = overlay.object("HTTPRoute", "app")["spec"]["rules"].as_array().unwrap();
    let routes: Vec<_> = rules.iter().map(|rule| route(&overlay, rule)).collect();
    virtual_host(&mut options)["routes"] = json!(routes);
    let filter = filters(&mut options).iter_mut().find(|it| it["name"] == "authentik").unwrap();
    filter["disabled"] = json!(true);
    // It allows upgrades on each route that has a cluster.
    manager(&mut options).as_object_mut().unwrap().remove("upgrade_configs");
    let clusters = options.bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
    // What it is when its name has no address.
    clusters
        .push(json!({"name": "nowhere", "type": "STATIC", "load_assignment": {"cluster_name": "nowhere"}}));
    let format =
        &overlay.object("EnvoyProxy", "web")["spec"]["telemetry"]["accessLog"]["settings"][0]["format"];
    options.manager(
        "/access_log/0/typed_config/log_format/text_format_source/inline_string",
        format["text"].clone(),
    )
}

fn route(overlay: &Overlay, rule: &Value) -> Value {
    let [matched] = rule["matches"].as_array().unwrap().as_slice() else { panic!("several matches: {rule}") };
    let headers = matched["headers"].as_array().into_iter().flatten();
    // The manifest has no value.
    let headers: Vec<_> =
        headers.map(|it| json!({"name": it["name"], "string_match": {"exact": SEAL}})).collect();
    let mut route = json!({"match": {"prefix": matched["path"]["value"], "headers": headers}});
    route["typed_per_filter_config"] = json!({"authentik": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}});
    for filter in rule["filters"].as_array().into_iter().flatten() {
        match filter["type"].as_str().unwrap() {
            "RequestHeaderModifier" => {
                route["request_headers_to_remove"] = filter["requestHeaderModifier"]["remove"].clone();
            }
            _ => {
                let name = filter["extensionRef"]["name"].as_str().unwrap();
                let answer = &overlay.object("HTTPRouteFilter", name)["spec"]["directResponse"];
                route["direct_response"] = json!({"status": answer["statusCode"]});
            }
        }
    }
    if let Some(backend) = rule.pointer("/backendRefs/0/name") {
        route["route"] = json!({"cluster": backend, "upgrade_configs": [{"upgrade_type": "websocket"}]});
    }
    route
}

#[track_caller]
fn assert_unsealed(shown: &Value) {
    let text = shown.to_string();
    assert!(!text.contains(HEADER) && !text.contains(SEAL), "{shown}");
}

/// The same with either seal.
fn assert_judges(place: &Place) {
    place.await_keys("demo");
    let token = bearer(&place.authentik.issue("demo", "alice"));
    for guess in ["a-guess-of-the-client", SEAL] {
        for credential in [basic("alice", ALICE), token.clone()] {
            let shown = place.admits(
                place.get_as(credential).header("x-authentik-username", "forged").header(HEADER, guess),
            );
            assert_eq!(username(&shown), "alice");
            assert_unsealed(&shown);
        }
        let forged =
            |request: Request| request.header("x-authentik-username", "forged").header(HEADER, guess);
        place.turns_away(forged(place.get("/")), 302);
        place.turns_away(forged(place.get("/").header("accept", "application/json")), 401);
        place.turns_away(forged(place.get_as(basic("alice", "wrong"))), 401);
        place.turns_away(forged(place.get("/outpost.goauthentik.io/ping")), 204);
    }
    let long = place.request("POST", "/").authorization(basic("alice", ALICE)).body(vec![b'a'; 300_000]);
    assert_unsealed(&place.admits(long));
}

/// Without the filter, every request gets this status and the application none of them.
fn assert_closed(options: EnvoyOptions, app: &App, authentik: &Authentik, status: u16, body: &str) {
    let envoy = Envoy::start(options.without_filter());
    let request =
        |target: &str| Request::new(envoy.port(), "GET", target).header("x-authentik-username", "forged");
    let shorter = &SEAL[1..];
    for guess in ["", "a-guess-of-the-client", shorter, &format!("{SEAL}x"), &SEAL.to_ascii_uppercase()] {
        for request in [
            request("/"),
            request("/").authorization(basic("alice", ALICE)),
            request("/").authorization(bearer(&authentik.issue("demo", "alice"))),
            request("/outpost.goauthentik.io/ping"),
            Request::new(envoy.port(), "POST", "/").body(b"a=b".to_vec()),
            Request::new(envoy.port(), "OPTIONS", "/").header("access-control-request-method", "PUT"),
        ] {
            let answer = request.header(HEADER, guess).send();
            assert_eq!((answer.status, answer.body.as_str()), (status, body), "{guess:?}");
        }
        let answer = request("/").send();
        assert_eq!((answer.status, answer.body.as_str()), (status, body));
    }
    assert_eq!((app.count(), authentik.calls().len()), (0, 0), "nobody was asked, and nobody passed");
    // The value is a secret for this reason.
    let shown = request("/").header(HEADER, SEAL).send().json();
    assert_eq!(username(&shown), "forged");
    assert_unsealed(&shown);
}

#[test]
fn istio_s_connection_manager_and_seal_judge_with_the_filter() {
    let place = Place::new(istio);
    assert_judges(&place);
    assert_eq!(place.stat("http.ingress.rbac.denied"), 0);
    let good = || place.get_as(basic("alice", ALICE));
    place.turns_away(good().header("x_authentik_username", "forged"), 400);
    let shown = place.admits(place.get("//a//b").authorization(basic("alice", ALICE)));
    assert_eq!(shown["path"], "/a/b", "{shown}");
    for host in ["app.example.com:1234", "app.example.com.", "app.example.com"] {
        let shown = place.admits(good().host(host));
        assert_eq!(one(&shown, "host"), "app.example.com", "{host}");
    }
}

#[test]
fn istio_s_seal_refuses_everything_without_the_filter() {
    let (authentik, app) = (Authentik::start(), App::start());
    assert_closed(istio(options(&authentik, &app)), &app, &authentik, 403, "RBAC: access denied");
}

#[test]
fn two_rule_route_judges_with_the_filter_and_the_access_log_names_the_user_and_no_query() {
    for overlay in ["bootstrap-cluster", "websockets"] {
        let place = Place::new(|options| envoy_gateway(options, overlay));
        assert_judges(&place);
        place.admits(place.get("/logged?code=a-code").authorization(basic("alice", ALICE)));
        place.turns_away(place.get("/refused?code=a-code").header("accept", "application/json"), 401);
        place.await_log(&["GET /logged 200", "user=alice"]);
        place.await_log(&["GET /refused 401", "user=-"]);
        assert!(!place.envoy.log().contains("a-code"));
    }
}

#[test]
fn two_rule_route_answers_503_without_the_filter() {
    for (overlay, body) in [("bootstrap-cluster", ""), ("websockets", "no healthy upstream")] {
        let (authentik, app) = (Authentik::start(), App::start());
        let options = envoy_gateway(options(&authentik, &app), overlay);
        assert_closed(options, &app, &authentik, 503, body);
    }
}

/// The status of the answer to an upgrade.
fn upgrade(port: u16, headers: &[(&str, &str)]) -> u16 {
    let mut request = format!("ws://127.0.0.1:{port}/socket").into_client_request().unwrap();
    for (name, value) in headers {
        request
            .headers_mut()
            .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    match tungstenite::client(request, TcpStream::connect(("127.0.0.1", port)).unwrap()) {
        Ok((mut socket, answer)) => {
            let shown: Value = serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap();
            assert_unsealed(&shown);
            answer.status().as_u16()
        }
        Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => answer.status().as_u16(),
        Err(error) => panic!("neither a WebSocket nor an answer: {error}"),
    }
}

#[test]
fn websockets_pass_with_the_overlay_for_them_only() {
    let good = basic("alice", ALICE);
    for (overlay, passes, refused, missing) in
        [("bootstrap-cluster", 403, 403, 403), ("websockets", 101, 401, 503)]
    {
        let place = Place::new(|options| envoy_gateway(options, overlay));
        assert_eq!(upgrade(place.envoy.port(), &[("authorization", &good)]), passes, "{overlay}");
        let forged = [("x-authentik-username", "forged"), (HEADER, "a-guess-of-the-client")];
        assert_eq!(upgrade(place.envoy.port(), &forged), refused, "{overlay}");
        let app = App::start();
        let envoy = Envoy::start(envoy_gateway(options(&place.authentik, &app), overlay).without_filter());
        for headers in [[("authorization", good.as_str()), forged[0]], forged] {
            assert_eq!(upgrade(envoy.port(), &headers), missing, "{overlay}");
        }
        assert_eq!(app.count(), 0, "{overlay}");
    }
}

/// Envoy Gateway's cluster, with another address and another authority: the certificate must be for the name that it has.
#[test]
fn cluster_of_the_bootstrap_speaks_tls_to_the_name_in_the_manifest_only() {
    let overlay = Overlay::read("envoy-gateway/bootstrap-cluster");
    let written = &overlay.object("EnvoyProxy", "web")["spec"]["bootstrap"]["jsonPatches"][0]["value"];
    for (certificate, status) in [("auth", 200), ("other", 503)] {
        let (authentik, app, folder) = (Authentik::start(), App::start(), Folder::new());
        let mut options = options(&authentik, &app);
        let pipe = json!({"pipe": {"path": folder.0.join("tls")}});
        let file = |name: String| json!({"filename": root().join("tests/data/tls").join(name)});
        let mut cluster = written.clone();
        // Names are not looked up in tests.
        cluster["type"] = json!("STATIC");
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = pipe.clone();
        let trusted =
            cluster.pointer_mut("/transport_socket/typed_config/common_tls_context/validation_context");
        trusted.unwrap()["trusted_ca"] = file("authorities.pem".to_owned());
        let resources = &mut options.bootstrap["static_resources"];
        let clusters = resources["clusters"].as_array_mut().unwrap();
        let at = clusters.iter().position(|it| it["name"] == cluster["name"]).unwrap();
        let mut plain = std::mem::replace(&mut clusters[at], cluster);
        plain["name"] = json!("plain");
        clusters.push(plain);
        resources["listeners"].as_array_mut().unwrap().push(json!({
            "name": "tls",
            "address": pipe,
            "filter_chains": [{
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                    "common_tls_context": {"tls_certificates": [{
                        "certificate_chain": file(format!("{certificate}.pem")),
                        "private_key": file(format!("{certificate}-key.pem")),
                    }]},
                }},
                "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "stat_prefix": "tls",
                    "cluster": "plain",
                }}],
            }],
        }));
        let envoy = Envoy::start(options);
        let answer = Request::new(envoy.port(), "GET", "/").authorization(basic("alice", ALICE)).send();
        assert_eq!(answer.status, status, "{certificate}: {}", envoy.log());
        assert_eq!(authentik.calls().is_empty(), status == 503, "{certificate}");
    }
}

type Change = fn(EnvoyOptions) -> EnvoyOptions;

/// What came of the requests of a trial.
#[derive(Default)]
struct Tally {
    requests: usize,
    /// By credential (good or none) and status.
    answers: BTreeMap<(bool, u16), usize>,
    /// Answered by the application for somebody whom the filter has not named.
    unjudged: usize,
}

impl Tally {
    fn count(&mut self, is_good: bool, answer: &Answer) {
        self.requests += 1;
        *self.answers.entry((is_good, answer.status)).or_default() += 1;
        if answer.status == 200 && !(is_good && username(&answer.json()) == "alice") {
            self.unjudged += 1;
        }
    }

    fn of(&self, is_good: bool, status: u16) -> usize {
        self.answers.get(&(is_good, status)).copied().unwrap_or(0)
    }
}

/// At least 1,000 requests, a third of them with a good credential, while the filter is taken out and put back; each time
/// until both kinds of requests have had the answer of the new state.
fn while_the_filter_comes_and_goes(place: &Place, missing: u16) -> Tally {
    place.await_keys("demo");
    let (tally, is_over) = (Mutex::new(Tally::default()), AtomicBool::new(false));
    thread::scope(|scope| {
        for worker in 0..3 {
            let (tally, is_over) = (&tally, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let request = place.get("/").header("x-authentik-username", "forged");
                    let request = request.header(HEADER, "a-guess-of-the-client");
                    let answer = match worker {
                        0 => request.authorization(basic("alice", ALICE)),
                        1 => request.authorization("Bearer forged"),
                        _ => request.header("accept", "application/json"),
                    };
                    tally.lock().unwrap().count(worker == 0, &answer.send());
                }
            });
        }
        let end = End(&is_over);
        let seen = |is_good, status| tally.lock().unwrap().of(is_good, status);
        let mut changes = 0;
        while changes < 10 || tally.lock().unwrap().requests < 1_000 {
            let is_there = changes % 2 == 1;
            place.envoy.put_filter(is_there);
            changes += 1;
            let (good, other) = if is_there { (200, 401) } else { (missing, missing) };
            let before = (seen(true, good), seen(false, other));
            eventually("the change has come", || {
                seen(true, good) > before.0 + 5 && seen(false, other) > before.1 + 5
            });
        }
        drop(end);
    });
    tally.into_inner().unwrap()
}

/// Ends the workers, also when the trial fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn watched(mut options: EnvoyOptions) -> EnvoyOptions {
    options.is_listener_watched = true;
    options
}

#[test]
fn no_request_passes_unjudged_while_the_filter_comes_and_goes() {
    let seals: [(&str, u16, Change); 3] = [
        ("Istio's policy", 403, istio),
        ("a route with a direct response", 503, |it| envoy_gateway(it, "bootstrap-cluster")),
        ("a route with a backend", 503, |it| envoy_gateway(it, "websockets")),
    ];
    for (seal, missing, change) in seals {
        let place = Place::new(|options| watched(change(options)));
        let tally = while_the_filter_comes_and_goes(&place, missing);
        println!("{seal}: {} unjudged of {}: {:?}", tally.unjudged, tally.requests, tally.answers);
        assert!(tally.requests >= 1_000, "{seal}");
        assert_eq!(tally.unjudged, 0, "{seal}");
        assert_eq!(place.app.count(), tally.of(true, 200), "{seal}: the application saw others too");
        let known = [(true, 200), (true, missing), (false, 401), (false, missing)];
        let known: usize = known.iter().map(|(is_good, status)| tally.of(*is_good, *status)).sum();
        assert_eq!(known, tally.requests, "{seal}: {:?}", tally.answers);
    }
}

/// So that the test above is known to see them.
#[test]
fn requests_pass_unjudged_without_a_seal_while_the_filter_comes_and_goes() {
    let unsealed_route: Change = |options| {
        let mut options = envoy_gateway(options, "bootstrap-cluster");
        virtual_host(&mut options)["routes"][0]["match"]["headers"] = json!([]);
        options
    };
    let changes: [(&str, Change); 2] = [("no policy", EnvoyOptions::unsealed), ("one rule", unsealed_route)];
    for (case, change) in changes {
        let place = Place::new(|options| watched(change(options)));
        let tally = while_the_filter_comes_and_goes(&place, 200);
        println!("{case}: {} unjudged of {}: {:?}", tally.unjudged, tally.requests, tally.answers);
        assert!(tally.unjudged > 50, "{case}: {} of {}", tally.unjudged, tally.requests);
    }
}
