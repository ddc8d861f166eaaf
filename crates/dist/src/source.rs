//! The commit that a release is made of, and its time: the only time in a release.

#[cfg(feature = "release")]
use std::{env::var, path::Path, process::Command};

#[cfg(feature = "release")]
use anyhow::bail;
use anyhow::{Context as _, Result, ensure};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A commit and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The commit's hash.
    pub revision: String,
    /// When it was committed, as RFC 3339 in UTC.
    pub created: String,
}

impl Source {
    /// From `SOURCE_DATE_EPOCH` and `SOURCE_REVISION`, for a source without git; else from git.
    ///
    /// # Errors
    /// There is no commit, or the folder differs from it: then the release would name a source that it is not made of.
    #[cfg(feature = "release")]
    pub(crate) fn find(root: &Path) -> Result<Self> {
        match (var("SOURCE_DATE_EPOCH"), var("SOURCE_REVISION")) {
            (Ok(seconds), Ok(revision)) => Self::of(&revision, &seconds),
            (Err(_), Err(_)) => Self::of_commit(root),
            _ => bail!("SOURCE_DATE_EPOCH and SOURCE_REVISION belong together: set both or none"),
        }
    }

    #[cfg(feature = "release")]
    fn of_commit(root: &Path) -> Result<Self> {
        let changes = git(root, &["status", "--porcelain"])?;
        ensure!(
            changes.is_empty(),
            "the folder differs from its commit; commit first, or set SOURCE_DATE_EPOCH and SOURCE_REVISION:\n{changes}"
        );
        Self::of(
            &git(root, &["rev-parse", "HEAD"])?,
            &git(root, &["show", "--no-patch", "--format=%ct", "HEAD"])?,
        )
    }

    /// From a hash and the seconds since 1970.
    ///
    /// # Errors
    /// One of them is not what it should be.
    pub fn of(revision: &str, seconds: &str) -> Result<Self> {
        ensure!(
            revision.len() >= 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{revision:?} is not the hash of a commit"
        );
        let fault = || format!("{seconds:?} is not a time in seconds since 1970");
        let time =
            OffsetDateTime::from_unix_timestamp(seconds.parse().with_context(fault)?).with_context(fault)?;
        Ok(Self { revision: revision.to_owned(), created: time.format(&Rfc3339)? })
    }
}

#[cfg(feature = "release")]
fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).current_dir(root).output().context("git")?;
    ensure!(
        output.status.success(),
        "git {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Source;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn time_is_utc_and_to_the_second() {
        assert_eq!(Source::of(HASH, "1785542400").unwrap().created, "2026-08-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_commit_or_no_time_is_refused() {
        for (revision, seconds) in [("main", "0"), ("", "0"), (HASH, ""), (HASH, "now"), (HASH, "1e9")] {
            assert!(Source::of(revision, seconds).is_err(), "{revision:?} {seconds:?}");
        }
    }

    #[test]
    fn uncommitted_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let identity =
                ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
            let mut command = Command::new("git");
            command.args(identity).args(arguments).current_dir(folder.path());
            assert!(command.output().unwrap().status.success(), "{arguments:?}");
        };
        git(&["init", "--quiet"]);
        git(&["commit", "--quiet", "--allow-empty", "--message=a"]);
        assert_eq!(Source::of_commit(folder.path()).unwrap().revision.len(), 40);
        std::fs::write(folder.path().join("new"), "text").unwrap();
        let fault = Source::of_commit(folder.path()).unwrap_err().to_string();
        assert!(fault.contains("?? new"), "{fault}");
    }
}
