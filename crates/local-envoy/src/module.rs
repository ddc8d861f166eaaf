//! The filter as Envoy loads it: builds the module once per process, so that no test runs against a stale
//! artefact, and says where it is. The build is the one that users run; cargo does nothing when it is up to
//! date.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the repository.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this package is in a folder of the workspace")
}

/// The freshly built module.
pub fn module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| {
        run(Command::new("make").args(["--silent", "wasm"]));
        path()
    })
}

/// Where `make` puts it.
pub fn path() -> PathBuf {
    root().join("target/authentik_proxy_wasm.wasm")
}

/// A module that panics when it is asked to: see `filter::paused::trigger`.
pub fn panicking_module() -> &'static Path {
    module_with_all_features()
}

/// A module that checks RS256 and ES256 itself where the host does not.
pub fn portable_module() -> &'static Path {
    module_with_all_features()
}

/// One build for what no user has.
fn module_with_all_features() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| {
        let options = [
            "build",
            "--quiet",
            "--locked",
            "--target",
            "wasm32-wasip1",
            "--package",
            "authentik-proxy-wasm",
            "--lib",
        ];
        run(Command::new(env!("CARGO")).args(options).args(["--features", "test-panic,portable"]));
        root().join("target/wasm32-wasip1/debug/authentik_proxy_wasm.wasm")
    })
}

fn run(command: &mut Command) {
    // A make around this one has options and a pool of jobs that are its own.
    let status = command.current_dir(root()).env_remove("MAKEFLAGS").env_remove("MFLAGS").status();
    assert!(status.expect("it runs").success(), "the module does not build: {command:?}");
}
