//! authentik's event log and its API: what was written, in pages, by time and by the recorded query language, and what a
//! caller adds. Which act writes which event is in `acts.rs`. Logins are not written: no poll asks for them.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::response::Response;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::World;
use super::answers::{json_answer, method_not_allowed, with};
use super::api::{self, Caller, NO_PERMISSION, Permission, detailed, page};
use super::claims::{hex, identifier};
use super::request::Call;
use super::search::{Search, timestamp};

/// The event log.
pub const EVENTS: &str = "/api/v3/events/events/";

const ALLOWED: &str = "GET, POST, HEAD, OPTIONS";
const YEAR: i64 = 365 * 86_400 * 1_000_000;

/// authentik's own words for what happened.
const ACTIONS: [&str; 32] = [
    "login",
    "login_failed",
    "logout",
    "user_write",
    "suspicious_request",
    "password_set",
    "secret_view",
    "secret_rotate",
    "invitation_used",
    "authorize_application",
    "source_linked",
    "impersonation_started",
    "impersonation_ended",
    "flow_execution",
    "policy_execution",
    "policy_exception",
    "property_mapping_exception",
    "system_task_execution",
    "system_task_exception",
    "system_exception",
    "configuration_error",
    "configuration_warning",
    "model_created",
    "model_updated",
    "model_deleted",
    "email_sent",
    "update_available",
    "export_ready",
    "review_initiated",
    "review_overdue",
    "review_attested",
    "review_completed",
];

/// One event.
pub(super) struct Event {
    /// In microseconds since the epoch.
    pub(super) created: i64,
    /// As the API shows it.
    pub(super) json: Value,
}

/// What an event says, beside when it was written.
pub(super) struct Entry<'a> {
    pub(super) user: Value,
    pub(super) action: &'a str,
    pub(super) app: &'a str,
    pub(super) context: Value,
}

/// The time that events are written at.
enum Clock {
    /// The machine's, and so many microseconds.
    Shifted(i64),
    Stopped(i64),
}

/// The log, oldest first.
pub(super) struct Log {
    events: Vec<Event>,
    clock: Clock,
}

impl Log {
    /// With one event, as every authentik has: its providers were created an hour ago.
    pub(super) fn new() -> Self {
        let mut log = Self { events: Vec::new(), clock: Clock::Shifted(-3_600_000_000) };
        let model = model(&1.into(), "authentik_providers_proxy", "demo", "proxyprovider");
        let context = json!({"model": model, "http_request": request("POST", "/api/v3/providers/proxy/")});
        log.write(
            Entry { user: admin(), action: "model_created", app: MIDDLEWARE, context },
            Some("127.0.0.1"),
        );
        log.clock = Clock::Shifted(0);
        log
    }

    pub(super) fn shift(&mut self, seconds: i64) {
        self.clock = Clock::Shifted(seconds * 1_000_000);
    }

    pub(super) fn stop(&mut self, seconds: i64) {
        self.clock = Clock::Stopped(seconds * 1_000_000);
    }

    pub(super) fn forget(&mut self) {
        self.events.clear();
    }

    pub(super) fn all(&self) -> Vec<Value> {
        self.events.iter().map(|event| event.json.clone()).collect()
    }

    /// Writes an event. Those of one moment differ by a microsecond each.
    pub(super) fn write(&mut self, entry: Entry<'_>, client_ip: Option<&str>) -> &Value {
        let now = match self.clock {
            Clock::Shifted(by) => by + micros_now(),
            Clock::Stopped(at) => at,
        };
        let created = match self.events.last() {
            Some(last) if last.created / 1_000_000 == now / 1_000_000 => now.max(last.created + 1),
            _ => now,
        };
        let json = json!({
            "pk": uuid(&identifier()),
            "user": entry.user,
            "action": entry.action,
            "app": entry.app,
            "context": entry.context,
            "client_ip": client_ip,
            "created": timestamp(created),
            "expires": timestamp(created + YEAR),
            "brand": {
                "pk": "d287bd0b8cc5413ebde90a9733344f08",
                "app": "authentik_brands",
                "name": "Default brand",
                "model_name": "brand",
            },
        });
        let place = self.events.len();
        self.events.push(Event { created, json });
        &self.events[place].json
    }
}

pub(super) const MIDDLEWARE: &str = "authentik.events.middleware";
pub(super) const SIGNALS: &str = "authentik.events.signals";

pub(super) fn admin() -> Value {
    json!({"pk": 3, "email": "admin@example.test", "username": "akadmin"})
}

/// `context.model`.
pub(super) fn model(pk: &Value, app: &str, name: &str, model_name: &str) -> Value {
    json!({"pk": pk, "app": app, "name": name, "model_name": model_name})
}

/// `context.http_request`.
pub(super) fn request(method: &str, path: &str) -> Value {
    let mut id = identifier();
    id.truncate(32);
    json!({"args": {}, "path": path, "method": method, "request_id": id, "user_agent": ""})
}

/// The primary key of what has this name: 32 hexadecimal digits, always the same ones.
pub(super) fn pk(name: &str) -> String {
    hex(&Sha256::digest(name)[..16])
}

/// The digits as a UUID is written.
pub(super) fn uuid(digits: &str) -> String {
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..32])
}

/// The answer of the API; `None` for a path that is none of it.
pub(super) fn answer(world: &mut World, call: &Call, path: &str) -> Option<Response> {
    if path != EVENTS {
        return None;
    }
    let answer = match (api::caller(world, call), call.method.as_str()) {
        (Err(detail), _) => detailed(403, detail),
        (Ok(caller), "GET" | "HEAD") => {
            match (api::may(world, call, caller, Permission::ViewEvent), caller) {
                (true, _) => list(&world.events, call),
                // As if nothing had happened.
                (false, Caller::Outpost(_)) => page(call, &[], &autocomplete()),
                (false, Caller::Administrator | Caller::User) => detailed(403, NO_PERMISSION),
            }
        }
        (Ok(caller), "POST") if api::may(world, call, caller, Permission::AddEvent) => {
            add(&mut world.events, &call.body)
        }
        (Ok(_), "POST") => detailed(403, NO_PERMISSION),
        (Ok(_), _) => method_not_allowed(ALLOWED),
    };
    Some(with(answer, "allow", ALLOWED))
}

fn list(log: &Log, call: &Call) -> Response {
    let search = call.parameter("search");
    // What is not understood is a search for that text, which nothing has.
    let search = search.map(|expression| Search::parse(&expression));
    let is_found = |event: &&Event| match &search {
        None => true,
        Some(None) => false,
        Some(Some(search)) => search.finds(event),
    };
    let mut found: Vec<_> = log.events.iter().filter(is_found).collect();
    found.sort_by_key(|event| event.created);
    if call.parameter("ordering").as_deref() != Some("created") {
        found.reverse();
    }
    let found: Vec<_> = found.into_iter().map(|event| event.json.clone()).collect();
    page(call, &found, &autocomplete())
}

/// An event from outside has no user and no address.
fn add(log: &mut Log, body: &[u8]) -> Response {
    let Ok(Value::Object(sent)) = serde_json::from_slice(body) else {
        return detailed(400, "JSON parse error");
    };
    let text = |name| sent.get(name).and_then(Value::as_str).unwrap_or_default();
    let (action, app) = (text("action"), text("app"));
    if app.is_empty() {
        return json_answer(400, &json!({"app": ["This field is required."]}));
    }
    if !ACTIONS.contains(&action) {
        return json_answer(400, &json!({"action": [format!("\"{action}\" is not a valid choice.")]}));
    }
    let context = sent.get("context").cloned().unwrap_or_else(|| json!({}));
    json_answer(201, log.write(Entry { user: json!({}), action, app, context }, None))
}

/// The part of the recorded one that does not depend on the events.
fn autocomplete() -> Value {
    let field = |kind: &str| json!({"type": kind, "nullable": false, "options": null});
    let actions: Vec<_> = ACTIONS.into_iter().chain(["custom_"]).collect();
    json!({
        "current_model": "authentik_events.event",
        "models": {
            "authentik_events.event": {
                "action": {"type": "str", "nullable": false, "options": actions},
                "event_uuid": field("str"),
                "client_ip": field("str"),
                "created": {"type": "datetime", "nullable": false, "options": []},
            },
            "authentik_events.event_user": {
                "pk": field("int"),
                "username": field("str"),
                "email": field("str"),
            },
        },
    })
}

fn micros_now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}
