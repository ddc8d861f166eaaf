//! What a provider publishes about itself: its JWKS and its discovery document. Both are functions of the
//! provider and of the base URL that the caller used; the entries of single keys are made in `keys.rs`.
//! authentik sends neither `Cache-Control` nor `ETag` with them.

use serde_json::{Value, json};

use super::claims::issuer;
use super::directory::Provider;
use crate::keys::encryption_jwk;

/// A provider without a key publishes `{}`: no `keys` member at all.
pub(super) fn jwks(provider: &Provider) -> Value {
    if let Some(replaced) = &provider.jwks {
        return replaced.clone();
    }
    let mut keys: Vec<Value> = provider.key().jwk().into_iter().collect();
    if provider.encrypts {
        keys.push(encryption_jwk());
    }
    if keys.is_empty() { json!({}) } else { json!({"keys": keys}) }
}

pub(super) fn document(provider: &Provider, base: &str) -> Value {
    let below = |path: &str| format!("{base}/application/o/{path}/");
    let of_slug = |path: &str| format!("{base}/application/o/{}/{path}/", provider.slug);
    let mut claims: Vec<&str> = "sub iss aud exp iat auth_time acr amr nonce".split(' ').collect();
    if provider.scopes.contains(&"ak_proxy") {
        claims.push("ak_proxy");
    }
    claims.extend(
        "email email_verified entitlements roles name given_name preferred_username nickname groups"
            .split(' '),
    );
    let mut document = json!({
        "issuer": issuer(provider, base),
        "authorization_endpoint": below("authorize"),
        "token_endpoint": below("token"),
        "userinfo_endpoint": below("userinfo"),
        "end_session_endpoint": of_slug("end-session"),
        "introspection_endpoint": below("introspect"),
        "revocation_endpoint": below("revoke"),
        "device_authorization_endpoint": below("device"),
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "frontchannel_logout_supported": true,
        "frontchannel_logout_session_supported": true,
        "response_types_supported":
            ["code", "id_token", "id_token token", "code token", "code id_token", "code id_token token"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "jwks_uri": of_slug("jwks"),
        "grant_types_supported": [
            "authorization_code",
            "refresh_token",
            "implicit",
            "client_credentials",
            "password",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "id_token_signing_alg_values_supported": [provider.key().alg()],
        "subject_types_supported": ["public"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "acr_values_supported": ["goauthentik.io/providers/oauth2/default"],
        "scopes_supported": provider.scopes,
        "request_parameter_supported": false,
        "claims_supported": claims,
        "claims_parameter_supported": false,
        "code_challenge_methods_supported": ["plain", "S256"],
    });
    if provider.encrypts {
        document["id_token_encryption_alg_values_supported"] = json!(["RSA-OAEP-256"]);
        document["id_token_encryption_enc_values_supported"] = json!(["A256CBC-HS512"]);
    }
    document
}
