//! Tokens that authentik would never issue: what a test says about a token that it wants signed. Everything
//! left unsaid is as in alice's own access token with all scopes of the provider.

use serde_json::Value;

use super::claims::{Claims, now};
use crate::keys::Key;

/// How a token differs from a good one.
#[derive(Clone, Default)]
pub struct TokenSpec {
    pub(super) username: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) key: Option<Key>,
    header: Vec<(String, Option<Value>)>,
    claims: Vec<(String, Option<Value>)>,
}

impl TokenSpec {
    /// A good token of alice.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of this user.
    pub fn user(mut self, username: &str) -> Self {
        self.username = Some(username.to_owned());
        self
    }

    /// For these scopes, separated by blanks, as far as the provider has them.
    pub fn scope(mut self, scope: &str) -> Self {
        self.scope = Some(scope.to_owned());
        self
    }

    /// Signed with another key; `alg` and `kid` follow it unless the header is set too.
    pub fn signed_by(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// With this member of the header.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.push((name.to_owned(), Some(value.into())));
        self
    }

    /// Without this member of the header.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.push((name.to_owned(), None));
        self
    }

    /// With this claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.push((name.to_owned(), Some(value.into())));
        self
    }

    /// A time claim, in seconds from now.
    pub fn claim_in(self, name: &str, seconds: i64) -> Self {
        self.claim(name, now() + seconds)
    }

    /// Without this claim.
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.push((name.to_owned(), None));
        self
    }

    pub(super) fn apply(&self, header: &mut Claims, claims: &mut Claims) {
        for (target, changes) in [(header, &self.header), (claims, &self.claims)] {
            for (name, value) in changes {
                match value {
                    Some(value) => target.insert(name.clone(), value.clone()),
                    None => target.remove(name),
                };
            }
        }
    }
}
