//! What is asked of the filter wherever it is written: which plugin it is, its image's digest, the seal's value.
//!
//! Owns: those words. Must not: know one of the objects that carry the filter; never print a seal's value.

use std::collections::BTreeSet;
use std::path::Path;

use crate::configuration::{Seal, Source};
use crate::document::Node;
use crate::objects::Objects;

/// The module and the image.
const NAMES: [&str; 2] = ["authentik-proxy-wasm", "authentik_proxy_wasm"];

/// Whether a plugin with these names and addresses, and this configuration, is the filter.
pub(crate) fn is_filter<'a>(
    names: impl IntoIterator<Item = Option<&'a str>>,
    addresses: impl IntoIterator<Item = Option<&'a str>>,
    configuration: Option<&Node>,
) -> bool {
    let has_settings =
        |node: &Node| ["authentik", "providers"].iter().any(|setting| node.field(setting).is_some());
    addresses.into_iter().flatten().any(|address| NAMES.iter().any(|name| address.contains(name)))
        || names.into_iter().flatten().any(|name| name == "authentik")
        || configuration.is_some_and(has_settings)
}

/// What is wrong with the digests of an image or a module: that in its address, and that beside it.
pub(crate) fn digest_fault(
    url: Option<&str>,
    sha256: Option<&str>,
    release: &ReleaseFiles,
) -> Option<&'static str> {
    let in_url = url.and_then(|url| url.split_once("@sha256:")).map(|(_, digest)| digest);
    let fault = |digest: &str| {
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Some("the digest is not 64 hexadecimal digits")
        } else if digest.bytes().all(|byte| byte == b'0') {
            Some("the digest is the placeholder: no image has it")
        } else {
            release.fault(url, &digest.to_ascii_lowercase())
        }
    };
    if sha256.is_some_and(|digest| digest.starts_with("sha256:")) {
        return Some("the digest must be the digits alone, without sha256: before them");
    }
    match (in_url, sha256) {
        (Some(in_url), Some(beside)) if !in_url.eq_ignore_ascii_case(beside) => Some(
            "the digest differs from the one in the address: with an image both are that of its one manifest",
        ),
        (in_url, beside) => in_url.and_then(fault).or_else(|| beside.and_then(fault)),
    }
}

/// Digests of a release whose files are among those that are checked, in lower case.
#[derive(Default)]
pub(crate) struct ReleaseFiles {
    images: BTreeSet<String>,
    modules: BTreeSet<String>,
    /// Layers and configurations of images.
    parts: BTreeSet<String>,
}

impl ReleaseFiles {
    /// Whether a file is one that says a digest; it is remembered then. `make dist` gives these files their names.
    pub(crate) fn take(&mut self, file: &Path, text: impl FnOnce() -> Option<String>) -> bool {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let folder = file.parent().unwrap_or(file);
        if folder.ends_with("blobs/sha256") {
            self.parts.insert(name.to_owned());
            return true;
        }
        let list = if name == "image-digest" {
            &mut self.images
        } else if name.ends_with(".wasm.sha256") {
            &mut self.modules
        } else {
            return false;
        };
        let text = text().unwrap_or_default();
        // As `sha256sum` writes it: the digits, and the name.
        let word = text.split_whitespace().next().unwrap_or_default();
        list.insert(word.trim_start_matches("sha256:").to_ascii_lowercase());
        true
    }

    fn fault(&self, url: Option<&str>, digest: &str) -> Option<&'static str> {
        let scheme = url.and_then(|url| url.split_once("://")).map(|(scheme, _)| scheme);
        let is_image = !matches!(scheme, Some("http" | "https" | "file"));
        let (right, wrong) =
            if is_image { (&self.images, &self.modules) } else { (&self.modules, &self.images) };
        if right.contains(digest) {
            None
        } else if wrong.contains(digest) && is_image {
            Some(
                "the digest is that of the module: the address of an image needs that of its manifest (image-digest)",
            )
        } else if wrong.contains(digest) {
            Some(
                "the digest is that of an image: the address of a file needs that of the module (.wasm.sha256)",
            )
        } else if right.is_empty() {
            None
        } else if self.parts.contains(digest) {
            Some(
                "the digest is that of a part of an image: its manifest (image-digest) and the module have others",
            )
        } else {
            Some("the digest is not that of the release in these files")
        }
    }
}

/// Words for a configuration without a seal.
pub(crate) const NO_SEAL: &str = "is missing: while the filter is missing too, everybody is let in";

/// What is wrong with the values by which something behind the filter knows the seal.
pub(crate) fn value_fault(seal: &Seal, accepted: &[&str], objects: &Objects) -> Option<&'static str> {
    let is_placeholder = |value: &&str| value.contains("AUTHENTIK_SEAL");
    let is_visible = |value: &&str| value.bytes().all(|byte| byte.is_ascii_graphic());
    if accepted.iter().any(is_placeholder) {
        return Some("the value is the placeholder: everybody is refused");
    }
    if !accepted.iter().all(is_visible) {
        return Some("the value has blanks or other signs that no seal has: everybody is refused");
    }
    if accepted.iter().any(|value| value.len() < 16) {
        return Some("the value has less than 16 bytes: it can be guessed");
    }
    let sent = match seal.first.as_ref()? {
        Source::Written(value) => value.clone(),
        Source::Variable(name) => objects.secret(name)?,
    };
    (!accepted.contains(&sent.as_str())).then_some("the value differs from the one that the filter sends")
}

/// Whether a list of header names has this one.
pub(crate) fn has_name(list: Option<&Node>, header: &str) -> bool {
    let names = list.map(Node::items).unwrap_or_default();
    names.iter().filter_map(Node::text).any(|name| name.eq_ignore_ascii_case(header))
}
