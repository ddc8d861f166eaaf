//! The release itself: what is in it, and how it gets into its folder.
//!
//! [`Release::prepare`] finds every fault that can be found without writing. [`Release::write`] writes into a folder
//! beside the target and renames that folder at the end, so that a release is there whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::{Dependencies, Digest, Image, NAME, Source, Version, licences, manifests, replace, sbom};

/// A release whose version, source and dependencies are known.
pub struct Release {
    pub(crate) root: PathBuf,
    pub(crate) image: Option<String>,
    /// Its version.
    pub version: Version,
    /// The commit that it is made of.
    pub source: Source,
    /// What the module is made of.
    pub dependencies: Dependencies,
}

/// What [`Release::write`] wrote.
pub struct Written {
    /// The digest of the image's manifest: what manifests pin.
    pub image: Digest,
    /// The digest of the module.
    pub module: Digest,
}

impl Release {
    /// Reads what a release of this version needs from the repository below `root`. The manifests will name `image`, which
    /// is a registry and a path there.
    ///
    /// # Errors
    /// The version is none, or not the one of `Cargo.toml`; the source is not committed; the dependencies are unknown;
    /// `image` is no such name.
    pub fn prepare(root: &Path, version: &str, image: Option<&str>) -> Result<Self> {
        let version = Version::parse(version).context("VERSION=x.y.z")?;
        image.map_or(Ok(()), manifests::check_image)?;
        let image = image.map(str::to_owned);
        let dependencies = Dependencies::read(root)?;
        version.must_be(&dependencies.filter().version)?;
        Ok(Self { root: root.to_owned(), image, version, source: Source::find(root)?, dependencies })
    }

    /// Writes all files of the release. The folder is replaced.
    ///
    /// # Errors
    /// A file cannot be read or written, a manifest has a placeholder left, or the module names a path of this machine.
    pub fn write(&self, module: &Path, folder: &Path) -> Result<Written> {
        let module = fs::read(module).with_context(|| format!("{}", module.display()))?;
        must_name_no_path(&module, &machine_paths(&self.root))?;
        let image = Image::of(&module, &self.version, &self.source)?;
        let named = format!("{NAME}-{}", self.version);
        let digest = Digest::of(&module);
        let mut files = BTreeMap::new();
        files
            .insert(format!("{named}.wasm.sha256"), format!("{}  {named}.wasm\n", digest.hex()).into_bytes());
        files.insert(format!("{named}.wasm"), module);
        files.insert(format!("{named}.cdx.json"), sbom::of(self, &digest)?);
        files.insert("image-digest".to_owned(), format!("{}\n", image.digest()).into_bytes());
        files.insert("LICENSE".to_owned(), fs::read(self.root.join("LICENSE"))?);
        files.insert("THIRD-PARTY-LICENSES.txt".to_owned(), licences::of_crates(&self.dependencies)?);
        files.insert(
            "THIRD-PARTY-LICENSES-rust-std.html".to_owned(),
            licences::of_standard_library(&self.root)?,
        );
        for (path, bytes) in image.layout() {
            files.insert(format!("image/{path}"), bytes);
        }
        let deploy = self.root.join("deploy");
        for (path, bytes) in manifests::fill(&deploy, self.image.as_deref(), &self.version, image.digest())? {
            files.insert(format!("deploy/{path}"), bytes);
        }
        files.insert("SHA256SUMS".to_owned(), sums(&files));
        replace(folder, &files)?;
        Ok(Written { image: image.digest().clone(), module: digest })
    }
}

/// The sums of all files, as `sha256sum --check` reads them.
fn sums(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let lines = files.iter().map(|(path, bytes)| format!("{}  {path}\n", Digest::of(bytes).hex()));
    lines.collect::<String>().into_bytes()
}

/// The folders of this machine that a compiler could name.
fn machine_paths(root: &Path) -> Vec<PathBuf> {
    let variables = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"];
    let variables = variables.iter().filter_map(std::env::var_os).map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from).into_iter();
    let below_home = home.flat_map(|home| [home.join(".cargo"), home.join(".rustup")]);
    let folders = [root.to_owned()].into_iter().chain(variables).chain(below_home);
    // "/root" or "/src" would be found where something else is meant.
    folders.filter(|folder| folder.components().count() > 2).collect()
}

fn must_name_no_path(module: &[u8], paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let bytes = path.as_os_str().as_encoded_bytes();
        ensure!(
            !module.windows(bytes.len()).any(|window| window == bytes),
            "the module names {}: it was not built by `make wasm`",
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{must_name_no_path, sums};

    #[test]
    fn module_that_names_a_folder_of_the_machine_is_refused() {
        let paths = ["/folder/of/cargo".into(), "/folder/of/source".into()];
        must_name_no_path(b"\0asm /crates/http-1.5.0/src/lib.rs src/filter/root.rs", &paths).unwrap();
        for module in
            ["\0asm /folder/of/cargo/registry/src", "/folder/of/source/src/lib.rs", "/folder/of/source"]
        {
            assert!(must_name_no_path(module.as_bytes(), &paths).is_err(), "{module}");
        }
    }

    #[test]
    fn sums_are_lines_that_sha256sum_reads() {
        let files = [("a".to_owned(), b"abc".to_vec())].into();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n";
        assert_eq!(String::from_utf8(sums(&files)).unwrap(), expected);
    }
}
