//! What the filter can know: everything that authentik has said so far, to which worker and when, and what each worker
//! has looked at since.
//!
//! Owns: for how long a word of authentik's counts, and whether a worker may know it or must.
//! Must not: say what becomes of a request.

use std::collections::{BTreeMap, BTreeSet};

use super::authentik::{TokenId, Verdict};
use super::credentials::Subject;
use super::site::{ProviderId, Site, THROTTLE_WINDOW, Verification};

pub(super) type WorkerId = usize;

/// A place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Seconds since 1970.
    pub(super) time: u64,
    /// Number of the event.
    pub(super) event: u64,
}

/// A span of time in which a request was with a worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) worker: WorkerId,
    pub(super) from: Moment,
    pub(super) to: Moment,
}

/// As what something is asked about: a verdict on a token is kept apart from the confirmation of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Credential,
    Session,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Verdict(Verdict),
    /// No answer, or none that can be understood.
    Failure {
        is_outage: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) at: Moment,
    worker: WorkerId,
    /// `None`: either.
    role: Option<Role>,
    pub(super) said: Said,
}

/// What a worker keeps a verdict under.
type Key = (ProviderId, Role, Subject);

/// Default of `authentik.max_wait_seconds`.
const MAX_WAIT: u64 = 15;

/// A guess that was sent to authentik, or waits for its turn.
struct Guess {
    at: Moment,
    is_sent: bool,
    worker: WorkerId,
    provider: ProviderId,
    subject: Subject,
    /// Whether it was refused; `None`: not known yet.
    is_refused: Option<bool>,
}

#[derive(Default)]
pub(super) struct History {
    words: BTreeMap<(ProviderId, Subject), Vec<Word>>,
    looked_at: Vec<(u64, WorkerId, Key)>,
    guesses: Vec<Guess>,
    key_fetches: Vec<(Moment, WorkerId, &'static str, bool)>,
}

/// What may have been known of a subject in a span, and what was said about it meanwhile.
pub(super) struct Knowledge {
    /// Known without a call, perhaps.
    pub(super) known: Vec<Verdict>,
    /// One of [`Self::known`] is known for sure, and no call is made.
    pub(super) is_sure: bool,
    /// The answers that came.
    pub(super) asked: Vec<Said>,
    /// What a failure may be bridged with, and whether it must be.
    pub(super) stale: Vec<TokenId>,
    pub(super) is_stale_sure: bool,
    /// When a token was vouched for that may still count.
    pub(super) vouched: Vec<(TokenId, u64)>,
}

impl History {
    pub(super) fn said(
        &mut self,
        at: Moment,
        worker: WorkerId,
        provider: ProviderId,
        role: Option<Role>,
        subject: &Subject,
        said: Said,
    ) {
        let words = self.words.entry((provider, subject.clone())).or_default();
        words.push(Word { at, worker, role, said });
        let roles = [Role::Credential, Role::Session];
        for role in roles.into_iter().filter(|of| role.is_none_or(|role| role == *of)) {
            self.looks_at(at, worker, (provider, role, subject.clone()));
        }
        if let Some(guess) = self.open_guess(worker, provider, subject) {
            guess.is_refused = Some(said == Said::Verdict(None));
        }
    }

    /// A worker looks for a verdict: what it has not looked at for long it may have forgotten.
    pub(super) fn looks_at(&mut self, at: Moment, worker: WorkerId, key: Key) {
        self.looked_at.push((at.event, worker, key));
    }

    /// A guess is sent to authentik.
    pub(super) fn guesses(&mut self, at: Moment, worker: WorkerId, provider: ProviderId, subject: &Subject) {
        match self.open_guess(worker, provider, subject) {
            Some(guess) if !guess.is_sent => (guess.at, guess.is_sent) = (at, true),
            Some(_) | None => {
                let subject = subject.clone();
                self.guesses.push(Guess { at, is_sent: true, worker, provider, subject, is_refused: None });
            }
        }
    }

    /// A request waits with a credential that may be a guess: it counts before its turn comes.
    pub(super) fn queues(&mut self, at: Moment, worker: WorkerId, provider: ProviderId, subject: &Subject) {
        if self.open_guess(worker, provider, subject).is_none() {
            let subject = subject.clone();
            self.guesses.push(Guess { at, is_sent: false, worker, provider, subject, is_refused: None });
        }
    }

    fn open_guess(
        &mut self,
        worker: WorkerId,
        provider: ProviderId,
        subject: &Subject,
    ) -> Option<&mut Guess> {
        self.guesses.iter_mut().find(|guess| {
            guess.is_refused.is_none()
                && (guess.worker, guess.provider, &guess.subject) == (worker, provider, subject)
        })
    }

    pub(super) fn keys_fetched(&mut self, at: Moment, worker: WorkerId, slug: &'static str, is_good: bool) {
        self.key_fetches.push((at, worker, slug, is_good));
    }

    /// Whether the last fetches of this client's keys leave it open whether there is a newer one: `true` for any failure
    /// that some worker may still remember.
    pub(super) fn may_lack_keys(&self, span: Span, slug: &str) -> bool {
        const LONGEST_MEMORY: u64 = 400;
        self.key_fetches.iter().any(|(at, _, of, is_good)| {
            *of == slug && !is_good && at.time + LONGEST_MEMORY > span.from.time && at.event <= span.to.event
        })
    }

    /// What a worker may know of a subject, as this provider's.
    pub(super) fn knowledge(
        &self,
        site: &Site,
        expires: &dyn Fn(TokenId) -> u64,
        provider: ProviderId,
        role: Role,
        subject: &Subject,
        span: Span,
    ) -> Knowledge {
        let none = Vec::new();
        let all = self.words.get(&(provider, subject.clone())).unwrap_or(&none);
        let words: Vec<_> = all.iter().filter(|word| word.at.event <= span.to.event).collect();
        let is_verdict = |word: &Word| matches!(word.said, Said::Verdict(_));
        let is_here = |word: &Word| {
            word.worker == span.worker && word.role.is_none_or(|of| of == role) && is_verdict(word)
        };
        // What was said to this worker before its last word is over; what others were told since it may have read.
        let last_here = words.iter().rposition(|word| is_here(word) && word.at.event <= span.from.event);
        let reachable: Vec<_> = words
            .iter()
            .enumerate()
            .filter(|(place, word)| is_verdict(word) && last_here.is_none_or(|last| *place >= last))
            .map(|(_, word)| **word)
            .collect();
        let life = Life::of(site, provider, role, subject);
        let counts = |word: &Word, further: u64, moment: Moment, life: u64| match word.said {
            Said::Verdict(Some(token)) => {
                word.at.time + life + further > moment.time && expires(token) > moment.time
            }
            Said::Verdict(None) => further == 0 && word.at.time + site.negative_ttl > moment.time,
            Said::Failure { .. } => false,
        };
        let verdict = |word: &Word| match word.said {
            Said::Verdict(verdict) => Some(verdict),
            Said::Failure { .. } => None,
        };
        let known: Vec<_> = reachable
            .iter()
            .filter(|word| counts(word, 0, span.from, life.most))
            .filter_map(verdict)
            .collect();
        // A worker looks at what it keeps itself before it looks at what it was told by others.
        let is_kept = |word: &Word| {
            word.at.event <= span.from.event
                && is_here(word)
                && word.role == Some(role)
                && !self.may_be_evicted(site, word, span)
        };
        let is_sure = reachable.iter().any(|word| is_kept(word) && counts(word, 0, span.to, life.least));
        let stale = |further| {
            reachable
                .iter()
                .filter(move |word| counts(word, further, span.from, life.most))
                .filter_map(|word| verdict(word).flatten())
                .collect()
        };
        let is_stale_sure = site.stale > 0
            && reachable.iter().any(|word| is_kept(word) && counts(word, site.stale, span.to, life.least));
        let vouched = reachable.iter().filter_map(|word| Some((verdict(word).flatten()?, word.at.time)));
        let asked = words.iter().filter(|word| word.worker == span.worker && word.at.event > span.from.event);
        // Its turn may not have come in time.
        let has_waited = span.to.time >= span.from.time.saturating_add(MAX_WAIT);
        let waited_in_vain = has_waited.then_some(Said::Failure { is_outage: false });
        Knowledge {
            known,
            is_sure,
            asked: asked.map(|word| word.said).chain(waited_in_vain).collect(),
            stale: if site.stale > 0 { stale(site.stale) } else { Vec::new() },
            is_stale_sure,
            vouched: vouched.collect(),
        }
    }

    /// Whether authentik has ever said no to it.
    pub(super) fn was_refused(&self, provider: ProviderId, subject: &Subject) -> bool {
        let words = self.words.get(&(provider, subject.clone()));
        words.is_some_and(|words| words.iter().any(|word| word.said == Said::Verdict(None)))
    }

    /// Whether so many other things were looked at since that a small cache may have lost this.
    fn may_be_evicted(&self, site: &Site, word: &Word, span: Span) -> bool {
        let since = self.looked_at.iter().rev().take_while(|(event, ..)| *event > word.at.event);
        let others: BTreeSet<_> =
            since.filter(|(_, worker, _)| *worker == span.worker).map(|(.., key)| key).collect();
        others.len() + 2 > site.local_entries
    }

    /// Whether so many guesses at this user name were refused, or may be, that the worker may refuse the next by itself.
    pub(super) fn may_be_limited(
        &self,
        site: &Site,
        provider: ProviderId,
        subject: &Subject,
        span: Span,
    ) -> bool {
        let guesses = self.guesses_at(provider, subject, span);
        let count = guesses.filter(|guess| guess.age(span) < THROTTLE_WINDOW && guess.may_count()).count();
        site.failures > 0 && count >= site.failures
    }

    /// Whether the next guess must not be sent, however the window is counted. What was good before is no guess.
    pub(super) fn is_limited(
        &self,
        site: &Site,
        provider: ProviderId,
        subject: &Subject,
        span: Span,
    ) -> bool {
        let is_guess = |subject: &Subject| !self.was_good(provider, subject);
        let is_before = |guess: &Guess| (THROTTLE_WINDOW..2 * THROTTLE_WINDOW).contains(&guess.age(span));
        let guesses: Vec<_> = self.guesses_at(provider, subject, span).collect();
        let counts = |guess: &Guess| {
            guess.is_sent
                && guess.age(span) < THROTTLE_WINDOW
                && guess.may_count()
                && is_guess(&guess.subject)
        };
        site.failures > 0
            && is_guess(subject)
            && !guesses.iter().any(|guess| is_before(guess))
            && guesses.iter().filter(|guess| counts(guess)).count() >= site.failures
    }

    fn was_good(&self, provider: ProviderId, subject: &Subject) -> bool {
        let is_good = |word: &Word| matches!(word.said, Said::Verdict(Some(_)));
        self.words.get(&(provider, subject.clone())).is_some_and(|words| words.iter().any(is_good))
    }

    /// The guesses at this user name.
    fn guesses_at(
        &self,
        provider: ProviderId,
        subject: &Subject,
        span: Span,
    ) -> impl Iterator<Item = &Guess> {
        let name = |subject: &Subject| match subject {
            Subject::Password { username, .. } => Some(username.clone()),
            Subject::Token(_) | Subject::Code(_) => None,
        };
        let wanted = name(subject);
        self.guesses.iter().filter(move |guess| {
            wanted.is_some()
                && (guess.worker, guess.provider) == (span.worker, provider)
                && name(&guess.subject) == wanted
                && guess.at.event <= span.to.event
        })
    }
}

impl Guess {
    fn age(&self, span: Span) -> u64 {
        span.from.time.saturating_sub(self.at.time)
    }

    /// It was refused, or is still out.
    fn may_count(&self) -> bool {
        self.is_refused != Some(false)
    }
}

/// For how long a good word counts, in seconds.
struct Life {
    least: u64,
    most: u64,
}

impl Life {
    fn of(site: &Site, provider: ProviderId, role: Role, subject: &Subject) -> Self {
        let settings = &site.providers[provider];
        let seconds = match (settings.revalidate, subject, role) {
            (0, ..) => site.ttl,
            (revalidate, _, Role::Session) => revalidate,
            (revalidate, Subject::Token(_), _) if settings.verification == Verification::Local => revalidate,
            (revalidate, ..) => site.ttl.min(revalidate),
        };
        let most = if settings.revalidate > 0 { seconds.max(settings.revalidate) } else { seconds };
        Self { least: seconds, most }
    }
}
