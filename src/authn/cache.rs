//! What is remembered of credentials and sessions: in this worker, and between workers.

pub(crate) mod local;
pub(crate) mod miss;
pub(crate) mod shared;
pub(crate) mod verdicts;
