//! Logout tokens that were accepted, so that each counts once.
//!
//! Owns: digests of their `jti`, in shared data, until the tokens are too old to count. At most as many as a table has room
//! for; when there is no room, the oldest leaves. Then a replay is accepted, and changes nothing: a session that has ended
//! ends again, and of a user's sessions only those end that began before the token was issued.
//! Must not: judge a token.

use super::shared::SharedTable;
use crate::authn::env::Env;
use crate::base::time::Timestamp;
use crate::config::Provider;

const TOKEN: u8 = b't';

/// The tokens of one provider.
pub(crate) struct SeenTokens(SharedTable);

impl SeenTokens {
    /// `None` only if HMAC refused a key, which it never does.
    pub(crate) fn new(provider: &Provider) -> Option<Self> {
        let secret = provider.client_secret.expose();
        SharedTable::derive(secret, "logout", &provider.client_id, &[TOKEN]).map(Self)
    }

    /// Whether a token was not seen before, by any worker. `until`: from then on it is too old. Two workers that get it in the
    /// same moment may both take it for new.
    #[inline(never)]
    pub(crate) fn is_new(&mut self, jti: &str, until: Timestamp, env: &Env<'_>) -> bool {
        self.0.sync(env);
        if self.0.at(TOKEN, jti).is_some() {
            return false;
        }
        self.0.note(TOKEN, jti, env.now, until);
        self.0.sync(env);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::cache::shared::tests::Memory;

    fn provider() -> crate::config::Config {
        let configuration = serde_json::json!({
            "authentik": {"cluster": "authentik", "host": "https://auth.example.test"},
            "session": {"enabled": false},
            "providers": [{
                "assigned_application_slug": "demo", "client_id": "demo-client-id",
                "client_secret": "demo-client-secret-0123456789abcdef", "external_host": "https://app.example.test",
            }],
        });
        crate::config::Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
    }

    #[test]
    fn token_is_new_once_for_all_workers() {
        let (config, memory) = (provider(), Memory::default());
        let env = Env { now: Timestamp::from_seconds(1_000), host: &memory };
        let until = Timestamp::from_seconds(4_600);
        let worker = || SeenTokens::new(&config.providers[0]).unwrap();
        let (mut one, mut other) = (worker(), worker());
        assert!(one.is_new("a", until, &env));
        assert!(!one.is_new("a", until, &env));
        assert!(!other.is_new("a", until, &env), "another worker has seen it");
        assert!(other.is_new("b", until, &env));
        assert!(!one.is_new("b", until, &env));
        assert!(!worker().is_new("a", until, &env), "a worker that starts later");
    }
}
