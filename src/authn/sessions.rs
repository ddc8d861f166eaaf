//! Sessions of requests: when one is used, and when a response brings a cookie.
//!
//! Owns: [`Sessions`] (what this worker has opened), whose credential a session is, and the cookies of a response. What a
//! session *is* belongs to [`crate::authn::session`].
//! Must not: decide what becomes of a request with a session.

use std::rc::Rc;

use crate::authn::cache::local::{self, Cache, CacheKey, Lifetime, Name};
use crate::authn::ended::{Checked, Since, Standing};
use crate::authn::env::Env;
use crate::authn::identity::{Identity, NewCookie};
use crate::authn::policy;
use crate::authn::provider::{Request, SessionKeys};
use crate::authn::request::credential::{self, Credential};
use crate::authn::session::cipher::SealingKeys;
use crate::authn::session::content::{self, Origin, Session, Span};
use crate::base::header::HeaderValue;
use crate::config::{Config, SessionIssue};

/// The sessions that one worker has opened: a cookie is opened once.
pub(crate) struct Sessions {
    opened: Cache<Rc<Session>>,
}

/// What a request's cookies stand for.
pub(crate) struct Opened {
    pub(crate) session: Option<Rc<Session>>,
    /// Whether there is none because the one that there was has ended before its time.
    pub(crate) has_ended: bool,
}

impl Sessions {
    pub(crate) fn new(config: &Config) -> Self {
        let (entries, bytes) = local::bounds(config);
        Self { opened: Cache::new(entries, bytes) }
    }

    /// The request's session. A cookie that does not open is no session, and no error.
    pub(crate) fn open(&mut self, request: Request<'_>) -> Opened {
        let Request { env, config, provider, view, .. } = request;
        let mut has_ended = false;
        let Some(keys) = provider.sessions.as_ref().filter(|_| !view.cookies.is_empty()) else {
            return Opened { session: None, has_ended };
        };
        let context = (config, &*provider.settings, &keys.sealing);
        for value in keys.session.values(&view.cookies) {
            let known = self.opened.fresh(Name::cookie(provider.id, &value), env.now);
            let session = known.or_else(|| {
                let session = Rc::new(content::open(&value, context, env.now)?);
                let lifetime = Lifetime { fresh_until: session.expires, stale_until: session.expires };
                self.opened.insert(CacheKey::cookie(provider.id, &value), Rc::clone(&session), lifetime);
                Some(session)
            });
            match session {
                Some(session) if is_over(request, &session) => has_ended = true,
                Some(session) => return Opened { session: Some(session), has_ended: false },
                None => {}
            }
        }
        Opened { session: None, has_ended }
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

/// What the session is to the request: whose it is, and what it came from.
pub(crate) fn standing(
    request: Request<'_>,
    path: policy::Path,
    session: Option<&Session>,
    credential: Option<&Credential<'_>>,
) -> policy::Session {
    let Some(session) = session else { return policy::Session::None };
    let is_own = credential.is_some_and(|credential| is_from(request, session, credential));
    let is_unconfirmed = path == policy::Path::Open && is_to_be_confirmed(request, session);
    match (is_own, is_unconfirmed) {
        (true, true) => policy::Session::OfThisCredentialUnconfirmed,
        (false, true) => policy::Session::None,
        (true, false) => policy::Session::OfThisCredential,
        (false, false) if session.origin == Origin::Login => policy::Session::OfLogin,
        (false, false) => policy::Session::OfAnotherCredential,
    }
}

/// Whether the session came from this very credential.
fn is_from(request: Request<'_>, session: &Session, credential: &Credential<'_>) -> bool {
    let keys = request.provider.sessions.as_ref();
    keys.is_some_and(|keys| is_sealed_for(session, credential, &keys.sealing))
}

/// Whether authentik is to be asked whether the session's token still stands: it is time (`revalidate_seconds`), or
/// authentik's event log has something about its user.
pub(crate) fn is_to_be_confirmed(request: Request<'_>, session: &Session) -> bool {
    let interval = request.provider.settings.revalidate_seconds;
    let is_due = interval > 0 && request.env.now.since(session.identity.verified().vouched()) >= interval;
    is_due || said_of(request, session) == Standing::Unconfirmed
}

/// Whether the session has come to its end, or has ended before.
pub(crate) fn is_over(request: Request<'_>, session: &Session) -> bool {
    session.expires <= request.env.now || said_of(request, session) == Standing::Over
}

/// What the list of ended sessions says of the session.
fn said_of(request: Request<'_>, session: &Session) -> Standing {
    let verified = session.identity.verified();
    let is_of_password = match session.origin {
        Origin::Credential(_) => true,
        Origin::Login | Origin::Token => false,
    };
    let since = Since { begun: session.begun, vouched: verified.vouched(), is_of_password };
    let ended = request.provider.ended(request.env);
    ended.of_session(&session.checked, verified.claims(), since, request.env.now)
}

/// The cookie for a client whose credential was good just now. A request that another site has caused begins no session:
/// the user's browser would go on as somebody whom he did not choose.
pub(crate) fn new_cookie(request: Request<'_>, identity: &Identity) -> Option<Vec<HeaderValue>> {
    let Request { env, config, view, .. } = request;
    if config.session.issue != Some(SessionIssue::Always) || view.is_cross_site() {
        return None;
    }
    let keys = request.provider.sessions.as_ref()?;
    let claims = identity.verified().claims();
    let has_ended = |cookie: &NewCookie| {
        let since = Since { begun: cookie.begun, vouched: cookie.begun, is_of_password: true };
        let ended = request.provider.ended(env);
        cookie.expires <= env.now
            || ended.of_session(&cookie.checked, claims, since, env.now) == Standing::Over
    };
    let cookie = identity.cookie_at(has_ended, || seal_cookie(request, identity, keys))?;
    let max_age = cookie.expires.since(env.now);
    Some(keys.session.complete(&cookie.lines, max_age, &view.cookies))
}

fn seal_cookie(request: Request<'_>, identity: &Identity, keys: &SessionKeys) -> Option<NewCookie> {
    let Request { config, provider, view, .. } = request;
    let Env { now, host } = *request.env;
    let credential = credential::read(view.authorization).ok()??;
    let origin = origin(identity, &credential, &keys.sealing);
    let context = (config, &*provider.settings, &keys.sealing);
    let begun = provider.ended(request.env).beginning(identity.verified().claims(), now);
    let sealed = match content::seal(identity, &origin, None, context, begun, host) {
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
    Some(NewCookie { lines: lines?, begun, expires: sealed.expires, checked: Checked::default() })
}

/// The cookie for a session that authentik has confirmed since it was sealed: it need not be asked again so soon.
pub(crate) fn renewed_cookie(request: Request<'_>, session: &Session) -> Option<Vec<HeaderValue>> {
    if !session.is_renewed {
        return None;
    }
    let keys = request.provider.sessions.as_ref()?;
    let Env { now, host } = *request.env;
    let id_token = session.id_token.as_ref().map(|token| token.expose().as_str());
    let Session { identity, origin, begun, expires, .. } = session;
    let span = Span { begun: *begun, expires: *expires };
    let sealed = content::seal_again(identity, origin, id_token, span, &keys.sealing, host).ok()?;
    keys.session.set(&sealed.value, sealed.expires.since(now), &request.view.cookies)
}

/// The origin of a session for this identity and credential. The token is in the session
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
mod tests;
