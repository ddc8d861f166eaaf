//! What happens while clients go on: authentik fails and comes back, keys and secrets change, users leave, the
//! configuration is replaced. Owns the order of things: a window opens before its cause, and closes when it is seen
//! that the effect has reached every worker.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::Ordering;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use fake_authentik::{Fault, Gate, Generation, Key, TokenSpec};
use local_envoy::Envoy;
use loopback::header_values;
use serde_json::json;

use super::super::wire::{Connection, basic, bearer};
use super::browsers::cookies_of;
use super::client::Client;
use super::credentials::judged_as;
use super::expectation::{Aspect, Expected, NUMBER, Outcome};
use super::site::{ES, HS, LAX, LOCAL, Leaver, REVALIDATE, REVALIDATED, RS, Settings, USERS};

/// How long anything may take that has been set going.
const PATIENCE: Duration = Duration::from_secs(90);

/// So many connections for each worker: that the kernel gives one of four workers none of them happens once in ten
/// million times.
const CONNECTIONS: u32 = 16;

/// What `revalidate_seconds` may be late by: the filter's clock has whole seconds.
const SLACK: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    KeysSwapped,
    SecretReplaced,
    HeadersReplaced,
    BrokenConfiguration,
    UserDisabled,
    Refusing,
    Failing,
    Garbled,
    CutOff,
    Hanging,
}

impl Event {
    pub(super) const ALL: [Self; 10] = [
        Self::KeysSwapped,
        Self::HeadersReplaced,
        Self::Refusing,
        Self::UserDisabled,
        Self::BrokenConfiguration,
        Self::Failing,
        Self::SecretReplaced,
        Self::Garbled,
        Self::CutOff,
        Self::Hanging,
    ];
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::KeysSwapped => "key pair swapped",
            Self::SecretReplaced => "client secret replaced",
            Self::HeadersReplaced => "configuration replaced",
            Self::BrokenConfiguration => "broken configuration refused",
            Self::UserDisabled => "user disabled",
            Self::Refusing => "outage: connects refused",
            Self::Failing => "outage: server errors",
            Self::Garbled => "outage: garbage",
            Self::CutOff => "outage: connections cut",
            Self::Hanging => "outage: no answers",
        })
    }
}

/// Lets things happen to one Envoy.
pub(super) struct Stage<'a> {
    pub(super) envoy: &'a Envoy,
    /// What this thread asks is judged like everything else.
    pub(super) client: Client<'a>,
    pub(super) workers: u32,
    /// How long an outage lasts at least.
    pub(super) outage: Duration,
}

impl Stage<'_> {
    /// One thing happens, and has taken effect.
    pub(super) fn happen(&mut self, event: Event) -> Result<(), String> {
        self.client.begin_turn();
        match event {
            Event::KeysSwapped => self.swap_keys(),
            Event::SecretReplaced => self.replace_secret(),
            Event::HeadersReplaced => self.replace_headers(),
            Event::BrokenConfiguration => self.break_configuration(),
            Event::UserDisabled => self.disable_user(),
            Event::Refusing => self.go_down(),
            Event::Failing => self.fail_with(Fault::ServerError405),
            Event::Garbled => self.fail_with(Fault::Garbage),
            Event::CutOff => self.fail_with(Fault::ResetMidBody),
            Event::Hanging => self.hang(),
        }
    }

    fn swap_keys(&mut self) -> Result<(), String> {
        let site = self.client.site;
        site.weather.begin(Aspect::Keys);
        let generation = {
            let authentik = site.authentik.read().unwrap();
            let mut generation = Generation::A;
            authentik.edit_provider("es", |provider| generation = provider.generation);
            authentik.rotate("es");
            site.epoch.fetch_add(1, Ordering::SeqCst);
            generation
        };
        let (newer, older) = (Outcome::named("alice"), Outcome::Status(401));
        let expected = Expected::only(newer.clone()).during(Aspect::Keys, older.clone());
        self.sweep("keys, the new ones", ES, &expected, &newer, &mut |client| {
            client.site.issue(ES, "alice")
        })?;
        let expected = Expected::only(older.clone()).during(Aspect::Keys, newer);
        self.sweep("keys, the old ones", ES, &expected, &older, &mut |client| {
            let spec = TokenSpec::new().signed_by(Key::Es256(generation));
            client.site.mint(ES, spec)
        })?;
        site.weather.end(Aspect::Keys);
        Ok(())
    }

    fn replace_headers(&mut self) -> Result<(), String> {
        let next = self.client.site.settings.lock().unwrap().with_other_headers();
        self.reconfigure(next)
    }

    fn replace_secret(&mut self) -> Result<(), String> {
        let site = self.client.site;
        site.weather.begin(Aspect::Secret);
        site.authentik.read().unwrap().rotate("demo");
        site.epoch.fetch_add(1, Ordering::SeqCst);
        let next = site.settings.lock().unwrap().with_other_secret();
        self.reconfigure(next)?;
        site.weather.end(Aspect::Secret);
        Ok(())
    }

    /// Every worker judges by the new configuration, and has what it needs to judge alone.
    fn reconfigure(&mut self, next: Settings) -> Result<(), String> {
        let site = self.client.site;
        site.weather.may_be(next.name());
        *site.settings.lock().unwrap() = next;
        self.envoy.reconfigure(&site.configuration(next).to_string());
        for host in LOCAL.into_iter().chain([REVALIDATED]) {
            let expected = judged_as(host, "alice");
            let is_new = |outcome: &Outcome, configuration: &str| {
                *outcome == Outcome::named("alice") && configuration == next.name()
            };
            self.sweep_until("configuration", host, &expected, &is_new, &mut |client| {
                client.site.issue(host, "alice")
            })?;
        }
        site.weather.is_only(next.name());
        Ok(())
    }

    fn break_configuration(&mut self) -> Result<(), String> {
        let site = self.client.site;
        let settings = *site.settings.lock().unwrap();
        let mut broken = site.configuration(settings.with_other_headers());
        match self.client.dice.below(3) {
            0 => broken["providers"][0]["client_secret"] = json!({"env": "NOT_THERE"}),
            1 => broken["providers"][1]["cookie_secret"] = json!("short"),
            _ => broken["extra"] = json!(true),
        }
        let mut text = broken.to_string();
        if self.client.dice.below(3) == 0 {
            text.truncate(text.len() / 2);
        }
        let refused = || self.refused_configurations();
        let before = refused()?;
        self.envoy.reconfigure(&text);
        self.eventually("Envoy refuses a broken configuration", || Ok(refused()? > before))?;
        // No window was opened: whoever is judged by it is judged wrongly.
        sleep(Duration::from_millis(500));
        Ok(())
    }

    fn refused_configurations(&self) -> Result<u64, String> {
        let stats = self.envoy.stats("extension_config_discovery.*(update_rejected|config_fail)$");
        if stats.is_empty() {
            Err("Envoy does not count refused configurations".to_owned())
        } else {
            Ok(stats.values().sum())
        }
    }

    fn disable_user(&mut self) -> Result<(), String> {
        let site = self.client.site;
        let (username, authorization) = site.newcomer();
        let token = bearer(&site.issue(REVALIDATED, &username));
        let request = self.client.get(REVALIDATED).authorization(&token);
        let expected = Expected::user(&username);
        let answer = self.client.send("user, still enabled", &username, expected, request);
        let cookie = answer.as_ref().and_then(cookies_of).ok_or("no session for who is about to leave")?;
        let credentials = [authorization, token];
        let leaver = Leaver { username: username.clone(), credentials, cookie, has_left: false };
        *site.leaver.write().unwrap() = Some(leaver.clone());
        sleep(Duration::from_secs(REVALIDATE));

        site.weather.begin(Aspect::Leaving);
        site.authentik.read().unwrap().disable_user(&username);
        let window = Duration::from_secs(REVALIDATE) + SLACK;
        site.weather.end_after(Aspect::Leaving, window);
        site.leaver.write().unwrap().as_mut().expect("the leaver").has_left = true;
        sleep(window + Duration::from_millis(100));
        self.client.begin_turn();
        for _ in 0..4 * self.workers {
            let get = || self.client.get(REVALIDATED).header("accept", "application/json");
            let requests = leaver.credentials.iter().map(|it| get().authorization(it));
            for request in requests.chain([get().header("cookie", &leaver.cookie)]) {
                self.client.send("user, disabled", &username, Expected::status(401), request);
            }
        }
        Ok(())
    }

    fn go_down(&mut self) -> Result<(), String> {
        let site = self.client.site;
        site.weather.begin(Aspect::Outage);
        site.authentik.write().unwrap().down();
        self.live_through()?;
        site.authentik.write().unwrap().up();
        self.recover()
    }

    fn fail_with(&mut self, fault: Fault) -> Result<(), String> {
        let site = self.client.site;
        site.weather.begin(Aspect::Outage);
        site.authentik.read().unwrap().fault("/", fault);
        self.live_through()?;
        site.authentik.read().unwrap().clear_faults();
        self.recover()
    }

    /// Until a call was given up; then what hangs is answered after all.
    fn hang(&mut self) -> Result<(), String> {
        let gate = Gate::closed();
        let site = self.client.site;
        site.weather.begin(Aspect::Outage);
        site.authentik.read().unwrap().fault("/", Fault::Held(gate.clone()));
        self.live_through()?;
        site.authentik.read().unwrap().clear_faults();
        gate.open();
        self.recover()
    }

    /// Who can be judged without authentik is, nobody else passes, and nobody is refused for it.
    fn live_through(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            self.client.begin_turn();
            let (user, authorization) = self.client.site.newcomer();
            let unavailable = Expected::status(503);
            let host = self.client.pick(&[HS, RS, ES]);
            let client = &self.client;
            let newcomer = client.get(host).authorization(authorization);
            let guess = client.get(host).authorization(basic(&user, "wrong-app-password"));
            // Each waits for as long as a call may take.
            thread::scope(|scope| {
                scope.spawn(|| client.send("outage, newcomer", &user, unavailable.clone(), newcomer));
                scope.spawn(|| client.send("outage, wrong password", &user, unavailable.clone(), guess));
            });
            for host in LOCAL {
                let user = self.client.pick(&USERS);
                let request =
                    self.client.get(host).authorization(bearer(&self.client.site.issue(host, user)));
                self.client.send(
                    "outage, token",
                    &format!("{user} at {host}"),
                    Expected::user(user),
                    request,
                );
            }
            if start.elapsed() >= self.outage {
                return Ok(());
            }
        }
    }

    /// authentik answers again: what was asked of it before is over, and every worker has heard of it. What a client
    /// that has gone had asked may go on; nobody else has such a credential.
    fn recover(&mut self) -> Result<(), String> {
        let site = self.client.site;
        let back = Instant::now();
        self.eventually("what was asked in the outage is answered", || {
            Ok(!site.ledger.awaits_answers_from_before(back))
        })?;
        for host in [HS, RS, ES] {
            let expected = Expected::status(401).asked();
            self.sweep("recovery, a kid of nobody", host, &expected, &Outcome::Status(401), &mut |client| {
                let kid = format!("kid-{}", client.dice.next());
                // A key pair where there is none: it may be new.
                let key = if host == ES { Key::Es256(Generation::A) } else { Key::Rs256(Generation::A) };
                client.site.mint(host, TokenSpec::new().signed_by(key).header("kid", kid))
            })?;
        }
        // Each worker fetches the keys of each provider after a pause of its own.
        for host in [LAX, REVALIDATED] {
            let [user, ..] = USERS;
            let expected = Expected::user(user).asked();
            self.sweep("recovery, token", host, &expected, &Outcome::named(user), &mut |client| {
                client.site.issue(host, user)
            })?;
        }
        for host in [HS, RS, ES, LAX, REVALIDATED] {
            self.eventually("newcomers are let in again", || {
                let (user, authorization) = site.newcomer();
                let expected = Expected::user(&user).asked();
                let request = self.client.get(host).authorization(authorization);
                let answer = self.client.send("recovery, newcomer", &user, expected, request);
                Ok(answer.is_some_and(|answer| answer.status == 200))
            })?;
        }
        site.weather.end(Aspect::Outage);
        Ok(())
    }

    /// Asks with tokens over so many connections that every worker answers, until all give this outcome.
    fn sweep(
        &mut self,
        what: &'static str,
        host: &'static str,
        expected: &Expected,
        last: &Outcome,
        token: &mut dyn FnMut(&mut Client<'_>) -> String,
    ) -> Result<(), String> {
        self.sweep_until(what, host, expected, &|outcome, _| outcome == last, token)
    }

    fn sweep_until(
        &mut self,
        what: &'static str,
        host: &'static str,
        expected: &Expected,
        is_last: &dyn Fn(&Outcome, &str) -> bool,
        token: &mut dyn FnMut(&mut Client<'_>) -> String,
    ) -> Result<(), String> {
        let start = Instant::now();
        let mut connections: Vec<_> =
            (0..CONNECTIONS * self.workers).map(|_| Connection::open(self.client.port)).collect();
        loop {
            let mut all = true;
            self.client.begin_turn();
            // One for all: what one worker knows of a token, the others do not.
            let authorization = bearer(&token(&mut self.client));
            for connection in &mut connections {
                let heard = self.client.judged((what, host), expected.clone(), |number| {
                    let number_text = number.to_string();
                    let headers = [(NUMBER, number_text.as_str()), ("authorization", authorization.as_str())];
                    let answer = connection.get_with(host, &headers);
                    let outcome = Outcome::of(&answer, number)?;
                    let is_shown = outcome.is_forwarded();
                    let configuration =
                        is_shown.then(|| header_values(&answer.json(), "x-authentik-meta-outpost"));
                    Ok((outcome.clone(), (outcome, configuration.unwrap_or_default().concat())))
                });
                let (outcome, configuration) = heard.ok_or_else(|| format!("{what}: a connection broke"))?;
                all &= is_last(&outcome, &configuration);
            }
            if all {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("not within {PATIENCE:?} in every worker: {what}, {host}"));
            }
            sleep(Duration::from_millis(100));
        }
    }

    fn eventually(&self, what: &str, mut is_so: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
        let start = Instant::now();
        while !is_so()? {
            if start.elapsed() > PATIENCE {
                return Err(format!("not within {PATIENCE:?}: {what}"));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// What happens next: a list that is begun again, or one that ends.
pub(super) struct Programme {
    events: VecDeque<Event>,
    is_endless: bool,
}

impl Programme {
    pub(super) fn of(events: &[Event]) -> Self {
        Self { events: events.iter().copied().collect(), is_endless: false }
    }

    pub(super) fn endless() -> Self {
        Self { events: Event::ALL.into(), is_endless: true }
    }

    pub(super) const fn is_endless(&self) -> bool {
        self.is_endless
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if self.is_endless {
            self.events.push_back(event);
        }
        Some(event)
    }
}
