//! `VERSION=x.y.z [IMAGE=registry/path] dist FOLDER`: writes a release into the folder. `make dist` starts it.
//!
//! Version and image come from the environment, so that no shell reads them as anything but text.

use std::env::{args_os, var};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use dist::{Release, root};

fn main() -> ExitCode {
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("make dist: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<()> {
    let folder = args_os().nth(1).map(PathBuf::from).context("which folder?")?;
    let image = var("IMAGE").ok().filter(|image| !image.is_empty());
    let release = Release::prepare(root(), &var("VERSION").unwrap_or_default(), image.as_deref())?;
    let mut make = Command::new("make");
    // A make around this one has options and a pool of jobs that are its own.
    make.args(["--silent", "wasm"]).current_dir(root()).env_remove("MAKEFLAGS").env_remove("MFLAGS");
    ensure!(make.status()?.success(), "the module does not build");
    let written = release.write(&root().join("target/authentik_proxy_wasm.wasm"), &folder)?;
    println!("{}", folder.display());
    println!("image  {} (of the manifest: what WasmPlugin and EnvoyExtensionPolicy pin)", written.image);
    println!("module {}", written.module);
    Ok(())
}
