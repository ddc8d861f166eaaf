//! Of whom authentik is to be asked again.
//!
//! Owns: the list that all providers of an Envoy share, since authentik's event log names users and not sessions. An entry
//! decides nothing by itself: what was vouched for before it must be confirmed at its next use.
//! Must not: read the log, or ask.

use core::fmt::Write as _;

use super::shared::SharedTable;
use crate::authn::env::Env;
use crate::authn::jwt::claims::Claims;
use crate::base::time::Timestamp;
use crate::config::Config;

/// authentik writes an event up to 150 ms before it ends the tokens; that long after it is read it has finished, in seconds.
const SETTLING_SECONDS: u64 = 2;

/// Who or what must be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revalidate<'a> {
    /// Tokens with this `preferred_username`.
    Username(&'a str),
    /// Tokens with this `sub`.
    Subject(&'a str),
    /// Tokens with this `ak_user_pk`.
    Key(u64),
    /// Tokens without `ak_user_pk`.
    Unkeyed,
    /// Those of them whose `sub` is not the one that authentik makes by default (64 hex digits): a user who was renamed since
    /// cannot be told from the others.
    Unhashed,
    /// All tokens.
    Everybody,
    /// What was granted for a user name and a password: introspection says nothing of that, so it is exchanged again.
    Passwords,
}

/// A worker's copy of the list.
pub(crate) struct RevalidationList {
    table: SharedTable,
    version: u64,
}

const USERNAME: u8 = b'n';
const SUBJECT: u8 = b'u';
const KEY: u8 = b'k';
const UNKEYED: u8 = b'?';
const UNHASHED: u8 = b'h';
const EVERYBODY: u8 = b'*';
const PASSWORDS: u8 = b'p';
const KINDS: [u8; 7] = [USERNAME, SUBJECT, KEY, UNKEYED, UNHASHED, EVERYBODY, PASSWORDS];
/// What counts for all tokens when it had no room.
const EVICTED: [u8; 6] = [USERNAME, SUBJECT, KEY, UNKEYED, UNHASHED, EVERYBODY];

impl RevalidationList {
    /// `secret`: of the event log. `None` only if HMAC refused a key, which it never does.
    pub(crate) fn new(config: &Config, secret: &str) -> Option<Self> {
        let owner = format!("{} {}", config.authentik.base, config.authentik.cluster);
        Some(Self { table: SharedTable::derive(secret, "revalidation", &owner, &KINDS)?, version: 0 })
    }

    /// Takes an entry. `lifetime`: how long a session or a token can last, in seconds. [`Self::sync`] tells the others.
    #[inline(never)]
    pub(crate) fn note(&mut self, who: Revalidate<'_>, lifetime: u64, now: Timestamp) {
        // A whole second, since that is what a cookie says of its confirmation.
        let from = Timestamp::from_seconds(now.seconds()).plus(SETTLING_SECONDS.saturating_add(1));
        let mut key = String::new();
        let (kind, name) = match who {
            Revalidate::Username(name) => (USERNAME, name),
            Revalidate::Subject(sub) => (SUBJECT, sub),
            Revalidate::Key(pk) => {
                // Writing to a String cannot fail.
                let _ = write!(key, "{pk}");
                (KEY, &*key)
            }
            Revalidate::Unkeyed => (UNKEYED, ""),
            Revalidate::Unhashed => (UNHASHED, ""),
            Revalidate::Everybody => (EVERYBODY, ""),
            Revalidate::Passwords => (PASSWORDS, ""),
        };
        self.table.note(kind, name, from, from.plus(lifetime));
    }

    /// Looks for what other workers have noted, and tells them what this one has.
    #[inline(never)]
    pub(crate) fn sync(&mut self, env: &Env<'_>) {
        if self.table.sync(env) {
            self.version = self.version.saturating_add(1);
        }
    }

    /// Grows with each change.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// What authentik has not confirmed since then must be confirmed.
    pub(super) fn confirmed_from(&self, claims: &Claims) -> Option<Timestamp> {
        let name = claims.preferred_username.as_deref().and_then(|name| self.table.at(USERNAME, name));
        let subject = claims.sub.as_deref().and_then(|sub| self.table.at(SUBJECT, sub));
        let key = match claims.ak_user_pk {
            Some(pk) => self.table.at(KEY, &pk.to_string()),
            None if claims.sub.as_deref().is_some_and(is_hashed) => self.table.at(UNKEYED, ""),
            None => self.table.at(UNKEYED, "").max(self.table.at(UNHASHED, "")),
        };
        let evicted = EVICTED.map(|kind| self.table.evicted(kind));
        let all = [name, subject, key, self.table.at(EVERYBODY, "")].into_iter().chain(evicted);
        all.max().flatten()
    }

    /// What was granted for a password before then is granted anew.
    pub(super) fn passwords_from(&self) -> Option<Timestamp> {
        self.table.at(PASSWORDS, "").max(self.table.evicted(PASSWORDS))
    }
}

/// Whether a `sub` is of authentik's `sub_mode` `hashed_user_id`.
fn is_hashed(sub: &str) -> bool {
    sub.len() == 64 && sub.bytes().all(|digit| digit.is_ascii_hexdigit())
}
