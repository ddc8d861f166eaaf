//! The tool as it is called.

mod check;
mod compare;
mod explain;
mod image;
mod import;
mod import_tls;
mod live;
mod moving_over;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fake_authentik::{ADMIN_TOKEN, ALICE_API_TOKEN, OUTPOST_TOKEN};

/// What no output may have, but where it is asked for.
const SECRETS: [&str; 9] = [
    "a-seal-that-nobody-can-guess",
    "a-seal-of-the-filter-alone",
    "a-seal-of-the-secret-alone",
    "never-printed",
    "client-secret-0123456789abcdef",
    "cookie-secret-012345",
    OUTPOST_TOKEN,
    ADMIN_TOKEN,
    ALICE_API_TOKEN,
];

/// Exit code, standard output, standard error.
type Output = (i32, String, String);

fn tool() -> Command {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_authentik-proxy-wasm"));
    tool.env_clear();
    tool
}

/// Whatever is in it.
fn run_with_secrets(arguments: &[&str]) -> Output {
    let output = tool().args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    // Every good configuration has this note; one test is about it.
    let is_other = |line: &&str| !line.contains(": digest of the configuration: ");
    let complaints: String = text(output.stderr).split_inclusive('\n').filter(is_other).collect();
    let output = (output.status.code().unwrap(), text(output.stdout), complaints);
    assert!(
        !output.1.contains('\u{1b}') && !output.2.contains('\u{1b}'),
        "colour without a terminal: {output:?}"
    );
    output
}

fn run(arguments: &[&str]) -> Output {
    let output = run_with_secrets(arguments);
    for secret in SECRETS {
        assert!(
            !output.1.contains(secret) && !output.2.contains(secret),
            "{arguments:?} shows {secret}: {output:?}"
        );
    }
    output
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

    /// The path of a file in it.
    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// All files in it, with what is in them.
    fn content(&self) -> Vec<(String, Vec<u8>)> {
        let files = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn help_has_examples_that_the_tool_knows() {
    for arguments in [
        &["--help"][..],
        &["check", "--help"],
        &["schema", "--help"],
        &["import", "--help"],
        &["compare", "--help"],
    ] {
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

#[test]
fn reader_that_has_gone_is_no_panic() {
    let folder = Folder::new("no-reader");
    fs::write(folder.file("plugin.wasm"), b"\0asm\x01\0\0\0 proxy_abi_version_0_2_1").unwrap();
    fs::write(folder.file("faulty.json"), "{}").unwrap();
    let (module, faulty) = (folder.file("plugin.wasm"), folder.file("faulty.json"));
    for (arguments, code) in [
        (&["schema"][..], 0),
        (&["reference"], 0),
        (&["check", &faulty], 1),
        (&["image", "inspect", &module], 0),
        (&["image", "inspect", &faulty], 1),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = tool();
        command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), error.as_str()), (Some(code), ""), "{arguments:?}");
    }
}
