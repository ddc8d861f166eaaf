//! One request: its headers to the core, its body and trailers held back until there is a decision.
//!
//! Owns: what each callback of a stream tells Envoy. Must not: apply a decision ([`super::stream`] does), or know why.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host;
use super::paused;
use super::shadow;
use super::stream::{Phase, Stream};
use super::worker::{self, Passage, Worker};
use crate::authn::edits;
use crate::authn::reply::{self, Decision};
use crate::authn::shadow::Gate;
use crate::authn::{MAX_BODY_BYTES, RequestId, Step};
use crate::config::Config;

/// The SDK's context of one request.
pub(crate) struct HttpFilter {
    id: RequestId,
    worker: Rc<Worker>,
    stream: Rc<Stream>,
    /// Shadow mode: nothing of the request is changed.
    is_free: bool,
}

impl HttpFilter {
    pub(crate) fn new(id: RequestId, worker: Rc<Worker>) -> Self {
        Self { id, worker, stream: Rc::default(), is_free: false }
    }

    /// In shadow mode a request goes on at once, as it is, or is answered. Whether it is to be judged instead.
    fn is_judged(&mut self) -> bool {
        if !self.worker.is_shadow() {
            return true;
        }
        let passage = worker::request_headers().map_or_else(
            || Passage::Refused(reply::broken_reply()),
            |block| self.worker.observe(self.id, Gate::Allowed, block),
        );
        match passage {
            Passage::Judged => return true,
            Passage::Refused(reply) => self.stream.answer(&reply, self.worker.telemetry().as_deref()),
            Passage::Free => {
                self.is_free = true;
                self.stream.phase.set(Phase::Forwarded);
            }
        }
        false
    }

    /// `None`: it waits.
    fn judge(&self) -> Option<Decision> {
        let Some(block) = worker::request_headers() else { return Some(reply::broken()) };
        #[cfg(feature = "test-panic")]
        paused::trigger::request(&block);
        match self.worker.with_core(|core, env| core.authenticate(env, self.id, &block)) {
            Some(Step::Decided(decision)) => Some(decision),
            Some(Step::Waiting) => self.worker.wait(self.id, &self.stream, &block),
            Some(Step::AwaitBody) => {
                self.stream.awaits_body.set(true);
                paused::add(self.id, &self.stream);
                if self.stream.has_more.get() { None } else { self.body_ended(Some(b"")) }
            }
            None => Some(reply::broken()),
        }
    }

    /// The body that the core waits for is there; `None`: it is too long, or cannot be read. The decision, or `None`: the
    /// request waits.
    fn body_ended(&self, body: Option<&[u8]>) -> Option<Decision> {
        self.stream.awaits_body.set(false);
        paused::take(self.id);
        let Some(block) = worker::request_headers() else {
            self.worker.forget(self.id);
            return Some(reply::broken());
        };
        match self.worker.with_core(|core, env| core.body_ended(env, self.id, &block, body)) {
            Some(Step::Decided(decision)) => Some(decision),
            Some(Step::Waiting | Step::AwaitBody) => self.worker.wait(self.id, &self.stream, &block),
            None => Some(reply::broken()),
        }
    }

    /// Hands the body to the core once it is whole, or too long. `size`: of what has come, which Envoy keeps.
    fn take_body(&self, size: usize, is_whole: bool) {
        let is_too_long = size > MAX_BODY_BYTES;
        if !self.stream.awaits_body.get() || !(is_whole || is_too_long) {
            return;
        }
        let body = if is_too_long { None } else { host::request_body(size) };
        if let Some(decision) = self.body_ended(body.as_ref().map(|body| body.expose().as_slice())) {
            self.stream.apply(decision, self.worker.telemetry().as_deref());
        }
    }

    /// Whether nothing is left in the trailers that must not go on.
    fn strip_trailers(&self) -> bool {
        let Ok(trailers) = host::request_trailers() else { return false };
        let applied = self.stream.applied.borrow();
        let of_identity = applied.identity.iter().flat_map(|identity| identity.overriding_headers());
        let set: Vec<_> =
            applied.set_headers.iter().chain(of_identity.map(|(name, _)| name)).map(|name| &**name).collect();
        let forbidden = |config: &Config| edits::forbidden_trailers(&trailers, &set, config);
        let forbidden = self.worker.with_core(|core, _| forbidden(core.config())).flatten();
        forbidden.is_some_and(|names| host::remove_trailers(&names).is_ok())
    }

    /// Body and trailers wait for the decision too, also with `allow_on_headers_stop_iteration`.
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
        if self.is_judged()
            && let Some(decision) = self.judge()
        {
            self.stream.apply(decision, self.worker.telemetry().as_deref());
        }
        self.follow()
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.take_body(body_size, end_of_stream);
        self.follow()
    }

    /// Here, whatever the phase: Envoy does not call again when the request is let on.
    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        // They end the body. authentik sends none.
        if self.stream.awaits_body.get() {
            if let Some(decision) = self.body_ended(None) {
                self.stream.apply(decision, self.worker.telemetry().as_deref());
            }
            return self.follow();
        }
        if !self.is_free && !self.strip_trailers() {
            self.worker.forget(self.id);
            self.stream.answer(&reply::broken_reply(), self.worker.telemetry().as_deref());
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

    /// Also called for a request that an earlier filter answered, and then as the only callback of its context.
    fn on_log(&mut self) {
        if !self.worker.is_shadow() || self.stream.phase.get() != Phase::Undecided {
            return;
        }
        // It does not wait: its judgement may outlive it.
        self.stream.phase.set(Phase::Answered);
        let Some(gate) = shadow::gate_that_answered() else { return };
        if let Some(block) = worker::request_headers() {
            // Nothing can be answered any more.
            drop(self.worker.observe(self.id, gate, block));
        }
    }
}
