//! `check` as it is called: broken files and the shipped ones.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data");
const ENVOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy.yaml");

/// Values of the broken files that no output may have.
const SECRETS: [&str; 4] = [
    "a-seal-that-nobody-can-guess",
    "a-seal-of-the-filter-alone",
    "a-seal-of-the-secret-alone",
    "never-printed",
];

/// Exit code, standard output, standard error.
type Output = (i32, String, String);

fn tool() -> Command {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_authentik-proxy-wasm"));
    tool.env_clear();
    tool
}

fn run(arguments: &[&str]) -> Output {
    let output = tool().args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let output = (output.status.code().unwrap(), text(output.stdout), text(output.stderr));
    for secret in SECRETS {
        assert!(
            !output.1.contains(secret) && !output.2.contains(secret),
            "{arguments:?} shows {secret}: {output:?}"
        );
    }
    assert!(
        !output.1.contains('\u{1b}') && !output.2.contains('\u{1b}'),
        "colour without a terminal: {output:?}"
    );
    output
}

fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The faults that a broken file says it has: `#! what` at the end of a line, or `#! @line what` before the text.
fn marks(text: &str) -> Vec<(usize, String)> {
    let mark = |(index, line): (usize, &str)| {
        let (_, mark) = line.split_once("#! ")?;
        match mark.strip_prefix('@').and_then(|mark| mark.split_once(' ')) {
            Some((line, what)) => Some((line.parse().unwrap(), what.to_owned())),
            None => Some((index + 1, mark.to_owned())),
        }
    };
    text.lines().enumerate().filter_map(mark).collect()
}

#[test]
fn every_fault_of_the_broken_files_is_found_at_its_line_and_nothing_else() {
    let files = entries(format!("{DATA}/check"));
    assert!(files.len() >= 20, "{}", files.len());
    for file in &files {
        let marks = marks(&fs::read_to_string(file).unwrap());
        assert!(!marks.is_empty(), "{}: no fault is expected", file.display());
        let place = file.to_str().unwrap();
        let (code, output, error) = run(&["check", place]);
        assert_eq!((code, error.as_str()), (1, ""), "{place}\n{output}");
        let found: Vec<_> = output
            .lines()
            .map(|line| {
                let rest = line.strip_prefix(place).unwrap().strip_prefix(':').unwrap();
                let (line, what) = rest.split_once(": ").unwrap();
                (line.parse::<usize>().unwrap(), what)
            })
            .collect();
        assert_eq!(found.len(), marks.len(), "{place}: expected {marks:#?}\n{output}");
        for (line, what) in &marks {
            let is_it = |(at, found): &(usize, &str)| at == line && found.contains(what.as_str());
            assert!(found.iter().any(is_it), "{place}:{line}: {what} is not in\n{output}");
        }
    }
}

/// A folder of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// With the two placeholders filled in.
fn filled_in(text: &str) -> String {
    let digest = "4f2c1b7d9e8a6350c4d7e1f0a2b3958671d4c8e9f0b1a2736455869778a9bacb";
    text.replace(&"0".repeat(64), digest)
        .replace("the value of AUTHENTIK_SEAL", "a-seal-that-nobody-can-guess")
}

#[test]
fn every_shipped_overlay_passes_but_for_the_placeholders() {
    let overlays: Vec<_> = ["istio", "envoy-gateway"]
        .iter()
        .flat_map(|kind| entries(format!("{DATA}/manifests/{kind}")))
        .collect();
    assert!(overlays.len() >= 12, "{overlays:?}");
    for overlay in &overlays {
        let (code, output, _) = run(&["check", overlay.to_str().unwrap()]);
        let faults: Vec<_> = output.lines().collect();
        assert!(code == 1 && faults.len() == 2, "{}\n{output}", overlay.display());
        assert!(faults.iter().all(|fault| fault.contains("is the placeholder")), "{output}");

        let folder = Folder::new(&format!("overlay-{}", name(overlay)));
        for step in entries(overlay) {
            fs::write(folder.0.join(name(&step)), filled_in(&fs::read_to_string(&step).unwrap())).unwrap();
        }
        assert_eq!(
            run(&["check", folder.path()]),
            (0, String::new(), String::new()),
            "{}",
            overlay.display()
        );
    }
}

#[test]
fn the_shipped_envoy_yaml_passes_but_for_its_placeholder() {
    let (code, output, _) = run(&["check", ENVOY]);
    assert!(code == 1 && output.lines().count() == 1 && output.contains("is the placeholder"), "{output}");
    let folder = Folder::new("envoy");
    let file = folder.0.join("envoy.yaml");
    fs::write(&file, filled_in(&fs::read_to_string(ENVOY).unwrap())).unwrap();
    assert_eq!(run(&["check", file.to_str().unwrap()]), (0, String::new(), String::new()));
}

#[test]
fn exit_codes_tell_faults_from_what_could_not_be_checked() {
    let folder = Folder::new("exit-codes");
    let file = |name: &str, text: &str| {
        let path = folder.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = r#"{"authentik": {"cluster": "a", "host": "https://a.test"}, "providers": [{
        "assigned_application_slug": "app", "client_id": "id", "client_secret": {"env": "X"},
        "cookie_secret": [{"env": "Y"}], "external_host": "https://b.test"}]}"#;
    assert_eq!(run(&["check", &file("good.json", good)]), (0, String::new(), String::new()));
    let (code, output, _) = run(&["check", &file("empty-map.json", "{}")]);
    assert_eq!((code, output.lines().count()), (1, 4), "{output}");

    let nowhere = folder.0.join("not-there.yaml");
    let (code, output, error) = run(&["check", nowhere.to_str().unwrap()]);
    assert!(code == 2 && output.is_empty() && error.contains("not-there.yaml"), "{error}");
    let empty = Folder::new("exit-codes-empty");
    assert_eq!(run(&["check", empty.path()]).0, 2, "nothing was checked");
    let seal = format!("{DATA}/manifests/istio/waypoint/2-seal.yaml");
    let (code, output, error) = run(&["check", &seal]);
    assert!(
        code == 0 && output.is_empty() && error.contains("none of these manifests has the filter"),
        "{error}"
    );
    for wrong in [&["check"][..], &["chekc"], &["check", "--nonsense"], &[]] {
        assert_eq!(run(wrong).0, 2, "{wrong:?}");
    }
}

#[test]
fn standard_input_is_read_for_a_dash() {
    let text = fs::read_to_string(format!("{DATA}/check/istio-fail-open.yaml")).unwrap();
    let mut child = tool().args(["check", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("-:7: spec.failStrategy: FAIL_OPEN"));
}

#[test]
fn help_has_examples_that_the_tool_knows() {
    for arguments in [&["--help"][..], &["check", "--help"], &["schema", "--help"], &["reference", "--help"]]
    {
        let (code, output, _) = run(arguments);
        let examples = output.split("Example").nth(1).unwrap_or_else(|| panic!("{arguments:?}: {output}"));
        let commands: Vec<_> = examples
            .split("authentik-proxy-wasm ")
            .skip(1)
            .filter_map(|rest| rest.split_whitespace().next())
            .collect();
        assert!(code == 0 && !commands.is_empty(), "{output}");
        for command in commands {
            assert_eq!(run(&[command, "--help"]).0, 0, "{command}");
        }
    }
}
