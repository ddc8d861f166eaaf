//! `import`: writes a configuration with the proxy providers of an outpost, as authentik's API has them.
//!
//! Owns: the options, the choice of the outpost, and in which order what happens. Must not: write before everything is known
//! and the filter's own parser has accepted it; show a secret.

mod api;
mod entries;
mod files;

use std::fs;
use std::path::{Path, PathBuf};

use authentik_proxy_wasm::config::Config;
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use self::api::Api;
use self::entries::{Imported, Secrets};
use crate::{Outcome, output};

/// Options of `import`.
#[derive(Args)]
#[command(group(ArgGroup::new("secrets").required(true)))]
pub(crate) struct Options {
    /// authentik's URL, as this machine reaches it; may have a path prefix
    #[arg(long)]
    url: String,
    /// File with an API token: the outpost's own, or an administrator's
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Name of the outpost, where the token sees several
    #[arg(long, value_name = "NAME")]
    outpost: Option<String>,
    /// authentik's URL as browsers see it (authentik.host) [default: the outpost's setting, else --url]
    #[arg(long, value_name = "URL")]
    host: Option<String>,
    /// Envoy cluster that leads to authentik (authentik.cluster)
    #[arg(long, value_name = "NAME", default_value = "authentik")]
    cluster: String,
    /// File for the configuration; an old one is replaced [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// File for the secrets, one NAME=value a line, mode 0600; the configuration refers to the names
    #[arg(long, value_name = "FILE", group = "secrets")]
    secrets_file: Option<PathBuf>,
    /// Write the secrets into the configuration, whose file gets mode 0600
    #[arg(long, group = "secrets")]
    inline_secrets: bool,
}

pub(crate) const HELP: &str = "\
The token of an outpost is shown in authentik's admin interface: Applications, Outposts, View Deployment Info. The API that
is read: GET /api/v3/outposts/instances/ and GET /api/v3/outposts/proxy/.

Secrets (client_secret, cookie_secret) come from authentik. With --secrets-file the configuration has {\"env\": \"NAME\"} and
the file has NAME=value, as `kubectl create secret generic --from-env-file` and `docker run --env-file` read it. The proxy
needs these variables in its environment. With --inline-secrets the configuration itself has the values.

Certificates are checked against those of the system; SSL_CERT_FILE names a file with others. HTTPS_PROXY is used.

Nothing is written unless all of it is good: the filter's own parser judges the configuration first.

Examples:
  authentik-proxy-wasm import --url https://auth.example.com --token-file token --output config.json --secrets-file secrets.env
  authentik-proxy-wasm import --url http://localhost:9000 --host https://auth.example.com --token-file token --inline-secrets

Exit codes: 0 written, 1 what authentik has cannot be a configuration, 2 nothing could be read or written (command line, URL,
token, outpost, files).";

/// Why nothing was written. The texts name the option, and no secret.
pub(crate) enum Problem {
    /// Exit code 2.
    CannotRun(String),
    /// Exit code 1: one line each.
    Faults(Vec<String>),
}

/// At fault is what this option says.
fn option(name: &str, what: impl AsRef<str>) -> Problem {
    Problem::CannotRun(format!("{name}: {}", what.as_ref()))
}

pub(crate) fn run(options: &Options) -> Outcome {
    let (lines, outcome) = match import(options) {
        Ok(notes) => {
            (notes.into_iter().map(|note| format!("note: {note}")).collect::<Vec<_>>(), Outcome::Good)
        }
        Err(Problem::CannotRun(what)) => (vec![what], Outcome::CannotRun),
        Err(Problem::Faults(faults)) => (faults, Outcome::Faults),
    };
    lines.iter().for_each(|line| output::complain(line));
    outcome
}

/// What the operator should know of what was written.
fn import(options: &Options) -> Result<Vec<String>, Problem> {
    let files = files::Targets::check(options.output.as_deref(), options.secrets_file.as_deref())?;
    let api = Api::new(&options.url, &read_token(&options.token_file)?)?;
    let outpost = choose(&api.list("outposts/instances/")?, options.outpost.as_deref())?;
    let listed = api.list("outposts/proxy/")?;
    let imported = entries::read(&listed, &outpost.providers, !options.inline_secrets)?;
    if imported.providers.is_empty() {
        let what = format!("\"{}\" has no proxy provider with an application", outpost.name);
        return Err(option("--outpost", what));
    }
    let host = options.host.clone().or(outpost.host).unwrap_or_else(|| options.url.clone());
    let Imported { providers, secrets, mut notes } = imported;
    let configuration = json!({
        "authentik": {"cluster": options.cluster, "host": host.trim_end_matches('/')},
        "outpost_name": outpost.name,
        "providers": providers,
    });
    judge(&configuration, &secrets)?;
    let left_out = outpost.providers.iter().filter(|(key, _)| !listed.iter().any(|it| it["pk"] == *key));
    notes.extend(left_out.map(|(_, name)| format!("provider \"{name}\" has no application and is left out")));
    files.write(&format!("{configuration:#}\n"), options.inline_secrets, &secrets)?;
    Ok(notes)
}

fn read_token(file: &Path) -> Result<String, Problem> {
    let fault = |what: &str| option("--token-file", format!("{}: {what}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| fault(&error.to_string()))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(fault("is empty"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fault("must have the token and nothing else"));
    }
    Ok(token.to_owned())
}

/// An outpost as far as it matters here.
struct Outpost {
    name: String,
    /// Primary key and name.
    providers: Vec<(Value, String)>,
    /// authentik as browsers see it. As at authentik's own outpost, `authentik_host_browser` counts before `authentik_host`.
    host: Option<String>,
}

fn choose(instances: &[Value], wanted: Option<&str>) -> Result<Outpost, Problem> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let name = |outpost: &Value| text(&outpost["name"]).unwrap_or_default();
    let proxies: Vec<_> = instances.iter().filter(|outpost| outpost["type"] == "proxy").collect();
    let seen = proxies.iter().map(|outpost| format!("\"{}\"", name(outpost))).collect::<Vec<_>>().join(", ");
    let chosen = match (proxies.as_slice(), wanted) {
        ([], _) => return Err(option("--token-file", "the token sees no proxy outpost")),
        ([one], None) => one,
        (_, None) => return Err(option("--outpost", format!("is missing: the token sees {seen}"))),
        (all, Some(wanted)) => all.iter().find(|outpost| name(outpost) == wanted).ok_or_else(|| {
            option("--outpost", format!("the token sees no proxy outpost \"{wanted}\", but {seen}"))
        })?,
    };
    let objects = chosen["providers_obj"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name_of = |key: &Value| {
        let found = objects.iter().find(|object| object["pk"] == *key);
        found.and_then(|object| text(&object["name"])).unwrap_or_else(|| key.to_string())
    };
    let keys = chosen["providers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let hosts = ["authentik_host_browser", "authentik_host"].map(|field| text(&chosen["config"][field]));
    Ok(Outpost {
        name: name(chosen),
        providers: keys.iter().map(|key| (key.clone(), name_of(key))).collect(),
        host: hosts.into_iter().flatten().find(|host| !host.is_empty()),
    })
}

/// The filter's own judgement, with the values that the variables will have.
fn judge(configuration: &Value, secrets: &Secrets) -> Result<(), Problem> {
    let Err(faults) = Config::parse(configuration.to_string().as_bytes(), &|name| secrets.value(name)) else {
        return Ok(());
    };
    let slug_of = |fault: &str| {
        let index = fault.strip_prefix("providers[")?.split_once(']')?.0.parse::<usize>().ok()?;
        configuration["providers"][index]["assigned_application_slug"].as_str()
    };
    let of_options = |fault: &&String| fault.starts_with("authentik.");
    if let Some(fault) = faults.iter().find(of_options) {
        return Err(Problem::CannotRun(fault.replacen("authentik.", "--", 1)));
    }
    let line = |fault: &String| match slug_of(fault) {
        Some(slug) => format!("provider \"{slug}\": {fault}"),
        None => fault.clone(),
    };
    Err(Problem::Faults(faults.iter().map(line).collect()))
}
