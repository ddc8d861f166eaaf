//! One request: its headers to the core, the core's decision to Envoy.
//!
//! Owns: the phase of a stream. It leaves [`Phase::Undecided`] exactly once, and nothing of the request goes on before.
//! Must not: know why.

use core::cell::Cell;
use core::hash::{BuildHasher as _, Hasher as _};
use std::collections::hash_map::RandomState;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host;
use super::root::Worker;
use crate::authn::RequestId;
use crate::authn::decision::{self, Decision};

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Undecided,
    Forwarded,
    Answered,
}

/// The SDK's context of one request.
pub(super) struct HttpFilter {
    id: RequestId,
    worker: Rc<Worker>,
    phase: Rc<Cell<Phase>>,
}

impl HttpFilter {
    pub(super) fn new(id: RequestId, worker: Rc<Worker>) -> Self {
        Self { id, worker, phase: Rc::new(Cell::new(Phase::Undecided)) }
    }

    /// Body and trailers wait for the decision too, whatever Envoy is told about stopping at headers.
    fn follow(&self) -> Action {
        match self.phase.get() {
            Phase::Forwarded => Action::Continue,
            Phase::Undecided | Phase::Answered => Action::Pause,
        }
    }
}

impl Context for HttpFilter {
    fn on_done(&mut self) -> bool {
        if self.phase.get() == Phase::Undecided {
            self.worker.forget(self.id);
        }
        true
    }
}

impl HttpContext for HttpFilter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let decision = match host::request_headers() {
            Ok(block) => self.worker.with_core(|core, env| core.authenticate(env, self.id, &block)),
            Err(error) => {
                log::error!("no request headers: {error}");
                None
            }
        };
        let decision = match decision {
            Some(Some(decision)) => Some(decision),
            Some(None) => self.worker.wait(self.id, &self.phase),
            None => Some(Decision::Reply(decision::broken_reply())),
        };
        if let Some(decision) = decision {
            apply(&self.phase, &decision);
        }
        self.follow()
    }

    fn on_http_request_body(&mut self, _body_size: usize, _end_of_stream: bool) -> Action {
        self.follow()
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        self.follow()
    }
}

/// Applies a decision to a paused request from the root's callback.
pub(super) fn decide_from_outside(id: RequestId, phase: &Cell<Phase>, decision: &Decision) {
    if let Err(error) = host::speak_for(id) {
        log::debug!("a request was gone before its decision: {error}");
        return;
    }
    apply(phase, decision);
    if phase.get() == Phase::Forwarded
        && let Err(error) = host::resume_request()
    {
        log::error!("a request could not be resumed: {error}");
    }
}

/// Does what was decided, once. A request that cannot be changed as it must be is answered instead.
fn apply(phase: &Cell<Phase>, decision: &Decision) {
    if phase.get() != Phase::Undecided {
        return;
    }
    match decision {
        Decision::Forward(forward) => match host::edit_request(forward) {
            Ok(()) => phase.set(Phase::Forwarded),
            Err(error) => {
                log::error!("the request's headers could not be changed: {error}");
                answer(phase, &decision::broken_reply());
            }
        },
        Decision::Reply(reply) => answer(phase, reply),
    }
}

fn answer(phase: &Cell<Phase>, reply: &decision::Reply) {
    phase.set(Phase::Answered);
    log::log!(reply.log.level, "{}", reply.log.text);
    if let Err(error) = host::reply(reply) {
        // It stays paused and is ended by Envoy's timeouts; it is not forwarded.
        log::error!("the request could not be answered: {error}");
    }
}

/// A number from 0 to `limit` - 1; the standard library seeds its hashers from the host's randomness.
pub(super) fn random_below(limit: u64) -> u64 {
    RandomState::new().build_hasher().finish().checked_rem(limit).unwrap_or(0)
}
