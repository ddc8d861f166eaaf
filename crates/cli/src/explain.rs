//! `explain`: what the filter does with one request, and why. The core itself decides, natively and without a network.
//!
//! Owns: the options, where the configuration is found, and in which order what is said. Must not: decide anything; show a secret
//! of the configuration, of the request or of an answer.

mod input;
mod text;
mod worker;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use authentik_proxy_wasm::authn::Authenticator;
use authentik_proxy_wasm::config::Config;
use clap::Args;

use self::input::{Environment, Problem, cannot};
use self::worker::{Worker, given};
use crate::document::{self, Node};
use crate::fault::Faults;
use crate::{Outcome, envoy, output};

/// Options of `explain`.
#[derive(Args)]
pub(crate) struct Options {
    /// File with the configuration: by itself, or in a manifest or an envoy.yaml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// File with the request: its first line and its headers, as HTTP/1.1 has them
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The moment, in seconds since 1970 [default: now]
    #[arg(long, value_name = "SECONDS")]
    now: Option<u64>,
    /// File with the provider's keys (JWKS), as authentik publishes them
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// File with what authentik answers: JSON, or a whole HTTP/1.1 response. May be given for each further question
    #[arg(long, value_name = "FILE")]
    answer: Vec<PathBuf>,
    /// File with the secrets, one NAME=value a line, as `import` writes it; else they come from the environment
    #[arg(long, value_name = "FILE")]
    secrets_file: Option<PathBuf>,
}

pub(crate) const HELP: &str = "\
Printed are the row of the decision table, what is done with the request, which headers are removed and set, and the reason
with the words of metrics and log. Nothing is sent to anybody: without --keys or --answer it says what the filter would ask
authentik, and what follows from each verdict. The filter is one that has just started, so nothing is cached and nobody has
been refused before. Tokens, passwords, cookies and what comes from a user's attributes are shown by their length.

A secret that is not set counts as unknown: tokens signed with it, and sessions, are not good then.

With authentik.token the providers come from authentik, which is not asked: only those of the configuration count. Write the
others into a configuration with `import`.

Examples:
  authentik-proxy-wasm explain --config config.json --request request.txt
  authentik-proxy-wasm explain --config envoy.yaml --request request.txt --keys jwks.json --secrets-file secrets.env
  authentik-proxy-wasm explain --config config.json --request request.txt --answer token.json --now 1796000000

A request:
  GET /reports HTTP/1.1
  Host: app.example.com
  Authorization: Bearer eyJhbGciOi...

Exit codes: 0 explained, whatever the decision is; 1 the configuration has faults; 2 nothing could be explained.";

pub(crate) fn run(options: &Options) -> Outcome {
    match explain(options) {
        Ok(text) => output::print(&text, Outcome::Good),
        Err(Problem::Faults(faults)) => output::print(&(faults.join("\n") + "\n"), Outcome::Faults),
        Err(Problem::CannotRun(what)) => {
            output::complain(&what);
            Outcome::CannotRun
        }
    }
}

fn explain(options: &Options) -> Result<String, Problem> {
    let environment = Environment::read(options.secrets_file.as_deref())?;
    let request = input::request(&options.request)?;
    let keys = options.keys.as_deref().map(input::answer).transpose()?;
    let answers: Vec<_> = options.answer.iter().map(|file| input::answer(file)).collect::<Result<_, _>>()?;
    let now = options.now.map_or_else(clock, Ok)?;
    let config = configuration(options, &environment)?;
    let mut lines = text::Lines::default();
    for name in environment.missing() {
        lines.add("note", format!("{name} is not set: it counts as a value that nobody knows"));
    }
    if config.outpost.is_some() {
        let import = "authentik-proxy-wasm import";
        lines.add(
            "note",
            format!("authentik.token: authentik's own providers are not known here; `{import}` writes them"),
        );
    }
    let provider_names: Vec<_> = config.providers.iter().map(|provider| provider.name.clone()).collect();
    let authenticator =
        Authenticator::new(config).ok_or_else(|| Problem::CannotRun("the core does not start".to_owned()))?;
    let mut worker = Worker::new(authenticator, now, &request);
    let came = worker.run(given(keys, answers));
    for call in &came.calls {
        lines.call(call);
    }
    lines.decision(&came, &provider_names);
    Ok(lines.into_text())
}

fn clock() -> Result<u64, Problem> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map(|time| time.as_secs()).map_err(|error| Problem::CannotRun(format!("--now: {error}")))
}

/// The one configuration in the file.
fn configuration(options: &Options, environment: &Environment) -> Result<Config, Problem> {
    let file = options.config.display().to_string();
    let text = input::read(&options.config, "--config")?;
    let documents = document::read(&text).map_err(|(line, what)| {
        Problem::Faults(vec![format!("{file}:{line}: document: cannot be read: {what}")])
    })?;
    let nodes: Vec<_> = documents.iter().flat_map(Node::walk).collect();
    let mut faults = Faults::default();
    let maps = nodes.iter().filter(|node| crate::configuration::is_one(node));
    let mut found: Vec<String> = maps
        .map(|node| {
            crate::configuration::check(&file, node, &mut faults);
            node.to_json().to_string()
        })
        .collect();
    for field in nodes.iter().flat_map(|node| node.fields()) {
        // Envoy has it as JSON in a string.
        let Some(json) = field.node.text().filter(|text| text.trim_start().starts_with('{')) else {
            continue;
        };
        if document::read(json).unwrap_or_default().iter().any(crate::configuration::is_one) {
            let line = envoy::first_line(&text, &field.node, field.line);
            crate::configuration::check_text(&file, line, json, &mut faults);
            found.push(json.to_owned());
        }
    }
    let one = match found.as_slice() {
        [one] => one,
        [] => return Err(cannot("--config", &file, "has no configuration of the filter")),
        several => {
            let what = format!("has {} configurations; give a file with one", several.len());
            return Err(cannot("--config", &file, what));
        }
    };
    if !faults.is_empty() {
        return Err(Problem::Faults(faults.iter().map(ToString::to_string).collect()));
    }
    Config::parse(one.as_bytes(), &|name| environment.value(name))
        .map_err(|faults| Problem::Faults(faults.iter().map(|fault| format!("{file}: {fault}")).collect()))
}
