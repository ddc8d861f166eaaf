//! What is remembered of credentials, and for how long.
//!
//! Owns: the order of look-ups (this worker, then what all workers share), what a verdict becomes in each, and every
//! lifetime. Only a verdict is remembered; a fault never is.
//! Must not: judge, or ask.

use core::cell::OnceCell;
use std::rc::Rc;

use crate::authn::cache::local::{self, Cache, CacheKey, Lifetime, Name};
use crate::authn::cache::miss::{Kind, Miss};
use crate::authn::cache::shared::{SharedVerdict, Slots, Times};
use crate::authn::ended::{Since, Standing};
use crate::authn::env::Env;
use crate::authn::fault::{Fault, Rejection};
use crate::authn::identity::Identity;
use crate::authn::jwt::verifier::{self, VerifiedIdentity};
use crate::authn::provider::Provider;
use crate::authn::request::credential::{self, Credential};
use crate::authn::request::view::Authorization;
use crate::authn::session::content::Session;
use crate::authn::verdict::{Judgement, Refusal, Source, Verdict};
use crate::base::time::Timestamp;
use crate::config::{self, BearerVerification, Config};

/// The result of a verification, by authentik or by the filter itself.
pub(crate) type Outcome = Result<Result<VerifiedIdentity, Rejection>, Fault>;

/// The verdict cache of one worker under one configuration.
pub(crate) struct Verdicts {
    config: Rc<Config>,
    good: Cache<Verdict>,
    /// Refusals have a cache of their own, so that guesses evict no valid verdict.
    refusals: Cache<Refusal>,
    slots: Slots,
}

impl Verdicts {
    pub(crate) fn new(config: &Rc<Config>) -> Self {
        let (entries, bytes) = local::bounds(config);
        Self {
            good: Cache::new(entries, bytes),
            refusals: Cache::new(entries, bytes / 8),
            slots: Slots::new(config),
            config: Rc::clone(config),
        }
    }

    /// What is remembered of a credential.
    ///
    /// # Errors
    /// Nothing is: what is needed to remember what comes of it.
    pub(crate) fn look_up(
        &mut self,
        env: &Env<'_>,
        provider: &Rc<Provider>,
        credential: &Credential<'_>,
    ) -> Result<Judgement, Miss> {
        let (key, fingerprint) = match credential {
            Credential::Bearer(token) => {
                let name = Name::token(provider.id, token.expose().as_bytes());
                if let Some(verdict) = self.remembered(env, provider, name, Kind::Bearer) {
                    return Ok(Judgement::new(Ok(verdict), Source::Cache));
                }
                (CacheKey::token(provider.id, token.keep()), OnceCell::new())
            }
            Credential::Basic { .. } | Credential::Session(_) | Credential::Code(_) => {
                let fingerprint = provider.keys.fingerprint(credential);
                let name = Name::fingerprint(provider.id, &fingerprint);
                let kind = match credential {
                    Credential::Basic { .. } => Kind::Basic,
                    Credential::Bearer(_) | Credential::Session(_) | Credential::Code(_) => Kind::Session,
                };
                if let Some(verdict) = self.remembered(env, provider, name, kind) {
                    return Ok(Judgement::new(Ok(verdict), Source::Cache));
                }
                (CacheKey::fingerprint(provider.id, fingerprint), OnceCell::from(fingerprint))
            }
        };
        let (kind, not_after) = match credential {
            Credential::Basic { .. } => (Kind::Basic, None),
            // What is verified here has its end from there.
            Credential::Bearer(token) if is_shared(&provider.settings, Kind::Bearer) => {
                (Kind::Bearer, verifier::unverified_expiry(token.expose()))
            }
            Credential::Bearer(_) => (Kind::Bearer, None),
            Credential::Session(_) => (Kind::Session, None),
            Credential::Code(_) => (Kind::Code, None),
        };
        let miss = Miss { provider: Rc::clone(provider), key, fingerprint, kind, not_after };
        let shared = self.shared_verdict(env, &miss);
        shared.map(|verdict| Judgement::new(Ok(verdict), Source::Shared)).ok_or(miss)
    }

    /// Fast path: the verdict on a token that stands alone in the header and is cached. It is looked up as it is, nothing of
    /// it is read. What is remembered was read when it came first.
    pub(crate) fn known_token(
        &mut self,
        env: &Env<'_>,
        provider: &Provider,
        authorization: Authorization<'_>,
    ) -> Option<Judgement> {
        let token = credential::bearer_token(authorization)?;
        let verdict = self.confirmed(env, provider, Name::token(provider.id, token), Kind::Bearer)?;
        Some(Judgement::new(Ok(verdict), Source::Cache))
    }

    /// How many verdicts are cached, good and bad.
    pub(crate) fn len(&self) -> usize {
        self.good.len().saturating_add(self.refusals.len())
    }

    fn remembered(
        &mut self,
        env: &Env<'_>,
        provider: &Provider,
        name: Name<'_>,
        kind: Kind,
    ) -> Option<Verdict> {
        let refused = |refusal: Refusal| Verdict::Refused(refusal.rejection);
        let good = self.confirmed(env, provider, name, kind);
        good.or_else(|| self.refusals.fresh(name, env.now).map(refused))
    }

    /// A good verdict, unless it must be confirmed before it counts again.
    fn confirmed(
        &mut self,
        env: &Env<'_>,
        provider: &Provider,
        name: Name<'_>,
        kind: Kind,
    ) -> Option<Verdict> {
        let verdict = self.good.fresh(name, env.now)?;
        if is_unconfirmed(env, provider, &verdict, kind) {
            self.good.expire(name, env.now, self.config.cache.stale_seconds);
            return None;
        }
        Some(verdict)
    }

    /// What another worker found out; from now on this one knows it too.
    fn shared_verdict(&mut self, env: &Env<'_>, miss: &Miss) -> Option<Verdict> {
        let Provider { settings, keys, .. } = &*miss.provider;
        if !is_shared(settings, miss.kind) {
            return None;
        }
        let (shared, fresh_until) = self.slots.read(&miss.fingerprint(), keys, env.host, env.now)?;
        let verdict = match shared {
            SharedVerdict::Vouched(verified) => self.vouched(verified, settings),
            SharedVerdict::Refused(rejection) => Verdict::Refused(rejection),
        };
        if is_unconfirmed(env, &miss.provider, &verdict, miss.kind) {
            return None;
        }
        self.remember(miss, &verdict, fresh_until);
        Some(verdict)
    }

    /// Keeps a verdict in this worker: a good one ends a refusal, and the other way round.
    fn remember(&mut self, miss: &Miss, verdict: &Verdict, fresh_until: Timestamp) {
        let lifetime = self.lifetime(verdict, fresh_until);
        match verdict {
            Verdict::Vouched(_) => {
                self.refusals.remove(&miss.key);
                self.good.insert(miss.key.clone(), verdict.clone(), lifetime);
            }
            Verdict::Refused(rejection) => {
                let refusal = Refusal { rejection: rejection.clone(), was_good: self.was_good(miss) };
                self.good.remove(&miss.key);
                self.refusals.insert(miss.key.clone(), refusal, lifetime);
            }
        }
    }

    /// Remembers what came of a miss. A fault may be bridged by what was known before.
    pub(crate) fn settle(&mut self, env: &Env<'_>, miss: &Miss, outcome: Outcome) -> Result<Verdict, Fault> {
        let Provider { settings, keys, .. } = &*miss.provider;
        let is_shared = is_shared(settings, miss.kind);
        let (verdict, fresh_until) = match outcome {
            Err(fault) => return self.bridge(env, miss, fault),
            Ok(Ok(verified)) => {
                // What was granted for a token of another issuer ends with that.
                let verified = match miss.not_after {
                    Some(end) => verified.until(end),
                    None => verified,
                };
                let fresh_until = self.fresh_until(env.now, miss, &verified);
                if is_shared {
                    self.slots.write_vouched(&miss.fingerprint(), keys, env.host, &verified, fresh_until);
                }
                (self.vouched(verified, settings), fresh_until)
            }
            // A definite no of authentik's.
            Ok(Err(rejection @ (Rejection::Refused(_) | Rejection::Inactive))) => {
                let fresh_until = env.now.plus(self.config.cache.negative_ttl_seconds);
                let end = env.now.plus(self.longest_stale_seconds(settings));
                if is_shared {
                    let times = Times { fresh_until, vouched: env.now, end };
                    self.slots.write_refused(&miss.fingerprint(), keys, env.host, &rejection, times);
                }
                (Verdict::Refused(rejection), fresh_until)
            }
            // Found out here, at no cost; and what was known before is over.
            Ok(Err(rejection)) => {
                self.good.remove(&miss.key);
                return Ok(Verdict::Refused(rejection));
            }
        };
        if miss.kind != Kind::Code {
            self.remember(miss, &verdict, fresh_until);
        }
        Ok(verdict)
    }

    /// A stale verdict is used while authentik fails, for `cache.stale_seconds`, unless another worker has seen a refusal
    /// since. Other faults are not bridged: clients could cause them to keep a credential valid.
    fn bridge(&self, env: &Env<'_>, miss: &Miss, fault: Fault) -> Result<Verdict, Fault> {
        if !fault.is_outage() || self.is_refused_elsewhere(env, miss) {
            return Err(fault);
        }
        self.good.stale(&miss.key, env.now).ok_or(fault)
    }

    fn is_refused_elsewhere(&self, env: &Env<'_>, miss: &Miss) -> bool {
        let Provider { settings, keys, .. } = &*miss.provider;
        is_shared(settings, miss.kind)
            && self.slots.remembers_refusal(&miss.fingerprint(), keys, env.host, env.now)
    }

    /// Whether a session stays valid while authentik cannot confirm its token: for as long past its interval as any other
    /// verdict, unless a worker has seen a refusal.
    pub(crate) fn is_session_bridged(
        &self,
        env: &Env<'_>,
        provider: &Provider,
        session: &Session,
        fault: &Fault,
    ) -> bool {
        let vouched = session.identity.verified().vouched();
        let stale_seconds = self.config.cache.stale_seconds;
        let seconds = provider.settings.revalidate_seconds.saturating_add(stale_seconds);
        let credential = Credential::Session(session.identity.verified().token().clone());
        let is_refused = || {
            let fingerprint = provider.keys.fingerprint(&credential);
            let key = CacheKey::fingerprint(provider.id, fingerprint);
            self.refusals.last(&key).is_some()
                || self.slots.remembers_refusal(&fingerprint, &provider.keys, env.host, env.now)
        };
        stale_seconds > 0
            && fault.is_outage()
            && session.expires > env.now
            && vouched.plus(seconds) > env.now
            && !is_refused()
    }

    /// How long after it was learned a good verdict can still be used, in seconds.
    fn longest_stale_seconds(&self, settings: &config::Provider) -> u64 {
        let cache = &self.config.cache;
        cache.ttl_seconds.max(settings.revalidate_seconds).saturating_add(cache.stale_seconds)
    }

    /// Whether the credential is not counted as a guess: authentik accepted it before, however long ago, or it came out of
    /// a sealed value.
    pub(crate) fn was_good(&self, miss: &Miss) -> bool {
        matches!(miss.kind, Kind::Session | Kind::Code)
            || self.good.last(&miss.key).is_some()
            || self.refusals.last(&miss.key).is_some_and(|refusal| refusal.was_good)
    }

    fn vouched(&self, verified: VerifiedIdentity, settings: &config::Provider) -> Verdict {
        match Identity::new(verified, settings, &self.config) {
            Ok(identity) => Verdict::Vouched(Rc::new(identity)),
            Err(incomplete) => Verdict::Refused(Rejection::Incomplete(incomplete)),
        }
    }

    /// Never past the token's own end, and no longer than a revoked token may pass.
    fn fresh_until(&self, now: Timestamp, miss: &Miss, verified: &VerifiedIdentity) -> Timestamp {
        let settings = &miss.provider.settings;
        let ttl = self.config.cache.ttl_seconds;
        let is_local = settings.bearer_verification == BearerVerification::Local;
        let seconds = match (settings.revalidate_seconds, miss.kind) {
            (0, _) => ttl,
            // What was verified here and confirmed by authentik stands until it is to be confirmed again.
            (revalidate, Kind::Bearer) if is_local => revalidate,
            (revalidate, Kind::Session) => revalidate,
            (revalidate, Kind::Bearer | Kind::Basic | Kind::Code) => ttl.min(revalidate),
        };
        let granted = now.plus(seconds).min(verified.expires());
        miss.not_after.map_or(granted, |end| granted.min(end))
    }

    fn lifetime(&self, verdict: &Verdict, fresh_until: Timestamp) -> Lifetime {
        let stale_until = match verdict {
            Verdict::Vouched(identity) => {
                fresh_until.plus(self.config.cache.stale_seconds).min(identity.expires())
            }
            Verdict::Refused(_) => fresh_until,
        };
        Lifetime { fresh_until, stale_until }
    }
}

/// Whether authentik must be asked before a verdict counts again.
fn is_unconfirmed(env: &Env<'_>, provider: &Provider, verdict: &Verdict, kind: Kind) -> bool {
    match verdict {
        Verdict::Vouched(identity) => {
            let verified = identity.verified();
            let vouched = verified.vouched();
            let since = Since { begun: vouched, vouched, is_of_password: kind == Kind::Basic };
            let ended = provider.ended(env);
            ended.of_verdict(identity.checked(), verified.claims(), since, env.now) == Standing::Unconfirmed
        }
        Verdict::Refused(_) => false,
    }
}

/// Whether other workers profit: an exchange or an introspection costs authentik something, a local check nothing.
fn is_shared(settings: &config::Provider, kind: Kind) -> bool {
    let is_asked = settings.revalidate_seconds > 0
        || settings.federated_bearer
        || settings.bearer_verification != BearerVerification::Local;
    match kind {
        Kind::Basic | Kind::Session => true,
        Kind::Bearer => is_asked,
        Kind::Code => false,
    }
}

#[cfg(test)]
mod tests;
