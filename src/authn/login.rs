//! The browser's login flow: start, callback, sign-out.

pub(crate) mod backchannel;
pub(crate) mod flow;
pub(crate) mod state;
