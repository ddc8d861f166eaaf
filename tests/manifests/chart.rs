//! The Helm chart makes the objects of the overlays. What Helm renders of it, with the values in `tests/data/chart/values`, is
//! committed in `tests/data/chart/rendered`, with the notes of each step: only the tests that are ignored need Helm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use authentik_proxy_wasm::config::Config;
use authentik_proxy_wasm::config::table::describe::{Kind, all};
use local_envoy::module::root;
use serde_json::{Value, json};

use super::rendered::digest;
use super::schema::Schemas;
use super::{Overlay, objects_of, overlays, sorted};

/// What the values of the tests have instead of the overlays' placeholders, which the chart refuses.
const SEAL: &str = "8183e62ddd125f3b12fef6dc79d15d387f6bcfc9b414a122d99ff04bb8e5ec71";
const DIGEST: &str = "f2b3e39763e9250abca33fc7bf8c1877637744bd7477c313b0c9acca8d6d62d4";

/// Folder of values that no overlay has: the providers come from authentik. Beside it is what Helm renders of them.
const FROM_AUTHENTIK: &str = "from-authentik";

fn chart() -> PathBuf {
    root().join("deploy/chart")
}

fn data() -> PathBuf {
    root().join("tests/data/chart")
}

fn values(overlay: &str) -> PathBuf {
    data().join(format!("values/{overlay}.yaml"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_yaml(name: &str) -> Value {
    serde_yaml_ng::from_str(&read(&chart().join(name))).expect("YAML")
}

fn sources() -> String {
    digest(&[chart(), data().join("values"), data().join(FROM_AUTHENTIK)])
}

/// `prepare`, and the objects that step 1 adds; and so on.
fn steps(overlay: &Overlay) -> impl Iterator<Item = (&str, &[Value])> {
    overlay.steps.iter().map(|step| (step.name.split_once('-').unwrap().1, step.objects.as_slice()))
}

/// As a set: Helm sorts objects by kind.
fn set<'a>(objects: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    objects.into_iter().map(Value::to_string).collect()
}

/// What Helm rendered, in the overlays' words.
fn objects(rendered: &str) -> Vec<Value> {
    let text = rendered.replace(SEAL, "the value of AUTHENTIK_SEAL").replace(DIGEST, &"0".repeat(64));
    let mut objects = objects_of(&text);
    for object in &mut objects {
        if object["kind"] == "AuthorizationPolicy" && object["metadata"]["name"] == "authentik-seal" {
            // With the filter gone the gateway stays closed.
            let annotations = object["metadata"].as_object_mut().unwrap().remove("annotations");
            assert_eq!(annotations, Some(json!({"helm.sh/resource-policy": "keep"})));
        }
    }
    objects
}

/// The overlay's objects, but for the Deployment of a classic gateway: it belongs to the release of Istio's own chart.
fn is_of_the_chart(object: &&Value) -> bool {
    object["kind"] != "Deployment"
}

fn rendered(overlay: &str) -> String {
    read(&data().join(format!("rendered/{overlay}.yaml")))
}

fn notes(overlay: &str, step: &str) -> String {
    let text = read(&data().join(format!("rendered/{overlay}.txt")));
    let (_, rest) = text.split_once(&format!("--- {step}\n")).expect("the step");
    rest.split("\n--- ").next().unwrap().to_owned()
}

#[test]
fn renderings_are_as_old_as_their_sources() {
    let written = read(&data().join("sources.sha256"));
    assert_eq!(
        written.trim(),
        sources(),
        "the chart or its values have changed: MANIFESTS=write make manifests"
    );
    let names = |folder: &str, suffix: &str| -> BTreeSet<String> {
        let paths = ["envoy-gateway", "istio"].map(|project| sorted(&data().join(folder).join(project)));
        let names = paths.iter().flatten().map(|path| path.strip_prefix(data().join(folder)).unwrap());
        names.filter_map(|it| it.to_str().unwrap().strip_suffix(suffix).map(str::to_owned)).collect()
    };
    let overlays: BTreeSet<_> = overlays().into_iter().map(|overlay| overlay.name).collect();
    for (folder, suffix) in [("values", ".yaml"), ("rendered", ".yaml"), ("rendered", ".txt")] {
        assert_eq!(names(folder, suffix), overlays, "{folder}/*{suffix}");
    }
}

#[test]
fn chart_makes_the_objects_of_every_overlay() {
    for overlay in overlays() {
        let made = objects(&rendered(&overlay.name));
        assert_eq!(set(&made), set(overlay.objects().filter(is_of_the_chart)), "{}", overlay.name);
        let left_out = usize::from(overlay.name.ends_with("-classic"));
        assert_eq!(made.len() + left_out, overlay.objects().count(), "{}", overlay.name);
    }
}

/// With a token the filter needs no providers, and gets no variable but that of the token and that of the seal.
#[test]
fn chart_makes_a_configuration_with_a_token_and_no_providers() {
    let objects = objects_of(&read(&data().join(format!("{FROM_AUTHENTIK}.yaml"))));
    let plugin = objects.iter().find(|object| object["kind"] == "WasmPlugin").expect("the filter");
    let variables: Vec<_> = plugin["spec"]["vmConfig"]["env"].as_array().unwrap().iter().collect();
    let names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["AUTHENTIK_TOKEN", "AUTHENTIK_SEAL"]);
    assert!(variables.iter().all(|variable| variable["valueFrom"] == "HOST"), "{variables:?}");
    let configuration = &plugin["spec"]["pluginConfig"];
    assert_eq!(configuration["authentik"]["token"], json!({"env": "AUTHENTIK_TOKEN"}));
    let value =
        |name: &str| names.contains(&name).then(|| format!("the-value-of-{name}-which-is-long-enough"));
    let config = Config::parse(configuration.to_string().as_bytes(), &value).expect("a good configuration");
    assert!(config.outpost.is_some() && config.providers.is_empty());
    let schemas = Schemas::of(&["istio-1.31-head", "gateway-api-of-envoy-gateway-1.10-head"]);
    for object in &objects {
        assert_eq!(schemas.faults(object), [""; 0]);
    }
}

/// As Helm renders them, annotation and all.
#[test]
fn every_object_of_the_chart_is_valid() {
    for overlay in overlays() {
        let project = if overlay.is_istio() { "istio-1.31-head" } else { "envoy-gateway-1.10-head" };
        let schemas = Schemas::of(&[project, "gateway-api-of-envoy-gateway-1.10-head"]);
        for object in objects_of(&rendered(&overlay.name)) {
            assert_eq!(schemas.faults(&object), [""; 0], "{}", overlay.name);
        }
    }
}

/// No value of a secret in an object, but for the seal in the object that compares it.
#[test]
fn seal_s_value_is_in_the_policy_only() {
    for overlay in overlays() {
        let policy = if overlay.is_istio() { "AuthorizationPolicy" } else { "HTTPRoute" };
        let objects = objects_of(&rendered(&overlay.name));
        let with_seal: Vec<_> = objects.iter().filter(|object| object.to_string().contains(SEAL)).collect();
        assert_eq!(with_seal.len(), 1, "{}", overlay.name);
        assert_eq!(with_seal[0]["kind"], policy, "{}", overlay.name);
        assert!(objects.iter().all(|object| object["kind"] != "Secret"), "{}", overlay.name);
        for (step, _) in steps(&overlay) {
            assert!(!notes(&overlay.name, step).contains(SEAL), "{}: {step}", overlay.name);
        }
    }
}

/// What is between the line that begins so and the next blank line.
fn block(text: &str, first: &str) -> Option<Value> {
    let lines: Vec<_> = text
        .lines()
        .skip_while(|line| line.trim_start() != first)
        .take_while(|line| !line.trim().is_empty())
        .collect();
    (!lines.is_empty()).then(|| serde_yaml_ng::from_str(&(lines.join("\n") + "\n")).expect("YAML"))
}

#[test]
fn notes_give_a_classic_gateway_what_the_overlay_gives_its_deployment() {
    let mut count = 0;
    for overlay in overlays() {
        let values = block(&notes(&overlay.name, "prepare"), "envVarFrom:");
        let Some(deployment) = overlay.of_kind("Deployment").next() else {
            assert_eq!(values, None, "{}", overlay.name);
            continue;
        };
        let pod = &deployment["spec"]["template"];
        let mut expected = json!({"envVarFrom": pod["spec"]["containers"][0]["env"]});
        if let Some(annotations) = pod["metadata"].get("annotations") {
            expected["podAnnotations"] = annotations.clone();
        }
        assert_eq!(values, Some(expected), "{}", overlay.name);
        count += 1;
    }
    assert_eq!(count, 3);
}

/// The checks are those of `deploy/README.md`, word by word.
#[test]
fn notes_have_the_checks_of_every_step() {
    let joined = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let page: BTreeSet<_> = read(&root().join("deploy/README.md")).lines().map(joined).collect();
    for overlay in overlays() {
        for (step, _) in steps(&overlay) {
            let notes = notes(&overlay.name, step);
            let commands: Vec<_> = notes
                .lines()
                .map(joined)
                .filter(|line| {
                    line.starts_with("curl ") || line.contains(" wait ") || line.contains("envoypatchpolicy")
                })
                .collect();
            for command in &commands {
                assert!(
                    page.contains(command),
                    "{}: {step}: {command} is not in deploy/README.md",
                    overlay.name
                );
            }
            let expected = match step {
                "prepare" if overlay.is_istio() => 0,
                "filter" => 2,
                _ => 1,
            };
            assert_eq!(commands.len(), expected, "{}: {step}: {commands:?}", overlay.name);
            let next = match step {
                "prepare" => Some("step=seal"),
                "seal" => Some("step=filter"),
                "filter" if overlay.name.contains("/reload-") => Some("step=reload"),
                _ => None,
            };
            let named = notes.lines().find(|line| line.contains("helm upgrade"));
            assert_eq!(named.is_some(), next.is_some(), "{}: {step}", overlay.name);
            assert!(named.is_none_or(|line| line.ends_with(next.unwrap())), "{}: {step}", overlay.name);
        }
    }
}

/// Each value with what it is for, from the lines that begin with `# --`.
fn table() -> String {
    let mut rows = String::from("| value | default | |\n|---|---|---|\n");
    let (mut path, mut meaning): (Vec<(usize, &str)>, Option<&str>) = (Vec::new(), None);
    let text = read(&chart().join("values.yaml"));
    let defaults = read_yaml("values.yaml");
    for line in text.lines() {
        let (indent, line) = (line.len() - line.trim_start().len(), line.trim_start());
        if let Some(text) = line.strip_prefix("# -- ") {
            meaning = Some(text);
        } else if let Some((name, _)) = line.split_once(':').filter(|_| !line.starts_with('#')) {
            path.retain(|(outer, _)| *outer < indent);
            path.push((indent, name));
            let Some(meaning) = meaning.take() else { continue };
            let names: Vec<_> = path.iter().map(|(_, name)| *name).collect();
            let default = &defaults.pointer(&format!("/{}", names.join("/"))).expect("a value");
            let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            let default = if default.is_empty() { "–".to_owned() } else { format!("`{default}`") };
            rows.push_str(&format!("| `{}` | {default} | {meaning} |\n", names.join(".")));
        }
    }
    rows
}

#[test]
fn readme_has_the_table_of_values_yaml() {
    assert_eq!(table_of_the_readme(), table(), "MANIFESTS=write make manifests");
}

fn table_of_the_readme() -> String {
    let readme = read(&chart().join("README.md"));
    readme.split_once("## Values\n\n").expect("the section").1.to_owned()
}

/// The paths of all leaves.
fn leaves(value: &Value, path: &str) -> BTreeSet<String> {
    match value {
        Value::Object(fields) if !fields.is_empty() && path != "/gateway/labels" => {
            fields.iter().flat_map(|(name, value)| leaves(value, &format!("{path}/{name}"))).collect()
        }
        _ => BTreeSet::from([path.to_owned()]),
    }
}

/// The paths of all values that a schema names, lists and free objects as one.
fn named(schema: &Value, path: &str) -> BTreeSet<String> {
    match schema["properties"].as_object() {
        Some(properties) if path != "/settings" => {
            assert_eq!(schema["additionalProperties"], false, "{path}");
            properties.iter().flat_map(|(name, schema)| named(schema, &format!("{path}/{name}"))).collect()
        }
        _ => BTreeSet::from([path.to_owned()]),
    }
}

#[test]
fn schema_names_every_value_and_allows_no_other() {
    let mut known = named(&read_yaml("values.schema.json"), "");
    assert!(known.remove("/global"));
    let defaults = leaves(&read_yaml("values.yaml"), "");
    assert_eq!(known, defaults);
    let rows: BTreeSet<_> = table()
        .lines()
        .skip(2)
        .map(|row| format!("/{}", row.split('`').nth(1).unwrap().replace('.', "/")))
        .collect();
    assert_eq!(rows, defaults);
}

#[test]
fn schema_has_the_settings_of_the_filter() {
    // Of each object of settings, the provider's, and the rest.
    let mut groups = BTreeMap::<String, BTreeSet<String>>::new();
    let (mut settings, mut provider) = (BTreeSet::new(), BTreeSet::new());
    for (path, row) in all() {
        match path.split_once('.') {
            // An object comes with its first setting.
            None if row.fields().next().is_none() => _ = settings.insert(path),
            None => {}
            // Those of the providers, once more.
            Some(("provider_defaults" | "provider_overrides", _)) => {
                settings.insert(path.split('.').next().unwrap().to_owned());
            }
            Some(_) if matches!(row.describe().kind, Kind::Unused) => {}
            Some(("providers[]", field)) => _ = provider.insert(field.split('.').next().unwrap().to_owned()),
            Some((group, field)) => {
                let field = field.split('.').next().unwrap();
                _ = groups.entry(group.to_owned()).or_default().insert(field.to_owned());
            }
        }
    }
    // The chart's own values have these.
    assert!(groups.remove("seal").is_some());
    let calls = groups.get_mut("authentik").unwrap();
    assert!(calls.remove("cluster") && calls.remove("host"));
    let schema = read_yaml("values.schema.json");
    let keys = |pointer: &str| -> BTreeSet<String> {
        let object = schema.pointer(pointer).unwrap();
        assert_eq!(object["additionalProperties"], false);
        object["properties"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys("/properties/providers/items"), provider);
    settings.extend(groups.keys().cloned());
    assert_eq!(keys("/properties/settings"), settings);
    for (group, names) in &groups {
        assert_eq!(&keys(&format!("/properties/settings/properties/{group}")), names, "{group}");
    }
    assert!(provider.len() > 15 && settings.len() > 8 && groups.len() == 6);
}

#[test]
fn chart_s_page_on_artifact_hub_names_the_image() {
    let (chart, values) = (read_yaml("Chart.yaml"), read_yaml("values.yaml"));
    let text = |name: &str| chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap();
    let images: Value = serde_yaml_ng::from_str(text("images")).unwrap();
    let (repository, version) =
        (values["image"]["repository"].as_str().unwrap(), chart["appVersion"].as_str().unwrap());
    assert_eq!(images, json!([{"name": chart["name"], "image": format!("{repository}:{version}")}]));
    let changes: Value = serde_yaml_ng::from_str(text("changes")).unwrap();
    assert!(
        changes.as_array().unwrap().iter().all(|it| it["kind"].is_string() && it["description"].is_string())
    );
    assert_eq!(format!("v{}", chart["version"].as_str().unwrap()), version);
    assert_eq!(text("license"), "Apache-2.0");
}

/// Helm's output, or what it complains of. Asks no cluster.
fn helm(arguments: &[&str]) -> Result<String, String> {
    let program = std::env::var("HELM").expect("HELM names the program");
    let output =
        Command::new(program).args(arguments).env("KUBECONFIG", "/dev/null").output().expect("Helm runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr) + &text(&output.stdout))
    }
}

fn template(chart: &Path, overlay: &str, more: &[&str]) -> Result<String, String> {
    template_of(chart, &values(overlay), more)
}

fn template_of(chart: &Path, values: &Path, more: &[&str]) -> Result<String, String> {
    let (chart, values) = (chart.to_str().unwrap().to_owned(), values.to_str().unwrap().to_owned());
    helm(&[["template", "authentik", &chart, "--values", &values].as_slice(), more].concat())
}

/// A copy of the chart that has the notes for its one manifest: without a cluster Helm shows them otherwise to nobody.
fn chart_of_notes() -> PathBuf {
    let copy = std::env::temp_dir().join(format!("chart-of-notes-{}", std::process::id()));
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(copy.join("templates")).unwrap();
    for file in ["Chart.yaml", "values.yaml", "values.schema.json", "templates/_helpers.tpl"] {
        fs::copy(chart().join(file), copy.join(file)).unwrap();
    }
    fs::copy(chart().join("templates/NOTES.txt"), copy.join("notes.txt")).unwrap();
    fs::write(copy.join("templates/notes.yaml"), "notes: {{ tpl (.Files.Get \"notes.txt\") . | toJson }}\n")
        .unwrap();
    copy
}

/// `make manifests`. With `MANIFESTS=write` it replaces what is committed.
#[test]
#[ignore = "needs Helm: make manifests"]
fn helm_makes_of_every_overlay_s_values_what_is_committed() {
    let is_writing = std::env::var("MANIFESTS").is_ok_and(|it| it == "write");
    if is_writing {
        let _ = fs::remove_dir_all(data().join("rendered"));
        let readme = read(&chart().join("README.md"));
        let text = readme.replace(&table_of_the_readme(), "") + &table();
        fs::write(chart().join("README.md"), text).unwrap();
        fs::write(data().join("sources.sha256"), format!("{}\n", sources())).unwrap();
    }
    let chart_of_notes = chart_of_notes();
    let mut count = 0;
    for overlay in overlays() {
        let (mut expected, mut last, mut notes) = (BTreeSet::new(), String::new(), String::new());
        for (step, objects_of_the_step) in steps(&overlay) {
            let step_is = format!("gitops=true,step={step}");
            last = template(&chart(), &overlay.name, &["--set", &step_is]).unwrap();
            expected.extend(set(objects_of_the_step.iter().filter(is_of_the_chart)));
            assert_eq!(set(&objects(&last)), expected, "{}: {step}", overlay.name);
            let text = template(&chart_of_notes, &overlay.name, &["--set", &step_is]).unwrap();
            let text = objects_of(&text)[0]["notes"].as_str().unwrap().to_owned();
            assert!(!text.contains("<no value>") && !text.contains("%!"), "{}: {text}", overlay.name);
            notes += &format!("--- {step}\n{}\n", text.trim());
            let (chart, values) = (chart(), values(&overlay.name));
            let lint = ["lint", "--strict", chart.to_str().unwrap(), "--values", values.to_str().unwrap()];
            let linted = helm(&[lint.as_slice(), &["--set", &step_is]].concat()).unwrap();
            assert!(linted.contains("0 chart(s) failed"), "{linted}");
            count += 1;
        }
        for (suffix, text) in [("yaml", &last), ("txt", &notes)] {
            let file = data().join(format!("rendered/{}.{suffix}", overlay.name));
            if is_writing {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, text).unwrap();
            }
            assert_eq!(text, &read(&file), "{}: MANIFESTS=write make manifests", file.display());
        }
    }
    fs::remove_dir_all(chart_of_notes).unwrap();
    let values = data().join(FROM_AUTHENTIK).join("values.yaml");
    let text = template_of(&chart(), &values, &["--set", "gitops=true,step=filter"]).unwrap();
    let file = data().join(format!("{FROM_AUTHENTIK}.yaml"));
    if is_writing {
        fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, read(&file), "{}: MANIFESTS=write make manifests", file.display());
    println!("{count} steps of the chart are as committed");
}

/// What would leave a gateway open, or a pod without what it needs, is an error before anything is applied.
#[test]
#[ignore = "needs Helm: make manifests"]
fn helm_refuses_values_that_would_not_do() {
    let (classic, gateway, eg) =
        ("istio/wasmplugin-classic", "istio/istio-1.31-gateway-api", "envoy-gateway/bootstrap-cluster");
    let refused: &[(&str, &str, &str)] = &[
        (classic, "platform=", "platform is required"),
        (classic, "step=", "step is required"),
        (classic, "step=4", "/step"),
        (classic, "gitops=false", "a first installation has step prepare"),
        (eg, "gitops=false", "a first installation has step prepare"),
        (classic, "settings.shadow.gate_header=x-authentik-uid", "settings.shadow: the chart's steps ask"),
        (eg, "settings.shadow.switched={app}", "settings.shadow: the chart's steps ask"),
        (classic, "seal.values=null", "seal.values is required"),
        (eg, "seal.values=null", "seal.values is required"),
        (classic, "seal.values={*}", "seal/values/0"),
        (classic, "seal.values={0123456789abcdef*}", "seal/values/0"),
        (classic, "seal.values={the value of AUTHENTIK_SEAL}", "seal/values/0"),
        (eg, "seal.values={0123456789abcde}", "seal/values/0"),
        (classic, "seal.variable=SEAL", "SEAL is none of secret.variables"),
        (classic, "seal.valeus={}", "valeus"),
        (classic, "plattform=istio", "plattform"),
        (classic, "settings.cahce.ttl_seconds=1", "cahce"),
        (classic, "settings.cache.ttl=1", "/settings/cache"),
        (classic, "settings.seal.values={0123456789abcdef}", "'seal'"),
        (
            classic,
            "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "is the placeholder",
        ),
        (eg, "image.digest=latest", "image/digest"),
        (classic, "providers=null", "providers, or settings.authentik.token, is required"),
        (
            classic,
            "providers=null,settings.authentik.token.env=AUTHENTIK_TOKEN",
            "settings.authentik.token: AUTHENTIK_TOKEN is none of secret.variables",
        ),
        (classic, "settings.authentik.token=hunter2", "/settings/authentik/token"),
        (classic, "providers[0].client_secret=hunter2", "providers/0/client_secret"),
        (classic, "providers[0].cookie_secret=hunter2", "providers/0/cookie_secret"),
        (classic, "providers[0].client_secret.env=OTHER", "OTHER is none of secret.variables"),
        (classic, "providers[0].cookie_secret[0].env=OTHER", "OTHER is none of secret.variables"),
        (
            classic,
            "providers[1].assigned_application_slug=b,providers[1].client_id=b,providers[1].external_host=https://b.example.com",
            "has no client_secret, and there are several providers",
        ),
        (classic, "step=reload", "step reload is Envoy Gateway's"),
        (eg, "step=reload", "envoyGateway.reload.listeners is required"),
        (classic, "gateway.labels=null", "gateway.labels is required"),
        (classic, "gateway.namespace=", "gateway.namespace is required"),
        (classic, "application.labels=null", "application.labels is required"),
        (classic, "application.namespace=", "application.namespace is required"),
        (classic, "authentik.hostname=", "authentik.hostname is required"),
        (classic, "istio.limits=connectionSettings", "goes with istio.filter: TrafficExtension"),
        (gateway, "application.hostnames=null", "application.hostnames is required"),
        (gateway, "gateway.certificate=", "gateway.certificate is required"),
        (eg, "gateway.kind=classic", "Envoy Gateway knows gateway-api only"),
        (eg, "application.namespace=app", "the application's route is in gateway.namespace"),
        ("istio/waypoint", "gateway.namespace=other", "a waypoint is in application.namespace"),
        (
            "istio/waypoint",
            "application.service.name=",
            "application.service.name is required with a waypoint",
        ),
    ];
    for (overlay, wrong, message) in refused {
        let arguments = ["--set", "step=filter,gitops=true", "--set", wrong];
        let error = template(&chart(), overlay, &arguments).expect_err(wrong);
        assert!(error.contains(message), "{overlay}, {wrong}: {message} is not in\n{error}");
    }
    println!("{} kinds of wrong values are refused", refused.len());
}

#[test]
#[ignore = "needs Helm: make manifests"]
fn helm_s_options_change_what_they_are_for_and_nothing_else() {
    let by_name = |overlay: &str, set: &str| -> BTreeMap<String, Value> {
        let arguments = ["--set", "step=filter,gitops=true", "--set", set];
        let objects = objects_of(&template(&chart(), overlay, &arguments).unwrap());
        let name = |it: &Value| {
            format!("{} {}", it["kind"].as_str().unwrap(), it["metadata"]["name"].as_str().unwrap())
        };
        objects.into_iter().map(|object| (name(&object), object)).collect()
    };
    // Another object for each option; without an object it is gone.
    let cases: &[(&str, &str, &str, &str, Value)] = &[
        ("istio/istio-1.31-gateway-api", "gateway.create=false", "Gateway web", "", Value::Null),
        ("envoy-gateway/bootstrap-cluster", "gateway.create=false", "Gateway web", "", Value::Null),
        (
            "istio/wasmplugin-classic",
            "seal.values={0123456789abcdef,fedcba9876543210}",
            "AuthorizationPolicy authentik-seal",
            "/spec/rules/0/when/0/notValues",
            json!(["0123456789abcdef", "fedcba9876543210"]),
        ),
        (
            "envoy-gateway/bootstrap-cluster",
            "seal.values={0123456789abcdef,fedcba9876543210}",
            "HTTPRoute app",
            "/spec/rules/0/matches/1/headers/0/value",
            json!("fedcba9876543210"),
        ),
        (
            "istio/wasmplugin-classic",
            "settings.cache.ttl_seconds=31622400",
            "WasmPlugin authentik",
            "/spec/pluginConfig/cache/ttl_seconds",
            json!(31_622_400),
        ),
        (
            "istio/wasmplugin-classic",
            "settings.throttle.trust_source_address=false",
            "WasmPlugin authentik",
            "/spec/pluginConfig/throttle/trust_source_address",
            json!(false),
        ),
        (
            "istio/wasmplugin-classic",
            "istio.trustDomain=example.org",
            "AuthorizationPolicy app-from-the-gateway-only",
            "/spec/rules/0/from/0/source/principals/0",
            json!("example.org/ns/istio-ingress/sa/istio-ingressgateway"),
        ),
    ];
    for (overlay, set, name, pointer, expected) in cases {
        let (mut before, mut after) = (by_name(overlay, "step=filter"), by_name(overlay, set));
        let (old, new) = (before.remove(*name).unwrap(), after.remove(*name));
        assert_eq!(before, after, "{overlay}: {set}");
        assert_ne!(Some(old), new, "{overlay}: {set}");
        let found = new.as_ref().and_then(|object| object.pointer(pointer)).unwrap_or(&Value::Null);
        assert_eq!(found, expected, "{overlay}: {set}");
    }
}

/// What a cluster's API says of the seal's policy, to who asks nothing else.
fn api_server(seal: Option<Value>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let resource = json!({"name": "authorizationpolicies", "singularName": "", "namespaced": true, "kind": "AuthorizationPolicy", "verbs": ["get"]});
    let group = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "security.istio.io/v1", "resources": [resource]});
    let nothing =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let object = match request.split(' ').nth(1).and_then(|path| path.split('?').next()) {
                Some("/apis/security.istio.io/v1") => Some(&group),
                Some(
                    "/apis/security.istio.io/v1/namespaces/istio-ingress/authorizationpolicies/authentik-seal",
                ) => seal.as_ref(),
                _ => None,
            };
            let status = if object.is_some() { "200 OK" } else { "404 Not Found" };
            let body = object.unwrap_or(&nothing).to_string();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    url
}

/// Istio's gateway would be open until the module is fetched.
#[test]
#[ignore = "needs Helm: make manifests"]
fn helm_adds_istio_s_filter_only_where_the_seal_is_in_the_cluster() {
    let upgrade = |step: &str, server: &str| {
        let step = format!("step={step}");
        let arguments = ["--is-upgrade", "--set", &step, "--dry-run=server", "--kube-apiserver", server];
        template(&chart(), "istio/wasmplugin-classic", &arguments)
    };
    let overlay = Overlay::read("istio/wasmplugin-classic");
    let seal = overlay.object("AuthorizationPolicy", "authentik-seal");
    let (with, without) = (api_server(Some(seal.clone())), api_server(None));
    assert!(upgrade("filter", &with).unwrap().contains("kind: WasmPlugin"));
    let error = upgrade("filter", &without).unwrap_err();
    assert!(error.contains("the seal is not in the cluster"), "{error}");
    assert!(upgrade("seal", &without).unwrap().contains("name: authentik-seal"));
    // Nor where there is nobody to ask.
    let error = template(&chart(), &overlay.name, &["--is-upgrade", "--set", "step=filter"]).unwrap_err();
    assert!(error.contains("the seal is not in the cluster"), "{error}");
}
