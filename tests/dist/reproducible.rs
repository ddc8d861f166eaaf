//! The release is the same bytes in another folder, with another cargo home and without network.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use local_envoy::{Folder, module::root};

use super::command;

const IMAGE: &str = "registry.test:5000/somebody/proxy";

/// Every file of the checkout that git knows or would take, copied.
fn copy_source(target: &Path) {
    let options = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"];
    let files = Command::new("git").args(options).current_dir(root()).output().unwrap();
    assert!(files.status.success());
    let files = String::from_utf8(files.stdout).unwrap();
    for file in files.split('\0').filter(|file| root().join(file).is_file()) {
        let copy = target.join(file);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(root().join(file), copy).unwrap();
    }
}

fn cargo_home() -> PathBuf {
    let named = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo"))
}

/// The archives of the crates and the index, and nothing unpacked.
fn copy_cargo_home(target: &Path) {
    fs::create_dir_all(target.join("registry")).unwrap();
    for part in ["cache", "index"] {
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(cargo_home().join("registry").join(part)).arg(target.join("registry"));
        assert!(copy.status().unwrap().success(), "{part}");
    }
}

/// `make dist` in this folder, into that one; what it wrote.
fn release(
    folder: &Path,
    target: &Path,
    cargo_home: &Path,
    [mask, zone]: [&str; 2],
) -> BTreeMap<String, Vec<u8>> {
    // How files are written and what time it is there differs as well.
    let line = command("make dist").replace("registry.example.com/authentik-proxy-wasm", IMAGE);
    assert!(line.contains(concat!("VERSION=", env!("CARGO_PKG_VERSION"), " ")), "{line}");
    let mut command = Command::new("bash");
    command.args(["-c", &format!("umask {mask}; {line}")]);
    for (name, _) in std::env::vars_os() {
        // What cargo tells this test.
        if name.to_string_lossy().starts_with("CARGO") || ["MAKEFLAGS", "MFLAGS"].iter().any(|it| name == *it)
        {
            command.env_remove(name);
        }
    }
    command.envs([("SOURCE_DATE_EPOCH", "1785542400"), ("TZ", zone), ("CARGO_NET_OFFLINE", "true")]);
    command.env("SOURCE_REVISION", "a".repeat(40)).env("CARGO_HOME", cargo_home);
    command.env("DIST", target).current_dir(folder);
    assert!(command.status().unwrap().success(), "make dist in {}", folder.display());
    let mut files = BTreeMap::new();
    read(target, "", &mut files);
    files
}

fn read(folder: &Path, below: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            read(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

#[test]
#[ignore = "compiles everything once more: make dist-test"]
fn release_has_the_same_bytes_in_another_folder_with_another_cargo_home() {
    let elsewhere = Folder::new();
    let folder = elsewhere.0.join("a longer name, with blanks");
    let home = elsewhere.0.join("cargo");
    copy_source(&folder);
    copy_cargo_home(&home);
    let targets = ["here", "there"].map(|name| elsewhere.0.join(name));
    let here = release(root(), &targets[0], &cargo_home(), ["022", "UTC"]);
    let there = release(&folder, &targets[1], &home, ["077", "Asia/Kathmandu"]);
    assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
    for (name, bytes) in &here {
        assert!(bytes == &there[name], "{name} differs");
    }
    let module = format!("authentik-proxy-wasm-{}.wasm", env!("CARGO_PKG_VERSION"));
    for name in
        [module.as_str(), "image-digest", "THIRD-PARTY-LICENSES.txt", "image/index.json", "SHA256SUMS"]
    {
        assert!(here.contains_key(name), "{name}");
    }
    let line = command("cd target/dist").replace("target/dist", targets[1].to_str().unwrap());
    let sums = Command::new("bash").args(["-c", &line]).status();
    assert!(sums.unwrap().success());
    let digest = str::from_utf8(&here["image-digest"]).unwrap().trim().strip_prefix("sha256:").unwrap();
    let mut manifests = here.iter().filter(|(name, _)| name.starts_with("deploy/")).map(|(_, bytes)| bytes);
    let is_filled =
        |bytes: &&Vec<u8>| [IMAGE, digest].iter().all(|it| String::from_utf8_lossy(bytes).contains(it));
    assert!(manifests.clone().filter(is_filled).count() >= 2, "Istio's and Envoy Gateway's");
    assert!(manifests.all(|bytes| !String::from_utf8_lossy(bytes).contains(&"0".repeat(64))));
    let homes = [root().to_owned(), folder, cargo_home(), home, elsewhere.0.clone()];
    let rustup = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let rustup = rustup.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".rustup"));
    for (name, bytes) in &here {
        let mut unpacked = Vec::new();
        let is_packed = GzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).is_ok();
        for text in [bytes, &unpacked] {
            for path in homes.iter().chain([&rustup]) {
                let path = path.to_str().unwrap().as_bytes();
                assert!(!text.windows(path.len()).any(|window| window == path), "{name} names a folder");
            }
        }
        assert_eq!(is_packed, name.starts_with("image/blobs/") && bytes.starts_with(b"\x1f\x8b"), "{name}");
    }
    println!("image {}", String::from_utf8_lossy(&here["image-digest"]));
}
