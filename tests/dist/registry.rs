//! The image through a registry: Debian's `skopeo` copies it to Debian's `docker-registry` on loopback and back.
//!
//! `make dist-test` installs both. Without them the test fails; it is not one of `make test`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dist::Digest;
use fake_authentik::{ALICE, Authentik};
use local_envoy::{Envoy, EnvoyOptions, Folder, module::module};
use loopback::App;
use serde_json::Value;

use super::fetchers::{self, fetch};
use super::{command, image_of};

const PATIENCE: Duration = Duration::from_secs(30);
const TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A registry on loopback that ends with its owner.
struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    fn start(folder: &Path) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let storage = folder.join("registry");
        let settings = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {storage:?}}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\", secret: none}}\n"
        );
        let path = folder.join("registry.yaml");
        fs::write(&path, settings).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("docker-registry is missing: `make dist-test` installs it");
        let mut registry = Self { child, port };
        let start = Instant::now();
        while loopback::client().get(registry.url("/v2/")).send().is_err() {
            assert!(registry.child.try_wait().unwrap().is_none(), "docker-registry ended by itself");
            assert!(start.elapsed() < PATIENCE, "docker-registry does not answer");
            sleep(Duration::from_millis(50));
        }
        registry
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let answer = loopback::client().get(self.url(path)).header("accept", TYPES).send().unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.bytes().unwrap().to_vec()
    }

    /// What a fetcher gets of this tag.
    fn pull(&self, name: &str, tag: &str) -> fetchers::Registry {
        let tagged = self.get(&format!("/v2/{name}/manifests/{tag}"));
        let manifest: Value = serde_json::from_slice(&tagged).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let digests = layers.chain([&manifest["config"]]).map(|it| it["digest"].as_str().unwrap().to_owned());
        let blobs = digests.map(|digest| (digest.clone(), self.get(&format!("/v2/{name}/blobs/{digest}"))));
        fetchers::Registry { tagged, blobs: blobs.collect() }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn skopeo(arguments: &[&str]) {
    let mut command = Command::new("skopeo");
    // Whatever policy the machine has: the digests are compared here.
    let output = command.arg("--insecure-policy").args(arguments).output();
    let output = output.expect("skopeo is missing: `make dist-test` installs it");
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "needs skopeo and docker-registry: make dist-test"]
fn image_comes_back_from_a_registry_unchanged_and_its_module_serves_requests() {
    let folder = Folder::new();
    let built = fs::read(module()).unwrap();
    let image = image_of(&built);
    let (written, returned) = (folder.0.join("image"), folder.0.join("returned"));
    for (path, bytes) in image.layout() {
        let path = written.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let registry = Registry::start(&folder.0);
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    let place = format!("127.0.0.1:{}/authentik-proxy-wasm:v1.2.3", registry.port);
    let line = command("skopeo copy").replace("target/dist/image", written.to_str().unwrap());
    let line = line.replace(&format!("registry.example.com/authentik-proxy-wasm:{version}"), &place);
    let words = line.replace(version, "v1.2.3");
    let words: Vec<_> = words.split(' ').skip(2).collect();
    skopeo(&[&["copy", "--dest-tls-verify=false"], words.as_slice()].concat());
    let (remote, local) = (format!("docker://{place}"), format!("oci:{}:v1.2.3", returned.display()));
    skopeo(&["copy", "--src-tls-verify=false", &remote, &local]);

    let pulled = registry.pull("authentik-proxy-wasm", "v1.2.3");
    assert_eq!(&Digest::of(&pulled.tagged), image.digest());
    let index: Value = serde_json::from_slice(&fs::read(returned.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1, "{index}");
    assert_eq!(index["manifests"][0]["digest"], image.digest().to_string());
    for (path, bytes) in image.layout().iter().filter(|(path, _)| path.starts_with("blobs/")) {
        assert_eq!(&fs::read(returned.join(path)).unwrap(), bytes, "{path}");
    }

    let fetched = fetch(&pulled, Some(image.digest().hex())).unwrap();
    assert_eq!(fetched, built);
    let path = folder.0.join("plugin.wasm");
    fs::write(&path, fetched).unwrap();
    let (authentik, app) = (Authentik::start(), App::start());
    let mut options = EnvoyOptions::new(&authentik.authority(), &app.authority());
    options.module = path;
    let envoy = Envoy::start(options);
    let ask = |password: Option<&str>| {
        let request = envoy.get("/").header("accept", "application/json");
        let request =
            password.into_iter().fold(request, |it, password| it.basic_auth("alice", Some(password)));
        request.send().unwrap().status().as_u16()
    };
    assert_eq!([ask(None), ask(Some("wrong")), ask(Some(ALICE))], [401, 401, 200]);
    assert_eq!(app.count(), 1);
}
