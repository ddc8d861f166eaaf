//! A provider at work, and a request that belongs to it.
//!
//! Owns: [`Provider`], found once by host and then handed on, so that nothing looks an entry up by its index; and
//! [`Request`], what one step may look at. Must not: decide anything.

pub mod directory;
pub mod fingerprint;
pub(crate) mod key_ring;
pub(crate) mod roster;
pub(crate) mod shared_keys;

use core::cell::{Ref, RefCell};
use std::rc::Rc;

use crate::authn::ended::tally::Cause;
use crate::authn::ended::{Common, EndedList, SeenTokens, Who};
use crate::authn::env::{Env, RequestId};
use crate::authn::fault::{Rejection, SessionEnd};
use crate::authn::identity::attributes::UnownedNames;
use crate::authn::jwt::jwk::KeySet;
use crate::authn::policy::{Path, Presented};
use crate::authn::provider::directory::Found;
use crate::authn::provider::fingerprint::ProviderKeys;
use crate::authn::provider::key_ring::KeyRing;
use crate::authn::request::credential::{self, Credential};
use crate::authn::request::open_paths;
use crate::authn::request::view::RequestView;
use crate::authn::session::cipher::SealingKeys;
use crate::authn::session::cookies::Cookie;
use crate::base::time::Timestamp;
use crate::base::url::HostAndPort;
use crate::config::{self, Config, ProviderId};

/// A provider, with the keys that are derived from its secrets.
pub(crate) struct Provider {
    pub(crate) id: ProviderId,
    pub(crate) settings: Rc<config::Provider>,
    /// Of fingerprints and shared entries.
    pub(crate) keys: ProviderKeys,
    /// authentik's signing keys over time.
    pub(crate) key_ring: RefCell<KeyRing>,
    /// `None`: sessions are off.
    pub(crate) sessions: Option<SessionKeys>,
    /// What has ended before its time.
    ended: RefCell<EndedList>,
    /// The logout tokens that were accepted.
    seen_logouts: RefCell<SeenTokens>,
    /// Headers of its users that a client can send too; the log has warned of them.
    pub(crate) unowned_names: UnownedNames,
}

/// What sessions and logins of a provider are made with.
pub(crate) struct SessionKeys {
    pub(crate) sealing: SealingKeys,
    pub(crate) session: Cookie,
    pub(crate) login: Cookie,
}

impl Provider {
    /// `entry` tells it from all others under this configuration, in every worker. `None` only if HMAC refused a key, which it
    /// never does.
    pub(crate) fn new(
        config: &Config,
        id: ProviderId,
        settings: &Rc<config::Provider>,
        entry: &[u8],
        common: &Rc<Common>,
    ) -> Option<Rc<Self>> {
        let assumed = settings.has_no_signing_key.then_some(KeySet::ClientSecret);
        let sessions = match config.session.issue {
            Some(_) => Some(SessionKeys {
                sealing: SealingKeys::derive(settings)?,
                session: Cookie::session(settings),
                login: Cookie::login(settings),
            }),
            None => None,
        };
        Some(Rc::new(Self {
            id,
            settings: Rc::clone(settings),
            keys: ProviderKeys::derive(config, settings, entry)?,
            key_ring: RefCell::new(KeyRing::new(assumed)),
            sessions,
            seen_logouts: RefCell::new(SeenTokens::new(settings)?),
            ended: RefCell::new(EndedList::new(config, settings, common)?),
            unowned_names: UnownedNames::default(),
        }))
    }

    /// What has ended before its time, as far as this worker knows.
    pub(crate) fn ended(&self, env: &Env<'_>) -> Ref<'_, EndedList> {
        if self.ended.borrow().is_unread() {
            self.ended.borrow_mut().sync(env);
        }
        self.ended.borrow()
    }

    /// Ends what was begun until `at`, in all workers of this Envoy.
    pub(crate) fn end(&self, who: Who<'_>, at: Timestamp, cause: Cause, env: &Env<'_>) {
        self.ended.borrow_mut().end(who, at, cause, env);
    }

    /// Whether a logout token, known by its `jti`, was not accepted before, by any worker of this Envoy. From now `until` then
    /// it was.
    pub(crate) fn is_new_logout(&self, jti: &str, until: Timestamp, env: &Env<'_>) -> bool {
        self.seen_logouts.borrow_mut().is_new(jti, until, env)
    }

    /// Looks for what other workers have ended.
    pub(crate) fn look_for_ended(&self, env: &Env<'_>) {
        self.ended.borrow_mut().sync(env);
    }
}

/// One request, for one step.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) env: &'a Env<'a>,
    pub(crate) id: RequestId,
    pub(crate) config: &'a Config,
    pub(crate) provider: &'a Rc<Provider>,
    /// The form of its host that was judged, where that is not what it says.
    pub(crate) authority: Option<&'a HostAndPort>,
    pub(crate) view: &'a RequestView<'a>,
    /// How its session has ended before its time, if it has: the cookie is taken back with the answer.
    pub(crate) session_end: Option<SessionEnd>,
}

impl<'a> Request<'a> {
    pub(crate) const fn new(
        env: &'a Env<'a>,
        id: RequestId,
        config: &'a Config,
        found: &'a Found<Rc<Provider>>,
        view: &'a RequestView<'a>,
    ) -> Self {
        let Found { provider, authority } = found;
        Self { env, id, config, provider, authority: authority.as_ref(), view, session_end: None }
    }

    /// Whether its path needs authentication.
    pub(crate) fn path(self) -> Path {
        if self.config.allow_cors_preflight && self.view.is_cors_preflight() {
            Path::Preflight
        } else if open_paths::is_unauthenticated(&self.provider.settings, self.view) {
            Path::Open
        } else {
            Path::Protected
        }
    }

    /// The credential that it presents, and why it is refused if nobody vouches for that.
    pub(crate) fn credential(self) -> (Option<Credential<'a>>, Presented, Rejection) {
        match credential::read(self.view.authorization) {
            Ok(Some(credential)) => (Some(credential), Presented::Credential, Rejection::NoCredential),
            Ok(None) => {
                let rejection = self.session_end.map_or(Rejection::NoCredential, Rejection::SessionEnded);
                (None, Presented::Absent, rejection)
            }
            Err(malformed) => (None, Presented::Malformed, Rejection::Malformed(malformed)),
        }
    }
}
