//! One request: its headers to the core, the core's decision to Envoy.
//!
//! Owns: the phase of a stream. It leaves [`Phase::Undecided`] exactly once, and nothing of the request goes on before.
//! Must not: know why.

use core::cell::{Cell, RefCell};
use core::hash::{BuildHasher as _, Hasher as _};
use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host;
#[cfg(feature = "test-panic")]
use super::paused;
use super::root::Worker;
use crate::authn::edits::Forward;
use crate::authn::identity::Identity;
use crate::authn::reply::{self, Decision, Reply};
use crate::authn::{RequestId, Step};
use crate::base::header::HeaderValue;

/// Where a request stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Undecided,
    Forwarded,
    Answered,
}

/// What is known of one request after its headers.
#[derive(Default)]
pub(crate) struct Stream {
    phase: Cell<Phase>,
    /// Whether body or trailers follow.
    has_more: Cell<bool>,
    applied: RefCell<Applied>,
}

/// What of a decision matters after the headers.
#[derive(Default)]
struct Applied {
    /// For the response.
    set_cookies: Vec<HeaderValue>,
    has_authorization: bool,
    /// Headers that were set: the trailers must not say them again.
    set_headers: Vec<Cow<'static, str>>,
    identity: Option<Rc<Identity>>,
}

/// The SDK's context of one request.
pub(crate) struct HttpFilter {
    id: RequestId,
    worker: Rc<Worker>,
    stream: Rc<Stream>,
}

impl HttpFilter {
    pub(crate) fn new(id: RequestId, worker: Rc<Worker>) -> Self {
        Self { id, worker, stream: Rc::default() }
    }

    /// `None`: it waits.
    fn judge(&self) -> Option<Decision> {
        let block = match host::request_headers() {
            Ok(block) => block,
            Err(error) => {
                log::error!("no request headers: {error}");
                return Some(reply::broken());
            }
        };
        #[cfg(feature = "test-panic")]
        paused::trigger::request(&block);
        match self.worker.with_core(|core, env| core.authenticate(env, self.id, &block)) {
            Some(Step::Decided(decision)) => Some(decision),
            Some(Step::Waiting) => self.worker.wait(self.id, &self.stream, &block),
            None => Some(reply::broken()),
        }
    }

    /// Whether nothing is left in the trailers that must not go on.
    fn strip_trailers(&self) -> bool {
        let Ok(trailers) = host::request_trailers() else { return false };
        let applied = self.stream.applied.borrow();
        let of_identity = applied.identity.iter().flat_map(|identity| identity.overriding_headers());
        let set: Vec<_> =
            applied.set_headers.iter().chain(of_identity.map(|(name, _)| name)).map(|name| &**name).collect();
        let forbidden = self.worker.with_core(|core, _| core.forbidden_trailers(&trailers, &set)).flatten();
        forbidden.is_some_and(|names| host::remove_trailers(&names).is_ok())
    }

    /// Body and trailers wait for the decision too, whatever Envoy is told about stopping at headers.
    fn follow(&self) -> Action {
        match self.stream.phase.get() {
            Phase::Forwarded => Action::Continue,
            Phase::Undecided | Phase::Answered => Action::Pause,
        }
    }
}

impl Context for HttpFilter {}

/// With `proxy_on_delete`. Envoy would call `proxy_on_done` just before it, which costs and says the same.
impl Drop for HttpFilter {
    fn drop(&mut self) {
        if self.stream.phase.get() == Phase::Undecided {
            self.worker.forget(self.id);
        }
    }
}

impl HttpContext for HttpFilter {
    fn on_http_request_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        self.stream.has_more.set(!end_of_stream);
        if let Some(decision) = self.judge() {
            self.stream.apply(decision);
        }
        self.follow()
    }

    fn on_http_request_body(&mut self, _body_size: usize, _end_of_stream: bool) -> Action {
        self.follow()
    }

    /// Here, whatever the phase: Envoy does not call again when the request is let on.
    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        if !self.strip_trailers() {
            self.worker.forget(self.id);
            self.stream.answer(&reply::broken_reply());
        }
        self.follow()
    }

    /// Also called for replies made by Envoy and by ourselves; only a request that went on has cookies to set.
    fn on_http_response_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let mut applied = self.stream.applied.borrow_mut();
        let set_cookies = core::mem::take(&mut applied.set_cookies);
        if !set_cookies.is_empty() && self.stream.phase.get() == Phase::Forwarded {
            host::add_cookies(&set_cookies, applied.has_authorization);
        }
        Action::Continue
    }
}

impl Stream {
    /// Applies a decision to a paused request from the root's callback, which speaks for it.
    pub(crate) fn decide_from_outside(&self, decision: Decision) {
        self.apply(decision);
        if self.phase.get() == Phase::Forwarded
            && let Err(error) = host::resume_request()
        {
            log::error!("a request could not be resumed: {error}");
        }
    }

    /// Does what was decided, once. A request that cannot be changed as it must be is answered instead.
    fn apply(&self, decision: Decision) {
        if self.phase.get() != Phase::Undecided {
            return;
        }
        match decision {
            Decision::Forward(forward) => match host::edit_request(&forward) {
                Ok(()) => {
                    self.phase.set(Phase::Forwarded);
                    self.applied.replace(Applied::of(forward, self.has_more.get()));
                }
                Err(error) => {
                    log::error!("the request's headers could not be changed: {error}");
                    self.answer(&reply::broken_reply());
                }
            },
            Decision::Reply(reply) => self.answer(&reply),
        }
    }

    fn answer(&self, reply: &Reply) {
        self.phase.set(Phase::Answered);
        log::log!(reply.log.level, "{}", reply.log.text);
        if let Err(error) = host::reply(reply) {
            // It stays paused and is ended by Envoy's timeouts; it is not forwarded.
            log::error!("the request could not be answered: {error}");
        }
    }
}

impl Applied {
    /// The headers matter only where trailers may follow.
    fn of(forward: Forward, has_more: bool) -> Self {
        let Forward { replace, set_cookies, has_authorization, identity, .. } = forward;
        let (set_headers, identity) = if has_more {
            (replace.into_iter().map(|(name, _)| name).collect(), identity)
        } else {
            (Vec::new(), None)
        };
        Self { set_cookies, has_authorization, set_headers, identity }
    }
}

/// A number from 0 to `limit` - 1; the standard library seeds its hashers from the host's randomness.
#[expect(
    clippy::disallowed_methods,
    reason = "the shell's randomness where nothing depends on it but spreading"
)]
pub(crate) fn random_below(limit: u64) -> u64 {
    RandomState::new().build_hasher().finish().checked_rem(limit).unwrap_or(0)
}
