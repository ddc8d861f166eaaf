//! Rate limit of refused credentials: per user name, and per user name and source address where that can be trusted.
//!
//! Owns: the counts, bounded in number. They are this worker's own. An attempt counts from the moment it is sent, so
//! that many at one time are no way around the limit; it is taken back unless authentik refuses the credential.
//! Must not: keep a name (it may be as long as a header), or limit a credential that is known to be good.

use core::num::NonZeroUsize;

use lru::LruCache;
use sha2::{Digest as _, Sha256};

use crate::authn::cache::verdicts::Outcome;
use crate::authn::env::Env;
use crate::authn::fault::Rejection;
use crate::authn::request::credential::Credential;
use crate::base::time::Timestamp;
use crate::config::{self, ProviderId};

/// Most names and most addresses that are counted at one time; the longest unused are forgotten first.
const MAX_COUNTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// Whose refused credentials are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) provider: ProviderId,
    pub(crate) username: Option<NameDigest>,
    /// Without the port.
    pub(crate) address: Option<String>,
}

/// SHA-256 of a user name.
pub(crate) type NameDigest = [u8; 32];

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Timestamp,
    failures: u32,
}

/// The counts of one worker.
///
/// Where the source address is the client's own, failures count per user name *and* address.
/// Then `failures_per_user` bounds what all addresses together may cost one user name, and what all names together may cost
/// one address. Where it is not, the user name alone counts.
pub(crate) struct RateLimit {
    limit: u32,
    limit_of_all: u32,
    window_seconds: u64,
    trusts_source_address: bool,
    pairs: LruCache<Key, Count>,
    usernames: LruCache<Key, Count>,
    addresses: LruCache<Key, Count>,
}

/// Whose failures are counted together: of a user name at a provider, of an address, of both.
type Key = (Option<(ProviderId, NameDigest)>, Option<String>);

impl RateLimit {
    pub(crate) fn new(config: &config::Throttle) -> Self {
        Self {
            limit: config.failures,
            limit_of_all: config.failures_per_user,
            window_seconds: config.window_seconds,
            trusts_source_address: config.trust_source_address,
            pairs: LruCache::new(MAX_COUNTS),
            usernames: LruCache::new(MAX_COUNTS),
            addresses: LruCache::new(MAX_COUNTS),
        }
    }

    /// An attempt with a credential that was not good before.
    pub(crate) fn attempt(
        &self,
        env: &Env<'_>,
        provider: ProviderId,
        credential: &Credential<'_>,
    ) -> Attempt {
        let address = if self.trusts_source_address { env.host.source_address() } else { None };
        Attempt::of(provider, credential, address)
    }

    /// Counts an attempt that is about to be sent.
    ///
    /// # Errors
    /// It may not be sent; seconds after which one may.
    pub(crate) fn begin(&mut self, attempt: &Attempt, now: Timestamp) -> Result<(), u64> {
        if self.limit == 0 || attempt.is_unknown() {
            return Ok(());
        }
        let window = self.window_seconds;
        let wait = |limit: u32| {
            move |count: &Count| {
                let age = now.since(count.since);
                (count.failures >= limit && age < window).then(|| window.saturating_sub(age).max(1))
            }
        };
        let by_pair = self.pairs.peek(&attempt.pair()).and_then(wait(self.limit));
        let of_all = wait(self.limit_of_all);
        let by_name = attempt.name().and_then(|name| self.usernames.peek(&name).and_then(&of_all));
        let by_address =
            attempt.address().and_then(|address| self.addresses.peek(&address).and_then(&of_all));
        if let Some(seconds) = by_pair.max(by_name).max(by_address) {
            return Err(seconds);
        }
        count_one(&mut self.pairs, attempt.pair(), now, window);
        if let Some(address) = attempt.address() {
            count_one(&mut self.addresses, address, now, window);
            if let Some(name) = attempt.name() {
                count_one(&mut self.usernames, name, now, window);
            }
        }
        Ok(())
    }

    /// An attempt has come to its end. It counts only if authentik refused the credential.
    pub(crate) fn release(&mut self, attempt: Option<&Attempt>, outcome: &Outcome) {
        let is_refused = matches!(outcome, Ok(Err(Rejection::Refused(_) | Rejection::Inactive)));
        if let Some(attempt) = attempt.filter(|_| !is_refused) {
            self.take_back(attempt);
        }
    }

    fn take_back(&mut self, attempt: &Attempt) {
        let counts = [
            self.pairs.peek_mut(&attempt.pair()),
            attempt.name().and_then(|name| self.usernames.peek_mut(&name)),
            attempt.address().and_then(|address| self.addresses.peek_mut(&address)),
        ];
        for count in counts.into_iter().flatten() {
            count.failures = count.failures.saturating_sub(1);
        }
    }
}

impl Attempt {
    /// `address`: the client's, with its port, where it can be trusted.
    pub(crate) fn of(provider: ProviderId, credential: &Credential<'_>, address: Option<String>) -> Self {
        let username = match credential {
            Credential::Basic { username, .. } => Some(Sha256::digest(username).into()),
            Credential::Bearer(_) | Credential::Session(_) | Credential::Code(_) => None,
        };
        let without_port =
            |address: String| address.rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or(address);
        Self { provider, username, address: address.map(without_port) }
    }

    fn name(&self) -> Option<Key> {
        Some((Some((self.provider, self.username?)), None))
    }

    fn address(&self) -> Option<Key> {
        Some((None, Some(self.address.clone()?)))
    }

    fn pair(&self) -> Key {
        (self.username.map(|username| (self.provider, username)), self.address.clone())
    }

    /// A token has no user name; without an address there is nothing to count it by.
    const fn is_unknown(&self) -> bool {
        self.username.is_none() && self.address.is_none()
    }
}

fn count_one(counts: &mut LruCache<Key, Count>, key: Key, now: Timestamp, window: u64) {
    let count = counts.get_or_insert_mut(key, || Count { since: now, failures: 0 });
    if now.since(count.since) >= window {
        *count = Count { since: now, failures: 0 };
    }
    count.failures = count.failures.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(username: &str, address: Option<&str>) -> Attempt {
        let username = Some(Sha256::digest(username).into());
        Attempt { provider: 0, username, address: address.map(str::to_owned) }
    }

    fn rate_limit(failures: u32) -> RateLimit {
        let config = config::Throttle {
            failures,
            failures_per_user: 7,
            window_seconds: 60,
            trust_source_address: true,
        };
        RateLimit::new(&config)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1000 + seconds)
    }

    #[test]
    fn rate_limit_holds_until_the_window_ends() {
        let mut rate_limit = rate_limit(3);
        let alice = attempt("alice", None);
        for second in 0..3 {
            assert_eq!(rate_limit.begin(&alice, at(second)), Ok(()));
        }
        assert_eq!(rate_limit.begin(&alice, at(10)), Err(50));
        assert_eq!(rate_limit.begin(&attempt("bob", None), at(10)), Ok(()), "others are not limited");
        assert_eq!(rate_limit.begin(&alice, at(59)), Err(1));
        assert_eq!(rate_limit.begin(&alice, at(60)), Ok(()));
    }

    #[test]
    fn valid_credential_is_not_counted() {
        let mut rate_limit = rate_limit(1);
        let alice = attempt("alice", Some("192.0.2.1"));
        for _ in 0..10 {
            assert_eq!(rate_limit.begin(&alice, at(0)), Ok(()));
            rate_limit.take_back(&alice);
        }
    }

    #[test]
    fn rate_limit_is_per_user_and_address() {
        let mut rate_limit = rate_limit(3);
        let (attacker, alice) = (attempt("alice", Some("192.0.2.1")), attempt("alice", Some("192.0.2.2")));
        for _ in 0..3 {
            assert_eq!(rate_limit.begin(&attacker, at(0)), Ok(()));
        }
        assert_eq!(rate_limit.begin(&attacker, at(0)), Err(60));
        assert_eq!(rate_limit.begin(&alice, at(0)), Ok(()), "from her own address");
    }

    #[test]
    fn rate_limit_bounds_one_user_over_all_addresses() {
        let mut rate_limit = rate_limit(3);
        for number in 0..7 {
            let address = format!("192.0.2.{number}");
            assert_eq!(rate_limit.begin(&attempt("alice", Some(&address)), at(0)), Ok(()), "{address}");
        }
        assert_eq!(rate_limit.begin(&attempt("alice", Some("192.0.2.9")), at(0)), Err(60));
        assert_eq!(rate_limit.begin(&attempt("bob", Some("192.0.2.9")), at(0)), Ok(()));
    }

    #[test]
    fn rate_limit_bounds_one_address_over_all_users() {
        let mut rate_limit = rate_limit(3);
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            assert_eq!(rate_limit.begin(&attempt(name, Some("192.0.2.1")), at(0)), Ok(()));
        }
        assert_eq!(rate_limit.begin(&attempt("h", Some("192.0.2.1")), at(0)), Err(60));
        assert_eq!(rate_limit.begin(&attempt("h", Some("192.0.2.2")), at(0)), Ok(()));
    }

    #[test]
    fn token_without_source_address_is_not_counted() {
        let mut rate_limit = rate_limit(1);
        let nobody = Attempt { provider: 0, username: None, address: None };
        for _ in 0..10 {
            assert_eq!(rate_limit.begin(&nobody, at(0)), Ok(()));
        }
    }

    #[test]
    fn zero_failures_disables_the_rate_limit_and_counts_are_bounded() {
        let mut off = rate_limit(0);
        for _ in 0..100 {
            assert_eq!(off.begin(&attempt("alice", None), at(0)), Ok(()));
        }
        let mut on = rate_limit(3);
        for number in 0..20_000 {
            assert_eq!(on.begin(&attempt(&number.to_string(), None), at(0)), Ok(()));
        }
        assert_eq!(on.pairs.len(), MAX_COUNTS.get());
    }
}
