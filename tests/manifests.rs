//! The manifests of `deploy/`, as far as they can be held without a cluster. Reads what Kustomize makes of them, which is
//! committed below `tests/data/manifests`: no test here needs Go. [`rendered`] holds that to `deploy/`, [`schema`] and
//! [`versions`] to the schemas of every supported version, [`objects`] to one another and to the filter, [`telemetry`] to what the filter shows of itself; [`shadow`] is about moving over, [`chart`] holds the
//! Helm chart to them. What they add to Envoy is in `envoy::deployed`.

mod chart;
mod objects;
mod rendered;
mod schema;
mod shadow;
mod telemetry;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};

use local_envoy::module::root;
use serde::Deserialize as _;
use serde_json::Value;

/// One folder of `deploy/…/overlays`, rendered.
pub(crate) struct Overlay {
    /// `istio/wasmplugin-classic`.
    pub(crate) name: String,
    steps: Vec<Step>,
}

/// What is applied at once.
struct Step {
    /// `2-seal`.
    name: String,
    objects: Vec<Value>,
}

impl Overlay {
    pub(crate) fn read(name: &str) -> Self {
        let files = sorted(&renderings().join(name));
        let step = |path: PathBuf| Step {
            name: path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned(),
            objects: objects_of(&fs::read_to_string(path).expect("a rendering")),
        };
        Self { name: name.to_owned(), steps: files.into_iter().map(step).collect() }
    }

    fn is_istio(&self) -> bool {
        self.name.starts_with("istio/")
    }

    fn objects(&self) -> impl Iterator<Item = &Value> {
        self.steps.iter().flat_map(|step| &step.objects)
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects().filter(move |object| object["kind"] == kind)
    }

    /// The object of this kind and name.
    pub(crate) fn object<'a>(&'a self, kind: &'a str, name: &str) -> &'a Value {
        let mut found = self.of_kind(kind).filter(|object| object["metadata"]["name"] == name);
        let object = found.next().unwrap_or_else(|| panic!("{}: no {kind} {name}", self.name));
        assert!(found.next().is_none(), "{}: two of {kind} {name}", self.name);
        object
    }

    /// The one object that puts the filter into a proxy.
    fn filter(&self) -> &Value {
        let kinds = ["WasmPlugin", "TrafficExtension", "EnvoyExtensionPolicy"];
        let mut found = kinds.iter().flat_map(|kind| self.of_kind(kind));
        let object = found.next().unwrap_or_else(|| panic!("{}: no filter", self.name));
        assert!(found.next().is_none(), "{}: two filters", self.name);
        object
    }

    /// That object's part about the module.
    fn plugin(&self) -> &Value {
        let filter = self.filter();
        match filter["kind"].as_str() {
            Some("WasmPlugin") => &filter["spec"],
            Some("TrafficExtension") => &filter["spec"]["wasm"],
            _ => &filter["spec"]["wasm"][0],
        }
    }

    /// The filter's configuration.
    pub(crate) fn configuration(&self) -> &Value {
        &self.plugin()[if self.is_istio() { "pluginConfig" } else { "config" }]
    }
}

/// All overlays.
fn overlays() -> Vec<Overlay> {
    let overlays: Vec<_> = folders().iter().map(|folder| Overlay::read(folder)).collect();
    assert_eq!(overlays.len(), 12);
    overlays
}

/// Their names, from `deploy/`.
fn folders() -> Vec<String> {
    let of = |project: &str| -> Vec<String> {
        let folders = sorted(&root().join("deploy").join(project).join("overlays"));
        let name = |path: &PathBuf| path.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
        folders.iter().map(|path| format!("{project}/{}", name(path))).collect()
    };
    [of("envoy-gateway"), of("istio")].concat()
}

fn objects_of(text: &str) -> Vec<Value> {
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    documents.map(|document| Value::deserialize(document).expect("YAML")).collect()
}

fn renderings() -> PathBuf {
    root().join("tests/data/manifests")
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}
