//! authentik in the walk: who may come in, which tokens there are, and what is said when the filter asks.
//!
//! Owns: the truth, as it is now. Must not: know what the filter knows.

use fake_authentik::{Generation, Key, url};
use proxy_wasm_testkit::CallAnswer;
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::site::{self, AUTHENTIK, Provider};

/// Every password has this in it, and nothing else has.
pub(super) const PASSWORD_MARK: &str = "pass-phrase";

/// Index of a token.
pub(super) type TokenId = usize;

/// Somebody who has an account.
pub(super) struct User {
    pub(super) name: &'static str,
    pub(super) password: String,
    pub(super) is_enabled: bool,
    /// Slugs of the applications that do not let him in.
    denied_by: &'static [&'static str],
    /// His tokens have no `preferred_username`.
    pub(super) is_nameless: bool,
    /// `additionalHeaders`
    pub(super) headers: &'static [(&'static str, &'static str)],
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Issued by authentik, signed as the provider signs.
    Genuine,
    /// Issued by authentik, and nothing that can be read.
    Opaque,
    BadSignature,
    UnknownKey,
    /// Of another issuer.
    Foreign,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) kind: Kind,
    pub(super) slug: &'static str,
    /// Index of the user.
    pub(super) user: usize,
    pub(super) expires: u64,
    pub(super) is_revoked: bool,
}

impl Token {
    /// Whether it says in plain sight that this authentik issued it.
    pub(super) const fn names_authentik(&self) -> bool {
        match self.kind {
            Kind::Genuine | Kind::BadSignature | Kind::UnknownKey => true,
            Kind::Opaque | Kind::Foreign => false,
        }
    }
}

/// A good answer: this token, or none.
pub(super) type Verdict = Option<TokenId>;

/// How a call ends that authentik does not answer as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Status(u16),
    Reset,
    Refused,
    Timeout,
    NotJson,
    WrongJson,
    /// authentik does not know the client: the configuration's fault, so nothing is bridged.
    InvalidClient,
}

pub(super) const FAILURES: [Failure; 8] = [
    Failure::Status(405),
    Failure::Status(503),
    Failure::Status(500),
    Failure::Reset,
    Failure::Refused,
    Failure::Timeout,
    Failure::NotJson,
    Failure::WrongJson,
];

impl Failure {
    pub(super) fn answer(self) -> CallAnswer {
        match self {
            Self::Status(status) => CallAnswer::json(status, "<html>"),
            Self::Reset => CallAnswer::Reset,
            Self::Refused => CallAnswer::ConnectFailure,
            Self::Timeout => CallAnswer::Timeout,
            Self::NotJson => CallAnswer::json(200, "<html>"),
            Self::WrongJson => CallAnswer::json(200, r#"{"detail": "x"}"#),
            Self::InvalidClient => CallAnswer::json(400, r#"{"error": "invalid_client"}"#),
        }
    }
}

/// A login of a browser between authentik's page and the callback.
pub(super) struct Code {
    pub(super) code: String,
    pub(super) slug: &'static str,
    pub(super) user: usize,
    pub(super) nonce: String,
}

pub(super) struct Authentik {
    pub(super) users: Vec<User>,
    pub(super) tokens: Vec<Token>,
    pub(super) codes: Vec<Code>,
    issued: u64,
}

/// How long tokens live, in seconds; some end soon after their session is to be confirmed.
const LIFETIMES: [u64; 6] = [15, 34, 60, 300, 3600, 3600];

impl Authentik {
    pub(super) fn new() -> Self {
        let user = |name| User {
            name,
            password: format!("{name}-{PASSWORD_MARK}-0"),
            is_enabled: true,
            denied_by: &[],
            is_nameless: false,
            headers: &[],
        };
        let users = vec![
            User { headers: &[("X-Tenant", "blue"), ("X-Role", "editor")], ..user("alice") },
            user("bob"),
            User { denied_by: &["app", "corp"], ..user("carol") },
            User { is_nameless: true, ..user("dora") },
            User { headers: &[("X-Role", "reader")], ..user("sam") },
        ];
        Self { users, tokens: Vec::new(), codes: Vec::new(), issued: 0 }
    }

    /// A new token.
    pub(super) fn mint(
        &mut self,
        kind: Kind,
        slug: &'static str,
        user: usize,
        expires: u64,
        nonce: Option<&str>,
        now: u64,
    ) -> TokenId {
        self.issued += 1;
        let number = self.issued;
        let mut claims = self.claims_of(slug, user, expires);
        claims["iat"] = json!(now);
        claims["jti"] = json!(number);
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        let good = site::key(slug);
        let text = match kind {
            Kind::Opaque => format!("opaque-token-{number:08}-of-{slug}"),
            Kind::Genuine => signed(&good, good.kid(), &claims),
            Kind::BadSignature => {
                let mut text = signed(&good, good.kid(), &claims);
                let place = text.len() - 10;
                let other = if text.as_bytes()[place] == b'A' { "B" } else { "A" };
                text.replace_range(place..=place, other);
                text
            }
            Kind::UnknownKey => signed(&Key::Es256(Generation::B), Some("unknown".to_owned()), &claims),
            Kind::Foreign => {
                claims["iss"] = json!("https://ci.example.test");
                signed(&Key::External, Key::External.kid(), &claims)
            }
        };
        self.tokens.push(Token { text, kind, slug, user, expires, is_revoked: false });
        self.tokens.len() - 1
    }

    /// What authentik says of a user in a token of this client.
    pub(super) fn claims_of(&self, slug: &str, user: usize, expires: u64) -> Value {
        let user = &self.users[user];
        let headers: serde_json::Map<_, _> =
            user.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let mut claims = json!({
            "iss": site::issuer(slug),
            "sub": format!("uid-of-{}", user.name),
            "aud": format!("{slug}-client-id"),
            "exp": expires,
            "name": format!("{} Ünicode", user.name),
            "email": format!("{}@example.test", user.name),
            "groups": ["staff", user.name],
            "entitlements": ["read"],
            "ak_proxy": {"user_attributes": {"additionalHeaders": headers}},
        });
        if !user.is_nameless {
            claims["preferred_username"] = json!(user.name);
        }
        claims
    }

    pub(super) fn is_nameless(&self, token: TokenId) -> bool {
        self.users[self.tokens[token].user].is_nameless
    }

    pub(super) fn find_token(&self, text: &str) -> Option<TokenId> {
        self.tokens.iter().position(|token| token.text == text)
    }

    fn lets_in(&self, slug: &str, user: &User) -> bool {
        user.is_enabled && !user.denied_by.contains(&slug)
    }

    /// The token endpoint, for a user name and an app password: a new token, or a refusal.
    pub(super) fn exchange(
        &mut self,
        slug: &'static str,
        username: &str,
        password: &str,
        now: u64,
        random: &mut StdRng,
    ) -> Verdict {
        let (index, user) = self.users.iter().enumerate().find(|(_, user)| user.name == username)?;
        if !self.lets_in(slug, user) || user.password != password {
            return None;
        }
        let expires = now + LIFETIMES[random.gen_range(0..LIFETIMES.len())];
        Some(self.mint(Kind::Genuine, slug, index, expires, None, now))
    }

    /// The token endpoint, for the code of a login.
    pub(super) fn redeem(&mut self, code: &str, now: u64, random: &mut StdRng) -> Verdict {
        let place = self.codes.iter().position(|known| known.code == code)?;
        let Code { slug, user, nonce, .. } = self.codes.remove(place);
        if !self.lets_in(slug, &self.users[user]) {
            return None;
        }
        let expires = now + LIFETIMES[random.gen_range(1..LIFETIMES.len())];
        Some(self.mint(Kind::Genuine, slug, user, expires, Some(&nonce), now))
    }

    /// The introspection endpoint.
    pub(super) fn introspect(&self, slug: &str, text: &str, now: u64) -> Verdict {
        let id = self.find_token(text)?;
        let token = &self.tokens[id];
        let is_issued = matches!(token.kind, Kind::Genuine | Kind::Opaque) && token.slug == slug;
        let stands = !token.is_revoked && token.expires > now && self.users[token.user].is_enabled;
        (is_issued && stands).then_some(id)
    }

    /// The introspection endpoint calls a token of another client active too, if that client is federated with the one that
    /// asks: `corp` is with `app`. It is not the filter's own all the same.
    pub(super) fn introspect_federated(&self, slug: &str, text: &str, now: u64) -> Verdict {
        if slug == "app" { self.introspect("corp", text, now) } else { None }
    }

    /// The answer of the token endpoint.
    pub(super) fn token_answer(&self, verdict: Verdict) -> CallAnswer {
        match verdict {
            Some(token) => {
                let text = &self.tokens[token].text;
                let body = json!({"access_token": text, "token_type": "Bearer", "id_token": text});
                CallAnswer::json(200, body.to_string())
            }
            None => CallAnswer::json(400, r#"{"error": "invalid_grant"}"#),
        }
    }

    /// The answer of the introspection endpoint.
    pub(super) fn introspection_answer(&self, verdict: Verdict) -> CallAnswer {
        let body = match verdict {
            Some(token) => {
                let Token { slug, user, expires, .. } = self.tokens[token];
                let mut claims = self.claims_of(slug, user, expires);
                claims["active"] = json!(true);
                claims["client_id"] = json!(format!("{slug}-client-id"));
                claims
            }
            None => json!({"active": false}),
        };
        CallAnswer::json(200, body.to_string())
    }

    pub(super) fn keys_answer(slug: &str) -> CallAnswer {
        let keys = site::key(slug).jwk().map_or(json!({}), |key| json!({"keys": [key]}));
        CallAnswer::json(200, keys.to_string())
    }

    /// The twelve headers, and those of the user's attributes, that the application gets of an identity at a provider.
    pub(super) fn identity_headers(&self, token: TokenId, provider: &Provider) -> Vec<(String, String)> {
        let Token { text, user, slug, .. } = &self.tokens[token];
        let user = &self.users[*user];
        let mut headers = vec![
            ("x-authentik-username", user.name.to_owned()),
            ("x-authentik-groups", format!("staff|{}", user.name)),
            ("x-authentik-entitlements", "read".to_owned()),
            ("x-authentik-email", format!("{}@example.test", user.name)),
            ("x-authentik-name", format!("{} Ünicode", user.name)),
            ("x-authentik-uid", format!("uid-of-{}", user.name)),
            ("x-authentik-jwt", text.clone()),
            ("x-authentik-meta-jwks", format!("{AUTHENTIK}/application/o/{slug}/jwks/")),
            ("x-authentik-meta-outpost", site::OUTPOST_NAME.to_owned()),
            ("x-authentik-meta-provider", provider.name.to_owned()),
            ("x-authentik-meta-app", provider.slug.to_owned()),
            (
                "x-authentik-meta-version",
                concat!("goauthentik.io/outpost/", env!("CARGO_PKG_VERSION")).to_owned(),
            ),
        ];
        headers.extend(user.headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
    }
}

fn signed(key: &Key, kid: Option<String>, claims: &Value) -> String {
    let mut header = json!({"alg": key.alg(), "typ": "JWT"});
    if let Some(kid) = kid {
        header["kid"] = json!(kid);
    }
    let message = format!("{}.{}", url(header.to_string()), url(claims.to_string()));
    let signature = url(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}
