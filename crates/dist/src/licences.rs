//! The licence texts of what is in the module: the licences ask that who passes the code on passes them on too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{Dependencies, Dependency};

/// The C library below Rust's. Its notices come with its source, and the toolchain has neither.
const WASI_LIBC: &str = include_str!("wasi-libc.txt");
/// How the files begin, in any case.
const NAMES: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// All texts of the crates whose code is in the module; equal texts once. A crate without a text is an error.
pub(crate) fn of_crates(dependencies: &Dependencies) -> Result<Vec<u8>> {
    let linked: Vec<_> = dependencies.crates().filter(|it| it.is_linked).collect();
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for dependency in &linked {
        for text in texts(dependency)? {
            owners.entry(text).or_default().push(format!("{} {}", dependency.name, dependency.version));
        }
    }
    let mut all = String::from("authentik-proxy-wasm contains code of these crates:\n\n");
    for dependency in linked {
        all += &format!("{} {}: {}\n", dependency.name, dependency.version, dependency.licence);
    }
    all += "\nIt also contains code of the Rust standard library (THIRD-PARTY-LICENSES-rust-std.html) and of wasi-libc.\n";
    let mut owners: Vec<_> = owners.into_iter().map(|(text, owners)| (owners, text)).collect();
    owners.sort();
    for (owners, text) in owners {
        all += &format!("\n{}\n{}\n\n{text}\n", "-".repeat(80), owners.join(", "));
    }
    all += &format!("\n{}\n{WASI_LIBC}", "-".repeat(80));
    Ok(all.into_bytes())
}

fn texts(dependency: &Dependency) -> Result<Vec<String>> {
    let folder = &dependency.folder;
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
        if entry.file_type()?.is_file() && NAMES.iter().any(|start| name.starts_with(start)) {
            let text =
                fs::read_to_string(entry.path()).with_context(|| format!("{}", entry.path().display()))?;
            texts.push(text.replace("\r\n", "\n").trim_matches('\n').to_owned());
        }
    }
    ensure!(
        !texts.is_empty(),
        "{} {} comes without the text of its licence",
        dependency.name,
        dependency.version
    );
    texts.sort();
    texts.dedup();
    Ok(texts)
}

/// The notices that come with the compiler for the standard library.
pub(crate) fn of_standard_library(root: &Path) -> Result<Vec<u8>> {
    let output =
        Command::new("rustc").args(["--print", "sysroot"]).current_dir(root).output().context("rustc")?;
    ensure!(output.status.success(), "rustc --print sysroot failed");
    let sysroot = String::from_utf8(output.stdout)?;
    let path = Path::new(sysroot.trim()).join("share/doc/rust/COPYRIGHT-library.html");
    fs::read(&path).with_context(|| format!("{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::of_crates;
    use crate::{Dependencies, root};

    #[test]
    fn every_linked_crate_is_named_and_every_kind_of_licence_has_its_text() {
        let dependencies = Dependencies::read(root()).unwrap();
        let text = String::from_utf8(of_crates(&dependencies).unwrap()).unwrap();
        let (list, texts) = text.split_once("\n---").unwrap();
        for dependency in dependencies.crates() {
            let named = format!("{} {}", dependency.name, dependency.version);
            let is_named = list.lines().any(|line| line.starts_with(&format!("{named}: ")));
            assert_eq!(is_named, dependency.is_linked, "{named}");
            assert!(!dependency.is_linked || texts.contains(&named), "{named} has no text");
        }
        for phrase in [
            "Permission is hereby granted",
            "Apache License",
            "Neither the name of",
            "This software is provided 'as-is'",
            "Rich Felker",
        ] {
            assert!(texts.contains(phrase), "{phrase}");
        }
    }
}
