//! A token against keys, issuer, audience and time: the only place where a [`VerifiedIdentity`] is made.
//!
//! Owns: the order and the strictness of the checks (RFC 7519 §7.2, RFC 8725), and the reading of a token *before*
//! it is trusted ([`is_issued_here`], [`shape`]), which never leads to a `VerifiedIdentity`.
//! Must not: fetch keys, know the time by itself, or say to the client what was wrong.

use core::fmt;

use jwt_compact::alg::{Hs256, Hs256Key};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Env;
use super::identity::{Audience, Claims, NumericDate};
use super::jwks::{Choice, KeySet, NoChoice};
use super::jws::{self, Jws};
use super::secret::Secret;
use super::signature::HostCheck;
use super::time::Timestamp;
use super::token::Token;
use crate::config::{Config, Provider};

/// Proof that authentik vouches for these claims now. Only this file makes one.
pub struct VerifiedIdentity {
    claims: Box<Claims>,
    /// Length of the claims where the token does not have them in it, in bytes.
    claims_beside: usize,
    token: Token,
    id_token: Option<Secret<String>>,
    vouched: Timestamp,
    expires: Timestamp,
}

impl VerifiedIdentity {
    /// With the ID token that came along; it only ever goes back to authentik, as a hint.
    pub(super) fn with_id_token(self, id_token: Option<Secret<String>>) -> Self {
        Self { id_token, ..self }
    }

    /// Ends no later than this: what it was granted for ends then.
    pub(super) fn until(self, end: Timestamp) -> Self {
        Self { expires: self.expires.min(end), ..self }
    }

    /// The ID token that came along.
    pub(super) fn id_token(&self) -> Option<&str> {
        self.id_token.as_ref().map(|token| token.expose().as_str())
    }

    /// What authentik says of the user.
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The token that says so.
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// When authentik, or the filter in its name, vouched for it.
    pub const fn vouched(&self) -> Timestamp {
        self.vouched
    }

    /// From this second on the token is worth nothing.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// How much authentik said: the token, and the claims that came beside it, in bytes.
    pub(super) fn size(&self) -> usize {
        self.token.expose().len().saturating_add(self.claims_beside)
    }

    /// The claims as JSON, for a cache entry. `None`: they cannot be written, which no claims that were read are.
    pub(super) fn claims_json(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&self.claims).ok()
    }
}

/// Why a token is not accepted. For the log; the client learns none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRejection {
    /// Not a JWS in compact form: opaque, or broken.
    NotJws,
    /// A JWE; only authentik can read it.
    Encrypted,
    /// A `crit` header: an extension that must be understood and is not.
    CriticalExtension,
    /// An algorithm that the provider's keys do not have.
    Algorithm,
    /// Another issuer.
    Issuer,
    /// Another audience.
    Audience,
    /// A key that the provider does not have.
    UnknownKey,
    /// The signature does not fit.
    Signature,
    /// Claims that are not JSON, or of the wrong types.
    Claims,
    /// No `exp`.
    NoExpiry,
    /// `exp` has come.
    Expired,
    /// `nbf` is still to come.
    NotYetValid,
    /// `iat` is still to come.
    IssuedInFuture,
}

impl TokenRejection {
    /// Whether authentik could know better than the filter. A bad signature or an expired token is final.
    pub const fn is_undecidable(self) -> bool {
        match self {
            Self::NotJws | Self::Encrypted | Self::Issuer | Self::Audience | Self::UnknownKey => true,
            Self::CriticalExtension
            | Self::Algorithm
            | Self::Signature
            | Self::Claims
            | Self::NoExpiry
            | Self::Expired
            | Self::NotYetValid
            | Self::IssuedInFuture => false,
        }
    }
}

impl fmt::Display for TokenRejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotJws => "the token is not a JWS",
            Self::Encrypted => "the token is encrypted",
            Self::CriticalExtension => "the token has a crit header",
            Self::Algorithm => "the token's algorithm is not the provider's",
            Self::Issuer => "the token's iss is not the provider's",
            Self::Audience => "the token's aud is not the provider's client_id",
            Self::UnknownKey => "the token's key is not one of the provider's",
            Self::Signature => "the token's signature is wrong",
            Self::Claims => "the token's claims are malformed",
            Self::NoExpiry => "the token has no exp",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token's nbf is in the future",
            Self::IssuedInFuture => "the token's iat is in the future",
        })
    }
}

/// What a token looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Jws,
    Jwe,
    Opaque,
}

pub(super) fn shape(token: &str) -> Shape {
    match token.split('.').count() {
        3 => Shape::Jws,
        5 => Shape::Jwe,
        _ => Shape::Opaque,
    }
}

/// Why a token is not taken for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotVerified {
    /// It is not good.
    Rejected(TokenRejection),
    /// Nobody here can check signatures by the provider's keys.
    Uncheckable,
}

impl From<TokenRejection> for NotVerified {
    fn from(rejection: TokenRejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// Checks a token locally. What it claims is looked at first: a token of others, or an old one, costs no cryptography.
pub(super) fn verify(
    token: &Token,
    keys: &KeySet,
    provider: &Provider,
    config: &Config,
    env: &Env<'_>,
) -> Result<VerifiedIdentity, NotVerified> {
    let jws = Jws::parse(token.expose()).ok_or_else(|| match shape(token.expose()) {
        Shape::Jwe => TokenRejection::Encrypted,
        Shape::Jws | Shape::Opaque => TokenRejection::NotJws,
    })?;
    if jws.has_critical_extension() {
        return Err(TokenRejection::CriticalExtension.into());
    }
    let claims = claims_for(provider, &jws.claims)?;
    let expires = check_times(&claims, config.clock_skew_seconds, env.now)?;
    let choice = keys.choose(jws.key_id(), jws.algorithm()).map_err(|no| match no {
        NoChoice::Algorithm => TokenRejection::Algorithm,
        NoChoice::Key => TokenRejection::UnknownKey,
    })?;
    let is_genuine = match choice {
        Choice::ClientSecret => jws.is_signed_by(&Hs256Key::new(provider.client_secret.expose()), &Hs256),
        Choice::Key(key) => {
            let check = HostCheck::new(key, env.surroundings);
            let is_genuine = jws.is_signed_by(key, &check);
            if check.is_impossible() {
                return Err(NotVerified::Uncheckable);
            }
            is_genuine
        }
    };
    if !is_genuine {
        return Err(TokenRejection::Signature.into());
    }
    Ok(VerifiedIdentity {
        claims: Box::new(claims),
        claims_beside: 0,
        token: token.clone(),
        id_token: None,
        vouched: env.now,
        expires,
    })
}

/// The claims of a token that says that it comes from this provider's issuer, for this provider.
fn claims_for(provider: &Provider, json: &[u8]) -> Result<Claims, TokenRejection> {
    let issuer = Some(provider.issuer.as_str());
    let Ok(claims) = serde_json::from_slice::<Claims>(json) else {
        // Others may mean something else by the same names.
        let is_ours = serde_json::from_slice::<Issuer>(json).is_ok_and(|it| Some(it.iss.as_str()) == issuer);
        return Err(if is_ours { TokenRejection::Claims } else { TokenRejection::Issuer });
    };
    if claims.iss.as_deref() != issuer {
        return Err(TokenRejection::Issuer);
    }
    if !claims.aud.as_ref().is_some_and(|audience| audience.includes(&provider.client_id)) {
        return Err(TokenRejection::Audience);
    }
    Ok(claims)
}

/// Reads an introspection answer (RFC 7662 §2.2) whose `active` is true. authentik has checked the token, but it also calls
/// one of another provider active that lists this one as federated: that is for `federated_bearer` to allow. The times are
/// checked all the same.
pub(super) fn introspected(
    token: &Token,
    body: &[u8],
    provider: &Provider,
    config: &Config,
    env: &Env<'_>,
) -> Result<VerifiedIdentity, TokenRejection> {
    if !provider.federated_bearer && !is_issued_to(&provider.client_id, body)? {
        return Err(TokenRejection::Audience);
    }
    from_claims_json(token.clone(), body, env.now, config.clock_skew_seconds, env.now)
}

/// Whether an introspection answer names this client, as `client_id` or in `aud`.
fn is_issued_to(client_id: &str, body: &[u8]) -> Result<bool, TokenRejection> {
    #[derive(Deserialize)]
    struct Recipient {
        #[serde(default)]
        client_id: Option<String>,
        #[serde(default)]
        aud: Option<Audience>,
    }
    let recipient: Recipient = serde_json::from_slice(body).map_err(|_| TokenRejection::Claims)?;
    let is_in_audience = recipient.aud.is_some_and(|audience| audience.includes(client_id));
    Ok(is_in_audience || recipient.client_id.as_deref() == Some(client_id))
}

/// Takes a verified identity out of a cache entry or session whose authenticity was checked by the caller; authentik
/// `vouched` for it then.
pub(super) fn restored(
    token: Token,
    claims_json: &[u8],
    vouched: Timestamp,
    now: Timestamp,
) -> Result<VerifiedIdentity, TokenRejection> {
    // It was valid when it was stored, so only `exp` can have come in the meantime.
    from_claims_json(token, claims_json, vouched, u64::MAX, now)
}

fn from_claims_json(
    token: Token,
    json: &[u8],
    vouched: Timestamp,
    skew: u64,
    now: Timestamp,
) -> Result<VerifiedIdentity, TokenRejection> {
    let claims: Claims = serde_json::from_slice(json).map_err(|_| TokenRejection::Claims)?;
    let expires = check_times(&claims, skew, now)?;
    Ok(VerifiedIdentity {
        claims: Box::new(claims),
        claims_beside: if shape(token.expose()) == Shape::Jws { 0 } else { json.len() },
        token,
        id_token: None,
        vouched,
        expires,
    })
}

/// `exp` is required and has no grace; `nbf` and `iat` have `skew` seconds of it.
fn check_times(claims: &Claims, skew: u64, now: Timestamp) -> Result<Timestamp, TokenRejection> {
    let NumericDate(expires) = claims.exp.ok_or(TokenRejection::NoExpiry)?;
    if expires <= now {
        return Err(TokenRejection::Expired);
    }
    let is_to_come = |date: Option<NumericDate>| date.is_some_and(|NumericDate(time)| time > now.plus(skew));
    if is_to_come(claims.nbf) {
        return Err(TokenRejection::NotYetValid);
    }
    if is_to_come(claims.iat) {
        return Err(TokenRejection::IssuedInFuture);
    }
    Ok(expires)
}

/// Whether a token is a JWT that says that it comes from another issuer.
pub(super) fn is_issued_elsewhere(token: &str, issuer: &str) -> bool {
    shape(token) == Shape::Jws && unverified_issuer(token).is_some_and(|other| other != issuer)
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

/// The `iss` that a token claims to have. To be compared, never to be believed.
fn unverified_issuer(token: &str) -> Option<String> {
    unverified_claims::<Issuer>(token).map(|claims| claims.iss)
}

/// The `exp` that a token claims to have. It can only shorten what is granted.
pub(super) fn unverified_expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Expiry {
        exp: NumericDate,
    }
    unverified_claims::<Expiry>(token).map(|claims| claims.exp.0)
}

fn unverified_claims<T: DeserializeOwned>(token: &str) -> Option<T> {
    serde_json::from_slice(&jws::payload(token)?).ok()
}

/// Whether a token says that it comes from this authentik: any configured issuer, or anything below `base` (no trailing
/// slash), whatever the scheme. Such a token is not the application's own, good or not.
pub(super) fn is_issued_here<'a>(
    base: &str,
    mut issuers: impl Iterator<Item = &'a str>,
    token: &str,
) -> bool {
    let Some(issuer) = unverified_issuer(token) else { return false };
    let without_scheme =
        |url: &'_ str| url.split_once("://").map_or(url, |(_, rest)| rest).to_ascii_lowercase();
    let is_below = without_scheme(&issuer)
        .strip_prefix(&without_scheme(base))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_below || issuers.any(|configured| configured == issuer)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use jwt_compact::AlgorithmExt as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::authn::Surroundings;
    use crate::authn::identity::Identity;
    use crate::authn::signature::tests::CheckingHost;
    use crate::authn::slots::tests::Memory;

    /// What a real authentik issued, and the key set that it published.
    const RECORDED: [(&str, &str, &str); 6] = [
        (
            "demo",
            include_str!("../../tests/data/transcripts/2-token-cc-demo-good.txt"),
            include_str!("../../tests/data/transcripts/1-jwks-demo.txt"),
        ),
        (
            "hs",
            include_str!("../../tests/data/transcripts/2-token-cc-hs-good.txt"),
            include_str!("../../tests/data/transcripts/1-jwks-hs.txt"),
        ),
        (
            "rs",
            include_str!("../../tests/data/transcripts/2-token-cc-rs-good.txt"),
            include_str!("../../tests/data/transcripts/1-jwks-rs.txt"),
        ),
        (
            "es",
            include_str!("../../tests/data/transcripts/2-token-cc-es-good.txt"),
            include_str!("../../tests/data/transcripts/1-jwks-es.txt"),
        ),
        (
            "es384",
            include_str!("../../tests/data/transcripts/2-token-cc-es384-good.txt"),
            include_str!("../../tests/data/transcripts/1-jwks-es384.txt"),
        ),
        (
            "es512",
            include_str!("../../tests/data/transcripts/2-token-cc-es512-good.txt"),
            include_str!("../../tests/data/transcripts/1-jwks-es512.txt"),
        ),
    ];

    fn body(transcript: &str) -> Value {
        let response = transcript.split("<<< RESPONSE").nth(1).unwrap();
        let body = response.split("\n\n").nth(1).unwrap();
        serde_json::from_str(body.split("\n=== ").next().unwrap()).unwrap()
    }

    fn config(slug: &str) -> Config {
        let configuration = json!({
            "authentik": {"cluster": "authentik", "host": "http://127.0.0.1:9010"},
            "session": {"enabled": false},
            "providers": [{
                "assigned_application_slug": slug, "client_id": format!("{slug}-client-id"),
                "client_secret": format!("{slug}-client-secret-0123456789abcdef0123456789abcdef"),
                "external_host": "http://app.localtest",
            }],
        });
        Config::parse(configuration.to_string().as_bytes(), &|_| None).unwrap()
    }

    fn try_verify(slug: &str, token: &str, keys: &KeySet, now: u64) -> Result<String, TokenRejection> {
        verify_on(&CheckingHost, slug, token, keys, now).map_err(|error| match error {
            NotVerified::Rejected(rejection) => rejection,
            NotVerified::Uncheckable => panic!("this host checks signatures by every key"),
        })
    }

    /// Whose token it is.
    #[expect(clippy::unwrap_in_result, reason = "a good token that names nobody is a fault of the test")]
    fn verify_on(
        surroundings: &dyn Surroundings,
        slug: &str,
        token: &str,
        keys: &KeySet,
        now: u64,
    ) -> Result<String, NotVerified> {
        let config = config(slug);
        let env = Env { now: Timestamp::from_seconds(now), surroundings };
        let verified = verify(&Token::new(token.to_owned()), keys, &config.providers[0], &config, &env)?;
        Ok(verified.claims().preferred_username.clone().unwrap())
    }

    /// Token, keys and a moment at which the token is good.
    fn recorded(index: usize) -> (&'static str, String, KeySet, u64) {
        let (slug, token, keys) = RECORDED[index];
        let token = body(token)["access_token"].as_str().unwrap().to_owned();
        let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let issued = serde_json::from_slice::<Value>(&payload).unwrap()["iat"].as_u64().unwrap();
        (slug, token, KeySet::parse(body(keys).to_string().as_bytes()).unwrap(), issued + 1)
    }

    #[test]
    fn tokens_of_a_real_authentik_verify_with_its_keys() {
        for index in 0..RECORDED.len() {
            let (slug, token, keys, now) = recorded(index);
            assert_eq!(try_verify(slug, &token, &keys, now).as_deref(), Ok("alice"), "{slug}");
            assert_eq!(try_verify(slug, &token, &keys, now + 3600), Err(TokenRejection::Expired), "{slug}");
            assert_eq!(
                try_verify(slug, &token, &keys, now - 120),
                Err(TokenRejection::IssuedInFuture),
                "{slug}"
            );
        }
    }

    /// In tests RS256 and ES256 are checked without a host; HS256 always is.
    #[test]
    fn a_signature_that_nobody_can_check_is_neither_good_nor_bad() {
        let host = Memory::default();
        for index in 0..RECORDED.len() {
            let (slug, token, keys, now) = recorded(index);
            let (message, signature) = token.rsplit_once('.').unwrap();
            let forged =
                format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(vec![1; signature.len() / 4 * 3]));
            let became = |token: &str, now| verify_on(&host, slug, token, &keys, now);
            if matches!(slug, "es384" | "es512") {
                assert_eq!(became(&token, now), Err(NotVerified::Uncheckable), "{slug}");
                assert_eq!(became(&forged, now), Err(NotVerified::Uncheckable), "{slug}");
            } else {
                assert_eq!(became(&token, now).as_deref(), Ok("alice"), "{slug}");
                assert_eq!(became(&forged, now), Err(TokenRejection::Signature.into()), "{slug}");
            }
            let expired = Err(TokenRejection::Expired.into());
            assert_eq!(became(&token, now + 3600), expired, "{slug}: what it claims is looked at first");
        }
    }

    /// A host that is asked shows it.
    #[test]
    fn what_is_wrong_by_its_claims_costs_no_cryptography() {
        struct NeverAsked;
        impl Surroundings for NeverAsked {
            fn verify_signature(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
                panic!("nothing is to be checked");
            }
            fn shared(&self, _: &str) -> Option<crate::authn::Shared> {
                None
            }
            fn share(&self, _: &str, _: &[u8]) {}
            fn share_if(&self, _: &str, _: &[u8], _: u32) -> bool {
                false
            }
            fn random(&self, _: &mut [u8]) -> bool {
                false
            }
            fn source_address(&self) -> Option<String> {
                None
            }
        }
        for index in 2..RECORDED.len() {
            let (slug, token, keys, now) = recorded(index);
            let became = |slug, now| verify_on(&NeverAsked, slug, &token, &keys, now);
            assert_eq!(became("demo", now), Err(TokenRejection::Issuer.into()), "{slug}");
            assert_eq!(became(slug, now + 3600), Err(TokenRejection::Expired.into()), "{slug}");
            assert_eq!(became(slug, now - 120), Err(TokenRejection::IssuedInFuture.into()), "{slug}");
            let none = KeySet::Public(Vec::new());
            let keyless = verify_on(&NeverAsked, slug, &token, &none, now);
            assert_eq!(keyless, Err(TokenRejection::UnknownKey.into()), "{slug}");
        }
    }

    #[test]
    fn no_token_verifies_with_the_keys_or_for_the_provider_of_another() {
        for one in 0..RECORDED.len() {
            for other in (0..RECORDED.len()).filter(|other| *other != one) {
                let (slug, token, keys, now) = recorded(one);
                let (other_slug, _, other_keys, _) = recorded(other);
                assert_eq!(try_verify(other_slug, &token, &other_keys, now), Err(TokenRejection::Issuer));
                assert_eq!(try_verify(other_slug, &token, &keys, now), Err(TokenRejection::Issuer));
                // Two providers without a signing key have the same (empty) key set.
                if !matches!((&keys, &other_keys), (KeySet::ClientSecret, KeySet::ClientSecret)) {
                    assert!(
                        try_verify(slug, &token, &other_keys, now).is_err(),
                        "{slug} with keys of {other_slug}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_token_with_any_character_changed_does_not_verify() {
        for index in 0..RECORDED.len() {
            let (slug, token, keys, now) = recorded(index);
            // Every 23rd: elliptic curves in a debug build are slow.
            for position in (0..token.len()).step_by(23) {
                let mut altered = token.clone().into_bytes();
                altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
                let altered = String::from_utf8(altered).unwrap();
                assert!(try_verify(slug, &altered, &keys, now).is_err(), "{slug} at {position}");
            }
        }
    }

    #[test]
    fn a_token_that_is_cut_anywhere_does_not_verify() {
        let (slug, token, keys, now) = recorded(0);
        for length in 0..token.len() {
            assert!(try_verify(slug, &token[..length], &keys, now).is_err(), "cut at {length}");
        }
    }

    /// What becomes of a token with these claims beside the good ones; `null` takes one away. Now it is 1,000,000.
    #[expect(clippy::unwrap_in_result, reason = "what cannot be signed is a fault of the test")]
    fn claiming(changes: &Value) -> Result<String, TokenRejection> {
        let mut claims = json!({
            "iss": "http://127.0.0.1:9010/application/o/hs/", "aud": "hs-client-id", "exp": 2_000_000,
            "preferred_username": "alice",
        });
        let fields = claims.as_object_mut().unwrap();
        fields.extend(changes.as_object().unwrap().clone());
        fields.retain(|_, value| !value.is_null());
        let key = Hs256Key::new(config("hs").providers[0].client_secret.expose());
        let token =
            Hs256.token(&jwt_compact::Header::empty(), &jwt_compact::Claims::new(claims), &key).unwrap();
        try_verify("hs", &token, &KeySet::ClientSecret, 1_000_000)
    }

    #[test]
    fn the_past_has_no_grace_and_the_future_a_minute() {
        for (changes, expected) in [
            (json!({"exp": 1_000_001}), None),
            (json!({"exp": 1_000_000}), Some(TokenRejection::Expired)),
            (json!({"exp": -1}), Some(TokenRejection::Expired)),
            (json!({"exp": null}), Some(TokenRejection::NoExpiry)),
            (json!({"nbf": 999_999}), None),
            (json!({"nbf": 1_000_060}), None),
            (json!({"nbf": 1_000_061}), Some(TokenRejection::NotYetValid)),
            (json!({"iat": 999_999}), None),
            (json!({"iat": 1_000_060}), None),
            (json!({"iat": 1_000_061}), Some(TokenRejection::IssuedInFuture)),
        ] {
            assert_eq!(claiming(&changes).err(), expected, "{changes}");
        }
    }

    #[test]
    fn a_good_signature_under_claims_of_the_wrong_types_is_no_bad_signature() {
        for changes in [json!({"groups": "staff"}), json!({"preferred_username": 7}), json!({"aud": {}})] {
            assert_eq!(claiming(&changes), Err(TokenRejection::Claims), "{changes}");
        }
    }

    #[test]
    fn only_a_jws_that_names_another_issuer_is_issued_elsewhere() {
        let (_, token, _, _) = recorded(0);
        let own = "http://127.0.0.1:9010/application/o/demo/";
        assert!(is_issued_elsewhere(&token, "https://elsewhere.test/"));
        assert!(!is_issued_elsewhere(&token, own));
        let encrypted = format!("{token}.x.y");
        for other in [encrypted.as_str(), "opaque", "e30.e30.e30", "a.b.c", ""] {
            assert!(!is_issued_elsewhere(other, "https://elsewhere.test/"), "{other}");
        }
    }

    #[test]
    fn what_looks_like_a_token_of_this_authentik() {
        let (_, token, _, _) = recorded(0);
        let none = || core::iter::empty::<&str>();
        assert!(is_issued_here("http://127.0.0.1:9010", none(), &token));
        assert!(
            is_issued_here("https://127.0.0.1:9010", none(), &token),
            "behind a proxy it may mistake its scheme"
        );
        assert!(is_issued_here("http://127.0.0.1:9010/application", none(), &token));
        for base in ["http://127.0.0.1:901", "http://127.0.0.1:9010/app", "http://127.0.0.1"] {
            assert!(!is_issued_here(base, none(), &token), "{base}: an issuer is not matched by prefix");
        }
        let issuer = "http://127.0.0.1:9010/application/o/demo/";
        let issuers = ["https://elsewhere.test/", issuer];
        assert!(is_issued_here("https://auth.test", issuers.into_iter(), &token), "a configured issuer");
        assert!(!is_issued_here("https://auth.test", issuers[..1].iter().copied(), &token));
        for other in ["", "a.b.c", "opaque", "..", "e30.e30.e30"] {
            assert!(!is_issued_here("http://127.0.0.1:9010", issuers.into_iter(), other), "{other}");
        }
    }

    #[test]
    fn an_introspected_token_is_of_this_client_unless_the_provider_federates() {
        let mut config = config("demo");
        let env = Env { now: Timestamp::from_seconds(100), surroundings: &CheckingHost };
        for (recipient, is_ours) in [
            (json!({"client_id": "demo-client-id", "aud": "demo-client-id"}), true),
            (json!({"aud": "demo-client-id"}), true),
            (json!({"aud": ["other", "demo-client-id"]}), true),
            (json!({"client_id": "demo-client-id"}), true),
            (json!({"client_id": "other", "aud": "other"}), false),
            (json!({"client_id": "", "aud": []}), false),
            (json!({}), false),
        ] {
            let mut body = json!({"active": true, "sub": "1", "preferred_username": "alice", "exp": 200});
            body.as_object_mut().unwrap().extend(recipient.as_object().unwrap().clone());
            for federates in [false, true] {
                config.providers[0].federated_bearer = federates;
                let (token, body) = (Token::new("opaque".to_owned()), body.to_string());
                let verified = introspected(&token, body.as_bytes(), &config.providers[0], &config, &env);
                assert_eq!(verified.is_ok(), is_ours || federates, "{body}, federates: {federates}");
                let refused = matches!(verified, Err(TokenRejection::Audience));
                assert_eq!(refused, !is_ours && !federates, "{body}");
            }
        }
    }

    #[test]
    fn claims_that_came_beside_the_token_weigh_in_a_cache() {
        let config = config("demo");
        let body = json!({
            "active": true, "client_id": "demo-client-id", "sub": "1", "preferred_username": "alice", "exp": 200,
            "ak_proxy": {"user_attributes": {"picture": "x".repeat(100_000)}},
        });
        let env = Env { now: Timestamp::from_seconds(100), surroundings: &CheckingHost };
        let (token, body) = (Token::new("opaque".to_owned()), body.to_string());
        let verified = introspected(&token, body.as_bytes(), &config.providers[0], &config, &env).unwrap();
        let identity = Identity::new(verified, &config.providers[0], &config).unwrap();
        assert!(identity.weight() > 100_000, "{}", identity.weight());
    }
}
