//! The artefact: a Wasm module, loaded and compiled once per process.
//!
//! `Module` is a handle; loading the same path again gives the same module.
//! It knows what it imports and exports, and which imports no Envoy offers.
//! What Envoy offers and this host does not play stops the VM when called.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use wasmi::{CompilationMode, Config, Engine, ExternType, IntoFunc, Linker};

use crate::guest::Guest;
use crate::{imports, wasi};

/// A compiled filter.
#[derive(Clone)]
pub struct Module(Arc<Compiled>);

struct Compiled {
    module: wasmi::Module,
    links: Links,
}

/// The host calls that a module can be linked to, and their names.
pub(crate) struct Links {
    pub(crate) linker: Linker<Guest>,
    known: BTreeSet<(String, String)>,
}

static LOADED: Mutex<BTreeMap<PathBuf, Module>> = Mutex::new(BTreeMap::new());

impl Module {
    /// Loads a built filter; each of its functions is compiled when it is first called.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, String> {
        let path = path.as_ref();
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(path) {
            return Ok(module.clone());
        }
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let module = Self::from_bytes(&bytes)?;
        loaded.insert(path.to_path_buf(), module.clone());
        Ok(module)
    }

    /// Compiles Wasm, binary or text.
    pub fn from_bytes(wasm: impl AsRef<[u8]>) -> Result<Self, String> {
        let mut config = Config::default();
        config.compilation_mode(CompilationMode::LazyTranslation);
        // The filter's own stack gives out first, as in Envoy.
        config.set_max_recursion_depth(20_000).set_max_stack_height(16 << 20);
        let engine = Engine::new(&config);
        let module = wasmi::Module::new(&engine, wasm).map_err(|error| error.to_string())?;
        let mut links = Links { linker: Linker::new(&engine), known: BTreeSet::new() };
        imports::link(&mut links);
        wasi::link(&mut links);
        links.add_unplayed(&module);
        Ok(Self(Arc::new(Compiled { module, links })))
    }

    /// What the module asks of its host: module and name.
    pub fn imports(&self) -> Vec<(String, String)> {
        self.0.module.imports().map(|import| (import.module().to_owned(), import.name().to_owned())).collect()
    }

    /// What the module offers to its host.
    pub fn exports(&self) -> Vec<String> {
        self.0.module.exports().map(|export| export.name().to_owned()).collect()
    }

    /// The imports that Envoy does not offer: with one of these a filter does not start.
    pub fn unknown_imports(&self) -> Vec<(String, String)> {
        self.imports().into_iter().filter(|import| !self.0.links.known.contains(import)).collect()
    }

    pub(crate) fn compiled(&self) -> &wasmi::Module {
        &self.0.module
    }

    pub(crate) fn linker(&self) -> &Linker<Guest> {
        &self.0.links.linker
    }
}

impl Links {
    /// Links one host call.
    pub(crate) fn add<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        function: impl IntoFunc<Guest, Params, Results>,
    ) {
        self.linker.func_wrap(module, name, function).expect("each host call is linked once");
        self.known.insert((module.to_owned(), name.to_owned()));
    }

    /// Links what Envoy offers and this host does not play, with whatever signature it is imported.
    fn add_unplayed(&mut self, module: &wasmi::Module) {
        let unplayed = |module: &str, name: &str| match module {
            "env" => imports::UNPLAYED.contains(&name),
            wasi::MODULE => wasi::UNPLAYED.contains(&name),
            _ => false,
        };
        for import in module.imports().filter(|import| unplayed(import.module(), import.name())) {
            let ExternType::Func(signature) = import.ty() else { continue };
            let text = format!("{} is not played by this host", import.name());
            self.linker
                .func_new(import.module(), import.name(), signature.clone(), move |_, _, _| {
                    Err(wasmi::Error::new(text.clone()))
                })
                .expect("a module imports each name once");
            self.known.insert((import.module().to_owned(), import.name().to_owned()));
        }
    }
}
