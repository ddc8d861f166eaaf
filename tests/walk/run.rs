//! One walk: two workers of one Envoy, and the way of each request through one of them, from when it is sent to when it is
//! judged.
//!
//! Owns: the state of a walk. What happens next is drawn in [`super::steps`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use local_envoy::module;
use proxy_wasm_testkit::{LogLevel, Module, Outcome, Request, StreamId, Vm, World};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::authentik::{Authentik, Kind, PASSWORD_MARK};
use super::calls::Calls;
use super::credentials::Subject;
use super::history::{History, Moment, Role, Said, Span, WorkerId};
use super::judge::{self, Seen};
use super::oracle::{Facts, Stay};
use super::requests::Draft;
use super::sessions::Jar;
use super::site::{ProviderId, SEAL_VALUE, Site};
use crate::support::host;

/// Nobody waits longer than for three calls that are lost, one after the other; in seconds.
pub(super) const LONGEST_WAIT: u64 = 30;

/// A request that waits.
pub(super) struct Waiting {
    pub(super) number: usize,
    pub(super) worker: WorkerId,
    pub(super) stream: StreamId,
    pub(super) draft: Draft,
    from: Moment,
    purpose: Purpose,
}

/// What a request is for.
#[derive(Clone)]
pub(super) enum Purpose {
    Judged,
    /// The end of a login.
    Callback(Subject),
}

pub(super) struct Walk {
    pub(super) site: Site,
    pub(super) authentik: Authentik,
    pub(super) history: History,
    pub(super) jar: Jar,
    pub(super) world: World,
    pub(super) workers: [Vm; 2],
    pub(super) calls: Calls,
    pub(super) waiting: Vec<Waiting>,
    event: u64,
    /// How many of the answers are failures, in percent.
    pub(super) failing: u32,
    /// The credentials that were sent last.
    pub(super) recent: Vec<Subject>,
    pub(super) tally: Tally,
    /// What happened, a line each.
    pub(super) story: Vec<String>,
    /// What no log may show.
    secrets: Vec<String>,
}

/// What a walk came by.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) requests: usize,
    /// How often each row of the table was seen, where there was only one that fits.
    pub(super) rows: BTreeMap<&'static str, usize>,
    /// How often each of [`OCCASIONS`] was.
    pub(super) occasions: BTreeMap<&'static str, usize>,
    pub(super) most_waiting: usize,
}

/// What a walk must come by beside the rows of the table.
pub(super) const OCCASIONS: [&str; 9] = [
    "a request waits",
    "a request joins the call of another, or waits for its turn",
    "a client leaves while it waits",
    "a call is lost",
    "an answer comes too late",
    "a failure is bridged by what was known",
    "a session that authentik has ended is taken back",
    "a session is renewed",
    "a login ends with a session",
];

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.most_waiting = self.most_waiting.max(other.most_waiting);
        for (all, more) in [(&mut self.rows, &other.rows), (&mut self.occasions, &other.occasions)] {
            for (name, count) in more {
                *all.entry(name).or_default() += count;
            }
        }
    }
}

/// The error says what is wrong.
pub(super) type Result<T = ()> = std::result::Result<T, String>;

impl Walk {
    pub(super) fn begin(seed: u64) -> Result<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let site = Site::draw(&mut random);
        let world = host::world_with_seed(seed);
        world.add_cluster("authentik");
        world.set_log_level(LogLevel::Trace);
        let module = Module::load(module::module()).map_err(|error| format!("{error:?}"))?;
        let start = || Vm::start(&world, &module, site.configuration()).map_err(|error| format!("{error:?}"));
        let workers = [start()?, start()?];
        let mut walk = Self {
            site,
            authentik: Authentik::new(),
            history: History::default(),
            jar: Jar::default(),
            world,
            workers,
            calls: Calls::default(),
            waiting: Vec::new(),
            event: 0,
            failing: 0,
            recent: Vec::new(),
            tally: Tally::default(),
            story: Vec::new(),
            secrets: Vec::new(),
        };
        // The second time for what another worker, or another entry, has fetched.
        for worker in [0, 1, 0, 1] {
            walk.workers[worker].tick();
            walk.find_calls(worker, None);
            while let Some(place) = walk.calls.any(worker) {
                walk.answer(place, None, &mut random)?;
            }
        }
        for slug in ["app", "corp", "checked"] {
            for (kind, user, life) in [
                (Kind::Genuine, 0, 3000),
                (Kind::Genuine, 1, 60),
                (Kind::Genuine, 3, 3000),
                (Kind::Genuine, 4, 300),
                (Kind::Opaque, 0, 3000),
                (Kind::BadSignature, 0, 3000),
                (Kind::UnknownKey, 0, 3000),
                (Kind::Foreign, 0, 3000),
            ] {
                walk.authentik.mint(kind, slug, user, walk.now() + life, None, walk.now());
            }
            walk.authentik.mint(Kind::Genuine, slug, 0, walk.now() - 1, None, walk.now() - 60);
        }
        Ok(walk)
    }

    pub(super) fn now(&self) -> u64 {
        self.world.now().as_secs()
    }

    /// The next place in the history.
    pub(super) fn moment(&mut self) -> Moment {
        self.event += 1;
        Moment { time: self.now(), event: self.event }
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        let Self { site, authentik, history, jar, .. } = self;
        Facts { site, authentik, history, jar }
    }

    pub(super) fn came_by(&mut self, occasion: &'static str) {
        *self.tally.occasions.entry(occasion).or_default() += 1;
    }

    pub(super) fn tell(&mut self, what: String) {
        self.story.push(format!("{:>6} {what}", self.now() % 100_000));
    }

    /// Sends a request; what was seen of it if it was decided at once.
    pub(super) fn send(&mut self, worker: WorkerId, draft: Draft, purpose: Purpose) -> Result<Option<Seen>> {
        self.tally.requests += 1;
        let number = self.tally.requests;
        let from = self.moment();
        let span = Span { worker, from, to: from };
        self.tell(format!("request {number} to worker {worker}: {}", draft.shown()));
        self.secrets.extend(draft.secrets());
        let may_be_asked = match purpose {
            Purpose::Judged => self.facts().may_be_asked(&draft, span),
            Purpose::Callback(_) => true,
        };
        let is_limited = self.is_limited(&draft, span);
        let stream = self.workers[worker].send(request(&draft));
        self.check_alive(worker)?;
        let asked = self.find_calls(worker, Some((&draft, span)));
        if !asked.is_empty() && !may_be_asked {
            return Err(format!("request {number}: authentik is asked, and need not be: {asked:?}"));
        }
        if is_limited && asked.iter().any(|subject| matches!(subject, Subject::Password { .. })) {
            return Err(format!("request {number}: a guess was sent on beyond the limit"));
        }
        self.looks(worker, &draft, from);
        let waiting = Waiting { number, worker, stream, draft, from, purpose };
        match self.seen(worker, stream)? {
            Some(seen) => {
                self.decided(&waiting, &seen, false)?;
                Ok(Some(seen))
            }
            None if may_be_asked => {
                self.came_by("a request waits");
                if asked.is_empty() {
                    self.came_by("a request joins the call of another, or waits for its turn");
                    let draft = &waiting.draft;
                    if let (Some(provider), Some(subject)) =
                        (draft.host.provider, draft.authorization.subject())
                    {
                        self.history.queues(from, worker, provider, subject);
                    }
                }
                self.waiting.push(waiting);
                self.tally.most_waiting = self.tally.most_waiting.max(self.waiting.len());
                Ok(None)
            }
            None => Err(format!("request {number} waits, and authentik need not be asked")),
        }
    }

    fn is_limited(&self, draft: &Draft, span: Span) -> bool {
        match (draft.host.provider, draft.authorization.subject()) {
            (Some(provider), Some(subject)) => self.history.is_limited(&self.site, provider, subject, span),
            _ => false,
        }
    }

    /// What of a request a worker may look for in its caches.
    fn looks(&mut self, worker: WorkerId, draft: &Draft, at: Moment) {
        let Some(provider) = draft.host.provider else { return };
        let credential =
            draft.authorization.subject().map(|subject| (provider, Role::Credential, subject.clone()));
        let is_confirmed = self.site.providers[provider].revalidate > 0;
        let tokens = draft.sessions.iter().filter_map(|value| self.jar.find(provider, value));
        let tokens = tokens.filter(|_| is_confirmed);
        let sessions: Vec<_> =
            tokens.map(|cookie| (provider, Role::Session, self.facts().subject(cookie.token))).collect();
        for key in credential.into_iter().chain(sessions) {
            self.history.looks_at(at, worker, key);
        }
    }

    fn seen(&self, worker: WorkerId, stream: StreamId) -> Result<Option<Seen>> {
        let vm = &self.workers[worker];
        Ok(match vm.outcome(stream) {
            Outcome::Pending => None,
            Outcome::Forwarded { headers, body } => {
                Some(Seen::Forwarded { headers, body, trailers: vm.trailers(stream) })
            }
            Outcome::Replied { status, headers, grpc_status, .. } => {
                Some(Seen::Replied { status, headers, grpc_status })
            }
            Outcome::Failed => return Err("the worker's VM has failed".to_owned()),
        })
    }

    /// A request was decided.
    fn decided(&mut self, waiting: &Waiting, seen: &Seen, has_waited: bool) -> Result {
        let to = if has_waited { Moment { time: self.now(), event: self.event } } else { waiting.from };
        let stay = Stay { span: Span { worker: waiting.worker, from: waiting.from, to }, has_waited };
        let draft = &waiting.draft;
        let named = |what: String| format!("request {}: {what}", waiting.number);
        if let Purpose::Callback(code) = &waiting.purpose {
            return self.logged_in(draft, code, stay, seen).map_err(named);
        }
        let permitted = self.facts().permitted(draft, stay);
        let fitting = judge::judge(seen, &permitted, draft, &self.site, &self.authentik).map_err(named)?;
        let rows: BTreeSet<_> = fitting.iter().map(|it| it.row).collect();
        self.story.push(format!("    request {}: {rows:?}", waiting.number));
        if let [row] = rows.into_iter().collect::<Vec<_>>()[..] {
            *self.tally.rows.entry(row).or_default() += 1;
        }
        if self.is_bridged(draft, stay, seen) {
            self.came_by("a failure is bridged by what was known");
        }
        self.respond(waiting, stay, seen, &fitting).map_err(named)
    }

    /// Whether the credential goes on although authentik could not say.
    fn is_bridged(&self, draft: &Draft, stay: Stay, seen: &Seen) -> bool {
        let (Some(provider), Some(subject)) = (draft.host.provider, draft.authorization.subject()) else {
            return false;
        };
        let known = self.facts().knowledge(provider, Role::Credential, subject, stay.span);
        matches!(seen, Seen::Forwarded { .. }) && matches!(known.asked.last(), Some(Said::Failure { .. }))
    }

    /// The provider of a request that may wait for a word on this subject.
    pub(super) fn provider_of_waiting(&self, worker: WorkerId, subject: &Subject) -> Option<ProviderId> {
        let is_about = |waiting: &&Waiting| {
            let draft = &waiting.draft;
            let facts = self.facts();
            let is_session = |value: &String| {
                let cookie = draft.host.provider.and_then(|provider| self.jar.find(provider, value));
                cookie.is_some_and(|cookie| facts.subject(cookie.token) == *subject)
            };
            waiting.worker == worker
                && (draft.authorization.subject() == Some(subject) || draft.sessions.iter().any(is_session))
        };
        self.waiting.iter().find(is_about).and_then(|waiting| waiting.draft.host.provider)
    }

    /// Judges what was decided meanwhile.
    pub(super) fn collect(&mut self) -> Result {
        let mut place = 0;
        while let Some(waiting) = self.waiting.get(place) {
            self.check_alive(waiting.worker)?;
            match self.seen(waiting.worker, waiting.stream)? {
                Some(seen) => {
                    let waiting = self.waiting.remove(place);
                    self.decided(&waiting, &seen, true)?;
                }
                None if self.now() > waiting.from.time + LONGEST_WAIT => {
                    return Err(format!("request {} waits too long", waiting.number));
                }
                None => place += 1,
            }
        }
        Ok(())
    }

    /// What no callback had room for comes in the next: a tick that the worker asks for soon.
    pub(super) fn settle(&mut self) -> Result {
        for worker in 0..self.workers.len() {
            let period = self.workers[worker].tick_period();
            if period.is_some_and(|period| period < Duration::from_secs(1)) {
                self.workers[worker].tick();
                self.find_calls(worker, None);
            }
        }
        self.collect()?;
        self.workers.iter_mut().for_each(Vm::forget_finished);
        Ok(())
    }

    pub(super) fn check_alive(&self, worker: WorkerId) -> Result {
        match self.workers[worker].death() {
            Some(why) => Err(format!("worker {worker} has died: {why}")),
            None => Ok(()),
        }
    }

    /// No credential, cookie or secret of the configuration is in the log.
    pub(super) fn check_log(&mut self) -> Result {
        let mut secrets = std::mem::take(&mut self.secrets);
        secrets.extend(self.authentik.tokens.iter().map(|token| token.text.clone()));
        secrets.extend(self.jar.values().map(str::to_owned));
        for provider in &self.site.providers {
            secrets.push(super::site::client_secret(provider.slug));
            secrets.push(super::site::cookie_secret(provider.slug));
        }
        secrets.extend([PASSWORD_MARK, SEAL_VALUE].map(str::to_owned));
        secrets.sort();
        secrets.dedup();
        for line in self.world.log() {
            if let Some(secret) = secrets.iter().find(|secret| line.text.contains(secret.as_str())) {
                return Err(format!("the log shows {secret:?}: {}", line.text));
            }
        }
        Ok(())
    }
}

/// As the client sends it.
fn request(draft: &Draft) -> Request {
    let request = Request::new(&draft.headers);
    let request = match draft.body {
        Some(body) => request.with_body(body),
        None => request,
    };
    if draft.trailers.is_empty() { request } else { request.with_trailers(&draft.trailers) }
}
