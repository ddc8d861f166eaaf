//! The browser's login flow as it happens: start, callback, sign-out.
//!
//! Owns: what a browser is told at each turn, with which cookies. The turns themselves are [`super::login`]'s values.
//! Must not: let a request through. At the end of a login the browser comes back with a session, like any other.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::authn::authentik as endpoints;
use crate::authn::directory::ProviderId;
use crate::authn::env::Env;
use crate::authn::fault::{Fault, LoginFailure, Rejection};
use crate::authn::login::state::{self, Callback, LOGIN_SECONDS, Login, State, Visit};
use crate::authn::reply::{self, Decision};
use crate::authn::request::credential::{AuthorizationCode, Credential};
use crate::authn::session::cipher::{self, SealingKeys};
use crate::authn::session::content::{self, Origin};
use crate::authn::session::cookies::Cookie;
use crate::authn::verdict::Verdict;
use crate::authn::verification::single_flight::{Known, Purpose};
use crate::authn::{Authenticator, Request};
use crate::base::header::HeaderValue;
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
    pub(crate) fn visit(&mut self, request: Request<'_>, visit: Visit) -> Option<Decision> {
        match visit {
            Visit::Ping => Some(reply::ping(&self.asker(request, None))),
            Visit::Unknown => Some(reply::reject(&self.asker(request, None), Rejection::NotFound)),
            Visit::SignOut => Some(self.sign_out(request)),
            Visit::Start { return_to } => {
                let Some(settings) = self.config.providers.get(request.provider) else {
                    return Some(reply::fail(&self.asker(request, None), Fault::Host));
                };
                let wanted = return_to.as_deref();
                let return_url = state::return_url(settings, wanted, Some(request.view.authority));
                Some(self.start_login(request, return_url, Rejection::NoCredential))
            }
            Visit::Callback(callback) => self.call_back(request, callback),
        }
    }

    /// Sends a browser to authentik, straight. The cookie of a login that another tab began is used again.
    pub(crate) fn start_login(
        &self,
        request: Request<'_>,
        return_url: String,
        rejection: Rejection,
    ) -> Decision {
        let Some(booth) = self.booth(request.provider) else {
            return reply::fail(&self.asker(request, None), Fault::Host);
        };
        let Env { now, host } = *request.env;
        let login = match self.current_login(request, &booth) {
            Some(login) if login.has_ended() => login.begin_again(now, host),
            Some(login) => Some(login),
            None => Login::begin(now, host),
        };
        match login {
            Some(login) => self.redirect_to_authentik(request, &login, return_url, rejection),
            None => reply::fail(&self.asker(request, None), Fault::NoRandomness),
        }
    }

    fn redirect_to_authentik(
        &self,
        request: Request<'_>,
        login: &Login,
        return_url: String,
        rejection: Rejection,
    ) -> Decision {
        let asker = self.asker(request, None);
        let Some(booth) = self.booth(request.provider) else {
            return reply::fail(&asker, Fault::Host);
        };
        if login.is_fruitless(request.env.now) {
            return reply::reject(&asker, Rejection::LoginFailed(LoginFailure::TooManyRounds));
        }
        let state =
            booth.seal(cipher::Purpose::State, &login.state(return_url, request.env.now), request.env);
        let (Some(state), Some(cookies)) = (state, booth.login_cookie(login, LOGIN_SECONDS, request)) else {
            return reply::fail(&asker, Fault::NoRandomness);
        };
        let parameters = (state.as_str(), login.nonce.as_str(), &*login.challenge());
        let url = endpoints::authorize_url(&self.config, booth.settings, parameters);
        reply::redirect(&asker, &url, cookies, rejection)
    }

    /// authentik sent the browser back.
    fn call_back(&mut self, request: Request<'_>, callback: Callback) -> Option<Decision> {
        // One that authentik would have to confirm is none: it may have been ended there, and then this login is to end that.
        let session = self.session(request);
        let has_session = session.is_some_and(|session| !self.is_to_be_confirmed(request, &session));
        let asker = self.asker(request, None);
        // Not `None`: that would be to wait for an answer that nobody was asked for.
        let Some(booth) = self.booth(request.provider) else {
            return Some(reply::fail(&asker, Fault::Host));
        };
        let state: Option<State> =
            callback.state.and_then(|state| booth.open(cipher::Purpose::State, state.as_bytes()));
        let return_to = state.as_ref().map(|state| state.return_url.as_str());
        let return_url = state::return_url(booth.settings, return_to, None);
        if has_session {
            // Another tab was faster, or somebody went back in the browser's history.
            return Some(reply::redirect(&asker, &return_url, Vec::new(), Rejection::NoCredential));
        }
        let failed = |failure| Some(reply::reject(&asker, Rejection::LoginFailed(failure)));
        if callback.is_error {
            return failed(LoginFailure::Refused);
        }
        // Without its cookie a login can never end: a browser that keeps none is not sent round again.
        let mut logins = self.current_logins(request, &booth);
        let Some(first) = logins.first() else {
            return failed(LoginFailure::NoCookie);
        };
        let Some(code) = callback.code else { return failed(LoginFailure::NoCode) };
        // Beside the login's own cookie another host of the domain may have set one of that name.
        let is_own = |login: &Login| state.as_ref().is_some_and(|state| state.is_of(login, request.env.now));
        let Some(own) = logins.iter().position(is_own) else {
            let mismatch = Rejection::LoginFailed(LoginFailure::State);
            return Some(self.restart_login(request, first, return_url, mismatch));
        };
        let login = logins.swap_remove(own);
        let code = AuthorizationCode { code, verifier: login.verifier(), nonce: login.nonce };
        let purpose = Purpose::Login { return_url };
        match self.verdict_on(request, purpose.clone(), &Credential::Code(code)) {
            Known::Verdict(outcome) => self.conclude(request, purpose, outcome),
            Known::Waiting => None,
        }
    }

    /// Sends a browser to authentik once more; the rounds are counted.
    fn restart_login(
        &self,
        request: Request<'_>,
        login: &Login,
        return_url: String,
        rejection: Rejection,
    ) -> Decision {
        match login.next(request.env.now, request.env.host) {
            Some(next) => self.redirect_to_authentik(request, &next, return_url, rejection),
            None => reply::fail(&self.asker(request, None), Fault::NoRandomness),
        }
    }

    /// The code was exchanged, or was not.
    pub(crate) fn finish_login(
        &self,
        request: Request<'_>,
        return_url: String,
        outcome: Result<Verdict, Fault>,
    ) -> Decision {
        let asker = self.asker(request, None);
        let Some(booth) = self.booth(request.provider) else { return reply::fail(&asker, Fault::Host) };
        let Some(login) = self.current_login(request, &booth) else {
            return reply::reject(&asker, Rejection::LoginFailed(LoginFailure::NoCookie));
        };
        let identity = match outcome {
            Ok(Verdict::Vouched(identity)) => identity,
            // A code that was used already, or is too old: a fresh login, unless it goes on like this.
            Ok(Verdict::Refused(rejection @ Rejection::Refused(_))) => {
                return self.restart_login(request, &login, return_url, rejection);
            }
            Ok(Verdict::Refused(rejection)) => return reply::reject(&asker, rejection),
            Err(fault) => return reply::fail(&asker, fault),
        };
        let context = (&self.config, booth.settings, booth.keys);
        let id_token = identity.verified().id_token();
        let sealed =
            content::seal(&identity, &Origin::Login, id_token, context, request.env.now, request.env.host);
        let ended = login.ended(request.env.now);
        let counted = booth.login_cookie(&ended, ended.counts_for(request.env.now), request);
        let (sealed, login) = match (sealed, counted) {
            (Ok(sealed), Some(login)) => (sealed, login),
            (Err(fault), _) => return reply::fail(&asker, fault),
            (Ok(_), None) => return reply::fail(&asker, Fault::NoRandomness),
        };
        let max_age = sealed.expires.since(request.env.now);
        let Some(session) = booth.session.set(&sealed.value, max_age, &request.view.cookies) else {
            return reply::reject(&asker, Rejection::LoginFailed(LoginFailure::SessionTooLong));
        };
        reply::redirect(&asker, &return_url, [session, login].concat(), Rejection::NoCredential)
    }

    /// The session ends here, and authentik is asked to end its own.
    fn sign_out(&mut self, request: Request<'_>) -> Decision {
        let session = self.session(request);
        let asker = self.asker(request, None);
        let Some(booth) = self.booth(request.provider) else { return reply::fail(&asker, Fault::Host) };
        let hint = session
            .as_ref()
            .and_then(|session| session.id_token.as_ref())
            .map(|token| token.expose().as_str());
        let url = endpoints::end_session_url(&self.config, booth.settings, hint);
        let cleared =
            [booth.session.clear(&request.view.cookies), booth.login.clear(&request.view.cookies)].concat();
        reply::redirect(&asker, &url, cleared, Rejection::NoCredential)
    }

    fn current_login(&self, request: Request<'_>, booth: &Booth<'_>) -> Option<Login> {
        self.current_logins(request, booth).into_iter().next()
    }

    fn current_logins(&self, request: Request<'_>, booth: &Booth<'_>) -> Vec<Login> {
        let cookies = booth.login.values(&request.view.cookies);
        let logins = cookies.iter().filter_map(|cookie| booth.open::<Login>(cipher::Purpose::Login, cookie));
        logins.filter(|login| login.is_current(request.env.now)).collect()
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
    fn login_cookie(&self, login: &Login, max_age: u64, request: Request<'_>) -> Option<Vec<HeaderValue>> {
        let sealed = self.seal(cipher::Purpose::Login, login, request.env)?;
        self.login.set(&sealed, max_age, &request.view.cookies)
    }

    fn seal<T: Serialize>(&self, purpose: cipher::Purpose, content: &T, env: &Env<'_>) -> Option<String> {
        self.keys.seal(purpose, &serde_json::to_vec(content).ok()?, env.host)
    }

    fn open<T: DeserializeOwned>(&self, purpose: cipher::Purpose, sealed: &[u8]) -> Option<T> {
        serde_json::from_slice(&self.keys.open(purpose, sealed)?).ok()
    }
}
