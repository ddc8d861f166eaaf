//! The version of a release, as SemVer and as the tag of an image.

use std::fmt;

use anyhow::{Context as _, Result, ensure};

/// The longest tag that the OCI distribution specification allows, with the `v`.
const MAX_TAG: usize = 128;

/// A version that can be a release: SemVer without build metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(semver::Version);

impl Version {
    /// Reads `x.y.z` or `x.y.z-pre.1`.
    ///
    /// # Errors
    /// What is wrong with the text, for whoever typed it.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(!text.is_empty(), "is missing");
        let hint = if text.starts_with('v') { "; write it without the v" } else { "" };
        let fault = || format!("{text:?} is not a version such as 1.2.3 or 1.2.3-rc.1{hint}");
        let version = semver::Version::parse(text).with_context(fault)?;
        // A tag of an image has no plus sign.
        ensure!(version.build.is_empty(), "{text:?} has build metadata (+…), which no image tag can have");
        ensure!(text.len() < MAX_TAG, "{text:?} is longer than the tag of an image can be");
        Ok(Self(version))
    }

    /// Compares with the version in `Cargo.toml`, so that the file, the tag and the release agree.
    #[cfg(feature = "release")]
    pub(crate) fn must_be(&self, expected: &semver::Version) -> Result<()> {
        ensure!(
            self.0 == *expected,
            "VERSION is {self}, and [workspace.package] of Cargo.toml says {expected}: change one of them"
        );
        Ok(())
    }

    /// The tag of the image and of the commit.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("v{self}")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn semver_with_a_pre_release_is_a_version() {
        for text in ["0.1.0", "1.2.3", "10.20.30", "1.2.3-rc.1"] {
            assert_eq!(Version::parse(text).unwrap().tag(), format!("v{text}"));
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let long = format!("1.2.3-{}", "a".repeat(122));
        for (text, reason) in [
            ("", "is missing"),
            ("v1.2.3", "without the v"),
            ("1.2", "is not a version"),
            ("1.2.3.4", "is not a version"),
            ("01.2.3", "is not a version"),
            (" 1.2.3", "is not a version"),
            ("1.2.3 ", "is not a version"),
            ("1.2.3\n", "is not a version"),
            ("latest", "is not a version"),
            ("1.2.3/../..", "is not a version"),
            ("$(id)", "is not a version"),
            ("1.2.3+build.5", "build metadata"),
            (&long, "longer"),
        ] {
            let fault = format!("{:#}", Version::parse(text).unwrap_err());
            assert!(fault.contains(reason), "{text:?}: {fault}");
        }
    }

    #[test]
    #[cfg(feature = "release")]
    fn another_version_than_that_of_the_manifest_is_refused() {
        let version = Version::parse("1.2.3").unwrap();
        version.must_be(&semver::Version::new(1, 2, 3)).unwrap();
        let fault = version.must_be(&semver::Version::new(1, 2, 4)).unwrap_err().to_string();
        assert!(fault.contains("1.2.3") && fault.contains("1.2.4"), "{fault}");
    }
}
