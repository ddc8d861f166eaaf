//! `check` as it is called: broken files and the shipped ones.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{Folder, run, tool};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data");
const ENVOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy.yaml");

fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The faults that a broken file says it has: `#! what` at the end of a line, or `#! @line what` before the text.
fn marks(text: &str) -> Vec<(usize, String)> {
    let mark = |(index, line): (usize, &str)| {
        let (_, mark) = line.split_once("#! ")?;
        match mark.strip_prefix('@').and_then(|mark| mark.split_once(' ')) {
            Some((line, what)) => Some((line.parse().unwrap(), what.to_owned())),
            None => Some((index + 1, mark.to_owned())),
        }
    };
    text.lines().enumerate().filter_map(mark).collect()
}

#[test]
fn every_fault_of_the_broken_files_is_found_at_its_line_and_nothing_else() {
    let files = entries(format!("{DATA}/check"));
    assert!(files.len() >= 20, "{}", files.len());
    for file in &files {
        let marks = marks(&fs::read_to_string(file).unwrap());
        assert!(!marks.is_empty(), "{}: no fault is expected", file.display());
        let place = file.to_str().unwrap();
        let (code, output, error) = run(&["check", place]);
        assert_eq!((code, error.as_str()), (1, ""), "{place}\n{output}");
        let found: Vec<_> = output
            .lines()
            .map(|line| {
                let rest = line.strip_prefix(place).unwrap().strip_prefix(':').unwrap();
                let (line, what) = rest.split_once(": ").unwrap();
                (line.parse::<usize>().unwrap(), what)
            })
            .collect();
        assert_eq!(found.len(), marks.len(), "{place}: expected {marks:#?}\n{output}");
        for (line, what) in &marks {
            let is_it = |(at, found): &(usize, &str)| at == line && found.contains(what.as_str());
            assert!(found.iter().any(is_it), "{place}:{line}: {what} is not in\n{output}");
        }
    }
}

/// With the two placeholders filled in.
fn filled_in(text: &str) -> String {
    let digest = "4f2c1b7d9e8a6350c4d7e1f0a2b3958671d4c8e9f0b1a2736455869778a9bacb";
    text.replace(&"0".repeat(64), digest)
        .replace("the value of AUTHENTIK_SEAL", "a-seal-that-nobody-can-guess")
}

#[test]
fn every_shipped_overlay_passes_but_for_the_placeholders() {
    let overlays: Vec<_> = ["istio", "envoy-gateway"]
        .iter()
        .flat_map(|kind| entries(format!("{DATA}/manifests/{kind}")))
        .collect();
    assert!(overlays.len() >= 12, "{overlays:?}");
    for overlay in &overlays {
        let (code, output, _) = run(&["check", overlay.to_str().unwrap()]);
        let faults: Vec<_> = output.lines().collect();
        assert!(code == 1 && faults.len() == 2, "{}\n{output}", overlay.display());
        assert!(faults.iter().all(|fault| fault.contains("is the placeholder")), "{output}");

        let folder = Folder::new(&format!("overlay-{}", name(overlay)));
        for step in entries(overlay) {
            fs::write(folder.0.join(name(&step)), filled_in(&fs::read_to_string(&step).unwrap())).unwrap();
        }
        assert_eq!(
            run(&["check", folder.path()]),
            (0, String::new(), String::new()),
            "{}",
            overlay.display()
        );
    }
}

#[test]
fn the_shipped_envoy_yaml_passes_but_for_its_placeholder() {
    let (code, output, _) = run(&["check", ENVOY]);
    assert!(code == 1 && output.lines().count() == 1 && output.contains("is the placeholder"), "{output}");
    let folder = Folder::new("envoy");
    let file = folder.0.join("envoy.yaml");
    fs::write(&file, filled_in(&fs::read_to_string(ENVOY).unwrap())).unwrap();
    assert_eq!(run(&["check", file.to_str().unwrap()]), (0, String::new(), String::new()));
}

#[test]
fn exit_codes_tell_faults_from_what_could_not_be_checked() {
    let folder = Folder::new("exit-codes");
    let file = |name: &str, text: &str| {
        let path = folder.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = r#"{"authentik": {"cluster": "a", "host": "https://a.test"}, "providers": [{
        "assigned_application_slug": "app", "client_id": "id", "client_secret": {"env": "X"},
        "cookie_secret": [{"env": "Y"}], "external_host": "https://b.test"}]}"#;
    assert_eq!(run(&["check", &file("good.json", good)]), (0, String::new(), String::new()));
    let (code, output, _) = run(&["check", &file("empty-map.json", "{}")]);
    assert_eq!((code, output.lines().count()), (1, 4), "{output}");

    let nowhere = folder.0.join("not-there.yaml");
    let (code, output, error) = run(&["check", nowhere.to_str().unwrap()]);
    assert!(code == 2 && output.is_empty() && error.contains("not-there.yaml"), "{error}");
    let empty = Folder::new("exit-codes-empty");
    assert_eq!(run(&["check", empty.path()]).0, 2, "nothing was checked");
    let seal = format!("{DATA}/manifests/istio/waypoint/2-seal.yaml");
    let (code, output, error) = run(&["check", &seal]);
    assert!(
        code == 0 && output.is_empty() && error.contains("none of these manifests has the filter"),
        "{error}"
    );
    for wrong in [&["check"][..], &["chekc"], &["check", "--nonsense"], &[]] {
        assert_eq!(run(wrong).0, 2, "{wrong:?}");
    }
}

/// Each sentence of what `check` promises, and a broken file for it: its name, and the path of the fault.
const PROMISES: [(&str, &[(&str, &str)]); 10] = [
    (
        "a faulty configuration",
        &[
            ("plain-unknown-field", "authentik.clutser"),
            ("envoy-faulty-configuration", "cache.ttl"),
            ("istio-faulty-configuration", "providers[0].external_hots"),
            ("gateway-faulty-configuration", "providers[0].client_secrets"),
        ],
    ),
    (
        "a seal that is missing",
        &[
            ("envoy-no-seal", "configuration.seal"),
            ("envoy-no-rbac", "configuration.seal"),
            ("istio-no-seal", "spec.pluginConfig.seal"),
            ("istio-no-policy", "spec.pluginConfig.seal"),
            ("gateway-no-seal", "spec.wasm[0].config.seal"),
        ],
    ),
    (
        "a seal that differs",
        &[
            ("envoy-seal-differs", "header.string_match.exact"),
            ("istio-seal-differs", "spec.rules[].when[].notValues"),
            ("istio-seal-differs-from-the-secret", "spec.rules[].when[].notValues"),
            ("gateway-seal-differs", "spec.rules[].matches[].headers"),
        ],
    ),
    (
        "a route or rule without it",
        &[
            ("gateway-route-without-the-seal", "spec.rules[].matches[].headers"),
            ("gateway-rule-without-the-seal", "spec.rules[].matches[].headers"),
        ],
    ),
    (
        "a target or selector that matches nothing in the same files",
        &[
            ("istio-target-is-not-there", "spec.targetRefs"),
            ("istio-selector-matches-nothing", "spec.selector"),
            ("gateway-target-is-not-there", "spec.targetRefs"),
            ("gateway-listener-is-not-there", "spec.targetRefs"),
            ("gateway-selector-matches-nothing", "spec.targetSelectors"),
        ],
    ),
    (
        "a route's list of modules that takes the filter away",
        &[
            ("gateway-route-policy-merges-another-list", "spec.wasm"),
            ("gateway-route-policy-replaces", "spec"),
            ("gateway-second-policy", "spec.targetRefs"),
        ],
    ),
    ("phase STATS", &[("istio-phase-stats", "spec.phase"), ("istio-no-phase", "spec.phase")]),
    (
        "failing open",
        &[
            ("gateway-fail-open", "spec.wasm[0].failOpen"),
            ("istio-fail-open", "spec.failStrategy"),
            ("envoy-fail-open", "failure_policy"),
        ],
    ),
    ("sni without subjectAltNames", &[("istio-sni-without-names", "tls.subjectAltNames")]),
    (
        "a digest of the wrong thing; with a release's files, see below",
        &[
            ("istio-digest-of-another-thing", "spec.wasm.sha256"),
            ("istio-digest-is-the-placeholder", "spec.url"),
            ("istio-digest-has-a-prefix", "spec.wasm.sha256"),
            ("istio-digest-is-short", "spec.wasm.sha256"),
        ],
    ),
];

#[test]
fn every_promise_of_check_has_a_broken_file() {
    for (promise, files) in PROMISES {
        for (name, path) in files {
            let place = format!("{DATA}/check/{name}.yaml");
            let (_, output, _) = run(&["check", &place]);
            let is_it = |line: &str| {
                let rest = line.strip_prefix(&place).and_then(|rest| rest.strip_prefix(':'));
                rest.and_then(|rest| rest.split_once(": ")).is_some_and(|(number, fault)| {
                    number.parse::<usize>().is_ok() && fault.starts_with(&format!("{path}: "))
                })
            };
            assert!(output.lines().any(is_it), "{promise}: {place}: {path} is not in\n{output}");
        }
    }
}

const IMAGE: &str = "4f2c1b7d9e8a6350c4d7e1f0a2b3958671d4c8e9f0b1a2736455869778a9bacb";
const MODULE: &str = "0d7ddbd1ffd0e3a76394f5f4f407ae78535732aed9c3c8f057aef263c43e783a";
const LAYER: &str = "278a2200b9c366832f60571221d9c048a48f1c70b4ad40bb93d0543a680db5fe";
const UNKNOWN: &str = "bcab9a8779685546372a1b0f9e8c4d1768593b2a0f1e7d4c0536a8e9d7b1c2f4";

/// The files of a release that say a digest, as `make dist` names and writes them.
fn write_release(folder: &Folder) {
    let blobs = folder.0.join("image/blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for digest in [IMAGE, LAYER] {
        fs::write(blobs.join(digest), "").unwrap();
    }
    fs::write(folder.file("image-digest"), format!("sha256:{IMAGE}\n")).unwrap();
    let line = format!("{MODULE}  authentik-proxy-wasm-1.2.3.wasm\n");
    fs::write(folder.file("authentik-proxy-wasm-1.2.3.wasm.sha256"), line).unwrap();
}

/// A plugin with this address and this digest beside it.
fn pinned(kind: &str, address: &str, digest: &str) -> String {
    let settings = "authentik: {cluster: a, host: https://a.test}, seal: {values: [{env: SEAL}]}, providers: [{\
        assigned_application_slug: app, client_id: app, client_secret: {env: A}, cookie_secret: {env: B}, \
        external_host: https://app.test}]";
    match kind {
        "WasmPlugin" => format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: authentik}}\n\
             spec: {{phase: AUTHN, url: \"{address}\", sha256: \"{digest}\", pluginConfig: {{{settings}}}}}\n"
        ),
        code => format!(
            "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {{name: authentik}}\n\
             spec: {{targetRefs: [{{kind: Gateway, name: web}}], wasm: [{{name: authentik, \
             code: {{{code}: {{url: \"{address}\", sha256: \"{digest}\"}}}}, config: {{{settings}}}}}]}}\n"
        ),
    }
}

#[test]
fn digest_is_held_to_the_release_in_the_same_files() {
    const OCI: &str = "oci://registry.test/authentik-proxy-wasm:v1.2.3";
    const PLAIN: &str = "registry.test/authentik-proxy-wasm:v1.2.3";
    const FILE: &str = "https://downloads.example.com/authentik-proxy-wasm-1.2.3.wasm";
    let folder = Folder::new("digests");
    write_release(&folder);
    for (kind, address, digest, fault) in [
        ("WasmPlugin", OCI, IMAGE, None),
        ("WasmPlugin", PLAIN, IMAGE, None),
        ("WasmPlugin", FILE, MODULE, None),
        ("image", OCI, IMAGE, None),
        ("http", FILE, MODULE, None),
        ("WasmPlugin", OCI, MODULE, Some("is that of the module")),
        ("WasmPlugin", PLAIN, MODULE, Some("is that of the module")),
        ("WasmPlugin", FILE, IMAGE, Some("is that of an image")),
        ("image", PLAIN, MODULE, Some("is that of the module")),
        ("http", FILE, IMAGE, Some("is that of an image")),
        ("WasmPlugin", OCI, LAYER, Some("is that of a part of an image")),
        ("http", FILE, LAYER, Some("is that of a part of an image")),
        ("image", OCI, UNKNOWN, Some("is not that of the release in these files")),
        ("WasmPlugin", FILE, UNKNOWN, Some("is not that of the release in these files")),
    ] {
        fs::write(folder.file("filter.yaml"), pinned(kind, address, digest)).unwrap();
        let (code, output, error) = run(&["check", folder.path()]);
        let filter = folder.file("filter.yaml");
        match fault {
            None => assert_eq!((code, output.as_str()), (0, ""), "{kind} {address} {digest} {error}"),
            Some(what) => {
                assert!(code == 1 && output.lines().count() == 1, "{kind} {address} {digest}: {output}");
                assert!(
                    output.starts_with(&format!("{filter}:4: spec.")) && output.contains(what),
                    "{output}"
                );
            }
        }
        let sums = folder.file("authentik-proxy-wasm-1.2.3.wasm.sha256");
        let named = run(&["check", &filter, &folder.file("image-digest"), &sums]);
        let is_of_a_part = digest == LAYER;
        assert_eq!(named.0, code, "named one by one: {}", named.1);
        assert!(is_of_a_part || named.1 == output, "{}", named.1);
        // Without the release nothing is known of any of them.
        assert_eq!(run(&["check", &filter]), (0, String::new(), String::new()));
    }
}

#[test]
fn digests_alone_are_nothing_to_check() {
    let folder = Folder::new("digests-alone");
    write_release(&folder);
    for place in [folder.path(), &folder.file("image-digest")] {
        let (code, _, error) = run(&["check", place]);
        assert!(code == 2 && error.contains("no configuration of the filter"), "{error}");
    }
}

#[test]
fn chart_in_a_folder_is_left_out_and_said() {
    let folder = Folder::new("chart");
    let chart = folder.0.join("deploy/chart/templates");
    fs::create_dir_all(&chart).unwrap();
    fs::write(chart.join("filter.yaml"), "{{- if true }}\na: b\n").unwrap();
    fs::write(folder.file("deploy/chart/values.yaml"), "authentik: {}\nproviders: []\n").unwrap();
    fs::write(folder.file("deploy/chart/Chart.yaml"), "name: authentik\n").unwrap();
    let (code, output, error) = run(&["check", folder.path()]);
    assert!(code == 2 && output.is_empty(), "a chart alone is nothing to check: {output}{error}");
    fs::write(folder.file("filter.yaml"), pinned("WasmPlugin", "oci://registry.test/a", IMAGE)).unwrap();
    let (code, output, error) = run(&["check", folder.path()]);
    assert!(code == 0 && output.is_empty(), "{output}");
    assert!(error.contains("note: ") && error.contains("chart: is a chart and is left out"), "{error}");
}

#[test]
fn standard_input_is_read_for_a_dash() {
    let text = fs::read_to_string(format!("{DATA}/check/istio-fail-open.yaml")).unwrap();
    let mut child = tool().args(["check", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("-:7: spec.failStrategy: FAIL_OPEN"));
}

/// In a folder a file counts if it looks like a configuration: one with a token has no providers.
#[test]
fn configuration_with_a_token_in_the_place_of_providers_is_found_in_a_folder() {
    let folder = Folder::new("check-token");
    let authentik = |member: &str| {
        format!(
            "{{\"authentik\": {{\"cluster\": \"authentik\", \"host\": \"https://auth.example.com\",\n{member}}}}}\n"
        )
    };
    let file = folder.file("config.json");
    fs::write(&file, authentik("\"token\": {\"env\": \"AUTHENTIK_TOKEN\"}")).unwrap();
    let (code, output, error) = run(&["check", folder.path()]);
    assert_eq!((code, output.as_str(), error.as_str()), (0, "", ""));
    fs::write(&file, authentik("\"token\": {\"env\": \"AUTHENTIK_TOKEN\"}, \"outposts\": 1")).unwrap();
    let (code, output, _) = run(&["check", folder.path()]);
    assert_eq!((code, output.lines().count()), (1, 1), "{output}");
    let fault = "authentik.outposts: is not a known field (did you mean \"outpost\"?)";
    assert!(output.starts_with(&format!("{file}:2: {fault}")), "{output}");
    // Another program's.
    fs::write(&file, "{\"authentik\": {\"url\": \"https://auth.example.com\", \"token\": \"x\"}}").unwrap();
    assert_eq!(run(&["check", folder.path()]).0, 2);
}

#[test]
fn good_configuration_is_named_with_the_digest_that_the_filter_shows() {
    let configuration = include_str!("../../../../tests/data/releases/0.1.0/settings.json");
    let variables = |_: &str| Some("a-variable-of-the-environment-0123456789abcdef".to_owned());
    let config = authentik_proxy_wasm::config::Config::parse(configuration.as_bytes(), &variables).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.json");
    fs::write(&file, configuration).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_authentik-proxy-wasm"))
        .args(["check".as_ref(), file.as_os_str()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let note = format!(
        "authentik-proxy-wasm: note: {}:1: digest of the configuration: {}\n",
        file.display(),
        config.public_digest
    );
    assert_eq!((output.status.code(), said), (Some(0), note));
}

/// In shadow mode the gate stands before the filter; a switched provider has no gate.
#[test]
fn seal_may_be_missing_in_shadow_mode_but_for_switched_providers() {
    let folder = Folder::new("check-shadow");
    let file = folder.file("envoy.yaml");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/shadow/envoy/1-beside.yaml");
    let beside = fs::read_to_string(root).unwrap();
    let shadow = "\"shadow\": {\"gate_header\": \"x-authentik-username\"}";
    for (replaced, is_missing) in [
        (shadow, false),
        ("\"shadow\": {}", false),
        ("\"shadow\": {\"switched\": []}", false),
        ("\"shadow\": {\"switched\": [\"app\"]}", true),
        ("\"shadow\": null", true),
    ] {
        assert!(beside.contains(shadow));
        fs::write(&file, beside.replace(shadow, replaced)).unwrap();
        let (code, output, error) = run(&["check", &file]);
        assert_eq!((code, error.as_str()), (i32::from(is_missing), ""), "{replaced}: {output}");
        assert_eq!(output.contains("configuration.seal: is missing"), is_missing, "{replaced}: {output}");
    }
}

/// The seal of a switched host is asked for at that host alone: the others have their gate.
#[test]
fn seal_may_be_for_some_hosts_in_shadow_mode() {
    let folder = Folder::new("check-shadow-hosts");
    let file = folder.file("istio.yaml");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/shadow/istio/2-one-host.yaml");
    let shadow = "    shadow: {gate_header: x-authentik-username, switched: [app]}\n";
    let one_host = fs::read_to_string(root).unwrap();
    assert!(one_host.contains(shadow));
    let what = "has a further condition";
    for (text, is_fault) in [(one_host.clone(), false), (one_host.replace(shadow, ""), true)] {
        fs::write(&file, text).unwrap();
        let (code, output, _) = run(&["check", &file]);
        // The placeholders are faults in both.
        assert_eq!((code, output.contains(what)), (1, is_fault), "{output}");
    }
}
