//! One request in Envoy: its phase, and the core's decision applied to it.
//!
//! Owns: the phase of a stream. It leaves [`Phase::Undecided`] exactly once, and nothing of the request goes on before.
//! Must not: know why.

use core::cell::{Cell, RefCell};
use std::borrow::Cow;
use std::rc::Rc;

use super::host;
use super::telemetry::Telemetry;
use crate::authn::edits::Forward;
use crate::authn::identity::Identity;
use crate::authn::reply::log_line::LogLine;
use crate::authn::reply::{self, Decision, Reply};
use crate::base::header::HeaderValue;

/// Where a request stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Undecided,
    Forwarded,
    Answered,
}

/// What is known of one request after its headers.
#[derive(Default)]
pub(crate) struct Stream {
    pub(super) phase: Cell<Phase>,
    /// Whether body or trailers follow.
    pub(super) has_more: Cell<bool>,
    /// Whether the core waits for the body.
    pub(super) awaits_body: Cell<bool>,
    pub(super) applied: RefCell<Applied>,
}

/// What of a decision matters after the headers.
#[derive(Default)]
pub(super) struct Applied {
    /// For the response.
    pub(super) set_cookies: Vec<HeaderValue>,
    pub(super) has_authorization: bool,
    /// Headers that were set: the trailers must not say them again.
    pub(super) set_headers: Vec<Cow<'static, str>>,
    pub(super) identity: Option<Rc<Identity>>,
}

impl Stream {
    /// Applies a decision to a paused request from the root's callback, which speaks for it.
    pub(crate) fn decide_from_outside(&self, decision: Decision, telemetry: Option<&Telemetry>) {
        self.apply(decision, telemetry);
        if self.phase.get() == Phase::Forwarded
            && let Err(error) = host::resume_request()
        {
            log::error!("a request could not be resumed: {error}");
        }
    }

    /// Does what was decided, once. A request that cannot be changed as it must be is answered instead.
    pub(super) fn apply(&self, decision: Decision, telemetry: Option<&Telemetry>) {
        if self.phase.get() != Phase::Undecided {
            return;
        }
        match decision {
            Decision::Forward(forward) => match host::edit_request(&forward) {
                Ok(()) => {
                    self.phase.set(Phase::Forwarded);
                    if let Some(telemetry) = telemetry {
                        telemetry.decided(&forward.report);
                    }
                    self.applied.replace(Applied::of(forward, self.has_more.get()));
                }
                Err(error) => {
                    log::error!("the request's headers could not be changed: {error}");
                    self.answer(&reply::broken_reply(), telemetry);
                }
            },
            Decision::Reply(reply) => self.answer(&reply, telemetry),
        }
    }

    /// Before the reply is sent the access log must have its words: Envoy writes it at once.
    pub(super) fn answer(&self, reply: &Reply, telemetry: Option<&Telemetry>) {
        self.phase.set(Phase::Answered);
        if let Some(telemetry) = telemetry {
            telemetry.decided(&reply.report);
        }
        let LogLine { level, .. } = reply.log;
        let is_warning = level == log::Level::Warn;
        // Each of them is in the log, but an operator is warned of a cause once a minute.
        let is_known = is_warning && telemetry.is_some_and(|telemetry| !telemetry.is_news(&reply.log));
        let level = if is_known { log::Level::Info } else { level };
        log::log!(level, "{}", reply.log_line());
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
