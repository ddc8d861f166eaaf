//! A fault and where it is.

use core::fmt;
use std::collections::BTreeSet;

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

/// All faults of a run: each once, in the order of the files.
#[derive(Default)]
pub(crate) struct Faults(BTreeSet<Fault>);

impl Faults {
    /// `path` is that of the field within its document.
    pub(crate) fn add(&mut self, file: &str, line: usize, path: &str, what: impl AsRef<str>) {
        self.add_text(file, line, format!("{path}: {}", what.as_ref()));
    }

    /// `text` begins with the path.
    pub(crate) fn add_text(&mut self, file: &str, line: usize, text: String) {
        self.0.insert(Fault { file: file.to_owned(), line, text });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
