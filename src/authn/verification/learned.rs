//! What follows from authentik's event log, and what is written into it.
//!
//! Owns: which entries of the lists an event makes. Nothing is decided here: a list says of whom authentik is asked again.
//! Must not: read an event.

use std::rc::Rc;

use crate::authn::ended::tally::Cause;
use crate::authn::ended::{Ended, Revalidate};
use crate::authn::env::Env;
use crate::authn::events::EventLog;
use crate::authn::events::learned::Learned;
use crate::authn::provider::Provider;
use crate::authn::verification::Verification;

impl<W> Verification<W> {
    /// Applies what this worker has just read in the log. All workers of the Envoy know it within a second.
    #[inline(never)]
    pub(super) fn apply_learned(&mut self, env: &Env<'_>) {
        for learned in self.events.as_mut().map_or_else(Vec::new, EventLog::take_news) {
            match learned {
                Learned::User { pk, username } => {
                    self.revalidate(env, Revalidate::Username(&username));
                    if let Some(pk) = pk {
                        self.revalidate(env, Revalidate::Key(pk));
                    }
                }
                Learned::UserChanged { pk, found } => {
                    self.revalidate(env, Revalidate::Key(pk));
                    match found {
                        Some((username, uid)) => {
                            self.revalidate(env, Revalidate::Username(&username));
                            self.revalidate(env, Revalidate::Subject(&uid));
                            // `sub_mode` can make a `sub` of it.
                            self.revalidate(env, Revalidate::Subject(&pk.to_string()));
                            self.revalidate(env, Revalidate::Unhashed);
                        }
                        None => self.revalidate(env, Revalidate::Unkeyed),
                    }
                }
                Learned::Everybody => {
                    self.revalidate(env, Revalidate::Everybody);
                    self.revalidate(env, Revalidate::Passwords);
                }
                Learned::Credentials => self.revalidate(env, Revalidate::Passwords),
                Learned::Providers => {
                    if let Some(list) = &mut self.list {
                        list.read_at_once();
                    }
                }
                Learned::Ended { client_id, who, at } => {
                    let is_of = |it: &&Rc<Provider>| it.settings.client_id == client_id;
                    for provider in self.providers.iter().filter(is_of) {
                        provider.end(who.as_who(), at, Cause::Relay, env);
                    }
                }
            }
        }
        if let Some(list) = &self.common.revalidation {
            list.borrow_mut().sync(env);
        }
    }

    fn revalidate(&self, env: &Env<'_>, who: Revalidate<'_>) {
        let tokens = self.providers.iter().map(|provider| provider.settings.access_token_validity_seconds);
        let lifetime = tokens.max().unwrap_or(0).max(self.config.session.max_age_seconds);
        if let Some(list) = &self.common.revalidation {
            list.borrow_mut().note(who, lifetime, env.now);
        }
    }

    /// Hands over to the log what this worker has learned first.
    #[inline(never)]
    pub(super) fn tell_other_envoys(&mut self, env: &Env<'_>) {
        let untold = core::mem::take(&mut *self.common.untold.borrow_mut());
        if let Some(log) = &mut self.events {
            for Ended { client_id, who, at } in untold {
                log.relay(&client_id, who.as_who(), at, env.now);
            }
        }
    }
}
