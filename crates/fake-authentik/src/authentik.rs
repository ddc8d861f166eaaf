//! The stand-in authentik: it answers as the transcripts in `tests/data/transcripts` show the real one
//! answering, which `tests/stand_in` checks. This file owns the control that a test has over it, its state
//! and the routes; the endpoints are in the files beside. A test talks to [`Authentik`] in Rust, the filter
//! talks to its port.

mod acts;
mod answers;
mod api;
mod authorize;
mod backchannel;
mod claims;
mod directory;
mod discovery;
mod events;
mod fault;
mod introspection;
mod logins;
mod mint;
mod outposts;
mod pages;
mod request;
mod search;
mod token;
mod traffic;
mod users;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use loopback::{Cut, Server};
use serde_json::Value;

use self::answers::{html, json_answer, method_not_allowed, redirect, server_error_on_post};
use self::api::Permissions;
use self::claims::Claims;
use self::events::Log;
use self::logins::{Code, Logins};
use self::traffic::{Traffic, UnderWay};
use crate::keys::Key;

pub use self::acts::Actor;
pub use self::api::{ADMIN_TOKEN, ALICE_API_TOKEN, Permission, SERVICE_TOKEN};
pub use self::backchannel::LOGOUT_EVENT;
pub use self::directory::{Provider, Signing, User};
pub use self::events::EVENTS;
pub use self::fault::{Fault, Gate};
pub use self::mint::TokenSpec;
pub use self::outposts::{OUTPOST_INSTANCES, OUTPOST_PROVIDERS, OUTPOST_TOKEN, Outpost, Proxy};
pub use self::request::Call;
pub use self::users::USERS;

/// The token endpoint.
pub const TOKEN: &str = "/application/o/token/";
/// The introspection endpoint.
pub const INTROSPECT: &str = "/application/o/introspect/";
/// The authorization endpoint.
pub const AUTHORIZE: &str = "/application/o/authorize/";

/// alice's app password.
pub const ALICE: &str = "alice-app-password-0123456789abcdef";
/// alice's password for the login page.
pub const ALICE_LOGIN: &str = "alice-login-password";

/// The running stand-in; it stops when dropped.
pub struct Authentik {
    world: Arc<Mutex<World>>,
    server: Server,
}

impl Authentik {
    /// Starts it on any free port.
    pub fn start() -> Self {
        Self::start_on(0).expect("a free port on loopback")
    }

    /// Starts it on this port.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start_on(port: u16) -> std::io::Result<Self> {
        let world = Arc::new(Mutex::new(World::new()));
        let router = Router::new().fallback(answer).with_state(world.clone());
        let server = Server::start(router, port)?;
        world.lock().unwrap().public_base = format!("http://{}", server.authority());
        Ok(Self { world, server })
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        self.server.authority()
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Scheme and host that minted tokens have in `iss`: what the filter calls `authentik.host`. By default
    /// `http://` and the authority. Tokens of the token endpoint follow the request, as authentik's do.
    pub fn public_base(&self) -> String {
        self.world().public_base.clone()
    }

    /// Sets what [`Authentik::public_base`] returns.
    pub fn set_public_base(&self, base: &str) {
        base.trim_end_matches('/').clone_into(&mut self.world().public_base);
    }

    /// Moves authentik below a path, such as `/auth`: its endpoints, its URLs and the issuer.
    pub fn set_path_prefix(&self, prefix: &str) {
        let mut world = self.world();
        prefix.clone_into(&mut world.path_prefix);
        world.public_base.push_str(prefix);
    }

    /// Whether the proxies before it are in its trusted networks (`AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS`, authentik 2026.8), as
    /// they are by default: only from there `X-Forwarded-Proto` counts.
    pub fn set_trusts_proxies(&self, trusts: bool) {
        self.world().trusts_proxies = trusts;
    }

    // What was asked.

    /// The calls so far, in their order, but for those to discovery: the filter makes one for each provider in the
    /// background, some seconds after its start.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls = self.all_calls();
        calls.retain(|call| !call.path.ends_with("/.well-known/openid-configuration"));
        calls
    }

    /// All calls so far, in their order.
    pub fn all_calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// How many calls came to exactly this path.
    pub fn count(&self, path: &str) -> usize {
        self.world().calls.iter().filter(|call| call.path == path).count()
    }

    /// How many calls to exactly this path were under way at one time, at the most.
    pub fn most_at_once(&self, path: &str) -> usize {
        self.world().traffic.most(path)
    }

    /// Forgets the calls so far; [`Authentik::most_at_once`] counts from those under way.
    pub fn forget_calls(&self) {
        let mut world = self.world();
        world.calls.clear();
        world.traffic.forget();
    }

    // What goes wrong.

    /// From now on, for every call to a path that begins so; a later fault counts before an earlier one.
    pub fn fault(&self, path_prefix: &str, fault: Fault) {
        self.world().faults.push((path_prefix.to_owned(), fault));
    }

    /// Answers again as authentik does.
    pub fn clear_faults(&self) {
        self.world().faults.clear();
    }

    /// Connects are refused, requests under way are cut off.
    pub fn down(&mut self) {
        self.server.down();
    }

    /// Back on the same port, with everything it knew.
    pub fn up(&mut self) {
        self.server.up();
    }

    // What an administrator does.

    /// Swaps the provider's key; where it signs with the client secret, the secret.
    pub fn rotate(&self, slug: &str) {
        self.world().provider_mut(slug).rotate();
    }

    /// Served in place of the provider's own JWKS.
    pub fn set_jwks(&self, slug: &str, jwks: Value) {
        self.world().provider_mut(slug).jwks = Some(jwks);
    }

    /// The JWKS that the provider serves now.
    pub fn jwks(&self, slug: &str) -> Value {
        discovery::jwks(self.world().provider_mut(slug))
    }

    /// The secret that the provider shares with its client.
    pub fn client_secret(&self, slug: &str) -> String {
        self.world().provider_mut(slug).client_secret.clone()
    }

    /// Changes a provider.
    pub fn edit_provider(&self, slug: &str, edit: impl FnOnce(&mut Provider)) {
        edit(self.world().provider_mut(slug));
    }

    /// Adds a proxy provider with an application of this slug; no outpost has it yet.
    pub fn add_proxy_provider(&self, slug: &'static str, external_host: &str) {
        let mut world = self.world();
        let keys = world.providers.iter().filter_map(|it| Some(it.proxy.as_ref()?.pk));
        let pk = keys.max().unwrap_or_default() + 1;
        world.providers.push(directory::added(slug, pk, external_host));
    }

    /// Changes what a proxy provider has beside what all providers have.
    pub fn edit_proxy(&self, slug: &str, edit: impl FnOnce(&mut Proxy)) {
        self.edit_provider(slug, |provider| edit(provider.proxy.as_mut().expect("a proxy provider")));
    }

    /// Changes an outpost: its providers, its token, its settings.
    pub fn edit_outpost(&self, name: &str, edit: impl FnOnce(&mut Outpost)) {
        let mut world = self.world();
        edit(
            world
                .outposts
                .iter_mut()
                .find(|it| it.name == name)
                .unwrap_or_else(|| panic!("no outpost {name}")),
        );
    }

    /// Edits a user, or adds one of this name whose app password is `<name>-app-password`.
    pub fn edit_user(&self, username: &str, edit: impl FnOnce(&mut User)) {
        let mut world = self.world();
        if world.user(username).is_none() {
            // As long as the digest that authentik makes by default (`sub_mode` `hashed_user_id`).
            let mut sub = [claims::identifier(), claims::identifier()].concat();
            sub.truncate(64);
            let mut user = User::new(username, username, &sub);
            user.app_passwords.push(format!("{username}-app-password"));
            world.add(user);
        }
        edit(world.users.iter_mut().find(|user| user.username == username).unwrap());
    }

    /// Where the application is: its proxy provider sends browsers back there, and nowhere else.
    pub fn set_external_host(&self, slug: &str, external_host: &str) {
        self.edit_provider(slug, |provider| provider.move_to(external_host));
    }

    // What a browser does, without one.

    /// The value of the session cookie that a browser has after logging in.
    pub fn log_in_directly(&self, username: &str) -> String {
        let mut world = self.world();
        assert!(world.user(username).is_some_and(|user| user.active), "{username} cannot log in");
        world.logins.begin(username)
    }

    /// Follows a URL of the authorization endpoint as this user, who logs in if need be: where the browser is
    /// sent back to.
    pub fn approve(&self, authorize_url: &str, username: &str) -> String {
        let call = Call::visit(authorize_url, &self.log_in_directly(username));
        let mut world = self.world();
        world.calls.push(call.clone());
        let answer = route(&mut world, &call);
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        location.unwrap_or_else(|| panic!("{}: no redirect from {authorize_url}", answer.status())).to_owned()
    }

    /// Ends all sessions of the user, and with them the tokens that came from them.
    pub fn log_out(&self, username: &str) {
        self.world().logins.end_all_of(username);
    }

    // Tokens without a call.

    /// A good access token for all scopes of the provider, as the token endpoint issues it: introspection
    /// knows it.
    pub fn issue(&self, slug: &str, username: &str) -> String {
        let mut world = self.world();
        let (provider, user) = world.provider_and_user(slug, username);
        let base = world.public_base.clone();
        world.issue(&provider, &user, &provider.scopes.join(" "), &base, None).access_token
    }

    /// Lets introspection know any string, such as an opaque one, as an access token of this user.
    pub fn remember(&self, slug: &str, username: &str, access_token: &str) {
        let mut world = self.world();
        let (provider, user) = world.provider_and_user(slug, username);
        let base = world.public_base.clone();
        let scopes = claims::granted(&provider, &provider.scopes.join(" "));
        let claims = claims::id_token(&provider, &user, &scopes, &base);
        world.remember(&provider, &user, access_token, &scopes, claims, None);
    }

    /// Any JWS; introspection does not know it, unless it is remembered.
    pub fn mint(&self, slug: &str, spec: TokenSpec) -> String {
        let world = self.world();
        let (provider, user) = world.provider_and_user(slug, spec.username.as_deref().unwrap_or("alice"));
        let scopes = claims::granted(&provider, spec.scope.as_deref().unwrap_or(&provider.scopes.join(" ")));
        let id_token = claims::id_token(&provider, &user, &scopes, &world.public_base);
        let mut claims = claims::access_token(&provider, &id_token, &scopes);
        let key = spec.key.clone().unwrap_or_else(|| provider.key());
        let mut header = claims::header(&key);
        spec.apply(&mut header, &mut claims);
        claims::signed(&header, &claims, &key)
    }

    /// A JWT of the external issuer that `demo` takes as a client assertion, if `key` is [`Key::External`].
    pub fn assertion(claims: Value, key: &Key) -> String {
        claims::signed(&claims::header(&Key::External), &claims::object(claims), key)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

/// Everything that authentik keeps.
struct World {
    providers: Vec<Provider>,
    outposts: Vec<Outpost>,
    users: Vec<User>,
    /// By access token.
    grants: HashMap<String, Grant>,
    logins: Logins,
    calls: Vec<Call>,
    traffic: Traffic,
    faults: Vec<(String, Fault)>,
    events: Log,
    permissions: Permissions,
    public_base: String,
    path_prefix: String,
    trusts_proxies: bool,
}

/// An access token as introspection knows it.
struct Grant {
    slug: &'static str,
    username: String,
    scope: String,
    claims: Claims,
    /// The login that it came from, by `sid`; it ends with it.
    sid: Option<String>,
}

struct Issued {
    access_token: String,
    id_token: String,
    scope: String,
}

impl World {
    fn new() -> Self {
        Self {
            providers: directory::providers(),
            outposts: outposts::outposts(),
            users: directory::users(),
            grants: HashMap::new(),
            logins: Logins::default(),
            calls: Vec::new(),
            traffic: Traffic::default(),
            faults: Vec::new(),
            events: Log::new(),
            permissions: Permissions::default(),
            public_base: String::new(),
            path_prefix: String::new(),
            trusts_proxies: true,
        }
    }

    fn provider(&self, slug: &str) -> Option<&Provider> {
        self.providers.iter().find(|it| it.slug == slug)
    }

    fn provider_mut(&mut self, slug: &str) -> &mut Provider {
        self.providers.iter_mut().find(|it| it.slug == slug).unwrap_or_else(|| panic!("no provider {slug}"))
    }

    fn provider_of(&self, client_id: &str) -> Option<&Provider> {
        self.providers.iter().find(|it| it.client_id() == client_id)
    }

    fn user(&self, username: &str) -> Option<&User> {
        self.users.iter().find(|it| it.username == username)
    }

    /// A further user, with the next primary key.
    fn add(&mut self, user: User) -> User {
        let pk = self.users.iter().map(|user| user.pk).max().unwrap_or_default() + 1;
        self.users.push(User { pk, ..user });
        self.users[self.users.len() - 1].clone()
    }

    fn provider_and_user(&self, slug: &str, username: &str) -> (Provider, User) {
        let provider = self.provider(slug).unwrap_or_else(|| panic!("no provider {slug}"));
        let user = self.user(username).unwrap_or_else(|| panic!("no user {username}"));
        (provider.clone(), user.clone())
    }

    fn active_grant(&self, access_token: &str) -> Option<&Grant> {
        self.grants.get(access_token).filter(|grant| {
            grant.claims["exp"].as_i64().is_some_and(|exp| exp > claims::now())
                && self.user(&grant.username).is_some_and(|user| user.active)
                && grant.sid.as_ref().is_none_or(|sid| self.logins.has(sid))
        })
    }

    fn issue(
        &mut self,
        provider: &Provider,
        user: &User,
        scope: &str,
        base: &str,
        code: Option<&Code>,
    ) -> Issued {
        let scopes = claims::granted(provider, scope);
        let mut id_token = claims::id_token(provider, user, &scopes, base);
        if let Some(code) = code {
            claims::of_login(&mut id_token, code);
        }
        let access_token = claims::access_token(provider, &id_token, &scopes);
        let issued = Issued {
            access_token: claims::serialise(provider, &access_token),
            id_token: claims::serialise(provider, &id_token),
            scope: scopes.join(" "),
        };
        let sid = code.map(|code| code.login.sid.clone());
        self.remember(provider, user, &issued.access_token, &scopes, id_token, sid);
        issued
    }

    fn remember(
        &mut self,
        provider: &Provider,
        user: &User,
        access_token: &str,
        scopes: &[&str],
        claims: Claims,
        sid: Option<String>,
    ) {
        let (slug, username, scope) = (provider.slug, user.username.clone(), scopes.join(" "));
        let grant = Grant { slug, username, scope, claims, sid };
        self.grants.insert(access_token.to_owned(), grant);
    }
}

async fn answer(
    State(world): State<Arc<Mutex<World>>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let call = Call::read(request).await;
    let _under_way = UnderWay::begin(&world, &call.path);
    let fault = {
        let mut world = world.lock().unwrap();
        world.calls.push(call.clone());
        let fault = world.faults.iter().rev().find(|(prefix, _)| call.path.starts_with(prefix));
        fault.map(|(_, fault)| fault.clone())
    };
    if let Some(fault) = fault
        && let Some(answer) = fault.answer(&cut).await
    {
        return answer;
    }
    route(&mut world.lock().unwrap(), &call)
}

fn route(world: &mut World, call: &Call) -> Response {
    let reads = matches!(call.method.as_str(), "GET" | "HEAD");
    let base = format!("{}{}", call.base(world.trusts_proxies), world.path_prefix);
    let path = call.path.strip_prefix(&world.path_prefix).unwrap_or_default();
    match (path, reads) {
        (TOKEN | INTROSPECT, true) => return method_not_allowed("POST, OPTIONS"),
        (TOKEN | INTROSPECT, false) if call.breaks_authentik() => return server_error_on_post(),
        (TOKEN, false) => return token::answer(world, call, &base),
        (INTROSPECT, false) => return introspection::answer(world, call),
        (AUTHORIZE, true) => return authorize::answer(world, call),
        _ => {}
    }
    if let Some(list) = outposts::answer(world, call, path, &base) {
        return list;
    }
    if let Some(answer) = events::answer(world, call, path).or_else(|| users::answer(world, call, path)) {
        return answer;
    }
    if let Some(page) = pages::answer(world, call, path) {
        return page;
    }
    let Some((provider, page)) = published(world, path) else {
        return if reads { html(404) } else { server_error_on_post() };
    };
    match page {
        // A form from nowhere: no CSRF cookie.
        _ if !reads => html(403),
        Page::Issuer => redirect(&format!(
            "{}/application/o/{}/.well-known/openid-configuration",
            world.path_prefix, provider.slug
        )),
        _ if provider.signing == Signing::Unusable => html(500),
        Page::Jwks => {
            answers::with(json_answer(200, &discovery::jwks(provider)), "access-control-allow-origin", "*")
        }
        Page::Discovery => json_answer(200, &discovery::document(provider, &base)),
        Page::EndSession => pages::end_session(world, call),
    }
}

enum Page {
    Jwks,
    Discovery,
    Issuer,
    EndSession,
}

/// The provider whose page this is. The trailing slash matters.
fn published<'a>(world: &'a World, path: &str) -> Option<(&'a Provider, Page)> {
    let rfc8414 = path.strip_prefix("/.well-known/oauth-authorization-server/application/o/");
    let (slug, page) = match rfc8414 {
        Some(rest) => (rest.strip_suffix('/')?, Page::Discovery),
        None => match path.strip_prefix("/application/o/")?.split_once('/')? {
            (slug, "jwks/") => (slug, Page::Jwks),
            (slug, ".well-known/openid-configuration") => (slug, Page::Discovery),
            (slug, "") => (slug, Page::Issuer),
            (slug, "end-session/") => (slug, Page::EndSession),
            _ => return None,
        },
    };
    let provider = world.provider(slug).filter(|it| it.has_application)?;
    Some((provider, page))
}
