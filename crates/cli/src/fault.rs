//! A fault and where it is.

use core::fmt;
use std::collections::BTreeSet;

use crate::document::Node;

/// One line of output. Ordered by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    file: String,
    line: usize,
    text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// All faults of a run, each once and in the order of the files, and the configurations that have none.
#[derive(Default)]
pub(crate) struct Faults {
    faults: BTreeSet<Fault>,
    pub(crate) good: Vec<Good>,
}

/// A configuration without a fault.
#[derive(Clone)]
pub(crate) struct Good {
    pub(crate) file: String,
    pub(crate) node: Node,
    /// The one that the filter shows in `authentik_proxy_config_info` and at its start.
    pub(crate) digest: String,
}

impl Faults {
    /// `path` is that of the field within its document.
    pub(crate) fn add(&mut self, file: &str, line: usize, path: &str, what: impl AsRef<str>) {
        self.add_text(file, line, format!("{path}: {}", what.as_ref()));
    }

    /// `text` begins with the path.
    pub(crate) fn add_text(&mut self, file: &str, line: usize, text: String) {
        self.faults.insert(Fault { file: file.to_owned(), line, text });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }
}
