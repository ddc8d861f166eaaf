//! The browser's login flow as it happens: start, callback, sign-out.
//!
//! Owns: the reply to each step, with its cookies. The values of the steps are [`super::state`]'s.
//! Must not: let a request through. At the end of a login the browser comes back with a session, like any other.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::authn::authentik as endpoints;
use crate::authn::ended::Who;
use crate::authn::ended::tally::Cause;
use crate::authn::env::Env;
use crate::authn::fault::{Fault, LoginFailure, Rejection};
use crate::authn::login::state::{self, Callback, Endpoint, LOGIN_SECONDS, Login, State};
use crate::authn::provider::{Request, SessionKeys};
use crate::authn::reply::{self, Decision, ReplyContext};
use crate::authn::report::Reason;
use crate::authn::request::credential::AuthorizationCode;
use crate::authn::session::cipher;
use crate::authn::session::content::{self, Origin, Session};
use crate::authn::sessions::{self, Sessions};
use crate::authn::verdict::{Judgement, Verdict};
use crate::base::header::HeaderValue;

/// What comes of a request of the login flow.
pub(crate) enum Answered {
    Decided(Decision),
    /// Its body is wanted: [`super::backchannel`] goes on with it.
    AwaitBody,
    /// The code is to be exchanged; [`finish`] is next.
    Exchange {
        code: AuthorizationCode,
        /// Where the browser goes then.
        return_url: String,
    },
}

/// Answers a request of the login flow. `None`: it is none, or sessions are off.
pub(crate) fn answer(request: Request<'_>, sessions: &mut Sessions) -> Option<Answered> {
    let login = LoginContext::of(request)?;
    let context = login.reply_context();
    Some(Answered::Decided(match state::endpoint(request.view)? {
        Endpoint::Ping => reply::bare::ping(&context),
        Endpoint::BackchannelLogout => return Some(Answered::AwaitBody),
        Endpoint::Unknown => reply::reject(&context, Rejection::NotFound),
        Endpoint::SignOut => login.sign_out(sessions.open(request).session.as_deref()),
        Endpoint::Start { return_to } => login.start_at(return_to.as_deref()),
        Endpoint::Callback(callback) => {
            // A session that authentik would have to confirm is none: it may have been ended there, and then this login
            // is to end that.
            let session = sessions.open(request).session;
            let has_session = session.is_some_and(|session| !sessions::is_to_be_confirmed(request, &session));
            return Some(login.call_back(callback, has_session));
        }
    }))
}

/// The code was exchanged, or was not.
pub(crate) fn finish(request: Request<'_>, return_url: String, judgement: Judgement) -> Decision {
    let Some(login) = LoginContext::of(request) else { return reply::broken() };
    let mut decision = login.finish(return_url, judgement.outcome);
    decision.report_mut().source = judgement.source;
    decision
}

/// Sends a browser to authentik, and then to the page that it asks for now. `None`: sessions are off.
pub(crate) fn begin(request: Request<'_>, rejection: &Rejection) -> Option<Decision> {
    let login = LoginContext::of(request)?;
    let Request { provider, view, .. } = request;
    let requested = state::requested_url(&provider.settings, view);
    let return_url = state::return_url(&provider.settings, Some(&requested), Some(view.authority));
    Some(login.start(return_url, rejection))
}

/// A request at a provider whose sessions are on.
#[derive(Clone, Copy)]
struct LoginContext<'a> {
    request: Request<'a>,
    keys: &'a SessionKeys,
}

impl<'a> LoginContext<'a> {
    /// `None`: sessions are off.
    fn of(request: Request<'a>) -> Option<Self> {
        Some(Self { request, keys: request.provider.sessions.as_ref()? })
    }

    /// Sends a browser to authentik, straight. The cookie of a login that another tab began is used again.
    fn start(self, return_url: String, rejection: &Rejection) -> Decision {
        let Env { now, host } = *self.request.env;
        let login = match self.current_login() {
            Some(login) if login.has_ended() => login.begin_again(now, host),
            Some(login) => Some(login),
            None => Login::begin(now, host),
        };
        match login {
            Some(login) => self.redirect_to_authentik(&login, return_url, rejection),
            None => self.fail(Fault::NoRandomness),
        }
    }

    /// `/outpost.goauthentik.io/start?rd=…`
    fn start_at(self, return_to: Option<&str>) -> Decision {
        let Request { provider, view, .. } = self.request;
        let return_url = state::return_url(&provider.settings, return_to, Some(view.authority));
        self.start(return_url, &Rejection::NoCredential)
    }

    fn redirect_to_authentik(self, login: &Login, return_url: String, rejection: &Rejection) -> Decision {
        let Request { env, config, provider, .. } = self.request;
        if login.has_too_many_rounds(env.now) {
            return self.reject(LoginFailure::TooManyRounds, &return_url);
        }
        let state = self.seal(cipher::Purpose::State, &login.state(return_url, env.now));
        let (Some(state), Some(cookies)) = (state, self.login_cookie(login, LOGIN_SECONDS)) else {
            return self.fail(Fault::NoRandomness);
        };
        let parameters = (state.as_str(), login.nonce.as_str(), &*login.challenge());
        let url = endpoints::authorize_url(config, &provider.settings, parameters);
        reply::redirect(&self.reply_context(), &url, cookies, Reason::Login, rejection)
    }

    /// authentik sent the browser back. `has_session`: the browser has one that need not be confirmed.
    fn call_back(self, callback: Callback, has_session: bool) -> Answered {
        let Request { env, provider, .. } = self.request;
        let state: Option<State> =
            callback.state.and_then(|state| self.open(cipher::Purpose::State, state.as_bytes()));
        let return_to = state.as_ref().map(|state| state.return_url.as_str());
        let return_url = state::return_url(&provider.settings, return_to, None);
        if has_session {
            // Another tab was faster, or somebody went back in the browser's history.
            return Answered::Decided(self.redirect_back(&return_url, Vec::new(), Reason::LoggedIn));
        }
        let failed = |failure| Answered::Decided(self.reject(failure, &return_url));
        if callback.is_error {
            return failed(LoginFailure::Refused);
        }
        // Without its cookie a login can never end: a browser that keeps none is not sent round again.
        let mut logins = self.current_logins();
        let Some(first) = logins.first() else {
            return failed(LoginFailure::NoCookie);
        };
        let Some(code) = callback.code else { return failed(LoginFailure::NoCode) };
        // Beside the login's own cookie another host of the domain may have set one of that name.
        let is_own = |login: &Login| state.as_ref().is_some_and(|state| state.is_of(login, env.now));
        let Some(own) = logins.iter().position(is_own) else {
            let mismatch = Rejection::LoginFailed(LoginFailure::State);
            return Answered::Decided(self.restart(first, return_url, &mismatch));
        };
        let login = logins.swap_remove(own);
        let code = AuthorizationCode { code, verifier: login.verifier(), nonce: login.nonce };
        Answered::Exchange { code, return_url }
    }

    /// Sends a browser to authentik once more; the rounds are counted.
    fn restart(self, login: &Login, return_url: String, rejection: &Rejection) -> Decision {
        let Env { now, host } = *self.request.env;
        match login.next(now, host) {
            Some(next) => self.redirect_to_authentik(&next, return_url, rejection),
            None => self.fail(Fault::NoRandomness),
        }
    }

    /// The code was exchanged, or was not.
    fn finish(self, return_url: String, outcome: Result<Verdict, Fault>) -> Decision {
        let Request { env, config, provider, view, .. } = self.request;
        let Some(login) = self.current_login() else {
            return self.reject(LoginFailure::NoCookie, &return_url);
        };
        let context = self.context_leading_to(&return_url);
        let identity = match outcome {
            Ok(Verdict::Vouched(identity)) => identity,
            // A code that was used already, or is too old: a fresh login, unless it goes on like this.
            Ok(Verdict::Refused(rejection @ Rejection::Refused(_))) => {
                return self.restart(&login, return_url, &rejection);
            }
            Ok(Verdict::Refused(rejection)) => return reply::reject(&context, rejection),
            Err(fault) => return reply::fail(&context, fault),
        };
        let keys = (config, &*provider.settings, &self.keys.sealing);
        let id_token = identity.verified().id_token();
        let begun = provider.ended(env).beginning(identity.verified().claims(), env.now);
        let sealed = content::seal(&identity, &Origin::Login, id_token, keys, begun, env.host);
        let ended = login.ended(env.now);
        let counted = self.login_cookie(&ended, ended.counts_for(env.now));
        let (sealed, login) = match (sealed, counted) {
            (Ok(sealed), Some(login)) => (sealed, login),
            (Err(Fault::UnencodableSession), _) => {
                return self.reject(LoginFailure::SessionTooLong, &return_url);
            }
            (Err(fault), _) => return reply::fail(&context, fault),
            (Ok(_), None) => return reply::fail(&context, Fault::NoRandomness),
        };
        let max_age = sealed.expires.since(env.now);
        let Some(session) = self.keys.session.set(&sealed.value, max_age, &view.cookies) else {
            return self.reject(LoginFailure::SessionTooLong, &return_url);
        };
        let cookies = [session, login].concat();
        self.redirect_back(&return_url, cookies, Reason::LoggedIn)
    }

    /// All sessions of the user end here, as authentik's outpost ends them, and authentik is asked to end its own (OpenID
    /// Connect RP-Initiated Logout 1.0).
    fn sign_out(self, session: Option<&Session>) -> Decision {
        let Request { env, config, provider, view, .. } = self.request;
        if let Some(session) = session
            && let Some(sub) = &session.identity.verified().claims().sub
        {
            provider.end(Who::User(sub), env.now.max(session.begun), Cause::SignOut, env);
        }
        let id_token = session.and_then(|session| session.id_token.as_ref());
        let hint = id_token.map(|token| token.expose().as_str());
        let url = endpoints::end_session_url(config, &provider.settings, hint);
        let cleared = [self.keys.session.clear(&view.cookies), self.keys.login.clear(&view.cookies)].concat();
        self.redirect_back(&url, cleared, Reason::SignedOut)
    }

    /// The end of a login or of a session.
    fn redirect_back(self, url: &str, cookies: Vec<HeaderValue>, reason: Reason) -> Decision {
        reply::redirect(&self.reply_context(), url, cookies, reason, &Rejection::NoCredential)
    }

    fn current_login(self) -> Option<Login> {
        self.current_logins().into_iter().next()
    }

    fn current_logins(self) -> Vec<Login> {
        let Request { env, view, .. } = self.request;
        let cookies = self.keys.login.values(&view.cookies);
        let logins = cookies.iter().filter_map(|cookie| self.open::<Login>(cipher::Purpose::Login, cookie));
        logins.filter(|login| login.is_current(env.now)).collect()
    }

    fn login_cookie(self, login: &Login, max_age: u64) -> Option<Vec<HeaderValue>> {
        let sealed = self.seal(cipher::Purpose::Login, login)?;
        self.keys.login.set(&sealed, max_age, &self.request.view.cookies)
    }

    fn seal<T: Serialize>(self, purpose: cipher::Purpose, content: &T) -> Option<String> {
        self.keys.sealing.seal(purpose, &serde_json::to_vec(content).ok()?, self.request.env.host)
    }

    fn open<T: DeserializeOwned>(self, purpose: cipher::Purpose, sealed: &[u8]) -> Option<T> {
        serde_json::from_slice(&self.keys.sealing.open(purpose, sealed)?).ok()
    }

    fn reply_context(self) -> ReplyContext<'a> {
        ReplyContext::of(self.request, None)
    }

    /// The page of the reply leads to a new login for this URL where the request itself is not to be sent again: the code
    /// of a callback is good once.
    fn context_leading_to<'b>(self, return_url: &'b str) -> ReplyContext<'b>
    where
        'a: 'b,
    {
        let mut context = self.reply_context();
        context.links.return_url = Some(return_url);
        context
    }

    fn reject(self, failure: LoginFailure, return_url: &str) -> Decision {
        reply::reject(&self.context_leading_to(return_url), Rejection::LoginFailed(failure))
    }

    fn fail(self, fault: Fault) -> Decision {
        reply::fail(&self.reply_context(), fault)
    }
}
