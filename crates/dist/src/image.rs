//! The module as an OCI image that Istio's agent and Envoy Gateway fetch.
//!
//! Both read an image of one manifest, whose last layer is a `tar+gzip` with a file `plugin.wasm` (the *compat* variant of
//! the Wasm image specification), and both compare a pinned digest with that of the manifest. An index of several
//! platforms has another digest than the manifests in it, so there is none. `tests/dist/fetchers.rs` states their rules.

use std::fmt;
use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{NAME, Source, Version};

/// The only file in the image. Both fetchers look for this name.
pub(crate) const FILE: &str = "plugin.wasm";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Annotations: what kind of image it is, and what it was made of.
pub(crate) const VARIANT: &str = "module.wasm.image/variant";
pub(crate) const COMPAT: &str = "compat";
pub(crate) const VERSION: &str = "org.opencontainers.image.version";
pub(crate) const REVISION: &str = "org.opencontainers.image.revision";
pub(crate) const CREATED: &str = "org.opencontainers.image.created";
/// RFC 1952: the operating system is not known.
const UNKNOWN_SYSTEM: u8 = 255;

/// A SHA-256 sum. Shown as OCI writes it, `sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest(String);

impl Digest {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// One manifest with what it names.
pub struct Image {
    tag: String,
    digest: Digest,
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
}

impl Image {
    /// The image of this module, which was made of this source, if that is known.
    ///
    /// # Errors
    /// Archive or JSON cannot be written.
    pub fn of<'a>(module: &[u8], version: &Version, source: impl Into<Option<&'a Source>>) -> Result<Self> {
        let source = source.into();
        let archive = archive(module)?;
        let layer = compressed(&archive)?;
        let mut config = json!({
            // Nothing in it is of a platform. This is the one that every runtime takes, and that a volume of a pod asks for.
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&archive).to_string()]},
            "history": [{"created_by": "make dist"}],
        });
        let mut annotations = json!({
            VARIANT: COMPAT,
            "org.opencontainers.image.description":
                "authentik's header authentication inside Envoy, Istio gateways and Envoy Gateway (Proxy-Wasm)",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.title": NAME,
            VERSION: version.to_string(),
        });
        if let Some(Source { revision, created }) = source {
            config["created"] = json!(created);
            config["history"][0]["created"] = json!(created);
            annotations[CREATED] = json!(created);
            annotations[REVISION] = json!(revision);
        }
        let config = serde_json::to_vec(&config)?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
            "annotations": annotations,
        }))?;
        Ok(Self { tag: version.tag(), digest: Digest::of(&manifest), manifest, config, layer })
    }

    /// The digest of the manifest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The files of the OCI image layout, by path. Its `index.json` is the layout's table of contents, not part of the image.
    #[must_use]
    pub fn layout(&self) -> Vec<(String, Vec<u8>)> {
        let mut manifest = descriptor(MANIFEST, &self.manifest);
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": self.tag});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
        let blobs = [&self.manifest, &self.config, &self.layer].into_iter();
        let blobs = blobs.map(|blob| (format!("blobs/sha256/{}", Digest::of(blob).hex()), blob.clone()));
        let version = json!({"imageLayoutVersion": "1.0.0"});
        let tables = [("oci-layout", version), ("index.json", index)].into_iter();
        tables.map(|(path, table)| (path.to_owned(), table.to_string().into_bytes())).chain(blobs).collect()
    }
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(blob).to_string(), "size": blob.len()})
}

/// A tar archive without owner and time.
fn archive(module: &[u8]) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(module.len())?);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, FILE, module)?;
    Ok(archive.into_inner()?)
}

fn compressed(archive: &[u8]) -> Result<Vec<u8>> {
    let builder = GzBuilder::new().mtime(0).operating_system(UNKNOWN_SYSTEM);
    let mut encoder = builder.write(Vec::new(), Compression::best());
    encoder.write_all(archive)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use super::{Image, archive, compressed};
    use crate::{Source, Version};

    fn image(module: &[u8], version: &str) -> Image {
        let source = Source::of(&"a".repeat(40), "1785542400").unwrap();
        Image::of(module, &Version::parse(version).unwrap(), &source).unwrap()
    }

    /// RFC 1952 §2.3: flags, time and system are bytes 3 to 9.
    #[test]
    fn compressed_layer_names_no_file_no_time_and_no_system() {
        let bytes = compressed(b"text").unwrap();
        assert_eq!((bytes[3], &bytes[4..8], bytes[9]), (0, &[0_u8; 4][..], 255));
    }

    #[test]
    fn archive_has_one_file_of_nobody_and_no_time() {
        let bytes = archive(b"module").unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let headers: Vec<_> =
            archive.entries().unwrap().map(|entry| entry.unwrap().header().clone()).collect();
        assert_eq!(headers.len(), 1);
        let header = &headers[0];
        assert_eq!(header.path().unwrap().to_str(), Some("plugin.wasm"));
        let numbers = [header.uid(), header.gid(), header.mtime(), header.mode().map(u64::from)];
        assert_eq!(numbers.map(Result::unwrap), [0, 0, 0, 0o644]);
        assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
    }

    #[test]
    fn digest_depends_on_module_and_version_and_on_nothing_else() {
        let digest = |module: &[u8], version| image(module, version).digest().clone();
        assert_eq!(digest(b"a", "1.2.3"), digest(b"a", "1.2.3"));
        assert_ne!(digest(b"a", "1.2.3"), digest(b"b", "1.2.3"));
        assert_ne!(digest(b"a", "1.2.3"), digest(b"a", "1.2.4"));
    }
}
