//! Shadow mode: requests are judged beside another gate, and go on as they are.
//!
//! Owns: which callbacks judge, and the judgements that wait for authentik, some longer than their request lives. Such a
//! judgement needs the request's headers again, and the host has them no more: so a bounded number of copies is kept, each
//! until its judgement, and wiped then.
//! Must not: pause a request, change one, or know what is compared.

use core::cell::RefCell;

use super::host;
use super::worker::Worker;
use crate::authn::RequestId;
use crate::authn::reply::{self, Reply};
use crate::authn::request::view::HeaderBlock;
use crate::authn::shadow::{Comparison, Finding, Gate, Observed};

/// Most judgements that wait in one worker.
const MAX_WAITING: usize = 1_024;
/// Most bytes of the headers that they keep, together.
const MAX_BYTES: usize = 2 << 20;

/// Envoy's `%RESPONSE_CODE_DETAILS%` of a request that `ext_authz` refused.
const DENIED: &[u8] = b"ext_authz_denied";
/// The same where its authorization server did not answer, or with a status of 500 or above.
const FAILED: &[u8] = b"ext_authz_error";

/// The judgements of one worker that wait.
#[derive(Default)]
pub(super) struct Shadow {
    waiting: RefCell<Waiting>,
}

#[derive(Default)]
struct Waiting {
    requests: Vec<(RequestId, Gate, HeaderBlock)>,
    bytes: usize,
}

impl Shadow {
    /// Whether there was room.
    fn keep(&self, id: RequestId, gate: Gate, block: HeaderBlock) -> bool {
        let Ok(mut waiting) = self.waiting.try_borrow_mut() else { return false };
        let bytes = waiting.bytes.saturating_add(block.size());
        let has_room = waiting.requests.len() < MAX_WAITING && bytes <= MAX_BYTES;
        if has_room {
            waiting.bytes = bytes;
            waiting.requests.push((id, gate, block));
        }
        has_room
    }

    fn take(&self, id: RequestId) -> Option<(Gate, HeaderBlock)> {
        let mut waiting = self.waiting.try_borrow_mut().ok()?;
        let index = waiting.requests.iter().position(|(other, ..)| *other == id)?;
        let (_, gate, block) = waiting.requests.swap_remove(index);
        waiting.bytes = waiting.bytes.saturating_sub(block.size());
        Some((gate, block))
    }
}

/// A request that came through the gate, or that has none: then this is its answer. Everything else goes on at once.
pub(super) fn passing(worker: &Worker, id: RequestId) -> Option<Reply> {
    match host::request_headers() {
        Ok(block) => observe(worker, id, Gate::Allowed, block),
        Err(error) => {
            log::error!("no request headers: {error}");
            Some(reply::broken_reply())
        }
    }
}

/// A request that never passed the filter, in the callback for its log line: its gate has answered it.
pub(super) fn answered_before(worker: &Worker, id: RequestId) {
    let gate = match host::response_code_details().as_deref() {
        Some(DENIED) => Gate::Refused,
        Some(FAILED) => Gate::Failed,
        // Another filter, or Envoy itself.
        Some(_) | None => return,
    };
    match host::request_headers() {
        // Nothing can be answered any more.
        Ok(block) => drop(observe(worker, id, gate, block)),
        Err(error) => log::debug!("no headers of a request that the gate refused: {error}"),
    }
}

/// The answer to a request without a gate. `None`: it goes on.
#[inline(never)]
fn observe(worker: &Worker, id: RequestId, gate: Gate, block: HeaderBlock) -> Option<Reply> {
    match worker.with_core(|core, env| core.observe(env, id, gate, &block)) {
        None => Some(reply::broken_reply()),
        Some(Observed::Refused(reply)) => Some(reply),
        Some(Observed::Compared(comparison)) => {
            report(worker, &comparison, true);
            None
        }
        Some(Observed::Waiting) => {
            worker.send_for_request();
            // A call that Envoy does not take is answered on the spot.
            go_on(worker, id, gate, block, true);
            None
        }
    }
}

/// A verdict is there, for nobody else who waits. Only in a callback of the root context.
pub(super) fn resume(worker: &Worker, id: RequestId) {
    match worker.shadow().take(id) {
        // While the request lives, its access log gets the result too.
        Some((gate, block)) => go_on(worker, id, gate, block, worker.speak_for(id)),
        None => worker.forget(id),
    }
}

#[inline(never)]
fn go_on(worker: &Worker, id: RequestId, gate: Gate, block: HeaderBlock, is_alive: bool) {
    let observed = worker.with_core(|core, env| core.resume_observed(env, id, gate, &block));
    if let Some(Observed::Compared(comparison)) = &observed {
        report(worker, comparison, is_alive);
    } else if !(matches!(observed, Some(Observed::Waiting)) && worker.shadow().keep(id, gate, block)) {
        worker.forget(id);
        report(worker, &Comparison::unjudged(None, Finding::Unavailable), is_alive);
    }
}

fn report(worker: &Worker, comparison: &Comparison, is_alive: bool) {
    if let Some(telemetry) = worker.telemetry() {
        telemetry.observed(comparison, is_alive);
    }
}
