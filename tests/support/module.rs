//! The filter as Envoy loads it: builds the module once per process, so that no test runs against a stale
//! artefact, and says where it is. The build is the one that users run, release profile and locked
//! dependencies; cargo does nothing when it is up to date.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The freshly built module.
pub(crate) fn module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| {
        build(&["--release"]);
        path("release")
    })
}

/// A module that panics when it is asked to: see `filter::paused::trigger`.
pub(crate) fn panicking_module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| {
        build(&["--features", "test-panic"]);
        path("debug")
    })
}

fn build(options: &[&str]) {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--target", "wasm32-wasip1", "--lib", "--locked"])
        .args(options)
        .current_dir(root())
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the module does not build");
}

/// Where cargo puts a module of this profile.
pub(crate) fn path(profile: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target).join("wasm32-wasip1").join(profile).join("authentik_proxy_wasm.wasm")
}
