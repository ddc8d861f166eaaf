//! What comes back to the client: the application's response and its cookies, the end of a login.
//!
//! Owns: when a session begins, is renewed, left as it is or taken back, and until when it may last.

use proxy_wasm_testkit::HeaderMap;

use super::authentik::TokenId;
use super::credentials::Subject;
use super::history::{Role, Said, Span};
use super::judge::{Seen, SetCookie, session_cookies};
use super::oracle::{Permitted, Stay};
use super::requests::Draft;
use super::run::{Result, Waiting, Walk};
use super::sessions::Cookie;
use super::site::{AUTHENTIK, ProviderId};
use super::truth_table::Outcome;

impl Walk {
    /// The application answers, or the client goes before it does; the client keeps its cookies.
    pub(super) fn respond(
        &mut self,
        Waiting { worker, stream, draft, .. }: &Waiting,
        stay: Stay,
        seen: &Seen,
        fitting: &[Permitted],
    ) -> Result {
        let Some(provider) = draft.host.provider else { return Ok(()) };
        let has_ended = fitting.iter().all(|it| it.has_ended_session);
        match seen {
            Seen::Replied { headers, .. } => {
                let set = session_cookies(headers, &self.site.providers[provider])?;
                let is_cleared = set.iter().any(|cookie| cookie.max_age == 0);
                if has_ended && !is_cleared {
                    return Err(
                        "the cookie of a session that authentik has ended is not taken back".to_owned()
                    );
                }
                if has_ended {
                    self.came_by("a session that authentik has ended is taken back");
                }
                if set.iter().any(|cookie| cookie.max_age > 0) {
                    return Err("a session begins with a refusal".to_owned());
                }
                Ok(())
            }
            Seen::Forwarded { .. } if draft.leaves_early => {
                self.workers[*worker].disconnect(*stream);
                self.check_alive(*worker)
            }
            Seen::Forwarded { .. } => {
                let response = self.workers[*worker].respond(*stream, draft.response.headers, "x");
                self.check_alive(*worker)?;
                let set = session_cookies(&response, &self.site.providers[provider])?;
                let may_set = if draft.authorization.value.is_some() {
                    draft.response.may_set_with
                } else {
                    draft.response.may_set_without
                };
                if !may_set {
                    return if set.is_empty() {
                        Ok(())
                    } else {
                        Err("a cookie that a shared cache may keep".to_owned())
                    };
                }
                self.check_cookies(provider, draft, stay, fitting, &set)
            }
        }
    }

    /// Whether the response brings the cookies that it must; they are kept.
    fn check_cookies(
        &mut self,
        provider: ProviderId,
        draft: &Draft,
        stay: Stay,
        fitting: &[Permitted],
        set: &[SetCookie],
    ) -> Result {
        let is_new = |it: &Permitted| matches!(it.outcome, Outcome::AsCredential(_));
        let begins: Vec<_> = set.iter().filter(|cookie| cookie.max_age > 0).collect();
        let has_cleared = set.len() > begins.len();
        if begins.len() > 1 {
            return Err(format!("{} session cookies", begins.len()));
        }
        let must_begin = fitting.iter().all(is_new) && !draft.marks.is_cross_site;
        let may_begin = fitting.iter().any(|it| is_new(it) && !draft.marks.is_cross_site);
        let may_be_renewed = fitting.iter().any(|it| {
            matches!(it.outcome, Outcome::AsSession(..)) && self.site.providers[provider].revalidate > 0
        });
        match begins.first() {
            None if must_begin => return Err("no session cookie for a good credential".to_owned()),
            Some(_) if !may_begin && !may_be_renewed => {
                return Err("a session cookie out of place".to_owned());
            }
            _ => {}
        }
        if begins.is_empty() && !has_cleared && fitting.iter().all(|it| it.has_ended_session) {
            return Err("the cookie of a session that authentik has ended is not taken back".to_owned());
        }
        let Some(cookie) = begins.first() else { return Ok(()) };
        // One outcome at a time: two would be two sessions.
        let session = match fitting.iter().map(|it| it.outcome).next() {
            Some(Outcome::AsCredential(token)) => self.begun(provider, draft, stay, token, cookie)?,
            Some(Outcome::AsSession(token, _)) => {
                self.came_by("a session is renewed");
                self.renewed(provider, draft, stay, token, cookie)?
            }
            _ => return Ok(()),
        };
        self.keep(session);
        Ok(())
    }

    fn keep(&mut self, session: Cookie) {
        let kind = if session.origin.is_some() { "credential" } else { "login" };
        let Cookie { provider, token, vouched, expires, value, .. } = &session;
        let name = self.site.providers[*provider].name;
        self.story.push(format!(
            "    a session at {name} of a {kind}, token {token}, vouched for at {vouched:?}, until {expires}: {value}"
        ));
        self.jar.keep(session);
    }

    fn begun(
        &self,
        provider: ProviderId,
        draft: &Draft,
        Stay { span, .. }: Stay,
        token: TokenId,
        cookie: &SetCookie,
    ) -> Result<Cookie> {
        let subject = draft.authorization.subject().expect("a good credential").clone();
        let vouched = self.vouched(provider, Role::Credential, &subject, token, span);
        let session = Cookie {
            provider,
            value: whole(cookie)?,
            origin: Some(subject),
            token,
            vouched,
            expires: self.now() + cookie.max_age,
        };
        self.check_end(&session)?;
        Ok(session)
    }

    fn renewed(
        &self,
        provider: ProviderId,
        draft: &Draft,
        Stay { span, .. }: Stay,
        token: TokenId,
        cookie: &SetCookie,
    ) -> Result<Cookie> {
        let facts = self.facts();
        let old = facts.cookies(provider, draft, span).into_iter().find(|old| old.token == token);
        let old = old.ok_or("a session is renewed that nobody has")?;
        let vouched = self.vouched(provider, Role::Session, &facts.subject(token), token, span);
        let session =
            Cookie { value: whole(cookie)?, vouched, expires: self.now() + cookie.max_age, ..old.clone() };
        if session.expires > old.expires {
            return Err(format!("a session until {} is renewed until {}", old.expires, session.expires));
        }
        Ok(session)
    }

    /// When authentik vouched for this: the earliest and the latest that it may have been.
    fn vouched(
        &self,
        provider: ProviderId,
        role: Role,
        subject: &Subject,
        token: TokenId,
        span: Span,
    ) -> (u64, u64) {
        let known = self.facts().knowledge(provider, role, subject, span);
        let times = known.vouched.into_iter().filter(|(of, _)| *of == token).map(|(_, time)| time);
        let times: Vec<_> = times.collect();
        let now = self.now();
        (times.iter().min().copied().unwrap_or(now), times.iter().max().copied().unwrap_or(now))
    }

    /// A session lasts as long as its token, the provider and the configuration let it, and no longer.
    fn check_end(&self, session: &Cookie) -> Result {
        let now = self.now();
        let longest = self.site.max_age.min(self.site.providers[session.provider].validity);
        let most = self.authentik.tokens[session.token].expires.min(now + longest);
        // A verdict has one cookie for as long as it counts.
        let least = most.saturating_sub(self.site.ttl + self.site.stale);
        if (least..=most).contains(&session.expires) {
            Ok(())
        } else {
            Err(format!("a session until {}, not between {least} and {most}", session.expires))
        }
    }

    /// The browser comes back from authentik.
    pub(super) fn logged_in(&mut self, draft: &Draft, code: &Subject, stay: Stay, seen: &Seen) -> Result {
        let provider = draft.host.provider.expect("a login has one");
        let asked = self.facts().knowledge(provider, Role::Credential, code, stay.span).asked;
        let Seen::Replied { status, headers, .. } = seen else {
            return Err("the end of a login reaches the application".to_owned());
        };
        let location = String::from_utf8_lossy(headers.get("location").unwrap_or_default()).into_owned();
        let is_again =
            *status == 302 && location.starts_with(&format!("{AUTHENTIK}/application/o/authorize/?"));
        let is_home = *status == 302 && self.is_own(provider, &location);
        match asked.last() {
            Some(Said::Verdict(Some(token))) if self.authentik.is_nameless(*token) && *status == 403 => {
                Ok(())
            }
            Some(Said::Verdict(Some(token))) if is_home && !self.authentik.is_nameless(*token) => {
                self.keep_login(provider, *token, headers)
            }
            Some(Said::Verdict(None)) if is_again || *status == 400 => Ok(()),
            Some(Said::Failure { .. }) if *status == 503 => Ok(()),
            other => Err(format!(
                "a login ends with {status}, {location}, after {other:?}, from {:?} to {:?}",
                stay.span.from, stay.span.to
            )),
        }
    }

    fn is_own(&self, provider: ProviderId, location: &str) -> bool {
        let settings = &self.site.providers[provider];
        location.starts_with(&format!("{}/", settings.external_host))
            || (settings.cookie_domain.is_some() && location.starts_with("https://wiki.corp.test/"))
    }

    fn keep_login(&mut self, provider: ProviderId, token: TokenId, headers: &HeaderMap) -> Result {
        let set = session_cookies(headers, &self.site.providers[provider])?;
        let [cookie] = &set[..] else { return Err(format!("{} session cookies after a login", set.len())) };
        let now = self.now();
        let session = Cookie {
            provider,
            value: whole(cookie)?,
            origin: None,
            token,
            vouched: (now, now),
            expires: now + cookie.max_age,
        };
        self.check_end(&session)?;
        self.keep(session);
        self.came_by("a login ends with a session");
        Ok(())
    }
}

fn whole(cookie: &SetCookie) -> Result<String> {
    if cookie.part.is_empty() { Ok(cookie.value.clone()) } else { Err("a small session in parts".to_owned()) }
}
