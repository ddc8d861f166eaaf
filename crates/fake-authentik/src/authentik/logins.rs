//! Who is logged in at the stand-in: the sessions of browsers, by the value of their cookie, and the codes that
//! they were given and have not used. Knows nothing of pages.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::claims::{hex, identifier, now};

pub(crate) const COOKIE: &str = "authentik_session";

/// A browser that logged in, and when.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) username: String,
    /// `sid` of its tokens.
    pub(super) sid: String,
    pub(super) since: i64,
    /// When its tokens die, once it was signed out.
    dies: Option<Instant>,
}

impl Login {
    fn is_alive(&self) -> bool {
        self.dies.is_none_or(|at| Instant::now() < at)
    }
}

/// What a code stands for.
#[derive(Clone)]
pub(super) struct Code {
    pub(super) slug: &'static str,
    pub(super) redirect_uri: String,
    pub(super) scope: String,
    pub(super) nonce: Option<String>,
    /// PKCE, S256.
    pub(super) challenge: Option<String>,
    pub(super) login: Login,
}

#[derive(Default)]
pub(super) struct Logins {
    /// With their cookies, the oldest first.
    sessions: Vec<(String, Login)>,
    codes: HashMap<String, Code>,
    /// How long the tokens of a session that was signed out live on.
    pub(super) lag: Duration,
}

impl Logins {
    /// The value of the new session's cookie.
    pub(super) fn begin(&mut self, username: &str) -> String {
        let cookie = identifier();
        let sid = hex(&Sha256::digest(&cookie));
        let login = Login { username: username.to_owned(), sid, since: now(), dies: None };
        self.sessions.push((cookie.clone(), login));
        cookie
    }

    pub(super) fn of(&self, cookie: &str) -> Option<&Login> {
        let (_, login) = self.sessions.iter().find(|(it, login)| it == cookie && login.dies.is_none())?;
        Some(login)
    }

    /// The sessions of a user that he was not signed out of.
    pub(super) fn sids_of(&self, username: &str) -> Vec<String> {
        let logins = self.sessions.iter().map(|(_, login)| login);
        let own = logins.filter(|login| login.username == username && login.dies.is_none());
        own.map(|login| login.sid.clone()).collect()
    }

    pub(super) fn has(&self, sid: &str) -> bool {
        self.sessions.iter().any(|(_, login)| login.sid == sid && login.is_alive())
    }

    /// The browser is signed out; the tokens of the session live on for the lag. Returns the user.
    pub(super) fn sign_out(&mut self, sid: &str) -> Option<String> {
        let login = self.session(sid).filter(|login| login.dies.is_none())?;
        let username = login.username.clone();
        let dies = Instant::now().checked_add(self.lag);
        self.session(sid)?.dies = dies.or_else(|| Some(Instant::now()));
        Some(username)
    }

    /// No lag is left.
    pub(super) fn finish(&mut self) {
        self.sessions.retain(|(_, login)| login.dies.is_none());
    }

    pub(super) fn delete(&mut self, sid: &str) {
        self.sessions.retain(|(_, login)| login.sid != sid);
    }

    pub(super) fn end_all_of(&mut self, username: &str) {
        self.sessions.retain(|(_, login)| login.username != username);
    }

    pub(super) fn rename(&mut self, username: &str, new: &str) {
        for (_, login) in self.sessions.iter_mut().filter(|(_, login)| login.username == username) {
            new.clone_into(&mut login.username);
        }
    }

    /// The sessions go on with another `sid`.
    pub(super) fn renew(&mut self, username: &str) {
        for (_, login) in self.sessions.iter_mut().filter(|(_, login)| login.username == username) {
            login.sid = hex(&Sha256::digest(identifier()));
        }
    }

    fn session(&mut self, sid: &str) -> Option<&mut Login> {
        self.sessions.iter_mut().map(|(_, login)| login).find(|login| login.sid == sid)
    }

    pub(super) fn issue(&mut self, code: Code) -> String {
        let mut name = identifier();
        name.truncate(32);
        self.codes.insert(name.clone(), code);
        name
    }

    /// A failed try does not burn the code.
    pub(super) fn code(&self, name: &str) -> Option<&Code> {
        self.codes.get(name)
    }

    pub(super) fn burn(&mut self, name: &str) {
        self.codes.remove(name);
    }
}
