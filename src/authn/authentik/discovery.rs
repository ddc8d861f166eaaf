//! What authentik publishes about a provider (OpenID Connect Discovery 1.0 §3).
//!
//! Owns: which of its fields the filter looks at. Must not: judge them, [`crate::authn::doctor`] does; take an endpoint or a
//! key from it, the configuration has those.

use serde_json::{Map, Value};

use super::published;
use crate::authn::authentik::call::Answer;
use crate::authn::fault::Fault;

/// The fields of a discovery document that the configuration can contradict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// `issuer`: the `iss` of the provider's tokens. authentik makes it from the host and the scheme of the request.
    pub issuer: String,
    /// `id_token_signing_alg_values_supported`: what the provider signs with, separated by spaces.
    pub algorithms: String,
}

/// Reads the discovery document.
///
/// # Errors
/// The answer has no such document: [`Fault::UnknownApplication`] for a slug that authentik does not know.
pub fn read(answer: &Answer) -> Result<Discovery, Fault> {
    parse(published(answer)?).ok_or(Fault::BadAnswer { status: 200 })
}

fn parse(body: &[u8]) -> Option<Discovery> {
    let document: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let mut algorithms = String::new();
    for algorithm in
        document.get("id_token_signing_alg_values_supported")?.as_array()?.iter().filter_map(Value::as_str)
    {
        if !algorithms.is_empty() {
            algorithms.push(' ');
        }
        algorithms.push_str(algorithm);
    }
    Some(Discovery { issuer: document.get("issuer")?.as_str()?.to_owned(), algorithms })
}
