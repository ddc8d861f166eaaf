//! The doctor at work: when each provider's discovery is fetched, and by which worker.
//!
//! Owns: one round over all providers for each configuration and Envoy, and the entry in shared data that says who makes it: until
//! when (8 bytes), for which configuration (8), and which worker (8). Whoever holds it fetches and logs, and nobody does once it
//! says that all is done. Their number is fixed, since shared data knows no deletion; two configurations may have to share one. A round never comes before a provider's key set, and a fetch that fails is not repeated: the key set
//! has a warning of its own.
//! Must not: compare, or know how a call is sent.

use core::fmt::Write as _;
use std::rc::Rc;

use crate::authn::authentik::call::Answer;
use crate::authn::authentik::discovery;
use crate::authn::doctor;
use crate::authn::env::lease::LEASE_SECONDS;
use crate::authn::env::{Env, Shared};
use crate::authn::provider::Provider;
use crate::base::time::Timestamp;
use crate::config::Config;

/// How long after its first tick a worker begins, in seconds: requests that a restart has made wait come first.
const DELAY_SECONDS: u64 = 5;

/// In place of a worker, once all is done.
const DONE: [u8; 8] = *b"all done";

/// The round over the providers, as this worker sees it.
pub(crate) struct Checkup {
    /// Of the shared entry.
    name: String,
    /// Of the configuration. Follows no secret, so that a new secret is no reason to begin again.
    digest: String,
    begins: Option<Timestamp>,
    /// Those that the next round is for.
    due: Vec<Rc<Provider>>,
    state: State,
}

enum State {
    /// Another worker has the entry, or nobody.
    Idle,
    Working(Round),
    Done,
}

/// A worker's round.
struct Round {
    /// Tells this worker from others, in the shared entry.
    holder: [u8; 8],
    left: Vec<Rc<Provider>>,
    /// Whose discovery is on its way.
    asked: Option<Rc<Provider>>,
    /// Whether every answer so far has come and agrees.
    is_well: bool,
    /// Whether the log says already that the clocks differ: they are the same for every provider.
    told_clock: bool,
}

impl Checkup {
    pub(crate) fn new(config: &Config, providers: &[Rc<Provider>]) -> Self {
        let digest = config.public_digest.clone();
        let slot = digest.get(..2).unwrap_or_default();
        let name = format!("authentik-proxy-wasm/2/doctor/{slot}");
        Self { name, digest, begins: None, due: providers.to_vec(), state: State::Idle }
    }

    /// These have begun with a list of this version, and only `all` are left: one more round.
    pub(crate) fn add(&mut self, begun: Vec<Rc<Provider>>, all: &[Rc<Provider>], version: String) {
        if !begun.is_empty() {
            if let State::Working(round) = core::mem::replace(&mut self.state, State::Idle) {
                self.due.extend(round.left);
            }
            self.due.extend(begun);
            self.digest = version;
            self.begins = None;
        }
        self.due.retain(|provider| all.iter().any(|other| Rc::ptr_eq(other, provider)));
    }

    /// One tick. The provider whose discovery is to be fetched now.
    pub(crate) fn tick(&mut self, env: &Env<'_>) -> Option<Rc<Provider>> {
        let begins = *self.begins.get_or_insert_with(|| env.now.plus(DELAY_SECONDS));
        if env.now < begins {
            return None;
        }
        self.hold(env);
        self.next()
    }

    /// What came of a fetch. The provider whose discovery is to be fetched next.
    pub(crate) fn answered(
        &mut self,
        config: &Config,
        env: &Env<'_>,
        provider: &Rc<Provider>,
        answer: &Answer,
    ) -> Option<Rc<Provider>> {
        // Another worker may have begun again meanwhile; then the lines are its to log.
        self.hold(env);
        let State::Working(round) = &mut self.state else { return None };
        if round.asked.take().is_some_and(|asked| Rc::ptr_eq(&asked, provider)) {
            round.left.retain(|left| !Rc::ptr_eq(left, provider));
            round.is_well &= round.agrees(config, env, provider, answer);
        }
        if round.left.is_empty() {
            if round.is_well {
                log::info!("authentik agrees with the configuration of every provider: issuer and keys");
            }
            env.host.share(&self.name, &self.content(0, DONE));
            self.done();
        }
        self.next()
    }

    /// Takes the shared entry if nobody has it, and keeps it while this worker has. Begins with what is due.
    #[inline(never)]
    fn hold(&mut self, env: &Env<'_>) {
        let entry = match &self.state {
            State::Idle if self.due.is_empty() => return,
            State::Done => return,
            State::Idle | State::Working(_) => self.entry(env),
        };
        // Shared data is not to be had: every worker is on its own.
        let Some(entry) = entry else {
            self.begin([0; 8]);
            return;
        };
        let holder = match &self.state {
            State::Working(round) => round.holder,
            State::Idle | State::Done => {
                let mut holder = [0; 8];
                env.host.random(&mut holder);
                holder
            }
        };
        let (until, content) = entry.value.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let until = u64::from_be_bytes(*until);
        let is_of = |holder| self.content(until, holder).get(8..) == Some(content);
        let is_held = (1..=LEASE_SECONDS).contains(&Timestamp::from_seconds(until).since(env.now));
        if is_of(DONE) {
            self.done();
        } else if is_held && !is_of(holder) {
            self.state = State::Idle;
        } else {
            let until = env.now.plus(LEASE_SECONDS).seconds();
            if env.host.share_if(&self.name, &self.content(until, holder), entry.version) {
                self.begin(holder);
            } else {
                self.state = State::Idle;
            }
        }
    }

    fn done(&mut self) {
        self.due.clear();
        self.state = State::Done;
    }

    #[inline(never)]
    fn content(&self, until: u64, holder: [u8; 8]) -> Vec<u8> {
        [&until.to_be_bytes(), self.digest.as_bytes(), &holder].concat()
    }

    #[inline(never)]
    fn begin(&mut self, holder: [u8; 8]) {
        if matches!(self.state, State::Idle) && !self.due.is_empty() {
            let left = self.due.clone();
            self.state =
                State::Working(Round { holder, left, asked: None, is_well: true, told_clock: false });
        }
    }

    /// The shared entry. Compare-and-set creates a missing one for everyone who tries, so it is created first.
    fn entry(&self, env: &Env<'_>) -> Option<Shared> {
        env.host.shared(&self.name).or_else(|| {
            env.host.share(&self.name, &[0; 8]);
            env.host.shared(&self.name)
        })
    }

    #[inline(never)]
    fn next(&mut self) -> Option<Rc<Provider>> {
        let State::Working(round) = &mut self.state else { return None };
        if round.asked.is_some() {
            return None;
        }
        let has_keys = |provider: &&Rc<Provider>| provider.key_ring.borrow().fetched_at().is_some();
        round.asked = round.left.iter().find(has_keys).cloned();
        round.asked.clone()
    }
}

impl Round {
    /// Whether authentik agrees; the log says where it does not.
    fn agrees(&mut self, config: &Config, env: &Env<'_>, provider: &Provider, answer: &Answer) -> bool {
        let Ok(discovery) = discovery::read(answer) else { return false };
        let clocks_agree = self.clocks_agree(config, env, answer);
        let key_ring = provider.key_ring.borrow();
        let Some(keys) = key_ring.current(env.now, &config.jwks) else { return false };
        let findings = doctor::compare(config, &provider.settings, &discovery, keys);
        if findings.is_empty() {
            return clocks_agree;
        }
        let mut text = String::new();
        for finding in findings {
            let separator = if text.is_empty() { "" } else { "; " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}{finding}");
        }
        log::warn!("{}: {text}", provider.settings.name);
        false
    }

    fn clocks_agree(&mut self, config: &Config, env: &Env<'_>, answer: &Answer) -> bool {
        let Answer::Response { date: Some(date), .. } = answer else { return true };
        let Some(finding) = doctor::clock(config, *date, env.now) else { return true };
        if !core::mem::replace(&mut self.told_clock, true) {
            log::warn!("{finding}");
        }
        false
    }
}
