//! The tool `authentik-proxy-wasm`: finds the faults of configurations and manifests before a proxy does.
//!
//! Owns: the command line, exit codes, and where output goes. Must not: know a setting or a manifest.

mod check;
mod configuration;
mod document;
mod envoy;
mod envoy_gateway;
mod fault;
mod filter;
mod istio;
mod objects;
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
  authentik-proxy-wasm check deploy/production/
  kustomize build deploy/istio/overlays/wasmplugin-classic/3-filter | authentik-proxy-wasm check -
  authentik-proxy-wasm schema > authentik-proxy-wasm.schema.json

Exit codes: 0 no faults, 1 faults, 2 nothing could be checked (command line, files).";

/// Checks configurations and manifests of the filter that puts authentik's header authentication into Envoy.
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
    },
    /// Prints the JSON Schema (2020-12) of the configuration
    #[command(after_help = "Example:\n  authentik-proxy-wasm schema > authentik-proxy-wasm.schema.json")]
    Schema,
    /// Prints the reference page of all settings, in Markdown
    #[command(after_help = "Example:\n  authentik-proxy-wasm reference > configuration-reference.md")]
    Reference,
}

const CHECK_HELP: &str = "\
The configuration is found in a WasmPlugin, a TrafficExtension, an EnvoyExtensionPolicy, an envoy.yaml, or in a file that
is nothing else. What is given together is judged together: whether the seal stands behind the filter with the same value,
whether each route asks for it, whether targets and selectors match anything. A file with a single object is judged alone.
Give the output of Kustomize or Helm, not what they are made from. {\"env\": \"NAME\"} counts as set: the environment is not
read.

Examples:
  authentik-proxy-wasm check envoy.yaml
  authentik-proxy-wasm check gateway.yaml seal.yaml filter.yaml
  kustomize build overlays/production | authentik-proxy-wasm check -

Exit codes: 0 no faults, 1 faults, 2 nothing could be checked.";

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Check { places } => check::run(&places),
        Command::Schema => {
            println!("{:#}", schema::schema());
            Outcome::Good
        }
        Command::Reference => {
            print!("{}", reference::page());
            Outcome::Good
        }
    };
    match outcome {
        Outcome::Good => ExitCode::SUCCESS,
        Outcome::Faults => ExitCode::FAILURE,
        Outcome::CannotRun => ExitCode::from(2),
    }
}
