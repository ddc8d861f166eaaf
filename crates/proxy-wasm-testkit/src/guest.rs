//! The host's side of one VM: what its host calls read and write.
//!
//! `Guest` is the data of the Wasm store: contexts, the current and the
//! effective one, what is deferred until the VM call is over. `Call` is one
//! host call in progress, with access to the VM's memory. A rule that a
//! filter broke is noted as a violation, and `drive.rs` panics with it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use wasmi::{Caller, Memory, StoreLimits, StoreLimitsBuilder, TypedFunc};

use crate::header_map::{HeaderMap, Kind};
use crate::http_call::{CallId, HttpCall};
use crate::metrics::MetricIds;
use crate::status::{Refusal, Status};
use crate::stream::{LocalReply, Stream};
use crate::vm::Plugin;
use crate::world::World;

/// What is done when the VM call that asked for it is over.
pub(crate) enum Deferred {
    ResumeRequest(u32),
    ResumeResponse(u32),
    Reply(u32, LocalReply),
    Reset(u32),
}

/// How far a root context has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootLife {
    Serving,
    /// Replaced by a newer configuration; goes when its last stream has gone.
    Retired,
    /// `on_done` said "not yet"; `proxy_done` says when.
    Draining,
    /// Nothing is left but `on_delete`.
    Done,
}

/// A root context: one configuration of the filter.
pub(crate) struct Root {
    pub(crate) configuration: Vec<u8>,
    pub(crate) life: RootLife,
    pub(crate) tick_period: Option<Duration>,
    /// The monotonic time of the next tick.
    pub(crate) tick_due: Duration,
}

/// The answer that is readable in `on_http_call_response`.
pub(crate) struct ReadableAnswer {
    pub(crate) root: u32,
    pub(crate) message: Option<(HeaderMap, Vec<u8>)>,
}

/// The data of one VM.
pub(crate) struct Guest {
    pub(crate) world: World,
    pub(crate) plugin: Plugin,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) roots: BTreeMap<u32, Root>,
    pub(crate) streams: BTreeMap<u32, Stream>,
    pub(crate) next_context: u32,
    pub(crate) current: u32,
    pub(crate) effective: u32,
    /// A local reply was sent in this VM call: the callback's own stream goes no further.
    pub(crate) stop_iteration: bool,
    /// In `_initialize`, where most of the host is closed.
    pub(crate) initializing: bool,
    pub(crate) deferred: VecDeque<Deferred>,
    pub(crate) calls: BTreeMap<CallId, HttpCall>,
    pub(crate) calls_sent: u32,
    pub(crate) answer: Option<ReadableAnswer>,
    pub(crate) metrics: MetricIds,
    pub(crate) violations: Vec<String>,
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    pub(crate) limits: StoreLimits,
}

impl Guest {
    pub(crate) fn new(world: &World, plugin: &Plugin) -> Self {
        Self {
            world: world.clone(),
            plugin: plugin.clone(),
            environment: world.lock().environment.clone(),
            roots: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_context: 1,
            current: 0,
            effective: 0,
            stop_iteration: false,
            initializing: false,
            deferred: VecDeque::new(),
            calls: BTreeMap::new(),
            calls_sent: 0,
            answer: None,
            metrics: MetricIds::default(),
            violations: Vec::new(),
            memory: None,
            allocate: None,
            // Envoy's own limit of a VM.
            limits: StoreLimitsBuilder::new().memory_size(1 << 30).build(),
        }
    }

    /// The context that host calls are about.
    pub(crate) fn context(&self) -> u32 {
        if self.effective != 0 && self.exists(self.effective) { self.effective } else { self.current }
    }

    pub(crate) fn exists(&self, context: u32) -> bool {
        self.roots.contains_key(&context) || self.streams.contains_key(&context)
    }

    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        let context = self.context();
        self.streams.get_mut(&context)
    }

    /// The root of the context that host calls are about.
    pub(crate) fn root_id(&self) -> u32 {
        let context = self.context();
        self.streams.get(&context).map_or(context, |stream| stream.root)
    }

    /// A map to read; `None` where Envoy has none.
    pub(crate) fn readable_map(&mut self, map: u32) -> Result<Option<&HeaderMap>, Status> {
        let root = self.root_id();
        let context = self.context();
        let stream = self.streams.get(&context);
        Ok(match map {
            0 => stream.filter(|s| s.request_open || s.logging).map(|s| &s.request),
            1 => stream.filter(|s| s.trailers_open).and_then(|s| s.trailers.as_ref()),
            2 => stream.filter(|s| s.response_open || s.logging).and_then(|s| s.response.as_ref()),
            6 => self
                .answer
                .as_ref()
                .filter(|answer| answer.root == root)
                .and_then(|answer| answer.message.as_ref())
                .map(|(headers, _)| headers),
            3..=5 | 7 => None,
            _ => return Err(Status::BadArgument),
        })
    }

    /// A map to write; a bad argument where Envoy has none.
    pub(crate) fn writable_map(&mut self, map: u32) -> Result<&mut HeaderMap, Status> {
        let stream = self.stream().ok_or(Status::BadArgument)?;
        let found = match map {
            0 if stream.request_open => Some(&mut stream.request),
            1 if stream.trailers_open => stream.trailers.as_mut(),
            2 if stream.response_open => stream.response.as_mut(),
            _ => None,
        };
        found.ok_or(Status::BadArgument)
    }

    /// The buffer behind a number: `None` where Envoy has none.
    pub(crate) fn buffer(&mut self, buffer: u32) -> Result<Option<Vec<u8>>, Status> {
        let root = self.root_id();
        Ok(match buffer {
            0 => Some(self.stream().map(|stream| stream.body.clone()).unwrap_or_default()),
            1 => Some(self.stream().map(|stream| stream.response_body.clone()).unwrap_or_default()),
            4 => self
                .answer
                .as_ref()
                .filter(|answer| answer.root == root)
                .and_then(|answer| answer.message.as_ref())
                .map(|(_, body)| body.clone()),
            6 => Some(Vec::new()),
            7 => self.roots.get(&root).map(|root| root.configuration.clone()),
            2 | 3 | 5 | 8 => Some(Vec::new()),
            _ => return Err(Status::BadArgument),
        })
    }

    pub(crate) fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }
}

/// One host call in progress.
pub(crate) struct Call<'a>(Caller<'a, Guest>);

impl<'a> Call<'a> {
    /// Counts the call; refuses it where Envoy's `_initialize` is closed.
    pub(crate) fn enter(
        caller: Caller<'a, Guest>,
        name: &'static str,
        always_open: bool,
    ) -> Result<Self, wasmi::Error> {
        let guest = caller.data();
        *guest.world.lock().host_calls.entry(name).or_insert(0) += 1;
        if guest.initializing && !always_open {
            return Err(wasmi::Error::new(format!("{name} must not be called in _initialize")));
        }
        Ok(Self(caller))
    }

    pub(crate) fn guest(&mut self) -> &mut Guest {
        self.0.data_mut()
    }

    pub(crate) fn world(&self) -> World {
        self.0.data().world.clone()
    }

    fn memory(&self) -> Result<Memory, Status> {
        self.0.data().memory.ok_or(Status::InvalidMemoryAccess)
    }

    pub(crate) fn read(&self, at: u32, size: u32) -> Result<Vec<u8>, Status> {
        let start = usize::try_from(at).map_err(|_| Status::InvalidMemoryAccess)?;
        let size = usize::try_from(size).map_err(|_| Status::InvalidMemoryAccess)?;
        let end = start.checked_add(size).ok_or(Status::InvalidMemoryAccess)?;
        self.memory()?.data(&self.0).get(start..end).map(<[u8]>::to_vec).ok_or(Status::InvalidMemoryAccess)
    }

    pub(crate) fn read_text(&self, at: u32, size: u32) -> Result<String, Status> {
        Ok(String::from_utf8_lossy(&self.read(at, size)?).into_owned())
    }

    pub(crate) fn read_map(&self, kind: Kind, at: u32, size: u32) -> Result<HeaderMap, Status> {
        let bytes = self.read(at, size)?;
        // Envoy takes a broken list for an empty one.
        Ok(HeaderMap::decode(kind, &bytes).unwrap_or_else(|| HeaderMap::new(kind)))
    }

    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Status> {
        let at = usize::try_from(at).map_err(|_| Status::InvalidMemoryAccess)?;
        self.memory()?.write(&mut self.0, at, bytes).map_err(|_| Status::InvalidMemoryAccess)
    }

    pub(crate) fn write_u32(&mut self, at: u32, value: u32) -> Result<(), Status> {
        self.write(at, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, at: u32, value: u64) -> Result<(), Status> {
        self.write(at, &value.to_le_bytes())
    }

    /// Hands bytes to the filter in memory that the filter allocates; nothing is allocated for nothing.
    pub(crate) fn give(&mut self, bytes: &[u8], pointer_at: u32, size_at: u32) -> Result<(), Refusal> {
        let size = u32::try_from(bytes.len()).map_err(|_| Status::InvalidMemoryAccess)?;
        let mut pointer = 0;
        if size > 0 {
            let allocate = self.guest().allocate.ok_or(Status::InvalidMemoryAccess)?;
            pointer = allocate.call(&mut self.0, size)?;
            self.write(pointer, bytes)?;
        }
        self.write_u32(pointer_at, pointer)?;
        self.write_u32(size_at, size)?;
        Ok(())
    }
}
