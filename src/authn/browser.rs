//! The browser's login flow as it happens: start, callback, sign-out.
//!
//! Owns: what a browser is told at each turn, with which cookies. The turns themselves are [`super::login`]'s values.
//! Must not: let a request through. At the end of a login the browser comes back with a session, like any other.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cookies::Cookie;
use super::credential::{AuthorizationCode, Credential};
use super::decision::{self, Decision};
use super::directory::ProviderId;
use super::fault::{Fault, LoginFailure, Rejection};
use super::flights::{Known, Purpose};
use super::headers::HeaderValue;
use super::login::{self, Callback, LOGIN_SECONDS, Login, State, Visit};
use super::sealing::{self, SealingKeys};
use super::session::{self, Origin};
use super::verdict::Verdict;
use super::{Authenticator, Env, Request, provider as endpoints};
use crate::config::Provider;

/// A provider whose sessions are on.
struct Booth<'a> {
    settings: &'a Provider,
    keys: &'a SealingKeys,
    session: &'a Cookie,
    login: &'a Cookie,
}

impl Authenticator {
    /// A request of the login flow. `None`: it waits for authentik.
    pub(super) fn visit(&mut self, request: Request<'_>, visit: Visit) -> Option<Decision> {
        match visit {
            Visit::Ping => Some(decision::ping(&self.asker(request, None))),
            Visit::Unknown => Some(decision::reject(&self.asker(request, None), Rejection::NotFound)),
            Visit::SignOut => Some(self.sign_out(request)),
            Visit::Start { return_to } => {
                let Some(settings) = self.config.providers.get(request.provider) else {
                    return Some(decision::fail(&self.asker(request, None), Fault::Host));
                };
                let return_url = login::return_url(settings, return_to.as_deref());
                Some(self.start_login(request, return_url, Rejection::NoCredential))
            }
            Visit::Callback(callback) => self.call_back(request, callback),
        }
    }

    /// Sends a browser to authentik, straight. The cookie of a login that another tab began is used again.
    pub(super) fn start_login(
        &self,
        request: Request<'_>,
        return_url: String,
        rejection: Rejection,
    ) -> Decision {
        let Some(booth) = self.booth(request.provider) else {
            return decision::fail(&self.asker(request, None), Fault::Host);
        };
        let login = match self.current_login(request, &booth) {
            Some(login) => Some(login),
            None => Login::begin(request.env.now, request.env.surroundings),
        };
        self.redirect_to_authentik(request, login, return_url, rejection)
    }

    fn redirect_to_authentik(
        &self,
        request: Request<'_>,
        login: Option<Login>,
        return_url: String,
        rejection: Rejection,
    ) -> Decision {
        let asker = self.asker(request, None);
        let (Some(booth), Some(login)) = (self.booth(request.provider), login) else {
            return decision::fail(&asker, Fault::NoRandomness);
        };
        if login.is_fruitless(request.env.now) {
            return decision::reject(&asker, Rejection::LoginFailed(LoginFailure::TooManyRounds));
        }
        let state =
            booth.seal(sealing::Purpose::State, &login.state(return_url, request.env.now), request.env);
        let (Some(state), Some(cookies)) = (state, booth.login_cookie(&login, request)) else {
            return decision::fail(&asker, Fault::NoRandomness);
        };
        let parameters = (state.as_str(), login.nonce.as_str(), &*login.challenge());
        let url = endpoints::authorize_url(&self.config, booth.settings, parameters);
        decision::redirect(&asker, &url, cookies, rejection)
    }

    /// authentik sent the browser back.
    fn call_back(&mut self, request: Request<'_>, callback: Callback) -> Option<Decision> {
        let has_session = self.session(request).is_some();
        let asker = self.asker(request, None);
        // Not `None`: that would be to wait for an answer that nobody was asked for.
        let Some(booth) = self.booth(request.provider) else {
            return Some(decision::fail(&asker, Fault::Host));
        };
        let state: Option<State> =
            callback.state.and_then(|state| booth.open(sealing::Purpose::State, state.as_bytes()));
        let return_to = state.as_ref().map(|state| state.return_url.as_str());
        let return_url = login::return_url(booth.settings, return_to);
        if has_session {
            // Another tab was faster, or somebody went back in the browser's history.
            return Some(decision::redirect(&asker, &return_url, Vec::new(), Rejection::NoCredential));
        }
        let failed = |failure| Some(decision::reject(&asker, Rejection::LoginFailed(failure)));
        if callback.is_error {
            return failed(LoginFailure::Refused);
        }
        // Without its cookie a login can never end: a browser that keeps none is not sent round again.
        let Some(login) = self.current_login(request, &booth) else {
            return failed(LoginFailure::NoCookie);
        };
        let Some(code) = callback.code else { return failed(LoginFailure::NoCode) };
        if !state.is_some_and(|state| state.is_of(&login, request.env.now)) {
            let next = login.next(request.env.now, request.env.surroundings);
            let stale = Rejection::LoginFailed(LoginFailure::State);
            return Some(self.redirect_to_authentik(request, next, return_url, stale));
        }
        let code = AuthorizationCode { code, verifier: login.verifier(), nonce: login.nonce };
        let purpose = Purpose::Login { return_url };
        match self.verdict_on(request, purpose.clone(), &Credential::Code(code)) {
            Known::Verdict(outcome) => self.conclude(request, purpose, outcome),
            Known::Waiting => None,
        }
    }

    /// The code was exchanged, or was not.
    pub(super) fn finish_login(
        &self,
        request: Request<'_>,
        return_url: String,
        outcome: Result<Verdict, Fault>,
    ) -> Decision {
        let asker = self.asker(request, None);
        let Some(booth) = self.booth(request.provider) else { return decision::fail(&asker, Fault::Host) };
        let next = self
            .current_login(request, &booth)
            .and_then(|login| login.next(request.env.now, request.env.surroundings));
        let identity = match outcome {
            Ok(Verdict::Vouched(identity)) => identity,
            // A code that was used already, or is too old: a fresh login, unless it goes on like this.
            Ok(Verdict::Refused(rejection @ Rejection::Refused)) => {
                return self.redirect_to_authentik(request, next, return_url, rejection);
            }
            Ok(Verdict::Refused(rejection)) => return decision::reject(&asker, rejection),
            Err(fault) => return decision::fail(&asker, fault),
        };
        let context = (&self.config, booth.settings, booth.keys);
        let id_token = identity.verified().id_token();
        let sealed = session::seal(
            &identity,
            &Origin::Login,
            id_token,
            context,
            request.env.now,
            request.env.surroundings,
        );
        let login = next.and_then(|next| booth.login_cookie(&next, request));
        let (Some(sealed), Some(login)) = (sealed, login) else {
            return decision::fail(&asker, Fault::NoRandomness);
        };
        let max_age = sealed.expires.since(request.env.now);
        let Some(session) = booth.session.set(&sealed.value, max_age, &request.view.cookies) else {
            return decision::reject(&asker, Rejection::LoginFailed(LoginFailure::SessionTooLong));
        };
        decision::redirect(&asker, &return_url, [session, login].concat(), Rejection::NoCredential)
    }

    /// The session ends here, and authentik is asked to end its own.
    fn sign_out(&mut self, request: Request<'_>) -> Decision {
        let session = self.session(request);
        let asker = self.asker(request, None);
        let Some(booth) = self.booth(request.provider) else { return decision::fail(&asker, Fault::Host) };
        let hint = session
            .as_ref()
            .and_then(|session| session.id_token.as_ref())
            .map(|token| token.expose().as_str());
        let url = endpoints::end_session_url(&self.config, booth.settings, hint);
        let cleared =
            [booth.session.clear(&request.view.cookies), booth.login.clear(&request.view.cookies)].concat();
        decision::redirect(&asker, &url, cleared, Rejection::NoCredential)
    }

    fn current_login(&self, request: Request<'_>, booth: &Booth<'_>) -> Option<Login> {
        let cookies = booth.login.values(&request.view.cookies);
        let logins = cookies.iter().filter_map(|cookie| booth.open::<Login>(sealing::Purpose::Login, cookie));
        logins.into_iter().find(|login| login.is_current(request.env.now))
    }

    fn booth(&self, provider: ProviderId) -> Option<Booth<'_>> {
        let state = self.providers.get(provider)?;
        Some(Booth {
            settings: self.config.providers.get(provider)?,
            keys: state.sealing.as_ref()?,
            session: &state.session_cookie,
            login: &state.login_cookie,
        })
    }
}

impl Booth<'_> {
    fn login_cookie(&self, login: &Login, request: Request<'_>) -> Option<Vec<HeaderValue>> {
        let sealed = self.seal(sealing::Purpose::Login, login, request.env)?;
        self.login.set(&sealed, LOGIN_SECONDS, &request.view.cookies)
    }

    fn seal<T: Serialize>(&self, purpose: sealing::Purpose, content: &T, env: &Env<'_>) -> Option<String> {
        self.keys.seal(purpose, &serde_json::to_vec(content).ok()?, env.surroundings)
    }

    fn open<T: DeserializeOwned>(&self, purpose: sealing::Purpose, sealed: &[u8]) -> Option<T> {
        serde_json::from_slice(&self.keys.open(purpose, sealed)?).ok()
    }
}
