//! How many sessions have ended before their time, and how many were confirmed, for metrics.
//!
//! Owns: the counts of one worker, and the words. Must not: know whose they were.

use core::cell::Cell;

/// Why sessions have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A user signed out here.
    SignOut,
    /// authentik said so: OpenID Connect Back-Channel Logout 1.0.
    BackchannelLogout,
    /// Another Envoy said so, by way of authentik's event log.
    Relay,
    /// authentik was asked about a session, and its token was not active.
    Confirmation,
}

/// What came of asking authentik about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Confirmation {
    /// It goes on.
    Confirmed,
    /// Its token is not active.
    Ended,
    /// authentik could not say.
    Unavailable,
}

/// The counts of one worker since it was configured.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    ended: [Cell<u64>; Cause::ALL.len()],
    confirmations: [Cell<u64>; Confirmation::ALL.len()],
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SignOut, Self::BackchannelLogout, Self::Relay, Self::Confirmation];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignOut => "sign_out",
            Self::BackchannelLogout => "backchannel_logout",
            Self::Relay => "relay",
            Self::Confirmation => "confirmation",
        }
    }
}

impl Confirmation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Confirmed, Self::Ended, Self::Unavailable];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Ended => "ended",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Tally {
    /// Sessions have ended.
    pub(crate) fn ended(&self, cause: Cause) {
        count(Cause::ALL.iter().zip(&self.ended).find(|(other, _)| **other == cause).map(|(_, count)| count));
    }

    /// authentik was asked about a session.
    pub(crate) fn confirmed(&self, result: Confirmation) {
        if result == Confirmation::Ended {
            self.ended(Cause::Confirmation);
        }
        let mut counts = Confirmation::ALL.iter().zip(&self.confirmations);
        count(counts.find(|(other, _)| **other == result).map(|(_, count)| count));
    }

    /// The counts: of [`Cause::ALL`], and of [`Confirmation::ALL`].
    pub(crate) fn totals(&self) -> ([u64; Cause::ALL.len()], [u64; Confirmation::ALL.len()]) {
        (self.ended.each_ref().map(Cell::get), self.confirmations.each_ref().map(Cell::get))
    }
}

fn count(count: Option<&Cell<u64>>) {
    if let Some(count) = count {
        count.set(count.get().saturating_add(1));
    }
}
