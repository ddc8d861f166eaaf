//! From raw JSON to the settings that all providers share.
//!
//! Owns: what becomes of them, and what makes a value wrong beyond its kind. Must not: have a name, range or default of a
//! setting ([`super::table`] has them), or read a provider; [`super::provider`] does.

use core::time::Duration;
use std::rc::Rc;

use serde_json::Value;

use super::json::Object;
use super::provider::{self, Context};
use super::seal::Seal;
use super::settings::{
    Authentik, BeyondApi, Cache, Config, Events, Jwks, Outpost, Provider, Session, Throttle,
};
use super::shadow;
use super::table::kinds::OneSecret;
use super::table::{self, authentik, cache, events, jwks, session, throttle};
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
    let (authentik, outpost, events) = read_authentik(root.section(&table::AUTHENTIK));
    let outpost = read_beyond_api(&mut root, outpost);
    let session = read_session(root.section(&table::SESSION));
    let mut warnings = Vec::new();
    let outpost_name = match outpost.as_ref().and_then(|outpost| outpost.name.as_ref()) {
        Some(name) if !root.has(table::OUTPOST_NAME.name) => name.clone(),
        Some(_) | None => root.owned_text(&table::OUTPOST_NAME),
    };
    let context = Context { authentik: authentik.as_ref(), outpost_name: &outpost_name, session: &session };
    let mut providers = Vec::new();
    let count = root.for_each_section(&table::PROVIDERS, outpost.is_none(), |entry| {
        if let Some(provider) = provider::read(entry, context, None, &mut warnings) {
            providers.push(provider);
        }
    });
    provider::check_distinct(&root, &providers);
    let cache = read_cache(root.section(&table::CACHE));
    let jwks = read_jwks(root.section(&table::JWKS));
    let throttle = read_throttle(root.section(&table::THROTTLE));
    let seal = root.optional_section(&table::SEAL).and_then(Seal::read).map(Rc::new);
    let shadow = root
        .optional_section(&table::SHADOW)
        .map(|it| shadow::read(it, outpost.is_none().then_some(&*providers)));
    if seal.is_some() && shadow.is_some() {
        warnings.push(shadow::SEAL_WARNING.to_owned());
    }
    let identity_headers = read_identity_headers(&mut root);
    let owned_headers = read_owned_headers(&mut root, seal.as_deref());
    let clock_skew_seconds = root.integer(&table::CLOCK_SKEW_SECONDS).into();
    let allow_cors_preflight = root.boolean(&table::ALLOW_CORS_PREFLIGHT);
    let allow_cors_origins = read_cors_origins(&mut root);
    let tokens = outpost.iter().map(|it| &it.token).chain(events.iter().map(|it| &it.token));
    let digest = digest(raw, &providers, tokens, seal.as_deref());
    let digest = digest.filter(|_| providers.len() == count);
    // Last: everything was read before this ends the reading.
    let (authentik, digest) = authentik.zip(digest)?;
    Some(Config {
        authentik,
        outpost_name,
        providers,
        outpost,
        events,
        identity_headers,
        owned_headers,
        seal,
        shadow,
        clock_skew_seconds,
        allow_cors_preflight,
        allow_cors_origins,
        cache,
        jwks,
        session,
        throttle,
        public_digest: String::new(),
        digest,
        warnings,
    })
}

fn read_authentik(mut object: Object<'_>) -> (Option<Authentik>, Option<Outpost>, Option<Events>) {
    let outpost = read_outpost(&mut object);
    let events = object.optional_section(&authentik::EVENTS).map(read_events);
    (read_endpoint(&mut object), outpost, events)
}

fn read_events(mut object: Object<'_>) -> Events {
    let token = object.secret(&events::TOKEN);
    check_token(&object, &events::TOKEN, &token);
    Events { token, interval_seconds: object.integer(&events::INTERVAL_SECONDS).into() }
}

/// It becomes a header's value (RFC 6750 §2.1).
fn check_token(object: &Object<'_>, setting: &'static OneSecret, token: &Secret<String>) {
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        object.fault(setting.name, "must consist of visible ASCII characters");
    }
}

/// What there is of it in `authentik`.
fn read_outpost(object: &mut Object<'_>) -> Option<Outpost> {
    let name = object.owned_text(&authentik::OUTPOST);
    let refresh_seconds = object.integer(&authentik::OUTPOST_REFRESH_SECONDS).into();
    let token = object.optional_secret(&authentik::TOKEN);
    match &token {
        Some(token) => check_token(object, &authentik::TOKEN, token),
        None if !name.is_empty() => {
            object.fault(authentik::OUTPOST.name, "is of no use without authentik.token")
        }
        None => {}
    }
    let name = Some(name).filter(|name| !name.is_empty());
    let (defaults, overrides) = (BeyondApi::default(), Vec::new());
    Some(Outpost { token: token?, name, refresh_seconds, defaults, overrides })
}

/// What there is of it beside `authentik`.
fn read_beyond_api(root: &mut Object<'_>, outpost: Option<Outpost>) -> Option<Outpost> {
    let defaults = root.optional_section(&table::PROVIDER_DEFAULTS);
    let has_defaults = defaults.is_some();
    let defaults =
        defaults.map_or_else(BeyondApi::default, |mut it| BeyondApi::read(&mut it, BeyondApi::default()));
    let mut overrides = Vec::new();
    root.for_each_named(&table::PROVIDER_OVERRIDES, |slug, mut object| {
        overrides.push((slug.to_owned(), BeyondApi::read(&mut object, defaults)));
    });
    if outpost.is_none() {
        for (name, is_there) in [
            (table::PROVIDER_DEFAULTS.name, has_defaults),
            (table::PROVIDER_OVERRIDES.name, !overrides.is_empty()),
        ] {
            if is_there {
                root.fault(name, "is of no use without authentik.token");
            }
        }
    }
    Some(Outpost { defaults, overrides, ..outpost? })
}

fn read_endpoint(object: &mut Object<'_>) -> Option<Authentik> {
    let cluster = object.owned_text(&authentik::CLUSTER);
    let base = provider::read_base_url(object, &authentik::HOST);
    let timeout = Duration::from_secs(object.integer(&authentik::TIMEOUT_SECONDS).into());
    let max_response_bytes = to_usize(object.integer(&authentik::MAX_RESPONSE_BYTES));
    let max_concurrent_calls = to_usize(object.integer(&authentik::MAX_CONCURRENT_CALLS));
    let max_pending_calls = to_usize(object.integer(&authentik::MAX_PENDING_CALLS));
    let max_wait_seconds = object.integer(&authentik::MAX_WAIT_SECONDS).into();
    Some(Authentik {
        cluster,
        base: base?,
        timeout,
        max_response_bytes,
        max_concurrent_calls,
        max_pending_calls,
        max_wait_seconds,
    })
}

fn read_identity_headers(root: &mut Object<'_>) -> Vec<IdentityHeader> {
    let setting = &table::IDENTITY_HEADERS;
    let Some(names) = root.texts(setting) else { return IdentityHeader::ALL.to_vec() };
    let mut chosen = Vec::new();
    for name in names {
        match IdentityHeader::from_short_name(name) {
            Some(header) if !chosen.contains(&header) => chosen.push(header),
            Some(_) => root.fault(setting.name, &format!("names \"{name}\" twice")),
            None => root.fault(setting.name, &format!("does not know {name:?}")),
        }
    }
    chosen
}

fn read_owned_headers(root: &mut Object<'_>, seal: Option<&Seal>) -> Vec<String> {
    let setting = &table::OWNED_HEADERS;
    let mut owned = Vec::new();
    for name in root.texts(setting).unwrap_or_default() {
        shadow::check_ownable(root, setting.name, name);
        owned.push(header::normalise(name));
    }
    if let Some(seal) = seal
        && !header::is_owned(seal.header.as_bytes(), &owned)
    {
        owned.push(seal.header.clone());
    }
    owned
}

fn read_cors_origins(root: &mut Object<'_>) -> Vec<String> {
    let setting = &table::ALLOW_CORS_ORIGINS;
    let mut origins = Vec::new();
    for (index, origin) in root.texts(setting).unwrap_or_default().into_iter().enumerate() {
        if !is_origin(origin) {
            let what = "must be an origin as browsers send it, such as \"https://app.example.com\"";
            root.fault_at(setting.name, index, what);
        }
        origins.push(origin.to_owned());
    }
    origins
}

/// Origins are compared byte by byte with what browsers send, so only that form is one (RFC 6454 §6.2): lower case, no
/// path, no default port, and no pattern.
fn is_origin(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/[]".contains(&byte);
    text.bytes().all(is_plain) && BaseUrl::parse(text).is_ok_and(|url| url.origin() == text)
}

fn read_cache(mut object: Object<'_>) -> Cache {
    Cache {
        ttl_seconds: object.integer(&cache::TTL_SECONDS).into(),
        negative_ttl_seconds: object.integer(&cache::NEGATIVE_TTL_SECONDS).into(),
        stale_seconds: object.integer(&cache::STALE_SECONDS).into(),
        local_entries: to_usize(object.integer(&cache::LOCAL_ENTRIES)),
        shared_slots: object.integer(&cache::SHARED_SLOTS),
    }
}

fn read_jwks(mut object: Object<'_>) -> Jwks {
    Jwks {
        refresh_seconds: object.integer(&jwks::REFRESH_SECONDS).into(),
        min_refresh_interval_seconds: object.integer(&jwks::MIN_REFRESH_INTERVAL_SECONDS).into(),
    }
}

fn read_session(mut object: Object<'_>) -> Session {
    let enabled = object.boolean(&session::ENABLED);
    Session {
        issue: object.word(&session::ISSUE).filter(|_| enabled),
        max_age_seconds: object.integer(&session::MAX_AGE_SECONDS).into(),
    }
}

fn read_throttle(mut object: Object<'_>) -> Throttle {
    Throttle {
        failures: object.integer(&throttle::FAILURES),
        failures_per_user: object.integer(&throttle::FAILURES_PER_USER),
        window_seconds: object.integer(&throttle::WINDOW_SECONDS).into(),
        trust_source_address: object.boolean(&throttle::TRUST_SOURCE_ADDRESS),
    }
}

/// HMAC over the raw text, keyed by the secrets: the environment is part of the configuration, and a digest
/// without a key would let a weak secret be guessed from the names of the shared slots.
fn digest<'a>(
    raw: &[u8],
    providers: &[Rc<Provider>],
    tokens: impl Iterator<Item = &'a Secret<String>>,
    seal: Option<&Seal>,
) -> Option<[u8; 32]> {
    fn add(key: &mut Vec<u8>, secret: &[u8]) {
        key.extend_from_slice(&secret.len().to_be_bytes());
        key.extend_from_slice(secret);
    }
    let mut key = Vec::new();
    for provider in providers {
        add(&mut key, provider.client_secret.expose().as_bytes());
        for secret in &provider.cookie_secrets {
            add(&mut key, secret.expose().as_bytes());
        }
    }
    for token in tokens {
        add(&mut key, token.expose().as_bytes());
    }
    for value in seal.into_iter().flat_map(Seal::values) {
        add(&mut key, value);
    }
    let key = Secret::new(key);
    let mut mac = mac::keyed(key.expose())?;
    mac::update(&mut mac, raw);
    Some(mac::finish(mac))
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
