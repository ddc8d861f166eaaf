//! The introspection endpoint: a look-up of access tokens, never a signature check. Whatever is not a good
//! token in the hand of a client that may ask is `{"active": false}`, wrong client secrets included.

use axum::response::Response;
use serde_json::{Value, json};

use super::World;
use super::answers::{server_error_on_post, unstored};
use super::request::Call;

pub(super) fn answer(world: &World, call: &Call) -> Response {
    let (client_id, secret) = call.client();
    if !secret.is_ascii() {
        return server_error_on_post();
    }
    let body = claims(world, &client_id, &secret, call.field("token").unwrap_or_default())
        .unwrap_or_else(|| json!({"active": false}));
    unstored(200, &body)
}

fn claims(world: &World, client_id: &str, secret: &str, token: &str) -> Option<Value> {
    let asking = world.provider_of(client_id)?;
    if asking.public_client || asking.client_secret != secret {
        return None;
    }
    let grant = world.active_grant(token)?;
    let issuing = world.provider(grant.slug)?;
    if issuing.slug != asking.slug && !issuing.federated_providers.contains(&asking.slug) {
        return None;
    }
    let mut claims = grant.claims.clone();
    claims.insert("active".to_owned(), true.into());
    claims.insert("scope".to_owned(), grant.scope.clone().into());
    claims.insert("client_id".to_owned(), issuing.client_id().into());
    Some(claims.into())
}
