//! The world: what all VMs of one Envoy process share.
//!
//! Shared data, clock, randomness, metrics, log, environment, properties,
//! the clusters that exist, and the number of host calls by name. A `World`
//! is a handle: a clone is the same world. Nothing here is real: the clock
//! moves when a test moves it and the randomness follows from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::metrics::MetricValues;
use super::shared_data::SharedData;

/// The level of a log line, numbered as in the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

impl LogLevel {
    pub(super) fn from_abi(level: u32) -> Option<Self> {
        use LogLevel::{Critical, Debug, Error, Info, Trace, Warn};
        [Trace, Debug, Info, Warn, Error, Critical].into_iter().find(|known| *known as u32 == level)
    }
}

/// One line that a filter (or the host, about a filter) logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    pub(crate) level: LogLevel,
    pub(crate) text: String,
}

/// One Envoy process.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<WorldState>>);

pub(super) struct WorldState {
    pub(super) now: Duration,
    pub(super) monotonic: Duration,
    pub(super) random: u64,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) log: Vec<LogLine>,
    pub(super) log_level: LogLevel,
    pub(super) shared_data: SharedData,
    pub(super) metrics: MetricValues,
    pub(super) host_calls: BTreeMap<&'static str, u64>,
    pub(super) clusters: BTreeSet<Vec<u8>>,
    pub(super) without_endpoints: BTreeSet<Vec<u8>>,
    pub(super) failing: BTreeSet<String>,
    pub(super) verifies_signatures: bool,
    pub(super) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) route_cache_clears: u64,
}

impl World {
    /// An Envoy on the first of January 2026, 00:00 UTC, with no cluster.
    pub(crate) fn new() -> Self {
        Self::with_seed(0x5eed)
    }

    /// The same, with other randomness.
    pub(crate) fn with_seed(seed: u64) -> Self {
        let source = (b"source\0address".to_vec(), b"192.0.2.7:40000".to_vec());
        Self(Arc::new(Mutex::new(WorldState {
            now: Duration::from_secs(1_767_225_600),
            monotonic: Duration::from_secs(1_000),
            random: seed,
            environment: BTreeMap::new(),
            log: Vec::new(),
            log_level: LogLevel::Info,
            shared_data: SharedData::new(),
            metrics: MetricValues::new(),
            host_calls: BTreeMap::new(),
            clusters: BTreeSet::new(),
            without_endpoints: BTreeSet::new(),
            failing: BTreeSet::new(),
            verifies_signatures: true,
            properties: BTreeMap::from([source]),
            route_cache_clears: 0,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WorldState> {
        // A violation panics in the middle of a test; the state is still of use.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The wall clock, since 1970.
    pub(crate) fn now(&self) -> Duration {
        self.lock().now
    }

    /// Sets the wall clock, also backwards; the monotonic clock stays.
    pub(crate) fn set_now(&self, since_1970: Duration) {
        self.lock().now = since_1970;
    }

    /// Moves both clocks on.
    pub(crate) fn advance(&self, by: Duration) {
        let mut state = self.lock();
        state.now += by;
        state.monotonic += by;
    }

    /// Sets an environment variable for the VMs that start from now on.
    pub(crate) fn set_env(&self, name: &str, value: &str) {
        self.lock().environment.insert(name.to_owned(), value.to_owned());
    }

    /// Sets the level that filters are told. All lines are recorded at any level.
    pub(crate) fn set_log_level(&self, level: LogLevel) {
        self.lock().log_level = level;
    }

    /// All lines so far.
    pub(crate) fn log(&self) -> Vec<LogLine> {
        self.lock().log.clone()
    }

    /// True if a line of this level holds this text.
    pub(crate) fn logged(&self, level: LogLevel, text: &str) -> bool {
        self.lock().log.iter().any(|line| line.level == level && line.text.contains(text))
    }

    /// Forgets the lines so far.
    pub(crate) fn clear_log(&self) {
        self.lock().log.clear();
    }

    pub(super) fn write_log(&self, level: LogLevel, text: impl Into<String>) {
        self.lock().log.push(LogLine { level, text: text.into() });
    }

    /// Adds a cluster that filters can call.
    pub(crate) fn add_cluster(&self, name: &str) {
        self.lock().clusters.insert(name.as_bytes().to_vec());
    }

    /// Takes a cluster's endpoints away or gives them back: without them a call fails at once.
    pub(crate) fn set_endpoints(&self, cluster: &str, present: bool) {
        let mut state = self.lock();
        if present {
            state.without_endpoints.remove(cluster.as_bytes());
        } else {
            state.without_endpoints.insert(cluster.as_bytes().to_vec());
        }
    }

    /// Lets every call of this import end as an internal failure, or no longer.
    pub(crate) fn set_failing(&self, import: &str, fails: bool) {
        let mut state = self.lock();
        if fails {
            state.failing.insert(import.to_owned());
        } else {
            state.failing.remove(import);
        }
    }

    /// Says whether this host offers the foreign function `verify_signature`.
    pub(crate) fn set_verify_signature(&self, present: bool) {
        self.lock().verifies_signatures = present;
    }

    /// Sets a property of all streams, such as `["source", "address"]`.
    pub(crate) fn set_property(&self, path: &[&str], value: impl AsRef<[u8]>) {
        self.lock().properties.insert(path.join("\0").into_bytes(), value.as_ref().to_vec());
    }

    /// Takes a property away.
    pub(crate) fn remove_property(&self, path: &[&str]) {
        self.lock().properties.remove(path.join("\0").as_bytes());
    }

    /// A value of the shared data.
    pub(crate) fn shared_data(&self, vm_id: &str, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.lock().shared_data.get(vm_id.as_bytes(), key.as_ref()).map(|(value, _)| value.clone())
    }

    /// Plants a value in the shared data, as another plugin with this `vm_id` could.
    pub(crate) fn set_shared_data(&self, vm_id: &str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let set = self.lock().shared_data.set(vm_id.as_bytes(), key.as_ref(), value.as_ref(), 0);
        assert!(set.is_ok(), "a set without a number always succeeds");
    }

    /// The keys of the shared data; one that is emptied is still there.
    pub(crate) fn shared_keys(&self, vm_id: &str) -> Vec<Vec<u8>> {
        self.lock().shared_data.keys(vm_id.as_bytes())
    }

    /// A metric's value (a histogram's: its last sample); `None` if no filter defined it.
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        self.lock().metrics.get(name).copied()
    }

    /// All metrics.
    pub(crate) fn metrics(&self) -> BTreeMap<String, u64> {
        self.lock().metrics.clone()
    }

    /// How often filters called the host, by the name of the import.
    pub(crate) fn host_calls(&self) -> BTreeMap<&'static str, u64> {
        self.lock().host_calls.clone()
    }

    /// Starts counting host calls from nothing.
    pub(crate) fn reset_host_calls(&self) {
        self.lock().host_calls.clear();
    }

    /// How often filters asked to forget the route.
    pub(crate) fn route_cache_clears(&self) -> u64 {
        self.lock().route_cache_clears
    }

    /// A world for a canary VM: the same settings, its own data and log.
    pub(super) fn canary(&self) -> Self {
        let (canary, here) = (Self::with_seed(1), self.lock());
        {
            let mut there = canary.lock();
            there.now = here.now;
            there.monotonic = here.monotonic;
            there.environment.clone_from(&here.environment);
            there.log_level = here.log_level;
            there.clusters.clone_from(&here.clusters);
            there.without_endpoints.clone_from(&here.without_endpoints);
            there.failing.clone_from(&here.failing);
            there.properties.clone_from(&here.properties);
            there.verifies_signatures = here.verifies_signatures;
        }
        canary
    }
}

impl WorldState {
    /// The next bytes of a SplitMix64 sequence.
    pub(super) fn random_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.random;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
