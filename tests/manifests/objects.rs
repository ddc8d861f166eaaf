//! The objects of an overlay among one another: filter, seal and gateway are about the same pods, header and variables, in the
//! order in which they must be applied.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use authentik_proxy_wasm::config::Config;
use local_envoy::module::root;
use serde_json::{Value, json};

use super::{Overlay, objects_of, overlays, sorted};

const SEAL: &str = "x-authentik-seal";
/// In the place of the value. It has blanks, so no filter has it for a seal.
const NO_SEAL: &str = "the value of AUTHENTIK_SEAL";
const SECRETS: [&str; 3] = ["AUTHENTIK_CLIENT_SECRET", "AUTHENTIK_COOKIE_SECRET", "AUTHENTIK_SEAL"];
const LIMITS: [&str; 2] = ["60s", "60s"];

fn istio() -> Vec<Overlay> {
    overlays().into_iter().filter(Overlay::is_istio).collect()
}

fn envoy_gateway() -> Vec<Overlay> {
    overlays().into_iter().filter(|overlay| !overlay.is_istio()).collect()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect()
}

/// Numbers pass through `google.protobuf.Struct` there, and come out as doubles.
fn as_doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().unwrap()),
        Value::Array(items) => items.into_iter().map(as_doubles).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, as_doubles(value))).collect(),
        other => other,
    }
}

#[test]
fn filter_takes_the_configuration_of_every_overlay() {
    for overlay in overlays() {
        let text = as_doubles(overlay.configuration().clone()).to_string();
        let given = variables_of_the_vm(&overlay);
        let secret =
            |name: &str| given.contains(&name).then(|| "a-value-from-the-environment-0123456".to_owned());
        let config = Config::parse(text.as_bytes(), &secret).unwrap();
        assert_eq!(config.warnings.len(), 0, "{}: {:?}", overlay.name, config.warnings);
        let seal = config.seal.as_ref().expect("a seal");
        assert_eq!(seal.header, SEAL, "{}", overlay.name);
        // An edge sets the source's address itself; a waypoint does not.
        let is_edge = overlay.name != "istio/waypoint";
        assert_eq!(config.throttle.trust_source_address, is_edge, "{}", overlay.name);
    }
}

/// What the proxy is told to hand to the VM from its own environment.
fn variables_of_the_vm(overlay: &Overlay) -> Vec<&str> {
    if !overlay.is_istio() {
        return strings(&overlay.plugin()["env"]["hostKeys"]);
    }
    let variables = overlay.plugin()["vmConfig"]["env"].as_array().unwrap();
    assert!(variables.iter().all(|it| it["valueFrom"] == "HOST" && it.get("value").is_none()));
    variables.iter().map(|it| it["name"].as_str().unwrap()).collect()
}

/// The container's environment, wherever it is given.
fn environment(overlay: &Overlay) -> Value {
    if !overlay.is_istio() {
        let proxy = overlay.object("EnvoyProxy", "web");
        return proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"]["container"]["env"].clone();
    }
    let deployment = match overlay.of_kind("ConfigMap").next() {
        Some(options) => objects_of(options["data"]["deployment"].as_str().unwrap()).remove(0),
        None => overlay.object("Deployment", "istio-ingressgateway").clone(),
    };
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["name"], "istio-proxy");
    container["env"].clone()
}

#[test]
fn pods_have_the_secrets_that_the_filter_reads() {
    for overlay in overlays() {
        assert_eq!(variables_of_the_vm(&overlay), SECRETS, "{}", overlay.name);
        let variable = |name| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": "authentik-proxy", "key": name}}});
        assert_eq!(environment(&overlay), json!(SECRETS.map(variable)), "{}", overlay.name);
        let configuration = overlay.configuration().to_string();
        for name in SECRETS {
            assert!(configuration.contains(&json!({"env": name}).to_string()), "{}: {name}", overlay.name);
        }
    }
}

#[test]
fn seal_is_applied_before_the_filter_and_after_all_that_both_need() {
    for overlay in overlays() {
        let steps: Vec<_> = overlay.steps.iter().map(|step| step.name.as_str()).collect();
        let reload = overlay.name.contains("/reload-");
        assert_eq!(steps.get(..3), Some(["1-prepare", "2-seal", "3-filter"].as_slice()), "{}", overlay.name);
        assert_eq!(
            steps.get(3..),
            Some(if reload { ["4-reload"].as_slice() } else { &[] }),
            "{}",
            overlay.name
        );
        let kinds = |step: usize| -> BTreeSet<_> {
            overlay.steps[step].objects.iter().map(|object| object["kind"].as_str().unwrap()).collect()
        };
        if overlay.is_istio() {
            assert_eq!(kinds(1), BTreeSet::from(["AuthorizationPolicy"]), "{}", overlay.name);
            assert_eq!(overlay.steps[1].objects[0]["metadata"]["name"], "authentik-seal");
        } else {
            let second = if overlay.name.ends_with("websockets") { "Backend" } else { "HTTPRouteFilter" };
            assert_eq!(kinds(1), BTreeSet::from(["HTTPRoute", second]), "{}", overlay.name);
        }
        assert_eq!(overlay.steps[2].objects, [overlay.filter().clone()], "{}", overlay.name);
    }
}

/// Which pods an object is about: namespace and selector or targets.
fn target(object: &Value) -> (&Value, Option<&Value>, Option<&Value>) {
    let spec = &object["spec"];
    (&object["metadata"]["namespace"], spec.get("selector"), spec.get("targetRefs"))
}

#[test]
fn seal_and_filter_are_about_the_gateway_in_the_same_overlay() {
    for overlay in istio() {
        let (seal, filter) = (overlay.object("AuthorizationPolicy", "authentik-seal"), overlay.filter());
        assert_eq!(target(seal), target(filter), "{}", overlay.name);
        let (namespace, selector, targets) = target(filter);
        let gateway = overlay.of_kind("Gateway").next();
        assert_eq!(gateway.is_some(), !overlay.name.ends_with("-classic"), "{}", overlay.name);
        let patched = overlay.of_kind("EnvoyFilter");
        let principal = match gateway {
            Some(gateway) => {
                let name = gateway["metadata"]["name"].as_str().unwrap();
                let target = json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}]);
                assert_eq!((selector, targets), (None, Some(&target)), "{}", overlay.name);
                assert_eq!(namespace, &gateway["metadata"]["namespace"], "{}", overlay.name);
                for filter in patched {
                    assert_eq!(self::target(filter), (namespace, None, targets), "{}", overlay.name);
                }
                let account = if overlay.name.ends_with("waypoint") {
                    name.to_owned()
                } else {
                    format!("{name}-istio")
                };
                format!("cluster.local/ns/{}/sa/{account}", namespace.as_str().unwrap())
            }
            None => {
                let labels = json!({"istio": "ingressgateway"});
                assert_eq!(
                    (selector, targets),
                    (Some(&json!({"matchLabels": labels})), None),
                    "{}",
                    overlay.name
                );
                for filter in patched {
                    assert_eq!(filter["spec"]["workloadSelector"]["labels"], labels, "{}", overlay.name);
                    assert_eq!(target(filter), (namespace, None, None), "{}", overlay.name);
                }
                let deployment = overlay.object("Deployment", "istio-ingressgateway");
                assert_eq!(&deployment["metadata"]["namespace"], namespace, "{}", overlay.name);
                "cluster.local/ns/istio-ingress/sa/istio-ingressgateway".to_owned()
            }
        };
        let application = overlay.object("AuthorizationPolicy", "app-from-the-gateway-only");
        let allowed = &application["spec"]["rules"];
        assert_eq!(
            allowed,
            &json!([{"from": [{"source": {"principals": [principal]}}]}]),
            "{}",
            overlay.name
        );
        assert_eq!(application["spec"]["action"], "ALLOW");
    }
    for overlay in envoy_gateway() {
        let gateway = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"});
        assert_eq!(overlay.object("Gateway", "web")["metadata"]["namespace"], "web");
        for object in overlay.objects() {
            assert_eq!(object["metadata"]["namespace"], "web", "{}", overlay.name);
        }
        for object in [overlay.filter(), overlay.object("ClientTrafficPolicy", "web")] {
            assert_eq!(target(object).2, Some(&json!([gateway])), "{}", overlay.name);
        }
        for policy in overlay.of_kind("EnvoyPatchPolicy") {
            assert_eq!(policy["spec"]["targetRef"], gateway, "{}", overlay.name);
        }
        for route in overlay.of_kind("HTTPRoute") {
            assert_eq!(route["spec"]["parentRefs"], json!([{"name": "web"}]), "{}", overlay.name);
        }
    }
}

/// Nothing in it depends on ports or a mode, which match less than one thinks.
#[test]
fn istio_s_seal_refuses_all_that_has_not_the_value() {
    for overlay in istio() {
        let seal = &overlay.object("AuthorizationPolicy", "authentik-seal")["spec"];
        let when = json!([{"key": format!("request.headers[{SEAL}]"), "notValues": [NO_SEAL]}]);
        assert_eq!(seal["rules"], json!([{"when": when}]), "{}", overlay.name);
        assert_eq!(seal["action"], "DENY", "{}", overlay.name);
        assert_eq!(overlay.filter()["spec"].get("match"), None, "{}", overlay.name);
        assert_eq!(overlay.filter()["spec"]["phase"], "AUTHN", "{}", overlay.name);
        // It is taken away behind the policy, in one of three ways.
        let patches =
            overlay.of_kind("EnvoyFilter").flat_map(|it| it["spec"]["configPatches"].as_array().unwrap());
        let by_patch = patches.filter(|patch| patch["applyTo"] == "ROUTE_CONFIGURATION");
        let mut removed: Vec<_> =
            by_patch.map(|patch| &patch["patch"]["value"]["request_headers_to_remove"]).collect();
        for service in overlay.of_kind("VirtualService") {
            let routes = service["spec"]["http"].as_array().unwrap();
            removed.extend(routes.iter().map(|route| &route["headers"]["request"]["remove"]));
        }
        for route in overlay.of_kind("HTTPRoute") {
            let rules = route["spec"]["rules"].as_array().unwrap();
            removed.extend(rules.iter().map(|rule| &rule["filters"][0]["requestHeaderModifier"]["remove"]));
        }
        assert_eq!(removed, [&json!([SEAL])], "{}", overlay.name);
    }
}

#[test]
fn no_route_of_envoy_gateway_leads_to_the_application_without_the_seal() {
    for overlay in envoy_gateway() {
        let rules = overlay.object("HTTPRoute", "app")["spec"]["rules"].as_array().unwrap();
        let [sealed, rest] = rules.as_slice() else { panic!("{}: not two rules", overlay.name) };
        let path = json!({"type": "PathPrefix", "value": "/"});
        let header = json!({"type": "Exact", "name": SEAL, "value": NO_SEAL});
        let mut matched = sealed["matches"].clone();
        // The default; RegularExpression would be another thing.
        let kind = matched[0]["headers"][0].as_object_mut().unwrap().entry("type").or_insert(json!("Exact"));
        assert_eq!(kind, "Exact");
        assert_eq!(matched, json!([{"path": path, "headers": [header]}]), "{}", overlay.name);
        let removed = json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": [SEAL]}});
        assert_eq!(sealed["filters"], json!([removed]), "{}", overlay.name);
        assert_eq!(rest["matches"], json!([{"path": path}]), "{}", overlay.name);
        if overlay.name.ends_with("websockets") {
            assert_eq!(rest["backendRefs"][0]["name"], "nowhere", "{}", overlay.name);
            let host = &overlay.object("Backend", "nowhere")["spec"]["endpoints"][0]["fqdn"]["hostname"];
            assert!(host.as_str().unwrap().ends_with(".invalid"), "{host}");
        } else {
            assert_eq!(rest.get("backendRefs"), None, "{}", overlay.name);
            assert_eq!(rest["filters"][0]["extensionRef"]["name"], "unjudged", "{}", overlay.name);
            let answer = &overlay.object("HTTPRouteFilter", "unjudged")["spec"]["directResponse"];
            assert_eq!(answer["statusCode"], 503, "{}", overlay.name);
        }
        for route in overlay.of_kind("HTTPRoute").filter(|route| route["metadata"]["name"] != "app") {
            assert_eq!(route["spec"]["rules"][0]["backendRefs"][0]["name"], "authentik", "{}", overlay.name);
        }
    }
}

#[test]
fn every_overlay_fails_closed() {
    for overlay in overlays() {
        if overlay.is_istio() {
            assert_eq!(overlay.plugin()["failStrategy"], "FAIL_RELOAD", "{}", overlay.name);
        } else {
            assert_eq!(overlay.plugin()["failOpen"], false, "{}", overlay.name);
        }
        let reload: Vec<_> = overlay.of_kind("EnvoyPatchPolicy").collect();
        assert_eq!(reload.len(), usize::from(overlay.name.contains("/reload-")), "{}", overlay.name);
        for policy in reload {
            let patches = policy["spec"]["jsonPatches"].as_array().unwrap();
            let listener = overlay.name.rsplit_once("/reload-").unwrap().1;
            let listener = if listener == "tcp-443" { "tcp-443" } else { "web/web/https" };
            assert!(patches.iter().all(|patch| patch["name"] == listener), "{}", overlay.name);
            let value =
                |index: usize| (&patches[index]["operation"]["path"], &patches[index]["operation"]["value"]);
            assert_eq!(value(0), (&json!("failure_policy"), &json!("FAIL_RELOAD")));
            assert_eq!(value(1), (&json!("reload_config"), &json!({"backoff": {"base_interval": "1s"}})));
            assert_eq!(patches.len(), 2);
        }
        let text: String = overlay.objects().map(Value::to_string).collect();
        for word in
            ["FAIL_OPEN", "FAIL_CLOSE", "allow_on_headers_stop_iteration", "insecureSkipVerify", "mergeType"]
        {
            assert!(!text.contains(word), "{}: {word}", overlay.name);
        }
    }
}

#[test]
fn every_overlay_ends_a_stream_that_nothing_else_ends() {
    for overlay in overlays() {
        let annotation = |metadata: &Value| -> Value {
            let text = metadata["annotations"]["proxy.istio.io/config"].as_str().unwrap();
            serde_yaml_ng::from_str::<Value>(text).unwrap()["connectionSettings"].clone()
        };
        if !overlay.is_istio() {
            let spec = &overlay.object("ClientTrafficPolicy", "web")["spec"];
            let limits = json!({"requestReceivedTimeout": LIMITS[0], "streamIdleTimeout": LIMITS[1]});
            assert_eq!(spec["timeout"]["http"], limits, "{}", overlay.name);
            let path = json!({"disableMergeSlashes": false, "escapedSlashesAction": "KeepUnchanged"});
            assert_eq!(spec["path"], path);
            let headers =
                json!({"withUnderscoresAction": "RejectRequest", "host": {"stripTrailingHostDot": true}});
            assert_eq!(spec["headers"], headers);
        } else if overlay.name.starts_with("istio/istio-1.31") {
            let metadata = match overlay.of_kind("Gateway").next() {
                Some(gateway) => &gateway["spec"]["infrastructure"],
                None => &overlay.object("Deployment", "istio-ingressgateway")["spec"]["template"]["metadata"],
            };
            // Word by word: the schemas have no type for it, and with a wrong one the proxy does not start.
            let settings = json!({
                "httpRequestTimeout": LIMITS[0],
                "httpStreamIdleTimeout": LIMITS[1],
                "httpMergeSlashes": true,
                "httpHeadersWithUnderscoresAction": "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
                "httpPathWithEscapedSlashesAction": "KEEP_UNCHANGED",
            });
            assert_eq!(annotation(metadata), settings, "{}", overlay.name);
            let filters: Vec<_> = overlay.of_kind("EnvoyFilter").collect();
            assert!(filters.iter().all(|it| it["spec"]["configPatches"] == json!([])), "{}", overlay.name);
        } else if overlay.name != "istio/waypoint" {
            let manager = overlay.object("EnvoyFilter", "authentik-connection-manager");
            let manager = &manager["spec"]["configPatches"][0]["patch"]["value"]["typed_config"];
            assert_eq!([&manager["request_timeout"], &manager["stream_idle_timeout"]], LIMITS);
            for setting in
                ["normalize_path", "merge_slashes", "strip_any_host_port", "strip_trailing_host_dot"]
            {
                assert_eq!(manager[setting], true, "{}: {setting}", overlay.name);
            }
        }
    }
}

#[test]
fn the_way_to_authentik_is_the_cluster_that_the_filter_calls_and_its_name_is_verified() {
    for overlay in overlays() {
        let cluster = overlay.configuration()["authentik"]["cluster"].as_str().unwrap();
        if overlay.is_istio() {
            let entry = overlay.object("ServiceEntry", "authentik");
            let rule = overlay.object("DestinationRule", "authentik");
            let host = entry["spec"]["hosts"][0].as_str().unwrap();
            assert_eq!(cluster, format!("outbound|{}||{host}", entry["spec"]["ports"][0]["number"]));
            assert_eq!(
                (&entry["spec"]["exportTo"], &rule["spec"]["exportTo"]),
                (&json!(["."]), &json!(["."]))
            );
            let tls = json!({"mode": "SIMPLE", "sni": host, "subjectAltNames": [host]});
            assert_eq!(rule["spec"]["trafficPolicy"]["tls"], tls, "{}", overlay.name);
            let namespace = &overlay.filter()["metadata"]["namespace"];
            for object in [entry, rule] {
                assert_eq!(&object["metadata"]["namespace"], namespace, "{}", overlay.name);
            }
            let kept = format!("{}/{host}", namespace.as_str().unwrap());
            let annotation = "envoyfilter.istio.io/referenced-services";
            let annotations =
                overlay.of_kind("EnvoyFilter").filter_map(|it| it["metadata"]["annotations"].get(annotation));
            assert_eq!(annotations.collect::<Vec<_>>(), [&json!(kept)], "{}", overlay.name);
        } else if overlay.name.ends_with("route-cluster") {
            assert_eq!(cluster, "httproute/web/authentik-outpost/rule/0");
            let route = &overlay.object("HTTPRoute", "authentik-outpost")["spec"];
            assert_eq!(route["hostnames"], overlay.object("HTTPRoute", "app")["spec"]["hostnames"]);
            let tls = &overlay.object("Backend", "authentik")["spec"]["tls"];
            assert_eq!(tls, &json!({"sni": "auth.example.com", "wellKnownCACertificates": "System"}));
            let patches = overlay.object("EnvoyProxy", "web")["spec"]["bootstrap"]["jsonPatches"].as_array();
            assert!(patches.unwrap().iter().all(|patch| patch["path"] != "/static_resources/clusters/-"));
        } else {
            let patches = &overlay.object("EnvoyProxy", "web")["spec"]["bootstrap"]["jsonPatches"];
            let patches = patches.as_array().unwrap();
            let is_cluster = |patch: &&Value| patch["path"] == "/static_resources/clusters/-";
            assert!(
                patches.iter().filter(is_cluster).count() == 1 && is_cluster(&&patches[0]),
                "{patches:?}"
            );
            assert_eq!(patches[0]["value"]["name"], cluster);
            let tls = &patches[0]["value"]["transport_socket"]["typed_config"];
            let names = &tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"];
            assert_eq!(
                names,
                &json!([{"san_type": "DNS", "matcher": {"exact": tls["sni"]}}]),
                "{}",
                overlay.name
            );
        }
    }
}

/// `make dist` fills in both words.
#[test]
fn every_filter_has_a_version_and_a_digest_to_fill_in() {
    let digest = format!("oci://registry.example.com/authentik-proxy-wasm{{}}@sha256:{}", "0".repeat(64));
    for overlay in overlays() {
        let plugin = overlay.plugin();
        if overlay.is_istio() {
            assert_eq!(plugin["url"], digest.replace("{}", ""), "{}", overlay.name);
            let labels = json!({"app.kubernetes.io/version": "v0.0.0-dev"});
            assert_eq!(overlay.filter()["metadata"]["labels"], labels, "{}", overlay.name);
        } else {
            assert_eq!(
                plugin["code"]["image"]["url"],
                digest.replace("{}", ":v0.0.0-dev"),
                "{}",
                overlay.name
            );
        }
        assert!(plugin.get("sha256").is_none() && plugin["code"]["image"].get("sha256").is_none());
    }
}

/// WasmPlugin and TrafficExtension are two names for one filter.
#[test]
fn both_kinds_of_istio_s_filter_have_the_same_content() {
    for target in ["classic", "gateway-api"] {
        let of = |kind: &str| {
            let mut overlay = Overlay::read(&format!("istio/{kind}-{target}"));
            let plugin = overlay.plugin().clone();
            overlay.steps.pop();
            (plugin, overlay.objects().cloned().collect::<Vec<_>>())
        };
        let (plugin, rest) = of("wasmplugin");
        let (extension, other) = of("trafficextension");
        assert_eq!(rest, other);
        for (name, value) in extension.as_object().unwrap() {
            let expected = if name == "type" { json!("HTTP") } else { plugin[name].clone() };
            assert_eq!(value, &expected, "{name}");
        }
        assert!(extension.as_object().unwrap().len() >= 6);
    }
}

#[test]
fn the_page_has_every_overlay_and_every_step() {
    let page = fs::read_to_string(root().join("deploy/README.md")).unwrap();
    for overlay in overlays() {
        let name = overlay.name.split_once('/').unwrap().1;
        assert!(page.contains(&format!("`{name}`")), "{name}");
        for step in &overlay.steps {
            assert!(page.contains(&format!("/{}", step.name)), "{}", step.name);
        }
    }
}

/// Each was in these files, and a real Istio or Envoy Gateway did otherwise.
#[test]
fn nothing_is_said_that_a_run_has_disproved() {
    fn read(folder: &Path) -> String {
        let texts = sorted(folder).into_iter();
        texts
            .map(|path| if path.is_dir() { read(&path) } else { fs::read_to_string(&path).unwrap() })
            .collect()
    }
    let text = read(&root().join("deploy")) + &fs::read_to_string(root().join("README.md")).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("RBAC: access denied"));
    for words in [
        "always-include-in-gateways",
        "caCertificates: system",
        "only then attach routes",
        "An image that cannot be fetched denies every request",
        "can hold up every other change",
        "headersWithUnderscoresAction: REJECT_REQUEST",
    ] {
        assert!(!text.contains(words), "{words}");
    }
}
