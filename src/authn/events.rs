//! authentik's event log: when it is read, by which worker, and how far.
//!
//! Owns: the schedule, and the cursor. One worker of an Envoy reads for all of them, and gets the news; cursor and age are shared
//! ([`Published`]), so that another worker, or a new VM, goes on where this one stopped. A log that cannot be read loses nothing:
//! the cursor stays. What an event means is in [`learned`], what makes a reading whole in [`reading`].
//! Must not: send a call, or know what becomes of the news.

mod cursor;
pub(crate) mod learned;
mod reading;
mod relay;

use std::rc::Rc;

use crate::authn::authentik::call::{Answer, Call};
use crate::authn::ended::Who;
use crate::authn::env::Env;
use crate::authn::env::lease::{LEASE_SECONDS, Taken};
use crate::authn::env::published::{Head, Published};
use crate::authn::events::cursor::Cursor;
use crate::authn::events::learned::Learned;
use crate::authn::events::reading::{Done, Progress, Reading};
use crate::authn::events::relay::Relay;
use crate::authn::fault::Fault;
use crate::authn::fault::events::EventsFault;
use crate::base::backoff::{self, Backoff};
use crate::base::time::Timestamp;
use crate::config::Config;

/// What one worker knows of the log.
pub(crate) struct EventLog {
    config: Rc<Config>,
    shared: Published,
    /// The last whole reading, of whichever worker.
    known: Option<Head>,
    /// How far this worker has read, for a host without shared data.
    cursor: Option<Cursor>,
    /// The first tick of this worker.
    begun: Option<Timestamp>,
    /// While this worker reads.
    reading: Option<Reading>,
    news: Vec<Learned>,
    backoff: Backoff,
    /// After a failed reading, here or at another worker, nobody tries again before.
    paused_until: Option<Timestamp>,
    last_logged: Option<Timestamp>,
    relay: Relay,
}

impl EventLog {
    /// `None`: the configuration has no event log.
    pub(crate) fn new(config: &Rc<Config>) -> Option<Self> {
        Some(Self {
            shared: Published::derive(config, &config.events.as_ref()?.token, ("events", ""))?,
            relay: Relay::new(config),
            config: Rc::clone(config),
            known: None,
            cursor: None,
            begun: None,
            reading: None,
            news: Vec::new(),
            backoff: Backoff::default(),
            paused_until: None,
            last_logged: None,
        })
    }

    /// What this worker has read, in order, once. It must be applied within the callback that brought it: the cursor is behind
    /// it already.
    pub(crate) fn take_news(&mut self) -> Vec<Learned> {
        core::mem::take(&mut self.news)
    }

    /// Seconds since the log was last read whole in this Envoy; before the first time, since this worker began to try.
    pub(crate) fn age(&self, now: Timestamp) -> Option<u64> {
        let known = self.known.as_ref().map(|head| head.fetched);
        known.or(self.begun).map(|since| now.since(since))
    }

    /// Has other Envoys know what this one has learned to be over. [`Self::tick_relay`] sends it.
    pub(crate) fn relay(&mut self, client_id: &str, who: Who<'_>, at: Timestamp, now: Timestamp) {
        self.relay.push((client_id, who, at), now);
    }

    /// One tick of what is relayed. The call that is to be sent.
    pub(crate) fn tick_relay(&mut self, now: Timestamp) -> Option<Call> {
        self.relay.tick(now)
    }

    /// What came of a call of [`Self::tick_relay`]. The next one.
    pub(crate) fn relay_answered(&mut self, env: &Env<'_>, answer: &Answer) -> Option<Call> {
        self.relay.answered(env, answer)
    }

    /// One tick of the reading: takes note of what other workers have read, and begins to read when it is time. The call that is
    /// to be sent.
    #[inline(never)]
    pub(crate) fn tick(&mut self, env: &Env<'_>) -> Option<Call> {
        self.begun.get_or_insert(env.now);
        self.adopt(env);
        if self.reading.is_some() {
            // The others wait for as long as this worker lives, and no longer.
            self.shared.lease(env).extend(env.now, LEASE_SECONDS);
            return None;
        }
        if !self.is_due(env.now) {
            return None;
        }
        match self.shared.lease(env).take(env.now, LEASE_SECONDS) {
            Taken::Ours => self.begin(env),
            Taken::Held => None,
            Taken::Failed { until } => {
                self.paused_until = Some(until);
                None
            }
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let interval = self.config.events.as_ref().map_or(0, |events| events.interval_seconds);
        let is_old = self.known.as_ref().is_none_or(|head| head.is_old(interval, now));
        is_old && self.paused_until.is_none_or(|until| until <= now)
    }

    fn adopt(&mut self, env: &Env<'_>) {
        let Some(head) = self.shared.head(env) else { return };
        let is_newer = self.known.as_ref().is_none_or(|known| known.fetched < head.fetched);
        if is_newer && head.fetched <= env.now {
            self.known = Some(head);
            self.succeeded();
        }
    }

    fn begin(&mut self, env: &Env<'_>) -> Option<Call> {
        let head = self.shared.head(env);
        let content = head.and_then(|head| self.shared.content(env, &head));
        let shared = content.and_then(|content| Cursor::decode(&content));
        let cursor = shared.into_iter().chain(self.cursor.clone()).max_by_key(|cursor| cursor.newest);
        self.go_on(env, Reading::begin(&self.config, cursor, env.now))
    }

    /// Asks for what the reading needs next.
    fn go_on(&mut self, env: &Env<'_>, reading: Reading) -> Option<Call> {
        let call = reading.call(&self.config);
        if call.is_none() {
            self.failed(env, &Fault::BadAnswer { status: 200 }.into());
            return None;
        }
        self.reading = Some(reading);
        call
    }

    /// What came of a call. The next one.
    #[inline(never)]
    pub(crate) fn answered(&mut self, env: &Env<'_>, answer: &Answer) -> Option<Call> {
        match self.reading.take()?.answered(answer, env.now) {
            Ok(Progress::Next(reading)) => self.go_on(env, reading),
            Ok(Progress::Done(done)) => {
                self.finish(env, done);
                None
            }
            Err(fault) => {
                self.failed(env, &fault);
                None
            }
        }
    }

    fn finish(&mut self, env: &Env<'_>, Done { learned, cursor }: Done) {
        if learned.contains(&Learned::Everybody) {
            log::info!(
                "authentik's event log has too many events, or some that cannot be read: every session and every token is \
                 confirmed at its next use"
            );
        }
        self.news.extend(learned);
        self.known = Some(self.shared.publish(env, &cursor.encode()));
        self.cursor = Some(cursor);
        self.shared.lease(env).rest(env.now, 1);
        self.succeeded();
    }

    fn succeeded(&mut self) {
        self.backoff = Backoff::default();
        self.paused_until = None;
    }

    #[inline(never)]
    fn failed(&mut self, env: &Env<'_>, fault: &EventsFault) {
        let until = env.now.plus(self.backoff.next_pause(env.random_byte()));
        self.shared.lease(env).fail(until);
        self.paused_until = Some(until);
        if backoff::is_to_be_logged(&mut self.last_logged, env.now) {
            let base = &self.config.authentik.base;
            log::warn!(
                "authentik's event log could not be read from {base}/api/v3/events/events/: {fault}; what ends there \
                 does not end here meanwhile"
            );
        }
    }
}

#[cfg(test)]
mod tests;
