//! `image`: which digest of a downloaded image or module is the one to pin, and an image of a module for an own registry.
//!
//! Owns: the options and the words. Must not: know what an image is; the package `dist` does, which writes those of releases.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use dist::{Digest, Inspected, Source, Version};

use crate::{Outcome, output};

/// Subcommands of `image`.
#[derive(Subcommand)]
pub(crate) enum Image {
    /// Checks an OCI image layout or a module, and prints its digests
    #[command(after_help = INSPECT_HELP)]
    Inspect {
        /// Folder with an OCI image layout, or file with a module
        #[arg(value_name = "LAYOUT|MODULE")]
        place: PathBuf,
        /// What a manifest pins; it must be this one's digest
        #[arg(long)]
        digest: Option<String>,
    },
    /// Writes an OCI image layout with a module in it
    #[command(after_help = BUILD_HELP)]
    Build {
        /// File with the module
        module: PathBuf,
        /// Folder for the layout; it must not be there
        layout: PathBuf,
        /// Version, such as 1.2.3; the image's tag is v1.2.3
        #[arg(long)]
        version: String,
        /// Hash of the commit that the module was made of
        #[arg(long, requires = "created")]
        revision: Option<String>,
        /// Time of that commit, in seconds since 1970
        #[arg(long, requires = "revision", value_name = "SECONDS")]
        created: Option<String>,
    },
}

const INSPECT_HELP: &str = "\
Istio's agent and Envoy Gateway take an image of one manifest with one layer (tar+gzip) that has plugin.wasm. The layout
must have that and nothing else, with the right digests, sizes and media types, and never an index of platforms.

Printed are \"image\", the digest of the manifest, and \"module\", that of the file. Pin \"image\" where the address is an
image's (oci://…, or an image without a scheme), and \"module\" where it is a file's (https://…). All other digests are
refused by the proxies' fetchers: then nobody gets in.

Examples:
  authentik-proxy-wasm image inspect target/dist/image
  skopeo copy docker://registry.example.com/authentik-proxy-wasm:v0.1.0 oci:layout:v0.1.0 && authentik-proxy-wasm image inspect layout
  authentik-proxy-wasm image inspect plugin.wasm --digest \"$PINNED\"

Exit codes: 0 good, 1 faults, 2 there is nothing to inspect.";

const BUILD_HELP: &str = "\
The same module, version, commit and time give the same image, byte for byte. `make dist` writes one so.

Example:
  authentik-proxy-wasm image build authentik-proxy-wasm-0.1.0.wasm layout --version 0.1.0
  skopeo copy oci:layout:v0.1.0 docker://registry.example.com/authentik-proxy-wasm:v0.1.0

Exit codes: 0 written, 1 the module is none, 2 nothing could be read or written (command line, files).";

/// Why the command failed: what the place has, or that it could not be looked at.
enum Problem {
    Faults(Vec<String>),
    CannotRun(String),
}

fn cannot<E: core::fmt::Display>(what: impl core::fmt::Display) -> impl FnOnce(E) -> Problem {
    move |error| Problem::CannotRun(format!("{what}: {error:#}"))
}

pub(crate) fn run(command: &Image) -> Outcome {
    let done = match command {
        Image::Inspect { place, digest } => inspect(place, digest.as_deref()),
        Image::Build { module, layout, version, revision, created } => {
            let source = revision.as_deref().zip(created.as_deref());
            build(module, layout, version, source)
        }
    };
    match done {
        Ok(text) => output::print(&text, Outcome::Good),
        Err(Problem::Faults(faults)) => output::print(&(faults.join("\n") + "\n"), Outcome::Faults),
        Err(Problem::CannotRun(what)) => {
            output::complain(&what);
            Outcome::CannotRun
        }
    }
}

fn inspect(place: &Path, pinned: Option<&str>) -> Result<String, Problem> {
    let at = |fault: &String| format!("{}/{fault}", place.display());
    if place.is_dir() {
        let found =
            dist::inspect(place).map_err(|faults| Problem::Faults(faults.iter().map(at).collect()))?;
        let others = found.others.iter().map(|(name, digest)| (*name, digest));
        let others: Vec<_> = others.chain([("the module", &found.module)]).collect();
        compare(place, pinned, ("the image's manifest", &found.image), &others)?;
        return Ok(described(&found));
    }
    let module = fs::read(place).map_err(cannot(place.display()))?;
    if let Some(what) = dist::module_fault(&module) {
        return Err(Problem::Faults(vec![format!("{}: {what}", place.display())]));
    }
    let digest = Digest::of(&module);
    compare(place, pinned, ("the module", &digest), &[])?;
    Ok(format!("module    {digest}\nsize      {}\n", module.len()))
}

/// Whether what is pinned is the right one of these digests.
fn compare(
    place: &Path,
    pinned: Option<&str>,
    (name, right): (&str, &Digest),
    others: &[(&str, &Digest)],
) -> Result<(), Problem> {
    let Some(pinned) = pinned else { return Ok(()) };
    let hex = pinned.trim_start_matches("sha256:");
    if hex.eq_ignore_ascii_case(right.hex()) {
        return Ok(());
    }
    let other = others.iter().find(|(_, digest)| hex.eq_ignore_ascii_case(digest.hex()));
    let what = match other {
        Some((other, _)) => format!("--digest is that of {other}: pin that of {name}, {right}"),
        None => format!("--digest is another than that of {name}, {right}"),
    };
    Err(Problem::Faults(vec![format!("{}: {what}", place.display())]))
}

fn described(found: &Inspected) -> String {
    let Inspected { image, module, size, version, revision, created, others: _ } = found;
    let mut text = format!("image     {image}\nmodule    {module}\nsize      {size}\nversion   {version}\n");
    for (name, value) in [("revision  ", revision), ("created   ", created)] {
        // It is foreign text.
        let value = value.as_deref().unwrap_or_default().chars().filter(|sign| !sign.is_control());
        let value: String = value.collect();
        if !value.is_empty() {
            text.extend([name, &value, "\n"]);
        }
    }
    text
}

fn build(
    module: &Path,
    layout: &Path,
    version: &str,
    source: Option<(&str, &str)>,
) -> Result<String, Problem> {
    let version = Version::parse(version).map_err(cannot("--version"))?;
    let source = source.map(|(revision, seconds)| Source::of(revision, seconds));
    let source = source.transpose().map_err(cannot("--revision, --created"))?;
    if layout.exists() {
        return Err(Problem::CannotRun(format!("{}: is there already", layout.display())));
    }
    let bytes = fs::read(module).map_err(cannot(module.display()))?;
    if let Some(what) = dist::module_fault(&bytes) {
        return Err(Problem::Faults(vec![format!("{}: {what}", module.display())]));
    }
    let image = dist::Image::of(&bytes, &version, &source).map_err(cannot(layout.display()))?;
    let files = image.layout().into_iter().collect();
    dist::replace(layout, &files).map_err(cannot(layout.display()))?;
    inspect(layout, None)
}
