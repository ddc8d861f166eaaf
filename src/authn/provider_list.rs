//! The outpost's list of providers: when it is read, by which worker, and what all workers know of it.
//!
//! Owns: the schedule. One worker of an Envoy reads the list, page by page, and shares it ([`Published`]); the others take it from
//! there, and so does a new worker or a new VM. A list that cannot be read changes nothing that is known.
//! Must not: send a call, or know what becomes of an entry ([`crate::authn::provider::roster`] does).

mod reading;

use std::rc::Rc;

use serde_json::Value;

use crate::authn::authentik::call::{Answer, Call};
use crate::authn::env::Env;
use crate::authn::env::lease::{LEASE_SECONDS, Taken};
use crate::authn::env::published::{Head, Published};
use crate::authn::fault::Fault;
use crate::authn::fault::list::ListFault;
use crate::authn::provider_list::reading::{Progress, Reading};
use crate::base::backoff::{self, Backoff};
use crate::base::time::Timestamp;
use crate::config::{Config, Outpost};

/// What one worker knows of the list.
pub(crate) struct ProviderList {
    config: Rc<Config>,
    shared: Published,
    /// The list that this worker works with.
    known: Option<Head>,
    /// The entries of a list that nobody took yet.
    news: Option<News>,
    /// While this worker reads.
    reading: Option<Reading>,
    backoff: Backoff,
    /// After a failed reading, here or at another worker, nobody tries again before.
    paused_until: Option<Timestamp>,
    last_fault: Option<Fault>,
    last_logged: Option<Timestamp>,
    /// Whether the list is read before its time.
    is_wanted: bool,
}

/// A list that differs from the one before.
pub(crate) struct News {
    /// As authentik's API has them.
    pub(crate) entries: Vec<Value>,
    /// Whether this worker has read it from authentik: then what there is to say of it is its to log.
    pub(crate) is_first_hand: bool,
    /// Stands for the list: eight hex digits, in every worker the same.
    pub(crate) version: String,
}

impl ProviderList {
    /// `None`: the configuration names no outpost.
    pub(crate) fn new(config: &Rc<Config>) -> Option<Self> {
        let outpost = config.outpost.as_ref()?;
        let what = ("providers", outpost.name.as_deref().unwrap_or_default());
        Some(Self {
            shared: Published::derive(config, &outpost.token, what)?,
            config: Rc::clone(config),
            known: None,
            news: None,
            reading: None,
            backoff: Backoff::default(),
            paused_until: None,
            last_fault: None,
            last_logged: None,
            is_wanted: false,
        })
    }

    /// A list that differs from the one before, once.
    pub(crate) fn take_news(&mut self) -> Option<News> {
        self.news.take()
    }

    /// How long ago authentik gave the list, in seconds.
    pub(crate) fn age(&self, now: Timestamp) -> Option<u64> {
        self.known.as_ref().map(|head| now.since(head.fetched))
    }

    /// Why there is no list.
    pub(crate) fn fault(&self) -> Fault {
        self.last_fault.clone().unwrap_or(Fault::List(ListFault::Unread))
    }

    /// Whether there was no list yet.
    pub(crate) const fn is_unknown(&self) -> bool {
        self.known.is_none()
    }

    /// Whether the first list may come at any moment.
    pub(crate) const fn is_expected(&self) -> bool {
        self.known.is_none() && self.paused_until.is_none()
    }

    /// authentik says that something has changed: the list is read at the next tick, by whichever worker is first.
    pub(crate) fn read_at_once(&mut self) {
        self.is_wanted = true;
    }

    /// One tick: takes what another worker has read, and begins to read when it is time. The call that is to be sent.
    #[inline(never)]
    pub(crate) fn tick(&mut self, env: &Env<'_>) -> Option<Call> {
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
            Taken::Ours => {
                let reading = Reading::begin(self.outpost()?);
                let call = reading.call(&self.config, self.outpost()?);
                self.reading = Some(reading);
                Some(call)
            }
            Taken::Held => None,
            Taken::Failed { until } => {
                self.paused_until = Some(until);
                self.adopt(env);
                None
            }
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let interval = self.outpost().map_or(0, |outpost| outpost.refresh_seconds);
        let is_old = self.known.as_ref().is_none_or(|head| head.is_old(interval, now));
        (is_old || self.is_wanted) && self.paused_until.is_none_or(|until| until <= now)
    }

    /// Takes what another worker has read, if it is newer. A list that is long overdue is taken only after a failed reading: a
    /// configuration that comes back finds that of its last time, and authentik may have taken providers out since.
    #[inline(never)]
    pub(crate) fn adopt(&mut self, env: &Env<'_>) {
        let Some(head) = self.shared.head(env) else { return };
        let is_newer = self.known.as_ref().is_none_or(|known| known.fetched < head.fetched);
        let is_overdue =
            self.known.is_none() && self.paused_until.is_none() && self.is_overdue(&head, env.now);
        if !is_newer || head.fetched > env.now || is_overdue {
            return;
        }
        let is_same = self.known.as_ref().is_some_and(|known| known.digest == head.digest);
        if !is_same {
            // It may be replaced at this moment; then the next tick finds both.
            let Some(content) = self.shared.content(env, &head) else { return };
            let Some(entries) = reading::entries(&content) else { return };
            self.news = Some(News { entries, is_first_hand: false, version: head.version() });
        }
        self.known = Some(head);
        self.succeeded();
    }

    fn is_overdue(&self, head: &Head, now: Timestamp) -> bool {
        let interval = self.outpost().map_or(0, |outpost| outpost.refresh_seconds);
        now.since(head.fetched) > interval.saturating_mul(2).saturating_add(LEASE_SECONDS)
    }

    /// What came of a call. The next one.
    #[inline(never)]
    pub(crate) fn answered(&mut self, env: &Env<'_>, answer: &Answer) -> Option<Call> {
        let reading = self.reading.take()?;
        match reading.answered(answer) {
            Ok(Progress::Next(reading)) => {
                let call = reading.call(&self.config, self.outpost()?);
                self.reading = Some(reading);
                Some(call)
            }
            Ok(Progress::Done(content)) => {
                self.finish(env, &content);
                None
            }
            Err(fault) => {
                self.failed(env, fault);
                None
            }
        }
    }

    fn finish(&mut self, env: &Env<'_>, content: &[u8]) {
        let Some(entries) = reading::entries(content) else {
            self.failed(env, Fault::BadAnswer { status: 200 });
            return;
        };
        let head = self.shared.publish(env, content);
        self.shared.lease(env).rest(env.now, 1);
        if self.known.as_ref().is_none_or(|known| known.digest != head.digest) {
            self.news = Some(News { entries, is_first_hand: true, version: head.version() });
        }
        self.known = Some(head);
        self.succeeded();
    }

    fn succeeded(&mut self) {
        self.is_wanted = false;
        self.backoff = Backoff::default();
        self.paused_until = None;
        self.last_fault = None;
    }

    #[inline(never)]
    fn failed(&mut self, env: &Env<'_>, fault: Fault) {
        let until = env.now.plus(self.backoff.next_pause(env.random_byte()));
        self.shared.lease(env).fail(until);
        self.paused_until = Some(until);
        if backoff::is_to_be_logged(&mut self.last_logged, env.now) {
            let base = &self.config.authentik.base;
            let stays = if self.known.is_some() { "; the providers stay as they are" } else { "" };
            log::warn!(
                "the providers of the outpost could not be read from {base}/api/v3/outposts/: {fault}{stays}"
            );
        }
        self.last_fault = Some(fault);
        // An overdue list of another worker is better than none.
        self.adopt(env);
    }

    fn outpost(&self) -> Option<&Outpost> {
        self.config.outpost.as_ref()
    }
}

#[cfg(test)]
mod tests;
