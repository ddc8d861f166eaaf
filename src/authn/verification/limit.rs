//! Calls to authentik that wait for a place, and how many may be out at one time.
//!
//! Owns: the adaptive limit (additive increase, multiplicative decrease), and the order: key sets, then what was good
//! before (confirmations, logins, known credentials), then unknown credentials, and last a call in the background, of which
//! there is one at most and for which nobody waits. authentik does a few calls a second and breaks under many at one time, so
//! that a restart of Envoy, when everybody is unknown at once, must not reach it at once.
//! Must not: know what a call is about, or who waits for it.

use std::collections::VecDeque;

use crate::authn::authentik::call::{Answer, Call, NotSent};
use crate::base::time::Timestamp;

/// Calls that are out at one time to begin with.
const FIRST_LIMIT: usize = 4;

/// Names a call; its answer comes back with it. Never used twice, so that the answer to a call that was given up is not
/// taken for the answer to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub(super) u64);

/// How urgent a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Key sets: many wait for one.
    Keys,
    /// A session, a login or a credential that was good before.
    Known,
    /// A credential that was not valid before.
    Unknown,
}

/// The queue and the calls that are out. `T` says what a call is about.
pub(crate) struct CallQueue<T> {
    limit: usize,
    max_limit: usize,
    max_waiting: usize,
    /// Good answers since the limit last changed.
    good: usize,
    /// How many calls were sent.
    sent: u64,
    /// How many were when the limit was last halved: the failures of one round count once.
    halved_at: u64,
    last_number: u64,
    waiting: [VecDeque<Waiting<T>>; 3],
    /// At most as many as the limit and one in the background, in the order in which they were sent.
    out: Vec<Out<T>>,
    /// Sent when there is a place and nothing else waits.
    background: Option<(T, Call)>,
    /// The number of the one that is out. It takes no place from others.
    background_out: Option<u64>,
}

struct Waiting<T> {
    number: u64,
    subject: T,
    call: Call,
    since: Timestamp,
}

struct Out<T> {
    number: u64,
    subject: T,
    since: Timestamp,
    /// How many calls were sent before it.
    before: u64,
}

/// As many calls of this priority wait as may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl<T: Clone> CallQueue<T> {
    /// `max_limit`: most calls at one time. `max_waiting`: most that wait, of those that were good before and of unknown
    /// ones each, so that the one cannot take the place of the other.
    pub(crate) fn new(max_limit: usize, max_waiting: usize) -> Self {
        Self {
            limit: FIRST_LIMIT.min(max_limit),
            max_limit,
            max_waiting,
            good: 0,
            sent: 0,
            halved_at: 0,
            last_number: 0,
            waiting: Default::default(),
            out: Vec::new(),
            background: None,
            background_out: None,
        }
    }

    /// Puts a call at the end of its queue; its number.
    ///
    /// # Errors
    /// The queue is full. That of key sets never is: there is one for each provider.
    pub(crate) fn push(
        &mut self,
        priority: Priority,
        subject: T,
        call: Call,
        now: Timestamp,
    ) -> Result<u64, Full> {
        let is_free = self.is_below_limit() && self.waiting.iter().all(VecDeque::is_empty);
        let max_waiting = self.max_waiting;
        let queue = self.queue(priority);
        if priority != Priority::Keys && queue.len() >= max_waiting && !is_free {
            return Err(Full);
        }
        let number = self.next_number();
        self.queue(priority).push_back(Waiting { number, subject, call, since: now });
        Ok(number)
    }

    /// Sends this call when no other waits, in place of one that was to be sent so.
    pub(crate) fn push_to_background(&mut self, subject: T, call: Call) {
        self.background = Some((subject, call));
    }

    /// The next call, if there is a place for it: its number, what it is about, and itself.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<(u64, T, Call)> {
        if !self.is_below_limit() {
            return None;
        }
        let (number, subject, call) = match self.waiting.iter_mut().find_map(VecDeque::pop_front) {
            Some(Waiting { number, subject, call, since: _ }) => (number, subject, call),
            None => {
                let (subject, call) = self.background.take_if(|_| self.background_out.is_none())?;
                let number = self.next_number();
                self.background_out = Some(number);
                (number, subject, call)
            }
        };
        self.out.push(Out { number, subject: subject.clone(), since: now, before: self.sent });
        self.sent = self.sent.wrapping_add(1);
        Some((number, subject, call))
    }

    fn next_number(&mut self) -> u64 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    fn is_below_limit(&self) -> bool {
        self.out.len().saturating_sub(usize::from(self.background_out.is_some())) < self.limit
    }

    /// A call that was popped is not sent after all: nobody waits for it any more.
    pub(crate) fn cancel(&mut self, number: u64) {
        self.take(number);
    }

    /// A call has come to its end: what it was about; `None`: it had before. The limit grows by one when as many answers were
    /// good as it is high, and is halved by a failure.
    pub(crate) fn ended(&mut self, number: u64, answer: &Answer) -> Option<T> {
        let Out { subject, before, .. } = self.take(number)?;
        // Nobody's load: it says nothing about how much authentik can bear.
        if self.background_out.take_if(|background| *background == number).is_some() {
            return Some(subject);
        }
        if is_failure(answer) {
            self.good = 0;
            if before >= self.halved_at {
                self.halved_at = self.sent;
                self.limit = (self.limit / 2).max(1);
            }
        } else {
            self.good = self.good.saturating_add(1);
            if self.good >= self.limit {
                self.good = 0;
                self.limit = self.limit.saturating_add(1).min(self.max_limit);
            }
        }
        Some(subject)
    }

    /// How many calls may be out, and how many wait for a place.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.limit, self.waiting.iter().map(VecDeque::len).sum())
    }

    /// Calls that are out for longer than this, in seconds.
    pub(crate) fn lost(&self, now: Timestamp, patience: u64) -> Vec<u64> {
        let is_lost = |out: &Out<T>| now.since(out.since) > patience;
        self.out.iter().filter(|out| is_lost(out)).map(|out| out.number).collect()
    }

    /// Takes out what has waited for its place for this many seconds.
    pub(crate) fn give_up(&mut self, now: Timestamp, max_wait: u64) -> Vec<(u64, T)> {
        let mut given_up = Vec::new();
        for queue in &mut self.waiting {
            while queue.front().is_some_and(|first| now.since(first.since) >= max_wait) {
                given_up.extend(queue.pop_front().map(|waiting| (waiting.number, waiting.subject)));
            }
        }
        given_up
    }

    fn take(&mut self, number: u64) -> Option<Out<T>> {
        let place = self.out.iter().position(|out| out.number == number)?;
        Some(self.out.remove(place))
    }

    const fn queue(&mut self, priority: Priority) -> &mut VecDeque<Waiting<T>> {
        let [keys, known, unknown] = &mut self.waiting;
        match priority {
            Priority::Keys => keys,
            Priority::Known => known,
            Priority::Unknown => unknown,
        }
    }
}

/// Whether authentik shows with this answer that it has too much to do. A refusal is a good answer.
const fn is_failure(answer: &Answer) -> bool {
    match answer {
        Answer::Response { status, .. } => *status >= 500 || *status == 405 || *status == 429,
        Answer::Unreachable { .. } | Answer::Reset | Answer::Lost => true,
        Answer::NotSent(NotSent::NoCapacity) => true,
        Answer::TooLarge
        | Answer::NotSent(NotSent::UnknownCluster | NotSent::Unencodable | NotSent::WaitedTooLong) => false,
    }
}

#[cfg(test)]
mod tests;
