//! What one worker has for one configuration, and what its requests share.
//!
//! Owns: the core, the timer, sending the core's calls, and handing decisions to the requests that wait for them.
//! Must not: judge a request or an answer.

use core::cell::{Cell, RefCell};
use core::hash::{BuildHasher as _, Hasher as _};
use core::time::Duration;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::rc::Rc;

use super::host;
use super::host::envoy::Envoy;
use super::paused;
use super::shadow::Shadow;
use super::stream::Stream;
use super::telemetry::Telemetry;
use crate::authn::authentik::call::{Answer, CallResult, Endpoint};
use crate::authn::env::Env;
use crate::authn::reply::{self, Decision, Reply};
use crate::authn::request::view::HeaderBlock;
use crate::authn::shadow::{Comparison, Finding, Gate, Observed};
use crate::authn::{Authenticator, RequestId, Step, TickInterval, Ticket};
use crate::base::time::Timestamp;

/// Tick interval while decisions are left over from a callback.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(1);
/// Tick interval at the start, and while a request waits for keys that another worker fetches.
const FOLLOWER_INTERVAL: Duration = Duration::from_millis(20);
/// Tick interval otherwise: the schedule of key sets needs no more.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Most decisions that one callback applies. Envoy sends the replies after the callback, each within the one before it
/// (a reply runs the response callbacks, at whose end the next one starts): 305 of them overflow the stack. Fewer also let
/// other requests through between them.
const MAX_DECISIONS: usize = 20;

/// A call that is out.
struct Sent {
    ticket: Ticket,
    endpoint: Endpoint,
    /// In milliseconds since 1970.
    at: u64,
}

/// What becomes of a request in shadow mode.
pub(super) enum Passage {
    /// It goes on as it is, or its gate has answered it.
    Free,
    /// It has passed no gate, and gets this answer.
    Refused(Reply),
    /// It is judged, as without shadow mode.
    Judged,
}

/// What the requests of one worker share.
pub(crate) struct Worker {
    root_id: u32,
    authenticator: RefCell<Option<Authenticator>>,
    telemetry: RefCell<Option<Rc<Telemetry>>>,
    /// Calls that are out, by Envoy's token.
    calls: RefCell<HashMap<u32, Sent>>,
    /// Whether decisions are compared, and not applied.
    is_shadow: Cell<bool>,
    shadow: Shadow,
    tick_interval: Cell<Duration>,
    jitter_percent: u64,
}

impl Worker {
    pub(super) fn new(root_id: u32) -> Self {
        Self {
            root_id,
            authenticator: RefCell::default(),
            telemetry: RefCell::default(),
            calls: RefCell::default(),
            is_shadow: Cell::default(),
            shadow: Shadow::default(),
            tick_interval: Cell::new(FOLLOWER_INTERVAL),
            jitter_percent: random_below(11),
        }
    }

    /// Begins to work under a configuration.
    pub(super) fn configure(&self, core: Option<Authenticator>) {
        let telemetry = core.as_ref().map(|core| Rc::new(Telemetry::new(core.config())));
        *self.telemetry.borrow_mut() = telemetry;
        self.is_shadow.set(core.as_ref().is_some_and(|core| core.config().shadow.is_some()));
        *self.authenticator.borrow_mut() = core;
        // For the names of the providers.
        self.with_core(|_, _| ());
        host::tick_every(self.tick_interval.get());
    }

    /// Runs the core. `None` when it cannot be: not configured, or no clock.
    pub(crate) fn with_core<T>(&self, run: impl FnOnce(&mut Authenticator, &Env<'_>) -> T) -> Option<T> {
        let now = now()?;
        let mut core = self.authenticator.try_borrow_mut().ok()?;
        let core = core.as_mut()?;
        let result = run(core, &Env { now, host: &Envoy });
        self.tell_names(core);
        Some(result)
    }

    /// New names of providers reach the metrics.
    #[inline(never)]
    fn tell_names(&self, core: &mut Authenticator) {
        if let Some(names) = core.take_names()
            && let Some(telemetry) = self.telemetry()
        {
            telemetry.name(names);
        }
    }

    /// What an operator sees. `None`: not configured.
    pub(crate) fn telemetry(&self) -> Option<Rc<Telemetry>> {
        self.telemetry.borrow().clone()
    }

    /// Puts a request on the list and sends what it waits for. Its decision, when there is one at once: a call that
    /// Envoy does not take is answered on the spot. Decisions on other requests wait for the next tick: Envoy would take a
    /// reply to one of them for a reply to the request whose callback it is.
    pub(crate) fn wait(&self, id: RequestId, stream: &Rc<Stream>, block: &HeaderBlock) -> Option<Decision> {
        paused::add(id, stream);
        loop {
            host::as_root(self.root_id);
            let resumed = match self.with_core(|core, _| core.is_ready(id)) {
                Some(false) => return None,
                Some(true) => self.with_core(|core, env| core.resume(env, id, block)),
                None => None,
            };
            if let Step::Decided(decision) = resumed.unwrap_or_else(|| Step::Decided(reply::broken())) {
                paused::take(id);
                return Some(decision);
            }
        }
    }

    /// A request is gone.
    pub(crate) fn forget(&self, id: RequestId) {
        paused::take(id);
        self.with_core(|core, _| core.forget(id));
    }

    /// Sends the core's calls. Only in a callback of the root context; see [`host::as_root`].
    fn send_calls(&self) {
        while let Some(calls) =
            self.with_core(|core, env| core.take_calls(env.now)).filter(|calls| !calls.is_empty())
        {
            for (ticket, call) in calls {
                let endpoint = call.endpoint;
                match host::dispatch(&call) {
                    Ok(token) => {
                        let sent = Sent { ticket, endpoint, at: host::milliseconds().unwrap_or(0) };
                        self.calls.borrow_mut().insert(token, sent);
                    }
                    Err(not_sent) => self.settle(ticket, endpoint, None, &Answer::NotSent(not_sent)),
                }
            }
        }
    }

    /// Ticks as fast as the core needs them.
    fn set_tick_interval(&self) {
        let tick_interval = match self.with_core(|core, _| core.tick_interval()) {
            Some(TickInterval::Backlog) => BACKLOG_INTERVAL,
            Some(TickInterval::Follower) => FOLLOWER_INTERVAL,
            Some(TickInterval::Idle) | None => IDLE_INTERVAL,
        };
        if self.tick_interval.replace(tick_interval) != tick_interval {
            host::tick_every(tick_interval);
        }
    }

    fn settle(&self, ticket: Ticket, endpoint: Endpoint, milliseconds: Option<u64>, answer: &Answer) {
        if let Some(telemetry) = self.telemetry() {
            telemetry.called(endpoint, CallResult::of(answer), milliseconds);
        }
        self.with_core(|core, env| core.answered(env, ticket, answer));
    }

    /// Decides requests whose verdict is there, as many as one callback may. Once in each callback of the root context.
    fn decide_ready(&self) {
        for _ in 0..MAX_DECISIONS {
            let Some(id) = self.with_core(|core, _| core.next_ready()).flatten() else { break };
            let Some(stream) = paused::get(id) else {
                self.resume_observed(id);
                continue;
            };
            if let Some(decision) = self.decision_on(id) {
                stream.decide_from_outside(decision, self.telemetry().as_deref());
                paused::take(id);
            }
        }
        self.speak_for_root();
    }

    /// Forgets whom we spoke for: what follows is the root's own.
    fn speak_for_root(&self) {
        if let Err(error) = host::set_effective_context(self.root_id) {
            log::debug!("the root context does not answer: {error}");
        }
    }
}

/// Shadow mode: a request goes on as it is, and its judgement may wait longer than it lives.
impl Worker {
    /// Whether decisions are compared, and not applied.
    pub(super) fn is_shadow(&self) -> bool {
        self.is_shadow.get()
    }

    /// What becomes of a request for now.
    pub(super) fn observe(&self, id: RequestId, gate: Gate, block: HeaderBlock) -> Passage {
        match self.with_core(|core, env| core.observe((env, id), (gate, false), &block)) {
            None => return Passage::Refused(reply::broken_reply()),
            Some(Observed::Refused(reply)) => return Passage::Refused(reply),
            Some(Observed::Switched) => return Passage::Judged,
            Some(Observed::Compared(comparison)) => self.report(&comparison, true),
            Some(Observed::Waiting) => {
                host::as_root(self.root_id);
                // A call that Envoy does not take is answered on the spot.
                self.go_on_observing(id, gate, block, true);
            }
        }
        Passage::Free
    }

    /// A verdict is there, and no paused request waits for it. Only in a callback of the root context.
    fn resume_observed(&self, id: RequestId) {
        let Some((gate, block)) = self.shadow.take(id) else { return self.forget(id) };
        // While the request lives, its access log gets the result too.
        let is_alive = host::set_effective_context(id).is_ok();
        if !is_alive {
            self.speak_for_root();
        }
        self.go_on_observing(id, gate, block, is_alive);
    }

    #[inline(never)]
    fn go_on_observing(&self, id: RequestId, gate: Gate, block: HeaderBlock, is_alive: bool) {
        let observed = self.with_core(|core, env| core.observe((env, id), (gate, true), &block));
        if let Some(Observed::Compared(comparison)) = &observed {
            self.report(comparison, is_alive);
        } else if !(matches!(observed, Some(Observed::Waiting)) && self.shadow.keep(id, gate, block)) {
            self.forget(id);
            self.report(&Comparison::unjudged(None, Finding::Unavailable), is_alive);
        }
    }

    fn report(&self, comparison: &Comparison, is_alive: bool) {
        if let Some(telemetry) = self.telemetry() {
            telemetry.observed(comparison, is_alive);
        }
    }
}

impl Worker {
    /// An answer to a call of ours has come. `answer` reads it, up to so many bytes.
    pub(super) fn answered(&self, token: u32, answer: impl FnOnce(Endpoint, usize) -> Answer) {
        let Some(Sent { ticket, endpoint, at }) = self.calls.borrow_mut().remove(&token) else { return };
        let limit = self.with_core(|core, _| core.config().authentik.max_response_bytes).unwrap_or_default();
        let milliseconds = host::milliseconds().unwrap_or(0).saturating_sub(at);
        self.settle(ticket, endpoint, Some(milliseconds), &answer(endpoint, limit));
        self.go_on();
    }

    pub(super) fn tick(&self) {
        self.with_core(|core, env| core.tick(env, self.jitter_percent));
        self.go_on();
    }

    /// What each callback of the root context ends with.
    fn go_on(&self) {
        self.decide_ready();
        self.send();
        let load = self.with_core(|core, env| core.load(env.now));
        if let (Some(telemetry), Some(load)) = (self.telemetry(), load) {
            telemetry.load(&load);
        }
    }

    /// Sends the core's calls. Only in a callback of the root context; see [`host::as_root`].
    pub(super) fn send(&self) {
        self.send_calls();
        self.set_tick_interval();
    }

    /// The decision on a paused request, for which the filter speaks from now on. `None`: it is gone, or waits again.
    fn decision_on(&self, id: RequestId) -> Option<Decision> {
        if let Err(error) = host::set_effective_context(id) {
            log::debug!("a request was gone before its decision: {error}");
            self.forget(id);
            return None;
        }
        let Some(block) = request_headers() else {
            self.with_core(|core, _| core.forget(id));
            return Some(reply::broken());
        };
        let resumed = self.with_core(|core, env| core.resume(env, id, &block));
        resumed.map_or_else(|| Some(reply::broken()), Step::decided)
    }
}

/// The headers of the request that the filter speaks for. `None`: Envoy does not hand them over; the log says so.
#[inline(never)]
pub(super) fn request_headers() -> Option<HeaderBlock> {
    host::request_headers().inspect_err(|error| log::error!("no request headers: {error}")).ok()
}

/// Once in the module, and not once for each caller of [`Worker::with_core`].
#[inline(never)]
fn now() -> Option<Timestamp> {
    host::now().inspect_err(|error| log::error!("no clock: {error}")).ok()
}

/// A number from 0 to `limit` - 1; the standard library seeds its hashers from the host's randomness.
#[expect(
    clippy::disallowed_methods,
    reason = "the shell's randomness where nothing depends on it but spreading"
)]
fn random_below(limit: u64) -> u64 {
    RandomState::new().build_hasher().finish().checked_rem(limit).unwrap_or(0)
}
