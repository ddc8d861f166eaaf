//! One VM: a worker's instance of the filter, from its start to its death.
//!
//! `Vm` starts the module, gives it configurations (each a root context),
//! lets time pass for it and answers its calls. What happens to a request is
//! in `drive.rs`. A trap kills the VM: no callback runs in it any more.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use wasmi::{Store, TypedFunc, WasmParams, WasmResults};

use crate::exports::{self, Exports};
use crate::guest::{Guest, ReadableAnswer, Root, RootLife};
use crate::http_call::{CallAnswer, CallId, HttpCall};
use crate::module::Module;
use crate::stream::Stream;
use crate::world::{LogLevel, World};

/// What the filter's place in the configuration says about it.
#[derive(Clone, Debug, Default)]
pub struct Plugin {
    /// The property `plugin_name`.
    pub name: String,
    /// The property `plugin_root_id`.
    pub root_id: String,
    /// The property `plugin_vm_id`: VMs of the same one share their data.
    pub vm_id: String,
    /// Envoy's option of this name. With it, `StopIteration` in request headers holds the headers only, and a Continue in
    /// the request body lets them go.
    pub allow_on_headers_stop_iteration: bool,
}

/// Why a filter did not start, or does not take a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// It imports what Envoy does not offer.
    UnknownImports(Vec<(String, String)>),
    /// An import or a callback has another signature than Envoy's, or there is no memory.
    Malformed(String),
    /// It trapped.
    Trapped(String),
    /// `on_vm_start` said no.
    VmStartRefused,
    /// `on_configure` said no.
    ConfigurationRefused,
}

/// A root context: one configuration of the filter in a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootId(pub(crate) u32);

/// One worker's VM.
pub struct Vm {
    pub(crate) store: Store<Guest>,
    pub(crate) exports: Exports,
    pub(crate) dead: Option<String>,
    pub(crate) root: u32,
    pub(crate) finished: BTreeMap<u32, Stream>,
    module: Module,
}

/// How a callback ended.
pub(crate) struct Called<Results> {
    /// What it returned; `None` if it is not exported, if it trapped, or if the VM was dead.
    pub(crate) result: Option<Results>,
    pub(crate) trapped: bool,
    /// It sent a local reply, so its own stream goes no further whatever it returned.
    pub(crate) stopped: bool,
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams: Vec<_> = self.store.data().streams.keys().collect();
        f.debug_struct("Vm").field("death", &self.dead).field("streams", &streams).finish_non_exhaustive()
    }
}

impl Vm {
    /// Starts a filter with this configuration.
    pub fn start(
        world: &World,
        module: &Module,
        configuration: impl AsRef<[u8]>,
    ) -> Result<Self, StartError> {
        Self::start_as(world, module, &Plugin::default(), configuration)
    }

    /// Starts a filter as this plugin.
    pub fn start_as(
        world: &World,
        module: &Module,
        plugin: &Plugin,
        configuration: impl AsRef<[u8]>,
    ) -> Result<Self, StartError> {
        let mut vm = Self::instantiate(world, module, plugin)?;
        let root = vm.create_root(configuration.as_ref());
        let started = vm.call(root, vm.exports.on_vm_start, (root, 0));
        vm.settle();
        vm.alive()?;
        if started.result == Some(0) {
            return Err(StartError::VmStartRefused);
        }
        vm.configure(root)?;
        vm.root = root;
        Ok(vm)
    }

    fn instantiate(world: &World, module: &Module, plugin: &Plugin) -> Result<Self, StartError> {
        let unknown = module.unknown_imports();
        if !unknown.is_empty() {
            return Err(StartError::UnknownImports(unknown));
        }
        let compiled = module.compiled();
        let mut store = Store::new(compiled.engine(), Guest::new(world, plugin));
        store.limiter(|guest| &mut guest.limits);
        let malformed = |error: wasmi::Error| StartError::Malformed(error.to_string());
        let instance = module.linker().instantiate_and_start(&mut store, compiled).map_err(malformed)?;
        let no_memory = || StartError::Malformed("there is no memory".to_owned());
        let memory = instance.get_memory(&store, "memory").ok_or_else(no_memory)?;
        let find = |name| exports::find(&instance, &store, name).map_err(StartError::Malformed);
        let allocate = match find("proxy_on_memory_allocate")? {
            Some(allocate) => Some(allocate),
            None => find("malloc")?,
        };
        let initialize: Option<TypedFunc<(), ()>> =
            exports::find(&instance, &store, "_initialize").map_err(StartError::Malformed)?;
        let exports = Exports::of(&instance, &store).map_err(StartError::Malformed)?;
        store.data_mut().memory = Some(memory);
        store.data_mut().allocate = allocate;
        let (finished, module) = (BTreeMap::new(), module.clone());
        let mut vm = Self { store, exports, dead: None, root: 0, finished, module };
        vm.guest().initializing = true;
        vm.call(0, initialize, ());
        vm.guest().initializing = false;
        vm.alive()?;
        Ok(vm)
    }

    /// Gives the filter a new configuration as Envoy's discovery does: a canary VM must take it first,
    /// then it is a new root context here, and the old one goes when its last stream has gone.
    /// After an error the old configuration goes on serving.
    pub fn reconfigure(&mut self, configuration: impl AsRef<[u8]>) -> Result<RootId, StartError> {
        let root = self.add_root(configuration)?;
        let old = self.root;
        self.guest().roots.entry(old).and_modify(|old| old.life = RootLife::Retired);
        self.root = root.0;
        self.settle();
        Ok(root)
    }

    /// Adds a configuration beside the present one, as a second filter with the same VM; `send_to` uses it.
    pub fn add_root(&mut self, configuration: impl AsRef<[u8]>) -> Result<RootId, StartError> {
        self.alive()?;
        let (world, plugin, module) =
            (self.guest().world.clone(), self.guest().plugin.clone(), self.module.clone());
        let canary_world = world.canary();
        let canary = Self::start_as(&canary_world, &module, &plugin, configuration.as_ref());
        if let Err(error) = canary {
            for line in canary_world.log() {
                world.write_log(line.level, line.text);
            }
            return Err(error);
        }
        let root = self.create_root(configuration.as_ref());
        self.configure(root)?;
        Ok(RootId(root))
    }

    fn create_root(&mut self, configuration: &[u8]) -> u32 {
        let id = self.next_context();
        let root = Root {
            configuration: configuration.to_vec(),
            life: RootLife::Serving,
            tick_period: None,
            tick_due: Duration::ZERO,
        };
        self.guest().roots.insert(id, root);
        self.call(id, self.exports.on_context_create, (id, 0));
        self.settle();
        id
    }

    fn configure(&mut self, root: u32) -> Result<(), StartError> {
        self.alive()?;
        let size = self.guest().roots.get(&root).map_or(0, |root| root.configuration.len());
        let configured = self.call(root, self.exports.on_configure, (root, u32::try_from(size).unwrap()));
        self.settle();
        self.alive()?;
        if configured.result == Some(0) { Err(StartError::ConfigurationRefused) } else { Ok(()) }
    }

    /// Why the VM died, if it did.
    pub fn death(&self) -> Option<&str> {
        self.dead.as_deref()
    }

    /// The size of the VM's linear memory in bytes. It never shrinks.
    pub fn memory_size(&self) -> usize {
        self.store.data().memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    /// How often the present root context wants to be ticked.
    pub fn tick_period(&self) -> Option<Duration> {
        self.store.data().roots.get(&self.root).and_then(|root| root.tick_period)
    }

    /// Ticks the present root context now. Panics if it asked for no ticks: Envoy would not either.
    pub fn tick(&mut self) {
        assert!(self.tick_period().is_some() || self.dead.is_some(), "the filter asked for no ticks");
        self.tick_root(self.root);
    }

    /// Ticks every root context whose time has come since the world's clock moved; says how often.
    pub fn tick_due(&mut self) -> usize {
        let monotonic = self.guest().world.lock().monotonic;
        let mut ticks = 0;
        loop {
            let due = |root: &Root| root.tick_period.is_some() && root.tick_due <= monotonic;
            let Some(id) = self.guest().roots.iter().find(|(_, root)| due(root)).map(|(id, _)| *id) else {
                return ticks;
            };
            self.tick_root(id);
            ticks += 1;
            if self.dead.is_some() {
                return ticks;
            }
        }
    }

    fn tick_root(&mut self, id: u32) {
        if let Some(root) = self.guest().roots.get_mut(&id)
            && let Some(period) = root.tick_period
        {
            root.tick_due += period;
        }
        self.call(id, self.exports.on_tick, id);
        self.settle();
    }

    /// The calls that wait for an answer, oldest first.
    pub fn pending_calls(&self) -> Vec<HttpCall> {
        self.store.data().calls.values().cloned().collect()
    }

    /// How many calls the VM has sent since its start.
    pub fn calls_sent(&self) -> u32 {
        self.store.data().calls_sent
    }

    /// Answers a call. Nothing is called back in a dead VM, as in Envoy.
    pub fn answer(&mut self, call: CallId, answer: CallAnswer) {
        let sent = self.guest().calls.remove(&call).expect("this call waits for no answer");
        let message = answer.into_message();
        let size = |size: usize| u32::try_from(size).unwrap();
        let (headers, body) = message.as_ref().map_or((0, 0), |(h, b)| (size(h.len()), size(b.len())));
        self.guest().answer = Some(ReadableAnswer { root: sent.root, message });
        let export = self.exports.on_http_call_response;
        self.call(sent.root, export, (sent.root, call.0, headers, body, 0));
        self.settle();
        self.guest().answer = None;
    }

    pub(crate) fn alive(&self) -> Result<(), StartError> {
        self.dead.clone().map_or(Ok(()), |why| Err(StartError::Trapped(why)))
    }

    pub(crate) fn guest(&mut self) -> &mut Guest {
        self.store.data_mut()
    }

    pub(crate) fn next_context(&mut self) -> u32 {
        let guest = self.guest();
        let id = guest.next_context;
        guest.next_context += 1;
        id
    }

    /// Calls into the VM. What the callback asked for is still to be done: `settle` does it.
    pub(crate) fn call<Params: WasmParams, Results: WasmResults>(
        &mut self,
        context: u32,
        export: Option<TypedFunc<Params, Results>>,
        parameters: Params,
    ) -> Called<Results> {
        let Some(export) = export.filter(|_| self.dead.is_none()) else {
            return Called { result: None, trapped: false, stopped: false };
        };
        let guest = self.guest();
        (guest.current, guest.effective, guest.stop_iteration) = (context, 0, false);
        let result = export.call(&mut self.store, parameters);
        let guest = self.guest();
        let stopped = guest.stop_iteration;
        (guest.current, guest.effective, guest.stop_iteration) = (0, 0, false);
        match result {
            Ok(result) => Called { result: Some(result), trapped: false, stopped },
            Err(error) => {
                guest.world.write_log(LogLevel::Critical, format!("the VM is dead: {error}"));
                self.dead = Some(error.to_string());
                Called { result: None, trapped: true, stopped }
            }
        }
    }
}
