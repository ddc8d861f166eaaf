//! Blocks of code on the pages: each configuration and each command is run here, or a comment before it names what runs it, or
//! what it needs. `docs/tests.md` has the comments.

use std::fs;
use std::process::{Command, Stdio};

use authentik_proxy_wasm::config::Config;
use serde_json::{Value, json};

use super::page::{Block, Page, comment, pages, root};

/// Languages of blocks that somebody copies.
const RUN: [&str; 4] = ["json", "yaml", "sh", "console"];
/// A comment that begins so is for the whole page.
const WHOLE_PAGE: &str = "every command";
/// How comments begin that say why nothing runs the block.
const REASONS: [&str; 2] = ["needs ", "for contributors: "];
/// `make` targets that a test runs under another name: the target, and what `.ci/run` has.
const UNDER_ANOTHER_NAME: [(&str, &str); 3] = [("", "size"), ("run", "scenes"), ("dist", "dist-test")];

/// Folders of this repository. `deploy/NAME` alone is a Deployment to kubectl.
const OUR_FOLDERS: [&str; 5] =
    ["deploy/istio/", "deploy/envoy-gateway/", "deploy/shadow/", "deploy/chart/", "tests/data/"];

/// How a block was run, or why it was not; `Err`: what is wrong.
type Verdict = Result<String, String>;

#[test]
fn every_configuration_and_command_is_run_or_says_why_not() {
    let (mut told, mut faults, mut run) = (Vec::new(), Vec::new(), 0);
    for page in pages() {
        for block in page.blocks() {
            let place = format!("{}:{}", page.path, block.line);
            match verdict(&page, &block) {
                Ok(how) if how.is_empty() => {}
                Ok(how) => {
                    run += usize::from(how.starts_with("run: "));
                    told.push(format!("{place}: {how}"));
                }
                Err(fault) => faults.push(format!("{place}: {fault}")),
            }
        }
    }
    if std::env::var("PAGES").is_ok_and(|what| what == "list") {
        println!("{}", told.join("\n"));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(run > 20, "{}", told.join("\n"));
}

fn verdict(page: &Page, block: &Block) -> Verdict {
    let Some(language) = &block.language else {
        return Err("an indented block: use a fence with a language".to_owned());
    };
    if !RUN.contains(&language.as_str()) {
        return Ok(String::new());
    }
    names_files_that_exist(&block.code)?;
    if let Some(mark) = &block.mark {
        return marked(block, mark);
    }
    let of_the_page = of_the_page(page, language);
    match language.as_str() {
        "json" => configuration(&block.code),
        "yaml" => manifest(&block.code),
        "console" if of_the_page.is_none() || is_all_ours(&block.code) => console(&block.code),
        _ => of_the_page
            .map(|mark| format!("not run: {mark}"))
            .ok_or_else(|| "neither run nor marked".to_owned()),
    }
}

/// The comment for the whole page, if it is about this language.
fn of_the_page(page: &Page, language: &str) -> Option<String> {
    let comments = page.text.lines().filter_map(comment);
    let mark = comments.into_iter().find(|mark| mark.starts_with(WHOLE_PAGE))?;
    let is_about = ["sh", "console"].contains(&language) && (!mark.contains(" with sh ") || language == "sh");
    is_about.then_some(mark)
}

fn marked(block: &Block, mark: &str) -> Verdict {
    if let Some(path) = mark.strip_prefix("from ") {
        return quoted(&block.code, path);
    }
    if let Some(test) = mark.strip_prefix("run by ") {
        return runner(test);
    }
    if REASONS.iter().any(|start| mark.starts_with(start)) {
        return Ok(format!("not run: {mark}"));
    }
    Err(format!("<!-- {mark} -->: not a comment that docs/tests.md explains"))
}

/// `FILE`, or `FILE: FUNCTION`.
fn runner(test: &str) -> Verdict {
    let (path, function) = test.split_once(": ").map_or((test, None), |(path, name)| (path, Some(name)));
    let source = fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))?;
    match function {
        Some(name) if !source.contains(&format!("fn {name}(")) => Err(format!("{path} has no {name}")),
        _ => Ok(format!("run: by {test}")),
    }
}

/// Whether these lines stand in that file, one after the other.
fn quoted(code: &str, path: &str) -> Verdict {
    let text = fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))?;
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let (code, text) = (lines(code), lines(&text));
    let is_there = text.windows(code.len()).any(|window| window == code);
    if is_there { Ok(format!("run: lines of {path}")) } else { Err(format!("not lines of {path}")) }
}

/// Each path that a command names in these folders exists.
fn names_files_that_exist(code: &str) -> Result<(), String> {
    for word in code.split(|it: char| it.is_whitespace() || it == '=') {
        let is_ours = OUR_FOLDERS.iter().any(|start| word.starts_with(start));
        let path = word.trim_end_matches(['.', ',', ';', ')']);
        if is_ours && !path.contains(['…', '$']) && !root().join(path).exists() {
            return Err(format!("{path} does not exist"));
        }
    }
    Ok(())
}

/// A configuration that the filter takes, whole or put into one that is good.
fn configuration(code: &str) -> Verdict {
    let shown: Value = serde_json::from_str(code).map_err(|error| error.to_string())?;
    let shown = shown.as_object().ok_or("not an object")?;
    let mut whole = Value::Object(shown.clone());
    // An outpost's token takes the place of `providers`.
    let has_providers = shown.contains_key("providers") || !whole["authentik"]["token"].is_null();
    if !shown.contains_key("authentik") || !has_providers {
        let mut base = json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.com"},
            "providers": [{
                "assigned_application_slug": "demo", "client_id": "id", "client_secret": "secret",
                "cookie_secret": "0123456789abcdef0123456789abcdef", "external_host": "https://app.example.com",
            }],
        });
        let provider = base["providers"][0].clone();
        for (name, value) in shown {
            base[name] = value.clone();
        }
        for shown in base["providers"].as_array_mut().unwrap() {
            for (name, value) in provider.as_object().unwrap() {
                let fields = shown.as_object_mut().ok_or("a provider is not an object")?;
                fields.entry(name).or_insert_with(|| value.clone());
            }
        }
        whole = base;
    }
    let secret = |_: &str| Some("0123456789abcdef0123456789abcdef".to_owned());
    match Config::parse(whole.to_string().as_bytes(), &secret) {
        Ok(_) => Ok("run: the filter takes this configuration".to_owned()),
        Err(faults) => Err(faults.join("; ")),
    }
}

fn manifest(code: &str) -> Verdict {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    fs::write(file.path(), code).unwrap();
    tool(&["check", file.path().to_str().unwrap()], "", 0).map(|_| "run: check finds no fault".to_owned())
}

/// Whether all commands of a block are the tool's or `make`'s.
fn is_all_ours(code: &str) -> bool {
    let ours = ["authentik-proxy-wasm ", "make"];
    commands(code).iter().all(|shown| ours.iter().any(|start| shown.command.starts_with(start)))
}

/// One command of a block, without prompt and comment.
struct Shown {
    command: String,
    /// What the page shows of its output.
    output: String,
    exit_code: i32,
}

/// The commands of a block. The comment `# exit code 1` says how one ends.
fn commands(code: &str) -> Vec<Shown> {
    let mut commands = Vec::<Shown>::new();
    for line in code.lines() {
        if let Some(line) = line.strip_prefix("$ ") {
            let (command, comment) = line.split_once(" # ").unwrap_or((line, ""));
            let exit_code = comment.strip_prefix("exit code ").map_or(0, |code| code.parse().unwrap());
            commands.push(Shown { command: command.trim_end().to_owned(), output: String::new(), exit_code });
        } else if let Some(shown) = commands.last_mut() {
            shown.output.push_str(line);
            shown.output.push('\n');
        }
    }
    commands
}

fn console(code: &str) -> Verdict {
    let commands = commands(code);
    if commands.is_empty() {
        return Err("no command: begin it with \"$ \"".to_owned());
    }
    let mut how = Vec::new();
    for Shown { command, output, exit_code } in commands {
        let command = command.replace("cargo run --package cli --", "authentik-proxy-wasm");
        let mut words = command.split(' ');
        match words.next().unwrap() {
            "make" => how.push(make(words.next().unwrap_or_default(), words.next())?),
            "authentik-proxy-wasm" => how.push(tool(&words.collect::<Vec<_>>(), &output, exit_code)?),
            _ => return Err(format!("neither run nor marked: {command}")),
        }
    }
    Ok(format!("run: {}", how.join("; ")))
}

/// A target that `.ci/run` makes, or one that a test runs.
fn make(target: &str, argument: Option<&str>) -> Verdict {
    let target = if target.contains('=') { "" } else { target };
    let under = UNDER_ANOTHER_NAME.iter().find(|(name, _)| *name == target).map_or(target, |(_, it)| it);
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    if !ci.lines().any(|line| line.trim() == format!("make {under}")) {
        return Err(format!(".ci/run has no make {under}: mark the block"));
    }
    if let Some(scene) = argument.and_then(|it| it.strip_prefix("SCENE=")) {
        let demo = fs::read_to_string(root().join("crates/demo/src/scene.rs")).unwrap();
        if !demo.contains(&format!("\"{scene}\"")) {
            return Err(format!("no scene {scene}"));
        }
    }
    Ok(format!("make {target}, as make {under} of .ci/run").replace("make ,", "make,"))
}

/// The tool ends as it is shown, and prints what is shown, with complaints behind the output.
fn tool(arguments: &[&str], shown: &str, exit_code: i32) -> Verdict {
    let output = Command::new(env!("CARGO_BIN_EXE_authentik-proxy-wasm"))
        .args(arguments)
        .env_clear()
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [said, complaint] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    if output.status.code() != Some(exit_code) {
        return Err(format!("{arguments:?} ends with {}: {said}{complaint}", output.status));
    }
    let said = if exit_code == 0 { said } else { said + &complaint };
    if !shown.is_empty() && shown != said {
        return Err(format!("{arguments:?} prints:\n{said}"));
    }
    Ok(format!("authentik-proxy-wasm {}", arguments.join(" ")))
}
