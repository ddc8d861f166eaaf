//! What an event means.
//!
//! Owns: the way from an event to what follows from it. An event that cannot be read, and could matter, means the wider thing and
//! never nothing. Texts of events are bounded.
//! Must not: know where an event comes from, or what becomes of the news.

use serde_json::Value;

use crate::authn::authentik::events::OWN_APP;
use crate::authn::ended::Whose;
use crate::base::time::Timestamp;

/// Longest text that is taken from an event, in bytes. authentik's user names have at most 150 characters.
const MAX_TEXT_BYTES: usize = 1024;

/// What was learned from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Learned {
    /// A user has signed out or has a new password.
    User {
        /// authentik's primary key of the user, where the event has it.
        pk: Option<u64>,
        /// `preferred_username` of the user's tokens.
        username: String,
    },
    /// A user was changed or deleted.
    UserChanged {
        /// authentik's primary key of the user.
        pk: u64,
        /// User name and `uid` (by default the `sub` of tokens). `None`: the user is gone, or the token may not ask.
        found: Option<(String, String)>,
    },
    /// It cannot be said who.
    Everybody,
    /// A token was changed or deleted; or a group, a policy binding or an application was changed.
    Credentials,
    /// A provider or an outpost was changed.
    Providers,
    /// Another Envoy has learned that this is over, and has said so in the log. It is not relayed again.
    Ended {
        /// Of the provider.
        client_id: String,
        /// Whose sessions.
        who: Whose,
        /// What was begun until then; never later than now.
        at: Timestamp,
    },
}

/// The news of a reading, each once, and the users who are to be looked up.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) learned: Vec<Learned>,
    /// Changed, and not deleted.
    pub(super) changed: Vec<u64>,
}

impl News {
    /// Takes what an event means.
    pub(super) fn add(&mut self, event: &Value, now: Timestamp) {
        if text(event, "app") == Some(OWN_APP) {
            let relayed = relayed(event, now).unwrap_or(Learned::Everybody);
            return self.push(relayed);
        }
        let action = text(event, "action");
        let model = event.get("context").and_then(|context| context.get("model"));
        match (action, model.and_then(|model| text(model, "model_name"))) {
            (Some("logout" | "password_set"), _) => self.add_user(event),
            // Nothing ends because something new is there.
            (Some("model_created"), Some("user" | "token")) => {}
            (_, Some("user")) => self.add_changed_user(model, action == Some("model_deleted")),
            (_, Some("token" | "group" | "policybinding" | "application")) => self.push(Learned::Credentials),
            (_, Some("proxyprovider" | "outpost")) => self.push(Learned::Providers),
            // The search does not find others, but what cannot be read.
            (_, Some(_) | None) => self.push(Learned::Everybody),
        }
    }

    fn add_user(&mut self, event: &Value) {
        // While an administrator acts as somebody else, that user is in `on_behalf_of`.
        let user = event.get("user");
        let behalf = user.and_then(|user| user.get("on_behalf_of")).filter(|user| !user.is_null());
        for user in user.into_iter().chain(behalf) {
            let pk = user.get("pk").and_then(Value::as_u64);
            self.push(match (text(user, "username"), pk) {
                (Some(username), pk) => Learned::User { pk, username: username.to_owned() },
                (None, Some(pk)) => Learned::UserChanged { pk, found: None },
                (None, None) => Learned::Everybody,
            });
        }
        if user.is_none() {
            self.push(Learned::Everybody);
        }
    }

    fn add_changed_user(&mut self, model: Option<&Value>, is_deleted: bool) {
        let Some(pk) = model.and_then(|model| model.get("pk")?.as_u64()) else {
            return self.push(Learned::Everybody);
        };
        if is_deleted {
            self.changed.retain(|changed| *changed != pk);
        } else if !self.changed.contains(&pk) {
            self.changed.push(pk);
        }
        self.push(Learned::UserChanged { pk, found: None });
    }

    /// Takes what was found of a changed user.
    pub(super) fn found(&mut self, wanted: u64, names: (String, String)) {
        if [&names.0, &names.1].iter().any(|name| !is_bounded(name)) {
            return;
        }
        for learned in &mut self.learned {
            if let Learned::UserChanged { pk, found } = learned
                && *pk == wanted
            {
                *found = Some(names);
                return;
            }
        }
    }

    /// Takes what stands for every user.
    pub(super) fn add_everybody(&mut self) {
        self.push(Learned::Everybody);
    }

    fn push(&mut self, learned: Learned) {
        if !self.learned.contains(&learned) {
            self.learned.push(learned);
        }
    }

    pub(super) fn has_everybody(&self) -> bool {
        self.learned.contains(&Learned::Everybody)
    }
}

/// What another Envoy has written.
fn relayed(event: &Value, now: Timestamp) -> Option<Learned> {
    let context = event.get("context")?;
    let client_id = text(context, "client_id")?.to_owned();
    let who = match (text(context, "sid"), text(context, "sub")) {
        (Some(sid), None) => Whose::Session(sid.to_owned()),
        (None, Some(sub)) => Whose::User(sub.to_owned()),
        (Some(_), Some(_)) | (None, None) => return None,
    };
    let said = context.get("at").and_then(Value::as_u64).map(Timestamp::from_millis);
    let at = said.map_or(now, |at| at.min(now));
    Some(Learned::Ended { client_id, who, at })
}

/// A text that is not empty.
#[inline(never)]
fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|text| is_bounded(text))
}

fn is_bounded(text: &str) -> bool {
    (1..=MAX_TEXT_BYTES).contains(&text.len())
}
