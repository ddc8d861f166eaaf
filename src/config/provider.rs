//! From an entry of `providers` to a provider.
//!
//! Owns: what becomes of its settings, what makes a value or a combination wrong beyond its kind, and what makes two entries
//! one too many. Must not: have a name, range or default of a setting; [`super::table::provider`] has them.

use std::rc::Rc;

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::json::Object;
use super::meta::MetaHeaders;
use super::settings::{Authentik, BasicAuth, BeyondApi, Mode, Place, Provider, Session};
use super::table::kinds::{Secrets, Text};
use super::table::{PROVIDERS, beyond_api, oidc, provider as table};
use crate::base::secret::Secret;
use crate::base::url::{self, BaseUrl};

pub(super) fn read_base_url(object: &mut Object<'_>, setting: &'static Text) -> Option<BaseUrl> {
    let url = object.text(setting);
    match BaseUrl::parse(url) {
        Ok(url) => Some(url),
        Err(_) if url.is_empty() => None,
        Err(what) => {
            object.fault(setting.name, what);
            None
        }
    }
}

/// What every entry is read with.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) authentik: Option<&'a Authentik>,
    pub(super) outpost_name: &'a str,
    pub(super) session: &'a Session,
}

impl BeyondApi {
    /// What the object says, and for the rest `otherwise`.
    pub(super) fn read(object: &mut Object<'_>, otherwise: Self) -> Self {
        let mut read = otherwise;
        if object.has(beyond_api::SENDS_EMPTY_PASSWORD.name) {
            read.send_empty_password = object.word(&beyond_api::SENDS_EMPTY_PASSWORD);
        }
        if object.has(beyond_api::BEARER_VERIFICATION.name) {
            read.bearer_verification = object.word(&beyond_api::BEARER_VERIFICATION);
        }
        if object.has(beyond_api::REVALIDATE_SECONDS.name) {
            read.revalidate_seconds = object.integer(&beyond_api::REVALIDATE_SECONDS).into();
        }
        if object.has(beyond_api::FEDERATED_BEARER.name) {
            read.federated_bearer = object.boolean(&beyond_api::FEDERATED_BEARER);
        }
        read
    }
}

impl Default for BeyondApi {
    fn default() -> Self {
        Self {
            send_empty_password: beyond_api::SENDS_EMPTY_PASSWORD.default,
            bearer_verification: beyond_api::BEARER_VERIFICATION.default,
            revalidate_seconds: beyond_api::REVALIDATE_SECONDS.default.into(),
            federated_bearer: beyond_api::FEDERATED_BEARER.default,
        }
    }
}

/// `beyond`: what the entry has of the settings that authentik's API does not know; `None`: they are in the entry itself.
pub(super) fn read(
    mut object: Object<'_>,
    Context { authentik, outpost_name, session }: Context<'_>,
    beyond: Option<BeyondApi>,
    warnings: &mut Vec<String>,
) -> Option<Rc<Provider>> {
    let is_of_api = beyond.is_some();
    let beyond = beyond.unwrap_or_else(|| BeyondApi::read(&mut object, BeyondApi::default()));
    let BeyondApi { send_empty_password, bearer_verification, revalidate_seconds, federated_bearer } = beyond;
    // In an entry of authentik's API, and of no use here.
    object.accept(&table::PK);
    object.accept(&table::INTERNAL_HOST);
    object.accept(&table::INTERNAL_HOST_SSL_VALIDATION);
    object.accept(&table::CERTIFICATE);
    object.accept(&table::ASSIGNED_APPLICATION_NAME);
    let slug = read_slug(&mut object);
    let mut name = object.owned_text(&table::NAME);
    if name.is_empty() {
        name = slug.clone();
    }
    let external_host = read_base_url(&mut object, &table::EXTERNAL_HOST);
    let mode = object.word(&table::MODE);
    let cookie_domain = read_cookie_domain(&mut object, mode, external_host.as_ref());
    let (issuer, has_no_signing_key) = read_oidc_configuration(&mut object, authentik, &slug);
    let meta_headers = authentik.map(|it| MetaHeaders::new(&it.base, outpost_name, &name, &slug));
    let client_id = object.owned_text(&table::CLIENT_ID);
    let client_secret = object.secret(&table::CLIENT_SECRET);
    let cookie_secrets = read_cookie_secrets(&mut object, session);
    let intercept_header_auth = object.boolean(&table::INTERCEPT_HEADER_AUTH);
    let basic_auth = read_basic_auth(&mut object, send_empty_password);
    let skip_paths = read_skip_paths(&mut object, warnings);
    let scopes = object.texts(&table::SCOPES_TO_REQUEST).unwrap_or_default();
    let scope = if is_of_api { in_one_order(scopes).join(" ") } else { scopes.join(" ") };
    let access_token_validity_seconds = object.integer(&table::ACCESS_TOKEN_VALIDITY).into();
    // Last: everything was read before this ends the reading.
    let ((external_host, issuer), meta_headers) = external_host.zip(issuer).zip(meta_headers)?;
    Some(Rc::new(Provider {
        name,
        slug,
        client_id,
        client_secret,
        cookie_secrets,
        external_host,
        mode,
        cookie_domain,
        intercept_header_auth,
        basic_auth,
        skip_paths,
        scope,
        access_token_validity_seconds,
        issuer,
        has_no_signing_key,
        bearer_verification,
        revalidate_seconds,
        federated_bearer,
        meta_headers,
    }))
}

/// authentik's slugs are `[-a-zA-Z0-9_]+`; nothing else may get into a path.
fn read_slug(object: &mut Object<'_>) -> String {
    let setting = &table::ASSIGNED_APPLICATION_SLUG;
    let slug = object.owned_text(setting);
    if !slug.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        object.fault(setting.name, "must consist of letters, digits, - and _");
    }
    slug
}

fn read_cookie_domain(
    object: &mut Object<'_>,
    mode: Mode,
    external_host: Option<&BaseUrl>,
) -> Option<String> {
    let key = table::COOKIE_DOMAIN.name;
    let text = object.text(&table::COOKIE_DOMAIN);
    if text.is_empty() {
        if mode == Mode::ForwardDomain {
            object.fault(key, "is required in mode forward_domain");
        }
        return None;
    }
    let Some(domain) = url::parse_domain(text) else {
        object.fault(key, "must be a domain name");
        return None;
    };
    if external_host.is_some_and(|url| !url.host.is_within(&domain)) {
        object.fault(key, "must be the external_host's own domain or one above it");
    }
    Some(domain)
}

/// Issuer, and whether the provider has no signing key. authentik builds `iss` from the host that it is asked by, so the
/// configured public host decides.
fn read_oidc_configuration(
    object: &mut Object<'_>,
    authentik: Option<&Authentik>,
    slug: &str,
) -> (Option<String>, bool) {
    let is_global = object.word(&table::HAS_GLOBAL_ISSUER);
    let mut entry = object.section(&table::OIDC_CONFIGURATION);
    let has_no_signing_key = entry.is_list_of(&oidc::ID_TOKEN_SIGNING_ALG_VALUES_SUPPORTED, "HS256");
    let issuer = match (entry.text(&oidc::ISSUER), authentik) {
        ("", None) => None,
        ("", Some(Authentik { base, .. })) if is_global => Some(format!("{base}/")),
        ("", Some(Authentik { base, .. })) => Some(format!("{base}/application/o/{slug}/")),
        (issuer, _) => Some(issuer.to_owned()),
    };
    (issuer, has_no_signing_key)
}

fn read_cookie_secrets(object: &mut Object<'_>, session: &Session) -> Vec<Secret<String>> {
    let Secrets { name, least_bytes, .. } = table::COOKIE_SECRET;
    let secrets = object.secrets(&table::COOKIE_SECRET);
    if session.issue.is_some() {
        if secrets.is_empty() {
            object.fault(name, "is required while sessions are on");
        }
        // The key of the session cookies is derived from it. An empty one was complained about already.
        let is_short = |secret: &Secret<String>| (1..least_bytes).contains(&secret.expose().len());
        if secrets.iter().any(is_short) {
            object.fault(name, &format!("must have at least {least_bytes} bytes"));
        }
    }
    secrets
}

/// authentik lists the scopes of a provider in another order from answer to answer.
fn in_one_order(scopes: Vec<&str>) -> Vec<String> {
    // An ordered set of strings whose code the module has anyway.
    let mut ordered = Map::new();
    for scope in scopes {
        ordered.insert(scope.to_owned(), Value::Null);
    }
    ordered.into_iter().map(|(scope, _)| scope).collect()
}

fn read_basic_auth(object: &mut Object<'_>, send_empty_password: bool) -> Option<BasicAuth> {
    let enabled = object.boolean(&table::BASIC_AUTH_ENABLED);
    let basic_auth = BasicAuth {
        user_attribute: object.owned_text(&table::BASIC_AUTH_USER_ATTRIBUTE),
        password_attribute: object.owned_text(&table::BASIC_AUTH_PASSWORD_ATTRIBUTE),
        send_empty_password,
    };
    enabled.then_some(basic_auth)
}

/// One pattern a line. A blank line would match every path, as it does in authentik's own outpost: dropped.
fn read_skip_paths(object: &mut Object<'_>, warnings: &mut Vec<String>) -> Vec<Regex> {
    let key = table::SKIP_PATH_REGEX.name;
    let text = object.text(&table::SKIP_PATH_REGEX);
    let mut patterns = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        if line.trim().is_empty() {
            warnings.push(format!("{}: line {number} is blank and was dropped", object.path_of(key)));
            continue;
        }
        match Regex::new(line) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => object.fault(key, &format!("line {number} is not a regular expression: {error}")),
        }
    }
    patterns
}

/// Two providers that answer for the same host would make the choice a matter of order.
pub(super) fn check_distinct(root: &Object<'_>, providers: &[Rc<Provider>]) {
    // A set of strings whose code the module has anyway.
    let mut seen = Map::new();
    for provider in providers {
        let (field, place) = match provider.place() {
            Some(Place::Domain(domain)) => (table::COOKIE_DOMAIN.name, domain.to_owned()),
            Some(Place::Host(host)) => (table::EXTERNAL_HOST.name, host.to_string()),
            None => continue,
        };
        if seen.insert(format!("{field} {place}"), Value::Null).is_some() {
            let what = format!("\"{}\" has the {field} of another provider", provider.name);
            root.fault(PROVIDERS.name, &what);
        }
    }
}
