//! From an entry of `providers` to a provider.
//!
//! Owns: the names, defaults and limits of its settings, and what makes two entries one too many.

use std::collections::BTreeSet;
use std::rc::Rc;

use regex_lite::Regex;

use super::json::Object;
use super::meta::MetaHeaders;
use super::settings::{Authentik, BasicAuth, BearerVerification, Mode, Provider, Session, YEAR};
use crate::base::secret::Secret;
use crate::base::url::{self, BaseUrl};

/// The least length of a cookie secret, in bytes: the key of the session cookies is derived from it.
const COOKIE_SECRET_BYTES: usize = 32;

const DEFAULT_SCOPES: [&str; 5] = ["openid", "profile", "email", "entitlements", "ak_proxy"];

pub(super) fn read_base_url(object: &mut Object<'_>, key: &'static str) -> Option<BaseUrl> {
    let url = object.required_string(key);
    match BaseUrl::parse(url) {
        Ok(url) => Some(url),
        Err(_) if url.is_empty() => None,
        Err(what) => {
            object.fault(key, what);
            None
        }
    }
}

pub(super) fn read(
    mut object: Object<'_>,
    authentik: Option<&Authentik>,
    outpost_name: &str,
    session: &Session,
    warnings: &mut Vec<String>,
) -> Option<Provider> {
    // In an entry of authentik's API, and of no use here.
    for key in
        ["pk", "internal_host", "internal_host_ssl_validation", "certificate", "assigned_application_name"]
    {
        object.accept(key);
    }
    let slug = read_slug(&mut object);
    let name = object.string("name").filter(|name| !name.is_empty()).unwrap_or(slug).to_owned();
    let external_host = read_base_url(&mut object, "external_host");
    let mode = object.word_or(
        "mode",
        Mode::ForwardSingle,
        &[
            ("proxy", Mode::Proxy),
            ("forward_single", Mode::ForwardSingle),
            ("forward_domain", Mode::ForwardDomain),
        ],
    );
    let cookie_domain = read_cookie_domain(&mut object, mode, external_host.as_ref());
    let (issuer, has_no_signing_key) = read_oidc_configuration(&mut object, authentik, slug);
    let meta_headers = authentik.map(|it| MetaHeaders::new(&it.base, outpost_name, &name, slug));
    let provider = Provider {
        name,
        slug: slug.to_owned(),
        client_id: object.required_string("client_id").to_owned(),
        client_secret: object.required_secret("client_secret"),
        cookie_secrets: read_cookie_secrets(&mut object, session),
        mode,
        cookie_domain,
        intercept_header_auth: object.bool_or("intercept_header_auth", true),
        basic_auth: read_basic_auth(&mut object),
        skip_paths: read_skip_paths(&mut object, warnings),
        scope: object.strings("scopes_to_request").unwrap_or_else(|| DEFAULT_SCOPES.to_vec()).join(" "),
        access_token_validity_seconds: object.integer_or("access_token_validity", 86_400, 1..=YEAR),
        bearer_verification: object.word_or(
            "bearer_verification",
            BearerVerification::Local,
            &[
                ("local", BearerVerification::Local),
                ("introspection", BearerVerification::Introspection),
                ("local_then_introspection", BearerVerification::LocalThenIntrospection),
            ],
        ),
        revalidate_seconds: object.integer_or("revalidate_seconds", 0, 0..=YEAR),
        federated_bearer: object.bool_or("federated_bearer", false),
        external_host: external_host?,
        issuer: issuer?,
        has_no_signing_key,
        meta_headers: meta_headers?,
    };
    Some(provider)
}

/// authentik's slugs are `[-a-zA-Z0-9_]+`; nothing else may get into a path.
fn read_slug<'a>(object: &mut Object<'a>) -> &'a str {
    let key = "assigned_application_slug";
    let slug = object.required_string(key);
    if !slug.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        object.fault(key, "must consist of letters, digits, - and _");
    }
    slug
}

fn read_cookie_domain(
    object: &mut Object<'_>,
    mode: Mode,
    external_host: Option<&BaseUrl>,
) -> Option<String> {
    let key = "cookie_domain";
    let Some(text) = object.string(key).filter(|text| !text.is_empty()) else {
        if mode == Mode::ForwardDomain {
            object.fault(key, "is required in mode forward_domain");
        }
        return None;
    };
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
    let is_global = object.word_or("issuer_mode", false, &[("per_provider", false), ("global", true)]);
    let mut oidc = object.object("oidc_configuration");
    oidc.accept_rest();
    let has_no_signing_key = oidc.is_list_of("id_token_signing_alg_values_supported", &["HS256"]);
    let named = oidc.string("issuer").filter(|issuer| !issuer.is_empty()).map(str::to_owned);
    let computed = authentik.map(|authentik| {
        let base = &authentik.base;
        if is_global { format!("{base}/") } else { format!("{base}/application/o/{slug}/") }
    });
    (named.or(computed), has_no_signing_key)
}

fn read_cookie_secrets(object: &mut Object<'_>, session: &Session) -> Vec<Secret<String>> {
    let key = "cookie_secret";
    let secrets = object.secrets(key);
    if session.issue.is_some() {
        if secrets.is_empty() {
            object.fault(key, "is required while sessions are on");
        }
        // An empty one was complained about already.
        let is_short = |secret: &Secret<String>| (1..COOKIE_SECRET_BYTES).contains(&secret.expose().len());
        if secrets.iter().any(is_short) {
            object.fault(key, format!("must have at least {COOKIE_SECRET_BYTES} bytes"));
        }
    }
    secrets
}

fn read_basic_auth(object: &mut Object<'_>) -> Option<BasicAuth> {
    let enabled = object.bool_or("basic_auth_enabled", false);
    let basic_auth = BasicAuth {
        user_attribute: object.string("basic_auth_user_attribute").unwrap_or_default().to_owned(),
        password_attribute: object.string("basic_auth_password_attribute").unwrap_or_default().to_owned(),
        send_empty_password: object.word_or(
            "basic_auth_empty_password",
            true,
            &[("send", true), ("omit", false)],
        ),
    };
    enabled.then_some(basic_auth)
}

/// One pattern a line. A blank line would match every path, as it does in authentik's own outpost: dropped.
fn read_skip_paths(object: &mut Object<'_>, warnings: &mut Vec<String>) -> Vec<Regex> {
    let key = "skip_path_regex";
    let text = object.lines(key).unwrap_or_default();
    let mut patterns = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|_| !text.is_empty()) {
        let number = index.saturating_add(1);
        if line.trim().is_empty() {
            warnings.push(format!("{}: line {number} is blank and was dropped", object.path_of(key)));
            continue;
        }
        match Regex::new(line) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => object.fault(key, format!("line {number} is not a regular expression: {error}")),
        }
    }
    patterns
}

/// Two providers that answer for the same host would make the choice a matter of order.
pub(super) fn check_distinct(root: &Object<'_>, providers: &[Rc<Provider>]) {
    let mut seen = BTreeSet::new();
    for provider in providers {
        let (field, place) = match (provider.mode, &provider.cookie_domain) {
            (Mode::ForwardDomain, Some(domain)) => ("cookie_domain", domain.clone()),
            (Mode::ForwardDomain, None) => continue,
            (Mode::Proxy | Mode::ForwardSingle, _) => {
                ("external_host", provider.external_host.host.to_string())
            }
        };
        if !seen.insert((field, place)) {
            root.fault("providers", format!("\"{}\" has the {field} of another provider", provider.name));
        }
    }
}
