//! What is asked of the filter wherever it is written: which plugin it is, its image's digest, the seal's value.
//!
//! Owns: those words. Must not: know one of the objects that carry the filter; never print a seal's value.

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

/// What is wrong with the digests of an image: that in its address, and that beside it.
pub(crate) fn digest_fault(url: Option<&str>, sha256: Option<&str>) -> Option<&'static str> {
    let in_url = url.and_then(|url| url.split_once("@sha256:")).map(|(_, digest)| digest);
    let fault = |digest: &str| {
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Some("the digest is not 64 hexadecimal digits")
        } else if digest.bytes().all(|byte| byte == b'0') {
            Some("the digest is the placeholder: no image has it")
        } else {
            None
        }
    };
    match (in_url, sha256.map(|digest| digest.trim_start_matches("sha256:"))) {
        (Some(in_url), Some(beside)) if !in_url.eq_ignore_ascii_case(beside) => Some(
            "the digest differs from the one in the address: with an image both are that of its one manifest",
        ),
        (in_url, beside) => in_url.and_then(fault).or_else(|| beside.and_then(fault)),
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
