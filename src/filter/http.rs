//! One request: its headers to the core, the core's decision to Envoy.
//!
//! Owns: the phase of a stream. It leaves [`Phase::Undecided`] exactly once, and nothing of the request goes on before.
//! Must not: know why.

use core::cell::{Cell, RefCell};
use core::hash::{BuildHasher as _, Hasher as _};
use std::collections::hash_map::RandomState;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host;
#[cfg(feature = "test-panic")]
use super::paused;
use super::root::Worker;
use crate::authn::RequestId;
use crate::authn::decision::{self, Decision, Reply};
use crate::authn::headers::HeaderValue;

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
pub(super) struct Stream {
    phase: Cell<Phase>,
    /// For the response.
    set_cookies: RefCell<Vec<HeaderValue>>,
}

/// The SDK's context of one request.
pub(super) struct HttpFilter {
    id: RequestId,
    worker: Rc<Worker>,
    stream: Rc<Stream>,
}

impl HttpFilter {
    pub(super) fn new(id: RequestId, worker: Rc<Worker>) -> Self {
        Self { id, worker, stream: Rc::default() }
    }

    /// Whether nothing is left in the trailers that must not go on.
    fn strip_trailers(&self) -> bool {
        let Ok(trailers) = host::request_trailers() else { return false };
        let forbidden = self.worker.with_core(|core, _| core.forbidden_trailers(&trailers)).flatten();
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
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let judged = match host::request_headers() {
            Ok(block) => {
                #[cfg(feature = "test-panic")]
                paused::trigger::request(&block);
                self.worker.with_core(|core, env| core.authenticate(env, self.id, &block))
            }
            Err(error) => {
                log::error!("no request headers: {error}");
                None
            }
        };
        let decision = match judged {
            Some(Some(decision)) => Some(decision),
            Some(None) => self.worker.wait(self.id, &self.stream),
            None => Some(Decision::Reply(decision::broken_reply())),
        };
        if let Some(decision) = decision {
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
            self.stream.answer(&decision::broken_reply());
        }
        self.follow()
    }

    /// Also called for replies made by Envoy and by ourselves; only a request that went on has cookies to set.
    fn on_http_response_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let set_cookies = self.stream.set_cookies.take();
        if !set_cookies.is_empty() && self.stream.phase.get() == Phase::Forwarded {
            host::add_cookies(&set_cookies);
        }
        Action::Continue
    }
}

impl Stream {
    /// Applies a decision to a paused request from the root's callback.
    pub(super) fn decide_from_outside(&self, id: RequestId, decision: Decision) {
        if let Err(error) = host::speak_for(id) {
            log::debug!("a request was gone before its decision: {error}");
            return;
        }
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
                    self.set_cookies.replace(forward.set_cookies);
                }
                Err(error) => {
                    log::error!("the request's headers could not be changed: {error}");
                    self.answer(&decision::broken_reply());
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

/// A number from 0 to `limit` - 1; the standard library seeds its hashers from the host's randomness.
#[expect(
    clippy::disallowed_methods,
    reason = "the shell's randomness where nothing depends on it but spreading"
)]
pub(super) fn random_below(limit: u64) -> u64 {
    RandomState::new().build_hasher().finish().checked_rem(limit).unwrap_or(0)
}
