//! The manifests of `deploy/` with version and digest filled in.
//!
//! The files in the repository are valid as they are and name an image that does not exist: version `0.0.0-dev`, a digest
//! of zeros. Both are replaced in every file, whatever it is. Who says where the image will be gets that name too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{Digest, Version};

/// Where the image is, for who has not said: nowhere.
const IMAGE: &str = "registry.example.com/authentik-proxy-wasm";
const VERSION: &str = "0.0.0-dev";
/// 64 zeros.
const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Every file below the folder, by its path from there.
pub(crate) fn fill(
    folder: &Path,
    image: Option<&str>,
    version: &Version,
    digest: &Digest,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    read(folder, "", &mut files)?;
    let count = |text: &str| files.values().filter(|file| file.contains(text)).count();
    let (versions, digests) = (count(VERSION), count(DIGEST));
    ensure!(
        versions > 0 && digests > 0,
        "no file of {} has {VERSION} and {DIGEST} to replace",
        folder.display()
    );
    ensure!(image.is_none() || count(IMAGE) > 0, "no file of {} has {IMAGE} to replace", folder.display());
    let filled = files.into_iter().map(|(path, text)| {
        let text = text.replace(VERSION, &version.to_string()).replace(DIGEST, digest.hex());
        let text = text.replace(IMAGE, image.unwrap_or(IMAGE));
        (path, text.into_bytes())
    });
    Ok(filled.collect())
}

/// Accepts `registry/path` as it stands in a reference to an image, without tag and digest.
pub(crate) fn check_image(image: &str) -> Result<()> {
    let is_part = |part: &str| {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        !part.is_empty()
            && part.bytes().all(is_plain)
            && part.bytes().any(|byte| byte.is_ascii_alphanumeric())
    };
    let is_good = image.split_once('/').is_some_and(|(registry, path)| {
        let (host, port) = registry.split_once(':').unwrap_or((registry, "443"));
        is_part(host) && port.parse::<u16>().is_ok() && path.split('/').all(is_part)
    });
    ensure!(
        is_good,
        "IMAGE={image:?} is not the name of an image such as registry.example.com/authentik-proxy-wasm"
    );
    Ok(())
}

fn read(folder: &Path, below: &str, files: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(|name| format!("{below}{name}")) else {
            bail!("{} has a name that is not text", entry.path().display());
        };
        if entry.file_type()?.is_dir() {
            read(&entry.path(), &format!("{name}/"), files)?;
        } else {
            let text =
                fs::read_to_string(entry.path()).with_context(|| format!("{}", entry.path().display()))?;
            for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() >= 16) {
                // A digest that somebody shortened would stay, and nothing could be fetched.
                let is_digest = word == DIGEST || word.bytes().any(|byte| byte != b'0');
                ensure!(is_digest, "{name}: {word} is not a digest of 64 zeros");
            }
            files.insert(name, text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{DIGEST, check_image, fill};
    use crate::{Digest, Version};

    fn filled(files: &[(&str, &str)]) -> anyhow::Result<Vec<(String, String)>> {
        filled_for(None, files)
    }

    fn filled_for(image: Option<&str>, files: &[(&str, &str)]) -> anyhow::Result<Vec<(String, String)>> {
        let folder = tempfile::tempdir()?;
        for (path, text) in files {
            fs::create_dir_all(folder.path().join(path).parent().unwrap())?;
            fs::write(folder.path().join(path), text)?;
        }
        let filled = fill(folder.path(), image, &Version::parse("1.2.3")?, &Digest::of(b"abc"))?;
        Ok(filled.into_iter().map(|(path, text)| (path, String::from_utf8(text).unwrap())).collect())
    }

    #[test]
    fn every_file_gets_version_and_digest() {
        let image = format!("url: oci://example.com/a:v0.0.0-dev\nsha256: \"{DIGEST}\"\n");
        let pinned = format!("image: a@sha256:{DIGEST}");
        let chart = "version: 0.0.0-dev\nappVersion: \"0.0.0-dev\"\n";
        let files =
            filled(&[("base/image.yaml", &image), ("chart/Chart.yaml", chart), ("pinned", &pinned)]).unwrap();
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let expected = [
            ("base/image.yaml", format!("url: oci://example.com/a:v1.2.3\nsha256: \"{hex}\"\n")),
            ("chart/Chart.yaml", "version: 1.2.3\nappVersion: \"1.2.3\"\n".to_owned()),
            ("pinned", format!("image: a@sha256:{hex}")),
        ];
        assert_eq!(files, expected.map(|(path, text)| (path.to_owned(), text)));
    }

    #[test]
    fn folder_without_placeholders_is_refused() {
        for text in ["", "v0.0.0-dev", DIGEST] {
            assert!(filled(&[("a.yaml", text)]).is_err(), "{text}");
        }
    }

    #[test]
    fn digest_of_another_length_is_refused() {
        for zeros in [63, 65, 32] {
            let text = format!("v0.0.0-dev {DIGEST} sha256:{}", "0".repeat(zeros));
            assert!(filled(&[("a.yaml", &text)]).is_err(), "{zeros}");
        }
    }

    #[test]
    fn image_is_named_where_somebody_says_where_it_is() {
        let text = format!("url: oci://registry.example.com/authentik-proxy-wasm:v0.0.0-dev@sha256:{DIGEST}");
        let url = |image| filled_for(image, &[("a.yaml", &text)]).unwrap().remove(0).1;
        assert!(
            url(None).starts_with("url: oci://registry.example.com/authentik-proxy-wasm:v1.2.3@sha256:ba78")
        );
        assert!(url(Some("ghcr.io/me/proxy")).starts_with("url: oci://ghcr.io/me/proxy:v1.2.3@sha256:ba78"));
        let elsewhere = format!("v0.0.0-dev {DIGEST}");
        assert!(filled_for(Some("ghcr.io/me/proxy"), &[("a.yaml", &elsewhere)]).is_err());
    }

    #[test]
    fn image_is_a_registry_and_a_path_without_tag_and_digest() {
        for image in ["ghcr.io/me/proxy", "localhost:5000/proxy", "a/b/c-d_e.f"] {
            check_image(image).unwrap();
        }
        for image in [
            "",
            "proxy",
            "/proxy",
            "ghcr.io/",
            "ghcr.io//proxy",
            "ghcr.io/me/proxy:v1",
            "ghcr.io/me/proxy@sha256:00",
            "oci://a/b",
            "GHCR.io/me/proxy",
            "ghcr.io/me/pro xy",
            "ghcr.io:port/proxy",
            "a/..",
            "ghcr.io/me/proxy\nurl: b",
        ] {
            assert!(check_image(image).is_err(), "{image:?}");
        }
    }
}
