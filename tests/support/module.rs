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
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--target", "wasm32-wasip1", "--lib", "--locked"])
            .current_dir(root())
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the module does not build");
        path()
    })
}

/// Where cargo puts the module.
pub(crate) fn path() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target).join("wasm32-wasip1/release/authentik_proxy_wasm.wasm")
}
