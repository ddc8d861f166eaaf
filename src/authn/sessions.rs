//! Sessions of requests: when one is used, and when a response brings a cookie.
//!
//! Owns: [`Sessions`] (what this worker has opened), whose credential a session is, and the cookies of a response. What a
//! session *is* belongs to [`crate::authn::session`].
//! Must not: decide what a request with a session is told.

use std::rc::Rc;

use crate::authn::cache::local::{self, Cache, CacheKey, Lifetime, Name};
use crate::authn::env::Env;
use crate::authn::identity::{Identity, NewCookie};
use crate::authn::provider::{Request, SessionKeys};
use crate::authn::request::credential::{self, Credential};
use crate::authn::session::cipher::SealingKeys;
use crate::authn::session::content::{self, Origin, Session};
use crate::base::header::HeaderValue;
use crate::config::{Config, SessionIssue};

/// The sessions that one worker has opened: a cookie is opened once.
pub(crate) struct Sessions {
    opened: Cache<Rc<Session>>,
}

impl Sessions {
    pub(crate) fn new(config: &Config) -> Self {
        let (entries, bytes) = local::bounds(config);
        Self { opened: Cache::new(entries, bytes) }
    }

    /// The request's session. A cookie that does not open is no session, and no error.
    pub(crate) fn open(&mut self, request: Request<'_>) -> Option<Rc<Session>> {
        let Request { env, config, provider, view, .. } = request;
        if view.cookies.is_empty() {
            return None;
        }
        let keys = provider.sessions.as_ref()?;
        let context = (config, &*provider.settings, &keys.sealing);
        for value in keys.session.values(&view.cookies) {
            if let Some(session) = self.opened.fresh(Name::cookie(provider.id, &value), env.now) {
                return Some(session);
            }
            if let Some(session) = content::open(&value, context, env.now).map(Rc::new) {
                let lifetime = Lifetime { fresh_until: session.expires, stale_until: session.expires };
                self.opened.insert(CacheKey::cookie(provider.id, &value), Rc::clone(&session), lifetime);
                return Some(session);
            }
        }
        None
    }

    /// authentik has ended the request's sessions: what was opened is forgotten.
    pub(crate) fn forget(&mut self, request: Request<'_>) {
        let Request { provider, view, .. } = request;
        let Some(keys) = &provider.sessions else { return };
        for value in keys.session.values(&view.cookies) {
            self.opened.remove(&CacheKey::cookie(provider.id, &value));
        }
    }
}

/// Whether the session came from this very credential.
pub(crate) fn is_from(request: Request<'_>, session: &Session, credential: &Credential<'_>) -> bool {
    let keys = request.provider.sessions.as_ref();
    keys.is_some_and(|keys| is_sealed_for(session, credential, &keys.sealing))
}

/// Whether authentik is to be asked whether the session's token still stands (`revalidate_seconds`).
pub(crate) fn is_to_be_confirmed(request: Request<'_>, session: &Session) -> bool {
    let interval = request.provider.settings.revalidate_seconds;
    interval > 0 && request.env.now.since(session.identity.verified().vouched()) >= interval
}

/// The cookie for a client whose credential was good just now. A request that another site has caused begins no session:
/// the user's browser would go on as somebody whom he did not choose.
pub(crate) fn new_cookie(request: Request<'_>, identity: &Identity) -> Option<Vec<HeaderValue>> {
    let Request { env, config, view, .. } = request;
    if config.session.issue != Some(SessionIssue::Always) || view.is_cross_site() {
        return None;
    }
    let keys = request.provider.sessions.as_ref()?;
    let cookie = identity.cookie_at(env.now, || seal_cookie(request, identity, keys))?;
    let max_age = cookie.expires.since(env.now);
    Some(keys.session.complete(&cookie.lines, max_age, &view.cookies))
}

fn seal_cookie(request: Request<'_>, identity: &Identity, keys: &SessionKeys) -> Option<NewCookie> {
    let Request { config, provider, view, .. } = request;
    let Env { now, host } = *request.env;
    let credential = credential::read(view.authorization).ok()??;
    let origin = origin(identity, &credential, &keys.sealing);
    let context = (config, &*provider.settings, &keys.sealing);
    let sealed = match content::seal(identity, &origin, None, context, now, host) {
        Ok(sealed) => sealed,
        Err(fault) => {
            log::warn!("no session cookie for {}: {fault}", identity.username());
            return None;
        }
    };
    let lines = keys.session.begin(&sealed.value);
    if lines.is_none() {
        log::warn!("no session cookie for {}: it would be longer than 32 KiB", identity.username());
    }
    Some(NewCookie { lines: lines?, expires: sealed.expires })
}

/// The cookie for a session that authentik has confirmed since it was sealed: it need not be asked again so soon.
pub(crate) fn renewed_cookie(request: Request<'_>, session: &Session) -> Option<Vec<HeaderValue>> {
    if !session.is_renewed {
        return None;
    }
    let keys = request.provider.sessions.as_ref()?;
    let Env { now, host } = *request.env;
    let id_token = session.id_token.as_ref().map(|token| token.expose().as_str());
    let Session { identity, origin, expires, .. } = session;
    let sealed = content::seal_until(identity, origin, id_token, *expires, &keys.sealing, host).ok()?;
    keys.session.set(&sealed.value, sealed.expires.since(now), &request.view.cookies)
}

/// What a session for this identity, vouched for because of this credential, comes from. The token is in the session
/// anyway: a fingerprint of it would say nothing more, and cost as much as checking its signature.
fn origin(identity: &Identity, credential: &Credential<'_>, keys: &SealingKeys) -> Origin {
    if is_token_of(identity, credential) {
        Origin::Token
    } else {
        Origin::Credential(keys.fingerprint(credential))
    }
}

fn is_sealed_for(session: &Session, credential: &Credential<'_>, keys: &SealingKeys) -> bool {
    match session.origin {
        Origin::Login => false,
        Origin::Token => is_token_of(&session.identity, credential),
        Origin::Credential(fingerprint) => fingerprint == keys.fingerprint(credential),
    }
}

/// Whether the credential is the very token that the identity stands on. One that authentik exchanged for it is not.
fn is_token_of(identity: &Identity, credential: &Credential<'_>) -> bool {
    match credential {
        Credential::Bearer(token) => {
            local::is_same(token.expose().as_bytes(), identity.verified().token().expose().as_bytes())
        }
        Credential::Basic { .. } | Credential::Session(_) | Credential::Code(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;
    use crate::authn::cache::shared::tests::at;
    use crate::authn::jwt::jws;
    use crate::authn::jwt::verifier;
    use crate::authn::request::credential::BearerToken;
    use crate::authn::session::cipher::tests::Counter;
    use crate::authn::session::cookies::Cookie;
    use crate::base::secret::Secret;
    use crate::base::token::Token;
    use crate::config::Config;

    fn config() -> Config {
        let configuration = json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
            "providers": [{
                "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
                "cookie_secret": "0123456789abcdef0123456789abcdef",
                "external_host": "https://app.example.test",
            }],
        });
        Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
    }

    fn token(username: &str) -> String {
        let claims = json!({"sub": "7", "preferred_username": username, "exp": at(100).seconds()});
        format!("eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJl", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn bearer(token: &str) -> Credential<'_> {
        Credential::Bearer(BearerToken::InHeader(token))
    }

    fn decoded(token: &str) -> Credential<'static> {
        Credential::Bearer(BearerToken::Kept(Token::new(token.to_owned())))
    }

    fn basic(password: &str) -> Credential<'static> {
        Credential::Basic { username: "alice".to_owned(), password: Secret::new(password.to_owned()) }
    }

    /// What a replica opens that another one has sealed for this credential, when authentik vouched for this token.
    fn session(credential: &Credential<'_>, token: &str) -> (Session, SealingKeys) {
        let config = config();
        let provider = &*config.providers[0];
        let keys = SealingKeys::derive(provider).unwrap();
        let context = (&config, provider, &keys);
        let verified =
            verifier::restored(Token::new(token.to_owned()), &jws::payload(token).unwrap(), at(0), at(0))
                .unwrap();
        let identity = Identity::new(verified, provider, &config).unwrap();
        let origin = origin(&identity, credential, &keys);
        let sealed = content::seal(&identity, &origin, None, context, at(0), &Counter::new()).unwrap();
        let session = content::open(sealed.value.as_bytes(), context, at(0)).unwrap();
        assert_eq!(session.origin, origin);
        (session, SealingKeys::derive(provider).unwrap())
    }

    #[test]
    fn a_session_of_a_token_is_that_token_s_and_no_other_s() {
        let own = token("alice");
        for credential in [bearer(&own), decoded(&own)] {
            let (session, keys) = session(&credential, &own);
            assert_eq!(session.origin, Origin::Token);
            assert!(
                is_sealed_for(&session, &bearer(&own), &keys)
                    && is_sealed_for(&session, &decoded(&own), &keys)
            );
            for place in 0..own.len() {
                let mut other = own.clone();
                other.replace_range(place..=place, "~");
                assert!(!is_sealed_for(&session, &bearer(&other), &keys), "at {place}");
                assert!(!is_sealed_for(&session, &bearer(&own[..place]), &keys), "cut at {place}");
            }
            for other in [bearer(&token("sam")), bearer(&format!("{own}.")), basic(&own), basic("")] {
                assert!(!is_sealed_for(&session, &other, &keys), "{other:?}");
            }
        }
    }

    #[test]
    fn a_session_of_what_was_exchanged_for_a_token_is_not_that_token_s() {
        let (issued, foreign) = (token("alice"), token("repo:x"));
        let credentials = [basic("password"), bearer(&foreign), decoded(&foreign)];
        for (own, others) in [(0, &credentials[1..]), (1, &credentials[..1]), (2, &credentials[..1])] {
            let (session, keys) = session(&credentials[own], &issued);
            assert_eq!(session.origin, Origin::Credential(keys.fingerprint(&credentials[own])));
            assert!(is_sealed_for(&session, &credentials[own], &keys));
            for other in others.iter().chain([&bearer(&issued), &basic("Password"), &basic(&issued)]) {
                assert!(!is_sealed_for(&session, other, &keys), "{other:?}");
            }
        }
    }

    #[test]
    fn the_cookie_of_an_identity_takes_no_more_than_it_weighs_before_it_is_made() {
        let config = config();
        let provider = &*config.providers[0];
        let keys = SealingKeys::derive(provider).unwrap();
        for (token, name) in [
            (token("alice"), 0),
            (token(&"a".repeat(4_000)), 0),
            (token(&"a".repeat(16_000)), 0),
            ("opaque".to_owned(), 0),
            ("opaque".to_owned(), 8_000),
        ] {
            let claims = json!({
                "sub": "7", "preferred_username": "alice", "name": "n".repeat(name), "exp": at(100).seconds(),
            });
            let claims = jws::payload(&token).unwrap_or_else(|| claims.to_string().into_bytes());
            let verified = verifier::restored(Token::new(token), &claims, at(0), at(0)).unwrap();
            let identity = Identity::new(verified, provider, &config).unwrap();
            let origin = Origin::Credential([7; 32]);
            let context = (&config, provider, &keys);
            let sealed = content::seal(&identity, &origin, None, context, at(0), &Counter::new()).unwrap();
            let lines = Cookie::session(provider).begin(&sealed.value).unwrap();
            let taken: usize =
                lines.iter().map(|line| line.as_bytes().len() + size_of::<HeaderValue>()).sum();
            let weight = identity.cookie_weight();
            assert!((taken..taken + 2_048).contains(&weight), "{taken} bytes weigh {weight}");
        }
    }

    #[test]
    fn a_session_of_a_login_is_nobody_s_credential() {
        let own = token("alice");
        let (session, keys) = session(&bearer(&own), &own);
        let session = Session { origin: Origin::Login, ..session };
        assert!(
            !is_sealed_for(&session, &bearer(&own), &keys)
                && !is_sealed_for(&session, &basic("password"), &keys)
        );
    }
}
