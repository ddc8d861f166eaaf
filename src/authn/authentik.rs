//! authentik's endpoints, each as a pair: build the call, read the answer. No I/O.
//!
//! Owns: the content of each call and the meaning of each answer. Only this file distinguishes refusals and failures of
//! authentik. A 200 with JSON is an answer, a 400 with a JSON `error` is a refusal, everything else is a failure:
//! authentik answers a POST with 405 when its database is down.

pub mod api;
pub mod call;
pub mod discovery;
pub(crate) mod events;
pub mod outposts;

use std::rc::Rc;

use form_urlencoded::Serializer;
use serde::Deserialize;

use crate::authn::authentik::call::{Answer, Call, Endpoint, NotSent};
use crate::authn::fault::{Fault, Grant};
use crate::authn::jwt::jwk::KeySet;
use crate::authn::request::credential::AuthorizationCode;
use crate::base::header::HeaderValue;
use crate::base::secret::Secret;
use crate::base::token::Token;
use crate::config::{Config, Provider};

/// What the token endpoint made of a credential.
#[derive(Debug)]
pub(crate) enum Exchanged {
    /// `access_token` and, where it came, `id_token`.
    Tokens(Token, Option<Secret<String>>),
    /// `invalid_grant`: a wrong password, an unknown user, or a policy that denies. authentik does not say which.
    Refused,
}

/// What introspection made of a token.
#[derive(Debug)]
pub(crate) enum Introspected<'a> {
    /// `active` is true; this is the whole answer.
    Active(&'a [u8]),
    /// `active` is false, or the client secret is wrong. authentik does not say which.
    Inactive,
}

/// Token endpoint, `client_credentials` with user name and app password: the outpost's own request.
pub(crate) fn exchange_call(config: &Config, provider: &Provider, username: &str, password: &str) -> Call {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &provider.client_id),
        ("username", username),
        ("password", password),
        ("scope", &provider.scope),
    ];
    post(config, Endpoint::Token, "/application/o/token/", &form)
}

/// Token endpoint, `client_credentials` with a JWT of a federated issuer as client assertion (RFC 7523 §2.2).
pub(crate) fn assertion_call(config: &Config, provider: &Provider, assertion: &str) -> Call {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &provider.client_id),
        ("scope", &provider.scope),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
    ];
    post(config, Endpoint::Token, "/application/o/token/", &form)
}

/// Where authentik sends a browser back to at the end of a login; registered there for every proxy provider.
pub(crate) fn redirect_uri(provider: &Provider) -> String {
    format!("{}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true", provider.external_host)
}

/// Token endpoint, `authorization_code` (RFC 6749 §4.1.3) with PKCE.
pub(crate) fn code_call(config: &Config, provider: &Provider, code: &AuthorizationCode) -> Call {
    let redirect_uri = redirect_uri(provider);
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &provider.client_id),
        ("client_secret", provider.client_secret.expose()),
        ("code", code.code.expose()),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", code.verifier.expose()),
    ];
    post(config, Endpoint::Token, "/application/o/token/", &form)
}

/// Where a browser is sent to log in (RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect Core §3.1.2.1).
pub(crate) fn authorize_url(
    config: &Config,
    provider: &Provider,
    (state, nonce, challenge): (&str, &str, &str),
) -> String {
    let query = Serializer::new(String::new())
        .append_pair("response_type", "code")
        .append_pair("client_id", &provider.client_id)
        .append_pair("redirect_uri", &redirect_uri(provider))
        .append_pair("scope", &provider.scope)
        .append_pair("state", state)
        .append_pair("nonce", nonce)
        .append_pair("code_challenge", challenge)
        .append_pair("code_challenge_method", "S256")
        .finish();
    format!("{}/application/o/authorize/?{query}", config.authentik.base)
}

/// Where a browser is sent to end its session at authentik (OpenID Connect RP-Initiated Logout §2).
pub(crate) fn end_session_url(config: &Config, provider: &Provider, id_token: Option<&str>) -> String {
    let url = format!("{}/application/o/{}/end-session/", config.authentik.base, provider.slug);
    match id_token {
        Some(hint) => {
            format!("{url}?{}", Serializer::new(String::new()).append_pair("id_token_hint", hint).finish())
        }
        None => url,
    }
}

/// Longest text of Envoy's that goes into a log line, in bytes.
const MAX_REASON_BYTES: usize = 200;

/// The answer that Envoy made in authentik's place. Its text has no control bytes and at most 200 bytes.
pub fn unreachable(status: u16, text: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(text);
    let mut reason: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    Answer::Unreachable { status, reason: reason.trim().into() }
}

/// Reads the token endpoint's answer (RFC 6749 §5).
pub(crate) fn read_exchange(answer: &Answer, grant: Grant) -> Result<Exchanged, Fault> {
    #[derive(Deserialize)]
    struct Granted {
        access_token: String,
        #[serde(default)]
        id_token: Option<String>,
    }
    #[derive(Deserialize)]
    struct Denied {
        error: String,
    }
    let (status, body) = response(answer)?;
    match status {
        200 => {
            let granted = serde_json::from_slice(body).map_err(|_| Fault::BadAnswer { status })?;
            let Granted { access_token, id_token } = granted;
            if access_token.is_empty() {
                return Err(Fault::BadAnswer { status });
            }
            Ok(Exchanged::Tokens(Token::new(access_token), id_token.map(Secret::new)))
        }
        400 => {
            let Denied { error } = serde_json::from_slice(body).map_err(|_| Fault::BadAnswer { status })?;
            match error.as_str() {
                "invalid_grant" => Ok(Exchanged::Refused),
                "invalid_client" => Err(Fault::InvalidClient(grant)),
                _ => Err(Fault::RequestRefused),
            }
        }
        _ => Err(failure(status, answer)),
    }
}

/// Introspection endpoint (RFC 7662), client credentials in the form as the outpost sends them.
pub(crate) fn introspection_call(config: &Config, provider: &Provider, token: &str) -> Call {
    let form = [
        ("client_id", provider.client_id.as_str()),
        ("client_secret", provider.client_secret.expose()),
        ("token", token),
    ];
    post(config, Endpoint::Introspection, "/application/o/introspect/", &form)
}

/// Reads the introspection answer.
pub(crate) fn read_introspection(answer: &Answer) -> Result<Introspected<'_>, Fault> {
    #[derive(Deserialize)]
    struct Verdict {
        active: bool,
    }
    let (status, body) = response(answer)?;
    if status != 200 {
        return Err(failure(status, answer));
    }
    let Verdict { active } = serde_json::from_slice(body).map_err(|_| Fault::BadAnswer { status })?;
    Ok(if active { Introspected::Active(body) } else { Introspected::Inactive })
}

/// What authentik publishes about the provider.
pub fn discovery_call(config: &Config, provider: &Provider) -> Call {
    let path = format!("/application/o/{}/.well-known/openid-configuration", provider.slug);
    get(config, Endpoint::Discovery, &path)
}

/// Key set of the provider (RFC 7517 §5).
pub fn keys_call(config: &Config, provider: &Provider) -> Call {
    get(config, Endpoint::Jwks, &keys_path(provider))
}

/// Where authentik publishes the key set, as browsers see it.
pub(crate) fn keys_url(config: &Config, provider: &Provider) -> String {
    format!("{}{}", config.authentik.base, keys_path(provider))
}

fn keys_path(provider: &Provider) -> String {
    format!("/application/o/{}/jwks/", provider.slug)
}

/// Reads the key set; its JSON as well, for other workers.
///
/// # Errors
/// The answer has no key set: [`Fault::UnknownApplication`] for a slug that authentik does not know.
pub fn read_keys(answer: &Answer) -> Result<(KeySet, &[u8]), Fault> {
    let body = published(answer)?;
    let keys = KeySet::parse(body).ok_or(Fault::BadAnswer { status: 200 })?;
    Ok((keys, body))
}

/// What authentik publishes about a provider, to everybody.
#[inline(never)]
fn published(answer: &Answer) -> Result<&[u8], Fault> {
    match response(answer)? {
        (200, body) => Ok(body),
        (404, _) => Err(Fault::UnknownApplication),
        (status, _) => Err(failure(status, answer)),
    }
}

fn post(config: &Config, endpoint: Endpoint, path: &str, form: &[(&str, &str)]) -> Call {
    let mut body = Serializer::new(String::new());
    body.extend_pairs(form);
    let mut call = request(config, endpoint, "POST", path);
    call.headers.push(("content-type", HeaderValue::cleaned("application/x-www-form-urlencoded")));
    call.body = Secret::new(body.finish().into_bytes());
    call
}

fn get(config: &Config, endpoint: Endpoint, path: &str) -> Call {
    request(config, endpoint, "GET", path)
}

/// authentik builds `iss` and its URLs from the authority and `x-forwarded-proto`, so both are the public ones.
fn request(config: &Config, endpoint: Endpoint, method: &str, path: &str) -> Call {
    let base = &config.authentik.base;
    let scheme = base.scheme.as_str();
    let headers = [
        (":method", method.to_owned()),
        (":path", format!("{}{path}", base.prefix())),
        (":authority", base.host.to_string()),
        (":scheme", scheme.to_owned()),
        ("x-forwarded-proto", scheme.to_owned()),
        ("accept", "application/json".to_owned()),
        ("user-agent", concat!("authentik-proxy-wasm/", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    Call {
        endpoint,
        cluster: config.authentik.cluster.clone(),
        headers: headers.map(|(name, value)| (name, HeaderValue::cleaned(value))).into(),
        body: Secret::default(),
        timeout: config.authentik.timeout,
        max_response_bytes: config.authentik.max_response_bytes,
    }
}

fn response(answer: &Answer) -> Result<(u16, &[u8]), Fault> {
    match answer {
        Answer::Response { status, body, .. } => Ok((*status, body.expose())),
        Answer::Unreachable { status, reason } => {
            Err(Fault::Unreachable { status: *status, reason: Rc::clone(reason) })
        }
        Answer::Lost => Err(Fault::Lost),
        Answer::TooLarge => Err(Fault::AnswerTooLarge),
        Answer::Reset => Err(Fault::Reset),
        Answer::NotSent(NotSent::UnknownCluster) => Err(Fault::UnknownCluster),
        Answer::NotSent(NotSent::NoCapacity) => Err(Fault::NoCapacity),
        Answer::NotSent(NotSent::Unencodable) => Err(Fault::UnencodableCall),
        Answer::NotSent(NotSent::WaitedTooLong) => Err(Fault::WaitedTooLong),
    }
}

fn failure(status: u16, answer: &Answer) -> Fault {
    match answer {
        Answer::Response { retry_after, .. } => Fault::Unavailable { status, retry_after: *retry_after },
        Answer::Unreachable { .. } | Answer::TooLarge | Answer::Reset | Answer::Lost | Answer::NotSent(_) => {
            Fault::Unavailable { status, retry_after: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_authentik_have_distinct_reasons() {
        let exchange = |error: &str| {
            let body = format!("{{\"error\":\"{error}\",\"error_description\":\"x\"}}").into_bytes();
            let answer =
                Answer::Response { status: 400, retry_after: None, date: None, body: Secret::new(body) };
            read_exchange(&answer, Grant::Password)
        };
        assert!(matches!(exchange("invalid_grant"), Ok(Exchanged::Refused)), "the client's fault");
        assert!(
            matches!(exchange("invalid_client"), Err(Fault::InvalidClient(Grant::Password))),
            "the configuration's"
        );
        for error in ["invalid_scope", "unsupported_grant_type", "invalid_request", ""] {
            assert!(matches!(exchange(error), Err(Fault::RequestRefused)), "{error}");
        }
    }
}
