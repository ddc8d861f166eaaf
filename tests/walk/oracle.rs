//! Everything that may become of a request: the rows of the truth table for all that its session and its credential may
//! have been worth.
//!
//! Owns: what a session and a credential may be worth, given the [`History`]. More than one worth is possible where small
//! caches leave it open whether something is known without a call, or where an old word of authentik's still counts.
//! Must not: use anything of the filter.

use super::authentik::{Authentik, Kind, TokenId, Verdict};
use super::credentials::{Presented, Subject};
use super::history::{History, Knowledge, Role, Said, Span};
use super::requests::Draft;
use super::sessions::{Cookie, Jar};
use super::site::{Place, ProviderId, Site, Verification};
use super::truth_table::{Credential, Outcome, Path, Session, row};

/// What the oracle knows.
pub(super) struct Facts<'a> {
    pub(super) site: &'a Site,
    pub(super) authentik: &'a Authentik,
    pub(super) history: &'a History,
    pub(super) jar: &'a Jar,
}

/// A request while it is with a worker.
#[derive(Clone, Copy)]
pub(super) struct Stay {
    pub(super) span: Span,
    /// It was not decided at once.
    pub(super) has_waited: bool,
}

/// One thing that may become of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Permitted {
    pub(super) row: &'static str,
    pub(super) outcome: Outcome<TokenId>,
    /// authentik has ended its session: the answer takes the cookie back.
    pub(super) has_ended_session: bool,
}

/// The row of a request that no session and no credential matters for.
pub(super) const OUTPOST: &str = "outpost's own";
pub(super) const NO_PROVIDER: &str = "no provider";

impl Facts<'_> {
    pub(super) fn permitted(&self, draft: &Draft, stay: Stay) -> Vec<Permitted> {
        let fixed =
            |row, status| Permitted { row, outcome: Outcome::Status(status), has_ended_session: false };
        let Some(provider) = draft.host.provider else { return vec![fixed(NO_PROVIDER, 400)] };
        let mut permitted = Vec::new();
        for path in self.paths(draft) {
            for (session, has_ended_session) in self.sessions(provider, draft, path, stay) {
                for credential in self.credentials(provider, draft, path, session, stay) {
                    let found = row(path, session, credential, self.site.providers[provider].intercepts);
                    let (row, outcome) = found.expect("no worth without its row");
                    permitted.push(Permitted { row, outcome, has_ended_session });
                }
            }
        }
        if let Place::Outpost(statuses) = draft.place {
            permitted.extend(statuses.iter().map(|status| fixed(OUTPOST, *status)));
        }
        permitted.dedup();
        permitted
    }

    /// None for the outpost's own; a preflight may come to one of those too.
    fn paths(&self, draft: &Draft) -> Vec<Path> {
        match draft.place {
            _ if draft.marks.is_preflight && self.site.allows_preflight => vec![Path::Preflight],
            Place::Protected => vec![Path::Protected],
            Place::Open => vec![Path::Open],
            Place::Outpost(_) => Vec::new(),
        }
    }

    /// What the session may be worth, and whether that is because authentik has ended it.
    fn sessions(
        &self,
        provider: ProviderId,
        draft: &Draft,
        path: Path,
        stay: Stay,
    ) -> Vec<(Session<TokenId>, bool)> {
        let cookies = self.cookies(provider, draft, stay.span);
        if cookies.is_empty() {
            return vec![(Session::None, false)];
        }
        cookies.into_iter().flat_map(|cookie| self.session(cookie, draft, path, stay)).collect()
    }

    /// The cookies of the request that are sessions of this provider and stood when it came.
    pub(super) fn cookies(&self, provider: ProviderId, draft: &Draft, span: Span) -> Vec<&Cookie> {
        let sent = draft.sessions.iter().filter_map(|value| self.jar.find(provider, value));
        sent.filter(|cookie| cookie.expires > span.from.time).collect()
    }

    fn session(
        &self,
        cookie: &Cookie,
        draft: &Draft,
        path: Path,
        Stay { span, .. }: Stay,
    ) -> Vec<(Session<TokenId>, bool)> {
        let is_of_this_credential =
            cookie.origin.is_some() && cookie.origin.as_ref() == draft.authorization.subject();
        let stands = match cookie.origin {
            // Its end came while the request waited.
            _ if cookie.expires <= span.to.time => Session::None,
            None => Session::OfLogin(cookie.token),
            Some(_) if is_of_this_credential => Session::OfThisCredential(cookie.token),
            Some(_) => Session::OfAnotherCredential(cookie.token),
        };
        let unconfirmed = Session::Unconfirmed { is_of_this_credential };
        let (surely, perhaps) = self.is_to_be_confirmed(cookie, span);
        let mut worths = Vec::new();
        if !surely || cookie.expires <= span.to.time {
            worths.push((stands, false));
        }
        if !perhaps {
            return worths;
        }
        let known = self.knowledge(cookie.provider, Role::Session, &self.subject(cookie.token), span);
        let of_verdict = |verdict: &Verdict| match verdict {
            Some(_) => (stands, false),
            None => (Session::None, true),
        };
        if path != Path::Protected {
            worths.push((unconfirmed, false));
            worths.extend(known.known.iter().flatten().map(|_| (stands, false)));
            return worths;
        }
        worths.extend(known.known.iter().map(of_verdict));
        if known.is_sure {
            return worths;
        }
        for said in &known.asked {
            match said {
                Said::Verdict(verdict) => worths.push(of_verdict(verdict)),
                Said::Failure { is_outage } => {
                    let (surely, perhaps) = self.is_bridged(cookie, &known, *is_outage, span);
                    worths.extend(perhaps.then_some((stands, false)));
                    worths.extend((!surely).then_some((unconfirmed, false)));
                }
            }
        }
        worths
    }

    /// Whether authentik is to confirm a session: surely, perhaps.
    pub(super) fn is_to_be_confirmed(&self, cookie: &Cookie, span: Span) -> (bool, bool) {
        let interval = self.site.providers[cookie.provider].revalidate;
        let is_old = |vouched: u64| interval > 0 && span.from.time - vouched >= interval;
        (is_old(cookie.vouched.1), is_old(cookie.vouched.0))
    }

    /// Whether a session goes on that authentik cannot confirm (`cache.stale_seconds`): surely, perhaps.
    fn is_bridged(&self, cookie: &Cookie, known: &Knowledge, is_outage: bool, span: Span) -> (bool, bool) {
        let (site, interval) = (self.site, self.site.providers[cookie.provider].revalidate);
        let is_young = |vouched: u64| vouched + interval + site.stale > span.to.time;
        let was_refused = self.history.was_refused(cookie.provider, &self.subject(cookie.token));
        let is_possible = site.stale > 0 && is_outage && cookie.expires > span.to.time;
        let surely = is_young(cookie.vouched.0) && !was_refused || known.is_stale_sure;
        let perhaps = is_young(cookie.vouched.1) || !known.stale.is_empty();
        (is_possible && surely, is_possible && perhaps)
    }

    /// What the credential may be worth beside this session.
    fn credentials(
        &self,
        provider: ProviderId,
        draft: &Draft,
        path: Path,
        session: Session<TokenId>,
        stay: Stay,
    ) -> Vec<Credential<TokenId>> {
        let subject = match &draft.authorization.presented {
            Presented::Absent => return vec![Credential::Absent],
            Presented::Malformed => return vec![Credential::Malformed],
            Presented::Usable(subject) => subject,
        };
        let is_asked = match session {
            Session::None | Session::OfAnotherCredential(_) => path == Path::Protected,
            // Whatever it is worth.
            Session::OfThisCredential(_) | Session::Unconfirmed { .. } if path == Path::Protected => {
                return vec![Credential::Unknown];
            }
            Session::OfLogin(_) | Session::OfThisCredential(_) | Session::Unconfirmed { .. } => false,
        };
        let settings = &self.site.providers[provider];
        let by_word = || self.by_word(provider, draft, subject, is_asked, stay);
        match (settings.verification, self.locally(provider, subject, stay.span.from.time)) {
            (_, None) | (Verification::Introspection, _) => by_word(),
            (_, Some((token, Locally::Good))) if settings.revalidate == 0 => vec![self.vouched(token)],
            (_, Some((_, Locally::Good))) => by_word(),
            (_, Some((_, Locally::Bad))) => vec![Credential::Invalid],
            (Verification::Local, Some((_, Locally::Undecidable))) => vec![Credential::Invalid],
            (Verification::LocalThenIntrospection, Some((_, Locally::Undecidable))) => by_word(),
            (verification, Some((_, Locally::UnknownKey))) => {
                let is_final = verification == Verification::Local;
                let mut worths = if is_final { vec![Credential::Invalid] } else { by_word() };
                if is_asked && self.history.may_lack_keys(stay.span, settings.slug) {
                    worths.push(Credential::Unjudged);
                }
                worths
            }
        }
    }

    /// What authentik says, or has said.
    fn by_word(
        &self,
        provider: ProviderId,
        draft: &Draft,
        subject: &Subject,
        is_asked: bool,
        Stay { span, has_waited }: Stay,
    ) -> Vec<Credential<TokenId>> {
        let of_verdict = |verdict: &Verdict| verdict.map_or(Credential::Invalid, |token| self.vouched(token));
        let known = self.knowledge(provider, Role::Credential, subject, span);
        let mut worths = Vec::new();
        // What was known would have decided it at once, unless its session had to be confirmed first.
        let cookies = self.cookies(provider, draft, span);
        let may_wait_for_another = cookies.iter().any(|cookie| self.is_to_be_confirmed(cookie, span).1);
        let may_be_at_once = !has_waited || may_wait_for_another;
        if may_be_at_once || !is_asked {
            worths.extend(known.known.iter().map(of_verdict));
        }
        match (known.is_sure, is_asked) {
            (true, _) => return worths,
            (false, false) => worths.push(Credential::Unknown),
            (false, true) => {}
        }
        if !is_asked {
            return worths;
        }
        for said in &known.asked {
            match said {
                Said::Verdict(verdict) => worths.push(of_verdict(verdict)),
                Said::Failure { is_outage } => {
                    // What was learned from another worker meanwhile counts more than a failure.
                    if *is_outage {
                        worths.extend(known.known.iter().map(of_verdict));
                        worths.extend(known.stale.iter().map(|token| self.vouched(*token)));
                    }
                    // Only what lets somebody in is worth a bridge.
                    let is_good = |token: &TokenId| !self.authentik.is_nameless(*token);
                    let is_bridged = *is_outage && known.is_stale_sure && known.stale.iter().any(is_good);
                    worths.extend((!is_bridged).then_some(Credential::Unjudged));
                }
            }
        }
        if may_be_at_once && self.history.may_be_limited(self.site, provider, subject, span) {
            worths.push(Credential::RateLimited);
        }
        worths
    }

    /// Whether authentik may be asked on behalf of this request as it comes: whether it may wait.
    pub(super) fn may_be_asked(&self, draft: &Draft, span: Span) -> bool {
        let Some(provider) = draft.host.provider.filter(|_| self.paths(draft) == [Path::Protected]) else {
            return false;
        };
        let is_unconfirmed = |cookie: &&Cookie| {
            let known = self.knowledge(provider, Role::Session, &self.subject(cookie.token), span);
            self.is_to_be_confirmed(cookie, span).1 && !known.is_sure
        };
        if self.cookies(provider, draft, span).iter().any(is_unconfirmed) {
            return true;
        }
        let stay = Stay { span, has_waited: false };
        let sessions = self.sessions(provider, draft, Path::Protected, stay);
        let Some(subject) = draft.authorization.subject() else { return false };
        let is_judged = |session| matches!(session, Session::None | Session::OfAnotherCredential(_));
        let settings = &self.site.providers[provider];
        let is_open = match (settings.verification, self.locally(provider, subject, span.from.time)) {
            (Verification::Introspection, _) | (_, None | Some((_, Locally::UnknownKey))) => true,
            (_, Some((_, Locally::Good))) => settings.revalidate > 0,
            (_, Some((_, Locally::Bad))) => false,
            (verification, Some((_, Locally::Undecidable))) => {
                verification == Verification::LocalThenIntrospection
            }
        };
        let is_known = self.knowledge(provider, Role::Credential, subject, span).is_sure;
        is_open && !is_known && sessions.into_iter().any(|(session, _)| is_judged(session))
    }

    fn vouched(&self, token: TokenId) -> Credential<TokenId> {
        if self.authentik.is_nameless(token) { Credential::Incomplete } else { Credential::Valid(token) }
    }

    /// What the filter can say of a token by itself. `None`: it is none.
    pub(super) fn locally(
        &self,
        provider: ProviderId,
        subject: &Subject,
        now: u64,
    ) -> Option<(TokenId, Locally)> {
        let Subject::Token(text) = subject else { return None };
        let id = self.authentik.find_token(text).expect("the walk's own");
        let token = &self.authentik.tokens[id];
        let is_of_provider = token.slug == self.site.providers[provider].slug;
        let locally = match token.kind {
            Kind::Opaque | Kind::Foreign => Locally::Undecidable,
            Kind::Genuine | Kind::BadSignature | Kind::UnknownKey if !is_of_provider => Locally::Undecidable,
            _ if token.expires <= now => Locally::Bad,
            Kind::Genuine => Locally::Good,
            Kind::BadSignature => Locally::Bad,
            Kind::UnknownKey => Locally::UnknownKey,
        };
        Some((id, locally))
    }

    pub(super) fn subject(&self, token: TokenId) -> Subject {
        Subject::Token(self.authentik.tokens[token].text.clone())
    }

    pub(super) fn knowledge(
        &self,
        provider: ProviderId,
        role: Role,
        subject: &Subject,
        span: Span,
    ) -> Knowledge {
        let expires = |token: TokenId| self.authentik.tokens[token].expires;
        self.history.knowledge(self.site, &expires, provider, role, subject, span)
    }
}

/// What the keys of the provider say of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locally {
    Good,
    Bad,
    /// authentik may know better.
    Undecidable,
    UnknownKey,
}
