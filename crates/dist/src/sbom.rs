//! The list of parts (SBOM) as CycloneDX 1.5.
//!
//! It has no serial number, which would be random.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{Dependency, Digest, Release};

/// Of this release, whose module has this digest.
pub(crate) fn of(release: &Release, module: &Digest) -> Result<Vec<u8>> {
    let filter = release.dependencies.filter();
    let mut component = common("application", filter);
    component["hashes"] = sum(module.hex());
    let parts: Vec<_> = release.dependencies.crates().map(part).collect();
    let all = release.dependencies.crates().chain([filter]);
    let needs: Vec<_> = all.map(|dependency| needs(release, dependency)).collect();
    let bom = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": release.source.created,
            "component": component,
            // The standard library is no crate of the lock file, and comes with the compiler.
            "properties": [{"name": "authentik-proxy-wasm:rustc", "value": compiler()?}],
        },
        "components": parts,
        "dependencies": needs,
    });
    let mut text = serde_json::to_vec_pretty(&bom)?;
    text.push(b'\n');
    Ok(text)
}

fn common(kind: &str, dependency: &Dependency) -> Value {
    json!({
        "type": kind,
        "bom-ref": dependency.purl(),
        "name": dependency.name,
        "version": dependency.version.to_string(),
        "licenses": [{"expression": dependency.licence}],
        "purl": dependency.purl(),
    })
}

fn part(dependency: &Dependency) -> Value {
    let mut part = common("library", dependency);
    // CycloneDX: what is excluded is used, and is not in the product.
    part["scope"] = json!(if dependency.is_linked { "required" } else { "excluded" });
    if let Some(checksum) = &dependency.checksum {
        part["hashes"] = sum(checksum);
    }
    if let Some(repository) = &dependency.repository {
        part["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
    }
    part
}

fn sum(hex: &str) -> Value {
    json!([{"alg": "SHA-256", "content": hex}])
}

fn needs(release: &Release, dependency: &Dependency) -> Value {
    let needed = release.dependencies.crates().filter(|it| dependency.needs.contains(&it.key()));
    json!({"ref": dependency.purl(), "dependsOn": needed.map(Dependency::purl).collect::<Vec<_>>()})
}

/// As `rustc --version` says; the same for everybody by `rust-toolchain.toml`.
fn compiler() -> Result<String> {
    let output =
        Command::new("rustc").arg("--version").current_dir(crate::root()).output().context("rustc")?;
    ensure!(output.status.success(), "rustc --version failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::process::Command;

    use cyclonedx_bom::prelude::{Bom, Validate as _};
    use serde_json::Value;

    use crate::{Dependencies, Digest, Release, Source, Version, root};

    fn text() -> Vec<u8> {
        let dependencies = Dependencies::read(root()).unwrap();
        let version = Version::parse(&dependencies.filter().version.to_string()).unwrap();
        let source = Source::of(&"a".repeat(40), "1785542400").unwrap();
        let release = Release { root: root().to_owned(), image: None, version, source, dependencies };
        super::of(&release, &Digest::of(b"module")).unwrap()
    }

    /// The package URLs of what `cargo tree` lists for the module with these edges, without the filter itself.
    fn listed(edges: &str) -> BTreeSet<String> {
        let options = ["tree", "--locked", "--target", "wasm32-wasip1", "--package", "authentik-proxy-wasm"];
        let mut cargo = Command::new("cargo");
        cargo.args(options).args(["--prefix", "none", "--format", "{p}", "--edges", edges]);
        let lines = String::from_utf8(cargo.current_dir(root()).output().unwrap().stdout).unwrap();
        let purl = |line: &str| {
            let mut words = line.split(' ');
            format!("pkg:cargo/{}@{}", words.next().unwrap(), words.next().unwrap().trim_start_matches('v'))
        };
        let lines = lines.lines().filter(|line| !line.starts_with("authentik-proxy-wasm "));
        lines.map(purl).collect()
    }

    #[test]
    fn components_are_those_of_cargo_tree() {
        let bom: Value = serde_json::from_slice(&text()).unwrap();
        let mut scopes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for component in bom["components"].as_array().unwrap() {
            let purl = component["purl"].as_str().unwrap().to_owned();
            assert!(scopes.entry(component["scope"].as_str().unwrap()).or_default().insert(purl));
        }
        let in_the_module = listed("normal,no-proc-macro");
        let all = listed("normal");
        assert!(in_the_module.len() > 30 && all.len() > in_the_module.len(), "{in_the_module:?}");
        assert_eq!(scopes["required"], in_the_module);
        assert_eq!(scopes["excluded"], all.difference(&in_the_module).cloned().collect());
    }

    #[test]
    fn every_component_has_licence_sum_and_place_in_the_graph() {
        let bom: Value = serde_json::from_slice(&text()).unwrap();
        let components = bom["components"].as_array().unwrap();
        let nodes = bom["dependencies"].as_array().unwrap();
        assert_eq!(nodes.len(), components.len() + 1);
        for component in components {
            assert!(!component["licenses"][0]["expression"].as_str().unwrap().contains('/'), "{component}");
            assert_eq!(component["hashes"][0]["content"].as_str().unwrap().len(), 64, "{component}");
            let is_needed =
                |node: &&Value| node["dependsOn"].as_array().unwrap().contains(&component["bom-ref"]);
            assert!(nodes.iter().any(|node| is_needed(&node)), "{component}");
        }
    }

    #[test]
    fn cyclonedx_finds_no_fault_and_the_text_is_the_same_each_time() {
        let text = text();
        let bom = Bom::parse_from_json(text.as_slice()).unwrap();
        let faults = bom.validate();
        assert!(faults.passed(), "{faults:?}");
        assert_eq!(text, self::text());
    }
}
