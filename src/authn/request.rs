//! A request as it came: its headers, its credential, whether its path is open.

pub(crate) mod cookies;
pub mod credential;
pub(crate) mod open_paths;
pub(crate) mod outpost;
pub(crate) mod trace;
pub mod view;
