//! An image or a module as somebody got it: whether Istio's agent and Envoy Gateway take it, and which digest is which.
//!
//! Owns: what is wrong with an OCI image layout. Its rules are those of an image that this package writes, which is stricter than
//! the fetchers are: nothing else is in it. Must not: believe a digest or a size that it has not computed.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::Digest;
use crate::image::{COMPAT, CONFIG, CREATED, FILE, INDEX, LAYER, MANIFEST, REVISION, VARIANT, VERSION};

/// Envoy Gateway reads no more of an archive.
const MAX_BYTES: u64 = 256 << 20;
/// Of a manifest and of the other tables.
const MAX_JSON_BYTES: u64 = 4 << 20;
/// Kinds of lists of manifests.
const LISTS: [&str; 2] = [INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"];

/// An image that is as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Of the manifest: what is pinned where the address is an image's.
    pub image: Digest,
    /// Of the module: what is pinned where the address is that of a file.
    pub module: Digest,
    /// Bytes of the module.
    pub size: usize,
    /// What nobody pins, with its name.
    pub others: [(&'static str, Digest); 3],
    /// The version, as the image says.
    pub version: String,
    /// The commit, if the image says.
    pub revision: Option<String>,
    /// The commit's time, if the image says.
    pub created: Option<String>,
}

/// Reads an OCI image layout.
///
/// # Errors
/// What is wrong, each with its file: `index.json: …`.
pub fn inspect(layout: &Path) -> Result<Inspected, Vec<String>> {
    let one = |fault: String| vec![fault];
    let version =
        json(&read(layout, "oci-layout", MAX_JSON_BYTES).map_err(one)?, "oci-layout").map_err(one)?;
    if version["imageLayoutVersion"] != "1.0.0" {
        return Err(one("oci-layout: imageLayoutVersion: must be 1.0.0".to_owned()));
    }
    let table = read(layout, "index.json", MAX_JSON_BYTES).map_err(one)?;
    let index = json(&table, "index.json").map_err(one)?;
    let manifests = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [descriptor] = manifests else {
        let what = format!("index.json: manifests: must be one, and there are {}", manifests.len());
        return Err(one(what));
    };
    let kind = descriptor["mediaType"].as_str().unwrap_or_default();
    if LISTS.contains(&kind) {
        let what = "index.json: manifests: is an index of platforms: who pins the digest that a registry shows for it is refused";
        return Err(one(what.to_owned()));
    }
    if kind != MANIFEST {
        return Err(one(format!("index.json: manifests[0].mediaType: must be {MANIFEST}")));
    }
    let manifest = blob(layout, "index.json: manifests[0]", descriptor, MAX_JSON_BYTES).map_err(one)?;
    let image = Digest::of(&manifest);
    Manifest { layout, name: path_of(&image), json: json(&manifest, &path_of(&image)).map_err(one)? }
        .judge(image, Digest::of(&table))
}

/// What is wrong with a module: it is none, or none for a proxy.
#[must_use]
pub fn module_fault(module: &[u8]) -> Option<&'static str> {
    // The core specification's magic and version, and the name of an export.
    const EXPORT: &[u8] = b"proxy_abi_version_";
    if !module.starts_with(b"\0asm\x01\0\0\0") {
        return Some("is no Wasm module");
    }
    (!module.windows(EXPORT.len()).any(|window| window == EXPORT))
        .then_some("is a Wasm module for no proxy: it has no proxy_abi_version")
}

struct Manifest<'a> {
    layout: &'a Path,
    name: String,
    json: Value,
}

impl Manifest<'_> {
    fn judge(&self, image: Digest, index: Digest) -> Result<Inspected, Vec<String>> {
        let mut faults = Vec::new();
        let Self { layout, name, json: manifest } = self;
        let mut fault = |what: &str| faults.push(format!("{name}: {what}"));
        if manifest["mediaType"] != MANIFEST {
            fault(&format!("mediaType: must be {MANIFEST}"));
        }
        if manifest["config"]["mediaType"] != CONFIG {
            fault(&format!("config.mediaType: must be {CONFIG}"));
        }
        let annotation = |key: &str| manifest["annotations"][key].as_str().map(str::to_owned);
        if annotation(VARIANT).as_deref() != Some(COMPAT) {
            fault(&format!("annotations: {VARIANT}: must be {COMPAT}"));
        }
        let version = annotation(VERSION).unwrap_or_default();
        if let Err(error) = crate::Version::parse(&version) {
            fault(&format!("annotations: {VERSION}: {error}"));
        }
        let layers = manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let layer = match layers {
            [layer] if layer["mediaType"] == LAYER => Some(layer),
            [_] => {
                fault(&format!("layers[0].mediaType: must be {LAYER}"));
                None
            }
            _ => {
                fault(&format!("layers: must be one, and there are {}", layers.len()));
                None
            }
        };
        let config = &manifest["config"];
        let config = blob(layout, &format!("{name}: config"), config, MAX_JSON_BYTES);
        let layer = layer.map(|layer| blob(layout, &format!("{name}: layers[0]"), layer, MAX_BYTES));
        let (config, layer) = match (config, layer) {
            (Ok(config), Some(Ok(layer))) => (config, layer),
            (config, layer) => {
                faults.extend(config.err());
                faults.extend(layer.and_then(Result::err));
                return Err(faults);
            }
        };
        let path = path_of(&Digest::of(&layer));
        match module_of(&layer) {
            Ok((archive, module)) => {
                let diff = Digest::of(&archive).to_string();
                let read = json(&config, "config").unwrap_or_default();
                if read["rootfs"]["diff_ids"] != serde_json::json!([diff]) {
                    faults
                        .push(format!("{name}: config: rootfs.diff_ids: must be that of the layer, {diff}"));
                }
                faults.extend(module_fault(&module).map(|what| format!("{path}: {FILE}: {what}")));
                if !faults.is_empty() {
                    return Err(faults);
                }
                let others = [
                    ("the layer", Digest::of(&layer)),
                    ("the image's configuration", Digest::of(&config)),
                    ("index.json", index),
                ];
                let (size, module) = (module.len(), Digest::of(&module));
                let (revision, created) = (annotation(REVISION), annotation(CREATED));
                Ok(Inspected { image, module, size, others, version, revision, created })
            }
            Err(what) => {
                faults.push(format!("{path}: {what}"));
                Err(faults)
            }
        }
    }
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn read(layout: &Path, file: &str, limit: u64) -> Result<Vec<u8>, String> {
    let fault = |error: std::io::Error| format!("{file}: {error}");
    let mut bytes = Vec::new();
    let reader = fs::File::open(layout.join(file)).map_err(fault)?;
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fault)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        Ok(bytes)
    } else {
        Err(format!("{file}: is longer than {} MiB", limit >> 20))
    }
}

fn json(bytes: &[u8], file: &str) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("{file}: is not JSON: {error}"))
}

/// What a descriptor is for, if it is what the descriptor says. `at` is the descriptor's place.
fn blob(layout: &Path, at: &str, descriptor: &Value, limit: u64) -> Result<Vec<u8>, String> {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Err(format!("{at}.digest: must be sha256: and 64 hexadecimal digits"));
    }
    let file = format!("blobs/sha256/{hex}");
    let bytes = read(layout, &file, limit)?;
    if Digest::of(&bytes).hex() != hex {
        return Err(format!("{file}: has another digest than its name"));
    }
    if descriptor["size"] != bytes.len() {
        return Err(format!("{at}.size: must be {}, which {file} has", bytes.len()));
    }
    Ok(bytes)
}

/// The archive of a layer, and the module in it.
fn module_of(layer: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let mut archive = Vec::new();
    let unpacked = GzDecoder::new(layer).take(MAX_BYTES.saturating_add(1)).read_to_end(&mut archive);
    unpacked.map_err(|error| format!("is not compressed with gzip: {error}"))?;
    if u64::try_from(archive.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(format!("is unpacked longer than {} MiB", MAX_BYTES >> 20));
    }
    let not_tar = |error: std::io::Error| format!("is no tar archive: {error}");
    let mut found = None;
    for entry in tar::Archive::new(archive.as_slice()).entries().map_err(not_tar)? {
        let mut entry = entry.map_err(not_tar)?;
        let path = entry.path().map_err(not_tar)?.display().to_string();
        if path != FILE || found.is_some() || !entry.header().entry_type().is_file() {
            return Err(format!("must have the file {FILE} and nothing else, and has {path:?}"));
        }
        let mut module = Vec::new();
        entry.read_to_end(&mut module).map_err(not_tar)?;
        found = Some(module);
    }
    found.map(|module| (archive, module)).ok_or_else(|| format!("has no file {FILE}"))
}
