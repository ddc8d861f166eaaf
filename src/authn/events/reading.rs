//! One reading of the log, from call to call.
//!
//! Owns: what is asked next, what makes the answers whole, and how much is read. An empty answer is not believed: authentik gives
//! one to a token without permission, and for a search that it does not understand. So the newest known event must be in each
//! answer again; where it is not, the newest event of all is asked for, and then must be in the next answer.
//! Must not: send a call, or know what an event means.

use serde_json::Value;

use crate::authn::authentik::api::Page;
use crate::authn::authentik::call::{Answer, Call};
use crate::authn::authentik::events::{self, Looked, Query};
use crate::authn::events::cursor::{Cursor, Key, overlap};
use crate::authn::events::learned::{Learned, News};
use crate::authn::fault::Fault;
use crate::authn::fault::events::EventsFault;
use crate::base::time::Timestamp;
use crate::config::Config;

/// Most pages of a reading. Where the log has more, everybody is to be confirmed, and only what other Envoys have written is read.
const MAX_PAGES: u64 = 20;
/// Most pages of what other Envoys have written, the newest first: more than a list of ended sessions holds.
const MAX_RELAYED_PAGES: u64 = 50;
/// Most users who are looked up in a reading. Where more were changed, everybody is to be confirmed.
const MAX_USERS: usize = 10;

/// A reading that is under way.
pub(super) struct Reading {
    cursor: Option<Cursor>,
    /// From when on is read where there is no cursor: as far back as a session can live.
    history: Timestamp,
    /// What is asked next.
    ask: Ask,
    /// The newest event of all, asked for in this reading.
    newest: Option<(Timestamp, Key)>,
    /// The log is longer than is read.
    is_too_long: bool,
    /// Events that the first page spoke of.
    count: u64,
    found: Vec<(Timestamp, Key)>,
    news: News,
}

#[derive(Debug, Clone, Copy)]
enum Ask {
    Log(Query),
    User(u64),
}

pub(super) enum Progress {
    /// There is more to ask.
    Next(Reading),
    Done(Done),
}

/// A whole reading.
pub(super) struct Done {
    pub(super) learned: Vec<Learned>,
    pub(super) cursor: Cursor,
}

impl Reading {
    pub(super) fn begin(config: &Config, cursor: Option<Cursor>, now: Timestamp) -> Self {
        let lifetime = config.session.max_age_seconds.saturating_add(config.clock_skew_seconds);
        let ask = match &cursor {
            Some(cursor) => Query::Since(overlap(cursor.newest, now), 1),
            None => Query::Newest,
        };
        Self {
            cursor,
            history: now.minus(lifetime),
            ask: Ask::Log(ask),
            newest: None,
            is_too_long: false,
            count: 0,
            found: Vec::new(),
            news: News::default(),
        }
    }

    /// Asks. `None`: no log is configured, or its time is out of the calendar.
    pub(super) fn call(&self, config: &Config) -> Option<Call> {
        let events = config.events.as_ref()?;
        match self.ask {
            Ask::Log(query) => events::events_call(config, events, query),
            Ask::User(pk) => Some(events::user_call(config, events, pk)),
        }
    }

    /// What came of it.
    pub(super) fn answered(mut self, answer: &Answer, now: Timestamp) -> Result<Progress, EventsFault> {
        match self.ask {
            Ask::User(pk) => {
                match events::read_user(answer) {
                    Looked::Found(username, uid) => self.news.found(pk, (username, uid)),
                    Looked::Unknown => {}
                    Looked::Forbidden => self.news.changed.clear(),
                }
                self.next_user(now)
            }
            Ask::Log(Query::Newest) => {
                let page = events::read_events(answer)?;
                let newest = page.results.first().ok_or(EventsFault::Nothing)?;
                let newest = time_and_key(newest).ok_or(Fault::BadAnswer { status: 200 })?;
                self.newest = Some(newest);
                let since = overlap(newest.0, now).min(self.since(now));
                self.ask = Ask::Log(if self.is_too_long {
                    Query::Relayed(since, 1)
                } else {
                    // What was read before is in it again.
                    (self.found, self.news) = (Vec::new(), News::default());
                    Query::Since(since, 1)
                });
                Ok(Progress::Next(self))
            }
            Ask::Log(Query::Since(since, number)) => {
                let page = self.page(answer, number, now)?;
                if page.next > MAX_PAGES || page.count > MAX_PAGES.saturating_mul(100) {
                    self.is_too_long = true;
                    self.news.add_everybody();
                    let relayed = Query::Relayed(since, 1);
                    self.ask = Ask::Log(if self.newest.is_some() { relayed } else { Query::Newest });
                    self.count = 0;
                } else if page.next > 0 {
                    self.ask = Ask::Log(Query::Since(since, page.next));
                } else if self.has_expected() {
                    return self.next_user(now);
                } else if self.newest.is_some() {
                    return Err(EventsFault::Incomplete);
                } else {
                    self.ask = Ask::Log(Query::Newest);
                    self.count = 0;
                }
                Ok(Progress::Next(self))
            }
            Ask::Log(Query::Relayed(since, number)) => {
                let page = self.page(answer, number, now)?;
                if page.next > 0 && page.next <= MAX_RELAYED_PAGES {
                    self.ask = Ask::Log(Query::Relayed(since, page.next));
                    return Ok(Progress::Next(self));
                }
                self.next_user(now)
            }
        }
    }

    /// From when on what is not known yet can be.
    fn since(&self, now: Timestamp) -> Timestamp {
        self.cursor.as_ref().map_or(self.history, |cursor| overlap(cursor.newest, now))
    }

    /// Takes a page: it belongs to the ones before it.
    fn page(&mut self, answer: &Answer, number: u64, now: Timestamp) -> Result<Page, EventsFault> {
        let page = match events::read_events(answer) {
            Err(EventsFault::NoApi { status: 404 }) if number > 1 => {
                return Err(EventsFault::Changed);
            }
            answered => answered?,
        };
        let is_in_order =
            page.current == number && (page.next == 0 || Some(page.next) == number.checked_add(1));
        if !is_in_order {
            return Err(Fault::BadAnswer { status: 200 }.into());
        }
        // With fewer events the later pages have moved forward, and one may have been passed over.
        if page.count < self.count {
            return Err(EventsFault::Changed);
        }
        self.count = page.count;
        for event in &page.results {
            let found = time_and_key(event);
            let is_known = found.is_some_and(|(_, key)| {
                self.cursor.as_ref().is_some_and(|cursor| cursor.seen.contains(&key))
            });
            self.found.extend(found);
            if !is_known {
                self.news.add(event, now);
            }
        }
        Ok(page)
    }

    /// Whether the answer has the event that must be in it.
    fn has_expected(&self) -> bool {
        let known = self.cursor.as_ref().map(|cursor| cursor.key);
        let expected = self.newest.map(|(_, key)| key).or(known);
        expected.is_some_and(|expected| self.found.iter().any(|(_, key)| *key == expected))
    }

    /// Asks for the next changed user, or ends.
    fn next_user(mut self, now: Timestamp) -> Result<Progress, EventsFault> {
        if self.news.changed.len() > MAX_USERS {
            self.news.add_everybody();
        }
        if !self.news.has_everybody()
            && let Some(pk) = self.news.changed.pop()
        {
            self.ask = Ask::User(pk);
            return Ok(Progress::Next(self));
        }
        let newest = self.found.iter().copied().chain(self.newest).max();
        let newest = newest.ok_or(EventsFault::Incomplete)?;
        let cursor = Cursor::new(newest, &self.found, now);
        Ok(Progress::Done(Done { learned: self.news.learned, cursor }))
    }
}

/// When an event was and which it is. `None`: it cannot be read.
fn time_and_key(event: &Value) -> Option<(Timestamp, Key)> {
    let created = Timestamp::from_utc(event.get("created")?.as_str()?)?;
    Some((created, key(event.get("pk")?.as_str()?)?))
}

/// A UUID (RFC 9562 §4).
fn key(text: &str) -> Option<Key> {
    let digits = text.chars().filter(|digit| *digit != '-');
    let mut key: Key = 0;
    let mut count: u32 = 0;
    for digit in digits {
        key = key.checked_mul(16)?.checked_add(digit.to_digit(16)?.into())?;
        count = count.checked_add(1)?;
    }
    (count == 32).then_some(key)
}
