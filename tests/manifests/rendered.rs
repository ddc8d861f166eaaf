//! What is committed below `tests/data/manifests` is what Kustomize makes of `deploy/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use local_envoy::module::root;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{folders, objects_of, renderings, sorted};

/// The steps of an overlay, folder by folder.
fn steps(overlay: &str) -> Vec<PathBuf> {
    let (project, name) = overlay.split_once('/').unwrap();
    let paths = sorted(&root().join("deploy").join(project).join("overlays").join(name));
    paths.into_iter().filter(|path| path.is_dir()).collect()
}

fn rendering(overlay: &str, step: &Path) -> PathBuf {
    let name = step.file_name().unwrap().to_str().unwrap();
    renderings().join(overlay).join(format!("{name}.yaml"))
}

/// One digest over all files that Kustomize reads.
fn sources() -> String {
    digest(&["envoy-gateway", "istio"].map(|project| root().join("deploy").join(project)))
}

/// One digest over all files in these folders.
pub(super) fn digest(folders: &[PathBuf]) -> String {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for path in sorted(folder) {
            if path.is_dir() {
                files(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    folders.iter().for_each(|folder| files(folder, &mut found));
    let mut digest = Sha256::new();
    for path in found {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let content = fs::read(&path).unwrap();
        digest.update(format!("{name}\0{}\0", content.len()));
        digest.update(content);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Without Go it is seen, too, that somebody changed a manifest and did not render it.
#[test]
fn renderings_are_as_old_as_their_sources() {
    let written = fs::read_to_string(renderings().join("sources.sha256")).unwrap_or_default();
    assert_eq!(written.trim(), sources(), "deploy/ has changed: MANIFESTS=write make manifests");
    let mut expected: BTreeSet<_> = folders()
        .iter()
        .flat_map(|it| steps(it).iter().map(|step| rendering(it, step)).collect::<Vec<_>>())
        .collect();
    for project in ["envoy-gateway", "istio"] {
        for path in sorted(&renderings().join(project)).iter().flat_map(|overlay| sorted(overlay)) {
            assert!(expected.remove(&path), "{}: of no overlay", path.display());
        }
    }
    assert!(expected.is_empty(), "not rendered: {expected:?}");
}

/// `make manifests`. With `MANIFESTS=write` it replaces what is committed.
#[test]
#[ignore = "needs Kustomize: make manifests"]
fn kustomize_makes_of_every_overlay_what_is_committed() {
    let is_writing = std::env::var("MANIFESTS").is_ok_and(|it| it == "write");
    let kustomize = std::env::var("KUSTOMIZE").expect("KUSTOMIZE names the program");
    let build = |folder: &Path| {
        let output = Command::new(&kustomize).arg("build").arg(folder).output().expect("Kustomize runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && errors.is_empty(), "{}: {errors}", folder.display());
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    if is_writing {
        for project in ["envoy-gateway", "istio"] {
            let _ = fs::remove_dir_all(renderings().join(project));
        }
        fs::create_dir_all(renderings()).unwrap();
        fs::write(renderings().join("sources.sha256"), format!("{}\n", sources())).unwrap();
    }
    let mut count = 0;
    for overlay in folders() {
        let mut objects = Vec::new();
        for step in steps(&overlay) {
            let (built, file) = (build(&step), rendering(&overlay, &step));
            if is_writing {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, &built).unwrap();
            }
            let committed = fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(built, committed, "{}: MANIFESTS=write make manifests", file.display());
            objects.extend(objects_of(&built));
            count += 1;
        }
        // The whole overlay is its steps and nothing else.
        let all = build(steps(&overlay)[0].parent().unwrap());
        let texts = |objects: Vec<Value>| objects.iter().map(Value::to_string).collect::<BTreeSet<_>>();
        assert_eq!(texts(objects_of(&all)), texts(objects), "{overlay}");
    }
    println!("{} overlays in {count} steps are as committed", folders().len());
}
