//! Single flight: one verification for any number of requests with the same credential.
//!
//! Owns: who waits for which verification, and whose verdict is there. A verification belongs to nobody: it goes on when
//! its first client leaves. A request that waits keeps no headers: they are read again from the host when its verdict is
//! there.
//! Must not: judge, or know what a verification is.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::authn::env::RequestId;
use crate::authn::provider::fingerprint::Fingerprint;
use crate::authn::verdict::Judgement;
use crate::config::ProviderId;

/// Most requests that wait in one worker. The filter keeps their numbers only; Envoy keeps their headers.
const MAX_WAITERS: usize = 8192;

/// What requests with the same credential have in common.
pub(crate) type Name = (ProviderId, Fingerprint);

/// The requests that wait for a verification.
pub(crate) type Waiters = BTreeSet<RequestId>;

/// Verifications that are under way in this worker, each a `V`, and the requests that wait for them, each for a reason
/// `W` of its own.
pub(crate) struct SingleFlight<V, W> {
    pending: HashMap<Name, (V, Waiters)>,
    waiting: HashMap<RequestId, Waiter<W>>,
    /// Requests whose verdict is there, in the order in which it came; some may have left.
    ready: VecDeque<RequestId>,
}

struct Waiter<W> {
    verification: Name,
    reason: W,
    judgement: Option<Judgement>,
}

/// What has become of a request that waited.
pub(crate) enum Resumed<W> {
    /// Its verdict is there, and it waits no longer.
    Ready(W, Judgement),
    /// It waits on.
    Waiting,
    /// It does not wait.
    Unknown,
}

impl<V, W> SingleFlight<V, W> {
    pub(crate) fn new() -> Self {
        Self { pending: HashMap::new(), waiting: HashMap::new(), ready: VecDeque::new() }
    }

    /// Whether as many requests wait as may.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITERS
    }

    /// Lets a request wait for a verification that is under way. `Some`: there is none; the reason comes back.
    pub(crate) fn join(&mut self, name: Name, id: RequestId, reason: W) -> Option<W> {
        let Some((_, waiters)) = self.pending.get_mut(&name) else { return Some(reason) };
        waiters.insert(id);
        self.waiting.insert(id, Waiter { verification: name, reason, judgement: None });
        None
    }

    /// Begins a verification, for which this request is the first to wait.
    pub(crate) fn begin(&mut self, name: Name, verification: V, id: RequestId, reason: W) {
        self.pending.insert(name, (verification, BTreeSet::from([id])));
        self.waiting.insert(id, Waiter { verification: name, reason, judgement: None });
    }

    /// A verification that is under way.
    pub(crate) fn get(&self, name: &Name) -> Option<&V> {
        self.pending.get(name).map(|(verification, _)| verification)
    }

    /// All verifications that are under way.
    pub(crate) fn all(&self) -> impl Iterator<Item = &V> {
        self.pending.values().map(|(verification, _)| verification)
    }

    /// Whether nobody waits for this verification any more.
    pub(crate) fn is_abandoned(&self, name: &Name) -> bool {
        self.pending.get(name).is_some_and(|(_, waiters)| waiters.is_empty())
    }

    /// Takes a verification out, for its next step. It is put back, or settled.
    pub(crate) fn take(&mut self, name: &Name) -> Option<(V, Waiters)> {
        self.pending.remove(name)
    }

    /// The same with all of which this holds.
    pub(crate) fn take_all(&mut self, is_wanted: impl Fn(&V) -> bool) -> Vec<(Name, V, Waiters)> {
        let taken = self.pending.extract_if(|_, (verification, _)| is_wanted(verification));
        taken.map(|(name, (verification, waiters))| (name, verification, waiters)).collect()
    }

    pub(crate) fn put_back(&mut self, name: Name, verification: V, waiters: Waiters) {
        self.pending.insert(name, (verification, waiters));
    }

    /// The verdict for all who waited for a verification.
    pub(crate) fn settle(&mut self, waiters: Waiters, judgement: &Judgement) {
        for id in waiters {
            if let Some(waiter) = self.waiting.get_mut(&id) {
                waiter.judgement = Some(judgement.clone());
                self.ready.push_back(id);
            }
        }
    }

    /// The next request whose verdict is there.
    pub(crate) fn next_ready(&mut self) -> Option<RequestId> {
        while let Some(id) = self.ready.pop_front() {
            if self.is_ready(id) {
                return Some(id);
            }
        }
        None
    }

    /// How many requests wait, with those whose verdict is there.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the verdict for this request is there.
    pub(crate) fn is_ready(&self, id: RequestId) -> bool {
        self.waiting.get(&id).is_some_and(|waiter| waiter.judgement.is_some())
    }

    /// Whether verdicts are there that were not taken.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes a request whose verdict is there off the list.
    pub(crate) fn resume(&mut self, id: RequestId) -> Resumed<W> {
        match self.waiting.remove(&id) {
            None => Resumed::Unknown,
            Some(Waiter { reason, judgement: Some(judgement), .. }) => Resumed::Ready(reason, judgement),
            Some(waiter) => {
                self.waiting.insert(id, waiter);
                Resumed::Waiting
            }
        }
    }

    /// A request is gone: its client left, or it was answered otherwise. The verification goes on.
    pub(crate) fn forget(&mut self, id: RequestId) {
        let Some(waiter) = self.waiting.remove(&id) else { return };
        if let Some((_, waiters)) = self.pending.get_mut(&waiter.verification) {
            waiters.remove(&id);
        }
    }
}
