//! The setting `shadow`: the filter judges beside another gate, and changes nothing.
//!
//! Owns: what makes a name wrong beyond its kind, and the warning about a seal.
//! Must not: know what is compared ([`crate::authn::shadow`] does).

use std::rc::Rc;

use super::json::Object;
use super::settings::{Provider, Shadow};
use super::table::shadow as table;
use crate::base::header;

/// In shadow mode no decision is applied, so nothing is sealed. No fault: with `shadow` taken out, the rest is to stay as it is.
pub(crate) const SEAL_WARNING: &str =
    "seal: is sent for shadow.switched alone: a policy that asks for it everywhere refuses the others";

/// Reads the setting. `providers`: `None` where authentik has them.
pub(super) fn read(mut object: Object<'_>, providers: Option<&[Rc<Provider>]>) -> Shadow {
    let name = object.text(&table::GATE_HEADER);
    check_ownable(&object, table::GATE_HEADER.name, name);
    let mut switched = Vec::new();
    for (index, name) in object.texts(&table::SWITCHED).unwrap_or_default().into_iter().enumerate() {
        if providers.is_some_and(|all| !all.iter().any(|provider| provider.name == name)) {
            object.fault_at(table::SWITCHED.name, index, "is the name of no provider");
        }
        switched.push(name.to_owned());
    }
    Shadow { gate_header: name.to_ascii_lowercase(), switched }
}

/// A header that can be taken from clients.
#[inline(never)]
pub(super) fn check_ownable(object: &Object<'_>, setting: &'static str, name: &str) {
    if !header::may_be_owned(name) {
        object.fault(setting, &format!("{name:?} is not a name that can be taken from clients"));
    }
}
