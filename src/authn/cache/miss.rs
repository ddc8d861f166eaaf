//! A credential of which nothing is remembered, and what is needed to remember what comes of it.
//!
//! Owns: [`Miss`]. Must not: remember anything.

use core::cell::OnceCell;
use std::rc::Rc;

use crate::authn::cache::local::CacheKey;
use crate::authn::provider::Provider;
use crate::authn::provider::fingerprint::Fingerprint;
use crate::authn::request::credential::{BearerToken, Credential};
use crate::base::time::Timestamp;

/// A cache miss: the keys under which the verdict will be stored.
pub(crate) struct Miss {
    pub(super) provider: Rc<Provider>,
    pub(super) key: CacheKey,
    /// Of a token only when it is needed: most are judged on the spot.
    pub(super) fingerprint: OnceCell<Fingerprint>,
    pub(super) kind: Kind,
    /// The end that a token claims for itself: nothing that is granted for it lasts longer.
    pub(super) not_after: Option<Timestamp>,
}

/// What a credential is, as far as its verdict is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Basic,
    Bearer,
    Session,
    /// Good for one login; nothing of it is remembered.
    Code,
}

impl Miss {
    pub(crate) const fn provider(&self) -> &Rc<Provider> {
        &self.provider
    }

    /// The credential, where it is a token: the copy of it that is kept anyway.
    pub(crate) fn credential(&self) -> Option<Credential<'static>> {
        Some(Credential::Bearer(BearerToken::Kept(self.key.as_token()?.clone())))
    }

    /// What stands for the credential where it must not be itself: among pending verifications and in shared slots.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let keys = &self.provider.keys;
        *self.fingerprint.get_or_init(|| keys.fingerprint_of_token(self.key.name().content()))
    }
}
