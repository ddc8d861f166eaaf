//! The root context: what one worker has for one configuration.
//!
//! Owns: configuring, the timer, sending the core's calls, and handing decisions to the requests that wait for them.
//! Must not: judge a request or an answer.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::HashMap;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::host::{self, Envoy};
use super::http::{self, HttpFilter, Stream};
use super::paused;
use crate::authn::authentik::{self, Answer};
use crate::authn::env::Env;
use crate::authn::reply::{self, Decision};
use crate::authn::request::view::HeaderBlock;
use crate::authn::{Authenticator, RequestId, Step, Ticket};
use crate::base::secret::Secret;
use crate::config::Config;

/// Decisions wait that one callback had no room for.
const AT_ONCE: Duration = Duration::from_millis(1);
/// The first tick fetches keys, and others look whether another worker has fetched what a request waits for.
const SOON: Duration = Duration::from_millis(20);
/// Whether keys are due is looked at this often.
const AT_EASE: Duration = Duration::from_secs(1);

/// Most decisions that one callback applies. Envoy sends the replies after the callback, each within the one before it
/// (a reply runs the response callbacks, at whose end the next one starts): 305 of them overflow the stack. Fewer also let
/// other requests through between them.
const MAX_DECISIONS: usize = 20;

/// What the requests of one worker share.
pub(crate) struct Worker {
    root_id: u32,
    authenticator: RefCell<Option<Authenticator>>,
    /// Calls that are out, by Envoy's token.
    calls: RefCell<HashMap<u32, Ticket>>,
    pace: Cell<Duration>,
    jitter_percent: u64,
}

impl Worker {
    /// Runs the core. `None` when it cannot be: not configured, or no clock.
    pub(crate) fn with_core<T>(&self, run: impl FnOnce(&mut Authenticator, &Env<'_>) -> T) -> Option<T> {
        let now = match host::now() {
            Ok(now) => now,
            Err(error) => {
                log::error!("no clock: {error}");
                return None;
            }
        };
        let mut core = self.authenticator.try_borrow_mut().ok()?;
        Some(run(core.as_mut()?, &Env { now, host: &Envoy }))
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
                match host::dispatch(&call) {
                    Ok(token) => {
                        self.calls.borrow_mut().insert(token, ticket);
                    }
                    Err(not_sent) => self.settle(ticket, &Answer::NotSent(not_sent)),
                }
            }
        }
    }

    /// Ticks as fast as the core needs them.
    fn set_pace(&self) {
        let wanted = self.with_core(|core, _| (core.has_ready(), core.wants_ticks()));
        let pace = match wanted {
            Some((true, _)) => AT_ONCE,
            Some((false, true)) => SOON,
            Some((false, false)) | None => AT_EASE,
        };
        if self.pace.replace(pace) != pace {
            host::tick_every(pace);
        }
    }

    fn settle(&self, ticket: Ticket, answer: &Answer) {
        self.with_core(|core, env| core.answered(env, ticket, answer));
    }

    /// Decides requests whose verdict is there, as many as one callback may. Once in each callback of the root context.
    fn decide_ready(&self) {
        for _ in 0..MAX_DECISIONS {
            let Some(id) = self.with_core(|core, _| core.next_ready()).flatten() else { break };
            let Some(stream) = paused::get(id) else {
                self.forget(id);
                continue;
            };
            if let Some(decision) = self.decision_on(id) {
                stream.decide_from_outside(decision);
                paused::take(id);
            }
        }
        // Forget whom we spoke for: what follows is the root's own.
        if let Err(error) = host::speak_for(self.root_id) {
            log::debug!("the root context does not answer: {error}");
        }
    }
}

impl Worker {
    /// The decision on a paused request, for which the filter speaks from now on. `None`: it is gone, or waits again.
    fn decision_on(&self, id: RequestId) -> Option<Decision> {
        if let Err(error) = host::speak_for(id) {
            log::debug!("a request was gone before its decision: {error}");
            self.forget(id);
            return None;
        }
        let block = match host::request_headers() {
            Ok(block) => block,
            Err(error) => {
                log::error!("no request headers: {error}");
                self.with_core(|core, _| core.forget(id));
                return Some(reply::broken());
            }
        };
        let resumed = self.with_core(|core, env| core.resume(env, id, &block));
        resumed.map_or_else(|| Some(reply::broken()), Step::decided)
    }
}

/// The SDK's root context.
pub(crate) struct Root {
    worker: Rc<Worker>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        let worker = Worker {
            root_id: id,
            authenticator: RefCell::default(),
            calls: RefCell::default(),
            pace: Cell::new(SOON),
            jitter_percent: http::random_below(11),
        };
        Self { worker: Rc::new(worker) }
    }
}

impl Context for Root {
    fn on_http_call_response(
        &mut self,
        token: u32,
        num_headers: usize,
        body_size: usize,
        _num_trailers: usize,
    ) {
        let Some(ticket) = self.worker.calls.borrow_mut().remove(&token) else { return };
        let limit =
            self.worker.with_core(|core, _| core.config().authentik.max_response_bytes).unwrap_or_default();
        let answer = read_answer(num_headers, body_size, limit);
        self.worker.settle(ticket, &answer);
        self.worker.decide_ready();
        self.worker.send_calls();
        self.worker.set_pace();
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let config = match Config::parse(&host::plugin_configuration(size), &host::environment) {
            Ok(config) => config,
            Err(faults) => {
                for fault in faults {
                    log::error!("configuration: {fault}");
                }
                return false;
            }
        };
        for warning in &config.warnings {
            log::warn!("configuration: {warning}");
        }
        let names: Vec<_> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
        log::info!("protecting with authentik at {}: {}", config.authentik.base, names.join(", "));
        let core = Authenticator::new(config);
        let is_ready = core.is_some();
        *self.worker.authenticator.borrow_mut() = core;
        host::tick_every(self.worker.pace.get());
        is_ready
    }

    fn on_tick(&mut self) {
        self.worker.with_core(|core, env| core.tick(env, self.worker.jitter_percent));
        self.worker.decide_ready();
        self.worker.send_calls();
        self.worker.set_pace();
    }

    /// Called by [`host::as_root`] only: the filter has no queue.
    fn on_queue_ready(&mut self, _queue_id: u32) {
        self.worker.send_calls();
        self.worker.set_pace();
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(HttpFilter::new(id, Rc::clone(&self.worker))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

fn read_answer(num_headers: usize, body_size: usize, limit: usize) -> Answer {
    // Without headers the maps are absent: the connection broke, or the body was beyond what Envoy buffers.
    if num_headers == 0 {
        return Answer::Reset;
    }
    if body_size > limit {
        return Answer::TooLarge;
    }
    let number =
        |name| core::str::from_utf8(&host::call_response_header(name)?).ok()?.trim().parse::<u64>().ok();
    let Some(status) = number(":status").and_then(|status| u16::try_from(status).ok()) else {
        return Answer::Reset;
    };
    #[cfg(feature = "test-panic")]
    paused::trigger::answer(status);
    let body = if body_size == 0 { Some(Secret::default()) } else { host::call_response_body(body_size) };
    match body {
        Some(body) if is_made_by_envoy(status) => authentik::unreachable(status, body.expose()),
        Some(body) => Answer::Response { status, retry_after: number("retry-after"), body },
        None => Answer::Reset,
    }
}

/// Envoy answers in place of a cluster that it does not reach, in plain text, and without the header that it adds to every
/// response of a cluster.
fn is_made_by_envoy(status: u16) -> bool {
    let content_type = || host::call_response_header("content-type").unwrap_or_default();
    matches!(status, 502..=504)
        && host::call_response_header("x-envoy-upstream-service-time").is_none()
        && content_type().starts_with(b"text/plain")
}
