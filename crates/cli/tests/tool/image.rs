//! `image`: layouts that a release has, and layouts that break one rule of the fetchers each. `tests/dist` states these rules
//! from the fetchers' side.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Folder, run};

const MODULE: &[u8] = b"\0asm\x01\0\0\0 proxy_abi_version_0_2_1";
const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder with a module and a layout of it.
struct Built {
    folder: Folder,
    printed: String,
}

impl Built {
    fn new(name: &str) -> Self {
        let folder = Folder::new(&format!("image-{name}"));
        fs::write(folder.file("plugin.wasm"), MODULE).unwrap();
        let built = Self::build(&folder, "layout", &["--revision", REVISION, "--created", "1785542400"]);
        Self { printed: built, folder }
    }

    fn build(folder: &Folder, layout: &str, further: &[&str]) -> String {
        let (module, layout) = (folder.file("plugin.wasm"), folder.file(layout));
        let command = ["image", "build", &module, &layout, "--version", "1.2.3"];
        let (code, output, error) = run(&[&command[..], further].concat());
        assert_eq!((code, error.as_str()), (0, ""), "{output}");
        output
    }

    fn layout(&self) -> String {
        self.folder.file("layout")
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&fs::read(Path::new(&self.layout()).join(file)).unwrap()).unwrap()
    }

    fn manifest(&self) -> Value {
        self.json(&self.path_of(&self.json("index.json")["manifests"][0]))
    }

    fn path_of(&self, descriptor: &Value) -> String {
        descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/")
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(Path::new(&self.layout()).join(file), bytes).unwrap();
    }

    /// A blob of its own digest; its descriptor.
    fn add(&self, media_type: &str, bytes: &[u8]) -> Value {
        self.write(&format!("blobs/sha256/{}", hex(bytes)), bytes);
        json!({"mediaType": media_type, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len()})
    }

    /// The layout is of this manifest from now on.
    fn set_manifest(&self, manifest: &Value) {
        let descriptor =
            self.add("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        let mut index = self.json("index.json");
        index["manifests"] = json!([descriptor]);
        self.write("index.json", index.to_string().as_bytes());
    }

    fn set_layer(&self, layer: &[u8]) {
        let mut manifest = self.manifest();
        manifest["layers"] = json!([self.add("application/vnd.oci.image.layer.v1.tar+gzip", layer)]);
        self.set_manifest(&manifest);
    }

    fn inspect(&self, further: &[&str]) -> (i32, String) {
        let layout = self.layout();
        let (code, output, error) = run(&[&["image", "inspect", &layout][..], further].concat());
        assert_eq!(error, "");
        (code, output)
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn digests_to_pin_are_printed() {
    let built = Built::new("digests");
    let image = built.json("index.json")["manifests"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(
        built.printed,
        format!(
            "image     {image}\nmodule    sha256:{}\nsize      {}\nversion   1.2.3\nrevision  {REVISION}\n\
             created   2026-08-01T00:00:00Z\n",
            hex(MODULE),
            MODULE.len()
        )
    );
    assert_eq!(built.inspect(&[]), (0, built.printed.clone()));
    let module = built.folder.file("plugin.wasm");
    let expected = format!("module    sha256:{}\nsize      {}\n", hex(MODULE), MODULE.len());
    assert_eq!(run(&["image", "inspect", &module]), (0, expected, String::new()));
}

#[test]
fn same_module_version_and_source_give_the_image_of_a_release() {
    let built = Built::new("same");
    Built::build(&built.folder, "again", &["--revision", REVISION, "--created", "1785542400"]);
    let source = dist::Source::of(REVISION, "1785542400").unwrap();
    let release = dist::Image::of(MODULE, &dist::Version::parse("1.2.3").unwrap(), &source).unwrap();
    let mut files = 0;
    for (path, bytes) in release.layout() {
        for layout in ["layout", "again"] {
            assert_eq!(fs::read(built.folder.0.join(layout).join(&path)).unwrap(), bytes, "{layout}/{path}");
        }
        files += 1;
    }
    assert_eq!(files, 5);
    let without = Built::build(&built.folder, "without-source", &[]);
    assert!(without.ends_with("version   1.2.3\n"), "{without}");
}

#[test]
fn digest_of_another_thing_is_named() {
    let built = Built::new("pinned");
    let manifest = built.manifest();
    let image = built.json("index.json")["manifests"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(built.inspect(&["--digest", &image]).0, 0);
    assert_eq!(built.inspect(&["--digest", &image.to_uppercase().replace("SHA256:", "")]).0, 0);
    let index = hex(&fs::read(Path::new(&built.layout()).join("index.json")).unwrap());
    for (digest, what) in [
        (hex(MODULE), "that of the module"),
        (manifest["layers"][0]["digest"].as_str().unwrap().to_owned(), "that of the layer"),
        (manifest["config"]["digest"].as_str().unwrap().to_owned(), "that of the image's configuration"),
        (index, "that of index.json"),
        ("0".repeat(64), "another than that of the image's manifest"),
    ] {
        let (code, output) = built.inspect(&["--digest", &digest]);
        assert!(code == 1 && output.contains(what) && output.contains(&image), "{output}");
    }
    let module = built.folder.file("plugin.wasm");
    let (code, output, _) = run(&["image", "inspect", &module, "--digest", &image]);
    assert!(code == 1 && output.contains("another than that of the module"), "{output}");
    assert_eq!(run(&["image", "inspect", &module, "--digest", &hex(MODULE)]).0, 0);
}

/// Each breaks a good layout.
#[test]
fn layout_that_breaks_a_rule_is_refused_with_its_file() {
    type Break = fn(&Built);
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    fn edited(built: &Built, edit: impl FnOnce(&mut Value)) {
        let mut manifest = built.manifest();
        edit(&mut manifest);
        built.set_manifest(&manifest);
    }
    let cases: [(&str, Break); 26] = [
        ("oci-layout: ", |it| fs::remove_file(Path::new(&it.layout()).join("oci-layout")).unwrap()),
        ("oci-layout: imageLayoutVersion", |it| it.write("oci-layout", b"{}")),
        ("index.json: is not JSON", |it| it.write("index.json", b"<html>")),
        ("index.json: manifests: must be one, and there are 0", |it| it.write("index.json", b"{}")),
        ("index.json: manifests: must be one, and there are 2", |it| {
            let mut index = it.json("index.json");
            index["manifests"] = json!([index["manifests"][0], index["manifests"][0]]);
            it.write("index.json", index.to_string().as_bytes());
        }),
        ("index.json: manifests: is an index of platforms", |it| {
            let inner = fs::read(Path::new(&it.layout()).join("index.json")).unwrap();
            let index = json!({"schemaVersion": 2, "manifests": [it.add(INDEX, &inner)]});
            it.write("index.json", index.to_string().as_bytes());
        }),
        ("index.json: manifests[0].mediaType: must be", |it| {
            let mut index = it.json("index.json");
            index["manifests"][0]["mediaType"] =
                json!("application/vnd.docker.distribution.manifest.v2+json");
            it.write("index.json", index.to_string().as_bytes());
        }),
        ("index.json: manifests[0].digest: must be sha256:", |it| {
            let mut index = it.json("index.json");
            index["manifests"][0]["digest"] = json!("sha256:../../../plugin.wasm");
            it.write("index.json", index.to_string().as_bytes());
        }),
        ("index.json: manifests[0].size: must be", |it| {
            let mut index = it.json("index.json");
            index["manifests"][0]["size"] = json!(7);
            it.write("index.json", index.to_string().as_bytes());
        }),
        ("has another digest than its name", |it| {
            let path = it.path_of(&it.json("index.json")["manifests"][0]);
            it.write(&path, b"{}");
        }),
        ("has another digest than its name", |it| {
            let path = it.path_of(&it.manifest()["layers"][0]);
            it.write(&path, b"");
        }),
        ("No such file", |it| {
            let path = it.path_of(&it.manifest()["layers"][0]);
            fs::remove_file(Path::new(&it.layout()).join(path)).unwrap();
        }),
        ("No such file", |it| {
            let path = it.path_of(&it.manifest()["config"]);
            fs::remove_file(Path::new(&it.layout()).join(path)).unwrap();
        }),
        (": mediaType: must be", |it| edited(it, |manifest| manifest["mediaType"] = json!("text/plain"))),
        (": config.mediaType: must be", |it| {
            edited(it, |manifest| manifest["config"]["mediaType"] = json!(""))
        }),
        (": annotations: module.wasm.image/variant: must be compat", |it| {
            edited(it, |manifest| manifest["annotations"]["module.wasm.image/variant"] = json!("oci"));
        }),
        (": annotations: org.opencontainers.image.version: is missing", |it| {
            edited(it, |manifest| manifest["annotations"]["org.opencontainers.image.version"] = json!(""));
        }),
        (": layers: must be one, and there are 0", |it| {
            edited(it, |manifest| manifest["layers"] = json!([]))
        }),
        (": layers: must be one, and there are 2", |it| {
            edited(it, |manifest| manifest["layers"] = json!([manifest["layers"][0], manifest["layers"][0]]));
        }),
        (": layers[0].mediaType: must be", |it| {
            edited(it, |manifest| {
                manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+zstd");
            });
        }),
        (": is not compressed with gzip", |it| it.set_layer(&archive(&[("plugin.wasm", MODULE)]))),
        (": is no tar archive", |it| it.set_layer(&gzip(&[b'a'; 1024]))),
        (": has no file plugin.wasm", |it| it.set_layer(&gzip(&archive(&[])))),
        (": must have the file plugin.wasm and nothing else, and has \"filter.wasm\"", |it| {
            it.set_layer(&gzip(&archive(&[("filter.wasm", MODULE)])));
        }),
        (": plugin.wasm: is no Wasm module", |it| it.set_layer(&gzip(&archive(&[("plugin.wasm", b"text")])))),
        (": config: rootfs.diff_ids: must be", |it| {
            it.set_layer(&gzip(&archive(&[("plugin.wasm", &[MODULE, b"more"].concat())])));
        }),
    ];
    for (index, (what, make_broken)) in cases.into_iter().enumerate() {
        let built = Built::new(&format!("broken-{index}"));
        make_broken(&built);
        let (code, output) = built.inspect(&[]);
        assert_eq!(code, 1, "{what}: {output}");
        let is_it = |line: &str| line.starts_with(&format!("{}/", built.layout())) && line.contains(what);
        assert!(output.lines().any(is_it), "{what:?} is not in {output}");
    }
}

#[test]
fn module_that_no_proxy_can_run_is_refused() {
    let folder = Folder::new("image-module");
    let (module, layout) = (folder.file("plugin.wasm"), folder.file("layout"));
    for (bytes, what) in [
        (&b"text"[..], "is no Wasm module"),
        (b"", "is no Wasm module"),
        // A component has another version.
        (b"\0asm\x0d\0\x01\0 proxy_abi_version_0_2_1", "is no Wasm module"),
        (b"\0asm\x01\0\0\0 _start", "is a Wasm module for no proxy"),
    ] {
        fs::write(&module, bytes).unwrap();
        for command in
            [&["image", "inspect", &module][..], &["image", "build", &module, &layout, "--version", "1.2.3"]]
        {
            let (code, output, error) = run(command);
            assert!(code == 1 && error.is_empty() && output.contains(what), "{command:?}: {output}{error}");
        }
        assert!(!Path::new(&layout).exists());
    }
}

#[test]
fn image_that_cannot_be_written_leaves_everything_as_it_is() {
    let folder = Folder::new("image-refused");
    let (module, layout) = (folder.file("plugin.wasm"), folder.file("layout"));
    fs::write(&module, MODULE).unwrap();
    fs::create_dir(folder.file("there")).unwrap();
    for (arguments, what) in [
        (vec![&*module, &*layout, "--version", "v1.2.3"], "--version: \"v1.2.3\" is not a version"),
        (vec![&module, &layout, "--version", ""], "--version: is missing"),
        (vec![&module, &layout, "--version", "1.2.3", "--revision", REVISION], "--created"),
        (
            vec![&module, &layout, "--version", "1.2.3", "--revision", "main", "--created", "0"],
            "\"main\" is not the hash of a commit",
        ),
        (vec![&layout, &layout, "--version", "1.2.3"], "No such file"),
    ] {
        let (code, output, error) = run(&[&["image", "build"][..], &arguments].concat());
        assert!(code == 2 && output.is_empty() && error.contains(what), "{what}: {error}");
        assert!(!Path::new(&layout).exists(), "{what}");
    }
    let there = folder.file("there");
    let (code, _, error) = run(&["image", "build", &module, &there, "--version", "1.2.3"]);
    assert!(code == 2 && error.contains("is there already"), "{error}");
    assert_eq!(run(&["image", "inspect", &layout]).0, 2, "nothing is there");
}
