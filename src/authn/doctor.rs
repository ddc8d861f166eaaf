//! The doctor: what authentik publishes about a provider, compared with what the configuration says of it, and the clocks.
//!
//! Owns: what counts as a difference, and the words that say what to set. `check --live` of the native tool uses the same
//! comparison. Must not: fetch anything, log anything, or change a decision.

use core::fmt;

use crate::authn::authentik::discovery::Discovery;
use crate::authn::jwt::jwk::KeySet;
use crate::base::time::Timestamp;
use crate::config::{Config, Provider, ProviderId};

/// Longest text of authentik's that a finding repeats, in bytes before control characters are escaped.
const MAX_QUOTED_BYTES: usize = 200;

/// `Date` has whole seconds and is written before the answer is on its way: authentik's clock seems to be behind by up to
/// so many seconds when it is right.
const WAY_SECONDS: u64 = 2;

/// One way in which authentik differs from the configuration. Its text says what to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    kind: Kind,
    /// What authentik says, quoted and cut; of its clock, how far it is off.
    published: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// authentik's issuer begins with `http:` where the configuration has `https:`.
    Scheme,
    /// authentik has one issuer for all providers, the configuration one for each.
    GlobalIssuer,
    /// The other way round.
    OwnIssuer,
    /// The issuers differ in another way.
    Issuer,
    /// `oidc_configuration` says that there is no signing key, and there is one.
    SigningKey,
    /// The key set has signing keys, and the filter can use none of them.
    UnusableKey,
    /// The key set has no key for what the provider signs with.
    OtherKeys,
    /// authentik's clock is ahead.
    ClockAhead,
    /// authentik's clock is behind.
    ClockBehind,
}

/// Compares what authentik publishes about a provider with its settings. Empty: they agree.
pub fn compare(config: &Config, provider: &Provider, discovery: &Discovery, keys: &KeySet) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(kind) = issuer(config, provider, &discovery.issuer) {
        findings.push(Finding::new(kind, &discovery.issuer));
    }
    if let Some(kind) = signing(provider, discovery, keys) {
        findings.push(Finding::new(kind, &discovery.algorithms));
    }
    findings
}

/// Compares authentik's clock with this machine's. `None`: they differ by `clock_skew_seconds` at most.
pub fn clock(config: &Config, date: Timestamp, now: Timestamp) -> Option<Finding> {
    let (ahead, behind) = (date.since(now), now.since(date).saturating_sub(WAY_SECONDS));
    let (kind, seconds, word) = if ahead > behind {
        (Kind::ClockAhead, ahead, "ahead of")
    } else {
        (Kind::ClockBehind, behind, "behind")
    };
    let published = format!("{seconds} seconds {word} this machine's");
    (seconds > config.clock_skew_seconds).then_some(Finding { kind, published })
}

fn issuer(config: &Config, provider: &Provider, published: &str) -> Option<Kind> {
    let configured = provider.issuer.as_str();
    if published == configured {
        return None;
    }
    let global = format!("{}/", config.authentik.base);
    let own = format!("{global}application/o/{}/", provider.slug);
    // Whatever else differs: with https it may be right.
    let is_in_clear = |secure: &str| {
        published.strip_prefix("http:").is_some_and(|rest| secure.strip_prefix("https:") == Some(rest))
    };
    Some(if [configured, &own, &global].into_iter().any(is_in_clear) {
        Kind::Scheme
    } else if published == global {
        Kind::GlobalIssuer
    } else if published == own && configured == global {
        Kind::OwnIssuer
    } else {
        Kind::Issuer
    })
}

fn signing(provider: &Provider, discovery: &Discovery, keys: &KeySet) -> Option<Kind> {
    let has_key = || discovery.algorithms.split(' ').any(|algorithm| keys.signs(algorithm));
    match keys {
        KeySet::Public(usable) if usable.is_empty() => Some(Kind::UnusableKey),
        KeySet::Public(_) if provider.has_no_signing_key => Some(Kind::SigningKey),
        KeySet::Public(_) | KeySet::ClientSecret => (!has_key()).then_some(Kind::OtherKeys),
    }
}

impl Finding {
    #[inline(never)]
    fn new(kind: Kind, published: &str) -> Self {
        let end = published.floor_char_boundary(MAX_QUOTED_BYTES);
        Self { kind, published: format!("{:?}", published.get(..end).unwrap_or_default()) }
    }

    /// The setting at fault, in an entry of `providers` with this index: where `check --live` points to.
    pub fn path(&self, provider: ProviderId) -> String {
        let field = match self.kind {
            Kind::Scheme | Kind::Issuer => return "authentik.host".to_owned(),
            Kind::GlobalIssuer | Kind::OwnIssuer => "issuer_mode",
            Kind::SigningKey => "oidc_configuration.id_token_signing_alg_values_supported",
            Kind::UnusableKey | Kind::OtherKeys => "assigned_application_slug",
            Kind::ClockAhead | Kind::ClockBehind => return "clock_skew_seconds".to_owned(),
        };
        format!("providers[{provider}].{field}")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, rest) = match self.kind {
            Kind::Scheme => (
                "issues as",
                "although it is called with X-Forwarded-Proto: https, which it believes from trusted networks only; \
                 set AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS at authentik so that it has the address of this proxy, or \
                 lead the way to authentik over https",
            ),
            Kind::GlobalIssuer => ("issues as", "the same for all providers; set issuer_mode to \"global\""),
            Kind::OwnIssuer => {
                ("issues as", "not the same for all providers; set issuer_mode to \"per_provider\"")
            }
            Kind::Issuer => (
                "issues as",
                "which is not what tokens must have; set authentik.host to authentik's public URL and keep Host on \
                 the way there, or set oidc_configuration.issuer to this",
            ),
            Kind::SigningKey => (
                "signs with",
                "but oidc_configuration says HS256 without a signing key; set id_token_signing_alg_values_supported \
                 to this, or import the entry again",
            ),
            Kind::UnusableKey => (
                "signs with",
                "and a key that the filter cannot use; set a signing key for RS256 (2048 to 8192 bits), ES256, ES384 \
                 or ES512 in the provider at authentik, or none",
            ),
            Kind::OtherKeys => (
                "signs with",
                "but its key set has no key for that; set a signing key for RS256, ES256, ES384 or ES512 in the \
                 provider at authentik, or none",
            ),
            Kind::ClockAhead => (
                "has a clock",
                "so new tokens count as issued in the future and are rejected; set both clocks by NTP \
                 (clock_skew_seconds allows less)",
            ),
            Kind::ClockBehind => (
                "has a clock",
                "so tokens expire early or at once; set both clocks by NTP (clock_skew_seconds allows less, and has no \
                 effect on exp)",
            ),
        };
        write!(formatter, "authentik {verb} {}, {rest}", self.published)
    }
}

#[cfg(test)]
mod tests;
