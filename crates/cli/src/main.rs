//! The tool `authentik-proxy-wasm`: what an operator needs before a proxy has the filter.
//!
//! Owns: the command line, exit codes, and where output goes. Must not: know a setting or a manifest.

mod check;
mod compare;
mod configuration;
mod document;
mod envoy;
mod envoy_gateway;
mod explain;
mod fault;
mod filter;
mod http;
mod image;
mod import;
mod istio;
mod live;
mod objects;
mod output;
mod reference;
mod schema;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a script can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// 0
    Good,
    /// 1
    Faults,
    /// 2, as clap has it for a wrong command line
    CannotRun,
}

const EXAMPLES: &str = "\
Examples:
  authentik-proxy-wasm check envoy.yaml
  authentik-proxy-wasm check --live config.json
  authentik-proxy-wasm check deploy/production/
  kustomize build deploy/istio/overlays/wasmplugin-classic/3-filter | authentik-proxy-wasm check -
  authentik-proxy-wasm schema > authentik-proxy-wasm.schema.json
  authentik-proxy-wasm import --url https://auth.example.com --token-file token --output config.json --secrets-file secrets.env
  authentik-proxy-wasm explain --config config.json --request request.txt
  authentik-proxy-wasm compare --max-disagreement 0.1 access.log
  authentik-proxy-wasm image inspect target/dist/image

Exit codes: 0 good, 1 faults, 2 nothing could be done (command line, files, network).";

/// Checks, imports and explains configurations of the filter that puts authentik's header authentication into Envoy.
#[derive(Parser)]
#[command(name = "authentik-proxy-wasm", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Finds faults in configurations and manifests; one line each: `file:line: path: what`
    #[command(after_help = CHECK_HELP)]
    Check {
        /// Files, folders (all .yaml, .yml and .json below), or - for standard input
        #[arg(required = true, value_name = "FILE|FOLDER|-")]
        places: Vec<String>,
        /// Asks authentik, and compares each provider with what authentik publishes: issuer, slug, keys, clock
        #[arg(long)]
        live: bool,
        /// Another way to authentik than authentik.host, as the proxy may have one: scheme, host and port
        #[arg(long, value_name = "URL", requires = "live")]
        authentik_url: Option<String>,
    },
    /// Prints the JSON Schema (2020-12) of the configuration
    #[command(after_help = "Example:\n  authentik-proxy-wasm schema > authentik-proxy-wasm.schema.json")]
    Schema,
    /// Prints the reference page of all settings, in Markdown
    #[command(after_help = "Example:\n  authentik-proxy-wasm reference > configuration-reference.md")]
    Reference,
    /// Writes a configuration with the proxy providers of an outpost, from authentik's API
    #[command(after_help = import::HELP)]
    Import(import::Options),
    /// Says what the filter does with a request, and why
    #[command(after_help = explain::HELP)]
    Explain(explain::Options),
    /// Sums up shadow mode: how far the filter agrees with the gate in front of it
    #[command(after_help = compare::HELP)]
    Compare(compare::Options),
    /// Checks and writes images of the filter, and says which digest to pin
    #[command(
        subcommand,
        after_help = "Examples:\n  authentik-proxy-wasm image inspect target/dist/image\n  \
        authentik-proxy-wasm image build plugin.wasm layout --version 0.1.0"
    )]
    Image(image::Image),
}

const CHECK_HELP: &str = "\
The configuration is found in a WasmPlugin, a TrafficExtension, an EnvoyExtensionPolicy, an envoy.yaml, or in a file that
is nothing else. What is given together is judged together: whether the seal stands behind the filter with the same value,
whether each route asks for it, whether targets and selectors match anything. A file with a single object is judged alone.
Give the output of Kustomize or Helm, not what they are made from; a chart in a folder is left out. With a release's files among them (image-digest,
….wasm.sha256, the folder image), pinned digests must be those of the right thing. {\"env\": \"NAME\"} counts as set: the environment is not
read.

With --live, every configuration without faults is held against authentik: for each provider the discovery document and the
key set are fetched as the filter fetches its keys, with the public host and X-Forwarded-Proto. No secret is sent. A wrong slug
that another application has is not found. authentik's answer depends on where the call comes from: it believes
X-Forwarded-Proto from trusted networks only. Certificates are checked as by `import`.

Examples:
  authentik-proxy-wasm check envoy.yaml
  authentik-proxy-wasm check --live config.json
  authentik-proxy-wasm check --live --authentik-url http://authentik.internal:9000 config.json
  authentik-proxy-wasm check gateway.yaml seal.yaml filter.yaml
  kustomize build overlays/production | authentik-proxy-wasm check -
  authentik-proxy-wasm check production.yaml target/dist/image-digest target/dist/*.wasm.sha256

Exit codes: 0 no faults, 1 faults, 2 nothing could be checked.";

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Check { places, live, authentik_url } => {
            check::run(&places, live.then_some(authentik_url.as_deref()))
        }
        Command::Schema => output::print(&format!("{:#}\n", schema::schema()), Outcome::Good),
        Command::Reference => output::print(&reference::page(), Outcome::Good),
        Command::Import(options) => import::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Image(command) => image::run(&command),
    };
    match outcome {
        Outcome::Good => ExitCode::SUCCESS,
        Outcome::Faults => ExitCode::FAILURE,
        Outcome::CannotRun => ExitCode::from(2),
    }
}
