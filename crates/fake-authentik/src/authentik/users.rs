//! The API's answer about one user, by primary key: who he is in tokens (`uid` is their `sub`).

use axum::response::Response;
use serde_json::json;

use super::World;
use super::answers::{html, json_answer, method_not_allowed, with};
use super::api::{self, NO_PERMISSION, Permission, detailed};
use super::request::Call;

/// The users; one is below it, by his primary key.
pub const USERS: &str = "/api/v3/core/users/";

const ALLOWED: &str = "GET, PUT, PATCH, DELETE, HEAD, OPTIONS";

/// The answer of the API; `None` for a path that is none of it.
pub(super) fn answer(world: &World, call: &Call, path: &str) -> Option<Response> {
    let pk = path.strip_prefix(USERS)?.strip_suffix('/')?.parse::<u32>().ok()?;
    let answer = match api::caller(world, call) {
        Err(detail) => detailed(403, detail),
        Ok(caller) if !api::may(world, call, caller, Permission::ViewUser) => detailed(403, NO_PERMISSION),
        Ok(_) if !matches!(call.method.as_str(), "GET" | "HEAD") => method_not_allowed(ALLOWED),
        Ok(_) => match world.users.iter().find(|user| user.pk == pk) {
            Some(user) => json_answer(
                200,
                &json!({
                    "pk": user.pk,
                    "username": user.username,
                    "name": user.name,
                    "is_active": user.active,
                    "is_superuser": user.is_superuser,
                    "email": user.email,
                    "attributes": user.attributes,
                    "uid": user.sub,
                }),
            ),
            None => return Some(html(404)),
        },
    };
    Some(with(answer, "allow", ALLOWED))
}
