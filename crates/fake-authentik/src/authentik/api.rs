//! What the APIs have in common: whose token it is, what that one may do, and pages of a list.

use std::collections::HashMap;

use axum::response::Response;
use serde_json::{Value, json};

use super::World;
use super::answers::json_answer;
use super::outposts::Outpost;
use super::request::Call;

/// An administrator's API token: it may do everything.
pub const ADMIN_TOKEN: &str = "akadmin-api-token-loopback-test";
/// alice's API token: she has no permission.
pub const ALICE_API_TOKEN: &str = "alice-api-token-0123456789abcdef";
/// The API token of a service account: it has the permissions that [`super::Authentik::permit`] gives it, and none before.
pub const SERVICE_TOKEN: &str = "xdta69W9eNNBMVuEPITzY81soHF2N81eDxqkSfFEM3AxRiNwQGBfsUQAUSJp";

/// authentik's own sizes of a page: by default, and at most.
const PAGE_SIZE: usize = 20;
const LARGEST_PAGE: usize = 100;

pub(super) const NO_PERMISSION: &str = "You do not have permission to perform this action.";

/// What a token may do beside what its kind may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// `authentik_events.view_event`.
    ViewEvent,
    /// `authentik_events.add_event`. An outpost's own token has it.
    AddEvent,
    /// `authentik_core.view_user`.
    ViewUser,
}

/// Who calls the API.
#[derive(Clone, Copy)]
pub(super) enum Caller<'a> {
    Administrator,
    Outpost(&'a Outpost),
    /// A user or a service account.
    User,
}

/// The permissions that an administrator gave, by token.
#[derive(Default)]
pub(super) struct Permissions(HashMap<String, Vec<Permission>>);

impl Permissions {
    pub(super) fn set(&mut self, token: &str, permissions: &[Permission]) {
        self.0.insert(token.to_owned(), permissions.to_vec());
    }

    fn has(&self, token: &str, permission: Permission) -> bool {
        self.0.get(token).is_some_and(|given| given.contains(&permission))
    }
}

/// Who calls; what a `403` says otherwise.
pub(super) fn caller<'a>(world: &'a World, call: &Call) -> Result<Caller<'a>, &'static str> {
    match token(call).ok_or("Authentication credentials were not provided.")? {
        ADMIN_TOKEN => Ok(Caller::Administrator),
        ALICE_API_TOKEN | SERVICE_TOKEN => Ok(Caller::User),
        token => {
            let own = world.outposts.iter().find(|outpost| outpost.token.as_deref() == Some(token));
            own.map(Caller::Outpost).ok_or("Token invalid/expired")
        }
    }
}

pub(super) fn may(world: &World, call: &Call, caller: Caller<'_>, permission: Permission) -> bool {
    let is_of_kind = match caller {
        Caller::Administrator => true,
        Caller::Outpost(_) => permission == Permission::AddEvent,
        Caller::User => false,
    };
    is_of_kind || token(call).is_some_and(|token| world.permissions.has(token, permission))
}

fn token(call: &Call) -> Option<&str> {
    let (scheme, token) = call.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

pub(super) fn detailed(status: u16, detail: &str) -> Response {
    json_answer(status, &json!({"detail": detail}))
}

/// The page of a list that the call asks for. The first page of an empty list is there.
pub(super) fn page(call: &Call, list: &[Value], autocomplete: &Value) -> Response {
    let number = |name| call.parameter(name).map(|value| value.parse::<usize>().unwrap_or(0));
    let size = number("page_size").filter(|size| *size > 0).unwrap_or(PAGE_SIZE).min(LARGEST_PAGE);
    let total = list.len().div_ceil(size).max(1);
    let current = number("page").unwrap_or(1);
    if current == 0 || current > total {
        return detailed(404, "Invalid page.");
    }
    let start = (current - 1) * size;
    let end = list.len().min(start + size);
    let results = &list[start..end];
    let pagination = json!({
        "next": if current < total { current + 1 } else { 0 },
        "previous": current - 1,
        "count": list.len(),
        "current": current,
        "total_pages": total,
        "start_index": if results.is_empty() { 0 } else { start + 1 },
        "end_index": end,
    });
    json_answer(200, &json!({"pagination": pagination, "results": results, "autocomplete": autocomplete}))
}
