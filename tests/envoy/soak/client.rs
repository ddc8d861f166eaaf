//! One client: it sends one request after the other, of kinds that it draws, and waits for each answer. Owns the way
//! that every request goes, from the ledger to the wire and back, whatever carries it; the kinds are in the files beside.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use reqwest::blocking;

use super::super::wire::{Answer, Request};
use super::expectation::{Expected, NUMBER, Outcome};
use super::site::{HS, Site};
use super::{browsers, credentials, crowds, transport};
use crate::browser::navigator::Navigator;
use crate::module::fixture::Dice;

/// One turn in this time, as far as answers come in time: two cores are shared with all the rest.
const PACE: Duration = Duration::from_millis(60);

/// One crowd in this time.
const CROWD_PACE: Duration = Duration::from_secs(1);

/// One request or a few that belong together, and how often in all.
type Kind = (usize, fn(&mut Client<'_>));

const KINDS: &[Kind] = &[
    (8, credentials::basic),
    (4, credentials::newcomer),
    (12, credentials::bearer),
    (4, credentials::token_user),
    (4, credentials::wrong_password),
    (8, credentials::bad_token),
    (3, credentials::withdrawn_key),
    (5, credentials::hostile),
    (2, credentials::several),
    (4, credentials::spoofed),
    (3, credentials::without_interception),
    (4, credentials::revalidated),
    (5, credentials::leaver),
    (4, browsers::new_session),
    (6, browsers::replayed_session),
    (3, browsers::session_beside_a_credential),
    (4, browsers::tampered_session),
    (3, browsers::malformed_cookie),
    (4, browsers::browse),
    (3, transport::open_path),
    (4, transport::near_miss),
    (4, transport::upload),
    (2, transport::expect_continue),
    (4, transport::disconnect),
    (3, transport::multiplexed),
    (3, transport::kept_connection),
    (2, transport::preflight),
    (3, transport::grpc),
    (2, transport::websocket),
];

/// A token that is sent again, and when it was good.
pub(super) struct Pooled {
    pub(super) host: &'static str,
    pub(super) username: String,
    pub(super) token: String,
    pub(super) epoch: u64,
}

pub(super) struct Client<'a> {
    pub(super) site: &'a Site,
    pub(super) port: u16,
    pub(super) dice: Dice,
    pub(super) tokens: Vec<Pooled>,
    /// Browsers that have logged in.
    pub(super) browsers: Vec<(String, Navigator)>,
    pub(super) http2: blocking::Client,
    name: String,
    turn: u64,
    /// When this turn began: whatever changes from now on may meet its requests.
    born: Instant,
}

impl<'a> Client<'a> {
    pub(super) fn new(site: &'a Site, port: u16, name: String, seed: u64) -> Self {
        let http2 = blocking::Client::builder().no_proxy().http2_prior_knowledge();
        let http2 = http2.redirect(reqwest::redirect::Policy::none());
        Self {
            site,
            port,
            dice: Dice::new(seed),
            tokens: Vec::new(),
            browsers: Vec::new(),
            http2: http2.resolve("h2.domain.test", ([127, 0, 0, 1], port).into()).build().expect("a client"),
            name,
            turn: 0,
            born: Instant::now(),
        }
    }

    pub(super) fn run(mut self, stop: &AtomicBool) {
        let weights: usize = KINDS.iter().map(|(weight, _)| weight).sum();
        while !stop.load(Ordering::Relaxed) {
            self.begin_turn();
            let mut drawn = self.dice.below(weights);
            let mut kinds = KINDS.iter();
            let kind = loop {
                let (weight, kind) = kinds.next().expect("a kind for every number");
                match drawn.checked_sub(*weight) {
                    Some(rest) => drawn = rest,
                    None => break kind,
                }
            };
            self.take_turn(*kind);
            sleep(PACE.saturating_sub(self.born.elapsed()));
        }
    }

    /// One crowd after the other.
    pub(super) fn run_crowds(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.begin_turn();
            self.take_turn(crowds::crowd);
            sleep(CROWD_PACE.saturating_sub(self.born.elapsed()));
        }
    }

    fn take_turn(&mut self, kind: fn(&mut Client<'_>)) {
        // What a client's own code makes of an answer that it cannot read.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| kind(self))) {
            let reason = text_of(panic.as_ref());
            self.site.ledger.fault(format!("{}, turn {}: {reason}", self.name, self.turn));
        }
    }

    /// What is drawn from now on may be met by whatever happens from now on.
    pub(super) fn begin_turn(&mut self) {
        self.turn += 1;
        self.born = Instant::now();
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.dice.below(choices.len())]
    }

    /// Writes a request into the ledger, before it is sent: its number.
    pub(super) fn begin(&self, kind: &'static str, what: &str, expected: Expected) -> u64 {
        let what = format!("{what} ({}, turn {})", self.name, self.turn);
        self.site.ledger.begin(kind, what, expected, self.born)
    }

    /// Sends something in any way and lets the ledger know what came of it.
    pub(super) fn judged<T>(
        &self,
        (kind, what): (&'static str, &str),
        expected: Expected,
        send: impl FnOnce(u64) -> Result<(Outcome, T), String>,
    ) -> Option<T> {
        let number = self.begin(kind, what, expected);
        let result = catch_unwind(AssertUnwindSafe(|| send(number)));
        let result = result.unwrap_or_else(|panic| Err(text_of(panic.as_ref())));
        self.site.ledger.answered(number, result.as_ref().map(|(it, _)| it.clone()).map_err(String::clone));
        result.ok().map(|(_, value)| value)
    }

    /// The same for a request that is written to a connection of its own.
    pub(super) fn send(
        &self,
        kind: &'static str,
        what: &str,
        expected: Expected,
        request: Request,
    ) -> Option<Answer> {
        self.judged((kind, what), expected, |number| {
            let answer = request.header(NUMBER, number.to_string()).send();
            Outcome::of(&answer, number).map(|outcome| (outcome, answer))
        })
    }

    pub(super) fn request(&self, method: &str, host: &str, target: impl AsRef<[u8]>) -> Request {
        Request::new(self.port, method, target).host(host)
    }

    pub(super) fn get(&self, host: &str) -> Request {
        self.request("GET", host, "/")
    }

    /// A browser's request.
    pub(super) fn visit(
        &self,
        (kind, what): (&'static str, &str),
        expected: Expected,
        browser: &mut Navigator,
        url: &str,
    ) -> Option<crate::browser::navigator::Answer> {
        assert!(url.starts_with(&format!("http://{HS}/")), "not the application's");
        let port = self.port;
        self.judged((kind, what), expected, |number| {
            let number_text = number.to_string();
            let headers = [("accept", "text/html,*/*;q=0.8"), (NUMBER, number_text.as_str())];
            let answer = browser.send(port, reqwest::Method::GET, url, &headers);
            let outcome = match answer.status {
                200 => Outcome::shown(&answer.body, number)?,
                status => Outcome::Status(status),
            };
            Ok((outcome, answer))
        })
    }
}

/// What a panic says.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
