//! The API that an outpost reads its configuration from: the outposts that a token sees, and their proxy providers, in pages.
//! As in authentik, a provider without an application is in no list of proxy providers.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::World;
use super::answers::{html, json_answer, method_not_allowed, with};
use super::api::{self, Caller, NO_PERMISSION, detailed, page};
use super::directory::Provider;
use super::discovery;
use super::request::Call;

/// The proxy providers that a token sees.
pub const OUTPOST_PROVIDERS: &str = "/api/v3/outposts/proxy/";
/// The outposts that a token sees.
pub const OUTPOST_INSTANCES: &str = "/api/v3/outposts/instances/";

/// The token of `demo-outpost`.
pub const OUTPOST_TOKEN: &str = "ZNcebm8Jkgx3zxb50REH0qB4xfd5GsiBRBeZ5xNGBSsTkVdu6idgDpgHH0w5";
/// What a provider has if it is a proxy provider, beside what all have.
#[derive(Clone)]
pub struct Proxy {
    /// The primary key, by which an outpost names it.
    pub pk: u32,
    /// Where the outpost would send requests to, in mode `proxy`.
    pub internal_host: String,
    /// The application's URL as browsers see it.
    pub external_host: String,
    /// What the cookies are sealed with.
    pub cookie_secret: String,
    /// `proxy`, `forward_single` or `forward_domain`.
    pub mode: &'static str,
    /// The domain of the cookies.
    pub cookie_domain: String,
    /// Paths that need no authentication, one pattern a line.
    pub skip_path_regex: String,
    /// "Send HTTP-Basic Authentication", with the attributes of user name and password.
    pub basic_auth: Option<(&'static str, &'static str)>,
    /// "Intercept header authentication".
    pub intercept_header_auth: bool,
    /// In the place of the entry's own fields: for entries that authentik would not make.
    pub replaced: Map<String, Value>,
}

impl Proxy {
    pub(super) fn new(pk: u32, slug: &str, external_host: &str) -> Self {
        let mut cookie_secret = format!("{slug}-cookie-secret-0123456789abcdef0123456789abcdef");
        cookie_secret.truncate(32);
        Self {
            pk,
            internal_host: String::new(),
            external_host: external_host.to_owned(),
            cookie_secret,
            mode: "forward_single",
            cookie_domain: String::new(),
            skip_path_regex: String::new(),
            basic_auth: None,
            intercept_header_auth: true,
            replaced: Map::new(),
        }
    }
}

/// An outpost and its token.
#[derive(Clone)]
pub struct Outpost {
    /// The primary key, a UUID.
    pub pk: String,
    /// Its name.
    pub name: String,
    /// `proxy`, or of another kind.
    pub kind: &'static str,
    /// Its own API token; none for one that runs inside authentik.
    pub token: Option<String>,
    /// Its providers, by the slugs of their applications.
    pub providers: Vec<&'static str>,
    /// The setting `authentik_host`: authentik's URL as the outpost reaches it.
    pub authentik_host: String,
    /// The setting `authentik_host_browser`: authentik's URL as browsers see it, where that is another.
    pub authentik_host_browser: String,
    /// What the embedded outpost has here.
    pub managed: Option<&'static str>,
}

impl Outpost {
    /// A proxy outpost without providers.
    pub fn new(name: &str, pk: &str) -> Self {
        Self {
            pk: pk.to_owned(),
            name: name.to_owned(),
            kind: "proxy",
            token: None,
            providers: Vec::new(),
            authentik_host: String::new(),
            authentik_host_browser: String::new(),
            managed: None,
        }
    }
}

/// The outposts of the recorded authentik.
pub(super) fn outposts() -> Vec<Outpost> {
    vec![
        Outpost {
            managed: Some("goauthentik.io/outposts/embedded"),
            ..Outpost::new("authentik Embedded Outpost", "13d6e615-427a-4666-a04e-29fcbffb484b")
        },
        Outpost {
            token: Some(OUTPOST_TOKEN.to_owned()),
            providers: vec!["demo", "demo-domain", "demo-proxy"],
            authentik_host: "http://127.0.0.1:9010/".to_owned(),
            ..Outpost::new("demo-outpost", "ed9323be-ec37-4d3e-9ab0-1df02b350887")
        },
    ]
}

/// The answer of the API; `None` for a path that is none of it.
pub(super) fn answer(world: &World, call: &Call, path: &str, base: &str) -> Option<Response> {
    let one = path.strip_prefix(OUTPOST_INSTANCES).and_then(|rest| rest.strip_suffix('/'));
    let allowed = match path {
        OUTPOST_PROVIDERS => "GET, HEAD, OPTIONS",
        OUTPOST_INSTANCES => "GET, POST, HEAD, OPTIONS",
        _ if one.is_some() => "GET, PUT, PATCH, DELETE, HEAD, OPTIONS",
        _ => return None,
    };
    let answer = match visible(world, call) {
        Err(detail) => detailed(403, detail),
        Ok(_) if !matches!(call.method.as_str(), "GET" | "HEAD") => return Some(method_not_allowed(allowed)),
        Ok(outposts) => match (path, one) {
            (OUTPOST_PROVIDERS, _) => page(call, &providers(world, call, &outposts, base), &json!({})),
            (OUTPOST_INSTANCES, _) => {
                let found: Vec<_> = outposts.list.iter().map(|outpost| instance(world, outpost)).collect();
                page(call, &found, &json!({}))
            }
            (_, one) => match outposts.list.iter().find(|outpost| Some(outpost.pk.as_str()) == one) {
                Some(outpost) => json_answer(200, &instance(world, outpost)),
                None => return Some(html(404)),
            },
        },
    };
    Some(with(answer, "allow", allowed))
}

/// What a token sees.
struct Visible<'a> {
    list: Vec<&'a Outpost>,
    every_provider: bool,
}

fn visible<'a>(world: &'a World, call: &Call) -> Result<Visible<'a>, &'static str> {
    match api::caller(world, call)? {
        Caller::Administrator => Ok(Visible { list: world.outposts.iter().collect(), every_provider: true }),
        Caller::Outpost(own) => Ok(Visible { list: vec![own], every_provider: false }),
        Caller::User => Err(NO_PERMISSION),
    }
}

/// The entries, by primary key.
fn providers(world: &World, call: &Call, outposts: &Visible<'_>, base: &str) -> Vec<Value> {
    let is_visible = |provider: &&Provider| {
        outposts.every_provider || outposts.list.iter().any(|it| it.providers.contains(&provider.slug))
    };
    let name = call.parameter("name");
    let is_named =
        |provider: &&Provider| name.as_ref().is_none_or(|name| provider.slug.eq_ignore_ascii_case(name));
    let found = world.providers.iter().filter(|it| it.has_application).filter(is_visible).filter(is_named);
    let mut found: Vec<_> = found.filter_map(|provider| Some((provider, provider.proxy.as_ref()?))).collect();
    found.sort_by_key(|(_, proxy)| proxy.pk);
    found.into_iter().map(|(provider, proxy)| entry(provider, proxy, base)).collect()
}

fn entry(provider: &Provider, proxy: &Proxy, base: &str) -> Value {
    let (user_attribute, password_attribute) = proxy.basic_auth.unwrap_or_default();
    let mut entry = json!({
        "pk": proxy.pk,
        "name": provider.slug,
        "internal_host": proxy.internal_host,
        "external_host": proxy.external_host,
        "internal_host_ssl_validation": proxy.internal_host.is_empty(),
        "client_id": provider.client_id(),
        "client_secret": provider.client_secret,
        "oidc_configuration": discovery::document(provider, base),
        "cookie_secret": proxy.cookie_secret,
        "certificate": null,
        "skip_path_regex": proxy.skip_path_regex,
        "basic_auth_enabled": proxy.basic_auth.is_some(),
        "basic_auth_password_attribute": password_attribute,
        "basic_auth_user_attribute": user_attribute,
        "mode": proxy.mode,
        "cookie_domain": proxy.cookie_domain,
        "access_token_validity": f64::from(i32::try_from(provider.lifetime_seconds).unwrap_or(i32::MAX)),
        "intercept_header_auth": proxy.intercept_header_auth,
        "scopes_to_request": ["email", "entitlements", "ak_proxy", "profile", "openid"],
        "assigned_application_slug": provider.slug,
        "assigned_application_name": provider.slug,
    });
    for (name, value) in &proxy.replaced {
        entry[name] = value.clone();
    }
    entry
}

/// Parts that every recorded provider has alike.
const AUTHORIZATION_FLOW: &str = "a70ade04-223a-4bf8-903c-d4b632a64d16";
const INVALIDATION_FLOW: &str = "1feade75-00f3-40c7-a7b0-f2032fc55b14";
const PROPERTY_MAPPINGS: [&str; 5] = [
    "a091f2e6-e242-4b84-b192-e91ab2abff1a",
    "34acb281-522e-4000-8f73-a9bf6894b678",
    "7f85d07f-604c-46c3-be69-5c7c79764bb0",
    "4bca7c67-f111-4707-8654-2d17806f7d27",
    "052c3b53-92c9-42a7-a4f6-fd08c7473dbf",
];

fn instance(world: &World, outpost: &Outpost) -> Value {
    let providers = outpost.providers.iter().filter_map(|slug| {
        let provider = world.provider(slug)?;
        Some((provider, provider.proxy.as_ref()?))
    });
    let objects: Vec<_> = providers
        .map(|(provider, proxy)| {
            let application = provider.has_application.then_some(provider.slug);
            json!({
                "pk": proxy.pk,
                "name": provider.slug,
                "authentication_flow": null,
                "authorization_flow": AUTHORIZATION_FLOW,
                "invalidation_flow": INVALIDATION_FLOW,
                "property_mappings": PROPERTY_MAPPINGS,
                "component": "",
                "assigned_application_slug": application,
                "assigned_application_name": application,
                "assigned_backchannel_application_slug": null,
                "assigned_backchannel_application_name": null,
                "verbose_name": "provider",
                "verbose_name_plural": "providers",
                "meta_model_name": "authentik_core.provider",
            })
        })
        .collect();
    let keys: Vec<_> = objects.iter().map(|object| object["pk"].clone()).collect();
    json!({
        "pk": outpost.pk,
        "name": outpost.name,
        "type": outpost.kind,
        "providers": keys,
        "providers_obj": objects,
        "service_connection": null,
        "service_connection_obj": null,
        "refresh_interval_s": 300,
        "token_identifier": format!("ak-outpost-{}-api", outpost.pk),
        "config": settings(outpost),
        "managed": outpost.managed,
    })
}

fn settings(outpost: &Outpost) -> Value {
    json!({
        "log_level": "info",
        "docker_labels": null,
        "authentik_host": outpost.authentik_host,
        "docker_network": null,
        "container_image": null,
        "docker_map_ports": true,
        "refresh_interval": "minutes=5",
        "kubernetes_replicas": 1,
        "kubernetes_namespace": "default",
        "authentik_host_browser": outpost.authentik_host_browser,
        "object_naming_template": "ak-outpost-%(name)s",
        "authentik_host_insecure": false,
        "kubernetes_json_patches": null,
        "kubernetes_service_type": "ClusterIP",
        "kubernetes_ingress_path_type": null,
        "kubernetes_image_pull_secrets": [],
        "kubernetes_ingress_class_name": null,
        "kubernetes_disable_x509_strict": false,
        "kubernetes_disabled_components": [],
        "kubernetes_ingress_annotations": {},
        "kubernetes_ingress_secret_name": "authentik-outpost-tls",
        "kubernetes_httproute_annotations": {},
        "kubernetes_httproute_parent_refs": [],
    })
}
