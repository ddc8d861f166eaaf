//! Everything of a release, in one folder: the module, the OCI image, the manifests, the SBOM and the licences.
//!
//! The same commit gives the same bytes on every machine: no clock, no random number, no path of the machine and no
//! order of a folder gets into a file. Nothing is fetched. Must not decide what the module is: `make wasm` builds it.
//!
//! Features: `release` is all of it; without it there is the image alone, written and read, for a tool that needs no cargo.

#[cfg(feature = "release")]
mod dependencies;
mod folder;
pub mod image;
mod inspect;
#[cfg(feature = "release")]
mod licences;
#[cfg(feature = "release")]
mod manifests;
#[cfg(feature = "release")]
mod release;
#[cfg(feature = "release")]
mod sbom;
mod source;
mod version;

#[cfg(feature = "release")]
use std::path::Path;

#[cfg(feature = "release")]
pub use dependencies::{Dependencies, Dependency};
pub use folder::replace;
pub use image::{Digest, Image};
pub use inspect::{Inspected, inspect, module_fault};
#[cfg(feature = "release")]
pub use release::{Release, Written};
pub use source::Source;
pub use version::Version;

/// What the project is called: the module, the image, the component of the SBOM.
pub const NAME: &str = "authentik-proxy-wasm";

/// The root of the repository.
#[cfg(feature = "release")]
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}
