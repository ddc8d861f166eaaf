//! `check`: reads files, sorts what is in them, and prints every fault.
//!
//! Owns: which files are read, and which document is what. Must not: print anything but faults to standard output.

use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;

use walkdir::WalkDir;

use crate::document;
use crate::fault::{Fault, Faults, Good};
use crate::filter::ReleaseFiles;
use crate::objects::{Object, Objects};
use crate::{Outcome, configuration, envoy, envoy_gateway, istio, live, output};

/// A text and whether it was named, not found in a folder.
struct Input {
    file: String,
    text: String,
    is_named: bool,
}

/// `live`: authentik is asked too, perhaps by another way than `authentik.host`.
pub(crate) fn run(places: &[String], live: Option<Option<&str>>) -> Outcome {
    let mut release = ReleaseFiles::default();
    let inputs = match read_all(places, &mut release) {
        Ok(inputs) => inputs,
        Err(what) => {
            output::complain(&what);
            return Outcome::CannotRun;
        }
    };
    let mut faults = Faults::default();
    let Found { filters, objects } = judge(&inputs, &release, &mut faults);
    if let Some(authentik_url) = live
        && let Err(what) = live::check(authentik_url, &mut faults)
    {
        output::complain(&what);
        return Outcome::CannotRun;
    }
    let bold = if io::stdout().is_terminal() { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    let line = |fault: &Fault| {
        let text = fault.to_string();
        let (place, what) = text.split_once(": ").unwrap_or(("", &text));
        format!("{}{place}:{} {what}\n", bold.0, bold.1)
    };
    if !faults.is_empty() {
        return output::print(&faults.iter().map(line).collect::<String>(), Outcome::Faults);
    }
    for Good { file, node, digest } in &faults.good {
        output::complain(&format!("note: {file}:{}: digest of the configuration: {digest}", node.line));
    }
    match (filters, objects) {
        (0, 0) => {
            output::complain("there is no configuration of the filter and no manifest here");
            return Outcome::CannotRun;
        }
        // Good as far as it goes: a folder may have the seal alone.
        (0, _) => output::complain("note: none of these manifests has the filter"),
        _ => {}
    }
    Outcome::Good
}

fn read_all(places: &[String], release: &mut ReleaseFiles) -> Result<Vec<Input>, String> {
    let mut inputs = Vec::new();
    for place in places {
        if place == "-" {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|error| format!("standard input: {error}"))?;
            inputs.push(Input { file: "-".to_owned(), text, is_named: true });
        } else if Path::new(place).is_dir() {
            let is_hidden = |name: &str| name.starts_with('.') && name != "." && name != "..";
            let entries = WalkDir::new(place).sort_by_file_name().into_iter().filter_entry(|entry| {
                let is_hidden = entry.depth() > 0 && entry.file_name().to_str().is_some_and(is_hidden);
                let is_chart = entry.file_type().is_dir() && entry.path().join("Chart.yaml").is_file();
                if is_chart {
                    let what = "is a chart and is left out; check what Helm makes of it";
                    output::complain(&format!("note: {}: {what}", entry.path().display()));
                }
                !is_hidden && !is_chart
            });
            for entry in entries {
                let entry = entry.map_err(|error| error.to_string())?;
                let is_read = |end: &std::ffi::OsStr| end == "yaml" || end == "yml" || end == "json";
                let is_taken = release.take(entry.path(), || fs::read_to_string(entry.path()).ok());
                if !is_taken && entry.path().is_file() && entry.path().extension().is_some_and(is_read) {
                    inputs.push(read(&entry.path().to_string_lossy(), false)?);
                }
            }
        } else if !release.take(Path::new(place), || fs::read_to_string(place).ok()) {
            inputs.push(read(place, true)?);
        }
    }
    Ok(inputs)
}

fn read(file: &str, is_named: bool) -> Result<Input, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(Input { file: file.to_owned(), text, is_named })
}

/// What was understood.
struct Found {
    /// Configurations of the filter, wherever they are.
    filters: usize,
    /// Kubernetes objects.
    objects: usize,
}

fn judge(inputs: &[Input], release: &ReleaseFiles, faults: &mut Faults) -> Found {
    let mut objects = Objects::default();
    let mut filters = 0_usize;
    for Input { file, text, is_named } in inputs {
        let documents = match document::read(text) {
            Ok(documents) => documents,
            Err((line, what)) => {
                faults.add(file, line, "document", format!("cannot be read: {what}"));
                continue;
            }
        };
        for document in documents {
            if let Some(object) = Object::read(file, &document) {
                // The API server's own way to hand over several.
                if object.kind == "List" && object.group.is_empty() {
                    objects.0.extend(
                        document.items_at(&["items"]).iter().filter_map(|item| Object::read(file, item)),
                    );
                } else {
                    objects.0.push(object);
                }
            } else if envoy::is_envoy(&document) {
                filters += usize::from(envoy::check(file, text, &document, faults));
            } else if configuration::is_one(&document) || *is_named {
                configuration::check(file, &document, faults);
                filters += 1;
            }
        }
    }
    objects.0.retain(|object| object.kind != "Kustomization");
    filters += istio::check(&objects, release, faults) + envoy_gateway::check(&objects, release, faults);
    Found { filters, objects: objects.0.len() }
}
