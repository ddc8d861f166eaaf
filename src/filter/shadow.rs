//! Shadow mode: what judgements that wait need, and what Envoy says of a gate.
//!
//! Owns: the copies of headers. A judgement may wait for authentik longer than its request lives. It needs the request's
//! headers again, and the host has them no more: so a bounded number of copies is kept, each until its judgement, and wiped
//! then. Must not: judge a request, or know what is compared.

use core::cell::RefCell;

use super::host;
use crate::authn::RequestId;
use crate::authn::request::view::HeaderBlock;
use crate::authn::shadow::Gate;

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
    pub(super) fn keep(&self, id: RequestId, gate: Gate, block: HeaderBlock) -> bool {
        let Ok(mut waiting) = self.waiting.try_borrow_mut() else { return false };
        let bytes = waiting.bytes.saturating_add(block.size());
        let has_room = waiting.requests.len() < MAX_WAITING && bytes <= MAX_BYTES;
        if has_room {
            waiting.bytes = bytes;
            waiting.requests.push((id, gate, block));
        }
        has_room
    }

    pub(super) fn take(&self, id: RequestId) -> Option<(Gate, HeaderBlock)> {
        let mut waiting = self.waiting.try_borrow_mut().ok()?;
        let index = waiting.requests.iter().position(|(other, ..)| *other == id)?;
        let (_, gate, block) = waiting.requests.swap_remove(index);
        waiting.bytes = waiting.bytes.saturating_sub(block.size());
        Some((gate, block))
    }
}

/// What the gate did with a request that never passed the filter; in the callback for its log line. `None`: another filter,
/// or Envoy itself, has answered the request.
pub(super) fn gate_that_answered() -> Option<Gate> {
    match host::response_code_details().as_deref() {
        Some(DENIED) => Some(Gate::Refused),
        Some(FAILED) => Some(Gate::Failed),
        Some(_) | None => None,
    }
}
