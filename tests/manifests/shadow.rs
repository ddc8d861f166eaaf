//! `deploy/shadow`: the filter beside an outpost, and the first host without one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use authentik_proxy_wasm::config::Config;
use local_envoy::module::{module, root};
use serde_json::Value;

use super::schema::Schemas;
use super::{objects_of, sorted};

/// Those that have `FAIL_RELOAD`.
const ISTIO: [&str; 5] = ["1.27.0", "1.28.0", "1.29.0", "1.30.3", "1.31-head"];
const ENVOY_GATEWAY: [&str; 3] = ["1.8.0", "1.9.0", "1.10-head"];

/// The two steps of a platform.
fn files(platform: &str) -> [PathBuf; 2] {
    let files = sorted(&root().join("deploy/shadow").join(platform));
    files.try_into().unwrap_or_else(|files| panic!("{files:?}"))
}

fn objects(file: &PathBuf) -> Vec<Value> {
    objects_of(&fs::read_to_string(file).unwrap())
}

/// The filter's configuration in a file.
fn configuration(file: &PathBuf) -> Value {
    for object in objects(file) {
        match object["kind"].as_str() {
            Some("WasmPlugin") => return object["spec"]["pluginConfig"].clone(),
            Some("EnvoyExtensionPolicy") => return object["spec"]["wasm"][0]["config"].clone(),
            Some(_) => {}
            None => {
                return serde_json::from_str(
                    envoy_plugin(&object)["configuration"]["value"].as_str().unwrap(),
                )
                .unwrap();
            }
        }
    }
    panic!("{}: no filter", file.display());
}

fn http_filters(bootstrap: &Value) -> &Vec<Value> {
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
    bootstrap.pointer(manager).unwrap().as_array().unwrap()
}

fn envoy_plugin(bootstrap: &Value) -> &Value {
    let filter = http_filters(bootstrap).iter().find(|filter| filter["name"] == "authentik").unwrap();
    &filter["typed_config"]["config"]
}

#[test]
fn objects_are_valid_in_every_supported_version() {
    for (platform, versions) in [("istio", &ISTIO[..]), ("envoy-gateway", &ENVOY_GATEWAY)] {
        for version in versions {
            let gateway_api = if platform == "istio" { "1.9.0" } else { version };
            let schemas = Schemas::of(&[
                &format!("{platform}-{version}"),
                &format!("gateway-api-of-envoy-gateway-{gateway_api}"),
            ]);
            for file in files(platform) {
                for object in objects(&file) {
                    assert_eq!(schemas.faults(&object), [""; 0], "{} under {version}", file.display());
                }
            }
        }
    }
}

#[test]
fn first_step_shadows_everything_and_second_step_switches_one_host() {
    for platform in ["istio", "envoy-gateway", "envoy"] {
        let [beside, one_host] = files(platform);
        let environment = |_: &str| Some("a-value-of-the-environment-0123456789".to_owned());
        for (file, switched) in [(&beside, &[][..]), (&one_host, &["app"])] {
            let configuration = configuration(file).to_string();
            let config = Config::parse(configuration.as_bytes(), &environment).unwrap();
            assert_eq!(config.shadow.as_ref().unwrap().switched, switched, "{}", file.display());
            // A host without its gate has the seal, and nothing else has.
            assert_eq!(config.seal.is_some(), !switched.is_empty(), "{}", file.display());
            let text = fs::read_to_string(file).unwrap();
            assert_eq!(text.contains("the value of AUTHENTIK_SEAL"), config.seal.is_some());
        }
    }
}

/// The gate leaves the switched host, and no other.
#[test]
fn gate_is_for_the_hosts_that_are_not_switched() {
    let gate = |platform: &str, kind: &str, pointer: &str| {
        files(platform).map(|file| {
            let policy = objects(&file).into_iter().find(|object| object["kind"] == kind).unwrap();
            policy.pointer(pointer).unwrap().to_string()
        })
    };
    let hosts = gate("istio", "AuthorizationPolicy", "/spec/rules/0/to/0/operation/hosts");
    assert_eq!(hosts, [r#"["app.example.com","shop.example.com"]"#, r#"["shop.example.com"]"#]);
    let [beside, one_host] = gate("envoy-gateway", "SecurityPolicy", "/spec/targetRefs");
    assert!(beside.contains(r#""name":"app""#) && beside.contains(r#""name":"shop""#));
    assert!(!one_host.contains(r#""name":"app""#) && one_host.contains(r#""name":"shop""#));
    for file in files("envoy") {
        let bootstrap = objects(&file).remove(0);
        let names: Vec<_> =
            http_filters(&bootstrap).iter().map(|filter| filter["name"].as_str().unwrap()).collect();
        assert_eq!(names[..2], ["outpost", "authentik"], "the gate comes first");
        let hosts =
            "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts";
        let is_disabled = |host: &Value| host["typed_per_filter_config"]["outpost"]["disabled"] == true;
        let disabled: Vec<_> =
            bootstrap.pointer(hosts).unwrap().as_array().unwrap().iter().map(is_disabled).collect();
        assert_eq!(disabled, [file.ends_with("2-one-host.yaml"), false], "{}", file.display());
    }
}

/// Envoy itself reads the two files, with the module.
#[test]
fn envoy_accepts_both_steps() {
    assert!(module().is_file());
    for file in files("envoy") {
        let output = Command::new(local_envoy::binary().unwrap())
            .args(["--mode", "validate", "--log-level", "error", "--config-path"])
            .arg(&file)
            .current_dir(root())
            .env("AUTHENTIK_CLIENT_SECRET", "demo-client-secret-0123456789abcdef0123456789abcdef")
            .env("AUTHENTIK_COOKIE_SECRET", "a cookie secret of more than thirty-two bytes")
            .env("AUTHENTIK_SEAL", "seal-of-the-tests-0123456789abcdef")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (said, errors) = (text(output.stdout), text(output.stderr));
        assert!(
            output.status.success() && said.trim_end().ends_with("OK"),
            "{}: {said}{errors}",
            file.display()
        );
    }
}
