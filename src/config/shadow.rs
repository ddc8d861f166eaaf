//! The setting `shadow`: the filter judges beside another gate, and changes nothing.
//!
//! Owns: what makes a name wrong beyond its kind, and the warning about a seal.
//! Must not: know what is compared ([`crate::authn::shadow`] does).

use super::json::Object;
use super::table::shadow as table;
use crate::base::header;

/// In shadow mode no decision is applied, so nothing is sealed.
pub(crate) const SEAL_WARNING: &str =
    "seal: is not sent in shadow mode: a policy that asks for the seal refuses every request";

/// Shadow mode.
#[derive(Debug)]
pub struct Shadow {
    /// The header that the gate adds to each request that it allows, in lower case.
    pub gate_header: String,
}

impl Shadow {
    /// Reads the setting.
    pub(crate) fn read(mut object: Object<'_>) -> Self {
        let name = object.text(&table::GATE_HEADER);
        check_ownable(&object, table::GATE_HEADER.name, name);
        Self { gate_header: name.to_ascii_lowercase() }
    }
}

/// A header that can be taken from clients.
#[inline(never)]
pub(super) fn check_ownable(object: &Object<'_>, setting: &'static str, name: &str) {
    if !header::may_be_owned(name) {
        object.fault(setting, &format!("{name:?} is not a name that can be taken from clients"));
    }
}
