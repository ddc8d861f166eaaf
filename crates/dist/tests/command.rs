//! The command itself: a wrong version or source is an error before anything is written.

use std::process::Command;

const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

/// The exit code, what is on standard error, and whether the folder is there.
fn run(variables: &[(&str, &str)]) -> (Option<i32>, String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("dist");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dist"));
    for name in ["VERSION", "IMAGE", "SOURCE_DATE_EPOCH", "SOURCE_REVISION"] {
        command.env_remove(name);
    }
    let output = command.arg(&target).envs(variables.iter().copied()).output().unwrap();
    let is_empty = std::fs::read_dir(folder.path()).unwrap().next().is_none();
    (output.status.code(), String::from_utf8(output.stderr).unwrap(), is_empty)
}

#[test]
fn wrong_version_ends_with_one_line_and_writes_nothing() {
    let others = [("SOURCE_DATE_EPOCH", "0"), ("SOURCE_REVISION", HASH)];
    for (version, reason) in [
        ("", "is missing"),
        ("v0.1.0", "without the v"),
        ("0.1", "not a version"),
        ("987.6.5", "Cargo.toml says"),
    ] {
        let (code, error, is_empty) = run(&[("VERSION", version), others[0], others[1]]);
        assert_eq!((code, is_empty), (Some(1), true), "{version:?}: {error}");
        assert!(error.contains(reason) && error.trim().lines().count() == 1, "{version:?}: {error}");
    }
}

#[test]
fn unknown_source_or_image_writes_nothing() {
    let version = ("VERSION", env!("CARGO_PKG_VERSION"));
    for (variables, reason) in [
        (vec![version, ("SOURCE_DATE_EPOCH", "0")], "belong together"),
        (vec![version, ("SOURCE_DATE_EPOCH", "now"), ("SOURCE_REVISION", HASH)], "not a time"),
        (vec![version, ("SOURCE_DATE_EPOCH", "0"), ("SOURCE_REVISION", "main")], "not the hash"),
        (
            vec![
                version,
                ("IMAGE", "example.com/a:v1"),
                ("SOURCE_DATE_EPOCH", "0"),
                ("SOURCE_REVISION", HASH),
            ],
            "IMAGE=",
        ),
    ] {
        let (code, error, is_empty) = run(&variables);
        assert_eq!((code, is_empty), (Some(1), true), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}
