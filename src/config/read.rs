//! From raw JSON to the settings that all providers share.
//!
//! Owns: their names, defaults and limits. Must not: read a provider; [`super::provider`] does.

use core::time::Duration;
use std::rc::Rc;

use serde_json::Value;

use super::json::Object;
use super::provider;
use super::seal::Seal;
use super::settings::{Authentik, Cache, Config, Jwks, Provider, Session, SessionIssue, Throttle, YEAR};
use crate::base::header::{self, IdentityHeader};
use crate::base::mac;
use crate::base::secret::Secret;
use crate::base::url::BaseUrl;

pub(super) fn json(raw: &[u8]) -> Result<Value, String> {
    let is_json = raw.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte == b'{');
    match (raw, is_json) {
        ([], _) => Err("configuration: is empty".to_owned()),
        (_, false) => {
            Err("configuration: must be a JSON object in a google.protobuf.StringValue; Envoy hands a \
             google.protobuf.Struct over in binary form"
                .to_owned())
        }
        (_, true) => serde_json::from_slice(raw).map_err(|error| {
            format!("configuration: is not JSON (line {}, column {})", error.line(), error.column())
        }),
    }
}

/// `None` only where a fault was found.
pub(super) fn config(raw: &[u8], mut root: Object<'_>) -> Option<Config> {
    let authentik = read_authentik(root.required_object("authentik"));
    let session = read_session(root.object("session"));
    let mut warnings = Vec::new();
    let outpost_name = root.string("outpost_name").unwrap_or("envoy").to_owned();
    let entries = root.required_objects("providers");
    let count = entries.len();
    let providers: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| provider::read(entry, authentik.as_ref(), &outpost_name, &session, &mut warnings))
        .map(Rc::new)
        .collect();
    provider::check_distinct(&root, &providers);
    let cache = read_cache(root.object("cache"));
    let jwks = read_jwks(root.object("jwks"));
    let throttle = read_throttle(root.object("throttle"));
    let seal = read_seal(&mut root);
    let config = Config {
        outpost_name,
        identity_headers: read_identity_headers(&mut root),
        owned_headers: read_owned_headers(&mut root, seal.as_deref()),
        clock_skew_seconds: root.integer_or("clock_skew_seconds", 60, 0..=3600),
        allow_cors_preflight: root.bool_or("allow_cors_preflight", false),
        allow_cors_origins: read_cors_origins(&mut root),
        cache,
        jwks,
        session,
        throttle,
        public_digest: String::new(),
        warnings,
        // Last: everything was read before one of these ends the reading.
        digest: digest(raw, &providers, seal.as_deref())?,
        seal,
        providers,
        authentik: authentik?,
    };
    (config.providers.len() == count).then_some(config)
}

fn read_authentik(mut object: Object<'_>) -> Option<Authentik> {
    let cluster = object.required_string("cluster").to_owned();
    let base = provider::read_base_url(&mut object, "host");
    let timeout = Duration::from_secs(object.integer_or("timeout_seconds", 5, 1..=60));
    let max_response_bytes = object.integer_or("max_response_bytes", 1 << 20, 4096..=16 << 20);
    let max_concurrent_calls = object.integer_or("max_concurrent_calls", 8, 1..=1_024);
    let max_pending_calls = object.integer_or("max_pending_calls", 256, 1..=65_536);
    let max_wait_seconds = object.integer_or("max_wait_seconds", 15, 1..=300);
    Some(Authentik {
        cluster,
        base: base?,
        timeout,
        max_response_bytes: to_usize(max_response_bytes),
        max_concurrent_calls: to_usize(max_concurrent_calls),
        max_pending_calls: to_usize(max_pending_calls),
        max_wait_seconds,
    })
}

fn read_identity_headers(root: &mut Object<'_>) -> Vec<IdentityHeader> {
    let key = "identity_headers";
    let Some(names) = root.strings(key) else { return IdentityHeader::ALL.to_vec() };
    let mut chosen = Vec::new();
    for name in names {
        match IdentityHeader::from_short_name(name) {
            Some(header) if !chosen.contains(&header) => chosen.push(header),
            Some(_) => root.fault(key, format!("names \"{name}\" twice")),
            None => root.fault(key, format!("does not know {name:?}")),
        }
    }
    chosen
}

fn read_owned_headers(root: &mut Object<'_>, seal: Option<&Seal>) -> Vec<String> {
    let key = "owned_headers";
    let names = root.strings(key).unwrap_or_default();
    for name in &names {
        if !header::may_be_owned(name) {
            root.fault(key, format!("{name:?} is not a name that can be taken from clients"));
        }
    }
    let mut owned: Vec<_> = names.into_iter().map(header::normalise).collect();
    if let Some(seal) = seal
        && !header::is_owned(seal.header.as_bytes(), &owned)
    {
        owned.push(seal.header.clone());
    }
    owned
}

fn read_seal(root: &mut Object<'_>) -> Option<Rc<Seal>> {
    root.optional_object("seal").and_then(Seal::read).map(Rc::new)
}

fn read_cors_origins(root: &mut Object<'_>) -> Vec<String> {
    let key = "allow_cors_origins";
    let origins = root.strings(key).unwrap_or_default();
    for (index, _) in origins.iter().enumerate().filter(|(_, origin)| !is_origin(origin)) {
        let what = "must be an origin as browsers send it, such as \"https://app.example.com\"";
        root.fault(&format!("{key}[{index}]"), what);
    }
    origins.into_iter().map(str::to_owned).collect()
}

/// Origins are compared byte by byte with what browsers send, so only that form is one (RFC 6454 §6.2): lower case, no
/// path, no default port, and no pattern.
fn is_origin(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/[]".contains(&byte);
    text.bytes().all(is_plain) && BaseUrl::parse(text).is_ok_and(|url| url.origin() == text)
}

fn read_cache(mut object: Object<'_>) -> Cache {
    Cache {
        ttl_seconds: object.integer_or("ttl_seconds", 60, 0..=86_400),
        negative_ttl_seconds: object.integer_or("negative_ttl_seconds", 10, 0..=300),
        stale_seconds: object.integer_or("stale_seconds", 0, 0..=86_400),
        local_entries: to_usize(object.integer_or("local_entries", 1024, 1..=65_536)),
        shared_slots: u32::try_from(object.integer_or("shared_slots", 4096, 0..=65_536)).unwrap_or_default(),
    }
}

fn read_jwks(mut object: Object<'_>) -> Jwks {
    Jwks {
        refresh_seconds: object.integer_or("refresh_seconds", 300, 5..=86_400),
        min_refresh_interval_seconds: object.integer_or("min_refresh_interval_seconds", 10, 1..=3600),
    }
}

fn read_session(mut object: Object<'_>) -> Session {
    let enabled = object.bool_or("enabled", true);
    let issue = object.word_or(
        "issue",
        Some(SessionIssue::Always),
        &[("always", Some(SessionIssue::Always)), ("login", Some(SessionIssue::Login)), ("never", None)],
    );
    Session {
        issue: issue.filter(|_| enabled),
        max_age_seconds: object.integer_or("max_age_seconds", 86_400, 1..=YEAR),
    }
}

fn read_throttle(mut object: Object<'_>) -> Throttle {
    Throttle {
        failures: u32::try_from(object.integer_or("failures", 10, 0..=100_000)).unwrap_or_default(),
        failures_per_user: u32::try_from(object.integer_or("failures_per_user", 100, 1..=100_000))
            .unwrap_or_default(),
        window_seconds: object.integer_or("window_seconds", 60, 1..=3600),
        trust_source_address: object.bool_or("trust_source_address", false),
    }
}

/// HMAC over the raw text, keyed by the secrets: the environment is part of the configuration, and a digest
/// without a key would let a weak secret be guessed from the names of the shared slots.
fn digest(raw: &[u8], providers: &[Rc<Provider>], seal: Option<&Seal>) -> Option<[u8; 32]> {
    let mut key = Vec::new();
    let mut add = |secret: &[u8]| {
        key.extend_from_slice(&secret.len().to_be_bytes());
        key.extend_from_slice(secret);
    };
    for provider in providers {
        for secret in core::iter::once(&provider.client_secret).chain(&provider.cookie_secrets) {
            add(secret.expose().as_bytes());
        }
    }
    seal.into_iter().flat_map(Seal::values).for_each(add);
    let key = Secret::new(key);
    let mut mac = mac::keyed(key.expose())?;
    mac::update(&mut mac, raw);
    Some(mac::finish(mac))
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
