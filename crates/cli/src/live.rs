//! `check --live`: each provider of a good configuration against what authentik publishes.
//!
//! Owns: the calls, which are the core's own, and the place of each finding. The comparison is the core's. Must not: send a
//! secret; follow a redirect; repeat what an answer says beyond what the core has cleaned.

use std::io::Read as _;
use std::time::{SystemTime, UNIX_EPOCH};

use authentik_proxy_wasm::authn::authentik::call::{Answer, Call};
use authentik_proxy_wasm::authn::authentik::{self, discovery};
use authentik_proxy_wasm::authn::doctor;
use authentik_proxy_wasm::authn::fault::Fault;
use authentik_proxy_wasm::authn::jwt::jwk::KeySet;
use authentik_proxy_wasm::base::secret::Secret;
use authentik_proxy_wasm::base::time::Timestamp;
use authentik_proxy_wasm::config::{Config, Provider};
use reqwest::Url;
use reqwest::blocking::Client;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue};

use crate::document::Node;
use crate::fault::{Faults, Good};
use crate::{configuration, http, output};

/// Adds what differs to the faults. authentik is asked at `address`, else at its `authentik.host`.
///
/// # Errors
/// The command line is wrong.
pub(crate) fn check(address: Option<&str>, faults: &mut Faults) -> Result<(), String> {
    let address = address.map(origin).transpose()?;
    // HTTP/1.1, because there the header Host can name the public host on another way.
    let client = http::client().http1_only().build();
    let client = client.map_err(|error| format!("there can be no connection: {}", http::cause(&error)))?;
    for Good { file, node, .. } in faults.good.clone() {
        let Ok(config) = configuration::parse(node.to_json().to_string().as_bytes()) else { continue };
        let base = address.clone().unwrap_or_else(|| {
            let authentik = &config.authentik.base;
            format!("{}://{}", authentik.scheme.as_str(), authentik.host)
        });
        let live = Live { client: &client, base, config: &config };
        for text in live.findings() {
            faults.add_text(&file, line(&node, &text), text);
        }
    }
    Ok(())
}

fn line(node: &Node, text: &str) -> usize {
    configuration::locate(node, text).0
}

/// Scheme, host and port of another way to authentik.
fn origin(address: &str) -> Result<String, String> {
    let url = Url::parse(address).map_err(|error| format!("--authentik-url: is not a URL: {error}"))?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.path() == "/";
    if !matches!(url.scheme(), "http" | "https") || !is_plain || url.query().or(url.fragment()).is_some() {
        return Err("--authentik-url: must be http:// or https:// with a host and perhaps a port".to_owned());
    }
    Ok(url.origin().ascii_serialization())
}

struct Live<'a> {
    client: &'a Client,
    /// What is before the path.
    base: String,
    config: &'a Config,
}

impl Live<'_> {
    /// What differs: the path of a setting, and what to set.
    fn findings(&self) -> Vec<String> {
        let (mut found, mut clock) = (Vec::new(), None);
        for (id, provider) in self.config.providers.iter().enumerate() {
            match self.examine(provider, &mut clock) {
                Ok((keys, findings)) if findings.is_empty() => {
                    output::complain(&format!(
                        "note: authentik agrees with the provider \"{}\": {}",
                        provider.name,
                        signs_with(&keys)
                    ));
                }
                Ok((_, findings)) => {
                    found.extend(findings.iter().map(|finding| format!("{}: {finding}", finding.path(id))));
                }
                Err(Problem::Slug) => {
                    let path = format!("providers[{id}].assigned_application_slug");
                    let slug = &provider.slug;
                    found.push(format!(
                        "{path}: authentik knows no application with the slug \"{slug}\" that has a provider (404); \
                         set the application's slug"
                    ));
                }
                Err(Problem::Answer(what)) => found.push(format!("authentik.host: {what}")),
                // The others would wait as long, and say the same.
                Err(Problem::NoAnswer(what)) => {
                    found.push(format!("authentik.host: {what}"));
                    break;
                }
            }
        }
        found.extend(clock.map(|finding| format!("{}: {finding}", finding.path(0))));
        found
    }

    fn examine(
        &self,
        provider: &Provider,
        clock: &mut Option<doctor::Finding>,
    ) -> Result<(KeySet, Vec<doctor::Finding>), Problem> {
        let mut ask = |call: &Call| {
            let answer = self.ask(call)?;
            if let (None, Answer::Response { date: Some(date), .. }) = (&clock, &answer) {
                *clock = doctor::clock(self.config, *date, now());
            }
            Ok(answer)
        };
        let keys_call = authentik::keys_call(self.config, provider);
        let answer = ask(&keys_call)?;
        let (keys, _) = authentik::read_keys(&answer).map_err(|fault| self.problem(&keys_call, &fault))?;
        let discovery_call = authentik::discovery_call(self.config, provider);
        let answer = ask(&discovery_call)?;
        let discovery = discovery::read(&answer).map_err(|fault| self.problem(&discovery_call, &fault))?;
        let findings = doctor::compare(self.config, provider, &discovery, &keys);
        Ok((keys, findings))
    }

    fn ask(&self, call: &Call) -> Result<Answer, Problem> {
        let url = self.url(call);
        let no_answer = |what: &str| {
            let what = format!("{url} cannot be reached: {what}; set authentik.host, or --authentik-url");
            Problem::NoAnswer(what)
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &call.headers {
            // HTTP/1.1 has Host in place of :authority, and the others are in the URL.
            let name = match *name {
                ":authority" => "host",
                name if name.starts_with(':') => continue,
                name => name,
            };
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| no_answer("no such header"))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let request = self.client.get(&url).headers(headers).timeout(call.timeout);
        let response = request.send().map_err(|error| {
            if error.is_timeout() {
                let seconds = call.timeout.as_secs();
                no_answer(&format!("no answer within {seconds} seconds (authentik.timeout_seconds)"))
            } else {
                no_answer(&http::cause(&error))
            }
        })?;
        let date = response.headers().get(DATE);
        let date = date.and_then(|date| Timestamp::from_http_date(date.as_bytes()));
        let status = response.status().as_u16();
        let limit = u64::try_from(call.max_response_bytes).unwrap_or(u64::MAX);
        let mut body = Vec::new();
        Ok(match response.take(limit.saturating_add(1)).read_to_end(&mut body) {
            Err(_) => Answer::Reset,
            Ok(_) if body.len() > call.max_response_bytes => Answer::TooLarge,
            Ok(_) => Answer::Response { status, retry_after: None, date, body: Secret::new(body) },
        })
    }

    fn url(&self, call: &Call) -> String {
        let path = call.headers.iter().find(|(name, _)| *name == ":path");
        let path = path.map(|(_, path)| String::from_utf8_lossy(path.as_bytes())).unwrap_or_default();
        format!("{}{path}", self.base)
    }

    fn problem(&self, call: &Call, fault: &Fault) -> Problem {
        let url = self.url(call);
        let what = match fault {
            Fault::UnknownApplication => return Problem::Slug,
            Fault::Unavailable { status: status @ 300..=399, .. } => {
                format!("{url} redirects ({status}); set authentik.host, or --authentik-url, to the target")
            }
            Fault::Unavailable { status: status @ 500..=599, .. } => {
                format!(
                    "{url} fails ({status}): authentik has an error or a key that it cannot use; look at its log"
                )
            }
            Fault::Unavailable { status, .. } => {
                format!("{url} is not authentik's page ({status}); set authentik.host, or --authentik-url")
            }
            fault => format!("{url}: {fault}; set authentik.host, or --authentik-url"),
        };
        Problem::Answer(what)
    }
}

/// Why a provider could not be examined.
enum Problem {
    /// authentik does not know the slug.
    Slug,
    /// It is no answer of authentik's.
    Answer(String),
    /// Nobody answers.
    NoAnswer(String),
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_seconds(since.map_or(0, |since| since.as_secs()))
}

fn signs_with(keys: &KeySet) -> &'static str {
    match keys {
        KeySet::ClientSecret => "no signing key, so HS256 with the client secret",
        KeySet::Public(_) => "a signing key that the filter can use",
    }
}
