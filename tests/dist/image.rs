//! The image against the rules of the fetchers, and images that break one of them.

use std::io::{Read as _, Write as _};

use dist::Digest;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use local_envoy::module::module;
use serde_json::{Value, json};

use super::fetchers::{DOCKER_LAYER, DOCKER_MANIFEST, INDEX, LAYER, Registry, WASM_LAYER, fetch};
use super::image_of;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// The layout's image, as a registry has it after `skopeo copy`.
fn pushed(layout: &[(String, Vec<u8>)]) -> Registry {
    let file = |path: &str| layout.iter().find(|(name, _)| name == path).map(|(_, bytes)| bytes).unwrap();
    let version: Value = serde_json::from_slice(file("oci-layout")).unwrap();
    assert_eq!(version, json!({"imageLayoutVersion": "1.0.0"}));
    let index: Value = serde_json::from_slice(file("index.json")).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 1, "{index}");
    assert_eq!(manifests[0]["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    let hex = manifests[0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let blobs = layout.iter().filter_map(|(path, bytes)| {
        let hex = path.strip_prefix("blobs/sha256/")?;
        Some((format!("sha256:{hex}"), bytes.clone()))
    });
    Registry { tagged: file(&format!("blobs/sha256/{hex}")).clone(), blobs: blobs.collect() }
}

fn manifest(registry: &Registry) -> Value {
    serde_json::from_slice(&registry.tagged).unwrap()
}

#[test]
fn fetchers_get_the_module_by_the_digest_of_the_manifest() {
    let module = std::fs::read(module()).unwrap();
    let image = image_of(&module);
    let registry = pushed(&image.layout());
    assert_eq!(fetch(&registry, Some(image.digest().hex())).as_ref(), Ok(&module));
    // Without a pin too. The digest of the module, of the layer or of the configuration is none of the image.
    assert_eq!(fetch(&registry, None).as_ref(), Ok(&module));
    let manifest = manifest(&registry);
    let digests =
        [&manifest["layers"][0], &manifest["config"]].map(|it| it["digest"].as_str().unwrap().to_owned());
    for other in digests.iter().map(|digest| &digest[7..]).chain([Digest::of(&module).hex(), &"0".repeat(64)])
    {
        assert_ne!(other, image.digest().hex());
        assert!(fetch(&registry, Some(other)).is_err(), "{other}");
    }
}

/// More than the fetchers ask: nothing else is in it, and it says what it is.
#[test]
fn image_is_one_manifest_with_one_layer_with_one_file() {
    let image = image_of(MODULE);
    let registry = pushed(&image.layout());
    assert_eq!(registry.blobs.len(), 3);
    let manifest = manifest(&registry);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!((layers.len(), layers[0]["mediaType"].as_str()), (1, Some(LAYER)));
    let mut archive = Vec::new();
    let layer = &registry.blobs[layers[0]["digest"].as_str().unwrap()];
    GzDecoder::new(layer.as_slice()).read_to_end(&mut archive).unwrap();
    assert_eq!(tar::Archive::new(archive.as_slice()).entries().unwrap().count(), 1);
    let config = &registry.blobs[manifest["config"]["digest"].as_str().unwrap()];
    let config: Value = serde_json::from_slice(config).unwrap();
    assert_eq!((&config["os"], &config["architecture"]), (&json!("linux"), &json!("amd64")));
    assert_eq!(config["rootfs"]["diff_ids"], json!([Digest::of(&archive).to_string()]));
    let annotations = &manifest["annotations"];
    assert_eq!(annotations["module.wasm.image/variant"], "compat");
    assert_eq!(annotations["org.opencontainers.image.version"], "1.2.3");
    assert_eq!(annotations["org.opencontainers.image.revision"], "a".repeat(40));
    assert_eq!(annotations["org.opencontainers.image.created"], "2026-08-01T00:00:00Z");
    assert_eq!(annotations["org.opencontainers.image.licenses"], "Apache-2.0");
}

/// An image with these layers.
fn with_layers(layers: &[(&str, Vec<u8>)]) -> Registry {
    let mut registry = pushed(&image_of(MODULE).layout());
    let mut manifest = manifest(&registry);
    let descriptors = layers.iter().map(|(media_type, blob)| {
        let digest = Digest::of(blob).to_string();
        registry.blobs.insert(digest.clone(), blob.clone());
        json!({"mediaType": media_type, "digest": digest, "size": blob.len()})
    });
    manifest["layers"] = descriptors.collect();
    registry.tagged = manifest.to_string().into_bytes();
    registry
}

fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    archive.append_data(&mut header, name, content).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

/// An index whose only manifest is this image, for this platform.
fn indexed(image: &Registry, os: &str, architecture: &str) -> Registry {
    let digest = Digest::of(&image.tagged).to_string();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest, "size": image.tagged.len(), "platform": {"os": os, "architecture": architecture},
    }]});
    let mut registry = image.clone();
    registry.blobs.insert(digest, std::mem::replace(&mut registry.tagged, index.to_string().into_bytes()));
    registry
}

#[test]
fn fetchers_refuse_an_image_that_breaks_a_rule() {
    let good = archive("plugin.wasm", MODULE);
    assert_eq!(fetch(&with_layers(&[(LAYER, good.clone())]), None).as_deref(), Ok(MODULE));
    let mut plain = GzEncoder::new(Vec::new(), Compression::fast());
    plain.write_all(b"not an archive").unwrap();
    let docker = |layer| {
        let mut registry = with_layers(&[(layer, good.clone())]);
        let mut manifest = manifest(&registry);
        manifest["mediaType"] = json!(DOCKER_MANIFEST);
        registry.tagged = manifest.to_string().into_bytes();
        registry
    };
    let mut damaged = with_layers(&[(LAYER, good.clone())]);
    damaged.blobs.get_mut(&Digest::of(&good).to_string()).unwrap()[20] ^= 1;
    for (registry, fault) in [
        (with_layers(&[]), "no layer"),
        (with_layers(&[(LAYER, archive("filter.wasm", MODULE))]), "plugin.wasm not found"),
        (with_layers(&[(LAYER, archive("plugin.wasm", b"text"))]), "not a Wasm module"),
        (with_layers(&[(LAYER, [MODULE, &[0; 100]].concat())]), "gzip"),
        (with_layers(&[(LAYER, plain.finish().unwrap())]), "block"),
        (with_layers(&[("application/vnd.oci.image.layer.v1.tar", good.clone())]), "media type"),
        (with_layers(&[("application/vnd.oci.image.layer.v1.tar+zstd", good.clone())]), "media type"),
        (with_layers(&[(DOCKER_LAYER, good.clone())]), "media type"),
        (with_layers(&[(WASM_LAYER, MODULE.to_vec())]), "must be 2"),
        (
            with_layers(&[(LAYER, good.clone()), (LAYER, archive("notices", b"text"))]),
            "plugin.wasm not found",
        ),
        (docker(LAYER), "media type"),
        (damaged, "another digest"),
        (indexed(&with_layers(&[(LAYER, good.clone())]), "wasip1", "wasm"), "no child"),
    ] {
        let refusal = fetch(&registry, None).unwrap_err();
        assert!(refusal.contains(fault), "{refusal:?} is not about {fault:?}");
    }
    assert_eq!(fetch(&docker(DOCKER_LAYER), None).as_deref(), Ok(MODULE));
}

/// Why the image is no index: somebody who pins what his registry shows for the tag locks everybody out.
#[test]
fn digest_of_an_index_is_refused() {
    let image = pushed(&image_of(MODULE).layout());
    let index = indexed(&image, "linux", "amd64");
    let (child, of_index) = (Digest::of(&image.tagged), Digest::of(&index.tagged));
    assert_eq!(fetch(&index, Some(child.hex())).as_deref(), Ok(MODULE));
    assert!(fetch(&index, Some(of_index.hex())).is_err());
}
