//! Who is logged in at the stand-in: the sessions of browsers, by the value of their cookie, and the codes that
//! they were given and have not used. Knows nothing of pages.

use std::collections::HashMap;

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
    by_cookie: HashMap<String, Login>,
    codes: HashMap<String, Code>,
}

impl Logins {
    /// The value of the new session's cookie.
    pub(super) fn begin(&mut self, username: &str) -> String {
        let cookie = identifier();
        let sid = hex(&Sha256::digest(&cookie));
        self.by_cookie.insert(cookie.clone(), Login { username: username.to_owned(), sid, since: now() });
        cookie
    }

    pub(super) fn of(&self, cookie: &str) -> Option<&Login> {
        self.by_cookie.get(cookie)
    }

    pub(super) fn has(&self, sid: &str) -> bool {
        self.by_cookie.values().any(|login| login.sid == sid)
    }

    pub(super) fn end(&mut self, cookie: &str) {
        self.by_cookie.remove(cookie);
    }

    pub(super) fn end_all_of(&mut self, username: &str) {
        self.by_cookie.retain(|_, login| login.username != username);
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
