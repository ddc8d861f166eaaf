//! What is remembered of credentials, and for how long.
//!
//! Owns: the order of look-ups (this worker, then what all workers share), what a verdict becomes in each, and every
//! lifetime. Only a verdict is remembered; a fault never is.
//! Must not: judge, or ask.

use core::cell::OnceCell;
use std::rc::Rc;

use crate::authn::cache::fingerprint::{Fingerprint, ProviderKeys};
use crate::authn::cache::local::{Cache, CacheKey, Lifetime, Name};
use crate::authn::cache::shared::{SharedVerdict, Times};
use crate::authn::directory::ProviderId;
use crate::authn::env::Env;
use crate::authn::fault::{Fault, Rejection};
use crate::authn::identity::Identity;
use crate::authn::jwt::verifier::{self, VerifiedIdentity};
use crate::authn::request::credential::{self, BearerToken, Credential};
use crate::authn::session::content::Session;
use crate::authn::verdict::{Refusal, Verdict};
use crate::authn::verification::pending::Outcome;
use crate::authn::{Authenticator, ProviderState, Request};
use crate::base::time::Timestamp;
use crate::config::{BearerVerification, Provider};

/// A credential about which nothing is remembered: all that is needed to remember what comes of it.
pub(crate) struct Case {
    provider: ProviderId,
    key: CacheKey,
    /// Of a token only when it is needed: most are judged on the spot.
    fingerprint: OnceCell<Fingerprint>,
    kind: Kind,
    /// The end that a token claims for itself: nothing that is granted for it lasts longer.
    not_after: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Basic,
    Bearer,
    Session,
    /// Good for one login; nothing of it is remembered.
    Code,
}

impl Case {
    pub(crate) const fn provider(&self) -> ProviderId {
        self.provider
    }

    /// The credential, where it is a token: the copy of it that is kept anyway.
    pub(crate) fn credential(&self) -> Option<Credential<'static>> {
        Some(Credential::Bearer(BearerToken::Kept(self.key.as_token()?.clone())))
    }

    /// What stands for the credential where it must not be itself: among flights, in tickets and shared slots.
    pub(crate) fn fingerprint(&self, keys: &ProviderKeys) -> Fingerprint {
        *self.fingerprint.get_or_init(|| keys.fingerprint_of_token(self.key.name().content()))
    }
}

impl Authenticator {
    /// What is remembered of a credential, or the case to open. `None`: there is no such provider.
    pub(crate) fn look_up(
        &mut self,
        env: &Env<'_>,
        provider: ProviderId,
        credential: &Credential<'_>,
    ) -> Option<Result<Verdict, Case>> {
        let (settings, state) = (self.config.providers.get(provider)?, self.providers.get(provider)?);
        let (key, fingerprint) = match credential {
            Credential::Bearer(token) => {
                let name = Name::token(provider, token.expose().as_bytes());
                if let Some(verdict) = remembered(&mut self.cache, &mut self.refusals, name, env.now) {
                    return Some(Ok(verdict));
                }
                (CacheKey::token(provider, token.keep()), OnceCell::new())
            }
            Credential::Basic { .. } | Credential::Session(_) | Credential::Code(_) => {
                let fingerprint = state.keys.fingerprint(credential);
                let name = Name::fingerprint(provider, &fingerprint);
                if let Some(verdict) = remembered(&mut self.cache, &mut self.refusals, name, env.now) {
                    return Some(Ok(verdict));
                }
                (CacheKey::fingerprint(provider, fingerprint), OnceCell::from(fingerprint))
            }
        };
        let (kind, not_after) = match credential {
            Credential::Basic { .. } => (Kind::Basic, None),
            // What is verified here has its end from there.
            Credential::Bearer(token) if is_shared(settings, Kind::Bearer) => {
                (Kind::Bearer, verifier::unverified_expiry(token.expose()))
            }
            Credential::Bearer(_) => (Kind::Bearer, None),
            Credential::Session(_) => (Kind::Session, None),
            Credential::Code(_) => (Kind::Code, None),
        };
        let case = Case { provider, key, fingerprint, kind, not_after };
        Some(self.shared_verdict(env, &case).ok_or(case))
    }

    /// The verdict on a token that stands alone in the header and is known: it is looked up as it is, nothing of it is
    /// read. What is remembered was read when it came first.
    pub(crate) fn known_token(&mut self, request: Request<'_>) -> Option<Verdict> {
        let token = credential::bearer_token(request.view.authorization)?;
        self.cache.fresh(Name::token(request.provider, token), request.env.now)
    }

    /// What another worker found out; from now on this one knows it too.
    fn shared_verdict(&mut self, env: &Env<'_>, case: &Case) -> Option<Verdict> {
        let (settings, state) = self.settings_and_state(case.provider)?;
        if !is_shared(settings, case.kind) {
            return None;
        }
        let fingerprint = case.fingerprint(&state.keys);
        let (shared, fresh_until) = self.slots.read(&fingerprint, &state.keys, env.host, env.now)?;
        let verdict = match shared {
            SharedVerdict::Vouched(verified) => self.vouched(verified, settings),
            SharedVerdict::Refused(rejection) => Verdict::Refused(rejection),
        };
        self.remember(case, &verdict, fresh_until);
        Some(verdict)
    }

    /// Keeps a verdict in this worker: a good one ends a refusal, and the other way round.
    fn remember(&mut self, case: &Case, verdict: &Verdict, fresh_until: Timestamp) {
        let lifetime = self.lifetime(verdict, fresh_until);
        match verdict {
            Verdict::Vouched(_) => {
                self.refusals.remove(&case.key);
                self.cache.insert(case.key.clone(), verdict.clone(), lifetime);
            }
            Verdict::Refused(rejection) => {
                let refusal = Refusal { rejection: *rejection, was_good: self.was_good(case) };
                self.cache.remove(&case.key);
                self.refusals.insert(case.key.clone(), refusal, lifetime);
            }
        }
    }

    /// Remembers what came of a case. A fault may be bridged by what was known before.
    pub(crate) fn settle(&mut self, env: &Env<'_>, case: &Case, outcome: Outcome) -> Result<Verdict, Fault> {
        let Some((settings, state)) = self.settings_and_state(case.provider) else { return Err(Fault::Host) };
        let is_shared = is_shared(settings, case.kind);
        let (verdict, fresh_until) = match outcome {
            Err(fault) => return self.bridge(env, case, fault),
            Ok(Ok(verified)) => {
                // What was granted for a token of another issuer ends with that.
                let verified = match case.not_after {
                    Some(end) => verified.until(end),
                    None => verified,
                };
                let fresh_until = self.fresh_until(env.now, settings, case, &verified);
                if is_shared {
                    let slots = &self.slots;
                    slots.write_vouched(
                        &case.fingerprint(&state.keys),
                        &state.keys,
                        env.host,
                        &verified,
                        fresh_until,
                    );
                }
                (self.vouched(verified, settings), fresh_until)
            }
            // A definite no of authentik's.
            Ok(Err(rejection @ (Rejection::Refused(_) | Rejection::Inactive))) => {
                let fresh_until = env.now.plus(self.config.cache.negative_ttl_seconds);
                let end = env.now.plus(self.longest_stale_seconds(settings));
                if is_shared {
                    let slots = &self.slots;
                    slots.write_refused(
                        &case.fingerprint(&state.keys),
                        &state.keys,
                        env.host,
                        rejection,
                        Times { fresh_until, vouched: env.now, end },
                    );
                }
                (Verdict::Refused(rejection), fresh_until)
            }
            // Found out here, at no cost; and what was known before is over.
            Ok(Err(rejection)) => {
                self.cache.remove(&case.key);
                return Ok(Verdict::Refused(rejection));
            }
        };
        if case.kind != Kind::Code {
            self.remember(case, &verdict, fresh_until);
        }
        Ok(verdict)
    }

    /// What was known before goes on while authentik fails, for `cache.stale_seconds`, unless another worker has been told
    /// no since. Nothing else is bridged: what clients cause would let them keep a credential alive.
    fn bridge(&self, env: &Env<'_>, case: &Case, fault: Fault) -> Result<Verdict, Fault> {
        if !fault.is_outage() || self.is_refused_elsewhere(env, case) {
            return Err(fault);
        }
        self.cache.stale(&case.key, env.now).ok_or(fault)
    }

    fn is_refused_elsewhere(&self, env: &Env<'_>, case: &Case) -> bool {
        let Some((settings, state)) = self.settings_and_state(case.provider) else { return true };
        let fingerprint = || case.fingerprint(&state.keys);
        is_shared(settings, case.kind)
            && self.slots.remembers_refusal(&fingerprint(), &state.keys, env.host, env.now)
    }

    /// Whether a session whose token authentik cannot confirm now goes on: for as long past its interval as every other
    /// verdict, unless a worker has been told no.
    pub(crate) fn is_session_bridged(&self, request: Request<'_>, session: &Session, fault: &Fault) -> bool {
        let Request { env, provider, .. } = request;
        let Some((settings, state)) = self.settings_and_state(provider) else { return false };
        let vouched = session.identity.verified().vouched();
        let seconds = settings.revalidate_seconds.saturating_add(self.config.cache.stale_seconds);
        let credential = Credential::Session(session.identity.verified().token().clone());
        let fingerprint = state.keys.fingerprint(&credential);
        let key = CacheKey::fingerprint(provider, fingerprint);
        let is_refused = || {
            self.refusals.last(&key).is_some()
                || self.slots.remembers_refusal(&fingerprint, &state.keys, env.host, env.now)
        };
        self.config.cache.stale_seconds > 0
            && fault.is_outage()
            && session.expires > env.now
            && vouched.plus(seconds) > env.now
            && !is_refused()
    }

    /// How long after it was learned a good verdict can still be used, in seconds.
    fn longest_stale_seconds(&self, settings: &Provider) -> u64 {
        let cache = &self.config.cache;
        cache.ttl_seconds.max(settings.revalidate_seconds).saturating_add(cache.stale_seconds)
    }

    /// Whether this is no guess: authentik vouched for this very credential before, however long ago, or it came out of
    /// a box that only we can seal.
    pub(crate) fn was_good(&self, case: &Case) -> bool {
        matches!(case.kind, Kind::Session | Kind::Code)
            || self.cache.last(&case.key).is_some()
            || self.refusals.last(&case.key).is_some_and(|refusal| refusal.was_good)
    }

    fn vouched(&self, verified: VerifiedIdentity, settings: &Provider) -> Verdict {
        match Identity::new(verified, settings, &self.config) {
            Ok(identity) => Verdict::Vouched(Rc::new(identity)),
            Err(incomplete) => Verdict::Refused(Rejection::Incomplete(incomplete)),
        }
    }

    /// Never past the token's own end, and no longer than a revoked token may pass.
    fn fresh_until(
        &self,
        now: Timestamp,
        settings: &Provider,
        case: &Case,
        verified: &VerifiedIdentity,
    ) -> Timestamp {
        let ttl = self.config.cache.ttl_seconds;
        let is_local = settings.bearer_verification == BearerVerification::Local;
        let seconds = match (settings.revalidate_seconds, case.kind) {
            (0, _) => ttl,
            // What was verified here and confirmed by authentik stands until it is to be confirmed again.
            (revalidate, Kind::Bearer) if is_local => revalidate,
            (revalidate, Kind::Session) => revalidate,
            (revalidate, Kind::Bearer | Kind::Basic | Kind::Code) => ttl.min(revalidate),
        };
        let granted = now.plus(seconds).min(verified.expires());
        case.not_after.map_or(granted, |end| granted.min(end))
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

    fn settings_and_state(&self, provider: ProviderId) -> Option<(&Provider, &ProviderState)> {
        Some((self.config.providers.get(provider)?, self.providers.get(provider)?))
    }
}

/// What this worker remembers, good or not.
fn remembered(
    cache: &mut Cache<Verdict>,
    refusals: &mut Cache<Refusal>,
    name: Name<'_>,
    now: Timestamp,
) -> Option<Verdict> {
    let refused = |refusal: Refusal| Verdict::Refused(refusal.rejection);
    cache.fresh(name, now).or_else(|| refusals.fresh(name, now).map(refused))
}

/// Whether other workers profit: an exchange or an introspection costs authentik something, a local check nothing.
fn is_shared(settings: &Provider, kind: Kind) -> bool {
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
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    fn provider(changes: &Value) -> Provider {
        let mut entry = json!({
            "assigned_application_slug": "demo", "client_id": "demo", "client_secret": "s",
            "external_host": "https://app.example.test",
        });
        entry.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let configuration = json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
            "session": {"enabled": false}, "providers": [entry],
        });
        Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap().providers.remove(0)
    }

    #[test]
    fn what_cost_authentik_something_is_shared_and_a_code_never() {
        for (changes, is_bearer_shared) in [
            (json!({}), false),
            (json!({"bearer_verification": "introspection"}), true),
            (json!({"bearer_verification": "local_then_introspection"}), true),
            (json!({"federated_bearer": true}), true),
            (json!({"revalidate_seconds": 1}), true),
        ] {
            let settings = provider(&changes);
            assert_eq!(is_shared(&settings, Kind::Bearer), is_bearer_shared, "{changes}");
            assert!(is_shared(&settings, Kind::Basic) && is_shared(&settings, Kind::Session), "{changes}");
            assert!(!is_shared(&settings, Kind::Code), "{changes}");
        }
    }
}
