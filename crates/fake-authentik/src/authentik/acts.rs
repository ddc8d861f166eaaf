//! What administrators and users do at authentik: each act changes what is known of users, sessions, tokens and settings, and
//! writes the events that a real authentik was recorded to write for it (`tests/data/transcripts/8-*`), no more and no fewer. What
//! introspection and the token endpoint say afterwards is as recorded, too.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::claims::hex;
use super::directory::User;
use super::events::{self, Entry, MIDDLEWARE, SIGNALS, model, pk, request, uuid};
use super::{Authentik, Permission, World};

/// Who does something that either may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// `akadmin`.
    Administrator,
    /// The user whose it is.
    Owner,
}

impl Authentik {
    // Sessions at authentik, by the `sid` of their tokens.

    /// The sessions of a user, the oldest first.
    pub fn sessions_of(&self, username: &str) -> Vec<String> {
        self.world().logins.sids_of(username)
    }

    /// The user signs out at authentik: one `logout`. The event can be read before the tokens of the session are dead, by the
    /// time that [`Authentik::set_sign_out_lag`] sets.
    pub fn sign_out(&self, sid: &str) {
        self.world().sign_out(sid);
    }

    /// How long the tokens of a session outlive the event of its end. None by default; a real authentik takes about 150 ms.
    pub fn set_sign_out_lag(&self, lag: Duration) {
        self.world().logins.lag = lag;
    }

    /// The tokens of all sessions that were signed out are dead now, whatever is left of the lag.
    pub fn finish_sign_outs(&self) {
        self.world().logins.finish();
    }

    /// A session is deleted, by the user or an administrator: no event.
    pub fn delete_session(&self, sid: &str) {
        self.world().logins.delete(sid);
    }

    // Users.

    /// Refuses the user from now on; his tokens are dead, and stay so: one `model_updated`.
    pub fn disable_user(&self, username: &str) {
        let mut world = self.world();
        world.edit(username).active = false;
        world.end_tokens(username, |_| true);
        world.user_changed(username, "PATCH", "");
    }

    /// Lets the user in again: one `model_updated`, which does not say what has changed.
    pub fn enable_user(&self, username: &str) {
        let mut world = self.world();
        world.edit(username).active = true;
        world.user_changed(username, "PATCH", "");
    }

    /// Deletes the user: `model_deleted` for each app password, then for the user.
    pub fn delete_user(&self, username: &str) {
        let mut world = self.world();
        let user = world.edit(username).clone();
        world.end_tokens(username, |_| true);
        world.users.retain(|it| it.username != username);
        let path = format!("/api/v3/core/users/{}/", user.pk);
        for password in &user.app_passwords {
            let token = token_model(&identifier_of(password));
            world.changed(events::admin(), "model_deleted", token, "DELETE", &path);
        }
        world.changed(events::admin(), "model_deleted", user_model(&user), "DELETE", &path);
    }

    /// Gives the user another name: one `model_updated`, with neither name. His tokens go on under the old one.
    pub fn rename_user(&self, username: &str, new: &str) {
        let mut world = self.world();
        new.clone_into(&mut world.edit(username).username);
        for grant in world.grants.values_mut().filter(|grant| grant.username == username) {
            new.clone_into(&mut grant.username);
        }
        world.logins.rename(username, new);
        world.user_changed(new, "PATCH", "");
    }

    /// An administrator sets the password for the login page: `password_set` in the user's name, and `model_updated`. Sessions
    /// and tokens go on.
    pub fn set_password(&self, username: &str, password: &str) {
        let mut world = self.world();
        password.clone_into(&mut world.edit(username).password);
        let user = world.edit(username).clone();
        let path = format!("/api/v3/core/users/{}/set_password/", user.pk);
        world.signalled(&user, "password_set", json!({}), "POST", &path);
        world.user_changed(username, "POST", "set_password/");
    }

    /// The user changes the password for the login page: `password_set`, `model_updated`, `user_write`. He stays logged in, with
    /// another `sid`; the tokens of his logins are dead.
    pub fn change_password(&self, username: &str, password: &str) {
        const PATH: &str = "/api/v3/flows/executor/default-password-change/";
        let mut world = self.world();
        password.clone_into(&mut world.edit(username).password);
        world.end_tokens(username, |is_of_login| is_of_login);
        world.logins.renew(username);
        let user = world.edit(username).clone();
        world.signalled(&user, "password_set", json!({}), "GET", PATH);
        world.changed(user_value(&user), "model_updated", user_model(&user), "GET", PATH);
        let hidden = "*".repeat(20);
        let context = json!({"created": false, "password": hidden, "password_repeat": hidden});
        world.signalled(&user, "user_write", context, "GET", PATH);
    }

    // App passwords. Tokens that came of one go on.

    /// The name by which events call an app password.
    pub fn app_password_identifier(password: &str) -> String {
        identifier_of(password)
    }

    /// Deletes an app password: one `model_deleted`, which does not name the owner unless he did it.
    pub fn delete_app_password(&self, username: &str, password: &str, actor: Actor) {
        let mut world = self.world();
        let user = world.without_app_password(username, password);
        let identifier = identifier_of(password);
        let actor = match actor {
            Actor::Administrator => events::admin(),
            Actor::Owner => user_value(&user),
        };
        let path = format!("/api/v3/core/tokens/{identifier}/");
        world.changed(actor, "model_deleted", token_model(&identifier), "DELETE", &path);
    }

    /// Moves an app password's expiry into the past: one `model_updated`.
    pub fn expire_app_password(&self, username: &str, password: &str) {
        let mut world = self.world();
        world.without_app_password(username, password);
        let identifier = identifier_of(password);
        let mut token = token_model(&identifier);
        token["name"] = format!("{identifier} (expires=2026-11-26 00:00:00+00:00)").into();
        let path = format!("/api/v3/core/tokens/{identifier}/");
        world.changed(events::admin(), "model_updated", token, "PATCH", &path);
    }

    /// Gives an app password another text: two `model_updated`.
    pub fn set_app_password_key(&self, username: &str, password: &str, new: &str) {
        let mut world = self.world();
        world.without_app_password(username, password);
        world.edit(username).app_passwords.push(new.to_owned());
        let identifier = identifier_of(password);
        let path = format!("/api/v3/core/tokens/{identifier}/set_key/");
        for app in [MIDDLEWARE, "authentik.core.api.tokens"] {
            let context = json!({"model": token_model(&identifier), "http_request": request("POST", &path)});
            world.write(Entry { user: events::admin(), action: "model_updated", app, context });
        }
    }

    // Groups and policies.

    /// Changes a group's attributes: one `model_updated` of the group.
    pub fn change_group(&self, group: &str) {
        let path = format!("/api/v3/core/groups/{}/", uuid(&pk(group)));
        self.world().group_changed(group, "PATCH", &path);
    }

    /// Takes a user out of a group: one `model_updated` of the group, which does not name the user.
    pub fn remove_from_group(&self, username: &str, group: &str) {
        let mut world = self.world();
        world.edit(username).groups.retain(|it| it != group);
        world.group_changed(group, "POST", &format!("/api/v3/core/groups/{}/remove_user/", uuid(&pk(group))));
    }

    /// Gives a user other groups: three `model_updated` of the user.
    pub fn set_groups(&self, username: &str, groups: &[&str]) {
        let mut world = self.world();
        world.edit(username).groups = groups.iter().map(|&group| group.to_owned()).collect();
        for _ in 0..3 {
            world.user_changed(username, "PATCH", "");
        }
    }

    /// Binds a policy to the application that denies the user: one `model_created`.
    pub fn deny(&self, slug: &'static str, username: &'static str) {
        let mut world = self.world();
        world.provider_mut(slug).denied.push(username);
        world.binding_changed(slug, username, "model_created", "POST");
    }

    /// Takes such a binding away: one `model_deleted`.
    pub fn admit(&self, slug: &str, username: &str) {
        let mut world = self.world();
        world.provider_mut(slug).denied.retain(|it| *it != username);
        world.binding_changed(slug, username, "model_deleted", "DELETE");
    }

    // Settings. What of them changes is told with `edit_provider`, `edit_proxy` and `edit_outpost`.

    /// An application is saved: one `model_updated`.
    pub fn save_application(&self, slug: &str) {
        let model = model(&pk(&format!("application {slug}")).into(), "authentik_core", slug, "application");
        let path = format!("/api/v3/core/applications/{slug}/");
        self.world().changed(events::admin(), "model_updated", model, "PATCH", &path);
    }

    /// A proxy provider is saved: two `model_updated`, and the permissions of its outpost are written anew, twice.
    pub fn save_provider(&self, slug: &str) {
        let mut world = self.world();
        let provider = world.provider_mut(slug).proxy.as_ref().expect("a proxy provider").pk;
        let path = format!("/api/v3/providers/proxy/{provider}/");
        let provider = model(&provider.into(), "authentik_providers_proxy", slug, "proxyprovider");
        for number in [249, 250] {
            for (action, number) in [("model_deleted", number), ("model_created", number + 1)] {
                let name =
                    "RoleModelPermission with role f6e6c4be-3110-407b-b38e-595b10ec3188 and permission 189";
                let permission = model(&number.into(), "guardian", name, "rolemodelpermission");
                world.changed(events::admin(), action, permission, "PATCH", &path);
            }
            world.changed(events::admin(), "model_updated", provider.clone(), "PATCH", &path);
        }
    }

    /// An outpost is saved: one `model_updated`.
    pub fn save_outpost(&self, name: &str) {
        let mut world = self.world();
        let outpost = world.outposts.iter().find(|it| it.name == name);
        let digits: String = outpost.unwrap_or_else(|| panic!("no outpost {name}")).pk.replace('-', "");
        let path = format!("/api/v3/outposts/instances/{}/", uuid(&digits));
        let model = model(&digits.into(), "authentik_outposts", name, "outpost");
        world.changed(events::admin(), "model_updated", model, "PATCH", &path);
    }

    // Tokens.

    /// Revokes an access token, for which no event is written; panics if it is not one that was issued here.
    pub fn revoke(&self, access_token: &str) {
        self.world().grants.remove(access_token).expect("a token that was issued here");
    }

    // The log itself.

    /// Gives an API token these permissions, in the place of those that it was given before.
    pub fn permit(&self, token: &str, permissions: &[Permission]) {
        self.world().permissions.set(token, permissions);
    }

    /// All events as the API shows them, the oldest first.
    pub fn events(&self) -> Vec<Value> {
        self.world().events.all()
    }

    /// Forgets all events, also the one that every authentik has.
    pub fn forget_events(&self) {
        self.world().events.forget();
    }

    /// Events are written at the machine's time and so many seconds.
    pub fn shift_event_clock(&self, seconds: i64) {
        self.world().events.shift(seconds);
    }

    /// Events are written at this time, in seconds since the epoch, until the clock is set again.
    pub fn stop_event_clock(&self, seconds: i64) {
        self.world().events.stop(seconds);
    }
}

impl World {
    /// The user signs out of this session.
    pub(super) fn sign_out(&mut self, sid: &str) {
        let Some(username) = self.logins.sign_out(sid) else { return };
        let Some(user) = self.user(&username).cloned() else { return };
        let path = "/api/v3/flows/executor/default-invalidation-flow/";
        self.signalled(&user, "logout", json!({}), "GET", path);
    }

    fn edit(&mut self, username: &str) -> &mut User {
        let user = self.users.iter_mut().find(|user| user.username == username);
        user.unwrap_or_else(|| panic!("no user {username}"))
    }

    /// The user as he was before.
    fn without_app_password(&mut self, username: &str, password: &str) -> User {
        let user = self.edit(username);
        let before = user.clone();
        user.app_passwords.retain(|it| it != password);
        assert!(user.app_passwords.len() < before.app_passwords.len(), "no app password of {username}");
        before
    }

    /// Tokens of the user are forgotten, and his sessions with all of them.
    fn end_tokens(&mut self, username: &str, ends: impl Fn(bool) -> bool) {
        self.grants.retain(|_, grant| grant.username != username || !ends(grant.sid.is_some()));
        if ends(false) {
            self.logins.end_all_of(username);
        }
    }

    fn write(&mut self, entry: Entry<'_>) {
        self.events.write(entry, Some("127.0.0.1"));
    }

    /// What authentik's middleware writes when a model is saved or deleted.
    fn changed(&mut self, user: Value, action: &str, model: Value, method: &str, path: &str) {
        let context = json!({"model": model, "http_request": request(method, path)});
        self.write(Entry { user, action, app: MIDDLEWARE, context });
    }

    /// What authentik writes in the user's own name.
    fn signalled(&mut self, user: &User, action: &str, mut context: Value, method: &str, path: &str) {
        context["http_request"] = request(method, path);
        self.write(Entry { user: user_value(user), action, app: SIGNALS, context });
    }

    fn user_changed(&mut self, username: &str, method: &str, below: &str) {
        let user = self.edit(username).clone();
        let path = format!("/api/v3/core/users/{}/{below}", user.pk);
        self.changed(events::admin(), "model_updated", user_model(&user), method, &path);
    }

    fn group_changed(&mut self, group: &str, method: &str, path: &str) {
        let model = model(&pk(group).into(), "authentik_core", group, "group");
        self.changed(events::admin(), "model_updated", model, method, path);
    }

    fn binding_changed(&mut self, slug: &str, username: &str, action: &str, method: &str) {
        let name = format!("Binding from {slug} #5 to User {}", self.edit(username).name);
        let key = pk(&name);
        let path = match method {
            "POST" => "/api/v3/policies/bindings/".to_owned(),
            _ => format!("/api/v3/policies/bindings/{}/", uuid(&key)),
        };
        let model = model(&key.into(), "authentik_policies", &name, "policybinding");
        self.changed(events::admin(), action, model, method, &path);
    }
}

/// `user` of an event.
fn user_value(user: &User) -> Value {
    json!({"pk": user.pk, "email": user.email, "username": user.username})
}

/// An event calls the user by the name that is shown.
fn user_model(user: &User) -> Value {
    model(&user.pk.into(), "authentik_core", &user.name, "user")
}

fn token_model(identifier: &str) -> Value {
    model(&pk(identifier).into(), "authentik_core", identifier, "token")
}

/// It names neither the owner nor the password.
fn identifier_of(password: &str) -> String {
    format!("app-password-{}", &hex(&Sha256::digest(password))[..8])
}
