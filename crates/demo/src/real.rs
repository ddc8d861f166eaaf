//! A real authentik in the place of the stand-in.
//!
//! Owns these variables. `AUTHENTIK` is its URL as browsers see it: `https://host[:port]` or `http://host[:port]`. With
//! `AUTHENTIK_TOKEN` of an outpost the applications of that outpost are served. Else one provider is: `AUTHENTIK_SLUG`,
//! `AUTHENTIK_CLIENT_ID`, `AUTHENTIK_CLIENT_SECRET`, `AUTHENTIK_COOKIE_SECRET`, and `EXTERNAL_HOST` where browsers do not see
//! Envoy at its own URL. `AUTHENTIK_CA` is a file with the authorities to trust, `AUTHENTIK_ADDRESS` is `host:port` where DNS does not
//! lead to authentik. Must not: start anything.

use std::path::PathBuf;

use local_envoy::EnvoyOptions;
use serde_json::json;

use super::{take_providers_from_authentik, text};

/// Leads Envoy and the filter to the authentik at this URL.
pub(crate) fn take(options: &mut EnvoyOptions, url: &str) -> Result<(), String> {
    let (is_tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err("AUTHENTIK must be https://host[:port] or http://host[:port]".to_owned()),
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let (name, port) = split(authority).unwrap_or((authority, if is_tls { "443" } else { "80" }));
    let address = text("AUTHENTIK_ADDRESS").unwrap_or_else(|| format!("{name}:{port}"));
    if split(&address).is_none() {
        return Err(format!("AUTHENTIK_ADDRESS={address} is not host:port"));
    }
    options.set_cluster("authentik", &address);
    let authorities = text("AUTHENTIK_CA").map(PathBuf::from);
    if let Some(file) = authorities.as_ref().filter(|file| !file.is_file()) {
        return Err(format!("AUTHENTIK_CA={}: there is no such file", file.display()));
    }
    if is_tls {
        options.speak_tls_to("authentik", name.trim_matches(['[', ']']), authorities.as_deref());
    }
    options.configuration["authentik"]["host"] = json!(url);
    if let Some(token) = text("AUTHENTIK_TOKEN") {
        take_providers_from_authentik(options, token);
        return Ok(());
    }
    let provider = &mut options.configuration["providers"][0];
    provider["assigned_application_slug"] = json!(required("AUTHENTIK_SLUG")?);
    provider["client_id"] = json!(required("AUTHENTIK_CLIENT_ID")?);
    for secret in ["AUTHENTIK_CLIENT_SECRET", "AUTHENTIK_COOKIE_SECRET"] {
        options.environment.insert(secret.to_owned(), required(secret)?);
    }
    Ok(())
}

/// Host and port, if there is a port.
fn split(authority: &str) -> Option<(&str, &str)> {
    authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok())
}

fn required(variable: &str) -> Result<String, String> {
    text(variable).ok_or_else(|| format!("with AUTHENTIK, AUTHENTIK_TOKEN or {variable} must be set"))
}
