//! What an administrator has set up in the stand-in: the providers and users of the recorded authentik, with
//! its secrets, scopes, federation and policies. Data only; who is let in is decided in `token.rs`.

use serde_json::{Map, Value, json};

use super::outposts::Proxy;
use crate::keys::{Generation, Key};

/// The scopes a proxy provider has.
const PROXY_SCOPES: &[&str] = &["openid", "ak_proxy", "email", "entitlements", "profile"];
/// The scopes of the other providers.
const OAUTH_SCOPES: &[&str] = &["openid", "email", "entitlements", "offline_access", "profile"];

/// What a provider signs with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// HS256 with the client secret: no key was chosen.
    ClientSecret,
    /// RSA.
    Rs256,
    /// P-256.
    Es256,
    /// P-384.
    Es384,
    /// P-521.
    Es512,
    /// A key that authentik cannot use: every answer about it is a server error.
    Unusable,
}

/// A provider with the slug of its application.
#[derive(Clone)]
pub struct Provider {
    /// The slug of its application.
    pub slug: &'static str,
    /// What it shares with its client.
    pub client_secret: String,
    /// What it signs with.
    pub signing: Signing,
    /// Which of its keys it signs with.
    pub generation: Generation,
    /// The scopes that it grants.
    pub scopes: &'static [&'static str],
    /// The issuer is the host itself, not the application's URL.
    pub global_issuer: bool,
    /// Tokens are five-part JWE.
    pub encrypts: bool,
    /// The user's claims are in the tokens.
    pub claims_in_tokens: bool,
    /// Its client need not know the secret.
    pub public_client: bool,
    /// Without an application nobody is let in.
    pub has_application: bool,
    /// Of its tokens.
    pub lifetime_seconds: i64,
    /// Where a login may send a browser back to, compared as a whole.
    pub redirect_uris: Vec<String>,
    /// Whose access tokens it takes as assertions, and who may introspect its own.
    pub federated_providers: &'static [&'static str],
    /// Takes the tokens of the external issuer as assertions.
    pub federated_source: bool,
    /// A scope mapping of `ak_proxy` puts the user's primary key into the tokens, as `ak_user_pk`.
    pub names_user_pk: bool,
    /// Users whom a policy of the application denies.
    pub denied: Vec<&'static str>,
    /// Served in place of the JWKS.
    pub jwks: Option<Value>,
    /// What a proxy provider has beside; none for one of another kind.
    pub proxy: Option<Proxy>,
}

impl Provider {
    fn proxy(slug: &'static str, pk: u32) -> Self {
        let external_host = "http://app.localtest:8080";
        Self { proxy: Some(Proxy::new(pk, slug, external_host)), ..Self::plain(slug, external_host) }
    }

    fn plain(slug: &'static str, external_host: &str) -> Self {
        Self {
            slug,
            client_secret: format!("{slug}-client-secret-0123456789abcdef0123456789abcdef"),
            signing: Signing::ClientSecret,
            generation: Generation::A,
            scopes: PROXY_SCOPES,
            global_issuer: false,
            encrypts: false,
            claims_in_tokens: true,
            public_client: false,
            has_application: true,
            lifetime_seconds: 3600,
            redirect_uris: callbacks(external_host),
            federated_providers: &[],
            federated_source: false,
            names_user_pk: false,
            denied: Vec::new(),
            jwks: None,
            proxy: None,
        }
    }

    /// With these further settings of a proxy provider.
    fn with_proxy(mut self, edit: impl FnOnce(&mut Proxy)) -> Self {
        self.proxy.as_mut().map(edit);
        self
    }

    fn oauth(slug: &'static str, signing: Signing) -> Self {
        let redirect_uris = vec!["http://app.localtest:8080/cb".to_owned()];
        Self {
            signing,
            scopes: OAUTH_SCOPES,
            redirect_uris,
            ..Self::plain(slug, "http://app.localtest:8080")
        }
    }

    /// `<slug>-client-id`.
    pub fn client_id(&self) -> String {
        format!("{}-client-id", self.slug)
    }

    /// Gives it the redirect URIs of a proxy provider with this external host.
    pub fn move_to(&mut self, external_host: &str) {
        self.redirect_uris = callbacks(external_host.trim_end_matches('/'));
        if let Some(proxy) = &mut self.proxy {
            external_host.clone_into(&mut proxy.external_host);
        }
    }

    /// What its tokens are signed with.
    pub fn key(&self) -> Key {
        match self.signing {
            Signing::ClientSecret => Key::Secret(self.client_secret.clone().into_bytes()),
            Signing::Rs256 => Key::Rs256(self.generation),
            Signing::Es256 => Key::Es256(self.generation),
            Signing::Es384 => Key::Es384(self.generation),
            Signing::Es512 => Key::Es512(self.generation),
            Signing::Unusable => Key::None,
        }
    }

    /// As after a key swap; a provider that signs with its client secret gets a new one.
    pub fn rotate(&mut self) {
        self.generation = self.generation.other();
        if self.signing == Signing::ClientSecret {
            let generation = self.generation;
            self.client_secret = match generation {
                Generation::A => format!("{}-client-secret-0123456789abcdef0123456789abcdef", self.slug),
                Generation::B => format!("{}-client-secret-fedcba9876543210fedcba9876543210", self.slug),
            };
        }
    }
}

fn callbacks(external_host: &str) -> Vec<String> {
    let mark = "X-authentik-auth-callback=true";
    vec![format!("{external_host}/outpost.goauthentik.io/callback?{mark}"), format!("{external_host}?{mark}")]
}

/// A further proxy provider, as an administrator adds one.
pub(crate) fn added(slug: &'static str, pk: u32, external_host: &str) -> Provider {
    let mut provider = Provider::proxy(slug, pk);
    provider.move_to(external_host);
    provider
}

/// The providers of the recorded authentik.
pub(crate) fn providers() -> Vec<Provider> {
    use Signing::{Es256, Es384, Es512, Rs256, Unusable};
    // Without the keys of a feature, what needs them is as a key that authentik cannot use.
    let signing = |signing| if cfg!(feature = "asymmetric") { signing } else { Unusable };
    let (es256, es384, es512, rs256) = (signing(Es256), signing(Es384), signing(Es512), signing(Rs256));
    let (oauth, proxy) = (Provider::oauth, Provider::proxy);
    let demo = proxy("demo", 1).with_proxy(|it| it.basic_auth = Some(("app_username", "app_password")));
    let mut domain = proxy("demo-domain", 2).with_proxy(|it| {
        it.mode = "forward_domain";
        it.cookie_domain = "localtest".to_owned();
        it.skip_path_regex = "^/public/.*\n^/healthz$".to_owned();
    });
    domain.move_to("http://auth.localtest:8080");
    let mut proxied = proxy("demo-proxy", 3).with_proxy(|it| {
        it.mode = "proxy";
        it.internal_host = "http://127.0.0.1:18080".to_owned();
    });
    proxied.move_to("http://app2.localtest:8080");
    vec![
        Provider { federated_providers: &["rs"], federated_source: true, denied: vec!["bob"], ..demo },
        Provider { denied: vec!["bob"], ..domain },
        proxied,
        Provider { denied: vec!["bob"], ..oauth("rs", rs256) },
        oauth("es", es256),
        oauth("es384", es384),
        oauth("es512", es512),
        oauth("hs", Signing::ClientSecret),
        Provider { encrypts: true, ..oauth("rs-jwe", rs256) },
        Provider { public_client: true, ..oauth("rs-public", rs256) },
        Provider { lifetime_seconds: 2, ..oauth("rs-short", rs256) },
        Provider { global_issuer: true, ..oauth("rs-global", rs256) },
        Provider { scopes: PROXY_SCOPES, claims_in_tokens: false, ..oauth("rs-noclaims", rs256) },
        Provider { scopes: PROXY_SCOPES, ..oauth("rs-proxyscope", rs256) },
        Provider { federated_providers: &["demo", "rs"], ..oauth("fed", rs256) },
        Provider { has_application: false, ..oauth("noapp", rs256) },
        oauth("ed", Unusable),
    ]
}

/// A user with the passwords that are good.
#[derive(Clone)]
pub struct User {
    /// The primary key in authentik's database; of a user that a test makes, one that nobody had.
    pub pk: u32,
    /// `preferred_username`.
    pub username: String,
    /// `sub`, the same at every provider.
    pub sub: String,
    /// The full name.
    pub name: String,
    /// The address; nobody has verified it.
    pub email: String,
    /// Names of groups.
    pub groups: Vec<String>,
    /// Names of entitlements.
    pub entitlements: Vec<String>,
    /// The merged attributes of the user and its groups.
    pub attributes: Value,
    /// An administrator of authentik.
    pub is_superuser: bool,
    /// Further members of the `ak_proxy` claim, such as `host_header`.
    pub ak_proxy: Map<String, Value>,
    /// Each is good with the username, for every provider.
    pub app_passwords: Vec<String>,
    /// For the login page; no app password.
    pub password: String,
    /// A user who is not is refused everywhere.
    pub active: bool,
}

impl User {
    /// An active user without groups, whose login password is `<username>-login-password`.
    pub fn new(username: &str, name: &str, sub: &str) -> Self {
        Self {
            pk: 0,
            username: username.to_owned(),
            sub: sub.to_owned(),
            name: name.to_owned(),
            email: String::new(),
            groups: Vec::new(),
            entitlements: Vec::new(),
            attributes: json!({}),
            is_superuser: false,
            ak_proxy: Map::new(),
            app_passwords: Vec::new(),
            password: format!("{username}-login-password"),
            active: true,
        }
    }

    fn with_app_password(mut self, password: &str) -> Self {
        self.app_passwords.push(password.to_owned());
        self
    }

    fn in_staff(mut self) -> Self {
        self.groups.push("staff".to_owned());
        self.attributes = json!({
            "app_username": "alice-basic",
            "app_password": "s3cr3t:with colon & ünï",
            "additionalHeaders": {"X-Tenant": "blue", "X-Number": 7, "X-Flag": true, "X-List": ["a", "b"]},
        });
        self
    }
}

/// The users of the recorded authentik.
pub(crate) fn users() -> Vec<User> {
    let mut alice = User::new(
        "alice",
        "Alice Ünicode",
        "c93aa54877a680039dcdd4a7bf6367371742df6d2dd7da41bab94fcaeb173d2f",
    )
    .in_staff()
    .with_app_password("alice-app-password-0123456789abcdef");
    alice.email = "alice@example.test".to_owned();
    alice.groups.extend(["admins-of|pipe".to_owned(), "Gruppe Ü".to_owned()]);
    alice.attributes["nested"] = json!({"a": 1});
    alice.attributes["own"] = json!("attr");
    alice.attributes["settings"] = json!({"locale": "en"});

    let mut bob = User::new("bob", "Bob", "b0b0000000000000000000000000000000000000000000000000000000000b0b")
        .with_app_password("bob-app-password-0123456789abcdef");
    bob.email = "bob@example.test".to_owned();

    let mut dave =
        User::new("dave", "Dave", "da7e00000000000000000000000000000000000000000000000000000000da7e")
            .with_app_password("dave-app-password-0123456789abcdef");
    dave.active = false;

    let eve =
        User::new("eve", "Eve Nogroups", "3c774efab8a7e59863398471ee3eda0df2ba8d0ac88e10b2402cc11c8f5d7e5d")
            .with_app_password("eve-app-password-0123456789abcdef");

    let batch = User::new(
        "svc-batch",
        "svc-batch",
        "accc9f343d13a4eadbad40c7f8e54fc94cc069044782f194d1b0153ab0564985",
    )
    .in_staff()
    .with_app_password("svc-app-password-0123456789abcdef");

    // 3 is the administrator's.
    (4..).zip([alice, bob, dave, eve, batch]).map(|(pk, user)| User { pk, ..user }).collect()
}
