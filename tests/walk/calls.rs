//! The calls to authentik that are out, and their answers, in any order.
//!
//! Owns: what each call is about, its timeout, and what is written into the history of it.

use proxy_wasm_testkit::{CallAnswer, CallId, HttpCall};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::authentik::{Authentik, FAILURES, Failure};
use super::credentials::Subject;
use super::history::{Role, Said, Span, WorkerId};
use super::requests::Draft;
use super::run::{Result, Walk};
use super::site::{CALL_TIMEOUT, ProviderId};

/// After so many seconds without an answer a call is given up.
const PATIENCE: u64 = CALL_TIMEOUT + 2;

/// Another authentik's: whatever it says, no decision follows from it.
const DISCOVERY: &str =
    r#"{"issuer": "https://other.test/", "id_token_signing_alg_values_supported": ["none"]}"#;

/// Whom a word is written down for that came too late: no worker.
const NOBODY: WorkerId = usize::MAX;

#[derive(Clone)]
enum About {
    Keys(&'static str),
    /// The doctor's: it changes nothing.
    Discovery,
    Asked {
        provider: ProviderId,
        role: Option<Role>,
        subject: Subject,
    },
}

#[derive(Clone)]
struct Call {
    worker: WorkerId,
    id: CallId,
    about: About,
    sent: u64,
    /// No answer comes, not even Envoy's own.
    is_lost: bool,
}

/// What is out.
#[derive(Default)]
pub(super) struct Calls {
    out: Vec<Call>,
    given_up: Vec<Call>,
    /// The last call of each worker that is known.
    last: [Option<CallId>; 2],
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    pub(super) fn any(&self, worker: WorkerId) -> Option<usize> {
        self.out.iter().position(|call| call.worker == worker)
    }

    /// One whose answer may come now.
    pub(super) fn draw(&self, random: &mut StdRng) -> Option<usize> {
        let places: Vec<_> = (0..self.out.len()).filter(|place| !self.out[*place].is_lost).collect();
        places.choose(random).copied()
    }

    pub(super) fn failure(random: &mut StdRng) -> Failure {
        if random.gen_bool(0.15) { Failure::InvalidClient } else { *FAILURES.choose(random).expect("some") }
    }

    /// Whether there was one to lose.
    pub(super) fn lose(&mut self, random: &mut StdRng) -> bool {
        let place = self.draw(random);
        if let Some(place) = place {
            self.out[place].is_lost = true;
        }
        place.is_some()
    }

    pub(super) fn lose_all(&mut self) {
        for call in &mut self.out {
            call.is_lost = true;
        }
    }
}

impl Walk {
    /// Notes the calls that a worker has sent since; those that are not for keys, by their subjects. `cause`: the request
    /// that came just now.
    pub(super) fn find_calls(&mut self, worker: WorkerId, cause: Option<(&Draft, Span)>) -> Vec<Subject> {
        let last = self.calls.last[worker];
        let new = self.workers[worker].pending_calls().into_iter().filter(|call| Some(call.id) > last);
        let mut asked = Vec::new();
        for call in new.collect::<Vec<_>>() {
            let about = self.about(worker, &call, cause);
            self.tell(format!("    worker {worker} asks about {}", self.named(&about)));
            if let About::Asked { provider, subject, .. } = &about {
                asked.push(subject.clone());
                if matches!(subject, Subject::Password { .. }) {
                    let at = self.moment();
                    self.history.guesses(at, worker, *provider, subject);
                }
            }
            self.calls.last[worker] = Some(call.id);
            let sent = self.now();
            self.calls.out.push(Call { worker, id: call.id, about, sent, is_lost: false });
        }
        asked
    }

    fn about(&self, worker: WorkerId, call: &HttpCall, cause: Option<(&Draft, Span)>) -> About {
        let path = String::from_utf8_lossy(call.headers.get(":path").expect("a path")).into_owned();
        if let Some(slug) = path.strip_prefix("/application/o/").and_then(|rest| rest.strip_suffix("/jwks/"))
        {
            let slugs = self.site.providers.iter().map(|provider| provider.slug);
            return About::Keys(
                slugs.into_iter().find(|known| *known == slug).expect("a client of this site"),
            );
        }
        if path.ends_with("/.well-known/openid-configuration") {
            return About::Discovery;
        }
        let field = |name: &str| {
            let found = form_urlencoded::parse(&call.body).find(|(other, _)| other == name);
            found.map(|(_, value)| value.into_owned())
        };
        let subject = match (field("code"), field("token"), field("username"), field("password")) {
            (Some(code), ..) => Subject::Code(code),
            (_, Some(token), ..) => Subject::Token(token),
            (_, _, Some(username), Some(password)) => Subject::Password { username, password },
            _ => panic!("a call about nothing: {path}"),
        };
        let client = field("client_id").expect("a client");
        let mut of_client = (0..self.site.providers.len())
            .filter(|provider| self.site.providers[*provider].client_id() == client);
        // Two entries have one client. Each asks for scopes of its own, and has its own redirect URI.
        let is_asking = |provider: &ProviderId| {
            let settings = &self.site.providers[*provider];
            match (field("redirect_uri"), field("scope")) {
                (Some(uri), _) => uri.starts_with(&format!("{}/", settings.external_host)),
                (None, Some(scope)) => scope.split(' ').any(|scope| scope == settings.name),
                (None, None) => {
                    self.asking(worker, &client, &subject, cause).is_none_or(|asking| asking == *provider)
                }
            }
        };
        let provider = of_client.find(is_asking).expect("a client of this site");
        let role = match (&subject, cause) {
            (Subject::Token(_), Some((draft, span))) => {
                let facts = self.facts();
                let cookies = facts.cookies(provider, draft, span);
                let is_confirmed = |cookie: &&_| facts.is_to_be_confirmed(cookie, span).1;
                let is_session = cookies
                    .iter()
                    .any(|cookie| is_confirmed(cookie) && facts.subject(cookie.token) == subject);
                let is_credential = draft.authorization.subject() == Some(&subject);
                match (is_session, is_credential) {
                    (true, false) => Some(Role::Session),
                    (false, true) => Some(Role::Credential),
                    (true, true) | (false, false) => None,
                }
            }
            (Subject::Token(_), None) => None,
            (Subject::Password { .. } | Subject::Code(_), _) => Some(Role::Credential),
        };
        About::Asked { provider, role, subject }
    }

    fn named(&self, about: &About) -> String {
        match about {
            About::Keys(slug) => format!("the keys of {slug}"),
            About::Discovery => "discovery".to_owned(),
            About::Asked { provider, role, subject } => {
                let subject = match subject {
                    Subject::Password { username, password } => format!("{username} with {password:?}"),
                    Subject::Code(_) => "a login".to_owned(),
                    Subject::Token(text) => format!("token {:?}", self.authentik.find_token(text)),
                };
                let kind = if *role == Some(Role::Session) { "the session of " } else { "" };
                format!("{kind}{subject} at {}", self.site.providers[*provider].name)
            }
        }
    }

    /// Whose request asks about a token: the one that came just now, or one that waits.
    fn asking(
        &self,
        worker: WorkerId,
        client: &str,
        subject: &Subject,
        cause: Option<(&Draft, Span)>,
    ) -> Option<ProviderId> {
        let fits = |provider: &ProviderId| self.site.providers[*provider].client_id() == client;
        let by_cause = cause.and_then(|(draft, _)| draft.host.provider).filter(fits);
        by_cause.or_else(|| self.provider_of_waiting(worker, subject).filter(fits))
    }

    /// authentik answers a call, or does not as it should.
    pub(super) fn answer(&mut self, place: usize, failing: Option<Failure>, random: &mut StdRng) -> Result {
        let call = self.calls.out.remove(place);
        let (answer, said) = self.answer_to(&call, failing, random);
        let how = failing.map(|failure| format!(", {failure:?}")).unwrap_or_default();
        self.tell(format!("worker {} is told of {}: {said:?}{how}", call.worker, self.named(&call.about)));
        self.note(&call, call.worker, said);
        self.workers[call.worker].answer(call.id, answer);
        self.check_alive(call.worker)?;
        self.find_calls(call.worker, None);
        self.collect()
    }

    fn answer_to(
        &mut self,
        call: &Call,
        failing: Option<Failure>,
        random: &mut StdRng,
    ) -> (CallAnswer, Said) {
        let now = self.now();
        // That a client is unknown only the token endpoint says.
        let is_token_endpoint =
            matches!(call.about, About::Asked { subject: Subject::Password { .. } | Subject::Code(_), .. });
        let failing = failing.map(|failure| match failure {
            Failure::InvalidClient if !is_token_endpoint => Failure::Reset,
            other => other,
        });
        if let Some(failure) = failing {
            return (failure.answer(), Said::Failure { is_outage: failure != Failure::InvalidClient });
        }
        match &call.about {
            About::Keys(slug) => (Authentik::keys_answer(slug), Said::Verdict(None)),
            About::Discovery => (CallAnswer::json(200, DISCOVERY), Said::Verdict(None)),
            About::Asked { provider, subject, .. } => {
                let slug = self.site.providers[*provider].slug;
                let verdict = match subject {
                    Subject::Password { username, password } => {
                        self.authentik.exchange(slug, username, password, now, random)
                    }
                    Subject::Code(code) => self.authentik.redeem(code, now, random),
                    Subject::Token(text) => {
                        let verdict = self.authentik.introspect(slug, text, now);
                        let active = verdict.or_else(|| self.authentik.introspect_federated(slug, text, now));
                        return (self.authentik.introspection_answer(active), Said::Verdict(verdict));
                    }
                };
                (self.authentik.token_answer(verdict), Said::Verdict(verdict))
            }
        }
    }

    /// Writes into the history what a worker was told.
    fn note(&mut self, call: &Call, told: WorkerId, said: Said) {
        let at = self.moment();
        match &call.about {
            About::Keys(slug) => {
                let is_good = matches!(said, Said::Verdict(_));
                self.history.keys_fetched(at, told, slug, is_good);
            }
            About::Discovery => {}
            About::Asked { provider, role, subject } => {
                // That a token is another client's is nothing that authentik has said, so it need not be remembered.
                let slug = self.site.providers[*provider].slug;
                let is_others = matches!(subject, Subject::Token(text)
                    if self.authentik.introspect_federated(slug, text, at.time).is_some());
                let role = role.filter(|_| !is_others);
                self.history.said(at, told, *provider, role, subject, said);
            }
        }
    }

    /// Envoy answers in authentik's place when a call's time is over.
    pub(super) fn time_out(&mut self) -> Result {
        let now = self.now();
        let is_due = |call: &Call| !call.is_lost && now - call.sent >= CALL_TIMEOUT;
        while let Some(place) = self.calls.out.iter().position(is_due) {
            let random = &mut rand::SeedableRng::seed_from_u64(0);
            self.answer(place, Some(Failure::Timeout), random)?;
        }
        Ok(())
    }

    /// What was lost is given up at the next tick.
    pub(super) fn give_up(&mut self, worker: WorkerId) {
        let now = self.now();
        let is_due = |call: &Call| call.worker == worker && now - call.sent > PATIENCE;
        while let Some(place) = self.calls.out.iter().position(is_due) {
            let call = self.calls.out.remove(place);
            self.tell(format!("worker {worker} gives up the call about {}", self.named(&call.about)));
            self.note(&call, worker, Said::Failure { is_outage: true });
            self.calls.given_up.push(call);
        }
    }

    /// An answer comes that nobody waits for any more: it may be learned from, and need not be.
    pub(super) fn answer_late(&mut self, random: &mut StdRng) -> Result {
        if self.calls.given_up.is_empty() {
            return Ok(());
        }
        let place = random.gen_range(0..self.calls.given_up.len());
        let call = self.calls.given_up.remove(place);
        let (answer, said) = self.answer_to(&call, None, random);
        self.tell(format!(
            "worker {} is told too late of {}: {said:?}",
            call.worker,
            self.named(&call.about)
        ));
        self.came_by("an answer comes too late");
        self.note(&call, NOBODY, said);
        self.workers[call.worker].answer(call.id, answer);
        self.check_alive(call.worker)?;
        self.find_calls(call.worker, None);
        self.collect()
    }
}
