//! The world: what all VMs of one Envoy process share.
//!
//! Shared data, clock, randomness, metrics, log, environment, properties,
//! the clusters that exist, and the number of host calls by name. A `World`
//! is a handle: a clone is the same world. Nothing here is real: the clock
//! moves when a test moves it and the randomness follows from a seed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::foreign::ForeignFunction;
use crate::metrics::MetricValues;
use crate::shared_data::SharedData;
use crate::status::Status;

/// The level of a log line, numbered as in the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// 0
    Trace = 0,
    /// 1
    Debug = 1,
    /// 2
    Info = 2,
    /// 3
    Warn = 3,
    /// 4
    Error = 4,
    /// 5: also what the host says of a VM that died
    Critical = 5,
}

impl LogLevel {
    pub(crate) fn from_abi(level: u32) -> Option<Self> {
        use LogLevel::{Critical, Debug, Error, Info, Trace, Warn};
        [Trace, Debug, Info, Warn, Error, Critical].into_iter().find(|known| *known as u32 == level)
    }
}

/// One line that a filter (or the host, about a filter) logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How serious it is.
    pub level: LogLevel,
    /// The line, without a newline at its end.
    pub text: String,
}

/// One Envoy process. A clone is the same process.
#[derive(Clone)]
pub struct World(Arc<Mutex<WorldState>>);

pub(crate) struct WorldState {
    pub(crate) now: Duration,
    pub(crate) monotonic: Duration,
    pub(crate) random: u64,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) log: Vec<LogLine>,
    pub(crate) log_level: LogLevel,
    pub(crate) shared_data: SharedData,
    pub(crate) metrics: MetricValues,
    pub(crate) host_calls: BTreeMap<&'static str, u64>,
    pub(crate) clusters: BTreeSet<Vec<u8>>,
    pub(crate) without_endpoints: BTreeSet<Vec<u8>>,
    pub(crate) failing: BTreeSet<String>,
    pub(crate) foreign: HashMap<Vec<u8>, ForeignFunction>,
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) route_cache_clears: u64,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An Envoy on the first of January 2026, 00:00 UTC, with no cluster.
    pub fn new() -> Self {
        Self::with_seed(0x5eed)
    }

    /// The same, with other randomness.
    pub fn with_seed(seed: u64) -> Self {
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
            foreign: HashMap::new(),
            properties: BTreeMap::from([source]),
            route_cache_clears: 0,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, WorldState> {
        // A violation panics in the middle of a test; the state is still of use.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The wall clock, since 1970.
    pub fn now(&self) -> Duration {
        self.lock().now
    }

    /// Sets the wall clock, also backwards; the monotonic clock stays.
    pub fn set_now(&self, since_1970: Duration) {
        self.lock().now = since_1970;
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        state.now += by;
        state.monotonic += by;
    }

    /// Sets an environment variable for the VMs that start from now on.
    pub fn set_env(&self, name: &str, value: &str) {
        self.lock().environment.insert(name.to_owned(), value.to_owned());
    }

    /// Sets the level that filters are told. All lines are recorded at any level.
    pub fn set_log_level(&self, level: LogLevel) {
        self.lock().log_level = level;
    }

    /// All lines so far.
    pub fn log(&self) -> Vec<LogLine> {
        self.lock().log.clone()
    }

    /// True if a line of this level holds this text.
    pub fn logged(&self, level: LogLevel, text: &str) -> bool {
        self.lock().log.iter().any(|line| line.level == level && line.text.contains(text))
    }

    /// Forgets the lines so far.
    pub fn clear_log(&self) {
        self.lock().log.clear();
    }

    pub(crate) fn write_log(&self, level: LogLevel, text: impl Into<String>) {
        self.lock().log.push(LogLine { level, text: text.into() });
    }

    /// Adds a cluster that filters can call.
    pub fn add_cluster(&self, name: &str) {
        self.lock().clusters.insert(name.as_bytes().to_vec());
    }

    /// Takes a cluster's endpoints away or gives them back: without them a call fails at once.
    pub fn set_endpoints(&self, cluster: &str, present: bool) {
        let mut state = self.lock();
        if present {
            state.without_endpoints.remove(cluster.as_bytes());
        } else {
            state.without_endpoints.insert(cluster.as_bytes().to_vec());
        }
    }

    /// Lets every call of this import end as an internal failure, or no longer.
    pub fn set_failing(&self, import: &str, fails: bool) {
        let mut state = self.lock();
        if fails {
            state.failing.insert(import.to_owned());
        } else {
            state.failing.remove(import);
        }
    }

    /// Offers a foreign function to all filters: `proxy_call_foreign_function` hands it the arguments. It takes the place
    /// of a function of the same name. Envoy's own `clear_route_cache` and `set_envoy_filter_state` are there already.
    pub fn foreign(
        &self,
        name: &str,
        function: impl Fn(&[u8]) -> Result<Vec<u8>, Status> + Send + Sync + 'static,
    ) {
        self.lock().foreign.insert(name.as_bytes().to_vec(), Arc::new(function));
    }

    /// Takes away a foreign function that [`World::foreign`] registered: a filter that calls it finds none.
    pub fn remove_foreign(&self, name: &str) {
        self.lock().foreign.remove(name.as_bytes());
    }

    /// Sets a property of all streams, such as `["source", "address"]`.
    pub fn set_property(&self, path: &[&str], value: impl AsRef<[u8]>) {
        self.lock().properties.insert(path.join("\0").into_bytes(), value.as_ref().to_vec());
    }

    /// Takes a property away.
    pub fn remove_property(&self, path: &[&str]) {
        self.lock().properties.remove(path.join("\0").as_bytes());
    }

    /// A value of the shared data.
    pub fn shared_data(&self, vm_id: &str, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.lock().shared_data.get(vm_id.as_bytes(), key.as_ref()).map(|(value, _)| value.clone())
    }

    /// Plants a value in the shared data, as another plugin with this `vm_id` could.
    pub fn set_shared_data(&self, vm_id: &str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let set = self.lock().shared_data.set(vm_id.as_bytes(), key.as_ref(), value.as_ref(), 0);
        assert!(set.is_ok(), "a set without a number always succeeds");
    }

    /// The keys of the shared data; one that is emptied is still there.
    pub fn shared_keys(&self, vm_id: &str) -> Vec<Vec<u8>> {
        self.lock().shared_data.keys(vm_id.as_bytes())
    }

    /// A metric's value (a histogram's: its last sample); `None` if no filter defined it.
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.lock().metrics.get(name).copied()
    }

    /// All metrics.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        self.lock().metrics.clone()
    }

    /// How often filters called the host, by the name of the import.
    pub fn host_calls(&self) -> BTreeMap<&'static str, u64> {
        self.lock().host_calls.clone()
    }

    /// Starts counting host calls from nothing.
    pub fn reset_host_calls(&self) {
        self.lock().host_calls.clear();
    }

    /// How often filters asked to forget the route.
    pub fn route_cache_clears(&self) -> u64 {
        self.lock().route_cache_clears
    }

    /// A world for a canary VM: the same settings, its own data and log.
    pub(crate) fn canary(&self) -> Self {
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
            there.foreign.clone_from(&here.foreign);
        }
        canary
    }
}

impl WorldState {
    /// The next bytes of a SplitMix64 sequence.
    pub(crate) fn random_bytes(&mut self, count: usize) -> Vec<u8> {
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
