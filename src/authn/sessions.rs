//! When a session is used, and when one is set.
//!
//! Owns: opening the request's cookie (once, then it is remembered), whose credential a session is, and when a response
//! brings a new cookie. What a session *is* belongs to [`super::session`].
//! Must not: decide what a request with a session is told.

use std::rc::Rc;

use super::cache::{Lifetime, Name};
use super::credential::{self, Credential};
use super::headers::HeaderValue;
use super::identity::Identity;
use super::session::{self, Origin, Session};
use super::{Authenticator, Request};
use crate::config::SessionIssue;

impl Authenticator {
    pub(super) const fn has_sessions(&self) -> bool {
        self.config.session.issue.is_some()
    }

    /// The request's session. A cookie that does not open is no session, and no error.
    pub(super) fn session(&mut self, request: Request<'_>) -> Option<Rc<Session>> {
        if request.view.cookies.is_empty() {
            return None;
        }
        let state = self.providers.get(request.provider)?;
        let keys = state.sealing.as_ref()?;
        let context = (&self.config, self.config.providers.get(request.provider)?, keys);
        for value in state.session_cookie.values(&request.view.cookies) {
            let name = Name::cookie(request.provider, &value);
            if let Some(session) = self.sessions.fresh(name, request.env.now) {
                return Some(session);
            }
            if let Some(session) = session::open(&value, context, request.env.now).map(Rc::new) {
                let lifetime = Lifetime { fresh_until: session.expires, stale_until: session.expires };
                self.sessions.insert(name.to_key(), Rc::clone(&session), lifetime);
                return Some(session);
            }
        }
        None
    }

    /// Whether the session came from this very credential.
    pub(super) fn is_credential_of(
        &self,
        request: Request<'_>,
        session: &Session,
        credential: &Credential<'_>,
    ) -> bool {
        let keys = self.providers.get(request.provider).and_then(|state| state.sealing.as_ref());
        keys.is_some_and(|keys| session.origin == Origin::Credential(keys.fingerprint(credential)))
    }

    /// Whether authentik is to be asked whether the session's token still stands (`revalidate_seconds`).
    pub(super) fn is_to_be_confirmed(&self, request: Request<'_>, session: &Session) -> bool {
        let interval =
            self.config.providers.get(request.provider).map_or(0, |provider| provider.revalidate_seconds);
        interval > 0 && request.env.now.since(session.identity.verified().vouched()) >= interval
    }

    /// The cookie for a client whose credential was good just now.
    pub(super) fn new_session(&self, request: Request<'_>, identity: &Identity) -> Option<Vec<HeaderValue>> {
        if self.config.session.issue != Some(SessionIssue::Always) {
            return None;
        }
        let state = self.providers.get(request.provider)?;
        let keys = state.sealing.as_ref()?;
        let context = (&self.config, self.config.providers.get(request.provider)?, keys);
        let sealed = identity.sealed_once(|| {
            let credential = credential::read(request.view.authorization).ok()??;
            let origin = Origin::Credential(keys.fingerprint(&credential));
            session::seal(identity, &origin, None, context, request.env.now, request.env.surroundings)
        })?;
        let (max_age, cookies) = (sealed.expires.since(request.env.now), &request.view.cookies);
        let make = || state.session_cookie.set(&sealed.value, max_age, cookies);
        let set = if cookies.is_empty() { identity.set_cookies(max_age, make) } else { make() };
        if set.is_none() {
            log::warn!("no session cookie for {}: it would be longer than 32 KiB", identity.username());
        }
        set
    }

    /// The cookie for a session that authentik has confirmed since it was sealed: it need not be asked again so soon.
    pub(super) fn confirmed_session(
        &self,
        request: Request<'_>,
        session: &Session,
    ) -> Option<Vec<HeaderValue>> {
        if !session.is_renewed {
            return None;
        }
        let state = self.providers.get(request.provider)?;
        let keys = state.sealing.as_ref()?;
        let id_token = session.id_token.as_ref().map(|token| token.expose().as_str());
        let Session { identity, origin, expires, .. } = session;
        let sealed =
            session::seal_until(identity, origin, id_token, *expires, keys, request.env.surroundings)?;
        state.session_cookie.set(&sealed.value, sealed.expires.since(request.env.now), &request.view.cookies)
    }
}
