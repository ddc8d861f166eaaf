//! Requests for back-channel logout: each waits for its body, and its token may wait for keys.
//!
//! Owns: how many wait, and when a token is judged. A token that names an unknown key waits for a fetch of the
//! key set, which is bounded as it is for credentials.
//! Must not: end a session, or know what a logout token must have.

use std::rc::Rc;

use crate::authn::env::{Env, RequestId};
use crate::authn::fault::Fault;
use crate::authn::jwt::logout_token::{self, LogoutRejection, LogoutToken, NoLogout};
use crate::authn::jwt::rejection::TokenRejection;
use crate::authn::provider::Provider;
use crate::authn::provider::key_ring::Activity;
use crate::authn::verification::logout_queue::Waiting;
use crate::authn::verification::{LOST_AFTER_SECONDS, Verification, key_fetch};
use crate::base::token::Token;

/// Most requests that wait in one worker. Envoy keeps their bodies.
const MAX_WAITING: usize = 1024;
/// Most of them whose token waits for keys: the worker keeps those, each of at most 16 KiB.
const MAX_TOKENS: usize = 64;

/// What is known of a logout token.
pub(crate) type LogoutVerdict = Result<Result<LogoutToken, LogoutRejection>, Fault>;

/// What has become of a request that waited.
pub(crate) enum ResumedLogout {
    /// This is known of its token, for this provider.
    Over(Rc<Provider>, LogoutVerdict),
    /// It waits on.
    Waiting,
    /// It does not wait.
    Unknown,
}

impl<W> Verification<W> {
    /// The next request that need not wait any longer.
    pub(crate) fn next_ready(&mut self) -> Option<RequestId> {
        self.waiting.next_ready().or_else(|| self.logouts.next_ready())
    }

    /// Whether requests need not wait any longer and were not taken.
    pub(crate) fn has_ready(&self) -> bool {
        self.waiting.has_ready() || self.logouts.next_ready().is_some()
    }

    /// Whether this request need not wait any longer.
    pub(crate) fn is_ready(&self, id: RequestId) -> bool {
        self.waiting.is_ready(id) || self.logouts.is_ready(id)
    }

    /// A request is gone.
    pub(crate) fn forget(&mut self, id: RequestId) {
        self.waiting.forget(id);
        self.logouts.forget(id);
    }

    pub(super) fn look_at_logouts(&mut self, env: &Env<'_>) {
        let patience = self.config.authentik.timeout.as_secs().saturating_add(LOST_AFTER_SECONDS);
        self.logouts.look(env.now, patience);
    }

    /// Lets a request wait for its body.
    pub(crate) fn await_body(
        &mut self,
        env: &Env<'_>,
        provider: &Rc<Provider>,
        id: RequestId,
    ) -> Result<(), Fault> {
        let waiting = &mut self.logouts.waiting;
        if waiting.len() >= MAX_WAITING {
            return Err(Fault::TooManyWaiting);
        }
        let provider = Rc::clone(provider);
        waiting.push(Waiting { id, provider, since: env.now, token: None, is_over: false });
        Ok(())
    }

    /// The body of a request has come, with this token; `None`: with none. The token may wait for keys.
    pub(crate) fn body_ended(&mut self, env: &Env<'_>, id: RequestId, token: Option<Token>) -> ResumedLogout {
        let Some(Waiting { provider, .. }) = self.logouts.take(id) else { return ResumedLogout::Unknown };
        let verdict = match token {
            Some(token) => self.logout(env, &provider, id, token),
            None => Some(Ok(Err(LogoutRejection::Body))),
        };
        verdict.map_or(ResumedLogout::Waiting, |verdict| ResumedLogout::Over(provider, verdict))
    }

    /// What is known of a token. `None`: it waits for keys.
    fn logout(
        &mut self,
        env: &Env<'_>,
        provider: &Rc<Provider>,
        id: RequestId,
        token: Token,
    ) -> Option<LogoutVerdict> {
        let mut verdict = self.judge_logout(env, provider, &token);
        if !Self::wants_keys(&verdict) || !self.may_await_keys(env, provider) {
            return Some(verdict);
        }
        if key_fetch::adopt(provider, &self.config, env) {
            verdict = self.judge_logout(env, provider, &token);
            if !Self::wants_keys(&verdict) {
                return Some(verdict);
            }
        }
        if self.logouts.awaiting_keys().count() >= MAX_TOKENS {
            return Some(Err(Fault::TooManyWaiting));
        }
        if key_fetch::begin(provider, env) {
            self.send_keys_call(env, provider);
        }
        if key_fetch::activity(provider) == Activity::Idle {
            return Some(self.judge_logout(env, provider, &token));
        }
        let (provider, token) = (Rc::clone(provider), Some(token));
        self.logouts.waiting.push(Waiting { id, provider, since: env.now, token, is_over: false });
        None
    }

    /// A request that waits no longer is taken off the list.
    pub(crate) fn resume_logout(&mut self, env: &Env<'_>, id: RequestId) -> ResumedLogout {
        match self.logouts.take(id) {
            None => ResumedLogout::Unknown,
            Some(waiting) if !waiting.is_over => {
                self.logouts.waiting.push(waiting);
                ResumedLogout::Waiting
            }
            Some(Waiting { provider, token, .. }) => {
                let verdict = match token {
                    Some(token) => self.judge_logout(env, &provider, &token),
                    None => Err(Fault::NoBody),
                };
                ResumedLogout::Over(provider, verdict)
            }
        }
    }

    /// Judges a token with the keys that are at hand.
    fn judge_logout(&self, env: &Env<'_>, provider: &Provider, token: &Token) -> LogoutVerdict {
        let key_ring = provider.key_ring.borrow();
        let Some(keys) = key_ring.current(env.now, &self.config.jwks) else {
            return Err(key_ring.last_fault().unwrap_or(Fault::NoKeys));
        };
        match logout_token::verify(token.expose(), keys, &provider.settings, &self.config, env) {
            Ok(token) => Ok(Ok(token)),
            Err(NoLogout::Uncheckable) => Err(Fault::NoSignatureCheck),
            Err(NoLogout::Rejected(rejection)) => match key_ring.last_fault() {
                // The key may be a new one, and authentik cannot say.
                Some(fault) if rejection == UNKNOWN_KEY => Err(fault),
                Some(_) | None => Ok(Err(rejection)),
            },
        }
    }

    /// Whether newer keys could change this.
    fn wants_keys(verdict: &LogoutVerdict) -> bool {
        match verdict {
            Ok(Ok(_)) | Err(Fault::NoSignatureCheck) => false,
            Ok(Err(rejection)) => *rejection == UNKNOWN_KEY,
            Err(_) => true,
        }
    }

    fn may_await_keys(&self, env: &Env<'_>, provider: &Provider) -> bool {
        let key_ring = provider.key_ring.borrow();
        key_ring.activity() != Activity::Idle || key_ring.may_fetch(env.now, &self.config.jwks)
    }
}

const UNKNOWN_KEY: LogoutRejection = LogoutRejection::Token(TokenRejection::UnknownKey);
