//! Standard output and standard error.
//!
//! Owns: what happens when nobody reads. Must not: choose the words.

use std::io::{self, ErrorKind, Write as _};

use crate::Outcome;

/// Writes the whole text to standard output. Whoever has stopped to read (`… | head`) has what he wanted.
pub(crate) fn print(text: &str, outcome: Outcome) -> Outcome {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => outcome,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => outcome,
        Err(error) => {
            complain(&format!("standard output: {error}"));
            Outcome::CannotRun
        }
    }
}

/// One line on standard error.
pub(crate) fn complain(what: &str) {
    // There is nobody who could be told that it did not work.
    let _ = writeln!(io::stderr(), "authentik-proxy-wasm: {what}");
}
