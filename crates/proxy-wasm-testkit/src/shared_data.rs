//! Envoy's shared data: one map per `vm_id`, shared by all workers.
//!
//! The compare-and-swap number is a counter of the process. A set with a
//! number on a key that is not there succeeds; a key is never removed, it is
//! emptied.

use std::collections::BTreeMap;

use crate::status::Status;

/// Values with their numbers, by key.
type Namespace = BTreeMap<Vec<u8>, (Vec<u8>, u32)>;

/// All shared data of one Envoy.
pub(crate) struct SharedData {
    namespaces: BTreeMap<Vec<u8>, Namespace>,
    next_cas: u32,
}

impl SharedData {
    pub(crate) fn new() -> Self {
        Self { namespaces: BTreeMap::new(), next_cas: 1 }
    }

    /// The value and its number; `None` if the key was never set.
    pub(crate) fn get(&self, vm_id: &[u8], key: &[u8]) -> Option<&(Vec<u8>, u32)> {
        self.namespaces.get(vm_id)?.get(key)
    }

    /// Sets a value; `cas` 0 means unconditionally.
    pub(crate) fn set(&mut self, vm_id: &[u8], key: &[u8], value: &[u8], cas: u32) -> Result<(), Status> {
        let namespace = self.namespaces.entry(vm_id.to_vec()).or_default();
        if let Some((_, current)) = namespace.get(key)
            && cas != 0
            && cas != *current
        {
            return Err(Status::CasMismatch);
        }
        namespace.insert(key.to_vec(), (value.to_vec(), self.next_cas));
        self.next_cas = self.next_cas.checked_add(1).unwrap_or(1);
        Ok(())
    }

    /// The keys of one namespace.
    pub(crate) fn keys(&self, vm_id: &[u8]) -> Vec<Vec<u8>> {
        self.namespaces.get(vm_id).map(|namespace| namespace.keys().cloned().collect()).unwrap_or_default()
    }
}
