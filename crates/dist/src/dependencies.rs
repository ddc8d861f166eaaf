//! What the module is made of: the crates that `cargo tree` names for it, with licence, source and sum of each.
//!
//! `cargo metadata` alone does not tell: it has the features of the whole workspace, and so the crates that only tests use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use cargo_metadata::MetadataCommand;

use crate::NAME;

const TARGET: &str = "wasm32-wasip1";

type Key = (String, semver::Version);

/// The filter and every crate that it needs, by name and version.
pub struct Dependencies(BTreeMap<Key, Dependency>);

/// A crate.
pub struct Dependency {
    /// Its name on the registry.
    pub name: String,
    /// Its version.
    pub version: semver::Version,
    /// The SPDX expression of its licence.
    pub licence: String,
    /// Its code is in the module. Otherwise it runs while the module is compiled: procedural macros and what they need.
    pub is_linked: bool,
    /// Where its source is on this machine.
    pub(crate) folder: PathBuf,
    /// The SHA-256 sum of its archive on the registry; the filter itself has none.
    pub(crate) checksum: Option<String>,
    /// Its repository.
    pub(crate) repository: Option<String>,
    /// The crates that it needs.
    pub(crate) needs: BTreeSet<Key>,
}

impl Dependency {
    /// The package URL, which scanners look up.
    #[must_use]
    pub fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }

    pub(crate) fn key(&self) -> Key {
        (self.name.clone(), self.version.clone())
    }
}

impl Dependencies {
    /// Asks cargo.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let options = ["--format", "{p}", "--prefix", "depth", "--no-dedupe", "--edges", "normal"];
        let tree = Command::new("cargo")
            .args(["tree", "--quiet", "--locked", "--target", TARGET, "--package", NAME])
            .args(options)
            .current_dir(root)
            .output()
            .context("cargo")?;
        ensure!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
        let crates = Tree::read(&String::from_utf8(tree.stdout)?)?;
        let options = ["--locked", "--filter-platform", TARGET].map(str::to_owned);
        let metadata = MetadataCommand::new().current_dir(root).other_options(options.to_vec()).exec()?;
        let lock = cargo_lock::Lockfile::load(root.join("Cargo.lock"))?;
        let mut all = BTreeMap::new();
        for (key, needs) in crates.needs {
            let (name, version) = &key;
            let mut found = metadata.packages.iter().filter(|it| it.name == *name && it.version == *version);
            let (Some(package), None) = (found.next(), found.next()) else {
                bail!("{name} {version} is not exactly one package of the workspace");
            };
            let is_locked = |it: &&cargo_lock::Package| it.name.as_str() == name && it.version == *version;
            let locked =
                lock.packages.iter().find(is_locked).with_context(|| format!("{name} is not locked"))?;
            let licence = package.license.as_ref().with_context(|| format!("{name} has no licence"))?;
            let folder = package.manifest_path.parent().context("a manifest is in a folder")?;
            let dependency = Dependency {
                name: name.clone(),
                version: version.clone(),
                // Old crates write a slash.
                licence: licence.replace('/', " OR "),
                is_linked: crates.linked.contains(&key),
                folder: folder.into(),
                checksum: locked.checksum.as_ref().map(ToString::to_string),
                repository: package.repository.clone(),
                needs,
            };
            all.insert(key, dependency);
        }
        ensure!(all.keys().any(|(name, _)| name == NAME), "cargo tree does not name {NAME}");
        Ok(Self(all))
    }

    /// The filter itself.
    #[must_use]
    pub fn filter(&self) -> &Dependency {
        let filter = self.0.values().find(|it| it.name == NAME);
        filter.expect("`read` looks for it")
    }

    /// All others.
    pub fn crates(&self) -> impl Iterator<Item = &Dependency> {
        self.0.values().filter(|it| it.name != NAME)
    }
}

/// What the lines of `cargo tree --prefix depth` say.
#[derive(Default)]
struct Tree {
    needs: BTreeMap<Key, BTreeSet<Key>>,
    linked: BTreeSet<Key>,
}

impl Tree {
    fn read(text: &str) -> Result<Self> {
        let mut tree = Self::default();
        // From the root to the line: the crate, and whether it is in the module.
        let mut path: Vec<(Key, bool)> = Vec::new();
        for line in text.lines() {
            let fault = || format!("cargo tree: {line:?} is not a depth, a name and a version");
            let digits = line.find(|c: char| !c.is_ascii_digit()).with_context(fault)?;
            let (depth, package) = line.split_at(digits);
            let depth: usize = depth.parse().with_context(fault)?;
            let mut words = package.split(' ');
            let name = words.next().with_context(fault)?.to_owned();
            let version = words.next().and_then(|word| word.strip_prefix('v')).with_context(fault)?;
            let key = (name, version.parse().with_context(fault)?);
            ensure!(depth <= path.len(), "cargo tree: {line:?} has no parent");
            path.truncate(depth);
            let parent_is_linked = path.last().is_none_or(|(_, is_linked)| *is_linked);
            let is_linked = parent_is_linked && !words.any(|word| word == "(proc-macro)");
            if let Some((parent, _)) = path.last() {
                tree.needs.entry(parent.clone()).or_default().insert(key.clone());
            }
            tree.needs.entry(key.clone()).or_default();
            if is_linked {
                tree.linked.insert(key.clone());
            }
            path.push((key, is_linked));
        }
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Tree};

    fn key(name: &str) -> Key {
        (name.to_owned(), semver::Version::new(1, 0, 0))
    }

    #[test]
    fn crate_of_a_macro_is_linked_only_where_another_path_leads_to_it() {
        let text = "0filter v1.0.0 (/source)\n1serde v1.0.0\n2derive v1.0.0 (proc-macro)\n3syn v1.0.0\n3memchr v1.0.0\n\
                    1memchr v1.0.0\n";
        let tree = Tree::read(text).unwrap();
        assert_eq!(tree.linked, ["filter", "serde", "memchr"].map(key).into());
        assert_eq!(tree.needs[&key("filter")], ["serde", "memchr"].map(key).into());
        assert_eq!(tree.needs[&key("derive")], ["syn", "memchr"].map(key).into());
        assert_eq!(tree.needs[&key("syn")], [].into());
        assert_eq!(tree.needs.len(), 5);
    }

    #[test]
    fn line_of_another_form_is_refused() {
        for text in [
            "filter v1.0.0",
            "0filter",
            "0filter 1.0.0",
            "0filter v1",
            "1filter v1.0.0",
            "0a v1.0.0\n2b v1.0.0",
        ] {
            assert!(Tree::read(text).is_err(), "{text}");
        }
    }
}
