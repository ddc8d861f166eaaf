//! Providers that come and go with authentik's list.
//!
//! Owns: how a new list takes effect, and what is said to a request before there is one. Must not: judge a request.

use crate::authn::env::Env;
use crate::authn::provider::roster::Roster;
use crate::authn::reply::{self, Decision, ReplyContext};
use crate::authn::request::view::RequestView;
use crate::authn::verification::Verification;
use crate::config::Config;

/// Takes what another worker has read, where there was no list yet: a request need not wait for the next tick.
pub(super) fn look_for_first<W>(
    verification: &mut Verification<W>,
    roster: &mut Roster,
    config: &Config,
    env: &Env<'_>,
) {
    if verification.list_fault().is_some() {
        verification.look_for_list(env);
        take(verification, roster, config);
    }
}

/// Takes a new list of providers over, if there is one.
pub(super) fn take<W>(verification: &mut Verification<W>, roster: &mut Roster, config: &Config) {
    if let Some(news) = verification.take_list() {
        let entries = config.read_entries(&news.entries);
        let changes = roster.replace(&entries);
        if news.is_first_hand {
            changes.log(&entries);
        }
        let all = roster.all().cloned().collect();
        verification.replace_providers(all, changes.begun, news.version);
    }
}

/// The decision on a request of a host that no provider is known for.
pub(super) fn without_provider<W>(
    verification: &Verification<W>,
    view: &RequestView<'_>,
    config: &Config,
) -> Decision {
    match verification.list_fault() {
        Some(fault) => reply::fail(&ReplyContext::without_provider(view, config), fault),
        None => reply::unknown_host(view, config),
    }
}
