//! The rules by which Istio's agent (`pkg/wasm/imagefetcher.go`, `cache.go`) and Envoy Gateway (`internal/wasm`) take a
//! module out of an image, stated again. Both have the same ones.

use std::collections::BTreeMap;
use std::io::Read as _;

use dist::Digest;
use flate2::read::GzDecoder;
use serde_json::Value;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub(super) const WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// Envoy Gateway reads no more of an archive.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A registry that has one image: what a tag names, and all else by its digest.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    pub(super) tagged: Vec<u8>,
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
}

impl Registry {
    fn blob(&self, descriptor: &Value) -> Result<&[u8], String> {
        let digest = descriptor["digest"].as_str().ok_or("a descriptor without a digest")?;
        let blob = self.blobs.get(digest).ok_or(format!("{digest} is not there"))?;
        if Digest::of(blob).to_string() != digest || descriptor["size"] != blob.len() {
            return Err(format!("{digest} has another digest or size"));
        }
        Ok(blob)
    }
}

/// The module, if the fetchers take it. `pinned` is the field `sha256` of a WasmPlugin or an EnvoyExtensionPolicy.
pub(super) fn fetch(registry: &Registry, pinned: Option<&str>) -> Result<Vec<u8>, String> {
    let tagged = json(&registry.tagged)?;
    let bytes = match tagged["mediaType"].as_str() {
        // Of an index they take the child for this platform, and its digest.
        Some(INDEX | DOCKER_LIST) => {
            let children = tagged["manifests"].as_array().ok_or("an index without manifests")?;
            let is_ours = |child: &&Value| {
                child["platform"]["os"] == "linux" && child["platform"]["architecture"] == "amd64"
            };
            registry.blob(children.iter().find(is_ours).ok_or("no child with platform linux/amd64")?)?
        }
        _ => &registry.tagged,
    };
    let actual = Digest::of(bytes);
    if pinned.is_some_and(|pinned| pinned != actual.hex()) {
        return Err(format!("the digest is {}", actual.hex()));
    }
    let manifest = json(bytes)?;
    let layers = manifest["layers"].as_array().ok_or("a manifest without layers")?;
    let module = if manifest["mediaType"] == DOCKER_MANIFEST {
        from_archive(registry, layers, DOCKER_LAYER)?
    } else {
        from_archive(registry, layers, LAYER)
            .or_else(|compat| from_artifact(registry, layers).map_err(|oci| format!("{compat}; {oci}")))?
    };
    if module.starts_with(b"\0asm") { Ok(module) } else { Err("not a Wasm module".to_owned()) }
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// The *compat* variant: the last layer is an archive with a file of this name, in whatever folder.
fn from_archive(registry: &Registry, layers: &[Value], media_type: &str) -> Result<Vec<u8>, String> {
    let layer = layers.last().ok_or("no layer")?;
    if layer["mediaType"] != media_type {
        return Err(format!("the media type of the layer is {}", layer["mediaType"]));
    }
    let archive = GzDecoder::new(registry.blob(layer)?).take(MAX_BYTES);
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let is_module =
            entry.path().is_ok_and(|path| path.file_name().is_some_and(|name| name == "plugin.wasm"));
        if is_module {
            let mut module = Vec::new();
            entry.read_to_end(&mut module).map_err(|error| error.to_string())?;
            return Ok(module);
        }
    }
    Err("plugin.wasm not found in the archive".to_owned())
}

/// The *oci* variant: two layers, one of which is the module itself.
fn from_artifact(registry: &Registry, layers: &[Value]) -> Result<Vec<u8>, String> {
    if layers.len() != 2 {
        return Err(format!("number of layers must be 2 but got {}", layers.len()));
    }
    let layer =
        layers.iter().find(|layer| layer["mediaType"] == WASM_LAYER).ok_or("no layer with the module")?;
    registry.blob(layer).map(<[u8]>::to_vec)
}
