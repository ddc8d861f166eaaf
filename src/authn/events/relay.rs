//! What other Envoys are to know: events that this worker writes into authentik's log.
//!
//! Owns: the queue, and when it is tried again. Must not: send a call, or know why something is over.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::authn::authentik::call::{Answer, Call};
use crate::authn::authentik::events::{self, Written};
use crate::authn::ended::{Who, Whose};
use crate::authn::env::Env;
use crate::authn::fault::events::EventsFault;
use crate::authn::fault::list::TokenRefusal;
use crate::base::backoff::{self, Backoff};
use crate::base::time::Timestamp;
use crate::config::Config;

/// Most events that wait.
const MAX_WAITING: usize = 256;

/// The events of one worker.
pub(super) struct Relay {
    config: Rc<Config>,
    waiting: VecDeque<Line>,
    /// The one that is on its way.
    out: Option<Line>,
    backoff: Backoff,
    paused_until: Option<Timestamp>,
    last_logged: Option<Timestamp>,
    last_dropped: Option<Timestamp>,
}

#[derive(PartialEq, Eq)]
struct Line {
    client_id: String,
    who: Whose,
    at: Timestamp,
}

impl Relay {
    pub(super) fn new(config: &Rc<Config>) -> Self {
        Self {
            config: Rc::clone(config),
            waiting: VecDeque::new(),
            out: None,
            backoff: Backoff::default(),
            paused_until: None,
            last_logged: None,
            last_dropped: None,
        }
    }

    /// Puts an event at the end of the queue. The oldest leaves when there is no room.
    #[inline(never)]
    pub(super) fn push(&mut self, (client_id, who, at): (&str, Who<'_>, Timestamp), now: Timestamp) {
        let line = Line { client_id: client_id.to_owned(), who: who.into(), at };
        if !self.waiting.contains(&line) {
            self.waiting.push_back(line);
        }
        self.keep_bound(now);
    }

    fn keep_bound(&mut self, now: Timestamp) {
        if self.waiting.len() > MAX_WAITING {
            self.waiting.pop_front();
            if backoff::is_to_be_logged(&mut self.last_dropped, now) {
                log::warn!(
                    "sign-outs are not told to other Envoys: {MAX_WAITING} wait for authentik's event log already"
                );
            }
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp) -> Option<Call> {
        if self.out.is_some() || self.paused_until.is_some_and(|until| until > now) {
            return None;
        }
        let line = self.waiting.pop_front()?;
        let event = (&*line.client_id, line.who.as_who(), line.at);
        let call = events::relay_call(&self.config, self.config.events.as_ref()?, event);
        self.out = Some(line);
        Some(call)
    }

    #[inline(never)]
    pub(super) fn answered(&mut self, env: &Env<'_>, answer: &Answer) -> Option<Call> {
        let line = self.out.take()?;
        match events::read_written(answer) {
            Written::Kept => {}
            Written::Rejected => self.log(env.now, "authentik rejects the event (400)"),
            Written::Failed(fault) => {
                self.waiting.push_front(line);
                self.keep_bound(env.now);
                self.paused_until = Some(env.now.plus(self.backoff.next_pause(env.random_byte())));
                match fault {
                    EventsFault::TokenRefused(TokenRefusal::NoPermission) => self.log(
                        env.now,
                        "the user of authentik.events.token may not write events (403); give the user a role with the \
                         permission authentik_events.add_event",
                    ),
                    fault @ (EventsFault::TokenRefused(_)
                    | EventsFault::Call(_)
                    | EventsFault::Nothing
                    | EventsFault::Incomplete
                    | EventsFault::NoApi { .. }
                    | EventsFault::Changed) => self.log(env.now, &fault.to_string()),
                }
                return None;
            }
        }
        (self.backoff, self.paused_until) = (Backoff::default(), None);
        self.tick(env.now)
    }

    fn log(&mut self, now: Timestamp, cause: &str) {
        if backoff::is_to_be_logged(&mut self.last_logged, now) {
            let base = &self.config.authentik.base;
            log::warn!(
                "a sign-out could not be told to other Envoys through {base}/api/v3/events/events/: {cause}"
            );
        }
    }
}
