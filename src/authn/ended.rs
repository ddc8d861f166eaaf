//! What ends before its time: sessions that were signed out, and what authentik must confirm before it counts again.
//!
//! Owns: the two lists that all workers of an Envoy share. A provider's [`EndedList`] says whose sessions are over; the
//! [`RevalidationList`] says of whom authentik is to be asked. Each worker has copies of its own and looks for news once a
//! second, so that a request pays no host call.
//! Must not: know why something has ended, or what becomes of a request.

mod revalidation;
mod seen;
mod shared;
mod table;
pub mod tally;

use core::cell::{Cell, RefCell};
use std::rc::Rc;

pub(crate) use self::revalidation::{Revalidate, RevalidationList};
pub(crate) use self::seen::SeenTokens;
use self::shared::SharedTable;
use self::tally::{Cause, Tally};
use crate::authn::env::Env;
use crate::authn::jwt::claims::Claims;
use crate::base::time::Timestamp;
use crate::config::{Config, Provider};

/// Whose sessions have ended at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who<'a> {
    /// Those of one session at authentik (`sid`, OpenID Connect Back-Channel Logout 1.0 §2.1).
    Session(&'a str),
    /// All of one user (`sub`).
    User(&'a str),
}

/// [`Who`] with texts of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    /// `sid`
    Session(String),
    /// `sub`
    User(String),
}

impl Whose {
    pub(crate) fn as_who(&self) -> Who<'_> {
        match self {
            Self::Session(sid) => Who::Session(sid),
            Self::User(sub) => Who::User(sub),
        }
    }
}

impl From<Who<'_>> for Whose {
    fn from(who: Who<'_>) -> Self {
        match who {
            Who::Session(sid) => Self::Session(sid.to_owned()),
            Who::User(sub) => Self::User(sub.to_owned()),
        }
    }
}

/// What is said of a session or of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing.
    Good,
    /// authentik is to be asked before it counts.
    Unconfirmed,
    /// It is over.
    Over,
}

/// When a session or a verdict began to count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since {
    pub(crate) begun: Timestamp,
    /// When authentik last vouched for it.
    pub(crate) vouched: Timestamp,
    /// Whether it stands on a password, about which introspection says nothing.
    pub(crate) is_of_password: bool,
}

/// Remembers that nothing is said of something, until there is news.
#[derive(Debug, Default)]
pub(crate) struct Checked(Cell<u64>);

/// What all providers of a worker have together.
#[derive(Default)]
pub(crate) struct Common {
    /// `None`: authentik's event log is not read.
    pub(crate) revalidation: Option<RefCell<RevalidationList>>,
    pub(crate) tally: Tally,
    /// What other Envoys are to know.
    pub(crate) untold: RefCell<Vec<Ended>>,
}

/// Something that has ended, and that this Envoy has learned first.
pub(crate) struct Ended {
    /// Of the provider.
    pub(crate) client_id: String,
    pub(crate) who: Whose,
    /// What was begun until then.
    pub(crate) at: Timestamp,
}

impl Common {
    /// `None` only if HMAC refused a key, which it never does.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        let revalidation = match &config.events {
            Some(events) => Some(RefCell::new(RevalidationList::new(config, events.token.expose())?)),
            None => None,
        };
        Some(Self { revalidation, ..Self::default() })
    }

    /// Takes note that something has ended here first. Without the event log nobody can be told.
    fn tell(&self, client_id: &str, who: Who<'_>, at: Timestamp) {
        let mut untold = self.untold.borrow_mut();
        if self.revalidation.is_some() && untold.len() < MAX_UNTOLD {
            untold.push(Ended { client_id: client_id.to_owned(), who: who.into(), at });
        }
    }
}

/// Most that is kept until the next tick.
const MAX_UNTOLD: usize = 256;

/// The list of one provider.
pub(crate) struct EndedList {
    /// One for each cookie secret: what one of them has sealed can be ended under it after it is no longer the first.
    tables: Vec<SharedTable>,
    common: Rc<Common>,
    client_id: String,
    /// Grows with each change; 0: this worker has not looked yet.
    version: u64,
    /// How long a session or a token can last, in seconds.
    lifetime: u64,
}

const SESSION: u8 = b's';
const USER: u8 = b'u';

impl EndedList {
    /// `None` only if HMAC refused a key, which it never does.
    pub(crate) fn new(config: &Config, provider: &Provider, common: &Rc<Common>) -> Option<Self> {
        let table =
            |secret: &str| SharedTable::derive(secret, "ended", &provider.client_id, &[SESSION, USER]);
        // Without sessions tokens can still be ended.
        let secrets = match provider.cookie_secrets.as_slice() {
            [] => core::slice::from_ref(&provider.client_secret),
            secrets => secrets,
        };
        let tables = secrets.iter().map(|secret| table(secret.expose()));
        Some(Self {
            tables: tables.collect::<Option<_>>()?,
            common: Rc::clone(common),
            client_id: provider.client_id.clone(),
            version: 0,
            lifetime: config.session.max_age_seconds.max(provider.access_token_validity_seconds),
        })
    }

    /// Whose sessions have ended: what was begun until `at`. All workers know it within a second.
    #[inline(never)]
    pub(crate) fn end(&mut self, who: Who<'_>, at: Timestamp, cause: Cause, env: &Env<'_>) {
        let until = at.max(env.now).plus(self.lifetime);
        let (kind, name) = match who {
            Who::Session(sid) => (SESSION, sid),
            Who::User(sub) => (USER, sub),
        };
        let is_news = self.tables.first_mut().is_some_and(|table| table.note(kind, name, at, until));
        if is_news {
            self.common.tally.ended(cause);
            match cause {
                Cause::SignOut | Cause::BackchannelLogout => self.common.tell(&self.client_id, who, at),
                // It is in the log already; and what authentik says once it says again.
                Cause::Relay | Cause::Confirmation => {}
            }
        }
        self.sync(env);
    }

    /// Looks for what other workers have ended, and tells them what this one has.
    #[inline(never)]
    pub(crate) fn sync(&mut self, env: &Env<'_>) {
        let mut is_new = self.version == 0;
        for table in &mut self.tables {
            is_new |= table.sync(env);
        }
        if is_new {
            self.version = self.version.saturating_add(1);
        }
    }

    /// Whether this worker has not looked yet.
    pub(crate) const fn is_unread(&self) -> bool {
        self.version == 0
    }

    /// When a session begins that begins now: after what the list has of its user. The clocks of two Envoys differ.
    pub(crate) fn beginning(&self, claims: &Claims, now: Timestamp) -> Timestamp {
        match self.ended(claims) {
            Some(at) if at >= now => Timestamp::from_millis(at.millis().saturating_add(1)),
            Some(_) | None => now,
        }
    }

    /// What is said of a session.
    pub(crate) fn of_session(
        &self,
        checked: &Checked,
        claims: &Claims,
        since: Since,
        now: Timestamp,
    ) -> Standing {
        if checked.0.get() == self.news() {
            return Standing::Good;
        }
        self.session_again(checked, claims, since, now)
    }

    /// What is said of a verdict on a credential. It is over only when authentik says so.
    pub(crate) fn of_verdict(
        &self,
        checked: &Checked,
        claims: &Claims,
        since: Since,
        now: Timestamp,
    ) -> Standing {
        if checked.0.get() == self.news() {
            return Standing::Good;
        }
        self.verdict_again(checked, claims, since, now)
    }

    #[inline(never)]
    fn session_again(&self, checked: &Checked, claims: &Claims, since: Since, now: Timestamp) -> Standing {
        let is_over = self.ended(claims).is_some_and(|at| at >= since.begun)
            || self.evicted(USER).is_some_and(|at| at >= since.begun)
            || self
                .password_again_from()
                .is_some_and(|from| since.is_of_password && from > since.begun && from <= now);
        if is_over { Standing::Over } else { self.unconfirmed(checked, claims, since, now) }
    }

    #[inline(never)]
    fn verdict_again(&self, checked: &Checked, claims: &Claims, since: Since, now: Timestamp) -> Standing {
        let session_ended = claims.sid.as_deref().and_then(|sid| self.at(SESSION, sid));
        let is_password_due = self
            .password_again_from()
            .is_some_and(|from| since.is_of_password && from > since.vouched && from <= now);
        if session_ended.is_some_and(|at| at >= since.vouched) || is_password_due {
            return Standing::Unconfirmed;
        }
        self.unconfirmed(checked, claims, since, now)
    }

    /// What must be confirmed, and what is remembered to be good.
    fn unconfirmed(&self, checked: &Checked, claims: &Claims, since: Since, now: Timestamp) -> Standing {
        if self.evicted(SESSION).is_some_and(|at| at >= since.begun.max(since.vouched)) {
            return Standing::Unconfirmed;
        }
        let revalidation = self.common.revalidation.as_ref().map(RefCell::borrow);
        let from = revalidation.as_ref().and_then(|list| list.confirmed_from(claims));
        match from {
            Some(from) if from > since.vouched => {
                // authentik says it first and does it then: it is asked when it has finished.
                return if from <= now { Standing::Unconfirmed } else { Standing::Good };
            }
            Some(_) | None => {}
        }
        let is_to_come = |from: Timestamp| since.is_of_password && from > now;
        if !self.password_again_from().is_some_and(is_to_come) {
            checked.0.set(self.news());
        }
        Standing::Good
    }

    /// When the sessions of this session at authentik, or of this user, last ended.
    fn ended(&self, claims: &Claims) -> Option<Timestamp> {
        let session = claims.sid.as_deref().and_then(|sid| self.at(SESSION, sid));
        let user = claims.sub.as_deref().and_then(|sub| self.at(USER, sub));
        session.max(user)
    }

    fn at(&self, kind: u8, name: &str) -> Option<Timestamp> {
        self.tables.iter().filter_map(|table| table.at(kind, name)).max()
    }

    fn evicted(&self, kind: u8) -> Option<Timestamp> {
        self.tables.iter().filter_map(|table| table.evicted(kind)).max()
    }

    fn password_again_from(&self) -> Option<Timestamp> {
        self.common.revalidation.as_ref()?.borrow().passwords_from()
    }

    /// Grows with each change of what is said.
    fn news(&self) -> u64 {
        let revalidation = self.common.revalidation.as_ref().map_or(0, |list| list.borrow().version());
        self.version.saturating_add(revalidation)
    }
}

#[cfg(test)]
pub(crate) mod tests;
