//! What is wrong with a configuration.
//!
//! Owns: the list, and how a fault names its place. Must not: know what a setting means.

use std::cell::RefCell;

/// All that is wrong with a configuration, in the order it was found.
#[derive(Default)]
pub(crate) struct Faults(RefCell<Vec<String>>);

impl Faults {
    #[inline(never)]
    pub(crate) fn add(&self, path: &str, what: &str) {
        self.0.borrow_mut().push(format!("{path}: {what}"));
    }

    pub(crate) fn into_list(self) -> Vec<String> {
        self.0.into_inner()
    }
}
