//! The requests that wait for authentik, and their answer should the filter ever panic.
//!
//! A panic takes the VM. Envoy answers the request whose callback it was, and delivers nothing to those that are
//! paused: they would hang until its timeouts. So a panic's last act is to answer them.
//!
//! Owns: the list of paused requests, the panic hook.
//! Must not: judge a request.

use core::cell::RefCell;
use std::collections::HashMap;
use std::panic::{self, PanicHookInfo};
use std::rc::Rc;

use super::host;
use super::stream::Stream;
use crate::authn::RequestId;
use crate::authn::reply;

thread_local! {
    /// The paused requests of this VM, whatever root context they belong to: Envoy numbers them by VM, and the panic hook
    /// can reach nothing else.
    static PAUSED: RefCell<HashMap<RequestId, Rc<Stream>>> = RefCell::default();
}

pub(crate) fn add(id: RequestId, stream: &Rc<Stream>) {
    PAUSED.with_borrow_mut(|paused| paused.insert(id, Rc::clone(stream)));
}

/// The request, if it is still there. It stays on the list: should its decision end in a panic, it is answered too.
pub(crate) fn get(id: RequestId) -> Option<Rc<Stream>> {
    PAUSED.with_borrow(|paused| paused.get(&id).cloned())
}

/// The same, and it is no longer paused: it is decided, or its client has left.
pub(crate) fn take(id: RequestId) -> Option<Rc<Stream>> {
    PAUSED.with_borrow_mut(|paused| paused.remove(&id))
}

/// From now on a panic answers all paused requests with `503` before it takes the VM.
pub(crate) fn answer_all_on_panic() {
    panic::set_hook(Box::new(answer_all));
}

/// Must not panic itself, and says where only: a panic's message can quote what a client sent.
fn answer_all(panic: &PanicHookInfo<'_>) {
    match panic.location() {
        Some(place) => log::error!("panicked at {place}; all waiting requests are answered"),
        None => log::error!("panicked; all waiting requests are answered"),
    }
    let reply = reply::broken_reply();
    let answer = |id: &RequestId| {
        if let Err(error) = host::set_effective_context(*id).and_then(|()| host::reply(&reply)) {
            log::error!("a waiting request could not be answered: {error}");
        }
    };
    // The list is in use only while nothing can panic; a hook that did would end the answering.
    let _ = PAUSED.try_with(|paused| paused.try_borrow().map(|paused| paused.keys().for_each(answer)));
}

/// Panics when a test wants it: a request with this header, or an answer of authentik with this status.
#[cfg(feature = "test-panic")]
pub(crate) mod trigger {
    use crate::authn::request::view::HeaderBlock;

    const HEADER: &[u8] = b"x-test-panic";
    const STATUS: u16 = 418;

    #[expect(clippy::panic, reason = "what the trigger is for")]
    fn panic_if(is_wanted: bool) {
        if is_wanted {
            panic!("a secret-like text that no log may show");
        }
    }

    pub(in crate::filter) fn request(headers: &HeaderBlock) {
        let pairs = headers.pairs().into_iter().flatten().flatten();
        panic_if(pairs.into_iter().any(|(name, _)| name == HEADER));
    }

    pub(in crate::filter) fn answer(status: u16) {
        panic_if(status == STATUS);
    }
}
