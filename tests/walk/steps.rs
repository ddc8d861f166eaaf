//! The steps of a walk: a request comes, an answer comes or is lost, a client leaves, time passes, a browser logs in, the
//! truth changes.
//!
//! Owns: how often each is taken, and what it is made of. A step depends on its number and on what there is when it is
//! taken, on nothing else.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::authentik::{Code, Kind, PASSWORD_MARK};
use super::calls::Calls;
use super::credentials::Subject;
use super::judge::Seen;
use super::requests::Draft;
use super::run::{LONGEST_WAIT, Purpose, Result, Walk};
use super::site::{HOSTS, ProviderId};

/// How many of authentik's answers are failures, in percent: on good days and on bad ones.
const FAILING: u32 = 5;
const FAILING_BADLY: u32 = 80;

/// As many credentials are sent again and again.
const RECENT: usize = 6;

impl Walk {
    /// The step that this number stands for.
    pub(super) fn step(&mut self, number: u32) -> Result {
        let random = &mut StdRng::seed_from_u64(number.into());
        match random.gen_range(0..100) {
            0..=51 => {
                let (jar, recent, now) = (&self.jar, &self.recent, self.now());
                let draft = Draft::draw(&self.site, &self.authentik, jar, recent, now, random);
                self.recent.extend(draft.authorization.subject().cloned());
                self.recent.drain(..self.recent.len().saturating_sub(RECENT));
                self.send(usize::from(random.gen_bool(0.25)), draft, Purpose::Judged).map(drop)?;
            }
            52..=80 => {
                let is_slow = self.site.is_slow && random.gen_bool(0.8);
                if let Some(place) = self.calls.draw(random).filter(|_| !is_slow) {
                    self.answer_somehow(place, random)?;
                }
            }
            81 => self.leave(random)?,
            82..=87 => {
                // A call rarely takes as long as a minute.
                while let Some(place) = self.calls.draw(random).filter(|_| random.gen_bool(0.9)) {
                    self.answer_somehow(place, random)?;
                }
                let seconds = *[1, 1, 1, 2, 2, 3, 5, 9, 11, 20, 31, 61].choose(random).expect("some");
                self.pass(seconds)?;
            }
            88..=90 => self.log_in(random)?,
            91..=94 => self.change(random),
            95 => {
                if self.calls.lose(random) {
                    self.came_by("a call is lost");
                }
            }
            96 => self.answer_late(random)?,
            97 if random.gen_bool(0.5) => self.set_failing(FAILING_BADLY),
            _ => self.set_failing(FAILING),
        }
        self.settle()
    }

    fn answer_somehow(&mut self, place: usize, random: &mut StdRng) -> Result {
        let failing = random.gen_ratio(self.failing, 100).then(|| Calls::failure(random));
        self.answer(place, failing, random)
    }

    fn set_failing(&mut self, percent: u32) {
        self.failing = percent;
        self.tell(format!("authentik fails {percent} % of the calls"));
    }

    /// Time passes: calls come to their timeout, what is lost is given up.
    fn pass(&mut self, seconds: u64) -> Result {
        self.tell(format!("{seconds} seconds pass"));
        let mut left = seconds;
        while left > 0 {
            let pace = if self.calls.is_empty() && self.waiting.is_empty() { left.min(10) } else { 1 };
            self.world.advance(Duration::from_secs(pace));
            left -= pace;
            self.time_out()?;
            for worker in 0..self.workers.len() {
                self.give_up(worker);
                self.workers[worker].tick();
                self.find_calls(worker, None);
                self.collect()?;
            }
        }
        Ok(())
    }

    /// What is still under way comes to its end, and the log is looked through.
    pub(super) fn end(&mut self) -> Result {
        self.calls.lose_all();
        self.pass(LONGEST_WAIT + 10)?;
        if let Some(waiting) = self.waiting.first() {
            return Err(format!("request {} waits for ever", waiting.number));
        }
        self.check_log()
    }

    fn leave(&mut self, random: &mut StdRng) -> Result {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = self.waiting.remove(random.gen_range(0..self.waiting.len()));
        self.tell(format!("the client of request {} leaves", waiting.number));
        self.came_by("a client leaves while it waits");
        self.workers[waiting.worker].disconnect(waiting.stream);
        self.check_alive(waiting.worker)
    }

    /// A browser goes through the login flow.
    fn log_in(&mut self, random: &mut StdRng) -> Result {
        let provider: ProviderId = random.gen_range(0..self.site.providers.len());
        let user = random.gen_range(0..self.authentik.users.len());
        let external = self.site.providers[provider].external_host.trim_start_matches("https://");
        let host = HOSTS
            .iter()
            .find(|host| {
                host.spelling == external
                    || (host.provider == Some(provider) && host.spelling == "wiki.corp.test")
            })
            .expect("in the table");
        let worker = random.gen_range(0..2);
        let start = Draft::plain(host, "/", Vec::new());
        let Some(Seen::Replied { headers, .. }) = self.send(worker, start, Purpose::Judged)? else {
            return Err("a login does not begin".to_owned());
        };
        let text = |name: &str| String::from_utf8_lossy(headers.get(name).unwrap_or_default()).into_owned();
        let location = text("location");
        let parameter = |name: &str| {
            let query = location.split_once('?').map_or("", |(_, query)| query).as_bytes();
            let found = form_urlencoded::parse(query).find(|(other, _)| other == name);
            found.map(|(_, value)| value.into_owned()).ok_or(format!("a login without {name}"))
        };
        let (state, nonce) = (parameter("state")?, parameter("nonce")?);
        let cookie = text("set-cookie").split(';').next().unwrap_or_default().to_owned();
        let code = format!("code-{nonce}");
        let slug = self.site.providers[provider].slug;
        self.authentik.codes.push(Code { code: code.clone(), slug, user, nonce });
        self.tell(format!(
            "{} logs in at {}",
            self.authentik.users[user].name, self.site.providers[provider].name
        ));
        let path = format!(
            "/outpost.goauthentik.io/callback?X-authentik-auth-callback=true&code={code}&state={state}"
        );
        let mut callback = Draft::plain(
            host,
            "/outpost.goauthentik.io/callback",
            vec![("cookie".to_owned(), cookie.into_bytes())],
        );
        for (name, value) in &mut callback.headers {
            match name.as_str() {
                ":path" => *value = path.clone().into_bytes(),
                ":authority" => *value = external.as_bytes().to_vec(),
                _ => {}
            }
        }
        let purpose = Purpose::Callback(Subject::Code(code));
        self.send(random.gen_range(0..2), callback, purpose).map(drop)
    }

    /// The truth changes.
    fn change(&mut self, random: &mut StdRng) {
        let now = self.now();
        let place = random.gen_range(0..self.authentik.users.len());
        let user = &mut self.authentik.users[place];
        let what = match random.gen_range(0..10) {
            0..=2 => {
                user.password = format!("{}-{PASSWORD_MARK}-{}", user.name, random.gen_range(0..3));
                format!("{} has the password {}", user.name, user.password)
            }
            3..=4 => {
                user.is_enabled = !user.is_enabled;
                format!("{} is {}", user.name, if user.is_enabled { "enabled" } else { "disabled" })
            }
            5..=6 => {
                let tokens = &mut self.authentik.tokens;
                let place = tokens.len() - 1 - random.gen_range(0..tokens.len().min(12));
                tokens[place].is_revoked = true;
                format!("token {place} is revoked")
            }
            _ => {
                let kinds = [Kind::Genuine, Kind::Genuine, Kind::Genuine, Kind::Opaque, Kind::UnknownKey];
                let slug = *["app", "corp", "checked"].choose(random).expect("some");
                let kind = *kinds.choose(random).expect("some");
                let life = *[20, 60, 300, 3000].choose(random).expect("some");
                let token = self.authentik.mint(kind, slug, place, now + life, None, now);
                format!("token {token}, {kind:?}, of {slug}, for {life} seconds")
            }
        };
        self.tell(what);
    }
}
